"""What a camera file says, in recam's conventions, and how it is fitted to a video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recam.camera_files.clocks import stamps_of
from recam.geometry import interpolate_poses, interpolate_values, intrinsics_from_fov
from recam.types import Cameras, SourcePart

LensKind = Literal["opencv", "fisheye", "equirectangular"]
"""opencv: a pinhole bent by k1 k2 p1 p2 k3; fisheye: OpenCV's equidistant model with k1 … k4;
equirectangular: the whole sphere, longitude over the width, latitude over the height."""
OrbitConvention = Literal["cognvs", "trajectorycrafter", "viewcrafter"]


class CameraFileWarning(UserWarning):
    """What was assumed in reading a path's file."""


@dataclass(frozen=True)
class OrbitKeys:
    """The numbers of a three-line orbit file, in the units and signs of their own program.

    phi_deg, theta_deg [any length ≥ 2]; r, a fraction of the orbit's radius; x and y in scene
    units (only TrajectoryCrafter's five-number target pose gives them). Each line is spread evenly
    over the clip, whatever its length. What the signs mean depends on the convention.
    """

    convention: OrbitConvention
    phi_deg: Tensor
    theta_deg: Tensor
    r: Tensor
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Keyframes:
    """Keys of a recam keyframe file.

    unit: whether key times are frame numbers or seconds.
    channels: for each amount that the file gives, its key times [k] and values [k]. yaw, pitch,
        pan, tilt, roll, fov in degrees; distance, right, up as fractions of the focus depth; zoom
        a factor; source_frame the moment shown.
    at, cam_from_world: key times [k] and poses [k, 4, 4] when keys are absolute cameras.
    """

    unit: Literal["frame", "time_s"]
    channels: dict[str, tuple[Tensor, Tensor]]
    at: Tensor | None = None
    cam_from_world: Tensor | None = None


