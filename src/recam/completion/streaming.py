"""Videos of any length completed piece by piece: flat memory, and a stopped run goes on."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from recam.completion.completer import Completer, Windows
from recam.completion.windows import P, cut, fill_pieces
from recam.runtime.cache import cache_folder, content_hash, scratch_tensor
from recam.runtime.cache_entries import tell_not_kept
from recam.runtime.tensors import load_tensors, save_tensors, tensors_are_whole
from recam.types import PartialVideo, Progress, RecamError, Rendering, no_progress

KEPT_DAYS = 7
"""Windows of runs that were stopped and never taken up again are kept for so long."""
KEPT_VERSION = 6
"""Raised when completing gives other frames, so that windows kept from before are made anew."""


def complete_pieces(
    pieces: Iterable[P],
    total: int,
    completer: Completer,
    windows: Windows,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
    what: str = "completing",
) -> Iterator[tuple[P, Tensor]]:
    """Complete consecutive pieces of a video of ``total`` frames, of windows.new frames each.

    windows: what completer.plan gave. Yields (partial, frames uint8 [k, 3, h, w]) of consecutive
    parts that together cover the video (see fill_pieces). Finished windows are kept in the cache
    until the last one is done, under the hash of all that they depend on: a run that was stopped
    finds them. Seconds spent are added to timings_s["complete"].
    """
    kept = _KeptWindows(cache_folder() / "windows") if total > windows.new else None
    identity = content_hash(KEPT_VERSION, windows, *completer.identity)

    def fill(piece: P, first: int) -> Tensor:
        clock = time.perf_counter()
        key = _key(piece, identity, first) if kept else ""
        frames = kept.find(key, piece.frames.shape) if kept else None
        if frames is None:
            frames = completer.fill(piece, first)
            if kept:
                kept.add(key, frames)
        timings_s["complete"] = timings_s.get("complete", 0.0) + time.perf_counter() - clock
        return frames

    done = 0
    for part, frames in fill_pieces(fill, pieces, total, windows.overlap, windows.blend):
        done += len(frames)
        progress(what, done, total)
        yield part, frames
        del part, frames  # not held while the next window is made
    if kept:
        kept.forget()


def complete_streamed(
    partial: PartialVideo,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
) -> Iterator[tuple[PartialVideo, Tensor]]:
    """``complete_pieces`` of a video that is there as a whole. Raises RecamError when nothing in it
    is known."""
    total, _, height, width = partial.frames.shape
    if not any(bool((known > 0).any()) for known in partial.known):
        raise RecamError("nothing in the video is known; give a mask that is white somewhere")
    windows = completer.plan(total, height, width)
    starts = range(0, total, windows.new)
    pieces = (cut(partial, i, min(i + windows.new, total)) for i in starts)
    yield from complete_pieces(pieces, total, completer, windows, timings_s, progress)


def complete_windows(
    completer: Completer, partial: PartialVideo, progress: Progress = no_progress
) -> Tensor:
    """uint8 [t, 3, h, w]: a video completed in memory, the first window as long as those after it.

    Nothing is kept of a run that is stopped. Raises RecamError when nothing in it is known.
    """
    total, _, height, width = partial.frames.shape
    if not bool((partial.known > 0).any()):
        raise RecamError("nothing in the video is known; give a mask that is white somewhere")
    windows = completer.plan(total, height, width)
    length = windows.new + windows.overlap
    if total <= length:
        return completer.fill(partial, 0, progress)
    starts = [0, *range(length, total, windows.new), total]
    pieces = (cut(partial, a, b) for a, b in itertools.pairwise(starts))
    out, done = torch.empty_like(partial.frames), 0
    for _, frames in fill_pieces(completer.fill, pieces, total, windows.overlap, windows.blend):
        out[done : done + len(frames)] = frames
        done += len(frames)
        progress("completing", done, total)
    return out


def complete_whole(
    partial: PartialVideo, completer: Completer, progress: Progress = no_progress
) -> Tensor:
    """uint8 [t, 3, h, w]: a video completed piece by piece, the result on disk where it is large.

    Raises RecamError when nothing in it is known.
    """
    out = scratch_tensor(tuple(partial.frames.shape), torch.uint8)
    done = 0
    for _, frames in complete_streamed(partial, completer, {}, progress):
        out[done : done + len(frames)] = frames
        done += len(frames)
    return out


def collected(
    parts: Iterable[tuple[PartialVideo, Tensor]], total: int
) -> tuple[PartialVideo, Tensor]:
    """What complete_pieces yields, as one partial video and its frames; on disk where large."""
    collector = Collector(total)
    for part, frames in parts:
        collector.add(part, frames)
    return collector.whole()


class Collector:
    """Consecutive parts of a video of ``total`` frames put together, on disk where they are
    large."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._seen: tuple[Tensor, ...] = ()

    def add(self, part: PartialVideo, frames: Tensor) -> None:
        if not self._seen:
            size, total = tuple(frames.shape[1:]), self._total
            self._seen = (
                scratch_tensor((total, *size), torch.uint8),
                scratch_tensor((total, *size[1:]), torch.float32),
                scratch_tensor((total, *size), torch.uint8),
            )
        for out, values in zip(self._seen, (part.frames, part.known, frames)):
            out[self._done : self._done + len(frames)] = values
        self._done += len(frames)

    def whole(self) -> tuple[PartialVideo, Tensor]:
        if not self._seen:
            raise ValueError("there is no piece to collect; give at least one")
        return PartialVideo(self._seen[0], self._seen[1]), self._seen[2]


def _key(piece: PartialVideo, identity: str, first: int) -> str:
    """sha256 (hex) of what a window is filled from."""
    digest = hashlib.sha256(f"{identity} {first} {tuple(piece.frames.shape)}".encode())
    tensors = [piece.frames, piece.known]
    if isinstance(piece, Rendering):
        cameras = piece.cameras
        tensors += [piece.depth, cameras.cam_from_world, cameras.intrinsics]
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _KeptWindows:
    """Finished windows of a run, a file each; they appear whole or not at all."""

    folder: Path
    used: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for old in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):  # another run may have taken it away
                if time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
                    old.unlink()

    def find(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        path = self.folder / f"{key[:32]}.safetensors"
        if not tensors_are_whole(path):
            return None
        frames = load_tensors(path).get("frames")
        if frames is None or frames.shape != tuple(shape) or frames.dtype != torch.uint8:
            return None
        self.used.append(path)
        return frames

    def add(self, key: str, frames: Tensor) -> None:
        """Keep a finished window, whole or not at all; a disk that takes it not is a warning."""
        path = self.folder / f"{key[:32]}.safetensors"
        try:
            save_tensors(path, {"frames": frames}, {})
        except OSError as error:  # a full disk, say: the run itself can still end well
            tell_not_kept("a finished window", error)
            return
        self.used.append(path)

    def forget(self) -> None:
        for path in self.used:
            path.unlink(missing_ok=True)
