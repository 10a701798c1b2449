"""How well a single picture tells its focal length: mean |log error|, and how far off it is said.

    python benchmarks/picture_focal.py [--seeds 7720000 7720001 …]

Views into synthetic scenes whose lens is known (18 to 100 mm), a quarter each of rooms, parks,
streets and halls, a layout that the network never saw. By a usual lens, by lines alone, by the
network alone, and by both.
"""

from __future__ import annotations

import argparse
import math

import cv2
import numpy as np
import torch

from recam.reconstruct.cameras.manhattan_focal import camera_of_picture
from recam.reconstruct.depth_prior.shipped import guess_pictures
from recam.synthetic.fast_render import texture_bank
from recam.synthetic.scene import SceneKind
from recam.training.depth.scenes import depth_views

KINDS: tuple[SceneKind, ...] = ("room", "park", "street", "hall")
HEIGHT, WIDTH, TRIES = 216, 324, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(7_720_000, 7_720_064))
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    bank, found = texture_bank(None), []
    for seed in args.seeds:
        views = depth_views(seed, TRIES, HEIGHT, WIDTH, KINDS[seed % len(KINDS)], bank=bank)
        if not len(views.frames):
            continue
        gray = cv2.cvtColor(views.frames[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
        guess, true = guess_pictures(views.frames[:1]).focal, float(views.focal_px[0])
        lines, _, _ = camera_of_picture(gray, None)
        usual, _, _ = camera_of_picture(gray, None, ask_lines=False)
        both, _, spread = camera_of_picture(gray, None, guess=guess)
        cameras = [float(c.intrinsics[0, 0, 0]) for c in (usual, lines, both)]
        focals = [*cameras[:2], guess.focal_px, cameras[2]]
        found.append([*(abs(math.log(f / true)) for f in focals), spread or 0.0])
        print(seed, KINDS[seed % len(KINDS)], *(f"{value:.3f}" for value in found[-1]), flush=True)
    names = ("usual", "lines", "network", "both", "said of both")
    for name, value in zip(names, np.mean(found, 0)):
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
