"""Peak memory of every task against the length of the video, or how well windows meet (--seam).

Each task runs in a process of its own. Anonymous memory is what counts (RssAnon of Linux, sampled
every 20 ms): pages of files that are mapped into memory are written back when it gets scarce.
"import" is the same process before the task begins.

    python benchmarks/long_videos.py [--frames 50 200 1000] [--tasks complete reshoot …]

With --seam no memory is measured: a synthetic scene is rendered along an arc, and its holes are
completed window by window. The mean absolute change from frame to frame inside of holes, over the
frames that are cross-faded where windows meet, against that over all other frames; beside it the
same two sets of frames when all are completed in one window, which tells what of it is the clip's.

    python benchmarks/long_videos.py --seam street room [--model masked] [--window 48] [--overlap 8]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TASKS = ("complete", "reshoot", "edit", "interpolate")
HEIGHT, WIDTH = 48, 80
SEAM_SEEDS = {"street": 12, "room": 7}
SEAM_FRAMES, SEAM_HEIGHT, SEAM_WIDTH = 194, 72, 112


class Peak(threading.Thread):
    """Samples the anonymous memory of this process, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.running = anonymous_mb(), True

    def run(self) -> None:
        while self.running:
            self.most = max(self.most, anonymous_mb())
            time.sleep(0.02)


def anonymous_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's anonymous memory")


def measure(task: str, num: int) -> None:
    """Run one task on a video of num frames; prints peak and starting memory and seconds."""
    import torch

    import recam
    from recam.runtime import cache

    cache.MAX_BYTES_IN_MEMORY = 1 << 20  # the frames are small: everything goes to disk
    torch.set_num_threads(1)
    x = torch.arange(WIDTH + 2 * num)
    texture = (((x[None] * 37 + torch.arange(HEIGHT)[:, None] * 17) // 9 * 41) % 200).to(
        torch.uint8
    )
    frames = cache.scratch_tensor((num, 3, HEIGHT, WIDTH), torch.uint8)
    for i in range(num):  # a wall that the camera passes
        frames[i] = texture[None, :, 2 * i : 2 * i + WIDTH]
    small = frames[:2].clone()
    recam.complete(small, torch.ones(HEIGHT, WIDTH))  # imports and compiles
    known = torch.ones(HEIGHT, WIDTH)
    known[15:30, 30:50] = 0
    before = anonymous_mb()
    peak = Peak()
    peak.start()
    clock = time.perf_counter()
    match task:
        case "complete":
            recam.complete(frames, known)
        case "reshoot":
            passing(frames)
        case "edit":
            edited = frames[0].clone()
            edited[0, 15:30, 30:50] = 255
            recam.edit(frames, edited)
        case "interpolate":
            recam.interpolate(frames[0], frames[4], frames=num - 2)
    peak.running = False
    print(f"{max(peak.most, anonymous_mb()):.0f} {before:.0f} {time.perf_counter() - clock:.1f}")


def passing(frames) -> None:
    """Render and complete along a path; the scene is given (reconstruction is another stage)."""
    import torch

    from recam.configs import PathConfig, ReshootConfig
    from recam.runtime.cache import scratch_tensor
    from recam.tasks import reshoot as reshoot_task
    from recam.trajectories import path_for_scene
    from recam.types import Cameras, Scene, video_from_frames

    num, size = len(frames), (len(frames), HEIGHT, WIDTH)
    pose = torch.eye(4, dtype=torch.float64).repeat(num, 1, 1)
    pose[:, 0, 3] = -torch.arange(num) * 2.0 * 4 / 60
    k = torch.tensor([[60.0, 0, WIDTH / 2], [0, 60, HEIGHT / 2], [0, 0, 1]]).double()
    depth = scratch_tensor(size, torch.float32).fill_(4)
    yes, no = scratch_tensor(size, torch.bool).fill_(True), scratch_tensor(size, torch.bool)
    scene = Scene(
        video_from_frames(frames), Cameras(pose, k.repeat(num, 1, 1), HEIGHT, WIDTH), depth, yes,
        no, scratch_tensor(size, torch.float32).fill_(1),
    )  # fmt: skip
    config = ReshootConfig(path=PathConfig("arc", yaw=15))
    completer = reshoot_task.completer_for_scene(scene, config.complete)
    path = path_for_scene(scene, config.path)
    for _ in reshoot_task.complete_along(scene, path, config, completer, {}):
        pass


def seam(layout: str, model: str, window: int, overlap: int) -> None:
    """Print how much completed holes change where windows meet, against elsewhere."""
    import torch

    from recam.completers import open_completer, resolve_config
    from recam.completion import BLENDED
    from recam.completion.streaming import complete_streamed
    from recam.configs import CompleteConfig, PathConfig, RenderConfig
    from recam.render import render
    from recam.synthetic import synthetic_clip
    from recam.trajectories import path_for_scene

    torch.set_num_threads(1)
    size = (SEAM_FRAMES, SEAM_HEIGHT, SEAM_WIDTH)
    scene, _ = synthetic_clip(SEAM_SEEDS[layout], *size, "orbit", layout)
    rendering = render(scene, path_for_scene(scene, PathConfig("arc", yaw=12)), RenderConfig())
    hole = (rendering.known[1:] < 0.5) | (rendering.known[:-1] < 0.5)
    faded = torch.zeros(SEAM_FRAMES - 1, dtype=torch.bool)
    for first in range(window, SEAM_FRAMES, window):
        faded[max(0, first - int(BLENDED * overlap) - 1) : first + 1] = True
    ratios = []
    for length in (window, SEAM_FRAMES + overlap):
        config = CompleteConfig(model, window=length, overlap=overlap)
        completer = open_completer(resolve_config(config))
        clock = time.perf_counter()
        frames = torch.cat([f for _, f in complete_streamed(rendering, completer, {})])
        change = (frames[1:].float() - frames[:-1].float()).abs().mean(1) * hole
        there, elsewhere = (
            float(change[which].sum() / hole[which].sum()) for which in (faded, ~faded)
        )
        ratios.append(there / elsewhere)
        print(
            f"{layout}, windows of {length:3}: where they meet {there:.2f}, elsewhere "
            f"{elsewhere:.2f} levels, {ratios[-1]:.2f} times ({time.perf_counter() - clock:.0f} s)",
            flush=True,
        )
    print(f"{layout}: {ratios[0] / ratios[1]:.2f} times as much as in one window", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", nargs="*", type=int, default=[50, 200, 1000])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seam", nargs="*", choices=SEAM_SEEDS, help="scenes; none: all")
    parser.add_argument("--model", default="masked", help="of --seam")
    parser.add_argument("--window", type=int, default=48, help="of --seam")
    parser.add_argument("--overlap", type=int, default=8, help="of --seam")
    args = parser.parse_args()
    if args.seam is not None:
        with tempfile.TemporaryDirectory() as folder:  # no windows of an earlier run are found
            os.environ["RECAM_CACHE"] = folder
            for layout in args.seam or SEAM_SEEDS:
                seam(layout, args.model, args.window, args.overlap)
        return
    if args.one:
        measure(args.one[0], int(args.one[1]))
        return
    print("task         frames   peak MB  import MB  seconds")
    for task in args.tasks:
        for num in args.frames:
            run = [sys.executable, __file__, "--one", task, str(num)]
            done = subprocess.run(run, capture_output=True, text=True, check=True)
            peak, before, seconds = done.stdout.split()
            print(f"{task:12} {num:6} {peak:>9} {before:>10} {seconds:>8}", flush=True)


if __name__ == "__main__":
    main()
