"""Joint optimisation of rotations, centres, focal length and points: robust, with one Schur step.

A point is seen from where it was first parameterised: X = c + Q (a, b, 1) / ρ with fixed c and Q
(the pose, then, of one camera that sees it) and free a, b and inverse depth ρ ≥ 0. Written without
the division, camera i sees it at y = R_i (Q (a, b, 1) + ρ (c − C_i)), which is well behaved down
to ρ = 0, a point at infinity, so little parallax or none is nothing special.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from recam.compiled import kernel
from recam.geometry import so3_log
from recam.reconstruct.tracks import Tracks

F64 = NDArray[np.float64]
_PARAMS = 6  # of a camera: rotation vector (left), centre
_BEHIND = 0.02  # depth over distance below which a point counts as behind the camera


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
    smooth_px: pull of the camera centres towards even motion, in px per unit.
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
    smooth_px: float = 0.0
    frames: NDArray[np.bool_] | None = None


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
    xy = tracks.uv_px
    weight = np.ones(len(xy)) if weight is None else weight
    free = _free_parameters(bundle, freedom)
    damping, cost = 1e-3, _total_cost(bundle, tracks, xy, weight, freedom)
    for _ in range(max_iterations):
        system = _linearise(bundle, tracks, xy, weight, freedom)
        accepted = False
        for _ in range(6):
            step = _solve(system, free, damping, tracks, freedom)
            if step is not None:
                trial = _moved(bundle, *step)
                trial_cost = _total_cost(trial, tracks, xy, weight, freedom)
                if trial_cost < cost:
                    accepted = True
                    break
            damping = min(damping * 8, 1e6)
        if not accepted:
            break
        gain = (cost - trial_cost) / max(cost, 1e-12)
        bundle, cost, damping = trial, trial_cost, max(damping / 6, 1e-7)
        if gain < tolerance:
            break
    return bundle, cost


def residuals_px(bundle: Bundle, tracks: Tracks) -> F64:
    """Distance [m] between where every observation is and should be; inf behind a camera."""
    return np.sqrt(
        _squared_residuals(
            bundle.rotation, bundle.center, bundle.focal, bundle.bearing, bundle.inverse_depth,
            bundle.axes, bundle.origin, tracks.start, tracks.frame, tracks.uv_px,
        )
    )  # fmt: skip


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


def inverse_depth_sigmas(bundle: Bundle, tracks: Tracks, noise_px: float) -> F64:
    """Standard deviation [m] of ``inverse_depths``, for exact cameras and this noise (1 σ)."""
    freedom = Freedom(False, False, True, False, sigma_px=5 * noise_px, depth_prior_px=1e-6)
    weight = np.ones(len(tracks.frame))
    hessian = _linearise(bundle, tracks, tracks.uv_px, weight, freedom)[4]
    hessian[:, [0, 1, 2], [0, 1, 2]] += 1e-12
    sigma = noise_px * np.sqrt(np.maximum(np.linalg.inv(hessian)[:, 2, 2], 0.0))
    at, along = _at_and_along(bundle, tracks)
    owner = tracks.track
    depth = (at + bundle.inverse_depth[owner][:, None] * along)[:, 2]
    return sigma[owner] / np.maximum(depth, 1e-6)


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


def _free_parameters(bundle: Bundle, freedom: Freedom) -> NDArray[np.int64]:
    num = len(bundle.rotation)
    frames = freedom.frames
    if frames is None:
        frames = np.arange(num) > 0
    free = np.zeros((num, _PARAMS), bool)
    free[frames, :3], free[frames, 3:] = freedom.rotation, freedom.center
    return np.flatnonzero(np.append(free.ravel(), freedom.focal))


def _moved(bundle: Bundle, camera_step: F64, point_step: F64) -> Bundle:
    per_camera = camera_step[:-1].reshape(-1, _PARAMS)
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


def _priors(bundle: Bundle, freedom: Freedom) -> tuple[float, F64, F64]:
    """Cost, gradient and Hessian [6 t + 1, …] of the priors on the cameras and the focal length."""
    num = len(bundle.rotation)
    hessian = np.zeros((num * _PARAMS + 1, num * _PARAMS + 1))
    gradient = np.zeros(num * _PARAMS + 1)
    cost = 0.0
    if freedom.smooth_px > 0 and freedom.center and num > 2:
        second = np.diff(np.eye(num), n=2, axis=0) * freedom.smooth_px
        bend = second @ bundle.center
        normal = second.T @ second
        cost += float((bend**2).sum())
        for axis in range(3, 6):
            hessian[axis:-1:_PARAMS, axis:-1:_PARAMS] = normal
            gradient[axis:-1:_PARAMS] = second.T @ bend[:, axis - 3]
    if freedom.focal_prior is not None and freedom.focal:
        mean, std = freedom.focal_prior
        off = (np.log(bundle.focal) - mean) / std
        cost += float(off**2)
        hessian[-1, -1] += 1 / std**2
        gradient[-1] += off / std
    return cost, gradient, hessian


def _total_cost(bundle: Bundle, tracks: Tracks, xy: F64, weight: F64, freedom: Freedom) -> float:
    squared = _squared_residuals(
        bundle.rotation, bundle.center, bundle.focal, bundle.bearing, bundle.inverse_depth,
        bundle.axes, bundle.origin, tracks.start, tracks.frame, xy,
    )  # fmt: skip
    sigma_sq = freedom.sigma_px**2
    ratio = np.minimum(squared / sigma_sq, 1e12)
    robust = ratio / (1 + ratio) if freedom.redescending else np.log1p(ratio)
    cost = sigma_sq * float((weight * robust).sum()) + _priors(bundle, freedom)[0]
    if freedom.depth:
        cost += freedom.depth_prior_px**2 * float(((bundle.inverse_depth - 1) ** 2).sum())
    return cost


def _linearise(
    bundle: Bundle, tracks: Tracks, xy: F64, weight: F64, freedom: Freedom
) -> tuple[F64, ...]:
    _, gradient, hessian = _priors(bundle, freedom)
    num_points, num_obs = len(tracks), len(tracks.frame)
    cross = np.zeros((num_obs, 3, _PARAMS))
    cross_focal = np.zeros((num_points, 3))
    point_hessian = np.zeros((num_points, 3, 3))
    point_gradient = np.zeros((num_points, 3))
    _accumulate(
        bundle.rotation, bundle.center, bundle.focal, bundle.bearing, bundle.inverse_depth,
        bundle.axes, bundle.origin, tracks.start, tracks.frame, xy, weight,
        freedom.sigma_px, freedom.redescending, freedom.depth, freedom.depth_prior_px**2,
        hessian, gradient, cross, cross_focal, point_hessian, point_gradient,
    )  # fmt: skip
    return hessian, gradient, cross, cross_focal, point_hessian, point_gradient


def _solve(
    system: tuple[F64, ...],
    free: NDArray[np.int64],
    damping: float,
    tracks: Tracks,
    freedom: Freedom,
) -> tuple[F64, F64] | None:
    """The damped step of the cameras [6 t + 1] and of the points [n, 3]; None if singular."""
    hessian, gradient, cross, cross_focal, point_hessian, point_gradient = system
    damped = point_hessian.copy()
    diagonal = np.arange(3)
    damped[:, diagonal, diagonal] *= 1 + damping
    damped[:, diagonal, diagonal] += 1e-9
    inverse = np.linalg.inv(damped)
    reduced, right = hessian.copy(), -gradient
    if len(free):
        _eliminate(
            tracks.start, tracks.frame, cross, cross_focal, inverse, point_gradient, reduced, right
        )
    upper = reduced[np.ix_(free, free)]
    own = np.diag(hessian)[free]
    upper[np.diag_indices(len(free))] += damping * own + 1e-9 * max(float(own.max(initial=0)), 1)
    step = np.zeros(len(gradient))
    if len(free):
        try:
            factor = scipy.linalg.cho_factor(upper, lower=False, check_finite=False)
            step[free] = scipy.linalg.cho_solve(factor, right[free], check_finite=False)
        except np.linalg.LinAlgError:
            return None
    if not np.isfinite(step).all():
        return None
    per_camera = step[:-1].reshape(-1, _PARAMS)
    towards = _back_substitute(tracks.start, tracks.frame, cross, cross_focal, per_camera, step[-1])
    return step, -np.einsum("nij,nj->ni", inverse, point_gradient + towards)


@kernel
def _squared_residuals(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy
):
    out = np.empty(len(frame))
    for k in range(len(start) - 1):
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k]
        d0 = q[0, 0] * a + q[0, 1] * b + q[0, 2]
        d1 = q[1, 0] * a + q[1, 1] * b + q[1, 2]
        d2 = q[2, 0] * a + q[2, 1] * b + q[2, 2]
        for o in range(start[k], start[k + 1]):
            r, p = rotation[frame[o]], center[frame[o]]
            v0 = d0 + rho * (c[0] - p[0])
            v1 = d1 + rho * (c[1] - p[1])
            v2 = d2 + rho * (c[2] - p[2])
            y2 = r[2, 0] * v0 + r[2, 1] * v1 + r[2, 2] * v2
            if y2 <= _BEHIND * np.sqrt(v0 * v0 + v1 * v1 + v2 * v2):
                out[o] = np.inf
                continue
            y0 = r[0, 0] * v0 + r[0, 1] * v1 + r[0, 2] * v2
            y1 = r[1, 0] * v0 + r[1, 1] * v1 + r[1, 2] * v2
            e0 = focal * y0 / y2 - xy[o, 0]
            e1 = focal * y1 / y2 - xy[o, 1]
            out[o] = e0 * e0 + e1 * e1
    return out


@kernel
def _accumulate(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy, weight,
    sigma, redescending, with_depth, depth_prior,
    hessian, gradient, cross, cross_focal, point_hessian, point_gradient,
):  # fmt: skip
    """Normal equations, summed per camera, per point and across; cross is [m, 3, 6]."""
    jc = np.empty((2, 6))
    jp = np.empty((2, 3))
    jf = np.empty(2)
    e = np.empty(2)
    last = len(gradient) - 1
    for k in range(len(start) - 1):
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k]
        if with_depth:
            point_hessian[k, 2, 2] += depth_prior
            point_gradient[k, 2] += depth_prior * (rho - 1)
        else:
            point_hessian[k, 2, 2] += 1.0
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            r = rotation[i]
            v0 = q[0, 0] * a + q[0, 1] * b + q[0, 2] + rho * (c[0] - center[i, 0])
            v1 = q[1, 0] * a + q[1, 1] * b + q[1, 2] + rho * (c[1] - center[i, 1])
            v2 = q[2, 0] * a + q[2, 1] * b + q[2, 2] + rho * (c[2] - center[i, 2])
            y2 = r[2, 0] * v0 + r[2, 1] * v1 + r[2, 2] * v2
            if y2 <= _BEHIND * np.sqrt(v0 * v0 + v1 * v1 + v2 * v2):
                continue
            x = (r[0, 0] * v0 + r[0, 1] * v1 + r[0, 2] * v2) / y2
            y = (r[1, 0] * v0 + r[1, 1] * v1 + r[1, 2] * v2) / y2
            e[0] = focal * x - xy[o, 0]
            e[1] = focal * y - xy[o, 1]
            ratio = (e[0] * e[0] + e[1] * e[1]) / (sigma * sigma)
            w = weight[o] / (1 + ratio)
            if redescending:
                w /= 1 + ratio
            jf[0], jf[1] = focal * x, focal * y
            # Turning the camera by ω moves y to y + ω × y.
            jc[0, 0], jc[0, 1], jc[0, 2] = -focal * x * y, focal * (1 + x * x), -focal * y
            jc[1, 0], jc[1, 1], jc[1, 2] = -focal * (1 + y * y), focal * x * y, focal * x
            s = focal / y2
            for axis in range(3):
                g0 = s * (r[0, axis] - x * r[2, axis])
                g1 = s * (r[1, axis] - y * r[2, axis])
                jc[0, 3 + axis], jc[1, 3 + axis] = -rho * g0, -rho * g1
            for col in range(3):
                if col < 2:
                    u0, u1, u2 = q[0, col], q[1, col], q[2, col]
                else:
                    u0, u1, u2 = c[0] - center[i, 0], c[1] - center[i, 1], c[2] - center[i, 2]
                h0 = r[0, 0] * u0 + r[0, 1] * u1 + r[0, 2] * u2
                h1 = r[1, 0] * u0 + r[1, 1] * u1 + r[1, 2] * u2
                h2 = r[2, 0] * u0 + r[2, 1] * u1 + r[2, 2] * u2
                jp[0, col], jp[1, col] = s * (h0 - x * h2), s * (h1 - y * h2)
            if not with_depth:
                jp[0, 2], jp[1, 2] = 0.0, 0.0
            base = 6 * i
            for row in range(2):
                we = w * e[row]
                for m in range(6):
                    wj = w * jc[row, m]
                    gradient[base + m] += wj * e[row]
                    hessian[base + m, last] += wj * jf[row]
                    for n in range(6):
                        hessian[base + m, base + n] += wj * jc[row, n]
                    for n in range(3):
                        cross[o, n, m] += wj * jp[row, n]
                gradient[last] += we * jf[row]
                hessian[last, last] += w * jf[row] * jf[row]
                for m in range(3):
                    point_gradient[k, m] += we * jp[row, m]
                    cross_focal[k, m] += w * jf[row] * jp[row, m]
                    for n in range(3):
                        point_hessian[k, m, n] += w * jp[row, m] * jp[row, n]
    hessian[last, :last] = hessian[:last, last]


@kernel
def _eliminate(start, frame, cross, cross_focal, inverse, point_gradient, reduced, right):
    """Take the points out: reduced -= W V⁻¹ Wᵀ (upper triangle), right += W V⁻¹ g."""
    last = len(right) - 1
    # W of one track as three long rows over its span of frames, so that the inner loop is plain.
    rows = np.empty((3, last))
    for k in range(len(start) - 1):
        if start[k] == start[k + 1]:
            continue
        v, g, f = inverse[k], point_gradient[k], cross_focal[k]
        vg, vf = v @ g, v @ f
        right[last] += f @ vg
        reduced[last, last] -= f @ vf
        low, high = 6 * frame[start[k]], 6 * frame[start[k + 1] - 1] + 6
        rows[:, low:high] = 0.0
        for o in range(start[k], start[k + 1]):
            base = 6 * frame[o]
            for n in range(3):
                for m in range(6):
                    rows[n, base + m] = cross[o, n, m]
        for o in range(start[k], start[k + 1]):
            base = 6 * frame[o]
            for m in range(base, base + 6):
                w0, w1, w2 = rows[0, m], rows[1, m], rows[2, m]
                right[m] += w0 * vg[0] + w1 * vg[1] + w2 * vg[2]
                reduced[m, last] -= w0 * vf[0] + w1 * vf[1] + w2 * vf[2]
                y0 = w0 * v[0, 0] + w1 * v[1, 0] + w2 * v[2, 0]
                y1 = w0 * v[0, 1] + w1 * v[1, 1] + w2 * v[2, 1]
                y2 = w0 * v[0, 2] + w1 * v[1, 2] + w2 * v[2, 2]
                for j in range(base, high):
                    reduced[m, j] -= y0 * rows[0, j] + y1 * rows[1, j] + y2 * rows[2, j]


@kernel
def _back_substitute(start, frame, cross, cross_focal, per_camera, focal_step):
    """Wᵀ times the camera step, [n, 3]."""
    out = np.zeros((len(start) - 1, 3))
    for k in range(len(start) - 1):
        for n in range(3):
            out[k, n] = cross_focal[k, n] * focal_step
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            for n in range(3):
                for m in range(6):
                    out[k, n] += cross[o, n, m] * per_camera[i, m]
    return out
