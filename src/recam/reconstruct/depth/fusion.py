"""Inverse depth that the frames agree on, with edges where the picture has them."""

from __future__ import annotations

import math

import cv2
import numpy as np

from recam.arrays import F32, U8, Mask
from recam.reconstruct.warping import MIN_Z, inverse_depth_warps, project
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

FUSE_OFFSETS = (1, 2, 4, 8, 16)
WHOLE = 1 << 20
"""The weight of a pixel for itself in the weighted median: 121 of them fit 32 bits."""


def fuse_views(
    rho: F32,
    weight: F32,
    still: Mask,
    cameras: Cameras,
    tolerance: float,
    progress: Progress = no_progress,
    what: str = "agreeing over time",
) -> tuple[F32, F32, F32]:
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
        there = inverse_depth_warps(cameras, i, others)
        back = [inverse_depth_warps(cameras, j, [i]) for j in others]
        back_a = np.stack([a[0] for a, _ in back]) if back else np.empty((0, 3, 3), np.float32)
        back_b = np.stack([b[0] for _, b in back]) if back else np.empty((0, 3), np.float32)
        _fuse(
            rho, weight, still, i, np.array(others, np.int64), *there, back_a, back_b,
            np.float32(tolerance), mean[i], total[i], through[i],
        )  # fmt: skip

    parallel_frames(job, range(len(rho)), progress, what)
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
                u, v, z = project(a, b, k, px, py, own)
                if z < MIN_Z:
                    continue
                iu, iv = math.floor(u), math.floor(v)
                if iu < 0 or iv < 0 or iu >= w or iv >= h:
                    continue
                j = others[k]
                if not still[j, iv, iu]:
                    continue
                there = sample_surface(rho[j], u - half, v - half, iu, iv, tolerance)
                _, _, z = project(back_a, back_b, k, u, v, there)
                if z < MIN_Z:
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
def sample_surface(field, x, y, nearest_x, nearest_y, tolerance):
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


def snap_to_edges(rho: F32, rgb: U8, step: float) -> F32:
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
    weights = np.empty(121, np.int32)
    near = np.empty((6, 6), np.float32)
    for v in range(6):
        for u in range(6):
            near[v, u] = math.exp(-(v * v + u * u) / 24) * WHOLE
    # By the difference of colours, squared, over 450, up to 14, where the rest would be lost.
    like = np.empty(1025, np.float32)
    for k in range(1024):
        like[k] = math.exp(-k * 14 / 1024) + 0.01
    like[1024] = 0.01
    unit, most = np.float32(1024 / (14 * 450.0)), np.float32(1024)
    for y in range(h):
        for x in range(w):
            if not wanted[y, x]:
                continue
            n, total = 0, 0
            r, g, b = image[y, x, 0], image[y, x, 1], image[y, x, 2]
            for v in range(max(y - 5, 0), min(y + 6, h)):
                for u in range(max(x - 5, 0), min(x + 6, w)):
                    d0, d1, d2 = image[v, u, 0] - r, image[v, u, 1] - g, image[v, u, 2] - b
                    k = int(min((d0 * d0 + d1 * d1 + d2 * d2) * unit, most))
                    values[n] = rho[v, u]
                    weights[n] = np.int32(like[k] * near[abs(v - y), abs(u - x)] * flat[v, u])
                    total += weights[n]
                    n += 1
            out[y, x] = _select(values, weights, n, total)


@kernel
def _select(values, weights, n, total):
    """The least of n values, but for 1/4096 of their range, up to which the weights sum to half of
    their total. Whole numbers, so that the sums may be taken several at a time."""
    low, high = values[0], values[0]
    for k in range(n):
        low, high = min(low, values[k]), max(high, values[k])
    if low == high:
        return low
    low -= np.float32(1e-5) * (high - low)
    for _ in range(12):
        middle = np.float32(0.5) * (low + high)
        below = np.int32(0)
        for k in range(n):
            below = np.int32(below + (weights[k] if values[k] <= middle else np.int32(0)))
        if 2 * below >= total:
            high = middle
        else:
            low = middle
    least = np.float32(np.inf)
    for k in range(n):
        if values[k] > low:
            least = min(least, values[k])
    return least
