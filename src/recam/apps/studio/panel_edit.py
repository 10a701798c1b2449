"""Edit: paint what goes or what was changed, drop an edited frame, fill what a mask says."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recam.apps.studio import recipe
from recam.apps.studio.jobs import Job
from recam.apps.studio.paint import Stroke, mask_of, painted
from recam.apps.studio.panel_make import download_link
from recam.apps.studio.shell import Shell, small
from recam.apps.studio.uploads import ARCHIVE, DATA, FILM, PICTURE
from recam.configs import CompleteConfig, EditConfig
from recam.media import read_video, write_image
from recam.types import RecamError

TASKS = {
    "Remove what I paint": "remove",
    "Carry my edited frame": "edit",
    "Fill by a mask film": "complete",
}
PAINT_SIDE = 1024
PLANE = "/paint"
PLANE_AT = 400.0
"""The painted frame stands so far from the scene, where nothing else is."""


class EditPanel:
    """The fifth tab."""

    def __init__(self, page: Shell) -> None:
        self.page = page
        self.strokes: list[Stroke] = []
        self.undone: list[Stroke] = []
        self.picture: Path | None = None
        self.known: Path | None = None
        self.drawing: list[tuple[float, float]] = []
        self.plane: Any = None
        self.film: torch.Tensor | None = None
        gui = page.server.gui
        self.task = gui.add_dropdown("Task", tuple(TASKS))
        self.errors = gui.add_html("")
        self.help = gui.add_html("")
        with gui.add_folder("Paint") as self.painting:
            self.on = gui.add_checkbox(
                "Paint on the frame shown", False, hint="Then drag over it in the middle"
            )
            self.brush = gui.add_slider("Brush %", 0.5, 20.0, 0.5, 4.0, hint="Of the width")
            self.erase = gui.add_checkbox("Erase", False)
            self.steps = gui.add_button_group("", ("Undo stroke", "Clear"))
        with gui.add_folder("Edited frame") as self.edited:
            self.save = gui.add_button("Save this frame to edit it", color="gray", icon="download")
            self.link = gui.add_html("")
            self.file = gui.add_upload_button("Load the edited frame", icon="file-upload")
            self.content = gui.add_dropdown(
                "It shows", ("surface", "background"),
                hint="surface: something on what was there. background: what lies behind a thing "
                "that was taken out",
            )  # fmt: skip
        with gui.add_folder("Mask film") as self.mask_film:
            self.mask_file = gui.add_upload_button(
                "Load the mask (white = known)", icon="file-upload"
            )
        self.said = gui.add_html("")
        self.follow = gui.add_button(
            "See it followed first", color="gray", icon="eye",
            hint="Follows what you painted or changed through the film, and fills nothing",
        )  # fmt: skip
        self.go = gui.add_button("Make it", icon="brush")
        self._connect()

    def _connect(self) -> None:
        page = self.page
        page.on(self.task, self.errors, lambda _: self.refresh())
        page.on(self.on, self.errors, self._switch)
        page.on(self.steps, self.errors, lambda _: self._step())
        page.on(self.save, self.errors, lambda _: self._save_frame())
        page.on(self.file, self.said, self._load_frame)
        page.on(self.mask_file, self.said, self._load_mask)
        page.on(self.go, self.errors, lambda _: self._make())
        page.on(self.follow, self.errors, lambda _: self._follow())
        page.on(self.content, self.errors, lambda _: self._content())

    @property
    def kind(self) -> str:
        """remove, edit or complete."""
        return TASKS[self.task.value]

    def refresh(self) -> None:
        """Show what the task needs."""
        film = self.page.session.has_film
        self.painting.visible = film and self.kind != "complete"
        self.edited.visible = film and self.kind == "edit"
        self.mask_film.visible = film and self.kind == "complete"
        self.follow.visible = film and self.kind != "complete"
        self.go.visible = film
        self.help.content = small(
            {
                "remove": "Paint over the thing in one frame; it is followed through the film.",
                "edit": "Save a frame, change it in any program, load it back. Painting says "
                "where it was changed; without paint the difference says so.",
                "complete": "A film or picture of the same size: white is known, black is filled.",
            }[self.kind]
            if film
            else "Open a film first (a scene alone cannot be edited)."
        )
        project = self.page.session.project
        if project is not self.project:
            self.project = project
            self.strokes, self.undone, self.film = [], [], None
            self.picture = self.known = None
            self.page.make.forget_films()
            self.stop()

    project: Any = None

    # Painting

    def _switch(self, event: Any) -> None:
        if not self.on.value:
            self.stop()
            return
        self.page.session.need_project()
        self.page.monitor.show_view("3D")
        self._draw()
        height, width = self._frame().shape[1:]
        for client in self.page.server.get_clients().values():
            camera = client.camera
            aspect = max(camera.image_width, 1) / max(camera.image_height, 1)
            tall = max(1.0, (width / height) / max(aspect, 1e-3))
            away = 0.55 * tall / math.tan(camera.fov / 2)
            with client.atomic():
                client.camera.up_direction = (0.0, -1.0, 0.0)
                client.camera.position = (PLANE_AT, 0.0, -away)
                client.camera.look_at = (PLANE_AT, 0.0, 0.0)

    def stop(self) -> None:
        """Put the brush away."""
        self.on.value = False
        if self.plane is not None:
            self.plane.remove()
            self.plane = None
            for client in self.page.server.get_clients().values():
                self.page.reset_view(client)

    def _frame(self) -> torch.Tensor:
        """uint8 [3, h, w] of the frame shown, large enough to paint on."""
        session = self.page.session
        if self.film is None:
            self.film = session.source_frames(PAINT_SIDE)
        return self.film[min(self.page.monitor.frame, len(self.film) - 1)]

    def _draw(self) -> None:
        frame = self._frame()
        height, width = frame.shape[1:]
        shown = painted(frame, mask_of(self.strokes, height, width))
        array = np.ascontiguousarray(shown.permute(1, 2, 0).numpy())
        if self.plane is not None:
            self.plane.image = array
            return
        self.plane = self.page.server.scene.add_image(
            PLANE, array, width / height, 1.0, position=(PLANE_AT, 0.0, 0.0), jpeg_quality=90,
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip
        self.plane.on_drag("left")(self._drag)
        self.plane.on_click(lambda event: self._dab(event))

    def _drag(self, event: Any) -> None:
        if event.phase == "start":
            self.drawing = [self._share(event.start_position)]
        self.drawing.append(self._share(event.end_position))
        if event.phase == "end":
            self._add(tuple(self.drawing))

    def _dab(self, event: Any) -> None:
        point = _ray_on_plane(event.ray_origin, event.ray_direction)
        self._add((self._share(point),))

    def _share(self, point: Any) -> tuple[float, float]:
        """A place on the plane, in view units, as shares of the picture."""
        height, width = self._frame().shape[1:]
        return (float(point[0]) - PLANE_AT) / (width / height) + 0.5, float(point[1]) + 0.5

    def _add(self, points: tuple[tuple[float, float], ...]) -> None:
        self.strokes.append(Stroke(points, float(self.brush.value) / 200, bool(self.erase.value)))
        self.at_frame = self.page.monitor.frame
        self._draw()

    at_frame = 0

    def _step(self) -> None:
        if self.steps.value == "Clear":
            self.strokes = []
        elif self.strokes:
            self.strokes.pop()
        if self.plane is not None:
            self._draw()

    # Files

    def _out(self, name: str) -> Path:
        folder = self.page.session.need_project().folder / "edits"
        folder.mkdir(exist_ok=True)
        return folder / f"{secrets.token_hex(4)}-{name}"

    def _full_frame(self) -> tuple[torch.Tensor, int]:
        """The frame shown at the size that the task reads the film at, and its number."""
        project = self.page.session.need_project()
        part, frame = project.state.input, self.page.monitor.frame
        start = part.start + part.stride * frame
        found = read_video(project.source, start=start, num_frames=1, max_side=part.max_side)
        return found.frames[0], frame

    def _write_mask(self) -> tuple[Path, int]:
        if not self.strokes:
            raise RecamError("paint something first")
        frame, _ = self._full_frame()
        mask = mask_of(self.strokes, *frame.shape[1:])
        out = self._out("mask.png")
        write_image((mask.to(torch.uint8) * 255)[None].expand(3, -1, -1).contiguous(), out)
        return out, self.at_frame

    def _save_frame(self) -> None:
        frame, number = self._full_frame()
        out = self._out(f"frame-{number}.png")
        write_image(frame, out)
        self.edited_number = number
        link = download_link(self.page.guard, out, f"frame-{number}.png")
        self.link.content = small(link)

    edited_number: int | None = None

    def _load_frame(self, event: Any) -> None:
        kind, path = self.page.upload(event)
        if kind != PICTURE:
            path.unlink(missing_ok=True)
            raise RecamError("expected a picture")
        self.picture = path
        if self.edited_number is None:
            self.edited_number = self.page.monitor.frame
        self.said.content = small(f"edited frame {self.edited_number} is here")

    def _load_mask(self, event: Any) -> None:
        kind, path = self.page.upload(event)
        if kind not in (FILM, PICTURE, ARCHIVE):
            raise RecamError("expected a film, a picture or a zip of pictures")
        assert kind != DATA
        self.known = path
        self.said.content = small("the mask is here")

    def _content(self) -> None:
        self.page.session.need_project().update(content=self.content.value)

    # Making

    def _make(self) -> None:
        session, config = self.page.session, self.page.make.config()
        if self.kind == "remove":
            mask, frame = self._write_mask()
            session.make_remove(mask, frame, config)
        elif self.kind == "edit":
            picture, frame = self._need_picture()
            mask_file = self._write_mask()[0] if self.strokes else None
            session.make_edit(picture, frame, mask_file, config)
        else:
            if self.known is None:
                raise RecamError("load the mask first")
            session.make_complete(self.known, config)
        self.stop()

    def _need_picture(self) -> tuple[Path, int]:
        if self.picture is None or self.edited_number is None:
            raise RecamError("load the edited frame first")
        return self.picture, self.edited_number

    def _follow(self) -> None:
        """Follow what was painted or changed, without filling: the same command with the model
        ``none``."""
        session = self.page.session
        project = session.need_project()
        none = CompleteConfig(model="none")
        if self.kind == "remove":
            mask, frame = self._write_mask()
            config = EditConfig(complete=none)
            extra = ["--remove", str(mask), "--at-frame", str(frame)]
        else:
            picture, frame = self._need_picture()
            config = EditConfig(project.state.content, none)
            extra = ["--edited-frame", str(frame), str(picture)]
            extra += ["--mask", str(self._write_mask()[0])] if self.strokes else []
        out = self._out("followed")
        words = ["recam", "edit", str(project.source)]
        words += [*recipe.options(project.state.input, config), *extra, "-o", str(out)]

        def done(job: Job) -> None:
            if job.state == "done":
                address = self.page.guard.publish(out / "preview.mp4")
                self.said.content = (
                    f"<video src='{address}' controls loop autoplay muted playsinline "
                    "style='width:calc(100% - 1.6em);margin:0 .8em'></video>"
                )

        session.submit(Job("Following", words, project.folder / "jobs" / "follow", done))
        self.said.content = small("Following …")


def _ray_on_plane(origin: Any, direction: Any) -> tuple[float, float, float]:
    """Where a ray meets z = 0."""
    along = -origin[2] / direction[2] if abs(direction[2]) > 1e-9 else 0.0
    return (
        origin[0] + along * direction[0], origin[1] + along * direction[1], 0.0,
    )  # fmt: skip
