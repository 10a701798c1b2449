"""How loops over pixels are compiled: one place for numba's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

# Contraction only. Nothing that may add up in another order: a loop's vector and scalar versions
# would then differ in the last bit, and which of them runs depends on where in memory arrays lie.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, for one core and without the interpreter lock; keep it on disk.

    Frames then go in parallel as plain threads. Where neither the package's folder nor the user's
    cache folder can be written, every process compiles anew.
    """
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: no locator available
        return njit(**_OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A small function that is pasted into the kernels that call it."""
    return njit(inline="always", **_OPTIONS)(function)
