"""Which format a camera file has, by what is in it. What could be two formats is an error."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recam.camera_files.captures import arkit_frames, dycheck_files, polycam_folder
from recam.camera_files.checks import (
    array_names,
    array_shape,
    read_json,
    read_text,
    split_numbers,
)
from recam.camera_files.colmap import model_folder
from recam.camera_files.photogrammetry import xmp_files
from recam.configs import CameraFormat
from recam.types import RecamError

NAMED_FILES: dict[str, tuple[CameraFormat, ...]] = {
    "cameras.json": ("recam", "3dgs"),
    "transforms.json": ("nerfstudio",),
    "camera_path.json": ("camera-path",),
    "metadata": ("record3d",),
    "metadata.json": ("record3d",),
    "cameras.xml": ("metashape",),
    "poses_bounds.npy": ("llff",),
    "groundtruth.txt": ("tum",),
    "camera_poses.txt": ("matrices",),
    "mav0/state_groundtruth_estimate0/data.csv": ("euroc",),
    "state_groundtruth_estimate0/data.csv": ("euroc",),
    "results.npz": ("depth-anything-3",),
    "exports/mini_npz/results.npz": ("depth-anything-3",),
    "exports/npz/results.npz": ("depth-anything-3",),
}
"""Files that are looked for in a folder, and what they may hold."""


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
        case ".xml":
            return "metashape"
        case ".xmp":
            return "realitycapture-xmp"
        case ".r3d":
            return "record3d"
        case ".txt" | ".tum" | ".csv" | ".kitti" | "":
            return _of_json(path) if _looks_like_json(path) else _of_text(path)
    raise ValueError(
        f"{path}: not a kind of camera file that recam knows (.json, .npz, .npy, .txt, .csv, .xml, "
        ".r3d, .chan, or a folder of COLMAP, GEN3C, Vista4D, ViPE, CogNVS, 7-Scenes, Polycam, "
        "ARKit, DyCheck or RealityCapture)"
    )


def named_file(path: Path, format: CameraFormat) -> Path:
    """The file of a format in a folder; the folder itself where the format is one of folders."""
    if not path.is_dir():
        return path
    for name, formats in NAMED_FILES.items():
        if format in formats and (path / name).is_file():
            return path / name
    return path


BESIDE = (
    "dataparser_transforms.json", "transforms.json", "calib.txt", "camera-intrinsics.txt",
    "intrinsic.txt", *(f"{up}cam{i}/sensor.yaml" for up in ("", "../") for i in range(4)),
)  # fmt: skip


def read_as_well(path: Path) -> list[Path]:
    """Files beside a camera file that reading it may take something from."""
    beside = [path.parent / name for name in BESIDE]
    beside.append(path.parent.parent / "intrinsics" / path.name)  # ViPE's
    return [file for file in beside if path.is_file() and file.is_file() and file != path]


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
    if any(not f.name.startswith(".") for f in path.glob("*.pose.txt")):
        found.append("7scenes")
    if dycheck_files(path):
        found.append("dycheck")
    if polycam_folder(path) is not None:
        found.append("polycam")
    if arkit_frames(path):
        found.append("arkit")
    if xmp_files(path):
        found.append("realitycapture-xmp")
    found += [detect_format(path / name) for name in NAMED_FILES if (path / name).is_file()]
    if len(found) > 1:
        raise ValueError(
            f"{path}: cameras of more than one kind ({', '.join(found)}); name the file or the "
            "format"
        )
    if not found:
        raise ValueError(f"{path}: no camera files in this folder")
    return found[0]


def _looks_like_json(path: Path) -> bool:
    return read_text(path).lstrip().startswith(("{", "["))


def _of_json(path: Path) -> CameraFormat:
    content = read_json(path)
    if isinstance(content, list):
        first = content[0] if content and isinstance(content[0], dict) else {}
        if {"position", "rotation"} <= first.keys():
            return "3dgs"
        if {"file_path", "transform"} <= first.keys():
            return "ns-export"
        if not first:
            raise ValueError(f"{path}: not a camera file; expected a JSON object or a list of them")
        raise ValueError(
            f"{path}: a list of {sorted(first)[:6]} fits no camera file; expected position and "
            "rotation (3D Gaussian splatting) or file_path and transform (ns-export)"
        )
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
    if {"poses", "K"} <= content.keys():
        return "record3d"
    if {"orientation", "position", "focal_length"} <= content.keys():
        return "dycheck"
    if any(re.fullmatch(r"frame[0-9]+", key) for key in content):
        return "recammaster"
    raise ValueError(
        f"{path}: keys {sorted(content)[:6]} fit no camera file; expected frames with w2c (recam) "
        "or transform_matrix (nerfstudio), camera_path, keys (keyframes), path (GEN3C), poses with "
        "K (Record3D) or frame0 (ReCamMaster)"
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
    if {"extrinsics", "intrinsics"} <= names:
        return "depth-anything-3"
    raise ValueError(
        f"{path}: arrays {sorted(names)[:8]} fit no camera file; expected cam_c2w with intrinsic "
        "(MegaSAM) or intrinsics (Vista4D), w2c with intrinsics (GEN3C), data with inds (ViPE), or "
        "extrinsics with intrinsics (Depth Anything 3)"
    )


def _of_npy(path: Path) -> CameraFormat:
    if path.name.endswith("c2ws.npy"):
        return "megasam"
    shape = array_shape(path) or ()
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
    if any(line.lower().startswith("#name") for line in lines[:2]):
        return "realitycapture"
    commented = " ".join(line for line in lines if line.lstrip().startswith("#"))
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    rows = [_numbers_or_none(line) for line in lines]
    body = rows if rows and rows[0] is not None else rows[1:]  # RE10K starts with a header line
    if body and all(row is not None and len(row) == 19 and row[5:7] == [0, 0] for row in body):
        return "re10k"
    if rows and all(row is not None and len(row) == 8 for row in rows):
        lengths = [float(np.linalg.norm(row[4:])) for row in rows if row is not None]
        if all(abs(length - 1) < 0.02 for length in lengths):
            return "euroc" if _is_euroc(rows, commented) else "tum"
    if len(rows) > 1 and all(row is not None and len(row) == 12 for row in rows):
        return "kitti"
    if len(rows) > 1 and all(row is not None and row[12:] == [0, 0, 0, 1] for row in rows):
        return "matrices"
    if (
        rows
        and all(row is not None and len(row) > 8 for row in rows)
        and _is_euroc(rows, commented)
    ):
        return "euroc"
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
        "KITTI lines of 12, 4×4 matrices in lines of 16, EuRoC's or RealityCapture's csv, or "
        "RealEstate10K lines of 19 numbers after a header"
    )


def _is_euroc(rows: list, comments: str) -> bool:
    """By its header, else by nanoseconds and a quaternion whose first number is w."""
    if "p_RS_R" in comments or "q_RS" in comments:
        return True
    numbers = [row for row in rows if row is not None]
    nanoseconds = all(row[0] > 1e15 for row in numbers)
    return nanoseconds and all(abs(float(np.linalg.norm(row[4:8])) - 1) < 0.02 for row in numbers)


def _numbers_or_none(line: str) -> list[float] | None:
    try:
        return [float(word) for word in split_numbers(line)]
    except ValueError:
        return None
