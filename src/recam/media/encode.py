"""Where written frames go: H.264 film, PNG folder, GIF, animated WebP.

Each sink takes ``write(frame, time_s)``, times counted from the first frame, then
``finish(end_s)``, then ``close()``; ``close()`` without ``finish()`` abandons the output.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation

from recam.media.sound import Sound
from recam.media.stereo_mode import FRAME_PACKING, MATROSKA, StereoMode, mark_mp4
from recam.types import RecamError

# Chroma is averaged over the pixels that it stands for, and no fast path rounds it down.
_EXACT = (
    Interpolation.AREA
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_BT709, _LIMITED = 1, 1
_FILM_TICKS = 90000  # a second, for videos of variable frame rate
_GIF_TICKS = 100  # a second, by the GIF format
_GIF_SHORTEST = 2  # ticks; browsers slow anything shorter down to a tenth of a second
_WEBP_TICKS = 1000
_LARGE_PIXELS = 4096 * 2304
_HD_PIXELS = 1280 * 720


class Sink(Protocol):
    notes: list[str]

    def write(self, frame: np.ndarray, time_s: float) -> None: ...
    def finish(self, end_s: float) -> None: ...
    def close(self) -> None: ...


def encoded_picture(picture: np.ndarray, suffix: str) -> bytes:
    """uint8 RGB [3, h, w] or grey [h, w] as the bytes of a PNG or JPEG file."""
    if picture.ndim == 3:
        picture = cv2.merge([np.ascontiguousarray(plane) for plane in picture[::-1]])
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    _, data = cv2.imencode(suffix, picture, options)
    return data.tobytes()


class PngFolder:
    """00000.png, 00001.png, … in a new folder."""

    def __init__(self, folder: Path) -> None:
        self.notes: list[str] = []
        self._folder = folder
        self._num = 0
        folder.mkdir()

    def write(self, frame: np.ndarray, time_s: float) -> None:
        (self._folder / f"{self._num:05d}.png").write_bytes(encoded_picture(frame, ".png"))
        self._num += 1

    def finish(self, end_s: float) -> None:
        pass

    def close(self) -> None:
        pass


class Film:
    """H.264 4:2:0 BT.709 in mp4, mov or mkv, with the sound of another file."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float | None,
        crf: float,
        audio_path: Path | None,
        audio_start_s: float,
        stereo: StereoMode | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._path, self._stereo = path, stereo
        height, width = size
        self._rate = None if fps is None else as_fraction(fps)
        self._padding = (0, 0), (0, height % 2), (0, width % 2)
        if height % 2 or width % 2:
            height, width = height + height % 2, width + width % 2
            self.notes.append(
                f"padded to {width}×{height} by repeating the last row or column, since 4:2:0 "
                "video has even sizes"
            )
        is_mkv = path.suffix.lower() == ".mkv"
        name = "matroska" if is_mkv else {".mov": "mov"}.get(path.suffix.lower(), "mp4")
        # Matroska's own numbers for files and tracks are random otherwise.
        options = {"fflags": "+bitexact"} if is_mkv else {"movflags": "+faststart"}
        self._container: Any = av.open(str(path), "w", format=name, options=options)
        self._stream = self._add_stream(height, width, crf)
        self._sound: Sound | None = None
        if audio_path is not None:
            self._add_sound(audio_path, audio_start_s, path.suffix.lower())
        self._waiting: tuple[np.ndarray, float] | None = None
        self._durations: dict[int, int] = {}  # by timestamp; variable rate only
        self._num = 0

    def _add_stream(self, height: int, width: int, crf: float) -> Any:
        stream = self._container.add_stream("libx264", rate=self._rate or 30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        # With several, what x264 writes depends on their number and (in 2 to 13 of 100 runs) on how
        # they happened to be scheduled. One costs no processor time, and is fast beside the rest.
        context.thread_count = 1
        context.time_base = 1 / self._rate if self._rate else Fraction(1, _FILM_TICKS)
        context.color_range = _LIMITED
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        options: dict[str, str] = {"crf": f"{crf:g}", "preset": "fast"}
        if self._rate is None:  # with B-frames, mp4 states a wrong length for variable rates
            options["bf"] = "0"
        details = []
        if height * width > _LARGE_PIXELS:  # x264 looks 30 frames ahead, 2 GB at 8K
            details.append("rc-lookahead=4:sync-lookahead=0:bframes=1:ref=1")
        elif height * width > _HD_PIXELS:
            details.append("rc-lookahead=10")
        if self._stereo is not None:
            details.append(f"frame-packing={FRAME_PACKING[self._stereo]}")
            if self._path.suffix.lower() == ".mkv":
                stream.metadata["stereo_mode"] = MATROSKA[self._stereo]
        if details:
            options["x264-params"] = ":".join(details)
        stream.options = options
        return stream

    def _add_sound(self, path: Path, start_s: float, suffix: str) -> None:
        try:
            self._sound = Sound(path, start_s, self._container, suffix)
        except (av.error.FFmpegError, OSError, LookupError, ValueError, RecamError) as error:
            self.notes.append(f"sound left out: {error}")

    def write(self, frame: np.ndarray, time_s: float) -> None:
        # One frame waits, since how long it is shown is known only from the next.
        if self._waiting is not None:
            self._encode(*self._waiting, time_s)
        self._waiting = frame.copy(), time_s

    def _encode(self, frame: np.ndarray, time_s: float, until_s: float) -> None:
        if any(after for _, after in self._padding):
            frame = np.pad(frame, self._padding, mode="edge")
        picture = _av_frame(frame).reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED, interpolation=_EXACT
        )
        if self._rate is None:
            picture.pts = round(time_s * _FILM_TICKS)
            self._durations[picture.pts] = max(1, round(until_s * _FILM_TICKS) - picture.pts)
        else:
            picture.pts = self._num
        picture.time_base = self._stream.codec_context.time_base
        self._num += 1
        self._mux_sound(until_s)
        self._mux(self._stream.encode(picture))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 1)
            self._container.mux(packet)

    def _mux_sound(self, until_s: float) -> None:
        """Little by little, so that neither stream waits in memory for the other."""
        if self._sound is None:
            return
        packets = self._sound.until(until_s)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.InvalidDataError, av.error.EOFError) as error:
                self.notes.append(f"sound ends at {until_s:.1f} s: {error}")
                self._sound = None
                return
            if packet is None:
                return
            self._container.mux(packet)

    def finish(self, end_s: float) -> None:
        if self._waiting is not None:
            self._encode(*self._waiting, end_s)
        self._mux(self._stream.encode(None))
        self._container.close()
        if self._stereo is not None and self._path.suffix.lower() != ".mkv":
            mark_mp4(self._path, self._stereo)

    def close(self) -> None:
        if self._sound is not None:
            self._sound.close()
        _close_quietly(self._container)


