"""Cameras and focal length once more, from patches that dense depth carries far.

Chained flow drifts and rounds off. Once depth is known, a patch can be drawn in any frame as the
surface there would be seen, so that only a small shift is left to be measured (Lucas and Kanade
1981): to a tenth of a pixel, between frames far apart, without drift. Cameras, focal length and
points are then fitted to all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recam.arrays import F32, U8, Mask
from recam.geometry import se3
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    inverse_depths,
    residuals_px,
    scaled,
    triangulated,
)
from recam.reconstruct.cameras.motion_model import (
    FIRM_PRIOR,
    LIGHT_PRIOR,
    STATIC,
    refined,
    start_bundle,
    stillness,
    with_points,
)
from recam.reconstruct.matching.tracks import Tracks, corners, select_tracks
from recam.reconstruct.robust import robust_least_squares
from recam.reconstruct.warping import MIN_Z, inverse_depth_warps, project
from recam.runtime.cache import scratch_tensor
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

HALF = 5
"""Patches are 11×11 px."""
AWAY = (1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 33, 40, 47)
"""Frames, to either side, that a frame's patches are looked for in."""
NUM_FIRSTS = 12
"""Frames that patches are taken from, of a short clip; every EVERYth of a long one."""
EVERY = 8
PLANE = 0.06
"""Relative difference of inverse depth that a patch may have inside."""
MIN_POWER, MIN_CORNER = 60.0, 150.0
"""Squared grey levels that a patch must have, and the smaller eigenvalue of its shift's normal
matrix."""
LIKE = 0.9
"""Correlation from which on a patch is found."""
FARTHEST_PX = 3.0
"""Shift from where it was expected, from which on it is another one."""
SIGMA_PX = 0.3
MIN_TRACKS = 60
MAX_CHANGE = 0.5
"""Relative change of focal length at once beyond which something is wrong."""


@dataclass(frozen=True)
class Polished:
    """cameras: at the old ones' scale. inverse_depth: float32 [t, h, w], brought to them.
    residual_px: median residual of the patches with the old cameras and with these."""

    cameras: Cameras
    inverse_depth: F32
    residual_px: tuple[float, float]


def refine_photometrically(
    gray: U8,
    cameras: Cameras,
    rho: F32,
    moving: Mask,
    usual_focal: float | None,
    fov_known: bool,
    progress: Progress = no_progress,
) -> Polished | None:
    """Cameras that fit what patches say; None where there are too few, or nothing is gained.

    gray: uint8 [t, h, w]; rho: inverse depth [t, h, w] of what stands still; moving: bool
    [t, h, w]. usual_focal: a likely focal length, px; None: it may not change. fov_known: the
    motion tells it, so that it is hardly drawn to the usual one.
    """
    tracks = follow_patches(gray, cameras, rho, moving, progress)
    if len(tracks) < MIN_TRACKS:
        return None
    k = cameras.intrinsics.numpy()
    focal = float(k[0, 0, 0])
    each = np.stack([k[:, 0, 0], k[:, 1, 1]], 1)[tracks.frame]
    centred = replace(tracks, uv_px=(tracks.uv_px - k[:, :2, 2][tracks.frame]) * focal / each)
    with threadpool_limits(1, user_api="blas"):
        before, after, good = _fitted(centred, cameras, focal, usual_focal, fov_known)
    residual = tuple(float(np.median(residuals_px(b, good))) for b in (before, after))
    if residual[1] > residual[0] or abs(after.focal / focal - 1) > MAX_CHANGE:
        return None
    after, field = _in_old_units(after, good, tracks_in_px(good, cameras, focal), rho)
    pose = se3(torch.from_numpy(after.rotation), torch.zeros(len(gray), 3, dtype=torch.float64))
    pose[:, :3, 3] = -(pose[:, :3, :3] @ torch.from_numpy(after.center)[..., None])[..., 0]
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, [0, 1], [0, 1]] *= after.focal / focal
    found = replace(cameras, cam_from_world=pose, intrinsics=intrinsics)
    return Polished(found, field, (residual[0], residual[1]))


def tracks_in_px(centred: Tracks, cameras: Cameras, focal: float) -> Tracks:
    """Back from square pixels about the principal point."""
    k = cameras.intrinsics.numpy()
    each = np.stack([k[:, 0, 0], k[:, 1, 1]], 1)[centred.frame]
    return replace(centred, uv_px=centred.uv_px * each / focal + k[:, :2, 2][centred.frame])


def _fitted(
    tracks: Tracks, cameras: Cameras, focal: float, usual: float | None, fov_known: bool
) -> tuple[Bundle, Bundle, Tracks]:
    """The old cameras with points fitted, all of it fitted, and the tracks that stand still."""
    rotation = np.ascontiguousarray(cameras.cam_from_world.numpy()[:, :3, :3])
    start = start_bundle(tracks, rotation, focal)
    start = triangulated(replace(start, center=cameras.centers.numpy().copy()), tracks)
    still = stillness(residuals_px(start, tracks), tracks) > STATIC
    good = select_tracks(tracks, still)
    before = with_points(start, good, "moving")
    begun = refined(before, good, "moving", None, 0.0, SIGMA_PX, False, iterations=6)
    prior = (LIGHT_PRIOR if fov_known else FIRM_PRIOR) * begun.cost
    after = refined(begun.bundle, good, "moving", usual, prior, SIGMA_PX, False).bundle
    return before, after, good


