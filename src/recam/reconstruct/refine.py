"""A second round over the whole clip, once depth, cameras and what moves are roughly known.

Flow between neighbours is where everything begins, and it errs by tenths of a pixel, rounds off,
and cannot tell what moves along its epipolar lines. With rough geometry frames far apart can be
compared: other frames are asked what moves (``witnesses``), patches are carried far to fit the
cameras (``polish``), and depth is matched again where an error shows most (``rematch``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recam.cache import scratch_tensor
from recam.reconstruct.densify import fuse, sharpen
from recam.reconstruct.depth import Array, each_frame
from recam.reconstruct.dynamic import Mask
from recam.reconstruct.flow import FlowSet, part_of_flows
from recam.reconstruct.outside.prior_depth import Drift
from recam.reconstruct.polish import polish
from recam.reconstruct.rematch import rematch
from recam.reconstruct.still import (
    NEAREST_TO_FAR,
    PRIOR_WEIGHT,
    UNMEASURED,
    Solver,
    StillDepth,
    windows,
)
from recam.reconstruct.witnesses import ask_witnesses, moving_by_witnesses
from recam.types import Cameras, Progress, no_progress

STEPS = (0.012, 0.006)
"""Relative changes of inverse depth that are tried, pass by pass (``rematch``)."""
SHARP = 0.3
"""Sharpness of a match that is trusted in full."""
LEAST_TRUST = 0.05
FILLED_WEIGHT, FOUND_WEIGHT, MATCHED_WEIGHT = 2.0, 60.0, 300.0
"""Data weights for ``complete`` of what was filled in, measured before, and matched again."""
ALIKE = 0.015
"""Difference of inverse depth, of that of what is near, within which frames agree."""


@dataclass(frozen=True)
class Refinement:
    """What ``refine`` has to know. masks_given: what moves is not to be judged. cameras_free,
    fov_free: they may change; fov_known: the motion tells the focal length. minutes: after which
    no further step is begun; None = no limit."""

    masks_given: bool = False
    cameras_free: bool = True
    fov_free: bool = True
    fov_known: bool = True
    minutes: float | None = None


@dataclass(frozen=True)
class Refined:
    """cameras and depth, refined; residual_px: of the patches that cameras were fitted to, before
    and after, None where they were not; finished: False when the time was up before the end."""

    cameras: Cameras
    still: StillDepth
    residual_px: tuple[float, float] | None
    finished: bool


def refine(
    rgb: NDArray[np.uint8],
    flows: FlowSet,
    cameras: Cameras,
    still: StillDepth,
    prior: Array,
    how: Refinement = Refinement(),
    drift: Drift = "none",
    prior_weight: float = PRIOR_WEIGHT,
    progress: Progress = no_progress,
) -> Refined:
    """What moves, cameras, and depth once more, in this order. Arguments as ``still_depth``'s; of
    long clips masks and depth are worked out window by window, with frames around as witnesses."""
    begun = time.monotonic()

    def time_left() -> bool:
        return how.minutes is None or time.monotonic() - begun < 60 * how.minutes

    residual_px = None
    if not how.masks_given and time_left():
        still = replace(still, dynamic=_asked(rgb, flows, cameras, still, progress))
    if how.cameras_free and time_left():
        better = polish(
            flows.gray.numpy(), cameras, still.inverse_depth, still.dynamic,
            how.fov_free, how.fov_known, progress,
        )  # fmt: skip
        if better is not None:
            cameras, residual_px = better.cameras, better.residual_px
            still = replace(still, inverse_depth=better.inverse_depth)
    done = 0
    for step in STEPS:
        if time_left():
            last = step == STEPS[-1]
            still = _matched(
                rgb, flows, cameras, still, prior, step, last, drift, prior_weight, progress
            )
            done += 1
    return Refined(cameras, still, residual_px, done == len(STEPS))


def _asked(
    rgb: NDArray[np.uint8],
    flows: FlowSet,
    cameras: Cameras,
    still: StillDepth,
    progress: Progress,
) -> Mask:
    out = still.dynamic.copy()
    for wide, inner, own in windows(len(rgb)):
        dynamic = still.dynamic[wide]
        said = ask_witnesses(
            rgb[wide], dynamic, still.inverse_depth[wide], still.confidence[wide], cameras[wide],
            progress,
        )  # fmt: skip
        part = part_of_flows(flows, wide.start, wide.stop)
        out[own] = moving_by_witnesses(said, dynamic, part, rgb[wide], progress)[inner]
    return out


def _matched(
    rgb: NDArray[np.uint8],
    flows: FlowSet,
    cameras: Cameras,
    still: StillDepth,
    prior: Array,
    step: float,
    last: bool,
    drift: Drift,
    prior_weight: float,
    progress: Progress,
) -> StillDepth:
    """One pass: match, agree over time, complete; and sharpen edges in the last one."""
    rho, confidence = (scratch_tensor(prior.shape, torch.float32).numpy() for _ in range(2))
    for wide, inner, own in windows(len(rgb)):
        part = replace(
            still, inverse_depth=still.inverse_depth[wide], dynamic=still.dynamic[wide],
            confidence=still.confidence[wide],
        )  # fmt: skip
        solve = Solver(rgb[wide], prior[wide], drift, prior_weight, still.reference, progress)
        new, sure = _matched_window(
            flows.gray.numpy()[wide], rgb[wide], cameras[wide], part, solve, step, last, progress
        )
        rho[own], confidence[own] = new[inner], sure[inner]
    return replace(still, inverse_depth=rho, confidence=confidence)


def _matched_window(
    gray: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
    cameras: Cameras,
    still: StillDepth,
    solve: Solver,
    step: float,
    last: bool,
    progress: Progress,
) -> tuple[Array, Array]:
    rho, stands, reference = still.inverse_depth, ~still.dynamic, still.reference
    factor, sharpness = rematch(gray, cameras, rho, still.dynamic, step, progress)
    trust = LEAST_TRUST + np.clip(sharpness / SHARP, 0, 1)
    mean, total, through = fuse(
        rho * factor, trust.astype(np.float32), stands, cameras, ALIKE * reference, progress
    )
    agreed = np.minimum(total / 3, 1) ** 2 * (1 - through)
    before = np.clip((still.confidence - UNMEASURED) / (1 - UNMEASURED), 0, 1)
    weight = FILLED_WEIGHT + FOUND_WEIGHT * before + MATCHED_WEIGHT * agreed
    new = solve(mean, np.where(stands, weight, 0).astype(np.float32), "smoothing")
    far = np.float32(reference / NEAREST_TO_FAR)
    new = np.maximum(new, far)
    if last:
        each_frame(
            lambda i: np.copyto(new[i], sharpen(new[i], rgb[i], 0.04 * reference)),
            range(len(new)), progress, "sharpening edges",
        )  # fmt: skip
        again = np.float32(0.2) + agreed.astype(np.float32)
        new = np.maximum(fuse(new, again, stands, cameras, ALIKE * reference, progress)[0], far)
    sure = np.maximum(still.confidence, UNMEASURED + (1 - UNMEASURED) * agreed)
    return new, sure.astype(np.float32)
