"""Bringing a video to the size and length that a foundation model takes, and its result back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.completion.pixels import known_share, pad, padding_to, unpad
from recam.configs import Aspect


@dataclass(frozen=True)
class Fit:
    """Scaled from ``source`` to ``inner`` (height, width), then the edge is repeated by
    ``padding`` (left, right, top, bottom)."""

    source: tuple[int, int]
    inner: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that the model sees."""
        left, right, top, bottom = self.padding
        return self.inner[0] + top + bottom, self.inner[1] + left + right

    @property
    def is_stretched(self) -> bool:
        """Whether the aspect changes by more than rounding to a whole pixel does."""
        (h, w), (inner_h, inner_w) = self.source, self.inner
        return abs(inner_h * w - inner_w * h) > max(h, w)

    def describe(self) -> str:
        """What is done to the video, for the user; "" when nothing is."""
        did = []
        if self.inner != self.source:
            how = "stretched" if self.is_stretched else "scaled"
            did.append(f"{how} from {self.source[1]}×{self.source[0]}")
        if any(self.padding):
            did.append("padded")
        if not did:
            return ""
        height, width = self.size
        return (
            f"{' and '.join(did)} to {width}×{height} for the model; known pixels stay as they are"
        )


def fit_fixed(height: int, width: int, target: tuple[int, int], aspect: Aspect = "stretch") -> Fit:
    """For a model of one size (height, width): stretched to it, whatever the aspect, as CogNVS is
    trained and run; or, with "pad", scaled whole and padded."""
    if aspect == "stretch":
        return Fit((height, width), target, (0, 0, 0, 0))
    scale = min(target[0] / height, target[1] / width)
    inner = max(round(height * scale), 1), max(round(width * scale), 1)
    add_h, add_w = target[0] - inner[0], target[1] - inner[1]
    padding = (add_w // 2, add_w - add_w // 2, add_h // 2, add_h - add_h // 2)
    return Fit((height, width), inner, padding)


def fit_multiple(height: int, width: int, multiple: int, max_side: int) -> Fit:
    """For a model of any size of whole multiples: scaled down to max_side, then padded."""
    scale = min(1.0, max_side / max(height, width))
    inner = max(round(height * scale), 1), max(round(width * scale), 1)
    return Fit((height, width), inner, padding_to(*inner, multiple))


def to_model(frames: Tensor, known: Tensor, fit: Fit, num_frames: int) -> tuple[Tensor, Tensor]:
    """What the model sees of uint8 frames [t, 3, h, w] and known [t, h, w].

    Returns frames float32 [num_frames, 3, H, W] in [-1, 1], black (-1) where nothing is known, and
    known float32 [num_frames, 1, H, W], 1 only where all of a pixel is known. The last frame is
    repeated up to num_frames.
    """
    shown = frames * (known > 0)[:, None].to(torch.uint8)
    size = (fit.inner[1], fit.inner[0])
    pictures, masks = [], []
    for frame, mask in zip(shown, known):
        # Area means of 8-bit frames, black holes and all: what the reference gives its network.
        picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
        pictures.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(mask.float().numpy(), size, interpolation=cv2.INTER_AREA))
    small = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    share = torch.from_numpy(np.stack(masks))[:, None]
    share = (share > 1 - 1e-4).float()
    small = small.float().div(127.5).sub(1)
    small, share = (pad(part, fit.padding) for part in (small, share))
    index = torch.arange(num_frames).clamp(max=len(frames) - 1)
    return small[index], share[index]


def from_model(frames: Tensor, fit: Fit, num_frames: int) -> Tensor:
    """uint8 [num_frames, 3, h, w] at the source's size of model frames [t, 3, H, W] in [-1, 1]."""
    cropped = unpad(frames[:num_frames], fit.padding).float()
    pictures = (cropped / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    if fit.inner == fit.source:
        return pictures.contiguous()
    height, width = fit.source
    back = [
        cv2.resize(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), (width, height))
        for p in pictures
    ]
    return torch.from_numpy(np.stack(back)).permute(0, 3, 1, 2).contiguous()


def min_share(values: Tensor, side: int, time: int) -> Tensor:
    """[b, t', h', w']: the least of values [b, t, 1, h, w] over a latent's side × side pixels and
    frames, of which the first latent has one, and every other ``time``."""
    share = known_share(values, side)
    return torch.cat([share[:, :1], share[:, 1:].unflatten(1, (-1, time)).amin(2)], 1)
