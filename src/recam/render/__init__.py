"""What a scene shows to new cameras: its co-visible pixels, their depth, and what is unknown."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch

from recam.configs import RenderConfig
from recam.render import fast_shade
from recam.render.source import Source, make_source
from recam.render.splat import DEFAULTS, View, draw_fast, make_warp, shade_fast, splat
from recam.render.static import StaticSet, build_static, fill_static
from recam.types import CameraPath, Cameras, Progress, Rendering, Scene, no_progress

__all__ = [
    "StaticSet", "View", "build_static", "render", "render_frames", "render_windows", "splat",
]  # fmt: skip


def render(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig = DEFAULTS,
    progress: Progress = no_progress,
) -> Rendering:
    """What the scene shows to the cameras of a path.

    Frame i shows the moment ``path.source_frames[i]`` at the size of ``path.cameras``. What that
    source frame saw comes first; with ``config.aggregate_static``, what other frames saw of the
    static scene fills the rest. Raises ValueError for a source frame that does not exist.
    """
    frames = list(render_frames(scene, path, config, progress))
    return _stack(frames, path.cameras)


def render_windows(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig = DEFAULTS,
    window: int = 48,
    progress: Progress = no_progress,
) -> Iterator[Rendering]:
    """``render`` piece by piece, ``window`` frames at a time: memory does not grow with length."""
    if window < 1:
        raise ValueError(f"window is {window}; expected at least 1 frame")
    views: list[View] = []
    start = 0
    for view in render_frames(scene, path, config, progress):
        views.append(view)
        if len(views) == window or start + len(views) == len(path):
            yield _stack(views, path.cameras[start : start + len(views)])
            start, views = start + len(views), []


def render_frames(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig = DEFAULTS,
    progress: Progress = no_progress,
    static: StaticSet | None = None,
) -> Iterator[View]:
    """``render`` frame by frame. As many frames are worked on at once as torch has threads.

    static: the merged static points, if already built for this scene; else they are built first
    when ``config.aggregate_static`` asks for them and there is more than one frame.
    """
    first, last = (int(f) for f in path.source_frames.aminmax()) if len(path) else (0, 0)
    if first < 0 or last >= len(scene):
        raise ValueError(
            f"the path sees source frames {first} to {last}, but the scene has {len(scene)} "
            "(counted from 0); give other source_frames"
        )
    if not config.aggregate_static:
        static = None
    elif static is None and len(scene) > 1:
        static = build_static(scene, config, progress)
    workers = torch.get_num_threads()
    sources = _Sources(scene, config, keep=workers + 1)

    def work(i: int) -> View:
        source = sources.get(int(path.source_frames[i]))
        return _render_one(source, path.cameras[i : i + 1], static, config)

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[View]] = deque()
        for i in range(len(path)):
            waiting.append(pool.submit(work, i))
            if len(waiting) > workers:
                progress("render", i - workers, len(path))
                yield waiting.popleft().result()
        while waiting:
            progress("render", len(path) - len(waiting), len(path))
            yield waiting.popleft().result()
    progress("render", len(path), len(path))


def _render_one(
    source: Source, target: Cameras, static: StaticSet | None, config: RenderConfig
) -> View:
    warp = make_warp(source.camera, target)
    front, blocked = torch.zeros(2, target.height, target.width)
    draw_fast(source.surface, warp, warp.scale**2 * config.max_stretch, front, blocked)
    fast_shade.settle(front.numpy(), blocked.numpy(), np.float32(config.edge_threshold))
    view = shade_fast(source.rgba, source.surface, warp, config.edge_threshold, front)
    if static is not None:
        fill_static(view, blocked, static, source, target, config)
    return view


class _Sources:
    """The last few source frames, made once each however many threads ask for them."""

    def __init__(self, scene: Scene, config: RenderConfig, keep: int) -> None:
        self.scene, self.config, self.keep = scene, config, keep
        self.lock = Lock()
        self.made: OrderedDict[int, Future[Source]] = OrderedDict()

    def get(self, index: int) -> Source:
        with self.lock:
            future = self.made.get(index)
            mine = future is None
            if future is None:
                future = self.made[index] = Future()
                while len(self.made) > self.keep:
                    self.made.popitem(last=False)
            else:
                self.made.move_to_end(index)
        if mine:
            try:
                future.set_result(make_source(self.scene, index, self.config))
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def _stack(views: list[View], cameras: Cameras) -> Rendering:
    if not views:
        raise ValueError("the camera path is empty; give at least one camera")
    return Rendering(
        torch.stack([v.frame for v in views]), torch.stack([v.known for v in views]),
        torch.stack([v.depth for v in views]), cameras,
    )  # fmt: skip
