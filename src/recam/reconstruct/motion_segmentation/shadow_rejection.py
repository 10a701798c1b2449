"""A shadow that moves is no thing that moves: what lies in it is still.

Flow follows the border of a shadow, which then counts as moving and is stood upright with whatever
casts it. But other frames show the surface behind without it: in the shadow it has the same
texture, and is darker by what the clip's other shadows take from each colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit

from recam.arrays import F32, F64, I64, U8, Mask
from recam.reconstruct.depth.tgv import tgv_inpaint
from recam.reconstruct.motion_segmentation.regions import SNAP, without_specks
from recam.reconstruct.warping import inverse_depth_warps, seen_in
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames, parallel_map
from recam.types import Cameras, Progress, no_progress

NUM_FRAMES = 32
"""Frames that are asked what is behind."""
MIN_SEEN = 3
LIGHT_PX, TEXTURE_PX = 5, 9
"""Sides of the windows in which light is even, and in which texture is compared."""
DARK = 6.0
"""Levels (of 255) that are added before brightness is compared by its logarithm."""
LEARNED_FROM, MIN_LEARNED = 12, 200
"""Frames that tell the colour of the clip's shadows, and pixels that must."""
FLOOR = (0.02, 0.01)
"""Logs of colours and of contrasts are taken of no less than about this."""
USUAL_LIGHT = -0.5
"""Log light of a usual shadow."""
LOG_ODDS = {
    "light": -3.26, "light's distance from a usual shadow's": -5.6,
    "its colour off the clip's shadows": -0.77, "its colour off grey": -2.53,
    "correlation of textures": 1.4, "contrast behind": 0.24, "contrast here": 1.37,
    "contrast of the difference": -2.4, "that, relative": 1.76, "colour behind": 6.48,
    "unevenness of light": 0.84, "none of these": -11.81,
}  # fmt: skip
"""What each thing that is compared adds to the log odds of a shadow (logistic regression on nine
synthetic clips, then 1.5 taken off, since a thing that is lost costs more than a shadow that is
left)."""
SURE = 0.7
"""Probability of a shadow from which on a pixel speaks for its region."""
SHADOW, MIN_SURE = 0.6, 0.2
"""The smoothed probability from which on a pixel lies in a shadow; and the part of a region whose
own pixels must be sure."""
MAX_WITHIN = 0.5
"""Part of a shadow that may lie below and above what moves: a shadow lies at a foot; what has a
head above and feet below is of the same thing."""

TEXTURED, MIN_ALIKE = 0.05, 0.35
"""Contrast from which on textures can be told apart; and the mean correlation around a
pixel below which it is another surface, as dark as a shadow would make this one."""


@dataclass(frozen=True)
class _Compared:
    """A box of a frame, beside what is behind it there. rows, columns: of the box. light: log of
    its brightness over the other's, by channel, [h, w, 3]; alike: correlation of the textures;
    contrast: of what is here and of what is behind (log), [2, h, w]; colorful: how far that is from
    grey (log); uneven: how much the light differs around; seen: whether enough frames show it;
    [h, w] each."""

    rows: slice
    columns: slice
    light: F32
    alike: F32
    contrast: F32
    colorful: F32
    uneven: F32
    seen: Mask


