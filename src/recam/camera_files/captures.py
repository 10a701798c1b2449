"""Cameras of capture programs, in JSON: Record3D, Polycam and other ARKit ones, DyCheck, and
3D Gaussian splatting's cameras.json.

ARKit's cameras have OpenGL's axes (x right, y up, z backward) in a world with y up, in metres.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    MAX_CAMERAS,
    MAX_SIDE,
    as_intrinsics,
    as_lenses,
    as_poses,
    picture_size,
    pinhole,
    read_json,
    read_object,
    read_objects,
    size_near_center,
)
from recam.camera_files.names import Selection, Wanted, in_order, select
from recam.camera_files.nerfstudio import FLIP
from recam.geometry import rotation_from_quaternion, se3, se3_inverse
from recam.runtime.files import MAX_TEXT_BYTES, parse_json, require_file
from recam.runtime.records import Record

RECORD3D = (
    "Record3D's metadata: poses of qx qy qz qw x y z, camera to world, OpenGL axes, metres, and K, "
    "a 3×3 matrix by column"
)
POLYCAM = (
    "Polycam's keyframes/cameras/*.json: t_00 … t_23, camera to world by row, OpenGL axes, metres"
)
ARKIT = (
    "ARKit frames *.json: cameraPoseARFrame, 16 numbers by row, camera to world, OpenGL axes, "
    "metres, and intrinsics, 9 numbers by row"
)
DYCHECK = (
    "DyCheck's camera/*.json: orientation 3×3, world to camera, OpenCV axes, position of the "
    "camera in the world, focal_length, principal_point, image_size"
)
GAUSSIANS = (
    "3D Gaussian splatting's cameras.json: a list with position and rotation, camera to world, "
    "OpenCV axes, fx, fy, width, height"
)


def read_record3d(path: Path) -> CameraFile:
    """Record3D's metadata, alone or within an .r3d file."""
    if zipfile.is_zipfile(require_file(path)):
        content = parse_json(_metadata_of(path), path)
    else:
        content = read_json(path)
    about = Record(content, path)
    table = torch.from_numpy(about.array("poses", (None, 7)))
    if not bool(((table[:, :4].norm(dim=1) - 1).abs() < 0.02).all()):
        raise ValueError(f"{path}: quaternions that are not of length 1; expected {RECORD3D}")
    rotation = rotation_from_quaternion(table[:, [3, 0, 1, 2]])
    gl = as_poses(se3(rotation, table[:, 4:]), path, RECORD3D)
    k = about.array("K", (9,)).reshape(3, 3).T
    if about.value.get("perFrameIntrinsicCoeffs"):  # focusing changes them
        rows = about.array("perFrameIntrinsicCoeffs", (len(gl), None))
        whole = rows.shape[1] == 9  # as K
        k = rows.reshape(-1, 3, 3).swapaxes(1, 2) if whole else pinhole(*rows[:, :4].T)
    h, w = about.whole("h", 1, MAX_SIDE), about.whole("w", 1, MAX_SIDE)
    fps = about.number("fps", 0.0, default=0.0)
    times_s = torch.arange(len(gl), dtype=torch.float64) / fps if fps else None
    return CameraFile(
        "record3d", se3_inverse(gl @ FLIP), as_intrinsics(k, len(gl), path), h, w,
        times_s=times_s, metric=True,
    )  # fmt: skip


