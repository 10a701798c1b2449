"""Carrying the source's sound over to a written video, trimmed to the same span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from recam.media.container import open_media
from recam.types import RecamError

# What goes into each container as it is; anything else is encoded anew as AAC.
_COPIED = {
    ".mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus"},
    ".m4v": {"aac", "ac3", "eac3", "alac"},
    ".mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
    ".mkv": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "vorbis", "flac", "pcm_s16le"},
}


def source_duration_s(path: Path) -> float:
    """Length of a media file in seconds, 0 when it does not say.

    Raises:
        RecamError: it is no regular file.
        FFmpegError, OSError: it cannot be read.
    """
    with open_media(path) as container:
        return (container.duration or 0) / av.time_base


def copy_sound(path: Path, out: Path, start_s: float, end_s: float) -> bool:
    """Write the sound of a film from ``start_s`` to ``end_s``, as it is, to a Matroska file without
    pictures that keeps the film's clock; False when there is none that can be copied."""
    try:
        with open_media(path) as source, av.open(str(out), "w", **_MATROSKA) as sink:
            stream: Any = next(iter(source.streams.audio), None)
            if stream is None or stream.codec_context is None:
                return False
            copied = sink.add_stream_from_template(stream)
            base = stream.time_base
            origin = round(_clock_start_s(source) / base)
            for packet in source.demux(stream):
                if not packet.size or packet.pts is None or packet.is_discard:
                    continue
                packet.pts -= origin
                packet.dts = packet.pts
                time_s = float(packet.pts * base)
                if time_s >= end_s:
                    break
                if packet.pts >= 0 and time_s > start_s - _EARLIER_S:
                    packet.stream = copied
                    sink.mux(packet)
        return True
    except (av.error.FFmpegError, OSError, ValueError, RecamError):
        out.unlink(missing_ok=True)
        return False


_MATROSKA: Any = {"format": "matroska", "options": {"fflags": "+bitexact"}}
_EARLIER_S = 1.0
"""Decoders need some of what lies before the place where they begin."""


def _clock_start_s(container: Any) -> float:
    """Where the clock of a film's pictures begins; sound without pictures counts from zero."""
    if not container.streams.video:
        return 0.0
    return (container.start_time or 0) / av.time_base


class Sound:
    """The sound of ``path`` from ``start_s`` on, as packets for an output container.

    Packets are copied where the container takes their codec, otherwise decoded and encoded as
    AAC.

    Raises:
        RecamError: it is no regular file.
        FFmpegError, OSError: the file cannot be read.
        LookupError: it holds no sound that can be decoded.
    """

    def __init__(self, path: Path, start_s: float, output: Any, suffix: str) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            self._source: Any = stack.enter_context(open_media(path))
            self._in: Any = next(iter(self._source.streams.audio), None)
            if self._in is None or self._in.codec_context is None:
                raise LookupError(f"{path.name} holds no sound that can be read")
            # On the source's clock; frames' times count from the container's start.
            self._start_s = start_s + _clock_start_s(self._source)
            codec = self._in.codec_context
            if codec.codec.canonical_name in _COPIED[suffix]:
                self._out = output.add_stream_from_template(self._in)
                self._packets = self._copied()
            else:
                self._out = output.add_stream("aac", rate=codec.sample_rate, layout=codec.layout)
                self._packets = self._encoded()
            self._stack = stack.pop_all()
        self._waiting: tuple[float, Any] | None = None

    def close(self) -> None:
        self._stack.close()

    def until(self, end_s: float) -> Iterator[Any]:
        """The packets not handed out yet that begin before ``end_s`` of the output's clock."""
        while True:
            self._waiting = self._waiting or next(self._packets, None)
            if self._waiting is None or self._waiting[0] >= end_s:
                return
            packet, self._waiting = self._waiting[1], None
            yield packet

    def _seek(self) -> None:
        if self._start_s > 2.0:  # a little early: some demuxers land behind the wanted time
            self._source.seek(round((self._start_s - 1.0) / self._in.time_base), stream=self._in)

    def _copied(self) -> Iterator[tuple[float, Any]]:
        self._seek()
        base = self._in.time_base
        origin = round(self._start_s / base)
        for packet in self._source.demux(self._in):
            if not packet.size or packet.pts is None or packet.pts < origin or packet.is_discard:
                continue
            packet.pts -= origin
            packet.dts = packet.pts
            packet.stream = self._out
            yield float(packet.pts * base), packet

    def _encoded(self) -> Iterator[tuple[float, Any]]:
        self._seek()
        encoder = self._out.codec_context
        for frame in self._source.decode(self._in):
            if frame.time is None or frame.time < self._start_s:
                continue
            frame.pts = round((frame.time - self._start_s) * frame.sample_rate)
            frame.time_base = Fraction(1, frame.sample_rate)
            yield from self._timed(encoder.encode(frame))
        yield from self._timed(encoder.encode(None))

    def _timed(self, packets: list[Any]) -> Iterator[tuple[float, Any]]:
        for packet in packets:
            packet.stream = self._out
            yield float(packet.pts * packet.time_base), packet
