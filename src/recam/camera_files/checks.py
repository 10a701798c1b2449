"""Reading and writing of files whole, and the checks that every pose and intrinsic passes."""

from __future__ import annotations

import codecs
import math
import os
import re
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from recam.runtime.files import MAX_TEXT_BYTES, parse_json, read_bytes, require_file, short_reason
from recam.runtime.records import Record, is_number, shown
from recam.types import RecamError

MAX_SIDE = 1_000_000
"""Pixels along a picture."""
_OFF_CENTER = 0.08
"""How far from the middle, as a fraction of the picture, lenses put the principal point."""
_LARGEST_PX = 1e9
_FARTHEST = 1e12
_STRONGEST_LENS = 1e4
_ROTATION_TOLERANCE = 5e-3  # files written with four digits are off by some 1e-4


def read_text(path: Path) -> str:
    """A text file as any system writes it: UTF-8 or UTF-16, with or without a byte-order mark, any
    line ends (all become \\n); else in an older code page, whose letters beyond ASCII may come out
    as others. Raises RecamError when it cannot be read, ValueError when it is no text."""
    data = read_bytes(path, MAX_TEXT_BYTES)
    try:
        text = data.decode(_encoding_of(data))
    except UnicodeDecodeError as error:
        if _CONTROL.search(data):
            raise ValueError(f"{path}: not a text file") from error
        text = data.decode("cp1252", errors="replace")
    return "\n".join(text.splitlines())


_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def _encoding_of(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) >= 4 and len(data) % 2 == 0 and data[1:64:2].count(0) > data[0:64:2].count(0):
        return "utf-16-le"
    if len(data) >= 4 and len(data) % 2 == 0 and data[0:64:2].count(0) > data[1:64:2].count(0):
        return "utf-16-be"
    return "utf-8-sig"


def read_json(path: Path) -> Any:
    """A JSON file; raises ValueError with the line when it is broken."""
    return parse_json(read_text(path), path)


def read_object(path: Path) -> Record:
    """A JSON file that holds an object, for reading with checks."""
    return Record(read_json(path), path)


def read_objects(path: Path, expected: str) -> list[Record]:
    """A JSON file that holds a list of objects."""
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path}: not a list of cameras; expected {expected}")
    return [Record(entry, path, f"[{i}].") for i, entry in enumerate(content)]


MAX_CAMERAS = 1_000_000
MAX_ARRAY_BYTES = 256 << 20
"""Of a camera file: poses of a million frames take half of it."""


