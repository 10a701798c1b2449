"""Where other frames show another texture than a world that stands still would have.

Colours alone (``witnesses``) miss what is coloured like the background, and what turns in place and
stays where it is. But a trouser leg has not the grain of the wall behind it, and of a statue that
turns another side comes to be seen. A shadow darkens a texture and leaves it as it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from recam.arrays import F32, U8, Mask
from recam.reconstruct.motion_segmentation.view_consistency import (
    centers_seen_from,
    slopes,
    turned_away,
)
from recam.reconstruct.warping import inverse_depth_warps, seen_in
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

NUM_FRAMES = 16
"""Frames, all over the clip, that a texture is compared with."""
HALF = 3
"""Windows of 7×7 px are compared."""
BLUR_PX = 0.8
"""Depth errs by parts of a pixel, which fine grain would not survive."""
NOISE, MIN_POWER = 12.0, 9.0
"""Squared grey levels: what noise and compression add to a window's variance; and the variance
that a window must have here or there."""
MIN_SEEN = 0.6
"""Part of a window that must be seen in the other frame."""
MIN_FRAMES, ENOUGH_FRAMES = 3, 6
"""Frames that must show a pixel; and those up to which its answer is drawn to ALIKE."""
UNLIKE, ALIKE = 0.3, 0.8
"""Mean correlations up to which a texture is another one, from which on it is the same."""
AROUND_PX = 2
"""So near to what moves in another frame, that frame says nothing."""


def unlike_in_texture(
    rgb: U8,
    dynamic: Mask,
    rho: F32,
    cameras: Cameras,
    progress: Progress = no_progress,
) -> F32:
    """How surely other frames show another texture, float32 [t, h, w] in [0, 1]; 0 also where
    nothing can be told, as on plain surfaces.

    rgb: uint8 [t, h, w, 3]; rho: inverse depth [t, h, w], behind what is ``dynamic`` [t, h, w] that
    of the background. Windows of NUM_FRAMES other frames, drawn as rho says they would be seen, are
    correlated with each pixel's (normalised, so that neither exposure nor shadows count; noise
    keeps plain ones from being unlike anything). A window at a border of two things is like
    neither; so a pixel has the likeness of the best window that it is part of.
    """
    t, h, w = rho.shape
    gray = np.stack([_smooth(frame) for frame in rgb])
    around = np.ones((2 * AROUND_PX + 1, 2 * AROUND_PX + 1), np.uint8)
    blocked = np.stack([cv2.dilate(d.astype(np.uint8), around) for d in dynamic])
    views = np.unique(np.linspace(0, t - 1, min(NUM_FRAMES, t)).round().astype(np.int64))
    window = np.ones((2 * HALF + 1, 2 * HALF + 1), np.uint8)
    out = np.zeros((t, h, w), np.float32)

    def job(i: int) -> None:
        """Compare frame i with the others."""
        others = views[np.abs(views - i) > 1].tolist()
        a, b = inverse_depth_warps(cameras, i, others)
        total, count = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        slope, centers = slopes(rho[i]), centers_seen_from(cameras, i, np.array(others, np.int64))
        lens = cameras.intrinsics[i].numpy()[[0, 1, 0, 1], [0, 1, 2, 2]].astype(np.float32)
        at, seen = np.empty((h, w, 2), np.float32), np.empty((h, w), np.float32)
        for k, j in enumerate(others):
            _place(
                rho, blocked, i, j, a[k : k + 1], b[k : k + 1], slope, centers[k], lens, at, seen,
            )  # fmt: skip
            there = cv2.remap(gray[j], at[..., 0], at[..., 1], cv2.INTER_LINEAR)
            like, textured = _likeness(gray[i], there, seen)
            total += np.where(textured, like, 0)
            count += textured
        best = cv2.dilate(_with_doubt(total, count), window)
        unlike = np.clip((ALIKE - best) / (ALIKE - UNLIKE), 0, 1)
        out[i] = np.where(best < -1.5, 0, unlike)

    parallel_frames(job, range(t), progress, "comparing textures")
    return out


def _smooth(frame: U8) -> F32:
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), BLUR_PX), np.float32)


def _with_doubt(total: F32, count: F32) -> F32:
    """Mean likeness [h, w] of ``count`` frames, drawn to ALIKE where they are few; −2 = unknown."""
    like = total / np.maximum(count, 1)
    missing = np.maximum(ENOUGH_FRAMES - count, 0)
    drawn = (total + missing * np.maximum(like, ALIKE)) / (count + missing)
    return np.where(count >= MIN_FRAMES, drawn, -2).astype(np.float32)


def _likeness(here: F32, there: F32, seen: F32) -> tuple[F32, Mask]:
    """Correlation [h, w] of the windows around each pixel, over what is ``seen`` (1 or 0) of them;
    and whether it tells anything."""
    part = _mean(seen)
    weight = np.maximum(part, 1e-6)
    middle = _mean(here)  # taken off first, so that squares keep their digits
    a, b = here - middle, there - middle
    mean_a, mean_b = _mean(seen * a) / weight, _mean(seen * b) / weight
    var_a = np.maximum(_mean(seen * a * a) / weight - mean_a * mean_a, 0)
    var_b = np.maximum(_mean(seen * b * b) / weight - mean_b * mean_b, 0)
    both = _mean(seen * a * b) / weight - mean_a * mean_b
    like = (both + NOISE) / np.sqrt((var_a + NOISE) * (var_b + NOISE))
    return like.astype(np.float32), (part > MIN_SEEN) & (np.maximum(var_a, var_b) > MIN_POWER)


def _mean(field: F32) -> F32:
    side = 2 * HALF + 1
    return np.asarray(cv2.boxFilter(field, -1, (side, side), borderType=cv2.BORDER_CONSTANT))


@kernel
def _place(rho, blocked, i, j, a, b, slope, center, lens, at, seen):
    """Where the other frame should show each pixel, as indices (x, y), and whether it can be seen
    there (1 or 0): inside, not on its way out of sight, not behind something nearer, nor where
    something moves."""
    _, h, w = rho.shape
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    for y in range(h):
        for x in range(w):
            px, py, own = x + 0.5, y + 0.5, rho[i, y, x]
            at[y, x, 0], at[y, x, 1] = -9, -9
            seen[y, x] = 0
            u, v, shown = seen_in(a, b, 0, px, py, own, j, rho, blocked, 1)
            if not shown:
                continue
            at[y, x, 0], at[y, x, 1] = u - 0.5, v - 0.5
            if not turned_away((px - cx) / fx, (py - cy) / fy, own, slope[:, y, x], lens, center):
                seen[y, x] = 1
