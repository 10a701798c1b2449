"""Depth in pictures: 16-bit and float files, and grey films whose range the user names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recam.media.masks import grey_of
from recam.media.pictures import is_hidden, series_of
from recam.media.read import iterate_frames
from recam.media.still import opened_picture
from recam.reconstruct.io.depth_kind import DepthOptions
from recam.reconstruct.io.exr import read_exr
from recam.reconstruct.io.raw_depth import RawDepth, load_array
from recam.runtime.files import read_bytes

DEPTH_SUFFIXES = {".png", ".tif", ".tiff", ".exr", ".npy", ".pfm", ".pgm"}
MILLIMETRES = 1e-3
LARGEST_MM = 50_000
"""Depth pictures with many values above this many millimetres are not in millimetres."""
_NO_DEPTH = 65535
_MAX_FILE_BYTES = 1 << 30


def depth_files(folder: Path) -> list[Path]:
    """Depth maps of a folder, in natural order: one series of names; beside colour pictures those
    that are called depth or disparity.

    Raises ValueError where there are none, or several series or kinds.
    """
    found = [f for f in folder.iterdir() if f.suffix.lower() in DEPTH_SUFFIXES and not is_hidden(f)]
    named = [f for f in found if "depth" in f.name.lower() or "disp" in f.name.lower()]
    series = series_of(named or found)
    several = {key: files for key, files in series.items() if len(files) > 1} or series
    if len(several) != 1:
        what = " and ".join(f"{files[0].name}" for files in several.values()) or "no depth"
        raise ValueError(
            f"{folder}: a folder with {what}; expected one series of 16-bit PNG or TIFF "
            "(millimetres), EXR, PFM or npy"
        )
    ((_, files),) = several.items()
    return files


def read_depth_pictures(files: list[Path], path: Path, options: DepthOptions) -> RawDepth:
    """One map a file. 16-bit integers are millimetres unless ``options`` say otherwise."""
    maps = [np.asarray(stored_depth(file, options.range is not None)).squeeze() for file in files]
    shapes = {m.shape for m in maps}
    if len(shapes) != 1:
        raise ValueError(f"{path}: depth maps of different shapes {sorted(shapes)}")
    stack = np.stack(maps)
    inverse = all("disp" in f.name.lower() for f in files)
    raw = RawDepth(stack, str(path), inverse, anonymous=True)
    if stack.dtype.kind not in "iu":
        return raw
    if options.range is not None:
        return _of_range(stack, float(np.iinfo(stack.dtype).max), raw, options)
    stack = np.where(stack == _NO_DEPTH, 0, stack)
    if options.unit is not None or options.kind == "inverse" or inverse:
        return replace(raw, maps=stack)
    _check_millimetres(stack, path)
    return replace(
        raw, maps=stack, metric=True, unit=MILLIMETRES, anonymous=False,
        notes=("16-bit pictures read as millimetres (--depth-unit says otherwise)",),
    )  # fmt: skip


def stored_depth(file: Path, any_bits: bool = False) -> NDArray:
    """The numbers [h, w] of a depth file, as stored.

    any_bits: 8 bits will do. Raises RecamError when it cannot be read, ValueError for a picture
    that holds no depth.
    """
    match file.suffix.lower():
        case ".npy":
            return load_array(file)
        case ".exr":
            return read_exr(read_bytes(file, _MAX_FILE_BYTES), str(file))
    with opened_picture(file) as image:
        mode = image.mode
        image.load()
        values = np.asarray(image) if mode == "F" or mode.startswith("I") or mode == "L" else None
    if values is not None and mode == "I":  # Pillow's name for 16 bits of some files
        values = values.astype(np.uint16) if values.min() >= 0 and values.max() <= 65535 else None
    if values is None or (mode == "L" and not any_bits):
        bits = "8 bits" if values is not None else f"{mode} pixels"
        raise ValueError(
            f"{file}: {bits}; expected 16-bit grey in millimetres, or floats (8 bits cannot hold "
            "depth unless --depth-range says what they stand for)"
        )
    return values


def _check_millimetres(maps: NDArray, path: Path) -> None:
    """Normalised depth fills the whole range; millimetres above 50 m are rare."""
    far = float((maps > LARGEST_MM).mean())
    if far > 0.005:
        raise ValueError(
            f"{path}: {100 * far:.0f} % of the values lie above {LARGEST_MM}, as in depth that was "
            "normalised to 16 bits; expected millimetres (0 and 65535 = none). Say what they are: "
            "--depth-unit, or --depth-range with --depth-kind"
        )


def read_depth_film(path: Path, options: DepthOptions) -> RawDepth:
    """A grey film of depth, whose values stand for ``options.range``."""
    if options.range is None or options.kind == "auto":
        raise ValueError(
            f"{path}: a film does not say which depths its greys stand for; give --depth-range "
            "NEAR FAR and --depth-kind (inverse: white is near, depth: white is far)"
        )
    stack = np.stack([grey_of(picture, path) for picture, _ in iterate_frames(path)])
    return _of_range(stack, 255.0, RawDepth(stack, str(path)), options)


def _of_range(stack: NDArray, top: float, raw: RawDepth, options: DepthOptions) -> RawDepth:
    assert options.range is not None
    near, far = options.range
    if not 0 < near < far:
        raise ValueError(f"the depth range is {near:g} to {far:g}; expected 0 < NEAR < FAR")
    if options.kind == "auto":
        raise ValueError(
            f"{raw.name}: give --depth-kind with --depth-range (inverse: white is near)"
        )
    share = stack.astype(np.float32) / np.float32(top)
    if options.kind == "inverse":
        maps = 1 / far + (1 / near - 1 / far) * share
    else:
        maps = near + (far - near) * share
    bits = 8 if top == 255 else 16
    note = f"{bits}-bit values taken for depths from {near:g} to {far:g}"
    return replace(raw, maps=maps.astype(np.float32), notes=(note,), anonymous=False)
