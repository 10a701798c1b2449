"""Noise levels. A level σ in [0, 1] means x = (1 − σ)·x0 + σ·ε: 0 is clean, 1 is pure noise.

This is the straight path of flow matching (Lipman et al. 2023; Liu et al. 2023). Every other
Gaussian schedule is this one after rescaling x, so samplers need no other; backbones trained on a
variance-preserving schedule convert with ``flow_from_vp`` and ``vp_from_flow``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sampling_levels(steps: int, shift: float = 1.0) -> Tensor:
    """float64 [steps + 1], levels falling from 1 to 0.

    shift > 1 spends more steps at high noise (t -> s·t / (1 + (s − 1)·t), Esser et al. 2024).
    """
    if steps < 1:
        raise ValueError(f"sampling needs at least 1 step, got {steps}")
    if shift <= 0:
        raise ValueError(f"shift must be positive, got {shift}")
    t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return shift * t / (1 + (shift - 1) * t)


def spread_levels(sigma: Tensor, like: Tensor) -> Tensor:
    """Per-token levels [b, t, h, w] as [b, T, 1, H, W], to multiply with ``like`` [b, T, c, H, W].

    A token covers T/t × H/h × W/w values of the latent.
    """
    b, t, h, w = sigma.shape
    if like.dim() != 5 or like.shape[0] != b:
        raise ValueError(f"sigma {list(sigma.shape)} does not fit a latent {list(like.shape)}")
    out = sigma[:, :, None]
    for axis, (many, few) in enumerate(
        [(like.shape[1], t), (like.shape[3], h), (like.shape[4], w)]
    ):
        if many % few:
            raise ValueError(
                f"sigma {list(sigma.shape)} does not divide a latent {list(like.shape)}"
            )
        if many != few:
            out = out.repeat_interleave(many // few, dim=(1, 3, 4)[axis])
    return out


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x at level sigma, which broadcasts over x0."""
    return (1 - sigma) * x0 + sigma * noise


def implied_noise(x: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """The noise that takes x0 to x at level sigma; 0 where sigma is 0."""
    safe = torch.where(sigma > 0, sigma, torch.ones_like(sigma))
    return torch.where(sigma > 0, (x - (1 - sigma) * x0) / safe, torch.zeros_like(x))


def shrinkage(sigma: Tensor, std: float) -> Tensor:
    """Best linear guess of a residual r of standard deviation std, as a factor on
    (1 − σ)·r + σ·ε: 0 at σ = 1, where x says nothing, and 1 at σ = 0."""
    keep = (1 - sigma) * std * std
    return keep / ((1 - sigma) * keep + sigma * sigma).clamp(min=1e-12)


def residual_scale(sigma: Tensor, std: float) -> Tensor:
    """Standard deviation that is left of r after that guess (Karras et al. 2022, c_out)."""
    return sigma * std / ((1 - sigma) ** 2 * std * std + sigma * sigma).clamp(min=1e-12).sqrt()


def flow_from_vp(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """(σ, scale) with x_flow = scale · x_vp, for x_vp = √ᾱ·x0 + √(1 − ᾱ)·ε."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    total = signal + noise
    return noise / total, 1 / total


def vp_from_flow(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(ᾱ, scale) with x_vp = scale · x_flow; the inverse of ``flow_from_vp``."""
    scale = 1 / ((1 - sigma) ** 2 + sigma**2).sqrt()
    return ((1 - sigma) * scale) ** 2, scale


def training_levels(
    batch: int, grid: tuple[int, int, int], generator: torch.Generator, pure: float, own: float
) -> Tensor:
    """Random levels [b, t, h, w] in (0, 1] for one training step.

    A share ``pure`` of the samples is at 1 everywhere; a share ``own`` of the rest gives every
    token its own level; the others share one level over the sample.
    """
    device = generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    shared = 1 - uniform(batch, 1, 1, 1)
    each = 1 - uniform(batch, *grid)
    levels = torch.where(uniform(batch, 1, 1, 1) < own, each, shared.expand_as(each))
    return torch.where(uniform(batch, 1, 1, 1) < pure, torch.ones_like(levels), levels)
