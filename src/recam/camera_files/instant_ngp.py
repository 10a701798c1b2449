"""instant-ngp's unit cube, which its camera paths are in.

It takes a capture's world (that of transforms.json) into the cube: shrunk by ``scale``, moved by
``offset``, and its axes renamed, so that the cube's x y z are the capture's y z x. Cameras there
have OpenCV's axes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recam.camera_files.checks import read_object

SCALE, OFFSET = 0.33, 0.5
"""What it takes where transforms.json does not say."""
FIELDS = ("slice", "scale", "aperture_size", "glow_mode", "glow_y_cutoff")
"""Fields that only instant-ngp's camera paths have, of which GEN3C's window is a relative."""
OTHER_WORLDS = ("from_na", "from_mitsuba")
"""Captures whose axes it turns in another way."""
CUBE_AXES = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)


def out_of_the_cube(world_from_cam: Tensor, path: Path) -> tuple[Tensor, str]:
    """Poses [n, 4, 4] of a path in the cube in the world of the transforms.json beside it, and a
    note. Raises ValueError where there is none, or one of another world."""
    beside = path.parent / "transforms.json"
    if not beside.is_file():
        raise ValueError(
            f"{path}: a camera path of instant-ngp, which is in that program's unit cube; put the "
            "transforms.json that it was trained on beside this file, which says how large the "
            "cube is"
        )
    about = read_object(beside)
    if telling := [name for name in OTHER_WORLDS if about.value.get(name)]:
        raise ValueError(
            f"{beside}: instant-ngp turns a capture with {telling[0]} in a way of its own, which "
            "recam does not undo; export the path from nerfstudio"
        )
    scale = about.number("scale", 1e-9, 1e9, SCALE)
    if isinstance(about.value.get("offset"), list):
        offset = torch.from_numpy(about.array("offset", (3,)))
    else:
        offset = torch.full((3,), about.number("offset", default=OFFSET), dtype=torch.float64)
    out = world_from_cam.clone()
    out[:, :3, :3] = CUBE_AXES.T @ world_from_cam[:, :3, :3]
    out[:, :3, 3] = (world_from_cam[:, :3, 3] @ CUBE_AXES - offset) / scale
    said = "its" if "scale" in about or "offset" in about else "the usual"
    return out, (
        f"instant-ngp's unit cube undone by {said} scale {scale:g} and offset "
        f"{', '.join(f'{v:g}' for v in offset.tolist())}, into the world of transforms.json"
    )
