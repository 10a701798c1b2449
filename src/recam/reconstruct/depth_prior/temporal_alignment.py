"""Depth that is believed: from a model or the stage, made steady over a clip.

Models look at frames one by one, so what they say breathes. Flow says which pixels of two frames
show the same still point; a camera that only turns sees it at a depth that its rotation alone
changes. So every frame's scale (and shift) can be brought to agree, and still points then get what
the frames agree on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recam.arrays import F32, F64, I64, U8, Mask
from recam.configs import ALL_RULES, ReconstructConfig, ReconstructRules
from recam.flow.dense import FlowSet
from recam.reconstruct.depth.fusion import fuse_views
from recam.reconstruct.depth_prior.horizon_shift import shift_by_horizon
from recam.reconstruct.depth_prior.shipped import shipped_depth
from recam.reconstruct.depth_prior.stage import stage_prior
from recam.reconstruct.external.choose import (
    DepthChoice,
    choose_depth_model,
    external_depth,
)
from recam.reconstruct.external.prior_depth import Drift
from recam.reconstruct.motion_segmentation.regions import average_along_flow
from recam.reconstruct.robust import cauchy_weights
from recam.reconstruct.warping import inverse_depth_warps
from recam.runtime.threads import all_torch_threads
from recam.types import Cameras, Progress, no_progress

GRID_PX = 9
"""Distance of the points that frames are compared at."""
MIN_CONFIDENCE = 0.6
MIN_LEFT = 0.05
"""Part of its own inverse depth that a shift leaves a pixel."""
_HOLD = 1e-3
"""How strongly, against one sample, frames keep to the scale and shift that they came with."""


@dataclass(frozen=True)
class DepthPrior:
    """inverse_depth, confidence: float32 [t, h, w]; the first not below 0. drift: what differs from
    frame to frame. metric: in 1 / metres. model, weights: who said so; stage = nobody."""

    inverse_depth: F32
    confidence: F32
    drift: Drift
    metric: bool
    choice: DepthChoice

    @property
    def is_stage(self) -> bool:
        return self.choice.model == "stage"

    @property
    def is_large(self) -> bool:
        """A model of others, which knows what things that move are and how deep; recam's own small
        network does not, and contact with the ground tells more."""
        return self.choice.model not in ("stage", "shipped")

    @property
    def source(self) -> str:
        """For the user: the model, and its weights where they have a name."""
        weights = self.choice.weights
        return self.choice.model + (f" ({weights})" if weights else "")


def estimate_depth_prior(
    rgb: U8,
    cameras: Cameras,
    config: ReconstructConfig,
    progress: Progress = no_progress,
) -> DepthPrior:
    """What the chosen model says about rgb uint8 [t, h, w, 3]. cameras: t cameras of that size."""
    choice = choose_depth_model(config)
    frames = torch.from_numpy(rgb).permute(0, 3, 1, 2)
    if choice.model == "stage":
        rho, confidence = stage_prior(frames, cameras)
        return DepthPrior(rho.numpy(), confidence.numpy(), "none", False, choice)
    if choice.model == "shipped":
        rho, confidence = shipped_depth(frames)
        return DepthPrior(rho.numpy(), confidence.numpy(), "scale-and-shift", False, choice)
    with all_torch_threads():
        prediction = external_depth(choice, frames.contiguous(), progress, config.fov)
    return DepthPrior(
        prediction.inverse_depth.numpy(),
        prediction.confidence.numpy(),
        prediction.drift,
        prediction.metric,
        choice,
    )


def aligned_over_time(rho: F32, drift: Drift, flows: FlowSet, cameras: Cameras, still: Mask) -> F32:
    """Inverse depth [t, h, w] with a scale (and shift) per frame, so that still points agree.

    cameras: of which only rotations and intrinsics count; still: bool [t, h, w]. Scales average 1
    and shifts 0. Least squares with Cauchy weights over points that flow connects; frames that
    nothing connects keep theirs.
    """
    if drift == "none" or len(rho) < 2:
        return rho
    pairs = _samples(rho, flows, cameras, still)
    if not len(pairs):
        return rho
    first, second, here, there, ratio = pairs.T
    i, j = first.astype(np.int64), second.astype(np.int64)
    unit = max(float(np.median(rho)), 1e-9)
    here, there = here / unit, there * ratio / unit
    num = len(rho)
    scale, shift = np.ones(num), np.zeros(num)
    with_shift = drift == "scale-and-shift"
    for _ in range(8):
        off = scale[i] * here + shift[i] - scale[j] * there - ratio * shift[j]
        weight, _ = cauchy_weights(off, 1e-6)
        scale, shift = _solved(i, j, here, there, ratio, weight, num, with_shift)
    out = scale[:, None, None] * rho + unit * shift[:, None, None]
    return np.maximum(out, 0).astype(np.float32)


def _samples(rho: F32, flows: FlowSet, cameras: Cameras, still: Mask) -> F64:
    """Rows (i, j, ρ_i, ρ_j, z_j / z_i) of points that flow connects."""
    offsets = sorted({flows.offsets[0], flows.offsets[len(flows.offsets) // 2], flows.offsets[-1]})
    columns = np.arange(GRID_PX // 2, flows.width, GRID_PX)
    lines = np.arange(GRID_PX // 2, flows.height, GRID_PX)
    x, y = np.tile(columns, len(lines)), np.repeat(lines, len(columns))
    rows = []
    for i, j in flows.pairs():
        if j - i not in offsets:  # one way is enough
            continue
        flow, confidence = (a.numpy()[y, x] for a in flows.get(i, j))
        u, v = x + flow[:, 0], y + flow[:, 1]
        good = (confidence > MIN_CONFIDENCE) & still[i, y, x]
        good &= (u > 0) & (v > 0) & (u < flows.width - 1) & (v < flows.height - 1)
        iu, iv = u[good].round().astype(int), v[good].round().astype(int)
        good[good] &= still[j, iv, iu]
        iu, iv = u[good].round().astype(int), v[good].round().astype(int)
        a, _ = inverse_depth_warps(cameras, i, [j])
        ratio = a[0, 2, 0] * (x[good] + 0.5) + a[0, 2, 1] * (y[good] + 0.5) + a[0, 2, 2]
        own, other = rho[i, y[good], x[good]], rho[j, iv, iu]
        numbers = np.broadcast_to([[i, j]], (len(own), 2))
        rows.append(np.column_stack([numbers, own, other, ratio]))
    return np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 5))


def _solved(
    i: I64,
    j: I64,
    here: F64,
    there: F64,
    ratio: F64,
    weight: F64,
    num: int,
    with_shift: bool,
) -> tuple[F64, F64]:
    """Scales and shifts [num] that make scale_i here + shift_i = scale_j there + ratio shift_j."""
    terms = [(i, here), (j, -there)]
    if with_shift:
        terms += [(num + i, np.ones_like(here)), (num + j, -ratio)]
    size = 2 * num if with_shift else num
    flat = np.zeros(size * size)
    for rows, a in terms:
        for columns, b in terms:
            flat += np.bincount(rows * size + columns, weight * a * b, size * size)
    normal = flat.reshape(size, size)
    wanted = np.concatenate([np.ones(num), np.zeros(size - num)])
    right = _HOLD * wanted
    normal[np.diag_indices(size)] += _HOLD
    strong = float(weight.sum()) / num
    for start, mean in ((0, 1.0), (num, 0.0)):
        if start < size:
            block = slice(start, start + num)
            normal[block, block] += strong / num
            right[block] += strong * mean
    solution = np.linalg.solve(normal, right)
    scale = np.maximum(solution[:num], 0.05).astype(np.float64)
    return scale, solution[num:].astype(np.float64) if with_shift else np.zeros(num)


def steady(
    rho: F32,
    still: Mask,
    flows: FlowSet,
    cameras: Cameras,
    static: bool,
    progress: Progress = no_progress,
) -> F32:
    """Aligned inverse depth [t, h, w] in which still points keep theirs over time.

    stands: the camera does not even turn: a still pixel gets the median over all frames; else what
    the frames around agree on. What moves is averaged along its own flow.
    """
    if len(rho) < 2:
        return rho
    if static:
        out = _median_over_time(rho, still)
    else:
        turning = cameras.cam_from_world.clone()
        turning[:, :3, 3] = 0
        only = Cameras(turning, cameras.intrinsics, cameras.height, cameras.width)
        tolerance = 0.1 * float(np.quantile(rho, 0.9))
        out = rho
        for _ in range(2):
            out, _, _ = fuse_views(out, np.ones_like(rho), still, only, tolerance, progress)
    return average_along_flow(out, ~still, flows)


def with_shift(
    belief: DepthPrior,
    rho: F32,
    rgb: U8,
    cameras: Cameras,
    still: Mask,
    focal_sure: bool,
    rules: ReconstructRules = ALL_RULES,
) -> F32:
    """Inverse depth [t, h, w] with the shift, which a model cannot know, that the horizon
    tells (``shift_by_horizon``); where it does not, or the model knows it, as it is.

    rgb: uint8 [t, h, w, 3]. cameras: which do not move through space. still: bool [t, h, w].
    focal_sure: the user or the motion told the focal length.
    """
    asked = rules.horizon_shift and belief.drift == "scale-and-shift"
    if belief.is_stage or belief.metric or not asked:
        return rho
    shift = shift_by_horizon(rho, rgb, cameras, still, focal_sure)
    return np.maximum(rho + np.float32(shift), MIN_LEFT * rho)


def _median_over_time(rho: F32, still: Mask) -> F32:
    out = rho.copy()
    for y in range(rho.shape[1]):  # a row at a time: the median wants a copy
        row = np.where(still[:, y], rho[:, y], np.nan)
        seen = still[:, y].any(0)
        middle = np.zeros(rho.shape[2], np.float32)
        middle[seen] = np.nanmedian(row[:, seen], axis=0)
        out[:, y] = np.where(still[:, y], middle, rho[:, y])
    return out
