"""recam pretrain: what it learns from, and what it tells."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from recam.apps.progress import show_progress
from recam.configs import FoundationTrainConfig, InputConfig, PretrainConfig, ReconstructConfig
from recam.covisibility import make_pairs
from recam.runtime.cache import cache_folder
from recam.training.data import FilledPair, find_videos
from recam.training.devices import joined_devices
from recam.training.optim import pick_device
from recam.training.panning_pairs import panned_pairs
from recam.training.pretrain import pretrain as train
from recam.training.scenes import BACK, filled, kept_part, many_scene_pairs
from recam.training.self_check import self_check
from recam.training.shards.read import shuffled_pairs
from recam.types import Progress, RecamError

SCENE_GB = 0.108
"""Of a random scene's pairs on disk."""
MAX_FRAMES, MAX_SIDE = 400, 400
"""Of every video, as much as this is looked at, …"""
PART_FRAMES, PAIRS_OF_A_PART = 24, 3
"""… in parts of so many frames, each reconstructed by itself."""


def is_first() -> bool:
    """Whether this is the process that speaks, of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    if is_first():
        print(text, file=sys.stderr, flush=True)


def pretrain(config: PretrainConfig, quiet: bool = False) -> Path:
    """Check the device, gather the pairs, train; returns the weight file and prints it."""
    started = time.monotonic()
    say(self_check(pick_device(config.device)))
    with show_progress(quiet or not is_first()) as progress:
        pairs: list[FilledPair] = []
        heldout: list[FilledPair] = []
        if config.num_scenes:
            total = config.num_scenes + config.num_heldout
            say(
                f"{total} random scenes are kept in {cache_folder()} for the next training, about "
                f"{total * SCENE_GB:.1f} GB (`recam cache` lists and clears)"
            )
            made = many_scene_pairs(total, config.seed, config.workers, progress)
            for i, of_scene in enumerate(made):
                if i < config.num_scenes:
                    pairs += of_scene
                else:
                    heldout += of_scene[:1]
            say(f"{len(pairs)} pairs of random scenes, {len(heldout)} of others held out")
        holes = [pair.partial.known for pair in pairs]
        if config.videos and config.pairs_per_video:
            pairs += video_pairs(config, progress)
        if config.videos and config.panned_per_video:
            pairs += panned_over(config, holes, progress)
        if config.minutes is not None:
            left = config.minutes - (time.monotonic() - started) / 60
            config = replace(config, minutes=max(left, 0.0))
        path = train(config, pairs, progress, say, heldout)
    if is_first():
        print(path)
    return path


def train_foundation(config: FoundationTrainConfig, quiet: bool = False) -> Path:
    """Adapt a published video model to pairs of shards; returns the adapter's file and prints it.

    Started by torchrun, every process learns from examples of its own.
    """
    from recam.completion.foundation import load_foundation
    from recam.training.adapt.foundation import finetune_foundation, foundation_finetune_config

    if config.data is None:
        raise RecamError("give --data: a folder of shards that `recam pairs` wrote")
    given = config.complete
    options = foundation_finetune_config(config.minutes, config.method, config.steps, given.seed)
    options = replace(
        options, num_pairs=config.num_pairs, evaluate_every=config.evaluate_every,
        batch=config.accumulate,
    )  # fmt: skip
    with (
        joined_devices(config.device, 0) as devices,
        show_progress(quiet or not is_first()) as progress,
    ):
        if devices.num > 1:  # the weights come to a device of their own
            on = replace(given.foundation, model_device=str(devices.device), compile=False)
            given = replace(given, foundation=replace(on, placement="swap"))
        model = load_foundation(given)
        pairs = shuffled_pairs(config.data, given.seed)
        side = given.foundation.work_side
        done = finetune_foundation(model, pairs, options, side, Path(config.out), progress)
        say(done.describe())
    path = Path(config.out) / "adapter.safetensors"
    if is_first():
        print(path)
    return path


def panned_over(
    config: PretrainConfig, holes: list[Tensor], progress: Progress
) -> list[FilledPair]:
    """config.panned_per_video pairs of each video in config.videos, by a moving window."""
    if not holes:
        raise RecamError(
            "--panned-per-video takes the holes of random scenes: give --num-scenes as well"
        )
    paths = find_videos(Path(config.videos or "."))
    pairs: list[FilledPair] = []
    for i, path in enumerate(paths):
        seed = config.seed * len(paths) + i
        pairs += panned_pairs(path, holes, config.panned_per_video, seed, progress)
    say(f"{len(pairs)} pairs of a window that moves over {len(paths)} videos")
    return pairs


def video_pairs(config: PretrainConfig, progress: Progress) -> list[FilledPair]:
    """config.pairs_per_video pairs of each video in config.videos, by double reprojection.

    A video that cannot be reconstructed is named and left out of the pairs.
    """
    from recam.media import read_video
    from recam.reconstruct.scene_cache import open_scene

    paths = find_videos(Path(config.videos or "."))
    pairs: list[FilledPair] = []
    for i, path in enumerate(paths):
        num_parts = -(-config.pairs_per_video // PAIRS_OF_A_PART)
        whole = read_video(path, num_frames=MAX_FRAMES, max_side=64)  # how long it is
        spare = max(len(whole) - PART_FRAMES, 0)
        num_parts = min(num_parts, 1 + spare // PART_FRAMES)
        for k in range(num_parts):
            start = spare * k // max(num_parts - 1, 1)
            part = InputConfig(start=start, num_frames=PART_FRAMES, max_side=MAX_SIDE)
            try:
                scene = open_scene(path, part, ReconstructConfig(), progress).scene
            except RecamError as error:
                say(f"no pairs of {path.name} from frame {start}: {error}")
                continue
            rng = np.random.default_rng([config.seed, i, k])
            made = make_pairs(scene, rng, BACK)
            for _ in range(PAIRS_OF_A_PART):
                pair = next(made)
                known = pair.partial.known
                if bool((known > 0).any()) and bool((known < 1).any()):
                    pairs.append(kept_part(filled(pair.partial, pair.target.frames), rng))
            progress("filling pairs of videos", i * num_parts + k + 1, len(paths) * num_parts)
    return pairs
