"""Cameras as 3D programs have them: a world with y up (Blender: z up), and cameras whose axes are
x right, y up, z backward (OpenGL's). recam's world has the axes of an OpenCV camera: y down, z
forward, so it is turned by half a turn about x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recam.types import Cameras

FILM_WIDTH_MM = 36.0
"""Width of the film that focal lengths in mm are for: a full frame's."""
FIRST_FRAME = 1
"""Number of the first frame, where programs begin to count."""

_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
_Z_UP_FROM_Y_UP = torch.tensor(
    [[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64
)


def y_up_from_cam(cameras: Cameras) -> Tensor:
    """float64 [n, 4, 4]: camera to world, y up in the world, OpenGL axes in the camera."""
    return _FLIP @ cameras.world_from_cam @ _FLIP


def z_up_from_cam(cameras: Cameras) -> Tensor:
    """float64 [n, 4, 4]: the same with z up in the world (Blender)."""
    return _Z_UP_FROM_Y_UP @ y_up_from_cam(cameras)


def world_from_y_up(poses: Tensor) -> Tensor:
    """world_from_cam [n, 4, 4] in recam's axes of what ``y_up_from_cam`` gives."""
    return _FLIP @ poses @ _FLIP


def points_y_up(points_world: Tensor) -> Tensor:
    """World points [k, 3] in a world with y up."""
    return points_world * torch.tensor([1.0, -1.0, -1.0], dtype=points_world.dtype)


def frame_rate(times_s: Tensor, frames: Tensor) -> float:
    """Mean frames a second of the film that has these frames [n] at these times [n]; 24 for a
    single one."""
    seconds = float(times_s[-1] - times_s[0])
    return int(frames[-1] - frames[0]) / seconds if seconds > 0 else 24.0


def off_center_px(cameras: Cameras) -> float:
    """Largest distance of a principal point from the picture's middle, in pixels."""
    middle = torch.tensor([cameras.width / 2, cameras.height / 2], dtype=torch.float64)
    return float((cameras.intrinsics[:, :2, 2] - middle).abs().max())


def require_centered(cameras: Cameras, format: str, instead: str) -> None:
    """Raise ValueError for principal points that a format with fields of view cannot say."""
    off = off_center_px(cameras)
    if off > 0.51:
        raise ValueError(
            f"a {format} file holds only a centred principal point, this one is {off:.1f} px off; "
            f"write {instead} instead"
        )


def unwound(quaternions: Tensor) -> Tensor:
    """Quaternions [n, 4] with signs that make neighbours near, so that blending takes the short
    way."""
    same = (quaternions[1:] * quaternions[:-1]).sum(1) >= 0
    sign = torch.cat([torch.ones(1), torch.where(same, 1.0, -1.0).cumprod(0)])
    return quaternions * sign[:, None].to(quaternions.dtype)
