"""What moves in the world: where it is in each frame, and how far away.

Found by the residual between the flow and what the cameras and the still scene predict. Its own
depth cannot be triangulated; it is taken from where the thing touches what it stands on.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.reconstruct.densify import Smoothness, complete
from recam.reconstruct.depth import (
    FLOW_SIGMA_PER_PX,
    FLOW_SIGMA_PX,
    Array,
    each_frame,
    kernel,
    pair_maps,
)
from recam.reconstruct.flow import FlowSet
from recam.types import Cameras, Progress, no_progress

Mask = NDArray[np.bool_]

STILL_MISFIT, MOVING_MISFIT = 1.5, 4.0
"""Residuals, in units of their noise, up to which a pixel surely stands still, from which on it
surely moves."""
MISFIT_CAP = 8.0
MIN_AREA = 0.0006
"""Smaller moving things, as a part of the picture, are taken for noise."""
BAND_PX = 6
_SNAP = Smoothness(jump=1.0, bend=20.0)


def misfit(
    flows: FlowSet,
    cameras: Cameras,
    rho: Array | None,
    rho_sigma: Array | None,
    noise_px: float = FLOW_SIGMA_PX,
    progress: Progress = no_progress,
) -> tuple[Array, Array]:
    """RMS residual of each pixel's flows in units of their noise, and the confidence summed.

    Both float32 [t, h, w]. The residual along the epipolar line is forgiven as far as ``rho_sigma``
    [t, h, w] (in units of ρ) explains it; with ``rho`` None it is left out: the pixel may be at any
    depth. Without translation there is no such line and the whole residual counts.
    noise_px: standard deviation of a flow that is short.
    """
    shape = (len(flows), flows.height, flows.width)
    out = np.zeros(shape, np.float32)
    sure = np.zeros(shape, np.float32)
    zero = np.zeros(shape[1:], np.float32)

    def job(i: int) -> None:
        others = [j for j in range(len(flows)) if flows.has(i, j)]
        a, b = pair_maps(cameras, i, others)
        for k, j in enumerate(others):
            flow, confidence = (x.numpy() for x in flows.get(i, j))
            _add_residual(
                flow, confidence, a[k], b[k], zero if rho is None else rho[i],
                zero if rho_sigma is None else rho_sigma[i], rho is None, noise_px, out[i], sure[i],
            )  # fmt: skip
        np.sqrt(out[i] / np.maximum(sure[i], 1e-6), out=out[i])

    each_frame(job, range(len(flows)), progress, "looking for motion")
    return out, sure


@kernel
def _add_residual(flow, confidence, a, b, rho, sigma, any_depth, noise_px, total, sure):
    """Adds one flow's capped squared residual, times its confidence, to ``total``."""
    h, w, _ = flow.shape
    parallax = b[0] * b[0] + b[1] * b[1] + b[2] * b[2] > 1e-16
    for y in range(h):
        for x in range(w):
            c = confidence[y, x]
            if c < 0.02:
                continue
            px, py, r = x + 0.5, y + 0.5, rho[y, x]
            z = a[2, 0] * px + a[2, 1] * py + a[2, 2] + r * b[2]
            if z < 0.05:
                continue
            vx = (a[0, 0] * px + a[0, 1] * py + a[0, 2] + r * b[0]) / z
            vy = (a[1, 0] * px + a[1, 1] * py + a[1, 2] + r * b[1]) / z
            fx, fy = flow[y, x, 0], flow[y, x, 1]
            ex, ey = px + fx - vx, py + fy - vy
            variance = noise_px**2 + FLOW_SIGMA_PER_PX**2 * (fx * fx + fy * fy)
            jx, jy = (b[0] - vx * b[2]) / z, (b[1] - vy * b[2]) / z
            jj = jx * jx + jy * jy
            if parallax and jj > 1e-16:
                across = (ex * jy - ey * jx) ** 2 / jj
                along = 0.0
                if not any_depth:
                    along = (ex * jx + ey * jy) ** 2 / jj
                    along = along / (variance + jj * sigma[y, x] ** 2)
                e2 = across / variance + along
            else:
                e2 = (ex * ex + ey * ey) / variance
            total[y, x] += c * min(e2, MISFIT_CAP * MISFIT_CAP)
            sure[y, x] += c


