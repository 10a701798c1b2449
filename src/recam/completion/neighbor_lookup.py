"""What the frames around a moment show of its pixels' surfaces, whatever it shows itself.

Needed where what is known may be wrong (``find_witnesses``), and to make a completed video agree
with itself over time (temporal_filter.py).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.completion.flow_propagation import MARGIN_PX, as_pictures, eroded, luma_of, propagate
from recam.completion.flow_tracing import sample_cubic
from recam.configs import Fill
from recam.flow.masked import Motion, Steps, estimate_motion
from recam.runtime.jit import kernel
from recam.types import PartialVideo, Progress, no_progress

WITNESSED: tuple[Fill, ...] = ("traced-past", "traced-future", "flow-past", "flow-future")
"""Fills that show them at known pixels: one frame before, one after, two before, two after."""


def find_witnesses(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """What neighbouring frames show of the surface of every known pixel.

    uint8 [4, t, 4, h, w], in the order of WITNESSED: colours and trust (255 = sure, 0 = not found,
    and where nothing is known). Raises RecamError when nothing at all is known.
    """
    known = (partial.known > 0.5).numpy()
    found = np.zeros((len(WITNESSED), *known.shape, 4), np.uint8)
    if len(known) > 1:
        luma = luma_of(propagate(partial, progress))
        trusted = eroded(known, MARGIN_PX)
        motion = estimate_motion(luma, known, trusted, progress=progress, everywhere=True)
        frames = as_pictures(partial.frames)
        for t in range(len(known)):
            found[:, t] = look_around(frames, known, known[t], motion, t)
    return torch.from_numpy(found).permute(0, 1, 4, 2, 3).contiguous()


def look_around(
    frames: np.ndarray, sources: np.ndarray, wanted: np.ndarray, motion: Motion, t: int
) -> np.ndarray:
    """What the two frames before and the two after frame t show of its wanted pixels.

    frames: uint8 [t, h, w, 3]. sources: bool [t, h, w], what may be looked at. wanted: bool
    [h, w]. uint8 [4, h, w, 4], in the order of WITNESSED: colours and trust, 0 = nothing found: it
    leaves the picture, the way there and back disagree, or no source is there.
    """
    out = np.zeros((len(WITNESSED), *wanted.shape, 4), np.uint8)
    for i, (there, back, sign) in enumerate(
        [(motion.past, motion.future, -1), (motion.future, motion.past, 1)]
    ):
        if not 0 <= t + sign < len(frames):
            continue
        # At the end of the video the second step goes nowhere, and is thrown away.
        one = t + sign
        two = one + sign if 0 <= one + sign < len(frames) else one
        _look(
            *_step(there, back, t, one), *_step(there, back, one, two),
            frames[one], frames[two], sources[one], sources[two], wanted, out[i], out[2 + i],
        )  # fmt: skip
        if two == one:
            out[2 + i] = 0
    return out


def _step(there: Steps, back: Steps, start: int, end: int) -> tuple[np.ndarray, ...]:
    flow, slack, reverse = there.flow[start], there.slack[start], back.flow[end]
    return flow.astype(np.float32), slack.astype(np.float32), reverse.astype(np.float32)


@kernel
def _look(
    flow1, slack1, reverse1, flow2, slack2, reverse2,
    frame1, frame2, source1, source2, wanted, out1, out2,
):  # fmt: skip
    """One direction of look_around: follow wanted pixels one step, and another one from there."""
    height, width = wanted.shape
    pixel = np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            if not wanted[y, x]:
                continue
            at_x, at_y, miss = x + flow1[y, x, 0], y + flow1[y, x, 1], 0.0
            row, column = int(np.floor(at_y + 0.5)), int(np.floor(at_x + 0.5))
            if row < 0 or column < 0 or row >= height or column >= width:
                continue
            miss = np.hypot(
                flow1[y, x, 0] + reverse1[row, column, 0], flow1[y, x, 1] + reverse1[row, column, 1]
            )
            if miss > slack1[y, x]:
                continue
            if source1[row, column]:
                sample_cubic(frame1, at_x, at_y, pixel)
                for c in range(3):
                    out1[y, x, c] = np.uint8(pixel[c] + 0.5)
                out1[y, x, 3] = np.uint8(255 / (1.1 + miss) + 0.5)
            step_x, step_y = flow2[row, column, 0], flow2[row, column, 1]
            at_x, at_y = at_x + step_x, at_y + step_y
            end_row, end_column = int(np.floor(at_y + 0.5)), int(np.floor(at_x + 0.5))
            if end_row < 0 or end_column < 0 or end_row >= height or end_column >= width:
                continue
            again = np.hypot(
                step_x + reverse2[end_row, end_column, 0], step_y + reverse2[end_row, end_column, 1]
            )
            if again > slack2[row, column] or not source2[end_row, end_column]:
                continue
            sample_cubic(frame2, at_x, at_y, pixel)
            for c in range(3):
                out2[y, x, c] = np.uint8(pixel[c] + 0.5)
            out2[y, x, 3] = np.uint8(255 / (1.2 + miss + again) + 0.5)
