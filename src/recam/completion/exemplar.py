"""Fill what nobody saw by copying from where the video shows the like.

PatchMatch (Barnes et al. 2009) inside the coarse-to-fine scheme of Wexler et al. 2007: every patch
that touches the hole looks for the most similar patch of known pixels. On coarse levels the mean of
overlapping patches settles the structure; on the finest every pixel is a copy of one known pixel,
since means of patches are blurred. Sources may be other frames too, and only from the same depth or
farther: a moved camera uncovers the background. What lies on a plane is copied from the same plane,
each patch as the plane shows it there (after Huang et al. 2014): boards and bricks follow the
perspective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from recam.completion.patch_match import NOTHING, RADIUS, move_on, rebuild, search_matches
from recam.completion.planes import Surface
from recam.flow.pyramid import fill_from_pyramid

ROUNDS = 4
"""Of searching and rebuilding on each level, once it is filled."""
SEARCH_SIDE = 768
"""On larger levels copies are only refined, within NEAR_PX of what the level below found."""
NEAR_PX = 4
COARSEST_REACH_PX = 4.0
"""On the coarsest level no hole pixel is much farther than this from what is known."""
INWARD = 1.3
"""A patch counts by this factor less for each pixel that its centre lies deeper in the hole."""
TEXTURE_SHARE = 3.0
"""Weight of a patch's mean gradient beside its mean colour: a flat patch resembles much, and would
be taken for all."""
GUIDE_WINDOW = 0.06
"""Side of the square whose mean colour is to fit the smooth fill's, as a share of the picture's
longer side. Single patches of leaves are light or dark: only their surroundings' mean fits."""
AS_TEXTURED = 0.9
"""Narrow holes with this share of their surroundings' texture stay as they were painted."""
GUIDED = 0.7
"""Share of the copies' slow error of colour against the smooth fill that is taken off."""
SHADE_PX = 6.0


@dataclass(frozen=True)
class Source:
    """A picture that may be copied from.

    picture: uint8 [h, w, 3]. usable: bool [h, w]; the rest may change. depth: float32 [h, w],
    0 = unknown. surface: what its pixels lie on. None where these are not known.
    """

    picture: np.ndarray
    usable: np.ndarray
    depth: np.ndarray | None = None
    surface: Surface | None = None
    _kept: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict, repr=False)

    def at(self, k: int) -> tuple[np.ndarray, ...]:
        """Halved k times: picture, centres, depth, means, usable, label and outof, as in _Level."""
        if k not in self._kept:
            height, width = self.usable.shape
            size = (width >> k, height >> k)
            usable = _shrunk(self.usable, size) > 0.98
            whole = _whole_patches(usable)
            picture = _mean_of(self.picture, self.usable, size)
            depth = np.zeros(self.usable.shape, np.float32) if self.depth is None else self.depth
            surface = self.surface or _no_surface(self.usable)
            self._kept[k] = (
                picture, whole, _least_depth(_nearest(depth, size)),
                _described(picture, whole, _guide_side(size)), usable,
                _picked(surface.label, size), _inverse(_picked(surface.into, size)),
            )  # fmt: skip
        return self._kept[k]


@dataclass(frozen=True)
class _Level:
    """One size of the pyramid.

    picture: float32 [h, w, 3]. hole: bool [h, w]. target: bool [h, w], centres of the patches that
    touch the hole. inward: float32 [h, w], how much a patch there counts. sources: float32
    [n, h, w, 3]. centres: bool [n, h, w], where a whole patch may be copied. source_depth: float32
    [n, h, w]. behind: float32 [h, w]. guide: float32 [h, w, 4], what is to be there: mean
    colour around, and mean gradient times TEXTURE_SHARE. means: float32 [n, h, w, 4], what they
    are. usable: bool [n, h, w]. label, into: of the hole's surface. source_label [n, h, w], outof
    [n, h, w, 2, 2]: of the sources', d(column, row) / d(coordinates in the plane).
    """

    picture: np.ndarray
    hole: np.ndarray
    target: np.ndarray
    inward: np.ndarray
    sources: np.ndarray
    centres: np.ndarray
    source_depth: np.ndarray
    behind: np.ndarray
    guide: np.ndarray
    means: np.ndarray
    usable: np.ndarray
    label: np.ndarray
    into: np.ndarray
    source_label: np.ndarray
    outof: np.ndarray


