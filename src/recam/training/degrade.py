"""Spoil a training clip's evidence in the ways that real warps spoil it.

All functions take frames [b, t, 3, h, w] in [-1, 1] and known [b, t, 1, h, w], work per sample on
the tensors' device, and leave the target alone, so the model learns to correct what it is shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.training.masks import smooth_noise, uniform

CHANCE_OF_EACH = 0.5


def degrade(
    frames: Tensor, known: Tensor, chosen: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(frames, known) with each kind of damage applied to about half of the chosen samples [b]."""
    b = len(frames)

    def some() -> Tensor:
        picked = torch.rand(b, generator=generator, device=generator.device) < CHANCE_OF_EACH
        return (picked & chosen).view(b, 1, 1, 1, 1)

    frames = torch.where(some(), double_resampled(frames, generator), frames)
    frames = torch.where(some(), bent(frames, generator), frames)
    bled, known_bled = edge_bleeding(frames, known, generator)
    now = some()
    frames, known = torch.where(now, bled, frames), torch.where(now, known_bled, known)
    floating, known_floating = floaters(frames, known, generator)
    now = some()
    frames, known = torch.where(now, floating, frames), torch.where(now, known_floating, known)
    return torch.where(some(), condition_noise(frames, generator), frames), known


def condition_noise(frames: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of standard deviation exp(N(−3, 0.5)) per sample (as CogNVS trains)."""
    b = len(frames)
    std = torch.exp(
        -3 + 0.5 * torch.randn(b, 1, 1, 1, 1, generator=generator, device=frames.device)
    )
    return frames + std * torch.randn(frames.shape, generator=generator, device=frames.device)


def double_resampled(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Shifted by part of a pixel and back, bilinearly: the blur of going to a view and back."""
    b, t = frames.shape[:2]
    shift = uniform(generator, 0.2, 0.8, b, t, 2)
    there = _sample(frames, shift[..., None, None].expand(b, t, 2, *frames.shape[-2:]))
    return _sample(there, -shift[..., None, None].expand(b, t, 2, *frames.shape[-2:]))


def bent(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Displaced smoothly by up to a few pixels: what wrong depth does to a warp."""
    b, t, _, h, w = frames.shape
    strength = uniform(generator, 0.3, 2.5, b, 1, 1, 1, 1)
    flow = torch.cat([smooth_noise((b, t, h, w), (2, 4, 4), generator) for _ in range(2)], 2)
    return _sample(frames, strength * flow)


def edge_bleeding(
    frames: Tensor, known: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Known areas grow into holes by a pixel or two with colours from beside the edge."""
    b, t, _, h, w = frames.shape
    angle = uniform(generator, 0, 6.2832, b, 1)
    reach = uniform(generator, 1.0, 3.0, b, 1)
    shift = torch.stack([reach * angle.cos(), reach * angle.sin()], 2).expand(b, t, 2)
    flow = shift[..., None, None].expand(b, t, 2, h, w)
    # Carried along with the mask: the shifted picture appears wherever its known part sticks out.
    moved_known = (_sample(known, flow) > 0.5).to(known)
    bleeds = (moved_known > 0) & (known < 0.5)
    edge = F.max_pool2d(1 - known.flatten(0, 1), 3, 1, 1).view_as(known) > 0.5
    takes = bleeds | (edge & (moved_known > 0))
    return torch.where(takes, _sample(frames, flow), frames), torch.where(
        bleeds, moved_known, known
    )


def floaters(frames: Tensor, known: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Small specks of something else, in holes and over evidence, claimed as known."""
    b, t, _, h, w = frames.shape
    cells = (max(2, t // 2), max(2, h // 6), max(2, w // 6))
    specks = smooth_noise((b, t, h, w), cells, generator) > uniform(
        generator, 2.0, 2.8, b, 1, 1, 1, 1
    )
    elsewhere = frames.roll((h // 3, w // 3), (-2, -1))
    return torch.where(specks, elsewhere, frames), torch.where(
        specks, torch.ones_like(known), known
    )


def _sample(frames: Tensor, flow: Tensor) -> Tensor:
    """frames [b, t, c, h, w] read at each pixel plus flow [b, t, 2, h, w] (x, y in pixels)."""
    b, t, c, h, w = frames.shape
    y = torch.arange(h, device=frames.device, dtype=frames.dtype)[:, None]
    x = torch.arange(w, device=frames.device, dtype=frames.dtype)[None]
    at_x = (x + flow[:, :, 0] + 0.5) * (2 / w) - 1
    at_y = (y + flow[:, :, 1] + 0.5) * (2 / h) - 1
    grid = torch.stack([at_x, at_y], -1).flatten(0, 1)
    out = F.grid_sample(frames.flatten(0, 1), grid, padding_mode="border", align_corners=False)
    return out.view(b, t, c, h, w)
