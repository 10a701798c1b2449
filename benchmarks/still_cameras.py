"""Depth of clips whose camera stood or only turned, by the stage and by recam's own network.

    python benchmarks/still_cameras.py [--seeds 901011 901012 …] [--models stage shipped]

Synthetic clips (6 frames of 144×216) reconstructed from their pictures alone. AbsRel and δ1 of the
whole clip after one scale, of what is nearer than 100 m; means over the seeds, halls among them,
which the network was never trained on.
"""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np
import torch

from recam.configs import DepthModel, ReconstructConfig
from recam.evaluation.depth import depth_errors
from recam.reconstruct import reconstruct
from recam.synthetic import synthetic_clip

SEEDS = tuple(range(901_011, 901_017))
SIZE = (6, 144, 216)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument(
        "--models", nargs="+", default=["stage", "shipped"], choices=get_args(DepthModel)
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    for camera in ("tripod", "rotation"):
        errors: dict[str, list[tuple[float, float]]] = {name: [] for name in args.models}
        for seed in args.seeds:
            truth, described = synthetic_clip(seed, *SIZE, camera)
            near = truth.depth < 100
            for name in args.models:
                config = ReconstructConfig(size=SIZE[2], depth_model=name)
                scene = reconstruct(truth.video, config)
                found = depth_errors(scene.depth, truth.depth, near & scene.valid, "scale")
                errors[name].append((found.abs_rel, found.delta1))
                motion = scene.report["cameras"]["motion"]
                print(
                    f"{camera:8s} {seed} {described.kind:6s} {name:8s} taken for {motion:8s} "
                    f"AbsRel {found.abs_rel:.3f}  δ1 {found.delta1:.3f}",
                    flush=True,
                )
        for name, rows in errors.items():
            abs_rel, delta1 = np.mean(rows, axis=0)
            print(f"{camera}: mean of {name}: AbsRel {abs_rel:.3f}  δ1 {delta1:.3f}", flush=True)


if __name__ == "__main__":
    main()
