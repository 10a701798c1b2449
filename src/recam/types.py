"""The few types that every stage shares.

All arrays are torch tensors. Pixels are (x right, y down) with the centre of the first pixel at
(0.5, 0.5); cameras follow OpenCV (+x right, +y down, +z forward); depth is z-depth in scene units,
not distance along the ray. See docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from recam.runtime.errors import RecamError as RecamError

Progress = Callable[[str, int, int], None]
"""Called by long work as ``progress(what, done, total)``."""


CameraMotion = Literal["moving", "rotating", "static"]
"""What the source's camera did: moved through space, turned in place, or stood still."""
DepthOrigin = Literal["measured", "predicted", "assumed", "given"]
"""Where a scene's depth is from: the camera's motion, a network, a level ground with a backdrop, or
the user."""


def no_progress(what: str, done: int, total: int) -> None:
    """The default: report nothing."""


def _expect_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(e is not None and e != g for e, g in zip(shape, got)):
        expected = ", ".join("any" if s is None else str(s) for s in shape)
        raise ValueError(f"{name} has shape {list(got)}, expected [{expected}]")


def _expect_dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    if tensor.dtype != dtype:
        raise ValueError(f"{name} has dtype {tensor.dtype}, expected {dtype}")


class _ShownInNotebooks:
    """Shows itself where a notebook asks for HTML; the apps draw it, and are looked up by name so
    that nothing here depends on them."""

    def _repr_html_(self) -> str:
        return str(import_module("recam.apps.notebook").html(self))


@dataclass(frozen=True)
class Video:
    """A piece of film.

    frames: uint8 [t, 3, h, w], sRGB; may be memory-mapped, so slice before converting to float.
    times_s: float64 [t], presentation time of each frame in seconds, increasing.
    audio_path: media file whose sound belongs to these frames, or None.
    """

    frames: Tensor
    times_s: Tensor
    audio_path: str | None = None

    def __post_init__(self) -> None:
        _expect_shape("Video.frames", self.frames, (None, 3, None, None))
        _expect_dtype("Video.frames", self.frames, torch.uint8)
        _expect_shape("Video.times_s", self.times_s, (self.frames.shape[0],))

    def __len__(self) -> int:
        return self.frames.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Video:
        """The frames of a slice or an index tensor, as a Video (an int would drop a dimension)."""
        return Video(self.frames[index], self.times_s[index], self.audio_path)

    @property
    def height(self) -> int:
        return self.frames.shape[2]

    @property
    def width(self) -> int:
        return self.frames.shape[3]

    @property
    def fps(self) -> float:
        """Mean frame rate; 24 for a single frame."""
        if len(self) < 2:
            return 24.0
        return float((len(self) - 1) / (self.times_s[-1] - self.times_s[0]))


def video_from_frames(frames: Tensor, fps: float = 24.0, audio_path: str | None = None) -> Video:
    """A Video at a constant frame rate from uint8 frames [t, 3, h, w]."""
    times_s = torch.arange(frames.shape[0], dtype=torch.float64) / fps
    return Video(frames, times_s, audio_path)


