"""Whether a part of a picture has the truth's texture, wherever its details may lie.

Frames are uint8 or float [t, 3, h, w] in [0, 255], weights [t, h, w] or a bool mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

PATCH_PX = 7
"""Side of the patches whose distribution is compared."""


def detail(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> float:
    """Mean gradient magnitude of the grey picture, over the truth's: 1 = as much detail, below it
    blurred, above it noisy.

    Central differences whose pixels all count (weights above 0). NaN when none counts or the truth
    is flat there.
    """
    _check(frames, target, weights)
    sums = [0.0, 0.0]
    for i in range(len(frames)):
        inner = torch.ones(frames.shape[2] - 2, frames.shape[3] - 2, dtype=torch.float64)
        if weights is not None:
            counts = (weights[i] > 0)[None, None].double()
            inner = -F.max_pool2d(-counts, 3, 1)[0, 0]
        for k, picture in enumerate((frames[i], target[i])):
            grey = picture.double().mean(0)
            dx = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2
            dy = (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2
            sums[k] += float((torch.hypot(dx, dy) * inner).sum())
    return sums[0] / sums[1] if sums[1] > 0 else math.nan


def patch_distance(
    frames: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    num_patches: int = 8192,
    num_projections: int = 64,
    seed: int = 0,
) -> float:
    """Sliced Wasserstein distance between the patches of a part and the truth's, in grey levels.

    Patches of 7 × 7 pixels around pixels that count, at the same random places in both; each of
    ``num_projections`` random unit directions gives two sets of numbers, whose sorted values are
    compared by their mean absolute difference. It asks which patches there are, not where they are.
    Source: Rabin et al. 2011; for patches Elnekave and Weiss 2022. NaN when nothing counts.
    """
    _check(frames, target, weights)
    draw = torch.Generator().manual_seed(seed)
    t, _, h, w = frames.shape
    r = PATCH_PX // 2
    inner = torch.zeros(t, h, w, dtype=torch.bool)
    inner[:, r : h - r, r : w - r] = True
    if weights is not None:
        inner &= weights.cpu() > 0
    places = inner.flatten().nonzero()[:, 0]
    if len(places) == 0:
        return math.nan
    places = places[torch.randint(len(places), (num_patches,), generator=draw)]
    directions = torch.randn(3 * PATCH_PX**2, num_projections, generator=draw)
    directions /= directions.norm(dim=0)
    first, second = (
        (_patches_at(video, places) @ directions).sort(0).values for video in (frames, target)
    )
    return float((first - second).abs().mean())


def _patches_at(frames: Tensor, places: Tensor) -> Tensor:
    """float [n, 3·7·7] around flat places of [t, h, w]."""
    _, _, h, w = frames.shape
    frame, y, x = places // (h * w), places // w % h, places % w
    offset = torch.arange(PATCH_PX) - PATCH_PX // 2
    rows, columns = y[:, None, None] + offset[:, None], x[:, None, None] + offset
    return frames[frame[:, None, None], :, rows, columns].flatten(1).float()


def _check(frames: Tensor, target: Tensor, weights: Tensor | None) -> None:
    if frames.ndim != 4 or frames.shape != target.shape:
        raise ValueError(
            f"got frames {list(frames.shape)} and target {list(target.shape)}; expected the same "
            "[t, 3, h, w]"
        )
    expected = (frames.shape[0], *frames.shape[2:])
    if weights is not None and tuple(weights.shape) != expected:
        raise ValueError(
            f"weights have shape {list(weights.shape)}, expected [t, h, w] = {list(expected)}"
        )