def _metadata_of(path: Path) -> str:
    """The metadata's text within an .r3d file, which is a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in archive.namelist() if n.split("/")[-1] == "metadata"), None)
            if name is None or archive.getinfo(name).file_size > MAX_TEXT_BYTES:
                raise ValueError(f"{path}: no metadata of a usual size inside; expected {RECORD3D}")
            return archive.read(name).decode("utf-8-sig")
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path}: a damaged zip ({error}); expected {RECORD3D}") from error


def _jsons_of(folder: Path) -> list[Path]:
    return in_order(folder.glob("*.json"))


def polycam_folder(path: Path) -> Path | None:
    """Where a Polycam capture keeps its cameras: the optimised ones where there are any."""
    for folder in (path, path / "keyframes"):
        for name in ("corrected_cameras", "cameras"):
            files = _jsons_of(folder / name) if (folder / name).is_dir() else []
            if files and "t_00" in read_object(files[0]):
                return folder / name
    files = _jsons_of(path) if path.is_dir() else []
    return path if files and "t_00" in read_object(files[0]) else None


def read_polycam(path: Path, wanted: Wanted) -> CameraFile:
    """A Polycam raw export, or its folder of cameras."""
    folder = polycam_folder(path)
    if folder is None:
        raise ValueError(f"{path}: no cameras; expected {POLYCAM}")
    files, chosen = _chosen_files(_jsons_of(folder), wanted, path)
    frames = [read_object(file) for file in files]
    rows = [
        [f.number(f"t_{r}{c}") for r in range(3) for c in range(4)]
        for f in frames
    ]  # fmt: skip
    gl = as_poses(np.array(rows).reshape(-1, 3, 4), folder, POLYCAM)
    k = pinhole(*np.array([[f.number(n) for n in ("fx", "fy", "cx", "cy")] for f in frames]).T)
    h, w = _one_size([(f.number("height", 1), f.number("width", 1)) for f in frames], folder)
    return CameraFile(
        "polycam", se3_inverse(gl @ FLIP), as_intrinsics(k, len(gl), folder), h, w,
        frame_indices=chosen.frames, metric=True, numbers=chosen.numbers, missing=chosen.missing,
        notes=chosen.notes,
    )  # fmt: skip


def _chosen_files(files: list[Path], wanted: Wanted, path: Path) -> tuple[list[Path], Selection]:
    """Files of one camera each that belong to the source; named as its pictures."""
    chosen = select([f.stem for f in files], wanted, path)
    return [files[i] for i in chosen.indices], chosen


def _one_size(sizes: list[tuple[float, float]], path: Path) -> tuple[int, int]:
    if len(set(sizes)) > 1:
        raise ValueError(f"{path}: cameras of different picture sizes; choose one video")
    return picture_size(*sizes[0], path)


def arkit_frames(path: Path) -> list[Path]:
    """Frames of an ARKit capture in a folder."""
    files = _jsons_of(path) if path.is_dir() else []
    files = [f for f in files if f.stem.startswith("frame")] or files
    return files if files and "cameraPoseARFrame" in read_object(files[0]) else []


def read_arkit(path: Path, height: int | None, width: int | None, wanted: Wanted) -> CameraFile:
    """A folder of frames as 3D Scanner App writes them; their pictures' size is not in them."""
    files, chosen = _chosen_files(arkit_frames(path), wanted, path)
    if not files:
        raise ValueError(f"{path}: no frames; expected {ARKIT}")
    frames = [read_object(file) for file in files]
    rows = np.stack([f.array("cameraPoseARFrame", (16,)) for f in frames]).reshape(-1, 4, 4)
    gl = as_poses(rows, path, ARKIT)
    k = np.stack([f.array("intrinsics", (9,)) for f in frames]).reshape(-1, 3, 3)
    intrinsics = as_intrinsics(k, len(gl), path)
    h, w, notes = size_near_center(intrinsics, height, width)
    return CameraFile(
        "arkit", se3_inverse(gl @ FLIP), intrinsics, h, w,
        frame_indices=chosen.frames, metric=True, numbers=chosen.numbers, missing=chosen.missing,
        notes=notes + chosen.notes,
    )  # fmt: skip


def dycheck_files(path: Path) -> list[Path]:
    """Camera files of a DyCheck scene, or of its folder of cameras."""
    for folder in (path / "camera", path):
        files = _jsons_of(folder) if folder.is_dir() else []
        files = [f for f in files if "orientation" in read_object(f)][:1] and files
        if files:
            return files
    return []


