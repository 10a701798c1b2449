"""Inverse depth of every pixel by matching colours along epipolar lines: a plane sweep into
several frames, made smooth by semi-global matching (Hirschmüller 2008).

Flow is smooth and steady but rounds off what is thin; the sweep keeps the borders of things. The
triangulated flow enters its cost as a weak vote, which decides where there is no texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recam.arrays import F32, U8, Mask
from recam.reconstruct.depth.triangulation import NOTHING, Evidence
from recam.reconstruct.warping import MIN_Z, far_point, inverse_depth_warps
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

OFFSETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
LONGEST_SEARCH_PX = 44.0
"""Frames are matched as far apart as the search along the epipolar line stays below this."""
NUM_PLANES = (24, 56)
MATCH_SIGMA_PX = 0.35
DIFFERENCE_CAP = 30.0
FLOW_VOTE = 8.0
SMOOTH_STEP, SMOOTH_JUMP = 3.0, 40.0
"""Cost of one plane up or down between neighbours, and of any larger jump in flat colour."""


@dataclass(frozen=True)
class SweepRange:
    """Where to search: inverse depths from 0 to ``largest`` in num_planes, in the frames others;
    a point at the largest has moved length_px from one at 0 in the farthest of them."""

    largest: float
    num_planes: int
    others: tuple[int, ...]
    length_px: float


def sweep(
    gray: U8,
    cameras: Cameras,
    evidence: Evidence,
    moving: Mask,
    progress: Progress = no_progress,
) -> tuple[F32, F32, F32]:
    """Inverse depth [t, h, w], the winning margin of its cost [t, h, w] (0 = undecided), and the
    standard deviation [t] of a good match, from how far a point moves in the frames compared.

    gray: uint8 [t, h, w] at the cameras' size. evidence: triangulated flows. moving: bool
    [t, h, w], where nothing that stands still is to be expected: such pixels are not matched with,
    and their flow has no vote.
    """
    features = np.stack([features_of(frame) for frame in gray])
    rho = np.empty(gray.shape, np.float32)
    margin = np.empty(gray.shape, np.float32)
    sigma = np.empty(len(gray), np.float32)
    tops = _largest_inverse_depths(evidence, moving)

    def job(i: int) -> None:
        span = search_range(cameras, i, float(tops[i]))
        planes = np.linspace(0, span.largest, span.num_planes, dtype=np.float32)
        sigma[i] = MATCH_SIGMA_PX * span.largest / max(span.length_px, 1e-6)
        a, b = inverse_depth_warps(cameras, i, span.others)
        cost = np.empty((*gray.shape[1:], len(planes)), np.float32)
        later = np.array([j > i for j in span.others])
        _match(features, moving, i, np.array(span.others, np.int64), later, a, b, planes, cost)
        doubt = np.where(moving[i], np.float32(NOTHING), np.minimum(evidence.sigma[i], NOTHING))
        _add_flow_vote(cost, evidence.inverse_depth[i], doubt, planes)
        smooth_gray = cv2.GaussianBlur(gray[i].astype(np.float32), (0, 0), 0.8)
        total = _aggregate(_box3(cost), smooth_gray)
        _pick(total, planes, rho[i], margin[i])

    parallel_frames(job, range(len(gray)), progress, "matching")
    return rho, margin, sigma


def search_range(cameras: Cameras, i: int, largest: float) -> SweepRange:
    """Which frames to match frame i with, at most two before and two after it, and how finely.

    The farther apart the better, as long as the search stays short and most of the picture is in
    both; and always one of each side that is nearer, because near things leave the view.
    """
    chosen: list[int] = []
    length = 0.0
    for sign in (-1, 1):
        fit: list[tuple[int, float]] = []
        for offset in OFFSETS:
            j = i + sign * offset
            if 0 <= j < len(cameras):
                px, inside = _search_length(cameras, i, j, largest)
                if (px <= LONGEST_SEARCH_PX and inside > 0.6) or not fit:
                    fit.append((j, px))
        if fit:
            best = fit[-1]
            half = fit[max(0, len(fit) - 3)]
            chosen += sorted({best[0], half[0]})
            length = max(length, best[1])
    planes = int(np.clip(1.3 * length, *NUM_PLANES))
    return SweepRange(largest, planes, tuple(chosen), length / 0.7)


def _search_length(cameras: Cameras, i: int, j: int, largest: float) -> tuple[float, float]:
    """Median length of the search in px over a grid, and the part of it that stays inside."""
    h, w = cameras.height, cameras.width
    x, y = np.meshgrid((np.arange(6) + 0.5) * w / 6, (np.arange(6) + 0.5) * h / 6)
    a, b = inverse_depth_warps(cameras, i, [j])
    far = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ a[0].T
    near = far + 0.7 * largest * b[0]
    ok = (far[:, 2] > 0.05) & (near[:, 2] > 0.05)
    u, v = far[:, :2] / far[:, 2:], near[:, :2] / near[:, 2:]
    inside = ok & ((v > 0) & (v < [w, h])).all(-1) & ((u > 0) & (u < [w, h])).all(-1)
    px = np.linalg.norm(v - u, axis=-1)[ok]
    return (float(np.median(px)) if len(px) else np.inf), float(inside.mean())


def _largest_inverse_depths(evidence: Evidence, moving: Mask) -> F32:
    """What the planes of each frame must reach: a high quantile of what its flows say well."""
    tops = np.empty(len(moving), np.float32)
    for i in range(len(moving)):
        rho, sigma = evidence.inverse_depth[i], evidence.sigma[i]
        good = ~moving[i] & np.isfinite(sigma) & (evidence.misfit[i] < 2)
        if good.sum() > 100:
            limit = np.quantile(sigma[good], 0.7)
            tops[i] = np.quantile(rho[good & (sigma <= limit)], 0.99)
        else:
            tops[i] = np.nan
    tops = np.where(tops > 0, tops, np.nan)
    tops = (
        np.where(np.isfinite(tops), tops, np.nanmedian(tops))
        if np.isfinite(tops).any()
        else (np.ones_like(tops))
    )
    padded = np.pad(tops, 3, mode="edge")
    return 1.25 * np.max([padded[k : k + len(tops)] for k in range(7)], axis=0)


def features_of(gray: U8) -> F32:
    """[h, w, 3]: brightness less its surroundings', and its two slopes; blind to exposure."""
    g = gray.astype(np.float32)
    detail = 0.5 * (g - cv2.blur(g, (9, 9)))
    slopes = [cv2.Sobel(g, cv2.CV_32F, dx, 1 - dx, scale=0.25) for dx in (1, 0)]
    return np.stack([detail, *slopes], -1)


