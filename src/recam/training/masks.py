"""What is known of a training clip: mask sources, drawn for whole batches on any device.

Each returns known [b, t, 1, h, w], 1 = observed. Masks that follow from geometry ("reprojected")
come with the clips themselves: see layered.py and covisibility.make_pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.configs import MaskSource

Size = tuple[int, int, int, int]
"""(b, t, h, w)"""


def draw_known(source: MaskSource, size: Size, generator: torch.Generator) -> Tensor:
    """Known masks of one source for a batch of clips."""
    b, t, h, w = size
    known = torch.ones(b, t, 1, h, w, device=generator.device)
    match source:
        case "random-2d":
            return random_2d(size, generator)
        case "tracks":
            return tracks(size, generator)
        case "border":
            return border(size, generator)
        case "first-frame":
            known[:, 1:] = 0
        case "endpoints":
            known[:, 1:-1] = 0
        case "everything":
            known[:] = 0
        case "identity":
            pass
        case _:
            raise ValueError(f"mask source {source!r} needs a scene; it comes with the clip")
    return known


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random floats of a shape, on the generator's device."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def pixel_grid(h: int, w: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(y [h, 1], x [1, w]) of pixel centres in [0, 1]."""
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    return y[:, None], x[None]


def random_2d(size: Size, generator: torch.Generator, num_boxes: int = 3) -> Tensor:
    """Boxes, brush strokes and whole frames, each changing from frame to frame or not."""
    b, t, h, w = size
    known = 1 - _boxes(size, generator, num_boxes, moving=False)
    strokes = smooth_noise((b, t, h, w), (2, 8, 8), generator)
    # A thin band around a level line of smooth noise looks like a stroke.
    width = uniform(generator, 0.0, 0.25, b, 1, 1, 1, 1)
    known = known * (strokes.abs() > width)
    dropped = torch.rand(b, t, 1, 1, 1, generator=generator, device=known.device) < 0.1
    keep_one = torch.arange(t, device=known.device).view(1, t, 1, 1, 1) == t // 2
    return known * (~dropped | keep_one)


def tracks(size: Size, generator: torch.Generator) -> Tensor:
    """Boxes that move through the clip, as around a tracked object."""
    return 1 - _boxes(size, generator, 2, moving=True)


def border(size: Size, generator: torch.Generator) -> Tensor:
    """Strips along the sides whose width drifts in time, as where a camera pulls back or pans."""
    b, t, h, w = size
    y, x = pixel_grid(h, w, generator.device)
    known = torch.ones(b, t, 1, h, w, device=generator.device)
    time = torch.linspace(0, 1, t, device=generator.device).view(1, t, 1, 1, 1)
    for distance in (y, 1 - y, x, 1 - x):
        first, last = (uniform(generator, -0.2, 0.3, b, 1, 1, 1, 1) for _ in range(2))
        known = known * (distance > first + (last - first) * time)
    return known


def _boxes(size: Size, generator: torch.Generator, num: int, moving: bool) -> Tensor:
    """1 inside boxes: [b, t, 1, h, w]."""
    b, t, h, w = size
    y, x = pixel_grid(h, w, generator.device)
    inside = torch.zeros(b, t, 1, h, w, device=generator.device)
    time = torch.linspace(-1, 1, t, device=generator.device).view(1, t, 1, 1, 1)
    for _ in range(num):
        half_y, half_x = (uniform(generator, 0.04, 0.22, b, 1, 1, 1, 1) for _ in range(2))
        if moving:
            at_y, at_x = (uniform(generator, 0.1, 0.9, b, 1, 1, 1, 1) for _ in range(2))
            speed_y, speed_x = (uniform(generator, -0.3, 0.3, b, 1, 1, 1, 1) for _ in range(2))
            at_y, at_x = at_y + speed_y * time, at_x + speed_x * time
        else:
            at_y, at_x = (uniform(generator, 0, 1, b, t, 1, 1, 1) for _ in range(2))
        inside = torch.maximum(
            inside, (((y - at_y).abs() < half_y) & ((x - at_x).abs() < half_x)).float()
        )
    return inside


def smooth_noise(size: Size, cells: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Normal noise on a coarse grid of (t, h, w) cells, interpolated to [b, t, 1, h, w]."""
    b, t, h, w = size
    coarse = torch.randn(b, 1, *cells, generator=generator, device=generator.device)
    fine = F.interpolate(coarse, size=(t, h, w), mode="trilinear", align_corners=True)
    return fine.transpose(1, 2)
