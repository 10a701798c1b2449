"""How well holes are filled on clips that no training saw, and how well classical methods do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recam.completion.baselines import fill_hold_nearest, fill_navier_stokes, fill_telea
from recam.completion.fills import fills_to_signal, make_condition, pick, search_fills
from recam.completion.flow_propagation import propagate
from recam.completion.pixels import from_signal, pad, padding_to, to_signal, unpad
from recam.completion.pull_push import pull_push
from recam.completion.samplers import sample_single_step
from recam.completion.transformer import VideoTransformer
from recam.configs import SEARCHED
from recam.training.data import FilledPair
from recam.training.layered import layered_clips
from recam.training.masks import Size
from recam.training.optim import bf16
from recam.types import Pair, PartialVideo, video_from_frames

HELDOUT_SEED = 2**40
"""Far from the seeds of training batches."""


def hole_psnr(frames: Tensor, target: Tensor, known: Tensor) -> float:
    """PSNR in dB over pixels with known < 0.5. frames, target uint8 [t, 3, h, w]; NaN = no hole."""
    hole = known < 0.5
    if not bool(hole.any()):
        return float("nan")
    error = (frames.float() - target.float()).square().mean(1)[hole].mean()
    return float(10 * torch.log10(255.0**2 / error.clamp(min=1e-4)))


def layered_pairs(size: Size, seed: int = HELDOUT_SEED) -> list[Pair]:
    """Held-out synthetic clips with reprojected holes."""
    clips = layered_clips(size, torch.Generator().manual_seed(seed))
    pairs = []
    for frames, known in zip(from_signal(clips.frames), clips.known[:, :, 0]):
        partial = PartialVideo(frames * (known > 0)[:, None], known)
        pairs.append(Pair(partial, video_from_frames(frames)))
    return pairs


CLASSICAL: dict[str, Callable[[PartialVideo], Tensor]] = {
    "hold nearest": fill_hold_nearest,
    "Telea": fill_telea,
    "Navier-Stokes": fill_navier_stokes,
    "pull-push": pull_push,
    "propagate": propagate,
}
"""The methods that need no model."""


@dataclass(frozen=True)
class Heldout:
    """Clips, the searched fills of each, and the mean hole PSNR of each classical method."""

    pairs: Sequence[Pair]
    filled: Sequence[Tensor]
    classical: dict[str, float]

    @property
    def best(self) -> tuple[str, float]:
        """The best classical method and its hole PSNR."""
        name = max(self.classical, key=lambda n: self.classical[n])
        return name, self.classical[name]


def hold_out(pairs: Sequence[Pair]) -> Heldout:
    """Fill every pair by every classical method, once; those that are filled already keep their
    fills, which may have been searched for in more frames, and with depth."""
    searched = [p.filled if isinstance(p, FilledPair) else search_fills(p.partial) for p in pairs]
    results = {name: [fill(p.partial) for p in pairs] for name, fill in CLASSICAL.items()}
    results["propagate"] = [f[SEARCHED.index("propagate"), :, :3] for f in searched]
    scores = {
        name: _mean([hole_psnr(f, p.target.frames, p.partial.known) for f, p in zip(filled, pairs)])
        for name, filled in results.items()
    }
    return Heldout(pairs, searched, scores)


def model_psnr(
    model: VideoTransformer, pairs: Sequence[Pair], filled: Sequence[Tensor] | None = None
) -> float:
    """Mean hole PSNR of the model's single-step answer, at the pairs' own size.

    filled: all searched fills of each (``search_fills``), when they are known already.
    """
    if filled is None:
        filled = [search_fills(p.partial) for p in pairs]
    return _mean([_psnr_of(model, pair, start) for pair, start in zip(pairs, filled)])


def _psnr_of(model: VideoTransformer, pair: Pair, filled: Tensor) -> float:
    return hole_psnr(answer(model, pair, filled), pair.target.frames, pair.partial.known)


def answer(model: VideoTransformer, pair: Pair, filled: Tensor) -> Tensor:
    """The model's single-step answer, uint8 [t, 3, h, w]; filled: the pair's searched fills."""
    device = model.device
    frames = to_signal(pair.partial.frames)[None].to(device)
    known = pair.partial.known[None, :, None].to(device)
    given = fills_to_signal(pick(filled, model.config.fills))[None].to(device)
    condition = make_condition(frames, known, model.config.fills, given)
    padding = padding_to(frames.shape[-2], frames.shape[-1], model.pixel_multiple)
    condition = condition.each(lambda part: pad(part, padding))
    clean = model.token_levels(condition.known) >= 1
    with torch.no_grad(), bf16(device):
        x0 = unpad(sample_single_step(model, condition.evidence, clean, condition), padding)
    return from_signal(x0[0].cpu())


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if v == v]
    return sum(kept) / len(kept) if kept else float("nan")
