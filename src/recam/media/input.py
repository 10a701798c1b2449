"""The part of a source that a run's options choose."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from recam.configs import InputConfig
from recam.media.convert import fitted_size
from recam.media.pictures import pictures_at
from recam.media.read import read_video
from recam.media.source import part_of, probe
from recam.runtime.memory import (
    BASE_BYTES,
    PICTURE_BYTES,
    bytes_while_completed,
    memory_bytes,
    window_room,
)
from recam.types import Progress, RecamError, SourcePart, Video, no_progress

MOST_FRAMES, LEAST_FRAMES = 56, 6
"""Of a window: as many as are completed together by default, and where there is no memory."""
MAX_MEMORY_SHARE = 0.9


def memory_needed(height: int, width: int, num_frames: int | None = None) -> int:
    """About the largest memory, in bytes, that a reshoot of so many frames takes; None = many.

    Within 30 % of what was measured (docs/results/speed.md, Memory).
    """
    frames = MOST_FRAMES if num_frames is None else min(num_frames, MOST_FRAMES)
    pixels = height * width
    window = frames * bytes_while_completed(pixels)
    if frames > LEAST_FRAMES:
        window = min(window, max(window_room(pixels), LEAST_FRAMES * bytes_while_completed(pixels)))
    return BASE_BYTES + PICTURE_BYTES * pixels + window


def read_input(source: Path, config: InputConfig, progress: Progress = no_progress) -> Video:
    """The part of a video that the options choose; what had to be done to it is a MediaWarning."""
    return read_video(
        source,
        start=config.start,
        num_frames=config.num_frames,
        stride=config.stride,
        max_side=config.max_side,
        progress=progress,
    )


def source_part(source: Path, config: InputConfig, num_frames: int) -> SourcePart:
    """Which frames of its source ``read_input`` took, and what these are called."""
    start, stride = config.start, config.stride
    whole = start == 0 and stride == 1 and config.num_frames is None
    return part_of(source, None if whole else start + stride * torch.arange(num_frames))


def files_of(source: Path) -> list[Path]:
    """A file or folder itself; the files of a pattern like ``shots/*.color.png``. Raises RecamError
    where nothing is there."""
    files = [source] if source.exists() else pictures_at(source)
    if files is None:
        raise RecamError(f"{source}: no such file or folder")
    return files


def check_memory(source: Path, config: InputConfig) -> None:
    """Raise RecamError now, rather than be killed after minutes, for pictures so large that the
    memory will not do."""
    memory = memory_bytes()
    if memory is None:
        return  # a system that does not say
    info = probe(source)
    height, width = fitted_size(info.height, info.width, config.max_side)
    # Windows shrink before anything fails (completion/windows.py).
    frames = min(config.num_frames or info.num_frames or LEAST_FRAMES, LEAST_FRAMES)
    needed = memory_needed(height, width, frames)
    room = MAX_MEMORY_SHARE * memory
    if needed <= room:
        return
    what = f"{source}: pictures of {width}×{height} take about {needed / 1e9:.1f} GB"
    there = f"{memory / 1e9:.1f} GB are there (of the machine, or by a limit on this process)"
    if room <= BASE_BYTES:
        least = BASE_BYTES / MAX_MEMORY_SHARE / 1e9
        raise RecamError(f"{what}; {there}. However small they are, {least:.1f} GB are needed")
    fits = math.sqrt((room - BASE_BYTES) / (needed - BASE_BYTES))
    side = int(fits * max(height, width)) // 16 * 16
    while side > 16 and memory_needed(*fitted_size(height, width, side), frames) > room:
        side -= 16  # the working size does not shrink with the picture
    raise RecamError(f"{what}; {there}. Give --max-side {max(side, 16)}")
