"""Scene: what was found, and what of it the 3D view shows."""

from __future__ import annotations

import html
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from recam.apps.studio.shell import Shell, small, table
from recam.types import RecamError

COLORINGS = {"picture": "picture", "confidence": "confidence", "what moves": "moving"}


class ScenePanel:
    """The second tab."""

    def __init__(self, page: Shell) -> None:
        self.page = page
        gui = page.server.gui
        shown = page.view.shown
        self.facts = gui.add_html(small("Nothing is reconstructed yet."))
        self.errors = gui.add_html("")
        self.looks = gui.add_button_group("View", ("Shoulder", "Source", "New camera"))
        self.colors = gui.add_dropdown(
            "Colour", tuple(COLORINGS),
            hint="Confidence: green = measured well, red = guessed. What moves: pink",
        )  # fmt: skip
        self.size = gui.add_slider("Point size", 0.2, 4.0, 0.1, 1.0, hint="1 = a pixel's size")
        self.boxes = {
            name: gui.add_checkbox(label, getattr(shown, name), hint=hint)
            for name, label, hint in (
                ("static", "What stands still", "Points of all frames"),
                ("moving", "What moves", "Points of the frame shown"),
                ("this_frame", "This frame's points only", "What one frame alone saw"),
                ("cameras", "Source cameras", "Blue"),
                ("path", "New camera", "Orange; keys are yellow"),
                ("ground", "Grid", "A level grid at the height of the lowest points"),
                ("dome", "Where to orbit", "Green: nothing is never seen there; purple: 40 % are"),
            )
        }
        with gui.add_folder("Focus"):
            self.pick = gui.add_checkbox(
                "Click sets it", False, hint="Then click a point of the scene"
            )
            self.focus = gui.add_number(
                "Focus", 1.0, min=0.05, max=20.0, step=0.01,
                hint="What orbits turn about: 1 = where the scene's own focus is",
            )  # fmt: skip
        self.theme = gui.add_checkbox("Dark", page.dark)
        self._connect()
        page.view.picked = self._orbit_to

    def _connect(self) -> None:
        page = self.page
        page.on(self.looks, self.errors, self._look)
        page.on(self.colors, self.errors, lambda _: self._change("coloring"))
        page.on(self.size, self.errors, lambda _: self._change("point_size"))
        for name, box in self.boxes.items():
            page.on(box, self.errors, partial(self._change, name))
        page.on(self.focus, self.errors, lambda _: self._set_focus(float(self.focus.value)))
        page.on(self.pick, self.errors, lambda _: self._pick_by_click())
        page.on(self.theme, self.errors, lambda _: page.theme(bool(self.theme.value)))

    def _look(self, event: Any) -> None:
        page = self.page
        page.session.need_scene()
        if self.looks.value == "Shoulder":
            page.reset_view(event.client)
            return
        frame = page.monitor.frame
        if self.looks.value == "Source":
            found = page.view.source_view(min(frame, len(page.view.previewer.source) - 1))  # type: ignore[union-attr]
        else:
            found = page.view.camera_view(page.session.path().cameras, frame)
        position, look, up, fov = found
        with event.client.atomic():
            event.client.camera.up_direction = up
            event.client.camera.position = position
            event.client.camera.look_at = look
            event.client.camera.fov = fov

    def _change(self, name: str, _: Any = None) -> None:
        page, shown = self.page, self.page.view.shown
        if name == "coloring":
            shown.coloring = COLORINGS[self.colors.value]  # type: ignore[assignment]
        elif name == "point_size":
            shown.point_size = float(self.size.value)
        else:
            setattr(shown, name, bool(self.boxes[name].value))
        if name == "dome":
            page.monitor.counting = ()
        page.want("scene")

    def _set_focus(self, focus: float) -> None:
        session = self.page.session
        session.need_scene()
        session.set_aim(replace(session.aim, focus_depth=None if focus == 1.0 else focus))

    def _pick_by_click(self) -> None:
        scene = self.page.server.scene
        if not self.pick.value:
            scene.remove_click_callback("all")
            return

        @scene.on_click()
        def _(event: Any) -> None:
            self.page.attempt(self.errors, lambda: self._focus_on(event))

    def _focus_on(self, event: Any) -> None:
        page = self.page
        view, frame = page.view, page.monitor.frame
        origin, direction = np.array(event.ray_origin), np.array(event.ray_direction)
        frame = min(frame, len(page.session.need_scene().previewer.scene) - 1)
        depth = view.nearest_depth(origin, direction, frame)
        if depth is None or depth <= 0:
            raise RecamError("there is no point of this frame under the click")
        own = page.session.need_scene().previewer.focus_depth
        self.pick.value = False
        page.server.scene.remove_click_callback("all")
        self._set_focus(round(depth / own, 3))

    def _orbit_to(self, yaw: float, pitch: float) -> None:
        session = self.page.session
        aim = session.aim
        preset = replace(aim.preset, yaw=yaw, pitch=pitch, distance=aim.preset.distance or 0.0)
        session.set_aim(replace(aim, mode="preset", preset=preset))

    def refresh(self) -> None:
        """Say what was found."""
        scene = self.page.session.scene
        if scene is None:
            self.facts.content = small("Nothing is reconstructed yet.")
            return
        found = scene.previewer.scene
        metres = found.metres_per_unit
        rows = [
            ("Scene", "draft: coarse, to aim in" if scene.which == "draft" else "full"),
            ("Camera", found.camera_motion),
            ("Depth", found.depth_source),
            ("Scale", "its own; no metres are known" if metres is None else f"1 = {metres:.3g} m"),
            ("Focus", _length(scene.previewer.focus_depth, metres)),
            ("Moving", f"{float(found.dynamic.float().mean()):.0%} of the pixels"),
        ]
        notes = "".join(f"<li>{html.escape(n)}</li>" for n in found.report.get("notes", []))
        self.facts.content = small(table(rows) + f"<ul style='padding-left:1.2em'>{notes}</ul>")


def _length(units: float, metres_per_unit: float | None) -> str:
    if metres_per_unit is None:
        return f"{units:.3g} units away"
    return f"{units * metres_per_unit:.3g} m away"
