"""Complete a video by what it shows itself: at other moments, and where it shows the like.

What another frame saw is fetched along the motion (flow_propagation.py). What no frame saw is made
up once, by copies (exemplar.py), in the frame that lacks most, and carried to all others, so that
every frame shows the same; then in the frame that now lacks most, and so on. Where a rendering
shows planes that bound the scene (planes.py), they go on: each keeps its own colours and texture,
in its own perspective, and what is made up on it is carried by its geometry instead of the motion.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.exemplar import Source, fill_by_copies, well_painted
from recam.completion.flow_propagation import DEPTH_STEP, Searched, as_pictures, search
from recam.completion.flow_tracing import cubic_at, trace
from recam.completion.origins import Filled, Origins
from recam.completion.planes import Layout, find_layout
from recam.completion.temporal_filter import steadied
from recam.flow.pyramid import fill_from_pyramid
from recam.runtime.threads import one_torch_thread
from recam.types import PartialVideo, Progress, Rendering, no_progress

OTHER_FRAMES = 2
"""So many other frames, evenly spread, are copied from too."""


def complete_by_copies(
    partial: PartialVideo,
    progress: Progress = no_progress,
    steady: int = 1,
    planes: bool = True,
    seed: int = 0,
) -> Filled:
    """A video without holes. Known pixels stay bit for bit. Raises RecamError when nothing at all
    is known.

    steady: passes of ``temporal_filter.steadied`` over what other frames showed. What is made up is
    the same in all frames as it is. planes: whether those that bound the scene go on. seed: of what
    is made up; another gives another plausible answer.
    """
    searched = search(partial, progress)
    fetched = (partial.known <= 0.5) & ~torch.from_numpy(searched.unseen)
    if steady > 0 and len(partial) > 1 and bool(fetched.any()):
        frames = steadied(searched.frames, fetched, steady, progress)
        searched = replace(searched, frames=frames)
    made = make_up(partial, searched, progress, planes, seed)
    return Filled(keep_known(partial, made), searched.origins)


def make_up(
    partial: PartialVideo,
    searched: Searched,
    progress: Progress = no_progress,
    planes: bool = True,
    seed: int = 0,
) -> Tensor:
    """``searched.frames`` with what no frame shows made up once: uint8 [t, 3, h, w]. Writes into
    ``searched.origins``."""
    origins = searched.origins
    frames, left = as_pictures(searched.frames).copy(), searched.unseen.copy()
    seen = ~left
    if not seen.any():
        return searched.frames
    for t in np.flatnonzero(left.any((1, 2))):
        left[t] &= ~well_painted(frames[t], left[t])
    layout = find_layout(partial) if planes and isinstance(partial, Rendering) else None
    if layout is not None:
        frames = _guided(frames, seen, layout)
    behind = None
    if searched.nearness is not None:
        behind = np.exp(-DEPTH_STEP * searched.nearness)
        behind[searched.nearness == 0] = 0

    def source(i: int) -> Source:
        depth = None if behind is None else behind[i]
        return Source(frames[i], seen[i], depth, None if layout is None else layout.surfaces[i])

    sources: dict[int, Source] = {}
    total = int(left.sum())
    while left.any():
        now = int(left.sum((1, 2)).argmax())
        asked = _asked(now, seen)
        sources = {i: sources.get(i) or source(i) for i in asked}
        with one_torch_thread():
            frames[now], origin = fill_by_copies(
                frames[now], left[now], list(sources.values()),
                None if behind is None else behind[now],
                None if layout is None else layout.surfaces[now], seed=1000 * seed + now,
            )  # fmt: skip
        y, x = np.nonzero(origin[..., 0] >= 0)
        shown = np.array(asked)[origin[y, x, 0].astype(int)]
        origins.copied((np.full(len(y), now), y, x), shown, origin[y, x, :0:-1])
        made = np.zeros_like(left)
        made[now], left[now] = left[now], False
        if layout is not None:
            _carry(frames, left, now, layout, origins)
        if searched.motion is not None:
            for past in (True, False):
                found = trace(frames, left, made, searched.motion, past)
                reached = left & (found.frame >= 0)
                frames[reached] = found.color[reached]
                origins.copied(np.nonzero(reached), found.frame[reached], found.place[reached])
                left &= ~reached
        progress("making up what no frame shows", total - int(left.sum()), total)
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def _guided(frames: np.ndarray, seen: np.ndarray, layout: Layout) -> np.ndarray:
    """Frames in which what no frame shows has the smooth colour of its own plane: wall beside wall,
    floor beside floor."""
    labels = np.stack([s.label for s in layout.surfaces])
    out = frames.copy()
    for label in np.unique(labels[~seen]):
        hole, lends = ~seen & (labels == label), seen & (labels == label)
        if label == 0 or not lends.any():
            continue
        weight = torch.from_numpy(lends)[None, None].float()
        for channel in range(3):  # one at a time: a long video in float is large
            values = torch.from_numpy(frames[..., channel])[None, None].float()
            with one_torch_thread():
                smooth = fill_from_pyramid(values, weight)[0, 0].numpy()
            out[..., channel][hole] = np.clip(smooth[hole] + 0.5, 0, 255).astype(np.uint8)
    return out


def _carry(
    frames: np.ndarray, left: np.ndarray, now: int, layout: Layout, origins: Origins
) -> None:
    """Write what frame ``now`` shows of the planes into what is left of the others."""
    here = layout.surfaces[now].label
    for t in np.flatnonzero(left.any((1, 2))):
        there = layout.surfaces[t].label
        for plane in range(1, 1 + len(layout.planes)):
            y, x = np.nonzero(left[t] & (there == plane))
            if len(y) == 0:
                continue
            at = layout.homography(plane, int(t), now) @ np.stack([x + 0.5, y + 0.5, 1 + 0 * x])
            column, row = (at[:2] / at[2] - 0.5).astype(np.float32)
            reached = (at[2] > 0) & (column > -0.5) & (row > -0.5)
            reached &= (column < here.shape[1] - 0.5) & (row < here.shape[0] - 0.5)
            y, x, column, row = y[reached], x[reached], column[reached], row[reached]
            shown = here[np.rint(row).astype(int), np.rint(column).astype(int)] == plane
            y, x, column, row = y[shown], x[shown], column[shown], row[shown]
            frames[t][y, x] = cubic_at(frames[now], column, row)
            places = np.stack([column, row], -1)
            origins.copied((np.full(len(y), t), y, x), np.full(len(y), now), places)
            left[t][y, x] = False


def _asked(now: int, seen: np.ndarray) -> list[int]:
    """The frame itself, and a few others, evenly spread; frames that show nothing are left out."""
    spread = np.linspace(0, len(seen) - 1, OTHER_FRAMES).round().astype(int)
    return [i for i in dict.fromkeys([now, *spread.tolist()]) if seen[i].any()]
