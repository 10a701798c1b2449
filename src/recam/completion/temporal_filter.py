"""Make what was filled in agree with itself over time: a motion-compensated temporal filter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.flow_propagation import as_pictures, luma_of
from recam.completion.neighbor_lookup import look_around
from recam.flow.masked import Motion, estimate_motion
from recam.runtime.threads import one_opencv_thread
from recam.types import PartialVideo, Progress, no_progress

MAX_UNLIKE = 20.0
"""Grey levels by which half of a frame may differ from what another shows of it: beyond lies a cut
or a flash."""
PASSES = 8
"""More gain nothing (docs/log.md)."""
Fill = Callable[[PartialVideo, Progress], Tensor]


def steady_fill(fill: Fill, passes: int) -> Fill:
    """``fill``, with what it filled in steadied. Known pixels stay as it left them."""
    if passes == 0:
        return fill

    def steadied_fill(partial: PartialVideo, progress: Progress) -> Tensor:
        filled, hole = fill(partial, progress), partial.known <= 0.5
        if len(filled) == 1 or not bool(hole.any()):
            return filled
        frames = keep_known(partial, steadied(filled, hole, passes, progress))
        return torch.where(hole[:, None], frames, filled)

    return steadied_fill


def steadied(
    frames: Tensor,
    hole: Tensor,
    passes: int = PASSES,
    progress: Progress = no_progress,
) -> Tensor:
    """A completed video, uint8 [t, 3, h, w], in which every hole pixel is the mean of what the two
    frames before it, it, and the two after it show of the same surface; ``passes`` times over.

    hole: bool [t, h, w]; all other pixels stay. The motion is that of the completed video, found
    once; frames where the way there and back disagree do not count. Each frame's answer errs in its
    own way, so the mean is nearer the truth than any of them, and it flickers less.
    """
    holes = hole.numpy()
    everywhere = np.ones_like(holes)
    motion = estimate_motion(
        luma_of(frames), everywhere, everywhere, progress=progress, everywhere=True
    )
    now = as_pictures(frames).copy()
    alike = [_alike(now, motion, t) for t in range(len(now))]

    def averaged(t: int) -> np.ndarray:
        """What frame t's holes show after this pass: uint8 [n, 3]."""
        seen = look_around(now, everywhere, holes[t], motion, t)[:, holes[t]]
        found = (seen[..., 3:] > 0) & alike[t]
        total = now[t][holes[t]] + (seen[..., :3] * found).sum(0, dtype=np.float32)
        return (total / (1 + found.sum(0))).round().astype(np.uint8)

    with one_opencv_thread() as num_threads, ThreadPoolExecutor(num_threads) as pool:
        for number in range(passes):
            after = list(pool.map(averaged, range(len(now))))  # all of them, then put in
            for t, colors in enumerate(after):
                now[t][holes[t]] = colors
            progress("steadying", number + 1, passes)
    return torch.from_numpy(now).permute(0, 3, 1, 2).contiguous()


def _alike(frames: np.ndarray, motion: Motion, t: int) -> np.ndarray:
    """bool [4, 1, 1]: whether each of the frames around t shows the same scene at all, by a
    pixel in sixteen."""
    everywhere = np.broadcast_to(np.True_, frames.shape[:3])
    some = np.zeros(frames.shape[1:3], bool)
    some[1::4, 1::4] = True
    seen = look_around(frames, everywhere, some, motion, t)
    seen, now = seen[:, 1::4, 1::4], frames[t, 1::4, 1::4]
    off = np.abs(seen[..., :3].astype(np.int16) - now).mean(-1)
    alike = [np.median(o[f]) <= MAX_UNLIKE if f.any() else False
             for o, f in zip(off, seen[..., 3] > 0)]  # fmt: skip
    return np.array(alike)[:, None, None]
