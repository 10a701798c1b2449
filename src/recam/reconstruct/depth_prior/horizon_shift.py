"""The shift of inverse depth that the horizon tells."""

from __future__ import annotations

import math

import numpy as np

from recam.arrays import F32, F64, U8, Mask
from recam.reconstruct.cameras.level_lines import (
    axes_of,
    horizon_row,
    level_by_lines,
    line_frames,
    pitches,
)
from recam.types import Cameras

SAMPLED_FRAMES = 24
"""Whose inverse depth says what is near and far."""

CLEAR = (0.08, 0.18)
"""How clear edges must be (``Level``) to be listened to, and to be believed wholly."""

SHIFT_SPREAD = 0.1
"""Usual error of the shift, in units of the inverse depth of what is near (its 95 % quantile)."""

MAX_SHIFT = 0.3
"""Of the same."""

SHIFTS = np.arange(-25, 31, dtype=np.float64) * 0.02
"""In these units; those that are tried."""

GROUND_BELIEF = 80.0
"""Nats by which a ground that all pixels under the horizon lie on is likelier than none."""

FARTHEST, MAX_TAKEN = 0.02, 0.6
"""No more than this part of the inverse depth of the farthest (a quantile) is taken off: the walls
that end a view are not at infinity."""

POINTS, TRIES = 3000, 300
"""Pixels that the ground is looked for in, and pairs of them that it is tried through."""

ON, BELOW = 0.15, 0.85
"""Relative difference up to which a pixel lies on the ground, less counting more; part of the
ground's inverse depth under which it lies below that."""

NO_GROUND = 0.2
"""Part of the pixels that lie on a ground where there is none."""

MIN_UNDER, MIN_REACH = 0.1, 0.15
"""Part of the picture that must be under the horizon; and by how much of the largest the heights
under the horizon of the two pixels of a pair differ."""


def shift_by_horizon(
    rho: F32,
    rgb: U8,
    cameras: Cameras,
    still: Mask,
    focal_sure: bool,
) -> float:
    """What to add to a model's inverse depth so that the ground's vanishes on the horizon.

    rho: inverse depth [t, h, w] up to scale and shift. rgb: uint8 [t, h, w, 3]. cameras: t cameras
    of that size, which do not move through space. still: bool [t, h, w]. focal_sure: the motion
    told the focal length. The mean over all that edges leave possible, weighed with how far from 0
    it usually is; 0 where edges or the ground do not tell, and near it where edges are not clear.
    """
    frames = line_frames(cameras, focal_sure)
    level = level_by_lines(rgb, cameras, still, focal_sure)
    if level is None:
        return 0.0
    best = int(level.log_weight.argmax())
    every = slice(None, None, -(-len(rho) // SAMPLED_FRAMES))
    values = rho[every][still[every]]
    if not len(values):
        return 0.0
    farthest, near = (float(v) for v in np.quantile(values, [FARTHEST, 0.95]))
    own_units = {i: rho[i] / near for i in frames}
    k = cameras.intrinsics[frames[0]].numpy()
    roll = math.atan2(-level.down[best, 0], level.down[best, 1])
    pitch = pitches()[::2]
    tried = axes_of(pitch, np.full(len(pitch), roll))[0]
    focal = float(level.focal[best])
    shift = np.full(len(tried), np.nan)
    habit = -0.5 * np.square(SHIFTS / SHIFT_SPREAD, dtype=np.float64)
    for i, down in enumerate(tried):
        fits = _ground(own_units, cameras, still, down, focal)
        if fits.max() > NO_GROUND:
            shift[i] = _mean(SHIFTS, GROUND_BELIEF * fits + habit)
    known = np.isfinite(shift)
    if known.sum() < 2:
        return 0.0
    rows = horizon_row(tried, focal, k)[known]
    order = np.argsort(rows)
    row = horizon_row(level.down, level.focal, k)
    own = np.interp(row, rows[order], shift[known][order])
    log_weight = level.log_weight - 0.5 * (own / SHIFT_SPREAD) ** 2
    log_weight[(row < rows.min()) | (row > rows.max())] = -np.inf
    if not np.isfinite(log_weight).any():
        return 0.0
    trust = float(np.clip((level.clear - CLEAR[0]) / (CLEAR[1] - CLEAR[0]), 0, 1))
    mean = trust * _mean(own, log_weight)
    least = MAX_TAKEN * farthest / near
    return near * float(np.clip(mean, -min(least, MAX_SHIFT), MAX_SHIFT))


def _mean(values: F64, log_weight: F64) -> float:
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * values).sum() / weight.sum())


def _ground(rho: dict[int, F32], cameras: Cameras, still: Mask, down: F64, focal: float) -> F64:
    """How well a ground with the horizon of ``down`` fits rho, for every one of SHIFTS: the part of
    the pixels under the horizon that lie on it, less that of those below it; at least NO_GROUND.
    rho: inverse depth [h, w] by frame; down: in the axes of the first of these."""
    out = np.full(len(SHIFTS), NO_GROUND)
    frames, (h, w) = list(rho), still.shape[1:]
    step = max(1, int(math.sqrt(h * w * len(frames) / POINTS)))
    y, x = np.mgrid[step // 2 : h : step, step // 2 : w : step].reshape(2, -1)
    pose = cameras.cam_from_world[:, :3, :3].numpy()
    under, own = [], []
    for i in frames:
        k = cameras.intrinsics[i].numpy()
        d = pose[i] @ pose[frames[0]].T @ down
        aspect = k[1, 1] / k[0, 0]
        height = (x + 0.5 - k[0, 2]) * d[0] + (y + 0.5 - k[1, 2]) / aspect * d[1] + focal * d[2]
        seen = still[i, y, x] & (height > 0)
        under.append(height[seen])
        own.append(rho[i][y[seen], x[seen]])
    g, r = np.concatenate(under), np.concatenate(own).astype(np.float64)
    if len(g) < MIN_UNDER * len(x) * len(frames):
        return out
    g /= g.max()
    far = g < 0.02
    g, r = g[~far], r[~far]
    pair = np.random.default_rng(0).integers(0, len(g), (2, TRIES))
    reach = g[pair[0]] - g[pair[1]]
    apart = np.abs(reach) > MIN_REACH
    slope = (r[pair[0]] - r[pair[1]])[apart] / reach[apart]
    shift = slope * g[pair[0, apart]] - r[pair[0, apart]]
    number = np.rint((shift - SHIFTS[0]) / (SHIFTS[1] - SHIFTS[0])).astype(int)
    rises = (slope > 0.05) & (number >= 0) & (number < len(SHIFTS))
    slope, shift = slope[rises], shift[rises]
    ratio = (r + shift[:, None]) / (slope[:, None] * g)
    on = np.clip(1 - ((ratio - 1) / ON) ** 2, 0, None).mean(1)
    np.maximum.at(out, number[rises], on - 1.5 * (ratio < BELOW).mean(1))
    return out
