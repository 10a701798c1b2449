"""What moves in the world: where it is in each frame.

Found by the residual between the flow and what the cameras and the still scene predict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recam.arrays import F32, U8, Mask
from recam.flow.dense import Beside, FlowSet
from recam.reconstruct.depth.tgv import tgv_inpaint
from recam.reconstruct.depth.triangulation import FLOW_SIGMA_PER_PX
from recam.reconstruct.motion_segmentation.regions import (
    SNAP,
    refine_mask_grabcut,
    regions,
    share_over_time,
    without_specks,
)
from recam.reconstruct.motion_segmentation.static_contradiction import contradicted
from recam.reconstruct.warping import MIN_Z, inverse_depth_warps, project
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

STILL_MISFIT, MOVING_MISFIT = 1.5, 4.0
"""Residuals, in units of their noise, up to which a pixel surely stands still, from which on it
surely moves."""
MISFIT_CAP = 8.0
ANY_DEPTH = 1e6
PLAIN = (0.7, 3.0)
"""Contrast (see Residuals) up to which a surface is plain, from which on it is not."""
GHOST = (15.0, 40.0)
"""Likewise for ghosts, in grey levels."""


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

    misfit: F32
    certainty: F32
    contrast: F32
    ghost: F32


def residuals(
    flows: FlowSet,
    cameras: Cameras,
    rho: F32 | None = None,
    rho_sigma: F32 | None = None,
    progress: Progress = no_progress,
    beside: Beside | None = None,
) -> Residuals:
    """Compare all flows with what the cameras and the inverse depth rho [t, h, w] predict.

    The residual along the epipolar line is forgiven as far as ``rho_sigma`` [t, h, w] (in units of
    ρ) explains it; without rho a pixel may be at any depth, so that only motion across the lines
    shows. Without translation there are no lines and the whole residual counts. ``beside``: frames
    between these, whose flow is asked as well.
    """
    shape = (len(flows), flows.height, flows.width)
    out = Residuals(*(np.zeros(shape, np.float32) for _ in range(4)))
    gray = flows.gray.numpy()
    stays = bool((cameras.centers - cameras.centers[:1]).abs().max() < 1e-9)

    def job(i: int) -> None:
        """Fill in what the flows of frame i say."""
        others = [(flows, cameras, i, j) for j in range(len(flows)) if flows.has(i, j)]
        if beside is not None:
            others += [(beside.flows, beside.cameras, n, j) for n, j in beside.of(i)]
        at = np.zeros(shape[1:], np.float32) if rho is None else rho[i]
        slack = np.full(shape[1:], ANY_DEPTH, np.float32) if rho_sigma is None else rho_sigma[i]
        sums = np.zeros((2, 2, *shape[1:]), np.float32)  # (before, after) × (contrast, weight)
        for those, views, n, j in others:
            flow, confidence = (x.numpy() for x in those.get(n, j))
            _add_residual(
                flow, confidence, np.float32(flows.sigma_px), *inverse_depth_warps(views, n, [j]),
                at, slack, gray[i], those.gray[j].numpy(), out.misfit[i], out.certainty[i],
                sums[int(j > n)],
            )  # fmt: skip
        np.sqrt(out.misfit[i] / np.maximum(out.certainty[i], 1e-6), out=out.misfit[i])
        mean = sums[:, 0] / np.maximum(sums[:, 1], 1e-6)
        both = (sums[:, 1] > 0.3).all(0)
        out.contrast[i] = np.where(both, mean.min(0), mean.max(0))
        if 0 < i < len(flows) - 1 and (stays or rho is not None):
            _differs_twice(
                gray[i], gray[i - 1 : i + 2 : 2],
                *inverse_depth_warps(cameras, i, [i - 1, i + 1]), at, out.ghost[i],
            )  # fmt: skip

    parallel_frames(job, range(len(flows)), progress, "looking for motion")
    return out


@kernel
def _add_residual(
    flow, confidence, sigma_px, a, b, rho, sigma, here, there, misfit, certainty, contrast
):
    """Adds one flow's capped squared residual and its contrast, times its confidence."""
    h, w, _ = flow.shape
    for y in range(h):
        for x in range(w):
            c = confidence[y, x]
            if c < 0.02:
                continue
            px, py, r = x + 0.5, y + 0.5, rho[y, x]
            vx, vy, z = project(a, b, 0, px, py, r)
            if z < MIN_Z:
                continue
            fx, fy = flow[y, x, 0], flow[y, x, 1]
            ex, ey = px + fx - vx, py + fy - vy
            variance = sigma_px**2 + FLOW_SIGMA_PER_PX**2 * (fx * fx + fy * fy)
            jx, jy = (b[0, 0] - vx * b[0, 2]) / z, (b[0, 1] - vy * b[0, 2]) / z
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
            certainty[y, x] += c
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
                u, v, z = project(a, b, k, px, py, r)
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


