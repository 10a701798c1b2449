"""Video to scene: cameras, then depth, then what moves; each measured, or taken from the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.arrays import F32, U8, Mask
from recam.configs import WORKING_SIDE_PX, ReconstructConfig
from recam.flow.dense import Beside, FlowSet, gray_frames, part_of_flows
from recam.geometry import fov_x_deg
from recam.reconstruct.between import (
    carried_between,
    chosen_frames,
    flows_of,
    steps_between,
    taken,
)
from recam.reconstruct.camera_stage import (
    LONG_CLIP,
    CameraStage,
    all_flows,
    camera_stage,
    clip_flows,
)
from recam.reconstruct.checkpoint import (
    NO_CHECKPOINT,
    Arrays,
    Checkpoint,
    still_arrays,
    still_from,
)
from recam.reconstruct.coarse import half_size, halved_flows, resized_frames, resized_mask
from recam.reconstruct.depth.triangulation import triangulate
from recam.reconstruct.depth_prior.affine_fit import fitted_by_frame
from recam.reconstruct.depth_prior.temporal_alignment import (
    DepthPrior,
    aligned_over_time,
    estimate_depth_prior,
    steady,
    with_shift,
)
from recam.reconstruct.io.depth_kind import check_near_and_far
from recam.reconstruct.io.importers import DepthSource
from recam.reconstruct.matching.shots import black_border
from recam.reconstruct.motion_segmentation.flow_residual import (
    Residuals,
    residuals,
    segment_motion,
    with_paused,
)
from recam.reconstruct.motion_segmentation.regions import average_along_flow
from recam.reconstruct.motion_segmentation.shadow_rejection import without_shadows
from recam.reconstruct.object_depth.ground_contact import PriorAround, place_on_ground
from recam.reconstruct.object_depth.ground_plane import find_ground
from recam.reconstruct.report import Report
from recam.reconstruct.second_pass import SecondPassOptions, second_pass
from recam.reconstruct.static_depth import (
    NEAREST_TO_FAR,
    PRIOR_WEIGHT,
    Segment,
    StaticGeometry,
    static_depth_by_windows,
)
from recam.reconstruct.user_inputs import Clip, given_cameras, given_depth, given_masks
from recam.runtime.cache import scratch_tensor
from recam.runtime.threads import all_torch_threads, one_torch_thread
from recam.types import (
    Cameras,
    DepthOrigin,
    Progress,
    RecamError,
    Scene,
    SourcePart,
    Video,
    no_progress,
)

DEFAULTS = ReconstructConfig()
MIN_MEASURED = 0.02
"""Part of the pixels whose depth must have been measured for the result to count as such."""
GIVEN_DEPTH_ERROR = 0.1
"""Relative error that is forgiven in given depth when looking for motion."""
MODEL_TRUST = 3.0
"""How many times as hard as the stage a model of others pulls on what was not measured."""
BORDER_FRAMES = 24
"""Frames that a black border is looked for in."""
MIN_PIXELS = 1000
"""Measured pixels that a scale is told by."""


@dataclass(frozen=True)
class _Geometry:
    """What the depth stages decided.

    inverse_depth: float32 [t, h, w], 0 where not valid. dynamic: bool. confidence: float32.
    cameras: which the second pass refines. metres_per_unit: None where nothing told it.
    """

    inverse_depth: F32
    dynamic: Mask
    confidence: F32
    cameras: Cameras
    source: DepthOrigin
    metres_per_unit: float | None = None


@one_torch_thread()  # frames go side by side instead
def reconstruct(
    video: Video,
    config: ReconstructConfig = DEFAULTS,
    progress: Progress = no_progress,
    part: SourcePart | None = None,
    kept: Checkpoint = NO_CHECKPOINT,
) -> Scene:
    """Cameras, depth and moving areas of a video.

    Geometry is worked out with its longer side at ``config.size`` pixels, by default as
    ``config.quality`` says (at most the video's).
    What ``config`` names (cameras, depth, masks, field of view) is used instead of estimated;
    ``part`` says which frames of its source the video has, if those files are about the source. A
    camera that moves gives measured depth. One that stands on a tripod or only turns gives none:
    depth is then what a model predicts, or a stated assumption (``depth_prior``), steady over time,
    on which moving things stand upright. ``Scene.camera_motion`` and ``depth_source`` say what was
    decided, ``Scene.report`` tells people. Steps that are done are ``kept`` until all are, so that
    a killed run goes on from them (flow is found again).

    Raises RecamError when the video is too small or a named file cannot be opened; ValueError when
    a named file does not fit the video.
    """
    if len(video) == 0:
        raise ValueError("the video has no frames")
    side = WORKING_SIDE_PX[config.quality] if config.size is None else config.size
    height, width = working_size(video.height, video.width, side)
    report = Report()
    border = black_border(gray_frames(video, height, width, BORDER_FRAMES))
    if border.any():
        report.note(f"{border.mean():.0%} of the picture is a black border, left out")
    clip = Clip(video, config, height, width, progress, part, kept, border)
    depth = given_depth(clip, report)
    named = given_cameras(clip, depth, report)
    clip = named.clip
    masks = given_masks(clip, depth, report)
    needs_flow = named.cameras is None or depth is None or masks is None
    flows = clip_flows(clip, report) if needs_flow else None
    solved = camera_stage(clip, named.cameras, flows, depth is None and masks is None, report)
    if depth is not None:
        found = _with_given_depth(solved, depth, masks, report)
    else:
        found = _with_own_depth(solved, masks, report)
    if named.metric or (depth is not None and depth.metric):
        found = replace(found, metres_per_unit=1.0)
    given_masks_used = config.masks is not None or (depth is not None and depth.dynamic is not None)
    report.figure("dynamic", source="given" if given_masks_used else "found")
    scene = _scene(solved, found, depth, named.seen, report)
    kept.forget_all()
    return scene


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width for geometry: the longer side at ``size`` px, but never enlarged."""
    if size < 32:
        raise ValueError(f"size is {size} px; expected at least 32 for the longer side")
    scale = min(1.0, size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _with_own_depth(solved: CameraStage, masks: Mask | None, report: Report) -> _Geometry:
    """Measured depth where the camera's motion allows it, and cameras refined by it; else what a
    model or the stage says."""
    if solved.translates and solved.flows is not None:
        measured = _with_measured_depth(solved, masks, report)
        if measured is not None:
            return measured
    rgb = solved.clip.rgb()
    return _predicted(solved, rgb, masks, _prior(solved, rgb, report), report)


def _prior(solved: CameraStage, rgb: U8, report: Report) -> DepthPrior:
    with report.timed("depth model"):
        return estimate_depth_prior(rgb, solved.cameras, solved.clip.config, solved.clip.progress)


def _with_measured_depth(
    solved: CameraStage, masks: Mask | None, report: Report
) -> _Geometry | None:
    """Depth measured in every other frame and carried to those between; None if too little was."""
    clip, whole = solved.clip, solved.flows
    assert whole is not None
    chosen = chosen_frames(whole, clip.config.rules.frames_between)
    all_taken = len(chosen) == len(whole)
    beside = None if all_taken else Beside(whole, solved.cameras, chosen)
    flows, rgb = flows_of(whole, chosen), taken(clip.rgb(), chosen)
    part = replace(solved, flows=flows, cameras=solved.cameras[torch.from_numpy(chosen)])
    given = None if masks is None else taken(masks, chosen)
    prior = _prior(part, rgb, report)
    weight = PRIOR_WEIGHT * (MODEL_TRUST if prior.is_large else 1.0)
    size = half_size(clip.height, clip.width, clip.config.quality == "draft")

    def first_depth() -> Arrays:
        steps = None
        if beside is not None:
            halved = halved_flows(steps_between(whole, chosen), *size)
            steps = Beside(halved, solved.cameras.resized(*size), chosen)
        still = static_depth_by_windows(
            resized_frames(rgb, *size), halved_flows(flows, *size), part.cameras.resized(*size),
            resized_frames(prior.inverse_depth, *size),
            None if given is None else resized_mask(given, *size), clip.progress, prior.drift,
            weight, clip.config.rules.sky, partial(_segment_enlarged, rgb, flows), steps,
        )  # fmt: skip
        return still_arrays(still)

    with report.timed("depth"):
        still = still_from(clip.kept.arrays("depth", first_depth))
    if still.measured < MIN_MEASURED:
        return None
    cameras, still = _refined(part, rgb, still, prior, weight, given, report, beside)
    if masks is None:
        still = replace(still, dynamic=_outlined(clip, rgb, still.dynamic, report))
    own = cameras if all_taken else cameras[torch.from_numpy(chosen)]
    found = _measured(clip, still, prior, flows, own, report)
    if all_taken:
        return found
    with report.timed("frames between"):
        rho, dynamic, confidence = carried_between(
            found.inverse_depth, found.dynamic, found.confidence, chosen, cameras, whole,
            clip.progress,
        )  # fmt: skip
    return replace(
        found, inverse_depth=rho, dynamic=dynamic if masks is None else masks,
        confidence=confidence, cameras=cameras,
    )  # fmt: skip


def _segment_enlarged(rgb: U8, flows: FlowSet, frames: slice) -> Segment:
    """``segment_motion`` of some frames at the pictures' size; outlines want all pixels."""

    def segment(found: Residuals) -> Mask:
        large = Residuals(*(
            resized_frames(field, flows.height, flows.width)
            for field in (found.misfit, found.certainty, found.contrast, found.ghost)
        ))  # fmt: skip
        part = part_of_flows(flows, frames.start, frames.stop)
        return resized_mask(segment_motion(large, part, rgb[frames]), *found.misfit.shape[1:])

    return segment


def _refined(
    solved: CameraStage,
    rgb: U8,
    still: StaticGeometry,
    prior: DepthPrior,
    weight: float,
    masks: Mask | None,
    report: Report,
    beside: Beside | None,
) -> tuple[Cameras, StaticGeometry]:
    """A second round with frames far apart, and what it changed for the report; with frames beside,
    the cameras are those of all frames."""
    clip = solved.clip
    assert solved.flows is not None
    options = SecondPassOptions(
        masks_given=masks is not None,
        cameras_free=solved.source == "estimated",
        usual_focal=solved.usual_focal_px,
        fov_known=solved.focal_source not in ("network", "nothing"),
        minutes=0.0 if clip.config.quality == "draft" else clip.config.refine_minutes,
        rules=clip.config.rules,
    )
    with report.timed("refining"):
        found = second_pass(
            rgb, solved.flows, solved.cameras if beside is None else beside.cameras, still,
            prior.inverse_depth, options, prior.drift, weight, clip.progress, clip.kept, beside,
        )  # fmt: skip
    if found.residual_px is not None:
        report.figure(
            "cameras",
            patch_residual_px=[round(px, 3) for px in found.residual_px],
            fov_deg=round(float(fov_x_deg(found.cameras)[0]), 2),
        )
    if not found.finished:
        report.note("the time for refining (refine_minutes) was up before it was done")
    return found.cameras, found.still


def _predicted(
    solved: CameraStage, rgb: U8, masks: Mask | None, prior: DepthPrior, report: Report
) -> _Geometry:
    """What the model or the stage says, steady over time, with what moves standing on it."""
    clip, cameras = solved.clip, solved.cameras
    flows = None if solved.flows is None else all_flows(clip, solved.flows, report)
    _tell_prior(solved, prior, report)
    origin: DepthOrigin = "assumed" if prior.is_stage else "predicted"
    metres = 1.0 if prior.metric and not prior.is_stage else None
    rho = prior.inverse_depth
    rho = np.maximum(rho, far_off(rho))
    if flows is None:
        dynamic = np.zeros(rho.shape, bool) if masks is None else masks
        rho = _with_shift(solved, prior, rho, rgb, cameras, ~dynamic)
        return _Geometry(rho, dynamic, prior.confidence, cameras, origin, metres)
    turning = _without_translation(cameras)
    moves = masks
    if moves is None:
        with report.timed("motion"):
            found = residuals(flows, turning, progress=clip.progress)
            moves = segment_motion(found, flows, rgb, clip.progress)
            moves = with_paused(moves, flows, rho, turning, rgb, clip.progress)
            if clip.config.rules.shadow_rejection:
                moves = without_shadows(moves, rgb, rho, turning, clip.progress)
            moves = _outlined(clip, rgb, moves, report)
    if not prior.is_stage:
        with report.timed("steadying"):
            rho = aligned_over_time(rho, prior.drift, flows, turning, ~moves)
            static = solved.motion == "static"
            rho = steady(rho, ~moves, flows, turning, static, clip.progress)
            rho = _with_shift(solved, prior, rho, rgb, turning, ~moves)
    if not prior.is_large:
        beside = None if prior.is_stage else PriorAround(rho, prior.confidence * ~moves)
        # Where a guessed ground is touched tells too little of a ball.
        rules = replace(clip.config.rules, round_outlines=False)
        rho = place_on_ground(rho, moves, flows, clip.progress, rules=rules, prior=beside)
    return _Geometry(rho, moves, prior.confidence, cameras, origin, metres)


def _with_shift(
    solved: CameraStage, prior: DepthPrior, rho: F32, rgb: U8, cameras: Cameras, still: Mask
) -> F32:
    """Inverse depth with the shift that the pictures tell, nowhere infinitely far."""
    inside = cv2.dilate(solved.clip.border.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    focal_known = solved.focal_source in ("user", "motion")
    rho = with_shift(
        prior, rho, rgb, cameras, still & inside, focal_known, solved.clip.config.rules
    )
    return np.maximum(rho, far_off(rho))


def far_off(rho: F32) -> float:
    """The least inverse depth that is taken, by that of what is near (of long clips, in frames
    spread over them: a quantile wants a copy)."""
    return float(np.quantile(rho[:: -(-len(rho) // LONG_CLIP)], 0.95)) / (2 * NEAREST_TO_FAR)


def _by_frame(rho: F32, work: Callable[[int], F32]) -> F32:
    """float32 of rho's shape: what ``work`` says of each frame, where memory is not taken."""
    out = scratch_tensor(rho.shape, torch.float32).numpy()
    for i in range(len(out)):
        out[i] = work(i)
    return out


def _outlined(clip: Clip, rgb: U8, dynamic: Mask, report: Report) -> Mask:
    """What moves, with its borders where SAM 2 has them, if the user names its weights."""
    weights = clip.config.mask_weights
    if weights is None or not dynamic.any():
        return dynamic
    from recam.reconstruct.external.sam2 import outlined_by_sam2

    with report.timed("outlining"), all_torch_threads():
        out, known = outlined_by_sam2(rgb, dynamic, weights, clip.progress)
    report.note(f"moving areas outlined by SAM 2 ({weights}), {known:.0%} of their regions")
    return out


def _measured(
    clip: Clip,
    still: StaticGeometry,
    prior: DepthPrior,
    flows: FlowSet,
    cameras: Cameras,
    report: Report,
) -> _Geometry:
    """Depth of what stands still as measured, and of what moves by a large model or its contact."""
    report.figure("depth", source="measured", measured=round(still.measured, 3))
    dynamic, confidence = still.dynamic, still.confidence
    trusted = _by_frame(
        confidence, lambda i: np.where(dynamic[i] | (confidence[i] < 0.3), 0, confidence[i])
    )
    if not prior.is_stage:
        report.figure("depth", filled_in_by=prior.source)
        moves = ", and of what moves," if prior.is_large else ""
        report.note(
            f"depth is measured; where it could not be{moves} {prior.source} says what it is "
            f"({prior.choice.why})"
        )
    if not prior.is_large:
        ground = find_ground(still.inverse_depth, trusted, cameras)
        beside = None if prior.is_stage else PriorAround(prior.inverse_depth, trusted)
        depth = place_on_ground(
            still.inverse_depth,
            still.dynamic,
            flows,
            clip.progress,
            ground,
            clip.config.rules,
            beside,
        )
    else:
        fitted = fitted_by_frame(prior.inverse_depth, still.inverse_depth, trusted, prior.drift)
        least = still.reference / NEAREST_TO_FAR
        depth = np.where(still.dynamic, np.maximum(fitted, least), still.inverse_depth)
        depth = average_along_flow(depth.astype(np.float32), still.dynamic, flows)
    metres = None
    if prior.metric and int((trusted > 0).sum()) >= MIN_PIXELS:
        there = (trusted > 0) & (prior.inverse_depth > 0)
        metres = float(np.median(still.inverse_depth[there] / prior.inverse_depth[there]))
        report.note(f"the scene's scale is {prior.source}'s: metric")
    trust = _by_frame(confidence, lambda i: np.where(dynamic[i], np.float32(0.3), confidence[i]))
    return _Geometry(depth, dynamic, trust, cameras, "measured", metres)


def _tell_prior(solved: CameraStage, prior: DepthPrior, report: Report) -> None:
    """Say where depth comes from when it is not measured."""
    why = {
        "static": "the camera stands still, so depth cannot be measured",
        "rotating": "the camera only turns, so depth cannot be measured",
        "moving": "the camera moves too little for depth to be measured",
    }[solved.motion]
    if prior.is_stage:
        report.figure("depth", source="assumed")
        report.note(
            f"{why}: a level ground with a backdrop is assumed, on which moving things stand "
            f"upright ({prior.choice.why})"
        )
        return
    report.figure("depth", source="predicted", model=prior.source, metric=prior.metric)
    posture = "" if prior.is_large else "; moving things stand upright on it"
    own = prior.choice.model == "shipped"
    who = "recam's own small network guesses" if own else f"{prior.source} says"
    report.note(f"{why}: {who} what it is ({prior.choice.why}){posture}")
    if prior.metric:
        report.note(f"the scene's scale is {prior.source}'s: metres")


def _without_translation(cameras: Cameras) -> Cameras:
    poses = cameras.cam_from_world.clone()
    poses[:, :3, 3] = 0
    return replace(cameras, cam_from_world=poses)


def _with_given_depth(
    solved: CameraStage, given: DepthSource, masks: Mask | None, report: Report
) -> _Geometry:
    """The user's depth, with estimated cameras brought to its scale."""
    clip, cameras = solved.clip, solved.cameras
    flows = None if solved.flows is None else all_flows(clip, solved.flows, report)
    depth, valid = given.depth.numpy(), given.valid.numpy()
    rho = np.where(valid, 1 / np.maximum(depth, 1e-12), 0).astype(np.float32)
    report.figure("depth", source="given", valid=round(float(valid.mean()), 4))
    estimated = solved.source == "estimated"
    if solved.translates and flows is not None and (estimated or given.metric is None):
        with report.timed("scale"):
            evidence = triangulate(flows, cameras, clip.progress)
            good = valid & (evidence.inverse_depth > 2 * evidence.sigma) & (evidence.misfit < 2)
            if clip.config.depth_kind == "auto":
                check_near_and_far(rho[good], evidence.inverse_depth[good], str(clip.config.depth))
            if estimated:
                cameras = _scaled_to(cameras, rho[good], evidence.inverse_depth[good], report)
    dynamic = masks
    if dynamic is None:
        dynamic = np.zeros(rho.shape, bool)
        if flows is not None:
            with report.timed("motion"):
                slack = np.where(valid, GIVEN_DEPTH_ERROR * rho, 1e9).astype(np.float32)
                found = residuals(flows, cameras, rho, slack, clip.progress)
                rgb = clip.rgb()
                dynamic = segment_motion(found, flows, rgb, clip.progress)
                dynamic = _outlined(clip, rgb, dynamic, report)
    return _Geometry(rho, dynamic, valid.astype(np.float32), cameras, "given")


def _scaled_to(cameras: Cameras, rho: F32, measured: F32, report: Report) -> Cameras:
    """Cameras whose translation is in the units of the given inverse depth. rho, measured: [n]."""
    if len(rho) < MIN_PIXELS:
        report.note("the given depth could not be brought to the scale of the cameras")
        return cameras
    factor = float(np.median(measured / rho))
    poses = cameras.cam_from_world.clone()
    poses[:, :3, 3] *= factor
    return replace(cameras, cam_from_world=poses)


def _scene(
    solved: CameraStage,
    found: _Geometry,
    given: DepthSource | None,
    seen: Tensor | None,
    report: Report,
) -> Scene:
    """All of it together. seen: what a lens whose distortion was undone saw."""
    clip, rho = solved.clip, found.inverse_depth
    valid = torch.from_numpy(rho > 0)
    if given is not None:
        depth = given.depth
    else:
        far = max(far_off(rho), 1e-12)
        depth = torch.from_numpy(_by_frame(rho, lambda i: 1 / np.maximum(rho[i], far)))
    if seen is not None:
        for i, full in enumerate(seen):
            part = full[None, None].float()
            small = torch.nn.functional.interpolate(part, (clip.height, clip.width), mode="area")
            valid[i] &= small[0, 0] > 0.99
    if not bool(valid.any()):
        raise RecamError("no depth could be found for any pixel of this video")
    metres_per_unit = found.metres_per_unit
    if clip.config.scale is not None:
        metres_per_unit = _requested_scale(clip, depth, valid, report)
    inside = torch.from_numpy(~clip.border)
    valid, dynamic = valid & inside, torch.from_numpy(found.dynamic) & inside
    report.figure("dynamic", part=round(float(dynamic.float().mean()), 4))
    return Scene(
        video=clip.video,
        cameras=found.cameras,
        depth=depth.float().contiguous(),
        valid=valid,
        dynamic=dynamic,
        confidence=torch.from_numpy(found.confidence.astype(np.float32, copy=False)),
        metres_per_unit=metres_per_unit,
        camera_motion=solved.motion,
        depth_source=found.source,
        report={**report.as_json(), "working size": [clip.height, clip.width]},
    )


def _requested_scale(clip: Clip, depth: Tensor, valid: Tensor, report: Report) -> float:
    """Metres per unit that make the middle of the first picture as far as the user says."""
    metres = clip.config.scale
    if metres is None or not metres > 0:
        raise ValueError(f"scale is {metres}; expected metres, more than 0")
    reach_y, reach_x = max(1, clip.height // 20), max(1, clip.width // 20)
    y, x = clip.height // 2, clip.width // 2
    middle = slice(y - reach_y, y + reach_y + 1), slice(x - reach_x, x + reach_x + 1)
    shown = depth[0][middle][valid[0][middle]]
    if not len(shown):
        raise RecamError("--scale: the middle of the first picture has no depth to be scaled")
    report.note(f"metric: the middle of the first picture is {metres:g} m away, as given")
    return metres / float(shown.median())
