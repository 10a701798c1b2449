"""A stand-in for the reference method's warper, to compare with; written from its behaviour.

Each source pixel is projected and its colour spread over the four pixels around where it lands,
weighted by closeness and by exp(−50 · log(1 + depth) / max log(1 + depth)); the sums are divided by
the weights. Plain torch, one frame after another. No z-buffer: near and far colours mix; no
footprint: a closer camera sees pinholes; depth signs are not looked at. Source: FACTS of this
project on CogNVS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recam.geometry import pixel_centers
from recam.types import Cameras

SHARPNESS = 50.0


def warp_frame(
    frame: Tensor, depth: Tensor, known: Tensor, source: Cameras, target: Cameras
) -> tuple[Tensor, Tensor, Tensor]:
    """Frame float [3, h, w] (0 … 255), known [h, w] (0 or 1) and depth [h, w] from ``target``.

    frame: float [3, h, w]; depth: [h, w]; known: float [h, w], weight of each source pixel.
    """
    uv, new_depth = _move(depth, source, target)
    image, weight = _spread(frame, uv, new_depth, known)
    depth_image, _ = _spread(new_depth[None], uv, new_depth, known)
    seen = (weight > 0).float()
    return image.clamp(0, 255) * seen, seen, depth_image[0] * seen


def _move(depth: Tensor, source: Cameras, target: Cameras) -> tuple[Tensor, Tensor]:
    """Where every pixel lands, uv px [h, w, 2], and at what depth [h, w]."""
    h, w = depth.shape
    k1, k2 = source.intrinsics[0].float(), target.intrinsics[0].float()
    motion = (target.cam_from_world[0] @ source.world_from_cam[0]).float()
    ones = torch.ones(h, w, 1)
    rays = torch.cat([pixel_centers(h, w), ones], -1)[..., None]
    points = depth[..., None, None] * (torch.linalg.inv(k1)[None, None] @ rays)
    points = torch.cat([points, ones[..., None]], 2)
    moved = (motion[None, None] @ points)[:, :, :3]
    landed = (k2[None, None] @ moved)[..., 0]
    return landed[..., :2] / landed[..., 2:], landed[..., 2]


def _spread(values: Tensor, uv: Tensor, depth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means [c, h, w] of what lands on each pixel, and the weights [h, w]."""
    c, h, w = values.shape
    # One pixel of padding takes what lands outside.
    x = (uv[..., 0] + 0.5).clamp(0, w + 1)
    y = (uv[..., 1] + 0.5).clamp(0, h + 1)
    x0, y0 = x.floor().long(), y.floor().long()
    x1, y1 = (x0 + 1).clamp(max=w + 1), (y0 + 1).clamp(max=h + 1)
    log_depth = torch.log1p(depth.clamp(min=0, max=1000))
    nearness = torch.exp(-SHARPNESS * log_depth / log_depth.max()) * known
    total = torch.zeros(h + 2, w + 2, c)
    weights = torch.zeros(h + 2, w + 2, 1)
    for yy, xx in ((y0, x0), (y1, x0), (y0, x1), (y1, x1)):
        close = (1 - (y - yy).abs()) * (1 - (x - xx).abs())
        weight = (close * nearness)[..., None]
        total.index_put_((yy, xx), values.permute(1, 2, 0) * weight, accumulate=True)
        weights.index_put_((yy, xx), weight, accumulate=True)
    total, weights = total[1:-1, 1:-1], weights[1:-1, 1:-1, 0]
    mean = torch.where((weights > 0)[..., None], total / weights.clamp(min=1e-37)[..., None], 0)
    return mean.permute(2, 0, 1), weights