def array_names(path: Path) -> set[str]:
    """Names of the arrays in an .npz."""
    return set(array_shapes(path))


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in an .npz by name, from their headers; an .npy's under "".

    Raises ValueError for what is no plain array, RecamError when it cannot be opened."""
    return {name: shape for name, (shape, _) in _headers(path).items()}


def array_shape(path: Path, name: str | None = None) -> tuple[int, ...] | None:
    """Shape of an .npy, or of one array of an .npz, without reading its values; None if absent."""
    return array_shapes(path).get(name or "") if path.is_file() else None


def read_array(
    path: Path, name: str | None, expected: str, max_bytes: int = MAX_ARRAY_BYTES
) -> np.ndarray:
    """One array of an .npz, or the array of an .npy (name None), of numbers.

    expected: the convention, for the message when the array is not there. max_bytes: what it may
    take in memory, by its header, before anything is unpacked.
    """
    headers = _headers(path)
    if (name or "") not in headers:
        raise ValueError(f"{path}: no array {name!r} among {sorted(headers)}; expected {expected}")
    shape, kind = headers[name or ""]
    what = f"{path}: {name}" if name else f"{path}"
    if kind.hasobject or kind.kind not in "biuf":
        raise ValueError(f"{what} is not a plain array of numbers ({kind}); expected {expected}")
    size = math.prod(shape) * kind.itemsize
    if size > max_bytes:
        raise ValueError(
            f"{what} says that it has the shape {list(shape)}, {size / 1e6:.0f} MB; expected "
            f"{expected}, at most {max_bytes / 1e6:.0f} MB"
        )
    try:
        if name is None:
            return np.load(path, allow_pickle=False)
        with np.load(path, allow_pickle=False) as loaded:
            return np.asarray(loaded[name])
    except _BROKEN_ARRAYS as error:
        raise ValueError(f"{what} is damaged or cut off ({error}); expected {expected}") from error


_BROKEN_ARRAYS = (
    OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, SyntaxError,
    tokenize.TokenError, TypeError, OverflowError, MemoryError, KeyError, NotImplementedError,
)  # fmt: skip
_HEADERS = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    require_file(path)
    try:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                file.seek(0)
                return {"": _header(file)}
        with zipfile.ZipFile(path) as archive:
            found = {}
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as member:
                        found[entry.filename.removesuffix(".npy")] = _header(member)
            return found
    except _BROKEN_ARRAYS as error:
        raise ValueError(
            f"{path}: not a NumPy file of plain arrays ({short_reason(error)})"
        ) from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    major, _ = np.lib.format.read_magic(file)
    if major not in _HEADERS:
        raise ValueError(f"version {major} of its format")
    shape, _, kind = _HEADERS[major](file)
    return tuple(shape), kind


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
    except (ValueError, TypeError, OverflowError) as error:
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
    if float(poses.abs().max()) > _FARTHEST:
        raise ValueError(f"{path}: a pose with {float(poses.abs().max()):.3g}; expected {expected}")
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
    try:
        k = torch.as_tensor(np.asarray(matrices, dtype=np.float64))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: intrinsics are not numbers") from error
    if k.shape == (3, 3):
        k = k.expand(num_cameras, 3, 3)
    if k.shape != (num_cameras, 3, 3):
        raise ValueError(
            f"{path}: intrinsics have shape {list(k.shape)} for {num_cameras} cameras; expected "
            "[3, 3] or one per camera"
        )
    if not bool(torch.isfinite(k).all()) or float(k[:, [0, 1], [0, 1]].min()) <= 0:
        raise ValueError(f"{path}: intrinsics with NaN or a focal length that is not positive")
    scale = k[:, [0, 1], [0, 1]].amax(1)
    off = (k[:, 2] - torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).abs().amax(1)
    if float(k.abs().max()) > _LARGEST_PX or bool(
        (torch.maximum(off, k[:, 1, 0].abs()) > 1e-6 * scale).any()
    ):
        raise ValueError(
            f"{path}: intrinsics {k[0].tolist()}; expected fx 0 cx, 0 fy cy, 0 0 1 in pixels (are "
            "they transposed?)"
        )
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
    if min(h, w) < 1 or max(h, w) > MAX_SIDE:
        raise ValueError(
            "the file does not say which size its intrinsics are for, and their principal point "
            f"({float(k[0, 0, 2]):g}, {float(k[0, 1, 2]):g}) is not the middle of a picture"
        )
    return h, w, (f"intrinsics taken for {w}×{h} px, twice their principal point",)


def size_near_center(
    k: Tensor, height: int | None, width: int | None
) -> tuple[int, int, tuple[str, ...]]:
    """(height, width) of intrinsics that do not say for which: the pictures', where their middle is
    about the principal point, else twice that."""
    h, w, notes = intrinsics_size(k, None)
    if (
        height is None
        or width is None
        or max(abs(h / height - 1), abs(w / width - 1)) > _OFF_CENTER
    ):
        return h, w, notes
    return height, width, ()


def as_distortion(values: Any, path: Path) -> Tensor | None:
    """float64 [5] k1 k2 p1 p2 k3, or None when it is all zero. Shorter lists are filled up."""
    try:
        d = np.asarray(values, dtype=np.float64).ravel()
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: distortion coefficients are not numbers") from error
    if len(d) > 5 and np.any(d[5:]):
        raise ValueError(
            f"{path}: {len(d)} distortion coefficients; recam undoes OpenCV's k1 k2 p1 p2 [k3] — "
            "undistort the video first"
        )
    if not np.isfinite(d).all() or np.abs(d).max(initial=0) > _STRONGEST_LENS:
        raise ValueError(f"{path}: distortion coefficients with NaN or beyond any lens: {d[:8]}")
    full = torch.zeros(5, dtype=torch.float64)
    full[: min(len(d), 5)] = torch.from_numpy(d[:5].copy())
    return full if bool(full.any()) else None


def as_lenses(rows: Any, path: Path) -> Tensor | None:
    """float64 [5] as of ``as_distortion`` where all rows are equal, else [n, 5]; None without any
    distortion."""
    rows = [list(row) for row in rows]
    if all(row == rows[0] for row in rows):
        return as_distortion(rows[0], path)
    lenses = [as_distortion(row, path) for row in rows]
    none = torch.zeros(5, dtype=torch.float64)
    return torch.stack([none if lens is None else lens for lens in lenses])


_DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+(?:[eE][-+]?[0-9]+)?")


def split_numbers(line: str) -> list[str]:
    """The words of a line of numbers: apart by space, comma or semicolon; a comma between digits
    is a decimal point where something else keeps the numbers apart."""
    words = line.replace(";", " ").split()
    with_comma = [word for word in words if "," in word]
    if with_comma and len(words) > 1 and all(map(_DECIMAL_COMMA.fullmatch, with_comma)):
        return [word.replace(",", ".") for word in words]
    return line.replace(",", " ").replace(";", " ").split()


def numbers(line: str, path: Path, where: str) -> list[float]:
    """The finite numbers of a line; raises ValueError that names the line."""
    try:
        found = [float(word) for word in split_numbers(line)]
    except ValueError as error:
        raise ValueError(
            f"{path}: {where} is not a list of numbers: {line.strip()[:60]!r}"
        ) from error
    return found


def picture_size(height: Any, width: Any, path: Path) -> tuple[int, int]:
    """Checked (height, width) in pixels."""
    if not (is_number(height) and is_number(width) and min(height, width) >= 1):
        raise ValueError(
            f"{path}: a picture of {shown(width)}×{shown(height)}; expected its width and height "
            "in pixels"
        )
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"{path}: a picture of {width:g}×{height:g}; expected at most {MAX_SIDE}")
    return round(height), round(width)


def focal_from_vertical_fov(fov_deg: Any, height: int, path: Path) -> np.ndarray:
    """Focal lengths [n] px of vertical fields of view [n] in degrees."""
    fov = np.asarray(fov_deg, dtype=np.float64).ravel()
    if not np.isfinite(fov).all() or np.any(fov <= 0) or np.any(fov >= 180):
        raise ValueError(
            f"{path}: fov must lie between 0 and 180 degrees, got {fov.min()}…{fov.max()}"
        )
    return np.asarray(0.5 * height / np.tan(np.deg2rad(fov) / 2))
