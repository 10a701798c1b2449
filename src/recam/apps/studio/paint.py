"""A mask painted on a frame with strokes of a round brush."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

PAINT_RGB = (255, 60, 120)
OPACITY = 0.5


@dataclass(frozen=True)
class Stroke:
    """points: (x, y) as shares of the picture. radius: a share of its width."""

    points: tuple[tuple[float, float], ...]
    radius: float
    erases: bool = False


def mask_of(strokes: list[Stroke], height: int, width: int) -> Tensor:
    """bool [h, w]: what the strokes cover, in their order."""
    mask = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        value = 0 if stroke.erases else 255
        size = max(1, round(2 * stroke.radius * width))
        at = [(round(x * width), round(y * height)) for x, y in stroke.points]
        for first, second in zip(at, at[1:] or at):
            cv2.line(mask, first, second, value, size)
        for point in at:
            cv2.circle(mask, point, max(1, size // 2), value, -1)
    return torch.from_numpy(mask > 0)


def painted(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture uint8 [3, h, w] with the mask over it."""
    tint = torch.tensor(PAINT_RGB, dtype=torch.float32)[:, None, None]
    mixed = picture.float() * (1 - OPACITY * mask) + tint * OPACITY * mask
    return mixed.round().to(torch.uint8)
