"""Independent pieces of work on all cores: one job a frame, or an item of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from recam.runtime.threads import num_cores
from recam.types import Progress

Item = TypeVar("Item")
Made = TypeVar("Made")


def parallel_frames(
    job: Callable[[int], None], frames: Sequence[int], progress: Progress, what: str
) -> None:
    """Run ``job(i)`` for every frame index on all cores; the kernels release the GIL."""
    progress(what, 0, len(frames))
    with ThreadPoolExecutor(num_cores()) as pool:
        for done, _ in enumerate(pool.map(job, frames), 1):
            progress(what, done, len(frames))


def parallel_map(
    work: Callable[[Item], Made], items: Iterable[Item], workers: int | None = None
) -> Iterator[Made]:
    """``work`` of every item, in their order, on all cores or as many ``workers``; by one in the
    thread that asks."""
    if workers == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers or num_cores()) as pool:
        yield from pool.map(work, items)
