"""Video from anything that people have: film files, pictures, animations, whole or in windows."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from recam.media.convert import fitted_size, resized
from recam.media.film import MediaWarning, film_frames, warn_of_loss
from recam.media.pictures import series_at
from recam.media.source import MediaInfo, kind_of, probe
from recam.media.still import animation_frames, decode_picture
from recam.runtime.cache import cache_folder, fits_in_memory, scratch_file
from recam.runtime.whole import cannot_write, written_whole
from recam.types import Progress, RecamError, Video, no_progress


def iterate_frames(
    path: str | Path,
    *,
    start: int = 0,
    num_frames: int | None = None,
    stride: int = 1,
    max_side: int | None = None,
    fps_of_pictures: float = 24.0,
) -> Generator[tuple[np.ndarray, float], None, None]:
    """Frames one by one as (uint8 [3, h, w] sRGB, time in seconds); see :func:`read_video`."""
    _check_part(start, num_frames, stride)
    path = Path(path)
    kind, files = kind_of(path)
    if kind == "film":
        yield from film_frames(path, start, num_frames, stride, max_side)
        return
    if kind == "animation":
        yield from _animation_part(path, start, num_frames, stride, max_side)
        return
    if start >= len(files):
        raise ValueError(f"{path} has {len(files)} frames, so it cannot be read from frame {start}")
    for note in (series_at(path) or ([], []))[1]:
        warnings.warn(f"{path}: {note}", MediaWarning, stacklevel=3)
    size: tuple[int, int] | None = None
    for index in range(start, len(files), stride)[:num_frames]:
        picture = decode_picture(files[index], max_side)[0]
        if size is None:
            size = picture.shape[1], picture.shape[2]
        elif picture.shape[1:] != size:
            raise RecamError(
                f"{files[index]} is {picture.shape[2]}×{picture.shape[1]}, the pictures before it "
                f"{size[1]}×{size[0]}; the frames of a video share one size"
            )
        yield resized(picture, *fitted_size(*size, max_side)), index / fps_of_pictures


def _animation_part(
    path: Path, start: int, num_frames: int | None, stride: int, max_side: int | None
) -> Generator[tuple[np.ndarray, float], None, None]:
    frames = animation_frames(path)
    index = returned = 0
    while returned != num_frames:
        try:
            picture, time_s = next(frames)
        except StopIteration as end:
            if index <= start:
                raise ValueError(
                    f"{path} has {index} frames, so it cannot be read from frame {start}"
                ) from None
            warn_of_loss(path, "", end.value)
            return
        if index >= start and (index - start) % stride == 0:
            height, width = picture.shape[1:]
            yield resized(picture, *fitted_size(height, width, max_side)), time_s
            returned += 1
        index += 1


def read_video(
    path: str | Path,
    *,
    start: int = 0,
    num_frames: int | None = None,
    stride: int = 1,
    max_side: int | None = None,
    fps_of_pictures: float = 24.0,
    storage: str | Path | None = None,
    progress: Progress = no_progress,
) -> Video:
    """A film file, folder or pattern of pictures, animated GIF or WebP, or picture as a Video.

    Frames come upright, with square pixels, in sRGB; ``probe(path).notes`` says what that took.
    Times are the file's own, also behind a ``start``, so that sound can be matched to them.

    Args:
        path: the file; or a folder of pictures (natural order), ``*`` or ``%05d`` pattern of them.
        start: first frame, counted in the source.
        num_frames: at most this many frames, after striding; None = to the end.
        stride: take every stride-th frame.
        max_side: longer side in pixels to scale down to (area filter, even sizes).
        fps_of_pictures: frame rate of sources without a clock.
        storage: file to memory-map the frames into, so that memory stays flat with length; it
            must outlive the video. None = in memory, or a temporary file above 256 MiB.

    Raises:
        RecamError: missing, empty, broken, not a video; pictures of different sizes; disk full.
        ValueError: ``start`` behind the end, or arguments out of range.

    Warns:
        MediaWarning: only a part could be read.
    """
    _check_part(start, num_frames, stride)
    info = probe(path)
    expected = _num_expected(info, start, num_frames, stride)
    has_audio = info.has_audio
    times_s: list[float] = []
    with _FrameStore(None if storage is None else Path(storage), expected) as store:
        frames = iterate_frames(
            path, start=start, num_frames=num_frames, stride=stride, max_side=max_side,
            fps_of_pictures=fps_of_pictures,
        )  # fmt: skip
        for frame, time_s in frames:
            store.append(frame)
            times_s.append(time_s)
            progress("reading", len(times_s), max(expected, len(times_s)))
    times = torch.tensor(times_s, dtype=torch.float64)
    return Video(store.frames, times, str(path) if has_audio else None)


def _check_part(start: int, num_frames: int | None, stride: int) -> None:
    if start < 0 or stride < 1 or (num_frames is not None and num_frames < 1):
        raise ValueError(
            f"got start {start}, num_frames {num_frames}, stride {stride}; expected start ≥ 0, "
            "num_frames ≥ 1 or None, stride ≥ 1"
        )


def _num_expected(info: MediaInfo, start: int, num_frames: int | None, stride: int) -> int:
    """How many frames reading will probably give; only a hint for memory and progress."""
    total = info.num_frames
    if total is None:
        total = round((info.duration_s or 1.0) * (info.fps or 24.0))
    rest = max(1, -(-(total - start) // stride))
    return rest if num_frames is None else min(rest, num_frames)


class _FrameStore:
    """Collects frames of one size in memory or in a file; ``frames`` is there when it closes."""

    frames: Tensor

    def __init__(self, storage: Path | None, expected: int) -> None:
        self._storage = storage
        self._expected = expected
        self._stack = ExitStack()
        self._array: np.ndarray | None = None
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._num = 0

    def __enter__(self) -> _FrameStore:
        return self

    def append(self, frame: np.ndarray) -> None:
        if self._num == 0:
            self._begin(frame)
        if self._file is None and self._array is not None and self._num == len(self._array):
            self._grow()
        if self._file is not None:
            try:
                self._file.write(np.ascontiguousarray(frame).data)
            except OSError as error:
                raise cannot_write(self._storage or cache_folder(), error) from error
        elif self._array is not None:
            self._array[self._num] = frame
        self._num += 1

    def _begin(self, frame: np.ndarray) -> None:
        self._shape = frame.shape
        if self._storage is not None:
            temporary = self._stack.enter_context(written_whole(self._storage))
            self._file = self._stack.enter_context(temporary.open("wb"))
        elif not fits_in_memory(self._expected * frame.nbytes):
            self._file = self._stack.enter_context(scratch_file())
        else:
            self._array = np.empty((self._expected, *frame.shape), np.uint8)

    def _grow(self) -> None:
        assert self._array is not None
        capacity = self._num + max(16, self._num // 2)
        if not fits_in_memory(capacity * self._array[0].nbytes):
            self._file = self._stack.enter_context(scratch_file())
            self._array.tofile(self._file)
            self._array = None
        else:
            self._array = np.concatenate(
                [self._array, np.empty((capacity - self._num, *self._shape), np.uint8)]
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._array is not None:
            self.frames = torch.from_numpy(self._array[: self._num])
        elif error is None and self._file is not None and self._storage is None:
            self._map(self._file)
        # Closes the file first, then renames it into place, or removes it after an error.
        self._stack.__exit__(kind, error, trace)
        if error is None and self._storage is not None:
            self._map(self._storage)

    def _map(self, file: IO[bytes] | Path) -> None:
        if not isinstance(file, Path):
            file.flush()
        # Copy on write: writing to the tensor never changes the file.
        mapped = np.memmap(file, np.uint8, "c", shape=(self._num, *self._shape))
        self.frames = torch.from_numpy(mapped)


def read_windows(
    path: str | Path,
    window: int,
    overlap: int = 0,
    *,
    start: int = 0,
    num_frames: int | None = None,
    stride: int = 1,
    max_side: int | None = None,
    fps_of_pictures: float = 24.0,
) -> Iterator[Video]:
    """The video as consecutive pieces of ``window`` frames that share ``overlap`` frames.

    The source is decoded once, and only one window is held. The last piece may be shorter, but
    always brings a frame that was not seen before. Other arguments, and what is raised, as in
    :func:`read_video`.
    """
    if not 0 <= overlap < window:
        raise ValueError(
            f"got window {window}, overlap {overlap}; expected window ≥ 1 and 0 ≤ overlap < window"
        )
    audio_path = str(path) if probe(path).has_audio else None
    frames = iterate_frames(
        path, start=start, num_frames=num_frames, stride=stride, max_side=max_side,
        fps_of_pictures=fps_of_pictures,
    )  # fmt: skip
    pictures: list[np.ndarray] = []
    times_s: list[float] = []
    num_new = 0
    with closing(frames):
        for picture, time_s in frames:
            if len(pictures) == window:
                del pictures[: window - overlap], times_s[: window - overlap]
                num_new = 0
            pictures.append(picture)
            times_s.append(time_s)
            num_new += 1
            if len(pictures) == window:
                yield _as_video(pictures, times_s, audio_path)
                num_new = 0
    if num_new:
        yield _as_video(pictures, times_s, audio_path)


def _as_video(pictures: list[np.ndarray], times_s: list[float], audio_path: str | None) -> Video:
    times = torch.tensor(times_s, dtype=torch.float64)
    return Video(torch.from_numpy(np.stack(pictures)), times, audio_path)


def read_image(path: str | Path) -> Tensor:
    """A picture file as uint8 [3, h, w] sRGB, upright, transparent parts over black.

    Raises:
        RecamError: missing, empty, broken or not a picture.
    """
    path = Path(path)
    if not path.is_file():
        raise RecamError(f"there is no picture {path}")
    return torch.from_numpy(decode_picture(path)[0])
