"""The process that does the studio's long work: a scene, or any command of the command line.

python -m recam.apps.studio.worker PARENT scene JOB.json
python -m recam.apps.studio.worker PARENT recam reshoot my.mp4 --yaw 20 …
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path


def main(words: list[str]) -> None:
    """Do one job; errors that the user can fix end in one line, as on the command line."""
    parent, kind, *rest = words
    _end_with(int(parent))
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # the page and its previews come first
    from recam.apps import cli, process

    if kind == "recam":
        cli.main(rest)
        return
    process.stop_on_signals()
    with process.ended_in_one_line():
        if kind == "sample":
            sample(Path(rest[0]))
        else:
            scene(Path(rest[0]))


def _end_with(parent: int) -> None:
    """Stop when the server is gone, however it went: its successor goes on from what is kept."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def sample(out: Path) -> None:
    """Write the synthetic clip that ``recam demo`` reshoots."""
    from recam.apps.progress import show_progress
    from recam.media import write_video
    from recam.synthetic import demo_clip

    with show_progress() as progress:
        clip, _ = demo_clip(progress=progress)
    write_video(clip.video, out)


def scene(job: Path) -> None:
    """Reconstruct, or find in the cache, and write a small copy for previews.

    job: JSON with source, input, reconstruct (as ``asdict`` gives them) and out, a folder.
    """
    from recam.apps.progress import show_progress
    from recam.apps.studio.preview import write_small
    from recam.configs import InputConfig, ReconstructConfig
    from recam.reconstruct.scene_cache import open_scene
    from recam.runtime.files import read_json
    from recam.runtime.records import Record, as_dataclass

    clock = time.perf_counter()
    asked = Record(read_json(job), job)
    part = as_dataclass(asked.record("input"), InputConfig, most=1e15)
    config = as_dataclass(asked.record("reconstruct"), ReconstructConfig, most=1e15)
    with show_progress() as progress:
        opened = open_scene(Path(asked.text("source")), part, config, progress)
        progress("preview", 0, 1)
        write_small(
            opened.scene, Path(asked.text("out")), folder=opened.folder, reused=opened.reused,
            seconds=time.perf_counter() - clock, input=part, reconstruct=config,
        )  # fmt: skip
        progress("preview", 1, 1)


if __name__ == "__main__":
    main(sys.argv[1:])
