"""The pool of pictures with true depth that the depth network learns from, and batches of it.

The pool is made of chunks of scenes, each a file in the cache: made once, by other processes while
training goes on, and found there by the next run. Batch k is a function of (seed, k) and of the
chunks in use by then alone, so that training resumes bit for bit.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.tensors import load_tensors, save_tensors, tensors_are_whole
from recam.runtime.workers import worker_pool
from recam.synthetic.scene import SceneKind
from recam.training.depth.scenes import FIRST_SEED, HELDOUT_SEED, LEFT_OUT, depth_views

VERSION = 1
"""Raised when the pictures of a seed change."""
SCENES_PER_CHUNK, VIEWS_PER_SCENE = 32, 4
HEIGHT, WIDTH = 144, 216


@dataclass
class Pool:
    """Chunks in memory on a device: frames uint8 [n, 3, h, w], log_depth float16 [n, h, w]."""

    device: torch.device
    seed: int = 0
    frames: list[Tensor] = field(default_factory=list)
    log_depth: list[Tensor] = field(default_factory=list)
    workers: ProcessPoolExecutor | None = None
    leash: ExitStack = field(default_factory=ExitStack)
    waiting: dict[int, Future] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(f) for f in self.frames)

    def grow(self, num_chunks: int, wait: bool = True) -> None:
        """Take in chunks until there are num_chunks; those not yet made are waited for, or made.
        Without ``wait``, those that are not there yet are left for later."""
        for i in range(len(self.frames), num_chunks):
            if not wait and not chunk_path(self.seed, i).is_file():
                return
            if i in self.waiting:
                self.waiting.pop(i).result()
            frames, log_depth = read_chunk(chunk_file(self.seed, i, str(self.device)), self.device)
            self.frames.append(frames)
            self.log_depth.append(log_depth)

    def order(self, num_chunks: int, num_workers: int) -> None:
        """Have other processes make all chunks up to num_chunks that are not there."""
        missing = [i for i in range(num_chunks) if not chunk_path(self.seed, i).is_file()]
        if not missing or num_workers < 1:
            return
        self.workers = self.leash.enter_context(worker_pool(num_workers, _one_thread))
        device = str(self.device)
        jobs = {i: self.workers.submit(chunk_file, self.seed, i, device) for i in missing}
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


def chunk_path(
    seed: int, number: int, kind: SceneKind | None = None, base: int = FIRST_SEED
) -> Path:
    key = content_hash(
        "views with depth", VERSION, seed, number, kind, base,
        [SCENES_PER_CHUNK, VIEWS_PER_SCENE, HEIGHT, WIDTH],
    )  # fmt: skip
    return cache_folder() / "depth" / f"{key[:24]}.safetensors"


def chunk_file(
    seed: int,
    number: int,
    device: str = "cpu",
    kind: SceneKind | None = None,
    base: int = FIRST_SEED,
) -> Path:
    """The file of a chunk of the pool, made on ``device`` where it is not there yet."""
    path = chunk_path(seed, number, kind, base)
    if tensors_are_whole(path):
        return path
    first = base + 100_003 * seed + SCENES_PER_CHUNK * number
    views = []
    for s in range(first, first + SCENES_PER_CHUNK):
        views.append(depth_views(s, VIEWS_PER_SCENE, HEIGHT, WIDTH, kind, device=device))
    depth = torch.cat([v.depth for v in views])
    tensors = {
        "frames": torch.cat([v.frames for v in views]),
        "log_depth": depth.log().to(torch.float16),
        "scene": torch.cat([v.scene for v in views]),
    }
    save_tensors(path, tensors, {"seed": str(seed), "number": str(number)})
    return path


def read_chunk(path: Path, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """frames uint8 [n, 3, h, w] and log_depth float16 [n, h, w] of a chunk."""
    tensors = load_tensors(path, str(device))
    return tensors["frames"], tensors["log_depth"]


def heldout_chunk(left_out: bool, number: int = 0) -> tuple[Tensor, Tensor]:
    """A chunk of scenes that are never trained on; left_out: of the layout that never is."""
    kind = LEFT_OUT if left_out else None
    return read_chunk(chunk_file(0, number, kind=kind, base=HELDOUT_SEED))
