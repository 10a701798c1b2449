"""Is a film's picture read row by row? A shaking camera tells.

A row at height y of the picture (−½ to ½) is exposed r·y of a frame's time later than the middle
row, where r is the readout's share of that time. From frame i to i+1 a point then moves by r·y·a
more than under a global shutter, where a is the change of its motion from one frame to the next.
Steady motion hides r; shake shows it.

For each pair of frames the motion of the rigid scene (three turns, three shifts over the inverse
depth, zoom) is fitted to the flow together with r·y·a, by least squares, and r is what all pairs
say together. Source of the model: Forssén and Ringaby 2010, linearised.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recam.arrays import F64, U8
from recam.types import Scene

WORK_WIDTH = 320
STEP = 8
"""Pixels between the places where the flow is read."""
MAX_PAIRS = 60
MIN_PAIRS = 6
MIN_SHAKE_PX = 0.15
"""Change of motion per frame, median over the picture, below which a pair says nothing."""
MIN_READOUT, MAX_READOUT = 0.12, 1.3
MIN_SIGNIFICANCE = 5.0
"""Of r against its standard error over the pairs."""


@dataclass(frozen=True)
class RollingShutter:
    """readout: share of a frame's time from the first to the last row; negative = read from below,
    or from the right. columns: the picture is read column by column (a phone held upright).
    error: the readout's standard error."""

    readout: float
    error: float
    columns: bool

    def describe(self) -> str:
        what = "columns" if self.columns else "rows"
        return (
            f"rolling shutter: {what} are read over some {100 * abs(self.readout):.0f} % of a "
            "frame's time, so shake bends the picture; recam does not undo that"
        )


def find_rolling_shutter(scene: Scene) -> RollingShutter | None:
    """What the flow of a scene's film says; None where nothing is noticed.

    Frames that are not evenly spaced, or fewer than MIN_PAIRS shaken ones, say nothing.
    """
    starts = np.unique(np.linspace(2, len(scene) - 4, MAX_PAIRS).round().astype(int))
    starts = starts[(starts >= 2) & (starts + 3 < len(scene))]
    if len(starts) < MIN_PAIRS:
        return None
    flows: dict[int, F64] = {}
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for i in starts.tolist():
        for k in range(i - 2, i + 3):
            if k not in flows:
                flows[k] = _flow(_gray(scene, k), _gray(scene, k + 1))
        # Speed at frame i + 1 less that at frame i, to fourth order: shake is fast.
        change = (8 * (flows[i + 1] - flows[i - 1]) - flows[i + 2] + flows[i - 2]) / 12
        for columns, sums in found.items():
            estimate = _pair(scene, i, flows[i], change, columns)
            if estimate is not None:
                sums.append(estimate)
        flows = {k: f for k, f in flows.items() if k >= i - 1}
    best = max((_together(sums, columns) for columns, sums in found.items()), key=_significance)
    significant = _significance(best) >= MIN_SIGNIFICANCE
    return best if significant and MIN_READOUT <= abs(best.readout) <= MAX_READOUT else None


def _significance(shutter: RollingShutter) -> float:
    return abs(shutter.readout) / shutter.error if shutter.error > 0 else 0.0


def _together(sums: list[tuple[float, float]], columns: bool) -> RollingShutter:
    """Ratio of sums over the pairs, with the jackknife's error."""
    if len(sums) < MIN_PAIRS:
        return RollingShutter(0.0, 0.0, columns)
    above, below = np.array(sums).T
    without = (above.sum() - above) / np.maximum(below.sum() - below, 1e-12)
    n = len(sums)
    error = float(np.sqrt((n - 1) / n * np.square(without - without.mean()).sum()))
    return RollingShutter(float(above.sum() / max(below.sum(), 1e-12)), error, columns)


def _gray(scene: Scene, i: int) -> U8:
    frame = scene.video.frames[i].permute(1, 2, 0).numpy()
    height = round(WORK_WIDTH * scene.video.height / scene.video.width)
    small = cv2.resize(frame, (WORK_WIDTH, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def _flow(a: U8, b: U8) -> F64:
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return finder.calc(a, b, None)[STEP // 2 :: STEP, STEP // 2 :: STEP].astype(np.float64)


def _pair(
    scene: Scene, i: int, flow: F64, change: F64, columns: bool
) -> tuple[float, float] | None:
    """(Σ pattern·flow, Σ pattern²) of what of both the rigid motion cannot explain."""
    rows, cols = flow.shape[:2]
    height, width = rows * STEP, cols * STEP
    y = (np.arange(rows) * STEP + STEP / 2 - height / 2)[:, None] + np.zeros((1, cols))
    x = (np.arange(cols) * STEP + STEP / 2 - width / 2)[None] + np.zeros((rows, 1))
    focal = float(scene.cameras.intrinsics[i, 0, 0]) * WORK_WIDTH / scene.cameras.width
    depth = cv2.resize(scene.depth[i].numpy(), (cols, rows), interpolation=cv2.INTER_NEAREST)
    moves = scene.dynamic[i].numpy().astype(np.uint8)
    still = cv2.resize(moves, (cols, rows), interpolation=cv2.INTER_AREA) == 0
    there = still & (depth > 0) & np.isfinite(depth)
    if there.sum() < 0.2 * there.size:
        return None
    near = np.where(there, np.median(depth[there]) / np.maximum(depth, 1e-9), 0)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rigid = np.stack(
        [
            np.stack([focal * one + x * x / focal, x * y / focal], -1),
            np.stack([x * y / focal, focal * one + y * y / focal], -1),
            np.stack([-y, x], -1),
            np.stack([x, y], -1),
            np.stack([near, zero], -1),
            np.stack([zero, near], -1),
            np.stack([near * x, near * y], -1),
        ]
    )
    # The change of motion is rigid as well: fitted, so that its noise does not bias r towards 0.
    steady = _fitted(rigid, change, there)
    if np.median(np.linalg.norm(steady[there], axis=-1)) < MIN_SHAKE_PX:
        return None
    share = (x / width if columns else y / height)[..., None]
    pattern = share * steady
    for _ in range(2):  # flow that does not fit (a thing that moves, a false match) is left out
        left = flow - _fitted(rigid, flow, there)
        size = np.linalg.norm(left, axis=-1)
        there = there & (size < 3 * max(float(np.median(size[there])), 0.05))
    pure = pattern - _fitted(rigid, pattern, there)
    return float((pure * left)[there].sum()), float((pure * pure)[there].sum())


def _fitted(basis: F64, field: F64, where: np.ndarray) -> F64:
    """The combination of basis fields [k, h, w, 2] nearest to a field [h, w, 2] where it counts."""
    columns = basis[:, where].reshape(len(basis), -1).T
    weights = np.linalg.lstsq(columns, field[where].ravel(), rcond=None)[0]
    return np.tensordot(weights, basis, 1)
