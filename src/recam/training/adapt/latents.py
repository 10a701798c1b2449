"""What adapting a foundation model learns from: pairs of a video, encoded once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.completion.foundation import FoundationModel
from recam.completion.foundation.cogvideox import CogVideoX, encode, encode_spread
from recam.completion.foundation.fit import min_share, to_model
from recam.completion.foundation.flow import FlowVideo, filled
from recam.training.adapt.examples import hide_more
from recam.training.adapt.loop import num_learned
from recam.types import Pair, PartialVideo, Progress, RecamError, no_progress

CONDITION_NOISE = (-3.0, 0.5)
"""Mean and deviation of the logarithm of the noise on CogVideoX's condition, as it was trained."""
FIRST_DRAWS, CONDITION_DRAWS = 2, 8
"""How many times each condition is encoded, with noise of its own each time: at first, and when
there is time for more. The reference encodes anew at every step."""


@dataclass(frozen=True)
class LatentExample:
    """A pair as a model sees it, on the CPU. Latents are [1, t', c, h', w'].

    target, spread: mean and deviation of the latents of what is true (spread 0: no draw).
    beside: what enters beside the noise or, of models with a time per token, in place of it where
    tokens are clean; one or several encodings of the same. clean: bool per token [1, t, h, w].
    learn, check: 0 or 1 per latent [1, t', 1, h', w']: what training scores, and what the
    held-back check does, which are the holes of the last frames.
    """

    target: Tensor
    spread: Tensor
    beside: tuple[Tensor, ...]
    clean: Tensor
    learn: Tensor
    check: Tensor


def encode_latents(
    model: FoundationModel,
    pairs: Iterable[Pair],
    max_side: int | None = None,
    seed: int = 0,
    seconds: float = float("inf"),
    progress: Progress = no_progress,
) -> list[LatentExample]:
    """Examples of pairs (of ``make_pairs``). Stops early, with three or more, when so many seconds
    are over. max_side: longer side that models of free size work at; None is the model's own."""
    full = (
        (pair.partial, pair.target.frames, torch.ones_like(pair.partial.known)) for pair in pairs
    )
    return _encode_all(model, full, max_side, seed, seconds, progress)


def encode_hidden_latents(
    model: FoundationModel,
    partial: PartialVideo,
    num: int,
    max_side: int | None = None,
    seed: int = 0,
    seconds: float = float("inf"),
    progress: Progress = no_progress,
) -> list[LatentExample]:
    """Examples from the known pixels of a partial video alone, of which more is hidden.

    Raises RecamError when nothing is known.
    """
    if not bool((partial.known > 0.999).any()):
        raise RecamError("nothing in the video is known, so there is nothing to adapt to")
    hidden = hide_more(partial, num, torch.Generator().manual_seed(seed))
    return _encode_all(model, hidden, max_side, seed, seconds, progress)


def _encode_all(
    model: FoundationModel,
    parts: Iterable[tuple[PartialVideo, Tensor, Tensor]],
    max_side: int | None,
    seed: int,
    seconds: float,
    progress: Progress,
) -> list[LatentExample]:
    until = time.monotonic() + seconds
    generator = torch.Generator().manual_seed(seed)
    examples: list[tuple[LatentExample, Tensor | None]] = []
    for shown, target, scored in parts:
        examples.append(encode_example(model, shown, target, scored, max_side, generator))
        progress("encoding examples", len(examples), len(examples) + 1)
        if len(examples) >= 3 and time.monotonic() > until:
            return [example for example, _ in examples]
    for _ in range(FIRST_DRAWS, CONDITION_DRAWS):
        for i, (example, condition) in enumerate(examples):
            if condition is None or time.monotonic() > until:
                continue
            assert isinstance(model, CogVideoX)  # no other has conditions
            again = _condition(model, condition, generator).cpu()
            examples[i] = (replace(example, beside=(*example.beside, again)), condition)
    return [example for example, _ in examples]


def _condition(model: CogVideoX, shown: Tensor, generator: torch.Generator) -> Tensor:
    """Latents of a noisy condition, of 8-bit frames [1, t, 3, h, w] of the model's size."""
    return encode(model, _noisy(shown / 127.5 - 1, generator), generator)


def encode_example(
    model: FoundationModel,
    partial: PartialVideo,
    target: Tensor,
    scored: Tensor,
    max_side: int | None,
    generator: torch.Generator,
) -> tuple[LatentExample, Tensor | None]:
    """One example, and what more draws of its condition are made of (see ``_condition``), where a
    model takes them. target: uint8 [t, 3, h, w]; scored: [t, h, w], 1 where it is true."""
    num, _, height, width = target.shape
    fit, frames = model.fit(height, width, max_side), model.padded_frames(num)
    shown, known = to_model(partial.frames, partial.known, fit, frames)
    whole, _ = to_model(target, torch.ones_like(scored), fit, frames)
    _, true = to_model(target, scored, fit, frames)
    shown, known, whole, true = (part[None] for part in (shown, known, whole, true))
    condition = None
    if isinstance(model, CogVideoX):
        mean, spread = encode_spread(model, whole)
        condition = shown.add(1).mul(127.5).round().to(torch.uint8)
        beside = tuple(_condition(model, condition, generator) for _ in range(FIRST_DRAWS))
        clean = torch.zeros_like(model.token_levels(known), dtype=torch.bool)
    elif isinstance(model, FlowVideo):
        mean, spread = model.encode_spread(whole)
        spread = spread * model.family.draws
        if model.per_token_noise:
            beside = (model.encode(filled(shown, known)),)
            clean = model.token_levels(known) >= 1
        else:
            beside = (model.control_latents(shown, known),)
            clean = torch.zeros_like(model.token_levels(known), dtype=torch.bool)
    else:
        raise ValueError(f"cannot adapt a {type(model).__name__}; expected CogVideoX or FlowVideo")
    first, late = _when(num, frames, model.time)
    truth = min_share(true, model.space, model.time)[:, :, None]
    hole = (min_share(known, model.space, model.time) < 1).float()[:, :, None]
    parts = (mean, spread, *beside, clean, truth * first, truth * hole * late)
    mean, spread, *given, clean, learn, check = (part.cpu() for part in parts)
    return LatentExample(mean, spread, tuple(given), clean, learn, check), condition


def _noisy(shown: Tensor, generator: torch.Generator) -> Tensor:
    mean, deviation = CONDITION_NOISE
    sigma = (mean + deviation * torch.randn((), generator=generator)).exp()
    return shown + sigma * torch.randn(shown.shape, generator=generator)


def _when(num: int, padded: int, time: int) -> tuple[Tensor, Tensor]:
    """Latents [1, t', 1, 1, 1] wholly of frames that are learned from, and those with any frame
    that is held back; of repeated frames neither."""
    frame = torch.arange(padded)
    learned = frame < num_learned(num)
    late = ~learned & (frame < num)

    def of_latents(frames: Tensor, every: bool) -> Tensor:
        rest = frames[1:].unflatten(0, (-1, time))
        rest = rest.all(1) if every else rest.any(1)
        return torch.cat([frames[:1], rest]).float().view(1, -1, 1, 1, 1)

    return of_latents(learned, True), of_latents(late, False)
