"""From noise to a completed latent: plain functions over a Backbone.

Symbols: x noisy latent, x0 its clean estimate, s a noise level (see schedule.py), e the evidence.
Latents are [b, t', c, h', w'], levels and masks of tokens [b, t, h, w].
"""

from __future__ import annotations

import torch
from torch import Tensor

from recam.completion.backbone import Backbone, Condition
from recam.completion.schedule import add_noise, implied_noise, spread_levels
from recam.types import Progress, no_progress


class SeededNoise:
    """Standard normal noise [b, …] of which sample i depends on its own seed alone.

    Drawn on the CPU, so that a seed gives the same noise on every device and in every batch.
    """

    def __init__(self, seeds: list[int], like: Tensor) -> None:
        if len(seeds) != like.shape[0]:
            raise ValueError(f"{len(seeds)} seeds for a batch of {like.shape[0]}")
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.like = like

    def draw(self) -> Tensor:
        shape = self.like.shape[1:]
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.like)


def sample_anchored(
    backbone: Backbone,
    evidence: Tensor,
    clean: Tensor,
    condition: Condition | None,
    seeds: list[int],
    levels: Tensor,
    eta: float = 0.0,
    progress: Progress = no_progress,
) -> Tensor:
    """Denoise what is not clean; evidence stays as it is throughout ("mask by noising", seed 2).

    evidence: latent, read where clean. clean: bool per token. levels: from ``sampling_levels``.
    A backbone without per-token noise gets the evidence at the level of the rest instead
    (replacement, as in RePaint, Lugmayr et al. 2022). Returns the clean latent, in which clean
    tokens are the evidence exactly.
    """
    levels_out = len(levels) - 1
    return _denoise_from(
        backbone, evidence, clean, (condition, condition), seeds, levels, levels_out, eta, progress
    )


def sample_stochastic(
    backbone: Backbone,
    evidence: Tensor,
    clean: Tensor,
    condition: Condition | None,
    joint_condition: Condition | None,
    seeds: list[int],
    levels: Tensor,
    threshold: float,
    eta: float = 0.0,
    progress: Progress = no_progress,
) -> Tensor:
    """Stochastic conditioning (seed 2): evidence is clean while the level is above ``threshold``,
    then is re-noised to the level of the rest, and everything is denoised jointly.

    So what is wrong in the evidence below the scale of that noise is corrected by the model.
    Arguments as in ``sample_anchored``; joint_condition is used after the switch. The switch
    happens at the first level ≤ threshold; a schedule that has none above 0 gets one inserted.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    below = (levels <= threshold).nonzero()[0, 0]
    if levels[below] == 0:
        levels = torch.cat([levels[:below], levels.new_tensor([threshold]), levels[below:]])
    both = (condition, joint_condition)
    return _denoise_from(backbone, evidence, clean, both, seeds, levels, int(below), eta, progress)


def sample_single_step(
    backbone: Backbone, evidence: Tensor, clean: Tensor, condition: Condition | None
) -> Tensor:
    """One pass from pure noise: the mean of what could be there. Needs no seed, since a backbone's
    estimate at level 1 ought not to depend on the noise; it is given none."""
    sigma = (~clean).to(evidence.dtype)
    if not backbone.per_token_noise:
        sigma = torch.ones_like(sigma)
    s = spread_levels(sigma, evidence)
    x0 = backbone.denoise(evidence * (1 - s), sigma, condition)
    return torch.where(spread_levels(clean, evidence), evidence, x0)


def _denoise_from(
    backbone: Backbone,
    evidence: Tensor,
    clean: Tensor,
    conditions: tuple[Condition | None, Condition | None],
    seeds: list[int],
    levels: Tensor,
    switch: int,
    eta: float,
    progress: Progress,
) -> Tensor:
    """The loop of both samplers: evidence is clean before step ``switch``, noisy from it on."""
    noise = SeededNoise(seeds, evidence)
    is_clean = spread_levels(clean, evidence)
    noisy_tokens = (~clean).to(evidence.dtype)
    x = noise.draw()
    x0 = x
    num_steps = len(levels) - 1
    for i in range(num_steps):
        s, s_next = (levels[j].to(evidence) for j in (i, i + 1))
        joint = i >= switch
        if joint and i == switch:
            x = torch.where(is_clean, add_noise(evidence, noise.draw(), s), x)
        if joint or not backbone.per_token_noise:
            sigma = s.expand(clean.shape)
            if not joint:
                x = torch.where(is_clean, add_noise(evidence, noise.draw(), s), x)
        else:
            sigma = noisy_tokens * s
            x = torch.where(is_clean, evidence, x)
        x0 = backbone.denoise(x, sigma, conditions[int(joint)])
        x = _step(x, x0, s, s_next, eta, noise)
        progress("sampling", i + 1, num_steps)
    return x0 if switch < num_steps else torch.where(is_clean, evidence, x0)


def _step(
    x: Tensor, x0: Tensor, s: Tensor, s_next: Tensor, eta: float, noise: SeededNoise
) -> Tensor:
    """x at the next level, with the noise that is in x now.

    eta = 0 is the Euler step of the probability-flow ODE (DDIM, Song et al. 2021), eta = 1 the
    ancestral step of DDPM, which draws afresh the share of the noise that keeps the distribution.
    """
    eps = implied_noise(x, x0, s.expand(1))
    if eta > 0 and float(s_next) > 0:
        # In ratios of noise to signal, which is where that share has its simple form.
        ratio = (s_next / (1 - s_next)) * ((1 - s) / s)
        fresh = eta * (1 - ratio * ratio).clamp(min=0).sqrt()
        eps = (1 - fresh * fresh).sqrt() * eps + fresh * noise.draw()
    return add_noise(x0, eps, s_next)
