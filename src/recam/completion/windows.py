"""Long videos by overlapping windows: what one has finished enters the next as known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from recam.types import PartialVideo, Progress, RecamError, Rendering

Fill = Callable[[PartialVideo, Progress], Tensor]


def complete_windows(
    fill: Fill, partial: PartialVideo, window: int, overlap: int, progress: Progress
) -> Tensor:
    """uint8 [t, 3, h, w]: ``fill`` applied to windows of at most ``window`` frames.

    The first ``overlap`` frames of every window but the first are the last finished ones of the
    window before and enter as known. Raises ValueError for an overlap that leaves no step,
    RecamError when nothing is known in the whole video.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"overlap {overlap} must be smaller than the window of {window} frames")
    if not bool((partial.known > 0).any()):
        raise RecamError("nothing in the video is known; give a mask that is white somewhere")
    total = len(partial)
    if total <= window:
        return fill(partial, progress)
    out = torch.empty_like(partial.frames)
    done = 0
    while done < total:
        lead = min(overlap, done)
        piece = _slice(partial, done - lead, min(done - lead + window, total))
        piece.frames[:lead] = out[done - lead : done]
        piece.known[:lead] = 1.0
        filled = fill(piece, _quiet)
        out[done : done + len(piece) - lead] = filled[lead:]
        done += len(piece) - lead
        progress("completing", done, total)
    return out


def _quiet(what: str, done: int, total: int) -> None:
    """A window's own steps are not shown: the windows are."""


def _slice(partial: PartialVideo, first: int, last: int) -> PartialVideo:
    """A copy of some frames, with their geometry where there is one."""
    frames, known = partial.frames[first:last].clone(), partial.known[first:last].clone()
    if isinstance(partial, Rendering):
        depth, cameras = partial.depth[first:last], partial.cameras[first:last]
        return replace(partial, frames=frames, known=known, depth=depth, cameras=cameras)
    return PartialVideo(frames, known)
