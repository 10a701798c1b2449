"""One job a frame, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from recam.runtime.threads import num_cores
from recam.types import Progress


def parallel_frames(
    job: Callable[[int], None], frames: Sequence[int], progress: Progress, what: str
) -> None:
    """Run ``job(i)`` for every frame index on all cores; the kernels release the GIL."""
    progress(what, 0, len(frames))
    with ThreadPoolExecutor(num_cores()) as pool:
        for done, _ in enumerate(pool.map(job, frames), 1):
            progress(what, done, len(frames))
