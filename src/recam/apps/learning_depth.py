"""recam pretrain-depth."""

from __future__ import annotations

from pathlib import Path

from recam.apps.learning import is_first, say
from recam.apps.progress import show_progress
from recam.configs import DepthTrainConfig
from recam.training.depth.pretrain import pretrain_depth as learn


def pretrain_depth(config: DepthTrainConfig, quiet: bool = False) -> Path:
    """Train the depth network; returns the weight file and prints it."""
    with show_progress(quiet or not is_first()) as progress:
        path = learn(config, progress=progress, say=say)
    if is_first():
        print(path)
    return path
