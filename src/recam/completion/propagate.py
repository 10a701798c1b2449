"""Classical completion: along time where the motion leads to a seen pixel, else from around.

No learning: it is the baseline that a model must beat, and the fallback a user asks for by name.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.completion.baselines import keep_known
from recam.completion.motion import estimate_motion
from recam.completion.pull_push import fill_from_pyramid, pull_push, require_something_known
from recam.completion.trace import Traced, trace
from recam.types import PartialVideo, Progress, no_progress

PASSES = 2
"""Motion inside holes is found again on the first pass's result."""
MARGIN_PX = 3
"""Pixels this near to a hole are not copied from: renders and codecs mix colours there."""


def propagate(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Fill holes along time, then over space and time together. uint8 [t, 3, h, w].

    Optical flow between neighbouring frames is carried into the holes with the motion of what lies
    behind; from every unseen pixel it is followed into the past and the future to the nearest
    moments that show its surface, whose colours are blended by nearness in time and by how well
    the flow returns. What no frame shows is filled by pull-push over space and time. Known pixels
    stay bit for bit. Raises RecamError when nothing at all is known.
    """
    require_something_known(partial)
    known = (partial.known > 0.5).numpy()
    smooth = pull_push(partial)
    if len(partial) == 1 or known.all():
        return keep_known(partial, smooth)
    frames = np.ascontiguousarray(partial.frames.permute(0, 2, 3, 1).numpy())
    source = _eroded(known, MARGIN_PX)
    result = smooth
    for number in range(PASSES):
        motion = estimate_motion(_luma(result), known, source)
        progress("completing", 2 * number + 1, 2 * PASSES)
        past = trace(frames, ~source, source, motion, past=True)
        future = trace(frames, ~source, source, motion, past=False)
        colors, found = _blended(past, future)
        result = _joined(partial, colors, torch.from_numpy(found & ~known))
        progress("completing", 2 * number + 2, 2 * PASSES)
    return result


def _eroded(known: np.ndarray, margin_px: int) -> np.ndarray:
    import cv2

    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    return np.stack([cv2.erode(k.astype(np.uint8), kernel) for k in known]).astype(bool)


def _luma(frames: Tensor) -> np.ndarray:
    """uint8 [t, h, w] of uint8 [t, 3, h, w]."""
    import cv2

    pictures = frames.permute(0, 2, 3, 1)
    return np.stack([cv2.cvtColor(f.contiguous().numpy(), cv2.COLOR_RGB2GRAY) for f in pictures])


def _blended(*parts: Traced) -> tuple[np.ndarray, np.ndarray]:
    """Colours uint8 [t, h, w, 3] of what past and future show, and bool [t, h, w] where any does.

    The nearer moment and the surer way count more.
    """
    now = np.arange(len(parts[0].frame))[:, None, None]
    total = np.zeros(parts[0].color.shape, np.float32)
    weight = np.zeros(parts[0].frame.shape, np.float32)
    for part in parts:
        gap = np.maximum(np.abs(now - part.frame), 1).astype(np.float32)
        share = np.where(
            part.frame >= 0, 1 / (gap**2 * (1 + part.miss.astype(np.float32) ** 2)), 0
        ).astype(np.float32)
        total += share[..., None] * part.color
        weight += share
    colors = (total / np.maximum(weight, 1e-9)[..., None]).round().astype(np.uint8)
    return colors, weight > 0


def _joined(partial: PartialVideo, traced: np.ndarray, found: Tensor) -> Tensor:
    """Known pixels, over traced ones, over a pull-push of both."""
    frames = partial.frames.clone()
    traced_frames = torch.from_numpy(traced).permute(0, 3, 1, 2)
    frames = torch.where(found[:, None], traced_frames, frames)
    have = torch.maximum(partial.known, found.float())
    values = frames.float().permute(1, 0, 2, 3)[None]
    filled = fill_from_pyramid(values, have[None, None])[0].permute(1, 0, 2, 3)
    return keep_known(partial, filled.round().clamp(0, 255).to(torch.uint8))
