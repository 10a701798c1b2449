"""One window of a video, fitted to what a published model takes."""

from __future__ import annotations

from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.foundation.fit import from_model, to_model
from recam.completion.foundation.model import FoundationModel
from recam.completion.masked import fit_to_known
from recam.completion.pixels import from_signal, to_signal
from recam.completion.windows import cut
from recam.configs import CompleteConfig
from recam.types import PartialVideo, Progress, no_progress


class FitNote(UserWarning):
    """What was done to a video so that a model could take it."""


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


def fill_window(
    model: FoundationModel,
    piece: PartialVideo,
    config: CompleteConfig,
    seed: int,
    progress: Progress = no_progress,
) -> Tensor:
    """A window of at most model.max_frames, uint8 [t, 3, h, w]. Where all of it is known, it is not
    sent to the model.

    With the anchored sampler known pixels come back bit for bit and what was generated is fitted to
    them; with the stochastic one all pixels are the model's, as in the reference, and models of one
    noise level per token denoise what is known with the rest below a level of it (seed 2).
    """
    if config.sampler == "stochastic":
        return _complete_clip(model, piece, config, seed, progress)
    first, last = to_send(model, piece, config)
    out = piece.frames.clone()
    if last > first:
        sent = cut(piece, first, last)
        made = _complete_clip(model, sent, config, seed, progress)
        for t in range(len(sent)):  # one frame at a time: full size in float is large
            given, mask = to_signal(sent.frames[t]), sent.known[t]
            one = to_signal(made[t])[None, None]
            smooth = fit_to_known(one, given[None, None], mask[None, None, None].float())
            made[t] = from_signal(smooth[0, 0])
        out[first:last] = keep_known(sent, made)
    return out


def to_send(model: FoundationModel, piece: PartialVideo, config: CompleteConfig) -> tuple[int, int]:
    """(first, after the last) of a window's frames that the model need see: none where all is
    known; those with holes and hole_context beside them, by a model of any length that is told so;
    else all."""
    holes = (piece.known < 1).flatten(1).any(1).nonzero()[:, 0]
    if not len(holes):
        return 0, 0
    beside = config.foundation.hole_context
    if beside is None or model.padded_frames(1) > 1:
        return 0, len(piece)
    first = max(int(holes[0]) - beside, 0)
    return first, min(int(holes[-1]) + 1 + beside, len(piece))


def _complete_clip(
    model: FoundationModel, piece: PartialVideo, config: CompleteConfig, seed: int,
    progress: Progress,
) -> Tensor:  # fmt: skip
    """uint8 [t, 3, h, w], all of it the model's."""
    num, (height, width) = len(piece), piece.frames.shape[-2:]
    fit = model.fit(height, width, config.foundation.work_side)
    shown, known = to_model(piece.frames, piece.known, fit, model.padded_frames(num))
    steps = config.sampling_steps or model.steps
    stochastic = config.sampler == "stochastic"
    made = model.sample(shown[None], known[None], steps, seed, progress, stochastic)[0]
    return from_model(made, fit, num)
