"""How large a picture may be, looked at before anything is decoded."""

from __future__ import annotations

import os
from pathlib import Path

from recam.types import RecamError

DEFAULT_MAX_PIXELS = 100_000_000
MAX_PIXELS_OF = {"film": 40_000_000, "WEBP": 40_000_000, "AVIF": 70_000_000, "HEIF": 70_000_000}
"""Of kinds whose decoders keep several pictures at a time: 8K is 33 million."""


def check_pixels(width: int, height: int, path: Path | str, kind: str | None = "") -> None:
    """Raises RecamError for a picture too large to take into memory, before anything is decoded.

    The limit is what reading takes 1 GB for, of this kind of file (Pillow's name of its format, or
    film), or what the environment's RECAM_MAX_PIXELS says.
    """
    wanted = os.environ.get("RECAM_MAX_PIXELS", "")
    limit = MAX_PIXELS_OF.get(kind or "", DEFAULT_MAX_PIXELS)
    limit = int(wanted) if wanted.isascii() and wanted.isdigit() else limit
    if width < 1 or height < 1:
        raise RecamError(f"{path} says that it is {width}×{height} pixels; it is damaged")
    if width * height > limit:
        raise RecamError(
            f"{path} is {width}×{height}, {width * height / 1e6:.0f} million pixels, more than the "
            f"{limit / 1e6:.0f} million that are read; make it smaller, or set RECAM_MAX_PIXELS="
            f"{width * height}"
        )
