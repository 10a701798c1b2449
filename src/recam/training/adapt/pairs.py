"""Pairs of one scene to adapt to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from recam.covisibility import make_pairs, resize_scene, take_frames
from recam.types import Pair, Scene


def scene_pairs(scene: Scene, frames: Tensor, max_side: int, seed: int) -> Iterator[Pair]:
    """Endless pairs of some frames of a scene by double reprojection, their longer side at most
    max_side px. frames: int64 [k]."""
    shown, whole = take_frames(scene, frames), scene.video
    scale = min(1.0, max_side / max(whole.height, whole.width))
    shown = resize_scene(shown, round(whole.height * scale), round(whole.width * scale))
    return make_pairs(shown, np.random.default_rng(seed))
