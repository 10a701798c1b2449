"""Measures of how close a video is to the true one, over all pixels or a weighted part of them.

Frames are uint8 or float [t, 3, h, w] in [0, 255]. Weights are [t, h, w] (or a bool mask): how
much each pixel counts. Where nothing counts the answer is NaN, never a made-up number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PEAK = 255.0


def psnr(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of the mean squared error over all frames together.

    10·log10(255² / MSE), the MSE over channels and (weighted) pixels; inf for equal frames, NaN
    when no pixel counts. Raises ValueError when the shapes do not fit.
    """
    _check(frames, target, weights)
    error, count = 0.0, 0.0
    for i in range(len(frames)):
        squared = (frames[i].double() - target[i].double()).square().mean(0)
        w = torch.ones_like(squared) if weights is None else weights[i].double()
        error += float((squared * w).sum())
        count += float(w.sum())
    return _decibel(error, count)


def psnr_per_frame(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """psnr of each frame alone, float64 [t]; NaN for frames in which no pixel counts."""
    _check(frames, target, weights)
    one = [
        psnr(frames[i : i + 1], target[i : i + 1], None if weights is None else weights[i : i + 1])
        for i in range(len(frames))
    ]
    return torch.tensor(one, dtype=torch.float64)


def ssim(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> float:
    """Structural similarity (Wang et al. 2004), mean over channels and (weighted) pixels.

    Gaussian window of 11 × 11 pixels and σ = 1.5, K1 = 0.01, K2 = 0.03. At the picture's border
    the window is cut and renormalised, so that every pixel has a value; the weights choose among
    these values, they do not cut the windows. NaN when no pixel counts.
    """
    _check(frames, target, weights)
    one = torch.ones(len(frames), *frames.shape[2:]) if weights is None else weights
    return part_scores(frames, target, {"": one})["ssim"]


def part_scores(frames: Tensor, target: Tensor, parts: Mapping[str, Tensor]) -> dict[str, float]:
    """psnr and ssim over several parts of the picture, in one pass over it.

    parts: suffix of the score's name ("" or e.g. "_holes") to weights [t, h, w]. NaN for a part in
    which nothing counts.
    """
    sums = {name: [0.0, 0.0, 0.0] for name in parts}  # squared error, similarity, count
    for weights in parts.values():
        _check(frames, target, weights)
    for i in range(len(frames)):
        a, b = frames[i].double(), target[i].double()
        squared, similarity = (a - b).square().mean(0), ssim_map(a, b).mean(0)
        for name, weights in parts.items():
            w = weights[i].double()
            for k, value in enumerate((squared * w, similarity * w, w)):
                sums[name][k] += float(value.sum())
    scores = {}
    for name, (error, similar, count) in sums.items():
        scores[f"psnr{name}"] = _decibel(error, count)
        scores[f"ssim{name}"] = similar / count if count > 0 else math.nan
    return scores


def ssim_uniform(frames: Tensor, target: Tensor) -> float:
    """Structural similarity as scikit-image computes it by default; CogNVS's evaluation uses it.

    Mean over 7 × 7 windows that count alike, with unbiased (co)variances, over windows that lie
    inside the picture, over channels and frames. It differs from ``ssim`` in all three.
    """
    _check(frames, target, None)
    if min(frames.shape[2:]) < 7:
        raise ValueError(f"pictures {list(frames.shape[2:])} are smaller than the 7 × 7 window")
    total = 0.0
    for i in range(len(frames)):
        a, b = frames[i].double(), target[i].double()
        mean = F.avg_pool2d(torch.stack([a, b, a * a, b * b, a * b]), 7, 1)
        unbiased = 49 / 48
        var_a, var_b = unbiased * (mean[2] - mean[0] ** 2), unbiased * (mean[3] - mean[1] ** 2)
        covariance = unbiased * (mean[4] - mean[0] * mean[1])
        total += float(_similarity(mean[0], mean[1], var_a, var_b, covariance).mean())
    return total / len(frames)


def masked_psnr(frames: Tensor, target: Tensor, covisible: Tensor) -> float:
    """DyCheck's mPSNR (Gao et al. 2022): PSNR over co-visible pixels of each frame, then the mean.

    covisible: [t, h, w]. Frames without a co-visible pixel are left out; NaN when there is none.
    """
    return float(psnr_per_frame(frames, target, covisible).nanmean())


def masked_ssim(frames: Tensor, target: Tensor, covisible: Tensor) -> float:
    """DyCheck's mSSIM (Gao et al. 2022): SSIM by partial convolutions, mean over frames.

    covisible: [t, h, w]. As published, it counts every window that lies inside the picture: a
    window without any co-visible pixel counts as 1, so that the number grows with the hole. Only
    compare it with values of the same protocol; ``ssim`` with weights has no such bias.
    """
    _check(frames, target, covisible)
    if min(frames.shape[2:]) < 11:
        raise ValueError(f"pictures {list(frames.shape[2:])} are smaller than the 11 × 11 window")
    total = 0.0
    for i in range(len(frames)):
        a, b, known = frames[i].double(), target[i].double(), covisible[i].double()
        mean_a, mean_b, aa, bb, ab = _partial_means(torch.stack([a, b, a * a, b * b, a * b]), known)
        var_a, var_b = (aa - mean_a**2).clamp(min=0), (bb - mean_b**2).clamp(min=0)
        covariance = ab - mean_a * mean_b
        # The windows' weights do not sum to one, so moments are limited to what can be.
        covariance = covariance.sign() * torch.minimum((var_a * var_b).sqrt(), covariance.abs())
        total += float(_similarity(mean_a, mean_b, var_a, var_b, covariance).mean())
    return total / len(frames)


def _partial_means(planes: Tensor, known: Tensor) -> Tensor:
    """Means of planes [n, c, h, w] over known [h, w] pixels of inner 11 × 11 windows.

    Rows, then columns: each a Gaussian sum over the known, times 11 / (number of known), which
    is Liu et al.'s (2018) partial convolution; 0 where nothing is known.
    """
    n, c, h, w = planes.shape
    planes, known = planes.reshape(n * c, 1, h, w), known[None, None]
    window = _gaussian_window(planes)
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        kernel = window.view(shape)
        count = F.conv2d(known, torch.ones_like(kernel))
        planes = F.conv2d(planes * known, kernel) * 11 / count.clamp(min=1e-12)
        known = (count > 0).double()
        planes = planes * known
    return planes.view(n, c, *planes.shape[2:])


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of every pixel of a and b [c, h, w], values in [0, 255]."""
    planes = torch.stack([a, b, a * a, b * b, a * b])
    mean_a, mean_b, aa, bb, ab = _window_means(planes)
    var_a, var_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    return _similarity(mean_a, mean_b, var_a, var_b, covariance)


def _similarity(
    mean_a: Tensor, mean_b: Tensor, var_a: Tensor, var_b: Tensor, covariance: Tensor
) -> Tensor:
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (var_a + var_b + c2)


def _window_means(planes: Tensor) -> Tensor:
    """Gaussian means over 11 × 11 windows of planes [n, c, h, w], renormalised at the border."""
    n, c, h, w = planes.shape
    window = _gaussian_window(planes).double().cpu().numpy()

    def blur(image: np.ndarray) -> np.ndarray:  # zeros beyond the border
        return cv2.sepFilter2D(image, -1, window, window, borderType=cv2.BORDER_CONSTANT)

    mass = blur(np.ones((h, w)))
    flat = planes.reshape(n * c, h, w).double().cpu().numpy()
    means = torch.from_numpy(np.stack([blur(plane) / mass for plane in flat]))
    return means.view(n, c, h, w).to(planes)


def _gaussian_window(like: Tensor) -> Tensor:
    x = torch.arange(-5, 6, dtype=like.dtype, device=like.device)
    window = torch.exp(-(x**2) / (2 * 1.5**2))
    return window / window.sum()


def compare(
    frames: Tensor,
    target: Tensor,
    known: Tensor | None = None,
    dynamic: Tensor | None = None,
) -> dict[str, float]:
    """PSNR and SSIM over the whole frame and over parts of it.

    known, dynamic: [t, h, w], how much of each pixel was observed, and what moves. Keys: psnr and
    ssim; with known also psnr_known, psnr_holes, ssim_known, ssim_holes and hole_fraction; with
    dynamic also psnr_dynamic, psnr_static, ssim_dynamic, ssim_static and dynamic_fraction.
    """
    one = torch.ones(len(frames), *frames.shape[2:])
    parts, fractions = {"": one}, {}
    if known is not None:
        parts |= {"_known": known.double(), "_holes": 1 - known.double()}
        fractions["hole_fraction"] = float(parts["_holes"].mean())
    if dynamic is not None:
        parts |= {"_dynamic": dynamic.double(), "_static": 1 - dynamic.double()}
        fractions["dynamic_fraction"] = float(parts["_dynamic"].mean())
    return part_scores(frames, target, parts) | fractions


def _decibel(error: float, count: float) -> float:
    if count <= 0:
        return math.nan
    return 10 * math.log10(PEAK**2 * count / error) if error > 0 else math.inf


def _check(frames: Tensor, target: Tensor, weights: Tensor | None) -> None:
    if frames.ndim != 4 or frames.shape != target.shape:
        raise ValueError(
            f"got frames {list(frames.shape)} and target {list(target.shape)}; expected the same "
            "[t, 3, h, w] (resize or cut one of them first)"
        )
    expected = (frames.shape[0], *frames.shape[2:])
    if weights is not None and tuple(weights.shape) != expected:
        raise ValueError(
            f"weights have shape {list(weights.shape)}, expected [t, h, w] = {list(expected)}"
        )
