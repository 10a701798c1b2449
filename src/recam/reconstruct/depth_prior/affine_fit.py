"""A prior brought to the scale and shift of what was measured."""

from __future__ import annotations

import numpy as np

from recam.reconstruct.external.prior_depth import Drift
from recam.reconstruct.robust import robust_least_squares

TOGETHER = 2
"""Frames to either side that a frame with a scale and shift of its own is fitted with."""

MAX_SAMPLES = 20_000
"""Pixels, evenly spread, that two numbers are fitted to."""
MIN_SHARE = 0.02
"""Part of their pixels that must have been measured for that."""


def fit_prior(
    prior: np.ndarray, inverse_depth: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, float]:
    """Scale and shift the prior to the measured inverse depths [t, h, w]; weight 0 = not measured.

    One scale (not below 0) and one shift for the clip, by least squares with Cauchy weights.
    Returns the fitted prior and the spread (RMS, robust) of what was measured about it.
    """
    (scale, shift), spread = _scale_and_shift(prior, inverse_depth, weight)
    return (scale * prior + shift).astype(np.float32), spread


def _scale_and_shift(
    prior: np.ndarray, inverse_depth: np.ndarray, weight: np.ndarray
) -> tuple[tuple[float, float], float]:
    """What ``fit_prior`` applies to the prior, and the spread."""
    x, y, w = (a.ravel()[:: max(1, a.size // MAX_SAMPLES)] for a in (prior, inverse_depth, weight))
    keep = w > 0
    x, y, w = x[keep].astype(np.float64), y[keep].astype(np.float64), w[keep].astype(np.float64)
    if len(x) < 10:
        return (1.0, 0.0), float("inf")
    (scale, shift), spread = robust_least_squares(np.stack([x, np.ones_like(x)], 1), y, w)
    if scale < 0:  # the prior is no better than a constant
        (shift,), spread = robust_least_squares(np.ones((len(y), 1)), y, w)
        scale = 0.0
    return (float(scale), float(shift)), spread


def fitted_by_frame(
    prior: np.ndarray, rho: np.ndarray, weight: np.ndarray, drift: Drift
) -> np.ndarray:
    """The prior [t, h, w] brought to measured inverse depth [t, h, w]; weight 0 = not measured.

    drift "none": one scale and shift for the clip; else one for each frame, fitted with TOGETHER
    frames to either side of it.
    """
    whole = fit_prior(prior, rho, weight)[0]
    if drift == "none":
        return whole
    out = np.empty_like(whole)
    for i in range(len(prior)):
        piece = slice(max(i - TOGETHER, 0), i + TOGETHER + 1)
        if (weight[piece] > 0).mean() < MIN_SHARE:
            out[i] = whole[i]
            continue
        (scale, shift), _ = _scale_and_shift(prior[piece], rho[piece], weight[piece])
        out[i] = scale * prior[i] + shift
    return out
