"""COLMAP models, text and binary: world-to-camera quaternions w x y z, OpenCV axes.

The picture's corner is (0, 0), so the first pixel's centre is (0.5, 0.5), as here. Format:
COLMAP's documentation, "Output Format".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, LensKind
from recam.camera_files.checks import (
    as_intrinsics,
    as_lenses,
    as_poses,
    numbers,
    picture_size,
    pinhole,
    read_text,
    write_text,
    write_whole,
)
from recam.camera_files.colmap_rigs import rig_poses
from recam.camera_files.names import Wanted, select
from recam.geometry import quaternion_from_rotation, rotation_from_quaternion, se3
from recam.runtime.files import read_bytes
from recam.types import Cameras, RecamError

COLMAP = (
    "a COLMAP model: cameras and images as .bin or .txt, world to camera, quaternion w x y z, "
    "OpenCV axes"
)
# Model name -> (id in binary files, where fx fy cx cy and k1 k2 p1 p2 k3… stand; −1 = absent).
_MODELS: dict[str, tuple[int, int, tuple[int, int, int, int], tuple[int, ...]]] = {
    "SIMPLE_PINHOLE": (0, 3, (0, 0, 1, 2), ()),
    "PINHOLE": (1, 4, (0, 1, 2, 3), ()),
    "SIMPLE_RADIAL": (2, 4, (0, 0, 1, 2), (3,)),
    "RADIAL": (3, 5, (0, 0, 1, 2), (3, 4)),
    "OPENCV": (4, 8, (0, 1, 2, 3), (4, 5, 6, 7)),
    "OPENCV_FISHEYE": (5, 8, (0, 1, 2, 3), (4, 5, 6, 7)),
    "FULL_OPENCV": (6, 12, (0, 1, 2, 3), (4, 5, 6, 7, 8, 9, 10, 11)),
    "SIMPLE_RADIAL_FISHEYE": (8, 4, (0, 0, 1, 2), (3,)),
    "RADIAL_FISHEYE": (9, 5, (0, 0, 1, 2), (3, 4)),
    "SIMPLE_FISHEYE": (14, 3, (0, 0, 1, 2), ()),
    "FISHEYE": (15, 4, (0, 1, 2, 3), ()),
    "EQUIRECTANGULAR": (17, 2, (0, 0, 0, 0), ()),
}
MAX_BINARY_BYTES = 4 << 30
"""Of images.bin, which lists every image's points."""
_MODEL_NAMES = {code: name for name, (code, *_) in _MODELS.items()}


class _Camera(NamedTuple):
    model: str
    width: int
    height: int
    params: tuple[float, ...]


class _Image(NamedTuple):
    id: int
    pose: tuple[float, ...]
    camera_id: int
    name: str


def model_folder(path: Path) -> Path | None:
    """The folder at or under ``path`` that holds a COLMAP model: of several, 0, 1, …, which the
    mapper could not join, the one with the most images."""
    if path.is_file():
        path = path.parent
    for found in ([path], _models(path / "sparse"), [path / "sparse"], _models(path)):
        held = [folder for folder in found if _image_file(folder) is not None]
        if held:
            return max(held, key=_num_images)
    return None


def _models(folder: Path) -> list[Path]:
    """Numbered folders of models, in order."""
    if not folder.is_dir():
        return []
    numbered = (f for f in folder.iterdir() if f.name.isdigit() and _image_file(f) is not None)
    return sorted(numbered, key=lambda f: int(f.name))


def _image_file(folder: Path) -> Path | None:
    for suffix in (".bin", ".txt"):
        images = folder / f"images{suffix}"
        if (folder / f"cameras{suffix}").is_file() and images.is_file():
            return images
    return None


def _num_images(folder: Path) -> int:
    """About how many; exactly in a binary model."""
    images = _image_file(folder)
    assert images is not None
    with images.open("rb") as file:
        if images.suffix == ".bin":
            return int.from_bytes(file.read(8), "little")
        return sum(not line.startswith(b"#") for line in file) // 2


def _model_note(folder: Path, path: Path) -> tuple[str, ...]:
    """A word where there are other models beside the one that was taken."""
    others = [f for f in _models(folder.parent) if f != folder]
    if not others or path in (folder, *folder.iterdir()):
        return ()
    counts = ", ".join(f"{f.name} with {_num_images(f)}" for f in others[:4])
    return (f"of its models {folder.name} is taken, with {_num_images(folder)} images ({counts})",)


