"""Which cameras a clip has: the user's, those that its motion tells, or an assumed one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch

from recam.arrays import I64
from recam.configs import ReconstructConfig
from recam.flow.dense import FlowSet, compute_flows
from recam.geometry import DEFAULT_FOV_DEG, fov_x_deg, motion_of
from recam.reconstruct.between import chosen_frames
from recam.reconstruct.cameras.level_lines import PictureGuess
from recam.reconstruct.cameras.manhattan_focal import camera_of_picture
from recam.reconstruct.cameras.motion_model import focal_from_fov
from recam.reconstruct.cameras.report import FocalSource
from recam.reconstruct.cameras.solve import solve_cameras
from recam.reconstruct.checkpoint import Arrays, as_text, camera_arrays, cameras_from, from_text
from recam.reconstruct.depth_prior.shipped import available, guess_pictures
from recam.reconstruct.report import Report
from recam.reconstruct.user_inputs import Clip, undistort_clip
from recam.types import CameraMotion, Cameras

OFFSETS = (1, 2, 4, 8, 16)
LONG_CLIP = 160
"""Clips of more frames do without the longest offset, which costs a fifth of the memory."""


@dataclass(frozen=True)
class CameraStage:
    """What the camera stage decided.

    clip: whose video is the straightened one, if the lens bends. flows: of that video; None where
    nothing needs them. source: who says so. focal_source: who knows the field of view.
    usual_focal_px: what is likely before the motion is looked at; None = it is given.
    """

    clip: Clip
    flows: FlowSet | None
    cameras: Cameras
    motion: CameraMotion
    source: Literal["given", "estimated", "assumed"]
    focal_source: FocalSource
    usual_focal_px: float | None = None

    @property
    def translates(self) -> bool:
        return self.motion == "moving"


def clip_flows(clip: Clip, report: Report) -> FlowSet | None:
    """Flow between the clip's frames at the working size; None for a single frame. Beyond
    neighbours only between the frames that geometry is worked out in."""
    if len(clip.video) < 2:
        return None
    near = _flows(clip, OFFSETS[:1], report)
    return all_flows(clip, near, report, chosen_frames(near, clip.config.rules.frames_between))


def all_flows(clip: Clip, begun: FlowSet, report: Report, chosen: I64 | None = None) -> FlowSet:
    """``begun`` and the flows that it lacks between the ``chosen`` frames, or all."""
    offsets = OFFSETS if len(clip.video) <= LONG_CLIP else OFFSETS[:-1]
    return _flows(clip, offsets, report, begun, chosen)


def _flows(
    clip: Clip,
    offsets: tuple[int, ...],
    report: Report,
    begun: FlowSet | None = None,
    chosen: I64 | None = None,
) -> FlowSet:
    with report.timed("flow"):
        return compute_flows(
            clip.video, clip.height, clip.width, offsets, clip.progress, clip.border, begun, chosen
        )


def camera_stage(
    clip: Clip, given: Cameras | None, flows: FlowSet | None, may_straighten: bool, report: Report
) -> CameraStage:
    """Cameras, and what they do. may_straighten: a straightened video may replace the clip's."""
    if given is not None:
        motion = motion_of(given) if clip.config.motion == "auto" else clip.config.motion
        report.figure("cameras", source="given", motion=motion)
        return CameraStage(clip, flows, given, motion, "given", "user")
    if flows is None:
        return _single_picture(clip, report)
    straight = replace(clip.config, lens="pinhole")
    guess = _guess(clip)
    config = clip.config if may_straighten else straight
    found = _solved(clip, flows, config, guess, "cameras", report)
    lens = {}
    if "bend" in found:
        k1, focal_px, shift_px, gain = found["bend"].tolist()
        with report.timed("straightening"):
            clip = undistort_clip(clip, k1, focal_px)
        report.note(
            f"the lens bends straight lines (k1 = {k1:.3f}): undone; the scene's video is the "
            "straightened one"
        )
        corners = {"k1": round(k1, 5), "corners_px": round(shift_px, 2), "gain": round(gain, 3)}
        lens = {"distortion": corners}
        flows = clip_flows(clip, report)
        assert flows is not None
        found = _solved(clip, flows, straight, guess, "straight cameras", report)
    notes, figures, motion, focal_source = from_text(found["about"])
    report.note(*notes)
    report.figure("cameras", source="estimated", **figures, **lens)
    usual = None
    if clip.config.fov is None:
        side = max(clip.height, clip.width)
        usual = guess.focal.focal_px if guess else focal_from_fov(DEFAULT_FOV_DEG, side)
    return CameraStage(clip, flows, cameras_from(found), motion, "estimated", focal_source, usual)


def _guess(clip: Clip) -> PictureGuess | None:
    """What the depth network says of the focal length and of depth, where that counts."""
    config = clip.config
    if config.fov is not None or config.depth_model == "stage" or not config.rules.learned_focal:
        return None
    return guess_pictures(torch.from_numpy(clip.rgb()).permute(0, 3, 1, 2)) if available() else None


def _single_picture(clip: Clip, report: Report) -> CameraStage:
    gray = cv2.cvtColor(clip.rgb()[0], cv2.COLOR_RGB2GRAY)
    guess = _guess(clip)
    cameras, focal_source, spread = camera_of_picture(
        gray,
        clip.config.fov,
        clip.config.rules.manhattan_focal,
        None if guess is None else guess.focal,
    )
    fov = float(fov_x_deg(cameras)[0])
    report.figure(
        "cameras", source="assumed", motion="static", focal_source=focal_source, fov_deg=fov
    )
    if focal_source != "user":
        who = {
            "nothing": "is assumed",
            "lines": "is what lines at right angles say",
            "network": "is what recam's own network guesses",
        }[focal_source]
        sure = "" if spread is None else f" (the focal length to about {spread:.0%})"
        report.note(f"a single picture: a horizontal view of {fov:.0f}° {who}{sure}")
    return CameraStage(clip, None, cameras, "static", "assumed", focal_source)


def _solved(
    clip: Clip,
    flows: FlowSet,
    config: ReconstructConfig,
    guess: PictureGuess | None,
    step: str,
    report: Report,
) -> Arrays:
    """``solve_cameras``, kept as a step: cameras, "about" and, if the lens bends, "bend"."""

    def work() -> Arrays:
        found = solve_cameras(clip.video, flows, config, clip.progress, guess=guess)
        about = [list(found.notes), found.report(), found.motion, found.focal_source]
        out = {**camera_arrays(found.cameras), "about": as_text(about)}
        bend = found.bend
        if bend is not None:
            out["bend"] = np.array([bend.k1, bend.focal_px, bend.shift_px, bend.gain])
        return out

    with report.timed("cameras"):
        return clip.kept.arrays(step, work)
