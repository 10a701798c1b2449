"""Reading and writing every format; each is described by the module that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import (
    arrays,
    blender,
    captures,
    colmap,
    gen3c,
    gltf,
    nerfstudio,
    nuke,
    own,
    path_txt,
    photogrammetry,
    text,
    unreal,
    usd,
)
from recam.camera_files.camera_file import CameraFile
from recam.camera_files.describe import odd_steps
from recam.camera_files.detect import detect_format, named_file
from recam.camera_files.names import Wanted
from recam.camera_files.picture_fit import fitted
from recam.configs import CameraFormat, WrittenCameraFormat
from recam.types import Cameras, SourcePart


def read_cameras(
    path: str | Path,
    format: CameraFormat = "auto",
    *,
    num_frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    file: str | Sequence[str] | None = None,
    part: SourcePart | None = None,
    times_s: Tensor | None = None,
) -> CameraFile:
    """Read a camera or path file.

    format: "auto" recognises files that say what they are.
    num_frames: the video's frame count; the result then has one camera for each, interpolated where
        the file has fewer.
    part: for num_frames frames of a longer source, which ones; also names the source for ``file``.
    times_s: float64 [num_frames], when a film's frames are, for files that count seconds.
    height, width: the picture size that intrinsics shall be for; those of a file for another size
        are rescaled exactly (each axis by its own factor).
    file: the video, folder, or image names in order, whose cameras are wanted, where the file has
        cameras of several; for ReCamMaster the camera's name.

    Raises ValueError, saying which convention was expected, for a file that does not follow its
    format or could be of several, for NaN, for matrices that are not right-handed rigid motions,
    and for a number of cameras that does not fit the video; RecamError when it cannot be opened.
    """
    path = Path(path)
    if (height is None) != (width is None):
        raise ValueError("give height and width together")
    wanted = _wanted(file, part)
    try:
        with np.errstate(all="ignore"):  # what comes of infinite numbers is refused as such
            if format == "auto":
                format = detect_format(path)
            result = _read(named_file(path, format), format, height, width, wanted)
    except ValueError as error:
        if Path(str(error).partition(": ")[0]).exists():
            raise  # it names the file, or one that belongs to it
        raise ValueError(f"{path}: not a whole {format} file ({error})") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, RecursionError) as error:
        # A damaged file, in a way that no check of its reader names.
        raise ValueError(f"{path}: not a whole {format} file ({error})") from error
    if height is not None and width is not None:
        result = fitted(result, height, width, part)
    if num_frames is None:
        if result.missing:
            more = f" and {len(result.missing) - 1} more" if len(result.missing) > 1 else ""
            raise ValueError(f"{path}: no camera for {result.missing[0]}{more}")
        return result
    try:
        whole = result.for_video(num_frames, part, times_s)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(whole, notes=(*whole.notes, *odd_steps(result)))


def _wanted(file: str | Sequence[str] | None, part: SourcePart | None) -> Wanted:
    if isinstance(file, str):
        return Wanted(file)
    if file is not None:
        return Wanted(None, tuple(file))
    return Wanted() if part is None else Wanted(part.name or None, part.pictures)


def _read(
    path: Path, format: CameraFormat, height: int | None, width: int | None, wanted: Wanted
) -> CameraFile:
    match format:
        case "recam":
            return own.read_recam(path, wanted)
        case "keyframes":
            return own.read_keyframes(path)
        case "cognvs" | "trajectorycrafter" | "viewcrafter":
            return path_txt.read_orbit(path, format)
        case "nerfstudio":
            return nerfstudio.read_transforms(path, height, width, wanted)
        case "ns-export":
            return nerfstudio.read_ns_export(path, height, width, wanted)
        case "camera-path":
            return nerfstudio.read_camera_path(path, height, width)
        case "colmap":
            return colmap.read_colmap(path, wanted)
        case "re10k":
            return text.read_re10k(path, height, width)
        case "tum":
            return text.read_tum(path)
        case "kitti":
            return text.read_kitti(path, height, width)
        case "matrices":
            return text.read_matrices(path)
        case "euroc":
            return text.read_euroc(path, wanted)
        case "7scenes":
            return text.read_7scenes(path, wanted)
        case "recammaster":
            return unreal.read_recammaster(path, wanted.source)
        case "gen3c":
            if path.suffix == ".json":
                return gen3c.read_gen3c_path(path, height, width)
            return gen3c.read_gen3c(path)
        case "megasam":
            return arrays.read_megasam(path)
        case "vista4d":
            return arrays.read_vista4d(path)
        case "vipe":
            return arrays.read_vipe(path)
        case "depth-anything-3":
            return arrays.read_depth_anything_3(path)
        case "llff":
            return arrays.read_llff(path)
        case "3dgs":
            return captures.read_gaussians(path, wanted)
        case "record3d":
            return captures.read_record3d(path)
        case "polycam":
            return captures.read_polycam(path, wanted)
        case "arkit":
            return captures.read_arkit(path, height, width, wanted)
        case "dycheck":
            return captures.read_dycheck(path, wanted)
        case "metashape":
            return photogrammetry.read_metashape(path, wanted)
        case "realitycapture":
            return photogrammetry.read_reality_csv(path, height, width, wanted)
        case "realitycapture-xmp":
            return photogrammetry.read_reality_xmp(path, height, width, wanted)
        case "chan":
            return nuke.read_chan(path, height, width)
        case "usd" | "gltf" | "blender":
            raise ValueError(f"{path}: recam writes {format} cameras but does not read them")
    raise ValueError(f"unknown camera format {format!r}")


BY_SUFFIX: dict[str, WrittenCameraFormat] = {
    ".json": "recam", ".chan": "chan", ".usda": "usd", ".gltf": "gltf", ".glb": "gltf",
    ".py": "blender",
}  # fmt: skip
"""Formats that a name to write to chooses by itself."""


def format_to_write(path: Path, format: WrittenCameraFormat = "auto") -> WrittenCameraFormat:
    """The format to write; "auto" goes by the name. Raises ValueError where it says nothing, and
    for a format that is only read."""
    if format not in get_args(WrittenCameraFormat):
        written = ", ".join(get_args(WrittenCameraFormat)[1:])
        raise ValueError(f"cannot write cameras as {format!r}; choose one of {written}")
    if format != "auto":
        return format
    if path.suffix.lower() not in BY_SUFFIX:
        raise ValueError(
            f"{path}: the name does not say the format of cameras; it ends in "
            f"{', '.join(BY_SUFFIX)}, or name the format (--cameras-out-format)"
        )
    return BY_SUFFIX[path.suffix.lower()]


def write_cameras(
    cameras: Cameras,
    path: str | Path,
    format: WrittenCameraFormat = "auto",
    *,
    times_s: Tensor | None = None,
    frames: Tensor | None = None,
    names: Sequence[str] | None = None,
    distortion: Tensor | None = None,
    metres_per_unit: float | None = None,
    source: Cameras | None = None,
    focus_depth: float | None = None,
) -> None:
    """Write cameras in a format; each file appears whole or not at all.

    format: "auto" goes by the name: .json (recam), .chan (Nuke), .usda, .gltf, .glb, .py (Blender).

    times_s: float [n], seconds of each camera; default 24 a second.
    frames: int64 [n], video frames that they belong to (recam, vipe, and as 1, 2, 3, … chan, usd
        and blender); default 0, 1, 2, …
    names: image names (nerfstudio, colmap); default frame_000000.png, …, by ``frames``.
    distortion: float64 [5] of the lens (recam, nerfstudio, colmap).
    metres_per_unit: the scene's scale, for formats in centimetres or metres (recammaster, usd,
        gltf, blender); without it a unit counts as a metre there.
    source, focus_depth: what the orbit of a three-line txt is relative to.

    ``path`` is a folder for colmap (a binary model; ``colmap.write_colmap`` also writes text) and
    7scenes; gen3c writes camera.npz, or a camera path where the name ends in .json. Raises
    ValueError when the format cannot hold these cameras, RecamError when it cannot be written.
    """
    path = Path(path)
    format = format_to_write(path, format)
    n = len(cameras)
    if n == 0:
        raise ValueError("no cameras to write")
    times_s = torch.arange(n, dtype=torch.float64) / 24 if times_s is None else times_s
    frames = torch.arange(n) if frames is None else frames
    names = [f"frame_{int(i):06d}.png" for i in frames] if names is None else list(names)
    if not len(times_s) == len(frames) == len(names) == n:
        raise ValueError(
            f"{n} cameras but {len(times_s)} times, {len(frames)} frame numbers, {len(names)} names"
        )
    if distortion is not None and format not in {"recam", "nerfstudio", "colmap"}:
        raise ValueError(f"a {format} file cannot hold lens distortion; undistort the video first")
    match format:
        case "recam":
            metric = metres_per_unit == 1.0
            own.write_recam(path, cameras, frames, times_s, distortion, metric)
        case "cognvs" | "trajectorycrafter" | "viewcrafter":
            if source is None or focus_depth is None:
                raise ValueError(
                    f"a {format} path is relative: give source cameras and focus_depth"
                )
            path_txt.write_orbit(path, format, cameras, source, focus_depth)
        case "nerfstudio":
            nerfstudio.write_transforms(path, cameras, names, times_s, distortion)
        case "camera-path":
            nerfstudio.write_camera_path(path, cameras, times_s)
        case "colmap":
            colmap.write_colmap(path, cameras, names, distortion, binary=True)
        case "re10k":
            text.write_re10k(path, cameras, times_s, "written by recam")
        case "tum":
            text.write_tum(path, cameras, times_s)
        case "7scenes":
            text.write_7scenes(path, cameras)
        case "recammaster":
            unreal.write_recammaster(path, cameras, "cam01", metres_per_unit or 1.0)
        case "gen3c":
            if path.suffix == ".json":
                gen3c.write_gen3c_path(path, cameras, times_s)
            else:
                gen3c.write_gen3c(path, cameras)
        case "megasam":
            arrays.write_megasam(path, cameras, {})
        case "vista4d":
            arrays.write_vista4d(path, cameras)
        case "vipe":
            arrays.write_vipe(path, cameras, frames)
        case "llff":
            arrays.write_llff(path, cameras, (0.1, 100.0))
        case "chan":
            nuke.write_chan(path, cameras, frames)
        case "usd":
            usd.write_usd(path, cameras, times_s, frames, metres_per_unit)
        case "gltf":
            gltf.write_gltf(path, cameras, times_s, metres_per_unit)
        case "blender":
            blender.write_blender(path, cameras, times_s, frames, metres_per_unit)
