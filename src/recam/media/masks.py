"""Masks of a video: films and pictures of black and white, labels of things, alpha channels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.media.convert import turned
from recam.media.film import MediaWarning
from recam.media.isobmff import ItemProperties
from recam.media.read import iterate_frames
from recam.media.source import kind_of
from recam.media.still import as_srgb, load_picture, opened_picture
from recam.runtime.cache import scratch_tensor
from recam.types import SourcePart

_COLORFUL = 60
"""Steps of 255 between the strongest and the weakest of red, green and blue."""
_BLACK = 16
"""Of 255: what lossy codecs may make of black, and leave of white."""
_SAME_SHAPE = 0.06
_MAX_LABELS = 64
_VOID = 255
"""The index of labels that stands for neither a thing nor what is behind it."""
_NUMBER = re.compile(r"([0-9]+)(?=[^0-9]*$)")


def read_mask(
    path: str | Path,
    num_frames: int,
    height: int,
    width: int,
    *,
    resize: bool = False,
    part: SourcePart | None = None,
    label: int | None = None,
) -> Tensor:
    """A mask, white = True, as float32 [num_frames, height, width] in [0, 1].

    From a video, a folder or pattern of pictures, or one picture, which then holds for all frames.
    The last 16 grey levels at either end count as black and white, since lossy codecs do not
    keep these exactly. The row or column that makes an odd size even in film is no difference.

    Pictures may also be labels, as of DAVIS and YouTube-VOS (an index for each thing): every thing
    is meant, or the one named by ``label``; and of pictures that are transparent in places the
    alpha channel is the mask, opaque = True. Grey pictures that stay below 17 are labels as well,
    with a MediaWarning.

    Where pictures are named as some of the source's only, the other frames take the mask of the
    frame nearest to them, with a MediaWarning.

    Args:
        resize: fit a mask of another size but the same shape, nearest pixel.
        part: which frames of its source the video has; a mask of all of the source's then does too.

    Raises:
        RecamError: it cannot be read.
        ValueError: wrong size or number of frames, a colour picture, or nothing is near white.
    """
    path = Path(path)
    part = part or SourcePart(str(path))
    wanted = set(range(num_frames)) | set([] if part.frames is None else part.frames.tolist())
    kind, files = kind_of(path)
    wanted |= set(range(len(files))) if kind == "pictures" else set()
    place = {entry: i for i, entry in enumerate(sorted(wanted))}
    grey = scratch_tensor((len(wanted), height, width), torch.uint8).numpy()
    num, brightest = 0, 0
    for picture in _grey_frames(path, kind, files, label):
        if num in wanted:
            grey[place[num]] = _fitted(picture, height, width, resize, path)
            brightest = max(brightest, int(grey[place[num]].max()))
        num += 1
    if 0 < brightest <= _BLACK and _keeps_values(kind, files):
        warnings.warn(
            f"{path}: nowhere brighter than {brightest} of 255, taken as indices of things "
            "(0: none)",
            MediaWarning,
            stacklevel=2,
        )
        grey[grey > 0] = 255
    elif _BLACK < brightest < 128:
        raise ValueError(
            f"{path} is nowhere brighter than {brightest} of 255; expected white (255) = True"
        )
    index = _entries(num, num_frames, files if kind == "pictures" else [], part, path)
    known = scratch_tensor((num_frames, height, width), torch.float32)
    for i, entry in enumerate(index):
        values = (grey[place[entry]].astype(np.float32) - _BLACK) / (255 - 2 * _BLACK)
        known[i] = torch.from_numpy(np.clip(values, 0, 1))
    return known


def _keeps_values(kind: str, files: list[Path]) -> bool:
    """Whether a grey of 1 is meant: not of what lossy codecs leave."""
    lossy = {".jpg", ".jpeg", ".jfif"}
    pictures = kind in {"picture", "pictures"}
    return pictures and not any(file.suffix.lower() in lossy for file in files)


def _entries(
    num: int, num_frames: int, files: list[Path], part: SourcePart, path: Path
) -> list[int]:
    """Which of ``num`` masks each of the video's frames takes."""
    if num == 1:
        return [0] * num_frames
    try:
        return part.entries(num, num_frames, f"frames of the mask {path}").tolist()
    except ValueError:
        frames = range(num_frames) if part.frames is None else part.frames.tolist()
        own = _frames_by_name(files, part, max(frames) + 1)
        if own is None:
            raise
    absent = [frame for frame in frames if frame not in own]
    if absent:
        warnings.warn(
            f"{path}: masks for {len(own)} frames only; frame {absent[0]} and {len(absent) - 1} "
            "others take that of the frame nearest to them",
            MediaWarning,
            stacklevel=3,
        )
    return [own[min(own, key=lambda k: (abs(k - frame), k))] for frame in frames]


