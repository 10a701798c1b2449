"""Training on many devices: started once a device, by torchrun or accelerate's launcher.

    torchrun --nproc-per-node 8 -m recam.train masked --data SHARDS --out run
    accelerate launch --num_processes 8 -m recam.train depth --out run

``masked`` is ``recam pretrain``, ``depth`` is ``recam pretrain-depth``, ``foundation`` adapts a
published video model to the pairs of shards. Options are those of the commands.
"""

from __future__ import annotations

import sys

from recam.apps.cli import main as recam

COMMANDS = {"masked": "pretrain", "depth": "pretrain-depth", "foundation": "pretrain-foundation"}


def main(argv: list[str]) -> None:
    """Run one of COMMANDS, the first unless another is named."""
    named = argv[:1] if argv[:1] and argv[0] in COMMANDS else []
    recam([COMMANDS[named[0] if named else "masked"], *argv[len(named) :]])


if __name__ == "__main__":
    main(sys.argv[1:])
