"""Video to mp4, PNG folders, GIF and WebP; pictures to PNG and JPEG. Whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import torch
from torch import Tensor

from recam.media.encode import Film, Gif, PngFolder, Sink, WebP, encoded_picture
from recam.media.sound import source_duration_s
from recam.media.stereo_mode import StereoMode
from recam.runtime.whole import (
    cannot_write,
    put_in_place,
    remove,
    temporary_beside,
    written_whole,
)
from recam.types import Progress, RecamError, Video, no_progress

FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# How far a video may reach past the end of the file that its sound comes from.
_SOUND_SLACK_S = 0.5
# Files keep times to the millisecond; a spread of two of these is still a constant rate.
_CONSTANT_WITHIN_S = 0.0022


class VideoWriter:
    """Streams frames to the file or folder that the suffix of ``path`` chooses.

    .mp4 .m4v .mov .mkv: H.264, 4:2:0, BT.709. .gif, .webp: looping previews. No suffix: a folder
    of PNG files 00000.png, 00001.png, ….

    Use as a context manager: the output appears when the block ends, and an exception in the block
    leaves nothing behind. ``notes`` then says what was done beyond the plain job.

    Args:
        fps: constant frame rate; None = each frame comes with its time.
        crf: x264's quality, 0 (best) to 51; 14 is visually near-lossless.
        audio_path: file whose sound goes with the frames, from ``audio_start_s`` on; left out with
            a note when it has none or another kind of file than film is written.
        audio_start_s: time in that file at which the first frame is shown; with ``fps=None`` the
            first frame's own time counts instead.
        stereo: the frames hold two eyes in this order, which a film's file then says.

    Raises:
        ValueError: unknown suffix, numbers out of range, or no frame written.
        RecamError: the place cannot be written to, or is full.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = 24.0,
        crf: float = 14.0,
        audio_path: str | Path | None = None,
        audio_start_s: float = 0.0,
        stereo: StereoMode | None = None,
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._suffix = self.path.suffix.lower()
        if self._suffix not in (*FILM_SUFFIXES, ".gif", ".webp", ""):
            raise ValueError(
                f"cannot write {self.path} as '{self._suffix}'; expected "
                f"{', '.join(FILM_SUFFIXES)}, .gif, .webp, or no suffix for a folder of PNG files"
            )
        if fps is not None and not 0.01 <= fps <= 1000:
            raise ValueError(f"fps is {fps}, expected 0.01 to 1000")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf is {crf}, expected 0 (best) to 51 (worst)")
        self._fps = fps
        self._crf = crf
        self._audio_path = Path(audio_path) if audio_path else None
        self._audio_start_s = audio_start_s
        self._stereo = stereo
        self._sink: Sink | None = None
        self._shape: tuple[int, ...] = ()
        self._num = 0
        self._first_s = self._last_s = 0.0
        self._step_s = 1 / (fps or 24.0)

    def __enter__(self) -> VideoWriter:
        if self._suffix == "":
            _check_replaceable(self.path)
        elif self.path.is_dir():
            raise RecamError(f"cannot write {self.path}: there is a folder of that name")
        self._temporary = temporary_beside(self.path)
        return self

    def write(self, frames: Tensor, times_s: Iterable[float] | Tensor | None = None) -> None:
        """Appends uint8 frames [n, 3, h, w], or one [3, h, w].

        times_s: n increasing times in seconds, exactly when the writer's ``fps`` is None.

        Raises:
            ValueError: wrong shape, type or times.
            RecamError: the disk is full or the like.
        """
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise ValueError(
                f"got frames {frames.dtype} {list(frames.shape)}, expected uint8 [n, 3, h, w]"
            )
        if (times_s is None) == (self._fps is None):
            raise ValueError(
                "give times_s with every write when the writer's fps is None, else not"
            )
        if times_s is None:
            times = [(self._num + i) / (self._fps or 1.0) for i in range(len(frames))]
        else:
            times = [float(t) for t in times_s]
        if len(times) != len(frames):
            raise ValueError(f"got {len(times)} times for {len(frames)} frames")
        try:
            for frame, time_s in zip(frames, times):
                self._write_one(frame.cpu().numpy(), time_s)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _write_one(self, frame: np.ndarray, time_s: float) -> None:
        if self._sink is None:
            self._shape, self._first_s = frame.shape, time_s
            self._sink = self._opened_sink((frame.shape[1], frame.shape[2]))
        elif frame.shape != self._shape:
            raise ValueError(
                f"frame {self._num} has shape {list(frame.shape)}, the first {list(self._shape)}"
            )
        elif time_s <= self._last_s:
            raise ValueError(
                f"frame {self._num} is at {time_s} s, the one before at {self._last_s} s; "
                "times must increase"
            )
        else:
            self._step_s = time_s - self._last_s
        self._sink.write(frame, time_s - self._first_s)
        self._last_s = time_s
        self._num += 1

    def _opened_sink(self, size: tuple[int, int]) -> Sink:
        if self._suffix in FILM_SUFFIXES:
            start_s = self._first_s if self._fps is None else self._audio_start_s
            return Film(
                self._temporary, size, self._fps, self._crf, self._audio_path, start_s, self._stereo
            )
        if self._audio_path is not None:
            self.notes.append("sound left out: this kind of output holds none")
        if self._suffix == "":
            return PngFolder(self._temporary)
        return Gif(self._temporary, size) if self._suffix == ".gif" else WebP(self._temporary, size)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        except OSError as failure:
            raise cannot_write(self.path, failure) from failure
        finally:
            if self._sink is not None:
                self._sink.close()
            remove(self._temporary)

    def _finish(self) -> None:
        if self._sink is None:
            raise ValueError(f"no frame was written to {self.path}; a video needs at least one")
        self._sink.finish(self._last_s - self._first_s + self._step_s)
        put_in_place(self._temporary, self.path)
        self.notes += self._sink.notes


