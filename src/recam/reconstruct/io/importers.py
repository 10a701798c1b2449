"""Depth of a video from other programs' files.

| source | what is read |
| --- | --- |
| MegaSAM | ``*_droid.npz`` or ``*_cvd_hr.npz``: depths, and the cameras beside them; or a folder |
|  | of ``reconstructions/``: ``disps.npy``, ``poses.npy``, ``intrinsics.npy`` |
| CogNVS | a sequence's folder, or its ``cam_info``: ``*depth.npy``, and the cameras |
| GEN3C | ``depth.npz`` or its folder; ``mask.npz`` and ``camera.npz`` beside it |
| Vista4D | the folder, or its ``recon_and_seg``: ``depths/*.exr``, ``cameras.npz``, and |
|  | ``dynamic_mask/*.png``, ``sky_mask/*.png`` |
| ViPE | ``depth/<name>.zip`` of EXR, or the folder; pose and intrinsics beside it; metres |
| COLMAP | a dense workspace: ``stereo/depth_maps/*.geometric.bin``, cameras of its ``sparse`` |
| nerfstudio | ``transforms.json`` or its folder, where its frames name depth pictures |
| any | ``.npz`` or ``.npy`` with one stack [t, h, w]; a folder of, or a single, 16-bit PNG or |
|  | TIFF, EXR, PFM or npy; with a range, a grey film or 8-bit pictures |

Depth means z-depth. An array or file whose name contains "disp" holds inverse depth; one that
could be either is refused until ``DepthOptions.kind`` says which. A 16-bit picture holds
millimetres, with 0 and 65535 for no depth, unless ``DepthOptions.unit`` says otherwise.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.arrays import F32, Mask
from recam.camera_files import CameraFile, read_cameras
from recam.camera_files.checks import array_shape, array_shapes, read_array
from recam.configs import CameraFormat
from recam.media.pictures import natural_key
from recam.media.source import probe
from recam.reconstruct.io.depth_kind import AS_THE_FILE_SAYS, DepthOptions, interpreted
from recam.reconstruct.io.depth_layouts import (
    picture_masks,
    read_colmap_dense,
    read_megasam_folder,
    read_nerfstudio_depth,
)
from recam.reconstruct.io.depth_pictures import (
    DEPTH_SUFFIXES,
    depth_files,
    read_depth_film,
    read_depth_pictures,
)
from recam.reconstruct.io.exr import read_exr
from recam.reconstruct.io.raw_depth import RawDepth, load_array, max_inflated_bytes
from recam.runtime.files import require_file
from recam.types import Cameras, RecamError, SourcePart

SKY_TIMES = 60.0
"""Sky is put at so many times the depth of what is near."""
WHAT_IS_READ = (
    "expected a MegaSAM npz, a MegaSAM, CogNVS, GEN3C, Vista4D, ViPE or dense COLMAP folder, "
    "nerfstudio's transforms.json with depth, an npz or npy with one stack [frames, height, width],"
    " a folder of 16-bit PNG (millimetres), TIFF, EXR, PFM or npy, or a film with --depth-range"
)


@dataclass(frozen=True)
class DepthSource:
    """Depth that somebody else worked out.

    depth: float32 [t, h, w], z-depth in the source's units; 0 where not valid.
    valid: bool [t, h, w].
    metric: True when the units are metres, None when nothing says so.
    cameras: t cameras of size (h, w) in the same units, when the source has them.
    notes: what was assumed, for the user.
    dynamic: bool [t, h, w], what moves, when the source says it.
    """

    depth: Tensor
    valid: Tensor
    metric: bool | None
    cameras: Cameras | None
    notes: tuple[str, ...]
    dynamic: Tensor | None = None


def read_depth(
    path: str | Path,
    num_frames: int,
    height: int,
    width: int,
    part: SourcePart | None = None,
    options: DepthOptions = AS_THE_FILE_SAYS,
) -> DepthSource:
    """Depth of a video's num_frames frames, resized to (height, width).

    part: which frames of its source the video has; depth of all of the source's then does too.
    options: what the file does not say of itself.

    Resizing keeps edges: interpolated on surfaces, nearest across steps. NaN, infinite, zero and
    negative depths are not valid.

    Raises RecamError for what cannot be opened; ValueError, naming what was expected, for files of
    another kind or ambiguous units, another number of frames, a picture of another shape, or no
    usable depth at all.
    """
    path = Path(path)
    if not path.exists():
        raise RecamError(f"{path}: no such file or folder")
    raw = _read(path, options)
    if raw.maps.ndim != 3 or 0 in raw.maps.shape:
        raise ValueError(
            f"{raw.name}: depth of shape {list(raw.maps.shape)}; expected [frames, height, width]"
        )
    raw = interpreted(raw, options)
    h, w = raw.maps.shape[1:]
    part = part or SourcePart(raw.name)
    index = part.entries(len(raw.maps), num_frames, f"depth maps of {raw.name}").tolist()
    if not 0.94 < (w / h) / (width / height) < 1.06:
        raise ValueError(
            f"{raw.name} is {w}×{h} but the video's shape is {width}×{height}; expected depth of "
            "the whole picture, neither cropped nor padded"
        )
    depth = np.empty((num_frames, height, width), np.float32)
    valid = np.empty((num_frames, height, width), bool)
    for i, entry in enumerate(index):
        one, good = _as_depth(raw, entry)
        depth[i], valid[i] = resize_depth(one, good, height, width)
    if valid.mean() < 0.01:
        raise ValueError(
            f"{raw.name}: {100 * (1 - valid.mean()):.1f} % of the depth is NaN, infinite, zero or "
            "negative; expected positive z-depth"
        )
    notes = raw.notes
    if not valid.all():
        notes += (f"{100 * (1 - valid.mean()):.1f} % of the given depth is missing or not valid",)
    cameras, camera_notes = _cameras(raw, index, height, width, part)
    dynamic = None
    if raw.dynamic is not None:
        small = [
            cv2.resize(
                raw.dynamic[i].astype(np.uint8),
                (width, height),
                interpolation=cv2.INTER_NEAREST_EXACT,
            )
            for i in index
        ]
        dynamic = torch.from_numpy(np.stack(small) > 0)
    return DepthSource(
        torch.from_numpy(depth), torch.from_numpy(valid), raw.metric, cameras,
        notes + camera_notes, dynamic,
    )  # fmt: skip


def resize_depth(depth: F32, valid: Mask, height: int, width: int) -> tuple[F32, Mask]:
    """Depth [h, w] and its valid mask on another pixel grid, with nothing between two surfaces."""
    if depth.shape == (height, width):
        return np.where(valid, depth, 0), valid
    size = (width, height)
    nearest = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    good = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    if height < depth.shape[0]:
        return np.where(good, nearest, 0).astype(np.float32), good
    inverse = np.where(valid, 1 / np.maximum(depth, 1e-12), 0).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    high, low = cv2.dilate(inverse, kernel), cv2.erode(inverse, kernel)
    step = cv2.resize((high > 1.05 * low).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    smooth = 1 / np.maximum(cv2.resize(inverse, size, interpolation=cv2.INTER_LINEAR), 1e-12)
    out = np.where(step > 0, nearest, smooth)
    return np.where(good, out, 0).astype(np.float32), good


def _as_depth(raw: RawDepth, i: int) -> tuple[F32, Mask]:
    one = raw.maps[i].astype(np.float32)
    if raw.unit is not None:
        one *= np.float32(raw.unit)
    good = np.isfinite(one) & (one > 0)
    if raw.valid is not None:
        good &= raw.valid[i]
    if raw.inverse:
        one = 1 / np.where(good, one, 1)
        good &= np.isfinite(one)
    if raw.sky is not None and bool(raw.sky[i].any()):
        sky = (
            cv2.resize(
                raw.sky[i].astype(np.uint8), one.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT
            )
            > 0
        )
        seen = one[good & ~sky]
        if len(seen):  # as far as anything is taken to be, whatever a model made of it
            one = np.where(sky, SKY_TIMES * float(np.quantile(seen, 0.1)), one)
            good = good | sky
    return np.where(good, one, 0).astype(np.float32), good


def _cameras(
    raw: RawDepth, index: list[int], height: int, width: int, part: SourcePart
) -> tuple[Cameras | None, tuple[str, ...]]:
    if raw.own_cameras is not None:
        own = raw.own_cameras.resized(height, width)[torch.tensor(index)]
        return own, ("cameras read from the same folder",)
    if raw.cameras is None:
        return None, ()
    path, kind = raw.cameras
    file: CameraFile = read_cameras(
        path, kind, num_frames=len(index), height=height, width=width, part=part
    )
    if file.cameras is None:
        return None, (f"{path} has no intrinsics, so its cameras are not used",)
    return file.cameras, (f"cameras read from {path.name} as well", *file.notes)


def _read(path: Path, options: DepthOptions) -> RawDepth:
    if path.is_dir():
        return _read_folder(path, options)
    return _read_file(require_file(path), options)


def _read_file(path: Path, options: DepthOptions) -> RawDepth:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".zip":
        return _read_vipe(path)
    if suffix == ".json":
        return read_nerfstudio_depth(path)
    if suffix == ".npy":
        cameras = path.with_name(path.name.removesuffix("depth.npy") + "c2ws.npy")
        known = (cameras, "megasam") if cameras != path and cameras.is_file() else None
        maps = load_array(path)
        maps = maps[None] if maps.ndim == 2 else maps
        inverse = "disp" in path.stem.lower()
        return RawDepth(maps, str(path), inverse, cameras=known, anonymous=known is None)  # type: ignore[arg-type]
    if suffix in DEPTH_SUFFIXES:
        return read_depth_pictures([path], path, options)
    try:
        is_film = probe(path).kind in {"film", "animation"}
    except RecamError:
        is_film = False
    if not is_film:
        raise ValueError(f"{path}: {WHAT_IS_READ}")
    return read_depth_film(path, options)


def _read_npz(path: Path) -> RawDepth:
    shapes = {name: len(shape) for name, shape in array_shapes(path).items()}
    name = _depth_array(shapes, path)
    maps = read_array(
        path, name, "depth [frames, height, width]", max_inflated_bytes(path.stat().st_size)
    )
    cameras: tuple[Path, CameraFormat] | None = None
    valid: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    if "cam_c2w" in shapes and "intrinsic" in shapes:
        cameras = (path, "megasam")
    elif {"extrinsics", "intrinsics"} <= shapes.keys():
        cameras = (path, "depth-anything-3")
    elif (path.parent / "camera.npz").is_file():
        cameras = (path.parent / "camera.npz", "gen3c")
    mask = path.parent / "mask.npz"
    if path.name == "depth.npz" and mask.is_file() and array_shape(mask, "mask") == maps.shape:
        valid = read_array(
            mask, "mask", "GEN3C's mask", max_inflated_bytes(mask.stat().st_size)
        ).astype(bool)
        notes = ("mask.npz taken as where depth is valid",)
    maps = maps[None] if maps.ndim == 2 else maps
    named = f"{path} ({name})"
    return RawDepth(
        maps, named, "disp" in name.lower(), None, cameras, valid, notes, anonymous=cameras is None
    )


def _depth_array(shapes: dict[str, int], path: Path) -> str:
    for name in ("depths", "depth", "disps"):
        if name in shapes:
            return name
    stacks = [name for name, ndim in shapes.items() if ndim == 3 and "depth" in name.lower()]
    for dims in (3, 2):
        stacks = stacks or [name for name, ndim in shapes.items() if ndim == dims]
    if len(stacks) != 1:
        listed = ", ".join(f"{name} ({ndim}-D)" for name, ndim in shapes.items()) or "nothing"
        raise ValueError(
            f"{path}: holds {listed}; expected an array named depths or depth, or a single stack "
            "[frames, height, width]"
        )
    return stacks[0]


def _read_vipe(path: Path) -> RawDepth:
    """ViPE's zip of one EXR a frame; its frames are numbered by their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                (n for n in archive.namelist() if n.lower().endswith(".exr")),
                key=lambda n: natural_key(Path(n)),
            )
            maps = [read_exr(_member(archive, n, path), f"{path}/{n}") for n in names]
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        raise RecamError(f"{path}: cannot be read as a zip ({error})") from error
    if not maps:
        raise ValueError(f"{path}: no EXR inside; expected ViPE's zip of EXR depth")
    pose = path.parent.parent / "pose" / f"{path.stem}.npz"
    cameras: tuple[Path, CameraFormat] | None = (pose, "vipe") if pose.is_file() else None
    return RawDepth(_stack(maps, path), str(path), metric=True, cameras=cameras)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > max_inflated_bytes(info.compress_size):
        raise ValueError(f"{path}: {name} says that it is {info.file_size / 1e6:.0f} MB; damaged")
    return archive.read(name)


