"""When a source's frames were taken, on the clock of a file whose cameras have times."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recam.types import SourcePart

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Counts since 1970 that are at least so large are in so many parts of a second."""


def seconds(stamps: Tensor) -> Tensor:
    """Seconds from times that may count milli-, micro- or nanoseconds since 1970."""
    size = float(stamps.abs().max())
    return stamps / next((parts for least, parts in _UNITS if size >= least), 1.0)


def stamps_of(
    at: Tensor, numbers: Tensor | None, num_frames: int, part: SourcePart, times_s: Tensor | None
) -> Tensor | None:
    """Times [num_frames] of the source's frames on a file's clock; None where they have none, or
    the file has just one camera for each frame.

    A picture's time is its name (TUM, EuRoC), a film's frame has its own (``times_s``).
    at: float64 [n] s of the file's cameras; numbers: int64 [n], where these may be frame numbers.
    """
    if part.pictures is not None:
        named = _named_times(part.pictures)
        if named is None or named[-1] < at[0] or named[0] > at[-1]:
            return None
        return named if part.frames is None else named[part.frames]
    if times_s is None or len(at) in {num_frames, part.num_source_frames}:
        return None
    first, last, end = float(at[0]), float(at[-1]), float(times_s[-1])
    # Whole numbers that go far beyond the film's seconds count frames.
    if first < -1e-6 or first > end or (numbers is not None and last > end + 1):
        return None
    return times_s.to(torch.float64)


def _named_times(pictures: tuple[str, ...]) -> Tensor | None:
    """Seconds that pictures are named as, since 1970 or of any clock with a decimal point."""
    stems = [Path(name).stem for name in pictures]
    try:
        stamps = torch.tensor([float(stem) for stem in stems], dtype=torch.float64)
    except ValueError:
        return None
    if not all("." in stem for stem in stems) and float(stamps.min()) < _UNITS[-1][0]:
        return None
    named = seconds(stamps)
    return named if bool((named[1:] > named[:-1]).all()) else None