@dataclass(frozen=True)
class CameraFile:
    """Cameras as a file gives them: OpenCV axes, pixels from the picture's corner.

    format: the format that was read.
    cam_from_world: float64 [n, 4, 4] in the file's world, or None when the file only gives motion
        relative to the source's cameras (then ``orbit`` or ``keyframes`` is set).
    intrinsics: float64 [n, 3, 3] in pixels of (height, width), or None when the file has none.
    frame_indices: int64 [n], video frames that the cameras belong to, increasing; None when the
        file does not say (its cameras are then the video's frames in order).
    times_s: float64 [n], or None. clock: what they count: "path", from the first camera; "source",
        as the source's frames do: films from their start, pictures whose names are times.
    distortion: float64 [5], OpenCV's k1 k2 p1 p2 k3 (of a fisheye k1 k2 k3 k4 0), [n, 5] where it
        differs from camera to camera, or None.
    lens: what the distortion means; an equirectangular picture has neither it nor intrinsics.
    metric: translations are metres.
    relative_to_first: the format means motion relative to its first camera, so that its world is
        not the scene's.
    designed: the cameras are a path that someone drew, not those of a video's frames, so they may
        be resampled to any number of frames.
    numbers: int64 [n], the number in each camera's name, where names have one: they may be frames.
    missing: pictures of the source that the file has no camera for.
    notes: what was assumed in reading, for the user.
    """

    format: str
    cam_from_world: Tensor | None = None
    intrinsics: Tensor | None = None
    height: int | None = None
    width: int | None = None
    frame_indices: Tensor | None = None
    times_s: Tensor | None = None
    clock: Literal["path", "source"] = "path"
    distortion: Tensor | None = None
    lens: LensKind = "opencv"
    metric: bool = False
    relative_to_first: bool = False
    designed: bool = False
    orbit: OrbitKeys | None = None
    keyframes: Keyframes | None = None
    numbers: Tensor | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 0 if self.cam_from_world is None else len(self.cam_from_world)

    @property
    def cameras(self) -> Cameras | None:
        """The cameras, or None when the file gives no poses or no intrinsics."""
        if self.cam_from_world is None or self.intrinsics is None:
            return None
        if self.height is None or self.width is None:
            return None
        return Cameras(self.cam_from_world, self.intrinsics, self.height, self.width)

    def distortion_of(self, index: Tensor) -> Tensor | None:
        """The distortion of these cameras, as ``distortion``."""
        if self.distortion is None or self.distortion.dim() == 1:
            return self.distortion
        return self.distortion[index]

    def cameras_with(
        self,
        height: int,
        width: int,
        fov_deg: float | None = None,
        intrinsics: Tensor | None = None,
    ) -> Cameras:
        """Cameras of this picture size; intrinsics that the file lacks come from the arguments.

        fov_deg: horizontal field of view; intrinsics: [3, 3] or [n, 3, 3] px of (height, width).
        Raises ValueError when the file gives no poses, or nothing gives the intrinsics.
        """
        if self.cam_from_world is None:
            raise ValueError(
                f"a {self.format} file gives motion relative to the source, not cameras; "
                "use it as a path, and give the source's cameras in another file"
            )
        cameras = self.resized(height, width).cameras
        if cameras is not None:
            return cameras
        if intrinsics is None and fov_deg is None:
            raise ValueError(
                f"the {self.format} file has no intrinsics; give the horizontal field of view "
                "(--fov) as well"
            )
        if intrinsics is None:
            assert fov_deg is not None
            intrinsics = intrinsics_from_fov(fov_deg, height, width)
        k = intrinsics.to(torch.float64).expand(len(self), 3, 3).clone()
        return Cameras(self.cam_from_world, k, height, width)

    def resized(self, height: int, width: int) -> CameraFile:
        """The same rays on another pixel grid. Unchanged where the file has no intrinsics."""
        if self.intrinsics is None:
            return self
        if self.height is None or self.width is None:
            raise ValueError(
                f"the {self.format} file does not say which size its intrinsics are for"
            )
        scale = torch.tensor([width / self.width, height / self.height, 1.0], dtype=torch.float64)
        return replace(
            self, intrinsics=scale[:, None] * self.intrinsics, height=height, width=width
        )

    def at_frames(self, frames: Tensor) -> CameraFile:
        """The cameras of these frames (int64 [m]) of the video that the file belongs to.

        Frames between those of the file are interpolated smoothly; frames outside are reached at
        constant velocity, at most one gap of the file away. A file with one camera and no frame
        number is a camera that stands still. Raises ValueError for frames that it does not cover.
        """
        if self.cam_from_world is None:
            return self
        if len(self) == 1 and self.frame_indices is None:
            return self._taken(torch.zeros(len(frames), dtype=torch.int64), frames)
        at = torch.arange(len(self)) if self.frame_indices is None else self.frame_indices
        first, last, gap = (
            int(at[0]),
            int(at[-1]),
            int((at[1:] - at[:-1]).max()) if len(at) > 1 else 1,
        )
        low, high = int(frames.min()), int(frames.max())
        shared = max(0, min(last, high) - max(first, low) + 1)
        reach = gap - 1  # a file of every 11th frame may leave up to 10 over at either end
        if low < first - reach or high > last + reach:
            raise ValueError(
                f"the {self.format} file has cameras for frames {first}…{last}, but frames "
                f"{low}…{high} are wanted; give a file for the whole clip, or use fewer frames "
                f"(--start {max(first, low)} --num-frames {shared})"
            )
        hit = torch.isin(frames, at)
        if bool(hit.all()):
            return self._taken(torch.searchsorted(at, frames), frames)
        return self._interpolated(at, frames)

    def _taken(self, index: Tensor, frames: Tensor) -> CameraFile:
        def pick(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[index]

        return replace(
            self,
            cam_from_world=pick(self.cam_from_world),
            intrinsics=pick(self.intrinsics),
            distortion=self.distortion_of(index),
            times_s=pick(self.times_s) if len(self) > 1 else None,
            frame_indices=frames,
        )

    def at_times(self, stamps: Tensor) -> CameraFile:
        """The cameras at these moments (float64 [m] s) of the file's own clock, interpolated.

        Raises ValueError for moments that lie more than two of its steps outside of it.
        """
        assert self.cam_from_world is not None and self.times_s is not None
        at = self.times_s
        reach = 2 * float((at[1:] - at[:-1]).median())
        inside = (stamps >= at[0] - reach) & (stamps <= at[-1] + reach)
        if not bool(inside.all()):
            good = inside.nonzero()[:, 0]
            use = "no frame is among them"
            if len(good):
                use = f"use fewer frames (--start {int(good[0])} --num-frames {len(good)})"
            raise ValueError(
                f"the {self.format} file has cameras from {float(at[0]):.3f} to "
                f"{float(at[-1]):.3f} s, but frames from {float(stamps[0]):.3f} to "
                f"{float(stamps[-1]):.3f} s are wanted; {use}"
            )
        # Counted from the first: a clock of 1970 has no digits left for a small time squared.
        since, wanted = at - at[0], stamps - at[0]
        poses = interpolate_poses(since, self.cam_from_world, wanted, extrapolate=True)
        one = self.intrinsics is not None and bool((self.intrinsics == self.intrinsics[:1]).all())
        k = None
        if self.intrinsics is not None:
            flat = interpolate_values(since, self.intrinsics.reshape(len(self), 9), wanted)
            k = self.intrinsics[:1].expand(len(stamps), 3, 3) if one else flat.reshape(-1, 3, 3)
        note = f"{len(self)} cameras of the file matched to {len(stamps)} frames by their times"
        return replace(
            self, cam_from_world=poses, intrinsics=k, times_s=wanted,
            frame_indices=torch.arange(len(stamps)), notes=(*self.notes, note),
        )  # fmt: skip

    def _interpolated(self, at: Tensor, frames: Tensor) -> CameraFile:
        assert self.cam_from_world is not None

        def curve(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            flat = interpolate_values(at, value.reshape(len(value), -1), frames)
            return flat.reshape(len(frames), *value.shape[1:])

        differ = self.distortion is not None and self.distortion.dim() == 2
        absent = frames[~torch.isin(frames, at)].tolist()
        listed = ", ".join(map(str, absent[:6])) + (", …" if len(absent) > 6 else "")
        note = (
            f"{len(self)} cameras of the file interpolated to {len(frames)} frames (it has none "
            f"for frame{'s' if len(absent) > 1 else ''} {listed})"
        )
        return replace(
            self,
            cam_from_world=interpolate_poses(at, self.cam_from_world, frames, extrapolate=True),
            intrinsics=curve(self.intrinsics),
            distortion=curve(self.distortion) if differ else self.distortion,
            times_s=None,
            frame_indices=frames,
            notes=(*self.notes, note),
        )

    def for_video(
        self, num_frames: int, part: SourcePart | None = None, times_s: Tensor | None = None
    ) -> CameraFile:
        """One camera for each of a video's num_frames frames, interpolated where the file is
        sparse.

        part: which of its source's frames the video has; the file's frame numbers, or its cameras
        if there is one for each, are then the source's. times_s: float64 [num_frames], of a film's
        frames. Raises ValueError when the counts cannot belong together.
        """
        if self.cam_from_world is None:
            return self
        part = part or SourcePart("")
        if self.clock == "source" and self.times_s is not None and len(self) > 1:
            stamps = stamps_of(self.times_s, self.numbers, num_frames, part, times_s)
            if stamps is not None:
                return self.at_times(stamps)
        frames = torch.arange(num_frames) if part.frames is None else part.frames
        if self.frame_indices is None and len(self) > 1:
            numbered = self._numbered(part.num_source_frames or num_frames, num_frames)
            if numbered is not None:
                return numbered.at_frames(frames)
            if len(self) != num_frames and part.frames is None:
                raise ValueError(
                    f"the {self.format} file has {len(self)} cameras but the video has "
                    f"{num_frames} frames, and the file does not say which frames they belong to; "
                    "give a file with one camera per frame, or one with frame numbers "
                    "(cameras.json)"
                )
            entries = part.entries(len(self), num_frames, f"{self.format} cameras")
            return self._told_if_counted_anew(part).at_frames(entries)
        frames = torch.arange(num_frames) if part.frames is None else part.frames
        return self.at_frames(frames)

    def _told_if_counted_anew(self, part: SourcePart) -> CameraFile:
        """With a word where names count on from frame to frame used, of which some lie between."""
        if self.numbers is None or part.frames is None or len(self) != len(part.frames):
            return self
        numbers = self.numbers.sort().values
        if torch.equal(numbers - numbers[0], part.frames - part.frames[0]):
            return self
        note = f"its names are taken to count the {len(self)} frames used, not all of the source's"
        return replace(self, notes=(*self.notes, note))

    def _numbered(self, num_source_frames: int, num_frames: int) -> CameraFile | None:
        """With the numbers in names as frames, where only some of the source's have a camera.

        They count from 0 where one is 0, from 1 where one is the source's number of frames; else
        nothing says which of the two.
        """
        if self.numbers is None or len(self) >= num_source_frames:
            return None
        low, high = int(self.numbers.min()), int(self.numbers.max())
        if high - low + 1 == len(self) == num_frames:
            return None  # one for each of the video's frames
        if low == 0 and high < num_source_frames:
            return replace(self, frame_indices=self.numbers)
        if low > 0 and high == num_source_frames:
            return replace(self, frame_indices=self.numbers - 1)
        return None