def read_dycheck(path: Path, wanted: Wanted) -> CameraFile:
    """A DyCheck scene's cameras. Those of several phones, 0_00000 and 1_00000, are told apart by
    the pictures' names."""
    files = dycheck_files(path) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no cameras; expected {DYCHECK}")
    phones = {f.stem.partition("_")[0] for f in files}
    several = len(phones) > 1 and all("_" in f.stem for f in files)
    names = [f"{f.stem.partition('_')[0]}/{f.stem}" if several else f.stem for f in files]
    chosen = select(names, wanted, path)
    files = [files[i] for i in chosen.indices]
    frames = [read_object(file) for file in files]
    rotation = torch.from_numpy(np.stack([f.array("orientation", (3, 3)) for f in frames]))
    center = torch.from_numpy(np.stack([f.array("position", (3,)) for f in frames]))
    shift = -(rotation @ center[:, :, None])
    poses = as_poses(torch.cat([rotation, shift], -1), path, DYCHECK)
    middle = np.stack([f.array("principal_point", (2,)) for f in frames])
    focal = np.array([f.number("focal_length", 1e-6) for f in frames])
    aspect = np.array([f.number("pixel_aspect_ratio", 1e-3, 1e3, 1.0) for f in frames])
    k = pinhole(focal, focal * aspect, middle[:, 0], middle[:, 1])
    k[:, 0, 1] = [f.number("skew", default=0.0) for f in frames]
    sizes = [f.array("image_size", (2,)) for f in frames]
    h, w = _one_size([(float(s[1]), float(s[0])) for s in sizes], path)
    lenses = [_dycheck_lens(f) for f in frames]
    notes = tuple(n for n in chosen.notes if "taken for those in" not in n)
    return CameraFile(
        "dycheck", poses, as_intrinsics(k, len(poses), path), h, w, frame_indices=chosen.frames,
        distortion=as_lenses(lenses, path), numbers=chosen.numbers, missing=chosen.missing,
        notes=notes,
    )  # fmt: skip


def _dycheck_lens(frame: Record) -> list[float]:
    """OpenCV's k1 k2 p1 p2 k3."""
    radial = frame.array("radial_distortion", (3,)) if "radial_distortion" in frame else np.zeros(3)
    name = "tangential_distortion"
    tangential = frame.array(name, (2,)) if name in frame else np.zeros(2)
    return [*radial[:2].tolist(), *tangential.tolist(), float(radial[2])]


def read_gaussians(path: Path, wanted: Wanted) -> CameraFile:
    """The cameras.json that 3D Gaussian splatting writes beside its result.

    What it calls rotation and position is camera to world; the principal point is the middle.
    """
    entries = read_objects(path, GAUSSIANS)
    if len(entries) > MAX_CAMERAS:
        raise ValueError(f"{path}: {len(entries)} cameras; expected {GAUSSIANS}")
    names = [e.text("img_name", default=str(i)) for i, e in enumerate(entries)]
    chosen = select(names, wanted, path)
    entries = [entries[i] for i in chosen.indices]
    rotation = np.stack([e.array("rotation", (3, 3)) for e in entries])
    center = np.stack([e.array("position", (3,)) for e in entries])
    c2w = as_poses(np.concatenate([rotation, center[:, :, None]], -1), path, GAUSSIANS)
    h, w = _one_size([(e.number("height", 1), e.number("width", 1)) for e in entries], path)
    focal = np.array([[e.number("fx", 1e-6), e.number("fy", 1e-6)] for e in entries])
    k = as_intrinsics(pinhole(focal[:, 0], focal[:, 1], w / 2, h / 2), len(c2w), path)
    return CameraFile(
        "3dgs", se3_inverse(c2w), k, h, w, frame_indices=chosen.frames, numbers=chosen.numbers,
        missing=chosen.missing, notes=chosen.notes,
    )  # fmt: skip
