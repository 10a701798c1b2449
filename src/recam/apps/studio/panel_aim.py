"""Aim: a preset with sliders, keys captured from the view, or a file."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from recam.apps.studio import facts
from recam.apps.studio.aim import (
    Key,
    key_at,
    key_camera,
    keys_of_path,
    retimed,
    source_fov_deg,
    with_key,
    without_key,
)
from recam.apps.studio.preview import spread
from recam.apps.studio.shell import Shell, small
from recam.apps.studio.workspace import Project
from recam.camera_files import write_cameras
from recam.configs import PathConfig, Speed, WrittenCameraFormat
from recam.drawing import path_summary
from recam.geometry import fov_x_deg
from recam.tasks.reshoot import path_times_s
from recam.trajectories.presets import DEFAULTS
from recam.types import RecamError

MODES = {"Preset": "preset", "Keys": "keys", "File": "file"}
RANGES: dict[str, tuple[str, float, float, float, str]] = {
    "yaw": ("Yaw °", -60.0, 60.0, 0.5, "Degrees to the right"),
    "pitch": ("Pitch °", -40.0, 40.0, 0.5, "Degrees up"),
    "roll": ("Roll °", -45.0, 45.0, 0.5, "Degrees clockwise"),
    "distance": ("Distance", -1.0, 0.9, 0.01, "Fraction of the focus depth: forward, right or up"),
    "zoom": ("Zoom ×", 0.3, 4.0, 0.05, "Factor on the focal length"),
}
HANDHELD = {"yaw": 3.0, "pitch": 3.0, "roll": 3.0, "distance": 0.05}
"""Largest shakes."""
SPEEDS: tuple[Speed, ...] = ("ease", "linear", "ease-in", "ease-out", "there-and-back")
SAVED: tuple[WrittenCameraFormat | Literal["keyframes"], ...] = (
    "recam", "keyframes", *get_args(WrittenCameraFormat)[2:],
)  # fmt: skip
SUFFIXES = {
    "colmap": "-colmap", "7scenes": "-7scenes", "vipe": "-vipe", "megasam": ".npz", "gen3c": ".npz",
    "vista4d": ".npz", "llff": ".npy", "re10k": ".txt", "tum": ".txt", "cognvs": ".txt",
    "trajectorycrafter": ".txt", "viewcrafter": ".txt", "chan": ".chan", "usd": ".usda",
    "gltf": ".gltf", "blender": ".py",
}  # fmt: skip
NO_KEY = "—"


class AimPanel:
    """The third tab."""

    def __init__(self, page: Shell) -> None:
        self.page = page
        self.selected: int | None = None
        self.dragging_s = 0.0
        gui = page.server.gui
        self.mode = gui.add_dropdown(
            "Path", tuple(MODES), hint="A preset, keys of your own, or a file of cameras"
        )
        self.summary = gui.add_html("")
        self.errors = gui.add_html("")
        with gui.add_folder("Preset") as self.preset_folder:
            self.preset = gui.add_dropdown("Move", tuple(DEFAULTS), initial_value="orbit")
            self.sliders = {
                name: gui.add_slider(label, low, high, step, _rest(name), hint=hint)
                for name, (label, low, high, step, hint) in RANGES.items()
            }
            self.speed = gui.add_dropdown("Speed", SPEEDS, hint="How the camera starts and stops")
            self.moment = gui.add_number(
                "At frame", 0, min=0, step=1, hint="static: this frame's camera; freeze: its moment"
            )
            self.limited = gui.add_checkbox(
                "Limit what is never seen", False, hint="Amounts are cut where a frame has more"
            )
            self.limit = gui.add_slider("At most %", 1.0, 50.0, 1.0, 10.0, visible=False)
            self.to_keys = gui.add_button("Turn into keys", color="gray", icon="keyframes")
        with gui.add_folder("Keys") as self.keys_folder:
            self.add = gui.add_button(
                "Key from this view (K)", icon="camera-plus",
                hint="The 3D view's camera, at the frame shown, with the source's lens",
            )  # fmt: skip
            self.add_new = gui.add_button(
                "Key from the source camera", color="gray", hint="At the frame shown"
            )
            self.picked = gui.add_dropdown("Key", (NO_KEY,), hint="Or click a yellow camera")
            self.frame = gui.add_number("At frame", 0, min=0, step=1, hint="Moves it in time")
            self.fov = gui.add_slider("Lens °", 5.0, 120.0, 0.5, 50.0, hint="Degrees across")
            self.roll = gui.add_slider("Roll °", -90.0, 90.0, 0.5, 0.0, hint="Clockwise")
            self.key_buttons = gui.add_button_group("", ("Go to", "From view", "Delete"))
        with gui.add_folder("File") as self.file_folder:
            self.file = gui.add_upload_button("Load a path", icon="file-upload")
            self.said = gui.add_html("")
        self.steps = gui.add_button_group("", ("Undo", "Redo"))
        with gui.add_folder("Save the path", expand_by_default=False):
            self.format = gui.add_dropdown("Format", SAVED)
            self.save = gui.add_button("Save", icon="download", color="gray")
            self.saved = gui.add_html("")
        self._connect()

    def _connect(self) -> None:
        page, gui = self.page, self.page.server.gui
        page.on(self.mode, self.errors, lambda _: self._set_mode())
        page.on(self.preset, self.errors, lambda _: self._choose_preset())
        for name, slider in self.sliders.items():
            page.on(slider, self.errors, partial(self._amount, name))
        for control in (self.speed, self.moment, self.limited, self.limit):
            page.on(control, self.errors, lambda _: self._rest_of_preset())
        page.on(self.to_keys, self.errors, lambda _: self._to_keys())
        page.on(self.add, self.errors, self._capture)
        page.on(self.add_new, self.errors, lambda _: self._key_from_source())
        page.on(self.picked, self.errors, lambda _: self._pick(_frame_of(self.picked.value)))
        page.on(self.frame, self.errors, lambda _: self._retime(int(self.frame.value)))
        page.on(self.fov, self.errors, lambda _: self._lens(float(self.fov.value)))
        page.on(self.roll, self.errors, lambda _: self._roll(float(self.roll.value)))
        page.on(self.key_buttons, self.errors, self._key_button)
        page.on(self.file, self.said, self._load)
        page.on(self.steps, self.errors, lambda _: self._step(self.steps.value))
        page.on(self.save, self.saved, lambda _: self._save())
        page.view.key_clicked = self._pick
        page.view.key_moved = self._dragged
        keys: tuple[tuple[str, Any, Any, Any], ...] = (
            ("Key from this view", "K", None, self._capture),
            ("Undo", "Z", None, lambda _: self._step("Undo")),
            ("Undo (Ctrl)", "Z", "cmd/ctrl", lambda _: self._step("Undo")),
            ("Redo", "Y", None, lambda _: self._step("Redo")),
            ("Redo (Ctrl)", "Z", "cmd/ctrl+shift", lambda _: self._step("Redo")),
            ("Delete the key", "delete", None, lambda _: self._delete()),
        )
        for label, key, modifier, act in keys:
            page.on(gui.add_command(label, hotkey=key, modifier=modifier), self.errors, act)

    @property
    def session(self) -> Any:
        """The page's session."""
        return self.page.session

    # Preset

    def _set_mode(self) -> None:
        self.session.set_aim(replace(self.session.aim, mode=MODES[self.mode.value]))

    def _choose_preset(self) -> None:
        name = self.preset.value
        amounts: dict[str, Any] = dict(DEFAULTS[name])
        preset = PathConfig(name, speed=self.speed.value, **amounts)
        if name == "dolly-zoom":
            preset = replace(preset, distance=None)
        self._set_preset(preset)

    def _amount(self, name: str, _: Any = None) -> None:
        aim = self.session.aim
        shown = float(self.sliders[name].value)
        value = shown / self._shown_distance() if name == "distance" else shown
        preset = replace(aim.preset, **{name: value})
        self._set_preset(preset, name)

    def _shown_distance(self) -> float:
        """What one focus depth is called in the panel: its metres where they are known, else 1."""
        scene = self.session.scene
        metres = None if scene is None else scene.previewer.scene.metres_per_unit
        if scene is None or metres is None:
            return 1.0
        return scene.previewer.focus_depth * metres * (self.session.aim.focus_depth or 1.0)

    def _rest_of_preset(self) -> None:
        aim = self.session.aim
        moment = int(self.moment.value) if aim.preset.path in ("static", "freeze") else None
        preset = replace(aim.preset, speed=self.speed.value, at_frame=moment)
        limit = float(self.limit.value) / 100 if self.limited.value else None
        self.session.set_aim(replace(aim, mode="preset", preset=preset, limit=limit))

    def _set_preset(self, preset: PathConfig, control: str = "") -> None:
        aim = replace(self.session.aim, mode="preset", preset=preset)
        self.session.set_aim(aim, control)

    # Keys

    def _capture(self, event: Any) -> None:
        camera = event.client.camera
        self._key_from(self.page.view.camera_of(camera.wxyz, camera.position))

    def _key_from(self, cam_from_world: Any, fov: float | None = None) -> None:
        scene = self.session.need_scene()
        frame = self._moment()
        source = scene.previewer.source
        known = [k for k in self.session.aim.keys if k.frame == frame]
        fov = fov or (known[0].fov_deg if known else source_fov_deg(source, frame))
        key = key_at(frame, cam_from_world, fov, source, scene.previewer.focus_depth)
        self.selected = frame
        self.session.set_aim(with_key(self.session.aim, key))

    def _key_from_source(self) -> None:
        source = self.session.need_scene().previewer.source
        self._key_from(source.cam_from_world[self._moment()])

    def _moment(self) -> int:
        scene = self.session.need_scene().previewer.scene
        if len(scene) < 2:
            raise RecamError("keys need a film: one picture has one moment; use a preset")
        return min(self.page.monitor.frame, len(scene) - 1)

    def _pick(self, frame: int | None) -> None:
        self.selected, self.dragging_s = frame, 0.0
        if frame is not None:
            self.page.monitor.go(frame)
        self.page.want("aim")

    def _key(self) -> Key:
        found = [k for k in self.session.aim.keys if k.frame == self.selected]
        if not found:
            raise RecamError("choose a key first")
        return found[0]

    def _retime(self, to: int) -> None:
        previewer = self.session.need_scene().previewer
        to = min(max(to, 0), len(previewer.scene) - 1)
        aim = retimed(
            self.session.aim, self._key().frame, to, previewer.source, previewer.focus_depth
        )
        self.selected = to
        self.session.set_aim(aim)

    def _lens(self, fov_deg: float) -> None:
        aim = with_key(self.session.aim, replace(self._key(), fov_deg=fov_deg))
        self.session.set_aim(aim, "lens")

    def _roll(self, degrees: float) -> None:
        """Turn the key clockwise to an angle from the horizon of the source's up."""
        key, previewer = self._key(), self.session.need_scene().previewer
        pose = key_camera(key, previewer.source, previewer.focus_depth)
        turned = _with_roll(pose, degrees, previewer.source)
        moved = key_at(key.frame, turned, key.fov_deg, previewer.source, previewer.focus_depth)
        self.session.set_aim(with_key(self.session.aim, moved))

    def _key_button(self, event: Any) -> None:
        name = self.key_buttons.value
        if name == "Delete":
            self._delete()
        elif name == "From view":
            key = self._key()
            self.page.monitor.frame = key.frame
            camera = event.client.camera
            pose = self.page.view.camera_of(camera.wxyz, camera.position)
            self._key_from(pose, key.fov_deg)
        else:
            self._go_to(event.client)

    def _go_to(self, client: Any) -> None:
        key, previewer = self._key(), self.session.need_scene().previewer
        pose = key_camera(key, previewer.source, previewer.focus_depth)
        cameras = replace(previewer.source[key.frame : key.frame + 1], cam_from_world=pose[None])
        position, look, up, _ = self.page.view.camera_view(cameras, 0)
        with client.atomic():
            client.camera.up_direction = up
            client.camera.position, client.camera.look_at = position, look
        self.page.monitor.go(key.frame)

    def _delete(self) -> None:
        key = self._key()
        self.selected = None
        self.session.set_aim(without_key(self.session.aim, key.frame))

    def _dragged(self, wxyz: np.ndarray, position: np.ndarray) -> None:
        def act() -> None:
            key, previewer = self._key(), self.session.need_scene().previewer
            pose = self.page.view.camera_of(wxyz, position)
            moved = key_at(key.frame, pose, key.fov_deg, previewer.source, previewer.focus_depth)
            self.dragging_s = time.monotonic()
            self.session.set_aim(with_key(self.session.aim, moved), f"drag {key.frame}")

        self.page.attempt(self.errors, act)

    def _to_keys(self) -> None:
        session = self.session
        previewer = session.need_scene().previewer
        self._moment()
        path = session.path()
        frames = spread(len(path), 5)
        fov = fov_x_deg(path.cameras)
        keys = keys_of_path(
            path.cameras.cam_from_world, fov, frames, previewer.source, previewer.focus_depth
        )
        self.selected = None
        session.set_aim(replace(session.aim, mode="keys", keys=keys))

    # Files, steps

    def _load(self, event: Any) -> None:
        _, path = self.page.upload(event)
        facts.describe_cameras(path)
        self.session.need_project()
        self.session.set_aim(replace(self.session.aim, mode="file", file=str(path)))

    def _step(self, name: str) -> None:
        self.dragging_s = 0.0
        if name == "Undo":
            self.session.undo()
        else:
            self.session.redo()

    def _save(self) -> None:
        """Write the path's cameras, at the film's size, in the format asked for."""
        session, chosen = self.session, self.format.value
        scene, project = session.need_scene(), session.need_project()
        path = session.path()
        folder = project.folder / "saved"
        folder.mkdir(exist_ok=True)
        if chosen == "keyframes":
            if session.aim.mode != "keys":
                raise RecamError("turn the path into keys first")
            self._offer(project.keys_file, project)
            return
        times_s, _ = path_times_s(scene.previewer.scene, path)
        cameras = path.cameras.resized(scene.about.height, scene.about.width)
        suffix = SUFFIXES.get(chosen, ".json")
        out = folder / f"{chosen}{suffix}"
        full = scene.previewer.source.resized(cameras.height, cameras.width)
        write_cameras(
            cameras, out, chosen, times_s=times_s,
            metres_per_unit=scene.previewer.scene.metres_per_unit,
            source=full[path.source_frames],
            focus_depth=session.path_config().focus_depth or scene.previewer.focus_depth,
        )  # fmt: skip
        self._offer(out, project)

    def _offer(self, out: Path, project: Project) -> None:
        from recam.apps.studio.panel_make import download_link, zipped

        file = zipped(out) if out.is_dir() else out
        name = f"{Path(project.state.name).stem}-{file.name}"
        self.saved.content = small(download_link(self.page.guard, file, name))

    # Drawing

    def refresh(self) -> None:
        """Show the session's aim."""
        session = self.session
        aim = session.aim
        self.mode.value = next(k for k, v in MODES.items() if v == aim.mode)
        self.preset_folder.visible = aim.mode == "preset"
        self.keys_folder.visible = aim.mode == "keys"
        self.file_folder.visible = aim.mode == "file"
        self._show_preset(aim.preset)
        self.limited.value = self.limit.visible = aim.limit is not None
        if aim.limit is not None:
            self.limit.value = round(100 * aim.limit)
        self._show_keys()
        self._show_summary()
        if aim.file is not None:
            self.page.attempt(self.said, lambda: None)
            self.said.content = small(facts.describe_cameras(Path(aim.file)))

    def _show_preset(self, preset: PathConfig) -> None:
        self.preset.value = preset.path
        uses = DEFAULTS[preset.path]  # type: ignore[index]
        for name, slider in self.sliders.items():
            used = name in uses and not (preset.path == "dolly-zoom" and name == "distance")
            slider.visible = used
            if not used:
                continue
            _, low, high, step, _ = RANGES[name]
            if preset.path == "handheld":
                low, high, step = 0.0, HANDHELD[name], HANDHELD[name] / 100
            elif preset.path == "freeze" and name == "yaw":
                low, high = -180.0, 180.0
            value = getattr(preset, name)
            value = uses[name] if value is None else value
            times = self._shown_distance() if name == "distance" else 1.0
            slider.min, slider.max = round(low * times, 2), round(high * times, 2)
            slider.step = float(f"{step * times:.1g}")
            slider.value = round(min(max(float(value), low), high) * times, 3)
            if name == "distance":
                metric = times != 1.0
                slider.label = "Distance m" if metric else "Distance"
                slider.precision = 3
        self.speed.value = preset.speed
        self.moment.visible = preset.path in ("static", "freeze")
        scene = self.session.scene
        last = len(scene.previewer.scene) - 1 if scene is not None else 0
        self.moment.value = preset.at_frame if preset.at_frame is not None else last // 2

    def _show_keys(self) -> None:
        aim, scene = self.session.aim, self.session.scene
        frames = [k.frame for k in aim.keys]
        if self.selected not in frames:
            self.selected = None
        self.picked.options = (NO_KEY, *(f"frame {f}" for f in frames))
        self.picked.value = NO_KEY if self.selected is None else f"frame {self.selected}"
        there = self.selected is not None
        for control in (self.frame, self.fov, self.roll, self.key_buttons):
            control.visible = there
        if scene is None or self.page.view.previewer is not scene.previewer:
            return  # it is drawn first, and this again with it
        shown = aim.keys if aim.mode == "keys" else ()
        held = time.monotonic() - self.dragging_s < 1.0  # the gizmo is where the hand is
        self.page.view.show_keys(shown, self.selected, keep_gizmo=held)
        previewer = scene.previewer
        if there and previewer is not None:
            key = self._key()
            self.frame.value, self.fov.value = key.frame, key.fov_deg
            pose = key_camera(key, previewer.source, previewer.focus_depth)
            self.roll.value = _roll_of(pose, previewer.source)

    def _show_summary(self) -> None:
        session = self.session
        if session.scene is None:
            self.summary.content = small("Reconstruct first; then aim here.")
            return
        previewer = session.scene.previewer
        try:
            config, path = session.path_config(), session.path()
        except (RecamError, ValueError) as error:
            self.summary.content = small(str(error))
            return
        said = path_summary(previewer.source, path, config.focus_depth, previewer.scene)
        preset = session.aim.preset
        cut = [
            f"{name} {getattr(preset, name):.3g} → {getattr(config, name):.3g}"
            for name in RANGES
            if session.aim.mode == "preset"
            and session.aim.limit is not None
            and getattr(preset, name) is not None
            and getattr(preset, name) != getattr(config, name)
        ]
        limit = f"<br>cut by the limit: {', '.join(cut)}" if cut else ""
        self.summary.content = small(said + limit)


def _rest(name: str) -> float:
    return 1.0 if name == "zoom" else 0.0


def _frame_of(label: str) -> int | None:
    return None if label == NO_KEY else int(label.removeprefix("frame "))


def _roll_of(pose: Any, source: Any) -> float:
    """Degrees clockwise that a camera is rolled against the source's up."""
    from recam.apps.studio.view3d import up_of

    up = pose[:3, :3].numpy() @ up_of(source)
    return float(np.degrees(np.arctan2(-up[0], -up[1]))) if np.hypot(up[0], up[1]) > 1e-6 else 0.0


def _with_roll(pose: Any, degrees: float, source: Any) -> Any:
    """The same camera, rolled to so many degrees clockwise."""
    import torch

    angle = np.radians(degrees - _roll_of(pose, source))
    c, s = float(np.cos(angle)), float(np.sin(angle))
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0], turn[0, 1], turn[1, 0], turn[1, 1] = c, s, -s, c
    return turn @ pose
