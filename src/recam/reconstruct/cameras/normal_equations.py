"""The normal equations of a bundle: points eliminated track by track, cameras as a band.

A track couples the cameras of the frames that it spans and no others, so that what is left after
the points are taken out (the Schur complement: Brown 1958, Triggs et al. 2000) has its entries near
the diagonal, and one more row and column for the focal length, which all of them share. Only the
band is stored, and nothing per observation, so memory grows with the number of frames times the
longest track, and time with the number of observations.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpbtrf, dpbtrs

from recam.arrays import F64, I64, Mask
from recam.runtime.jit import inlined, kernel

PARAMS = 6
"""Of a camera: rotation vector (left), centre."""
BEHIND = 0.02
"""Depth over distance below which a point counts as behind the camera."""


def band_width(start: I64, frame: I64) -> int:
    """Entries of a row of the band, from the diagonal on, that tracks can fill."""
    some = start[1:] > start[:-1]
    if not some.any():
        return PARAMS
    first, last = frame[start[:-1][some]], frame[start[1:][some] - 1]
    return PARAMS * (int((last - first).max()) + 1)


def solve_arrow(band: F64, column: F64, right: F64, free: Mask) -> F64 | None:
    """x [n + 1] with A x = right where ``free`` [n + 1], else 0; None if A is not positive there.

    A is symmetric. band [n, width]: entry (m, m + d) of its first n rows at [m, d], overwritten;
    column [n + 1]: its last one, whole.
    """
    index = np.flatnonzero(free[:-1])
    out = np.zeros(len(right))
    corner, low = column[-1], right[-1]
    solved = np.zeros((0, 2))
    if len(index):
        # Rows from the diagonal on are LAPACK's lower columns of a symmetric band.
        factor, wrong = dpbtrf(_packed(band, index).T, lower=1, overwrite_ab=1)
        if wrong:
            return None
        solved, _ = dpbtrs(factor, np.stack([right[index], column[index]], 1), lower=1)
        out[index] = solved[:, 0]
    if free[-1]:
        corner = corner - float(column[index] @ solved[:, 1])
        if not corner > 0:
            return None
        out[-1] = (low - float(column[index] @ solved[:, 0])) / corner
        out[index] -= solved[:, 1] * out[-1]
    return out if bool(np.isfinite(out).all()) else None


def _packed(band: F64, index: I64) -> F64:
    """The rows and columns ``index`` of a band alone."""
    if index[-1] - index[0] + 1 == len(index):
        return band[index[0] : index[-1] + 1]
    upto = np.searchsorted(index, index + band.shape[1])
    packed = np.zeros((len(index), int((upto - np.arange(len(index))).max())))
    _pack(band, index, packed)
    return packed


@kernel
def _pack(band, index, packed):
    for a in range(len(index)):
        for d in range(min(packed.shape[1], len(index) - a)):
            gap = index[a + d] - index[a]
            if gap < band.shape[1]:
                packed[a, d] = band[index[a], gap]


@kernel
def squared_residual(r, p, focal, q, c, a, b, rho, xy):
    """Squared distance in px of one observation from where its point is seen; inf behind."""
    d0 = q[0, 0] * a + q[0, 1] * b + q[0, 2]
    d1 = q[1, 0] * a + q[1, 1] * b + q[1, 2]
    d2 = q[2, 0] * a + q[2, 1] * b + q[2, 2]
    v0 = d0 + rho * (c[0] - p[0])
    v1 = d1 + rho * (c[1] - p[1])
    v2 = d2 + rho * (c[2] - p[2])
    y2 = r[2, 0] * v0 + r[2, 1] * v1 + r[2, 2] * v2
    if y2 <= BEHIND * np.sqrt(v0 * v0 + v1 * v1 + v2 * v2):
        return np.inf
    y0 = r[0, 0] * v0 + r[0, 1] * v1 + r[0, 2] * v2
    y1 = r[1, 0] * v0 + r[1, 1] * v1 + r[1, 2] * v2
    e0 = focal * y0 / y2 - xy[0]
    e1 = focal * y1 / y2 - xy[1]
    return e0 * e0 + e1 * e1


@kernel
def squared_residuals(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy
):
    """[m] of all observations."""
    out = np.empty(len(frame))
    for k in range(len(start) - 1):
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k, 0], bearing[k, 1]
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            out[o] = squared_residual(rotation[i], center[i], focal, q, c, a, b, rho, xy[o])
    return out


@kernel
def robust_cost(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy, weight,
    sigma, redescending,
):  # fmt: skip
    """Sum over the observations of sigma² ρ(squared / sigma²): Geman–McClure or Cauchy."""
    cost = 0.0
    for k in range(len(start) - 1):
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k, 0], bearing[k, 1]
        own = 0.0
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            s = squared_residual(rotation[i], center[i], focal, q, c, a, b, rho, xy[o])
            ratio = min(s / (sigma * sigma), 1e12)
            own += weight[o] * (ratio / (1 + ratio) if redescending else np.log1p(ratio))
        cost += own
    return sigma * sigma * cost


@inlined
def _observed(r, p, focal, q, c, a, b, rho, xy, sigma, redescending):
    """One observation: its robust weight (0 behind the camera), residual (2), x and y over z, focal
    over z, and the residual's derivatives by the point: a (2), b (2), inverse depth (2)."""
    u0, u1, u2 = c[0] - p[0], c[1] - p[1], c[2] - p[2]
    v0 = q[0, 0] * a + q[0, 1] * b + q[0, 2] + rho * u0
    v1 = q[1, 0] * a + q[1, 1] * b + q[1, 2] + rho * u1
    v2 = q[2, 0] * a + q[2, 1] * b + q[2, 2] + rho * u2
    y2 = r[2, 0] * v0 + r[2, 1] * v1 + r[2, 2] * v2
    behind = y2 <= BEHIND * np.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
    z = 1.0 if behind else y2
    x = (r[0, 0] * v0 + r[0, 1] * v1 + r[0, 2] * v2) / z
    y = (r[1, 0] * v0 + r[1, 1] * v1 + r[1, 2] * v2) / z
    e0, e1, s = focal * x - xy[0], focal * y - xy[1], focal / z
    # By how much y moves in the camera's axes, for a, b and inverse depth.
    h2 = r[2, 0] * q[0, 0] + r[2, 1] * q[1, 0] + r[2, 2] * q[2, 0]
    a0 = s * (r[0, 0] * q[0, 0] + r[0, 1] * q[1, 0] + r[0, 2] * q[2, 0] - x * h2)
    a1 = s * (r[1, 0] * q[0, 0] + r[1, 1] * q[1, 0] + r[1, 2] * q[2, 0] - y * h2)
    h2 = r[2, 0] * q[0, 1] + r[2, 1] * q[1, 1] + r[2, 2] * q[2, 1]
    b0 = s * (r[0, 0] * q[0, 1] + r[0, 1] * q[1, 1] + r[0, 2] * q[2, 1] - x * h2)
    b1 = s * (r[1, 0] * q[0, 1] + r[1, 1] * q[1, 1] + r[1, 2] * q[2, 1] - y * h2)
    h2 = r[2, 0] * u0 + r[2, 1] * u1 + r[2, 2] * u2
    d0 = s * (r[0, 0] * u0 + r[0, 1] * u1 + r[0, 2] * u2 - x * h2)
    d1 = s * (r[1, 0] * u0 + r[1, 1] * u1 + r[1, 2] * u2 - y * h2)
    ratio = (e0 * e0 + e1 * e1) / (sigma * sigma)
    w = 1 / (1 + ratio)
    w = w / (1 + ratio) if redescending else w
    w = 0.0 if behind else w
    return w, e0, e1, x, y, s, a0, a1, b0, b1, d0, d1