def segment_motion(
    found: Residuals,
    flows: FlowSet,
    rgb: U8,
    progress: Progress = no_progress,
) -> Mask:
    """Where things move, bool [t, h, w].

    rgb: uint8 [t, h, w, 3]. The evidence is shared along the flow with the frames next to it (a
    thing that pauses is still a thing), smoothed up to image edges, and kept where a region has a
    sure core and is not tiny. Where a surface is plain, flow that seems to move is not believed:
    such pixels go with what is around them.
    """
    certainty = np.minimum(found.certainty, 1)
    misfit = found.misfit / _usual_misfit(found, flows)
    evidence = (misfit - STILL_MISFIT) / (MOVING_MISFIT - STILL_MISFIT)
    np.clip(evidence, 0, 1, out=evidence)
    seen = np.clip((found.contrast - PLAIN[0]) / (PLAIN[1] - PLAIN[0]), 0, 1)
    belief = certainty * (1 - evidence * (1 - seen))
    # What the flow lost sight of altogether, but is not there in the frames around it either.
    lost = (1 - certainty) * np.clip((found.ghost - GHOST[0]) / (GHOST[1] - GHOST[0]), 0, 1)
    evidence = np.where(lost > belief, lost, evidence)
    belief = np.maximum(belief, lost)
    seen = np.maximum(seen, lost)
    shared, trust = share_over_time(evidence, belief, flows)
    out = np.zeros(found.misfit.shape, bool)

    def job(i: int) -> None:
        """Regions of frame i, with their outline."""
        smooth = tgv_inpaint(shared[i], 0.08 * trust[i] + 1e-4, rgb[i], SNAP, flows.level)
        out[i] = refine_mask_grabcut(regions(smooth), rgb[i], evidence[i] * seen[i] > 0.6)

    parallel_frames(job, range(len(out)), progress, "outlining what moves")
    return out


def with_paused(
    dynamic: Mask,
    flows: FlowSet,
    rho: F32,
    cameras: Cameras,
    rgb: U8,
    progress: Progress = no_progress,
) -> Mask:
    """``dynamic`` and what stands still in some frames only (see :mod:`paused`)."""
    paused = contradicted(flows.gray.numpy(), dynamic, rho, cameras, progress)
    out = dynamic.copy()

    def job(i: int) -> None:
        """Add what paused in frame i."""
        new = without_specks(paused[i])
        if new.any():
            out[i] |= refine_mask_grabcut(new, rgb[i], paused[i])

    parallel_frames(job, range(len(out)), no_progress, "")
    return out


def _usual_misfit(found: Residuals, flows: FlowSet) -> float:
    """The unit in which misfits are judged: the median where there is texture to follow."""
    gray = flows.gray.numpy()[::4].astype(np.float32)
    texture = np.abs(np.diff(gray, axis=1, append=0)) + np.abs(np.diff(gray, axis=2, append=0))
    good = (found.certainty[::4] > 0.5) & (texture > 4)
    return max(float(np.median(found.misfit[::4][good])), 0.7) if good.sum() > 100 else 1.0
