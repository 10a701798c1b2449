"""How many threads libraries use: one each, where the work is split by frames instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def num_cores() -> int:
    """Cores that this process may use: those that it is bound to, or its share of them where
    several work side by side ($RECAM_THREADS)."""
    there = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on every system
        there = len(os.sched_getaffinity(0))
    share = os.environ.get("RECAM_THREADS", "")
    return min(there, max(int(share), 1)) if share.isascii() and share.isdigit() else there


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


@contextmanager
def all_torch_threads() -> Iterator[None]:
    """For a large network inside of :func:`one_torch_thread`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(num_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)
