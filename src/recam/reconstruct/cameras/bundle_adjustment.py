"""Joint optimisation of rotations, centres, focal length and points: robust, with one Schur step.

A point is seen from where it was first parameterised: X = c + Q (a, b, 1) / ρ with fixed c and Q
(the pose, then, of one camera that sees it) and free a, b and inverse depth ρ ≥ 0. Written without
the division, camera i sees it at y = R_i (Q (a, b, 1) + ρ (c − C_i)), which is well behaved down
to ρ = 0, a point at infinity, so little parallax or none is nothing special.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from recam.arrays import F64, I64, Mask
from recam.geometry import so3_log
from recam.reconstruct.cameras.normal_equations import (
    PARAMS,
    band_width,
    point_steps,
    reduced_system,
    robust_cost,
    solve_arrow,
    squared_residuals,
)
from recam.reconstruct.matching.tracks import Tracks


@dataclass(frozen=True)
class Bundle:
    """What is optimised.

    rotation [t, 3, 3], cam_from_world; center [t, 3]; focal in px.
    bearing [n, 2] (a, b) and inverse_depth [n] of the points, in frames that stay fixed:
    axes [n, 3, 3] (Q, world from point frame) and origin [n, 3] (c).
    """

    rotation: F64
    center: F64
    focal: float
    bearing: F64
    inverse_depth: F64
    axes: F64
    origin: F64


@dataclass(frozen=True)
class Freedom:
    """What may change, how far a residual counts, and what is believed beforehand.

    sigma_px: scale of the robust kernel. redescending: Geman-McClure, which gives up on outliers,
    instead of Cauchy, which keeps pulling on them.
    focal_prior: (log focal, its standard deviation) or None.
    depth_prior_px: pull of every inverse depth towards 1, in px per unit.
    frames: bool [t], the frames whose cameras are free; None = all but the first.
    """

    rotation: bool = True
    center: bool = True
    depth: bool = True
    focal: bool = True
    sigma_px: float = 1.0
    redescending: bool = True
    focal_prior: tuple[float, float] | None = None
    depth_prior_px: float = 0.05
    frames: Mask | None = None


def adjust(
    bundle: Bundle,
    tracks: Tracks,
    freedom: Freedom,
    max_iterations: int = 30,
    tolerance: float = 1e-4,
    weight: F64 | None = None,
) -> tuple[Bundle, float]:
    """Levenberg–Marquardt from ``bundle``; returns the better bundle and its cost in px².

    tracks: with uv_px measured from the principal point. weight: [m] of the observations, default
    1. Stops after max_iterations or once an accepted step lowers the cost by less than
    ``tolerance`` of it.
    """
    weight = np.ones(len(tracks.frame)) if weight is None else weight
    free = _free_parameters(bundle, freedom)
    damping, cost = 1e-3, _total_cost(bundle, tracks, weight, freedom)
    for _ in range(max_iterations):
        accepted = False
        for _ in range(6):
            trial = _stepped(bundle, tracks, weight, freedom, free, damping)
            if trial is not None:
                trial_cost = _total_cost(trial, tracks, weight, freedom)
                if trial_cost < cost:
                    accepted = True
                    break
            damping = min(damping * 8, 1e6)
        if not accepted or trial is None:
            break
        gain = (cost - trial_cost) / max(cost, 1e-12)
        bundle, cost, damping = trial, trial_cost, max(damping / 6, 1e-7)
        if gain < tolerance:
            break
    return bundle, cost


def residuals_px(bundle: Bundle, tracks: Tracks) -> F64:
    """Distance [m] between where every observation is and should be; inf behind a camera."""
    return np.sqrt(squared_residuals(*_as_arrays(bundle, tracks)))


def refocused(bundle: Bundle, factor: float) -> Bundle:
    """Cameras that take nearly the same pictures with ``factor`` times the focal length.

    Turning left, right, up and down then takes less angle, rolling the same. The points are to be
    fitted anew.
    """
    rotvec = so3_log(torch.from_numpy(bundle.rotation)).numpy() / [factor, factor, 1.0]
    return replace(bundle, rotation=rotation_exp(rotvec), focal=bundle.focal * factor)


def scaled(bundle: Bundle, factor: float) -> Bundle:
    """The same pictures of a world ``factor`` times as large."""
    return replace(
        bundle, center=bundle.center * factor, origin=bundle.origin * factor,
        inverse_depth=bundle.inverse_depth / factor,
    )  # fmt: skip


def triangulated(bundle: Bundle, tracks: Tracks, iterations: int = 6) -> Bundle:
    """The same cameras with points fitted anew, from where their first observation sees them."""
    first = tracks.start[:-1]
    axes = np.ascontiguousarray(bundle.rotation[tracks.frame[first]].transpose(0, 2, 1))
    start = replace(
        bundle, bearing=tracks.uv_px[first] / bundle.focal, inverse_depth=np.zeros(len(first)),
        axes=axes, origin=bundle.center[tracks.frame[first]],
    )  # fmt: skip
    # Linear in the inverse depth: x y_z = y_xy with y = at + ρ along.
    at, along = _at_and_along(start, tracks)
    x = tracks.uv_px / bundle.focal
    fixed, slope = (v[:, :2] - x * v[:, 2:] for v in (at, along))
    num, owner = len(first), tracks.track
    above = np.bincount(owner, (fixed * slope).sum(1), num)
    below = np.bincount(owner, (slope * slope).sum(1), num)
    start = replace(start, inverse_depth=np.maximum(-above / np.maximum(below, 1e-18), 0.0))
    only_points = Freedom(False, False, True, False, redescending=False, depth_prior_px=0.01)
    return adjust(start, tracks, only_points, iterations)[0]


def inverse_depths(bundle: Bundle, tracks: Tracks) -> F64:
    """1 / z-depth [m] of every observed point in the camera that observes it; 0 at infinity."""
    at, along = _at_and_along(bundle, tracks)
    rho = bundle.inverse_depth[tracks.track]
    return rho / np.maximum((at + rho[:, None] * along)[:, 2], 1e-6)


def shifts_px(bundle: Bundle, tracks: Tracks) -> F64:
    """By how much each observation [m] is displaced by where its camera stands.

    That is, from where a camera turned alike but placed at the point's origin would see it.
    """
    at, along = _at_and_along(bundle, tracks)
    near = at + bundle.inverse_depth[tracks.track][:, None] * along
    far_uv, near_uv = (v[:, :2] / np.maximum(v[:, 2:], 1e-3) for v in (at, near))
    return np.linalg.norm(near_uv - far_uv, axis=1) * bundle.focal


def _at_and_along(bundle: Bundle, tracks: Tracks) -> tuple[F64, F64]:
    """y = at + ρ along for every observation, [m, 3] each: R Q (a, b, 1) and R (c − C)."""
    owner, rotation = tracks.track, bundle.rotation[tracks.frame]
    ones = np.ones((len(bundle.bearing), 1))
    rays = np.einsum("nij,nj->ni", bundle.axes, np.concatenate([bundle.bearing, ones], 1))
    at = np.einsum("mij,mj->mi", rotation, rays[owner])
    offset = bundle.origin[owner] - bundle.center[tracks.frame]
    return at, np.einsum("mij,mj->mi", rotation, offset)


def _free_parameters(bundle: Bundle, freedom: Freedom) -> Mask:
    num = len(bundle.rotation)
    frames = freedom.frames
    if frames is None:
        frames = np.arange(num) > 0
    free = np.zeros((num, PARAMS), bool)
    free[frames, :3], free[frames, 3:] = freedom.rotation, freedom.center
    return np.append(free.ravel(), freedom.focal)


def _moved(bundle: Bundle, camera_step: F64, point_step: F64) -> Bundle:
    per_camera = camera_step[:-1].reshape(-1, PARAMS)
    return replace(
        bundle,
        rotation=rotation_exp(per_camera[:, :3]) @ bundle.rotation,
        center=bundle.center + per_camera[:, 3:],
        focal=float(bundle.focal * np.exp(np.clip(camera_step[-1], -0.3, 0.3))),
        bearing=bundle.bearing + point_step[:, :2],
        inverse_depth=np.maximum(bundle.inverse_depth + point_step[:, 2], 0.0),
    )


def rotation_exp(rotvec: F64) -> F64:
    """Rotation matrices [k, 3, 3] of rotation vectors [k, 3]."""
    angle = np.linalg.norm(rotvec, axis=1)[:, None, None]
    axis = rotvec / np.maximum(angle[:, 0], 1e-30)
    k = np.zeros((len(rotvec), 3, 3))
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    k[:, 1, 0], k[:, 2, 0], k[:, 2, 1] = axis[:, 2], -axis[:, 1], axis[:, 0]
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def _as_arrays(bundle: Bundle, tracks: Tracks) -> tuple[F64 | float | I64, ...]:
    return (
        bundle.rotation, bundle.center, bundle.focal, bundle.bearing, bundle.inverse_depth,
        bundle.axes, bundle.origin, tracks.start, tracks.frame, tracks.uv_px,
    )  # fmt: skip


def _off_usual(bundle: Bundle, freedom: Freedom) -> tuple[float, float]:
    """How many standard deviations the log focal length is off what is believed, and one's size."""
    if freedom.focal_prior is None or not freedom.focal:
        return 0.0, np.inf
    mean, std = freedom.focal_prior
    return (np.log(bundle.focal) - mean) / std, std