def _in_old_units(bundle: Bundle, tracks: Tracks, in_px: Tracks, rho: F32) -> tuple[Bundle, F32]:
    """The bundle at the scale of rho [t, h, w], and rho brought to it: in each frame by a factor
    and a ramp over the picture, fitted to the points that it sees."""
    found = inverse_depths(bundle, tracks)
    x, y = in_px.uv_px.astype(np.int64).T
    h, w = rho.shape[1:]
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    own = rho[in_px.frame, y, x].astype(np.float64)
    ratio = float(np.median(found / np.maximum(own, 1e-12)))
    bundle, found = scaled(bundle, ratio), found / ratio
    out = scratch_tensor(rho.shape, torch.float32).numpy()
    unit = float(np.median(own))
    columns, rows = np.arange(w) / w - 0.5, np.arange(h)[:, None] / h - 0.5
    for i in range(len(rho)):
        here = np.flatnonzero(in_px.frame == i)
        if len(here) < 20:
            out[i] = rho[i]
            continue
        a = np.stack([own[here] / unit, np.ones(len(here)), x[here] / w - 0.5, y[here] / h - 0.5])
        by, _ = robust_least_squares(a.T, (found[here] - own[here]) / unit, ridge=1e-3)
        ramp = unit * (by[1] + by[2] * columns + by[3] * rows)
        out[i] = np.maximum(rho[i] * (1 + by[0]) + ramp, 0.1 * rho[i])
    return bundle, out


