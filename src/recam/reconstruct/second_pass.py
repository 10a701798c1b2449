"""A second round over the whole clip, once depth, cameras and what moves are roughly known.

Flow between neighbours is where everything begins, and it errs by tenths of a pixel, rounds off,
and cannot tell what moves along its epipolar lines. With rough geometry frames far apart can be
compared: other frames are asked what moves (``view_consistency``), patches are carried far to fit
the cameras (``refine_photometrically``), and depth is matched again where an error shows most
(``local_plane_sweep``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from recam.arrays import F32, U8
from recam.configs import ALL_RULES, ReconstructRules
from recam.flow.dense import Beside, FlowSet, part_of_flows
from recam.reconstruct.between import carried_between, taken
from recam.reconstruct.cameras.photometric_refinement import refine_photometrically
from recam.reconstruct.checkpoint import (
    NO_CHECKPOINT,
    Arrays,
    Checkpoint,
    as_text,
    camera_arrays,
    cameras_from,
    from_text,
    still_arrays,
    still_from,
)
from recam.reconstruct.coarse import halved_flows, resized_frames, resized_mask
from recam.reconstruct.depth.fusion import fuse_views, snap_to_edges
from recam.reconstruct.depth.local_plane_sweep import local_plane_sweep
from recam.reconstruct.depth.sky import clear_sky
from recam.reconstruct.external.prior_depth import Drift
from recam.reconstruct.motion_segmentation.shadow_rejection import without_shadows
from recam.reconstruct.motion_segmentation.view_consistency import (
    collect_votes,
    segment_by_votes,
)
from recam.reconstruct.static_depth import (
    NEAREST_TO_FAR,
    PRIOR_WEIGHT,
    UNMEASURED,
    Solver,
    StaticGeometry,
    static_depth_by_windows,
)
from recam.reconstruct.temporal_windows import windows
from recam.runtime.cache import scratch_tensor
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

MAX_REFINED_FRAMES, SETTLED = 6, 0.005
"""How often cameras are fitted to patches at most, and the relative change of the focal length from
which on they are again."""
MIN_GAIN = 0.02
"""By how much (relative) the patches' residual must fall every further time."""
ANOTHER_LENS = 0.03
"""Relative change of the focal length from which on depth is measured anew."""
STEPS = (0.012, 0.006)
"""Relative changes of inverse depth that are tried, pass by pass (``local_plane_sweep``)."""
SHARP = 0.3
"""Sharpness of a match that is trusted in full."""
MIN_TRUST = 0.05
FILLED_WEIGHT, FOUND_WEIGHT, MATCHED_WEIGHT = 2.0, 60.0, 300.0
"""Data weights for ``complete`` of what was filled in, measured before, and matched again."""
EDGE_STEP = 0.04
"""Step of inverse depth, of that of what is near, from which on there is an edge to be sharp."""
ALIKE = 0.015
"""Difference of inverse depth, of that of what is near, within which frames agree."""


@dataclass(frozen=True)
class SecondPassOptions:
    """What ``second_pass`` has to know. masks_given: what moves is not to be judged.
    cameras_free: they may change; usual_focal: a likely focal length, px; None: it may not change;
    fov_known: the motion tells it. minutes: after which no further step is begun; None = no limit.
    """

    masks_given: bool = False
    cameras_free: bool = True
    usual_focal: float | None = None
    fov_known: bool = True
    minutes: float | None = None
    rules: ReconstructRules = ALL_RULES


@dataclass(frozen=True)
class Refined:
    """cameras and depth, refined; residual_px: of the patches that cameras were fitted to, before
    and after, None where they were not; finished: False when the time was up before the end."""

    cameras: Cameras
    still: StaticGeometry
    residual_px: tuple[float, float] | None
    finished: bool


def second_pass(
    rgb: U8,
    flows: FlowSet,
    cameras: Cameras,
    still: StaticGeometry,
    prior: F32,
    options: SecondPassOptions = SecondPassOptions(),
    drift: Drift = "none",
    prior_weight: float = PRIOR_WEIGHT,
    progress: Progress = no_progress,
    kept: Checkpoint = NO_CHECKPOINT,
    beside: Beside | None = None,
) -> Refined:
    """What moves (now that frames far apart can be compared), cameras, and depth.

    Arguments as ``static_depth``'s, but ``still`` may be smaller (see
    :mod:`~recam.reconstruct.coarse`): depth is matched first at its size. Of long clips masks and
    depth are worked out window by window, with frames around as other views. Steps that are done
    are ``kept``. beside: the frames between, if these are not all; cameras, also those returned,
    are then those of all frames.
    """
    begun = time.monotonic()
    rules = options.rules
    clip = _Clip(rgb, flows, prior, drift, prior_weight, progress, kept, rules, beside)
    size = still.inverse_depth.shape[1], still.inverse_depth.shape[2]
    coarse = replace(
        clip, rgb=resized_frames(rgb, *size), flows=halved_flows(flows, *size),
        prior=resized_frames(prior, *size),
    )  # fmt: skip

    def pass_of(step: float) -> Callable[[_State], _State]:
        last = step == STEPS[-1]
        return lambda state: _matched(clip if last else coarse, state, step, last)

    steps: list[tuple[str, Callable[[_State], _State]]] = []
    if rules.view_consistency and not options.masks_given:
        steps.append(("voted", lambda state: _voted(clip, state)))
    if options.cameras_free and rules.photometric_refinement:
        steps.append(("refined", lambda state: _refined(clip, coarse, state, options)))
    for number, step in enumerate(STEPS):
        if rules.local_plane_sweep:
            steps.append((f"matched-{number}", pass_of(step)))
    state, before = _State(cameras.resized(*size), still, None), "depth"
    for number, (name, work) in enumerate(steps):
        if any(kept.has(later) for later, _ in steps[number + 1 :]):
            continue
        if options.minutes is not None and time.monotonic() - begun >= 60 * options.minutes:
            return _enlarged(clip, state, False)
        if kept.folder is None:
            state = work(state)
            continue
        state = _state_from(kept.arrays(name, partial(_state_arrays_of, work, state)))
        # ``before`` is kept until ``name`` is whole; what windows left goes with it.
        kept.forget(*(f"{name}-{own.start}" for _, _, own in windows(len(rgb))))
        kept.forget(*([before] if before != "depth" else []))
        before = name
    return _enlarged(clip, state, True)