def without_shadows(
    dynamic: Mask,
    rgb: U8,
    rho: F32,
    cameras: Cameras,
    progress: Progress = no_progress,
) -> Mask:
    """``dynamic`` [t, h, w] without what is only the still surface behind it, in a shadow.

    rgb: uint8 [t, h, w, 3]; rho: inverse depth [t, h, w], of the background behind what moves.
    What fewer than three other frames show stays as it is.
    """
    t = len(rgb)
    views = np.unique(np.linspace(0, t - 1, min(NUM_FRAMES, t)).round().astype(int))
    blocked = np.stack([cv2.dilate(d.astype(np.uint8), np.ones((5, 5), np.uint8)) for d in dynamic])

    def compared(i: int) -> _Compared | None:
        return _compare(rgb, dynamic[i], blocked, rho, cameras, i, views[views != i])

    moves = np.flatnonzero(dynamic.any((1, 2)))
    asked = moves[:: max(1, len(moves) // LEARNED_FROM)].tolist()
    learned = dict(zip(asked, parallel_map(compared, asked)))
    color = _color_of_shadows(learned, dynamic)
    out = dynamic.copy()

    def job(i: int) -> None:
        """Take the shadows out of frame i."""
        found = learned[i] if i in learned else compared(i)
        if found is not None:
            box = found.rows, found.columns
            here = _is_shadow(found, dynamic[i][box], rgb[i][box], color)
            out[i][box] &= ~here
            out[i] = without_specks(out[i])

    parallel_frames(job, range(t), progress, "telling shadows")
    return out


def _compare(
    rgb: U8,
    moving: Mask,
    blocked: U8,
    rho: F32,
    cameras: Cameras,
    i: int,
    others: I64,
) -> _Compared | None:
    """Frame i around what moves in it beside the median of what ``others`` show behind."""
    y, x = np.nonzero(moving)
    if not len(y) or len(others) < MIN_SEEN:
        return None
    rows = slice(max(int(y.min()) - TEXTURE_PX, 0), int(y.max()) + TEXTURE_PX + 1)
    columns = slice(max(int(x.min()) - TEXTURE_PX, 0), int(x.max()) + TEXTURE_PX + 1)
    reach = np.ones((2 * TEXTURE_PX + 1,) * 2, np.uint8)
    wanted = np.stack(np.nonzero(cv2.dilate(moving.astype(np.uint8), reach)), -1)
    shown = np.full((len(wanted), 3, len(others)), np.nan, np.float32)
    _fetch(
        rgb,
        blocked,
        rho,
        i,
        others,
        *inverse_depth_warps(cameras, i, others.tolist()),
        wanted,
        shown,
    )
    num = (~np.isnan(shown[:, 0])).sum(1)
    enough = np.flatnonzero(num >= MIN_SEEN)
    y, x = wanted[enough].T
    shown.sort(axis=-1)  # what was not seen goes last
    behind = np.zeros(rgb.shape[1:], np.float32)
    behind[y, x] = shown[enough, :, num[enough] // 2]
    seen = np.zeros(moving.shape, bool)
    seen[y, x] = True
    box = rows, columns
    own, other = (np.log(v[box].astype(np.float32) + DARK) for v in (rgb[i], behind))
    weight = seen[box].astype(np.float32)
    light = np.stack(
        [_mean(own[..., c] - other[..., c], weight, LIGHT_PX) for c in range(3)], axis=-1
    )
    fine = [v.mean(-1) - _mean(v.mean(-1), weight, LIGHT_PX) for v in (own, other)]
    energy = [_mean(v * v, weight, TEXTURE_PX) for v in fine]
    both = _mean(fine[0] * fine[1], weight, TEXTURE_PX)
    alike = both / np.sqrt(np.maximum(energy[0] * energy[1], 1e-10))
    contrast = np.sqrt(np.maximum(np.stack(energy), 0))
    channels = np.stack([_mean(other[..., c], weight, LIGHT_PX) for c in range(3)], axis=-1)
    colorful = np.abs(channels - channels.mean(-1, keepdims=True)).max(-1)
    level = light.mean(-1)
    spread = _mean(level * level, weight, TEXTURE_PX) - _mean(level, weight, TEXTURE_PX) ** 2
    uneven = np.sqrt(np.maximum(spread, 0))
    return _Compared(rows, columns, light, alike, contrast, colorful, uneven, seen[box])


def _mean(values: F32, weight: F32, side: int) -> F32:
    """Weighted mean over a window around each pixel."""
    total = cv2.blur(values * weight, (side, side))
    return np.asarray(total / np.maximum(cv2.blur(weight, (side, side)), 1e-6), np.float32)


def _color_of_shadows(learned: dict[int, _Compared | None], dynamic: Mask) -> F64:
    """Log light [3] that is missing in a shadow of unit depth, by pixels of some frames with the
    same texture and clearly less light; grey where there are too few."""
    found = []
    for i, one in learned.items():
        if one is None:
            continue
        depth = one.light.mean(-1)
        certain = (one.alike > 0.6) & (one.contrast[1] > 0.04) & (depth < -0.25) & one.seen
        certain &= dynamic[i][one.rows, one.columns]
        certain &= np.abs(one.light - depth[..., None]).max(-1) < 0.3
        found.append(one.light[certain] / -depth[certain][:, None])
    pixels = np.concatenate(found) if found else np.zeros((0, 3))
    if len(pixels) < MIN_LEARNED:
        return -np.ones(3)
    return np.median(pixels, axis=0).astype(np.float64)


def _is_shadow(one: _Compared, moving: Mask, rgb: U8, color: F64) -> Mask:
    """Where the box is the surface behind it in a shadow, made whole up to image edges."""
    textured = (one.seen & moving & (one.contrast.min(0) > TEXTURED)).astype(np.float32)
    another = textured * (_mean(one.alike, textured, 2 * TEXTURE_PX + 1) < MIN_ALIKE)
    sure = np.where(one.seen & (another == 0), expit(_log_odds(one, color)), 0)
    belief = np.abs(2 * sure - 1) * one.seen
    weight = np.where(moving, belief + 1e-3, 0).astype(np.float32)
    whole = tgv_inpaint(sure.astype(np.float32), weight, np.ascontiguousarray(rgb), SNAP)
    found = moving & (whole > SHADOW)
    num, part = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
    size = np.bincount(part.ravel())
    share = np.bincount(part[found & (sure > SURE)], minlength=num) / size
    share[0] = 0
    shadow = (share > MIN_SURE)[part]
    within = np.bincount(part[_between(moving & ~shadow, moving)], minlength=num) / size
    return np.asarray(shadow & (within < MAX_WITHIN)[part])


def _between(kept: Mask, moving: Mask) -> Mask:
    """Where what is ``kept`` lies above and below, with nothing between that does not move."""
    above, below = np.zeros_like(kept), np.zeros_like(kept)
    for here, rows in ((above, range(1, len(kept))), (below, range(len(kept) - 2, -1, -1))):
        step = 1 if here is above else -1
        for y in rows:
            here[y] = (here[y - step] | kept[y - step]) & moving[y]
    return above & below


def _log_odds(one: _Compared, color: F64) -> F64:
    """Log odds [h, w] that a pixel shows the surface behind it, in a shadow."""
    least_color, least_contrast = FLOOR
    light = one.light.mean(-1)
    depth = np.maximum(one.light @ color / (color @ color), 0)
    off_color = np.abs(one.light - depth[..., None] * color).max(-1)
    off_gray = np.abs(one.light - light[..., None]).max(-1)
    here, behind = one.contrast
    both = here * here + behind * behind
    rest = np.sqrt(np.maximum(both - 2 * one.alike * here * behind, 0))
    light = np.clip(light, -2, 1)
    values = (
        light, np.abs(light - USUAL_LIGHT), np.log(off_color + least_color),
        np.log(off_gray + least_color), np.clip(one.alike, -1, 1),
        np.log(behind + least_contrast), np.log(here + least_contrast),
        np.log(rest + least_contrast), rest / np.sqrt(both + least_contrast**2), one.colorful,
        np.log(one.uneven + least_contrast), 1.0,
    )  # fmt: skip
    total = np.zeros(light.shape)
    for weight, value in zip(LOG_ODDS.values(), values, strict=True):
        total += weight * value
    return total


@kernel
def _fetch(rgb, blocked, rho, i, others, a, b, wanted, shown):
    """shown [n, 3, k]: colours of the background at frame i's pixels ``wanted`` [n, (y, x)] in the
    others [k]; left as they are where it is hidden."""
    for n in range(len(wanted)):
        y, x = wanted[n, 0], wanted[n, 1]
        own = rho[i, y, x]
        px, py = x + 0.5, y + 0.5
        for k in range(len(others)):
            j = others[k]
            u, v, seen = seen_in(a, b, k, px, py, own, j, rho, blocked, 2)
            if not seen:
                continue
            u -= 0.5
            v -= 0.5
            iu, iv = int(u), int(v)
            fu, fv = u - iu, v - iv
            for c in range(3):
                top = (1 - fu) * rgb[j, iv, iu, c] + fu * rgb[j, iv, iu + 1, c]
                below = (1 - fu) * rgb[j, iv + 1, iu, c] + fu * rgb[j, iv + 1, iu + 1, c]
                shown[n, c, k] = (1 - fv) * top + fv * below
