"""What an eye misses beside a thing's edge: narrow, and always of what lies behind.

An eye that steps aside opens gaps along rows, a few pixels wide. What borders them on the far side
goes on into them. Copies from elsewhere, which look at colours, would bring bits of the thing's own
edge along.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recam.types import Evidence, Rendering

MAX_GAP = 0.04
"""Of the picture's width: a little more than comfortable eyes open."""


def close_gaps(view: Rendering, edge_margin: int) -> Tensor:
    """Fill, in place, each row's narrow gaps between two known pixels with the one that lies
    farther away, colour and depth. edge_margin: pixels that rendering leaves out beside a gap
    (RenderConfig). Returns where, bool [t, h, w]."""
    widest = MAX_GAP * view.frames.shape[-1] + 2 * edge_margin
    return torch.stack([_close_frame(view, i, widest) for i in range(len(view))])


def _close_frame(view: Rendering, i: int, widest: float) -> Tensor:
    known, depth = view.known[i] > 0.5, view.depth[i]
    h, w = known.shape
    x = torch.arange(w).expand(h, w)
    left = torch.where(known, x, -1).cummax(1).values
    right = torch.where(known, x, w).flip(1).cummin(1).values.flip(1)
    inner = ~known & (left >= 0) & (right < w) & (right - left - 1 <= widest)
    left, right = left.clamp(min=0), right.clamp(max=w - 1)
    behind = torch.where(depth.gather(1, left) >= depth.gather(1, right), left, right)
    y, at = inner.nonzero(as_tuple=True)
    source = behind[y, at]
    view.frames[i][:, y, at] = view.frames[i][:, y, source]
    view.depth[i][y, at] = depth[y, source]
    view.known[i][y, at] = 1.0
    if view.evidence is not None:
        view.evidence[i][y, at] = Evidence.MADE_UP
    return inner
