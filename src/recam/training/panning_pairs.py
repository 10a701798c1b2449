"""Training pairs of real videos without any geometry: a window pans, zooms and rolls over the
picture as a hand-held camera would, and what it shows gets another scene's holes.

Real grain, blur, compression and motion, where reconstructions of few videos would be learned by
heart. Nothing in it has parallax but what the video itself had.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recam.media import read_video
from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.tensors import tensors_are_whole
from recam.training.data import FilledPair
from recam.training.scenes import filled, kept_part, read_pairs, save_pairs
from recam.types import PartialVideo, Progress, no_progress

VERSION = 1
"""Raised when the pairs made of the same pictures change."""
SIZE = (20, 224, 368)
MAX_SIDE = 1280
"""Videos are looked at no larger than this."""
ZOOM_LOW, ZOOM_HIGH, ZOOM_CHANGE = 0.42, 0.92, 0.12
"""The window's width as a part of the picture's, and how much it changes at most."""
ROLL, ROLL_SHAKE = math.radians(3.0), math.radians(0.15)
TRAVEL, SHAKE = 0.12, 0.0015
"""Of the picture: standard deviations of how far the window goes, and of its shake a frame."""


def panned_pairs(
    path: Path,
    holes: Sequence[Tensor],
    num: int,
    seed: int,
    progress: Progress = no_progress,
) -> Iterator[FilledPair]:
    """num pairs of a video file, each of frames from anywhere in it; kept in the cache.

    holes: known maps [t, h, w] of other videos, one of which each pair gets, played forth and back
    to the window's length, mirrored at times.
    """
    t, height, width = SIZE
    length = len(read_video(path, max_side=32))
    for i in range(num):
        rng = np.random.default_rng([seed, i])
        step = 1 + int(rng.integers(2)) if length > 2 * t else 1
        start = int(rng.integers(max(length - step * t, 0) + 1))
        part = read_video(path, start=start, num_frames=step * t, max_side=MAX_SIDE).frames[::step]
        true = panned(part, height, width, rng)
        known = _played(holes[int(rng.integers(len(holes)))], true, bool(rng.integers(2)))
        digest = hashlib.sha256(true.numpy().tobytes() + known.numpy().tobytes()).hexdigest()
        key = content_hash("pairs of a panned video", VERSION, digest, seed, i)
        file = cache_folder() / "pairs" / f"{key[:24]}.safetensors"
        if not tensors_are_whole(file):
            partial = PartialVideo(true * (known > 0)[:, None], known)
            save_pairs([kept_part(filled(partial, true), rng)], file)
        yield from read_pairs(file)
        progress("panning over videos", i + 1, num)


def panned(frames: Tensor, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """What a window that moves over frames uint8 [t, 3, H, W] shows, [t, 3, height, width]."""
    t, _, tall, wide = frames.shape
    out = torch.empty(t, 3, height, width, dtype=torch.uint8)
    for i, matrix in enumerate(window_path(t, (height, width), (tall, wide), rng)):
        picture = np.ascontiguousarray(frames[i].permute(1, 2, 0).numpy())
        shrunk = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if shrunk > 1.2:  # else fine detail would alias
            picture = cv2.GaussianBlur(picture, (0, 0), 0.35 * shrunk)
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(
            picture, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT
        )
        out[i] = torch.from_numpy(seen).permute(2, 0, 1)
    return out


def window_path(
    num: int, size: tuple[int, int], picture: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Matrices [num, 2, 3] from pixels of a window of a size (height, width) to those of a picture
    of another."""
    (height, width), (tall, wide) = size, picture
    along = np.linspace(0, 1, num)
    begin, end = rng.uniform(ZOOM_LOW, ZOOM_HIGH, 2)
    end = np.clip(end, begin - ZOOM_CHANGE, begin + ZOOM_CHANGE)
    zoom = begin + (end - begin) * along
    roll = rng.normal(0, ROLL) + rng.normal(0, ROLL) * along
    roll = roll + np.cumsum(rng.normal(0, ROLL_SHAKE, num))
    spare = max(1 - float(zoom.max()), 0.0) / 2
    first = rng.uniform(-0.8 * spare, 0.8 * spare, 2)
    last = np.clip(first + rng.normal(0, TRAVEL, 2), -spare, spare)
    center = first + (last - first) * along[:, None]
    center = center + np.cumsum(rng.normal(0, SHAKE, (num, 2)), 0) + 0.5
    scale = np.minimum(zoom * wide / width, 0.98 * tall / height)
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    shift = center * np.array([wide, tall]) - turn @ np.array([width / 2, height / 2])
    return np.concatenate([turn, shift[:, :, None]], 2)


def _played(known: Tensor, true: Tensor, mirrored: bool) -> Tensor:
    """A known map at the size and length of frames, played forth and back; 0 or 1, float32."""
    t, _, h, w = true.shape
    forth = torch.arange(len(known))
    order = torch.cat([forth, forth.flip(0)]).repeat(t // (2 * len(known)) + 1)[:t]
    sized = F.interpolate(known[:, None], (h, w), mode="nearest")[order, 0]
    sized = (sized > 0.5).float()
    return sized.flip(-1) if mirrored else sized
