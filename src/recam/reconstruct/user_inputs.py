"""What a run of the reconstruction shares, and what the user gave it instead of estimating it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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
from recam.runtime.cache import scratch_tensor
from recam.types import Cameras, Progress, SourcePart, Video


@dataclass
class Run:
    """What the steps share: the video, its working size, and what is told to the user."""

    video: Video
    config: ReconstructConfig
    height: int
    width: int
    progress: Progress
    part: SourcePart | None = None
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    metres_per_unit: float | None = None
    border: Mask = field(default_factory=lambda: np.zeros((0, 0), bool))
    kept: Checkpoint = field(default_factory=Checkpoint)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        clock, before = time.perf_counter(), self.seconds.get(name, 0.0)
        yield
        self.seconds[name] = round(before + time.perf_counter() - clock, 2)

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


def given_depth(run: Run) -> DepthSource | None:
    if run.config.depth is None:
        return None
    with run.timed("read depth"):
        given = read_depth(
            run.config.depth, len(run.video), run.height, run.width, run.part,
            DepthOptions(run.config.depth_kind, run.config.depth_unit, run.config.depth_range),
        )  # fmt: skip
    run.notes += [f"depth taken from {run.config.depth}", *given.notes]
    return given


def given_cameras(run: Run, given: DepthSource | None) -> tuple[Cameras | None, Tensor | None]:
    """Cameras that the user named, or that came with the depth; and what the lens saw after its
    distortion is undone (the run's video is then replaced)."""
    config, video = run.config, run.video
    if config.cameras is None:
        return (None, None) if given is None else (given.cameras, None)
    file = read_cameras(
        config.cameras, config.cameras_format,
        num_frames=len(video), height=video.height, width=video.width, part=run.part,
    )  # fmt: skip
    run.notes += [f"cameras taken from {config.cameras}", *file.notes]
    run.report["metric cameras"] = file.metric
    valid = None
    if file.lens != "opencv":
        room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
        run.video, cameras, valid = straightened_video(video, file, config.fov, run.progress, room)
        fov = float(fov_x_deg(cameras)[0])
        run.notes.append(
            f"{file.lens} frames straightened to a pinhole of {fov:.0f}° (--fov chooses it); the "
            "scene's video is the straightened one"
        )
        return cameras.resized(run.height, run.width), valid
    cameras = file.cameras_with(video.height, video.width, config.fov)
    if file.distortion is not None and bool(file.distortion.abs().max() > 0):
        room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
        run.video, cameras, valid = undistort_video(
            video, cameras, file.distortion, run.progress, room
        )
        run.notes.append("lens distortion undone; the scene's video is the straightened one")
    return cameras.resized(run.height, run.width), valid


def undo_lens(
    run: Run, k1: float, focal_px: float, shift_px: float, gain: float
) -> dict[str, float]:
    """Straighten the video for all that follows, and tell; arguments as of ``lens.Bend``. Returns
    what the report says of it."""
    with run.timed("straightening"):
        straighten(run, k1, focal_px)
    run.notes.append(
        f"the lens bends straight lines (k1 = {k1:.3f}): undone; the scene's video is the "
        "straightened one"
    )
    return {"k1": round(k1, 5), "corners_px": round(shift_px, 2), "gain": round(gain, 3)}


def straighten(run: Run, k1: float, focal_px: float) -> None:
    """Undo a lens for the run's video; its border becomes that of the straight picture, with what
    the lens never saw. focal_px: at the working size."""
    video, lens = run.video, torch.tensor([k1, 0, 0, 0, 0], dtype=torch.float64)
    focal = focal_px * video.width / run.width
    k = torch.tensor(
        [[focal, 0, video.width / 2], [0, focal, video.height / 2], [0, 0, 1]], dtype=torch.float64
    )
    pose = torch.eye(4, dtype=torch.float64)
    camera = Cameras(pose[None], k[None], video.height, video.width)
    room = scratch_tensor(tuple(video.frames.shape), torch.uint8)
    run.video, _, _ = undistort_video(video, camera, lens, run.progress, room)
    small = camera.resized(run.height, run.width).intrinsics[0]
    uv_px, seen = undistortion_map(small, run.height, run.width, lens)
    x, y = uv_px.to(torch.int64).unbind(-1)
    x, y = x.clamp(0, run.width - 1), y.clamp(0, run.height - 1)
    run.border = run.border[y.numpy(), x.numpy()] | ~seen.numpy()


def given_masks(run: Run, given: DepthSource | None) -> Mask | None:
    if run.config.masks is None:
        if given is None or given.dynamic is None:
            return None
        run.notes.append(f"moving areas taken from {run.config.depth}")
        return given.dynamic.numpy()
    masks = read_mask(
        run.config.masks, len(run.video), run.height, run.width, resize=True, part=run.part,
        label=run.config.mask_label,
    )  # fmt: skip
    run.notes.append(f"moving areas taken from {run.config.masks}")
    return masks.numpy() > 0.5
