"""Simple ways to fill holes, to compare with. Each maps a PartialVideo to uint8 [t, 3, h, w].

All keep known pixels bit for bit, blend partly known ones by ``partial.known``, and raise
RecamError when nothing at all is known.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.completion.pull_push import require_something_known
from recam.types import PartialVideo, Progress, no_progress

INPAINT_RADIUS = 3.0


def fill_hold_nearest(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Take the same pixel from the nearest frame that knows it; else the nearest pixel filled so.

    Ties between past and future go to the past. uint8 [t, 3, h, w].
    """
    require_something_known(partial)
    import cv2

    seen = (partial.known > 0.5).numpy()
    if not seen.any():
        seen = (partial.known > 0).numpy()
    source = _nearest_known_frame(seen)
    frames = partial.frames.numpy()
    filled = np.empty_like(frames)
    y, x = np.indices(seen.shape[1:])
    never = source[0] < 0  # known in no frame: the same pixels for every frame
    _, labels = cv2.distanceTransformWithLabels(
        never.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label: np.ndarray = np.asarray(labels)
    at = np.zeros((int(label.max()) + 1, 2), np.int64)
    at[label[~never]] = np.stack([y[~never], x[~never]], -1)  # type: ignore[index]
    near_y, near_x = at[label][..., 0], at[label][..., 1]
    for t in range(len(frames)):
        copied = frames[source[t].clip(0), :, y, x]
        filled[t] = copied[near_y, near_x].transpose(2, 0, 1)
        progress("filling (hold nearest)", t + 1, len(frames))
    return keep_known(partial, torch.from_numpy(filled))


def _nearest_known_frame(seen: np.ndarray) -> np.ndarray:
    """int64 [t, h, w]: index of the nearest frame in which each pixel is seen, -1 = in none."""
    num = len(seen)
    before = np.full(seen.shape, -1, np.int64)
    after = np.full(seen.shape, -1, np.int64)
    for t in range(num):
        before[t] = np.where(seen[t], t, before[t - 1] if t else -1)
    for t in reversed(range(num)):
        after[t] = np.where(seen[t], t, after[t + 1] if t + 1 < num else -1)
    now = np.arange(num)[:, None, None]
    take_before = (after < 0) | ((before >= 0) & (now - before <= after - now))
    return np.where(take_before, before, after)


def fill_telea(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Every frame by itself, by fast marching (Telea 2004, OpenCV). uint8 [t, 3, h, w]."""
    import cv2

    return _fill_each(partial, cv2.INPAINT_TELEA, progress)


def fill_navier_stokes(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Every frame by itself, by Navier–Stokes (Bertalmio et al. 2001, OpenCV).

    uint8 [t, 3, h, w].
    """
    import cv2

    return _fill_each(partial, cv2.INPAINT_NS, progress)


def _fill_each(partial: PartialVideo, method: int, progress: Progress) -> Tensor:
    import cv2

    require_something_known(partial)
    filled = torch.empty(partial.frames.shape, dtype=torch.uint8)
    last = None
    for t in range(len(partial)):
        frame = np.ascontiguousarray(partial.frames[t].permute(1, 2, 0).numpy())
        hole = (partial.known[t] < 0.5).numpy().astype(np.uint8)
        if not hole.all():
            last = cv2.inpaint(frame, hole, INPAINT_RADIUS, method) if hole.any() else frame
        elif last is None:  # a frame of which nothing is known shows what the one before did
            last = np.full_like(frame, 127)
        filled[t] = torch.from_numpy(last).permute(2, 0, 1)
        progress("filling (inpaint)", t + 1, len(partial))
    return keep_known(partial, filled)


def keep_known(partial: PartialVideo, filled: Tensor) -> Tensor:
    """Put the known pixels over a fill: known·frames + (1 − known)·filled, uint8 [t, 3, h, w].

    Exact where known is 1. Works in place on ``filled`` and returns it.
    """
    for t in range(len(partial)):
        known = partial.known[t].clamp(0, 1)
        frame = partial.frames[t]
        sure = (known >= 1)[None]
        soft = (known > 0) & (known < 1)
        filled[t] = torch.where(sure, frame, filled[t])
        if bool(soft.any()):
            alpha = known[soft]
            mixed = frame[:, soft].float() * alpha + filled[t][:, soft].float() * (1 - alpha)
            filled[t][:, soft] = mixed.round().to(torch.uint8)
    return filled
