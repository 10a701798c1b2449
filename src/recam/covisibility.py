"""What two cameras both see: training pairs from any video, without ground truth for new views.

The source video is seen from a random path, and that is seen back from the source's own cameras.
What survives is what the path's cameras could have shown of the source video; the rest are holes as
a reshoot leaves them, and here the truth behind them is known. Source: CogNVS (Chen et al. 2025).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recam.configs import PairConfig, RenderConfig
from recam.render import View, render
from recam.render.frame import render_frame
from recam.render.source import carry_mask, make_source
from recam.trajectories import focus_depth, relative_path
from recam.types import CameraPath, Cameras, Pair, Rendering, Scene, Video

Mask2D = Literal["boxes", "strokes", "frames", "border"]
DEFAULT_RENDER = RenderConfig()
DEFAULT_PAIRS = PairConfig()


@dataclass(frozen=True)
class DoubleReprojection:
    """A scene seen from a path and back.

    visible: bool [t, h, w] at the video's size: this source pixel is seen by the path's camera, and
        from there it comes back to where it was.
    there: the path's views as if they had been filmed: a scene with holes (``valid``).
    back: that from the source's cameras, with known, depth and twice resampled colours.
    """

    visible: Tensor
    there: Scene
    back: Rendering


def take_frames(scene: Scene, index: Tensor) -> Scene:
    """The frames of an index tensor [k], as a scene."""
    return replace(
        scene, video=scene.video[index], cameras=scene.cameras[index], depth=scene.depth[index],
        valid=scene.valid[index], dynamic=scene.dynamic[index],
        confidence=scene.confidence[index],
    )  # fmt: skip


def resize_scene(scene: Scene, height: int, width: int) -> Scene:
    """A scene with its video at another size (area averages); the geometry keeps its own size."""
    frames = [
        F.interpolate(f[None].float(), (height, width), mode="area") for f in scene.video.frames
    ]
    small = torch.cat([f.round().to(torch.uint8) for f in frames])
    return replace(scene, video=replace(scene.video, frames=small))


def double_reproject(
    scene: Scene, novel: Cameras, config: RenderConfig = DEFAULT_RENDER
) -> DoubleReprojection:
    """See every frame of a scene from its own novel camera, and that from the source's again.

    novel: t cameras of any size (the video's is natural), one for each frame. Both ways go through
    the z-buffer and the hole treatment of ``render``. On the way back the novel views stand in for
    the source video, so with ``config.aggregate_static`` what one of them saw of the static scene
    fills what another did not, as in a reshoot.
    """
    if len(novel) != len(scene):
        raise ValueError(f"{len(novel)} novel cameras for {len(scene)} frames; give one per frame")
    there, disparity = _film(scene, novel, config)
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    back = render(there, CameraPath(own, torch.arange(len(scene))), config)
    gap = disparity.mul_(back.depth).sub_(1).abs_()
    visible = (back.known > 0) & (gap <= config.edge_threshold)
    return DoubleReprojection(visible, there, back)


def _film(scene: Scene, novel: Cameras, config: RenderConfig) -> tuple[Scene, Tensor]:
    """A scene as each frame alone shows it to its novel camera: a scene with holes, of the novel
    cameras' size. And the disparities [t, h, w] of the source frames at the video's size."""
    t, height, width = len(scene), scene.video.height, scene.video.width
    disparity = torch.empty(t, height, width)
    size = (t, novel.height, novel.width)
    frames = torch.empty(t, 3, *size[1:], dtype=torch.uint8)
    known, depth, confidence = torch.empty(size), torch.empty(size), torch.empty(size)
    dynamic = torch.empty(size, dtype=torch.bool)

    def film(i: int) -> None:
        source = make_source(scene, i, config)
        disparity[i].numpy()[:] = source.surface.disparity.numpy()
        origin = torch.empty(size[1:], dtype=torch.int32)
        view = View(frames[i], known[i], depth[i], origin)
        render_frame(source, novel[i : i + 1], None, config, view)
        for mask, out in ((scene.dynamic[i], dynamic[i]), (scene.confidence[i], confidence[i])):
            carry_mask(mask, origin, height, width, out)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(film, range(t)))
    video = Video(frames, scene.video.times_s)
    return Scene(video, novel, depth, known > 0, dynamic, confidence), disparity


def sample_path(
    rng: np.random.Generator, num_frames: int, config: PairConfig = DEFAULT_PAIRS
) -> tuple[Tensor, Tensor, Tensor]:
    """Random φ and θ in degrees and r (fraction of the focus depth), float64 [num_frames] each.

    Each goes one way only between two to four random keys within the config's ranges, as CogNVS's
    training paths do; ``wide_fraction`` of them may go ``wide_factor`` times as far.
    """
    wide = config.wide_factor if rng.random() < config.wide_fraction else 1.0
    times = np.linspace(0, 1, num_frames)
    tracks = []
    for limit in (config.yaw, config.pitch, config.distance):
        num_keys = int(rng.integers(2, 5))
        keys = np.sort(rng.uniform(-limit * wide, limit * wide, num_keys))
        if rng.random() < 0.5:
            keys = keys[::-1]
        tracks.append(torch.from_numpy(np.interp(times, np.linspace(0, 1, num_keys), keys)))
    phi, theta, r = tracks
    return phi, theta, r.clamp(min=-0.6, max=0.6)


def novel_cameras(
    cameras: Cameras, phi_deg: Tensor, theta_deg: Tensor, r: Tensor, depth: float
) -> Cameras:
    """Cameras [n] that orbit each of n cameras about the point ``depth`` ahead of it."""
    moved = relative_path(phi_deg, theta_deg, r, depth) @ cameras.cam_from_world
    return replace(cameras, cam_from_world=moved)


def make_pairs(
    scene: Scene,
    rng: np.random.Generator,
    config: PairConfig = DEFAULT_PAIRS,
    render_config: RenderConfig = DEFAULT_RENDER,
) -> Iterator[Pair]:
    """Endless training pairs at the video's size: a part of the video with holes, and all of it.

    Each takes random consecutive frames (or every k-th) and a random path. ``resize_scene`` first
    makes them cheaper. Raises ValueError for a config that leaves no frame.
    """
    if config.num_frames is not None and config.num_frames < 1:
        raise ValueError(f"num_frames is {config.num_frames}; expected at least 1, or None for all")
    depth = focus_depth(scene)
    while True:
        index = _sample_frames(rng, len(scene), config)
        part = take_frames(scene, index)
        phi, theta, r = sample_path(rng, len(part), config)
        own = part.cameras.resized(part.video.height, part.video.width)
        alone = rng.random() < config.alone_fraction
        merged = render_config.aggregate_static and not alone
        seen = double_reproject(
            part, novel_cameras(own, phi, theta, r, depth),
            replace(render_config, aggregate_static=merged),
        )  # fmt: skip
        resampled = rng.random() < config.resampled_fraction
        frames = seen.back.frames if resampled else part.video.frames
        known = seen.visible
        shown = replace(
            seen.back, frames=frames * known[:, None], known=known.float(),
            depth=seen.back.depth * known,
        )  # fmt: skip
        yield Pair(shown, part.video)


def _sample_frames(rng: np.random.Generator, length: int, config: PairConfig) -> Tensor:
    num = length if config.num_frames is None else min(config.num_frames, length)
    longest = (length - 1) // max(num - 1, 1)
    stride = int(rng.integers(1, max(min(config.max_stride, longest), 1) + 1))
    start = int(rng.integers(0, length - (num - 1) * stride))
    return start + stride * torch.arange(num)


def random_2d_known(
    rng: np.random.Generator,
    num_frames: int,
    height: int,
    width: int,
    kinds: Sequence[Mask2D] = get_args(Mask2D),
) -> Tensor:
    """known float32 [t, h, w] with holes that owe nothing to geometry: one or two of ``kinds``.

    boxes: rectangles that drift; strokes: brush strokes that drift; frames: whole frames, never
    all; border: strips along the picture's sides that widen or narrow. The 2D arm of the ablation.
    """
    unknown_kinds = set(kinds) - set(get_args(Mask2D))
    if unknown_kinds or not kinds:
        raise ValueError(f"mask kinds are {list(kinds)}; choose from {list(get_args(Mask2D))}")
    count = min(int(rng.integers(1, 3)), len(kinds))
    known = np.ones((num_frames, height, width), np.float32)
    for kind in rng.choice(list(kinds), count, replace=False):
        match kind:
            case "boxes":
                _boxes(rng, known)
            case "strokes":
                _strokes(rng, known)
            case "frames":
                _frames(rng, known)
            case "border":
                _border(rng, known)
    return torch.from_numpy(known)


def _drift(rng: np.random.Generator, num_frames: int, height: int, width: int) -> np.ndarray:
    """Positions [t, 2] (x, y) px that move steadily, by up to a third of the picture."""
    start = rng.uniform(0, 1, 2) * (width, height)
    travel = rng.uniform(-1 / 3, 1 / 3, 2) * (width, height)
    return start + np.linspace(0, 1, num_frames)[:, None] * travel


def _boxes(rng: np.random.Generator, known: np.ndarray) -> None:
    t, h, w = known.shape
    for _ in range(int(rng.integers(1, 5))):
        half = rng.uniform(0.04, 0.25, 2) * (w, h)
        for i, centre in enumerate(_drift(rng, t, h, w)):
            x0, y0 = np.maximum(np.rint(centre - half), 0).astype(int)
            x1, y1 = np.maximum(np.rint(centre + half), 0).astype(int)
            known[i, y0:y1, x0:x1] = 0


def _strokes(rng: np.random.Generator, known: np.ndarray) -> None:
    t, h, w = known.shape
    for _ in range(int(rng.integers(1, 6))):
        thick = max(int(rng.uniform(0.02, 0.12) * min(h, w)), 1)
        turns = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.7, 8))
        steps = rng.uniform(0.03, 0.15, 8)[:, None] * min(h, w)
        line = np.cumsum(steps * np.stack([np.cos(turns), np.sin(turns)], 1), 0)
        for i, start in enumerate(_drift(rng, t, h, w)):
            points = np.rint(line - line[0] + start).astype(np.int32)
            cv2.polylines(known[i], [points[:, None]], False, 0.0, thick)


def _frames(rng: np.random.Generator, known: np.ndarray) -> None:
    t = len(known)
    if t < 2:
        return
    count = int(rng.integers(1, max(t // 2, 1) + 1))
    if rng.random() < 0.5:
        start = int(rng.integers(0, t - count + 1))
        known[start : start + count] = 0
    else:
        known[rng.choice(t, count, replace=False)] = 0


def _border(rng: np.random.Generator, known: np.ndarray) -> None:
    t, h, w = known.shape
    sides = rng.random(4) < 0.5
    sides[rng.integers(0, 4)] = True
    for side in np.nonzero(sides)[0]:
        size = w if side < 2 else h
        widths = np.rint(np.linspace(rng.uniform(0, 0.3), rng.uniform(0, 0.3), t) * size).astype(
            int
        )
        for i, n in enumerate(widths):
            match side:
                case 0:
                    known[i, :, :n] = 0
                case 1:
                    known[i, :, w - n :] = 0
                case 2:
                    known[i, :n] = 0
                case _:
                    known[i, h - n :] = 0
