"""recam pretrain-depth."""

from __future__ import annotations

import sys
from pathlib import Path

from recam.apps.progress import show_progress
from recam.configs import DepthTrainConfig
from recam.training.depth.pretrain import pretrain_depth as learn


def pretrain_depth(config: DepthTrainConfig, quiet: bool = False) -> Path:
    """Train the depth network; returns the weight file and prints it."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with show_progress(quiet) as progress:
        path = learn(config, progress=progress, say=say)
    print(path)
    return path
