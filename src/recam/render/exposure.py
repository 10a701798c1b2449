"""Exposure differences between frames, from static points that several frames show.

In numpy: a frame's share of this runs in a thread of its own, where torch's threads would only be
in each other's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.arrays import F32, Mask
from recam.render import fast_static as fast
from recam.render.source import Source

STRIDE = 8
TRUST = 20
"""Number of shared samples at which a gain is believed half."""
LIMIT = 0.5
"""Largest gain, as a natural logarithm of sRGB values."""


@dataclass(frozen=True)
class Samples:
    """Sparse static points of all keyframes.

    points_world: float64 [m, 3]. colours: float32 [m, 3], means over a few pixels, since poses may
    be off by a little. keyframe: int64 [m], which keyframe (by position) each is from.
    """

    points_world: NDArray[np.float64]
    colours: F32
    keyframe: NDArray[np.int64]


def take_samples(source: Source, static: Mask, position: int) -> Samples:
    """A sparse grid of the points where ``static`` ([h, w], any size) of a keyframe."""
    h, w = static.shape
    y, x = np.nonzero(static[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE])
    u = (x * STRIDE + STRIDE // 2 + 0.5) * (source.surface.width / w)
    v = (y * STRIDE + STRIDE // 2 + 0.5) * (source.surface.height / h)
    disparity = source.surface.disparity.numpy()[v.astype(int), u.astype(int)]
    u, v, disparity = (a[disparity > 0] for a in (u, v, disparity))
    rays = np.stack([u, v, np.ones_like(u)], 1)
    rays = rays @ np.linalg.inv(source.camera.intrinsics[0].numpy()).T
    world_from_cam = source.camera.world_from_cam[0].numpy()
    points = (rays / disparity[:, None]) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    colours, surface = np.empty((len(u), 3), np.float32), source.surface
    fast.mean_colours(source.rgba.numpy(), surface.height, surface.width, u, v, colours)
    return Samples(points, colours, np.full(len(u), position))


def join_samples(parts: Sequence[Samples]) -> Samples:
    return Samples(
        np.concatenate([p.points_world for p in parts]),
        np.concatenate([p.colours for p in parts]),
        np.concatenate([p.keyframe for p in parts]),
    )


class _Ratios(NamedTuple):
    """Where a frame and a keyframe show the same surface.

    log_ratio: float32 [k, 3], log of the frame's colour over the keyframe's.
    weight: float32 [k, 3], how bright that is: dark channels say little.
    keyframe: int64 [k].
    """

    log_ratio: F32
    weight: F32
    keyframe: NDArray[np.int64]


def _compare(samples: Samples, source: Source, tolerance: float) -> _Ratios:
    camera = source.camera
    projection = (camera.intrinsics[0] @ camera.cam_from_world[0, :3]).numpy()
    count = len(samples.keyframe)
    u, v, same = np.empty(count), np.empty(count), np.zeros(count, np.bool_)
    disparity = source.surface.disparity.numpy()
    fast.find_shared(samples.points_world, projection, disparity, tolerance, u, v, same)
    here, there = np.empty((int(same.sum()), 3), np.float32), samples.colours[same]
    fast.mean_colours(source.rgba.numpy(), *disparity.shape, u[same], v[same], here)
    darker = np.minimum(here, there)
    fair = (darker > 8).all(1) & (np.maximum(here, there) < 240).all(1)
    log_ratio = np.log(here[fair] / there[fair])
    return _Ratios(log_ratio, darker[fair], samples.keyframe[same][fair])


def _weighted_median(values: F32, weights: F32) -> F32:
    """Along the first dimension of [k, 3], for each column."""
    order = values.argsort(0)
    total = np.take_along_axis(weights, order, 0).cumsum(0)
    middle = (total < total[-1:] / 2).sum(0, keepdims=True)
    return np.take_along_axis(np.take_along_axis(values, order, 0), middle, 0)[0]


def balance_gains(samples: Samples, sources: Sequence[Source], tolerance: float) -> F32:
    """log gains [n, 3] of the n keyframes relative to their mean.

    Least squares over the median log ratio of every pair, weighted by its overlap; keyframes
    that share nothing stay as they are.
    """
    n = len(sources)
    normal, right = 1e-3 * np.eye(n), np.zeros((n, 3))
    for j, source in enumerate(sources):
        found = _compare(samples, source, tolerance)
        for k in range(n):
            mine = found.keyframe == k
            count = int(mine.sum())
            if k == j or count == 0:
                continue
            weight = count / (count + TRUST)
            ratio = _weighted_median(found.log_ratio[mine], found.weight[mine])
            edge = np.zeros(n)
            edge[j], edge[k] = 1.0, -1.0  # ratio = gain j − gain k
            normal += weight * np.outer(edge, edge)
            right += weight * np.outer(edge, ratio)
    gains = np.linalg.solve(normal, right)
    return (gains - gains.mean(0)).clip(-LIMIT, LIMIT).astype(np.float32)


def frame_gains(samples: Samples, keyframe_gains: F32, source: Source, tolerance: float) -> Tensor:
    """Factors float32 [n, 3] that bring each keyframe's colours to a frame's exposure."""
    found = _compare(samples, source, tolerance)
    count = len(found.keyframe)
    gain = np.zeros(3, np.float32)
    if count:
        own = _weighted_median(found.log_ratio + keyframe_gains[found.keyframe], found.weight)
        gain = (own * (count / (count + TRUST))).clip(-LIMIT, LIMIT)
    return torch.from_numpy(np.exp(gain - keyframe_gains).astype(np.float32))
