"""Follow a region of one frame through a video: where it is, and where its surface comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recam.arrays import F32, U8, Mask
from recam.flow.dense import flows_to_frame
from recam.types import Progress, Video

FLOW_SIDE = 768
"""Longer side that motion is followed at, px."""
SURE = 0.5
"""Confidence of the flow from which it is believed."""
MOTION_WEIGHT = 100.0
"""Levels of colour difference that a pixel of difference in motion counts as."""
BEFORE_WEIGHT = 150.0
"""The same, for having been on the other side a moment ago."""
SAME_MOTION_PX, OTHER_MOTION_PX = 0.5, 1.5
"""Pixels a frame: what moves with a side, and what does not."""
OUTLINED_TOGETHER = 24
"""Frames that are outlined for one loading of the model."""
POINTS_APART = 1 / 60
"""Of the picture's longer side: distance of the points that CoTracker follows."""
MIN_REACH_PX = 16
"""Colours around a region are learned from so far at least."""


@dataclass(frozen=True)
class Tracked:
    """The region in frame ``frame``: inside bool [h, w]; at uv float32 [h, w, 2], pixel indices in
    the edited frame; sure bool [h, w], where these are believed. All at the video's size."""

    frame: int
    inside: Mask
    at: F32
    reliable: Mask


def as_picture(frame: Tensor) -> U8:
    """uint8 [h, w, 3] of uint8 [3, h, w]."""
    return np.ascontiguousarray(frame.permute(1, 2, 0).numpy())


def track(video: Video, frame: int, region: Mask, progress: Progress) -> Iterator[Tracked]:
    """The region of one frame in all others; later frames first, then earlier ones backwards.

    A pixel belongs to it if its surface did in the chosen frame, where the flow leads there surely.
    What was hidden then goes with the side that it moves with, that it looks like, and that it was
    on a moment ago.
    """
    height, width = region.shape
    scale = min(1.0, FLOW_SIDE / max(height, width))
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    whole = region.astype(np.float32)
    colours = _colours_of(as_picture(video.frames[frame]), region)
    label = whole
    for found in flows_to_frame(video, frame, h, w, progress):
        if abs(found.frame - frame) == 1:
            label = whole
        flow, step = (_enlarged(f, height, width) for f in (found.to_anchor, found.to_before))
        reliable, step_reliable = (
            cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) > SURE
            for c in (found.confidence, found.before_confidence)
        )
        direct, chained = sample_at(whole, grid + flow), sample_at(label, grid + step)
        ahead = _enlarged(found.to_next, height, width)
        ahead_sure = cv2.resize(found.next_confidence, (width, height)) > SURE
        moves = ((step, step_reliable), (ahead, ahead_sure))
        before = np.where(step_reliable, np.where(chained > 0.5, 1.0, -1.0), 0.0)
        picture = as_picture(video.frames[found.frame])
        label = _by_likeness(direct, reliable, picture, moves, before)
        sides = _sides(label, reliable, moves, before, colours.reach)
        label = _cut_out(picture, label, sides, before, colours)
        yield Tracked(found.frame, label > 0.5, grid + flow, reliable)


def outlined(followed: Iterator[Tracked], video: Video, weights: str | None) -> Iterator[Tracked]:
    """What was followed, with its border where SAM 2 sees one; weights: folder or Hub name of a
    checkpoint, None = as it is. Where SAM 2's answer is unlike the region, the region stays.

    Raises RecamError for weights that are missing or of another model.
    """
    if weights is None:
        yield from followed
        return
    from recam.reconstruct.external.sam2 import outlined_by_sam2

    while some := list(islice(followed, OUTLINED_TOGETHER)):
        pictures = np.stack([as_picture(video.frames[one.frame]) for one in some])
        inside, _ = outlined_by_sam2(pictures, np.stack([one.inside for one in some]), weights)
        yield from (replace(one, inside=where) for one, where in zip(some, inside))


