"""glTF 2.0, .gltf (one file of text) or .glb: an animated camera, and points of a scene.

World with y up in metres, cameras x right, y up, z backward, quaternions x y z w; the camera's
field of view is vertical and cannot change with time.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.checks import write_text, write_whole
from recam.camera_files.graphics_axes import (
    points_y_up,
    require_centered,
    unwound,
    y_up_from_cam,
)
from recam.geometry import quaternion_from_rotation
from recam.types import Cameras

_FLOAT, _BYTE = 5126, 5121
_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_GLB, _JSON_CHUNK, _BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


class _Buffer:
    """The binary part, with a view and an accessor for each array."""

    def __init__(self) -> None:
        self.data = b""
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, limits: bool = False) -> int:
        """The accessor's number of float32 or uint8 values [n] or [n, c]."""
        number = len(self.accessors)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes})
        rows = values.reshape(len(values), -1)
        accessor: dict[str, Any] = {
            "bufferView": number,
            "componentType": _FLOAT if values.dtype == np.float32 else _BYTE,
            "count": len(values),
            "type": _KINDS[rows.shape[1]],
        }
        if values.dtype == np.uint8:
            accessor["normalized"] = True
        if limits:
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.accessors.append(accessor)
        self.data += values.tobytes()
        self.data += b"\0" * (-len(self.data) % 4)
        return number


def write_gltf(
    path: Path,
    cameras: Cameras,
    times_s: Tensor,
    metres_per_unit: float | None,
    points: tuple[Tensor, Tensor] | None = None,
) -> None:
    """A scene with a node ``camera`` and its animation, and a node ``points``.

    times_s [n] in seconds; metres_per_unit: None = not known, a unit is written as a metre.
    points: float [k, 3] in the world, with colours uint8 [k, 3]. Raises ValueError for cameras that
    glTF cannot say: a principal point off the middle, or a zoom.
    """
    require_centered(cameras, "glTF", "USD (.usda)")
    k = cameras.intrinsics
    if float((k[:, 1, 1] / k[0, 1, 1] - 1).abs().max()) > 1e-3:
        raise ValueError("a glTF camera cannot zoom; write USD (.usda) instead")
    buffer, scale = _Buffer(), metres_per_unit or 1.0
    poses = y_up_from_cam(cameras)
    place = (scale * poses[:, :3, 3]).float().numpy()
    turn = unwound(quaternion_from_rotation(poses[:, :3, :3]))[:, [1, 2, 3, 0]].float().numpy()
    content = _scene(cameras, place[0].tolist(), turn[0].tolist())
    if len(cameras) > 1:
        seconds = buffer.add((times_s - times_s[0]).float().numpy(), limits=True)
        channels = {"translation": buffer.add(place), "rotation": buffer.add(turn)}
        content["animations"] = [_animation(seconds, channels)]
    if points is not None and len(points[0]):
        _add_points(content, buffer, scale * points_y_up(points[0]), points[1])
    if buffer.data:
        content |= {"bufferViews": buffer.views, "accessors": buffer.accessors}
        content["buffers"] = [{"byteLength": len(buffer.data)}]
    if path.suffix.lower() == ".glb":
        binary = _glb(content, buffer.data)
        write_whole(path, lambda file: file.write(binary))
        return
    if buffer.data:
        encoded = base64.b64encode(buffer.data).decode()
        content["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{encoded}"
    write_text(path, json.dumps(content) + "\n")


def _scene(cameras: Cameras, place: list[float], turn: list[float]) -> dict[str, Any]:
    fx, fy = (float(cameras.intrinsics[0, i, i]) for i in (0, 1))
    lens = {
        "yfov": 2 * math.atan(0.5 * cameras.height / fy),
        "aspectRatio": (cameras.width / fx) / (cameras.height / fy),
        "znear": 0.001,
    }
    node = {"name": "camera", "camera": 0, "translation": place, "rotation": turn}
    return {
        "asset": {"version": "2.0", "generator": "recam"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "cameras": [{"name": "camera", "type": "perspective", "perspective": lens}],
    }


def _animation(seconds: int, channels: dict[str, int]) -> dict[str, Any]:
    return {
        "name": "camera",
        "samplers": [
            {"input": seconds, "output": output, "interpolation": "LINEAR"}
            for output in channels.values()
        ],
        "channels": [
            {"sampler": i, "target": {"node": 0, "path": path}} for i, path in enumerate(channels)
        ],
    }


def _add_points(content: dict[str, Any], buffer: _Buffer, placed: Tensor, colors: Tensor) -> None:
    opaque = torch.cat([colors, torch.full_like(colors[:, :1], 255)], 1)
    attributes = {
        "POSITION": buffer.add(placed.float().numpy(), limits=True),
        "COLOR_0": buffer.add(opaque.numpy()),
    }
    content["meshes"] = [{"name": "points", "primitives": [{"attributes": attributes, "mode": 0}]}]
    content["nodes"].append({"name": "points", "mesh": 0})
    content["scenes"][0]["nodes"].append(1)


def _glb(content: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), _JSON_CHUNK) + text
    if data:
        chunks += struct.pack("<II", len(data), _BIN_CHUNK) + data
    return struct.pack("<III", _GLB, 2, 12 + len(chunks)) + chunks
