"""Points followed through a video by CoTracker (Karaev et al. 2024), through its own package."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recam.arrays import F32, Mask
from recam.runtime.checkpoints import best_device
from recam.types import Progress, RecamError, Video, no_progress

TOGETHER = 48
"""Frames that the model sees at once; points go on from the last of them."""


def follow_points(
    video: Video,
    frame: int,
    points: F32,
    weights: str,
    progress: Progress = no_progress,
) -> tuple[F32, Mask]:
    """Where points of one frame are in all frames.

    points: [n, 2], pixel indices (x, y) in ``frame``. weights: a CoTracker checkpoint file. Returns
    float32 [t, n, 2] and whether they are visible, bool [t, n]. Raises RecamError when the package
    or the file is missing, or the file is no such checkpoint.
    """
    model = _open(weights)
    at = np.tile(points.astype(np.float32), (len(video), 1, 1))
    visible = np.ones(at.shape[:2], bool)
    done = 0
    for order in (range(frame, len(video)), range(frame, -1, -1)):
        for first in range(0, len(order) - 1, TOGETHER - 1):
            some = list(order[first : first + TOGETHER])
            at[some], seen = _followed(model, video, some, at[some[0]])
            visible[some[1:]] = seen[1:]
            done += len(some) - 1
            progress("following points", done, len(video) - 1)
    return at, visible


def _open(weights: str) -> Any:
    try:
        predictor = import_module("cotracker.predictor")
    except ImportError as error:
        raise RecamError(
            "following points needs the package cotracker; install it from "
            "github.com/facebookresearch/co-tracker, or leave --track-weights out"
        ) from error
    if not Path(weights).is_file():
        raise RecamError(f"{weights}: no such CoTracker checkpoint")
    try:
        return predictor.CoTrackerPredictor(checkpoint=weights).to(best_device()).eval()
    except (RuntimeError, KeyError, ValueError, EOFError, OSError) as error:
        raise RecamError(f"{weights}: CoTracker cannot read this checkpoint ({error})") from error


@torch.no_grad()
def _followed(model: Any, video: Video, frames: list[int], start: F32) -> tuple[F32, Mask]:
    """Points at ``start`` [n, 2] of the first frame in all of some frames, in their order."""
    device = best_device()
    pictures = torch.stack([video.frames[i] for i in frames]).float()[None].to(device)
    queries = torch.cat([torch.zeros(len(start), 1), torch.from_numpy(start)], 1)[None].to(device)
    tracks, visible = model(pictures, queries=queries)
    return tracks[0].float().cpu().numpy(), visible[0].bool().cpu().numpy()
