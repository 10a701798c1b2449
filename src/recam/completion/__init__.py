"""Completing partially observed videos: PartialVideo to Video."""

from __future__ import annotations

from recam.completion.windows import complete_windows
from recam.configs import CompleteConfig
from recam.types import PartialVideo, Progress, Video, no_progress, video_from_frames

__all__ = ["complete"]

DEFAULTS = CompleteConfig()


def complete(
    partial: PartialVideo, config: CompleteConfig = DEFAULTS, progress: Progress = no_progress
) -> Video:
    """Fill what is not known; what is (known == 1) stays bit for bit.

    Videos longer than ``config.window`` are done by windows whose overlap enters as known. Raises
    RecamError when nothing at all is known. The Video plays at 24 frames/s: a PartialVideo has no
    times of its own.
    """
    match config.model:
        case "none":
            frames = partial.frames * (partial.known[:, None] > 0)
        case "propagate":
            from recam.completion.propagate import propagate

            frames = complete_windows(propagate, partial, config.window, config.overlap, progress)
        case _:
            raise ValueError(f"unknown model {config.model!r}; expected propagate or none")
    return video_from_frames(frames)
