"""Seconds that every task takes on a clip of 48 frames of 512×288, from pictures to pictures.

The clip is the synthetic sample's, without its true geometry: what a task needs it estimates. An
empty cache folder is used for each. Processor seconds are of all threads together; the load is that
of the machine before and after, this process included. Each row is printed when it is done.

    python benchmarks/task_times.py [--threads 2] [--only reshoot image …] [--stages]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import cv2
import numba
import torch

import recam
from recam.configs import ReconstructConfig
from recam.synthetic import demo_clip
from recam.types import Progress

NUM, HEIGHT, WIDTH = 48, 288, 512


class Stages:
    """Progress that prints how long each stage took when the next one begins."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.begin("")

    def begin(self, what: str) -> None:
        self.what, self.clock, self.used = what, time.perf_counter(), time.process_time()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what == self.what:
            return
        clock, used = time.perf_counter() - self.clock, time.process_time() - self.used
        if self.wanted:
            print(f"  {self.what or 'before':32} {clock:7.1f} {used:7.1f}", flush=True)
        self.begin(what)


def tasks(progress: Progress) -> dict[str, Callable[[], Any]]:
    scene, _ = demo_clip(NUM, HEIGHT, WIDTH)
    frames = scene.video.frames
    box = torch.zeros(HEIGHT, WIDTH)
    box[100:190, 200:300] = 1
    edited = frames[0].clone()
    edited[:, box > 0] = 255 - edited[:, box > 0]
    return {
        "reshoot": lambda: recam.reshoot(frames, path=recam.orbit(yaw_deg=20), progress=progress),
        "image": lambda: recam.image(
            frames[0],
            path=recam.orbit(yaw_deg=20),
            frames=NUM,
            reconstruct=ReconstructConfig(depth_model="stage"),
            progress=progress,
        ),
        "interpolate": lambda: recam.interpolate(
            frames[0], frames[16], frames=NUM - 2, progress=progress
        ),
        "edit": lambda: recam.edit(frames, edited, progress=progress),
        "remove": lambda: recam.remove(frames, box, progress=progress),
        "complete": lambda: recam.complete(frames, 1 - box, progress=progress),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stages", action="store_true", help="also seconds of every stage")
    stages = Stages(False)
    made = tasks(stages)
    parser.add_argument("--only", nargs="*", choices=made, default=list(made), metavar="TASK")
    args = parser.parse_args()
    stages.wanted = args.stages
    torch.set_num_threads(args.threads)
    numba.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    print("task         seconds  processor seconds  load before, after", flush=True)
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["RECAM_CACHE"] = folder
            stages.begin("")
            load, clock, used = os.getloadavg()[0], time.perf_counter(), time.process_time()
            made[name]()
            stages("done", 1, 1)
            clock, used = time.perf_counter() - clock, time.process_time() - used
            after = os.getloadavg()[0]
            print(f"{name:12} {clock:7.1f} {used:18.1f} {load:12.1f} {after:6.1f}", flush=True)


if __name__ == "__main__":
    main()
