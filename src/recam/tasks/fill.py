"""Fill the holes of a video that a mask marks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recam.completers import open_completer, resolve_config
from recam.completion.completer import Completer
from recam.completion.streaming import complete_whole
from recam.configs import CompleteConfig
from recam.runtime.versions import versions
from recam.types import PartialVideo, Progress, Result, Video, no_progress


def adapted_completer(
    partial: PartialVideo,
    identity: Sequence[Any] | None,
    config: CompleteConfig,
    progress: Progress = no_progress,
) -> Completer:
    """What completes a video, adapted to what is known of it where the config says so.

    identity: what the video is, for the cache (see content_hash); None = it is not adapted to.
    """
    completer = open_completer(resolve_config(config))
    return completer if identity is None else completer.adapt(partial, identity, progress)


def fill(
    video: Video,
    partial: PartialVideo,
    config: CompleteConfig,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
) -> Result:
    """The video with what ``partial`` does not know filled in; timings_s: of what came before."""
    clock = time.perf_counter()
    frames = complete_whole(partial, completer, progress)
    timings_s = {**timings_s, "complete": time.perf_counter() - clock}
    made = replace(video, frames=frames)
    return Result(made, partial, config, timings_s, versions(), completer.weights_sha256)
