"""How a video changes from frame to frame: against its motion, and against how the truth changes.

Frames are uint8 or float [t, 3, h, w] in [0, 255], as in ``metrics``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from recam.geometry import pixel_centers
from recam.types import Progress, Video, no_progress


def warping_error(frames: Tensor, flow: Tensor, visible: Tensor) -> float:
    """Mean squared difference of each frame from the next one, brought back along the motion.

    flow: float [t-1, h, w, 2] px; what frame i shows at p, frame i + 1 shows at p + flow.
    visible: bool or weights [t-1, h, w], where that is so (not hidden in the next frame).
    Source: Lai et al. 2018, E_warp, with values in [0, 1]: over channels and visible pixels of a
    pair of frames, then over pairs. Take the flow of the true video where there is one: flow of
    the result itself follows its faults. NaN when no pixel is visible.
    Raises ValueError for shapes that do not fit.
    """
    _check_flow(frames, flow, visible)
    errors = []
    for i in range(len(frames) - 1):
        back, inside = warp_back(frames[i + 1].float(), flow[i])
        weights = visible[i].double() * inside
        squared = ((frames[i].float() - back) / 255).double().square().mean(0)
        if float(weights.sum()) > 0:
            errors.append(float((squared * weights).sum() / weights.sum()))
    return sum(errors) / len(errors) if errors else math.nan


def warp_back(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """image [c, h, w] fetched at p + flow [h, w, 2] px for every pixel p, bilinear.

    Returns it and inside, bool [h, w]: all four pixels that it is made of exist.
    """
    h, w = image.shape[1:]
    size = torch.tensor([w, h], dtype=torch.float64)
    uv_px = pixel_centers(h, w, torch.float64) + flow.double()
    grid = uv_px / size * 2 - 1
    back = F.grid_sample(
        image.double()[None], grid[None], padding_mode="border", align_corners=False
    )[0]
    inside = ((uv_px >= 0.5) & (uv_px <= size - 0.5)).all(-1)
    return back.to(image.dtype), inside


def video_flow(
    video: Video, min_confidence: float = 0.6, progress: Progress = no_progress
) -> tuple[Tensor, Tensor]:
    """Flow [t-1, h, w, 2] px from each frame of a video to the next, and where it can be trusted.

    Estimated (DIS), for videos without true motion. visible [t-1, h, w] is True where the flow
    back returns to within about half a pixel, so hidden surfaces are left out.
    """
    from recam.flow.dense import compute_flows

    if len(video) < 2:
        raise ValueError(f"flow needs two frames, got a video of {len(video)}")
    flows = compute_flows(video, video.height, video.width, (1,), progress)
    pairs = [flows.get(i, i + 1) for i in range(len(video) - 1)]
    flow, confidence = (torch.stack(column) for column in zip(*pairs))
    return flow, confidence >= min_confidence


def flicker(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> float:
    """Mean absolute error of the change between frames, in grey levels of 255.

    mean |(x[i+1] − x[i]) − (y[i+1] − y[i])| over channels, (weighted) pixels and pairs. 0 for the
    true video, and for one with a constant error, however large: it measures only what varies in
    time and should not, or the reverse. A frozen video scores the truth's own mean change.
    weights: [t, h, w]; a pair counts as its lesser weight. NaN when nothing counts.
    """
    if frames.ndim != 4 or frames.shape != target.shape:
        raise ValueError(
            f"got frames {list(frames.shape)} and target {list(target.shape)}; expected the same "
            "[t, 3, h, w]"
        )
    return _mean_change(frames, target, weights)


def change(frames: Tensor, weights: Tensor | None = None) -> float:
    """Mean absolute change between frames in grey levels of 255, without a true video.

    Over pixels that truly stand still in the picture (``weights``, with a fixed camera) this is
    flicker; elsewhere it is motion. VBench's temporal flickering (Huang et al. 2024) is
    (255 − change) / 255.
    """
    return _mean_change(frames, None, weights)


def _mean_change(frames: Tensor, target: Tensor | None, weights: Tensor | None) -> float:
    t, _, h, w = frames.shape
    if weights is not None and tuple(weights.shape) != (t, h, w):
        raise ValueError(
            f"weights have shape {list(weights.shape)}, expected [t, h, w] = {[t, h, w]}"
        )
    total, count = 0.0, 0.0
    for i in range(t - 1):
        step = frames[i + 1].double() - frames[i].double()
        if target is not None:
            step = step - (target[i + 1].double() - target[i].double())
        size = step.abs().mean(0)
        both = torch.ones_like(size)
        if weights is not None:
            both = torch.minimum(weights[i].double(), weights[i + 1].double())
        total += float((size * both).sum())
        count += float(both.sum())
    return total / count if count > 0 else math.nan


def _check_flow(frames: Tensor, flow: Tensor, visible: Tensor) -> None:
    t, _, h, w = frames.shape
    if tuple(flow.shape) != (t - 1, h, w, 2) or tuple(visible.shape) != (t - 1, h, w):
        raise ValueError(
            f"flow has shape {list(flow.shape)} and visible {list(visible.shape)}; for frames "
            f"{list(frames.shape)} expected {[t - 1, h, w, 2]} and {[t - 1, h, w]}"
        )
