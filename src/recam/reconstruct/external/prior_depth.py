"""What every source of depth that is believed rather than measured gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Drift = Literal["none", "scale", "scale-and-shift"]


@dataclass(frozen=True)
class PriorDepth:
    """A model's opinion on a clip.

    inverse_depth: float32 [t, h, w], of z-depth, not below 0; 0 = infinitely far (sky).
    confidence: float32 [t, h, w] in [0, 1].
    metric: whether it is in 1 / metres; else up to a scale.
    drift: what may differ from frame to frame, since frames were looked at one by one.
    fov_deg: horizontal field of view that the model saw (median over frames), if it says one.
    """

    inverse_depth: Tensor
    confidence: Tensor
    metric: bool
    drift: Drift
    fov_deg: float | None = None

    def __post_init__(self) -> None:
        for name in ("inverse_depth", "confidence"):
            tensor = getattr(self, name)
            if tensor.ndim != 3 or tensor.dtype != torch.float32:
                raise ValueError(
                    f"{name} is {tensor.dtype} {list(tensor.shape)}; expected float32 [t, h, w]"
                )
        if self.inverse_depth.shape != self.confidence.shape:
            raise ValueError(
                f"inverse depth {list(self.inverse_depth.shape)} but confidence "
                f"{list(self.confidence.shape)}; expected the same shape"
            )
        if not bool(torch.isfinite(self.inverse_depth).all()):
            raise ValueError("inverse depth is not finite everywhere; expected 0 for what is far")


def inverse_of(depth: Tensor, valid: Tensor | None = None) -> Tensor:
    """float32 1 / depth; 0 where depth is not positive and finite, or not ``valid``."""
    good = torch.isfinite(depth) & (depth > 0)
    if valid is not None:
        good &= valid
    return torch.where(good, 1 / torch.where(good, depth, 1.0).clamp(min=1e-6), 0.0).float()


def at_size(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps float [t, h, w] on another grid; shrinking averages."""
    shrinks = height < maps.shape[1] or width < maps.shape[2]
    resized = torch.nn.functional.interpolate(
        maps[:, None].float(), (height, width), mode="bilinear", align_corners=False,
        antialias=shrinks,
    )  # fmt: skip
    return resized[:, 0].contiguous()


def no_confidence(like: Tensor) -> Tensor:
    """What a model that states none is trusted: half, everywhere."""
    return torch.full(like.shape, 0.5)
