"""Where filled-in pixels have their colours from, and the same at another size.

Holes are filled at a working size. In a larger video every pixel is then one that the video itself
shows in full: at the same place of the same frame, corrected by what the filled colour differs from
the working copy's there. Only what was painted is enlarged.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.flow_tracing import Traced, sample_cubic
from recam.completion.windows import resize_partial
from recam.runtime.jit import kernel
from recam.runtime.memory import working_pixels
from recam.runtime.threads import one_opencv_thread
from recam.types import PartialVideo, Progress

AS_EXPECTED_PX = 1.0
"""Neighbours whose places are apart by what they are apart themselves, within this, show one
surface: between them places are interpolated."""
CUBIC_PX = 2
"""How far the samples of ``sample_cubic`` reach."""


@dataclass(frozen=True)
class Origins:
    """Which known pixels a filled video shows in its holes.

    frame: int16 [t, h, w], −1 = known itself, or painted. place: float32 [t, h, w, 2], (column,
    row) there, in pixel indices.
    """

    frame: np.ndarray
    place: np.ndarray

    def nearest(self, *found: Traced) -> None:
        """Take up what was found, of the nearest moment and by the surest way, where nothing is."""
        for t, (frame, place) in enumerate(zip(self.frame, self.place)):
            best = np.where(frame >= 0, np.inf, 0).astype(np.float32)
            for one in found:
                share = one.share(t)
                better = share > best
                frame[better], place[better] = one.frame[t][better], one.place[t][better]
                best[better] = share[better]

    def copied(self, at: tuple[np.ndarray, ...], frame: np.ndarray, place: np.ndarray) -> None:
        """Write that pixels show what others do, which may be filled in themselves.

        at: (frame, row, column) of the pixels, int [n] each. frame: int [n], place: float [n, 2],
        of the others.
        """
        height, width = self.frame.shape[1:]
        column, row = np.rint(place).astype(np.int64).T
        beside = frame, row.clip(0, height - 1), column.clip(0, width - 1)
        again = self.frame[beside] >= 0
        moved = self.place[beside] + place - np.stack([beside[2], beside[1]], -1)
        self.frame[at] = np.where(again, self.frame[beside], frame)
        self.place[at] = np.where(again[:, None], moved, place)


def no_origins(shape: tuple[int, ...]) -> Origins:
    """Of a video [t, h, w] that shows nothing in its holes yet."""
    return Origins(np.full(shape, -1, np.int16), np.zeros((*shape, 2), np.float32))


@dataclass(frozen=True)
class Filled:
    """A video without holes. frames: uint8 [t, 3, h, w]. origins: of what is filled in."""

    frames: Tensor
    origins: Origins


def at_working_size(
    fill: Callable[[PartialVideo, Progress], Filled],
) -> Callable[[PartialVideo, Progress], Tensor]:
    """``fill``, of large pictures on a smaller copy; uint8 [t, 3, h, w] at the video's own size.

    Known pixels stay as they are; what shows known ones is as sharp as they are.
    """

    def filled(partial: PartialVideo, progress: Progress) -> Tensor:
        height, width = partial.frames.shape[2:]
        scale = (working_pixels(height * width) / (height * width)) ** 0.5
        if scale >= 1:
            return fill(partial, progress).frames
        small = resize_partial(partial, max(1, int(height * scale)), max(1, int(width * scale)))
        return enlarged(partial, small, fill(small, progress))

    return filled


def enlarged(partial: PartialVideo, small: PartialVideo, filled: Filled) -> Tensor:
    """uint8 [t, 3, h, w]: a partial video filled as its smaller copy was."""
    frames = np.ascontiguousarray(partial.frames.permute(0, 2, 3, 1).numpy())
    known = partial.known.numpy()
    pictures = np.ascontiguousarray(small.frames.permute(0, 2, 3, 1).numpy())
    result = filled.frames.permute(0, 2, 3, 1).numpy()
    square = np.ones((2 * CUBIC_PX + 1, 2 * CUBIC_PX + 1), np.uint8)

    def within(part: np.ndarray) -> np.ndarray:
        return cv2.erode((part > 0.5).astype(np.uint8), square)

    out = torch.empty_like(partial.frames)
    with one_opencv_thread() as num_threads, ThreadPoolExecutor(num_threads) as pool:
        solid = np.stack(list(pool.map(within, known)))
        small_solid = np.stack(list(pool.map(within, small.known.numpy())))

        def write(t: int) -> None:
            apart = np.zeros(pictures.shape[1:], np.float32)
            small_result = np.ascontiguousarray(result[t])
            frame, place = filled.origins.frame[t].copy(), filled.origins.place[t]
            _differences(small_result, pictures, small_solid, frame, place, apart)
            picture = frames[t].copy()
            _enlarge(frames, solid, known[t], frame, place, apart, small_result, picture)
            out[t] = torch.from_numpy(picture).permute(2, 0, 1)

        list(pool.map(write, range(len(frames))))
    return keep_known(partial, out)


@kernel
def _differences(result, pictures, solid, frame, place, apart):
    """Write into ``apart`` [h, w, 3] what a filled frame differs from what its origins show; where
    those lie at a border of what is known, they are forgotten."""
    height, width = frame.shape
    pixel = np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            if frame[y, x] < 0:
                continue
            row = min(max(np.int64(np.floor(place[y, x, 1] + 0.5)), 0), height - 1)
            column = min(max(np.int64(np.floor(place[y, x, 0] + 0.5)), 0), width - 1)
            if not solid[frame[y, x], row, column]:
                frame[y, x] = -1
                continue
            sample_cubic(pictures[frame[y, x]], place[y, x, 0], place[y, x, 1], pixel)
            for c in range(3):
                apart[y, x, c] = result[y, x, c] - pixel[c]


@kernel
def _enlarge(frames, solid, known, frame, place, apart, result, out):
    """Write the hole pixels of one full-size frame, ``out`` [H, W, 3].

    frames: uint8 [t, H, W, 3]. solid: uint8 [t, H, W], known with all that sampling there reads.
    known: float32 [H, W]. frame, place, apart, result: of the working copy's frame [h, w].
    """
    tall, wide = known.shape
    height, width = frame.shape
    sy, sx = height / tall, width / wide
    pixel, weights = np.empty(3, np.float64), np.empty(4, np.float64)
    rows, columns = np.empty(4, np.int64), np.empty(4, np.int64)
    for y in range(tall):
        fy = min(max((y + 0.5) * sy - 0.5, 0.0), height - 1.0)
        top = min(np.int64(fy), max(height - 2, 0))
        for x in range(wide):
            if known[y, x] >= 1:
                continue
            fx = min(max((x + 0.5) * sx - 0.5, 0.0), width - 1.0)
            left = min(np.int64(fx), max(width - 2, 0))
            for k in range(4):
                rows[k] = min(top + k // 2, height - 1)
                columns[k] = min(left + k % 2, width - 1)
                weights[k] = (1 - abs(fy - top - k // 2)) * (1 - abs(fx - left - k % 2))
            near_y, near_x = np.int64(fy + 0.5), np.int64(fx + 0.5)
            source = frame[near_y, near_x]
            shown = False
            if source >= 0:
                to_x, to_y = 0.0, 0.0
                base_x, base_y = place[near_y, near_x, 0], place[near_y, near_x, 1]
                for k in range(4):
                    step_x, step_y = columns[k] - near_x, rows[k] - near_y
                    at_x, at_y = base_x + step_x, base_y + step_y
                    if frame[rows[k], columns[k]] == source:
                        px, py = place[rows[k], columns[k], 0], place[rows[k], columns[k], 1]
                        if abs(px - at_x) < AS_EXPECTED_PX and abs(py - at_y) < AS_EXPECTED_PX:
                            at_x, at_y = px, py
                    to_x += weights[k] * at_x
                    to_y += weights[k] * at_y
                to_x, to_y = (to_x + 0.5) / sx - 0.5, (to_y + 0.5) / sy - 0.5
                row = min(max(np.int64(np.floor(to_y + 0.5)), 0), tall - 1)
                column = min(max(np.int64(np.floor(to_x + 0.5)), 0), wide - 1)
                if solid[source, row, column]:
                    sample_cubic(frames[source], to_x, to_y, pixel)
                    shown = True
            for c in range(3):
                value = 0.0
                for k in range(4):
                    if shown:
                        value += weights[k] * apart[rows[k], columns[k], c]
                    else:
                        value += weights[k] * result[rows[k], columns[k], c]
                if shown:
                    value += pixel[c]
                out[y, x, c] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
