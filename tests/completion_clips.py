"""Clips with holes for the tests of completion, made so that the truth is exact."""

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.types import PartialVideo


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture uint8 [h, w, 3] with detail at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for sigma in (2, 5, 14):
        noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
        picture += noise / noise.std()
    return np.clip(128 + 32 * picture, 0, 255).astype(np.uint8)


def panned(num: int, step_px: int, height: int = 72, width: int = 112, seed: int = 0) -> Tensor:
    """uint8 [t, 3, h, w]: a window that slides over a texture by whole pixels."""
    wide = texture(height, width + abs(step_px) * num, seed)
    starts = [step_px * i if step_px >= 0 else -step_px * (num - i) for i in range(num)]
    frames = np.stack([wide[:, s : s + width] for s in starts])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def moving_hole(frames: Tensor, step_px: int, size_px: int = 18, left_px: int = 20) -> PartialVideo:
    """The frames without a square that moves by ``step_px`` a frame; black there."""
    num, _, height, width = frames.shape
    known = torch.ones(num, height, width)
    top = (height - size_px) // 2
    for i in range(num):
        left = max(left_px + step_px * i, 0)
        known[i, top : top + size_px, left : left + size_px] = 0
    return with_known(frames, known)


def with_known(frames: Tensor, known: Tensor) -> PartialVideo:
    """A PartialVideo whose frames are black where nothing is known."""
    return PartialVideo(frames * (known > 0)[:, None], known)


def psnr_in_holes(result: Tensor, truth: Tensor, known: Tensor) -> float:
    """dB over pixels of known == 0."""
    error = (result.float() - truth.float()).square().mean(1)[known == 0].mean()
    return float(10 * torch.log10(255**2 / error.clamp(min=1e-3)))
