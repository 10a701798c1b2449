"""Inverse depth of every pixel, triangulated from the flows to several other frames.

Everything here works with inverse depth ρ = 1 / z-depth: with known cameras a pixel's position in
another frame is almost linear in it, sky is simply 0, and the error of a rendered view is
proportional to the error in ρ wherever the pixel is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recam.reconstruct.flow import FlowSet
from recam.types import Cameras, Progress, no_progress

Array = NDArray[np.float32]

FLOW_SIGMA_PX = 0.3
FLOW_SIGMA_PER_PX = 0.02
"""Noise of a flow: these two added in quadrature, the second times the flow's length."""
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

    inverse_depth: Array
    sigma: Array
    misfit: Array


def each_frame(
    job: Callable[[int], None], frames: Sequence[int], progress: Progress, what: str
) -> None:
    """Run ``job(i)`` for every frame index on all cores; the kernels release the GIL."""
    progress(what, 0, len(frames))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(job, frames), 1):
            progress(what, done, len(frames))


def pair_maps(cameras: Cameras, i: int, others: Sequence[int]) -> tuple[Array, Array]:
    """a [k, 3, 3] and b [k, 3]: pixel (x, y) of frame i at inverse depth ρ is seen in frame j at
    the homogeneous point ``a @ (x, y, 1) + ρ b``, whose third entry is z_j / z_i."""
    pose, k = cameras.cam_from_world.numpy(), cameras.intrinsics.numpy()
    a = np.empty((len(others), 3, 3))
    b = np.empty((len(others), 3))
    inverse = np.linalg.inv(pose[i])
    for n, j in enumerate(others):
        j_from_i = pose[j] @ inverse
        a[n] = k[j] @ j_from_i[:3, :3] @ np.linalg.inv(k[i])
        b[n] = k[j] @ j_from_i[:3, 3]
    return a.astype(np.float32), b.astype(np.float32)


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
        a, b = pair_maps(cameras, i, others)
        _triangulate(flow, confidence, a, b, out.inverse_depth[i], out.sigma[i], out.misfit[i])

    each_frame(job, range(len(flows)), progress, "triangulating")
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _triangulate(flow, confidence, a, b, rho, sigma, misfit):
    num, h, w, _ = flow.shape
    single = np.empty(num)
    information = np.empty(num)
    for y in range(h):
        for x in range(w):
            total = 0.0
            for k in range(num):
                single[k], information[k] = _from_one_flow(
                    x + 0.5, y + 0.5, flow[k, y, x], confidence[k, y, x], a[k], b[k]
                )
                total += information[k]
            rho[y, x] = 0.0
            sigma[y, x] = np.inf
            misfit[y, x] = 0.0
            if total > 0:
                start = _weighted_median(single, information, total)
                rho[y, x], sigma[y, x], misfit[y, x] = _refine(
                    start, x + 0.5, y + 0.5, flow[:, y, x], confidence[:, y, x], information, a, b
                )


@njit(cache=True, nogil=True, fastmath=True)
def _variance(flow):
    return FLOW_SIGMA_PX**2 + FLOW_SIGMA_PER_PX**2 * (flow[0] ** 2 + flow[1] ** 2)


@njit(cache=True, nogil=True, fastmath=True)
def _from_one_flow(px, py, flow, confidence, a, b):
    """The ρ of one flow, linear least squares after clearing the denominator; its information."""
    ax = a[0, 0] * px + a[0, 1] * py + a[0, 2]
    ay = a[1, 0] * px + a[1, 1] * py + a[1, 2]
    az = a[2, 0] * px + a[2, 1] * py + a[2, 2]
    ux, uy = px + flow[0], py + flow[1]
    cx, cy = ux * b[2] - b[0], uy * b[2] - b[1]
    square = cx * cx + cy * cy
    if confidence < 0.02 or square < 1e-14:
        return 0.0, 0.0
    rho = -((ux * az - ax) * cx + (uy * az - ay) * cy) / square
    z = az + rho * b[2]
    if z < 0.05:
        return 0.0, 0.0
    return rho, confidence * square / (z * z) / _variance(flow)


@njit(cache=True, nogil=True, fastmath=True)
def _weighted_median(values, weights, total):
    order = np.argsort(values)
    below = 0.0
    for k in order:
        below += weights[k]
        if below >= 0.5 * total:
            return values[k]
    return values[order[-1]]


@njit(cache=True, nogil=True, fastmath=True)
def _refine(rho, px, py, flow, confidence, information, a, b):
    """Cauchy-weighted Gauss–Newton; returns ρ, its sigma and the misfit off the epipolar lines."""
    hessian = off = weight = 0.0
    for _ in range(4):
        hessian = gradient = off = weight = 0.0
        for k in range(flow.shape[0]):
            if information[k] <= 0:
                continue
            ax = a[k, 0, 0] * px + a[k, 0, 1] * py + a[k, 0, 2]
            ay = a[k, 1, 0] * px + a[k, 1, 1] * py + a[k, 1, 2]
            z = a[k, 2, 0] * px + a[k, 2, 1] * py + a[k, 2, 2] + rho * b[k, 2]
            if z < 0.05:
                continue
            vx, vy = (ax + rho * b[k, 0]) / z, (ay + rho * b[k, 1]) / z
            jx, jy = (b[k, 0] - vx * b[k, 2]) / z, (b[k, 1] - vy * b[k, 2]) / z
            ex, ey = px + flow[k, 0] - vx, py + flow[k, 1] - vy
            variance = _variance(flow[k])
            robust = confidence[k] / variance / (1 + (ex * ex + ey * ey) / (4 * variance))
            hessian += robust * (jx * jx + jy * jy)
            gradient += robust * (jx * ex + jy * ey)
            across2 = (ex * jy - ey * jx) ** 2 / (jx * jx + jy * jy + 1e-20)
            off += confidence[k] * min(across2 / variance, MAX_MISFIT**2)
            weight += confidence[k]
        if hessian > 0:
            rho += gradient / hessian
    if hessian <= 0:
        return rho, np.inf, 0.0
    return rho, 1 / math.sqrt(hessian), math.sqrt(off / weight)
