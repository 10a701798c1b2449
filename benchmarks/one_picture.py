"""A camera around one picture of a synthetic scene, against what it would truly have seen.

Time stands still in the truth. True depth, so that only warping and completing are measured. PSNR
in dB where the picture alone shows nothing (holes) / of whole frames; loop: of the frames on the
way out against the same cameras' on the way back, median (worst).

    python benchmarks/one_picture.py [--models propagate masked] [--memory 6] [--frames 17]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from recam.configs import CompleteConfig, ImageConfig, PathConfig
from recam.evaluation.metrics import psnr
from recam.photos import image_path, reshoot_image
from recam.render import render
from recam.synthetic import render_synthetic, synthetic_clip

SEEDS = (3, 7, 11, 26)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["propagate", "masked"])
    parser.add_argument("--memory", type=int, default=6)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scores: dict[str, list[tuple[float, ...]]] = {m: [] for m in args.models}
    for seed in args.seeds:
        scene, synthetic = synthetic_clip(seed, 1, 240, 416, "tripod", "room")
        # To one side and back, so that every camera is met twice.
        there = PathConfig("orbit", yaw=20, speed="there-and-back")
        config = ImageConfig(frames=args.frames, memory=args.memory, path=there)
        path = image_path(scene, config)
        truth = render_synthetic(synthetic, path.cameras, torch.zeros(len(path))).frames
        holes = 1 - render(scene, path, config.render).known
        for model in args.models:
            clock = time.perf_counter()
            made = reshoot_image(scene, replace(config, complete=CompleteConfig(model)))
            seconds, frames = time.perf_counter() - clock, made.video.frames
            half = len(frames) // 2
            loop = [psnr(frames[i : i + 1], frames[-1 - i][None]) for i in range(half)]
            row = (psnr(frames, truth, holes), psnr(frames, truth), np.median(loop), min(loop))
            scores[model].append(row)
            print(f"{seed:3} {model:10} {describe(row)}  ({seconds:.1f} s)", flush=True)
    for model, rows in scores.items():
        print(f"mean {model:10} {describe(np.mean(rows, 0))}")


def describe(row) -> str:
    return f"holes {row[0]:5.2f} whole {row[1]:5.2f} loop {row[2]:5.2f} ({row[3]:5.2f})"


if __name__ == "__main__":
    main()
