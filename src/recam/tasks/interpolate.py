"""New frames between views: two pictures far apart, or several in order.

views ─ flow both ways, warped to the moment ─► PartialVideo, views known ─ complete ─► Video
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.arrays import F32, U8
from recam.completers import open_completer, resolve_config
from recam.completion.streaming import complete_whole
from recam.configs import InterpolateConfig
from recam.flow.dense import flow_between
from recam.flow.masked import complete_flow
from recam.runtime.cache import scratch_tensor
from recam.runtime.jit import kernel
from recam.runtime.versions import versions
from recam.types import PartialVideo, Progress, Result, no_progress, video_from_frames

SURE = 0.5
"""Confidence of the flow from which it is believed."""
CARRIED = 0.35
"""Trust in motion that was carried to where one view alone shows the surface."""
MIN_SHARED = 0.15
"""Below this share of believable flow the views are said to show nothing in common."""
MIN_SIDE_PX = 64
"""Longer side below which no motion is looked for."""
BEND_SCALE = 0.02
"""Of the picture's longer side: how motion bends is taken to be smooth over so much, …"""
BEND_NOISE = 1 / 480
"""… and this much of a bend may be the flow's fault."""
DEFAULTS = InterpolateConfig()


@dataclass(frozen=True)
class _Side:
    """One of two views, with its motion to the other.

    picture: float32 [h, w, 3]. flow: float32 [h, w, 2] px, everywhere. trust: float32 [h, w].
    """

    picture: F32
    flow: F32
    trust: F32


@dataclass(frozen=True)
class _Pair:
    """Two views that follow each other. plain: flow forth and back by a coarser search from no
    motion. log_gain: log of the second's exposure over the first's, [3]. shared: how much of the
    picture both show."""

    sides: tuple[_Side, _Side]
    plain: tuple[F32, F32]
    log_gain: F32
    shared: float


def interpolate(
    views: Tensor,
    config: InterpolateConfig = DEFAULTS,
    progress: Progress = no_progress,
    fps: float = 24.0,
) -> Result:
    """``config.frames`` new frames between each two neighbours of k views uint8 [k, 3, h, w].

    The result has k + (k − 1)·frames frames; the views come out unchanged, bit for bit. In between,
    pixels move in a straight line along the flow found both ways, from a start that matched
    features give, or on a curve where there is a view before and one behind, all evenly apart in
    time, and both say that motion bends alike; what both views show is blended by nearness in time
    and confidence, after their exposures are brought together; what one view alone shows moves with
    what is beside it. The mean of that and of both views fetched along a plainer flow is the
    result; models other than propagate complete what the flow is not sure of. Warns where two views
    show next to nothing in common. Raises ValueError for fewer than two views, frames below 1, a
    size below MIN_SIDE_PX, or no fps.
    """
    if views.dim() != 4 or len(views) < 2 or views.shape[1] != 3 or views.dtype != torch.uint8:
        raise ValueError(
            f"got views {views.dtype} {list(views.shape)}; expected uint8 [k, 3, h, w], k ≥ 2"
        )
    if config.frames < 1:
        raise ValueError(f"frames is {config.frames}; expected at least 1 between two views")
    if not 0 < fps < np.inf:
        raise ValueError(f"fps is {fps}; expected more than 0")
    if config.size < MIN_SIDE_PX:
        raise ValueError(f"size is {config.size}; motion is found at {MIN_SIDE_PX} px or more")
    clock, timings_s = time.perf_counter(), {}
    step = config.frames + 1
    total = (len(views) - 1) * step + 1
    frames = scratch_tensor((total, *views.shape[1:]), torch.uint8)
    known = scratch_tensor((total, *views.shape[2:]), torch.float32)
    frames[::step], known[::step] = views, 1.0
    for k, (pair, bends) in enumerate(_pairs(views, config.size)):
        for i in range(config.frames):
            picture, certainty = _moment(pair, bends, (i + 1) / step)
            frames[k * step + 1 + i] = torch.from_numpy(picture).permute(2, 0, 1)
            known[k * step + 1 + i] = torch.from_numpy(certainty)
            progress("warping", k * config.frames + i + 1, (len(views) - 1) * config.frames)
    timings_s["warp"] = time.perf_counter() - clock
    partial = PartialVideo(frames, known)
    clock = time.perf_counter()
    completing = resolve_config(config.complete, "interpolate")
    # Inside of holes propagate would only smooth what was found.
    plain = completing.model == "propagate"
    done = frames if plain else complete_whole(partial, open_completer(completing), progress)
    timings_s["complete"] = time.perf_counter() - clock
    return Result(video_from_frames(done, fps), partial, config, timings_s, versions())


