"""Completing partially observed videos: PartialVideo to Video."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from recam.completion.backbone import Backbone
from recam.completion.weights import chosen, find_weights, load_model
from recam.completion.windows import complete_windows, fitting_window, shrunk_to_fit
from recam.configs import CompleteConfig, SamplingConfig
from recam.types import PartialVideo, Progress, Video, no_progress, video_from_frames

if TYPE_CHECKING:
    from recam.completion.foundation import FoundationModel

__all__ = ["complete", "sampling_config"]

DEFAULTS = CompleteConfig()
BLENDED = 0.75
"""Share of the frames carried over into a window that are filled again and cross-faded."""


def complete(
    partial: PartialVideo,
    config: CompleteConfig = DEFAULTS,
    progress: Progress = no_progress,
    model: Backbone | FoundationModel | None = None,
) -> Video:
    """Fill what is not known; what is (known == 1) stays bit for bit, unless the stochastic sampler
    was asked for.

    Videos longer than ``config.window`` (or than memory takes, of large pictures) are done by
    windows whose overlap enters as known.
    ``model`` is used where config.model is "masked" or a foundation model's name; by default the
    weights that the config names are loaded, unadapted. Raises RecamError when nothing at all is
    known or there are no weights.
    The Video plays at 24 frames/s: a PartialVideo has no times of its own.
    """
    config = chosen(config)
    match config.model:
        case "none":
            frames = partial.frames * (partial.known[:, None] > 0)
        case "propagate":
            from recam.completion.flow_propagation import propagate
            from recam.completion.temporal_filter import steady_fill

            height, width = partial.frames.shape[2:]
            new = config.window - config.overlap
            new, overlap = fitting_window(new, config.overlap, height, width)
            fill = steady_fill(shrunk_to_fit(propagate), config.steady or 0)
            frames = complete_windows(
                fill, partial, new + overlap, overlap, progress, int(BLENDED * overlap)
            )
        case "masked":
            from recam.completion.masked import complete_masked

            if model is None:
                model = load_model(find_weights(config.weights))
            masked = cast("Backbone", model)
            return complete_masked(masked, partial, sampling_config(config), progress)
        case "cogvideox" | "wan22" | "ltx" | "vace":
            from recam.completion.foundation import complete_foundation, load_foundation

            published = cast("FoundationModel", model) if model else load_foundation(config)
            return complete_foundation(published, partial, config, progress)
        case _:
            raise ValueError(f"unknown model {config.model!r}; expected one of CompletionModel")
    return video_from_frames(frames)


def sampling_config(config: CompleteConfig) -> SamplingConfig:
    """The part of a CompleteConfig that the masked model's sampler takes."""
    return SamplingConfig(
        sampler=config.sampler, steps=config.sampling_steps or 1, max_side=config.model_side,
        steady=config.steady or 0, window=config.window, overlap=config.overlap, seed=config.seed,
    )  # fmt: skip