def _frames_by_name(files: list[Path], part: SourcePart, at_least: int) -> dict[int, int] | None:
    """Source frame to mask, by the names of the source's pictures or by the numbers of a film's
    frames, which count from 0 where one mask's is 0."""
    stems = [file.stem.casefold() for file in files]
    if part.pictures is not None:
        frame_of = {Path(name).stem.casefold(): i for i, name in enumerate(part.pictures)}
        found = {frame_of[stem]: i for i, stem in enumerate(stems) if stem in frame_of}
        return found if len(found) == len(files) > 0 else None
    numbers = [_NUMBER.search(stem) for stem in stems]
    if not files or not all(numbers):
        return None
    values = [int(match[1]) for match in numbers if match]
    total = part.num_source_frames or at_least
    if len(set(values)) < len(values) or min(values) > 0 or max(values) >= total:
        return None
    return {value: i for i, value in enumerate(values)}


def _grey_frames(
    path: Path, kind: str, files: list[Path], label: int | None
) -> Iterator[np.ndarray]:
    """uint8 [h, w] of each mask."""
    if kind in {"picture", "pictures"}:
        for file in files:
            yield decode_mask(file, label)
        return
    if label is not None:
        raise ValueError(f"{path}: a film holds no labels; give PNG files with an index a thing")
    for picture, _ in iterate_frames(path):
        yield grey_of(picture, path)


def grey_of(picture: np.ndarray, path: Path) -> np.ndarray:
    """uint8 [h, w] of a black and white picture uint8 [3, h, w].

    Raises:
        ValueError: it is in colour.
    """
    spread = picture.max(0) - picture.min(0)
    if float((spread > _COLORFUL).mean()) > 0.005:
        raise ValueError(
            f"{path}: a colour picture, not a mask; expected white for True on black, labels (a "
            "palette or an index a thing), or an alpha channel"
        )
    red, green, blue = picture.astype(np.uint16)
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)


def decode_mask(path: Path, label: int | None = None) -> np.ndarray:
    """uint8 [h, w] of a picture that is a mask, 255 = True: its brightness; the alpha channel of
    what is transparent in places; things of labels, or the one of that index.

    Labels are palette pictures in more colours than greys, few colours on black, and 16-bit greys
    that stay below 1000. Raises RecamError when it cannot be read, ValueError for a colour picture
    and for a label that is not there.
    """
    with opened_picture(path) as image:
        left_to_do = load_picture(image)
        labels, alpha = _labels(image), _alpha(image)
        if labels is None and label is not None and image.mode == "L":
            labels = np.asarray(image)
        rgb = None
        if labels is None and (alpha is None or alpha.min() == 255):
            rgb = as_srgb(image, ItemProperties(), [])
    if labels is not None:
        grey = _things(labels, label, path)
    elif label is not None:
        raise ValueError(f"{path} holds no labels (indices of things), so none is {label}")
    else:
        grey = grey_of(rgb, path) if rgb is not None else np.asarray(alpha)
    return np.ascontiguousarray(turned(grey, left_to_do))


def _labels(image: Any) -> np.ndarray | None:
    """int [h, w] of a picture of labels, None for any other."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return values if 0 < int(values.max()) < 1000 else None
    if image.mode not in {"P", "RGB"} or "transparency" in image.info:
        return None
    found = image.getcolors(_MAX_LABELS)
    if found is None:
        return None
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        used = palette[[index for _, index in found if index < len(palette)]]
        return np.asarray(image) if np.ptp(used, axis=1).any() else None
    colors = np.array([color for _, color in found])
    if not np.ptp(colors, axis=1).any() or not (colors == 0).all(1).any():
        return None
    pixels = np.asarray(image).astype(np.int32) @ np.array([1, 256, 65536])
    return np.searchsorted(np.unique(pixels), pixels)


def _things(labels: np.ndarray, label: int | None, path: Path) -> np.ndarray:
    """uint8 [h, w], 255 where the thing of that index is, or any."""
    if label is None:
        seen = labels > 0
        if (seen & (labels != _VOID)).any():
            seen &= labels != _VOID
        return np.where(seen, np.uint8(255), np.uint8(0))
    if not (labels == label).any():
        there = np.unique(labels).tolist()[:12]
        raise ValueError(f"{path} has no thing of index {label}; it has {there}")
    return np.where(labels == label, np.uint8(255), np.uint8(0))


def _alpha(image: Any) -> np.ndarray | None:
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A"))
    return None


def _fitted(grey: np.ndarray, height: int, width: int, resize: bool, path: Path) -> np.ndarray:
    grey = _without_padding(grey, height, width)
    h, w = grey.shape
    if (h, w) == (height, width):
        return grey
    if not resize:
        raise ValueError(
            f"{path} is {w}×{h}, the video {width}×{height}; give a mask of the video's size"
        )
    if abs((w / h) / (width / height) - 1) > _SAME_SHAPE + 2 / min(h, height):
        raise ValueError(
            f"{path} is {w}×{h}, another shape than the video's {width}×{height}; give a mask of "
            "the whole picture, neither turned, cropped nor padded"
        )
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _without_padding(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w] brought to the size, where the two differ by the pixel that evens an odd side."""
    evened = [(n + n % 2, m + m % 2) for n, m in zip(grey.shape, (height, width))]
    if any(n != m for n, m in evened):
        return grey
    more = [(0, max(m - n, 0)) for n, m in zip(grey.shape, (height, width))]
    return np.pad(grey, more, mode="edge")[:height, :width]
