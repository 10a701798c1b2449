"""nerfstudio's transforms.json and camera_path.json: OpenGL cameras (x right, y up, z backward)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, LensKind
from recam.camera_files.checks import (
    MAX_CAMERAS,
    MAX_SIDE,
    as_intrinsics,
    as_lenses,
    as_poses,
    focal_from_vertical_fov,
    picture_size,
    pinhole,
    read_object,
    read_objects,
    size_near_center,
)
from recam.camera_files.names import Wanted, select
from recam.geometry import se3_inverse
from recam.runtime.records import Record, shown, write_json
from recam.types import Cameras

TRANSFORMS = (
    "nerfstudio's transforms.json: 4×4 transform_matrix, camera to world, OpenGL axes (x right, "
    "y up, z backward)"
)
CAMERA_PATH = (
    "nerfstudio's camera_path.json: camera_to_world as 16 numbers by row, OpenGL axes (x right, "
    "y up, z backward), fov vertical in degrees"
)
NS_EXPORT = (
    "ns-export's cameras: a list of file_path and transform, 3×4 camera to world, OpenGL axes, in "
    "the normalised world of the trained model"
)
DATAPARSER = "dataparser_transforms.json"
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
"""Between OpenGL's camera axes and OpenCV's."""
_DISTORTION = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE = ("k1", "k2", "k3", "k4")
_MAX_ANGLE = math.pi - 1e-6


def read_transforms(
    path: Path, height: int | None, width: int | None, wanted: Wanted
) -> CameraFile:
    """A transforms.json. Frames go by the numbers in their names, not by their order in the file.

    height, width: the picture's size, for files that give only a field of view.
    """
    content = read_object(path)
    frames = content.records("frames", 1, MAX_CAMERAS)
    # What a frame does not say of its lens the file says for all.
    shared = {k: v for k, v in content.value.items() if k != "frames"}
    frames = [Record({**shared, **f.value}, path, f.where) for f in frames]
    names = [f.text("file_path", default=str(i)) for i, f in enumerate(frames)]
    chosen = select(names, wanted, path)
    frames = [frames[i] for i in chosen.indices]
    for frame in frames:
        if "transform_matrix" not in frame:
            number = frame.where.partition("[")[2].partition("]")[0]
            raise ValueError(
                f"{path}: frame {number} has no transform_matrix; expected {TRANSFORMS}"
            )
    gl = as_poses([f.value["transform_matrix"] for f in frames], path, TRANSFORMS)
    lens = {_lens_kind(frame) for frame in frames}
    if len(lens) > 1:
        raise ValueError(f"{path}: frames with different kinds of lens; undistort them first")
    (kind,) = lens
    coefficients = _FISHEYE if kind == "fisheye" else _DISTORTION
    lenses = [[f.number(name, default=0.0) for name in coefficients] for f in frames]
    intrinsics, h, w = _frame_intrinsics(frames, path, height, width)
    if kind == "equirectangular":
        intrinsics = None
    return CameraFile(
        "nerfstudio", se3_inverse(gl @ FLIP), intrinsics, h, w, frame_indices=chosen.frames,
        distortion=None if kind == "equirectangular" else as_lenses(lenses, path),
        lens=kind, numbers=chosen.numbers, missing=chosen.missing, notes=chosen.notes,
    )  # fmt: skip


def _lens_kind(frame: Record) -> LensKind:
    model = frame.text("camera_model", default="PINHOLE").upper()
    if "EQUIRECT" in model or model == "SPHERICAL":
        return "equirectangular"
    if frame.value.get("is_fisheye") is True or model in {"OPENCV_FISHEYE", "FISHEYE"}:
        return "fisheye"
    if model in {"PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL"}:
        return "opencv"
    raise ValueError(
        f"{frame.path}: camera model {shown(model)}; recam reads PINHOLE, OPENCV, OPENCV_FISHEYE "
        "and EQUIRECTANGULAR"
    )


def _frame_intrinsics(
    frames: list[Record], path: Path, height: int | None, width: int | None
) -> tuple[Tensor | None, int | None, int | None]:
    sizes = {(f.number("h", 1, MAX_SIDE, None), f.number("w", 1, MAX_SIDE, None)) for f in frames}
    if len(sizes) > 1:
        raise ValueError(
            f"{path}: frames of different sizes {sorted(sizes, key=str)}; choose one video"
        )
    h, w = sizes.pop()
    first = frames[0]
    if (h is None or w is None) and "cx" in first and "cy" in first:
        middle = pinhole(1.0, 1.0, first.number("cx"), first.number("cy"))
        h, w, _ = size_near_center(as_intrinsics(middle, 1, path), height, width)
    if h is None or w is None:
        h, w = height, width
    if h is None or w is None or not ({"fl_x", "camera_angle_x"} & set(first.value)):
        return None, None, None
    h, w = picture_size(h, w, path)
    rows = [_row_of(f, h, w) for f in frames]
    return as_intrinsics(pinhole(*np.array(rows).T), len(frames), path), h, w


def _row_of(frame: Record, h: int, w: int) -> list[float]:
    """fx fy cx cy of a frame, whose focal lengths may be given as angles."""
    angles = {
        name: frame.number(name, 1e-6, _MAX_ANGLE, None)
        for name in ("camera_angle_x", "camera_angle_y")
    }
    fx = frame.number("fl_x", default=None)
    if fx is None:
        if angles["camera_angle_x"] is None:
            raise frame.wrong("fl_x", "a focal length in pixels, or a camera_angle_x")
        fx = 0.5 * w / math.tan(angles["camera_angle_x"] / 2)
    fy = frame.number("fl_y", default=None)
    if fy is None:
        angle = angles["camera_angle_y"]
        fy = 0.5 * h / math.tan(angle / 2) if angle and "fl_x" not in frame else fx
    return [fx, fy, frame.number("cx", default=w / 2), frame.number("cy", default=h / 2)]


def write_transforms(
    path: Path, cameras: Cameras, names: list[str], times_s: Tensor, distortion: Tensor | None
) -> None:
    """transforms.json with one image name and time per camera."""
    gl = (cameras.world_from_cam @ FLIP).tolist()
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
    """A camera_path.json: a designed path. A given size keeps its vertical field of view.

    It is in the viewer's world: nerfstudio turns, shifts and scales a capture before training, and
    its dataparser_transforms.json, where it lies beside, undoes that.
    """
    content = read_object(path)
    entries = content.records("camera_path", 0, MAX_CAMERAS)
    if not entries:
        raise ValueError(f"{path}: no camera_path entries; expected {CAMERA_PATH}")
    kind = content.text("camera_type", default="perspective")
    if kind != "perspective":
        raise ValueError(f"{path}: camera_type {kind!r}; recam renders perspective cameras only")
    missing = [e for e in entries if "camera_to_world" not in e]
    if missing:
        raise ValueError(f"{path}: an entry without camera_to_world; expected {CAMERA_PATH}")
    usual_fov = content.number("default_fov", 0.1, 179.9, 50.0)
    fov = [e.number("fov", default=usual_fov) for e in entries]
    matrices = [e.array("camera_to_world", (16,)) for e in entries]
    gl = as_poses(np.stack(matrices).reshape(-1, 4, 4), path, CAMERA_PATH)
    gl, note = _out_of_the_viewer(gl, path)
    h, w = picture_size(
        height or content.number("render_height", 1, MAX_SIDE, 1080),
        width or content.number("render_width", 1, MAX_SIDE, 1920), path,
    )  # fmt: skip
    focal = focal_from_vertical_fov(fov, h, path)
    fps = content.number("fps", default=24.0)
    seconds = content.number("seconds", default=0.0)
    if seconds <= 0:
        seconds = len(entries) / fps if fps > 0 else len(entries) / 24
    return CameraFile(
        "camera-path", se3_inverse(gl @ FLIP),
        as_intrinsics(pinhole(focal, focal, w / 2, h / 2), len(gl), path), h, w,
        times_s=torch.linspace(0, seconds, len(gl), dtype=torch.float64), designed=True,
        notes=(note,),
    )  # fmt: skip


def _out_of_the_viewer(gl: Tensor, path: Path) -> tuple[Tensor, str]:
    """Camera-to-world [n, 4, 4] from a viewer's world in the capture's own, where the file that
    says how lies beside: a stored x' is scale · (T · x)."""
    beside = path.parent / DATAPARSER
    if not beside.is_file():
        return gl, (
            f"its cameras are in nerfstudio's own turned and scaled world, which {DATAPARSER} "
            "(beside the trained model's config.yml) undoes: put it beside this file, unless the "
            "scene is in that world too"
        )
    record = read_object(beside)
    shape = record.array("transform", (None, 4)).shape[0]
    rows = record.array("transform", (3 if shape != 4 else 4, 4))
    transform = as_poses(rows[None, :3], beside, "a 3×4 rotation and shift, and a scale")[0]
    scale = record.number("scale", 1e-9, 1e9)
    out = gl.clone()
    out[:, :3, 3] /= scale
    out, world = _as_applied(se3_inverse(transform) @ out, path.parent / "transforms.json")
    return out, f"nerfstudio's viewer world undone by {DATAPARSER}{world}"


