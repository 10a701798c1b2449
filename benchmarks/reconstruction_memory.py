"""How much memory a reconstruction takes over the number of frames.

    python benchmarks/reconstruction_memory.py [--frames 60 125 250 500] [--size 90 160] [--seed 12]
        [--limit-mb 256]

A camera goes back and forth through a synthetic street. Peak anonymous memory (what the system
cannot take back; mapped files are not counted) of each length in a process of its own, before and
during, and the stage in which it is highest. --limit-mb: from which size on an array lies in a
file; made smaller as the pixels are fewer (16 at 128×72), it is as with larger pictures (512×288).
Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time

import torch
from long_videos import anonymous_mb

from recam.configs import ReconstructConfig
from recam.reconstruct import reconstruct
from recam.runtime import cache
from recam.synthetic import synthetic_clip
from recam.types import Video, video_from_frames

ONE_WAY = 60


def back_and_forth(num: int, height: int, width: int, seed: int) -> Video:
    truth, _ = synthetic_clip(seed, min(num, ONE_WAY), height, width, "handheld", "street")
    there = len(truth)
    at = torch.arange(num) % max(1, 2 * there - 2)
    return video_from_frames(truth.video.frames[torch.where(at < there, at, 2 * there - 2 - at)])


def measure(num: int, height: int, width: int, seed: int, limit_mb: int) -> None:
    cache.MAX_BYTES_IN_MEMORY = limit_mb << 20
    video = back_and_forth(num, height, width, seed)
    before, stage, peaks = anonymous_mb(), ["start"], dict[str, float]()

    def watch() -> None:
        while True:
            peaks[stage[0]] = max(peaks.get(stage[0], 0.0), anonymous_mb())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    clock = time.process_time()
    reconstruct(video, ReconstructConfig(), lambda what, done, total: stage.__setitem__(0, what))
    most = max(peaks, key=lambda name: peaks[name])
    seconds = time.process_time() - clock
    print(f"| {num} | {before:.0f} | {peaks[most]:.0f} | {most} | {seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[60, 125, 250, 500])
    parser.add_argument("--size", type=int, nargs=2, default=[90, 160], metavar=("H", "W"))
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--limit-mb", type=int, default=256)
    parser.add_argument("--one", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.one:
        height, width = options.size
        measure(options.frames[0], height, width, options.seed, options.limit_mb)
        return
    print("| frames | MB before | MB at most | while | processor s |")
    print("| ---: | ---: | ---: | --- | ---: |", flush=True)
    for num in options.frames:
        size, seed = map(str, options.size), str(options.seed)
        command = [sys.executable, __file__, "--one", "--frames", str(num), "--size", *size]
        limit = ["--limit-mb", str(options.limit_mb)]
        subprocess.run([*command, "--seed", seed, *limit], check=True)


if __name__ == "__main__":
    main()
