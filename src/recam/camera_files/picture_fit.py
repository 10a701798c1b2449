"""Cameras of a file fitted to the pictures of a video: their size, and which way up they are."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile
from recam.types import SourcePart

Turn = tuple[int, int, int, int]
_UPRIGHT: Turn = (1, 0, 0, 1)
_SAME_SHAPE = 0.02
_ABOUT_THE_SAME_SHAPE = 0.06
"""Programs that work at multiples of 8 or 14 pixels change a picture's shape by so much."""


def fitted(file: CameraFile, height: int, width: int, part: SourcePart | None) -> CameraFile:
    """Cameras for pictures of (height, width): the same rays on another pixel grid.

    Cameras of the pictures as they are stored are turned with the pictures, where these are shown
    turned. Raises ValueError where the pictures lie on their side against the cameras and nothing
    says which way they were turned.
    """
    if file.intrinsics is None or file.height is None or file.width is None:
        return file
    shape, stored_shape = width / height, _stored_shape(part)
    own = file.width / file.height
    turn = _UPRIGHT if part is None else part.turn
    slack = _SAME_SHAPE + 2 / min(height, width)
    if _alike(own, shape, slack):
        return _noted_if_turned(file, turn, shape).resized(height, width)
    if stored_shape is not None and _alike(own, stored_shape, slack):
        if turn == _UPRIGHT:  # pixels that are not square, stretched with the picture
            return file.resized(height, width)
        return turned(file, turn).resized(height, width)
    if _alike(own, 1 / shape, slack):
        raise ValueError(
            f"the {file.format} file's cameras are of pictures of {file.width}×{file.height}, but "
            f"the pictures are {width}×{height}: turned on their side since. Give the pictures as "
            "the cameras saw them, or cameras of the turned ones"
        )
    if _alike(own, shape, _ABOUT_THE_SAME_SHAPE):
        return file.resized(height, width)
    note = (
        f"the cameras are of pictures of {file.width}×{file.height}, another shape than the "
        f"video's {width}×{height}: taken as stretched, which is wrong if one of them was cropped"
    )
    return replace(file.resized(height, width), notes=(*file.notes, note))


def _stored_shape(part: SourcePart | None) -> float | None:
    if part is None or part.stored_height is None or part.stored_width is None:
        return None
    return part.stored_width / part.stored_height


def _alike(a: float, b: float, slack: float) -> bool:
    return abs(a / b - 1) < slack


def _noted_if_turned(file: CameraFile, turn: Turn, shape: float) -> CameraFile:
    """A word where the shape cannot tell whether cameras are of the stored or the shown picture."""
    if turn == _UPRIGHT or (turn[0] == 0 and not _alike(shape, 1, 0.05)):
        return file
    note = "the pictures are shown turned: the cameras are taken to be of what is shown"
    return replace(file, notes=(*file.notes, note))


def turned(file: CameraFile, turn: Turn) -> CameraFile:
    """Cameras of stored pictures for the pictures as shown (see ``media.convert.Turn``).

    Raises ValueError for mirrored pictures, which no camera sees.
    """
    a, b, c, d = turn
    if a * d - b * c != 1:
        raise ValueError("the pictures are shown mirrored, which no camera can follow")
    assert file.height is not None and file.width is not None
    rotation = torch.tensor([[a, c, 0], [b, d, 0], [0, 0, 1]], dtype=torch.float64)
    size = torch.tensor([file.width, file.height], dtype=torch.float64)
    # Where an axis is reversed, pixels count from the other side.
    offset = torch.tensor([min(a, 0) * -size[0] + min(c, 0) * -size[1],
                           min(b, 0) * -size[0] + min(d, 0) * -size[1]])  # fmt: skip
    pixels = rotation.clone()
    pixels[:2, 2] = offset
    intrinsics = None if file.intrinsics is None else pixels @ file.intrinsics @ rotation.T
    poses = None if file.cam_from_world is None else _rotated(file.cam_from_world, rotation)
    height, width = (file.width, file.height) if a == 0 else (file.height, file.width)
    note = "the cameras are of the stored pictures and were turned with them"
    return replace(
        file, cam_from_world=poses, intrinsics=intrinsics, height=height, width=width,
        distortion=_turned_lens(file, rotation), notes=(*file.notes, note),
    )  # fmt: skip


def _rotated(cam_from_world: Tensor, rotation: Tensor) -> Tensor:
    out = cam_from_world.clone()
    out[:, :3] = rotation @ cam_from_world[:, :3]
    return out


def _turned_lens(file: CameraFile, rotation: Tensor) -> Tensor | None:
    """Of OpenCV's coefficients (p2, p1) is a direction in the picture; the others have none."""
    if file.distortion is None or file.lens != "opencv":
        return file.distortion
    out = file.distortion.clone()
    out[..., [3, 2]] = file.distortion[..., [3, 2]] @ rotation[:2, :2].T
    return out
