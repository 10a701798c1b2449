"""Smooth means of scattered values: what flow, and colours, are spread into holes by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_WEIGHT = 1e-6


def fill_from_pyramid(values: Tensor, weight: Tensor) -> Tensor:
    """Replace values of low weight by smooth means of their nearest neighbours of high weight.

    values: float [b, c, t, h, w]; need not be finite where the weight is 0.
    weight: float [b, 1, t, h, w] in [0, 1]; 1 keeps a value exactly, 0 ignores it.
    Returns float [b, c, t, h, w], differentiable in both. Where a batch item has no weight at all
    the result is 0. Time is pooled like space; give t = 1 to fill every image by itself.

    Source: Gortler, Grzeszczuk, Szeliski, Cohen 1996 (the Lumigraph), with time as a third axis.
    """
    if values.dim() != 5 or weight.shape != (values.shape[0], 1, *values.shape[2:]):
        raise ValueError(
            f"fill_from_pyramid got values {list(values.shape)} and weight {list(weight.shape)}, "
            "expected [b, c, t, h, w] and [b, 1, t, h, w] of the same b, t, h, w"
        )
    weight = weight.clamp(0, 1)
    values = torch.where(weight > 0, values, torch.zeros_like(values))
    if max(values.shape[2:]) == 1:
        return values
    size = values.shape[2:]
    # Zero weight in the padding: it takes no part in any mean.
    pad = [(0, s % 2 if s > 1 else 0) for s in reversed(size)]
    flat_pad = [n for pair in pad for n in pair]
    padded_weight = F.pad(weight, flat_pad)
    kernel = tuple(2 if s > 1 else 1 for s in size)
    mean_weight = F.avg_pool3d(padded_weight, kernel)
    mean_values = F.avg_pool3d(F.pad(values * weight, flat_pad), kernel)
    mean_values = mean_values / mean_weight.clamp(min=MIN_WEIGHT)
    # A cell that saw half a pixel's worth is as good as seen: coarser levels only serve the rest.
    count = float(kernel[0] * kernel[1] * kernel[2])
    coarse = fill_from_pyramid(mean_values, (mean_weight * count).clamp(max=1))
    fine_size = padded_weight.shape[2:]
    up = F.interpolate(coarse, size=tuple(fine_size), mode="trilinear", align_corners=False)
    up = up[:, :, : size[0], : size[1], : size[2]]
    return torch.lerp(up, values, weight.expand_as(values))
