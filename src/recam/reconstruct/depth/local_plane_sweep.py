"""Inverse depth that is nearly right, matched again with frames far apart, in which an error of a
hundredth shows as a pixel. A plane sweep about the depth itself instead of about planes: slanted
and curved surfaces are matched as they are, and a window can be large.
"""

from __future__ import annotations

import numpy as np

from recam.arrays import F32, U8, Mask
from recam.reconstruct.depth.plane_sweep import DIFFERENCE_CAP, features_of
from recam.reconstruct.warping import MIN_Z, far_point, inverse_depth_warps
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

REACH = 4
"""Steps tried to either side."""
STEP_PX = 0.7
"""What a step moves a point by in the farthest frame."""
LARGEST_STEP = 0.1
"""Relative step that would be needed, from which on there is too little parallax to gain by."""
PARTS = (1.0, 0.8, 0.6)
"""Of the longest way that a point may move: where the witnesses of each side are taken."""
FARTHEST = 48
"""Frames."""
MIN_INSIDE = 0.55
HIDDEN = 1.08
"""Inverse depth over what was expected, from which on something nearer is in the way."""
WINDOW_PX = 3
SAME_SURFACE = 0.06
"""Relative difference of inverse depth within which a window's pixels are matched together."""
MIN_CURVE = 1e-4


def local_plane_sweep(
    gray: U8,
    cameras: Cameras,
    rho: F32,
    moving: Mask,
    step: float,
    progress: Progress = no_progress,
) -> tuple[F32, F32]:
    """A factor for the inverse depth rho [t, h, w] of each pixel, and how sharply it was found
    (0 = not at all: the factor is then 1), float32 [t, h, w] each.

    gray: uint8 [t, h, w] at the cameras' size. moving: bool [t, h, w], never matched with. step:
    the relative change of inverse depth that is tried, REACH times either way; the less, the
    farther apart are the frames matched with.
    """
    features = np.stack([features_of(frame) for frame in gray])
    factor, sharpness = np.ones_like(rho), np.zeros_like(rho)

    def job(i: int) -> None:
        still = rho[i][~moving[i]]
        usual = float(np.median(still)) if len(still) else 0.0
        others, length = witnesses_of(cameras, i, usual, STEP_PX / step)
        own = max(step, STEP_PX / max(length, 1e-3))
        if len(others) < 2 or own > LARGEST_STEP:
            return
        tried = (1 + own * np.arange(-REACH, REACH + 1)).astype(np.float32)
        a, b = inverse_depth_warps(cameras, i, others)
        cost = np.empty((*rho.shape[1:], len(tried)), np.float32)
        seen = np.zeros(rho.shape[1:], np.int32)
        _match(features, moving, rho, i, np.array(others, np.int64), a, b, tried, cost, seen)
        _pick(cost, seen, rho[i], np.float32(own), factor[i], sharpness[i])

    parallel_frames(job, range(len(gray)), progress, "matching again")
    return factor, sharpness


def witnesses_of(
    cameras: Cameras, i: int, usual: float, longest_px: float
) -> tuple[list[int], float]:
    """Frames to match frame i with, and how far, in the farthest, a point at inverse depth
    ``usual`` lies from one at infinity (px): as far as that stays below longest_px and most of the
    picture is in both."""
    h, w = cameras.height, cameras.width
    x, y = np.meshgrid((np.arange(6) + 0.5) * w / 6, (np.arange(6) + 0.5) * h / 6)
    grid = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    chosen: list[int] = []
    longest = 0.0
    for sign in (-1, 1):
        others = [i + sign * k for k in range(1, FARTHEST + 1) if 0 <= i + sign * k < len(cameras)]
        if not others:
            continue
        a, b = inverse_depth_warps(cameras, i, others)
        far = np.einsum("nij,kj->nki", a, grid)
        near = far + usual * b[:, None]
        ok = (far[..., 2] > 0.05) & (near[..., 2] > 0.05)
        u, v = (p[..., :2] / np.maximum(p[..., 2:], 0.05) for p in (far, near))
        inside = (ok & ((v > 0) & (v < [w, h])).all(-1)).mean(1)
        px = np.median(np.linalg.norm(v - u, axis=-1), axis=1)
        fits = (inside > MIN_INSIDE) & (px <= longest_px)
        if fits.any():
            top = float(px[fits].max())
            away = [np.where(fits, np.abs(px - part * top), np.inf) for part in PARTS]
            chosen += sorted({others[int(one.argmin())] for one in away})
            longest = max(longest, top)
    return chosen, longest


