"""Pairs from shards: a window that slides over an endless shuffled stream.

The samples of epoch after epoch, with the shards of each in an order of its own, make one sequence.
What step k draws from is the part of it that begins at k times the rate: a function of (seed, k)
alone, so that a resumed run sees what one that was not stopped sees, on any number of devices.
"""

from __future__ import annotations

import json
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import fsspec
import numpy as np
import torch
from torch import Tensor

from recam.training.data import Clip, make_material
from recam.types import Pair, PartialVideo, RecamError, video_from_frames

INDEX = "index.json"


def read_index(folder: str) -> list[dict[str, Any]]:
    """The shards of a folder or URL: name, samples, bytes, sha256. Raises RecamError without."""
    try:
        with fsspec.open(f"{folder.rstrip('/')}/{INDEX}", "rt") as file:
            shards = json.load(file)["shards"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecamError(f"{folder}: no shards there (`recam pairs` writes {INDEX})") from error
    if not shards:
        raise RecamError(f"{folder}: no pairs in its shards")
    return shards


def read_shard(folder: str, name: str) -> Iterator[dict[str, bytes]]:
    """The samples of one shard, in order, as files. Raises RecamError when it is cut off."""
    try:
        from webdataset.tariterators import group_by_keys, tar_file_iterator
    except ImportError as error:
        raise RecamError("shards need webdataset: pip install 'recam[scale]'") from error
    try:
        with fsspec.open(f"{folder.rstrip('/')}/{name}", "rb") as file:
            files = ({**entry, "__url__": name} for entry in tar_file_iterator(file))
            yield from group_by_keys(files)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise RecamError(f"{folder}/{name}: {error}; write this shard again") from error


def as_pair(sample: dict[str, bytes]) -> Pair:
    """The pair of a sample; its frames are those that were written, bit for bit."""
    num = json.loads(sample["meta.json"])["frames"]
    film, shown = _frames(sample["film.png"], num), _frames(sample["shown.png"], num)
    known = _frames(sample["known.png"], num)[:, 0].float() / 255
    return Pair(PartialVideo(shown, known), video_from_frames(film))


def _frames(png: bytes, num: int) -> Tensor:
    """uint8 [t, 3 or 1, h, w] of ``num`` frames below each other."""
    tall = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if tall is None:
        raise RecamError("a shard's picture cannot be decoded; write the shard again")
    tall = tall[..., None] if tall.ndim == 2 else tall[..., ::-1]
    frames = tall.reshape(num, -1, *tall.shape[1:])
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def shuffled_pairs(folder: str, seed: int) -> Iterator[Pair]:
    """Every pair of a folder's shards once, the shards in a random order."""
    shards = read_index(folder)
    for i in np.random.default_rng(seed).permutation(len(shards)):
        yield from map(as_pair, read_shard(folder, shards[i]["name"]))


class ShardStream:
    """Clips of shards for training step after step; ``rate`` of ``window`` are new in each.

    Where the shards hold no more than the window, they are read once and all stay, in order.
    """

    def __init__(
        self, folder: str, window: int, rate: int, seed: int, worker: int, device: torch.device
    ) -> None:
        self.folder, self.rate, self.device = folder, rate, device
        self.shards = read_index(folder)
        self.seed, self.worker = seed, worker
        self.num_samples = sum(shard["samples"] for shard in self.shards)
        self.window = min(window, self.num_samples)
        self.all_fit = self.window == self.num_samples
        self._clips: deque[Clip] = deque(maxlen=self.window)
        self._next = 0
        """Number in the sequence of the sample that ``_source`` gives next."""
        self._source: Iterator[Clip] = iter(())
        self._ahead = ThreadPoolExecutor(1)  # decodes while the network learns

    def clips_at(self, step: int) -> list[Clip]:
        """The clips that a step draws from; cheap for the step after the one asked for last."""
        first = 0 if self.all_fit else step * self.rate
        end = first + self.window
        if not self._clips or not self._next - self.window <= first <= self._next:
            self._clips.clear()
            self._next, self._source = first, self._samples(first)
        while self._next < end:
            self._clips.append(next(self._source))
            self._next += 1
        return list(self._clips)

    def _samples(self, first: int) -> Iterator[Clip]:
        """Clips of the sequence from a number on, each decoded one ahead."""
        raw = self._raw(first)
        ahead = self._ahead.submit(self._decoded, next(raw))
        while True:
            ready, ahead = ahead, self._ahead.submit(self._decoded, next(raw))
            yield ready.result()

    def _raw(self, first: int) -> Iterator[dict[str, bytes]]:
        epoch, skip = divmod(first, self.num_samples)
        while True:
            for shard in self._order(epoch):
                if skip >= shard["samples"]:
                    skip -= shard["samples"]
                    continue
                for sample in read_shard(self.folder, shard["name"]):
                    if skip:
                        skip -= 1
                    else:
                        yield sample
            epoch += 1

    def _order(self, epoch: int) -> list[dict[str, Any]]:
        """The shards of an epoch. Every worker has an order of its own, over all of them."""
        if self.all_fit:
            return self.shards
        rng = np.random.default_rng([self.seed, epoch, self.worker])
        return [self.shards[i] for i in rng.permutation(len(self.shards))]

    def _decoded(self, sample: dict[str, bytes]) -> Clip:
        return make_material(pairs=[as_pair(sample)], device=self.device).clips[0]