def _pairs(views: Tensor, size: int) -> Iterator[tuple[_Pair, tuple[F32, F32] | None]]:
    """Each two neighbouring views, with how the motion of either's pixels bends between them (None
    where no view before or behind tells); no more than two pairs are held at a time."""
    before: _Side | None = None
    pair: _Pair | None = _pair(views[0], views[1], size)
    for k in range(2, len(views) + 1):
        assert pair is not None
        after = _pair(views[k - 1], views[k], size) if k < len(views) else None
        if before is None or after is None or min(pair.shared, after.shared) < MIN_SHARED:
            yield pair, None
        else:
            yield pair, _bends(before, pair.sides, after.sides[0])
        before = pair.sides[1] if pair.shared >= MIN_SHARED else None
        pair = after


def _pair(a: Tensor, b: Tensor, size: int) -> _Pair:
    """Motion between two views uint8 [3, h, w]. Warns where they show nothing in common."""
    pictures = [np.ascontiguousarray(v.permute(1, 2, 0).numpy()) for v in (a, b)]
    flows = _flows(pictures[0], pictures[1], size)
    sides = _sides(pictures, flows.forth, flows.back)
    shared = min(float((side.trust > SURE).mean()) for side in sides)
    if shared < MIN_SHARED:
        warnings.warn(
            f"the two views have next to nothing in common ({100 * shared:.0f} % of the "
            "picture): what lies between them is made up",
            stacklevel=2,
        )
    return _Pair(sides, flows.plain, _log_gain(sides[0], sides[1]), shared)


def _bends(before: _Side, sides: tuple[_Side, _Side], after: _Side) -> tuple[F32, F32]:
    """How the motion between two views bends, [h, w, 2] px, for the pixels of either.

    After a share s of the way a pixel has moved by s·flow + s·(1 − s)·bend: the parabola through
    where it is in three views. before, after: the same two views on the sides of their other
    neighbours. Hands shake too fast for views to tell, so a bend counts as far as that of the other
    view is like it.
    """
    first, second = _bend(sides[0], before), _bend(sides[1], after)
    return (
        _agreed(first, _fetch(second, sides[0].flow)),
        _agreed(second, _fetch(first, sides[1].flow)),
    )


def _bend(one: _Side, other: _Side) -> F32:
    """The bend of one view's pixels by their motion to its two neighbours, smoothed."""
    weight = one.trust * other.trust + 0.01
    sigma = BEND_SCALE * max(weight.shape)
    total = cv2.GaussianBlur(-(one.flow + other.flow) / 2 * weight[..., None], (0, 0), sigma)
    return total / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]


def _agreed(bend: F32, other: F32) -> F32:
    """The mean of two bends, less where they are unlike: nothing where they are opposite.

    One for both views, so that what they show lies on itself.
    """
    noise = (BEND_NOISE * max(bend.shape)) ** 2
    alike = 2 * (bend * other).sum(-1) / ((bend**2 + other**2).sum(-1) + noise)
    return (np.maximum(alike, 0)[..., None] * (bend + other) / 2).astype(np.float32)


@dataclass(frozen=True)
class _Flows:
    """forth, back: flow between two pictures float32 [h, w, 2] px and its confidence [h, w].
    plain: flow forth and back by a coarser search from no motion."""

    forth: tuple[F32, F32]
    back: tuple[F32, F32]
    plain: tuple[F32, F32]