class Gif:
    """Looping GIF with a palette for each frame. Frames less than 0.02 s apart are left out."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.notes: list[str] = []
        self._container: Any = av.open(str(path), "w", format="gif")
        self._stream = _add_animation_stream(self._container, "gif", size, "pal8", _GIF_TICKS)
        self._graph, self._source = _palette_graph(size)
        self._waiting: tuple[np.ndarray, int] | None = None
        self._num_left_out = 0

    def write(self, frame: np.ndarray, time_s: float) -> None:
        tick = round(time_s * _GIF_TICKS)
        if self._waiting is not None:
            if tick - self._waiting[1] < _GIF_SHORTEST:
                self._num_left_out += 1
                return
            self._encode(*self._waiting, tick)
        self._waiting = frame.copy(), tick

    def _encode(self, frame: np.ndarray, tick: int, until: int) -> None:
        picture = _av_frame(frame).reformat(format="rgb24")
        picture.pts, picture.time_base = tick, Fraction(1, _GIF_TICKS)
        self._source.push(picture)
        coloured = self._graph.vpull()
        self._mux(self._stream.encode(coloured), until - tick)

    def _mux(self, packets: list[Any], duration: int) -> None:
        for packet in packets:
            packet.duration = duration
            self._container.mux(packet)

    def finish(self, end_s: float) -> None:
        if self._waiting is not None:
            tick = self._waiting[1]
            self._encode(*self._waiting, max(round(end_s * _GIF_TICKS), tick + _GIF_SHORTEST))
        self._mux(self._stream.encode(None), _GIF_SHORTEST)
        self._container.close()
        if self._num_left_out:
            self.notes.append(
                f"{self._num_left_out} frames left out: a GIF shows at most 50 a second"
            )

    def close(self) -> None:
        _close_quietly(self._container)


class WebP:
    """Looping animated WebP."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.notes: list[str] = []
        self._container: Any = av.open(str(path), "w", format="webp", options={"loop": "0"})
        self._stream = _add_animation_stream(
            self._container, "libwebp_anim", size, "yuv420p", _WEBP_TICKS
        )
        self._stream.options = {"quality": "85"}

    def write(self, frame: np.ndarray, time_s: float) -> None:
        picture = _av_frame(frame).reformat(
            format="yuv420p", dst_colorspace="ITU601", dst_color_range=_LIMITED,
            interpolation=_EXACT,
        )  # fmt: skip
        picture.pts, picture.time_base = round(time_s * _WEBP_TICKS), Fraction(1, _WEBP_TICKS)
        self._container.mux(self._stream.encode(picture))

    def finish(self, end_s: float) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def close(self) -> None:
        _close_quietly(self._container)


def as_fraction(fps: float) -> Fraction:
    """The rational frame rate meant by a float: 29.97002997 is 30000/1001."""
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if ntsc and abs(float(ntsc) - fps) < 1e-3 and abs(fps - round(fps)) > 1e-3:
        return ntsc
    return Fraction(fps).limit_denominator(10000)


def _av_frame(frame: np.ndarray) -> Any:
    """PyAV frame of uint8 [3, h, w] RGB."""
    _, height, width = frame.shape
    picture = av.VideoFrame(width, height, "gbrp")
    planes: Any = picture.planes
    for plane, values in zip(planes, (frame[1], frame[2], frame[0])):
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        rows[:, :width] = values
    return picture


def _add_animation_stream(
    container: Any, codec: str, size: tuple[int, int], pixel_format: str, ticks: int
) -> Any:
    stream = container.add_stream(codec, rate=ticks)
    stream.height, stream.width = size
    stream.pix_fmt = pixel_format
    stream.codec_context.time_base = Fraction(1, ticks)
    return stream


def _palette_graph(size: tuple[int, int]) -> tuple[Any, Any]:
    """Filter that gives each picture its own 256 colours, with a dither that keeps still."""
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(
        width=size[1], height=size[0], format="rgb24", time_base=Fraction(1, _GIF_TICKS)
    )
    split = graph.add("split")
    generate = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph, source


def _close_quietly(container: Any) -> None:
    """Closing an abandoned output tries to write its end; whether that works does not matter."""
    try:
        container.close()
    except (av.error.FFmpegError, OSError):
        return
