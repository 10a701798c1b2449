"""Film files through PyAV: opening, decoding in order, seeking to a frame, deinterlacing."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from recam.media.container import open_media
from recam.media.convert import Conversion, plan_conversion, to_srgb
from recam.media.limits import check_pixels
from recam.runtime.threads import num_cores
from recam.types import RecamError

# More threads than this only cost memory: each holds a picture, 50 MB at 8K.
_MAX_THREADS = 8
_WITHOUT_CLOCK = {"h264", "hevc", "vvc", "m4v", "mpegvideo", "obu", "evc", "cavsvideo"}
_NOT_FILM = {"tty"}  # FFmpeg would draw a text file as a picture
# A start before this frame is reached by decoding; from here on by seeking, which first lists the
# packets' times.
_SEEK_FROM = 256
_REORDER_ROOM = 64


class MediaWarning(UserWarning):
    """Something of the source is missing or was repaired; reading went on."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yields the PyAV container of a film file and its main video stream.

    Raises:
        RecamError: it cannot be opened, or shows no moving picture.
    """
    try:
        container: Any = open_media(path)
    except (av.error.FFmpegError, OSError) as error:
        raise RecamError(_unreadable(path, error)) from error
    with container:
        stream = _main_stream(container)
        if stream is None or container.format.name in _NOT_FILM:
            what = "holds sound but no picture" if container.streams.audio else "is not a video"
            raise RecamError(f"{path} {what}")
        if stream.codec_context is None:
            raise RecamError(f"{path} uses a video codec that this PyAV cannot decode")
        check_pixels(stream.codec_context.width, stream.codec_context.height, path, "film")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(_MAX_THREADS, num_cores())
        yield container, stream


def _main_stream(container: Any) -> Any:
    """The best video stream that is not a sound file's cover picture."""
    films = [s for s in container.streams.video if not _is_cover(s)]
    best = container.streams.best("video")
    return best if best in films else next(iter(films), None)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _unreadable(path: Path, error: BaseException) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return f"{path} is not a video that can be read, or a part of it is missing"
    return f"cannot read {path}: {getattr(error, 'strerror', None) or error}"


def _pixel_aspect(stream: Any) -> Fraction | None:
    """Width of a stored pixel over its height, None when square or not said."""
    aspect = stream.sample_aspect_ratio
    return None if not aspect or aspect == 1 else Fraction(aspect)


def plan_for(path: Path, frame: Any, stream: Any, max_side: int | None = None) -> Conversion:
    """:func:`plan_conversion` whose errors name the file."""
    try:
        return plan_conversion(frame, max_side, _pixel_aspect(stream))
    except RecamError as error:
        raise RecamError(f"{path}: {error}") from error


def decoded(container: Any, stream: Any, broken: list[str]) -> Iterator[Any]:
    """PyAV frames in presentation order, deinterlaced where needed.

    What cannot be decoded is skipped, and each such place appended to ``broken``.
    """
    frames = _decoded_as_stored(container, stream, broken)
    first = next(frames, None)
    if first is None:
        return
    if first.interlaced_frame:
        yield from _deinterlaced(first, frames, stream)
        return
    yield first
    yield from frames


def _decoder_of(stream: Any) -> Any:
    """The stream's own decoder, but for transparent WebM one that sees the transparency."""
    library = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name, "")
    if stream.metadata.get("alpha_mode") == "1" and library in av.codecs_available:
        return av.CodecContext.create(library, "r")
    return stream.codec_context


def _decoded_as_stored(container: Any, stream: Any, broken: list[str]) -> Iterator[Any]:
    decoder = _decoder_of(stream)
    packets = container.demux(stream)
    breaks_off = False
    while not breaks_off:
        try:
            packet = next(packets, None)  # the last ones are empty and flush the decoder
            if packet is None:
                return
        except (av.error.FFmpegError, OSError) as error:
            broken.append(f"the file breaks off ({error})")
            breaks_off, packet = True, None
        try:
            frames = decoder.decode(packet)
        except EOFError:
            return
        except av.error.FFmpegError as error:
            broken.append(f"damaged data ({error})")
            continue
        for frame in frames:
            if frame.is_corrupt:
                broken.append("a damaged picture")
            yield frame


def _deinterlaced(first: Any, frames: Iterator[Any], stream: Any) -> Iterator[Any]:
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(template=stream)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()

    def drained() -> Iterator[Any]:
        while True:
            try:
                yield graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    graph.vpush(first)
    for frame in frames:
        graph.vpush(frame)
        yield from drained()
    graph.vpush(None)
    yield from drained()


