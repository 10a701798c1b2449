"""What a path holds: a film file, pictures, one picture, an animation."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import av
from torch import Tensor

from recam.media.convert import UPRIGHT, Turn, rotation_deg
from recam.media.film import count_frames, decoded, opened, plan_for, rate_of
from recam.media.pictures import PICTURE_SUFFIXES, pictures_at, series_at
from recam.media.still import OVER_BLACK, animation_times, decode_picture, is_animation
from recam.types import RecamError, SourcePart

Kind = Literal["film", "pictures", "picture", "animation"]


@dataclass(frozen=True)
class MediaInfo:
    """What a media file is, and what reading it does.

    width, height: as read: turned by the rotation tag, pixels made square.
    num_frames: as the file says, or None when it does not.
    fps: mean frame rate; None for pictures, which carry no clock.
    duration_s: None when the file does not say.
    stored_height, stored_width: of a picture in the file.
    turn: from the stored to the shown picture, mirroring included (see ``convert.Turn``).
    has_alpha: some of the first picture is transparent, as far as its format tells.
    notes: what reading changes or assumes, in words for the user.
    """

    path: Path
    kind: Kind
    width: int
    height: int
    num_frames: int | None
    fps: float | None
    duration_s: float | None
    codec: str
    pixel_format: str
    turn: Turn = UPRIGHT
    stored_height: int | None = None
    stored_width: int | None = None
    is_hdr: bool = False
    has_audio: bool = False
    has_alpha: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn from the stored to the shown picture."""
        return rotation_deg(self.turn)


def kind_of(path: Path) -> tuple[Kind, list[Path]]:
    """The kind of source that a path is, and its files.

    Raises:
        RecamError: nothing there, empty, or not readable.
    """
    if str(path).startswith(("http:/", "https:/")):
        raise RecamError(f"{path} is a web address; download it and give the file")
    series = series_at(path)
    if series is not None:
        return "pictures", series[0]
    if not path.exists():
        raise RecamError(f"there is no file {path}")
    if not path.is_file():
        raise RecamError(f"{path} is no regular file, but a pipe or a device; give a file")
    if not os.access(path, os.R_OK):
        raise RecamError(f"cannot read {path}: permission denied")
    if path.stat().st_size == 0:
        raise RecamError(f"{path} is empty (0 bytes); copy or download it again")
    if not _is_picture(path):
        return "film", [path]
    return ("animation" if is_animation(path) else "picture"), [path]


_BEGINNINGS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
)  # fmt: skip
_NETPBM = {f"P{n}{space}".encode() for n in range(1, 7) for space in " \t\n\r"}
_STILL_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}
_RAW_MJPEG = {".mjpeg", ".mjpg"}


def _is_picture(path: Path) -> bool:
    """Whether Pillow is to read a file rather than PyAV: by what is in it, then by its name."""
    with path.open("rb") as file:
        head = file.read(16)
    suffix = path.suffix.lower()
    if suffix in _RAW_MJPEG:
        return False
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return True
    if head.startswith(_BEGINNINGS) or head[:3] in _NETPBM:
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    is_film = head[4:8] == b"ftyp" or head[:4] in {b"RIFF", b"\x1aE\xdf\xa3", b"OggS", b"FLV\1"}
    return suffix in PICTURE_SUFFIXES and not is_film


def probe(path: str | Path) -> MediaInfo:
    """Looks at a film file, folder or pattern of pictures, picture or animation.

    Only its header and its first picture are read.

    Raises:
        RecamError: it is missing, empty, broken, not a video, or sound only.
    """
    path = Path(path)
    kind, files = kind_of(path)
    if kind == "film":
        return _probe_film(path)
    picture, notes, turn = decode_picture(files[0])
    height, width = picture.shape[1:]
    stored = (width, height) if turn[0] == 0 else (height, width)
    info = MediaInfo(
        path, kind, width, height, len(files), None, None, files[0].suffix[1:].lower(), "unknown",
        turn, *stored, notes=notes, has_alpha=OVER_BLACK in notes,
    )  # fmt: skip
    if kind != "animation":
        left_out = (series_at(path) or ([], []))[1]
        return replace(info, notes=[*left_out, *notes])
    begins_s, end_s = animation_times(path)
    fps = len(begins_s) / end_s if end_s else None
    return replace(info, num_frames=len(begins_s), fps=fps, duration_s=end_s)


def part_of(path: str | Path, frames: Tensor | None) -> SourcePart:
    """What a video was read from, for files about its source; frames int64 [t], None = all.

    Raises:
        RecamError: as :func:`probe`.
    """
    path = Path(path)
    info = probe(path)
    files = pictures_at(path)
    names = None if files is None else tuple(file.name for file in files)
    total = info.num_frames
    if total is None and frames is not None:
        total = count_frames(path)
    return SourcePart(
        str(path), names, frames, total, info.stored_height, info.stored_width, info.turn
    )


def _probe_film(path: Path) -> MediaInfo:
    with opened(path) as (container, stream):
        frame = next(decoded(container, stream, []), None)
        if frame is None:
            raise RecamError(f"{path}: no picture of it can be decoded")
        plan = plan_for(path, frame, stream)
        duration_s = None
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration_s = container.duration / av.time_base
        notes = list(plan.notes)
        mean, base = rate_of(stream), stream.base_rate
        # Some streams count in fields, twice the rate.
        if base and base <= 240 and all(abs(base / mean - k) > 0.02 for k in (1, 2)):
            notes.append(f"variable frame rate, {float(mean):.4g} a second on average")
        if stream.codec_context.field_order > 1:
            notes.append("interlaced: fields woven into whole pictures (bwdif)")
        return MediaInfo(
            path, "film", plan.width, plan.height, stream.frames or None,
            float(mean), duration_s, stream.codec_context.name,
            frame.format.name, plan.turn, plan.coded_height, plan.coded_width, plan.is_hdr,
            bool(container.streams.audio), plan.has_alpha, notes,
        )  # fmt: skip