def fill_by_copies(
    picture: np.ndarray,
    hole: np.ndarray,
    pool: Sequence[Source],
    behind: np.ndarray | None = None,
    surface: Surface | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The picture with its hole filled from the pool, uint8 [h, w, 3], and what its pixels are
    copies of: float32 [h, w, 3], number in the pool (−1 = not copied), row and column.

    picture: uint8 [h, w, 3]; in the hole a smooth fill. It says which colour belongs where, and
    stays where the pool has nothing to offer. hole: bool [h, w]. behind: float32 [h, w], depth of
    the surface that is to be filled in (0 = unknown): what is copied must not stand nearer.
    surface: what the picture's pixels lie on; then the pool's must be known too. Other pixels come
    back as they are.
    """
    origin = np.full((*hole.shape, 3), -1, np.float32)
    if not hole.any():
        return picture.copy(), origin
    levels = _pyramid(picture, hole, pool, behind, surface)
    if not levels[0].centres.any():
        return picture.copy(), origin
    rng = np.random.default_rng(seed)
    state: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for level in reversed(levels):
        if not level.centres.any():
            continue
        if state is None:
            filled = (~level.hole).astype(np.float32)
            match = np.zeros((*level.hole.shape, 3), np.float32)
            match[level.target] = _random_match(rng, level, level.target)
            state = level.picture.copy(), filled, match
        else:
            state = _enlarged(*state, level, rng)
        now, filled, match = state
        state = _settle(now, filled, match, level, rng, origin if level is levels[0] else None)
    assert state is not None
    now, filled, _ = state
    now = now + GUIDED * _shade(picture - now, hole & (filled > 0))
    copied = np.clip(now + 0.5, 0, 255).astype(np.uint8)
    copies = (hole & (filled > 0))[..., None]
    return np.where(copies, copied, picture), np.where(copies, origin, -1)


def _shade(difference: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The slow part of a difference [h, w, 3] within the hole."""
    weight = hole[..., None].astype(np.float32)
    sums, mass = (cv2.GaussianBlur(v.astype(np.float32), (0, 0), SHADE_PX)
                  for v in (difference * weight, weight[..., 0]))  # fmt: skip
    return sums / np.maximum(mass, 1e-6)[..., None] * weight


def _settle(
    now: np.ndarray,
    filled: np.ndarray,
    match: np.ndarray,
    level: _Level,
    rng: np.random.Generator,
    origin: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rounds of searching and rebuilding, from the border inward while something is not filled.
    origin: of the finest level, to be written."""
    large = max(level.hole.shape) > SEARCH_SIDE and bool((filled > 0).all())
    reach = NEAR_PX if large else max(level.hole.shape)
    left, rounds, enough = int((filled == 0).sum()), 0, 1 if large else ROUNDS
    while rounds < enough:
        cost = np.full(level.hole.shape, NOTHING, np.float32)
        search_matches(
            now, filled, level.target, level.sources, level.centres, level.source_depth,
            level.behind, level.guide, level.means, level.usable, level.label, level.into,
            level.source_label, level.outof, match, cost, int(rng.integers(1, 2**31)), reach,
        )  # fmt: skip
        found = cost[level.target & (cost < NOTHING)]
        spread = float(np.quantile(found, 0.75)) if found.size else 1.0
        copies = origin is not None and (rounds > 0 or large)
        rebuild(
            now, filled, level.hole, level.target, level.inward, level.sources, level.label,
            level.into, level.outof, match, cost, np.float32(max(spread, 1.0)), copies,
            np.empty_like(match) if origin is None else origin,
        )  # fmt: skip
        still = int((filled == 0).sum())
        if still == 0 or still == left:
            rounds += 1
        left = still
    return now, filled, match


def _pyramid(
    picture: np.ndarray,
    hole: np.ndarray,
    pool: Sequence[Source],
    behind: np.ndarray | None,
    surface: Surface | None,
) -> list[_Level]:
    """From the finest level to the coarsest."""
    here = surface or _no_surface(hole)
    deepest = float(cv2.distanceTransform(_byte(hole), cv2.DIST_L2, 5).max())
    num = 1 + max(0, round(np.log2(max(deepest, 1) / COARSEST_REACH_PX)))
    behind = np.zeros(hole.shape, np.float32) if behind is None else behind
    height, width = hole.shape
    levels: list[_Level] = []
    for k in range(num):
        size = (width >> k, height >> k)
        if k > 0 and min(size) < 6 * RADIUS:
            break
        part = _shrunk(hole, size) > 0.02
        inside = cv2.distanceTransform(_byte(part), cv2.DIST_L2, 5)
        square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
        smooth = _mean_of(picture, np.ones_like(hole), size)
        sources, centres, depth, means, usable, label, outof = (
            np.stack(values) for values in zip(*(source.at(k) for source in pool))
        )
        levels.append(
            _Level(
                smooth, part, cv2.dilate(_byte(part), square) > 0,
                (INWARD**-inside).astype(np.float32), sources, centres, depth,
                _nearest(behind, size),
                _described(smooth, _whole_patches(~part), _guide_side(size)), means, usable,
                _picked(here.label, size), _picked(here.into, size), label, outof,
            )
        )  # fmt: skip
    return levels


def _guide_side(size: tuple[int, int]) -> int:
    """Of the square whose mean colour is to fit, in a picture of (width, height)."""
    return max(2 * RADIUS + 1, round(GUIDE_WINDOW * max(size)) | 1)


def _no_surface(hole: np.ndarray) -> Surface:
    into = np.broadcast_to(np.eye(2, dtype=np.float32), (*hole.shape, 2, 2))
    return Surface(np.zeros(hole.shape, np.uint8), into, np.zeros(hole.shape, np.float32))


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Of 2 × 2 matrices [h, w, 2, 2]; zeros where there is none."""
    a, b, c, d = (matrices[..., i, j] for i in (0, 1) for j in (0, 1))
    size = a * d - b * c
    turned = np.stack([d, -b, -c, a], -1).reshape(matrices.shape)
    return np.where(size != 0, 1 / np.where(size == 0, 1, size), 0)[..., None, None] * turned


def _picked(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every so many pixels of values [h, w, ...]."""
    height, width = values.shape[:2]
    rows = (np.arange(size[1]) * 2 + 1) * height // (2 * size[1])
    columns = (np.arange(size[0]) * 2 + 1) * width // (2 * size[0])
    return np.ascontiguousarray(values[rows][:, columns])


def _described(picture: np.ndarray, whole: np.ndarray, wide: int) -> np.ndarray:
    """float32 [h, w, 4]: mean colour of the ``wide`` square around each pixel, and mean gradient of
    the patch there, which is carried on smoothly from where the patch is whole."""
    carried = _carried_on(_texture(picture), whole)
    return np.dstack([cv2.blur(picture, (wide, wide)), TEXTURE_SHARE * carried]).astype(np.float32)


def _texture(picture: np.ndarray) -> np.ndarray:
    """float32 [h, w]: mean gradient of the patch around each pixel."""
    grey = picture.mean(-1, dtype=np.float32)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    return cv2.blur(gradient, (2 * RADIUS + 1, 2 * RADIUS + 1))


def _carried_on(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """values [h, w], elsewhere than ``where`` smoothly carried on from there."""
    weight = torch.from_numpy(where.astype(np.float32))[None, None, None]
    return fill_from_pyramid(torch.from_numpy(values)[None, None, None], weight)[0, 0, 0].numpy()


def well_painted(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """bool [h, w]: hole pixels that a smooth fill, uint8 [h, w, 3], shows well enough: the hole is
    narrower than a patch there, and has about the texture of its surroundings."""
    depth = cv2.distanceTransform(_byte(hole), cv2.DIST_L2, 5)
    nearby = np.ones((4 * RADIUS + 3, 4 * RADIUS + 3), np.uint8)
    narrow = hole & (cv2.dilate(depth, nearby) < RADIUS + 1)
    if not narrow.any():
        return narrow
    texture = _texture(picture)
    return narrow & (texture > AS_TEXTURED * _carried_on(texture, _whole_patches(~hole)))


def _byte(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8)


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)


def _least_depth(depth: np.ndarray) -> np.ndarray:
    """The depth of the nearest pixel in the patch around each; unknown ones (0) do not count."""
    square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    least = cv2.erode(np.where(depth > 0, depth, np.inf).astype(np.float32), square)
    return np.where(np.isfinite(least), least, 0).astype(np.float32)


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of True under every pixel of a smaller picture, float32."""
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _mean_of(picture: np.ndarray, counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 picture of a size, each pixel the mean of those under it that count."""
    if size == picture.shape[1::-1]:
        return picture.astype(np.float32)
    weight = counts[..., None].astype(np.float32) + 1e-3  # where none counts, all do
    total = cv2.resize(picture * weight, size, interpolation=cv2.INTER_AREA)
    return total / cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[..., None]


def _whole_patches(usable: np.ndarray) -> np.ndarray:
    """bool: centres of patches that lie inside the picture and are usable as a whole."""
    square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    return cv2.erode(_byte(usable), square, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def _random_match(rng: np.random.Generator, level: _Level, wanted: np.ndarray) -> np.ndarray:
    """float32 [n, 3]: a random usable (frame, row, column) of its plane for each wanted pixel."""
    labels = level.label[wanted]
    match = np.empty((len(labels), 3), np.float32)
    for label in np.unique(labels):
        alike = level.centres & (level.source_label == label) if label > 0 else level.centres
        places = np.flatnonzero(alike if alike.any() else level.centres)
        here = labels == label
        drawn = places[rng.integers(len(places), size=int(here.sum()))]
        match[here] = np.stack(np.unravel_index(drawn, level.centres.shape), -1)
    return match


def _enlarged(
    now: np.ndarray, filled: np.ndarray, match: np.ndarray, level: _Level, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A coarser level's answer at this level's size: matches keep their shifts, and on planes the
    picture is made of their copies. Enlarged, it is blurred, and enlarged sources would fit it."""
    height, width = level.hole.shape
    h, w = now.shape[:2]
    rows = np.minimum(np.arange(height) * h // height, h - 1)
    columns = np.minimum(np.arange(width) * w // width, w - 1)
    large = cv2.resize(now, (width, height), interpolation=cv2.INTER_LINEAR)
    known = np.where(level.hole, filled[rows][:, columns], 1).astype(np.float32)
    moved = match[rows][:, columns]
    move_on(moved, rows, columns, height / h, width / w, level.label, level.into, level.outof)
    y = np.clip(np.rint(moved[..., 1]), 0, height - 1).astype(int)
    x = np.clip(np.rint(moved[..., 2]), 0, width - 1).astype(int)
    good = level.centres[moved[..., 0].astype(int), y, x]
    lost = level.target & ~good
    moved[lost] = _random_match(rng, level, lost)
    large = np.where(level.hole[..., None], large, level.picture)
    on_plane = level.label > 0
    cost = np.where(good & (known > 0) & on_plane, 0, NOTHING).astype(np.float32)
    rebuild(
        large, known.copy(), level.hole & on_plane, level.target, level.inward, level.sources,
        level.label, level.into, level.outof, moved, cost, np.float32(1), True,
        np.empty_like(moved),
    )  # fmt: skip
    return large, known, moved
