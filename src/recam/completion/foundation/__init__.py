"""Completion by published video models, through diffusers (the ``foundation`` extra)."""

from __future__ import annotations

import itertools
import warnings
from typing import Protocol

from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.foundation.fit import Fit, from_model, to_model
from recam.completion.foundation.published import MODELS
from recam.completion.masked import fit_to_known
from recam.completion.pixels import from_signal, to_signal
from recam.completion.windows import complete_windows
from recam.configs import CompleteConfig
from recam.types import PartialVideo, Progress, RecamError, Video, no_progress, video_from_frames

NAMES = tuple(MODELS)
"""The models here, as --model names them."""
PER_TOKEN = ("wan22", "ltx")
"""Those that take a noise level per token."""


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


class FitNote(UserWarning):
    """What was done to a video so that a model could take it."""


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
            raise ValueError(f"{config.model!r} is no foundation model; expected one of {NAMES}")
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
    _require_schedule(config)
    for name, value, least, most in [
        ("sampling-steps", config.sampling_steps, 1, 1000),
        ("overlap", config.overlap, 0, 10_000),
        ("seed", config.seed, -(2**40), 2**40),
        ("work-side", options.work_side, 1, 100_000),
        ("guidance", options.guidance, 0, 1000),
        ("shift", options.shift, 1e-3, 1000),
        ("cache-threshold", options.cache_threshold, 0, 1000),
        ("adapt-minutes", config.adapt_minutes, 0, 1e9),
        ("adapt-steps", options.adapt_steps, 1, 10**9),
        ("adapt-devices", options.adapt_devices, 1, 1000),
    ]:
        if value is not None and not least <= value <= most:
            raise ValueError(f"--{name} must lie between {least} and {most}, got {value}")


def _require_schedule(config: CompleteConfig) -> None:
    schedule, model = config.foundation.schedule, config.model
    if model == "cogvideox" and (schedule == "euler" or config.foundation.shift is not None):
        raise ValueError("--schedule euler and --shift are of wan22, vace and ltx, not cogvideox")
    if schedule == "ddim" and model != "cogvideox":
        raise ValueError(f"--schedule ddim is of cogvideox; {model} has own, euler and unipc")
    takes = ("own", "euler") if model == "ltx" else ("euler",)
    if config.sampler == "stochastic" and model in PER_TOKEN and schedule not in takes:
        raise ValueError(
            f"--sampler stochastic re-noises, which {model} can with --schedule "
            f"{' or '.join(takes)}; got {schedule}"
        )


def complete_foundation(
    model: FoundationModel,
    partial: PartialVideo,
    config: CompleteConfig,
    progress: Progress = no_progress,
) -> Video:
    """Fill what is not known, by the model; any length, size and aspect.

    Longer videos go by windows that share frames (see ``window_overlap``); sizes and lengths
    that the model does not take are fitted to it, and a FitNote says how. With the anchored sampler
    known pixels come back bit for bit and what was generated is fitted to them; with the stochastic
    one all pixels are the model's, as in the reference, and models of one noise level per token
    denoise what is known with the rest below a level of it (seed 2). 24 frames/s. Raises RecamError
    when nothing is known.
    """
    height, width = partial.frames.shape[-2:]
    fit = model.fit(height, width, config.foundation.work_side)
    stochastic = config.sampler == "stochastic"
    overlap, blend = window_overlap(model, config.overlap, stochastic)
    for note in (fit.describe(), describe_length(model, len(partial), overlap)):
        if note:
            warnings.warn(note, FitNote, stacklevel=2)
    windows = itertools.count()

    def fill(piece: PartialVideo, progress: Progress) -> Tensor:
        # Every window has noise of its own.
        seed = config.seed * 1_000_003 + next(windows)
        return _complete_clip(model, piece, fit, config, seed, progress)

    frames = complete_windows(fill, partial, model.max_frames, overlap, progress, blend)
    return video_from_frames(frames)


def describe_length(model: FoundationModel, num: int, overlap: int) -> str:
    """How a video of ``num`` frames becomes clips that the model takes; "" when it is one."""
    if num > model.max_frames:
        return f"{num} frames go by windows of {model.max_frames} that share {overlap}"
    padded = model.padded_frames(num)
    return f"{num} frames padded to {padded} for the model" if padded != num else ""


def window_overlap(
    model: FoundationModel, wanted: int, stochastic: bool = False
) -> tuple[int, int]:
    """(frames that two windows share, those of them that are filled twice and cross-faded).

    A model with noise per token takes the shared frames as clean tokens, so that they are rounded
    up to whole ones and nothing needs blending. The others, and all by the stochastic sampler, see
    them as evidence that they may answer with a jump: half of them are cross-faded.
    """
    if wanted <= 0:
        return 0, 0
    if model.per_token_noise and not stochastic:
        return min(model.padded_frames(wanted), model.max_frames - 1), 0
    overlap = min(wanted, model.max_frames - 1)
    return overlap, overlap // 2


def _complete_clip(
    model: FoundationModel,
    piece: PartialVideo,
    fit: Fit,
    config: CompleteConfig,
    seed: int,
    progress: Progress,
) -> Tensor:
    """uint8 [t, 3, h, w]."""
    num = len(piece)
    shown, known = to_model(piece.frames, piece.known, fit, model.padded_frames(num))
    steps = config.sampling_steps or model.steps
    stochastic = config.sampler == "stochastic"
    made = model.sample(shown[None], known[None], steps, seed, progress, stochastic)[0]
    filled = from_model(made, fit, num)
    if stochastic:
        return filled
    for t in range(num):  # one frame at a time: full size in float is large
        given, mask = to_signal(piece.frames[t]), piece.known[t]
        one = to_signal(filled[t])[None, None]
        smooth = fit_to_known(one, given[None, None], mask[None, None, None].float())
        filled[t] = from_signal(smooth[0, 0])
    return keep_known(piece, filled)
