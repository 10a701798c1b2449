"""Classical completion: along time where the motion leads to a seen pixel, else from around.

No learning: it is the baseline that a model must beat, and the fallback a user asks for by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.flow_tracing import Traced, trace
from recam.completion.origins import Origins, no_origins
from recam.completion.pull_push import require_something_known
from recam.flow.masked import Motion, estimate_motion, from_nearest, split_border
from recam.flow.pyramid import fill_from_pyramid
from recam.runtime.threads import one_torch_thread
from recam.types import PartialVideo, Progress, Rendering, no_progress

PASSES = 2
AGAIN_SHARE = 0.2
"""Motion inside holes is found again on the first pass's result if that showed this share of them.
It seldom does in a rendering, whose static points have already brought what other frames saw."""
MARGIN_PX = 3
"""Pixels this near to a hole are copied from only if no other shows the surface: renders and codecs
mix colours there."""
DEPTH_STEP = 0.1
"""A surface nearer than what lies across a hole by more than this share stands in front of it."""


@dataclass(frozen=True)
class Found:
    """What there is to fill holes with: uint8 [t, 3, h, w] each, known pixels as they were.

    frames: ``propagate``'s result. past, future: what the nearest moment before (after) shows of
    the same surface; ``frames`` where none does. around: the fill from around alone, in space and
    time. trust: float16 [t, 2, h, w] in [0, 1], how well past and future are known: 0 = not found.
    """

    frames: Tensor
    past: Tensor
    future: Tensor
    around: Tensor
    trust: Tensor


def propagate(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Fill holes along time, then over space and time together. uint8 [t, 3, h, w].

    Optical flow between neighbouring frames is carried into the holes with the motion of what lies
    behind; from every unseen pixel it is followed into the past and the future to the nearest
    moments that show its surface, whose colours are blended by nearness in time and by how well
    the flow returns. What no frame shows is filled by pull-push over space and time. A Rendering's
    depth says what lies behind a hole: what stands in front of it then lends it no colour, since a
    moved camera uncovers the background. Known pixels stay bit for bit. Raises RecamError when
    nothing at all is known.
    """
    return search(partial, progress).frames


def find(partial: PartialVideo, progress: Progress = no_progress) -> Found:
    """``propagate``, and what it chose from."""
    searched = search(partial, progress, sides=True)
    result, around, sides = searched.frames, searched.around, searched.sides
    if sides is None:
        nothing = torch.zeros(len(partial), 2, *partial.known.shape[1:], dtype=torch.float16)
        return Found(result, result, result, around, nothing)
    now = np.arange(len(partial), dtype=np.float32)[:, None, None]
    hole = (partial.known <= 0.5).numpy()
    shown, trust = [], []
    for inner, margin in sides:
        # As in the result: what only the margin of a hole shows comes second.
        first = inner.frame >= 0
        frame = np.where(first, inner.frame, margin.frame)
        color = np.where(first[..., None], inner.color, margin.color)
        miss = np.where(first, inner.miss, margin.miss + 1).astype(np.float32)
        has = (frame >= 0) & hole
        picture = torch.from_numpy(color).permute(0, 3, 1, 2)
        shown.append(
            keep_known(partial, torch.where(torch.from_numpy(has)[:, None], picture, result))
        )
        gap = np.abs(now - frame)
        trust.append(np.where(has, 1 / (1 + miss + 0.1 * gap), 0).astype(np.float16))
    return Found(result, shown[0], shown[1], around, torch.from_numpy(np.stack(trust, 1)))


Sides = list[tuple[Traced, Traced]]
"""What past and future show: from well inside known parts, and from their margins."""


@dataclass(frozen=True)
class Searched:
    """What following motion found. uint8 [t, 3, h, w]: frames, ``propagate``'s result; around, the
    fill from around alone.

    unseen: bool [t, h, w], pixels that neither are known nor were found at another moment.
    nearness: float32 [t, h, w], −log depth / DEPTH_STEP, in holes of what lies behind; None where
    there is no depth. origins: of what was found, of the nearer moment. sides, motion: None where
    nothing was to be followed, sides also where they were not asked for.
    """

    frames: Tensor
    around: Tensor
    unseen: np.ndarray
    nearness: np.ndarray | None
    origins: Origins
    sides: Sides | None = None
    motion: Motion | None = None