def read_colmap(path: Path, wanted: Wanted) -> CameraFile:
    """A COLMAP model; its images in the order of the numbers in their names.

    Where the model has rigs and frames (COLMAP 3.12 and newer), these say where the cameras are, as
    they do for COLMAP itself. Raises ValueError for lens models other than pinhole, OpenCV's,
    fisheyes and the whole sphere, and for images of several sizes or kinds of lens.
    """
    folder = model_folder(path)
    if folder is None:
        raise ValueError(f"{path}: no cameras and images files; expected {COLMAP}")
    try:
        if (folder / "cameras.bin").is_file():
            cameras, images = _read_binary(folder)
        else:
            cameras, images = _read_text_model(folder)
        rigged = rig_poses(folder)
    except (struct.error, IndexError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder}: a broken or cut off file; expected {COLMAP}") from error
    if not images:
        raise ValueError(f"{folder}: no images; expected {COLMAP}")
    chosen = select([image.name for image in images], wanted, folder)
    images = [images[i] for i in chosen.indices]
    used = [_lens(cameras, image, folder) for image in images]
    if len({(c.width, c.height) for c in used}) > 1:
        raise ValueError(f"{folder}: images of several sizes; choose one video (file=…)")
    height, width = picture_size(used[0].height, used[0].width, folder)
    kinds = {_kind_of(c) for c in used}
    if len(kinds) > 1:
        raise ValueError(
            f"{folder}: {' and '.join(sorted(kinds))} images; choose one video (file=…)"
        )
    (kind,) = kinds
    poses = _poses(images, rigged, folder)
    intrinsics, lenses = None, None
    if kind != "equirectangular":
        rows = [[c.params[j] for j in _MODELS[c.model][2]] for c in used]
        intrinsics = as_intrinsics(pinhole(*np.array(rows).T), len(poses), folder)
        lenses = as_lenses([_distortion_of(c) for c in used], folder)
    return CameraFile(
        "colmap", poses, intrinsics, height, width, frame_indices=chosen.frames, distortion=lenses,
        lens=kind, numbers=chosen.numbers, missing=chosen.missing,
        notes=chosen.notes + _rig_note(images, rigged) + _model_note(folder, path),
    )  # fmt: skip


def _kind_of(camera: _Camera) -> LensKind:
    if "FISHEYE" in camera.model:
        return "fisheye"
    return "equirectangular" if camera.model == "EQUIRECTANGULAR" else "opencv"


def _poses(images: list[_Image], rigged: dict[int, Tensor], folder: Path) -> Tensor:
    table = torch.tensor([image.pose for image in images], dtype=torch.float64)
    length = table[:, :4].norm(dim=1)
    if not bool(((length - 1).abs() < 0.02).all()):
        bad = images[int((length - 1).abs().nan_to_num(9.0).argmax())]
        raise ValueError(
            f"{folder}: image {bad.name}: no quaternion of length 1; expected {COLMAP}"
        )
    poses = as_poses(se3(rotation_from_quaternion(table[:, :4]), table[:, 4:]), folder, COLMAP)
    for i, image in enumerate(images):
        if image.id in rigged:
            poses[i] = rigged[image.id]
    return poses


def _rig_note(images: list[_Image], rigged: dict[int, Tensor]) -> tuple[str, ...]:
    table = torch.tensor([image.pose for image in images], dtype=torch.float64)
    own = se3(rotation_from_quaternion(table[:, :4]), table[:, 4:])
    moved = [i for i, m in enumerate(images) if m.id in rigged]
    if not moved or max(float((own[i] - rigged[images[i].id]).abs().max()) for i in moved) < 1e-6:
        return ()
    return ("its rigs and frames say where the cameras are, not its (older) images",)


def _lens(cameras: dict[int, _Camera], image: _Image, folder: Path) -> _Camera:
    if image.camera_id not in cameras:
        raise ValueError(
            f"{folder}: image {image.name} has camera {image.camera_id}, not in cameras"
        )
    camera = cameras[image.camera_id]
    if camera.model not in _MODELS:
        raise ValueError(
            f"{folder}: camera model {camera.model}; recam reads {', '.join(_MODELS)} — "
            "run colmap image_undistorter first"
        )
    return camera


def _distortion_of(camera: _Camera) -> list[float]:
    values = [camera.params[j] for j in _MODELS[camera.model][3]]
    return values + [0.0] * (5 - len(values))


def _read_text_model(folder: Path) -> tuple[dict[int, _Camera], list[_Image]]:
    path = folder / "cameras.txt"
    cameras = {}
    for line in content_lines(path):
        words = line.split()
        w, h, *params = numbers(" ".join(words[2:]), path, f"camera {words[0]}")
        count = _MODELS.get(words[1], (0, len(params)))[1]
        if len(params) != count:
            raise ValueError(f"{path}: camera {words[0]} has {len(params)} parameters, not {count}")
        cameras[_whole(words[0], path)] = _Camera(words[1], int(w), int(h), tuple(params))
    return cameras, _read_images_txt(folder / "images.txt")


def _whole(word: str, path: Path) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ValueError(f"{path}: {word[:40]!r} where a number of an entry should be") from error


