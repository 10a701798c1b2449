"""Long videos by overlapping windows: what one has finished enters the next as known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.types import PartialVideo, Progress, RecamError, Rendering

Fill = Callable[[PartialVideo, Progress], Tensor]

MAX_PIXELS = 40_000_000
"""Of the frames of a window together, some 5 GB while they are filled: 43 frames at 1280×720."""
LEAST_FRAMES = 6
"""In a window, however large they are."""


def fitting_window(window: int, overlap: int, height: int, width: int) -> tuple[int, int]:
    """New frames of a window, and those carried over into it, as many as memory should take.

    window, overlap: as many as are wanted.
    """
    most = max(MAX_PIXELS // (height * width), LEAST_FRAMES)
    if window + overlap <= most:
        return window, overlap
    overlap = min(overlap, most // 3)
    return most - overlap, overlap


def shrunk_to_fit(fill: Fill) -> Fill:
    """``fill``, but working at a smaller size where a video has more than MAX_PIXELS.

    Known pixels stay as they are; what is made up is enlarged.
    """

    import cv2

    def fitting(partial: PartialVideo, progress: Progress) -> Tensor:
        t, _, h, w = partial.frames.shape
        scale = (MAX_PIXELS / (t * h * w)) ** 0.5
        if scale >= 1:
            return fill(partial, progress)
        small = fill(_resized(partial, max(1, int(h * scale)), max(1, int(w * scale))), progress)
        out = torch.empty_like(partial.frames)
        for i in range(t):
            picture = small[i].permute(1, 2, 0).contiguous().numpy()
            large = cv2.resize(picture, (w, h), interpolation=cv2.INTER_LINEAR)
            out[i] = torch.from_numpy(large).permute(2, 0, 1)
        return keep_known(partial, out)

    return fitting


def _resized(partial: PartialVideo, height: int, width: int) -> PartialVideo:
    """A partial video made smaller; pixels that are known in part only count as unknown."""
    import cv2

    t = len(partial)
    frames = torch.empty(t, 3, height, width, dtype=torch.uint8)
    known = torch.empty(t, height, width)
    size = (width, height)
    for i in range(t):
        picture = partial.frames[i].permute(1, 2, 0).contiguous().numpy()
        shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        frames[i] = torch.from_numpy(shrunk).permute(2, 0, 1)
        share = cv2.resize(partial.known[i].numpy(), size, interpolation=cv2.INTER_AREA)
        known[i] = torch.from_numpy((share > 0.999).astype("float32"))
    if not isinstance(partial, Rendering):
        return PartialVideo(frames, known)
    nearest = [
        cv2.resize(partial.depth[i].numpy(), size, interpolation=cv2.INTER_NEAREST_EXACT)
        for i in range(t)
    ]
    depth = torch.stack([torch.from_numpy(d) for d in nearest])
    return Rendering(frames, known, depth, partial.cameras.resized(height, width))


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
