"""Dense, smooth, steady inverse depth out of noisy and incomplete measurements.

Two operations that alternate: ``complete`` fills one frame, smooth inside surfaces and broken at
image edges; ``fuse`` lets all frames that see the same still surface agree on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.reconstruct.depth import Array, each_frame, pair_maps
from recam.runtime.jit import kernel
from recam.types import Cameras, Progress, no_progress

EDGE_CONTRAST, EDGE_POWER, EDGE_FLOOR = 9.0, 0.85, 0.02
ITERATIONS = (150, 100, 80, 80, 80)
"""Primal-dual steps per pyramid level, finest first."""
FUSE_OFFSETS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Smoothness:
    """Weights of total generalised variation, for values of order 1 and a data weight 1 / σ².

    bend: of a change of slope, so that slanted planes cost nothing.
    jump: of a step between neighbours, lowered where the image has an edge.
    """

    jump: float = 0.6
    bend: float = 1.5


def complete(value: Array, weight: Array, rgb: NDArray[np.uint8], smooth: Smoothness) -> Array:
    """Minimise Σ w/2 (u − value)² + jump Σ g |∇u − v| + bend Σ |∇v| over u and the slopes v.

    value, weight: float32 [h, w]; weight 0 = nothing known (the value is not read then).
    rgb: uint8 [h, w, 3], whose edges lower g. Second-order total generalised variation (Bredies
    et al. 2010) guided by the image (Ferstl et al. 2013), by the primal-dual method of Chambolle
    and Pock, from coarse to fine. Returns float32 [h, w], defined everywhere.
    """
    levels = [(np.where(weight > 0, value, 0).astype(np.float32), weight.astype(np.float32), rgb)]
    while len(levels) < len(ITERATIONS) and min(levels[-1][0].shape) >= 16:
        levels.append(_half_size(*levels[-1]))
    coarse, coarse_weight, _ = levels[-1]
    state = np.zeros((3, *coarse.shape), np.float32)
    state[0] = float((coarse * coarse_weight).sum()) / max(float(coarse_weight.sum()), 1e-12)
    for level in range(len(levels) - 1, -1, -1):
        value, weight, rgb = levels[level]
        if state.shape[1:] != value.shape:
            size = (value.shape[1], value.shape[0])
            finer = [cv2.resize(a, size, interpolation=cv2.INTER_LINEAR) for a in state]
            state = np.stack([finer[0], 0.5 * finer[1], 0.5 * finer[2]])  # slopes are per pixel
        # A coarse pixel carries four weights; the edges it crosses are twice as long.
        state = _solve_level(state, value, weight / 2**level, rgb, smooth, ITERATIONS[level])
    return state[0]


def _half_size(value: Array, weight: Array, rgb: NDArray[np.uint8]) -> tuple:
    size = ((value.shape[1] + 1) // 2, (value.shape[0] + 1) // 2)
    mean_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(weight * value, size, interpolation=cv2.INTER_AREA)
    return (
        total / np.maximum(mean_weight, 1e-12),
        4 * mean_weight,
        cv2.resize(rgb, size, interpolation=cv2.INTER_AREA),
    )


def _edge_weights(rgb: NDArray[np.uint8]) -> tuple[Array, Array]:
    image = cv2.GaussianBlur(rgb.astype(np.float32) / 255, (0, 0), 0.7)
    weights = []
    for axis in (1, 0):
        contrast = np.abs(np.diff(image, axis=axis)).max(-1)
        g = np.maximum(np.exp(-EDGE_CONTRAST * contrast**EDGE_POWER), EDGE_FLOOR)
        # Nothing flows over the border of the picture.
        weights.append(np.pad(g, [(0, int(axis == 0)), (0, int(axis == 1))]).astype(np.float32))
    return weights[0], weights[1]


def _solve_level(
    start: Array, value: Array, weight: Array, rgb: NDArray[np.uint8], smooth: Smoothness, n: int
) -> Array:
    """n steps from u and its two slopes [3, h, w]; returns the like."""
    around = ((1, 1), (1, 1))
    gx, gy = (np.pad(g, around) for g in _edge_weights(rgb))
    state = np.pad(start, ((0, 0), *around), mode="edge")
    dual = np.zeros((5, *state.shape[1:]), np.float32)
    _primal_dual(
        state, state.copy(), dual, gx, gy, np.pad(weight, around), np.pad(value, around),
        np.float32(smooth.jump), np.float32(smooth.bend), n,
    )  # fmt: skip
    return np.ascontiguousarray(state[:, 1:-1, 1:-1])


@kernel
def _primal_dual(state, ahead, dual, gx, gy, weight, value, jump, bend, iterations):
    tau = np.float32(1 / math.sqrt(12.0))
    for _ in range(iterations):
        _ascend(ahead, dual, gx, gy, jump, bend, tau)
        _descend(state, ahead, dual, gx, gy, weight, value, tau)


@kernel
def _ascend(ahead, dual, gx, gy, jump, bend, tau):
    u, vx, vy = ahead[0], ahead[1], ahead[2]
    px, py, qxx, qyy, qxy = dual[0], dual[1], dual[2], dual[3], dual[4]
    h, w = u.shape
    one, two, half = np.float32(1), np.float32(2), np.float32(0.5)
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            a = px[y, x] + tau * gx[y, x] * (u[y, x + 1] - u[y, x] - vx[y, x])
            b = py[y, x] + tau * gy[y, x] * (u[y + 1, x] - u[y, x] - vy[y, x])
            over = max(one, math.sqrt(a * a + b * b) / jump)
            px[y, x] = a / over
            py[y, x] = b / over
        for x in range(1, w - 1):
            a = qxx[y, x] + tau * (vx[y, x + 1] - vx[y, x])
            b = qyy[y, x] + tau * (vy[y + 1, x] - vy[y, x])
            c = qxy[y, x] + tau * half * (vx[y + 1, x] - vx[y, x] + vy[y, x + 1] - vy[y, x])
            over = max(one, math.sqrt(a * a + b * b + two * c * c) / bend)
            qxx[y, x] = a / over
            qyy[y, x] = b / over
            qxy[y, x] = c / over
    qyy[h - 2] = 0
    qxy[h - 2] = 0
    qxx[:, w - 2] = 0
    qxy[:, w - 2] = 0


@kernel
def _descend(state, ahead, dual, gx, gy, weight, value, tau):
    u, vx, vy = state[0], state[1], state[2]
    px, py, qxx, qyy, qxy = dual[0], dual[1], dual[2], dual[3], dual[4]
    h, w = u.shape
    one, two = np.float32(1), np.float32(2)
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            div = gx[y, x] * px[y, x] - gx[y, x - 1] * px[y, x - 1]
            div += gy[y, x] * py[y, x] - gy[y - 1, x] * py[y - 1, x]
            old = u[y, x]
            data = tau * weight[y, x]
            new = (old + tau * div + data * value[y, x]) / (one + data)
            u[y, x] = new
            ahead[0, y, x] = two * new - old
        for x in range(1, w - 1):
            old = vx[y, x]
            div = qxx[y, x] - qxx[y, x - 1] + qxy[y, x] - qxy[y - 1, x]
            new = old + tau * (gx[y, x] * px[y, x] + div)
            vx[y, x] = new
            ahead[1, y, x] = two * new - old
            old = vy[y, x]
            div = qyy[y, x] - qyy[y - 1, x] + qxy[y, x] - qxy[y, x - 1]
            new = old + tau * (gy[y, x] * py[y, x] + div)
            vy[y, x] = new
            ahead[2, y, x] = two * new - old
    for k in range(1, 3):
        ahead[k, h - 1] = ahead[k, h - 2]
        ahead[k, :, w - 1] = ahead[k, :, w - 2]


def fuse(
    rho: Array,
    weight: Array,
    still: NDArray[np.bool_],
    cameras: Cameras,
    tolerance: float,
    progress: Progress = no_progress,
    what: str = "agreeing over time",
) -> tuple[Array, Array, Array]:
    """What the other frames say about each pixel's inverse depth, where they see the same thing.

    rho [t, h, w]; weight [t, h, w] ≥ 0, how far to trust it; still: bool [t, h, w], what takes
    part. A pixel is carried by its own ρ into frames up to 16 away; what is found there within
    about ``tolerance`` (in units of ρ, Cauchy weights) joins the mean.

    Returns the mean ρ (own value included), the summed weight, and the share of the frames which
    look through the pixel, i.e. see something clearly farther where it should be (0 to 1); each
    float32 [t, h, w]. Pixels that are not still keep their ρ, with weight 0.
    """
    mean = np.empty_like(rho)
    total = np.empty_like(rho)
    through = np.empty_like(rho)

    def job(i: int) -> None:
        others = [j for k in FUSE_OFFSETS for j in (i - k, i + k) if 0 <= j < len(rho)]
        there = pair_maps(cameras, i, others)
        back = [pair_maps(cameras, j, [i]) for j in others]
        back_a = np.stack([a[0] for a, _ in back]) if back else np.empty((0, 3, 3), np.float32)
        back_b = np.stack([b[0] for _, b in back]) if back else np.empty((0, 3), np.float32)
        _fuse(
            rho, weight, still, i, np.array(others, np.int64), *there, back_a, back_b,
            np.float32(tolerance), mean[i], total[i], through[i],
        )  # fmt: skip

    each_frame(job, range(len(rho)), progress, what)
    return mean, total, through


@kernel
def _fuse(rho, weight, still, i, others, a, b, back_a, back_b, tolerance, mean, total, through):
    _, h, w = rho.shape
    half = np.float32(0.5)
    for y in range(h):
        for x in range(w):
            own = rho[i, y, x]
            mean[y, x], total[y, x], through[y, x] = own, np.float32(0), np.float32(0)
            if not still[i, y, x]:
                continue
            px, py = np.float32(x) + half, np.float32(y) + half
            sum_w = weight[i, y, x] + np.float32(1e-6)
            sum_v = sum_w * own
            seen = behind = np.float32(0)
            for k in range(len(others)):
                z = a[k, 2, 0] * px + a[k, 2, 1] * py + a[k, 2, 2] + own * b[k, 2]
                if z < np.float32(0.05):
                    continue
                u = (a[k, 0, 0] * px + a[k, 0, 1] * py + a[k, 0, 2] + own * b[k, 0]) / z
                v = (a[k, 1, 0] * px + a[k, 1, 1] * py + a[k, 1, 2] + own * b[k, 1]) / z
                iu, iv = math.floor(u), math.floor(v)
                if iu < 0 or iv < 0 or iu >= w or iv >= h:
                    continue
                j = others[k]
                if not still[j, iv, iu]:
                    continue
                there = _sample(rho[j], u - half, v - half, iu, iv, tolerance)
                z = back_a[k, 2, 0] * u + back_a[k, 2, 1] * v + back_a[k, 2, 2]
                z += there * back_b[k, 2]
                if z < np.float32(0.05):
                    continue
                off = (there / z - own) / tolerance
                seen += 1
                if off < -3:
                    behind += 1
                if abs(off) < 3:
                    ww = weight[j, iv, iu] / (1 + off * off)
                    sum_w += ww
                    sum_v += ww * there / z
            mean[y, x] = sum_v / sum_w
            total[y, x] = sum_w
            through[y, x] = behind / seen if seen > 0 else np.float32(0)


@kernel
def _sample(field, x, y, nearest_x, nearest_y, tolerance):
    """Bilinear, but never a mixture of two surfaces: then the nearest pixel's."""
    h, w = field.shape
    own = field[nearest_y, nearest_x]
    x0, y0 = math.floor(x), math.floor(y)
    if x0 < 0 or y0 < 0 or x0 >= w - 1 or y0 >= h - 1:
        return own
    p, q, r, s = field[y0, x0], field[y0, x0 + 1], field[y0 + 1, x0], field[y0 + 1, x0 + 1]
    if max(max(p, q), max(r, s)) - min(min(p, q), min(r, s)) > 2 * tolerance:
        return own
    fx, fy = x - x0, y - y0
    return (p * (1 - fx) + q * fx) * (1 - fy) + (r * (1 - fx) + s * fx) * fy


