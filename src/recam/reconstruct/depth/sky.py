"""The sky: it has no texture to be matched by, so colours and the cameras must tell it.

Left to what is around it, a smooth sky gets the depth of the roofs that it touches, and then counts
as moving, since other frames contradict that.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.arrays import F32, I64, U8, Mask
from recam.reconstruct.warping import inverse_depth_warps
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, no_progress

BLUER, BRIGHT = 12, 90
"""Levels (of 255) by which blue is above red, and of blue, from which on a pixel may be sky."""
CLEARLY = 40
"""Levels by which blue is above red in a patch that is so blue that depth measured in it, which a
smooth surface makes up, does not count."""
SMOOTH = 7.0
"""Levels between neighbours, 3 px around, up to which a surface is smooth."""
MIN_AREA = 0.01
"""Part of the picture that a patch of sky takes at least."""
WITNESSES = 8
AGREE = 0.8
"""Part of the look-ups at infinity that must find sky again."""
MAX_NEAR, NEAR = 0.1, 0.15
"""Part of a patch that may have been measured to be near; inverse depth, of that of what is near,
from which on it is."""
SURE = 0.4
"""Confidence from which on depth was measured."""
PLAIN, BRIGHTER, BEYOND = 10, 1.05, 0.55
"""For ``far_sky``: levels up to which it is smooth, brightness over the rest's, and inverse depth
over that of the farthest tenth of the rest."""
TAKEN_OFF, MIN_LEFT = 0.5, 0.05
"""Part of the sky's inverse depth that is taken off all, and of each pixel's own that is left."""


def clear_sky(rgb: U8, cameras: Cameras, rho: F32, confidence: F32) -> Mask:
    """Where a smooth, blue sky is seen, bool [t, h, w].

    Patches that reach the picture's top; in other frames sky has to be where these look at
    infinity (which a blue wall close by fails), and depth that was measured in pale ones has to be
    far.
    rgb: uint8 [t, h, w, 3]. rho, confidence [t, h, w]: inverse depth in units of that of what is
    near, and whether it was measured.
    """
    t, h, w = rgb.shape[:3]
    alike = np.stack([_sky_coloured(picture) for picture in rgb])
    others = np.unique(np.linspace(0, t - 1, min(WITNESSES, t)).round().astype(np.int64))
    near = (rho > NEAR) & (confidence > SURE)
    out = np.zeros((t, h, w), bool)

    def job(i: int) -> None:
        """Keep the patches of frame i that nothing speaks against."""
        num, labels, stats, _ = cv2.connectedComponentsWithStats(
            alike[i].astype(np.uint8), connectivity=4
        )
        top = set(np.unique(labels[:2]).tolist())
        for n in range(1, num):
            patch = labels == n
            if n not in top or stats[n, cv2.CC_STAT_AREA] < MIN_AREA * h * w:
                continue
            colour = rgb[i][patch].astype(np.int16)
            clearly = float(np.median(colour[:, 2] - colour[:, 0])) >= CLEARLY
            if not clearly and near[i][patch].mean() > MAX_NEAR:
                continue
            if _at_infinity(patch, alike, cameras, i, others):
                out[i] |= patch

    parallel_frames(job, range(t), no_progress, "")
    return out


def _sky_coloured(picture: U8) -> Mask:
    red, green, blue = (picture[..., c].astype(np.int16) for c in range(3))
    blue_enough = (blue >= red + BLUER) & (blue + 2 >= green) & (blue >= BRIGHT)
    found = (blue_enough & (_contrast(picture) <= SMOOTH)).astype(np.uint8)
    # Its border with what is before it is a pixel or two of mixed colour that is not smooth.
    grown = cv2.dilate(found, np.ones((5, 5), np.uint8))
    return np.asarray((found > 0) | ((grown > 0) & blue_enough))


def _contrast(picture: U8) -> NDArray[np.int16]:
    """Levels between the neighbours of each pixel, in the worst channel, [h, w]."""
    smooth = cv2.GaussianBlur(picture, (3, 3), 0)
    around = np.ones((3, 3), np.uint8)
    spread = cv2.dilate(smooth, around).astype(np.int16) - cv2.erode(smooth, around)
    return np.asarray(spread.max(-1), np.int16)


def _at_infinity(patch: Mask, alike: Mask, cameras: Cameras, i: int, others: I64) -> bool:
    """Whether frames that see where frame i's patch [h, w] looks at infinity show sky there."""
    h, w = patch.shape
    y, x = np.nonzero(patch)
    thin = max(1, len(y) // 2000)
    pixels = np.stack([x[::thin] + 0.5, y[::thin] + 0.5, np.ones(len(y[::thin]))], -1)
    numbers = others[others != i].tolist()
    seen = found = 0
    for a, j in zip(inverse_depth_warps(cameras, i, numbers)[0], numbers):
        at = pixels @ a.T
        u, v = (at[:, :2] / np.maximum(at[:, 2:], 0.05)).T
        inside = (at[:, 2] > 0.05) & (u > 0) & (v > 0) & (u < w) & (v < h)
        seen += int(inside.sum())
        found += int(alike[j, v[inside].astype(int), u[inside].astype(int)].sum())
    return seen == 0 or found >= AGREE * seen


def far_sky(rgb: U8, rho: F32) -> Mask:
    """Where the sky is that a depth model sees, bool [t, h, w]; for cameras that stand or turn.

    Smooth patches that reach the picture's top, brighter than the rest, and put by rho [t, h, w],
    the model's inverse depth, far beyond all of it (a ceiling comes nearer towards the top).
    """
    out = np.zeros(rho.shape, bool)
    for i, picture in enumerate(rgb):
        smooth = (_contrast(picture) <= PLAIN).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(smooth, connectivity=4)
        large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * smooth.size)
        patch = np.isin(labels, np.intersect1d(large, labels[:2])) & (smooth > 0)
        if not patch.any() or patch.all():
            continue
        level = picture.mean(-1)
        bright = np.median(level[patch]) >= BRIGHTER * np.median(level[~patch])
        if bright and np.median(rho[i][patch]) <= BEYOND * np.quantile(rho[i][~patch], 0.1):
            out[i] = patch
    return out


def shift_of_sky(rho: F32, sky: Mask) -> float:
    """What to add to a model's inverse depth [t, h, w], known up to a shift, by the sky: less half
    of what it is there, where it ought to be 0 (a model errs there too). 0 without sky."""
    return -TAKEN_OFF * float(np.median(rho[sky])) if sky.any() else 0.0


def with_sky_at_infinity(rho: F32, sky: Mask, shift: float) -> F32:
    """Inverse depth [t, h, w] of a model with a shift, 0 in the sky; nothing else gets there."""
    if shift == 0 and not sky.any():
        return rho
    out = np.maximum(rho + np.float32(shift), MIN_LEFT * rho)
    return np.where(sky, 0, out).astype(np.float32)