@kernel
def _begin_point(rho, with_depth, depth_prior, v, g):
    """What is believed of a point beforehand."""
    for m in range(3):
        g[m] = 0.0
        for n in range(3):
            v[m, n] = 0.0
    if with_depth:
        v[2, 2] = depth_prior
        g[2] = depth_prior * (rho - 1)
    else:
        v[2, 2] = 1.0


@inlined
def _add_point(w, e0, e1, a0, a1, b0, b1, d0, d1, v, g):
    g[0] += w * (e0 * a0 + e1 * a1)
    g[1] += w * (e0 * b0 + e1 * b1)
    g[2] += w * (e0 * d0 + e1 * d1)
    v[0, 0] += w * (a0 * a0 + a1 * a1)
    v[1, 0] += w * (a0 * b0 + a1 * b1)
    v[2, 0] += w * (a0 * d0 + a1 * d1)
    v[1, 1] += w * (b0 * b0 + b1 * b1)
    v[2, 1] += w * (b0 * d0 + b1 * d1)
    v[2, 2] += w * (d0 * d0 + d1 * d1)


@kernel
def _invert(v, damping, ridge, out):
    """Inverse of the symmetric v [3, 3], damped, by its Cholesky factor."""
    a = v[0, 0] * (1 + damping) + ridge
    d = v[1, 1] * (1 + damping) + ridge
    f = v[2, 2] * (1 + damping) + ridge
    l00 = np.sqrt(a)
    l10, l20 = v[1, 0] / l00, v[2, 0] / l00
    # What is left of a diagonal by rounding alone may be below 0.
    l11 = np.sqrt(max(d - l10 * l10, 1e-14 * d))
    l21 = (v[2, 1] - l20 * l10) / l11
    l22 = np.sqrt(max(f - l20 * l20 - l21 * l21, 1e-14 * f))
    # The inverse factor, then its square.
    i00, i11, i22 = 1 / l00, 1 / l11, 1 / l22
    i10 = -l10 * i00 * i11
    i21 = -l21 * i11 * i22
    i20 = -(l20 * i00 + l21 * i10) * i22
    out[0, 0] = i00 * i00 + i10 * i10 + i20 * i20
    out[1, 1] = i11 * i11 + i21 * i21
    out[2, 2] = i22 * i22
    out[0, 1] = i10 * i11 + i20 * i21
    out[0, 2] = i20 * i22
    out[1, 2] = i21 * i22
    out[1, 0], out[2, 0], out[2, 1] = out[0, 1], out[0, 2], out[1, 2]