def _as_applied(gl: Tensor, transforms: Path) -> tuple[Tensor, str]:
    """From the capture's world in that of a transforms.json beside, which ns-process-data may have
    turned and scaled: it says so itself, and the viewer's transform contains it."""
    about = read_object(transforms) if transforms.is_file() else None
    if about is None or not {"applied_transform", "applied_scale"} & set(about.value):
        return gl, ""
    out = gl.clone()
    if "applied_transform" in about:
        rows = about.array("applied_transform", (None, 4))[:3]
        out = (
            as_poses(rows[None], transforms, "applied_transform, a 3×4 rotation and shift")[0] @ out
        )
    out[:, :3, 3] *= about.number("applied_scale", 1e-9, 1e9, 1.0)
    return out, f", into the world of {transforms.name}"


def read_ns_export(path: Path, height: int | None, width: int | None, wanted: Wanted) -> CameraFile:
    """The cameras that ``ns-export cameras`` writes; intrinsics from a transforms.json beside."""
    entries = read_objects(path, NS_EXPORT)
    names = [e.text("file_path", default=str(i)) for i, e in enumerate(entries)]
    chosen = select(names, wanted, path)
    matrices = [entries[i].array("transform", (3, 4)) for i in chosen.indices]
    gl, note = _out_of_the_viewer(as_poses(matrices, path, NS_EXPORT), path)
    intrinsics, h, w = None, None, None
    if (path.parent / "transforms.json").is_file():
        about = read_object(path.parent / "transforms.json")
        if {"fl_x", "camera_angle_x"} & set(about.value):
            intrinsics, h, w = _frame_intrinsics([about] * len(gl), about.path, height, width)  # type: ignore[arg-type]
    return CameraFile(
        "ns-export", se3_inverse(gl @ FLIP), intrinsics, h, w, frame_indices=chosen.frames,
        numbers=chosen.numbers, missing=chosen.missing, notes=(note, *chosen.notes),
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
    gl = (cameras.world_from_cam @ FLIP).reshape(-1, 16).tolist()
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