@dataclass(frozen=True)
class Cameras:
    """n pinhole cameras that share an image size.

    cam_from_world: float64 [n, 4, 4], OpenCV axes.
    intrinsics: float64 [n, 3, 3] in pixels of (height, width).
    """

    cam_from_world: Tensor
    intrinsics: Tensor
    height: int
    width: int

    def __post_init__(self) -> None:
        _expect_shape("Cameras.cam_from_world", self.cam_from_world, (None, 4, 4))
        _expect_shape("Cameras.intrinsics", self.intrinsics, (self.cam_from_world.shape[0], 3, 3))
        _expect_dtype("Cameras.cam_from_world", self.cam_from_world, torch.float64)
        _expect_dtype("Cameras.intrinsics", self.intrinsics, torch.float64)

    def __len__(self) -> int:
        return self.cam_from_world.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Cameras:
        """The cameras of a slice or an index tensor."""
        return replace(
            self, cam_from_world=self.cam_from_world[index], intrinsics=self.intrinsics[index]
        )

    @property
    def world_from_cam(self) -> Tensor:
        """float64 [n, 4, 4], the inverse of cam_from_world."""
        rotation = self.cam_from_world[:, :3, :3].transpose(1, 2)
        inverse = torch.zeros_like(self.cam_from_world)
        inverse[:, :3, :3] = rotation
        inverse[:, :3, 3] = -(rotation @ self.cam_from_world[:, :3, 3:])[..., 0]
        inverse[:, 3, 3] = 1.0
        return inverse

    @property
    def centers(self) -> Tensor:
        """float64 [n, 3], camera centres in the world."""
        return self.world_from_cam[:, :3, 3]

    def resized(self, height: int, width: int) -> Cameras:
        """The same rays on another pixel grid (exact, also when the aspect changes)."""
        if (height, width) == (self.height, self.width):
            return self
        scale = torch.tensor([width / self.width, height / self.height, 1.0], dtype=torch.float64)
        return replace(
            self, intrinsics=scale[:, None] * self.intrinsics, height=height, width=width
        )

    def cropped(self, top: float, left: float, height: int, width: int) -> Cameras:
        """The same rays seen through a window whose corner is at (left, top) px."""
        intrinsics = self.intrinsics.clone()
        intrinsics[:, 0, 2] -= left
        intrinsics[:, 1, 2] -= top
        return replace(self, intrinsics=intrinsics, height=height, width=width)


@dataclass(frozen=True)
class CameraPath:
    """Where the new camera is, and which moment of the video it sees.

    cameras: n target cameras in the scene's world.
    source_frames: int64 [n], index of the source frame whose moment each target camera sees
        (0, 1, 2, … for a plain reshoot; constant for frozen time).
    """

    cameras: Cameras
    source_frames: Tensor

    def __post_init__(self) -> None:
        _expect_shape("CameraPath.source_frames", self.source_frames, (len(self.cameras),))
        _expect_dtype("CameraPath.source_frames", self.source_frames, torch.int64)

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, index: slice | Tensor) -> CameraPath:
        return CameraPath(self.cameras[index], self.source_frames[index])


@dataclass(frozen=True)
class Scene(_ShownInNotebooks):
    """A video with its geometry.

    video: t frames at their full size.
    cameras: t cameras at the depth's size (h, w), which may be smaller than the video's but has
        its aspect; ``cameras.resized(video.height, video.width)`` are the video's.
    depth: float32 [t, h, w], z-depth in scene units.
    valid: bool [t, h, w], True = the depth there means something.
    dynamic: bool [t, h, w], True = that surface moves in the world.
    confidence: float32 [t, h, w] in [0, 1], trust in the depth.
    metres_per_unit: the metric scale, or None when nothing gave it.
    camera_motion: what the source's camera did.
    depth_source: where the depth is from.
    report: JSON-able notes on how each part was obtained, for people. No stage reads it.
    num_made_up: the last so many frames were not filmed but made up (scene_memory.py); the camera
        path of a new video sees none of their moments.
    """

    video: Video
    cameras: Cameras
    depth: Tensor
    valid: Tensor
    dynamic: Tensor
    confidence: Tensor
    metres_per_unit: float | None = None
    camera_motion: CameraMotion = "moving"
    depth_source: DepthOrigin = "given"
    report: dict[str, Any] = field(default_factory=dict)
    num_made_up: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.video), self.cameras.height, self.cameras.width)
        if len(self.cameras) != len(self.video):
            raise ValueError(
                f"Scene has {len(self.cameras)} cameras for {len(self.video)} frames; "
                "give one camera per frame"
            )
        for name in ("depth", "valid", "dynamic", "confidence"):
            _expect_shape(f"Scene.{name}", getattr(self, name), shape)
        _expect_dtype("Scene.depth", self.depth, torch.float32)
        _expect_dtype("Scene.valid", self.valid, torch.bool)
        _expect_dtype("Scene.dynamic", self.dynamic, torch.bool)

    def __len__(self) -> int:
        return len(self.video)


