"""Depth and moving areas against the truth of synthetic clips.

    python benchmarks/depth_accuracy.py [--seeds 1 2 3] [--frames 25] [--size 512] [--own-cameras]

With the true cameras (default) it judges depth alone. Prints, per clip: AbsRel and δ1 after one
scale for the clip, over all that is nearer than the sky and over what stands still; IoU of the
moving areas; flicker (median change of a still point's inverse depth from frame to frame, as a part
of what is near); CPU and wall seconds. Sources of the metrics: Eigen et al. 2014.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from recam.camera_files import write_cameras
from recam.configs import ReconstructConfig
from recam.geometry import project, unproject
from recam.reconstruct import reconstruct
from recam.synthetic import SKY_DEPTH, synthetic_clip
from recam.types import Scene


def depth_errors(found: Scene, truth: Scene, where: torch.Tensor) -> tuple[float, float]:
    """AbsRel and δ1 over ``where`` [t, h, w], after the best median scale for the clip."""
    ratio = (truth.depth / found.depth)[where]
    ratio = ratio.median() / ratio
    return float((ratio - 1).abs().mean()), float(
        (torch.maximum(ratio, 1 / ratio) < 1.25).float().mean()
    )


def flicker(scene: Scene, still: torch.Tensor) -> float:
    """Median over still pixels of |ρ(t) − ρ(t+1)| of a point, over the 90 % quantile of ρ."""
    near = float(torch.quantile((1 / scene.depth).flatten()[::97], 0.9))
    changes = []
    for i in range(len(scene) - 1):
        points = unproject(scene.depth[i : i + 1].double(), scene.cameras[i : i + 1])
        uv, expected = project(points.reshape(1, -1, 3), scene.cameras[i + 1 : i + 2])
        grid = uv[0] / torch.tensor([scene.cameras.width, scene.cameras.height]) * 2 - 1
        there = torch.nn.functional.grid_sample(
            (1 / scene.depth[i + 1])[None, None], grid[None, None].float(), align_corners=False
        )[0, 0, 0]
        use = still[i].flatten() & (grid.abs() < 1).all(-1) & (expected[0] > 0)
        changes.append(float((there - 1 / expected[0])[use].abs().median()))
    return float(np.mean(changes)) / near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 5, 7])
    parser.add_argument("--camera", default="orbit")
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--own-cameras", action="store_true")
    options = parser.parse_args()
    h, w = options.size * 9 // 16, options.size
    print("seed  AbsRel  δ1     still: AbsRel  δ1     IoU    flicker  CPU s  wall s")
    for seed in options.seeds:
        truth, _ = synthetic_clip(seed, options.frames, h, w, options.camera)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cameras.json"
            write_cameras(truth.cameras, file, "recam")
            config = ReconstructConfig(
                size=options.size, cameras=None if options.own_cameras else str(file)
            )
            cpu, wall = time.process_time(), time.perf_counter()
            found = reconstruct(truth.video, config)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        near = truth.depth < 0.5 * SKY_DEPTH
        every, still = (depth_errors(found, truth, m) for m in (near, near & ~truth.dynamic))
        union = (found.dynamic | truth.dynamic).sum().clamp(min=1)
        iou = float((found.dynamic & truth.dynamic).sum() / union)
        change = flicker(found, ~found.dynamic & ~truth.dynamic)
        print(
            f"{seed:4d}  {every[0]:.3f}   {every[1]:.3f}         {still[0]:.3f}   {still[1]:.3f}  "
            f"{iou:.3f}  {change:.5f}  {cpu:5.1f}  {wall:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
