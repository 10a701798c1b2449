"""What a path holds: a film file, pictures, one picture, an animation."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av

from recam.media.film import decoded, opened, plan_for
from recam.media.pictures import (
    PICTURE_SUFFIXES,
    decode_animation,
    decode_picture,
    pictures_at,
)
from recam.types import RecamError

Kind = Literal["film", "pictures", "picture", "animation"]


@dataclass(frozen=True)
class MediaInfo:
    """What a media file is, and what reading it does.

    width, height: as read: turned by the rotation tag, pixels made square.
    num_frames: as the file says, or None when it does not.
    fps: mean frame rate; None for pictures, which carry no clock.
    duration_s: None when the file does not say.
    rotation_deg: clockwise turn from the stored to the shown picture.
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
    rotation_deg: int = 0
    is_hdr: bool = False
    has_audio: bool = False
    has_alpha: bool = False
    notes: list[str] = field(default_factory=list)


def kind_of(path: Path) -> tuple[Kind, list[Path]]:
    """The kind of source that a path is, and its files.

    Raises:
        RecamError: nothing there, empty, or not readable.
    """
    if str(path).startswith(("http:/", "https:/")):
        raise RecamError(f"{path} is a web address; download it and give the file")
    pictures = pictures_at(path)
    if pictures is not None:
        return "pictures", pictures
    if not path.exists():
        raise RecamError(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise RecamError(f"cannot read {path}: permission denied")
    if path.is_file() and path.stat().st_size == 0:
        raise RecamError(f"{path} is empty (0 bytes); copy or download it again")
    if path.suffix.lower() == ".webp":
        return "animation", [path]
    return ("picture" if path.suffix.lower() in PICTURE_SUFFIXES else "film"), [path]


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
    if kind == "animation":
        return _probe_animation(path)
    picture, notes = decode_picture(files[0])
    return MediaInfo(
        path, kind, picture.shape[2], picture.shape[1], len(files), None, None,
        files[0].suffix[1:].lower(), "unknown", notes=notes,
        has_alpha=any("transparent" in note for note in notes),
    )  # fmt: skip


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
        mean, base = stream.average_rate, stream.base_rate
        # Some streams count in fields, twice the rate.
        if mean and base and base <= 240 and all(abs(base / mean - k) > 0.02 for k in (1, 2)):
            notes.append(f"variable frame rate, {float(mean):.4g} a second on average")
        if stream.codec_context.field_order > 1:
            notes.append("interlaced: fields woven into whole pictures (bwdif)")
        return MediaInfo(
            path, "film", plan.width, plan.height, stream.frames or None,
            float(mean) if mean else None, duration_s, stream.codec_context.name,
            frame.format.name, plan.rotation_deg, plan.is_hdr,
            bool(container.streams.audio), plan.has_alpha, notes,
        )  # fmt: skip


def _probe_animation(path: Path) -> MediaInfo:
    frames, times_s, notes = decode_animation(path)
    num, (_, height, width) = len(frames), frames[0].shape
    fps = (num - 1) / times_s[-1] if num > 1 else None
    return MediaInfo(
        path, "animation" if num > 1 else "picture", width, height, num, fps,
        num / fps if fps else None, "webp", "unknown", has_alpha=bool(notes), notes=notes,
    )  # fmt: skip
