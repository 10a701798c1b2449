"""Carry an edit of one frame through the video, or take something out of it.

edited frame + region ─ followed by flow ─► PartialVideo ─ complete ─► Video
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.cache import scratch_tensor
from recam.configs import EditConfig
from recam.pieces import complete_streamed, complete_whole
from recam.reconstruct.flow import flows_to_frame
from recam.tasks import versions
from recam.types import PartialVideo, Progress, RecamError, Result, Video, no_progress

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

FLOW_SIDE = 768
"""Longer side that motion is followed at, px."""
SURE = 0.5
"""Confidence of the flow from which it is believed."""
FEATHER_PX = 2
"""The edit fades out over so many pixels outside of its region, …"""
REMOVE_MARGIN_PX = 4
"""… and what is removed takes so many with it: its edge, its blur."""
GUESSED = 0.5
"""How far the warped edit counts as known where the flow is not sure but leads into the region."""
MOTION_WEIGHT = 100.0
"""Levels of colour difference that a pixel of difference in motion counts as."""
BEFORE_WEIGHT = 150.0
"""The same, for having been on the other side a moment ago."""
LEAST_DIFFERENCE = 12
"""Of 255: smaller differences between a frame and its edited version are taken for noise."""
SAME_MOTION_PX, OTHER_MOTION_PX = 0.5, 1.5
"""Pixels a frame: what moves with a side, and what does not."""
LEAST_REACH_PX = 16
"""Colours around an edited region are learned from so far at least."""
LEAST_SHARE = 2e-4
"""Regions smaller than this share of the picture are taken for noise."""

DEFAULTS = EditConfig()


@dataclass(frozen=True)
class _Tracked:
    """The region in frame ``frame``: inside bool [h, w]; at uv float32 [h, w, 2], pixel indices in
    the edited frame; sure bool [h, w], where these are believed. All at the video's size."""

    frame: int
    inside: Mask
    at: Floats
    sure: Mask


def edit(
    video: Video,
    edited: Tensor,
    frame: int = 0,
    region: Tensor | None = None,
    config: EditConfig = DEFAULTS,
    progress: Progress = no_progress,
) -> Result:
    """The video as if all of it had been edited like one of its frames.

    edited: uint8 [3, h, w], the edited version of ``video.frames[frame]``. region: bool or float
    [h, w], what was edited; by default where the two differ. The region is followed through the
    video by optical flow. With config.content "surface" the edit sticks to what it covers and is
    warped with it (recolouring, retexturing, something put on a surface); with "background" only
    the region follows the covered thing, and the edited frame shows what lies behind it (removal).
    What the flow does not reach is completed. Outside of the region (and FEATHER_PX around it)
    pixels stay bit for bit.

    Raises ValueError for a frame outside the video, another size, no difference, or a region that
    is empty or everything.
    """
    _check_frame(video, frame)
    if edited.shape != video.frames.shape[1:] or edited.dtype != torch.uint8:
        raise ValueError(
            f"the edited frame is {_size(edited)}, the video {video.width}×{video.height}; "
            "give an edited frame of the video's size"
        )
    original = _picture(video.frames[frame])
    new = _picture(edited)
    if region is None:
        where = changed_region(original, new)
    else:
        where = _checked(region, (video.height, video.width), "mask")
    if config.content == "background":
        regions = _follow(video, frame, where, progress)
        return _complete_region(video, regions, config, progress, (frame, new))
    return _paste(video, frame, new, where, config, progress)


def remove(
    video: Video,
    region: Tensor,
    frame: int = 0,
    config: EditConfig = DEFAULTS,
    progress: Progress = no_progress,
) -> Result:
    """The video without what ``region`` covers.

    region: bool or float [h, w], at ``frame``, followed through the video by flow; or [t, h, w], in
    every frame. Pixels outside (and REMOVE_MARGIN_PX around it) stay bit for bit. Raises ValueError
    for a region of another size, empty or full, and a frame outside the video.
    """
    _check_frame(video, frame)
    size = (video.height, video.width)
    if region.dim() == 3 and len(region) != 1:
        if len(region) != len(video):
            raise ValueError(f"{len(region)} masks for {len(video)} frames; give one, or one each")
        where = _checked(region, (len(video), *size), "mask")
        regions: Iterator[tuple[int, Mask]] = ((i, where[i]) for i in range(len(video)))
    else:
        one = region[0] if region.dim() == 3 else region
        regions = _follow(video, frame, _checked(one, size, "mask"), progress)
    return _complete_region(video, regions, config, progress, None)


