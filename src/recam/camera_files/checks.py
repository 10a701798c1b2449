"""Reading and writing of files whole, and the checks that every pose and intrinsic passes."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from recam.types import RecamError

_ROTATION_TOLERANCE = 5e-3  # files written with four digits are off by some 1e-4


def read_text(path: Path) -> str:
    """A text file; raises RecamError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecamError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file") from error


def read_json(path: Path) -> Any:
    """A JSON file; raises ValueError with the line when it is broken."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error


def array_names(path: Path) -> set[str]:
    """Names of the arrays in an .npz."""
    with _open_arrays(path) as loaded:
        return set(loaded.files)


def read_array(path: Path, name: str | None, expected: str) -> np.ndarray:
    """One array of an .npz, or the array of an .npy (name None).

    expected: the convention, for the message when the array is not there.
    """
    if name is None:
        return np.asarray(_open_arrays(path))
    with _open_arrays(path) as loaded:
        if name not in loaded.files:
            raise ValueError(
                f"{path}: no array {name!r} among {sorted(loaded.files)}; expected {expected}"
            )
        try:
            return np.asarray(loaded[name])
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: {name} is not a plain array ({error})") from error


def _open_arrays(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise RecamError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a NumPy file of plain arrays ({error})") from error


def array_shape(path: Path, name: str | None = None) -> tuple[int, ...] | None:
    """Shape of an .npy, or of one array of an .npz, without reading its values; None if absent."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".npy":
            return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[np.lib.format.read_magic(member)]
            return tuple(read_header(member)[0])
    except KeyError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a NumPy file of plain arrays ({error})") from error


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through ``write``; it appears complete or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RecamError(f"{path}: cannot write ({error.strerror or error})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise RecamError(f"{path}: cannot write ({error.strerror or error})") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz of these arrays, or an .npy of the single array named ''."""
    if "" in arrays:
        write_whole(path, lambda file: np.save(file, arrays[""], allow_pickle=False))
    else:
        write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def as_poses(matrices: Any, path: Path, expected: str) -> Tensor:
    """Checked rigid transforms float64 [n, 4, 4] from [n, 4, 4] or [n, 3, 4] numbers.

    expected: the convention, for messages. Rotations that are off by rounding are made exact.
    Raises ValueError for NaN, a matrix that is not a rotation, or a mirrored (left-handed) one.
    """
    try:
        poses = torch.as_tensor(np.asarray(matrices, dtype=np.float64)).clone()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: poses are not numbers; expected {expected}") from error
    if poses.ndim != 3 or poses.shape[1:] not in {(4, 4), (3, 4)} or len(poses) == 0:
        raise ValueError(f"{path}: poses have shape {list(poses.shape)}; expected {expected}")
    if poses.shape[1] == 3:
        bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
        poses = torch.cat([poses, bottom.expand(len(poses), 1, 4)], 1)
    finite = torch.isfinite(poses).flatten(1).all(1)
    if not bool(finite.all()):
        bad = int((~finite).nonzero()[0])
        raise ValueError(f"{path}: pose {bad} has NaN or infinite numbers; expected {expected}")
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    if float((poses[:, 3] - bottom).abs().max()) > 1e-6:
        raise ValueError(
            f"{path}: the last row of a pose is {poses[0, 3].tolist()}, not 0 0 0 1 (are the "
            f"matrices transposed?); expected {expected}"
        )
    poses[:, :3, :3] = _as_rotations(poses[:, :3, :3], path, expected)
    return poses


def _as_rotations(rotations: Tensor, path: Path, expected: str) -> Tensor:
    eye = torch.eye(3, dtype=torch.float64)
    error = (rotations @ rotations.transpose(1, 2) - eye).abs().amax((1, 2))
    if float(error.max()) > _ROTATION_TOLERANCE:
        bad = int(error.argmax())
        raise ValueError(
            f"{path}: pose {bad} is not a rotation and a shift (R·Rᵀ is off by "
            f"{float(error[bad]):.2g}); expected {expected}"
        )
    mirrored = torch.linalg.det(rotations) < 0
    if bool(mirrored.any()):
        raise ValueError(
            f"{path}: pose {int(mirrored.nonzero()[0])} is left-handed (determinant −1), as when "
            f"one axis is flipped or the file has another convention; expected {expected}"
        )
    u, _, vh = torch.linalg.svd(rotations)
    return torch.where(error[:, None, None] > 1e-12, u @ vh, rotations)


def as_intrinsics(matrices: Any, num_cameras: int, path: Path) -> Tensor:
    """Checked float64 [n, 3, 3] px from [3, 3] (one for all) or [n, 3, 3] numbers."""
    k = torch.as_tensor(np.asarray(matrices, dtype=np.float64))
    if k.shape == (3, 3):
        k = k.expand(num_cameras, 3, 3)
    if k.shape != (num_cameras, 3, 3):
        raise ValueError(
            f"{path}: intrinsics have shape {list(k.shape)} for {num_cameras} cameras; expected "
            "[3, 3] or one per camera"
        )
    if not bool(torch.isfinite(k).all()) or float(k[:, [0, 1], [0, 1]].min()) <= 0:
        raise ValueError(f"{path}: intrinsics with NaN or a focal length that is not positive")
    return k.clone()


def pinhole(fx: Any, fy: Any, cx: Any, cy: Any) -> np.ndarray:
    """Intrinsics [n, 3, 3] from four numbers or four arrays [n]."""
    fx, fy, cx, cy = np.broadcast_arrays(*(np.atleast_1d(np.float64(v)) for v in (fx, fy, cx, cy)))
    k = np.zeros((len(fx), 3, 3))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = fx, fy, cx, cy, 1
    return k


def size_from_center(intrinsics: Tensor) -> tuple[int, int]:
    """(height, width) of the picture whose middle is the principal point."""
    return round(2 * float(intrinsics[0, 1, 2])), round(2 * float(intrinsics[0, 0, 2]))


def intrinsics_size(k: Tensor, shape: tuple[int, ...] | None) -> tuple[int, int, tuple[str, ...]]:
    """(height, width) that intrinsics belong to: the depth's or images', else twice the centre."""
    if shape is not None and len(shape) >= 3:
        return int(shape[1]), int(shape[2]), ()
    h, w = size_from_center(k)
    return h, w, (f"intrinsics taken for {w}×{h} px, twice their principal point",)


def as_distortion(values: Any, path: Path) -> Tensor | None:
    """float64 [5] k1 k2 p1 p2 k3, or None when it is all zero. Shorter lists are filled up."""
    d = np.asarray(values, dtype=np.float64).ravel()
    if len(d) > 5 and np.any(d[5:]):
        raise ValueError(
            f"{path}: {len(d)} distortion coefficients; recam undoes OpenCV's k1 k2 p1 p2 [k3] — "
            "undistort the video first"
        )
    if not np.isfinite(d).all():
        raise ValueError(f"{path}: distortion coefficients with NaN")
    full = torch.zeros(5, dtype=torch.float64)
    full[: min(len(d), 5)] = torch.from_numpy(d[:5].copy())
    return full if bool(full.any()) else None


def numbers(line: str, path: Path, where: str) -> list[float]:
    """The numbers of a line; raises ValueError that names the line."""
    try:
        return [float(word) for word in line.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(
            f"{path}: {where} is not a list of numbers: {line.strip()[:60]!r}"
        ) from error


def focal_from_vertical_fov(fov_deg: Any, height: int, path: Path) -> np.ndarray:
    """Focal lengths [n] px of vertical fields of view [n] in degrees."""
    fov = np.asarray(fov_deg, dtype=np.float64)
    if not np.isfinite(fov).all() or np.any(fov <= 0) or np.any(fov >= 180):
        raise ValueError(
            f"{path}: fov must lie between 0 and 180 degrees, got {fov.min()}…{fov.max()}"
        )
    return np.asarray(0.5 * height / np.tan(np.deg2rad(fov) / 2))