def sharpen(rho: Array, rgb: NDArray[np.uint8], step: float) -> Array:
    """Give pixels that hang between two surfaces the value of the one that looks like them.

    Only where ρ [h, w] varies by more than ``step`` within four pixels: there, the weighted median
    over the 11×11 pixels around, those of like colour and on flat ground counting most.
    """
    near, nearest = np.ones((9, 9), np.uint8), np.ones((3, 3), np.uint8)
    spread = cv2.dilate(rho, near) - cv2.erode(rho, near)
    if float(spread.max()) <= step:
        return rho
    slope = cv2.dilate(rho, nearest) - cv2.erode(rho, nearest)
    flat = 1 / (1 + (2 * slope / step) ** 2)
    out = rho.copy()
    image = cv2.GaussianBlur(rgb, (0, 0), 0.6).astype(np.float32)
    _weighted_median(rho, image, flat.astype(np.float32), spread > step, out)
    return out


@kernel
def _weighted_median(rho, image, flat, wanted, out):
    h, w = rho.shape
    values = np.empty(121, np.float32)
    weights = np.empty(121, np.float32)
    for y in range(h):
        for x in range(w):
            if not wanted[y, x]:
                continue
            n = 0
            total = np.float32(0)
            for v in range(max(y - 5, 0), min(y + 6, h)):
                for u in range(max(x - 5, 0), min(x + 6, w)):
                    d0 = image[v, u, 0] - image[y, x, 0]
                    d1 = image[v, u, 1] - image[y, x, 1]
                    d2 = image[v, u, 2] - image[y, x, 2]
                    like = math.exp(-(d0 * d0 + d1 * d1 + d2 * d2) / 450)
                    near = math.exp(-((v - y) ** 2 + (u - x) ** 2) / 24)
                    values[n] = rho[v, u]
                    weights[n] = (like + np.float32(0.01)) * near * flat[v, u]
                    total += weights[n]
                    n += 1
            order = np.argsort(values[:n])
            below = np.float32(0)
            for k in order:
                below += weights[k]
                if below >= 0.5 * total:
                    out[y, x] = values[k]
                    break
