"""Rigs and frames of COLMAP models (3.12 and newer), text and binary.

A frame is a rig at a moment; it says where the rig is, and which image each of its sensors took.
Format: COLMAP's documentation, "Output Format".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recam.camera_files.checks import as_poses, numbers, read_text
from recam.geometry import rotation_from_quaternion, se3
from recam.runtime.files import read_bytes

RIGS = (
    "COLMAP's rigs and frames: quaternions w x y z, sensor from rig and rig from world, OpenCV axes"
)
_CAMERA = 0
_MAX_BYTES = 1 << 30


class _Frame(NamedTuple):
    rig: int
    pose: list[float]
    images: list[tuple[int, int]]
    """(sensor, image) of its cameras."""


_Rigs = dict[tuple[int, int], list[float] | None]
"""(rig, sensor) to sensor_from_rig, None where it is not known."""


def rig_poses(folder: Path) -> dict[int, Tensor]:
    """cam_from_world [4, 4] by image id; nothing where the model has no rigs."""
    for suffix in (".bin", ".txt"):
        rigs_file, frames_file = folder / f"rigs{suffix}", folder / f"frames{suffix}"
        if rigs_file.is_file() and frames_file.is_file():
            read = (_rigs_bin, _frames_bin) if suffix == ".bin" else (_rigs_txt, _frames_txt)
            return _composed(read[0](rigs_file), read[1](frames_file), frames_file)
    return {}


def _composed(rigs: _Rigs, frames: list[_Frame], path: Path) -> dict[int, Tensor]:
    pairs = []
    for frame in frames:
        for sensor, image in frame.images:
            if (frame.rig, sensor) not in rigs:
                raise ValueError(f"{path}: rig {frame.rig} has no camera {sensor}; expected {RIGS}")
            offset = rigs[frame.rig, sensor]
            if offset is not None:
                pairs.append((image, offset, frame.pose))
    if not pairs:
        return {}
    sensor_from_rig = _transforms([offset for _, offset, _ in pairs], path)
    rig_from_world = _transforms([pose for _, _, pose in pairs], path)
    poses = sensor_from_rig @ rig_from_world
    return {image: poses[i] for i, (image, _, _) in enumerate(pairs)}


def _transforms(rows: list[list[float]], path: Path) -> Tensor:
    table = torch.tensor(rows, dtype=torch.float64)
    if not bool(((table[:, :4].norm(dim=1) - 1).abs() < 0.02).all()):
        raise ValueError(f"{path}: a quaternion that is not of length 1; expected {RIGS}")
    return as_poses(se3(rotation_from_quaternion(table[:, :4]), table[:, 4:]), path, RIGS)


_REFERENCE = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def _lines(path: Path) -> list[list[str]]:
    lines = (line.split() for line in read_text(path).splitlines())
    return [words for words in lines if words and not words[0].startswith("#")]


def _rigs_txt(path: Path) -> _Rigs:
    """RIG_ID NUM_SENSORS REF_TYPE REF_ID, then TYPE ID HAS_POSE [pose] of each other sensor."""
    rigs: _Rigs = {}
    for words in _lines(path):
        rig, count = int(words[0]), int(words[1])
        at = 2
        for k in range(count):
            kind, sensor = words[at], int(words[at + 1])
            at += 2
            pose: list[float] | None = _REFERENCE
            if k:
                has_pose = int(words[at])
                at += 1
                pose = (
                    numbers(" ".join(words[at : at + 7]), path, f"rig {rig}") if has_pose else None
                )
                at += 7 if has_pose else 0
                if pose is not None and len(pose) != 7:
                    raise ValueError(f"{path}: rig {rig} breaks off; expected {RIGS}")
            if kind == "CAMERA":
                rigs[rig, sensor] = pose
    return rigs


def _frames_txt(path: Path) -> list[_Frame]:
    """FRAME_ID RIG_ID pose NUM_DATA, then TYPE SENSOR_ID IMAGE_ID of each."""
    frames = []
    for words in _lines(path):
        pose = numbers(" ".join(words[2:9]), path, f"frame {words[0]}")
        data = words[10 : 10 + 3 * int(words[9])]
        images = [
            (int(data[k + 1]), int(data[k + 2]))
            for k in range(0, len(data), 3)
            if data[k] == "CAMERA"
        ]
        if len(pose) != 7 or len(data) != 3 * int(words[9]):
            raise ValueError(f"{path}: frame {words[0]} breaks off; expected {RIGS}")
        frames.append(_Frame(int(words[1]), pose, images))
    return frames


def _rigs_bin(path: Path) -> _Rigs:
    data = read_bytes(path, _MAX_BYTES)
    rigs: _Rigs = {}
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        rig, num_sensors = struct.unpack_from("<II", data, at)
        at += 8
        for k in range(num_sensors):
            kind, sensor = struct.unpack_from("<iI", data, at)
            at += 8
            pose: list[float] | None = _REFERENCE
            if k:
                has_pose, at = data[at], at + 1
                pose = list(struct.unpack_from("<7d", data, at)) if has_pose else None
                at += 56 if has_pose else 0
            if kind == _CAMERA:
                rigs[rig, sensor] = pose
    return rigs


def _frames_bin(path: Path) -> list[_Frame]:
    data, frames = read_bytes(path, _MAX_BYTES), []
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        _, rig, *pose, num_data = struct.unpack_from("<II7dI", data, at)
        at += 68
        images = []
        for _ in range(num_data):
            kind, sensor, image = struct.unpack_from("<iIQ", data, at)
            at += 16
            if kind == _CAMERA:
                images.append((sensor, image))
        frames.append(_Frame(rig, pose, images))
    return frames