def changed_region(original: NDArray[np.uint8], edited: NDArray[np.uint8]) -> Mask:
    """bool [h, w]: where two versions of a picture uint8 [h, w, 3] differ, without noise.

    Small differences all over (another codec, an editor's own rounding) do not count: the threshold
    is at least LEAST_DIFFERENCE and three times the median difference. Raises ValueError where
    nothing, or everything, differs.
    """
    difference = np.abs(original.astype(np.int16) - edited).max(-1)
    smooth = cv2.blur(difference.astype(np.float32), (3, 3))
    limit = min(max(LEAST_DIFFERENCE, 3 * float(np.median(smooth))), 48.0)
    found = (smooth > limit).astype(np.uint8)
    size = max(3, max(found.shape) // 100 | 1)
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    least = max(8, LEAST_SHARE * found.size)
    keep = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= least]
    inside = _without_pinholes(np.isin(labels, keep), least)
    if not inside.any():
        raise ValueError(
            "the edited frame does not differ from the video's; give the frame that was edited "
            "(its number counts from 0), or --mask"
        )
    if inside.mean() > 0.98:
        raise ValueError(
            "the edited frame differs from the video's everywhere; give --mask to say what was "
            "edited, or check the frame's number (it counts from 0)"
        )
    return inside


def _without_pinholes(inside: Mask, least: float) -> Mask:
    """Gaps in a region that are smaller than ``least`` px, closed."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~inside).astype(np.uint8))
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < 8 * least]
    return inside | np.isin(labels, small)


def _check_frame(video: Video, frame: int) -> None:
    if not 0 <= frame < len(video):
        raise ValueError(
            f"frame {frame} is outside the video's frames 0…{len(video) - 1} (counted from 0)"
        )


def _checked(region: Tensor, shape: tuple[int, ...], name: str) -> Mask:
    if tuple(region.shape) != shape:
        raise ValueError(f"the {name} has shape {list(region.shape)}, expected {list(shape)}")
    where = region.numpy() > 0.5
    if not where.any():
        raise ValueError(f"the {name} is empty; paint white what is meant")
    if where.all():
        raise ValueError(f"the {name} covers everything; leave black what shall stay")
    return where


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]}×{picture.shape[-2]}"


def _picture(frame: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frame.permute(1, 2, 0).numpy())


def track(video: Video, frame: int, region: Mask, progress: Progress) -> Iterator[_Tracked]:
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
    colours = _colours_of(_picture(video.frames[frame]), region)
    label = whole
    for found in flows_to_frame(video, frame, h, w, progress):
        if abs(found.frame - frame) == 1:
            label = whole
        flow, step = (_enlarged(f, height, width) for f in (found.to_anchor, found.to_before))
        sure, step_sure = (
            cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) > SURE
            for c in (found.confidence, found.before_confidence)
        )
        direct, chained = _sample(whole, grid + flow), _sample(label, grid + step)
        ahead = _enlarged(found.to_next, height, width)
        ahead_sure = cv2.resize(found.next_confidence, (width, height)) > SURE
        moves = ((step, step_sure), (ahead, ahead_sure))
        before = np.where(step_sure, np.where(chained > 0.5, 1.0, -1.0), 0.0)
        picture = _picture(video.frames[found.frame])
        label = _by_likeness(direct, sure, picture, moves, before)
        sides = _sides(label, sure, moves, before, colours.reach)
        label = _cut_out(picture, label, sides, before, colours)
        yield _Tracked(found.frame, label > 0.5, grid + flow, sure & (direct > 0.5))


def _enlarged(flow: Floats, height: int, width: int) -> Floats:
    h, w = flow.shape[:2]
    large = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    return (large * np.array([width / w, height / h], np.float32)).astype(np.float32)


def _sample(picture: NDArray, at: Floats, kind: int = cv2.INTER_LINEAR) -> NDArray:
    return cv2.remap(picture, at[..., 0], at[..., 1], kind, borderMode=cv2.BORDER_REPLICATE)


def _by_likeness(
    label: Floats,
    decided: Mask,
    picture: NDArray[np.uint8],
    moves: tuple[tuple[Floats, Mask], ...],
    before: NDArray,
) -> Floats:
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
            weight, mean = _mean_near(picture.astype(np.float32), side, sigma)
            off = np.abs(picture - mean).sum(-1) + 20 + BEFORE_WEIGHT * (before * sign < 0)
            for flow, sure in moves:
                near, motion = _mean_near(flow, side & sure, sigma)
                apart = np.hypot(*(flow - motion).transpose(2, 0, 1))
                # Beyond a limit it belongs to neither side's motion, as a head that turns.
                off += MOTION_WEIGHT * np.where(sure & (near > 1e-4), np.minimum(apart, 2), 0)
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


def _colours_of(picture: NDArray[np.uint8], region: Mask) -> _Colours:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    reach = max(rows[-1] - rows[0], columns[-1] - columns[0], 2 * LEAST_REACH_PX) // 2
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
    label: Floats,
    decided: Mask,
    moves: tuple[tuple[Floats, Mask], ...],
    before: NDArray,
    reach: int,
) -> NDArray[np.int8]:
    """1 where a pixel is inside for certain, −1 where it is outside, 0 elsewhere: int8 [h, w].

    Beside what is decided: what moves with one side nearby, unlike the other, and was not on the
    other a moment ago. A foot on the ground moves like the ground, but was a foot before.
    """
    sides = np.where(decided, np.where(label > 0.5, 1, -1), 0).astype(np.int8)
    inside, outside = sides > 0, sides < 0
    for flow, sure in moves:
        off = []
        for side in (inside, outside):
            near, motion = _mean_near(flow, side & sure, max(reach / 4, 4.0))
            apart = np.hypot(*(flow - motion).transpose(2, 0, 1))
            off.append(np.where(near > 1e-4, apart, np.nan))
        with_in = (off[0] < SAME_MOTION_PX) & (off[1] > OTHER_MOTION_PX)
        with_out = (off[1] < SAME_MOTION_PX) & (off[0] > OTHER_MOTION_PX)
        sides[(sides == 0) & sure & with_in & (before >= 0)] = 1
        sides[(sides == 0) & sure & with_out & (before <= 0)] = -1
    return sides


def _cut_out(
    picture: NDArray[np.uint8],
    label: Floats,
    sides: NDArray[np.int8],
    before: NDArray,
    colours: _Colours,
) -> Floats:
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


def _mean_near(values: Floats, where: Mask, sigma: float) -> tuple[Floats, Floats]:
    """How much of ``where`` [h, w] is near each pixel, and the mean of values [h, w, c] there."""
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), sigma)
    mean = cv2.GaussianBlur(values * where[..., None].astype(np.float32), (0, 0), sigma)
    return weight, mean / np.maximum(weight, 1e-6)[..., None]


def _follow(
    video: Video, frame: int, region: Mask, progress: Progress
) -> Iterator[tuple[int, Mask]]:
    yield frame, region
    for tracked in track(video, frame, region, progress):
        yield tracked.frame, tracked.inside


def _dilated(inside: Mask, px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    return cv2.dilate(inside.astype(np.uint8), kernel) > 0


def _complete_region(
    video: Video,
    regions: Iterator[tuple[int, Mask]],
    config: EditConfig,
    progress: Progress,
    shown: tuple[int, NDArray[np.uint8]] | None,
) -> Result:
    """Complete the regions; ``shown``: a frame and the picture that its region shows."""
    clock, timings_s = time.perf_counter(), {}
    frames = _copied(video.frames)
    known = scratch_tensor((len(video), video.height, video.width), torch.float32)
    known.fill_(1)
    for i, inside in regions:
        hole = _dilated(inside, REMOVE_MARGIN_PX)
        if shown is not None and i == shown[0]:
            frames[i] = torch.from_numpy(_blended(_picture(video.frames[i]), shown[1], inside))
        else:
            known[i][torch.from_numpy(hole)] = 0
    timings_s["follow"] = time.perf_counter() - clock
    partial = PartialVideo(frames, known)
    clock = time.perf_counter()
    done = complete_whole(partial, config.complete, progress)
    timings_s["complete"] = time.perf_counter() - clock
    return Result(replace(video, frames=done), partial, config, timings_s, versions())


def _blended(old: NDArray[np.uint8], new: NDArray[np.uint8], inside: Mask) -> NDArray[np.uint8]:
    """``new`` where inside, faded out over FEATHER_PX around it: uint8 [3, h, w]."""
    wide = _dilated(inside, FEATHER_PX)
    soft = cv2.blur(wide.astype(np.float32), (2 * FEATHER_PX + 1, 2 * FEATHER_PX + 1))
    alpha = np.where(inside, 1.0, np.where(wide, soft, 0.0)).astype(np.float32)[..., None]
    mixed = np.rint(old * (1 - alpha) + new * alpha).astype(np.uint8)
    return np.ascontiguousarray(np.where(alpha > 0, mixed, old).transpose(2, 0, 1))


def _paste(
    video: Video,
    frame: int,
    new: NDArray[np.uint8],
    region: Mask,
    config: EditConfig,
    progress: Progress,
) -> Result:
    """The edit as a layer of its own: warped where the flow is sure, completed where it is not."""
    clock, timings_s = time.perf_counter(), {}
    num, height, width = len(video), video.height, video.width
    layer = scratch_tensor((num, 3, height, width), torch.uint8)
    known = scratch_tensor((num, height, width), torch.float32)
    inside = scratch_tensor((num, height, width), torch.bool).numpy()
    original = _picture(video.frames[frame]).astype(np.float32)
    layer[frame] = torch.from_numpy(new).permute(2, 0, 1)
    known[frame], inside[frame] = torch.from_numpy(_dilated(region, FEATHER_PX)).float(), region
    for tracked in track(video, frame, region, progress):
        i = tracked.frame
        colours = _sample(new, tracked.at, cv2.INTER_CUBIC)
        before = _sample(original, tracked.at)
        gain = _gain(_picture(video.frames[i]), before, tracked.sure)
        colours = np.rint(colours * gain).clip(0, 255).astype(np.uint8)
        layer[i] = torch.from_numpy(colours).permute(2, 0, 1)
        lands = _sample(region.astype(np.float32), tracked.at) > 0.5
        trust = np.where(tracked.sure, 1.0, np.where(lands, GUESSED, 0.0)) * tracked.inside
        known[i], inside[i] = torch.from_numpy(trust.astype(np.float32)), tracked.inside
    timings_s["follow"] = time.perf_counter() - clock
    clock = time.perf_counter()
    filled = _completed_layer(layer, known, inside, config, progress)
    timings_s["complete"] = time.perf_counter() - clock
    frames = _copied(video.frames)
    for i in range(num):
        if inside[i].any():
            old, top = _picture(video.frames[i]), _picture(filled[i])
            frames[i] = torch.from_numpy(_blended(old, top, inside[i]))
        known[i][torch.from_numpy(~inside[i])] = 1
    partial = PartialVideo(frames, known)
    return Result(replace(video, frames=frames), partial, config, timings_s, versions())


def _copied(frames: Tensor) -> Tensor:
    """A copy of a video's frames, on disk where they are many."""
    out = scratch_tensor(tuple(frames.shape), torch.uint8)
    for i in range(len(frames)):
        out[i] = frames[i]
    return out


