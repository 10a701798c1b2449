"""A shadow that moves is no thing that moves: what lies in it is still.

Flow follows the border of a shadow, which then counts as moving and is stood upright with whatever
casts it. But other frames show the surface behind without it: in the shadow it has the same
texture, and is darker by what the clip's other shadows take from each colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
OFF_COLOR, OFF_ANY_COLOR = 0.06, 0.09
"""How far (log) a channel may be from the colour of shadows; and from grey, where that is not
known."""
DEEPEST, BRIGHTER = 1.8, 0.22
"""Log brightness that a shadow takes at most, and by which the surface may be brighter."""
TEXTURE = (0.03, 0.06)
"""Contrast (log) from which on a texture says something, and says all."""
ALIKE = (0.05, 0.45)
"""Correlation of textures up to which the surface is another, from which on it is the same."""
COLOR_ALONE = 0.3
"""What colour says where there is no texture, by what texture would."""
COLORFUL = (0.1, 0.3)
"""Log difference of a surface's channels from grey from which on its colour says something, and
says all: a grey car on a grey road has the colour of a shadow."""
SHADOW = 0.6
PROVEN, MIN_PROVEN = 0.5, 0.2
"""What texture or colour must say at a pixel, and at what part of a region's."""


@dataclass(frozen=True)
class _Compared:
    """A box of a frame, beside what is behind it there. rows, columns: of the box. light: log of
    its brightness over the other's, by channel, [h, w, 3]; alike: correlation of the textures;
    texture: contrast of what is behind; colorful: how far that is from grey (log); seen: whether
    enough frames show it; [h, w] each."""

    rows: slice
    columns: slice
    light: F32
    alike: F32
    texture: F32
    colorful: F32
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
        return _compare(rgb, dynamic[i], blocked, rho, cameras, i, views[np.abs(views - i) > 1])

    moves = np.flatnonzero(dynamic.any((1, 2)))
    asked = moves[:: max(1, len(moves) // LEARNED_FROM)].tolist()
    learned = dict(zip(asked, parallel_map(compared, asked)))
    color, known = _color_of_shadows(learned, dynamic)
    out = dynamic.copy()

    def job(i: int) -> None:
        """Take the shadows out of frame i."""
        found = learned[i] if i in learned else compared(i)
        if found is not None:
            box = found.rows, found.columns
            here = _is_shadow(found, dynamic[i][box], rgb[i][box], color, known)
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
    texture = np.sqrt(np.maximum(energy[1], 0))
    channels = np.stack([_mean(other[..., c], weight, LIGHT_PX) for c in range(3)], axis=-1)
    colorful = np.abs(channels - channels.mean(-1, keepdims=True)).max(-1)
    return _Compared(rows, columns, light, alike, texture, colorful, seen[box])


def _mean(values: F32, weight: F32, side: int) -> F32:
    """Weighted mean over a window around each pixel."""
    total = cv2.blur(values * weight, (side, side))
    return np.asarray(total / np.maximum(cv2.blur(weight, (side, side)), 1e-6), np.float32)


def _color_of_shadows(learned: dict[int, _Compared | None], dynamic: Mask) -> tuple[F64, bool]:
    """Log light [3] that is missing in a shadow of unit depth, and whether some frames tell it: by
    pixels with the same texture and clearly less light."""
    found = []
    for i, one in learned.items():
        if one is None:
            continue
        depth = one.light.mean(-1)
        certain = (one.alike > 0.6) & (one.texture > 0.04) & (depth < -0.25) & one.seen
        certain &= dynamic[i][one.rows, one.columns]
        certain &= np.abs(one.light - depth[..., None]).max(-1) < 0.3
        found.append(one.light[certain] / -depth[certain][:, None])
    pixels = np.concatenate(found) if found else np.zeros((0, 3))
    if len(pixels) < MIN_LEARNED:
        return -np.ones(3), False
    return np.median(pixels, axis=0).astype(np.float64), True


def _is_shadow(one: _Compared, moving: Mask, rgb: U8, color: F64, known: bool) -> Mask:
    """Where the box is the surface behind it in a shadow, made whole up to image edges."""
    depth = np.maximum(one.light @ color / (color @ color), 0)
    off = np.abs(one.light - depth[..., None] * color).max(-1)
    like = np.clip(1.5 - off / (OFF_COLOR if known else OFF_ANY_COLOR), -1, 1)
    never = (depth > DEEPEST) | (one.light.mean(-1) > BRIGHTER)
    textured, hued = _between(one.texture, TEXTURE), _between(one.colorful, COLORFUL)
    same = _between(one.alike, ALIKE)
    by_color = 0.5 + 0.4 * like
    by_texture = np.minimum(same, 0.5 + 0.5 * like)
    evidence = np.where(never | ~one.seen, 0, textured * by_texture + (1 - textured) * by_color)
    belief = textured + (1 - textured) * hued * COLOR_ALONE
    belief = np.where((like <= -0.5) | never, 1, belief) * one.seen
    weight = np.where(moving, belief + 1e-3, 0).astype(np.float32)
    whole = tgv_inpaint(evidence.astype(np.float32), weight, np.ascontiguousarray(rgb), SNAP)
    found = moving & (whole > SHADOW)
    num, part = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
    agreement = np.maximum(textured * same, (1 - textured) * hued)
    proven = one.seen & (agreement > PROVEN) & (like > 0) & ~never
    share = np.bincount(part[found & proven], minlength=num) / np.bincount(part.ravel())
    share[0] = 0
    return np.asarray((share > MIN_PROVEN)[part])


def _between(values: F32, ends: tuple[float, float]) -> F32:
    """0 up to the lower of the ends, 1 from the upper one on."""
    return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)


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