def _flows(a: U8, b: U8, size: int) -> _Flows:
    """Flow at the pictures' size, found at ``size``."""
    height, width = a.shape[:2]
    scale = min(1.0, size / max(height, width))
    grey = []
    for picture in (a, b):
        one = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey.append(cv2.resize(one, small, interpolation=cv2.INTER_AREA))
    # Flow compares brightness: bring the second to the first's.
    level = [(float(g.mean()), max(float(g.std()), 1.0)) for g in grey]
    matched = (grey[1] - level[1][0]) * (level[0][1] / level[1][1]) + level[0][0]
    grey[1] = matched.clip(0, 255).astype(np.uint8)
    forth, certainty, back, certainty_back = flow_between(*grey)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    plain = [dis.calc(grey[0], grey[1], None), dis.calc(grey[1], grey[0], None)]
    h, w = grey[0].shape
    size_up = np.array([width / w, height / h], np.float32)

    def large(values: NDArray) -> F32:
        return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)

    return _Flows(
        (large(forth) * size_up, large(certainty)),
        (large(back) * size_up, large(certainty_back)),
        (large(plain[0]) * size_up, large(plain[1]) * size_up),
    )


def _sides(
    pictures: list[U8],
    forth: tuple[F32, F32],
    back: tuple[F32, F32],
) -> tuple[_Side, _Side]:
    made = []
    everywhere = np.ones(pictures[0].shape[:2], bool)
    for picture, (flow, confidence) in zip(pictures, (forth, back)):
        good = confidence > SURE
        completed, _ = complete_flow(flow, good, ~everywhere)
        # Hidden in the other view: it moves with what lies behind, and counts less.
        rest = CARRIED if good.mean() >= MIN_SHARED else 0.0
        trust = np.maximum(cv2.blur(confidence, (5, 5)), rest) if rest else confidence * good
        flow = np.where(good[..., None], flow, completed).astype(np.float32)
        made.append(_Side(picture.astype(np.float32), flow, trust.astype(np.float32)))
    return made[0], made[1]


def _log_gain(a: _Side, b: _Side) -> F32:
    """log of b's exposure over a's, [3], where both show the same."""
    there = _fetch(b.picture, a.flow)
    here = a.picture
    fair = (a.trust > SURE) & (np.minimum(here, there) > 8).all(-1)
    fair &= (np.maximum(here, there) < 245).all(-1)
    if fair.sum() < 100:
        return np.zeros(3, np.float32)
    gain = np.median(np.log(there[fair] / here[fair]), 0)
    return np.where(np.abs(gain) > 0.005, gain.clip(-1.5, 1.5), 0).astype(np.float32)


def _fetch(picture: F32, flow: F32) -> F32:
    h, w = flow.shape[:2]
    x = flow[..., 0] + np.arange(w, dtype=np.float32)
    y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _moment(pair: _Pair, bends: tuple[F32, F32] | None, moment: float) -> tuple[U8, F32]:
    """What two views show of a moment between them: colours uint8 [h, w, 3] and how far they are
    known, float32 [h, w] in [0, 1]."""
    sides, log_gain = pair.sides, pair.log_gain
    total = np.zeros(sides[0].picture.shape, np.float32)
    weight = np.zeros(total.shape[:2], np.float32)
    best = np.zeros_like(weight)
    for k, share, gain in (
        (0, moment, moment * log_gain),
        (1, 1 - moment, (moment - 1) * log_gain),
    ):
        side = sides[k]
        displacement = side.flow if bends is None else side.flow + np.float32(1 - share) * bends[k]
        back, trust = _carried(displacement, side.trust, np.float32(share))
        colours = _fetch(side.picture, back) * np.exp(gain)
        # Where the other view knows better, motion that was only guessed has no say.
        mine = (1 - share) * trust**2
        total += mine[..., None] * colours
        weight += mine
        best = np.maximum(best, trust)
    colours = total / np.maximum(weight, 1e-9)[..., None]
    # Where the flow is not to be trusted a cross-fade errs least.
    faded = (1 - moment) * sides[0].picture * np.exp(moment * log_gain)
    faded += moment * sides[1].picture * np.exp((moment - 1) * log_gain)
    certainty = (best / SURE).clip(0, 1)[..., None] ** 2
    colours = np.where(weight[..., None] > 0, certainty * colours + (1 - certainty) * faded, faded)
    # Two ways of finding motion err in different places: their mean is better than either.
    colours = (colours + _plainly(pair, bends, np.float32(moment))) / 2
    known = np.where(weight > 0, (best / SURE).clip(0, 1), 0)
    return np.rint(colours).clip(0, 255).astype(np.uint8), known.astype(np.float32)


