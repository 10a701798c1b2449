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
from torch import Tensor

from recam.arrays import F32, U8, Mask
from recam.completers import open_completer, resolve_config
from recam.completion.streaming import complete_streamed, complete_whole
from recam.configs import CompleteConfig, EditConfig
from recam.runtime.cache import scratch_tensor
from recam.runtime.versions import versions
from recam.tasks.edit_recolor import ColourChange, changed_colours, colour_change
from recam.tasks.edit_tracking import (
    Tracked,
    as_picture,
    mean_near,
    outlined,
    pointed,
    sample_at,
    track,
)
from recam.types import PartialVideo, Progress, RecamError, Result, Video, no_progress

FEATHER_PX = 2
"""The edit fades out over so many pixels outside of its region, …"""
REMOVE_MARGIN_PX = 4
"""… and what is removed takes so many with it: its edge, its blur."""
GUESSED = 0.5
"""How far colours count as known that are told from the video's own colours alone."""
ONE_SURFACE_PX = 0.5
"""What moves alike within this belongs to one surface."""
USUAL_SHADING = 0.5
"""log of how much brighter or darker a surface gets; much more is not believed."""
MIN_SHADING = 0.03
"""The same, taken for noise; larger ones count so much less."""
SHADING_SCALE = 1 / 160
"""Of the picture's longer side: shading is taken to be smooth over so much, …"""
MIN_SEEN = 0.05
"""… and to be none where less than about this share of the surface is seen."""
UNLIKE = 25.0
"""Of 255: where what the flow fetches from the video's own frame is off by so much, the
fetched edit counts half, …"""
UNSURE = 0.6
"""… and so much where the flow does not return."""
MIN_DIFFERENCE = 12
"""Of 255: smaller differences between a frame and its edited version are taken for noise."""
MIN_SHARE = 2e-4
"""Regions smaller than this share of the picture are taken for noise."""

DEFAULTS = EditConfig()


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
    Where the flow is not to be believed, or what was hidden shows, the video's own colours tell the
    edit's; models other than propagate complete it there. Outside of the region (and FEATHER_PX
    around it) pixels stay bit for bit.

    Raises ValueError for a frame outside the video, another size, no difference, or a region that
    is empty or everything.
    """
    _check_frame(video, frame)
    if edited.shape != video.frames.shape[1:] or edited.dtype != torch.uint8:
        raise ValueError(
            f"the edited frame is {_size(edited)}, the video {video.width}×{video.height}; "
            "give an edited frame of the video's size"
        )
    original = as_picture(video.frames[frame])
    new = as_picture(edited)
    if region is None:
        where = changed_region(original, new)
    else:
        where = _checked(region, (video.height, video.width), "mask")
    if config.content == "background":
        regions = _follow(video, frame, where, config, progress)
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
    every frame, where nothing is followed. Pixels outside (and REMOVE_MARGIN_PX around it) stay bit
    for bit. Raises ValueError for a region of another size, empty or full, a frame outside the
    video, and weights for following where a region is given for every frame.
    """
    _check_frame(video, frame)
    size = (video.height, video.width)
    if region.dim() == 3 and len(region) != 1:
        if len(region) != len(video):
            raise ValueError(f"{len(region)} masks for {len(video)} frames; give one, or one each")
        if frame != 0:
            raise ValueError(f"frame is {frame}, but there is a mask for every frame; leave it out")
        if config.mask_weights is not None or config.track_weights is not None:
            raise ValueError(
                "there is a mask for every frame, so nothing is followed; leave mask and track "
                "weights out, or give one frame's mask"
            )
        where = _checked(region, (len(video), *size), "mask")
        regions: Iterator[tuple[int, Mask]] = ((i, where[i]) for i in range(len(video)))
    else:
        one = region[0] if region.dim() == 3 else region
        regions = _follow(video, frame, _checked(one, size, "mask"), config, progress)
    return _complete_region(video, regions, config, progress, None)


