"""recam pretrain: what it learns from, and what it tells."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from recam.apps.progress import show_progress
from recam.configs import InputConfig, PairConfig, PretrainConfig, ReconstructConfig
from recam.training.pretrain import pretrain as train
from recam.training.self_check import self_check
from recam.training.steps import pick_device
from recam.types import Pair, Progress, RecamError

PAIR_FRAMES = 24
MAX_FRAMES, MAX_SIDE = 120, 512
"""Of every video, as much as this is reconstructed."""
PAIRS = PairConfig(num_frames=PAIR_FRAMES, max_stride=2, resampled_fraction=1.0)
PAIRS_PER_SCENE = 3
SCENE_SIZE = (192, 288)
SCENE_SEEDS = 10_000_000
"""Far from the seeds of scenes that anything is measured on."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def pretrain(config: PretrainConfig, quiet: bool = False) -> Path:
    """Check the device, gather the pairs, train; returns the weight file and prints it."""
    say(self_check(pick_device(config.device)))
    with show_progress(quiet) as progress:
        pairs = scene_pairs(config, progress)
        if config.videos and config.pairs_per_video:
            pairs += video_pairs(config, progress)
        path = train(config, pairs, progress, say)
    print(path)
    return path


def scene_pairs(config: PretrainConfig, progress: Progress) -> list[Pair]:
    """PAIRS_PER_SCENE pairs of each of config.num_scenes random scenes with true geometry."""
    from recam.covisibility import make_pairs
    from recam.synthetic import CAMERA_KINDS, synthetic_clip

    pairs: list[Pair] = []
    for i in range(config.num_scenes):
        seed = SCENE_SEEDS + config.seed * 100_003 + i
        kind = CAMERA_KINDS[i % len(CAMERA_KINDS)]
        try:
            scene, _ = synthetic_clip(seed, PAIR_FRAMES, *SCENE_SIZE, kind)
        except ValueError as error:  # now and then a scene leaves a camera no room
            say(f"scene {seed} left out: {error}")
            continue
        made = make_pairs(scene, np.random.default_rng(seed), PAIRS)
        pairs += itertools.islice(made, PAIRS_PER_SCENE)
        progress("making scenes", i + 1, config.num_scenes)
    return pairs


def video_pairs(config: PretrainConfig, progress: Progress) -> list[Pair]:
    """config.pairs_per_video pairs of each video in config.videos, by double reprojection.

    A video that cannot be reconstructed is named and left out of the pairs.
    """
    from recam import tasks
    from recam.covisibility import make_pairs
    from recam.training.data import find_videos

    paths = find_videos(Path(config.videos or "."))
    pairs: list[Pair] = []
    for i, path in enumerate(paths):
        part = InputConfig(num_frames=MAX_FRAMES, max_side=MAX_SIDE)
        try:
            scene = tasks.open_scene(path, part, ReconstructConfig(), progress).scene
        except RecamError as error:
            say(f"no pairs of {path.name}: {error}")
            continue
        short = replace(PAIRS, num_frames=min(PAIR_FRAMES, len(scene)))
        made = make_pairs(scene, np.random.default_rng([config.seed, i]), short)
        pairs += itertools.islice(made, config.pairs_per_video)
        progress("making pairs", i + 1, len(paths))
    return pairs
