"""Rendering along a camera path, as many frames at once as there are threads."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import torch

from recam.configs import RenderConfig
from recam.render.frame import check_device, render_frame
from recam.render.outlines import smooth_outlines
from recam.render.source import Source, make_source
from recam.render.splat import DEFAULTS, MADE_UP, View, empty_view
from recam.render.static import StaticSet, build_static
from recam.types import CameraPath, Cameras, Evidence, Progress, Rendering, Scene, no_progress


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
    whole = _empty_rendering(path.cameras)
    for i, view in enumerate(_run(scene, path, config, progress, None, lambda i: _slot(whole, i))):
        _note_evidence(whole, i, view)
    return whole


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
    open_windows: dict[int, Rendering] = {}

    def slot(i: int) -> View:
        start = i - i % window
        if start not in open_windows:
            open_windows[start] = _empty_rendering(path.cameras[start : start + window])
        return _slot(open_windows[start], i - start)

    for i, view in enumerate(_run(scene, path, config, progress, None, slot)):
        _note_evidence(open_windows[i - i % window], i % window, view)
        del view  # it is a part of the window, which is not held once it is handed on
        if (i + 1) % window == 0 or i + 1 == len(path):
            yield open_windows.pop(i - i % window)


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

    def slot(i: int) -> View:
        return empty_view(path.cameras.height, path.cameras.width)

    return _run(scene, path, config, progress, static, slot)


def _run(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig,
    progress: Progress,
    static: StaticSet | None,
    slot: Callable[[int], View],
) -> Iterator[View]:
    """Render frame i into ``slot(i)`` (asked for in order); yields in order."""
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
    device = check_device(config.device)
    if static is not None and device.type != "cpu":
        static = static.to(device)
    workers = torch.get_num_threads()
    sources = _Sources(scene, config, keep=workers + 1)

    def work(i: int, out: View) -> View:
        source = sources.get(int(path.source_frames[i]))
        view = render_frame(source, path.cameras[i : i + 1], static, config, out)
        if config.smooth_outlines:
            smooth_outlines(view, source.camera.width, config.edge_threshold)
        return view

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[View]] = deque()
        for i in range(len(path)):
            waiting.append(pool.submit(work, i, slot(i)))
            if len(waiting) > workers:
                progress("render", i - workers, len(path))
                yield waiting.popleft().result()
        while waiting:
            progress("render", len(path) - len(waiting), len(path))
            yield waiting.popleft().result()
    progress("render", len(path), len(path))


class _Sources:
    """The last few source frames, made once each however many threads ask for them."""

    def __init__(self, scene: Scene, config: RenderConfig, keep: int) -> None:
        self.scene, self.config, self.keep = scene, config, keep
        self.lock = Lock()
        self.made: OrderedDict[int, Future[Source]] = OrderedDict()

    def get(self, index: int) -> Source:
        """Source frame ``index``; made by the first thread that asks, waited for by the others."""
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


def _empty_rendering(cameras: Cameras) -> Rendering:
    if len(cameras) == 0:
        raise ValueError("the camera path is empty; give at least one camera")
    size = (len(cameras), cameras.height, cameras.width)
    frames = torch.empty(size[0], 3, *size[1:], dtype=torch.uint8)
    evidence = torch.empty(size, dtype=torch.uint8)
    return Rendering(frames, torch.empty(size), torch.empty(size), cameras, evidence)


def _note_evidence(rendering: Rendering, i: int, view: View) -> None:
    """Where frame i of a rendering has its pixels from."""
    assert rendering.evidence is not None
    elsewhen = torch.where(view.origin == MADE_UP, Evidence.MADE_UP, Evidence.ANOTHER_MOMENT)
    found = torch.where(view.origin >= 0, Evidence.THIS_MOMENT, elsewhen)
    rendering.evidence[i] = torch.where(view.known > 0.5, found, Evidence.NONE)


def _slot(rendering: Rendering, i: int) -> View:
    """A View that writes into frame i of a rendering."""
    origin = torch.empty(rendering.known.shape[1:], dtype=torch.int32)
    return View(rendering.frames[i], rendering.known[i], rendering.depth[i], origin)
