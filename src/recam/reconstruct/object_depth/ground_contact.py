"""How deep things are that move: upright where they touch the ground, and of one size over time.

The depth of what moves cannot be triangulated. What stands on the ground is as far as the ground at
its lower edge, and, where the camera looks down on it, the nearer the higher up; what is in the air
is nearer than the ground behind it, and so is what hides something near. A thing followed over time
looks the larger the nearer it is (``scale_change``; of a ball ``round_things``), so that frames in
which it touches the ground tell its depth in the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from recam.arrays import F32, F64, I32, I64, U8, Mask
from recam.configs import ALL_RULES, ReconstructRules
from recam.flow.dense import FlowSet
from recam.reconstruct.motion_segmentation.instances import segment_instances
from recam.reconstruct.motion_segmentation.regions import average_along_flow
from recam.reconstruct.object_depth.ground_plane import BELOW, Ground
from recam.reconstruct.object_depth.prior_level import (
    MIN_SAMPLES,
    affine_near,
    level_by_prior,
)
from recam.reconstruct.object_depth.round_things import follow_round
from recam.reconstruct.object_depth.scale_change import ScaleChange, relative_scale
from recam.reconstruct.robust import robust_least_squares
from recam.runtime.parallel import parallel_frames
from recam.types import Progress, no_progress

HIDDEN_QUANTILE = 0.5
"""A moving thing is not farther than this quantile of the still ρ on both of its sides: it hides
most of that, but may be half hidden itself by something nearer on one side."""
LEVEL = 0.05
"""Relative spread about a plane up to which what lies around a contact is level ground."""
FAR_OFF = 0.3
"""Relative difference from the ρ just below it from which on a contact's is not believed."""
AROUND_PX = 2
"""Still depth so near to what moves is not believed."""
BESIDE_PX = 6
"""Nothing so near to what moves lies below the ground."""
ON_GROUND = 1.15
"""Inverse depth, of the level ground's, from which on a level contact is higher: a table."""
MAX_LEAN = 2.0
"""How many times nearer than its foot the top of a thing may be."""
MIN_FRAMES = 5
AROUND_FRAMES, MIN_AROUND, NEARER_QUANTILE = 12, 3, 0.85
"""A thing is as near as in this quantile of the frames around that show its foot, if so many do."""
NEAREST_QUANTILE = 0.95
"""A ball is as near as in this quantile of all its frames."""
TIED_FRAMES, MIN_TIED = 32, 4
"""Frames around where its growth is known, and how many there must be."""
ALIKE = 0.25
"""Difference of log depth over these frames up to which growth and trend say nearly the same."""
MAX_TREND = 0.08
"""Of log depth a frame."""
CONTACT_ERROR, PRIOR_ERROR = (0.25, 0.1), 0.25
"""Of log depth: by contact where no level ground is known, and where it is; by the prior."""
MARGIN = 0.05
"""By how much (spread of log depth) the prior must contradict growth for the trend to count."""
IN_AIR = 0.35
"""How much nearer (of log depth) the prior must be for a contact not to be believed."""


@dataclass(frozen=True)
class GroundContact:
    """One thing in a frame: its ``label``; rho: its inverse depth at its pixels [k], row by
    row; level: their median; touches: whether its foot is seen; by_prior: level that a depth prior
    tells, 0 = it tells none."""

    frame: int
    label: int
    rho: F32
    level: float
    touches: bool
    by_prior: float = 0.0


@dataclass(frozen=True)
class PriorAround:
    """A depth prior beside the still scene: inverse_depth float32 [t, h, w] up to a scale and shift
    a frame; weight [t, h, w] of what was measured of the still scene, 0 = not."""

    inverse_depth: F32
    weight: F32


