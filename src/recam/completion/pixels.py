"""Between uint8 videos and what the small model works on: frames in [-1, 1], whole patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def to_signal(frames: Tensor) -> Tensor:
    """float32 in [-1, 1] of uint8 frames of any shape."""
    return frames.float().mul_(2 / 255).sub_(1)


def from_signal(signal: Tensor) -> Tensor:
    """uint8 of frames in [-1, 1]; what lies outside is clamped."""
    return signal.float().add(1).mul_(255 / 2).round_().clamp_(0, 255).to(torch.uint8)


def padding_to(height: int, width: int, patch: int) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) that makes height × width whole patches, the picture centred."""
    add_h, add_w = -height % patch, -width % patch
    return add_w // 2, add_w - add_w // 2, add_h // 2, add_h - add_h // 2


def pad(frames: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Pad [..., h, w] by repeating the edge."""
    if not any(padding) or frames.numel() == 0:
        left, right, top, bottom = padding
        h, w = frames.shape[-2:]
        return frames.reshape(*frames.shape[:-2], h + top + bottom, w + left + right)
    flat = F.pad(frames.reshape(1, -1, *frames.shape[-2:]), padding, mode="replicate")
    return flat.reshape(*frames.shape[:-2], *flat.shape[-2:])


def unpad(frames: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """The inverse of ``pad``."""
    left, right, top, bottom = padding
    h, w = frames.shape[-2:]
    return frames[..., top : h - bottom, left : w - right]


def known_share(known: Tensor, patch: int) -> Tensor:
    """[b, t, h/p, w/p]: 1 where every pixel of a token is known, else below 1.

    known: [b, t, 1, h, w]. The least known pixel decides, so that no hole hides in evidence.
    """
    return -F.max_pool2d(-known[:, :, 0], patch)