@dataclass(frozen=True)
class _Clip:
    """What does not change in the second round."""

    rgb: U8
    flows: FlowSet
    prior: F32
    drift: Drift
    prior_weight: float
    progress: Progress
    kept: Checkpoint
    rules: ReconstructRules
    beside: Beside | None

    def own(self, cameras: Cameras) -> Cameras:
        """Of all cameras, those of the pictures."""
        return cameras if self.beside is None else cameras[torch.from_numpy(self.beside.numbers)]


@dataclass(frozen=True)
class _State:
    cameras: Cameras
    still: StaticGeometry
    residual_px: tuple[float, float] | None


def _at_size_of(clip: _Clip, state: _State) -> _State:
    """The state as large as the clip's pictures."""
    height, width = clip.flows.height, clip.flows.width
    if (state.cameras.height, state.cameras.width) == (height, width):
        return state
    still = replace(
        state.still, inverse_depth=resized_frames(state.still.inverse_depth, height, width),
        dynamic=resized_mask(state.still.dynamic, height, width),
        confidence=resized_frames(state.still.confidence, height, width),
    )  # fmt: skip
    return replace(state, cameras=state.cameras.resized(height, width), still=still)


def _enlarged(clip: _Clip, state: _State, finished: bool) -> Refined:
    """The result; its edges are sharpened where the last pass, which does so, was left out."""
    new = _at_size_of(clip, state)
    if new is not state:
        _sharpen(new.still.inverse_depth, clip.rgb, new.still.reference, clip.progress)
    return Refined(new.cameras, new.still, new.residual_px, finished)


def _sharpen(rho: F32, rgb: U8, reference: float, progress: Progress) -> None:
    """``snap_to_edges`` on all frames, in place."""
    parallel_frames(
        lambda i: np.copyto(rho[i], snap_to_edges(rho[i], rgb[i], EDGE_STEP * reference)),
        range(len(rho)), progress, "sharpening edges",
    )  # fmt: skip


def _state_arrays_of(work: Callable[[_State], _State], before: _State) -> Arrays:
    state = work(before)
    about = as_text(state.residual_px)
    return {**camera_arrays(state.cameras), **still_arrays(state.still), "about": about}


def _state_from(arrays: Arrays) -> _State:
    residual_px = from_text(arrays["about"])
    pair = None if residual_px is None else (residual_px[0], residual_px[1])
    return _State(cameras_from(arrays), still_from(arrays), pair)


def _voted(clip: _Clip, state: _State) -> _State:
    """What moves, by other frames."""
    state = _at_size_of(clip, state)
    still = state.still
    out = still.dynamic.copy()
    for wide, inner, own in windows(len(clip.rgb)):

        def window(wide: slice = wide, inner: slice = inner) -> Arrays:
            rgb, cameras = clip.rgb[wide], clip.own(state.cameras)[wide]
            rho, confidence = still.inverse_depth[wide], still.confidence[wide]
            part = part_of_flows(clip.flows, wide.start, wide.stop)
            sky = np.zeros(rho.shape, bool)
            if clip.rules.sky:
                sky = clear_sky(rgb, cameras, rho / still.reference, confidence)
            found = still.dynamic[wide]
            votes = collect_votes(rgb, found, rho, confidence, cameras, clip.progress)
            found = segment_by_votes(votes, found, part, rgb, clip.progress) & ~sky
            if clip.rules.shadow_rejection:
                found = without_shadows(found, rgb, rho, cameras, clip.progress)
            return {"dynamic": found[inner]}

        out[own] = clip.kept.arrays(f"voted-{own.start}", window)["dynamic"]
    return replace(state, still=replace(still, dynamic=out))