def place_on_ground(
    rho: F32,
    dynamic: Mask,
    flows: FlowSet,
    progress: Progress = no_progress,
    ground: Ground | None = None,
    rules: ReconstructRules = ALL_RULES,
    prior: PriorAround | None = None,
) -> F32:
    """Inverse depth [t, h, w] in which moving things stand upright where they touch the ground.

    rho: inverse depth of the still scene; what it says of moving things is not read. dynamic: bool
    [t, h, w]. Each thing (``things.tell_apart``) gets the inverse depth of the still pixels just
    below its lowest part, turned about the vertical if the contact slopes; but it is never behind
    most of what it hides, nor farther than the frames around allow. Then it is averaged along the
    flow, so that it does not jump when a foot leaves the ground.

    ground: the level ground, if there is one: it is believed rather than what is near a contact,
    nothing beside a moving thing lies below it, and upright is along its normal (else all of a
    thing is as deep as its foot).

    prior: how deep things are by what stands still around them. Contact is weighed against it by
    the errors of both; whoever shows no foot (cut off by the border) is as near as the nearer says,
    and what the prior says is much nearer than where it seems to touch is in the air.
    """
    if not rules.ground_contact:
        return rho
    out = rho.copy()
    if ground is not None:
        beside = np.stack([cv2.dilate(d.astype(np.uint8), _disc(BESIDE_PX)) > 0 for d in dynamic])
        out = np.where(beside, np.maximum(rho, BELOW * ground.rho), rho)
    if not rules.prior_of_moving:
        prior = None
    around = np.stack([cv2.dilate(d.astype(np.uint8), _disc(AROUND_PX)) > 0 for d in dynamic])
    background = filled(out, around)
    if rules.instances:
        label = segment_instances(dynamic, flows, progress)
    else:  # what is connected, in a frame or from one to the next, is one thing
        label = ndimage.label(dynamic)[0].astype(np.int32)
    balls: dict[int, F64] = {}
    if rules.round_outlines:
        label, balls = follow_round(label, flows.gray.numpy())
    growths = relative_scale(label, flows) if rules.scale_change else {}
    found: list[list[GroundContact]] = [[] for _ in range(len(rho))]

    def job(i: int) -> None:
        """Stand every thing of frame i upright."""
        told = None if prior is None else _prior_of_frame(prior, rho, around, i)
        for n in np.unique(label[i][label[i] > 0]).tolist():
            region = label[i] == n
            one = place_upright(background[i], region, around[i], i, n, ground)
            if told is not None:
                level = level_by_prior(told[0], rho[i], told[1], region, told[2])
                one = replace(one, by_prior=level or 0.0)
            found[i].append(one)

    parallel_frames(job, range(len(rho)), progress, "standing what moves on the ground")
    things: dict[int, list[GroundContact]] = {}
    for one in chain(*found):
        things.setdefault(one.label, []).append(one)
    for number, thing in things.items():
        if number in balls:
            placed = _as_near_as_nearest(thing, balls[number], ground is not None)
        else:
            placed = _as_near_as_around(thing, growths.get(number), ground is not None)
        for one in placed:
            region = label[one.frame] == one.label
            out[one.frame][region] = one.rho
    return _steady(out, label, flows)


