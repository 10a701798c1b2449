"""How much memory this process may take: the machine's, or less where a limit is set; and how it
gives back what it took."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE_ARRAY_BYTES = 2 << 20
MAX_BYTES = 3_000_000_000
"""Of a process that completes a video, however much memory there is."""
BASE_BYTES = 620_000_000
"""Libraries, networks and compiled kernels."""
PICTURE_BYTES = 300
"""Of each pixel of one picture: what drawing a frame takes."""
WORKING_BYTES, FULL_BYTES = 135, 20
"""Of each pixel that holes are filled at, and of each of the frame itself, in a window of frames
that are completed together."""
LARGE_PIXELS, WORKING_PIXELS = 480 * 854, 480 * 640
"""Holes of larger pictures are filled at so many pixels; others at their own size."""


def working_pixels(pixels: int) -> int:
    """At how many pixels holes of a frame of so many are filled."""
    return pixels if pixels <= LARGE_PIXELS else WORKING_PIXELS


def window_room(pixels: int) -> int:
    """Bytes for the frames, of so many pixels each, that are completed together: what is left of
    MAX_BYTES, or of four fifths of the memory."""
    memory = memory_bytes()
    most = MAX_BYTES if memory is None else min(MAX_BYTES, int(0.8 * memory))
    return most - BASE_BYTES - PICTURE_BYTES * pixels


def bytes_while_completed(pixels: int) -> int:
    """About what a frame of so many pixels takes."""
    return FULL_BYTES * pixels + WORKING_BYTES * working_pixels(pixels)


def memory_bytes() -> int | None:
    """What the machine has, a container's limit, or the process's own (``ulimit -v``), whichever
    is least; None on a system that does not say.

    Not what is free at the moment: how a video is cut into windows follows from it, and the same
    machine shall give the same film.
    """
    known = [_physical(), *_container_limits(), *_process_limits()]
    found = [size for size in known if size is not None and 0 < size < _UNLIMITED]
    return min(found, default=None)


def return_large_arrays() -> None:
    """From now on, the system gets the memory of large arrays back when they are freed.

    glibc would learn to keep some of them for later, and then what it keeps does not fit what comes
    next. Elsewhere nothing is changed.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, LARGE_ARRAY_BYTES)
            library.mallopt(_TRIM_THRESHOLD, 8 * LARGE_ARRAY_BYTES)


def _physical() -> int | None:
    if sys.platform == "win32":
        return _physical_on_windows()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _physical_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("others", ctypes.c_uint64 * 6),
        )

    status = Status(size=ctypes.sizeof(Status))
    done = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.total) if done else None


def _container_limits() -> list[int]:
    """Of this process's control group and those above it (Linux)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        root = _CGROUP / "memory" if "memory" in controllers.split(",") else _CGROUP
        folder = root / name.strip("/")
        for place in (folder, *folder.parents):
            for file in ("memory.max", "memory.limit_in_bytes"):
                try:
                    found.append(int((place / file).read_text()))
                except (OSError, ValueError):  # not there, or "max"
                    continue
            if place == root:
                break
    return found


def _process_limits() -> list[int]:
    try:
        import resource
    except ImportError:
        return []
    return [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
