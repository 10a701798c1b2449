"""What moves in the world: where it is in each frame.

Found by the residual between the flow and what the cameras and the still scene predict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.reconstruct.densify import Smoothness, complete
from recam.reconstruct.depth import (
    FLOW_SIGMA_PER_PX,
    FLOW_SIGMA_PX,
    Array,
    each_frame,
    pair_maps,
)
from recam.reconstruct.flow import FlowSet
from recam.reconstruct.paused import contradicted
from recam.runtime.jit import kernel
from recam.types import Cameras, Progress, no_progress

Mask = NDArray[np.bool_]

STILL_MISFIT, MOVING_MISFIT = 1.5, 4.0
"""Residuals, in units of their noise, up to which a pixel surely stands still, from which on it
surely moves."""
MISFIT_CAP = 8.0
ANY_DEPTH = 1e6
PLAIN = (0.7, 3.0)
"""Contrast (see Residuals) up to which a surface is plain, from which on it is not."""
MIN_AREA = 0.0006
"""Smaller moving things, as a part of the picture, are taken for noise."""
BAND_PX = 6
GHOST = (15.0, 40.0)
"""Likewise for ghosts, in grey levels."""
SNAP = Smoothness(jump=1.0, bend=20.0)


@dataclass(frozen=True)
class Residuals:
    """How the flows of each pixel contradict a world that stands still; all float32 [t, h, w].

    misfit: RMS residual in units of its noise, about 1 where nothing moves.
    sure: the flows' confidences summed.
    contrast: grey levels (of 255) by which the pixel looks more like what the flow points at than
        like what a still world would show there; the lower of before and after, since what is
        about to be covered does so on one side only. Near 0 on plain surfaces, where flow is a
        guess.
    ghost: grey levels by which the pixel differs from what a still world would show there both in
        the frame before and in the one after: it moved too fast to be followed. 0 in the first and
        last frame, and where depth would have to be known for this but is not.
    """

    misfit: Array
    sure: Array
    contrast: Array
    ghost: Array


def residuals(
    flows: FlowSet,
    cameras: Cameras,
    rho: Array | None = None,
    rho_sigma: Array | None = None,
    progress: Progress = no_progress,
) -> Residuals:
    """Compare all flows with what the cameras and the inverse depth rho [t, h, w] predict.

    The residual along the epipolar line is forgiven as far as ``rho_sigma`` [t, h, w] (in units of
    ρ) explains it; without rho a pixel may be at any depth, so that only motion across the lines
    shows. Without translation there are no lines and the whole residual counts.
    """
    shape = (len(flows), flows.height, flows.width)
    out = Residuals(*(np.zeros(shape, np.float32) for _ in range(4)))
    gray = flows.gray.numpy()
    stays = bool((cameras.centers - cameras.centers[:1]).abs().max() < 1e-9)

    def job(i: int) -> None:
        """Fill in what the flows of frame i say."""
        others = [j for j in range(len(flows)) if flows.has(i, j)]
        a, b = pair_maps(cameras, i, others)
        at = np.zeros(shape[1:], np.float32) if rho is None else rho[i]
        slack = np.full(shape[1:], ANY_DEPTH, np.float32) if rho_sigma is None else rho_sigma[i]
        sums = np.zeros((2, 2, *shape[1:]), np.float32)  # (before, after) × (contrast, weight)
        for k, j in enumerate(others):
            flow, confidence = (x.numpy() for x in flows.get(i, j))
            _add_residual(
                flow, confidence, a[k], b[k], at, slack, gray[i], gray[j], out.misfit[i],
                out.sure[i], sums[int(j > i)],
            )  # fmt: skip
        np.sqrt(out.misfit[i] / np.maximum(out.sure[i], 1e-6), out=out.misfit[i])
        mean = sums[:, 0] / np.maximum(sums[:, 1], 1e-6)
        both = (sums[:, 1] > 0.3).all(0)
        out.contrast[i] = np.where(both, mean.min(0), mean.max(0))
        if 0 < i < len(flows) - 1 and (stays or rho is not None):
            _differs_twice(
                gray[i], gray[i - 1 : i + 2 : 2], *pair_maps(cameras, i, [i - 1, i + 1]), at,
                out.ghost[i],
            )  # fmt: skip

    each_frame(job, range(len(flows)), progress, "looking for motion")
    return out


@kernel
def _add_residual(flow, confidence, a, b, rho, sigma, here, there, misfit, sure, contrast):
    """Adds one flow's capped squared residual and its contrast, times its confidence."""
    h, w, _ = flow.shape
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
            variance = FLOW_SIGMA_PX**2 + FLOW_SIGMA_PER_PX**2 * (fx * fx + fy * fy)
            jx, jy = (b[0] - vx * b[2]) / z, (b[1] - vy * b[2]) / z
            length = math.sqrt(jx * jx + jy * jy)
            e2 = (ex * ex + ey * ey) / variance
            if length > 1e-8:
                along = (ex * jx + ey * jy) / length
                reach = length * sigma[y, x]
                e2 += along * along * (1 / (variance + reach * reach) - 1 / variance)
                shift = min(max(along, -2 * reach), 2 * reach) / length
                vx += shift * jx
                vy += shift * jy
            misfit[y, x] += c * min(e2, MISFIT_CAP * MISFIT_CAP)
            sure[y, x] += c
            own = float(here[y, x])
            still = abs(_bilinear(there, vx - 0.5, vy - 0.5) - own)
            moved = abs(_bilinear(there, px + fx - 0.5, py + fy - 0.5) - own)
            contrast[0, y, x] += c * min(max(still - moved, 0.0), 40.0)
            contrast[1, y, x] += c


