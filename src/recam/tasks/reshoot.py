"""A video, or a scene of it, seen by another camera.

video ─ reconstruct ─► Scene ─ render ─► PartialVideo ─ complete ─► Video
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from recam.completers import open_completer, resolve_config
from recam.completion.completer import Completer
from recam.completion.streaming import collected, complete_pieces
from recam.configs import CompleteConfig, PathConfig, ReshootConfig
from recam.reconstruct.cameras.rolling_shutter import find_rolling_shutter
from recam.reconstruct.io.scene_files import load_scene, save_scene
from recam.reconstruct.scene_cache import OpenedScene
from recam.render import render_windows
from recam.runtime.cache import content_hash
from recam.runtime.versions import versions
from recam.scene_memory import joined, made_up_part, remember
from recam.tasks.unseen import path_in_scene
from recam.types import CameraPath, Progress, Rendering, Result, Scene, Video, no_progress


def adapted_completer(
    opened: OpenedScene, config: CompleteConfig, progress: Progress = no_progress
) -> Completer:
    """What completes paths through a scene, adapted to its video where the config says so; what was
    learned is kept in the cache for other paths."""
    completer = open_completer(resolve_config(config, "reshoot"))
    return completer.adapt(opened.scene, (opened.identity,), progress)


def complete_along(
    scene: Scene,
    path: CameraPath,
    config: ReshootConfig,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
    folder: Path | None = None,
) -> Iterator[tuple[Rendering, torch.Tensor]]:
    """Render and complete a path window by window, so that memory does not grow with its length.

    folder: of the scene, where what config.memory makes up is kept for later paths.

    Yields (rendering, frames uint8 [k, 3, h, w]) of consecutive pieces that together cover the
    path; see ``complete_pieces``, which also keeps finished windows for a run that is stopped.
    Seconds spent are added to timings_s["render"] and ["complete"].
    """
    if config.memory > 0:
        clock = time.perf_counter()
        scene = with_memory(scene, path, config, completer, progress, folder)
        timings_s["memory"] = time.perf_counter() - clock
    windows = completer.plan(len(path), path.cameras.height, path.cameras.width)

    def rendered() -> Iterator[Rendering]:
        views = render_windows(scene, path, config.render, windows.new)
        while True:
            clock = time.perf_counter()
            handed_on = list(itertools.islice(views, 1))  # no name here holds what is handed on
            timings_s["render"] = timings_s.get("render", 0.0) + time.perf_counter() - clock
            if not handed_on:
                return
            yield handed_on.pop()

    yield from complete_pieces(
        rendered(), len(path), completer, windows, timings_s, progress, "render and complete"
    )


class RollingShutterWarning(UserWarning):
    """The film's picture was read row by row, which a new path does not undo."""


def warn_of_rolling_shutter(scene: Scene, config: PathConfig) -> None:
    """Where a path is to take shake out: if rows were read in turn, shake bent the picture too."""
    if config.path == "stabilise":
        found = find_rolling_shutter(scene)
        if found is not None:
            warnings.warn(found.describe(), RollingShutterWarning, stacklevel=3)


def with_memory(
    scene: Scene,
    path: CameraPath,
    config: ReshootConfig,
    completer: Completer,
    progress: Progress = no_progress,
    folder: Path | None = None,
) -> Scene:
    """The scene with what ``completer`` makes up in config.memory views of a path, and with what it
    made up for earlier paths and is kept in the scene's folder."""
    kept = None if folder is None else folder / f"memory-{content_hash(completer.identity)[:12]}"
    if kept is not None and (kept / "scene.json").is_file():
        scene = joined(scene, load_scene(kept))

    def fill(view: Rendering) -> torch.Tensor:
        return completer.fill(view)

    after = remember(scene, path, config.memory, fill, config.render, progress)
    part = made_up_part(after)
    if kept is not None and part is not None and after.num_made_up > scene.num_made_up:
        save_scene(part, kept)
    return after


def reshoot(
    scene: Scene,
    config: ReshootConfig,
    progress: Progress = no_progress,
    completer: Completer | None = None,
    folder: Path | None = None,
) -> Result:
    """The video that a camera on config.path would have seen, at the source's size.

    completer: from ``adapted_completer``; by default as its weights are. folder: see
    ``complete_along``.
    """
    completer = completer or open_completer(resolve_config(config.complete, "reshoot"))
    path, _ = path_in_scene(scene, config.path, config.render, progress)
    warn_of_rolling_shutter(scene, config.path)
    timings_s: dict[str, float] = {}
    pieces = complete_along(scene, path, config, completer, timings_s, progress, folder)
    partial, frames = collected(pieces, len(path))
    video = Video(frames, *path_times_s(scene, path))
    return Result(video, partial, config, timings_s, versions(), completer.weights_sha256)


def path_times_s(scene: Scene, path: CameraPath) -> tuple[torch.Tensor, str | None]:
    """Presentation times of a path's frames, and the sound that goes with them.

    A path that sees the source's frames in their own order keeps their times and sound; any other
    (frozen time, a path of its own length) plays at the source's mean rate, silent.
    """
    num_source = len(scene)
    if len(path) == num_source and torch.equal(path.source_frames, torch.arange(num_source)):
        return scene.video.times_s, scene.video.audio_path
    return torch.arange(len(path), dtype=torch.float64) / scene.video.fps, None
