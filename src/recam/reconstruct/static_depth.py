"""Depth of the still part of a scene from a moving camera, and what moves in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from recam.arrays import F32, U8, Mask
from recam.flow.dense import Beside, FlowSet, part_of_flows
from recam.reconstruct.depth.fusion import fuse_views, snap_to_edges
from recam.reconstruct.depth.plane_sweep import sweep
from recam.reconstruct.depth.sky import clear_sky
from recam.reconstruct.depth.tgv import Smoothness, tgv_inpaint
from recam.reconstruct.depth.triangulation import triangulate
from recam.reconstruct.depth_prior.affine_fit import fitted_by_frame
from recam.reconstruct.external.prior_depth import Drift
from recam.reconstruct.motion_segmentation.flow_residual import Residuals, residuals, segment_motion
from recam.reconstruct.temporal_windows import windows
from recam.runtime.cache import scratch_tensor
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

PIXELS_THAT_ERR_TOGETHER = 30.0
LARGEST_WEIGHT = 120.0
PRIOR_WEIGHT = 0.03
UNMEASURED = 0.15
"""Confidence of what was filled in."""
NEAREST_TO_FAR = 60.0
"""Nothing is farther than this many times the depth of what is near."""


Segment = Callable[[Residuals], Mask]


@dataclass(frozen=True)
class StaticGeometry:
    """inverse_depth float32 [t, h, w], also behind what moves; dynamic bool [t, h, w]; confidence
    float32 [t, h, w] in [0, 1]; reference: the inverse depth of what is near, for scale; measured:
    the part of the pixels whose depth several frames agree on."""

    inverse_depth: F32
    dynamic: Mask
    confidence: F32
    reference: float
    measured: float


def static_depth(
    rgb: U8,
    flows: FlowSet,
    cameras: Cameras,
    prior: F32,
    dynamic: Mask | None = None,
    progress: Progress = no_progress,
    drift: Drift = "none",
    prior_weight: float = PRIOR_WEIGHT,
    find_sky: bool = True,
    segment: Segment | None = None,
    beside: Beside | None = None,
) -> StaticGeometry:
    """Triangulate, match, agree over time, complete; and find what does not fit.

    rgb: uint8 [t, h, w, 3]. cameras: t cameras of that size. prior: affine-invariant inverse depth
    [t, h, w], a weak pull of prior_weight where nothing was measured; drift: how its frames differ.
    dynamic: bool [t, h, w] when it is known already. segment: finds what moves in the residuals of
    rough depth; default ``segment_motion``. beside: the frames between, if these are not all.
    """
    evidence = triangulate(flows, cameras, progress)
    moving = dynamic
    if moving is None:
        found = residuals(flows, cameras, progress=progress, beside=beside)
        moving = segment_motion(found, flows, rgb)
    rho, margin, sigma = sweep(flows.gray.numpy(), cameras, evidence, moving, progress)
    measured = ~moving & (margin > 1)
    reference = float(np.quantile(rho[measured], 0.9)) if measured.any() else float(rho.max())
    tolerance = max(0.015 * reference, float(np.median(sigma)))
    trust = np.clip(margin / 5, 0, 1).astype(np.float32)
    solve = Solver(rgb, prior, drift, prior_weight, reference, progress)
    mean, support, through = fuse_views(rho, trust, ~moving, cameras, tolerance, progress)
    weight = _weights(support, through, moving, sigma, reference)
    part = float((weight > 1).mean())
    far = reference / NEAREST_TO_FAR
    sky = np.zeros(rho.shape, bool)
    if find_sky:
        sky = clear_sky(rgb, cameras, mean / reference, np.clip(weight / LARGEST_WEIGHT, 0, 1))
    if dynamic is None:
        moving = moving & ~sky
    else:
        sky &= ~moving
    mean, weight = np.where(sky, far, mean), np.where(sky, LARGEST_WEIGHT, weight)
    first = solve(mean, weight, "filling in")
    if dynamic is None:
        slack = np.maximum(0.05 * reference, 3 * sigma)[:, None, None] + 0.1 * first
        slack = np.where(weight > 1, slack, 10 * reference).astype(np.float32)
        found = residuals(flows, cameras, first, slack, progress, beside)
        moving = (segment_motion(found, flows, rgb) if segment is None else segment(found)) & ~sky
        weight = np.where(moving, 0, weight)
    # What was measured stays the anchor; what was filled in agrees over time as well, weakly.
    belief = np.where(weight > 1, mean, first)
    again, _, _ = fuse_views(
        np.maximum(belief, 0), 0.1 + weight / LARGEST_WEIGHT, ~moving, cameras, tolerance, progress
    )
    final = solve(again, np.where(moving, 0, np.maximum(weight, 2.0)), "smoothing")
    final = np.maximum(final, far)

    def snap(i: int) -> None:
        final[i] = snap_to_edges(final[i], rgb[i], 0.04 * reference)

    parallel_frames(snap, range(len(final)), progress, "sharpening edges")
    settled, _, _ = fuse_views(
        final, 0.2 + weight / LARGEST_WEIGHT, ~moving, cameras, tolerance, progress
    )
    confidence = UNMEASURED + (1 - UNMEASURED) * np.clip(weight / LARGEST_WEIGHT, 0, 1)
    settled = np.where(sky, far, np.maximum(settled, far)).astype(np.float32)
    return StaticGeometry(settled, moving, confidence.astype(np.float32), reference, part)


def static_depth_by_windows(
    rgb: U8,
    flows: FlowSet,
    cameras: Cameras,
    prior: F32,
    dynamic: Mask | None = None,
    progress: Progress = no_progress,
    drift: Drift = "none",
    prior_weight: float = PRIOR_WEIGHT,
    find_sky: bool = True,
    segment_in: Callable[[slice], Segment] | None = None,
    beside: Beside | None = None,
) -> StaticGeometry:
    """``static_depth``; of long clips WINDOW frames at a time, each with OVERLAP more on both sides
    as other views, so that memory grows with the result alone. The cameras are the clip's, so
    windows agree where they meet."""
    num = len(rgb)
    if len(windows(num)) == 1:
        return static_depth(
            rgb, flows, cameras, prior, dynamic, progress, drift, prior_weight, find_sky,
            None if segment_in is None else segment_in(slice(0, num)), beside,
        )  # fmt: skip
    rho = scratch_tensor(prior.shape, torch.float32).numpy()
    confidence = scratch_tensor(prior.shape, torch.float32).numpy()
    moving = np.zeros(prior.shape, bool)
    references, measured = [], 0.0
    for wide, inner, own in windows(num):
        part = static_depth(
            rgb[wide], part_of_flows(flows, wide.start, wide.stop), cameras[wide], prior[wide],
            None if dynamic is None else dynamic[wide], no_progress, drift, prior_weight, find_sky,
            None if segment_in is None else segment_in(wide),
            None if beside is None else replace(beside, numbers=beside.numbers[wide]),
        )  # fmt: skip
        rho[own], moving[own] = part.inverse_depth[inner], part.dynamic[inner]
        confidence[own] = part.confidence[inner]
        references.append(part.reference)
        measured += part.measured * (own.stop - own.start) / num
        progress("depth", own.stop, num)
    return StaticGeometry(rho, moving, confidence, float(np.median(references)), measured)


def _weights(support: F32, through: F32, moving: Mask, sigma: F32, reference: float) -> F32:
    """Data weights for ``tgv_inpaint``: what the frames agree on, how well they could see it."""
    relative = (sigma / reference)[:, None, None] ** 2 + 0.01**2
    informed = 1 / (PIXELS_THAT_ERR_TOGETHER * relative)
    agreed = np.minimum(support / 3, 1) ** 2 * (1 - through)
    weight = np.minimum(informed * agreed * 4, LARGEST_WEIGHT * agreed)
    return np.where(moving, 0, weight).astype(np.float32)


class Solver:
    """``tgv_inpaint`` on all frames, in units of the reference, pulled weakly to the prior."""

    def __init__(
        self,
        rgb: U8,
        prior: F32,
        drift: Drift,
        prior_weight: float,
        reference: float,
        progress: Progress,
    ) -> None:
        self.rgb, self.prior, self.drift, self.prior_weight = rgb, prior, drift, prior_weight
        self.reference, self.progress = reference, progress

    def __call__(self, rho: F32, weight: F32, what: str) -> F32:
        fitted = fitted_by_frame(self.prior, rho / self.reference, weight, self.drift)
        out = np.empty_like(rho)

        def job(i: int) -> None:
            total = weight[i] + self.prior_weight
            value = weight[i] * rho[i] / self.reference + self.prior_weight * fitted[i]
            out[i] = tgv_inpaint(value / total, total, self.rgb[i], Smoothness()) * self.reference

        parallel_frames(job, range(len(rho)), self.progress, what)
        return out