def changed_region(original: U8, edited: U8) -> Mask:
    """bool [h, w]: where two versions of a picture uint8 [h, w, 3] differ, without noise.

    Small differences all over (another codec, an editor's own rounding) do not count: the threshold
    is at least MIN_DIFFERENCE and three times the median difference. Raises ValueError where
    nothing, or everything, differs.
    """
    difference = np.abs(original.astype(np.int16) - edited).max(-1)
    smooth = cv2.blur(difference.astype(np.float32), (3, 3))
    limit = min(max(MIN_DIFFERENCE, 3 * float(np.median(smooth))), 48.0)
    found = (smooth > limit).astype(np.uint8)
    size = max(3, max(found.shape) // 100 | 1)
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    least = max(8, MIN_SHARE * found.size)
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


def _follow(
    video: Video, frame: int, region: Mask, config: EditConfig, progress: Progress
) -> Iterator[tuple[int, Mask]]:
    yield frame, region
    followed = track(video, frame, region, progress)
    followed = pointed(followed, video, frame, region, config.track_weights, progress)
    for tracked in outlined(followed, video, config.mask_weights):
        yield tracked.frame, tracked.inside


def _dilated(inside: Mask, px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    return cv2.dilate(inside.astype(np.uint8), kernel) > 0


def _complete_region(
    video: Video,
    regions: Iterator[tuple[int, Mask]],
    config: EditConfig,
    progress: Progress,
    shown: tuple[int, U8] | None,
) -> Result:
    """Complete the regions; ``shown``: a frame and the picture that its region shows."""
    clock, timings_s = time.perf_counter(), {}
    frames = _copied(video.frames)
    known = scratch_tensor((len(video), video.height, video.width), torch.float32)
    known.fill_(1)
    for i, inside in regions:
        hole = _dilated(inside, REMOVE_MARGIN_PX)
        if shown is not None and i == shown[0]:
            frames[i] = torch.from_numpy(_blended(as_picture(video.frames[i]), shown[1], inside))
        else:
            known[i][torch.from_numpy(hole)] = 0
    timings_s["follow"] = time.perf_counter() - clock
    partial = PartialVideo(frames, known)
    clock = time.perf_counter()
    completer = open_completer(resolve_config(config.complete))
    done = complete_whole(partial, completer, progress)
    timings_s["complete"] = time.perf_counter() - clock
    return Result(replace(video, frames=done), partial, config, timings_s, versions())


def _blended(old: U8, new: U8, inside: Mask) -> U8:
    """``new`` where inside, faded out over FEATHER_PX around it: uint8 [3, h, w]."""
    wide = _dilated(inside, FEATHER_PX)
    soft = cv2.blur(wide.astype(np.float32), (2 * FEATHER_PX + 1, 2 * FEATHER_PX + 1))
    alpha = np.where(inside, 1.0, np.where(wide, soft, 0.0)).astype(np.float32)[..., None]
    mixed = np.rint(old * (1 - alpha) + new * alpha).astype(np.uint8)
    return np.ascontiguousarray(np.where(alpha > 0, mixed, old).transpose(2, 0, 1))


def _paste(
    video: Video,
    frame: int,
    new: U8,
    region: Mask,
    config: EditConfig,
    progress: Progress,
) -> Result:
    """The edit as a layer of its own, laid over the video."""
    clock, timings_s = time.perf_counter(), {}
    num, height, width = len(video), video.height, video.width
    layer = scratch_tensor((num, 3, height, width), torch.uint8)
    known = scratch_tensor((num, height, width), torch.float32)
    inside = scratch_tensor((num, height, width), torch.bool).numpy()
    rim = scratch_tensor((num, height, width), torch.bool).numpy()
    frames = _copied(video.frames)
    original = as_picture(video.frames[frame]).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    made = _made(original, new, region)
    layer[frame] = torch.from_numpy(new).permute(2, 0, 1)
    known[frame], inside[frame] = torch.from_numpy(region).float(), region
    followed = track(video, frame, region, progress)
    followed = pointed(followed, video, frame, region, config.track_weights, progress)
    for tracked in outlined(followed, video, config.mask_weights):
        i = tracked.frame
        colours, trust = _carried(made, as_picture(video.frames[i]), tracked)
        layer[i] = torch.from_numpy(colours).permute(2, 0, 1)
        known[i], inside[i] = torch.from_numpy(trust), tracked.inside
        # Where the surface goes on around it, what fades out is the edge of the edited frame, and
        # not the edit carried on.
        near, shift = mean_near(tracked.at - grid, tracked.inside, 2.0 * FEATHER_PX)
        alike = np.hypot(*(tracked.at - grid - shift).transpose(2, 0, 1)) < ONE_SURFACE_PX
        around = _dilated(tracked.inside, FEATHER_PX) & ~tracked.inside & tracked.reliable
        rim[i] = around & alike & (near > 1e-4)
        frames[i] = torch.where(torch.from_numpy(rim[i]), layer[i], frames[i])
    timings_s["follow"] = time.perf_counter() - clock
    clock = time.perf_counter()
    # The frames' own colours tell the edit everywhere: propagate would only smooth it.
    completing = resolve_config(config.complete, "edit")
    plain = completing.model == "propagate"
    filled = layer if plain else _completed_layer(layer, known, inside, completing, progress)
    timings_s["complete"] = time.perf_counter() - clock
    for i in range(num):
        if inside[i].any():
            whole = torch.where(torch.from_numpy(rim[i]), frames[i], filled[i])
            old, top = as_picture(video.frames[i]), as_picture(whole)
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


def _gain(here: U8, there: F32, reliable: Mask) -> F32:
    """Exposure [3] of a frame against the edited one, from what both show of the original."""
    a, b = here[reliable].astype(np.float32), there[reliable]
    fair = (np.minimum(a, b) > 8).all(1) & (np.maximum(a, b) < 245).all(1)
    if fair.sum() < 50:
        return np.ones(3, np.float32)
    ratio = np.exp(np.median(np.log(a[fair] / b[fair]), 0))
    return np.where(np.abs(ratio - 1) > 0.01, ratio.clip(0.5, 2.0), 1.0).astype(np.float32)


def _shading(here: U8, there: F32, reliable: Mask) -> F32:
    """How much brighter [h, w] a surface is in a frame than in the edited one, smoothly: light that
    passes over it, or its turning away, does the same to another material."""
    a, b = here.mean(-1), there.mean(-1)
    off = np.log(np.maximum(a, 1) / np.maximum(b, 1)).astype(np.float32)
    # What is far off is another thing, or the flow's fault.
    fair = reliable & (np.minimum(a, b) > 8) & (np.maximum(a, b) < 245)
    weight = fair * np.exp(-0.5 * (off / USUAL_SHADING) ** 2).astype(np.float32)
    sigma = max(here.shape[:2]) * SHADING_SCALE
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    mean = cv2.GaussianBlur(weight * off, (0, 0), sigma) / (total + MIN_SEEN)
    return np.exp(np.sign(mean) * np.maximum(np.abs(mean) - MIN_SHADING, 0))


@dataclass(frozen=True)
class _Made:
    """What was made of the edited frame. original, edited: float32 [h, w, 3]. region: float32
    [h, w]. change: what became of its colours. detail: float32 [h, w, 3], what the edited version
    has beyond that."""

    original: F32
    edited: F32
    region: F32
    change: ColourChange
    detail: F32


def _made(original: F32, edited: U8, region: Mask) -> _Made:
    new = edited.astype(np.float32)
    whole = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    change = colour_change(original, new, whole if whole.any() else region)
    detail, wide = np.zeros_like(new), _dilated(region, FEATHER_PX)
    rows, columns = np.nonzero(wide)
    at = np.stack([columns, rows], 1).astype(np.float32)
    detail[wide] = new[wide] - changed_colours(change, original[wide], at)
    return _Made(original, new, region.astype(np.float32), change, detail)


def _carried(made: _Made, here: U8, tracked: Tracked) -> tuple[U8, F32]:
    """The edit in another frame, uint8 [h, w, 3], and how far it is known, float32 [h, w].

    The frame's own colours tell what became of them, with their light and shade, wherever the
    surface came from; what the edit has beyond that is fetched along the flow, and counts by how
    well the unedited frames agree there.
    """
    before = sample_at(made.original, tracked.at)
    lands = (sample_at(made.region, tracked.at) > 0.5) & tracked.inside
    gain = _gain(here, before, tracked.reliable & lands)
    light = gain * _shading(here, before * gain, tracked.reliable & lands)[..., None]
    own = here / light
    off = cv2.blur(np.abs(own - before).mean(-1), (5, 5))
    trust = lands * np.where(tracked.reliable, 1, UNSURE) / (1 + (off / UNLIKE) ** 2)
    # Around it, unless it is seen to be another surface: outlines are often a pixel too narrow.
    inside = tracked.inside | (_dilated(tracked.inside, FEATHER_PX) & ~tracked.reliable)
    detail = sample_at(made.detail, tracked.at, cv2.INTER_CUBIC)
    colours = sample_at(made.edited, tracked.at, cv2.INTER_CUBIC)
    recolored = changed_colours(made.change, own[inside], tracked.at[inside])
    colours[inside] = recolored + trust[inside, None] * detail[inside]
    known = np.where(tracked.inside, np.maximum(trust, GUESSED), 0).astype(np.float32)
    return np.rint(colours * light).clip(0, 255).astype(np.uint8), known


def _completed_layer(
    layer: Tensor, known: Tensor, inside: Mask, completing: CompleteConfig, progress: Progress
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
    for _, frames in complete_streamed(part, open_completer(completing), {}, progress):
        # What is finished is not read again: windows carry their own copies over.
        layer[done : done + len(frames), :, y, x] = frames
        done += len(frames)
    return layer
