"""What the camera did, told from point tracks: stood still, turned, or moved.

Three models of growing freedom are fitted to the same tracks with the same robust cost, each from
several focal lengths. A freer model always fits better, if only by taking things that move for
parallax; so it is chosen only when a fair share of the tracks cannot do without it.

Tracks here have their uv_px measured from the principal point, in square pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.stats import spearmanr

from recam.arrays import F64, Mask
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    adjust,
    refocused,
    residuals_px,
    rotation_exp,
    scaled,
    triangulated,
)
from recam.reconstruct.matching.tracks import Tracks, select_tracks
from recam.runtime.parallel import parallel_map
from recam.types import CameraMotion

FOCAL_SPREAD = 0.4
"""Standard deviation of log focal about the usual."""
LIGHT_PRIOR, FIRM_PRIOR = 0.002, 0.05
"""What a focal length one spread off the usual costs, as a part of what the tracks cost. The first
only keeps it from running away. The second is for when the motion does not tell it: differences of
a few hundredths of the cost are as well made by rolling shutters and lens distortion."""
WEAK_FOCAL = 0.04
"""A focal length is known if one 25 % off, either way, raises the cost by more than this part."""
UNCLEAR, MAX_COST_OF_FLIP = 0.35, 3.0
"""How unlikely (``prefer_relief``) a relief is that may be inside out; and how many times the cost
may be of one that is not."""
MAX_AGAINST = 0.1
"""By what part a focal length that something else tells may raise the cost."""
STATIC = 0.5
"""Tracks with more stillness than this count as standing still."""
TURNING_SHARE, MOVING_SHARE = 0.12, 0.2
"""Part of the tracks that must need a freer model for it to be chosen."""
NEARER = 0.3
"""What is added to inverse depths, of which the usual one is 1, to come out of a wrong valley."""
MIN_START_TRACKS = 250
"""Tracks that fits start with, before the best of them is given all."""
FAR_WORSE = 1.5
"""Cost over that of the best start from which on another one is not carried on."""
START_FOVS_DEG = (22.0, 35.0, 50.0, 66.0, 85.0)
"""Of the longer side, where the fits start from."""


Chained = Callable[[float], F64]


@dataclass(frozen=True)
class Fit:
    """A fitted model, its robust cost (px², with the focal prior), and rms_px [n] per track."""

    bundle: Bundle
    cost: float
    rms_px: F64


@dataclass(frozen=True)
class Decision:
    """Which motion was found, and the numbers that it was told by.

    turning_share: part of the tracks that a turning camera explains and a still one does not.
    moving_share: part that a moving camera explains and neither of the others does.
    still_share: part that a still camera explains. noise_px: of the tracks.
    """

    motion: CameraMotion
    still_share: float
    turning_share: float
    moving_share: float
    noise_px: float


def focal_from_fov(fov_deg: float, side_px: float) -> float:
    """Focal length in px of a field of view across ``side_px``."""
    return 0.5 * side_px / math.tan(math.radians(fov_deg) / 2)


def start_focals(long_side_px: float) -> list[float]:
    return [focal_from_fov(fov, long_side_px) for fov in START_FOVS_DEG]


def start_bundle(tracks: Tracks, rotation: F64, focal: float) -> Bundle:
    """Cameras without translation; every point at depth 1 where its first observation sees it."""
    first = tracks.start[:-1]
    num = len(tracks)
    return Bundle(
        rotation=rotation,
        center=np.zeros((len(rotation), 3)),
        focal=focal,
        bearing=tracks.uv_px[first] / focal,
        inverse_depth=np.ones(num),
        axes=np.ascontiguousarray(rotation[tracks.frame[first]].transpose(0, 2, 1)),
        origin=np.zeros((num, 3)),
    )


def fit_static(tracks: Tracks, num_frames: int, focal: float) -> Fit:
    """No camera motion at all."""
    bundle = start_bundle(tracks, np.tile(np.eye(3), (num_frames, 1, 1)), focal)
    for sigma_px in (4.0, 1.0):
        freedom = Freedom(False, False, False, False, sigma_px=sigma_px)
        bundle, cost = adjust(bundle, tracks, freedom, 15)
    return Fit(bundle, cost, rms_px(bundle, tracks, 2))


def fit_rotating(
    tracks: Tracks, chained: Chained, focals: Sequence[float], usual_focal: float | None
) -> Fit:
    """Rotations and a focal length, no translation. chained: ``chained_rotations`` of the tracks.
    usual_focal None = the (one) focal is known."""
    few = _some(tracks)

    def begun(focal: float) -> tuple[float, Bundle]:
        bundle = start_bundle(few, chained(focal), focal)
        freedom = Freedom(center=False, depth=False, focal=False, sigma_px=4.0)
        bundle, cost = adjust(bundle, few, freedom, 8)
        return cost, bundle

    starts = list(parallel_map(begun, focals))
    return _best_of_two(starts, tracks, "rotating", usual_focal)


def fit_moving(
    tracks: Tracks,
    chained: Chained,
    focals: Sequence[float],
    usual_focal: float | None,
    restarts: bool = True,
    guessed: F64 | None = None,
) -> Fit:
    """Rotations, centres, depths and a focal length, from zero translation and equal depths.
    chained: ``chained_rotations`` of the tracks for a focal length.

    Starts are fitted to some of the tracks, the two best of them to all. The robust scale comes
    down in steps. All starts get the first ones, the two best the last; and the two best with their
    relief reversed as well, since each of the two has a valley of its own that no small step leads
    out of; and the three best of these with all points nearer. guessed: inverse depths [n] that a
    network guesses: they are begun from as well.
    """

    few = _some(tracks)

    def carried_on(bundle: Bundle) -> tuple[float, Bundle]:
        cost = 0.0
        for sigma_px, redescends in ((16.0, False), (6.0, False), (2.0, True)):
            freedom = Freedom(
                focal=redescends and usual_focal is not None,
                sigma_px=sigma_px, redescending=redescends,
            )  # fmt: skip
            bundle, cost = adjust(bundle, few, freedom, 12)
            bundle = unit_depth(bundle)
        return cost, bundle

    def begun(focal: float) -> tuple[float, Bundle]:
        return carried_on(start_bundle(few, chained(focal), focal))

    def as_guessed(focal: float) -> tuple[float, Bundle]:
        flat = start_bundle(few, chained(focal), focal)
        cameras = Freedom(depth=False, focal=False, sigma_px=4.0)
        assert guessed is not None
        flat = replace(flat, inverse_depth=guessed[:: _stride(tracks)])
        return carried_on(unit_depth(adjust(flat, few, cameras, 12)[0]))

    works = [partial(begun, focal) for focal in focals]
    if guessed is not None:
        works.append(partial(as_guessed, usual_focal or focals[0]))
    starts = list(parallel_map(lambda work: work(), works))
    starts.sort(key=lambda start: start[0])
    if guessed is not None:
        fit = _best_of_two(starts, tracks, "moving", usual_focal)
        return prefer_relief(fit, tracks, usual_focal, partial(_like_guessed, guessed))
    if not restarts:
        return _best_of_two(starts, tracks, "moving", usual_focal)
    starts += parallel_map(lambda start: carried_on(bas_relief_flip(start[1], few)), starts[:2])
    starts.sort(key=lambda start: start[0])
    starts += parallel_map(lambda start: carried_on(shift_inverse_depth(start[1], few)), starts[:3])
    fit = _best_of_two(starts, tracks, "moving", usual_focal)
    return prefer_relief(fit, tracks, usual_focal)


def _ground_below(bundle: Bundle) -> float:
    """Log of the usual inverse depth in the lowest third of the points, of that in the highest."""
    y = bundle.bearing[:, 1]
    low, high = (bundle.inverse_depth[part] for part in (
        y > np.quantile(y, 2 / 3), y < np.quantile(y, 1 / 3)
    ))  # fmt: skip
    if not len(low) or not len(high):
        return 0.0
    return math.log(max(float(np.median(low)), 1e-6) / max(float(np.median(high)), 1e-3))


def prefer_relief(
    fit: Fit,
    tracks: Tracks,
    usual_focal: float | None,
    likely: Callable[[Bundle], float] = _ground_below,
) -> Fit:
    """The fit, or the one with its relief reversed, where that costs at most MAX_COST_OF_FLIP times
    as much and is the likely one: with a long lens the cost alone may prefer the wrong relief.

    likely: below 0 for a relief that may be inside out, above 0 for one that is not. By default
    what is low in the picture is nearer than what is high: nearly all have ground at the bottom.
    """
    if likely(fit.bundle) > -UNCLEAR:
        return fit
    turned = bas_relief_flip(unit_depth(fit.bundle), tracks)
    prior = LIGHT_PRIOR * fit.cost
    other, nearer = (
        refined(start, tracks, "moving", usual_focal, prior, iterations=100)
        for start in (turned, shift_inverse_depth(turned, tracks))
    )
    if nearer.cost < other.cost:
        other = nearer
    better = likely(other.bundle) > UNCLEAR and other.cost < MAX_COST_OF_FLIP * fit.cost
    return other if better else fit


def _like_guessed(guessed: F64, bundle: Bundle) -> float:
    """Rank correlation of the points' inverse depth [n] with a guessed one."""
    return float(spearmanr(guessed, bundle.inverse_depth).statistic)


