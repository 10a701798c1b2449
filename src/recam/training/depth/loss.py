"""What the depth network is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.reconstruct.depth_prior.network import Prediction

AFFINE_SHARE, GRADIENT_SHARE, CONFIDENCE_SHARE, METRIC_SHARE, FOCAL_SHARE = 0.1, 0.5, 0.1, 0.1, 0.1
SCALES = 4
MAX_LOG = 2.5
"""Inverse depth more than e to this above its median is cut in the affine part: a network that has
learned nothing yet would drown the rest."""
MIN_LOG_ERROR = -4.0


def depth_loss(prediction: Prediction, target: Tensor, log_focal: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a batch and its parts [6]: scale-invariant, affine-invariant, gradient,
    confidence, metric, focal length; see the functions below.

    target float32 [b, h, w]: log of inverse depth; log_focal [b]. The metric part, the error
    without any alignment, keeps the free scale from wandering off.
    """
    wrong = prediction.log_inverse - target
    off = wrong - _median(wrong).detach()
    parts = torch.stack(
        [
            off.abs().mean(),
            affine_loss(prediction.log_inverse, target),
            gradient_loss(off),
            expected_error_loss(off.detach().abs(), prediction.log_error),
            wrong.abs().mean(),
            expected_error_loss(
                (prediction.log_focal - log_focal).abs(), prediction.log_focal_error
            ),
        ]
    )
    shares = parts.new_tensor(
        [1.0, AFFINE_SHARE, GRADIENT_SHARE, CONFIDENCE_SHARE, METRIC_SHARE, FOCAL_SHARE]
    )
    return (parts * shares).sum(), parts.detach()


def expected_error_loss(error: Tensor, log_expected: Tensor) -> Tensor:
    """Least where the expected error is the mean absolute one (of a Laplace distribution)."""
    log_expected = log_expected.clamp(min=MIN_LOG_ERROR)
    return (error * (-log_expected).exp() + log_expected).mean()


def affine_loss(log_inverse: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the two inverse depths after each is shifted by its median and scaled by its
    mean distance from it: invariant to scale and shift of either (MiDaS, Ranftl et al. 2020)."""
    return (_normalised(log_inverse) - _normalised(target)).abs().mean()


def gradient_loss(off: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring errors [b, h, w] at SCALES scales, each half of the
    one before: edges where they are, and flat where it is flat (MegaDepth, Li and Snavely 2018)."""
    total = off.new_zeros(())
    for i in range(SCALES):
        e = off[:, :: 2**i, :: 2**i]
        if e.shape[1] < 2 or e.shape[2] < 2:
            break
        across, down = e[:, :, 1:] - e[:, :, :-1], e[:, 1:] - e[:, :-1]
        total = total + across.abs().mean() + down.abs().mean()
    return total / SCALES


def _median(x: Tensor) -> Tensor:
    return x.flatten(1).median(1).values[:, None, None]


def _normalised(log_inverse: Tensor) -> Tensor:
    """Inverse depth with median 0 and mean absolute value 1."""
    x = (log_inverse - _median(log_inverse).detach()).clamp(max=MAX_LOG).exp()
    x = x - _median(x)
    return x / x.abs().mean((1, 2), keepdim=True).clamp(min=0.1)