def _read_images_txt(path: Path) -> list[_Image]:
    """As COLMAP reads it: empty lines and comments before an image are skipped; the very next line
    lists its points, and may be empty."""
    images = []
    lines = iter(read_text(path).splitlines())
    for line in lines:
        words = line.split(maxsplit=9)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 10:
            raise ValueError(f"{path}: {line.strip()[:60]!r} is not an image; expected {COLMAP}")
        *pose, camera_id = numbers(" ".join(words[1:9]), path, f"image {words[0]}")
        images.append(_Image(_whole(words[0], path), tuple(pose), int(camera_id), words[9].strip()))
        points = next(lines, "").split()
        if len(points) % 3 or (points and not _is_number(points[-1])):
            raise ValueError(
                f"{path}: the line after image {images[-1].name} lists no points; each image has "
                "two lines, of which the second may be empty"
            )
    return images


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def content_lines(path: Path) -> list[str]:
    """Lines that are neither empty nor comments."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read_binary(folder: Path) -> tuple[dict[int, _Camera], list[_Image]]:
    data, cameras = read_bytes(folder / "cameras.bin", MAX_BINARY_BYTES), {}
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        camera_id, code, width, height = struct.unpack_from("<iiQQ", data, at)
        name = _MODEL_NAMES.get(code)
        if name is None:
            raise ValueError(
                f"{folder}: camera model number {code}; recam reads {', '.join(_MODELS)} — "
                "run colmap image_undistorter first"
            )
        params = struct.unpack_from(f"<{_MODELS[name][1]}d", data, at + 24)
        cameras[camera_id] = _Camera(name, width, height, params)
        at += 24 + 8 * len(params)
    data, images = read_bytes(folder / "images.bin", MAX_BINARY_BYTES), []
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        image_id, *pose, camera_id = struct.unpack_from("<i7di", data, at)
        end = data.find(b"\0", at + 64)
        if end < 0:
            raise IndexError("images.bin ends within a name")
        images.append(_Image(image_id, tuple(pose), camera_id, data[at + 64 : end].decode()))
        (num_points,) = struct.unpack_from("<Q", data, end + 1)
        at = end + 9 + 24 * num_points
        if at > len(data):
            raise IndexError("images.bin ends within an image")
    return cameras, images


def write_colmap(
    path: Path, cameras: Cameras, names: list[str], distortion: Tensor | None, binary: bool
) -> None:
    """A model of cameras without points in the folder ``path``; one camera entry per lens."""
    if distortion is not None and float(distortion[4]) == 0:
        model, extra = "OPENCV", distortion[:4].tolist()
    elif distortion is not None:
        model, extra = "FULL_OPENCV", [*distortion.tolist(), 0.0, 0.0, 0.0]
    else:
        model, extra = "PINHOLE", []
    four = cameras.intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    lenses = [tuple(k) for k in four]
    ids = {lens: i + 1 for i, lens in enumerate(dict.fromkeys(lenses))}
    table = [(i, model, cameras.width, cameras.height, [*lens, *extra]) for lens, i in ids.items()]
    quaternion = quaternion_from_rotation(cameras.cam_from_world[:, :3, :3])
    poses = torch.cat([quaternion, cameras.cam_from_world[:, :3, 3]], 1).tolist()
    images = [(i + 1, poses[i], ids[lenses[i]], names[i]) for i in range(len(cameras))]
    if not binary and any(len(name.split()) != 1 for name in names):
        raise ValueError("image names in COLMAP's text files may have no spaces")
    # Readers prefer one kind to the other, so files of both would hide what is written here.
    other = ".txt" if binary else ".bin"
    for stem in ("cameras", "images", "points3D", "rigs", "frames"):
        for suffix in {other, ".bin", ".txt"} if stem in {"rigs", "frames"} else {other}:
            if (path / f"{stem}{suffix}").exists():
                raise RecamError(
                    f"{path} already holds another COLMAP model; choose an empty folder"
                )
    write = _write_binary if binary else _write_text_model
    write(path, table, images)


def _write_text_model(path: Path, table: list, images: list) -> None:
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    for i, model, w, h, params in table:
        lines.append(f"{i} {model} {w} {h} " + " ".join(f"{v:.17g}" for v in params))
    write_text(path / "cameras.txt", "\n".join(lines) + "\n")
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D[]"]
    for i, pose, camera_id, name in images:
        lines += [f"{i} " + " ".join(f"{v:.17g}" for v in pose) + f" {camera_id} {name}", ""]
    write_text(path / "images.txt", "\n".join(lines) + "\n")
    write_text(path / "points3D.txt", "# POINT3D_ID X Y Z R G B ERROR TRACK[]\n")


def _write_binary(path: Path, table: list, images: list) -> None:
    data = struct.pack("<Q", len(table))
    for i, model, w, h, params in table:
        data += struct.pack(f"<iiQQ{len(params)}d", i, _MODELS[model][0], w, h, *params)
    write_whole(path / "cameras.bin", lambda file: file.write(data))
    body = struct.pack("<Q", len(images))
    for i, pose, camera_id, name in images:
        body += struct.pack("<i7di", i, *pose, camera_id) + name.encode() + b"\0"
        body += struct.pack("<Q", 0)
    write_whole(path / "images.bin", lambda file: file.write(body))
    write_whole(path / "points3D.bin", lambda file: file.write(struct.pack("<Q", 0)))
