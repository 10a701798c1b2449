"""How loops over pixels are compiled: one place for numba's options."""

from __future__ import annotations

import hashlib
import inspect
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
    cache folder can be written, every process compiles anew. What is kept is found by the file of
    the function; numba does not look at functions of other files that are pasted into it, so their
    text becomes a part of its name.
    """
    if pasted := "".join(_inlined_sources(function, set())):
        function.__qualname__ += "_" + hashlib.sha256(pasted.encode()).hexdigest()[:8]
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: no locator available
        return njit(**_OPTIONS)(function)


def lies_on_disk(compiled: Any) -> bool | None:
    """Whether a kernel that can be used here was kept; None where nothing can be kept."""
    files = getattr(compiled._cache, "_cache_file", None)
    return None if files is None else bool(files._load_index())


def kept_in(compiled: Any) -> str | None:
    """The folder that a kernel is kept in: beside the package's files, or where these cannot be
    written, numba's of the user ($NUMBA_CACHE_DIR names another); None where it is not kept."""
    return getattr(compiled._cache, "cache_path", None)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A small function that is pasted into the kernels that call it."""
    made = njit(inline="always", **_OPTIONS)(function)
    made.recam_inlined = True
    return made


def _inlined_sources(function: Callable[..., Any], seen: set[str]) -> list[str]:
    """The text of every inlined function that one names, and of those that these name."""
    found = []
    for name in function.__code__.co_names:
        other: Any = function.__globals__.get(name)
        if getattr(other, "recam_inlined", False) and name not in seen:
            seen.add(name)
            body = other.py_func
            found += [inspect.getsource(body), *_inlined_sources(body, seen)]
    return found
