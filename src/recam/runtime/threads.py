"""How many threads libraries use: one each, where the work is split by frames instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_opencv_thread() -> Iterator[int]:
    """Pairs of frames run side by side instead: faster, and DIS flow gives the same result on every
    machine. Yields how many threads there were, at least 1."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield max(before, 1)
    finally:
        cv2.setNumThreads(before)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """For many small steps, at each of which threads would wait for each other (on a busy machine
    20 times as long); sums then do not depend on how many threads there are either."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
