"""How well estimated depth agrees with the true one, up to what a method cannot know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

DepthAlignment = Literal["none", "scale", "scale-and-shift"]


@dataclass(frozen=True)
class DepthErrors:
    """abs_rel: mean of |d − d*| / d*. delta1: fraction of pixels with max(d / d*, d* / d) < 1.25.

    scale, shift: what the estimate was aligned by (see ``depth_errors``); means over frames where
    each was aligned alone. num_pixels: how many were compared.
    """

    abs_rel: float
    delta1: float
    scale: float
    shift: float
    num_pixels: int


def depth_errors(
    depth: Tensor,
    true_depth: Tensor,
    valid: Tensor,
    align: DepthAlignment = "scale",
    per_frame: bool = False,
) -> DepthErrors:
    """Compare z-depth maps [t, h, w] at valid pixels (bool [t, h, w]) where both are positive.

    align: "none"; "scale": d becomes scale·d, with the scale that makes the median of d* / d one
        (Zhou et al. 2017, with the median of ratios, which is exact for a wrong scale);
        "scale-and-shift": 1/d becomes scale/d + shift, by least squares in inverse depth (MiDaS,
        Ranftl et al. 2020), kept within the true depth's range on the far side.
    per_frame: align each frame alone, which also forgives a scale that drifts; else the video as
        one.
    Pixels of all frames count alike. Raises ValueError for shapes, or when no pixel can be
    compared.
    """
    if not depth.shape == true_depth.shape == valid.shape or depth.ndim != 3:
        raise ValueError(
            f"depth {list(depth.shape)}, true depth {list(true_depth.shape)} and valid "
            f"{list(valid.shape)}; expected the same [t, h, w]"
        )
    usable = valid.bool() & (depth > 0) & (true_depth > 0)
    usable &= torch.isfinite(depth) & torch.isfinite(true_depth)
    groups = range(len(depth)) if per_frame else [slice(None)]
    ratios, fits = [], []
    for group in groups:
        chosen = usable[group]
        if not bool(chosen.any()):
            continue
        d, truth = depth[group][chosen].double(), true_depth[group][chosen].double()
        aligned, scale, shift = _aligned(d, truth, align)
        ratios.append(aligned / truth)
        fits.append((scale, shift))
    if not ratios:
        raise ValueError("no pixel is valid with positive depth in both; nothing to compare")
    ratio = torch.cat(ratios)
    close = torch.maximum(ratio, 1 / ratio) < 1.25
    scale, shift = torch.tensor(fits, dtype=torch.float64).mean(0).tolist()
    abs_rel = float((ratio - 1).abs().mean())
    return DepthErrors(abs_rel, float(close.double().mean()), scale, shift, len(ratio))


def _aligned(d: Tensor, truth: Tensor, align: DepthAlignment) -> tuple[Tensor, float, float]:
    match align:
        case "none":
            return d, 1.0, 0.0
        case "scale":
            scale = float((truth / d).median())
            return scale * d, scale, 0.0
        case "scale-and-shift":
            x, y = 1 / d, 1 / truth
            spread = x - x.mean()
            variance = float((spread * spread).sum())
            # A flat estimate has no scale to fit: only the shift is told.
            scale = float((spread * (y - y.mean())).sum()) / variance if variance > 1e-18 else 0.0
            shift = float(y.mean()) - scale * float(x.mean())
            inverse = (scale * x + shift).clamp(min=1 / float(truth.max()))
            return 1 / inverse, scale, shift
    raise ValueError(f"unknown alignment {align!r}; expected none, scale or scale-and-shift")
