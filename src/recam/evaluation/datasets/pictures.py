"""Reading lists of picture files, as data sets keep them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.camera_files import undistort_video
from recam.media import read_image
from recam.types import Cameras, RecamError, Video


def read_pictures(
    files: Sequence[Path], times_s: Sequence[float], keep_hidden: bool = False
) -> Video:
    """Picture files of one size as a Video.

    keep_hidden: take the colours of transparent pixels as they are stored, as Kubric's and
    DyCheck's own loaders do, instead of black. Raises RecamError for files that are missing, broken
    or of several sizes.
    """
    frames = [_stored_colors(file) if keep_hidden else read_image(file) for file in files]
    for file, frame in zip(files, frames):
        if frame.shape != frames[0].shape:
            raise RecamError(
                f"{file} is {frame.shape[2]}×{frame.shape[1]}, {files[0].name} "
                f"{frames[0].shape[2]}×{frames[0].shape[1]}; the frames of a video share one size"
            )
    return Video(torch.stack(frames), torch.tensor(list(times_s), dtype=torch.float64))


def _stored_colors(path: Path) -> Tensor:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise RecamError(f"there is no picture {path}, or it is broken")
    return torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))


def read_marks(files: Sequence[Path], height: int, width: int, labels: bool = False) -> Tensor:
    """Mask pictures as bool [t, h, w], True where white; resized by nearest pixel.

    labels: pictures of labels or of their colours (DAVIS's palette), True where they are not black.
    """
    marks = []
    for file in files:
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.is_file() else None
        if picture is None:
            raise RecamError(f"there is no mask {file}, or it is broken")
        bright = picture if picture.ndim == 2 else picture[..., :3].max(-1)
        mark = (bright > (0 if labels else 127)).astype(np.uint8)
        if mark.shape != (height, width):
            mark = cv2.resize(mark, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        marks.append(torch.from_numpy(mark > 0))
    return torch.stack(marks)


def straightened(video: Video, cameras: Cameras, lens: Tensor | None) -> tuple[Video, Tensor]:
    """The video as pinhole cameras see it, and bool [t, h, w], where the lens saw something."""
    if lens is None:
        return video, torch.ones(len(video), video.height, video.width, dtype=torch.bool)
    straight, _, seen = undistort_video(video, cameras, lens)
    return straight, seen


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture file."""
    height, width = read_image(path).shape[1:]
    return height, width


def chosen_scenes(scenes: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The scenes' folders that have one of these names. Raises RecamError when none has."""
    chosen = [scene for scene in scenes if scene.resolve().name in names]
    if not chosen:
        raise RecamError(
            f"none of the scenes of this protocol is in {scenes[0].parent}: {', '.join(names)}"
        )
    return chosen


def folders_with(folder: Path, found: str) -> list[Path]:
    """The folder itself, or those in it, that hold something matching the glob ``found``, sorted.

    Raises RecamError when there is none, naming what was looked for.
    """
    if not folder.is_dir():
        raise RecamError(f"there is no folder {folder}")
    if any(folder.glob(found)):
        return [folder]
    inside = [f for f in sorted(folder.iterdir()) if f.is_dir() and any(f.glob(found))]
    if not inside:
        raise RecamError(f"{folder} holds no {found}, nor does any folder in it")
    return inside
