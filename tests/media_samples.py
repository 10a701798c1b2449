"""Small film files made for the media tests, in every codec and tagging they need."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


def moving_frames(num: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [num, 3, height, width]: a smooth coloured pattern that drifts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    phase = rng.uniform(0, 2 * np.pi, (3, 3))
    frames = np.empty((num, 3, height, width), np.uint8)
    for t in range(num):
        for c in range(3):
            wave = (
                np.sin(2 * np.pi * (x - 2 * t) / (0.7 * width + 20) + phase[c, 0])
                + np.sin(2 * np.pi * (y + t) / (0.9 * height + 20) + phase[c, 1])
                + 0.5 * np.sin(0.3 * t + phase[c, 2])
            )
            frames[t, c] = 128 + 45 * wave
    return frames


def psnr(a: Any, b: Any) -> float:
    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def encode_film(
    path: Path,
    frames: np.ndarray | list[av.VideoFrame],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    *,
    fps: int = 25,
    pts: list[int] | None = None,
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,
    rotation_deg: int | None = None,
    container_options: dict[str, str] | None = None,
    flags: int = 0,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Writes uint8 [t, 3, h, w] (or ready PyAV frames) with plain PyAV, not with recam's writer.

    tags: colour matrix, range, transfer, primaries, as FFmpeg's numbers.
    pts: presentation times in ticks of 1 / fps.
    """
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        first = frames[0]
        size = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[1:]
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.options = options or {}
        context = stream.codec_context
        context.flags |= flags
        if tags is not None:
            (context.colorspace, context.color_range) = tags[:2]
            context.color_trc, context.color_primaries = tags[2:]
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if rotation_deg is not None:
            stream.set_display_rotation(rotation_deg)
        for index, frame in enumerate(frames):
            if not isinstance(frame, av.VideoFrame):
                packed = np.ascontiguousarray(frame.transpose(1, 2, 0))
                kind = "rgba" if packed.shape[2] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(packed, format=kind)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def yuv_frame(planes: list[np.ndarray], pixel_format: str) -> av.VideoFrame:
    """A PyAV frame with exactly these sample values."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, planes):
        dtype = np.uint16 if planes[0].dtype == np.uint16 else np.uint8
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        rows[:, : values.shape[1]] = values
    return frame


def encode_tone(path: Path, codec: str, *, duration_s: float = 3.0, with_film: bool = True) -> Path:
    """A 440 Hz tone whose loudness grows linearly from 0 to 0.8, so that a place in it is known by
    its loudness; with a 25 fps film of 64×48 unless told otherwise."""
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    rate = 48000
    time_s = np.arange(int(duration_s * rate)) / rate
    wave = (0.8 * time_s / duration_s * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    with av.open(str(path), "w") as container:
        film = None
        if with_film:
            film = container.add_stream("libx264", rate=25)
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="stereo")
        for frame in moving_frames(int(duration_s * 25), 48, 64) if film is not None else ():
            packed = np.ascontiguousarray(frame.transpose(1, 2, 0))
            container.mux(film.encode(av.VideoFrame.from_ndarray(packed, format="rgb24")))
        if film is not None:
            container.mux(film.encode(None))
        for begin in range(0, len(wave), 1024):
            piece = np.stack([wave[begin : begin + 1024]] * 2)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def loudness(path: Path, at_s: float) -> float:
    """Peak amplitude of a film's sound in the 40 ms around ``at_s`` on its own clock."""
    peak = 0.0
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        resampler = av.AudioResampler("fltp", "stereo", 48000)
        for frame in container.decode(audio=0):
            begin_s = frame.time - origin
            samples = np.concatenate([f.to_ndarray()[0] for f in resampler.resample(frame)] or [[]])
            times_s = begin_s + np.arange(len(samples)) / 48000
            near = np.abs(times_s - at_s) < 0.02
            if near.any():
                peak = max(peak, float(np.abs(samples[near]).max()))
    return peak