def pointed(
    followed: Iterator[Tracked],
    video: Video,
    frame: int,
    region: Mask,
    weights: str | None,
    progress: Progress,
) -> Iterator[Tracked]:
    """What was followed, with its surface where CoTracker sees it, wherever the flow is not sure.

    weights: checkpoint file, None = as it is. Points of the region are followed, and between those
    that are visible their shift is taken to be smooth. What it leads back into the region belongs
    to it, so that a thing which was hidden for a while is found again. Raises RecamError for
    weights or a package that is missing.
    """
    if weights is None:
        yield from followed
        return
    from recam.reconstruct.external.cotracker import follow_points

    apart = max(2.0, max(region.shape) * POINTS_APART)
    rows, columns = np.nonzero(region)
    _, first = np.unique(np.stack([rows, columns], 1) // apart, axis=0, return_index=True)
    points = np.stack([columns[first], rows[first]], 1).astype(np.float32)
    at, visible = follow_points(video, frame, points, weights, progress)
    for one in followed:
        yield _between_points(one, region, points, at[one.frame], visible[one.frame], apart)


def _between_points(
    tracked: Tracked, region: Mask, points: F32, at: F32, visible: Mask, apart: float
) -> Tracked:
    height, width = tracked.inside.shape
    pixel = np.rint(at).astype(np.int64)
    visible = visible & (pixel >= 0).all(1) & (pixel < (width, height)).all(1)
    x, y = pixel[visible].T
    shift, there = np.zeros((height, width, 2), np.float32), np.zeros((height, width), bool)
    shift[y, x], there[y, x] = (points - at)[visible], True
    near, smooth = mean_near(shift, there, apart)
    # About as much as one point gives at its own distance from the next.
    reached = near > np.exp(-0.5) / (2 * np.pi * apart**2)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    from_there = (grid + smooth).astype(np.float32)
    in_region = sample_at(region.astype(np.float32), from_there) > 0.5
    better = reached & ~tracked.reliable & (tracked.inside | in_region)
    where = np.where(better[..., None], from_there, tracked.at)
    inside, reliable = tracked.inside | better, tracked.reliable | better
    return replace(tracked, inside=inside, at=where, reliable=reliable)


def _enlarged(flow: F32, height: int, width: int) -> F32:
    h, w = flow.shape[:2]
    large = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    return (large * np.array([width / w, height / h], np.float32)).astype(np.float32)


def sample_at(picture: NDArray, at: F32, kind: int = cv2.INTER_LINEAR) -> NDArray:
    """A picture fetched at pixel indices [h, w, 2]; its border goes on."""
    return cv2.remap(picture, at[..., 0], at[..., 1], kind, borderMode=cv2.BORDER_REPLICATE)


def _by_likeness(
    label: F32,
    decided: Mask,
    picture: U8,
    moves: tuple[tuple[F32, Mask], ...],
    before: NDArray,
) -> F32:
    """Labels where decided; elsewhere the side that is more alike nearby. 0 or 1.

    Alike in colour, and in motion [h, w, 2] where that is sure; ``before``: 1 or -1 for what was
    inside or outside a moment ago, 0 for what was not there.
    """
    inside, outside = decided & (label > 0.5), decided & (label <= 0.5)
    undecided = ~decided
    out = inside.astype(np.float32)
    if undecided.any() and inside.any():
        sigma = max(3.0, max(label.shape) / 40)
        misfit, share = [], []
        for side, sign in ((inside, 1), (outside, -1)):
            weight, mean = mean_near(picture.astype(np.float32), side, sigma)
            off = np.abs(picture - mean).sum(-1) + 20 + BEFORE_WEIGHT * (before * sign < 0)
            for flow, reliable in moves:
                near, motion = mean_near(flow, side & reliable, sigma)
                apart = np.hypot(*(flow - motion).transpose(2, 0, 1))
                # Beyond a limit it belongs to neither side's motion, as a head that turns.
                off += MOTION_WEIGHT * np.where(reliable & (near > 1e-4), np.minimum(apart, 2), 0)
            misfit.append(off)
            share.append(weight**0.25)  # nearness counts, but less than likeness
        alike = misfit[0] * share[1] < misfit[1] * share[0]
        out[undecided & alike] = 1.0
    return cv2.medianBlur((out * 255).astype(np.uint8), 5).astype(np.float32) / 255


@dataclass(frozen=True)
class _Colours:
    """Mixtures of Gaussians of the colours outside and inside of a region, as cv2.grabCut has
    them; reach: px around it that they were learned from."""

    outside: NDArray[np.float64]
    inside: NDArray[np.float64]
    reach: int


def _colours_of(picture: U8, region: Mask) -> _Colours:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    reach = max(rows[-1] - rows[0], columns[-1] - columns[0], 2 * MIN_REACH_PX) // 2
    colours = _Colours(np.zeros((1, 65)), np.zeros((1, 65)), int(reach))
    y, x = _box(region, colours.reach)
    given = np.where(region[y, x], cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    if (given == cv2.GC_BGD).any():
        cv2.grabCut(
            picture[y, x], given, None, colours.outside, colours.inside, 1,
            cv2.GC_INIT_WITH_MASK,
        )  # fmt: skip
    return colours


def _box(inside: Mask, pad: int) -> tuple[slice, slice]:
    """Rows and columns of what is inside, with ``pad`` px around it."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    y = slice(max(0, rows[0] - pad), min(inside.shape[0], rows[-1] + 1 + pad))
    return y, slice(max(0, columns[0] - pad), min(inside.shape[1], columns[-1] + 1 + pad))


def _sides(
    label: F32,
    decided: Mask,
    moves: tuple[tuple[F32, Mask], ...],
    before: NDArray,
    reach: int,
) -> NDArray[np.int8]:
    """1 where a pixel is inside for certain, −1 where it is outside, 0 elsewhere: int8 [h, w].

    Beside what is decided: what moves with one side nearby, unlike the other, and was not on the
    other a moment ago. A foot on the ground moves like the ground, but was a foot before.
    """
    sides = np.where(decided, np.where(label > 0.5, 1, -1), 0).astype(np.int8)
    inside, outside = sides > 0, sides < 0
    for flow, reliable in moves:
        off = []
        for side in (inside, outside):
            near, motion = mean_near(flow, side & reliable, max(reach / 4, 4.0))
            apart = np.hypot(*(flow - motion).transpose(2, 0, 1))
            off.append(np.where(near > 1e-4, apart, np.nan))
        with_in = (off[0] < SAME_MOTION_PX) & (off[1] > OTHER_MOTION_PX)
        with_out = (off[1] < SAME_MOTION_PX) & (off[0] > OTHER_MOTION_PX)
        sides[(sides == 0) & reliable & with_in & (before >= 0)] = 1
        sides[(sides == 0) & reliable & with_out & (before <= 0)] = -1
    return sides


def _cut_out(
    picture: U8,
    label: F32,
    sides: NDArray[np.int8],
    before: NDArray,
    colours: _Colours,
) -> F32:
    """The label, with what is on neither side for certain split along edges by the region's colours
    and those around it (Rother et al. 2004), learned where the region is known.

    Pieces that were nowhere inside a moment ago are left out.
    """
    inside = label > 0.5
    if not inside.any() or not colours.inside.any():
        return label
    y, x = _box(inside, colours.reach // 2)
    kinds = np.array([cv2.GC_BGD, 0, cv2.GC_FGD], np.uint8)[sides + 1]
    unsure = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    given = np.ascontiguousarray(np.where(sides == 0, unsure, kinds)[y, x].astype(np.uint8))
    cv2.grabCut(
        np.ascontiguousarray(picture[y, x]), given, None, colours.outside.copy(),
        colours.inside.copy(), 1, cv2.GC_EVAL_FREEZE_MODEL,
    )  # fmt: skip
    cut = (given == cv2.GC_FGD) | (given == cv2.GC_PR_FGD)
    _, pieces = cv2.connectedComponents(cut.astype(np.uint8))
    old = (sides[y, x] > 0) | (before[y, x] > 0)
    out = np.zeros_like(inside)
    out[y, x] = cut & np.isin(pieces, np.unique(pieces[old & cut]))
    return cv2.medianBlur(out.astype(np.uint8) * 255, 5).astype(np.float32) / 255


def mean_near(values: F32, where: Mask, sigma: float) -> tuple[F32, F32]:
    """How much of ``where`` [h, w] is near each pixel, and the mean of values [h, w, c] there."""
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), sigma)
    mean = cv2.GaussianBlur(values * where[..., None].astype(np.float32), (0, 0), sigma)
    return weight, mean / np.maximum(weight, 1e-6)[..., None]