def search(
    partial: PartialVideo, progress: Progress = no_progress, sides: bool = False
) -> Searched:
    """``propagate``'s result, and how it came about. sides: whether what past and future show is
    kept. Raises RecamError when nothing is known."""
    require_something_known(partial)
    known = (partial.known > 0.5).numpy()
    around = _surroundings(partial, known)
    spatial = result = _filled_around(partial, partial.frames, around.weight)
    if len(partial) == 1 or known.all():
        return Searched(result, spatial, ~known, around.nearness, no_origins(known.shape))
    frames = as_pictures(partial.frames)
    source, kept = eroded(known, MARGIN_PX), None
    for number in range(PASSES):
        motion = estimate_motion(luma_of(result), known, source, around.nearness)
        progress("completing", 2 * number + 1, 2 * PASSES)
        colors, traced, origins, kept = _followed(frames, result, known, source, motion, sides)
        shown = torch.where(
            torch.from_numpy(traced)[:, None],
            torch.from_numpy(colors).permute(0, 3, 1, 2),
            partial.frames,
        )
        del colors
        weight = torch.maximum(around.weight, torch.from_numpy(traced).float())
        result = _filled_around(partial, shown, weight)
        if traced.sum() < AGAIN_SHARE * (~known).sum():
            break
        progress("completing", 2 * number + 2, 2 * PASSES)
    progress("completing", 2 * PASSES, 2 * PASSES)
    unseen = ~known & ~traced
    return Searched(result, spatial, unseen, around.nearness, origins, kept, motion)


def _followed(
    frames: np.ndarray,
    result: Tensor,
    known: np.ndarray,
    source: np.ndarray,
    motion: Motion,
    sides: bool,
) -> tuple[np.ndarray, np.ndarray, Origins, Sides | None]:
    """Colours uint8 [t, h, w, 3] that other moments show of holes, bool [t, h, w] where they do,
    where they are from, and, if asked for, what they were chosen from."""
    colors, found = np.zeros(frames.shape, np.uint8), np.zeros(known.shape, bool)
    origins, kept = no_origins(known.shape), []
    # What only the margin of a hole shows is still better than a guess. Filled frames, since
    # sampling there touches the hole.
    for pictures, shows in ((frames, source), (as_pictures(result), known)):
        both = [trace(pictures, ~shows, shows, motion, past) for past in (True, False)]
        _blend(both, colors, found)
        origins.nearest(*both)
        kept += both if sides else []
        del both  # before the next are made
    origins.frame[known] = -1
    pairs = list(zip(kept[:2], kept[2:])) if sides else None
    return colors, found & ~known, origins, pairs


def eroded(known: np.ndarray, margin_px: int) -> np.ndarray:
    """bool [t, h, w]: what is known at least so many pixels from what is not."""
    import cv2

    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    return np.stack([cv2.erode(k.astype(np.uint8), kernel) for k in known]).astype(bool)


def as_pictures(frames: Tensor) -> np.ndarray:
    """uint8 [t, h, w, 3] of uint8 [t, 3, h, w]."""
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())


def luma_of(frames: Tensor) -> np.ndarray:
    """uint8 [t, h, w] of uint8 [t, 3, h, w]."""
    import cv2

    return np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in as_pictures(frames)])


def _blend(parts: list[Traced], colors: np.ndarray, found: np.ndarray) -> None:
    """Write what past and future show where nothing is found yet: colours uint8 [t, h, w, 3], and
    found bool [t, h, w].

    The nearer moment and the surer way count more.
    """
    for t in range(len(found)):  # one at a time: a long video in float is large
        shares = [part.share(t) for part in parts]
        weight = shares[0] + shares[1]
        new = (weight > 0) & ~found[t]
        total = sum(s[new, None] * p.color[t][new] for s, p in zip(shares, parts))
        colors[t][new] = (total / weight[new, None]).round()
        found[t] |= new


@dataclass(frozen=True)
class _Surroundings:
    """What a hole's surroundings say about it.

    weight: float32 [t, h, w] with which pixels lend their colour to holes around them.
    nearness: float32 [t, h, w], as estimate_motion takes it, or None where no depth is given.
    """

    weight: Tensor
    nearness: np.ndarray | None


def _surroundings(partial: PartialVideo, known: np.ndarray) -> _Surroundings:
    """Without depth, known pixels lend as much as they are known; with it, only those do that lie
    behind along the border of a hole."""
    if not isinstance(partial, Rendering):
        return _Surroundings(partial.known, None)
    depth = partial.depth.numpy()
    measured = known & (depth > 0)
    lends = known & ~measured  # finished before, so without depth: as good as traced
    nearness = np.zeros(known.shape, np.float32)
    for t in range(len(known)):
        here = measured[t]
        nearness[t][here] = -np.log(depth[t][here]) / DEPTH_STEP
        if here.any() and not here.all():
            behind, _ = split_border(nearness[t], here)
            nearness[t] = np.where(here, nearness[t], from_nearest(nearness[t], behind)[0])
            lends[t] |= behind
    weight = partial.known * torch.from_numpy(lends) if lends.any() else partial.known
    return _Surroundings(weight, nearness if measured.any() else None)


def _filled_around(partial: PartialVideo, frames: Tensor, weight: Tensor) -> Tensor:
    """uint8 [t, 3, h, w]: pull-push of frames by weight [t, h, w], under what is known."""
    filled = torch.empty_like(frames)
    with one_torch_thread():  # where cores are busy, threads that share a step wait for each other
        for channel in range(3):  # one at a time: a long video in float is large
            values = frames[None, None, :, channel].float()
            smooth = fill_from_pyramid(values, weight[None, None])[0, 0]
            filled[:, channel] = smooth.round_().clamp_(0, 255).to(torch.uint8)
    return keep_known(partial, filled)
