"""GEN3C: the camera.npz beside its videos, and the camera paths that its window saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    MAX_CAMERAS,
    array_shape,
    as_intrinsics,
    as_poses,
    focal_from_vertical_fov,
    intrinsics_size,
    pinhole,
    read_array,
    read_object,
    write_arrays,
)
from recam.camera_files.instant_ngp import FIELDS, out_of_the_cube
from recam.geometry import quaternion_from_rotation, rotation_from_quaternion, se3, se3_inverse
from recam.runtime.records import write_json
from recam.types import Cameras

GEN3C = "GEN3C's w2c (T,4,4), world to camera, OpenCV axes, with intrinsics (T,3,3)"
GEN3C_PATH = (
    "GEN3C's camera path: entries with R, the camera-to-world rotation as a quaternion x y z w "
    "(OpenCV axes), T, the camera's centre, and fov, vertical in degrees"
)


SPLINE_NOTE = "the path passes through its keys; the program's own spline only passes near them"


def read_gen3c(path: Path) -> CameraFile:
    """GEN3C's camera.npz, or the folder that holds it."""
    file = path / "camera.npz" if path.is_dir() else path
    poses = as_poses(read_array(file, "w2c", GEN3C), file, GEN3C)
    k = as_intrinsics(read_array(file, "intrinsics", GEN3C), len(poses), file)
    h, w, notes = intrinsics_size(k, array_shape(file.parent / "depth.npz", "depth"))
    return CameraFile("gen3c", poses, k, h, w, notes=notes)


def write_gen3c(path: Path, cameras: Cameras) -> None:
    arrays = {"w2c": cameras.cam_from_world.numpy(), "intrinsics": cameras.intrinsics.numpy()}
    write_arrays(path, {name: a.astype(np.float32) for name, a in arrays.items()})


def read_gen3c_path(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A camera path saved by GEN3C's window, or by instant-ngp's, which it descends from: keys of a
    designed path."""
    entries = read_object(path).records("path", 0, MAX_CAMERAS)
    if not entries:
        raise ValueError(f"{path}: an empty path; expected {GEN3C_PATH}")
    try:
        quaternion = torch.tensor([_xyzw(e.value["R"]) for e in entries], dtype=torch.float64)
        center = torch.tensor([_xyzw(e.value["T"]) for e in entries], dtype=torch.float64)
        fov = [float(e.value["fov"]) for e in entries]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: an entry without R, T or fov; expected {GEN3C_PATH}") from error
    if quaternion.shape[1:] != (4,) or center.shape[1:] != (3,):
        raise ValueError(f"{path}: R needs four numbers and T three; expected {GEN3C_PATH}")
    if not bool(quaternion.norm(dim=1).gt(1e-6).all()):
        raise ValueError(f"{path}: a quaternion of length 0; expected {GEN3C_PATH}")
    poses = as_poses(
        se3(rotation_from_quaternion(quaternion[:, [3, 0, 1, 2]]), center), path, GEN3C_PATH
    )
    format, note = "gen3c", SPLINE_NOTE
    if any(name in entries[0] for name in FIELDS):
        poses, cube = out_of_the_cube(poses, path)
        format, note = "instant-ngp", f"{cube}; {SPLINE_NOTE}"
    h, w = height or 720, width or 1280
    focal = focal_from_vertical_fov(fov, h, path)
    stamps = [e.number("timestamp", default=0.0) for e in entries]
    times = torch.tensor(stamps, dtype=torch.float64)
    if not bool((times[1:] > times[:-1]).all()):
        times = torch.arange(len(entries), dtype=torch.float64)
    k = as_intrinsics(pinhole(focal, focal, w / 2, h / 2), len(poses), path)
    return CameraFile(
        format, se3_inverse(poses), k, h, w, times_s=times, designed=True, notes=(note,),
    )  # fmt: skip


def _xyzw(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [float(value[key]) for key in "xyzw" if key in value]
    return [float(v) for v in value]


def write_gen3c_path(path: Path, cameras: Cameras, times_s: Tensor) -> None:
    """A GEN3C camera path: quaternions x y z w of world_from_cam, centres, vertical fov in deg."""
    quaternion = quaternion_from_rotation(cameras.world_from_cam[:, :3, :3])[:, [1, 2, 3, 0]]
    fov = torch.rad2deg(2 * torch.atan(0.5 * cameras.height / cameras.intrinsics[:, 1, 1]))
    entries = [
        {"R": q, "T": t, "fov": f, "timestamp": s}
        for q, t, f, s in zip(
            quaternion.tolist(), cameras.centers.tolist(), fov.tolist(), times_s.tolist()
        )
    ]
    duration = float(times_s[-1])
    write_json(
        path,
        {
            "loop": False,
            "time": 0.0,
            "path": entries,
            "duration_seconds": duration,
            "spline_order": 3,
        },
    )