def _check_replaceable(folder: Path) -> None:
    """A folder of frames may be replaced; one that holds anything else of the user's may not."""
    if folder.exists() and not folder.is_dir():
        raise RecamError(f"cannot write the folder {folder}: there is a file of that name")
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.suffix != ".png" or not entry.stem.isdigit():
            raise RecamError(
                f"{folder} holds other files ({entry.name}) and is not overwritten; "
                "choose a new folder"
            )


def constant_fps(times_s: Tensor) -> float | None:
    """The rate of frames that are evenly spaced to within a millisecond or so, else None.

    Times kept in milliseconds give back the whole or NTSC rate that they were rounded from. A
    single frame has 24.
    """
    num = len(times_s)
    if num < 2:
        return 24.0
    steps = torch.arange(num, dtype=torch.float64)

    def spread(fps: float) -> float:
        error = times_s - steps / fps
        return float(error.max() - error.min())

    mean = (num - 1) / float(times_s[-1] - times_s[0])
    if spread(mean) > _CONSTANT_WITHIN_S:
        return None
    usual = [n for n in (float(round(mean)), round(mean * 1.001) * 1000 / 1001) if n > 0]
    best = min(usual, key=spread, default=mean)
    return best if spread(best) <= max(1.5 * spread(mean), 1e-6) else mean


def write_video(
    video: Video,
    path: str | Path,
    *,
    crf: float = 14.0,
    with_audio: bool = True,
    stereo: StereoMode | None = None,
    progress: Progress = no_progress,
) -> list[str]:
    """Writes a whole video; see :class:`VideoWriter` for the kinds of output.

    Frames are shown at their own times, constant or variable rate, counted from the first. The
    sound of ``video.audio_path`` is carried over for the same span when the video's times lie
    within that file's length.

    Returns:
        Notes for the user: sound left out and why, padding, frames that a GIF cannot show.

    Raises:
        ValueError, RecamError: as VideoWriter.
    """
    times_s = video.times_s
    fps = constant_fps(times_s) if len(video) else 24.0
    audio_path, notes = None, []
    if with_audio and video.audio_path is not None:
        end_s = float(times_s[-1]) + 1 / video.fps
        audio_path, reason = _usable_audio(Path(video.audio_path), end_s)
        notes = [f"sound left out: {reason}"] if reason else []
    start_s = float(times_s[0]) if len(video) else 0.0
    writer = VideoWriter(
        path, fps=fps, crf=crf, audio_path=audio_path, audio_start_s=start_s, stereo=stereo
    )
    with writer:
        for index in range(len(video)):
            times = None if fps is not None else times_s[index : index + 1]
            writer.write(video.frames[index : index + 1], times)
            progress("writing", index + 1, len(video))
    return notes + writer.notes


def _usable_audio(path: Path, end_s: float) -> tuple[Path | None, str]:
    """The file, or None and why its sound does not belong to frames that end at ``end_s``."""
    try:
        duration_s = source_duration_s(path)
    except RecamError as error:
        return None, str(error)
    except (av.error.FFmpegError, OSError) as error:
        return None, f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
    if end_s > duration_s + _SOUND_SLACK_S:
        return None, f"the frames end at {end_s:.2f} s, {path.name} already at {duration_s:.2f} s"
    return path, ""


def write_image(image: Tensor, path: str | Path) -> None:
    """Writes uint8 [3, h, w] sRGB, or grey [h, w] uint8 or bool (True = white), as PNG or JPEG.

    Raises:
        ValueError: another shape, type or suffix.
        RecamError: the place cannot be written to, or is full.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise ValueError(f"cannot write a picture as '{suffix}'; expected .png, .jpg or .jpeg")
    if image.dtype == torch.bool:
        image = image.to(torch.uint8) * 255
    is_picture = image.ndim == 2 or (image.ndim == 3 and image.shape[0] == 3)
    if image.dtype != torch.uint8 or not is_picture or image.numel() == 0:
        raise ValueError(
            f"got an image {image.dtype} {list(image.shape)}, expected uint8 [3, h, w] or [h, w]"
        )
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded_picture(image.cpu().numpy(), suffix))
