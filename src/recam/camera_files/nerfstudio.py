"""nerfstudio's transforms.json and camera_path.json: OpenGL cameras (x right, y up, z backward)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, selected
from recam.camera_files.checks import (
    as_distortion,
    as_intrinsics,
    as_poses,
    focal_from_vertical_fov,
    pinhole,
    read_json,
    write_json,
)
from recam.geometry import se3_inverse
from recam.types import Cameras

TRANSFORMS = (
    "nerfstudio's transforms.json: 4×4 transform_matrix, camera to world, OpenGL axes (x right, "
    "y up, z backward)"
)
CAMERA_PATH = (
    "nerfstudio's camera_path.json: camera_to_world as 16 numbers by row, OpenGL axes (x right, "
    "y up, z backward), fov vertical in degrees"
)
_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y")
_DISTORTION = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def read_transforms(
    path: Path, height: int | None, width: int | None, file: str | list[str] | None
) -> CameraFile:
    """A transforms.json. Frames go by the numbers in their names, not by their order in the file.

    height, width: the picture's size, for files that give only a field of view.
    """
    content = read_json(path)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"{path}: no frames; expected {TRANSFORMS}")
    names = [str(f.get("file_path", i)) for i, f in enumerate(frames)]
    chosen = selected(names, file, path)
    if not isinstance(file, list):
        chosen.sort(key=lambda i: _natural(names[i]))
    frames = [{**content, **frames[i]} for i in chosen]
    for frame in frames:
        model = str(frame.get("camera_model", "PINHOLE"))
        if frame.get("is_fisheye") or "FISHEYE" in model or "EQUIRECT" in model:
            raise ValueError(f"{path}: camera model {model}; recam reads pinhole and OPENCV lenses")
    missing = [i for i, f in enumerate(frames) if "transform_matrix" not in f]
    if missing:
        raise ValueError(
            f"{path}: frame {missing[0]} has no transform_matrix; expected {TRANSFORMS}"
        )
    gl = as_poses([f["transform_matrix"] for f in frames], path, TRANSFORMS)
    lenses = [[float(f.get(name, 0.0)) for name in _DISTORTION] for f in frames]
    if any(lens != lenses[0] for lens in lenses):
        raise ValueError(f"{path}: frames with different lens distortion; undistort them first")
    intrinsics, h, w = _frame_intrinsics(frames, path, height, width)
    return CameraFile(
        "nerfstudio", se3_inverse(gl @ _FLIP), intrinsics, h, w,
        distortion=as_distortion(lenses[0], path),
    )  # fmt: skip


def _natural(name: str) -> list[Any]:
    """Sort key in which frame_10 follows frame_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _frame_intrinsics(
    frames: list[dict[str, Any]], path: Path, height: int | None, width: int | None
) -> tuple[Tensor | None, int | None, int | None]:
    sizes = {(f.get("h"), f.get("w")) for f in frames}
    if len(sizes) > 1:
        raise ValueError(
            f"{path}: frames of different sizes {sorted(sizes, key=str)}; choose one video"
        )
    h, w = sizes.pop()
    first = frames[0]
    if (h is None or w is None) and "cx" in first and "cy" in first:
        h, w = round(2 * float(first["cy"])), round(2 * float(first["cx"]))
    h, w = (height, width) if h is None or w is None else (int(h), int(w))
    if h is None or w is None or not {"fl_x", "camera_angle_x"} & set(first):
        return None, None, None
    rows = []
    for f in frames:
        angle_x, angle_y = f.get("camera_angle_x"), f.get("camera_angle_y")
        fx = f.get("fl_x") or 0.5 * w / math.tan(float(angle_x or 0) / 2)
        fy = f.get("fl_y") or (0.5 * h / math.tan(float(angle_y) / 2) if angle_y else fx)
        rows.append([float(v) for v in (fx, fy, f.get("cx", w / 2), f.get("cy", h / 2))])
    return as_intrinsics(pinhole(*np.array(rows).T), len(frames), path), h, w


