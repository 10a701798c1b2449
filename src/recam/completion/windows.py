"""Long videos by overlapping windows: what one has finished enters the next as known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from recam.completion.completer import Windows
from recam.runtime.memory import window_room
from recam.types import PartialVideo, Rendering

P = TypeVar("P", bound=PartialVideo)

MIN_FRAMES = 6
"""In a window, however large they are."""
BLENDED = 0.75
"""Share of the frames carried over into a window that are filled again and cross-faded."""


def fitting_window(window: int, overlap: int, frame_bytes: int, pixels: int) -> tuple[int, int]:
    """New frames of a window, and those carried over into it, as many as memory should take.

    window, overlap: as many as are wanted. frame_bytes: what each takes while it is filled.
    pixels: of a frame.
    """
    most = max(window_room(pixels) // frame_bytes, MIN_FRAMES)
    if window + overlap <= most:
        return window, overlap
    overlap = min(overlap, most // 3)
    return most - overlap, overlap


def windows_that_fit(window: int, overlap: int, frame_bytes: int, pixels: int) -> Windows:
    """Windows of so many new frames, or as many as memory should take (see ``fitting_window``).
    Raises ValueError for a window without frames or a negative overlap."""
    if window < 1 or overlap < 0:
        raise ValueError(f"window {window}, overlap {overlap}; expected 1 or more, and 0 or more")
    window, overlap = fitting_window(window, overlap, frame_bytes, pixels)
    return Windows(window, overlap, int(BLENDED * overlap))


def resize_partial(partial: PartialVideo, height: int, width: int) -> PartialVideo:
    """A partial video made smaller; pixels that are known in part only count as unknown. Of its own
    size it stays as it is."""
    if (height, width) == partial.frames.shape[-2:]:
        return partial
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


def fill_pieces(
    fill: Callable[[P, int], Tensor],
    pieces: Iterable[P],
    total: int,
    overlap: int,
    blend: int = 0,
) -> Iterator[tuple[P, Tensor]]:
    """Fill consecutive pieces of a video of ``total`` frames so that nothing tells where they meet.

    fill(piece, first): frames uint8 [k, 3, h, w] of a piece; first: number of its first frame that
    is not finished yet.
    Before every piece but the first come ``overlap`` frames: finished ones, which enter as known,
    then ``blend`` that were filled once without knowing what follows; they are filled again, and
    the two versions are cross-faded. Yields (partial, finished frames) of consecutive parts that
    together cover the video; each but the last is held back by ``blend`` frames. What a piece is
    given depends on the pieces before it alone, so that equal pieces give equal frames.
    """
    lead: P | None = None  # finished frames, as known
    open_part: P | None = None  # the last frames as they came, …
    open_frames: Tensor | None = None  # … and how they were filled
    first = 0  # of the frames that are not finished
    for piece in pieces:
        whole = piece if open_part is None else joined(open_part, piece)
        del piece  # what waits for the next piece should hold no more than that takes
        given = whole if lead is None else joined(lead, whole)
        num_lead = len(given) - len(whole)
        whole = part_of(given, num_lead, len(given))  # only one copy of a window is held
        frames = fill(given, first)[num_lead:]
        if open_frames is not None:
            frames = _cross_faded(open_frames, frames)
        last = first + len(whole) == total
        held = 0 if last else min(blend, overlap, len(whole) - 1)
        done = len(whole) - held
        finished = frames[:done]
        yield part_of(whole, 0, done), finished
        if last:
            continue
        open_part, open_frames = None, None
        if held:
            open_part, open_frames = cut(whole, done, len(whole)), frames[done:].clone()
        lead = _finished_tail(whole, finished, overlap - held)
        first += done
        del given, whole, frames, finished  # not held while the next window is made


def _cross_faded(before: Tensor, after: Tensor) -> Tensor:
    """``after``, its first len(before) frames faded over from ``before``; uint8 [t, 3, h, w]."""
    out = after.clone()
    for i in range(len(before)):
        share = (i + 1) / (len(before) + 1)
        out[i] = torch.lerp(before[i].float(), after[i].float(), share).round_().to(torch.uint8)
    return out


def _finished_tail(piece: P, frames: Tensor, num: int) -> P | None:
    """The last ``num`` frames of a finished piece, all of them known now."""
    num = min(num, len(frames))
    if num <= 0:
        return None
    tail = cut(piece, len(frames) - num, len(frames))
    return replace(tail, frames=frames[-num:].clone(), known=torch.ones_like(tail.known))


def joined(a: P, b: P) -> P:
    """Two consecutive pieces as one, with their geometry where there is one."""
    frames, known = torch.cat([a.frames, b.frames]), torch.cat([a.known, b.known])
    if isinstance(a, Rendering) and isinstance(b, Rendering):
        cameras = replace(
            a.cameras,
            cam_from_world=torch.cat([a.cameras.cam_from_world, b.cameras.cam_from_world]),
            intrinsics=torch.cat([a.cameras.intrinsics, b.cameras.intrinsics]),
        )
        depth = torch.cat([a.depth, b.depth])
        both = a.evidence is not None and b.evidence is not None
        evidence = torch.cat([a.evidence, b.evidence]) if both else None  # type: ignore[list-item]
        return replace(
            a, frames=frames, known=known, depth=depth, cameras=cameras, evidence=evidence
        )
    return replace(a, frames=frames, known=known)


def part_of(partial: P, first: int, last: int) -> P:
    """Some frames, with their geometry where there is one; in the same memory."""
    frames, known = partial.frames[first:last], partial.known[first:last]
    if isinstance(partial, Rendering):
        depth, cameras = partial.depth[first:last], partial.cameras[first:last]
        evidence = None if partial.evidence is None else partial.evidence[first:last]
        return replace(
            partial, frames=frames, known=known, depth=depth, cameras=cameras, evidence=evidence
        )
    return replace(partial, frames=frames, known=known)


def cut(partial: P, first: int, last: int) -> P:
    """A copy of some frames, with their geometry where there is one."""
    part = part_of(partial, first, last)
    if isinstance(part, Rendering):
        evidence = None if part.evidence is None else part.evidence.clone()
        return replace(
            part, frames=part.frames.clone(), known=part.known.clone(), depth=part.depth.clone(),
            evidence=evidence,
        )  # fmt: skip
    return replace(part, frames=part.frames.clone(), known=part.known.clone())
