"""Working memory that a thread keeps: fresh pages cost as much as the work that is done in them."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}


_kept = _Kept()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray:
    """An uninitialised array, the same memory at every call with this name in this thread.

    It is only for what is done with before the name is used again; it goes with the thread.
    """
    array = _kept.arrays.get(name)
    if array is None or array.shape != shape or array.dtype != dtype:
        array = _kept.arrays[name] = np.empty(shape, dtype)
    return array


def zeros(name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray:
    """``scratch``, set to 0."""
    array = scratch(name, shape, dtype)
    array.fill(0)
    return array
