"""Cameras in lines of text: TUM, RealEstate10K / Wan-Fun, and 7-Scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    as_intrinsics,
    as_poses,
    numbers,
    pinhole,
    read_text,
    size_from_center,
    write_text,
)
from recam.geometry import quaternion_from_rotation, rotation_from_quaternion, se3, se3_inverse
from recam.types import Cameras

TUM = "lines of: timestamp tx ty tz qx qy qz qw (camera to world, OpenCV axes)"
RE10K = (
    "a header line, then lines of 19 numbers: timestamp, fx fy cx cy as fractions of the picture, "
    "0 0, and world-to-camera as 3×4 numbers by row (OpenCV axes)"
)
SEVEN_SCENES = "frame-*.pose.txt files of 4×4 camera-to-world numbers (OpenCV axes, metres)"


def read_tum(path: Path) -> CameraFile:
    """A TUM trajectory. It holds no intrinsics."""
    rows = []
    for i, line in enumerate(read_text(path).splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            rows.append(numbers(line, path, f"line {i + 1}"))
            if len(rows[-1]) != 8:
                raise ValueError(
                    f"{path}: line {i + 1} has {len(rows[-1])} numbers; expected {TUM}"
                )
    if not rows:
        raise ValueError(f"{path}: no poses; expected {TUM}")
    table = torch.tensor(rows, dtype=torch.float64)
    xyzw = table[:, 4:]
    length = xyzw.norm(dim=1)
    if not bool(((length - 1).abs() < 0.02).all()):
        raise ValueError(f"{path}: quaternions that are not of length 1; expected {TUM}")
    if not bool((table[1:, 0] > table[:-1, 0]).all()):
        raise ValueError(f"{path}: timestamps do not increase; expected {TUM}")
    rotation = rotation_from_quaternion(xyzw[:, [3, 0, 1, 2]])
    world_from_cam = as_poses(se3(rotation, table[:, 1:4]), path, TUM)
    return CameraFile("tum", se3_inverse(world_from_cam), times_s=table[:, 0])


def write_tum(path: Path, cameras: Cameras, times_s: torch.Tensor) -> None:
    world_from_cam = cameras.world_from_cam
    quaternion = quaternion_from_rotation(world_from_cam[:, :3, :3])[:, [1, 2, 3, 0]]
    table = torch.cat([times_s[:, None], world_from_cam[:, :3, 3], quaternion], 1)
    lines = [" ".join(f"{v:.12g}" for v in row) for row in table.tolist()]
    write_text(path, "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n")


def read_re10k(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A RealEstate10K or Wan-Fun camera file.

    Its intrinsics are fractions of the picture, so they fit any size; without one the picture
    counts as 720 px high and as wide as square pixels ask for.
    """
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: empty; expected {RE10K}")
    first = 0 if len(lines[0].split()) == 19 else 1
    rows = [numbers(line, path, f"line {i + first + 1}") for i, line in enumerate(lines[first:])]
    wrong = [i for i, row in enumerate(rows) if len(row) != 19]
    if wrong or not rows:
        got = (
            f"line {wrong[0] + first + 1} has {len(rows[wrong[0]])} numbers"
            if wrong
            else "no poses"
        )
        raise ValueError(f"{path}: {got}; expected {RE10K}")
    table = np.array(rows)
    if np.any(table[:, 3:5] > 1.5) or np.any(table[:, 3:5] < -0.5):
        raise ValueError(
            f"{path}: the principal point is not a fraction of the picture; expected {RE10K}"
        )
    w2c = as_poses(table[:, 7:].reshape(-1, 3, 4), path, RE10K)
    notes: tuple[str, ...] = ()
    if height is None or width is None:
        height = 720
        width = round(height * float(np.median(table[:, 2] / table[:, 1])))
        notes = (f"size taken as {width}×{height}, where the file's pixels are square",)
    k = pinhole(
        table[:, 1] * width, table[:, 2] * height, table[:, 3] * width, table[:, 4] * height
    )
    # RealEstate10K counts microseconds; Wan-Fun's files hold zeros or frame numbers.
    microseconds = table[:, 0]
    times = torch.from_numpy(microseconds / 1e6) if np.all(np.diff(microseconds) > 1e3) else None
    return CameraFile(
        "re10k", w2c, as_intrinsics(k, len(w2c), path), height, width, times_s=times,
        relative_to_first=True, notes=notes,
    )  # fmt: skip


def write_re10k(path: Path, cameras: Cameras, times_s: torch.Tensor, header: str) -> None:
    k, h, w = cameras.intrinsics, cameras.height, cameras.width
    lines = [header]
    for i in range(len(cameras)):
        normalised = [k[i, 0, 0] / w, k[i, 1, 1] / h, k[i, 0, 2] / w, k[i, 1, 2] / h]
        values = [*map(float, normalised), 0, 0, *cameras.cam_from_world[i, :3].flatten().tolist()]
        microseconds = round(float(times_s[i]) * 1e6)
        lines.append(" ".join([str(microseconds), *(f"{v:.12g}" for v in values)]))
    write_text(path, "\n".join(lines) + "\n")


def read_7scenes(path: Path) -> CameraFile:
    """A folder of 7-Scenes poses, in the order of their names; camera-intrinsics.txt if present.

    The frames are those that have a pose file. The intrinsics there are the depth camera's.
    """
    files = sorted(path.glob("*.pose.txt")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no poses; expected {SEVEN_SCENES}")
    poses = []
    for file in files:
        values = numbers(read_text(file).replace("\n", " "), file, "the file")
        if len(values) != 16:
            raise ValueError(f"{file}: {len(values)} numbers; expected {SEVEN_SCENES}")
        poses.append(np.array(values).reshape(4, 4))
    world_from_cam = as_poses(np.stack(poses), path, SEVEN_SCENES)
    intrinsics, height, width = None, None, None
    calibration = files[0].parent / "camera-intrinsics.txt"
    notes: tuple[str, ...] = ()
    if calibration.is_file():
        values = numbers(read_text(calibration).replace("\n", " "), calibration, "the file")
        if len(values) != 9:
            raise ValueError(f"{calibration}: {len(values)} numbers; expected a 3×3 matrix")
        intrinsics = as_intrinsics(np.array(values).reshape(3, 3), len(poses), calibration)
        height, width = size_from_center(intrinsics)
        notes = ("intrinsics are the depth camera's; the colour camera's focal length is shorter",)
    return CameraFile(
        "7scenes", se3_inverse(world_from_cam), intrinsics, height, width, metric=True, notes=notes
    )


def write_7scenes(path: Path, cameras: Cameras) -> None:
    for i, pose in enumerate(cameras.world_from_cam.tolist()):
        rows = "\n".join("\t ".join(f"{v:.12e}" for v in row) for row in pose)
        write_text(path / f"frame-{i:06d}.pose.txt", rows + "\n")
    rows = "\n".join(" ".join(f"{v:.12e}" for v in row) for row in cameras.intrinsics[0].tolist())
    write_text(path / "camera-intrinsics.txt", rows + "\n")