@kernel
def reduced_system(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy, weight,
    sigma, redescending, with_depth, depth_prior, damping, band, column, right, own,
):  # fmt: skip
    """Add the normal equations of cameras and focal length with the points taken out.

    band [6 t, width] and column [6 t + 1] as of ``solve_arrow``; right [6 t + 1]; own [6 t + 1],
    the diagonal before anything is taken out.
    """
    last = len(right) - 1
    jc = np.empty((2, 6))
    v, inverse, g, f = np.empty((3, 3)), np.empty((3, 3)), np.empty(3), np.empty(3)
    # W of one track as three long rows over its span of frames, so that the inner loop is plain.
    rows = np.zeros((3, last))
    for k in range(len(start) - 1):
        if start[k] == start[k + 1]:
            continue
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k, 0], bearing[k, 1]
        _begin_point(rho, with_depth, depth_prior, v, g)
        f[0], f[1], f[2] = 0.0, 0.0, 0.0
        low, high = 6 * frame[start[k]], 6 * frame[start[k + 1] - 1] + 6
        for n in range(3):
            for m in range(low, high):
                rows[n, m] = 0.0
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            r = rotation[i]
            w, e0, e1, x, y, s, a0, a1, b0, b1, d0, d1 = _observed(
                r, center[i], focal, q, c, a, b, rho, xy[o], sigma, redescending
            )
            w *= weight[o]
            if w == 0:
                continue
            if not with_depth:
                d0, d1 = 0.0, 0.0
            _add_point(w, e0, e1, a0, a1, b0, b1, d0, d1, v, g)
            f0, f1 = focal * x, focal * y  # by the log focal length
            # Turning the camera by ω moves y to y + ω × y.
            jc[0, 0], jc[0, 1], jc[0, 2] = -focal * x * y, focal * (1 + x * x), -focal * y
            jc[1, 0], jc[1, 1], jc[1, 2] = -focal * (1 + y * y), focal * x * y, focal * x
            for axis in range(3):
                jc[0, 3 + axis] = -rho * s * (r[0, axis] - x * r[2, axis])
                jc[1, 3 + axis] = -rho * s * (r[1, axis] - y * r[2, axis])
            base = 6 * i
            for m in range(6):
                j0, j1 = w * jc[0, m], w * jc[1, m]
                right[base + m] -= j0 * e0 + j1 * e1
                column[base + m] += j0 * f0 + j1 * f1
                own[base + m] += j0 * jc[0, m] + j1 * jc[1, m]
                for n in range(m, 6):
                    band[base + m, n - m] += j0 * jc[0, n] + j1 * jc[1, n]
                rows[0, base + m] += j0 * a0 + j1 * a1
                rows[1, base + m] += j0 * b0 + j1 * b1
                rows[2, base + m] += j0 * d0 + j1 * d1
            right[last] -= w * (f0 * e0 + f1 * e1)
            column[last] += w * (f0 * f0 + f1 * f1)
            own[last] += w * (f0 * f0 + f1 * f1)
            f[0] += w * (f0 * a0 + f1 * a1)
            f[1] += w * (f0 * b0 + f1 * b1)
            f[2] += w * (f0 * d0 + f1 * d1)
        _invert(v, damping, 1e-9, inverse)
        _take_out(inverse, g, f, rows, start[k], start[k + 1], frame, high, band, column, right)


