"""Exposure differences between frames, from static points that several frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.geometry import project
from recam.render.source import Source

STRIDE = 8
TRUST = 20
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


class _Ratios(NamedTuple):
    """Where a frame and a keyframe show the same surface.

    log_ratio: float32 [k, 3], log of the frame's colour over the keyframe's.
    weight: float32 [k, 3], how bright that is: dark channels say little.
    keyframe: int64 [k].
    """

    log_ratio: Tensor
    weight: Tensor
    keyframe: Tensor


def _compare(samples: Samples, source: Source, tolerance: float) -> _Ratios:
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
    darker = torch.minimum(here, there)
    fair = (darker > 8).all(1) & (torch.maximum(here, there) < 240).all(1)
    log_ratio = torch.log(here[fair] / there[fair])
    return _Ratios(log_ratio, darker[fair], samples.keyframe[index[fair]])


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Along the first dimension of [k, 3], for each column."""
    order = values.argsort(0)
    total = weights.gather(0, order).cumsum(0)
    middle = (total < total[-1:] / 2).sum(0, keepdim=True)
    return values.gather(0, order.gather(0, middle))[0]


def balance_gains(samples: Samples, sources: Sequence[Source], tolerance: float) -> Tensor:
    """log gains [n, 3] of the n keyframes relative to their mean.

    Least squares over the median log ratio of every pair, weighted by its overlap; keyframes
    that share nothing stay as they are.
    """
    n = len(sources)
    normal, right = 1e-3 * torch.eye(n), torch.zeros(n, 3)
    for j, source in enumerate(sources):
        found = _compare(samples, source, tolerance)
        for k in range(n):
            mine = found.keyframe == k
            count = int(mine.sum())
            if k == j or count == 0:
                continue
            weight = count / (count + TRUST)
            ratio = _weighted_median(found.log_ratio[mine], found.weight[mine])
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
    found = _compare(samples, source, tolerance)
    count = len(found.keyframe)
    if count == 0:
        return torch.zeros(3)
    gain = _weighted_median(found.log_ratio + keyframe_gains[found.keyframe], found.weight)
    return (gain * (count / (count + TRUST))).clamp(-LIMIT, LIMIT)