def find_dynamic(
    misfits: Array,
    sure: Array,
    flows: FlowSet,
    rgb: NDArray[np.uint8],
    progress: Progress = no_progress,
) -> Mask:
    """Where things move, bool [t, h, w], from the misfit of a still world.

    misfits, sure: from :func:`misfit`. rgb: uint8 [t, h, w, 3]. The evidence is shared along the
    flow with the frames next to it (a thing that pauses is still a thing), smoothed up to image
    edges, and kept where a region has a sure core and is not tiny.
    """
    usual = float(np.median(misfits[sure > 0.5])) if bool((sure > 0.5).any()) else 1.0
    unit = max(usual, 0.7)
    evidence = (misfits / unit - STILL_MISFIT) / (MOVING_MISFIT - STILL_MISFIT)
    np.clip(evidence, 0, 1, out=evidence)
    shared = _share_over_time(evidence, sure, flows)
    out = np.zeros(misfits.shape, bool)

    def job(i: int) -> None:
        weight = 0.08 * np.minimum(sure[i], 1) + 1e-4
        smooth = complete(shared[i], weight, rgb[i], _SNAP)
        out[i] = outline(_regions(smooth), rgb[i])

    each_frame(job, range(len(misfits)), progress, "outlining what moves")
    return out


def _share_over_time(evidence: Array, sure: Array, flows: FlowSet) -> Array:
    out = np.empty_like(evidence)
    grid = _pixel_grid(flows.height, flows.width)

    def job(i: int) -> None:
        total = evidence[i] * np.minimum(sure[i], 1)
        weight = np.minimum(sure[i], 1) + 1e-3
        for k in flows.offsets[:3]:
            for j in (i - k, i + k):
                if not flows.has(i, j):
                    continue
                flow, confidence = (x.numpy() for x in flows.get(i, j))
                there = _at(evidence[j], grid + flow, cv2.INTER_LINEAR)
                total = total + 0.5 * confidence * there
                weight = weight + 0.5 * confidence
        out[i] = np.maximum(total / weight, 0.7 * evidence[i])

    each_frame(job, range(len(evidence)), no_progress, "")
    return out


def _at(field: Array, at: Array, interpolation: int) -> Array:
    """The field at pixel indices (x, y) [h, w, 2]; 0 outside."""
    return np.asarray(cv2.remap(field, at[..., 0], at[..., 1], interpolation), np.float32)


def _pixel_grid(height: int, width: int) -> Array:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], -1)


def _regions(smooth: Array) -> Mask:
    """Connected regions above 0.4 that reach 0.75 somewhere, without specks and pinholes."""
    h, w = smooth.shape
    candidate = cv2.morphologyEx(
        (smooth > 0.4).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    num, labels, stats, _ = cv2.connectedComponentsWithStats(candidate, connectivity=4)
    strong = np.bincount(labels[smooth > 0.75], minlength=num)
    keep = (stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * h * w) & (strong >= 0.2 * MIN_AREA * h * w)
    keep[0] = False
    found = keep[labels]
    num, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~found).astype(np.uint8), connectivity=4
    )
    small = stats[:, cv2.CC_STAT_AREA] < MIN_AREA * h * w
    small[0] = False
    return found | small[labels]


