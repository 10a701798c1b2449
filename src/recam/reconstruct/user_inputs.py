"""A clip to reconstruct, and what the user gave with it instead of having it estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.arrays import U8, Mask
from recam.camera_files import read_cameras, straightened_video, undistort_video
from recam.camera_files.undistort import undistortion_map
from recam.configs import ReconstructConfig
from recam.geometry import fov_x_deg
from recam.media import read_mask
from recam.reconstruct.checkpoint import Checkpoint
from recam.reconstruct.io.depth_kind import DepthOptions
from recam.reconstruct.io.importers import DepthSource, read_depth
from recam.reconstruct.report import Report
from recam.runtime.cache import scratch_tensor
from recam.types import Cameras, Progress, SourcePart, Video


@dataclass(frozen=True)
class Clip:
    """What the stages read: the video, its working size, and where finished steps are kept.

    border: bool [height, width], True = a black border, or never seen by a lens that was undone.
    """

    video: Video
    config: ReconstructConfig
    height: int
    width: int
    progress: Progress
    part: SourcePart | None
    kept: Checkpoint
    border: Mask

    def rgb(self) -> U8:
        """uint8 [t, h, w, 3] at the working size."""
        shape = len(self.video), self.height, self.width, 3
        out = scratch_tensor(shape, torch.uint8).numpy()
        for i in range(len(self.video)):
            frame = np.ascontiguousarray(self.video.frames[i].permute(1, 2, 0).numpy())
            shrinks = self.height <= frame.shape[0]
            kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            out[i] = cv2.resize(frame, (self.width, self.height), interpolation=kind)
        return out


@dataclass(frozen=True)
class GivenCameras:
    """Cameras that the user named, or that came with the depth.

    clip: whose video is the straightened one, where a distortion was undone. seen: bool
    [t, height, width] of that video, what the lens saw; None where nothing was undone.
    metric: the cameras are in metres.
    """

    clip: Clip
    cameras: Cameras | None = None
    seen: Tensor | None = None
    metric: bool = False


def given_depth(clip: Clip, report: Report) -> DepthSource | None:
    """The depth that the user named, at the working size; None if none was."""
    config = clip.config
    if config.depth is None:
        return None
    with report.timed("read depth"):
        given = read_depth(
            config.depth, len(clip.video), clip.height, clip.width, clip.part,
            DepthOptions(config.depth_kind, config.depth_unit, config.depth_range),
        )  # fmt: skip
    report.note(f"depth taken from {config.depth}", *given.notes)
    return given


def given_cameras(clip: Clip, given: DepthSource | None, report: Report) -> GivenCameras:
    """The cameras that the user named, at the working size; or those that came with the depth."""
    config, video = clip.config, clip.video
    if config.cameras is None:
        return GivenCameras(clip, None if given is None else given.cameras)
    file = read_cameras(
        config.cameras, config.cameras_format,
        num_frames=len(video), height=video.height, width=video.width, part=clip.part,
        times_s=video.times_s,
    )  # fmt: skip
    report.note(f"cameras taken from {config.cameras}", *file.notes)
    seen = None
    if file.lens != "opencv":
        if config.depth is not None or config.masks is not None:
            raise ValueError(
                f"{config.cameras}: {file.lens} frames are straightened first, which the given "
                "depth or masks do not follow; straighten all of them and give pinhole cameras"
            )
        room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
        video, cameras, seen = straightened_video(video, file, config.fov, clip.progress, room)
        report.note(
            f"{file.lens} frames straightened to a pinhole of {float(fov_x_deg(cameras)[0]):.0f}° "
            "(--fov chooses it); the scene's video is the straightened one"
        )
        small = cameras.resized(clip.height, clip.width)
        return GivenCameras(replace(clip, video=video), small, seen, file.metric)
    cameras = file.cameras_with(video.height, video.width, config.fov)
    if file.distortion is not None and bool(file.distortion.abs().max() > 0):
        room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
        video, cameras, seen = undistort_video(video, cameras, file.distortion, clip.progress, room)
        clip = replace(clip, video=video)
        report.note("lens distortion undone; the scene's video is the straightened one")
    return GivenCameras(clip, cameras.resized(clip.height, clip.width), seen, file.metric)


def undistort_clip(clip: Clip, k1: float, focal_px: float) -> Clip:
    """The clip with a lens undone; its border is that of the straight picture, with what the lens
    never saw. k1: OpenCV's. focal_px: at the working size."""
    video, lens = clip.video, torch.tensor([k1, 0, 0, 0, 0], dtype=torch.float64)
    focal = focal_px * video.width / clip.width
    k = torch.tensor(
        [[focal, 0, video.width / 2], [0, focal, video.height / 2], [0, 0, 1]], dtype=torch.float64
    )
    pose = torch.eye(4, dtype=torch.float64)
    camera = Cameras(pose[None], k[None], video.height, video.width)
    room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
    straight, _, _ = undistort_video(video, camera, lens, clip.progress, room)
    small = camera.resized(clip.height, clip.width).intrinsics[0]
    uv_px, seen = undistortion_map(small, clip.height, clip.width, lens)
    x, y = uv_px.to(torch.int64).unbind(-1)
    x, y = x.clamp(0, clip.width - 1), y.clamp(0, clip.height - 1)
    border = clip.border[y.numpy(), x.numpy()] | ~seen.numpy()
    return replace(clip, video=straight, border=border)


def given_masks(clip: Clip, given: DepthSource | None, report: Report) -> Mask | None:
    """What moves, bool [t, h, w], if the user named it or the depth came with it."""
    if clip.config.masks is None:
        if given is None or given.dynamic is None:
            return None
        report.note(f"moving areas taken from {clip.config.depth}")
        return given.dynamic.numpy()
    masks = read_mask(
        clip.config.masks, len(clip.video), clip.height, clip.width, resize=True, part=clip.part,
        label=clip.config.mask_label,
    )  # fmt: skip
    report.note(f"moving areas taken from {clip.config.masks}")
    return masks.numpy() > 0.5