def place_upright(
    rho: F32,
    region: Mask,
    dynamic: Mask,
    frame: int = 0,
    label: int = 1,
    ground: Ground | None = None,
) -> GroundContact:
    """A region [h, w] of a frame, standing where its lowest part touches the ground. rho: inverse
    depth, also behind it; dynamic: where that is only filled in.
    """
    h, w = rho.shape
    columns = np.flatnonzero(region.any(0))
    lowest = h - 1 - region[::-1, columns].argmax(0)
    top, bottom = int(np.flatnonzero(region.any(1))[0]), int(lowest.max())
    touching = lowest >= bottom - max(2.0, 0.15 * (bottom - top))
    x, y = columns[touching], lowest[touching]
    on_ground = ~dynamic[np.minimum(y + 3, h - 1), x] & (y < h - 2)
    behind = _hidden(rho, region, dynamic)
    if on_ground.sum() < max(3, 0.2 * len(x)):
        # Cut off by the picture's border: at least as near as what is still along its bottom.
        near = np.quantile((rho if ground is None else ground.rho[frame])[max(bottom - 2, 0)], 0.5)
        line = np.full(w, near, np.float32)
        own = _standing_on(line, region, float(np.median(x)), bottom, behind, ground, frame)
        return GroundContact(frame, label, own, float(np.median(own)), False)
    x, y = x[on_ground], y[on_ground]
    values, level_there = _ground_at(
        rho, dynamic, x, y, max(bottom - top, columns[-1] - columns[0])
    )
    if ground is not None:
        plane = ground.rho[frame, np.minimum(y + 1, h - 1), x].astype(np.float64)
        higher = level_there and float(np.median(values / np.maximum(plane, 1e-12))) > ON_GROUND
        values = values if higher else plane
    grounded = y >= y.max() - max(1.0, 0.015 * (bottom - top))  # no foot in the air, no ball's side
    level, middle = float(np.median(values[grounded])), float(np.median(x[grounded]))
    slope = 0.0
    if len(x) > 0.5 * len(columns):  # only a wide contact says how a thing is turned
        away = x - x.mean()
        slope = float((away * (values - values.mean())).mean()) / (max(float(x.var()), 1) + 9.0)
    line = level + slope * (np.arange(w) - middle)
    line = np.clip(line, float(values.min()), float(values.max()))
    own = _standing_on(line.astype(np.float32), region, middle, bottom, behind, ground, frame)
    return GroundContact(frame, label, own, float(np.median(own)), True)


def _prior_of_frame(
    prior: PriorAround, rho: F32, around: Mask, i: int
) -> tuple[F32, F32, tuple[float, float]]:
    """Of frame i: the prior, the weight of what stands still, and the prior's scale and shift."""
    own, weight = prior.inverse_depth[i], np.where(around[i], np.float32(0), prior.weight[i])
    thin = (slice(None, None, 3), slice(None, None, 3))
    x, y, w = (a[thin].ravel().astype(np.float64) for a in (own, rho[i], weight))
    x, y, w = x[w > 0], y[w > 0], w[w > 0]
    if len(x) < MIN_SAMPLES:
        return own, weight * 0, (1.0, 0.0)
    ratio = float(np.median(y / np.maximum(x, 1e-9)))
    return own, weight, affine_near(x, y, w, (ratio, 0.0))


def _standing_on(
    line: F32, region: Mask, x: float, y: float, least: float, ground: Ground | None, frame: int
) -> F32:
    """Inverse depth [k] of a region's pixels, of which ``line`` [w] is that of its foot, by column;
    (x, y): a pixel of the foot."""
    rows, columns = np.nonzero(region)
    own = line[columns]
    if ground is not None:
        a, b, c = ground.standing_plane(frame, x, y)
        lean = a * (columns + 0.5) + b * (rows + 0.5) + c
        own = own * np.clip(lean, 1 / MAX_LEAN, MAX_LEAN)
    return np.maximum(own, least).astype(np.float32)


def _hidden(rho: F32, region: Mask, dynamic: Mask) -> float:
    """ρ of what goes on behind a region: the lesser of those to its left and to its right."""
    reach = cv2.dilate(region.astype(np.uint8), _disc(AROUND_PX + 4)) > 0
    y, x = np.nonzero(reach & ~dynamic)
    left = x < np.median(np.nonzero(region)[1])
    sides = [rho[y[side], x[side]] for side in (left, ~left) if side.sum() >= 10]
    return min((float(np.quantile(side, HIDDEN_QUANTILE)) for side in sides), default=0.0)


