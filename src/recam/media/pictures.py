"""Picture files: single ones, folders and patterns of them, animated WebP."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np

from recam.media.convert import over_black, to_srgb
from recam.media.film import decoded, opened, plan_for
from recam.types import RecamError

PICTURE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".jp2", ".avif",
}  # fmt: skip

_OVER_BLACK = "transparent parts shown over black"


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts frame9 before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts]


def pictures_at(path: Path) -> list[Path] | None:
    """Picture files of a folder, a glob (``shots/*.left.png``) or a printf pattern
    (``shots/%05d.png``), in natural order; None when ``path`` is none of these.

    Raises:
        RecamError: nothing there, or a folder that mixes kinds of pictures.
    """
    if path.is_dir():
        found = [f for f in path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES]
    elif path.exists() or not path.parent.is_dir():
        return None
    elif re.search(r"%0?\d*d", path.name):
        literals = re.split(r"%0?\d*d", path.name)
        pattern = r"\d+".join(re.escape(literal) for literal in literals)
        found = [f for f in path.parent.iterdir() if re.fullmatch(pattern, f.name)]
    elif re.search(r"[*?\[]", path.name):
        found = list(path.parent.glob(path.name))
    else:
        return None
    found = sorted((f for f in found if not f.name.startswith(".")), key=natural_key)
    if not found:
        raise RecamError(f"{path} holds no pictures (looked for PNG, JPEG, WebP, TIFF, BMP, AVIF)")
    suffixes = sorted({f.suffix.lower() for f in found})
    if path.is_dir() and len(suffixes) > 1:
        raise RecamError(
            f"{path} mixes pictures of several kinds ({', '.join(suffixes)}); "
            f"say which, as in '{path}/*{suffixes[0]}'"
        )
    return found


def decode_animation(path: Path) -> tuple[list[np.ndarray], list[float], list[str]]:
    """Pictures of an animated WebP, uint8 [3, h, w], their times in seconds, and notes.

    OpenCV's decoder, since FFmpeg's does not know animated WebP. One entry for a still picture.
    """
    data = _bytes_of(path)
    with _quiet_opencv():
        found, animation = cv2.imreadanimation(str(path))
    if not found or len(animation.frames) == 0:
        raise RecamError(_broken(path))
    durations_s = np.asarray(animation.durations, np.float64).ravel()[:-1] / 1000.0
    times_s = np.concatenate([[0.0], np.cumsum(np.maximum(durations_s, 1e-3))])
    notes: list[str] = []
    frames = [_planar(picture, notes) for picture in animation.frames]
    if _webp_has_alpha(data.tobytes()):  # OpenCV has laid it over black
        notes.append(_OVER_BLACK)
    return frames, times_s.tolist(), notes[:1]


def _webp_has_alpha(data: bytes) -> bool:
    """By its first picture's chunk; the file's own flag is left unset by some writers."""
    lossless = data.find(b"VP8L")
    bit = data[lossless + 12 : lossless + 13] if lossless >= 0 else b""
    return b"ALPH" in data[:4096] or bool(bit and bit[0] & 0x10)


def decode_picture(path: Path) -> tuple[np.ndarray, list[str]]:
    """uint8 [3, h, w] sRGB of a picture file, upright, and notes on what was done.

    Raises:
        RecamError: it cannot be read.
    """
    data = _bytes_of(path)
    is_jpeg = data[:2].tobytes() == b"\xff\xd8"
    # Their decoders fill up what is missing with grey, and complain past us on the terminal.
    if is_jpeg and b"\xff\xd9" not in data[-65536:].tobytes():
        raise RecamError(f"{path} is not a whole JPEG: its end is missing")
    if data[:4].tobytes() == b"\x89PNG" and not _is_whole_png(data.tobytes()):
        raise RecamError(f"{path} is not a whole PNG: a part of it is missing or damaged")
    # IMREAD_UNCHANGED keeps alpha and 16 bits, but leaves a JPEG's EXIF orientation undone.
    with _quiet_opencv():
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR if is_jpeg else cv2.IMREAD_UNCHANGED)
    if picture is None:
        return _decode_with_av(path)
    notes: list[str] = []
    if picture.dtype == np.uint16:
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
        notes.append("16-bit reduced to 8-bit")
    if picture.dtype != np.uint8:
        raise RecamError(f"{path} holds {picture.dtype} values; expected a picture of 8 or 16 bits")
    return _planar(picture, notes), notes


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV's own lines on the terminal off: what fails is told by an exception."""
    # OpenCV 5 moved it.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    before = set_level(0)
    try:
        yield
    finally:
        set_level(before)


def _is_whole_png(data: bytes) -> bool:
    """Whether every chunk up to the last is there and fits its checksum."""
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False


def _bytes_of(path: Path) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise RecamError(f"cannot read {path}: {error.strerror}") from error
    if data.size == 0:
        raise RecamError(f"{path} is empty (0 bytes); copy or download it again")
    return data


def _broken(path: Path) -> str:
    return f"{path} is not a picture that can be read, or a part of it is missing"


def _decode_with_av(path: Path) -> tuple[np.ndarray, list[str]]:
    try:
        with opened(path) as (container, stream):
            frame = next(decoded(container, stream, []), None)
            if frame is None:
                raise RecamError(_broken(path))
            plan = plan_for(path, frame, stream)
            return to_srgb(frame, plan), plan.notes
    except (av.error.FFmpegError, RecamError) as error:
        raise RecamError(_broken(path)) from error


def _planar(picture: np.ndarray, notes: list[str]) -> np.ndarray:
    """OpenCV's [h, w], [h, w, 3] BGR or [h, w, 4] BGRA as RGB [3, h, w], alpha over black."""
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.shape[2] == 1:
        return np.repeat(picture.transpose(2, 0, 1), 3, 0)
    rgb = np.ascontiguousarray(picture[..., 2::-1].transpose(2, 0, 1))
    if picture.shape[2] == 4 and picture[..., 3].min() < 255:
        notes.append(_OVER_BLACK)
        rgb = over_black(rgb, picture[..., 3])
    return rgb
