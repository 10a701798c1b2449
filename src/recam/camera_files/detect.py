"""Which format a camera file has, by what is in it. What could be two formats is an error."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recam.camera_files.checks import array_names, read_array, read_json, read_text
from recam.camera_files.colmap import model_folder
from recam.configs import CameraFormat
from recam.types import RecamError

NAMED_FILES: dict[str, CameraFormat] = {
    "cameras.json": "recam",
    "transforms.json": "nerfstudio",
    "camera_path.json": "camera-path",
}
"""Files that are looked for in a folder."""


def detect_format(path: Path) -> CameraFormat:
    """The format of a file or folder.

    Raises ValueError when several conventions or none fit, naming what to say instead, and
    RecamError when there is no such file.
    """
    if not path.exists():
        raise RecamError(f"{path}: no such file or folder")
    if path.is_dir():
        return _of_folder(path)
    match path.suffix.lower():
        case ".json":
            return _of_json(path)
        case ".npz":
            return _of_npz(path)
        case ".npy":
            return _of_npy(path)
        case ".chan":
            return "chan"
        case ".bin":
            if model_folder(path) is not None:
                return "colmap"
        case ".txt" | ".tum" | ".csv" | "":
            return _of_text(path)
    raise ValueError(
        f"{path}: not a kind of camera file that recam knows (.json, .npz, .npy, .txt, .chan, "
        "or a folder of COLMAP, GEN3C, Vista4D, ViPE, CogNVS or 7-Scenes)"
    )


def _of_folder(path: Path) -> CameraFormat:
    found: list[CameraFormat] = []
    if model_folder(path) is not None:
        found.append("colmap")
    if (path / "camera.npz").is_file():
        found.append("gen3c")
    if (path / "cameras.npz").is_file():
        found.append("vista4d")
    if (path / "pose").is_dir() and any((path / "pose").glob("*.npz")):
        found.append("vipe")
    if any(path.glob("*c2ws.npy")) or any((path / "cam_info").glob("*c2ws.npy")):
        found.append("megasam")
    if any(path.glob("*.pose.txt")):
        found.append("7scenes")
    found += [form for name, form in NAMED_FILES.items() if (path / name).is_file()]
    if len(found) > 1:
        raise ValueError(
            f"{path}: cameras of more than one kind ({', '.join(found)}); name the file or the "
            "format"
        )
    if not found:
        raise ValueError(f"{path}: no camera files in this folder")
    return found[0]


def _of_json(path: Path) -> CameraFormat:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a camera file; expected a JSON object")
    frames = content.get("frames")
    first = frames[0] if isinstance(frames, list) and frames and isinstance(frames[0], dict) else {}
    if "transform_matrix" in first:
        return "nerfstudio"
    if "w2c" in first:
        return "recam"
    if "camera_path" in content:
        return "camera-path"
    if isinstance(content.get("keys"), list):
        return "keyframes"
    if isinstance(content.get("path"), list):
        return "gen3c"
    if any(re.fullmatch(r"frame\d+", key) for key in content):
        return "recammaster"
    raise ValueError(
        f"{path}: keys {sorted(content)[:6]} fit no camera file; expected frames with w2c (recam) "
        "or transform_matrix (nerfstudio), camera_path, keys (keyframes), path (GEN3C) or frame0 "
        "(ReCamMaster)"
    )


def _of_npz(path: Path) -> CameraFormat:
    names = array_names(path)
    if {"cam_c2w", "intrinsic"} <= names:
        return "megasam"
    if {"cam_c2w", "intrinsics"} <= names:
        return "vista4d"
    if {"w2c", "intrinsics"} <= names:
        return "gen3c"
    if {"data", "inds"} <= names:
        return "vipe"
    raise ValueError(
        f"{path}: arrays {sorted(names)[:8]} fit no camera file; expected cam_c2w with intrinsic "
        "(MegaSAM) or intrinsics (Vista4D), w2c with intrinsics (GEN3C), or data with inds (ViPE)"
    )


def _of_npy(path: Path) -> CameraFormat:
    if path.name.endswith("c2ws.npy"):
        return "megasam"
    shape = read_array(path, None, "").shape
    if len(shape) == 2 and shape[1] == 17:
        return "llff"
    raise ValueError(
        f"{path}: an array of shape {list(shape)} does not say its convention; expected *c2ws.npy "
        "(camera to world, MegaSAM) or LLFF's poses_bounds.npy (N, 17)"
    )


def _of_text(path: Path) -> CameraFormat:
    if path.name.endswith(".pose.txt"):
        return "7scenes"
    if path.name in {"cameras.txt", "images.txt"} and model_folder(path) is not None:
        return "colmap"
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    rows = [_numbers_or_none(line) for line in lines]
    body = rows if rows and rows[0] is not None else rows[1:]  # RE10K starts with a header line
    if body and all(row is not None and len(row) == 19 and row[5:7] == [0, 0] for row in body):
        return "re10k"
    if rows and all(row is not None and len(row) == 8 for row in rows):
        lengths = [float(np.linalg.norm(row[4:])) for row in rows if row is not None]
        if all(abs(length - 1) < 0.02 for length in lengths):
            return "tum"
    if len(rows) == 3 and all(row is not None for row in rows):
        raise ValueError(
            f"{path}: three lines of numbers are a path for CogNVS (φ, θ, r; +θ up, +r forward), "
            "TrajectoryCrafter (θ, φ, r; +θ up, +r forward) or ViewCrafter (φ, θ, r; −θ up, "
            "−r forward); say which: --file-format cognvs, trajectorycrafter or viewcrafter"
        )
    if len(rows) == 1 and rows[0] is not None and len(rows[0]) == 5:
        return "trajectorycrafter"
    raise ValueError(
        f"{path}: fits no camera file; expected three lines of an orbit, TUM lines of 8 numbers, "
        "or RealEstate10K lines of 19 numbers after a header"
    )


def _numbers_or_none(line: str) -> list[float] | None:
    try:
        return [float(word) for word in line.replace(",", " ").split()]
    except ValueError:
        return None
