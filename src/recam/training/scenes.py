"""Training pairs of random 3D scenes: true geometry, a reshoot's holes, and ``propagate``'s fill.

Closer to real use than the layered clips, and much dearer: made once before training, by all
processor cores, and kept in the cache.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from recam.cache import cache_folder, content_hash
from recam.completion.propagate import propagate
from recam.completion.weights import save_tensors
from recam.configs import PairConfig
from recam.covisibility import make_pairs
from recam.synthetic import CAMERA_KINDS, synthetic_clip
from recam.training.data import FilledPair
from recam.types import Pair, PartialVideo, Progress, no_progress, video_from_frames

VERSION = 1
"""Raised when the pairs of a seed change."""
SIZE = (24, 192, 288)
PAIRS = PairConfig(num_frames=SIZE[0], resampled_fraction=1.0)
PAIRS_PER_SCENE = 3
FIRST_SEED = 10_000_000
"""Far from the seeds of scenes that anything is measured on."""


def filled(pair: Pair) -> FilledPair:
    """A pair with its partial video filled by ``propagate``."""
    return FilledPair(pair.partial, pair.target, propagate(pair.partial))


def scene_pairs(seed: int) -> list[FilledPair]:
    """PAIRS_PER_SCENE pairs of the random scene of a seed; none when it leaves a camera no room."""
    kind = CAMERA_KINDS[seed % len(CAMERA_KINDS)]
    try:
        scene, _ = synthetic_clip(seed, *SIZE, kind)
    except ValueError:  # now and then no free path is found
        return []
    made = make_pairs(scene, np.random.default_rng(seed), PAIRS)
    seen = (pair for pair in made if bool((pair.partial.known > 0).any()))
    return [filled(pair) for pair in itertools.islice(seen, PAIRS_PER_SCENE)]


def many_scene_pairs(
    num_scenes: int, seed: int, workers: int = 0, progress: Progress = no_progress
) -> Iterator[list[FilledPair]]:
    """``scene_pairs`` of scene after scene, each from the cache or made by one of ``workers``
    processes (0 = one per core) and put there."""
    first = FIRST_SEED + 100_003 * seed
    seeds = range(first, first + num_scenes)
    workers = workers or len(os.sched_getaffinity(0))
    missing = [s for s in seeds if not _file(s).is_file()]
    if workers > 1 and len(missing) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _one_thread) as pool:
            for i, _ in enumerate(pool.map(_make_file, missing)):
                progress("making scenes", i + 1, len(missing))
    for i, s in enumerate(seeds):
        if not _file(s).is_file():
            _make_file(s)
            progress("making scenes", i + 1, num_scenes)
        yield _read(_file(s))


def _one_thread() -> None:
    import cv2
    import numba

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    numba.set_num_threads(1)


def _file(seed: int) -> Path:
    key = content_hash("pairs of a random scene", VERSION, seed, list(SIZE), PAIRS, PAIRS_PER_SCENE)
    return cache_folder() / "pairs" / f"{key[:24]}.safetensors"


def _make_file(seed: int) -> None:
    tensors = {}
    for i, pair in enumerate(scene_pairs(seed)):
        tensors[f"{i}.true"] = pair.target.frames
        tensors[f"{i}.shown"] = pair.partial.frames
        tensors[f"{i}.known"] = pair.partial.known.to(torch.uint8)
        tensors[f"{i}.filled"] = pair.filled
    save_tensors(_file(seed), tensors, {"seed": str(seed)})


def _read(path: Path) -> list[FilledPair]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    pairs = []
    for i in range(len(tensors) // 4):
        true, shown, known, fill = (
            tensors[f"{i}.{n}"] for n in ("true", "shown", "known", "filled")
        )
        partial = PartialVideo(shown, known.float())
        pairs.append(FilledPair(partial, video_from_frames(true), fill))
    return pairs
