"""Inverse depth of every pixel, triangulated from the flows to several other frames.

Everything here works with inverse depth ρ = 1 / z-depth: with known cameras a pixel's position in
another frame is almost linear in it, sky is simply 0, and the error of a rendered view is
proportional to the error in ρ wherever the pixel is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recam.arrays import F32
from recam.flow.dense import FlowSet
from recam.reconstruct.warping import MIN_Z, far_point, inverse_depth_warps
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

FLOW_SIGMA_PER_PX = 0.02
"""Noise of a flow: this times its length, and ``FlowSet.sigma_px``, added in quadrature."""
NOTHING = 1e30
"""Stands for an infinite sigma inside compiled loops."""
MAX_MISFIT = 6.0
"""A single flow's distance from its epipolar line counts for at most this many sigmas."""


@dataclass(frozen=True)
class Evidence:
    """What the frames say about inverse depth, pixel by pixel and before any smoothing.

    inverse_depth: float32 [t, h, w] in 1 / scene units; may be negative where something moves.
    sigma: float32 [t, h, w], its standard deviation; inf where nothing was measured.
    misfit: float32 [t, h, w], RMS distance of the flows from their epipolar lines in units of
        their noise: about 1 for what stands still, large for what moves across the lines.
    """

    inverse_depth: F32
    sigma: F32
    misfit: F32


def triangulate(flows: FlowSet, cameras: Cameras, progress: Progress = no_progress) -> Evidence:
    """Inverse depth from all stored flows of each frame.

    Each flow gives the ρ whose projection is nearest to where the flow points, worth its
    information |du/dρ|² / σ²; their weighted median starts a Gauss–Newton iteration with Cauchy
    weights, so an occluded or wrong flow is outvoted.

    cameras: t cameras at the flows' size. Raises ValueError if sizes or counts differ.
    """
    if (len(cameras), cameras.height, cameras.width) != (len(flows), flows.height, flows.width):
        raise ValueError(
            f"{len(cameras)} cameras of {cameras.width}×{cameras.height} px for {len(flows)} "
            f"frames of {flows.width}×{flows.height} px of flow; use cameras.resized(...)"
        )
    shape = (len(flows), flows.height, flows.width)
    out = Evidence(*(np.empty(shape, np.float32) for _ in range(3)))

    def job(i: int) -> None:
        others = [j for j in range(len(flows)) if flows.has(i, j)]
        pairs = [flows.get(i, j) for j in others]
        flow = np.stack([f.numpy() for f, _ in pairs])
        confidence = np.stack([c.numpy() for _, c in pairs])
        a, b = inverse_depth_warps(cameras, i, others)
        _triangulate(
            flow, confidence, a, b, np.float32(flows.sigma_px), out.inverse_depth[i], out.sigma[i],
            out.misfit[i],
        )  # fmt: skip
        out.sigma[i][out.sigma[i] >= NOTHING] = np.inf

    parallel_frames(job, range(len(flows)), progress, "triangulating")
    return out


@kernel
def _triangulate(flow, confidence, a, b, sigma_px, rho, sigma, misfit):
    num, h, w, _ = flow.shape
    single = np.empty(num, np.float32)
    information = np.empty(num, np.float32)
    # What each flow says at this pixel: where it points, the far point's homogeneous position,
    # its variance.
    seen = np.empty((num, 6), np.float32)
    for y in range(h):
        for x in range(w):
            total = np.float32(0)
            for k in range(num):
                _look(x + 0.5, y + 0.5, flow, k, y, x, a, sigma_px, seen)
                single[k], information[k] = _from_one_flow(seen, k, b, confidence[k, y, x])
                total += information[k]
            rho[y, x] = 0.0
            sigma[y, x] = NOTHING
            misfit[y, x] = 0.0
            if total > 0:
                start = _weighted_median(single, information, total)
                rho[y, x], sigma[y, x], misfit[y, x] = _refine(
                    start, seen, confidence, y, x, information, b
                )


@kernel
def _look(px, py, flow, k, y, x, a, sigma_px, seen):
    fx, fy = flow[k, y, x, 0], flow[k, y, x, 1]
    seen[k, 0], seen[k, 1] = px + fx, py + fy
    seen[k, 2], seen[k, 3], seen[k, 4] = far_point(a, k, px, py)
    seen[k, 5] = sigma_px**2 + FLOW_SIGMA_PER_PX**2 * (fx * fx + fy * fy)


@kernel
def _from_one_flow(seen, k, b, confidence):
    """The ρ of one flow, linear least squares after clearing the denominator; its information."""
    ux, uy, az = seen[k, 0], seen[k, 1], seen[k, 4]
    cx, cy = ux * b[k, 2] - b[k, 0], uy * b[k, 2] - b[k, 1]
    square = cx * cx + cy * cy
    if confidence < 0.02 or square < 1e-14:
        return np.float32(0), np.float32(0)
    rho = -((ux * az - seen[k, 2]) * cx + (uy * az - seen[k, 3]) * cy) / square
    z = az + rho * b[k, 2]
    if z < MIN_Z:
        return np.float32(0), np.float32(0)
    return np.float32(rho), np.float32(confidence * square / (z * z) / seen[k, 5])


@kernel
def _weighted_median(values, weights, total):
    """By selection: there are only a few values."""
    below = np.float32(0)
    last = best = np.float32(-NOTHING)
    for _ in range(len(values)):
        best = np.float32(NOTHING)
        for k in range(len(values)):
            if weights[k] > 0 and last < values[k] < best:
                best = values[k]
        for k in range(len(values)):
            if values[k] == best:
                below += weights[k]
        if below >= 0.5 * total or best >= NOTHING:
            break
        last = best
    return best if best < NOTHING else last


@kernel
def _refine(rho, seen, confidence, y, x, information, b):
    """Cauchy-weighted Gauss–Newton; returns ρ, its sigma and the misfit off the epipolar lines."""
    hessian = off = weight = np.float32(0)
    for _ in range(4):
        hessian = gradient = off = weight = np.float32(0)
        for k in range(len(seen)):
            if information[k] <= 0:
                continue
            z = seen[k, 4] + rho * b[k, 2]
            if z < MIN_Z:
                continue
            vx, vy = (seen[k, 2] + rho * b[k, 0]) / z, (seen[k, 3] + rho * b[k, 1]) / z
            jx, jy = (b[k, 0] - vx * b[k, 2]) / z, (b[k, 1] - vy * b[k, 2]) / z
            ex, ey = seen[k, 0] - vx, seen[k, 1] - vy
            variance, c = seen[k, 5], confidence[k, y, x]
            robust = c / variance / (1 + (ex * ex + ey * ey) / (4 * variance))
            hessian += robust * (jx * jx + jy * jy)
            gradient += robust * (jx * ex + jy * ey)
            across2 = (ex * jy - ey * jx) ** 2 / (jx * jx + jy * jy + 1e-20)
            off += c * min(across2 / variance, MAX_MISFIT**2)
            weight += c
        if hessian > 0:
            rho += gradient / hessian
    if hessian <= 0:
        return rho, np.float32(NOTHING), np.float32(0)
    return rho, 1 / math.sqrt(hessian), math.sqrt(off / weight)
