"""Steps of a reconstruction that are done, kept in a folder until all of it is: who runs it again
after it was killed goes on from there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recam.reconstruct.static_depth import StaticGeometry
from recam.runtime.cache_entries import is_whole, new_entry, tell_not_kept
from recam.types import Cameras

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Where steps are kept; folder None = nowhere. The folder belongs to one video and one choice
    of options; nothing here looks at what a step was made from."""

    folder: Path | None = None

    def arrays(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        """The arrays of step ``name``: as kept, or else made by ``work`` and kept.

        Kept ones are read where they lie, page by page, and may be written to in memory.
        """
        if self.folder is None:
            return work()
        place = self.folder / name
        if is_whole(place):
            return {file.stem: _opened(file) for file in sorted(place.glob("*.npy"))}
        made = work()
        try:
            with new_entry(place) as staged:
                for key, array in made.items():
                    np.save(staged / f"{key}.npy", array, allow_pickle=False)
        except OSError as error:  # a full disk, say: the run itself can still end well
            # Another process that reconstructs the same video may have been faster with all steps,
            # and then took the folder away.
            if self.folder.is_dir():
                tell_not_kept(f"the step {name}", error)
        return made

    def has(self, name: str) -> bool:
        return self.folder is not None and is_whole(self.folder / name)

    def forget(self, *names: str) -> None:
        """Steps that a later one has made needless."""
        for name in names if self.folder is not None else ():
            assert self.folder is not None
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def forget_all(self) -> None:
        """The reconstruction is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NO_CHECKPOINT = Checkpoint()
KEPT_DAYS = 7


def forget_abandoned(folder: Path) -> None:
    """Delete what reconstructions kept in ``folder``, one folder each, that none has taken up for
    KEPT_DAYS."""
    for left in folder.iterdir() if folder.is_dir() else ():
        if left.is_dir() and time.time() - left.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(left, ignore_errors=True)


def _opened(file: Path) -> NDArray[Any]:
    array = np.load(file, mmap_mode="c", allow_pickle=False)
    if array.dtype.kind == "U" or array.ndim == 0:
        return np.array(array)
    # A plain array over the same memory: compiled loops know no others.
    return torch.from_numpy(array).numpy()


def as_text(value: Any) -> NDArray[np.str_]:
    """Something JSON-able as an array."""
    return np.array(json.dumps(value))


def from_text(array: NDArray[Any]) -> Any:
    return json.loads(str(array))


def camera_arrays(cameras: Cameras) -> dict[str, NDArray[Any]]:
    size = np.array([cameras.height, cameras.width])
    pose, k = cameras.cam_from_world.numpy(), cameras.intrinsics.numpy()
    return {"cam_from_world": pose, "intrinsics": k, "size": size}


def cameras_from(arrays: Arrays) -> Cameras:
    pose, k = (torch.from_numpy(np.array(arrays[key])) for key in ("cam_from_world", "intrinsics"))
    height, width = arrays["size"].tolist()
    return Cameras(pose, k, height, width)


def still_arrays(still: StaticGeometry) -> dict[str, NDArray[Any]]:
    return {
        "inverse_depth": still.inverse_depth, "dynamic": still.dynamic,
        "confidence": still.confidence,
        "numbers": np.array([still.reference, still.measured], np.float64),
    }  # fmt: skip


def still_from(arrays: Arrays) -> StaticGeometry:
    reference, measured = arrays["numbers"].tolist()
    return StaticGeometry(
        arrays["inverse_depth"], arrays["dynamic"], arrays["confidence"], reference, measured
    )
