"""Cameras in NumPy files: MegaSAM (and CogNVS folders), Vista4D, ViPE, Depth Anything 3, LLFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    array_shape,
    as_intrinsics,
    as_poses,
    intrinsics_size,
    picture_size,
    pinhole,
    read_array,
    write_arrays,
)
from recam.geometry import se3_inverse
from recam.types import Cameras

MEGASAM = (
    "MegaSAM's cam_c2w (N,4,4), camera to world, OpenCV axes, with intrinsic (3,3) for the depth's "
    "resolution"
)
VISTA4D = (
    "Vista4D's cam_c2w (F,4,4), camera to world, OpenCV axes, with intrinsics (F,4) fx fy cx cy"
)
VIPE = "ViPE's pose data (N,4,4), camera to world, OpenCV axes, with inds (N,)"
DEPTH_ANYTHING_3 = (
    "Depth Anything 3's extrinsics (N,3,4), world to camera, OpenCV axes, with intrinsics (N,3,3) "
    "for the depth's resolution"
)
LLFF = "LLFF's poses_bounds.npy (N,17): 3×5 [down right back centre (h w f)] and two depth bounds"


def read_megasam(path: Path) -> CameraFile:
    """MegaSAM's npz, or a folder (CogNVS's cam_info) of *c2ws.npy, *intrinsics.npy, *depth.npy."""
    if path.suffix == ".npz":
        poses = as_poses(read_array(path, "cam_c2w", MEGASAM), path, MEGASAM)
        k = as_intrinsics(read_array(path, "intrinsic", MEGASAM), len(poses), path)
        shape = array_shape(path, "depths") or array_shape(path, "images")
        h, w, notes = intrinsics_size(k, shape)
        return CameraFile("megasam", se3_inverse(poses), k, h, w, notes=notes)
    folder, pose_file = _megasam_folder(path)
    prefix = pose_file.name.removesuffix("c2ws.npy")
    poses = as_poses(read_array(pose_file, None, MEGASAM), pose_file, MEGASAM)
    k_file = folder / f"{prefix}intrinsics.npy"
    if not k_file.is_file():
        return CameraFile("megasam", se3_inverse(poses))
    k = as_intrinsics(read_array(k_file, None, MEGASAM), len(poses), k_file)
    h, w, notes = intrinsics_size(k, array_shape(folder / f"{prefix}depth.npy"))
    return CameraFile("megasam", se3_inverse(poses), k, h, w, notes=notes)


def _megasam_folder(path: Path) -> tuple[Path, Path]:
    if path.is_file():
        if not path.name.endswith("c2ws.npy"):
            raise ValueError(
                f"{path}: cannot tell camera-to-world from world-to-camera by this name; "
                f"expected a file *c2ws.npy, or {MEGASAM}"
            )
        return path.parent, path
    for folder in (path, path / "cam_info"):
        found = sorted(folder.glob("*c2ws.npy"))
        if len(found) == 1:
            return folder, found[0]
    raise ValueError(f"{path}: not one *c2ws.npy there; expected {MEGASAM}")


def write_megasam(path: Path, cameras: Cameras, extra: dict[str, np.ndarray]) -> None:
    """MegaSAM's npz; ``extra`` takes its images (N,H,W,3) and depths (N,H,W)."""
    k = cameras.intrinsics
    if float((k - k[:1]).abs().max()) > 1e-6 * float(k.abs().max()):
        raise ValueError(
            "MegaSAM's file holds one intrinsic for all frames, but these cameras zoom"
        )
    for name in ("depths", "images"):
        if name in extra and extra[name].shape[1:3] != (cameras.height, cameras.width):
            raise ValueError(
                f"{name} are {extra[name].shape[1:3]} but the cameras {cameras.height}×"
                f"{cameras.width}; use cameras.resized"
            )
    arrays = {"cam_c2w": cameras.world_from_cam.numpy(), "intrinsic": k[0].numpy()}
    write_arrays(path, {**extra, **arrays})


def read_vista4d(path: Path) -> CameraFile:
    """Vista4D's cameras.npz, or the folder that holds it."""
    file = path / "cameras.npz" if path.is_dir() else path
    poses = as_poses(read_array(file, "cam_c2w", VISTA4D), file, VISTA4D)
    four = read_array(file, "intrinsics", VISTA4D)
    if four.shape != (len(poses), 4):
        raise ValueError(f"{file}: intrinsics of shape {list(four.shape)}; expected {VISTA4D}")
    k = as_intrinsics(pinhole(*four.T.astype(np.float64)), len(poses), file)
    h, w, notes = intrinsics_size(k, None)
    return CameraFile("vista4d", se3_inverse(poses), k, h, w, notes=notes)


def _four(cameras: Cameras) -> np.ndarray:
    return cameras.intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]].numpy()