@dataclass(frozen=True)
class SourcePart:
    """What a video was read from, so that files about its source find their frames.

    name: the file, or the folder or pattern of pictures. pictures: the names of all the source's
    pictures, in order, if it is pictures. frames: int64 [t], the source's frames that the video
    has; None = all of them. num_source_frames: how many the source has, where that is known.
    stored_height, stored_width, turn: of a picture as stored, and how it was turned from there to
    be shown (see ``media.convert.Turn``).
    """

    name: str
    pictures: tuple[str, ...] | None = None
    frames: Tensor | None = None
    num_source_frames: int | None = None
    stored_height: int | None = None
    stored_width: int | None = None
    turn: tuple[int, int, int, int] = (1, 0, 0, 1)

    def entries(self, num: int, num_frames: int, what: str) -> Tensor:
        """Which of ``num`` entries of a file (named ``what``) belong to the video's num_frames.

        There is one for each of the video's frames, or for each of the source's. Raises ValueError
        where it can be neither.
        """
        if num == num_frames:
            return torch.arange(num_frames)
        if self.frames is not None and num > int(self.frames.max()) and self._may_be_all(num):
            return self.frames
        one = "one for each" if self.frames is None else "one for each, or for each of the source's"
        total = self.num_source_frames
        of = "" if self.frames is None or total is None else f" (of {total})"
        raise ValueError(f"{what}: {num} for a video of {num_frames} frames{of}; give {one}")

    def _may_be_all(self, num: int) -> bool:
        """Films with an edit list count a frame or two that are never shown."""
        total = self.num_source_frames
        slack = 0 if self.pictures is not None else 2
        return total is None or total - slack <= num <= total


@dataclass(frozen=True)
class PartialVideo:
    """A video of which only a part was observed.

    frames: uint8 [t, 3, h, w]; values where nothing is known carry no meaning.
    known: float32 [t, h, w] in [0, 1], 1 = observed.
    """

    frames: Tensor
    known: Tensor

    def __post_init__(self) -> None:
        _expect_shape("PartialVideo.frames", self.frames, (None, 3, None, None))
        _expect_dtype("PartialVideo.frames", self.frames, torch.uint8)
        t, _, h, w = self.frames.shape
        _expect_shape("PartialVideo.known", self.known, (t, h, w))
        _expect_dtype("PartialVideo.known", self.known, torch.float32)

    def __len__(self) -> int:
        return self.frames.shape[0]


class Evidence(IntEnum):
    """What a rendered pixel rests on; the values are grey levels of known.mp4."""

    NONE = 0
    MADE_UP = 85
    """Made up for this or an earlier path, and remembered (scene_memory.py)."""
    ANOTHER_MOMENT = 170
    """Another frame of the video shows it."""
    THIS_MOMENT = 255


@dataclass(frozen=True)
class Rendering(PartialVideo, _ShownInNotebooks):
    """What the scene shows to given cameras: a PartialVideo that knows its geometry.

    depth: float32 [t, h, w], z-depth in the target camera; 0 where nothing is known.
    cameras: the t target cameras.
    evidence: uint8 [t, h, w] of Evidence, or None where it is not told.
    """

    depth: Tensor
    cameras: Cameras
    evidence: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect_shape("Rendering.depth", self.depth, tuple(self.known.shape))
        if len(self.cameras) != len(self):
            raise ValueError(f"Rendering has {len(self.cameras)} cameras for {len(self)} frames")


@dataclass(frozen=True)
class Pair:
    """A training example: a partially observed video and what it really shows."""

    partial: PartialVideo
    target: Video

    def __post_init__(self) -> None:
        if self.partial.frames.shape != self.target.frames.shape:
            raise ValueError(
                f"Pair of different shapes: partial {list(self.partial.frames.shape)}, "
                f"target {list(self.target.frames.shape)}"
            )


@dataclass(frozen=True)
class Result(_ShownInNotebooks):
    """What a task returns, with all that is needed to make it again."""

    video: Video
    partial: PartialVideo
    config: Any
    timings_s: dict[str, float]
    versions: dict[str, str]
    weights_sha256: str | None = None
