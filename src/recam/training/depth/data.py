"""The pool of pictures with true depth that the depth network learns from.

The pool is made of chunks of scenes, each a file in the cache: made once, by other processes while
training goes on, and found there by the next run. Pictures are read from the files one by one, so
that the pool may be larger than memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.tensors import save_tensors, tensors_are_whole
from recam.runtime.workers import worker_pool
from recam.synthetic.fast_render import Bank, texture_bank
from recam.synthetic.scene import SceneKind
from recam.training.depth.scenes import FIRST_SEED, HELDOUT_SEED, LEFT_OUT, DepthViews, depth_views

VERSION = 2
"""Raised when the pictures of a seed change."""
SCENES_PER_CHUNK, VIEWS_PER_SCENE = 6, 10
SIZES = ((288, 432), (288, 432), (288, 384), (384, 288), (336, 336), (240, 432), (432, 240))
HELDOUT_SCENES, HELDOUT_VIEWS, HELDOUT_SIZE = 12, 4, (192, 288)


class _Rows:
    """A tensor in a safetensors file, read a row at a time."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __getitem__(self, i: int) -> Tensor:
        return self.rows[i : i + 1][0]


@dataclass(frozen=True)
class Chunk:
    """Pictures of one size: frames uint8 [n, 3, h, w], log_depth float16 [n, h, w] (of metres),
    focal_px float32 [n]. The first two may be anything that gives them picture by picture."""

    frames: Tensor | _Rows
    log_depth: Tensor | _Rows
    focal_px: Tensor

    def __len__(self) -> int:
        return len(self.focal_px)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, float]:
        return self.frames[i], self.log_depth[i], float(self.focal_px[i])


@dataclass
class Pool:
    """Chunks that training draws from, and the processes that make more of them."""

    seed: int = 0
    photos: str | None = None
    chunks: list[Chunk] = field(default_factory=list)
    workers: ProcessPoolExecutor | None = None
    leash: ExitStack = field(default_factory=ExitStack)
    waiting: dict[int, Future] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def grow(self, num_chunks: int, wait: bool = True) -> None:
        """Take in chunks until there are num_chunks; those not yet made are waited for, or made.
        Without ``wait``, those that are not there yet are left for later."""
        for i in range(len(self.chunks), num_chunks):
            if not wait and not chunk_path(self.seed, i, self.photos).is_file():
                return
            if i in self.waiting:
                self.waiting.pop(i).result()
            self.chunks.append(read_chunk(chunk_file(self.seed, i, self.photos)))

    def order(self, num_chunks: int, num_workers: int) -> None:
        """Have other processes make all chunks up to num_chunks that are not there."""
        numbers = range(num_chunks)
        missing = [i for i in numbers if not chunk_path(self.seed, i, self.photos).is_file()]
        if not missing or num_workers < 1:
            return
        self.workers = self.leash.enter_context(worker_pool(num_workers, _one_thread))
        jobs = {i: self.workers.submit(chunk_file, self.seed, i, self.photos) for i in missing}
        self.waiting.update(jobs)

    def close(self) -> None:
        """Stop the other processes; what they have begun is finished first."""
        if self.workers is not None:
            self.workers.shutdown(cancel_futures=True)
            self.leash.close()
            self.workers, self.waiting = None, {}


def _one_thread() -> None:
    from recam.training.scenes import _one_thread as one

    if hasattr(os, "nice"):
        os.nice(1)
    one()


@cache
def _bank(photos: str | None) -> Bank:
    return texture_bank(None if photos is None else Path(photos))


def chunk_path(seed: int, number: int, photos: str | None = None) -> Path:
    """Where a chunk of the pool is kept."""
    key = content_hash(
        "fast views with depth", VERSION, seed, number, photos,
        [SCENES_PER_CHUNK, VIEWS_PER_SCENE, [list(s) for s in SIZES]],
    )  # fmt: skip
    return cache_folder() / "depth" / f"{key[:24]}.safetensors"


def chunk_file(seed: int, number: int, photos: str | None = None) -> Path:
    """The file of a chunk of the pool, made where it is not there yet.

    photos: a folder of photographs, of which some of the surfaces are made.
    """
    path = chunk_path(seed, number, photos)
    if not tensors_are_whole(path):
        height, width = SIZES[np.random.default_rng([78, seed, number]).integers(len(SIZES))]
        first = FIRST_SEED + 100_003 * seed + SCENES_PER_CHUNK * number
        bank = _bank(photos)
        seeds = range(first, first + SCENES_PER_CHUNK)
        _write(path, [depth_views(s, VIEWS_PER_SCENE, height, width, bank=bank) for s in seeds])
    return path


def heldout_chunk(left_out: bool, number: int = 0) -> Chunk:
    """Pictures of scenes that are never trained on, by the full renderer; left_out: of the layout
    that never is."""
    kind: SceneKind | None = LEFT_OUT if left_out else None
    size = [HELDOUT_SCENES, HELDOUT_VIEWS, list(HELDOUT_SIZE)]
    key = content_hash("held out views", VERSION, number, kind, size)
    path = cache_folder() / "depth" / f"{key[:24]}.safetensors"
    if not tensors_are_whole(path):
        first = HELDOUT_SEED + HELDOUT_SCENES * number
        seeds = range(first, first + HELDOUT_SCENES)
        _write(path, [depth_views(s, HELDOUT_VIEWS, *HELDOUT_SIZE, kind) for s in seeds])
    return read_chunk(path)


def _write(path: Path, views: Sequence[DepthViews]) -> None:
    tensors = {
        "frames": torch.cat([v.frames for v in views]),
        "log_depth": torch.cat([v.depth for v in views]).log().to(torch.float16),
        "focal_px": torch.cat([v.focal_px for v in views]),
    }
    save_tensors(path, tensors, {})


def read_chunk(path: Path) -> Chunk:
    """A chunk whose pictures stay in the file until they are asked for."""
    from safetensors import safe_open

    file = safe_open(path, "pt")
    frames, log_depth = (_Rows(file.get_slice(name)) for name in ("frames", "log_depth"))
    return Chunk(frames, log_depth, file.get_tensor("focal_px"))
