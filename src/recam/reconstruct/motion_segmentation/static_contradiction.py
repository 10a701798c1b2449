"""Things that stand still for a while only: what a still world would have to show, and does not.

Flow sees nothing wrong with a child that sits for a second. But where it sat, other frames show the
bed; what is truly still looks the same whenever it is in view.
"""

from __future__ import annotations

import cv2
import numpy as np

from recam.arrays import F32, U8, Mask
from recam.reconstruct.warping import inverse_depth_warps, seen_in
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

NUM_VIEWS = 14
CONTRADICTED = 0.35
"""Part of the witnesses, of those that see the place free, that must see something else there."""
DIFFERENCE = 22.0
"""Grey levels by which it must differ from all pixels within REACH_PX."""
REACH_PX = 1


def contradicted(
    gray: U8,
    dynamic: Mask,
    rho: F32,
    cameras: Cameras,
    progress: Progress = no_progress,
) -> Mask:
    """Pixels, not ``dynamic``, whose surface other frames do not show where it would have to be.

    gray: uint8 [t, h, w]; dynamic: bool [t, h, w], what is known to move, which is no witness;
    rho: inverse depth [t, h, w]. Each pixel is looked up in up to NUM_WITNESSES frames all over the
    clip. Returns bool [t, h, w], without specks. Brightness is compared after each frame's median
    is taken off.
    """
    level = gray.astype(np.float32)
    level -= np.median(level[:, ::4, ::4], axis=(1, 2))[:, None, None]
    t = len(gray)
    views = np.unique(np.linspace(0, t - 1, min(NUM_VIEWS, t)).round().astype(np.int64))
    blocked = np.stack([cv2.dilate(d.astype(np.uint8), np.ones((5, 5), np.uint8)) for d in dynamic])
    out = np.zeros(gray.shape, bool)

    def job(i: int) -> None:
        others = views[np.abs(views - i) > 1]
        if len(others) < 3:
            return
        share = np.zeros(gray.shape[1:], np.float32)
        a, b = inverse_depth_warps(cameras, i, others.tolist())
        _contradict(level, blocked, rho, i, others, a, b, share)
        found = (share > CONTRADICTED).astype(np.uint8)
        found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        out[i] = found.astype(bool)

    parallel_frames(job, range(t), progress, "looking for things that pause")
    return out


@kernel
def _contradict(level, blocked, rho, i, others, a, b, share):
    _, h, w = level.shape
    for y in range(h):
        for x in range(w):
            if blocked[i, y, x]:
                continue
            own, num, unlike = rho[i, y, x], 0, 0
            px, py = x + 0.5, y + 0.5
            for k in range(len(others)):
                j = others[k]
                u, v, seen = seen_in(a, b, k, px, py, own, j, rho, blocked, 1)
                if not seen:
                    continue
                iu, iv = int(u), int(v)
                num += 1
                least = 255.0
                for row in range(max(iv - REACH_PX, 0), min(iv + REACH_PX + 1, h)):
                    for column in range(max(iu - REACH_PX, 0), min(iu + REACH_PX + 1, w)):
                        least = min(least, abs(level[j, row, column] - level[i, y, x]))
                if least > DIFFERENCE:
                    unlike += 1
            if num >= 3:
                share[y, x] = unlike / num