def write_transforms(
    path: Path, cameras: Cameras, names: list[str], times_s: Tensor, distortion: Tensor | None
) -> None:
    """transforms.json with one image name and time per camera."""
    gl = (cameras.world_from_cam @ _FLIP).tolist()
    content: dict[str, Any] = {"camera_model": "OPENCV" if distortion is not None else "PINHOLE"}
    if distortion is not None:
        content |= dict(zip(_DISTORTION[:5], distortion.tolist()))
    keys = [_intrinsics_of(cameras, i) for i in range(len(cameras))]
    shared = all(k == keys[0] for k in keys)
    content |= keys[0] if shared else {"w": cameras.width, "h": cameras.height}
    content["frames"] = [
        {
            "file_path": names[i], "time": float(times_s[i]), "transform_matrix": gl[i],
            **({} if shared else keys[i]),
        }
        for i in range(len(cameras))
    ]  # fmt: skip
    write_json(path, content)


def _intrinsics_of(cameras: Cameras, i: int) -> dict[str, float]:
    k = cameras.intrinsics[i].tolist()
    return {
        "fl_x": k[0][0], "fl_y": k[1][1], "cx": k[0][2], "cy": k[1][2],
        "w": cameras.width, "h": cameras.height,
    }  # fmt: skip


def read_camera_path(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A camera_path.json: a designed path. A given size keeps its vertical field of view."""
    content = read_json(path)
    entries = content.get("camera_path")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: no camera_path entries; expected {CAMERA_PATH}")
    kind = content.get("camera_type", "perspective")
    if kind != "perspective":
        raise ValueError(f"{path}: camera_type {kind!r}; recam renders perspective cameras only")
    try:
        matrices = np.array([e["camera_to_world"] for e in entries], dtype=np.float64)
        fov = [float(e.get("fov", content.get("default_fov", 50.0))) for e in entries]
        gl = as_poses(matrices.reshape(len(entries), 4, 4), path, CAMERA_PATH)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: an entry without camera_to_world; expected {CAMERA_PATH}"
        ) from error
    h = int(height or content.get("render_height") or 1080)
    w = int(width or content.get("render_width") or 1920)
    focal = focal_from_vertical_fov(fov, h, path)
    seconds = float(content.get("seconds") or len(entries) / float(content.get("fps") or 24))
    return CameraFile(
        "camera-path", se3_inverse(gl @ _FLIP),
        as_intrinsics(pinhole(focal, focal, w / 2, h / 2), len(gl), path), h, w,
        times_s=torch.linspace(0, seconds, len(gl), dtype=torch.float64), designed=True,
    )  # fmt: skip


def write_camera_path(path: Path, cameras: Cameras, times_s: Tensor) -> None:
    """camera_path.json. Raises ValueError for cameras that a vertical field of view cannot say."""
    k, h, w = cameras.intrinsics, cameras.height, cameras.width
    centered = (k[:, 0, 2] - w / 2).abs().max() < 0.51 and (k[:, 1, 2] - h / 2).abs().max() < 0.51
    square = ((k[:, 0, 0] / k[:, 1, 1]) - 1).abs().max() < 0.01
    if not bool(centered and square):
        raise ValueError(
            "camera_path.json holds only square pixels and a centred principal point; "
            "write nerfstudio's transforms.json instead"
        )
    fov = torch.rad2deg(2 * torch.atan(0.5 * h / k[:, 1, 1])).tolist()
    gl = (cameras.world_from_cam @ _FLIP).reshape(-1, 16).tolist()
    seconds = float(times_s[-1] - times_s[0])
    write_json(
        path,
        {
            "keyframes": [],
            "camera_type": "perspective",
            "render_height": h,
            "render_width": w,
            "camera_path": [
                {"camera_to_world": gl[i], "fov": fov[i], "aspect": w / h}
                for i in range(len(cameras))
            ],
            "fps": (len(cameras) - 1) / seconds if seconds > 0 else 24,
            "seconds": seconds,
            "is_cycle": False,
        },
    )
