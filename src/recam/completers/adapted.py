"""Adapting once per video and options: what was learned is kept in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.tensors import tensors_are_whole
from recam.training.adapt.loop import Adaptation

ADAPTER_VERSION = 1
"""Raised when what adapting gives changes, so that adapters kept from before are made anew."""
MIN_FRAMES = 4
"""Shorter videos have too little to learn from and to check on."""


@dataclass(frozen=True)
class Adapted:
    """An adapted model, what adapting it did, and the file that keeps it, where there is one."""

    model: Any
    note: str
    adapter: Path | None


def adapted(
    identity: tuple[Any, ...],
    learn: Callable[[Path], Adaptation],
    read: Callable[[Path], Adaptation],
) -> Adapted:
    """What ``learn(folder)`` leaves in the cache folder of ``identity``, or, where it was made
    before, ``read(file)``."""
    folder = cache_folder() / "adapters" / content_hash(*identity, ADAPTER_VERSION)[:24]
    file = folder / "adapter.safetensors"
    if tensors_are_whole(file):
        done, found = read(file), f" (found in {folder})"
    else:
        done, found = learn(folder), ""
    return Adapted(done.model, done.describe() + found, file if file.is_file() else None)


def too_short(num_frames: int) -> str:
    """Why a video of so many frames is not adapted to; "" where it is long enough."""
    if num_frames >= MIN_FRAMES:
        return ""
    return f"not adapted: {num_frames} frames are too few (at least {MIN_FRAMES})"