def bas_relief_flip(bundle: Bundle, tracks: Tracks) -> Bundle:
    """Cameras on the opposite side of the first one that take nearly the same pictures of the
    relief turned inside out: what is near becomes far.

    A bundle of unit depth is expected. With a long lens the two are hard to tell apart (the Necker
    reversal: Koenderink and van Doorn 1991), so an optimisation may settle in the wrong one.
    """
    middle = np.array([0.0, 0.0, 1.0])
    seen, wanted = (middle + sign * bundle.center for sign in (1, -1))
    seen, wanted = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (seen, wanted))
    axis = np.cross(seen, wanted)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (seen * wanted).sum(1, keepdims=True))
    turned = bundle.rotation @ rotation_exp(axis / np.maximum(sine, 1e-12) * angle)
    cameras = start_bundle(tracks, np.ascontiguousarray(turned), bundle.focal)
    return unit_depth(triangulated(replace(cameras, center=-bundle.center), tracks))


def shift_inverse_depth(bundle: Bundle, tracks: Tracks) -> Bundle:
    """Cameras that take nearly the same pictures of points whose inverse depths are all larger.

    With a long lens, turning a little and stepping aside a little look alike, so that all inverse
    depths may be too small by the same amount. No step leads out of this once some of them have
    come to 0: they cannot be less, and hold the others where they are.
    """
    nearer = replace(bundle, inverse_depth=bundle.inverse_depth + NEARER)
    cameras = Freedom(depth=False, focal=False, sigma_px=4.0)
    return unit_depth(triangulated(adjust(nearer, tracks, cameras, 10)[0], tracks))