def _gain(here: NDArray[np.uint8], there: Floats, sure: Mask) -> Floats:
    """Exposure [3] of a frame against the edited one, from what both show of the original."""
    a, b = here[sure].astype(np.float32), there[sure]
    fair = (np.minimum(a, b) > 8).all(1) & (np.maximum(a, b) < 245).all(1)
    if fair.sum() < 50:
        return np.ones(3, np.float32)
    ratio = np.exp(np.median(np.log(a[fair] / b[fair]), 0))
    return np.where(np.abs(ratio - 1) > 0.01, ratio.clip(0.5, 2.0), 1.0).astype(np.float32)


def _completed_layer(
    layer: Tensor, known: Tensor, inside: Mask, config: EditConfig, progress: Progress
) -> Tensor:
    """The layer uint8 [t, 3, h, w] with what it lacks inside filled from itself alone, so that
    nothing around it bleeds in. Only the part of the picture that it ever covers is worked on."""
    ever, lacking, something = np.zeros(inside.shape[1:], bool), False, False
    for i, one in enumerate(inside):
        wanted = _dilated(one, FEATHER_PX)
        ever |= wanted
        lacking |= bool((wanted & (known[i].numpy() < 1)).any())
        something |= bool((known[i] > 0).any())
    if not lacking:
        return layer
    if not something:
        raise RecamError("the edited region could not be followed through this video")
    rows, columns = np.flatnonzero(ever.any(1)), np.flatnonzero(ever.any(0))
    pad, (_, height, width) = 16, inside.shape
    y = slice(max(0, rows[0] - pad), min(height, rows[-1] + 1 + pad))
    x = slice(max(0, columns[0] - pad), min(width, columns[-1] + 1 + pad))
    part = PartialVideo(layer[:, :, y, x], known[:, y, x])
    done = 0
    for _, frames in complete_streamed(part, config.complete, {}, progress):
        # What is finished is not read again: windows carry their own copies over.
        layer[done : done + len(frames), :, y, x] = frames
        done += len(frames)
    return layer
