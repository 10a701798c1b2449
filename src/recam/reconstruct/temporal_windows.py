"""Long clips, window by window."""

from __future__ import annotations

WINDOW, OVERLAP = 96, 16
"""Frames of long clips whose depth is worked out at once, and witnesses to either side."""


def windows(num: int) -> list[tuple[slice, slice, slice]]:
    """Of num frames: those worked on at once, with witnesses; the window's own among them; and
    where these belong in the clip."""
    if num <= WINDOW + 2 * OVERLAP:
        return [(slice(0, num),) * 3]
    out = []
    for start in range(0, num, WINDOW):
        own = slice(start, min(start + WINDOW, num))
        wide = slice(max(start - OVERLAP, 0), min(own.stop + OVERLAP, num))
        out.append((wide, slice(start - wide.start, own.stop - wide.start), own))
    return out
