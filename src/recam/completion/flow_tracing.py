"""Follow the motion from every unseen pixel to the nearest moment that shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recam.flow.masked import Motion
from recam.runtime.jit import kernel


@kernel
def sample_cubic(image, x, y, out):
    """Write image [h, w, c] (uint8 or float32) at (x, y), in pixel indices, into out [c].

    Cubic convolution (Keys 1981, a = −1/2), limited to the range of the four nearest pixels so
    that edges do not ring; the border pixel is repeated outside.
    """
    height, width, channels = image.shape
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    wx = (
        ((-0.5 * fx + 1.0) * fx - 0.5) * fx,
        (1.5 * fx - 2.5) * fx * fx + 1.0,
        ((-1.5 * fx + 2.0) * fx + 0.5) * fx,
        (0.5 * fx - 0.5) * fx * fx,
    )
    wy = (
        ((-0.5 * fy + 1.0) * fy - 0.5) * fy,
        (1.5 * fy - 2.5) * fy * fy + 1.0,
        ((-1.5 * fy + 2.0) * fy + 0.5) * fy,
        (0.5 * fy - 0.5) * fy * fy,
    )
    for c in range(channels):
        total = 0.0
        low, high = 1e9, -1e9
        for j in range(4):
            row = min(max(y0 - 1 + j, 0), height - 1)
            line = 0.0
            for i in range(4):
                column = min(max(x0 - 1 + i, 0), width - 1)
                value = float(image[row, column, c])
                line += wx[i] * value
                if 1 <= i <= 2 and 1 <= j <= 2:
                    low, high = min(low, value), max(high, value)
            total += wy[j] * line
        out[c] = min(max(total, low), high)


@kernel
def cubic_at(image, x, y):
    """uint8 [n, c] of image [h, w, c] at n places (x, y), in pixel indices, as ``sample_cubic``."""
    out = np.empty((len(x), image.shape[2]), np.uint8)
    pixel = np.empty(image.shape[2], np.float64)
    for i in range(len(x)):
        sample_cubic(image, x[i], y[i], pixel)
        for c in range(image.shape[2]):
            out[i, c] = np.uint8(pixel[c] + 0.5)
    return out


@kernel
def _trace_step(
    step, slack, reverse, wanted, source, sources, frames, before,
    before_t, before_xy, before_miss, here_t, here_xy, here_miss, color,
):  # fmt: skip
    """One frame of a sweep: where do its wanted pixels get their colour from?

    step, slack: motion to the frame swept last (index ``before``) and its slack; reverse: motion
    from there to here. source: bool [h, w], pixels of ``before`` that may be sampled; sources: all
    frames'. before_*: what the sweep found for ``before``. Writes here_t (frame index or −1),
    here_xy (px), here_miss (px, summed along the way) and color uint8 [h, w, 3].
    """
    height, width = wanted.shape
    pixel = np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            here_t[y, x] = -1
            if not wanted[y, x]:
                continue
            to_x, to_y = x + step[y, x, 0], y + step[y, x, 1]
            column, row = int(np.floor(to_x + 0.5)), int(np.floor(to_y + 0.5))
            if column < 0 or row < 0 or column >= width or row >= height:
                continue
            miss = np.hypot(
                step[y, x, 0] + reverse[row, column, 0], step[y, x, 1] + reverse[row, column, 1]
            )
            if miss > slack[y, x]:
                continue
            if source[row, column]:
                found, from_x, from_y = before, to_x, to_y
            elif before_t[row, column] >= 0:
                found = before_t[row, column]
                from_x = before_xy[row, column, 0] + (to_x - column)
                from_y = before_xy[row, column, 1] + (to_y - row)
                near_x = min(max(int(np.floor(from_x + 0.5)), 0), width - 1)
                near_y = min(max(int(np.floor(from_y + 0.5)), 0), height - 1)
                if not sources[found, near_y, near_x]:  # steps added up to outside of the source
                    from_x, from_y = before_xy[row, column, 0], before_xy[row, column, 1]
                miss += before_miss[row, column]
            else:
                continue
            here_t[y, x], here_miss[y, x] = found, miss
            here_xy[y, x, 0], here_xy[y, x, 1] = from_x, from_y
            sample_cubic(frames[found], from_x, from_y, pixel)
            for c in range(3):
                color[y, x, c] = np.uint8(pixel[c] + 0.5)


@dataclass(frozen=True)
class Traced:
    """What a sweep along time found for the wanted pixels.

    frame: int16 [t, h, w], the frame that shows the pixel's surface, −1 = none found.
    place: float32 [t, h, w, 2], where, (column, row) in pixel indices. color: uint8 [t, h, w, 3],
    what it shows. miss: float16 [t, h, w], px that forth and back missed by, summed along the way.
    """

    frame: np.ndarray
    place: np.ndarray
    color: np.ndarray
    miss: np.ndarray

    def share(self, t: int) -> np.ndarray:
        """float32 [h, w]: how much frame t's finds count, the nearer moment and the surer way more;
        0 where there is none."""
        gap = np.maximum(np.abs(t - self.frame[t]), 1).astype(np.float32)
        miss = self.miss[t].astype(np.float32)
        return np.where(self.frame[t] >= 0, 1 / (gap**2 * (1 + miss**2)), 0).astype(np.float32)


def trace(
    frames: np.ndarray, wanted: np.ndarray, sources: np.ndarray, motion: Motion, past: bool
) -> Traced:
    """Follow every wanted pixel into the past (or future) to the nearest source pixel.

    frames: uint8 [t, h, w, 3]. wanted, sources: bool [t, h, w]. The way ends without a find where
    it leaves the picture or where the surface is hidden: forth and back do not agree there.
    """
    num, height, width = wanted.shape
    found = Traced(
        np.full(wanted.shape, -1, np.int16),
        np.zeros((num, height, width, 2), np.float32),
        np.zeros((num, height, width, 3), np.uint8),
        np.zeros(wanted.shape, np.float16),
    )
    order = range(1, num) if past else range(num - 2, -1, -1)
    step, reverse = (motion.past, motion.future) if past else (motion.future, motion.past)
    before_miss = np.zeros((height, width), np.float32)
    for now in order:
        before = now - 1 if past else now + 1
        if not (wanted[now].any() and (sources[before].any() or (found.frame[before] >= 0).any())):
            continue  # nothing leads here
        here_miss = np.zeros_like(before_miss)
        _trace_step(
            step.flow[now].astype(np.float32), step.slack[now].astype(np.float32),
            reverse.flow[before].astype(np.float32),
            wanted[now], sources[before], sources, frames, before,
            found.frame[before], found.place[before], before_miss,
            found.frame[now], found.place[now], here_miss, found.color[now],
        )  # fmt: skip
        found.miss[now] = before_miss = here_miss
    return found
