"""The monitor: what the new camera sees, beside the source; time, playing, and how much of each
frame nobody saw. The same pictures fill the middle of the page when asked to."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.apps.studio import compare
from recam.apps.studio.preview import GRAPH_FRAMES, PITCHES_DEG, Preview, spread
from recam.apps.studio.shell import Shell
from recam.types import CameraPath, RecamError, Scene

VIEWS = ("3D", "New camera", "Source", "Both", "Compare")
EMPTY = np.full((90, 160, 3), 26, np.uint8)
SETTLED_S = 0.35
"""The graph is counted when nothing has moved for so long."""
CHUNK = 6
"""Frames counted between two looks at whether the path has changed meanwhile."""
JPEG = 85
MIN_WIDTH = 320


class MonitorPanel:
    """The left panel, and the pictures in the middle."""

    def __init__(self, page: Shell) -> None:
        self.page, self.server = page, page.server
        gui = page.server.gui
        panel = gui.add_panel()
        with panel.add_tab("Monitor", "device-tv"):
            self.picture = gui.add_image(EMPTY, label="New camera (purple: never seen)")
            self.caption = gui.add_html("")
            self.slider = gui.add_slider(
                "Frame", 0, 1, 1, 0, hint="Arrow keys step, space plays", disabled=True
            )
            self.buttons = gui.add_button_group("", ("|◀", "◀", "Play", "▶", "▶|"))
            self.graph = gui.add_uplot(
                (np.array([0.0, 1.0]), np.array([0.0, 0.0])),
                ({"label": "frame"}, _series()),
                title="% of each frame that was never seen", height=130, legend={"show": False},
                axes=_axes(), scales=_scales(1.0),
                cursor={"drag": {"x": False, "y": False}}, padding=(8, 12, 0, 0),
            )  # fmt: skip
            self.mode = gui.add_dropdown(
                "Middle shows",
                VIEWS,
                initial_value="3D",
                hint="What fills the middle of the page (V: next)",
            )
            self.source = gui.add_image(EMPTY, label="Source")
        panel.dock_left()
        panel.set_width(340)
        self.frame, self.playing, self.due_s = 0, False, 0.0
        self.shown: tuple[Any, ...] = ()
        self.canvas: Tensor | None = None
        self.counting: tuple[Any, ...] = ()
        self.moved_s = 0.0
        self.sizes: dict[int, float] = {}
        self._connect()

    def _connect(self) -> None:
        page, gui = self.page, self.server.gui
        page.on(self.slider, self.caption, lambda _: self.go(int(self.slider.value)))
        page.on(self.mode, self.caption, lambda _: page.want("view"))
        page.on(self.buttons, self.caption, lambda event: self._button(event.target.value))
        keys: tuple[tuple[str, Any, Any, str], ...] = (
            ("Play or pause", "space", None, "Play"),
            ("Next frame", "arrowright", None, "▶"),
            ("Previous frame", "arrowleft", None, "◀"),
            ("First frame", "home", None, "|◀"),
            ("Last frame", "end", None, "▶|"),
        )
        for label, key, modifier, button in keys:
            command = gui.add_command(label, hotkey=key, modifier=modifier)
            page.on(command, self.caption, partial(self._button, button))
        following = gui.add_command("Next view in the middle", hotkey="V")
        page.on(following, self.caption, lambda _: self.next_view())

    def next_view(self) -> None:
        """3D, new camera, source …"""
        self.show_view(VIEWS[(VIEWS.index(self.mode.value) + 1) % len(VIEWS)])

    def show_view(self, name: str) -> None:
        """What fills the middle."""
        self.mode.value = name
        self.page.want("view")

    def _button(self, name: str, _: Any = None) -> None:
        if name == "Play":
            self.playing = not self.playing
            self.due_s = time.monotonic()
            self.page.want("frame")
            return
        last = self.num - 1
        go = {"|◀": 0, "◀": self.frame - 1, "▶": self.frame + 1, "▶|": last}
        self.go(min(max(go[name], 0), last))

    def go(self, frame: int) -> None:
        """Show another frame."""
        self.frame = frame
        self.page.want("frame")

    @property
    def num(self) -> int:
        """Frames of the path, or of the scene."""
        session = self.page.session
        if session.scene is None:
            return 1
        return session.num_frames or len(session.scene.previewer.scene)

    # Drawing (the page's thread)

    def draw(self, words: set[str]) -> None:
        """What the words ask for, and the next frame when it is time."""
        self._play()
        if words & {"scene", "project"}:
            self._fit_slider()
            self.shown = ()
        scene = self.page.session.scene
        if scene is None:
            if words & {"project"}:
                self.picture.image = self.source.image = EMPTY
                self.caption.content = ""
            self._draw_canvas(words)
            return
        if words & {"scene", "aim", "static", "frame", "project"} or self.playing:
            self._draw_frame(words)
        self._draw_canvas(words)

    def _fit_slider(self) -> None:
        last = max(self.num - 1, 1)
        self.frame = min(self.frame, last)
        project = self.page.session.project
        if project is not None and self.frame == 0:
            self.frame = min(project.state.frame, last)
        self.slider.max = last
        self.slider.disabled = self.num < 2
        self.slider.value = self.frame

    def _play(self) -> None:
        if not self.playing:
            return
        now = time.monotonic()
        scene = self.page.session.scene
        fps = scene.previewer.scene.video.fps if scene else 24.0
        if now < self.due_s:
            time.sleep(min(self.due_s - now, 0.05))
        steps = max(1, int((now - self.due_s) * fps))  # late frames are skipped, not queued
        self.frame = (self.frame + steps) % max(self.num, 1)
        self.due_s = max(self.due_s + steps / fps, now)
        self.page.want("frame")

    def _draw_frame(self, words: set[str]) -> None:
        session, view = self.page.session, self.page.view
        scene = session.need_scene()
        try:
            path: CameraPath | None = session.path()
            trouble = ""
        except (RecamError, ValueError) as error:
            path, trouble = None, str(error)
        moment = self.frame if path is None else int(path.source_frames[self.frame])
        if words & {"scene", "aim", "project"}:
            self.moved_s = time.monotonic()
            view.show_path(path)
            focus = scene.previewer.focus_depth * (session.aim.focus_depth or 1.0)
            view.show_focus(focus, min(moment, len(scene.previewer.scene) - 1))
        picture: Preview | None = None
        if path is not None:
            picture = scene.previewer.frame(path, self.frame)
            array = _as_array(picture.picture)
            self.picture.image = array
            elsewhere = float(picture.elsewhere.float().mean())
            self.caption.content = _caption(
                f"Frame {self.frame}: <b>{picture.never_seen:.1%} never seen</b>, "
                f"{elsewhere:.1%} seen only at another moment"
            )
            view.show_eye(path, self.frame, array)
        else:
            self.caption.content = _caption(trouble)
        self.now = (picture, scene.previewer.scene.video.frames[moment])
        if moment != self.shown_moment or words & {"scene", "project"}:
            self.source.image = _as_array(scene.previewer.scene.video.frames[moment])
        if self.slider.value != self.frame:
            self.slider.value = self.frame
        if moment != self.shown_moment or words & {"scene", "points"}:
            view.draw_moving(moment)
            self.shown_moment = moment
        self.canvas = None

    now: tuple[Preview | None, Tensor] | None = None
    shown_moment = -1

    def _draw_canvas(self, words: set[str]) -> None:
        mode = self.mode.value
        self.page.view.root.visible = mode == "3D" and self.page.session.scene is not None
        if mode == "3D":
            if words & {"view"}:
                for client in self.server.get_clients().values():
                    client.scene.set_background_image(None)
            return
        if mode == "Compare":
            try:
                self.canvas = self.page.make.comparison(self.frame)
            except (RecamError, ValueError, OSError) as error:
                self.page.say_error(self.page.make.errors, " ".join(str(error).split()))
                return
        elif self.now is not None and (self.canvas is None or "view" in words):
            preview, source = self.now
            seen = preview.picture if preview is not None else source
            pictures = {
                "New camera": seen,
                "Source": source,
                "Both": compare.beside(source, seen, ("source", "new camera")),
            }
            self.canvas = pictures[mode]
        else:
            return
        if self.canvas is not None:
            for client in self.server.get_clients().values():
                self._send(client)

    def _send(self, client: Any) -> None:
        if self.canvas is None:
            return
        aspect = self.sizes.get(client.client_id, 16 / 9)
        picture = compare.letterboxed(self.canvas, aspect)
        client.scene.set_background_image(_as_array(picture), "jpeg", jpeg_quality=JPEG)

    def canvas_resized(self, client: Any) -> None:
        """A client has connected, or its window has another shape."""
        camera = client.camera
        if camera.image_height > 0:
            aspect = camera.image_width / camera.image_height
            if abs(self.sizes.get(client.client_id, 0) - aspect) > 1e-3:
                self.sizes[client.client_id] = aspect
                if self.mode.value != "3D":
                    self._send(client)

    # The graph (a thread of its own)

    def count_never_seen(self) -> None:
        """Count what is never seen along the path, whenever it has come to rest."""
        while not self.page.closed:
            time.sleep(0.1)
            session = self.page.session
            scene = session.scene
            if scene is None or time.monotonic() - self.moved_s < SETTLED_S or self.playing:
                continue
            wanted = (scene.previewer, scene.previewer.static is not None, session.aim, self.num)
            project = session.project
            if project is not None and project.state.frame != self.frame:
                project.update(frame=self.frame)
            if wanted == self.counting:
                continue
            try:
                path = session.path()
                frames = spread(len(path), GRAPH_FRAMES)
                shares: list[float] = []
                for first in range(0, len(frames), CHUNK):
                    shares += scene.previewer.never_seen(path, frames[first : first + CHUNK])
                    if session.aim is not wanted[2] or session.scene is not scene:
                        break
                else:
                    self._show_graph(frames, shares)
                    self.counting = wanted
                    self._dome(scene.previewer.scene)
            except (RecamError, ValueError):
                self.counting = wanted

    def _show_graph(self, frames: list[int], shares: list[float]) -> None:
        if len(frames) < 2:
            return
        percent = 100 * np.array(shares)
        self.graph.scales = _scales(max(5.0, float(percent.max()) * 1.15))
        limit = self.page.session.aim.limit
        data = [np.array(frames, np.float64), percent]
        series = [{"label": "frame"}, _series()]
        if limit is not None:
            data.append(np.full(len(frames), 100 * limit))
            series.append({"label": "limit", "stroke": "#e5484d", "width": 1, "dash": [6, 4]})
        self.graph.series = tuple(series)
        self.graph.data = tuple(data)

    def _dome(self, scene: Scene) -> None:
        page, session = self.page, self.page.session
        preset = session.aim.preset.path in ("orbit", "freeze") and session.aim.mode == "preset"
        if not (preset and page.view.shown.dome):
            page.view.show_dome(None, 0)
            return
        if self.domed is not scene and session.scene is not None:
            opened, rows = session.scene, []
            for pitch in PITCHES_DEG:
                if page.closed or session.scene is not opened:
                    return
                rows.append(opened.previewer.dome_row(pitch))
            self.shares, self.domed = rows, scene
        page.view.show_dome(self.shares, min(self.num, len(scene)) - 1)

    domed: Scene | None = None
    shares: list[list[float]] | None = None


def _as_array(picture: Tensor) -> np.ndarray:
    """uint8 [h, w, 3] for the page, which does not enlarge small ones."""
    if picture.shape[2] < MIN_WIDTH:
        tall = round(picture.shape[1] * MIN_WIDTH / picture.shape[2])
        picture = compare.same_size(picture, tall, MIN_WIDTH)
    return np.ascontiguousarray(picture.to(torch.uint8).permute(1, 2, 0).numpy())


def _caption(text: str) -> str:
    return f"<div style='font-size:.85em;padding:0 .9em .6em'>{text}</div>"


def _series() -> dict[str, Any]:
    return {
        "label": "never seen, %", "stroke": "#a040c8", "fill": "#a040c833", "width": 2,
        "points": {"show": False},
    }  # fmt: skip


def _scales(top: float) -> dict[str, Any]:
    return {"x": {"time": False}, "y": {"range": (0.0, top)}}


def _axes() -> tuple[dict[str, Any], ...]:
    grey = "#888888"
    common = {"stroke": grey, "grid": {"stroke": "#88888833", "width": 1}}
    return (
        {**common, "size": 26},
        {**common, "size": 34},
    )