@kernel
def _differs_twice(here, others, a, b, rho, ghost):
    """The lesser of two frames' least difference within a pixel of where still things would be."""
    h, w = here.shape
    for y in range(h):
        for x in range(w):
            least = 255.0
            for k in range(2):
                px, py, r = x + 0.5, y + 0.5, rho[y, x]
                z = a[k, 2, 0] * px + a[k, 2, 1] * py + a[k, 2, 2] + r * b[k, 2]
                u = (a[k, 0, 0] * px + a[k, 0, 1] * py + a[k, 0, 2] + r * b[k, 0]) / z
                v = (a[k, 1, 0] * px + a[k, 1, 1] * py + a[k, 1, 2] + r * b[k, 1]) / z
                if z < 0.05 or u < 1 or v < 1 or u > w - 1 or v > h - 1:
                    least = 0.0
                    continue
                iu, iv, best = int(u), int(v), 255.0
                for row in range(max(iv - 1, 0), min(iv + 2, h)):
                    for column in range(max(iu - 1, 0), min(iu + 2, w)):
                        off = abs(float(others[k, row, column]) - float(here[y, x]))
                        best = min(best, off)
                least = min(least, best)
            ghost[y, x] = least


@kernel
def _bilinear(image, x, y):
    h, w = image.shape
    x, y = min(max(x, 0.0), w - 1.001), min(max(y, 0.0), h - 1.001)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    top = image[y0, x0] * (1 - fx) + image[y0, x0 + 1] * fx
    return top * (1 - fy) + (image[y0 + 1, x0] * (1 - fx) + image[y0 + 1, x0 + 1] * fx) * fy


def find_dynamic(
    found: Residuals,
    flows: FlowSet,
    rgb: NDArray[np.uint8],
    progress: Progress = no_progress,
) -> Mask:
    """Where things move, bool [t, h, w].

    rgb: uint8 [t, h, w, 3]. The evidence is shared along the flow with the frames next to it (a
    thing that pauses is still a thing), smoothed up to image edges, and kept where a region has a
    sure core and is not tiny. Where a surface is plain, flow that seems to move is not believed:
    such pixels go with what is around them.
    """
    sure = np.minimum(found.sure, 1)
    misfit = found.misfit / _usual_misfit(found, flows)
    evidence = (misfit - STILL_MISFIT) / (MOVING_MISFIT - STILL_MISFIT)
    np.clip(evidence, 0, 1, out=evidence)
    seen = np.clip((found.contrast - PLAIN[0]) / (PLAIN[1] - PLAIN[0]), 0, 1)
    belief = sure * (1 - evidence * (1 - seen))
    # What the flow lost sight of altogether, but is not there in the frames around it either.
    lost = (1 - sure) * np.clip((found.ghost - GHOST[0]) / (GHOST[1] - GHOST[0]), 0, 1)
    evidence = np.where(lost > belief, lost, evidence)
    belief = np.maximum(belief, lost)
    seen = np.maximum(seen, lost)
    shared, trust = share_over_time(evidence, belief, flows)
    out = np.zeros(found.misfit.shape, bool)

    def job(i: int) -> None:
        """Regions of frame i, with their outline."""
        smooth = complete(shared[i], 0.08 * trust[i] + 1e-4, rgb[i], SNAP)
        out[i] = outline(regions(smooth), rgb[i], evidence[i] * seen[i] > 0.6)

    each_frame(job, range(len(out)), progress, "outlining what moves")
    return out


def with_paused(
    dynamic: Mask,
    flows: FlowSet,
    rho: Array,
    cameras: Cameras,
    rgb: NDArray[np.uint8],
    progress: Progress = no_progress,
) -> Mask:
    """``dynamic`` and what stands still in some frames only (see :mod:`paused`)."""
    paused = contradicted(flows.gray.numpy(), dynamic, rho, cameras, progress)
    out = dynamic.copy()

    def job(i: int) -> None:
        """Add what paused in frame i."""
        new = without_specks(paused[i])
        if new.any():
            out[i] |= outline(new, rgb[i], paused[i])

    each_frame(job, range(len(out)), no_progress, "")
    return out