def _best_of_two(
    starts: list[tuple[float, Bundle]],
    tracks: Tracks,
    motion: CameraMotion,
    usual_focal: float | None,
) -> Fit:
    """The better of the two best starts, which were fitted to ``_some`` tracks, both carried on
    with all of them until nothing changes any more; the best alone where the other is far worse."""
    starts.sort(key=lambda start: start[0])
    share = len(starts[0][1].bearing) / max(len(tracks), 1)

    def carried_on(start: tuple[float, Bundle]) -> Fit:
        cost, bundle = start
        every = start_bundle(tracks, bundle.rotation, bundle.focal)
        every = with_points(replace(every, center=bundle.center), tracks, motion)
        return refined(every, tracks, motion, usual_focal, LIGHT_PRIOR * cost / share / 2)

    near = [start for start in starts[:2] if start[0] <= FAR_WORSE * starts[0][0]]
    return min(parallel_map(carried_on, near), key=lambda fit: fit.cost)


def _some(tracks: Tracks) -> Tracks:
    """Every nth track: MIN_START_TRACKS of them, or a few more."""
    keep = np.zeros(len(tracks), bool)
    keep[:: _stride(tracks)] = True
    return select_tracks(tracks, keep)


def _stride(tracks: Tracks) -> int:
    return max(1, len(tracks) // MIN_START_TRACKS)


def refined(
    bundle: Bundle,
    tracks: Tracks,
    motion: CameraMotion,
    usual_focal: float | None,
    prior_cost: float,
    sigma_px: float = 1.0,
    redescending: bool = True,
    iterations: int = 40,
) -> Fit:
    """All that ``motion`` leaves free, optimised.

    usual_focal: None keeps the focal length; prior_cost: px² for being one spread off it.
    """
    moves = motion == "moving"
    prior = None
    if usual_focal is not None and prior_cost > 0:
        prior = math.log(usual_focal), FOCAL_SPREAD / math.sqrt(prior_cost)
    freedom = Freedom(
        rotation=motion != "static", center=moves, depth=moves, focal=usual_focal is not None,
        sigma_px=sigma_px, redescending=redescending, focal_prior=prior,
    )  # fmt: skip
    bundle, cost = adjust(bundle, tracks, freedom, iterations, tolerance=1e-5)
    if moves:
        bundle = unit_depth(bundle)
    return Fit(bundle, cost, rms_px(bundle, tracks, 3 if moves else 2))


def with_focal_settled(
    fit: Fit, tracks: Tracks, motion: CameraMotion, usual_focal: float
) -> tuple[Fit, bool]:
    """The fit, and True, if the tracks tell the focal length; else one drawn to the usual focal.

    Judged by the tracks that stand still, with a cost that does not give up on any of them: things
    that move would drown the differences.
    """
    still = stillness(residuals_px(fit.bundle, tracks), tracks)
    good = select_tracks(tracks, still > STATIC)

    def at(bundle: Bundle, focal: float | None, prior_cost: float) -> Fit:
        return refined(bundle, good, motion, focal, prior_cost, 0.5, False)

    start = with_points(fit.bundle, good, motion)
    free = at(start, usual_focal, LIGHT_PRIOR * fit.cost)
    base = at(free.bundle, None, 0.0)

    def cost_at(factor: float) -> float:
        other = with_points(refocused(base.bundle, factor), good, motion)
        return at(other, None, 0.0).cost

    if min(parallel_map(cost_at, (0.8, 1.25))) >= base.cost * (1 + WEAK_FOCAL):
        return base, True
    usual = with_points(refocused(base.bundle, usual_focal / base.bundle.focal), good, motion)
    prior = FIRM_PRIOR * base.cost
    fits = parallel_map(lambda start: at(start, usual_focal, prior), (base.bundle, usual))
    return min(fits, key=lambda fit: fit.cost), False


def with_focal(fit: Fit, tracks: Tracks, motion: CameraMotion, focal: float) -> Fit | None:
    """The fit with a focal length that something else tells; None where the tracks contradict it.

    Judged by the tracks that stand still, as in :func:`with_focal_settled`.
    """
    still = stillness(residuals_px(fit.bundle, tracks), tracks)
    good = select_tracks(tracks, still > STATIC)
    own = refined(with_points(fit.bundle, good, motion), good, motion, None, 0.0, 0.5, False)
    start = with_points(refocused(own.bundle, focal / own.bundle.focal), good, motion)
    other = refined(start, good, motion, None, 0.0, 0.5, False)
    return other if other.cost < own.cost * (1 + MAX_AGAINST) else None


def with_points(bundle: Bundle, tracks: Tracks, motion: CameraMotion) -> Bundle:
    """The cameras with a point fitted to every track."""
    if motion == "moving":
        return triangulated(bundle, tracks)
    points = start_bundle(tracks, bundle.rotation, bundle.focal)
    points = replace(points, center=bundle.center)
    only_bearings = Freedom(False, False, False, False, redescending=False)
    return adjust(points, tracks, only_bearings, 6)[0]


def stillness(residual_px: F64, tracks: Tracks) -> F64:
    """[n] in [0, 1]: mean weight that a robust cost gives a track's observations."""
    if not len(tracks):
        return np.zeros(0)
    scale = float(np.clip(4 * np.median(residual_px), 0.5, 2.0))
    weight = 1 / (1 + (residual_px / scale) ** 2)
    return np.bincount(tracks.track, weight, len(tracks)) / np.diff(tracks.start)


def unit_depth(bundle: Bundle) -> Bundle:
    """Scaled so that the median inverse depth is 1; the mean where most points are at infinity."""
    middle = float(np.median(bundle.inverse_depth))
    if middle < 1e-3:
        middle = float(bundle.inverse_depth.mean())
    return scaled(bundle, middle) if middle > 1e-9 else bundle


def rms_px(bundle: Bundle, tracks: Tracks, num_point_parameters: int) -> F64:
    """RMS residual [n] per track and coordinate, as an estimate of its noise.

    Short tracks are fitted too well by their point's own parameters; counting degrees of freedom
    makes up for it. Clipped at 100 px.
    """
    squared = np.minimum(residuals_px(bundle, tracks), 100.0) ** 2
    length = np.diff(tracks.start)
    freedom = np.maximum(2 * length - num_point_parameters, 0.5)
    return np.sqrt(np.bincount(tracks.track, squared, minlength=len(tracks)) / freedom)


def decide(tracks: Tracks, still: Fit, turning: Fit, moving: Fit) -> Decision:
    """The simplest motion that leaves few tracks unexplained that a freer one would explain.

    Over 32 real and rendered clips the shares lie far apart: what turns has 0.25 and more of its
    tracks explained by turning alone, what does not 0.00; what moves 0.28 and more explained by
    moving alone, what does not 0.14 and less (things that move and are taken for parallax).
    """
    noise = float(np.median(np.minimum(moving.rms_px, turning.rms_px)))
    limit = float(np.clip(3 * noise, 0.4, 1.5))

    def only(freer: Fit, simpler: Fit) -> Mask:
        needed = simpler.rms_px > np.maximum(2 * freer.rms_px, limit)
        return (freer.rms_px < limit) & needed

    turning_share = float(only(turning, still).mean())
    moving_share = float((only(moving, turning) & only(moving, still)).mean())
    motion: CameraMotion = "static"
    if moving_share > MOVING_SHARE:
        motion = "moving"
    elif turning_share > TURNING_SHARE:
        motion = "rotating"
    still_share = float((still.rms_px < limit).mean())
    return Decision(motion, still_share, turning_share, moving_share, noise)


def chained_rotations(tracks: Tracks, num_frames: int, focal: float) -> F64:
    """cam_from_world rotations [t, 3, 3], each from the one before by a robust fit of tracks."""
    rotation = np.tile(np.eye(3), (num_frames, 1, 1))
    adjacent = np.flatnonzero(np.diff(tracks.frame) == 1)
    adjacent = adjacent[tracks.track[adjacent] == tracks.track[adjacent + 1]]
    frame = tracks.frame[adjacent]
    order = np.argsort(frame, kind="stable")
    bounds = np.searchsorted(frame[order], np.arange(num_frames))
    for i in range(num_frames - 1):
        pairs = adjacent[order[bounds[i] : bounds[i + 1]]]
        step = _pair_rotation(tracks.uv_px[pairs] / focal, tracks.uv_px[pairs + 1] / focal, focal)
        rotation[i + 1] = step @ rotation[i]
    return rotation


def _pair_rotation(a: F64, b: F64, focal: float) -> F64:
    """The rotation [3, 3] that takes most of the rays ``a`` [k, 2] to ``b``."""
    rotation = np.eye(3)
    if len(a) < 6:
        return rotation
    rays = np.concatenate([a, np.ones((len(a), 1))], 1)
    for sigma_px in (16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1):
        y = rays @ rotation.T
        x, y = (y[:, :2] / np.maximum(y[:, 2:], 0.05)).T
        error = (np.stack([x, y], 1) - b) * focal
        weight = 1 / (1 + (error**2).sum(1) / sigma_px**2) ** 2
        rows = np.stack([-x * y, 1 + x * x, -y, -1 - y * y, x * y, x], -1).reshape(-1, 2, 3) * focal
        flat, weights = rows.reshape(-1, 3), np.repeat(weight, 2)
        normal = (flat * weights[:, None]).T @ flat + 1e-6 * np.eye(3)
        step = np.linalg.solve(normal, flat.T @ (weights * error.ravel()))
        rotation = rotation_exp(-step[None])[0] @ rotation
    return rotation
