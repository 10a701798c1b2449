"""What was made up once is part of the scene: seen again by every frame and every later path.

A few views along a path are completed before all others, the one that lacks most first. What was
filled in becomes static points of the scene, with depth, in frames of their own at its end
(``Scene.num_made_up`` of them). They come after all that the video shows, and a real frame that
sees through them takes them away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recam.completion.planes import find_layout
from recam.configs import RenderConfig
from recam.flow.masked import from_nearest, split_border
from recam.render import render
from recam.types import CameraPath, Cameras, Progress, Rendering, Scene, Video, no_progress

MIN_HOLE = 1e-3
"""A view that lacks a smaller share of its picture adds nothing to the scene."""
DEPTH_STEP = 0.1
"""As in completion: nearer by more than this share is in front."""
MADE_UP_CONFIDENCE = 0.1


def remember(
    scene: Scene,
    path: CameraPath,
    num_views: int,
    fill: Callable[[Rendering], Tensor],
    config: RenderConfig,
    progress: Progress = no_progress,
) -> Scene:
    """The scene with what ``fill`` makes up in at most ``num_views`` views of a path.

    fill: uint8 [1, 3, h, w] of a rendering of one frame. The views are the path's ends and evenly
    between. Their depth is valid only where the scene, with what was made up before, showed
    nothing.
    """
    num = min(num_views, len(path))
    waiting = torch.linspace(0, len(path) - 1, num).round().to(torch.int64).unique()
    for done in range(len(waiting)):
        shown = CameraPath(path.cameras[waiting], path.source_frames[waiting])
        views = render(scene, shown, replace(config, aggregate_static=True))
        lacking = (views.known < 0.5).float().mean((1, 2))
        worst = int(lacking.argmax())
        if float(lacking[worst]) < MIN_HOLE:
            break
        view = replace(
            views, frames=views.frames[worst : worst + 1], known=views.known[worst : worst + 1],
            depth=views.depth[worst : worst + 1], cameras=views.cameras[worst : worst + 1],
            evidence=None,
        )  # fmt: skip
        scene = joined(scene, made_up_frame(scene, view, fill(view)))
        waiting = torch.cat([waiting[:worst], waiting[worst + 1 :]])
        progress("making up what is hidden", done + 1, num)
    return scene


def made_up_part(scene: Scene) -> Scene | None:
    """The frames that were made up, as a scene of their own; None where there is none."""
    num = scene.num_made_up
    if num == 0:
        return None
    times_s = torch.arange(num, dtype=torch.float64) / 24
    return replace(
        scene, video=Video(scene.video.frames[-num:], times_s), cameras=scene.cameras[-num:],
        depth=scene.depth[-num:], valid=scene.valid[-num:], dynamic=scene.dynamic[-num:],
        confidence=scene.confidence[-num:], report={},
    )  # fmt: skip


def joined(scene: Scene, made_up: Scene) -> Scene:
    """A scene with frames that were made up at its end. Raises ValueError for other sizes."""
    if scene.video.frames.shape[1:] != made_up.video.frames.shape[1:]:
        raise ValueError(
            f"frames of {list(made_up.video.frames.shape[1:])} do not belong to a scene of "
            f"{list(scene.video.frames.shape[1:])}"
        )
    old, new = scene.cameras, made_up.cameras
    cameras = replace(
        old, cam_from_world=torch.cat([old.cam_from_world, new.cam_from_world]),
        intrinsics=torch.cat([old.intrinsics, new.intrinsics]),
    )  # fmt: skip
    end = scene.video.times_s[-1]
    later = end + (1 + torch.arange(len(made_up), dtype=torch.float64)) / scene.video.fps
    video = replace(
        scene.video, frames=torch.cat([scene.video.frames[:], made_up.video.frames]),
        times_s=torch.cat([scene.video.times_s, later]),
    )  # fmt: skip
    return replace(
        scene, video=video, cameras=cameras, depth=torch.cat([scene.depth, made_up.depth]),
        valid=torch.cat([scene.valid, made_up.valid]),
        dynamic=torch.cat([scene.dynamic, made_up.dynamic]),
        confidence=torch.cat([scene.confidence, made_up.confidence]),
        num_made_up=scene.num_made_up + len(made_up),
    )  # fmt: skip


def made_up_frame(scene: Scene, view: Rendering, filled: Tensor) -> Scene:
    """One completed view as a scene whose depth is valid where ``view`` had a hole.

    filled: uint8 [1, 3, h, w]. The hole's depth is that of the first plane that bounds the view,
    else of what lies behind along its border.
    """
    known, depth = (view.known[0] > 0.5).numpy(), view.depth[0].numpy()
    nearness = np.where(known, -np.log(np.maximum(depth, 1e-9)) / DEPTH_STEP, 0)
    behind, _ = split_border(nearness.astype(np.float32), known)
    hidden, _ = from_nearest(depth, behind if behind.any() else known)
    layout = find_layout(view)
    if layout is not None:  # planes go on as they are
        plane = layout.surfaces[0].depth
        hidden = np.where(plane > 0, plane, hidden)
    # One surface, not a fan of strips: the nearest depths behind, evened out.
    sigma = max(1.0, max(known.shape) / 100)
    weight = cv2.GaussianBlur((~known).astype(np.float32), (0, 0), sigma)
    even = cv2.GaussianBlur(np.where(known, 0, 1 / np.maximum(hidden, 1e-9)), (0, 0), sigma)
    made_up = np.maximum(weight, 1e-6) / np.maximum(even, 1e-9)
    whole = torch.from_numpy(np.where(known, depth, made_up).astype(np.float32))[None, None]
    hole = torch.from_numpy(~known)[None, None].float()
    size = (scene.cameras.height, scene.cameras.width)
    small, missing = (interpolate(v, size, mode="nearest-exact")[0] for v in (whole, hole))
    cameras: Cameras = view.cameras.resized(*size)
    return Scene(
        Video(filled, torch.zeros(1, dtype=torch.float64)), cameras, small, missing > 0.5,
        torch.zeros_like(missing, dtype=torch.bool),
        torch.full_like(missing, MADE_UP_CONFIDENCE), scene.metres_per_unit, num_made_up=1,
    )  # fmt: skip