@kernel
def _match(features, moving, rho, i, others, a, b, tried, cost, seen):
    """cost [h, w, k]: mean capped difference to the frames in which the pixel is seen."""
    _, h, w, _ = features.shape
    num = len(tried)
    sums = np.zeros(num, np.float32)
    one, half = np.float32(1), np.float32(0.5)
    cap = np.float32(DIFFERENCE_CAP)
    for y in range(h):
        for x in range(w):
            for d in range(num):
                sums[d] = 0
            n, own = 0, rho[i, y, x]
            px, py = np.float32(x) + half, np.float32(y) + half
            r0, r1, r2 = features[i, y, x, 0], features[i, y, x, 1], features[i, y, x, 2]
            for k in range(len(others)):
                j = others[k]
                f = features[j]
                ax, ay, az = far_point(a, k, px, py)
                z = az + own * b[k, 2]
                if z < MIN_Z:
                    continue
                u, v = (ax + own * b[k, 0]) / z, (ay + own * b[k, 1]) / z
                if u < 4 or v < 4 or u >= w - 4 or v >= h - 4:
                    continue
                iu, iv = int(u), int(v)
                if moving[j, iv, iu] or rho[j, iv, iu] * z > np.float32(HIDDEN) * own:
                    continue
                n += 1
                for d in range(num):
                    r = own * tried[d]
                    z = max(az + r * b[k, 2], np.float32(0.05))
                    u = (ax + r * b[k, 0]) / z - half
                    v = (ay + r * b[k, 1]) / z - half
                    u = min(max(u, np.float32(0)), np.float32(w - 1.01))
                    v = min(max(v, np.float32(0)), np.float32(h - 1.01))
                    iu, iv = int(u), int(v)
                    fu, fv = u - np.float32(iu), v - np.float32(iv)
                    w11 = fu * fv
                    w10, w01 = fv - w11, fu - w11
                    w00 = one - fu - fv + w11
                    p, q, s, t = f[iv, iu], f[iv, iu + 1], f[iv + 1, iu], f[iv + 1, iu + 1]
                    e = abs(r0 - (w00 * p[0] + w01 * q[0] + w10 * s[0] + w11 * t[0]))
                    e += abs(r1 - (w00 * p[1] + w01 * q[1] + w10 * s[1] + w11 * t[1]))
                    e += abs(r2 - (w00 * p[2] + w01 * q[2] + w10 * s[2] + w11 * t[2]))
                    sums[d] += min(e, cap)
            seen[y, x] = n
            for d in range(num):
                cost[y, x, d] = sums[d] / max(n, 1)


@kernel
def _pick(cost, seen, rho, step, factor, sharpness):
    """The cheapest step by the window's mean over what is on the same surface, between steps by a
    parabola; none where the cheapest is the last one tried."""
    h, w, num = cost.shape
    total = np.empty(num, np.float32)
    for y in range(h):
        for x in range(w):
            if seen[y, x] < 2:
                continue
            for d in range(num):
                total[d] = 0
            n, own = 0, rho[y, x]
            for v in range(max(y - WINDOW_PX, 0), min(y + WINDOW_PX + 1, h)):
                for u in range(max(x - WINDOW_PX, 0), min(x + WINDOW_PX + 1, w)):
                    if seen[v, u] < 2 or abs(rho[v, u] - own) > np.float32(SAME_SURFACE) * own:
                        continue
                    n += 1
                    for d in range(num):
                        total[d] += cost[v, u, d]
            best = 0
            for d in range(num):
                if total[d] < total[best]:
                    best = d
            if best == 0 or best == num - 1 or n < 6:
                continue
            left, mid, right = total[best - 1] / n, total[best] / n, total[best + 1] / n
            curve = left - 2 * mid + right
            if curve > MIN_CURVE:
                at = np.float32(best - (num - 1) // 2) + np.float32(0.5) * (left - right) / curve
                factor[y, x] = 1 + step * at
                sharpness[y, x] = curve / (mid + 3)