def _plainly(pair: _Pair, bends: tuple[F32, F32] | None, m: np.float32) -> F32:
    """Both views fetched along a flow that is believed everywhere, blended by nearness in time.

    The flow of a moment is that of the same pixel in the views (Jiang et al. 2018, Super SloMo).
    """
    forth, back = pair.plain
    to_first = m * (m * back - (1 - m) * forth)
    to_second = (1 - m) * ((1 - m) * forth - m * back)
    if bends is not None:
        bend = (m * (1 - m) / 2 * (bends[0] + bends[1])).astype(np.float32)
        to_first, to_second = to_first - bend, to_second - bend
    first = (1 - m) * np.exp(m * pair.log_gain) * _fetch(pair.sides[0].picture, to_first)
    second = m * np.exp((m - 1) * pair.log_gain) * _fetch(pair.sides[1].picture, to_second)
    return (first + second).astype(np.float32)


def _carried(flow: F32, trust: F32, share: np.float32) -> tuple[F32, F32]:
    """For the moment ``share`` of the way: where in the view each pixel comes from, and its trust.

    The flow is drawn forward; where two surfaces meet, the surer one stays, then the one that moves
    more. Cracks of a pixel or two are closed.
    """
    back, found = np.zeros_like(flow), np.zeros_like(trust)
    _draw(flow, trust, share, back, found)
    for _ in range(2):
        weight = cv2.boxFilter((found > 0).astype(np.float32), -1, (3, 3), normalize=False)
        around = cv2.boxFilter(back * (found > 0)[..., None], -1, (3, 3), normalize=False)
        least = cv2.boxFilter(found, -1, (3, 3), normalize=False) / np.maximum(weight, 1)
        crack = (found <= 0) & (weight >= 5)
        back = np.where(crack[..., None], around / np.maximum(weight, 1)[..., None], back)
        found = np.where(crack, least, found).astype(np.float32)
    return back.astype(np.float32), found


@kernel
def _draw(flow, trust, share, back, found):
    """Draw flow [h, w, 2] at p + share·flow: −share·flow into back [h, w, 2], trust into found."""
    height, width = trust.shape
    score = np.full((height, width), -1.0, np.float32)
    for y in range(height):
        for x in range(width):
            if trust[y, x] <= 0:
                continue
            dx, dy = share * flow[y, x, 0], share * flow[y, x, 1]
            length = np.hypot(flow[y, x, 0], flow[y, x, 1]) / (height + width)
            x0, y0 = int(np.floor(x + dx)), int(np.floor(y + dy))
            for j in range(2):
                for i in range(2):
                    column, row = x0 + i, y0 + j
                    if column < 0 or row < 0 or column >= width or row >= height:
                        continue
                    off = max(abs(column - x - dx), abs(row - y - dy))
                    if off > 0.75:
                        continue
                    value = (trust[y, x] >= 0.5) + 0.5 * length - 0.02 * off
                    if value > score[row, column]:
                        score[row, column] = value
                        back[row, column, 0], back[row, column, 1] = -dx, -dy
                        found[row, column] = trust[y, x]
