"""How much larger moving things look from frame to frame, and so how much nearer they come.

A thing that is twice as near looks twice as high, whether or not its foot is seen. Its outline says
so badly (limbs swing, the picture's border cuts), points on it say it well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags, identity
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from recam.arrays import F32, F64, I32, I64, Mask
from recam.flow.dense import FlowSet, sample_bilinear
from recam.reconstruct.robust import cauchy_weights

MIN_PIXELS, POINTS, PAIRS = 60, 300, 600
"""Pixels that a thing must have; points on it that are followed; pairs of them that are used."""
MIN_FOUND, MIN_PAIRS, MIN_HEIGHT_PX = 20, 40, 8
"""How many of them must be found again, and how far apart the highest and lowest must be."""
SURE = 0.5
"""Confidence from which on flow is believed."""
APART = 0.35
"""Pairs are so far apart, in the picture's vertical, as a part of the thing's height."""
MAX_SPREAD = 0.15
"""Spread of the log heights over pairs, from which on they say nothing: limbs, or wrong flow."""
TWEAK = 0.003
"""Differences of log scale below this are noise."""


@dataclass(frozen=True)
class ScaleChange:
    """The log of how large a thing looks in each of its ``frames`` [k], up to a constant for each
    ``piece`` [k]: nothing ties the frames of one piece to those of another."""

    frames: I64
    piece: I64
    log_size: F64


def relative_scale(label: I32, flows: FlowSet) -> dict[int, ScaleChange]:
    """How each thing grows and shrinks. label: int32 [t, h, w], 0 = still; a thing has the same
    number in all frames (``things.tell_apart``).

    Between frames at all of the flows' offsets the heights of pairs of points on a thing are
    compared, and one size a frame is fitted to the medians of their ratios. Heights and not
    lengths, since what turns about the vertical changes its width.
    """
    rng = np.random.default_rng(0)
    ratios: dict[int, list[tuple[int, int, float]]] = {}
    for i in range(len(label)):
        later = [(i + k, flows.get(i, i + k)) for k in flows.offsets if flows.has(i, i + k)]
        for number in np.unique(label[i][label[i] > 0]).tolist():
            y, x = np.nonzero(label[i] == number)
            if len(y) < MIN_PIXELS:
                continue
            pick = rng.choice(len(y), min(POINTS, len(y)), replace=False)
            points = np.stack([x[pick], y[pick]], 1).astype(np.float32) + np.float32(0.5)
            for j, (flow, confidence) in later:
                found = _ratio(points, flow.numpy(), confidence.numpy(), label[j] == number, rng)
                if found is not None:
                    ratios.setdefault(number, []).append((i, j, found))
    return {number: _fitted(found) for number, found in ratios.items()}


def _ratio(
    points: F32,
    flow: NDArray,
    confidence: NDArray,
    there: Mask,
    rng: np.random.Generator,
) -> float | None:
    """Log of how many times as high the thing that the points [k, 2] are on is ``there`` [h, w];
    None where that is not told."""
    h, w = there.shape
    moved = points + sample_bilinear(flow, points)
    x, y = np.clip(moved.astype(np.int64), 0, [w - 1, h - 1]).T
    kept = ((moved > 0) & (moved < [w, h])).all(1) & there[y, x]
    kept &= sample_bilinear(confidence, points) > SURE
    if kept.sum() < MIN_FOUND:
        return None
    before, after = points[kept, 1], moved[kept, 1]
    a, b = rng.integers(len(before), size=(2, PAIRS))
    height, grown = before[a] - before[b], after[a] - after[b]
    apart = (np.abs(height) > APART * np.ptp(before)) & (height * grown > 0)
    if apart.sum() < MIN_PAIRS or np.ptp(before) < MIN_HEIGHT_PX:
        return None
    ratio = np.log(grown[apart] / height[apart])
    middle = float(np.median(ratio))
    return middle if 1.48 * np.median(np.abs(ratio - middle)) < MAX_SPREAD else None


def _fitted(ratios: list[tuple[int, int, float]]) -> ScaleChange:
    """Sizes that the ratios (frame, frame, log) agree on, by reweighted least squares."""
    frames, index = np.unique([[i, j] for i, j, _ in ratios], return_inverse=True)
    first, second = index.reshape(-1, 2).T
    value = np.array([ratio for _, _, ratio in ratios])
    rows, n = np.arange(len(value)), len(frames)
    ones = np.ones(len(value))
    tie = coo_matrix((ones, (first, second)), shape=(n, n))
    differences = coo_matrix(
        (np.concatenate([-ones, ones]), (np.tile(rows, 2), np.concatenate([first, second]))),
        shape=(len(value), n),
    ).tocsr()
    size, weight = np.zeros(n), ones
    for _ in range(5):
        weighted = differences.T @ diags(weight)
        normal = (weighted @ differences + 1e-6 * identity(n)).tocsc()
        size = spsolve(normal, weighted @ value)
        off = differences @ size - value
        weight, _ = cauchy_weights(off, TWEAK / 2)
    return ScaleChange(frames, connected_components(tie, directed=False)[1].astype(np.int64), size)
