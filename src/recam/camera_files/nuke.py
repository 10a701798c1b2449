"""Nuke's .chan: a line a frame of ``frame tx ty tz rx ry rz fov``.

World with y up, cameras x right, y up, z backward; angles in degrees in Nuke's own order ZXY (z is
turned first: R = Ry·Rx·Rz); fov vertical. Nuke makes a focal length of it with the camera's
vertical aperture, which must therefore have the picture's aspect before the file is imported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    as_intrinsics,
    as_poses,
    focal_from_vertical_fov,
    numbers,
    pinhole,
    read_text,
    write_text,
)
from recam.camera_files.graphics_axes import (
    FIRST_FRAME,
    require_centered,
    world_from_y_up,
    y_up_from_cam,
)
from recam.geometry import se3_inverse
from recam.types import Cameras

CHAN = (
    "Nuke's .chan: frame tx ty tz rx ry rz [vertical fov], degrees in rotation order ZXY, y up, "
    "cameras looking along −z"
)
_ORDER = "YXZ"  # scipy's name for Ry·Rx·Rz


def write_chan(path: Path, cameras: Cameras, frames: Tensor) -> None:
    """frames: int64 [n], counted from 0. Raises ValueError for a principal point off the middle."""
    require_centered(cameras, ".chan", "USD (.usda)")
    poses = y_up_from_cam(cameras).numpy()
    angles = np.unwrap(Rotation.from_matrix(poses[:, :3, :3]).as_euler(_ORDER), axis=0)
    rx, ry, rz = np.rad2deg(angles[:, [1, 0, 2]]).T
    fov = torch.rad2deg(2 * torch.atan(0.5 * cameras.height / cameras.intrinsics[:, 1, 1])).numpy()
    rows = np.column_stack([poses[:, :3, 3], rx, ry, rz, fov])
    lines = [
        f"{int(frame) + FIRST_FRAME}\t" + "\t".join(f"{value:.10g}" for value in row)
        for frame, row in zip(frames, rows)
    ]
    write_text(path, "\n".join(lines) + "\n")


def read_chan(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A .chan of 7 or 8 columns; the first line's frame is the video's first."""
    lines = [line for line in read_text(path).splitlines() if line.strip() and line[0] != "#"]
    rows = [numbers(line, path, f"line {i + 1}") for i, line in enumerate(lines)]
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) not in (7, 8):
        raise ValueError(f"{path}: not lines of 7 or 8 numbers; expected {CHAN}")
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise ValueError(f"{path}: NaN or infinite numbers; expected {CHAN}")
    frames = np.round(table[:, 0]).astype(np.int64)
    if np.any(np.diff(frames) <= 0):
        raise ValueError(f"{path}: frame numbers do not increase; expected {CHAN}")
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler(_ORDER, table[:, [5, 4, 6]], degrees=True).as_matrix()
    poses[:, :3, 3] = table[:, 1:4]
    cam_from_world = se3_inverse(world_from_y_up(as_poses(poses, path, CHAN)))
    intrinsics = None
    if table.shape[1] == 8 and height is not None and width is not None:
        focal = focal_from_vertical_fov(table[:, 7], height, path)
        lens = pinhole(focal, focal, width / 2, height / 2)
        intrinsics = as_intrinsics(lens, len(table), path)
    size = (height, width) if intrinsics is not None else (None, None)
    return CameraFile(
        "chan", cam_from_world, intrinsics, *size,
        frame_indices=torch.from_numpy(frames - frames[0]),
    )  # fmt: skip