def _read_folder(path: Path, options: DepthOptions) -> RawDepth:
    for found in (path / "recon_and_seg", path):
        if (found / "depths").is_dir():
            cameras = found / "cameras.npz"
            known: tuple[Path, CameraFormat] | None = (
                (cameras, "vista4d") if cameras.is_file() else None
            )
            raw = read_depth_pictures(depth_files(found / "depths"), found / "depths", options)
            return replace(
                raw, cameras=known, anonymous=known is None,
                dynamic=picture_masks(found / "dynamic_mask", len(raw.maps)),
                sky=picture_masks(found / "sky_mask", len(raw.maps)),
            )  # fmt: skip
    if (path / "disps.npy").is_file() and (path / "poses.npy").is_file():
        return read_megasam_folder(path)
    if (path / "stereo" / "depth_maps").is_dir():
        return read_colmap_dense(path)
    if (path / "transforms.json").is_file():
        return read_nerfstudio_depth(path / "transforms.json")
    if (path / "depth.npz").is_file():
        return _read_npz(path / "depth.npz")
    for folder in (path / "cam_info", path):
        arrays = sorted(folder.glob("*depth.npy"))
        if len(arrays) == 1:
            return _read_file(arrays[0], options)
    zips = sorted((path / "depth").glob("*.zip")) or sorted(path.glob("*.zip"))
    if len(zips) == 1:
        return _read_vipe(zips[0])
    if len(zips) > 1:
        raise ValueError(f"{path}: {len(zips)} zips of depth; name the one of this video")
    return read_depth_pictures(depth_files(path), path, options)


def _stack(maps: list[NDArray], path: Path) -> NDArray:
    shapes = {m.shape for m in maps}
    if len(shapes) != 1:
        raise ValueError(f"{path}: depth maps of different shapes {sorted(shapes)}")
    return np.stack(maps)
