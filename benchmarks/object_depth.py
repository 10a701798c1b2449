"""How deep what moves is: by ground contact, and with the depth network beside it.

    python benchmarks/object_depth.py [--seeds 902001 902002 …] [--frames 8]

Synthetic clips with a camera that moves. What stands still has its true depth and what moves its
true outline, so that only the depth of what moves is judged: AbsRel and δ1 at its pixels. Each clip
whole, and cut off below so that people show no feet (the upper 60 % of the picture).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from recam.flow.dense import compute_flows
from recam.reconstruct.depth_prior.shipped import shipped_depth
from recam.reconstruct.object_depth.ground_contact import PriorAround, filled, place_on_ground
from recam.reconstruct.object_depth.ground_plane import find_ground
from recam.synthetic import synthetic_clip
from recam.types import Cameras, video_from_frames


def judged(out: np.ndarray, truth: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    off = truth[where] * out[where]  # true depth over the one said
    ratio = np.maximum(off, 1 / np.maximum(off, 1e-9))
    return float(np.abs(1 / np.maximum(off, 1e-9) - 1).mean()), float((ratio < 1.25).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(902_001, 902_009)))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--height", type=int, default=160)
    parser.add_argument("--width", type=int, default=240)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    print("| scene | picture | moves | contact AbsRel | δ1 | with the network AbsRel | δ1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows: dict[str, list[np.ndarray]] = {"whole": [], "cut off": []}
    for seed in args.seeds:
        truth, scene = synthetic_clip(seed, args.frames, args.height, args.width, "handheld")
        for name, rows_kept in (("whole", args.height), ("cut off", int(0.6 * args.height))):
            frames = truth.video.frames[:, :, :rows_kept].contiguous()
            depth, dynamic = (x[:, :rows_kept].numpy() for x in (truth.depth, truth.dynamic))
            if dynamic.mean() < 0.002:
                continue
            cameras = Cameras(
                truth.cameras.cam_from_world, truth.cameras.intrinsics, rows_kept, args.width
            )
            flows = compute_flows(video_from_frames(frames), rows_kept, args.width)
            rho = filled((1 / depth).astype(np.float32), dynamic)
            sure = (~dynamic).astype(np.float32)
            ground = find_ground(rho, sure, cameras)
            prior, confidence = shipped_depth(frames)
            beside = PriorAround(prior.numpy(), sure * confidence.numpy())
            found = []
            for told in (None, beside):
                out = place_on_ground(rho, dynamic, flows, ground=ground, prior=told)
                found += judged(out, depth, dynamic)
            rows[name].append(np.array(found))
            numbers = " | ".join(f"{x:.3f}" for x in found)
            print(
                f"| {scene.kind} {seed} | {name} | {dynamic.mean():.1%} | {numbers} |", flush=True
            )
    for name, all_found in rows.items():
        if all_found:
            numbers = " | ".join(f"{x:.3f}" for x in np.mean(all_found, 0))
            print(f"| mean of {len(all_found)} | {name} | | {numbers} |")


if __name__ == "__main__":
    main()