def follow_patches(
    gray: U8,
    cameras: Cameras,
    rho: F32,
    moving: Mask,
    progress: Progress = no_progress,
) -> Tracks:
    """Patches around corners of some frames, found in the frames around; uv_px in pixels of gray.
    Arguments as :func:`polish`'s. A track is a patch that was found four times or more."""
    t, h, w = gray.shape
    stride = min(max(t // NUM_FIRSTS, 1), EVERY)
    firsts = list(range(stride // 2, t, stride))
    found: list[tuple[NDArray, NDArray, NDArray]] = [_NOTHING] * len(firsts)

    def job(n: int) -> None:
        first = firsts[n]
        x, y = (corners(gray[first], np.zeros((0, 2), np.float32)) - 0.5).astype(np.int64).T
        inside = (x > HALF) & (y > HALF) & (x < w - HALF - 1) & (y < h - HALF - 1)
        x, y = x[inside], y[inside]
        others = np.array(sorted({j for k in AWAY for j in (first - k, first + k) if 0 <= j < t}))
        out = np.full((len(x), len(others), 2), np.nan, np.float32)
        if len(others):
            a, b = inverse_depth_warps(cameras, first, others.tolist())
            _follow(gray, rho, moving, first, others, a, b, x, y, out)
        found[n] = _as_observations(first, others, np.stack([x, y], 1) + 0.5, out)

    parallel_frames(job, range(len(firsts)), progress, "following patches")
    uv, frame, length = (np.concatenate(part) for part in zip(*found))
    return Tracks(uv, frame, np.concatenate([[0], np.cumsum(length)]))


_NOTHING = (np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0, np.int64))


def _as_observations(
    first: int, others: NDArray, at: NDArray, out: F32
) -> tuple[NDArray, NDArray, NDArray]:
    """uv_px [m, 2], frame [m], and how many belong to each of the patches found often enough."""
    frames = np.append(others, first).astype(np.int64)
    uv = np.concatenate([out.astype(np.float64), at[:, None]], 1)
    order = np.argsort(frames)
    frames, uv = frames[order], uv[:, order]
    seen = np.isfinite(uv[..., 0])
    seen &= (seen.sum(1) > 4)[:, None]
    which, when = np.nonzero(seen)
    length = seen.sum(1)
    return uv[which, when], frames[when], length[length > 0]


@kernel
def _follow(gray, rho, moving, first, others, a, b, xs, ys, out):
    """Where in the other frames the patch around each (x, y) is, out [n, k, 2]; NaN = nowhere."""
    side = 2 * HALF + 1
    patch = np.empty((side, side), np.float32)
    place = np.empty((side, side, 2), np.float32)
    for n in range(len(xs)):
        x, y = xs[n], ys[n]
        power = _cut_out(gray[first], rho[first], moving[first], x, y, patch)
        if power < MIN_POWER:
            continue
        for k in range(len(others)):
            j = others[k]
            if _placed(gray, rho, moving, first, j, a, b, k, x, y, place):
                _shifted(gray[j], patch, power, place, out[n, k])


@kernel
def _cut_out(gray, rho, moving, x, y, patch):
    """The patch less its mean; returns its power, 0 where it is not one still surface."""
    mean, own = np.float32(0), rho[y, x]
    for dy in range(-HALF, HALF + 1):
        for dx in range(-HALF, HALF + 1):
            if moving[y + dy, x + dx] or abs(rho[y + dy, x + dx] - own) > PLANE * own:
                return np.float32(0)
            patch[dy + HALF, dx + HALF] = gray[y + dy, x + dx]
            mean += patch[dy + HALF, dx + HALF]
    mean /= np.float32(patch.size)
    power = np.float32(0)
    for r in range(patch.shape[0]):
        for c in range(patch.shape[1]):
            patch[r, c] -= mean
            power += patch[r, c] * patch[r, c]
    return power


@kernel
def _placed(gray, rho, moving, first, j, a, b, k, x, y, place):
    """Where frame j should show each pixel of the patch, as indices; False if it cannot be seen."""
    _, h, w = gray.shape
    for dy in range(-HALF, HALF + 1):
        for dx in range(-HALF, HALF + 1):
            px, py, own = x + dx + 0.5, y + dy + 0.5, rho[first, y + dy, x + dx]
            u, v, z = project(a, b, k, px, py, own)
            if z < MIN_Z:
                return False
            u -= 0.5
            v -= 0.5
            place[dy + HALF, dx + HALF, 0] = u
            place[dy + HALF, dx + HALF, 1] = v
    u, v = place[HALF, HALF, 0], place[HALF, HALF, 1]
    if u < 2 * HALF or v < 2 * HALF or u > w - 1 - 2 * HALF or v > h - 1 - 2 * HALF:
        return False
    _, _, z = project(a, b, k, x + 0.5, y + 0.5, rho[first, y, x])
    iu, iv = int(u + 0.5), int(v + 0.5)
    return not moving[j, iv, iu] and abs(rho[j, iv, iu] * z / rho[first, y, x] - 1) < 0.1


@kernel
def _shifted(image, patch, power, place, out):
    """Gauss–Newton on the shift of the whole patch; writes where its middle is, if it is found."""
    h, w = image.shape
    side = patch.shape[0]
    seen = np.empty((side, side, 3), np.float32)  # value and its two slopes
    count = np.float32(side * side)
    shift_u = shift_v = like = np.float32(0)
    for _ in range(6):
        mean = mean_x = mean_y = np.float32(0)
        for r in range(side):
            for c in range(side):
                u = min(max(place[r, c, 0] + shift_u, np.float32(0)), np.float32(w - 1.01))
                v = min(max(place[r, c, 1] + shift_v, np.float32(0)), np.float32(h - 1.01))
                iu, iv = int(u), int(v)
                fu, fv = u - np.float32(iu), v - np.float32(iv)
                p, q = np.float32(image[iv, iu]), np.float32(image[iv, iu + 1])
                s, t = np.float32(image[iv + 1, iu]), np.float32(image[iv + 1, iu + 1])
                seen[r, c, 0] = (p * (1 - fu) + q * fu) * (1 - fv) + (s * (1 - fu) + t * fu) * fv
                seen[r, c, 1] = (q - p) * (1 - fv) + (t - s) * fv
                seen[r, c, 2] = (s - p) * (1 - fu) + (t - q) * fu
                mean += seen[r, c, 0]
                mean_x += seen[r, c, 1]
                mean_y += seen[r, c, 2]
        mean, mean_x, mean_y = mean / count, mean_x / count, mean_y / count
        both = own = xx = xy = yy = gx = gy = np.float32(0)
        for r in range(side):
            for c in range(side):  # brightness may differ
                value, ix, iy = seen[r, c, 0] - mean, seen[r, c, 1] - mean_x, seen[r, c, 2] - mean_y
                off = value - patch[r, c]
                both, own = both + value * patch[r, c], own + value * value
                xx, xy, yy = xx + ix * ix, xy + ix * iy, yy + iy * iy
                gx, gy = gx + ix * off, gy + iy * off
        like = both / np.sqrt(power * own + np.float32(1e-6))
        if 0.5 * (xx + yy - np.sqrt((xx - yy) ** 2 + 4 * xy * xy)) < MIN_CORNER:
            return
        det = xx * yy - xy * xy
        du, dv = (xy * gy - yy * gx) / det, (xy * gx - xx * gy) / det
        length = np.sqrt(du * du + dv * dv)
        shift_u += du / max(length, np.float32(1))
        shift_v += dv / max(length, np.float32(1))
        if length < 0.01 or shift_u * shift_u + shift_v * shift_v > 2 * FARTHEST_PX * FARTHEST_PX:
            break
    if like > LIKE and shift_u * shift_u + shift_v * shift_v < FARTHEST_PX * FARTHEST_PX:
        out[0] = place[HALF, HALF, 0] + shift_u + 0.5
        out[1] = place[HALF, HALF, 1] + shift_v + 0.5