@kernel
def _match(features, moving, i, others, later, a, b, planes, cost):
    """Mean capped difference to the frames of the better side (before or after), shared half and
    half with the mean over all: what is hidden on one side may show on the other."""
    _, h, w, _ = features.shape
    num = len(planes)
    sums = np.zeros((2, num), np.float32)
    counts = np.zeros((2, num), np.float32)
    one, half = np.float32(1), np.float32(0.5)
    cap = np.float32(DIFFERENCE_CAP)
    ref = features[i]
    for y in range(h):
        for x in range(w):
            for d in range(num):
                sums[0, d], sums[1, d], counts[0, d], counts[1, d] = 0, 0, 0, 0
            px, py = np.float32(x) + half, np.float32(y) + half
            r0, r1, r2 = ref[y, x, 0], ref[y, x, 1], ref[y, x, 2]
            for k in range(len(others)):
                f = features[others[k]]
                ax, ay, az = far_point(a, k, px, py)
                side = 1 if later[k] else 0
                for d in range(num):
                    z = az + planes[d] * b[k, 2]
                    if z < MIN_Z:
                        continue
                    u = (ax + planes[d] * b[k, 0]) / z - half
                    v = (ay + planes[d] * b[k, 1]) / z - half
                    if u < 0 or v < 0 or u >= w - 1 or v >= h - 1:
                        continue
                    iu, iv = int(u), int(v)
                    if moving[others[k], iv, iu]:
                        continue
                    fu, fv = u - np.float32(iu), v - np.float32(iv)
                    w11 = fu * fv
                    w10, w01 = fv - w11, fu - w11
                    w00 = one - fu - fv + w11
                    p, q, r, s = f[iv, iu], f[iv, iu + 1], f[iv + 1, iu], f[iv + 1, iu + 1]
                    e = abs(r0 - (w00 * p[0] + w01 * q[0] + w10 * r[0] + w11 * s[0]))
                    e += abs(r1 - (w00 * p[1] + w01 * q[1] + w10 * r[1] + w11 * s[1]))
                    e += abs(r2 - (w00 * p[2] + w01 * q[2] + w10 * r[2] + w11 * s[2]))
                    sums[side, d] += min(e, cap)
                    counts[side, d] += one
            for d in range(num):
                n0, n1 = counts[0, d], counts[1, d]
                if n0 + n1 == 0:
                    cost[y, x, d] = np.float32(0.7) * cap
                    continue
                m0 = sums[0, d] / n0 if n0 > 0 else cap
                m1 = sums[1, d] / n1 if n1 > 0 else cap
                cost[y, x, d] = half * min(m0, m1) + half * (sums[0, d] + sums[1, d]) / (n0 + n1)


