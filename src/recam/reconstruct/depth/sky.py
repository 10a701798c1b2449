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
