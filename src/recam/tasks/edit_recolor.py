"""What an edit made of a colour: the edited frame tells it, and every other frame may ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recam.arrays import F32, Mask
from recam.runtime.jit import kernel

COLOURS = 16
"""Steps of each colour channel in the table, …"""
PLACES = 13
"""… and of the picture's longer side."""
REACH = ((0.7, 0.7, 1.0), (1.0, 1.5, 5e-2), (1.5, 3.0, 2e-3), (3.0, 8.0, 1e-5), (8.0, 8.0, 1e-8))
"""(steps of colour, steps of place, weight): each counts where the ones before found little."""


@dataclass(frozen=True)
class ColourChange:
    """table: float32 [rows, columns, COLOURS, COLOURS, COLOURS, 3], the edited colour by place and
    original colour. cell: px that a step of place is wide."""

    table: F32
    cell: float


def colour_change(original: F32, edited: F32, where: Mask) -> ColourChange:
    """What an edit made of the colours of a picture, both float32 [h, w, 3] in [0, 255].

    The mean edited colour of what had a similar colour nearby, or, where there was nothing, of what
    was less alike and farther away (kernel regression over a grid of place and colour, as the
    bilateral grid of Chen et al. 2007). where: bool [h, w], the pixels to learn from. Raises
    ValueError where there are none.
    """
    if not where.any():
        raise ValueError("there is no pixel to learn from; give a mask that is true somewhere")
    from scipy.ndimage import gaussian_filter

    height, width = where.shape
    cell = max(height, width) / PLACES
    size = (int(height / cell) + 2, int(width / cell) + 2, COLOURS, COLOURS, COLOURS)
    rows, columns = np.nonzero(where)
    steps = np.minimum(original[where] * (COLOURS / 256), COLOURS - 1).astype(np.int64)
    place = np.rint(np.stack([rows, columns], 1) / cell).astype(np.int64)
    index = np.ravel_multi_index((*place.T, *steps.T), size)
    values = np.concatenate([edited[where], np.ones((len(index), 1), np.float32)], 1)
    table = np.zeros((*size, 3), np.float32)
    count = np.zeros(size, np.float32)
    for channel in range(4):
        sums = np.bincount(index, values[:, channel], int(np.prod(size))).astype(np.float32)
        into = count if channel == 3 else table[..., channel]
        for colour, reach, weight in REACH:
            sigma = (reach, reach, colour, colour, colour)
            into += weight * gaussian_filter(
                sums.reshape(size), sigma, mode="constant", truncate=2.5
            )
    observed = count > 1e-20
    mean = edited[where].mean(0)
    table = np.where(observed[..., None], table / np.maximum(count, 1e-20)[..., None], mean)
    return ColourChange(table.astype(np.float32), cell)


def changed_colours(change: ColourChange, colours: F32, at: F32) -> F32:
    """Edited colours float32 [n, 3] of original ones [n, 3] in [0, 255]; at: [n, 2], where in the
    edited frame they are thought to be from, in pixel indices (x, y)."""
    out = np.empty((len(colours), 3), np.float32)
    _look_up(
        change.table, np.ascontiguousarray(colours, np.float32),
        np.ascontiguousarray(at / np.float32(change.cell), np.float32), out,
    )  # fmt: skip
    return out


@kernel
def _look_up(table, colours, at, out):
    """Linear in all five directions."""
    size = table.shape
    low = np.empty(5, np.int64)
    share = np.empty(5, np.float32)
    for n in range(len(colours)):
        for axis in range(5):
            if axis < 2:
                x = at[n, 1 - axis]
            else:
                x = colours[n, axis - 2] * (size[axis] / np.float32(256)) - np.float32(0.5)
            x = min(max(x, np.float32(0)), np.float32(size[axis] - 1))
            low[axis] = min(int(x), size[axis] - 2)
            share[axis] = x - low[axis]
        for channel in range(3):
            out[n, channel] = 0
        for corner in range(32):
            weight = np.float32(1)
            for axis in range(5):
                far = (corner >> axis) & 1
                weight *= share[axis] if far else 1 - share[axis]
            if weight == 0:
                continue
            for channel in range(3):
                out[n, channel] += weight * table[
                    low[0] + (corner & 1), low[1] + ((corner >> 1) & 1),
                    low[2] + ((corner >> 2) & 1), low[3] + ((corner >> 3) & 1),
                    low[4] + ((corner >> 4) & 1), channel,
                ]  # fmt: skip
