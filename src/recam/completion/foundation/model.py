"""What completing a video needs of a published model, and how one is loaded."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recam.completion.foundation.fit import Fit
from recam.completion.foundation.published import MODELS
from recam.configs import CompleteConfig
from recam.types import Progress, RecamError, no_progress

PER_TOKEN = ("wan22", "ltx")
"""Models that take a noise level per token."""


class FoundationModel(Protocol):
    """What completing a video needs of a model; see cogvideox.CogVideoX."""

    steps: int
    per_token_noise: bool
    source: CompleteConfig | None
    """What it was loaded by, so that other processes can load it again."""

    @property
    def max_frames(self) -> int:
        """Frames of the longest clip that it completes at once."""
        ...

    def padded_frames(self, num: int) -> int:
        """How many frames a clip of ``num`` is padded to."""
        ...

    def fit(self, height: int, width: int, max_side: int | None) -> Fit:
        """How a video's size becomes the model's. max_side: None is the model's own."""
        ...

    def sample(
        self,
        shown: Tensor,
        known: Tensor,
        steps: int,
        seed: int,
        progress: Progress = no_progress,
        stochastic: bool = False,
    ) -> Tensor:
        """Completed frames [b, t, 3, h, w] in [-1, 1], on the CPU.

        shown: as completed, -1 where not known. known: [b, t, 1, h, w], 0 or 1. stochastic: what is
        known is denoised too in the end; models that take it as a condition always do that.
        """
        ...


def load_foundation(config: CompleteConfig) -> FoundationModel:
    """The model that a config names, with its weights. Raises RecamError when there are none."""
    require_weights(config)
    assert config.weights is not None
    model: FoundationModel
    match config.model:
        case "cogvideox":
            from recam.completion.foundation.cogvideox import load_cogvideox

            model = load_cogvideox(config.weights, config.foundation)
        case "wan22" | "vace":
            from recam.completion.foundation.wan import load_wan

            model = load_wan(config.model, config.weights, config.foundation)
        case "ltx":
            from recam.completion.foundation.ltx import load_ltx

            model = load_ltx(config.weights, config.foundation)
        case _:
            raise ValueError(
                f"{config.model!r} is no foundation model; expected one of {', '.join(MODELS)}"
            )
    model.source = config
    return model


def require_weights(config: CompleteConfig) -> None:
    """Raise RecamError now rather than after minutes when no weights are named, ValueError when an
    option is one that the model cannot take."""
    if config.weights is None:
        raise RecamError(
            f"--model {config.model} needs --weights FOLDER_OR_HUB_NAME, such as "
            f"{MODELS[config.model].weights} (tens of gigabytes; see docs/backbones.md)"
        )
    options = config.foundation
    _require_options_fit(config)
    for name, value, least, most in [
        ("sampling-steps", config.sampling_steps, 1, 1000),
        ("overlap", config.overlap, 0, 10_000),
        ("seed", config.seed, -(2**40), 2**40),
        ("work-side", options.work_side, 1, 100_000),
        ("guidance", options.guidance, 0, 1000),
        ("shift", options.shift, 1e-3, 1000),
        ("cache-threshold", options.cache_threshold, 0, 1000),
        ("keep-known", options.keep_known, 1, 1000),
        ("hole-context", options.hole_context, 0, 10_000),
        ("adapt-minutes", config.adapt_minutes, 0, 1e9),
        ("adapt-steps", options.adapt_steps, 1, 10**9),
        ("adapt-devices", options.adapt_devices, 1, 1000),
    ]:
        if value is not None and not least <= value <= most:
            raise ValueError(f"--{name} must lie between {least} and {most}, got {value}")


def _require_options_fit(config: CompleteConfig) -> None:
    schedule, model = config.foundation.schedule, config.model
    if model == "cogvideox" and (schedule == "euler" or config.foundation.shift is not None):
        raise ValueError("--schedule euler and --shift are of wan22, vace and ltx, not cogvideox")
    if schedule == "ddim" and model != "cogvideox":
        raise ValueError(f"--schedule ddim is of cogvideox; {model} has own, euler and unipc")
    if config.foundation.keep_known > 1 and model not in PER_TOKEN:
        raise ValueError(f"--keep-known is of wan22 and ltx; {model} computes all tokens together")
    if config.foundation.keep_known > 1 and config.foundation.feature_cache != "none":
        raise ValueError("--keep-known and --feature-cache leave out the same work; give one")
    if config.foundation.keep_known > 1 and config.foundation.compile:
        raise ValueError("--keep-known looks into the blocks, which --compile closes; give one")
    takes = ("own", "euler") if model == "ltx" else ("euler",)
    if config.sampler == "stochastic" and model in PER_TOKEN and schedule not in takes:
        raise ValueError(
            f"--sampler stochastic re-noises, which {model} can with --schedule "
            f"{' or '.join(takes)}; got {schedule}"
        )