@kernel
def _take_out(v, g, f, rows, begin, end, frame, high, band, column, right):
    """Take a point out: band -= W V⁻¹ Wᵀ, right += W V⁻¹ g; v is V⁻¹."""
    last = len(right) - 1
    vg0 = v[0, 0] * g[0] + v[0, 1] * g[1] + v[0, 2] * g[2]
    vg1 = v[1, 0] * g[0] + v[1, 1] * g[1] + v[1, 2] * g[2]
    vg2 = v[2, 0] * g[0] + v[2, 1] * g[1] + v[2, 2] * g[2]
    vf0 = v[0, 0] * f[0] + v[0, 1] * f[1] + v[0, 2] * f[2]
    vf1 = v[1, 0] * f[0] + v[1, 1] * f[1] + v[1, 2] * f[2]
    vf2 = v[2, 0] * f[0] + v[2, 1] * f[1] + v[2, 2] * f[2]
    right[last] += f[0] * vg0 + f[1] * vg1 + f[2] * vg2
    column[last] -= f[0] * vf0 + f[1] * vf1 + f[2] * vf2
    for o in range(begin, end):
        base = 6 * frame[o]
        for m in range(base, base + 6):
            w0, w1, w2 = rows[0, m], rows[1, m], rows[2, m]
            right[m] += w0 * vg0 + w1 * vg1 + w2 * vg2
            column[m] -= w0 * vf0 + w1 * vf1 + w2 * vf2
            y0 = w0 * v[0, 0] + w1 * v[1, 0] + w2 * v[2, 0]
            y1 = w0 * v[0, 1] + w1 * v[1, 1] + w2 * v[2, 1]
            y2 = w0 * v[0, 2] + w1 * v[1, 2] + w2 * v[2, 2]
            to = band[m, : high - m]
            r0, r1, r2 = rows[0, m:high], rows[1, m:high], rows[2, m:high]
            for j in range(high - m):
                to[j] -= y0 * r0[j] + y1 * r1[j] + y2 * r2[j]


@kernel
def point_steps(
    rotation, center, focal, bearing, inverse_depth, axes, origin, start, frame, xy, weight,
    sigma, redescending, with_depth, depth_prior, damping, step,
):  # fmt: skip
    """The points' step [n, 3] that belongs to a step [6 t + 1] of cameras and focal length."""
    by_focal = step[-1]
    v, inverse, g = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    out = np.zeros((len(start) - 1, 3))
    for k in range(len(start) - 1):
        q, c, rho = axes[k], origin[k], inverse_depth[k]
        a, b = bearing[k, 0], bearing[k, 1]
        _begin_point(rho, with_depth, depth_prior, v, g)
        for o in range(start[k], start[k + 1]):
            i = frame[o]
            r = rotation[i]
            w, e0, e1, x, y, s, a0, a1, b0, b1, d0, d1 = _observed(
                r, center[i], focal, q, c, a, b, rho, xy[o], sigma, redescending
            )
            w *= weight[o]
            if w == 0:
                continue
            if not with_depth:
                d0, d1 = 0.0, 0.0
            # What the step of the camera leaves of the residual is what the point has to undo.
            t = 6 * i
            t0, t1, t2 = step[t], step[t + 1], step[t + 2]
            c0, c1, c2 = step[t + 3], step[t + 4], step[t + 5]
            back = r[2, 0] * c0 + r[2, 1] * c1 + r[2, 2] * c2
            e0 += focal * (x * by_focal - x * y * t0 + (1 + x * x) * t1 - y * t2)
            e1 += focal * (y * by_focal - (1 + y * y) * t0 + x * y * t1 + x * t2)
            e0 -= rho * s * (r[0, 0] * c0 + r[0, 1] * c1 + r[0, 2] * c2 - x * back)
            e1 -= rho * s * (r[1, 0] * c0 + r[1, 1] * c1 + r[1, 2] * c2 - y * back)
            _add_point(w, e0, e1, a0, a1, b0, b1, d0, d1, v, g)
        _invert(v, damping, 1e-9, inverse)
        for m in range(3):
            out[k, m] = -(inverse[m, 0] * g[0] + inverse[m, 1] * g[1] + inverse[m, 2] * g[2])
    return out