def outline(found: Mask, rgb: NDArray[np.uint8]) -> Mask:
    """Move the borders of regions [h, w] to where the colours change, by at most BAND_PX.

    GrabCut (Rother et al. 2004) on each region's surroundings, with all but a band along its
    border taken for granted.
    """
    out = found.copy()
    num, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    h, w = found.shape
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1, 2 * BAND_PX + 1))
    for label in range(1, num):
        left, top, width, height = stats[label, :4]
        pad = 2 * BAND_PX + 4
        box = (
            slice(max(top - pad, 0), min(top + height + pad, h)),
            slice(max(left - pad, 0), min(left + width + pad, w)),
        )
        region = (labels[box] == label).astype(np.uint8)
        inner, outer = cv2.erode(region, disc, borderValue=1), cv2.dilate(region, disc)
        if inner.sum() < 30:
            inner = cv2.erode(region, np.ones((3, 3), np.uint8), borderValue=1)
        if inner.sum() < 10 or (outer == 0).sum() < 30:
            continue
        state = np.where(region > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        state[inner > 0] = cv2.GC_FGD
        state[outer == 0] = cv2.GC_BGD
        cv2.setRNGSeed(0)  # its colour models start from k-means
        picture = np.ascontiguousarray(rgb[box])
        behind, front = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(picture, state, (0, 0, 1, 1), behind, front, 2, cv2.GC_INIT_WITH_MASK)
        inside = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
        others = found[box] & (region == 0)
        out[box] = np.where(outer > 0, inside | others, out[box])
    return out


def stand(
    rho: Array,
    dynamic: Mask,
    flows: FlowSet,
    progress: Progress = no_progress,
) -> Array:
    """Inverse depth [t, h, w] in which moving things stand upright where they touch the ground.

    rho: inverse depth of the still scene, also behind the moving things (any smooth filling).
    dynamic: bool [t, h, w]. Each connected region gets the inverse depth of the still pixels just
    below its lowest part, turned about the vertical if the contact slopes; then it is averaged
    along the flow, so that it does not jump when a foot leaves the ground.
    """
    out = rho.copy()

    def job(i: int) -> None:
        num, labels = cv2.connectedComponents(dynamic[i].astype(np.uint8), connectivity=4)
        for label in range(1, num):
            region = labels == label
            out[i][region] = _upright(rho[i], region, dynamic[i])[region]

    each_frame(job, range(len(rho)), progress, "standing what moves on the ground")
    return _steady(out, dynamic, flows)


def _upright(rho: Array, region: Mask, dynamic: Mask) -> Array:
    """ρ as a linear function of x that fits what lies just below the region's lowest part."""
    h, w = rho.shape
    columns = np.flatnonzero(region.any(0))
    lowest = h - 1 - region[::-1, columns].argmax(0)
    top = int(np.flatnonzero(region.any(1))[0])
    bottom = int(lowest.max())
    touching = lowest >= bottom - max(2.0, 0.15 * (bottom - top))
    x, y = columns[touching], lowest[touching]
    below = np.minimum(y + 3, h - 1)
    ground = ~dynamic[below, x] & (y < h - 2)
    if ground.sum() < max(3, 0.2 * len(x)):
        # Cut off by the picture's border: at least as near as anything still along its bottom.
        near = float(np.quantile(rho[max(bottom - 2, 0)], 0.5))
        return np.full_like(rho, max(near, float(np.median(rho[y, x]))))
    x, values = x[ground].astype(np.float64), rho[below[ground], x[ground]].astype(np.float64)
    middle, spread = x.mean(), max(float(x.std()), 1.0)
    slope = 0.0
    if len(x) > 0.5 * len(columns):  # only a wide contact says how a thing is turned
        slope = float(((x - middle) * (values - values.mean())).mean()) / (spread**2 + 9.0)
    level = float(np.median(values - slope * (x - middle)))
    line = level + slope * (np.arange(w) - middle)
    low, high = float(values.min()), float(values.max())
    return np.broadcast_to(np.clip(line, low, high), (h, w)).astype(np.float32)


def _steady(rho: Array, dynamic: Mask, flows: FlowSet) -> Array:
    """Two rounds of averaging over what the flow says is the same moving thing, and of evening
    out inside each region, so that it holds together."""
    grid = _pixel_grid(flows.height, flows.width)
    for _ in range(2):
        before = rho
        rho = before.copy()

        def job(i: int, before: Array = before, after: Array = rho) -> None:
            if not dynamic[i].any():
                return
            total, weight = before[i].copy(), np.ones_like(before[i])
            for k in flows.offsets:
                for j in (i - k, i + k):
                    if not flows.has(i, j):
                        continue
                    flow, confidence = (x.numpy() for x in flows.get(i, j))
                    at = grid + flow
                    moves = _at(dynamic[j].astype(np.float32), at, cv2.INTER_NEAREST)
                    there = _at(before[j], at, cv2.INTER_NEAREST)
                    w = confidence * moves * math.exp(-k / 8)
                    total += w * there
                    weight += w
            after[i] = _even(total / weight, dynamic[i], before[i])

        each_frame(job, range(len(rho)), no_progress, "")
    return rho


def _even(value: Array, dynamic: Mask, elsewhere: Array) -> Array:
    """``value`` blurred inside each connected region by a third of its size; else ``elsewhere``."""
    out = elsewhere.copy()
    num, labels, stats, _ = cv2.connectedComponentsWithStats(
        dynamic.astype(np.uint8), connectivity=4
    )
    for label in range(1, num):
        left, top, width, height = stats[label, :4]
        box = slice(top, top + height), slice(left, left + width)
        inside = labels[box] == label
        sigma = max(3.0, min(width, height) / 3)
        weight = inside.astype(np.float32)
        border = cv2.BORDER_CONSTANT
        total = cv2.GaussianBlur(weight * value[box], (0, 0), sigma, borderType=border)
        weight = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=border)
        out[box][inside] = (total / np.maximum(weight, 1e-6))[inside]
    return out