def write_vista4d(path: Path, cameras: Cameras) -> None:
    arrays = {"cam_c2w": cameras.world_from_cam.numpy(), "intrinsics": _four(cameras)}
    write_arrays(path, arrays)


def read_vipe(path: Path) -> CameraFile:
    """ViPE's pose/<name>.npz, with intrinsics/<name>.npz beside it; or the folder of both."""
    if path.is_dir():
        found = sorted((path / "pose").glob("*.npz"))
        if len(found) != 1:
            raise ValueError(f"{path}: {len(found)} files in pose/; name one of them")
        path = found[0]
    poses = as_poses(read_array(path, "data", VIPE), path, VIPE)
    frames = torch.from_numpy(read_array(path, "inds", VIPE).astype(np.int64, casting="unsafe"))
    if frames.shape != (len(poses),) or not bool((frames[1:] > frames[:-1]).all()):
        raise ValueError(f"{path}: inds do not number the poses in order; expected {VIPE}")
    file = path.parent.parent / "intrinsics" / path.name
    if not file.is_file():
        return CameraFile("vipe", se3_inverse(poses), frame_indices=frames, metric=True)
    four = read_array(file, "data", "ViPE's intrinsics data (N,4) fx fy cx cy")
    if four.shape != (len(poses), 4):
        raise ValueError(
            f"{file}: shape {list(four.shape)} for {len(poses)} poses of a pinhole camera"
        )
    k = as_intrinsics(pinhole(*four.T.astype(np.float64)), len(poses), file)
    h, w, notes = intrinsics_size(k, None)
    return CameraFile(
        "vipe", se3_inverse(poses), k, h, w, frame_indices=frames, metric=True, notes=notes
    )


def write_vipe(path: Path, cameras: Cameras, frames: Tensor) -> None:
    """pose/<name>.npz at ``path`` and intrinsics/<name>.npz beside it."""
    inds = frames.numpy()
    write_arrays(path, {"data": cameras.world_from_cam.numpy(), "inds": inds})
    beside = path.parent.parent / "intrinsics" / path.name
    write_arrays(beside, {"data": _four(cameras), "inds": inds})


def read_depth_anything_3(path: Path) -> CameraFile:
    """The cameras of a Depth Anything 3 export."""
    poses = as_poses(read_array(path, "extrinsics", DEPTH_ANYTHING_3), path, DEPTH_ANYTHING_3)
    k = as_intrinsics(read_array(path, "intrinsics", DEPTH_ANYTHING_3), len(poses), path)
    h, w, notes = intrinsics_size(k, array_shape(path, "depth") or array_shape(path, "image"))
    return CameraFile("depth-anything-3", poses, k, h, w, notes=notes)


def read_llff(path: Path) -> CameraFile:
    """LLFF's poses_bounds.npy."""
    table = read_array(path, None, LLFF)
    if table.ndim != 2 or table.shape[1] != 17:
        raise ValueError(f"{path}: shape {list(table.shape)}; expected {LLFF}")
    block = table[:, :15].reshape(-1, 3, 5).astype(np.float64)
    down_right_back = block[:, :, :3]
    opencv = np.stack(
        [down_right_back[..., 1], down_right_back[..., 0], -down_right_back[..., 2]], -1
    )
    poses = as_poses(np.concatenate([opencv, block[:, :, 3:4]], -1), path, LLFF)
    h, w, focal = block[:, 0, 4], block[:, 1, 4], block[:, 2, 4]
    if len(set(h)) > 1 or len(set(w)) > 1:
        raise ValueError(f"{path}: pictures of different sizes; expected {LLFF}")
    k = as_intrinsics(pinhole(focal, focal, w / 2, h / 2), len(poses), path)
    height, width = picture_size(float(h[0]), float(w[0]), path)
    return CameraFile("llff", se3_inverse(poses), k, height, width)


def write_llff(path: Path, cameras: Cameras, near_far: tuple[float, float]) -> None:
    k, h, w = cameras.intrinsics, cameras.height, cameras.width
    if float((k[:, 0, 0] / k[:, 1, 1] - 1).abs().max()) > 0.01:
        raise ValueError("poses_bounds.npy holds square pixels only; write another format")
    c2w = cameras.world_from_cam.numpy()[:, :3]
    size = np.stack([np.full(len(k), h), np.full(len(k), w), k[:, 0, 0].numpy()], -1)
    parts: list[Any] = [c2w[..., 1], c2w[..., 0], -c2w[..., 2], c2w[..., 3], size]
    block = np.stack(parts, -1).reshape(len(k), 15)
    bounds = np.tile(np.array(near_far), (len(k), 1))
    write_arrays(path, {"": np.concatenate([block, bounds], 1)})