def _refined(clip: _Clip, coarse: _Clip, state: _State, options: SecondPassOptions) -> _State:
    """Cameras fitted to patches, again and again while that still changes the focal length: with
    the better one more patches are found. Depth of another lens is another one: if it has changed
    much, depth is measured anew."""
    state = _at_size_of(clip, state)
    still, cameras, residual = state.still, state.cameras, None
    rho, moving, flows = still.inverse_depth, still.dynamic, clip.flows
    if clip.beside is not None:
        flows = clip.beside.flows
        rho, moving, _ = carried_between(
            rho, moving, still.confidence, clip.beside.numbers, cameras, flows, clip.progress
        )
    for _ in range(MAX_REFINED_FRAMES):
        better = refine_photometrically(
            flows.gray.numpy(), cameras, rho, moving, options.usual_focal, options.fov_known,
            clip.progress,
        )  # fmt: skip
        if better is None:
            break
        if residual is not None and better.residual_px[1] > (1 - MIN_GAIN) * residual[1]:
            break  # nothing tells one lens from the other
        residual = ((residual or better.residual_px)[0], better.residual_px[1])
        change = abs(_focal(better.cameras) / _focal(cameras) - 1)
        cameras, rho = better.cameras, better.inverse_depth
        if change < SETTLED:
            break
    another = abs(_focal(cameras) / _focal(state.cameras) - 1) >= ANOTHER_LENS
    rho = rho if clip.beside is None else taken(rho, clip.beside.numbers)
    state = _State(cameras, replace(still, inverse_depth=rho), residual)
    if not another:
        return state
    state = _at_size_of(coarse, state)
    still = static_depth_by_windows(
        coarse.rgb, coarse.flows, coarse.own(state.cameras), coarse.prior, state.still.dynamic,
        clip.progress, clip.drift, clip.prior_weight, clip.rules.sky,
    )  # fmt: skip
    return replace(state, still=still)


def _focal(cameras: Cameras) -> float:
    return float(cameras.intrinsics[0, 0, 0])


def _matched(clip: _Clip, state: _State, step: float, last: bool) -> _State:
    """One pass: match, agree over time, complete; and sharpen edges in the last one."""
    state = _at_size_of(clip, state)
    still = state.still
    rho, confidence = (scratch_tensor(clip.prior.shape, torch.float32).numpy() for _ in range(2))
    for wide, inner, own in windows(len(clip.rgb)):

        def window(wide: slice = wide, inner: slice = inner) -> Arrays:
            part = replace(
                still, inverse_depth=still.inverse_depth[wide], dynamic=still.dynamic[wide],
                confidence=still.confidence[wide],
            )  # fmt: skip
            solve = Solver(
                clip.rgb[wide], clip.prior[wide], clip.drift, clip.prior_weight, still.reference,
                clip.progress,
            )  # fmt: skip
            new, new_confidence = _matched_window(
                clip.flows.gray.numpy()[wide], clip.rgb[wide], clip.own(state.cameras)[wide], part,
                solve, step, last, clip.progress, clip.rules.sky,
            )  # fmt: skip
            return {"inverse_depth": new[inner], "confidence": new_confidence[inner]}

        found = clip.kept.arrays(f"matched-{STEPS.index(step)}-{own.start}", window)
        rho[own], confidence[own] = found["inverse_depth"], found["confidence"]
    return replace(state, still=replace(still, inverse_depth=rho, confidence=confidence))


def _matched_window(
    gray: U8,
    rgb: U8,
    cameras: Cameras,
    still: StaticGeometry,
    solve: Solver,
    step: float,
    last: bool,
    progress: Progress,
    find_sky: bool,
) -> tuple[F32, F32]:
    rho, static, reference = still.inverse_depth, ~still.dynamic, still.reference
    factor, sharpness = local_plane_sweep(gray, cameras, rho, still.dynamic, step, progress)
    trust = MIN_TRUST + np.clip(sharpness / SHARP, 0, 1)
    mean, total, through = fuse_views(
        rho * factor, trust.astype(np.float32), static, cameras, ALIKE * reference, progress
    )
    agreed = np.minimum(total / 3, 1) ** 2 * (1 - through)
    before = np.clip((still.confidence - UNMEASURED) / (1 - UNMEASURED), 0, 1)
    weight = FILLED_WEIGHT + FOUND_WEIGHT * before + MATCHED_WEIGHT * agreed
    far = np.float32(reference / NEAREST_TO_FAR)
    sky = np.zeros(rho.shape, bool)
    if find_sky:
        sky = static & clear_sky(rgb, cameras, rho / reference, still.confidence)
    mean, weight = np.where(sky, far, mean), np.where(sky, MATCHED_WEIGHT, weight)
    new = solve(mean, np.where(static, weight, 0).astype(np.float32), "smoothing")
    new = np.maximum(new, far)
    if last:
        _sharpen(new, rgb, reference, progress)
        again = np.float32(0.2) + agreed.astype(np.float32)
        new = np.maximum(
            fuse_views(new, again, static, cameras, ALIKE * reference, progress)[0], far
        )
    new_confidence = np.maximum(still.confidence, UNMEASURED + (1 - UNMEASURED) * agreed)
    return np.where(sky, far, new), new_confidence.astype(np.float32)
