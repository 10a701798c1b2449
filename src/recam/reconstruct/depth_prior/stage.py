"""What is believed about depth before anything is measured."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.geometry import DEFAULT_FOV_DEG, intrinsics_from_fov, pixel_centers
from recam.runtime.cache import scratch_tensor
from recam.types import Cameras

GROUND_ENDS = 0.55
"""Height in the middle frame, as a part of the picture from the top, at which the assumed ground
meets the assumed backdrop."""


def stage_prior(frames: Tensor, cameras: Cameras | None = None) -> tuple[Tensor, Tensor]:
    """A stage: inverse depth that looks at nothing but the cameras' directions and the colours at
    the bottom; for want of any better.

    frames: uint8 [t, 3, h, w]. cameras: t cameras of that size; None = one that stands still, with
    a usual lens. Only their rotations and intrinsics are used. Returns inverse depth, positive, up
    to one scale and shift, and confidence in [0, 1], both float32 [t, h, w].

    A plane ground that rises in the picture from its bottom to GROUND_ENDS, and there a round
    backdrop, so far off that between the two lies as much depth as the picture is wide. Without
    ground (the sky reaches the bottom) there is the backdrop alone. The stage stays where it is
    while the camera turns, so that still things keep their depth.

    Inverse depth is of order 1 at the bottom of the middle frame.
    """
    t, _, h, w = frames.shape
    if cameras is None:
        k = intrinsics_from_fov(DEFAULT_FOV_DEG * min(1.0, w / h), h, w)
        still = torch.eye(4, dtype=torch.float64).expand(t, 4, 4).clone()
        cameras = Cameras(still, k.expand(t, 3, 3).clone(), h, w)
    if (len(cameras), cameras.height, cameras.width) != (t, h, w):
        raise ValueError(
            f"{len(cameras)} cameras of {cameras.width}×{cameras.height} px for {t} frames of "
            f"{w}×{h} px; use cameras.resized(...)"
        )
    middle = t // 2
    width_at_one = w / float(cameras.intrinsics[middle, 0, 0])
    backdrop = 1.0 / (1.0 + min(max(width_at_one, 0.4), 1.5))
    down, ground_normal = _stage_axes(cameras, backdrop)
    has_ground = not _sky_at_bottom(frames)
    pixels = torch.cat([pixel_centers(h, w, torch.float64), torch.ones(h, w, 1).double()], -1)
    inverse_depth = scratch_tensor((t, h, w), torch.float32)
    for i in range(t):
        ray = pixels @ torch.linalg.inv(cameras.intrinsics[i]).T @ cameras.cam_from_world[i, :3, :3]
        level = (ray - (ray @ down)[..., None] * down).norm(dim=-1)
        wall = level * backdrop
        if has_ground:
            ground = ray @ ground_normal
            # A rounded corner between the two: no crease that a view from the side would show.
            wall = 0.5 * (ground + wall + ((ground - wall) ** 2 + 0.004).sqrt())
        inverse_depth[i] = wall
    return inverse_depth, scratch_tensor((t, h, w), torch.float32).fill_(0.1)


def _stage_axes(cameras: Cameras, backdrop: float) -> tuple[Tensor, Tensor]:
    """The backdrop's axis [3] (the mean image y axis), and n [3] with inverse depth n · ray on the
    ground, which is 1 at the bottom of the middle frame and ``backdrop`` at GROUND_ENDS."""
    rotation = cameras.cam_from_world[:, :3, :3]
    down = rotation[:, 1].mean(0)
    middle = len(cameras) // 2
    k = cameras.intrinsics[middle]
    rows = torch.tensor([cameras.height, GROUND_ENDS * cameras.height], dtype=torch.float64)
    y = (rows - k[1, 2]) / k[1, 1]
    slope = (1 - backdrop) / float(y[0] - y[1])
    normal = torch.tensor([0, slope, 1 - slope * float(y[0])], dtype=torch.float64)
    return down / down.norm(), normal @ rotation[middle]


def _sky_at_bottom(frames: Tensor) -> bool:
    """Whether the lowest tenth of the pictures is mostly smooth and clearly blue."""
    bottom = frames[:: max(1, len(frames) // 8), :, -max(2, frames.shape[2] // 10) :].float()
    red, green, blue = bottom.unbind(1)
    smooth = torch.zeros_like(red, dtype=torch.bool)
    smooth[..., 1:] = (green[..., 1:] - green[..., :-1]).abs() < 6
    sky = smooth & (blue > red + 25) & (blue > green + 5) & (blue > 90)
    return bool(sky.float().mean() > 0.4)
