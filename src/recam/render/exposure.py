"""Exposure differences between frames, from static points that several frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.geometry import project
from recam.render.source import Source

STRIDE = 8
TRUST = 200
"""Number of shared samples at which a gain is believed half."""
LIMIT = 0.5
"""Largest gain, as a natural logarithm of sRGB values."""


@dataclass(frozen=True)
class Samples:
    """Sparse static points of all keyframes.

    points_world: float32 [m, 3]. colours: float32 [m, 3], means over a few pixels, since poses may
    be off by a little. keyframe: int64 [m], which keyframe (by position) each is from.
    """

    points_world: Tensor
    colours: Tensor
    keyframe: Tensor


def take_samples(source: Source, static: Tensor, position: int) -> Samples:
    """A sparse grid of the points where ``static`` (bool [h, w], any size) of a keyframe."""
    h, w = static.shape
    grid = torch.meshgrid(
        torch.arange(STRIDE // 2, h, STRIDE), torch.arange(STRIDE // 2, w, STRIDE), indexing="ij"
    )
    y, x = (g[static[grid]] for g in grid)
    height, width = source.surface.height, source.surface.width
    u, v = (x + 0.5) * (width / w), (y + 0.5) * (height / h)
    disparity = source.surface.disparity[v.long(), u.long()].double()
    rays = torch.stack([u, v, torch.ones_like(u)], 1).double()
    rays = rays @ torch.linalg.inv(source.camera.intrinsics[0]).T
    world_from_cam = source.camera.world_from_cam[0]
    points = (rays / disparity[:, None]) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    keyframe = torch.full((len(u),), position)
    return Samples(points.float(), _colours_at(_blurred(source), u, v), keyframe)


def join_samples(parts: Sequence[Samples]) -> Samples:
    return Samples(
        torch.cat([p.points_world for p in parts]), torch.cat([p.colours for p in parts]),
        torch.cat([p.keyframe for p in parts]),
    )  # fmt: skip


def _blurred(source: Source) -> Tensor:
    """float32 [3, h/4, w/4]: means over 8×8 px."""
    return F.avg_pool2d(source.frame[None].float(), 8, 4, ceil_mode=True)[0]


def _colours_at(blurred: Tensor, u: Tensor, v: Tensor) -> Tensor:
    j = (v / 4 - 0.5).long().clamp(0, blurred.shape[1] - 1)
    i = (u / 4 - 0.5).long().clamp(0, blurred.shape[2] - 1)
    return blurred[:, j, i].T


def _log_ratios(samples: Samples, source: Source, tolerance: float) -> tuple[Tensor, Tensor]:
    """log of a frame's colours over the samples' [k, 3] where both show the same surface, and
    which keyframe each is from [k]."""
    uv, depth = project(samples.points_world[None], source.camera)
    (u, v), d = uv[0].unbind(1), 1 / depth[0]
    inside = (d > 0) & (u >= 0) & (v >= 0)
    inside &= (u < source.surface.width) & (v < source.surface.height)
    index = inside.nonzero()[:, 0]
    u, v, d = u[index], v[index], d[index]
    same = (source.surface.disparity[v.long(), u.long()] - d).abs() <= tolerance * d
    index = index[same]
    here = _colours_at(_blurred(source), u[same], v[same])
    there = samples.colours[index]
    fair = (torch.minimum(here, there) > 16).all(1) & (torch.maximum(here, there) < 240).all(1)
    return torch.log(here[fair] / there[fair]), samples.keyframe[index[fair]]


def balance_gains(samples: Samples, sources: Sequence[Source], tolerance: float) -> Tensor:
    """log gains [n, 3] of the n keyframes relative to their mean.

    Least squares over the median log ratio of every pair, weighted by its overlap; keyframes
    that share nothing stay as they are.
    """
    n = len(sources)
    normal, right = 1e-3 * torch.eye(n), torch.zeros(n, 3)
    for j, source in enumerate(sources):
        ratios, keyframe = _log_ratios(samples, source, tolerance)
        for k in range(n):
            pair = ratios[keyframe == k]
            if k == j or len(pair) == 0:
                continue
            weight, ratio = len(pair) / (len(pair) + TRUST), pair.median(0).values
            edge = torch.zeros(n)
            edge[j], edge[k] = 1.0, -1.0  # ratio = gain j − gain k
            normal += weight * edge[:, None] * edge
            right += weight * edge[:, None] * ratio
    gains = torch.linalg.solve(normal, right)
    return (gains - gains.mean(0)).clamp(-LIMIT, LIMIT)


def frame_gain(
    samples: Samples, keyframe_gains: Tensor, source: Source, tolerance: float
) -> Tensor:
    """log gain [3] of any frame relative to the keyframes' mean; 0 where it shares nothing."""
    ratios, keyframe = _log_ratios(samples, source, tolerance)
    if len(ratios) == 0:
        return torch.zeros(3)
    trust = len(ratios) / (len(ratios) + TRUST)
    return (trust * (ratios + keyframe_gains[keyframe]).median(0).values).clamp(-LIMIT, LIMIT)
