"""One window of a video, fitted to what a published model takes."""

from __future__ import annotations

from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.foundation.fit import from_model, to_model
from recam.completion.foundation.model import FoundationModel
from recam.completion.masked import fit_to_known
from recam.completion.pixels import from_signal, to_signal
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
    """A window of at most model.max_frames, uint8 [t, 3, h, w].

    With the anchored sampler known pixels come back bit for bit and what was generated is fitted to
    them; with the stochastic one all pixels are the model's, as in the reference, and models of one
    noise level per token denoise what is known with the rest below a level of it (seed 2).
    """
    num, (height, width) = len(piece), piece.frames.shape[-2:]
    fit = model.fit(height, width, config.foundation.work_side)
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
