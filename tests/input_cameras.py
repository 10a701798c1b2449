"""The six cameras that camera files of every format are written with, and read back as."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

N, H, W = 6, 48, 64
K = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
FLIP = np.diag([1.0, -1, -1, 1])


def world_from_cam() -> np.ndarray:
    """[6, 4, 4], OpenCV: camera i turned by 2·i degrees about y, at (0.1, 0.02, 0.05)·i."""
    poses = np.tile(np.eye(4), (N, 1, 1))
    for i in range(N):
        angle = np.deg2rad(2 * i)
        cos, sin = np.cos(angle), np.sin(angle)
        poses[i, :3, :3] = [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]
        poses[i, :3, 3] = np.array([0.1, 0.02, 0.05]) * i
    return poses


def transforms(names: list[str], which: list[int] | None = None, **more: Any) -> dict[str, Any]:
    """Content of a transforms.json."""
    gl = world_from_cam() @ FLIP
    which = list(range(len(names))) if which is None else which
    frames = [
        {"file_path": n, "transform_matrix": gl[i].tolist()} for n, i in zip(names, which)
    ]  # fmt: skip
    lens = {"fl_x": 60.0, "fl_y": 60.0, "cx": 32.0, "cy": 24.0, "w": W, "h": H}
    return {**lens, **more, "frames": frames}


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """w x y z of rotations about y."""
    half = np.arctan2(rotation[..., 0, 2], rotation[..., 0, 0]) / 2
    zero = np.zeros_like(half)
    return np.stack([np.cos(half), zero, np.sin(half), zero], -1)


def colmap_lines(names: list[str], which: list[int] | None = None, between: str = "\n") -> str:
    w2c = np.linalg.inv(world_from_cam())
    lines = []
    for k, (name, i) in enumerate(zip(names, which or range(len(names)))):
        q, t = quaternion(w2c[i, :3, :3]), w2c[i, :3, 3]
        pose = " ".join(map(repr, map(float, [*q, *t])))
        lines.append(f"{k + 1} {pose} 1 {name}\n{between}")
    return "".join(lines)


def write_colmap(folder: Path, images: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(f"1 PINHOLE {W} {H} 60 60 32 24\n")
    (folder / "images.txt").write_text(images)
    (folder / "points3D.txt").write_text("")
    return folder


def write_claims(path: Path, claims: dict[str, tuple[int, ...]], **arrays: np.ndarray) -> None:
    """An npz whose headers claim float32 arrays of these shapes, with a few bytes behind each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in claims.items():
            member = io.BytesIO()
            about = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, about)
            archive.writestr(f"{name}.npy", member.getvalue() + bytes(64))
        for name, values in arrays.items():
            member = io.BytesIO()
            np.save(member, values)
            archive.writestr(f"{name}.npy", member.getvalue())


def assert_as_made(file: Any, which: list[int] | None = None, atol: float = 1e-6) -> None:
    """Poses, and intrinsics where there are any, of the six cameras or some of them."""
    poses = np.linalg.inv(file.cam_from_world.numpy())
    np.testing.assert_allclose(poses, world_from_cam()[which or range(N)], atol=atol)
    if file.intrinsics is not None:
        np.testing.assert_allclose(file.intrinsics, np.tile(K, (len(poses), 1, 1)), atol=1e-6)
