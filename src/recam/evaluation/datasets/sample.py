"""What every data set is turned into: a source clip, and true views of it from other cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from recam.types import CameraPath, Cameras, Video


@dataclass(frozen=True)
class TargetView:
    """The truth that a new view is compared with. Pictures are read when asked for.

    name: of the view, unique in its sample.
    path: n cameras in the source cameras' world at the true pictures' size, and the source frame
        whose moment each of them shows.
    read_video: reads the n true frames.
    read_counted: reads bool [n, h, w], True = this pixel is compared: co-visible with the source
        (DyCheck), or inside what the lens saw (undistorted pictures). None = all pixels.
    read_dynamic: reads bool [n, h, w], True = what is seen there moves; None = unknown.
    read_flow: reads true optical flow float32 [n - 1, h, w, 2] px from each frame to the next, and
        bool [n - 1, h, w], True = what is shown there is not hidden in the next; None = unknown.
    read_seen: reads uint8 [n, h, w]: 2 where the source frame of that moment shows this surface, 1
        where only other frames do, 0 where none does, by true geometry; None = unknown.
    """

    name: str
    path: CameraPath
    read_video: Callable[[], Video]
    read_counted: Callable[[], Tensor] | None = None
    read_dynamic: Callable[[], Tensor] | None = None
    read_seen: Callable[[], Tensor] | None = None
    read_flow: Callable[[], tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class EvaluationSample:
    """One clip of a data set with all that is known about it. Pictures are read when asked for.

    name: of the clip, unique in its data set.
    read_video: reads the source's t frames.
    cameras: t true source cameras at the video's size, or None when the data set has none.
    views: true views to compare with; empty for data sets of single videos.
    read_depth: reads true depth and where it is valid, float32 and bool [t, h, w]: z-depth in the
        cameras' units, at its own size (of the video's aspect); None when there is none.
    read_dynamic: reads bool [t, h, w], True = it moves, as the data set says; None = unknown.
    read_points: reads true points on surfaces, of which depth at the source's video is known: the
        frame int64 [k] and place in the cameras' world float64 [k, 3] of each; None = none. They
        tell the scale of a scene whose depth is estimated.
    metres_per_unit: scale of the cameras' world, or None.
    notes: how the protocol here differs from the published one, and what was assumed, for users.
    split: the part of the data set that it belongs to, or "".
    files: hash of the files that it is read from (see listing_hash), or "": scores that were kept
        are made anew when it changes.
    """

    name: str
    read_video: Callable[[], Video]
    cameras: Cameras | None = None
    views: tuple[TargetView, ...] = ()
    read_depth: Callable[[], tuple[Tensor, Tensor]] | None = None
    read_dynamic: Callable[[], Tensor] | None = None
    read_points: Callable[[], tuple[Tensor, Tensor]] | None = None
    metres_per_unit: float | None = None
    notes: tuple[str, ...] = ()
    split: str = ""
    files: str = ""
