"""The objective: denoise corrupted patches of a video of which the rest stays clean (seed 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.completion.backbone import Condition
from recam.completion.schedule import add_noise, residual_scale, spread_levels, training_levels
from recam.completion.transformer import VideoTransformer
from recam.configs import ObjectiveConfig

MAX_LEVEL_WEIGHT = 4.0
EASY = 0.002
"""Squared error, where frames span [-1, 1], that is as good as none (5.7 grey levels)."""
DOUBT = 0.5
"""Share of trust that evidence gets when it is denoised jointly (see Condition.doubted)."""


@dataclass(frozen=True)
class Batch:
    """Training clips with what is shown of them.

    target: [b, t, 3, h, w] in [-1, 1]. condition: the evidence, perhaps degraded, and its fills.
    joint: bool [b], True = denoise evidence too. scored: [b, t, 1, h, w], 0 where the target is
    not true and costs nothing.
    """

    target: Tensor
    condition: Condition
    joint: Tensor
    scored: Tensor


def masked_loss(
    model: VideoTransformer,
    batch: Batch,
    generator: torch.Generator,
    config: ObjectiveConfig,
    network: Callable[[Tensor, Tensor, Condition], Tensor] | None = None,
) -> Tensor:
    """Weighted squared error of the clean estimate over the tokens that were noised.

    Each token has its own level; clean ones (0) are the evidence and cost nothing. Unknown pixels
    weigh config.hole_weight times as much as known ones. Every sample counts alike, whatever its
    area and its difficulty: its error is in units of that of the mean of its fills (residual_std²
    where it is shown none). Else clips of which next to nothing is known would leave the small
    holes of a reshoot without a say; and PSNR counts ratios as well.
    ``network`` is the model as wrapped for compiling or several devices, if it is.
    """
    target, condition = batch.target, batch.condition
    b = len(target)
    withheld = torch.rand(b, generator=generator, device=target.device) < config.drop_condition
    condition = _withhold(condition, withheld)
    condition = replace(
        condition, known=condition.known * torch.where(batch.joint, DOUBT, 1.0).view(-1, 1, 1, 1, 1)
    )
    known_tokens = model.token_levels(batch.condition.known)
    own = config.own_levels if model.per_token_noise else 0.0
    grid = (known_tokens.shape[1], known_tokens.shape[2], known_tokens.shape[3])
    sigma = training_levels(b, grid, generator, config.pure_noise, own)
    if model.per_token_noise:
        clean = (known_tokens >= 1) & ~batch.joint.view(-1, 1, 1, 1)
        sigma = torch.where(clean, torch.zeros_like(sigma), sigma)
    s = spread_levels(sigma, target)
    noise = torch.randn(target.shape, generator=generator, device=target.device)
    x = torch.where(s == 0, condition.evidence, add_noise(target, noise, s))
    x0 = (model if network is None else network)(x, sigma, condition)
    std = model.config.residual_std
    level_weight = (std / residual_scale(s, std).clamp(min=1e-3)).square()
    weight = torch.where(batch.condition.known < 1, config.hole_weight, 1.0)
    weight = weight * batch.scored * (s > 0) * level_weight.clamp(max=MAX_LEVEL_WEIGHT)
    total = weight.flatten(1).sum(1)

    def mean_error(frames: Tensor) -> Tensor:
        error = (frames.float() - target).square().mean(2, keepdim=True)
        return (weight * error).flatten(1).sum(1) / total.clamp(min=1)

    usual = torch.full_like(total, std**2)
    if model.config.fills:
        usual = torch.where(withheld, usual, mean_error(batch.condition.fills.mean(1)))
    of_sample = mean_error(x0) / (usual + EASY)
    return of_sample.sum() / (total > 0).sum().clamp(min=1)


def _withhold(condition: Condition, withheld: Tensor) -> Condition:
    """Take channels and fills from some samples; their clean tokens stay."""
    keep = (~withheld).to(condition.known).view(-1, 1, 1, 1, 1)
    trust = None if condition.trust is None else condition.trust * keep[:, None]
    return Condition(
        condition.evidence, condition.known * keep, condition.fills * keep[:, None], trust
    )
