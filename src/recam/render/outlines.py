"""Outlines without stairs, where two surfaces meet that do not in the source.

A pixel of a picture is the mean of what it covers. The renderer takes each from one surface, so
that outlines which moved apart are stairs. Their corners are mixed with what lies across; straight
outlines stay as sharp as they are.
"""

from __future__ import annotations

import numpy as np

from recam.render.splat import View
from recam.runtime.jit import kernel

STILL_BESIDE_PX = 3
"""Pixels that lie as near to each other as this in the source met there already."""


def smooth_outlines(view: View, source_width: int, step: float) -> None:
    """Mix the corners of stairs along outlines with what lies across, in place; holes stay.

    source_width: of the frame that ``view.origin`` counts in. step: relative difference of depth
    from which on there is an outline (``RenderConfig.edge_threshold``).
    """
    frame = view.frame.numpy()
    _mix(
        frame.copy(), view.known.numpy(), view.depth.numpy(), view.origin.numpy(),
        np.int64(source_width), np.float32(1 + step), frame,
    )  # fmt: skip


@kernel
def _mix(frame, known, depth, origin, width, ratio, out):
    _, h, w = frame.shape
    for y in range(h):
        for x in range(w):
            if known[y, x] <= 0:
                continue
            d, o = depth[y, x], origin[y, x]
            total, across = 4, 0
            red, green, blue = 0, 0, 0
            for v in range(max(y - 1, 0), min(y + 2, h)):
                for u in range(max(x - 1, 0), min(x + 2, w)):
                    if (v == y and u == x) or known[v, u] <= 0:
                        continue
                    weight = 2 if v == y or u == x else 1
                    total += weight
                    other = depth[v, u]
                    if other <= d * ratio and d <= other * ratio:
                        continue
                    p = origin[v, u]
                    if o >= 0 and p >= 0:
                        apart = max(abs(o // width - p // width), abs(o % width - p % width))
                        if apart < STILL_BESIDE_PX:
                            continue
                    across += weight
                    red += weight * frame[0, v, u]
                    green += weight * frame[1, v, u]
                    blue += weight * frame[2, v, u]
            # Along a straight outline a quarter lies across. What is more is the corner of a stair.
            share = min(2.0 * across / total - 0.5, 0.5)
            if share > 0:
                for c, other in ((0, red), (1, green), (2, blue)):
                    own = frame[c, y, x]
                    out[c, y, x] = int(own + share * (other / across - own) + 0.5)
