"""Folders of depth that several files make up: MegaSAM's, COLMAP's, nerfstudio's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from recam.arrays import F32, Mask
from recam.camera_files.checks import as_intrinsics, as_poses, pinhole, read_object
from recam.configs import CameraFormat
from recam.geometry import rotation_from_quaternion, se3
from recam.media.masks import decode_mask
from recam.media.pictures import is_hidden, natural_key
from recam.reconstruct.io.depth_pictures import MILLIMETRES, stored_depth
from recam.reconstruct.io.raw_depth import RawDepth, load_array
from recam.runtime.files import read_bytes
from recam.types import Cameras, RecamError

MEGASAM_FOLDER = (
    "MegaSAM's reconstructions/<scene>: disps.npy (N,H,W), poses.npy (N,7) tx ty tz qx qy qz qw, "
    "world to camera, intrinsics.npy (N,4) fx fy cx cy"
)
MAX_MAP_BYTES = 1 << 30


def read_megasam_folder(folder: Path) -> RawDepth:
    """What MegaSAM's camera tracking leaves behind. Its motion_prob.npy is not read: it weighs
    residuals, which is not a mask of what moves."""
    disps = load_array(folder / "disps.npy")
    table = np.asarray(load_array(folder / "poses.npy"), np.float64)
    four = np.asarray(load_array(folder / "intrinsics.npy"), np.float64)
    if disps.ndim != 3 or table.shape != (len(disps), 7) or four.shape[-1] != 4:
        raise ValueError(
            f"{folder}: disps {list(disps.shape)}, poses {list(table.shape)}, intrinsics "
            f"{list(four.shape)}; expected {MEGASAM_FOLDER}"
        )
    xyzw = torch.from_numpy(table[:, 3:])
    rotation = rotation_from_quaternion(xyzw[:, [3, 0, 1, 2]])
    poses = as_poses(se3(rotation, torch.from_numpy(table[:, :3])), folder, MEGASAM_FOLDER)
    each = np.broadcast_to(four.reshape(-1, 4)[: len(disps)], (len(disps), 4))
    k = as_intrinsics(pinhole(*each.T), len(disps), folder)
    cameras = Cameras(poses, k, disps.shape[1], disps.shape[2])
    return RawDepth(disps, str(folder), inverse=True, own_cameras=cameras)


def read_colmap_dense(folder: Path) -> RawDepth:
    """A dense workspace: the geometric maps where there are any, else the photometric ones."""
    maps = folder / "stereo" / "depth_maps"
    for kind in ("geometric", "photometric"):
        files = sorted(maps.rglob(f"*.{kind}.bin"), key=natural_key)
        if files:
            break
    else:
        raise ValueError(f"{maps}: no *.geometric.bin or *.photometric.bin; run patch_match_stereo")
    stack = [_colmap_map(file) for file in files]
    if len({m.shape for m in stack}) != 1:
        raise ValueError(f"{maps}: depth maps of different shapes; expected one video's")
    sparse = folder / "sparse"
    known: tuple[Path, CameraFormat] | None = (sparse, "colmap") if sparse.is_dir() else None
    return RawDepth(np.stack(stack), str(maps), cameras=known, notes=(f"COLMAP's {kind} depth",))


def _colmap_map(path: Path) -> F32:
    """COLMAP's matrix file: "width&height&channels&", then float32 in column-major order."""
    data = read_bytes(path, MAX_MAP_BYTES)
    head = data[:64].split(b"&", 3)
    try:
        width, height, channels = (int(number) for number in head[:3])
        if min(width, height, channels) < 1:
            raise ValueError(f"{width}×{height}, {channels} channels")
        start = sum(len(number) + 1 for number in head[:3])
        values = np.frombuffer(data[start:], "<f4")
        return values.reshape(channels, height, width)[0].astype(np.float32)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected COLMAP's width&height&channels& and float32 ({error})"
        ) from error


def read_nerfstudio_depth(path: Path) -> RawDepth:
    """Depth that a transforms.json names frame by frame, in its depth_unit_scale_factor (default
    millimetres)."""
    content = read_object(path)
    frames = content.value.get("frames")
    frames = frames if isinstance(frames, list) else []
    named = [f for f in frames or [] if isinstance(f, dict) and f.get("depth_file_path")]
    if not named or len(named) != len(frames or []):
        raise ValueError(
            f"{path}: {len(named)} of {len(frames or [])} frames name a depth_file_path; expected "
            "all, or give the file as --cameras"
        )
    named.sort(key=lambda f: natural_key(Path(str(f.get("file_path", "")))))
    files = [path.parent / str(f["depth_file_path"]) for f in named]
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise RecamError(f"{missing[0]}: no such file, named by {path.name}")
    unit = content.number("depth_unit_scale_factor", default=MILLIMETRES)
    if not unit > 0:
        raise ValueError(f"{path}: depth_unit_scale_factor {unit}; expected more than 0")
    stack = [np.asarray(stored_depth(file), np.float32) for file in files]
    if len({m.shape for m in stack}) != 1:
        raise ValueError(f"{path}: depth maps of different shapes")
    note = f"nerfstudio depth in units of {unit:g}"
    return RawDepth(
        np.stack(stack), str(path), cameras=(path, "nerfstudio"), notes=(note,), unit=unit
    )


def picture_masks(folder: Path, num: int) -> Mask | None:
    """Masks bool [num, h, w] of a folder of PNG, white = True; None when there is none."""
    found = folder.glob("*.png") if folder.is_dir() else []
    files = sorted((f for f in found if not is_hidden(f)), key=natural_key)
    if not files:
        return None
    if len(files) != num:
        raise ValueError(
            f"{folder}: {len(files)} masks for {num} depth maps; expected one for each"
        )
    masks = [decode_mask(file) > 127 for file in files]
    if len({m.shape for m in masks}) != 1:
        raise ValueError(f"{folder}: masks of different shapes")
    return np.stack(masks)
