"""Which cameras a clip has: the user's, those that its motion tells, or an assumed one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from recam.configs import ReconstructConfig
from recam.flow.dense import FlowSet, compute_flows
from recam.geometry import fov_x_deg, motion_of
from recam.reconstruct.cameras.manhattan_focal import camera_of_picture
from recam.reconstruct.cameras.report import FocalSource
from recam.reconstruct.cameras.solve import solve_cameras
from recam.reconstruct.checkpoint import Arrays, as_text, camera_arrays, cameras_from, from_text
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
    """

    clip: Clip
    flows: FlowSet | None
    cameras: Cameras
    motion: CameraMotion
    source: Literal["given", "estimated", "assumed"]
    focal_source: FocalSource

    @property
    def translates(self) -> bool:
        return self.motion == "moving"


def clip_flows(clip: Clip, report: Report) -> FlowSet | None:
    """Flow between the clip's frames at the working size; None for a single frame."""
    if len(clip.video) < 2:
        return None
    offsets = OFFSETS if len(clip.video) <= LONG_CLIP else OFFSETS[:-1]
    with report.timed("flow"):
        return compute_flows(
            clip.video, clip.height, clip.width, offsets, clip.progress, clip.border
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
    found = _solved(clip, flows, clip.config if may_straighten else straight, "cameras", report)
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
        found = _solved(clip, flows, straight, "straight cameras", report)
    notes, figures, motion, focal_source = from_text(found["about"])
    report.note(*notes)
    report.figure("cameras", source="estimated", **figures, **lens)
    return CameraStage(clip, flows, cameras_from(found), motion, "estimated", focal_source)


def _single_picture(clip: Clip, report: Report) -> CameraStage:
    gray = cv2.cvtColor(clip.rgb()[0], cv2.COLOR_RGB2GRAY)
    cameras, focal_source = camera_of_picture(
        gray, clip.config.fov, clip.config.rules.manhattan_focal
    )
    fov = float(fov_x_deg(cameras)[0])
    report.figure(
        "cameras", source="assumed", motion="static", focal_source=focal_source, fov_deg=fov
    )
    if focal_source != "user":
        who = "is assumed" if focal_source == "nothing" else "is what lines at right angles say"
        report.note(f"a single picture: a horizontal view of {fov:.0f}° {who}")
    return CameraStage(clip, None, cameras, "static", "assumed", focal_source)


def _solved(
    clip: Clip, flows: FlowSet, config: ReconstructConfig, step: str, report: Report
) -> Arrays:
    """``solve_cameras``, kept as a step: cameras, "about" and, if the lens bends, "bend"."""

    def work() -> Arrays:
        found = solve_cameras(clip.video, flows, config, clip.progress)
        about = [list(found.notes), found.report(), found.motion, found.focal_source]
        out = {**camera_arrays(found.cameras), "about": as_text(about)}
        bend = found.bend
        if bend is not None:
            out["bend"] = np.array([bend.k1, bend.focal_px, bend.shift_px, bend.gain])
        return out

    with report.timed("cameras"):
        return clip.kept.arrays(step, work)
