"""One job a frame, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from recam.types import Progress


def parallel_frames(
    job: Callable[[int], None], frames: Sequence[int], progress: Progress, what: str
) -> None:
    """Run ``job(i)`` for every frame index on all cores; the kernels release the GIL."""
    progress(what, 0, len(frames))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(job, frames), 1):
            progress(what, done, len(frames))