@kernel
def _add_flow_vote(cost, rho, sigma, planes):
    h, w, num = cost.shape
    floor = (2 * planes[1]) ** 2
    for y in range(h):
        for x in range(w):
            if sigma[y, x] > planes[num - 1]:
                continue
            scale = 0.5 / (sigma[y, x] * sigma[y, x] * 4 + floor)
            for d in range(num):
                away = planes[d] - rho[y, x]
                cost[y, x, d] += np.float32(FLOW_VOTE * min(1.0, away * away * scale))


@kernel
def _box3(cost):
    """Mean over 3×3 pixels, borders repeated."""
    h, w, num = cost.shape
    out = np.empty(cost.shape, np.float32)
    rows = np.empty((w, num), np.float32)
    third = np.float32(1 / 3)
    for y in range(h):
        up, down = max(y - 1, 0), min(y + 1, h - 1)
        for x in range(w):
            for d in range(num):
                rows[x, d] = (cost[up, x, d] + cost[y, x, d] + cost[down, x, d]) * third
        for x in range(w):
            left, right = max(x - 1, 0), min(x + 1, w - 1)
            for d in range(num):
                out[y, x, d] = (rows[left, d] + rows[x, d] + rows[right, d]) * third
    return out


DOWN, RIGHT = (0, 0, 1, -1, 1, -1, 1, -1), (1, -1, 0, 0, 1, -1, -1, 1)
"""Directions of the paths."""


@kernel
def _aggregate(cost, gray):
    """Semi-global matching: the sum over eight directions of the cheapest path to each plane."""
    h, w, num = cost.shape
    total = np.zeros(cost.shape, np.float32)
    a = np.empty(num + 2, np.float32)
    b = np.empty(num + 2, np.float32)
    for k in range(len(DOWN)):
        dy, dx = DOWN[k], RIGHT[k]
        for y in range(h):
            for x in range(w):
                if 0 <= y - dy < h and 0 <= x - dx < w:
                    continue  # not where a path comes in
                n = h + w
                if dy != 0:
                    n = h - y if dy > 0 else y + 1
                if dx != 0:
                    n = min(n, w - x if dx > 0 else x + 1)
                _path(cost, total, gray, y, x, dy, dx, n, a, b)
    return total


@kernel
def _path(cost, total, gray, y, x, dy, dx, n, before, now):
    num = cost.shape[2]
    wall = np.float32(1e9)
    step, jump = np.float32(SMOOTH_STEP), np.float32(SMOOTH_JUMP)
    before[0] = before[num + 1] = now[0] = now[num + 1] = wall
    for d in range(num):
        before[d + 1] = cost[y, x, d]
        total[y, x, d] += cost[y, x, d]
    for _ in range(1, n):
        contrast = abs(gray[y + dy, x + dx] - gray[y, x])
        y += dy
        x += dx
        penalty = step + jump / (np.float32(1) + np.float32(0.2) * contrast)
        least = wall
        for d in range(1, num + 1):
            least = min(least, before[d])
        for d in range(1, num + 1):
            best = min(min(before[d], least + penalty), min(before[d - 1], before[d + 1]) + step)
            now[d] = cost[y, x, d - 1] + best - least
            total[y, x, d - 1] += now[d]
        for d in range(1, num + 1):
            before[d] = now[d]


@kernel
def _pick(total, planes, rho, margin):
    """The cheapest plane, between planes by a parabola, and how much dearer the next best is
    (more than two planes away), per direction summed."""
    h, w, num = total.shape
    for y in range(h):
        for x in range(w):
            best = 0
            for d in range(1, num):
                if total[y, x, d] < total[y, x, best]:
                    best = d
            second = np.float32(1e9)
            for d in range(num):
                if abs(d - best) > 2:
                    second = min(second, total[y, x, d])
            shift = np.float32(0)
            if 0 < best < num - 1:
                left, mid, right = total[y, x, best - 1], total[y, x, best], total[y, x, best + 1]
                curve = left - 2 * mid + right
                if curve > 1e-6:
                    shift = np.float32(0.5) * (left - right) / curve
            rho[y, x] = planes[best] + shift * planes[1]
            margin[y, x] = (second - total[y, x, best]) / 8
