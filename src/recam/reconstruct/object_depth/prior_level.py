"""How deep a moving thing is by a depth prior that looks at single pictures.

A prior knows inverse depth up to a scale and a shift, and these drift over the picture. What stands
still around a thing was measured, so they are read off there, and the thing is as deep as the prior
then says.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from recam.arrays import F32, F64, Mask
from recam.reconstruct.robust import robust_least_squares

REACH = 0.6
"""How far around a thing is looked, of the square root of its area."""
MIN_REACH_PX = 10
MIN_SAMPLES = 40
MAX_SAMPLES = 3000
HOLD = 1.0
"""How strongly a thing's own scale and shift are drawn to those of the whole frame, as a part of
the weight of what is around it."""


def affine_near(x: F64, y: F64, weight: F64, start: tuple[float, float]) -> tuple[float, float]:
    """Scale and shift [of x to y] by least squares with Cauchy weights, drawn to ``start`` as HOLD
    says: around a thing before a wall x hardly varies."""
    middle = float(np.average(x, weights=weight))
    spread_x = max(float(np.average(np.abs(x - middle), weights=weight)), 0.1 * middle, 1e-9)
    a = np.column_stack([x, np.ones_like(x)])
    ridge = np.array([HOLD * spread_x**2, 0.0])
    (scale, shift), _ = robust_least_squares(a, y, weight, ridge, start)
    return (float(scale), float(shift)) if scale > 0 else start


def level_by_prior(
    prior: F32, rho: F32, weight: F32, region: Mask, frame_fit: tuple[float, float]
) -> float | None:
    """Median inverse depth of a region [h, w] in units of rho; None where too little around it was
    measured.

    prior, rho: inverse depth [h, w], the first up to scale and shift. weight: of rho, 0 where it
    was not measured or moves. frame_fit: the prior's scale and shift to rho over the whole frame.
    """
    h, w = rho.shape
    y, x = np.nonzero(region)
    reach = max(MIN_REACH_PX, int(REACH * math.sqrt(len(y))))
    box = (
        slice(max(int(y.min()) - reach, 0), min(int(y.max()) + reach + 1, h)),
        slice(max(int(x.min()) - reach, 0), min(int(x.max()) + reach + 1, w)),
    )
    outside = (~region[box]).astype(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
    near = weight[box] * np.exp(-((away / (0.5 * reach)) ** 2)) * outside
    v, u = np.nonzero((near > 1e-3) & (away < reach))
    if len(v) < MIN_SAMPLES:
        return None
    thin = max(1, len(v) // MAX_SAMPLES)
    v, u = v[::thin], u[::thin]
    own, measured = (m[box][v, u].astype(np.float64) for m in (prior, rho))
    scale, shift = affine_near(own, measured, near[v, u].astype(np.float64), frame_fit)
    level = scale * float(np.median(prior[region])) + shift
    return level if level > 0 else None
