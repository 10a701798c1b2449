"""Depth as files hold it, before it is brought to a video's frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from recam.configs import CameraFormat
from recam.runtime.files import require_file, short_reason
from recam.types import Cameras, RecamError

MAX_SMALL_BYTES = 256 << 20
MAX_INFLATION = 100
"""Times its packed size that depth may take unpacked, beyond MAX_SMALL_BYTES: real depth shrinks a
few times, not hundreds."""


@dataclass(frozen=True)
class RawDepth:
    """Depth maps of a file or folder.

    maps: [n, h, w] of any kind of number, as stored.
    name: what they are called in messages.
    inverse: they hold 1 / depth.
    metric: they (times ``unit``) are metres; None when nothing says so.
    cameras: the file of their cameras and its format; own_cameras: such that were read already.
    valid: where they mean something; dynamic: what moves; sky; bool, of any size.
    unit: what a stored 1 stands for.
    anonymous: no program's layout says whether the values are depth or its inverse.
    """

    maps: NDArray
    name: str
    inverse: bool = False
    metric: bool | None = None
    cameras: tuple[Path, CameraFormat] | None = None
    valid: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    own_cameras: Cameras | None = None
    dynamic: NDArray[np.bool_] | None = None
    sky: NDArray[np.bool_] | None = None
    unit: float | None = None
    anonymous: bool = False


def load_array(path: Path) -> NDArray:
    """A .npy file of numbers, memory-mapped. Raises RecamError when it cannot be opened,
    ValueError for anything else."""
    require_file(path)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise RecamError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, OverflowError, TokenError) as error:
        raise ValueError(
            f"{path}: not a NumPy file of plain numbers ({short_reason(error)})"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise ValueError(f"{path}: not a NumPy file of plain numbers")
    return values


def max_inflated_bytes(packed_bytes: int) -> int:
    """What may be unpacked from so many bytes."""
    return max(MAX_SMALL_BYTES, MAX_INFLATION * packed_bytes)