def _total_cost(bundle: Bundle, tracks: Tracks, weight: F64, freedom: Freedom) -> float:
    data = _as_arrays(bundle, tracks)
    cost = float(robust_cost(*data, weight, freedom.sigma_px, freedom.redescending))
    cost += _off_usual(bundle, freedom)[0] ** 2
    if freedom.depth:
        cost += freedom.depth_prior_px**2 * float(((bundle.inverse_depth - 1) ** 2).sum())
    return cost


def _stepped(
    bundle: Bundle,
    tracks: Tracks,
    weight: F64,
    freedom: Freedom,
    free: Mask,
    damping: float,
) -> Bundle | None:
    """The bundle after one damped step; None if the system is singular."""
    num = len(free) - 1
    terms = (
        *_as_arrays(bundle, tracks), weight, freedom.sigma_px, freedom.redescending, freedom.depth,
        freedom.depth_prior_px**2, damping,
    )  # fmt: skip
    step = np.zeros(num + 1)
    if free.any():
        band = np.zeros((num, band_width(tracks.start, tracks.frame)))
        column, right, own = np.zeros(num + 1), np.zeros(num + 1), np.zeros(num + 1)
        reduced_system(*terms, band, column, right, own)
        off, std = _off_usual(bundle, freedom)
        column[-1] += 1 / std**2
        own[-1] += 1 / std**2
        right[-1] -= off / std
        extra = damping * own + 1e-9 * max(float(own[free].max()), 1)
        band[:, 0] += extra[:-1]
        column[-1] += extra[-1]
        found = solve_arrow(band, column, right, free)
        if found is None:
            return None
        step = found
    return _moved(bundle, step, point_steps(*terms, step))
