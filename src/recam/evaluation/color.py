"""Colour differences between cameras, fitted away before their pictures are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ColorFit:
    """An affine map of sRGB values in [0, 255]: matrix [3, 3] times colour plus offset [3].

    num_pixels: how many it was fitted on.
    """

    matrix: Tensor
    offset: Tensor
    num_pixels: int


def fit_color(
    frames: Tensor, target: Tensor, known: Tensor, rounds: int = 10, max_pixels: int = 400_000
) -> ColorFit:
    """The affine colour map that takes frames to target [t, 3, h, w] on known pixels [t, h, w].

    One map for all frames: cameras differ in exposure and white balance, not from frame to frame.
    Reweighted least squares (Geman-McClure, with the scale of the median residual), so that known
    pixels that show the wrong surface count little; colours that do not occur are held near the
    identity. Pixels at either end of the range are left out: they are clipped. Fitting uses the
    truth, so say that colour was fitted beside every score that did. Raises ValueError when fewer
    than 100 pixels can be used.
    """
    if frames.shape != target.shape or known.shape != (len(frames), *frames.shape[2:]):
        raise ValueError(
            f"frames {list(frames.shape)}, target {list(target.shape)}, known "
            f"{list(known.shape)}; expected [t, 3, h, w] twice and [t, h, w]"
        )
    x, y = (v.permute(0, 2, 3, 1)[known > 0.5].double() for v in (frames, target))
    free = ((x > 4) & (x < 251) & (y > 4) & (y < 251)).all(1)
    x, y = x[free], y[free]
    if len(x) < 100:
        raise ValueError(f"only {len(x)} known, unclipped pixels to fit colour on; 100 are needed")
    step = -(-len(x) // max_pixels)
    x, y = x[::step], y[::step]
    weights = torch.ones(len(x), dtype=torch.float64)
    matrix, offset = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(rounds):
        matrix, offset = _weighted_fit(x, y, weights)
        residual = (x @ matrix.T + offset - y).square().sum(1)
        scale = residual.median().clamp(min=1.0)
        weights = (scale / (scale + residual)).square()
    return ColorFit(matrix, offset, len(x))


def _weighted_fit(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum()
    mean_x, mean_y = (weights[:, None] * x).sum(0) / total, (weights[:, None] * y).sum(0) / total
    dx, dy = x - mean_x, y - mean_y
    # One grey level of spread stands for the identity in directions without data.
    prior = torch.eye(3, dtype=torch.float64)
    covariance = (weights[:, None] * dx).T @ dx / total + prior
    cross = (weights[:, None] * dx).T @ dy / total + prior
    matrix = torch.linalg.solve(covariance, cross).T
    return matrix, mean_y - matrix @ mean_x


def apply_color(frames: Tensor, fit: ColorFit) -> Tensor:
    """uint8 frames [t, 3, h, w] with the map applied, rounded and clipped."""
    out = torch.empty_like(frames)
    matrix, offset = fit.matrix.float(), fit.offset.float()
    for i in range(len(frames)):
        mapped = torch.einsum("ij,jhw->ihw", matrix, frames[i].float()) + offset[:, None, None]
        out[i] = mapped.round().clamp(0, 255).to(torch.uint8)
    return out