def _usual_misfit(found: Residuals, flows: FlowSet) -> float:
    """The unit in which misfits are judged: the median where there is texture to follow."""
    gray = flows.gray.numpy()[::4].astype(np.float32)
    texture = np.abs(np.diff(gray, axis=1, append=0)) + np.abs(np.diff(gray, axis=2, append=0))
    good = (found.sure[::4] > 0.5) & (texture > 4)
    return max(float(np.median(found.misfit[::4][good])), 0.7) if good.sum() > 100 else 1.0


def share_over_time(evidence: Array, belief: Array, flows: FlowSet) -> tuple[Array, Array]:
    """Evidence averaged with that of the nearest frames along the flow, weighted by belief; and
    the mean belief."""
    out, trust = np.empty_like(evidence), np.empty_like(evidence)
    grid = _pixel_grid(flows.height, flows.width)

    def job(i: int) -> None:
        """The weighted means of frame i."""
        total, weight, num = evidence[i] * belief[i], belief[i].copy(), np.ones_like(belief[i])
        for k in flows.offsets[:3]:
            for j in (i - k, i + k):
                if not flows.has(i, j):
                    continue
                flow, confidence = (x.numpy() for x in flows.get(i, j))
                there = 0.5 * confidence * _at(belief[j], grid + flow, cv2.INTER_LINEAR)
                total += there * _at(evidence[j], grid + flow, cv2.INTER_LINEAR)
                weight += there
                num += 0.5 * confidence
        # What surely moves just now counts, however still it stood before.
        now = np.where(evidence[i] > 0.5, 0.8 * evidence[i] * belief[i], 0)
        out[i] = np.maximum(total / np.maximum(weight, 1e-6), now)
        trust[i] = np.maximum(weight / num, now)

    each_frame(job, range(len(evidence)), no_progress, "")
    return out, trust


def _at(field: Array, at: Array, interpolation: int) -> Array:
    """The field at pixel indices (x, y) [h, w, 2]; 0 outside."""
    return np.asarray(cv2.remap(field, at[..., 0], at[..., 1], interpolation), np.float32)


def _pixel_grid(height: int, width: int) -> Array:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], -1)


def regions(smooth: Array) -> Mask:
    """Connected regions above 0.4 that reach 0.75 somewhere, without specks and pinholes."""
    h, w = smooth.shape
    candidate = cv2.morphologyEx(
        (smooth > 0.4).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    num, labels, stats, _ = cv2.connectedComponentsWithStats(candidate, connectivity=4)
    strong = np.bincount(labels[smooth > 0.75], minlength=num)
    keep = (stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * h * w) & (strong >= 0.2 * MIN_AREA * h * w)
    keep[0] = False
    return without_specks(keep[labels])


def outline(found: Mask, rgb: NDArray[np.uint8], certain: Mask | None = None) -> Mask:
    """Move the borders of regions [h, w] to where the colours change.

    GrabCut (Rother et al. 2004) on each region's surroundings. Its border may move outwards by
    BAND_PX; inwards by as much, or, where ``certain`` [h, w] is given, up to what is certain.
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
        if certain is not None:
            sure = (certain[box] & (inner > 0)).astype(np.uint8)
            inner = sure if sure.sum() >= 0.1 * inner.sum() else inner
        if inner.sum() < 10 or (outer == 0).sum() < 30:
            continue
        state = np.where(region > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        state[inner > 0] = cv2.GC_FGD
        state[outer == 0] = cv2.GC_BGD
        cv2.setRNGSeed(0)  # its colour models start from k-means
        behind, front = np.zeros((1, 65)), np.zeros((1, 65))
        picture = np.ascontiguousarray(rgb[box])
        cv2.grabCut(picture, state, (0, 0, 1, 1), behind, front, 2, cv2.GC_INIT_WITH_MASK)
        inside = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
        others = found[box] & (region == 0)
        out[box] = np.where(outer > 0, inside | others, out[box])
    return without_specks(out)


def without_specks(found: Mask) -> Mask:
    """Neither regions nor holes below MIN_AREA."""
    for value in (True, False):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            (found == value).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] < MIN_AREA * found.size
        small[0] = False
        found = np.where(small[labels], not value, found)
    return found


def average_along_flow(rho: Array, dynamic: Mask, flows: FlowSet) -> Array:
    """``rho`` [t, h, w], averaged where ``dynamic`` over what the flow says is the same thing."""
    grid = _pixel_grid(flows.height, flows.width)
    out = rho.copy()

    def job(i: int) -> None:
        """Average frame i with the frames around it."""
        if not dynamic[i].any():
            return
        total, weight = rho[i].copy(), np.ones_like(rho[i])
        for k in flows.offsets:
            for j in (i - k, i + k):
                if not flows.has(i, j):
                    continue
                flow, confidence = (x.numpy() for x in flows.get(i, j))
                at = grid + flow
                moves = _at(dynamic[j].astype(np.float32), at, cv2.INTER_NEAREST)
                there = _at(rho[j], at, cv2.INTER_NEAREST)
                w = confidence * moves * math.exp(-k / 8)
                total += w * there
                weight += w
        out[i] = np.where(dynamic[i], total / weight, rho[i])

    each_frame(job, range(len(rho)), no_progress, "")
    return out
