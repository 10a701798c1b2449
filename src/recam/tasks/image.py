"""One picture, seen by a moving camera; what is made up once stays in the scene.

picture ─ reconstruct ─► Scene ─ render, complete a few views ─► Scene with them ─ render, complete
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.completers import complete, open_completer, resolve_config
from recam.completion.streaming import collected
from recam.configs import ImageConfig, RenderConfig, ReshootConfig
from recam.flow.masked import from_nearest, split_border
from recam.render import render
from recam.runtime.versions import versions
from recam.tasks.reshoot import complete_along, completer_for_scene
from recam.trajectories import path_for_scene
from recam.types import (
    CameraPath,
    Cameras,
    Progress,
    Rendering,
    Result,
    Scene,
    Video,
    no_progress,
    video_from_frames,
)

MIN_HOLE = 1e-3
"""A view that lacks a smaller share of its picture adds nothing to the scene."""
DEPTH_STEP = 0.1
"""As in completion: nearer by more than this share is in front."""
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
    return path_for_scene(scene, config.path, num_frames=config.frames)


def frames_along(
    remembered: Scene,
    path: CameraPath,
    config: ImageConfig,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
) -> Iterator[tuple[Rendering, Tensor]]:
    """tasks.complete_along through a scene that ``remember`` gave."""
    whole = ReshootConfig(
        path=config.path, render=_all_static(config, len(remembered)), complete=config.complete
    )
    completer = completer_for_scene(remembered, config.complete)
    yield from complete_along(remembered, path, whole, completer, timings_s, progress)


def remember(
    scene: Scene, path: CameraPath, config: ImageConfig, progress: Progress = no_progress
) -> Scene:
    """The scene of one picture, with up to config.memory views of a path added as further frames.

    Their depth is valid only where the scene showed nothing before.
    """
    num = min(config.memory, len(path))
    if num == 0:
        return scene
    completer = open_completer(resolve_config(config.complete))
    # Ends and evenly between, in the picture's absence of anything better to go by.
    waiting = torch.linspace(0, len(path) - 1, num).round().to(torch.int64).unique().tolist()
    for done in range(len(waiting)):
        views = [render(scene, path[i : i + 1], _all_static(config, len(scene))) for i in waiting]
        lacking = [float((v.known < 0.5).float().mean()) for v in views]
        worst = int(np.argmax(lacking))
        if lacking[worst] < MIN_HOLE:
            break
        filled = complete(views[worst], completer=completer).frames[0]
        scene = _with_view(scene, views[worst], filled)
        del waiting[worst]
        progress("making up what is hidden", done + 1, num)
    return scene


def _all_static(config: ImageConfig, num: int) -> RenderConfig:
    return replace(
        config.render, aggregate_static=True,
        num_static_frames=max(config.render.num_static_frames, num),
    )  # fmt: skip


def _with_view(scene: Scene, view: Rendering, filled: Tensor) -> Scene:
    """The scene with one more frame, whose depth is valid where ``view`` had a hole."""
    known, depth = (view.known[0] > 0.5).numpy(), view.depth[0].numpy()
    nearness = np.where(known, -np.log(np.maximum(depth, 1e-9)) / DEPTH_STEP, 0)
    behind, _ = split_border(nearness.astype(np.float32), known)
    lends = behind if behind.any() else known
    hidden, _ = from_nearest(depth, lends)
    # One surface, not a fan of strips: the nearest depths behind, evened out.
    sigma = max(1.0, max(known.shape) / 100)
    weight = cv2.GaussianBlur((~known).astype(np.float32), (0, 0), sigma)
    even = cv2.GaussianBlur(np.where(known, 0, 1 / np.maximum(hidden, 1e-9)), (0, 0), sigma)
    made_up = (np.maximum(weight, 1e-6) / np.maximum(even, 1e-9)).astype(np.float32)
    whole = torch.from_numpy(np.where(known, depth, made_up).astype(np.float32))[None]
    size = (scene.cameras.height, scene.cameras.width)
    small = torch.nn.functional.interpolate(whole[None], size, mode="nearest-exact")[0]
    hole = torch.nn.functional.interpolate(
        torch.from_numpy(~known)[None, None].float(), size, mode="nearest-exact"
    )[0]
    camera = view.cameras.resized(*size)
    cameras = Cameras(
        torch.cat([scene.cameras.cam_from_world, camera.cam_from_world]),
        torch.cat([scene.cameras.intrinsics, camera.intrinsics]),
        *size,
    )
    times_s = torch.arange(len(scene) + 1, dtype=torch.float64) / 24
    return replace(
        scene,
        video=Video(torch.cat([scene.video.frames, filled[None]]), times_s),
        cameras=cameras,
        depth=torch.cat([scene.depth, small]),
        valid=torch.cat([scene.valid, hole > 0.5]),
        dynamic=torch.cat([scene.dynamic, torch.zeros_like(hole, dtype=torch.bool)]),
        confidence=torch.cat([scene.confidence, torch.full_like(hole, 0.1)]),
    )