def _ground_at(rho: F32, dynamic: Mask, x: I64, y: I64, size: int) -> tuple[F64, bool]:
    """ρ [k] of the ground at the lower edges of the contact pixels (x, y).

    A plane through the still pixels around them, as far as an eighth of the thing's size: just
    below a thing the ground is nearer already. Where they lie on no plane, what is 3 px
    below. Also whether they do.
    """
    h, w = rho.shape
    reach = max(8, size // 8)
    rows = slice(max(int(y.max()) - reach // 2, 0), min(int(y.max()) + reach, h))
    span = slice(max(int(x.min()) - reach, 0), min(int(x.max()) + reach, w))
    v, u = np.nonzero(~dynamic[rows, span])
    below = rho[np.minimum(y + 3, h - 1), x].astype(np.float64)
    if len(v) < 30:
        return below, False
    thin = max(1, len(v) // 1500)
    v, u = v[::thin] + rows.start, u[::thin] + span.start
    own = rho[v, u].astype(np.float64)
    a = np.stack([np.ones(len(own)), (u - x.mean()) / reach, (v - y.max()) / reach], 1)
    plane, spread = robust_least_squares(a, own, ridge=1e-6)
    found = plane[0] + plane[1] * (x - x.mean()) / reach + plane[2] * (y + 1 - y.max()) / reach
    off = np.abs(found / np.maximum(below, 1e-12) - 1)
    fits = spread < LEVEL * plane[0] and float(np.median(off)) < FAR_OFF and found.min() > 0
    return (found, True) if fits else (below, False)


def _disc(reach: int) -> U8:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def filled(rho: F32, hole: Mask) -> F32:
    """rho [t, h, w] where it is not ``hole``; smooth from around there, by a pyramid of means."""
    out = rho.copy()
    for i in range(len(rho)):
        if hole[i].all() or not hole[i].any():
            continue
        weight = (~hole[i]).astype(np.float32)
        levels = [(rho[i] * weight, weight)]
        while min(levels[-1][0].shape) > 2:
            half = tuple((s + 1) // 2 for s in levels[-1][0].shape[::-1])
            levels.append(
                tuple(cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in levels[-1])
            )
        value, weight = levels[-1]
        now = value / np.maximum(weight, 1e-9)
        for value, weight in levels[-2::-1]:
            wider = cv2.resize(now, value.shape[::-1], interpolation=cv2.INTER_LINEAR)
            now = value + (1 - weight) * wider
        out[i] = np.where(hole[i], now, rho[i])
    return out


def _as_near_as_around(
    thing: list[GroundContact], growth: ScaleChange | None, known_ground: bool
) -> list[GroundContact]:
    """A thing followed over time. By contact it is as near as in a sixth of the frames around:
    where its foot is hidden, missing from what is known to move, or in the air, it seems too far.
    By the prior it is as near as in most of them. How much nearer it comes meanwhile its points say
    (``relative_scale``) or the trend of where it stands, whichever fits both better."""
    frames, levels, prior, guessed = _said(thing)
    grounded = np.array([one.touches for one in thing]) & (prior - levels < IN_AIR)
    size, piece = _sizes(frames, growth)
    out = []
    for n, one in enumerate(thing):
        away = frames - one.frame
        near = np.abs(away) <= AROUND_FRAMES
        told = _usable(near, grounded)
        expected = away * _trend(frames[told], levels[told])
        tied = (piece == piece[n]) & (np.abs(away) <= TIED_FRAMES) & (piece >= 0)
        if tied.sum() >= MIN_TIED:
            grown, shown = size - size[n], tied & grounded
            steady = away * _trend(frames[shown], levels[shown])
            # What is in the air has a trend by contact as well, but a wrong one: where both differ
            # much, growth counts unless the prior contradicts it.
            alike = np.ptp((grown - steady)[shown]) < ALIKE if shown.sum() >= MIN_FRAMES else False
            changes = (grown, steady)
            by_prior = [_spread((prior - change)[tied & guessed]) for change in changes]
            shown_off = [_spread((levels - change)[shown]) for change in changes]
            if alike:
                better = by_prior[0] + shown_off[0] < by_prior[1] + shown_off[1]
            else:
                better = by_prior[0] < by_prior[1] + MARGIN
            if better:
                near, told, expected = tied, _usable(tied, grounded), grown
        level = max(float(np.quantile((levels - expected)[told], NEARER_QUANTILE)), levels[n])
        if (near & guessed).any():
            guess = float(np.median((prior - expected)[near & guessed]))
            level = _believed(level, guess, bool(grounded[told].any()), known_ground)
        factor = float(np.exp(level - levels[n]))
        out.append(replace(one, rho=one.rho * np.float32(factor), level=one.level * factor))
    return out


def _as_near_as_nearest(
    thing: list[GroundContact], log_size: F64, known_ground: bool
) -> list[GroundContact]:
    """A thing whose ``log_size`` [k] is known in all of its frames, as near as where it is seen
    nearest: of what flies, contact and prior both tell what is behind it."""
    _, levels, prior, guessed = _said(thing)
    level = float(np.quantile(levels - log_size, NEAREST_QUANTILE))
    if guessed.any():
        guess = float(np.quantile((prior - log_size)[guessed], NEAREST_QUANTILE))
        level = _believed(level, guess, True, known_ground)
    factors = np.exp(level + log_size - levels).tolist()
    return [
        replace(one, rho=one.rho * np.float32(factor), level=one.level * factor)
        for one, factor in zip(thing, factors)
    ]


def _said(thing: list[GroundContact]) -> tuple[I64, F64, F64, Mask]:
    """Of a thing: its frames [k], its log inverse depth by contact and by the prior, and whether
    the prior says anything."""
    frames = np.array([one.frame for one in thing])
    levels, prior = np.log([[max(o.level, 1e-9), max(o.by_prior, 1e-9)] for o in thing]).T
    return frames, levels, prior, np.array([one.by_prior > 0 for one in thing])


def _believed(contact: float, prior: float, grounded: bool, known_ground: bool) -> float:
    """Log inverse depth by what both say, weighed by their errors. What shows no foot is not
    farther than what it seems to touch."""
    if not grounded:
        return max(contact, prior)
    own = CONTACT_ERROR[known_ground]
    return contact + (prior - contact) * own**2 / (own**2 + PRIOR_ERROR**2)


def _spread(values: NDArray) -> float:
    return float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _usable(around: Mask, grounded: Mask) -> Mask:
    """Which of the frames around [k] say how near: those that show the foot, if so many do."""
    return around & grounded if (around & grounded).sum() >= MIN_AROUND else around


def _sizes(frames: NDArray, growth: ScaleChange | None) -> tuple[NDArray, NDArray]:
    """Log size and piece [k] of a thing in each of the frames [k]; piece −1 = not known."""
    size, piece = np.zeros(len(frames)), np.full(len(frames), -1)
    if growth is not None:
        _, here, there = np.intersect1d(frames, growth.frames, return_indices=True)
        size[here], piece[here] = growth.log_size[there], growth.piece[there]
    return size, piece


def _trend(frames: NDArray, levels: NDArray) -> float:
    """Change of log inverse depth a frame: the median slope of all pairs (Theil 1950, Sen 1968)."""
    if len(frames) < MIN_FRAMES:
        return 0.0
    a, b = np.triu_indices(len(frames), 1)
    slopes = (levels[b] - levels[a]) / (frames[b] - frames[a])
    return float(np.clip(np.median(slopes), -MAX_TREND, MAX_TREND))


def _steady(rho: F32, label: I32, flows: FlowSet) -> F32:
    """Two rounds of averaging over what the flow says is the same moving thing, and of evening out
    over each region what that changes, so that it holds together and keeps its shape."""
    out = rho
    for _ in range(2):
        out = average_along_flow(out, label > 0, flows)
        for i in range(len(rho)):
            out[i] = rho[i] * _even(out[i] / np.maximum(rho[i], 1e-12), label[i])
    return out


def _even(value: F32, label: I32) -> F32:
    """``value`` [h, w] blurred inside each region by a third of its size; 1 elsewhere."""
    out = np.ones_like(value)
    for number in np.unique(label[label > 0]).tolist():
        y, x = np.nonzero(label == number)
        top, left = int(y.min()), int(x.min())
        height, width = int(y.max()) + 1 - top, int(x.max()) + 1 - left
        box = slice(top, top + height), slice(left, left + width)
        inside = label[box] == number
        sigma = max(3.0, min(width, height) / 3)
        weight = inside.astype(np.float32)
        border = cv2.BORDER_CONSTANT
        total = cv2.GaussianBlur(weight * value[box], (0, 0), sigma, borderType=border)
        weight = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=border)
        out[box][inside] = (total / np.maximum(weight, 1e-6))[inside]
    return out