def film_frames(
    path: Path, start: int, num_frames: int | None, stride: int, max_side: int | None
) -> Generator[tuple[np.ndarray, float], None, None]:
    """Every ``stride``-th frame from ``start`` on as (uint8 [3, h, w], seconds), at most
    ``num_frames`` of them. Warns of what could not be read.

    Raises:
        RecamError: no frame could be read.
        ValueError: ``start`` lies behind the end.
    """
    broken: list[str] = []
    clock = _Clock(path)
    index = plan = None
    returned, end_s, changes_size = 0, 0.0, False
    with opened(path) as (container, stream):
        with closing(_from_frame(path, container, stream, start, broken)) as frames:
            for index, frame in frames:
                time_s = clock.time_of(frame, index, container, stream)
                end_s = time_s + float((frame.duration or 0) * stream.time_base)
                if index < start or (index - start) % stride:
                    continue
                plan = plan or plan_for(path, frame, stream, max_side)
                if (frame.height, frame.width) != (plan.coded_height, plan.coded_width):
                    changes_size = True
                yield to_srgb(frame, plan), time_s
                returned += 1
                if returned == num_frames:
                    break
        missing = "" if returned == num_frames else _missing_part(container, stream, index, end_s)
    if index is None:
        raise RecamError(f"{path}: no picture of it can be decoded")
    if returned == 0:
        raise ValueError(f"{path} has {index + 1} frames, so it cannot be read from frame {start}")
    if changes_size:
        text = f"{path}: its pictures change size on the way; all scaled to that of the first"
        warnings.warn(text, MediaWarning, stacklevel=4)
    warn_of_loss(path, missing, broken)


def _missing_part(container: Any, stream: Any, index: int | None, end_s: float) -> str:
    """In words, how much less than promised there was after reading to the end."""
    num_decoded = 0 if index is None else index + 1
    # Files with an edit list count a frame or two that are never shown.
    if stream.frames:
        few = num_decoded < stream.frames - 2
        return f"only {num_decoded} of its {stream.frames} frames could be read" if few else ""
    duration_s = (container.duration or 0) / av.time_base
    slack_s = 3.5 / float(rate_of(stream))
    if container.streams.audio:  # which may outlast the picture a little
        slack_s = max(slack_s, 0.5, 0.05 * duration_s)
    few = duration_s - end_s > slack_s
    return f"only {end_s:.1f} of its {duration_s:.1f} seconds could be read" if few else ""


def warn_of_loss(path: Path, missing: str, broken: list[str]) -> None:
    """A MediaWarning of what a source lacks (in words) and of damaged places, if any."""
    if not missing and not broken:
        return
    because = f": {broken[0]}" if broken else ""
    more = f" and {len(broken) - 1} more places" if len(broken) > 1 else ""
    what = missing or "damaged in places"
    warnings.warn(f"{path}: {what}{because}{more}", MediaWarning, stacklevel=4)


def rate_of(stream: Any) -> Fraction:
    """Mean frames a second. A raw stream has no clock: FFmpeg takes it for 25 whatever it says."""
    own = stream.codec_context.framerate
    if stream.container.format.name in _WITHOUT_CLOCK and own:
        return Fraction(own)
    return Fraction(stream.average_rate or stream.guessed_rate or 24)


class _Clock:
    """Presentation times on the container's clock: strictly increasing, made up where missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_s: float | None = None
        self._warned = False

    def time_of(self, frame: Any, index: int, container: Any, stream: Any) -> float:
        rate = float(rate_of(stream))
        at = _time_of(frame, stream)
        if at is None or container.format.name in _WITHOUT_CLOCK:
            time_s = index / rate
        else:
            time_s = float(at) - (container.start_time or 0) / av.time_base
        if self._last_s is not None and time_s <= self._last_s:
            time_s = self._last_s + 0.5 / rate
            if not self._warned:
                text = f"{self._path}: its timestamps do not increase at frame {index}; mended"
                warnings.warn(text, MediaWarning, stacklevel=5)
                self._warned = True
        self._last_s = time_s
        return time_s


def _from_frame(
    path: Path, container: Any, stream: Any, start: int, broken: list[str]
) -> Generator[tuple[int, Any], None, None]:
    """(index, frame) from ``start`` or earlier on; seeks when ``start`` is far."""
    wanted = _start_time(path, start) if start >= _SEEK_FROM else None
    if wanted is not None:
        container.seek(round(wanted / stream.time_base), stream=stream, backward=True)
        frames = decoded(container, stream, broken)
        first = next(frames, None)
        while first is not None and _is_before(_time_of(first, stream), wanted):
            first = next(frames, None)
        del broken[:]  # what lies before does not matter
        if first is not None and _time_of(first, stream) == wanted:
            yield start, first
            yield from enumerate(frames, start + 1)
            return
        container.seek(0, backward=True)  # an odd index: decode from the beginning instead
    yield from enumerate(decoded(container, stream, broken))


def _is_before(time: Fraction | None, wanted: Fraction) -> bool:
    return time is not None and time < wanted


def _time_of(frame: Any, stream: Any) -> Fraction | None:
    """Seconds on the stream's clock. The last frames of a file that breaks off lack a time base;
    deinterlaced ones have another than the stream."""
    return None if frame.pts is None else frame.pts * (frame.time_base or stream.time_base)


def count_frames(path: Path) -> int | None:
    """Pictures of a film that does not say how many, by its packets; None if they do not tell."""
    with opened(path) as (container, stream):
        try:
            packets = container.demux(stream)
            return sum(1 for packet in packets if packet.size and not packet.is_discard) or None
        except (av.error.FFmpegError, OSError):
            return None


def _start_time(path: Path, start: int) -> Fraction | None:
    """Time in seconds of frame ``start`` from the packets alone, None when they do not tell."""
    times: set[int] = set()
    with opened(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    if packet.pts is None:
                        return None
                    times.add(packet.pts)
                if len(times) > start + _REORDER_ROOM:
                    break
        except (av.error.FFmpegError, OSError):
            return None
        return sorted(times)[start] * stream.time_base if start < len(times) else None
