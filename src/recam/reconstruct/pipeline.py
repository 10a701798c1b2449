"""Video to scene: cameras, then depth, then what moves; each measured, or taken from the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.arrays import F32, U8, Mask
from recam.configs import ReconstructConfig
from recam.flow.dense import FlowSet, compute_flows, gray_frames
from recam.geometry import fov_x_deg
from recam.reconstruct.cameras.manhattan_focal import camera_of_picture
from recam.reconstruct.cameras.solve import solve_cameras
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
    residuals,
    segment_motion,
    with_paused,
)
from recam.reconstruct.motion_segmentation.regions import average_along_flow
from recam.reconstruct.motion_segmentation.shadow_rejection import without_shadows
from recam.reconstruct.object_depth.ground_contact import place_on_ground
from recam.reconstruct.object_depth.ground_plane import find_ground
from recam.reconstruct.second_pass import SecondPassOptions, second_pass
from recam.reconstruct.static_depth import (
    NEAREST_TO_FAR,
    PRIOR_WEIGHT,
    StaticGeometry,
    static_depth_by_windows,
)
from recam.reconstruct.user_inputs import (
    Run,
    given_cameras,
    given_depth,
    given_masks,
    undo_lens,
)
from recam.runtime.cache import scratch_tensor
from recam.types import Cameras, Progress, RecamError, Scene, SourcePart, Video, no_progress

DEFAULTS = ReconstructConfig()
OFFSETS = (1, 2, 4, 8, 16)
LONG_CLIP = 160
"""Clips of more frames do without the longest offset, which costs a fifth of the memory."""
MIN_MEASURED = 0.02
"""Part of the pixels whose depth must have been measured for the result to count as such."""
GIVEN_DEPTH_ERROR = 0.1
"""Relative error that is forgiven in given depth when looking for motion."""
TRUST_IN_MODELS = 3.0
"""How many times as hard as the stage a model of others pulls on what was not measured."""
BORDER_FRAMES = 24
"""Frames that a black border is looked for in."""
LEAST_PIXELS = 1000
"""Measured pixels that a scale is told by."""


@dataclass(frozen=True)
class _Geometry:
    """inverse_depth float32 [t, h, w], 0 where not valid; dynamic bool; confidence float32."""

    inverse_depth: F32
    dynamic: Mask
    confidence: F32


def reconstruct(
    video: Video,
    config: ReconstructConfig = DEFAULTS,
    progress: Progress = no_progress,
    part: SourcePart | None = None,
    kept: Checkpoint = NO_CHECKPOINT,
) -> Scene:
    """Cameras, depth and moving areas of a video.

    Geometry is worked out with its longer side at ``config.size`` pixels (at most the video's).
    What ``config`` names (cameras, depth, masks, field of view) is used instead of estimated;
    ``part`` says which frames of its source the video has, if those files are about the source. A
    camera that moves gives measured depth. One that stands on a tripod or only turns gives none:
    the scene then is a stated assumption (``believed``), steady over time, on which
    moving things stand upright. ``Scene.report["notes"]`` says what was done. Steps that are done
    are ``kept`` until all are, so that a killed run goes on from them (flow is found again).

    Raises RecamError when the video is too small or a named file cannot be opened; ValueError when
    a named file does not fit the video.
    """
    if len(video) == 0:
        raise ValueError("the video has no frames")
    height, width = working_size(video.height, video.width, config.size)
    run = Run(video, config, height, width, progress, part, kept=kept)
    run.border = black_border(gray_frames(video, height, width, BORDER_FRAMES))
    if run.border.any():
        run.notes.append(f"{run.border.mean():.0%} of the picture is a black border, left out")
    given = given_depth(run)
    cameras, lens_valid = given_cameras(run, given)
    masks = given_masks(run, given)
    flows = _flows(run, needed=cameras is None or given is None or masks is None)
    cameras, moving, flows = _solve(run, cameras, flows, given is None and masks is None)
    if given is not None:
        cameras, geometry = _with_given_depth(run, given, cameras, masks, flows, moving)
    else:
        cameras, geometry = _with_own_depth(run, cameras, masks, flows, moving)
    scene = _scene(run, cameras, geometry, given, lens_valid)
    kept.forget_all()
    return scene


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width for geometry: the longer side at ``size`` px, but never enlarged."""
    if size < 32:
        raise ValueError(f"size is {size} px; expected at least 32 for the longer side")
    scale = min(1.0, size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _flows(run: Run, needed: bool) -> FlowSet | None:
    if not needed or len(run.video) < 2:
        return None
    offsets = OFFSETS if len(run.video) <= LONG_CLIP else OFFSETS[:-1]
    with run.timed("flow"):
        return compute_flows(run.video, run.height, run.width, offsets, run.progress, run.border)


def _solve(
    run: Run, cameras: Cameras | None, flows: FlowSet | None, may_straighten: bool
) -> tuple[Cameras, bool, FlowSet | None]:
    """The cameras, whether they move through space, and the flows: new ones if the lens was
    straightened."""
    about: dict[str, Any] = {"source": "given"}
    if cameras is None and flows is None:
        gray = cv2.cvtColor(run.rgb()[0], cv2.COLOR_RGB2GRAY)
        cameras, told_by = camera_of_picture(gray, run.config.fov)
        fov = float(fov_x_deg(cameras)[0])
        about = {"source": "assumed", "motion": "static", "fov_told_by": told_by, "fov_deg": fov}
        if told_by != "user":
            who = "is assumed" if told_by == "nothing" else "is what lines at right angles say"
            run.notes.append(f"a single picture: a horizontal view of {fov:.0f}° {who}")
    elif cameras is None and flows is not None:
        first, straight = flows, replace(run.config, lens="pinhole")
        config = run.config if may_straighten else straight
        with run.timed("cameras"):
            found = run.kept.arrays("cameras", lambda: _solved(run, first, config))
        lens: dict[str, Any] = {}
        if "bend" in found:
            lens = {"distortion": undo_lens(run, *found["bend"].tolist())}
            flows = again = _flows(run, needed=True)
            assert again is not None
            with run.timed("cameras"):
                found = run.kept.arrays("straight cameras", lambda: _solved(run, again, straight))
        cameras = cameras_from(found)
        notes, about = from_text(found["about"])
        about = {**about, **lens}
        run.notes += notes
    assert cameras is not None
    spread = (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max()
    motion = about.get("motion", "moving" if float(spread) > 1e-9 else "rotating")
    if about["source"] == "given" and run.config.motion != "auto":
        motion = run.config.motion
    run.report["cameras"] = {**about, "motion": motion}
    return cameras, motion == "moving", flows


def _solved(run: Run, flows: FlowSet, config: ReconstructConfig) -> Arrays:
    found = solve_cameras(run.video, flows, config, run.progress)
    about = {"source": "estimated", **found.report()}
    out = {**camera_arrays(found.cameras), "about": as_text([list(found.notes), about])}
    bend = found.bend
    if bend is not None:
        out["bend"] = np.array([bend.k1, bend.focal_px, bend.shift_px, bend.gain])
    return out


def _with_own_depth(
    run: Run, cameras: Cameras, masks: Mask | None, flows: FlowSet | None, moving: bool
) -> tuple[Cameras, _Geometry]:
    """Measured depth where the camera's motion allows it, and cameras refined by it; else what a
    model or the stage says."""
    rgb = run.rgb()
    with run.timed("depth model"):
        belief = estimate_depth_prior(rgb, cameras, run.config, run.progress)
    if moving and flows is not None:
        with run.timed("depth"):
            weight = PRIOR_WEIGHT * (TRUST_IN_MODELS if belief.is_large else 1.0)

            def first_depth() -> Arrays:
                still = static_depth_by_windows(
                    rgb, flows, cameras, belief.inverse_depth, masks, run.progress, belief.drift,
                    weight,
                )  # fmt: skip
                return still_arrays(still)

            still = still_from(run.kept.arrays("depth", first_depth))
        if still.measured >= MIN_MEASURED:
            cameras, still = _refined(run, rgb, flows, cameras, still, belief, weight, masks)
            if masks is None:
                still = replace(still, dynamic=_outlined(run, rgb, still.dynamic))
            return cameras, _measured(run, still, belief, flows, cameras)
    return cameras, _believed(run, rgb, cameras, masks, flows, belief, moving)


def _refined(
    run: Run,
    rgb: U8,
    flows: FlowSet,
    cameras: Cameras,
    still: StaticGeometry,
    belief: DepthPrior,
    weight: float,
    masks: Mask | None,
) -> tuple[Cameras, StaticGeometry]:
    """A second round with frames far apart, and what it changed for the report."""
    about = run.report["cameras"]
    how = SecondPassOptions(
        masks_given=masks is not None,
        cameras_free=about["source"] == "estimated",
        fov_free=run.config.fov is None,
        fov_known=bool(about.get("fov_known", True)),
        minutes=run.config.refine_minutes,
    )
    with run.timed("refining"):
        found = second_pass(
            rgb, flows, cameras, still, belief.inverse_depth, how, belief.drift, weight,
            run.progress, run.kept,
        )  # fmt: skip
    if found.residual_px is not None:
        about["patch_residual_px"] = [round(px, 3) for px in found.residual_px]
        about["fov_deg"] = round(float(fov_x_deg(found.cameras)[0]), 2)
    if not found.finished:
        run.notes.append("the time for refining (refine_minutes) was up before it was done")
    return found.cameras, found.still


def _believed(
    run: Run,
    rgb: U8,
    cameras: Cameras,
    masks: Mask | None,
    flows: FlowSet | None,
    belief: DepthPrior,
    moving: bool,
) -> _Geometry:
    """What the model or the stage says, steady over time, with what moves standing on it."""
    _tell_belief(run, belief, moving)
    rho = belief.inverse_depth
    rho = np.maximum(rho, far_off(rho))
    if flows is None:
        dynamic = np.zeros(rho.shape, bool) if masks is None else masks
        rho = _with_shift(run, belief, rho, rgb, cameras, ~dynamic)
        return _Geometry(rho, dynamic, belief.confidence)
    turning = _without_translation(cameras)
    moves = masks
    if moves is None:
        with run.timed("motion"):
            found = residuals(flows, turning, progress=run.progress)
            moves = segment_motion(found, flows, rgb, run.progress)
            moves = with_paused(moves, flows, rho, turning, rgb, run.progress)
            moves = without_shadows(moves, rgb, rho, turning, run.progress)
            moves = _outlined(run, rgb, moves)
    if not belief.is_stage:
        with run.timed("steadying"):
            rho = aligned_over_time(rho, belief.drift, flows, turning, ~moves)
            stands = run.report["cameras"]["motion"] == "static"
            rho = steady(rho, ~moves, flows, turning, stands, run.progress)
            rho = _with_shift(run, belief, rho, rgb, turning, ~moves)
    if not belief.is_large:
        rho = place_on_ground(rho, moves, flows, run.progress)
    return _Geometry(rho, moves, belief.confidence)


def _with_shift(
    run: Run, belief: DepthPrior, rho: F32, rgb: U8, cameras: Cameras, still: Mask
) -> F32:
    """Inverse depth with the shift that the pictures tell, nowhere infinitely far."""
    about = run.report["cameras"]
    told = about["source"] == "given" or about.get("fov_told_by") in ("user", "motion")
    sure = told or run.config.fov is not None
    inside = cv2.dilate(run.border.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    rho = with_shift(belief, rho, rgb, cameras, still & inside, sure)
    return np.maximum(rho, far_off(rho))


def far_off(rho: F32) -> float:
    """The least inverse depth that is believed, by that of what is near (of long clips, in frames
    spread over them: a quantile wants a copy)."""
    return float(np.quantile(rho[:: -(-len(rho) // LONG_CLIP)], 0.95)) / (2 * NEAREST_TO_FAR)


def _by_frame(rho: F32, work: Callable[[int], F32]) -> F32:
    """float32 of rho's shape: what ``work`` says of each frame, where memory is not taken."""
    out = scratch_tensor(rho.shape, torch.float32).numpy()
    for i in range(len(out)):
        out[i] = work(i)
    return out


def _outlined(run: Run, rgb: U8, dynamic: Mask) -> Mask:
    """What moves, with its borders where SAM 2 has them, if the user names its weights."""
    weights = run.config.mask_weights
    if weights is None or not dynamic.any():
        return dynamic
    from recam.reconstruct.external.sam2 import outlined_by_sam2

    with run.timed("outlining"):
        out, known = outlined_by_sam2(rgb, dynamic, weights, run.progress)
    run.notes.append(f"moving areas outlined by SAM 2 ({weights}), {known:.0%} of their regions")
    return out


def _measured(
    run: Run, still: StaticGeometry, belief: DepthPrior, flows: FlowSet, cameras: Cameras
) -> _Geometry:
    """Depth of what stands still as measured, and of what moves by a large model or its contact."""
    run.report["depth"] = {"source": "measured", "measured": round(still.measured, 3)}
    dynamic, confidence = still.dynamic, still.confidence
    sure = _by_frame(
        confidence, lambda i: np.where(dynamic[i] | (confidence[i] < 0.3), 0, confidence[i])
    )
    if not belief.is_stage:
        run.report["depth"]["filled in by"] = belief.source
        moves = ", and of what moves," if belief.is_large else ""
        run.notes.append(
            f"depth is measured; where it could not be{moves} {belief.source} says what it is "
            f"({belief.choice.why})"
        )
    if not belief.is_large:
        ground = find_ground(still.inverse_depth, sure, cameras)
        depth = place_on_ground(still.inverse_depth, still.dynamic, flows, run.progress, ground)
    else:
        fitted = fitted_by_frame(belief.inverse_depth, still.inverse_depth, sure, belief.drift)
        least = still.reference / NEAREST_TO_FAR
        depth = np.where(still.dynamic, np.maximum(fitted, least), still.inverse_depth)
        depth = average_along_flow(depth.astype(np.float32), still.dynamic, flows)
    if belief.metric and int((sure > 0).sum()) >= LEAST_PIXELS:
        there = (sure > 0) & (belief.inverse_depth > 0)
        run.metres_per_unit = float(
            np.median(still.inverse_depth[there] / belief.inverse_depth[there])
        )
        run.notes.append(f"the scene's scale is {belief.source}'s: metric")
    trust = _by_frame(confidence, lambda i: np.where(dynamic[i], np.float32(0.3), confidence[i]))
    return _Geometry(depth, dynamic, trust)


def _tell_belief(run: Run, belief: DepthPrior, moving: bool) -> None:
    """Say where depth comes from when it is not measured."""
    how = {"static": "stands still", "rotating": "only turns"}.get(
        run.report["cameras"]["motion"], "stands still"
    )
    why = f"the camera {how}, so depth cannot be measured"
    if moving:
        why = "the camera moves too little for depth to be measured"
    if belief.is_stage:
        run.report["depth"] = {"source": "assumed"}
        run.notes.append(
            f"{why}: a level ground with a backdrop is assumed, on which moving things stand "
            f"upright ({belief.choice.why})"
        )
        return
    run.report["depth"] = {"source": "believed", "model": belief.source, "metric": belief.metric}
    stands = "" if belief.is_large else "; moving things stand upright on it"
    own = belief.choice.model == "shipped"
    who = "recam's own small network guesses" if own else f"{belief.source} says"
    run.notes.append(f"{why}: {who} what it is ({belief.choice.why}){stands}")
    if belief.metric:
        run.metres_per_unit = 1.0
        run.notes.append(f"the scene's scale is {belief.source}'s: metres")


def _without_translation(cameras: Cameras) -> Cameras:
    poses = cameras.cam_from_world.clone()
    poses[:, :3, 3] = 0
    return replace(cameras, cam_from_world=poses)


def _with_given_depth(
    run: Run,
    given: DepthSource,
    cameras: Cameras,
    masks: Mask | None,
    flows: FlowSet | None,
    moving: bool,
) -> tuple[Cameras, _Geometry]:
    """The user's depth, with estimated cameras brought to its scale."""
    depth, valid = given.depth.numpy(), given.valid.numpy()
    rho = np.where(valid, 1 / np.maximum(depth, 1e-12), 0).astype(np.float32)
    run.report["depth"] = {"source": "given", "valid": round(float(valid.mean()), 4)}
    estimated = run.report["cameras"]["source"] == "estimated"
    if moving and flows is not None and (estimated or given.metric is None):
        with run.timed("scale"):
            evidence = triangulate(flows, cameras, run.progress)
            good = valid & (evidence.inverse_depth > 2 * evidence.sigma) & (evidence.misfit < 2)
            check_near_and_far(rho[good], evidence.inverse_depth[good], str(run.config.depth))
            if estimated:
                cameras = _scaled_to(cameras, rho[good], evidence.inverse_depth[good], run)
    dynamic = masks
    if dynamic is None:
        dynamic = np.zeros(rho.shape, bool)
        if flows is not None:
            with run.timed("motion"):
                slack = np.where(valid, GIVEN_DEPTH_ERROR * rho, 1e9).astype(np.float32)
                found = residuals(flows, cameras, rho, slack, run.progress)
                rgb = run.rgb()
                dynamic = _outlined(run, rgb, segment_motion(found, flows, rgb, run.progress))
    return cameras, _Geometry(rho, dynamic, valid.astype(np.float32))


def _scaled_to(cameras: Cameras, rho: F32, measured: F32, run: Run) -> Cameras:
    """Cameras whose translation is in the units of the given inverse depth. rho, measured: [n]."""
    if len(rho) < 1000:
        run.notes.append("the given depth could not be brought to the scale of the cameras")
        return cameras
    factor = float(np.median(measured / rho))
    poses = cameras.cam_from_world.clone()
    poses[:, :3, 3] *= factor
    return replace(cameras, cam_from_world=poses)


def _scene(
    run: Run,
    cameras: Cameras,
    geometry: _Geometry,
    given: DepthSource | None,
    lens_valid: Tensor | None,
) -> Scene:
    rho = geometry.inverse_depth
    valid = torch.from_numpy(rho > 0)
    if given is not None:
        depth = given.depth
    else:
        far = max(far_off(rho), 1e-12)
        depth = torch.from_numpy(_by_frame(rho, lambda i: 1 / np.maximum(rho[i], far)))
    if lens_valid is not None:
        for i, seen in enumerate(lens_valid):
            part = seen[None, None].float()
            small = torch.nn.functional.interpolate(part, (run.height, run.width), mode="area")
            valid[i] &= small[0, 0] > 0.99
    if not bool(valid.any()):
        raise RecamError("no depth could be found for any pixel of this video")
    metric = run.report.pop("metric cameras", False) or (given is not None and given.metric)
    metres_per_unit = 1.0 if metric else run.metres_per_unit
    if run.config.scale is not None:
        metres_per_unit = _asked_scale(run, depth, valid)
    inside = torch.from_numpy(~run.border)
    valid, dynamic = valid & inside, torch.from_numpy(geometry.dynamic) & inside
    report = {
        **run.report,
        "working size": [run.height, run.width],
        "dynamic": {
            "source": "given" if _masks_given(run, given) else "found",
            "part": round(float(dynamic.float().mean()), 4),
        },
        "seconds": run.seconds,
        "notes": run.notes,
    }
    return Scene(
        video=run.video,
        cameras=cameras,
        depth=depth.float().contiguous(),
        valid=valid,
        dynamic=dynamic,
        confidence=torch.from_numpy(geometry.confidence.astype(np.float32, copy=False)),
        metres_per_unit=metres_per_unit,
        report=report,
    )


def _masks_given(run: Run, given: DepthSource | None) -> bool:
    return run.config.masks is not None or (given is not None and given.dynamic is not None)


def _asked_scale(run: Run, depth: Tensor, valid: Tensor) -> float:
    """Metres per unit that make the middle of the first picture as far as the user says."""
    metres = run.config.scale
    if metres is None or not metres > 0:
        raise ValueError(f"scale is {metres}; expected metres, more than 0")
    reach_y, reach_x = max(1, run.height // 20), max(1, run.width // 20)
    y, x = run.height // 2, run.width // 2
    middle = slice(y - reach_y, y + reach_y + 1), slice(x - reach_x, x + reach_x + 1)
    shown = depth[0][middle][valid[0][middle]]
    if not len(shown):
        raise RecamError("--scale: the middle of the first picture has no depth to be scaled")
    run.notes.append(f"metric: the middle of the first picture is {metres:g} m away, as given")
    return metres / float(shown.median())
