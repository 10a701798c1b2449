"""One picture, seen by a moving camera; what is made up once stays in the scene.

picture ─ reconstruct ─► Scene ─ render, complete a few views ─► Scene with them ─ render, complete
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from recam import scene_memory
from recam.completers import complete, open_completer, resolve_config
from recam.completion.streaming import collected
from recam.configs import ImageConfig, ReshootConfig
from recam.runtime.versions import versions
from recam.tasks.reshoot import complete_along
from recam.tasks.unseen import path_in_scene
from recam.types import (
    CameraPath,
    Progress,
    Rendering,
    Result,
    Scene,
    no_progress,
    video_from_frames,
)

DEFAULTS = ImageConfig()


def reshoot_image(
    scene: Scene, config: ImageConfig = DEFAULTS, progress: Progress = no_progress
) -> Result:
    """A video of config.frames frames along config.path through the scene of one picture.

    With config.memory, that many views along the path are completed first, the one with the
    largest holes before the others, and what was filled in is kept as part of the scene. All frames
    are then rendered from picture and memory, so that a place looks the same whenever it is seen.
    The picture's own pixels are never replaced by remembered ones. Raises ValueError for a scene of
    several frames, or frames below 1.
    """
    timings_s: dict[str, float] = {}
    path = image_path(scene, config)
    clock = time.perf_counter()
    remembered = remember(scene, path, config, progress)
    timings_s["memory"] = time.perf_counter() - clock
    pieces = frames_along(remembered, path, config, timings_s, progress)
    partial, frames = collected(pieces, len(path))
    return Result(video_from_frames(frames), partial, config, timings_s, versions())


def image_path(scene: Scene, config: ImageConfig) -> CameraPath:
    """config.path with config.frames frames. Raises ValueError for a scene that is a film."""
    if len(scene) != 1:
        raise ValueError(f"the scene has {len(scene)} frames; give one picture, or use reshoot")
    if config.frames < 1:
        raise ValueError(f"frames is {config.frames}; expected at least 1")
    if config.memory < 0:
        raise ValueError(f"memory is {config.memory}; expected 0 or more views")
    return path_in_scene(scene, config.path, config.render, num_frames=config.frames)[0]


def frames_along(
    remembered: Scene,
    path: CameraPath,
    config: ImageConfig,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
) -> Iterator[tuple[Rendering, Tensor]]:
    """tasks.complete_along through a scene that ``remember`` gave."""
    rendering = replace(config.render, aggregate_static=True)
    whole = ReshootConfig(path=config.path, render=rendering, complete=config.complete)
    completer = open_completer(resolve_config(config.complete, "reshoot"))
    yield from complete_along(remembered, path, whole, completer, timings_s, progress)


def remember(
    scene: Scene, path: CameraPath, config: ImageConfig, progress: Progress = no_progress
) -> Scene:
    """The scene of one picture, with up to config.memory views of a path added as further frames.

    Their depth is valid only where the scene showed nothing before.
    """
    completer = open_completer(resolve_config(config.complete))

    def fill(view: Rendering) -> Tensor:
        return complete(view, completer=completer).frames

    return scene_memory.remember(scene, path, config.memory, fill, config.render, progress)
