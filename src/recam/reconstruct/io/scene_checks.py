"""What a scene folder must hold to be read: people hand these on, so nothing in one is believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from recam.runtime.files import read_json
from recam.runtime.records import Record
from recam.types import CameraMotion, Cameras, DepthOrigin, RecamError

FILE_VERSION = 1
MAX_FRAMES, MAX_SIDE = 1_000_000, 100_000
_ROTATION_TOLERANCE = 5e-3
_LARGEST = 1e12
"""Of coordinates, in scene units."""


@dataclass(frozen=True)
class SceneRecord:
    """Checked content of scene.json. video, geometry: (height, width). camera_motion: None in files
    from before it was kept."""

    num_frames: int
    video: tuple[int, int]
    geometry: tuple[int, int]
    times_s: Tensor
    audio_path: str | None
    metres_per_unit: float | None
    camera_motion: CameraMotion | None
    depth_source: DepthOrigin
    report: dict[str, Any]


def read_record(folder: Path) -> SceneRecord:
    """The scene.json of a folder.

    Raises RecamError for a folder without a complete scene or of a newer version, ValueError for a
    field that is wrong.
    """
    path = folder / "scene.json"
    if not path.exists():
        raise RecamError(f"{folder}: no scene.json; not a scene, or one that was not finished")
    try:
        about = Record(read_json(path), path)
    except ValueError as error:
        raise RecamError(f"{error}; make the scene again") from error
    if about.value.get("format") != "recam scene":
        raise RecamError(f"{path}: not a recam scene")
    version = about.whole("version", 1, 10**9)
    if version > FILE_VERSION:
        raise RecamError(
            f"{path}: version {version}, but this recam reads up to {FILE_VERSION}; update recam "
            "or make the scene again"
        )
    num_frames = about.whole("num_frames", 1, MAX_FRAMES)
    video, geometry = about.record("video"), about.record("geometry")
    times_s = video.array("times_s", (num_frames,))
    if np.any(np.diff(times_s) <= 0):
        raise ValueError(f"{path}: video.times_s do not increase; expected seconds of each frame")
    audio = video.value.get("audio_path")
    scale = about.value.get("metres_per_unit")
    if scale is not None:
        scale = about.number("metres_per_unit", 1e-12, _LARGEST)
    return SceneRecord(
        num_frames, _size(video), _size(geometry), torch.from_numpy(times_s),
        None if audio is None else video.text("audio_path"), scale,
        cast("CameraMotion | None", about.text("camera_motion", get_args(CameraMotion), None)),
        cast("DepthOrigin", about.text("depth_source", get_args(DepthOrigin), "given")),
        _checked_report(about),
    )  # fmt: skip


def _size(about: Record) -> tuple[int, int]:
    return about.whole("height", 1, MAX_SIDE), about.whole("width", 1, MAX_SIDE)


def _checked_report(about: Record) -> dict[str, Any]:
    """The report as it is, with the kinds that the apps count on."""
    report = about.record("report")
    for name in ("cameras", "depth"):
        if name in report:
            report.record(name)
    notes = report.items("notes") if "notes" in report else []
    if not all(isinstance(note, str) for note in notes):
        raise report.wrong("notes", "a list of texts")
    return report.value


def checked_cameras(tensors: dict[str, Tensor], about: SceneRecord, path: Path) -> Cameras:
    """The scene's cameras. Raises ValueError when they are no rigid poses and intrinsics."""
    num = about.num_frames
    poses = _named(tensors, "cam_from_world", (num, 4, 4), torch.float64, path)
    k = _named(tensors, "intrinsics", (num, 3, 3), torch.float64, path)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    rotation = poses[:, :3, :3]
    off = rotation @ rotation.transpose(1, 2) - torch.eye(3, dtype=torch.float64)
    wrong = ~torch.isfinite(poses).flatten(1).all(1) | (poses.abs().amax((1, 2)) > _LARGEST)
    wrong |= (poses[:, 3] != last).any(1) | (off.abs().amax((1, 2)) > _ROTATION_TOLERANCE)
    wrong |= torch.linalg.det(rotation.nan_to_num(0, 0, 0)) < 0
    if bool(wrong.any()):
        raise ValueError(
            f"{path}: cam_from_world[{int(wrong.nonzero()[0])}] is no rotation and shift; expected "
            "finite rigid poses, OpenCV axes"
        )
    focal = torch.stack([k[:, 0, 0], k[:, 1, 1]], 1)
    wrong = ~torch.isfinite(k).flatten(1).all(1) | (k.abs().amax((1, 2)) > _LARGEST)
    wrong |= (focal <= 0).any(1) | (k[:, 2] != last[1:]).any(1)
    if bool(wrong.any()):
        raise ValueError(
            f"{path}: intrinsics[{int(wrong.nonzero()[0])}] are not finite with a positive focal "
            "length; expected pixels, last row 0 0 1"
        )
    return Cameras(poses, k, *about.geometry)


def checked_maps(tensors: dict[str, Tensor], about: SceneRecord, path: Path) -> dict[str, Tensor]:
    """depth, valid, dynamic and confidence of a scene, [t, h, w].

    Raises ValueError when they are of another size or not finite where they are valid.
    """
    shape = (about.num_frames, *about.geometry)
    maps = {
        name: _named(tensors, name, shape, torch.float32, path) for name in ("depth", "confidence")
    }
    num_bytes = (math.prod(shape) + 7) // 8
    for name in ("valid", "dynamic"):
        bits = _named(tensors, name, (num_bytes,), torch.uint8, path)
        flat = np.unpackbits(bits.numpy(), count=math.prod(shape))
        maps[name] = torch.from_numpy(flat.view(bool).reshape(shape))
    for i in range(about.num_frames):  # a frame at a time, as they are read from the disk
        depth, valid = maps["depth"][i], maps["valid"][i]
        usable = torch.isfinite(depth) & (depth >= 0) & (depth <= _LARGEST)
        confidence = maps["confidence"][i]
        if not bool((usable | ~valid).all()):
            raise ValueError(f"{path}: depth[{i}] is not finite and positive where it is valid")
        if not bool(((confidence >= 0) & (confidence <= 1.001)).all()):
            raise ValueError(f"{path}: confidence[{i}] is not from 0 to 1")
        if not bool(torch.isfinite(depth).all()):  # means nothing, and must not spread
            maps["depth"] = torch.where(maps["depth"].isfinite(), maps["depth"], 0.0)
    return maps


def checked_frames(tensors: dict[str, Tensor], about: SceneRecord, path: Path) -> Tensor:
    """The scene's frames. Raises ValueError when they are of another size."""
    return _named(tensors, "frames", (about.num_frames, 3, *about.video), torch.uint8, path)


def _named(
    tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype, path: Path
) -> Tensor:
    tensor = tensors.get(name)
    expected = f"{dtype} {list(shape)}".removeprefix("torch.")
    if tensor is None:
        raise ValueError(f"{path}: {name} is missing; expected {expected}")
    if tensor.dtype != dtype or tensor.shape != shape:
        got = f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.")
        raise ValueError(f"{path}: {name} is {got}; expected {expected}, as scene.json says")
    return tensor
