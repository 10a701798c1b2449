"""Least squares that outliers do not pull: iterations reweighted by Cauchy's loss (Holland and
Welsch 1977), its scale found from the residuals themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recam.arrays import F64

ITERATIONS = 8


def cauchy_weights(residual: F64, floor: float = 1e-9) -> tuple[F64, float]:
    """Weights [n] of residuals [n], and their spread: 1.48 times the median absolute one (the
    standard deviation, if they were Gaussian), at least ``floor``."""
    spread = max(1.48 * float(np.median(np.abs(residual))), floor)
    return 1 / (1 + (residual / (2 * spread)) ** 2), spread


def robust_least_squares(
    a: F64,
    b: F64,
    weight: F64 | None = None,
    ridge: F64 | float = 0.0,
    start: F64 | Sequence[float] | None = None,
) -> tuple[F64, float]:
    """x [p] that makes a @ x like b, and the spread of what is left.

    a: [n, p]; b: [n]; weight: [n], of each row (default 1). ridge: number or [p], how strongly x is
    drawn to ``start`` [p] (default 0), for each unit of the rows' weight.
    """
    own = np.ones(len(b)) if weight is None else weight
    x0 = np.zeros(a.shape[1]) if start is None else np.asarray(start, np.float64)
    pull = np.broadcast_to(np.asarray(ridge, np.float64), x0.shape) + 1e-12
    x, robust, spread = x0, np.ones(len(b)), 1.0
    for _ in range(ITERATIONS):
        total = own * robust
        weighted, hold = a.T * total, pull * total.sum()
        x = np.linalg.solve(weighted @ a + np.diag(hold), weighted @ b + hold * x0)
        robust, spread = cauchy_weights(b - a @ x)
    return np.asarray(x, np.float64), spread
