"""Complete a video by what it shows itself: at other moments, and where it shows the like.

What another frame saw is fetched along the motion (flow_propagation.py). What no frame saw is made
up once, by copies (exemplar.py), in the frame that lacks most, and carried along the motion to all
others, so that every frame shows the same; then in the frame that now lacks most, and so on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.exemplar import Pool, fill_by_copies
from recam.completion.flow_propagation import DEPTH_STEP, Searched, as_pictures, search
from recam.completion.flow_tracing import trace
from recam.runtime.threads import one_torch_thread
from recam.types import PartialVideo, Progress, no_progress

OTHER_FRAMES = 2
"""So many other frames, evenly spread, are copied from too."""


def complete_by_copies(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """uint8 [t, 3, h, w]. Known pixels stay bit for bit. Raises RecamError when nothing at all is
    known."""
    searched = search(partial, progress)
    made = make_up(partial, searched, progress)
    return keep_known(partial, made)


def make_up(partial: PartialVideo, searched: Searched, progress: Progress = no_progress) -> Tensor:
    """``searched.frames`` with what no frame shows made up once: uint8 [t, 3, h, w]."""
    frames, left = as_pictures(searched.frames).copy(), searched.unseen.copy()
    seen = ~left
    if not seen.any():
        return searched.frames
    behind = None
    if searched.nearness is not None:
        behind = np.where(searched.nearness != 0, np.exp(-DEPTH_STEP * searched.nearness), 0)
    total = int(left.sum())
    while left.any():
        now = int(left.sum((1, 2)).argmax())
        asked = _asked(now, seen)
        depth = None if behind is None else behind[asked].astype(np.float32)
        pool = Pool(frames[asked], seen[asked], depth)
        with one_torch_thread():
            frames[now] = fill_by_copies(
                frames[now], left[now], pool, None if behind is None else behind[now], seed=now
            )
        made = np.zeros_like(left)
        made[now], left[now] = left[now], False
        if searched.motion is not None:
            for past in (True, False):
                found = trace(frames, left, made, searched.motion, past)
                reached = left & (found.frame >= 0)
                frames[reached] = found.color[reached]
                left &= ~reached
        progress("making up what no frame shows", total - int(left.sum()), total)
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def _asked(now: int, seen: np.ndarray) -> list[int]:
    """The frame itself, and a few others, evenly spread; frames that show nothing are left out."""
    spread = np.linspace(0, len(seen) - 1, OTHER_FRAMES).round().astype(int)
    return [i for i in dict.fromkeys([now, *spread.tolist()]) if seen[i].any()]
