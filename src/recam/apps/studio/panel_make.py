"""Make: a take of the present path; the takes so far; comparing, saving, and making them again."""

from __future__ import annotations

import html
import os
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from recam.apps.studio import compare
from recam.apps.studio.guard import Guard
from recam.apps.studio.jobs import Job, duration
from recam.apps.studio.shell import Shell, small, table
from recam.apps.studio.workspace import Take
from recam.configs import CompleteConfig, CompletionModel, PathConfig, SceneFormat
from recam.media import read_image, read_video, write_image
from recam.runtime.files import read_json
from recam.runtime.records import Record, as_dataclass
from recam.types import RecamError

NONE = "no takes yet"
WAYS = ("Wipe", "Blink", "Side by side", "Slice over time", "Where from")
COMPARE_SIDE = 1280
"""Longer side in pixels that films are compared at."""
EXPORTS = get_args(SceneFormat)
FOUNDATION = ("cogvideox", "wan22", "ltx", "vace")
BLINK_S = 0.5


class MakePanel:
    """The fourth tab."""

    def __init__(self, page: Shell) -> None:
        self.page = page
        gui = page.server.gui
        self.model = gui.add_dropdown(
            "Model", get_args(CompletionModel), hint="What fills what was never seen"
        )
        self.weights = gui.add_text(
            "Weights", "", hint="Folder or Hub name of a published model", visible=False
        )
        self.frames = gui.add_number(
            "Frames", 48, min=1, max=2000, step=1, visible=False,
            hint="Of one picture: length of the film. Of several: how many between two of them",
        )  # fmt: skip
        with gui.add_folder("More", expand_by_default=False):
            self.steps = gui.add_number(
                "Steps", 0, min=0, max=200, step=1, hint="Network passes; 0 = the model's own"
            )
            self.adapt = gui.add_number(
                "Adapt, minutes", 0.0, min=0.0, max=600.0, step=0.5,
                hint="Learn from this film first; 0 = as it is",
            )  # fmt: skip
            self.seed = gui.add_number("Seed", 0, min=0, step=1)
        self.go = gui.add_button("Make it", icon="movie")
        self.errors = gui.add_html("")
        self.live = gui.add_image(np.zeros((9, 16, 3), np.uint8), visible=False)
        self.takes = gui.add_dropdown("Take", (NONE,))
        self.film = gui.add_html("")
        with gui.add_folder("Compare") as self.comparing:
            self.other = gui.add_dropdown("With", ("source",), hint="The other side")
            self.way = gui.add_dropdown("How", WAYS)
            self.place = gui.add_slider("Place %", 0, 100, 1, 50, hint="Of the edge or the slice")
            self.show = gui.add_button("Show in the middle", color="gray", icon="eye")
        with gui.add_folder("Save", expand_by_default=False) as self.saving:
            self.links = gui.add_html("")
            self.png = gui.add_button("Zip of PNG frames", color="gray")
            self.export = gui.add_dropdown("Scene as", EXPORTS, hint="Cameras, points, depth")
            self.export_go = gui.add_button("Write the scene", color="gray")
            self.saved = gui.add_html("")
        with gui.add_folder("The same again", expand_by_default=False) as self.again:
            self.recipe = gui.add_markdown("")
        self.drop = gui.add_button("Delete this take", color="gray", icon="trash")
        self.films: dict[tuple[int, str], Tensor] = {}
        self.shown_pictures = 0
        self._connect()

    def _connect(self) -> None:
        page = self.page
        page.on(self.model, self.errors, lambda _: self._options())
        for control in (self.weights, self.steps, self.adapt, self.seed, self.frames):
            page.on(control, self.errors, lambda _: self._options())
        page.on(self.go, self.errors, lambda _: self._make())
        page.on(self.takes, self.errors, lambda _: page.want("takes"))
        for control in (self.other, self.way, self.place):
            page.on(control, self.errors, lambda _: page.want("view"))
        page.on(self.show, self.errors, lambda _: page.monitor.show_view("Compare"))
        page.on(self.png, self.saved, lambda _: self._zip_frames())
        page.on(self.export_go, self.saved, lambda _: self._export())
        page.on(self.drop, self.errors, lambda _: self._delete())

    def _options(self) -> None:
        project = self.page.session.need_project()
        project.update(complete=self.config())
        if self.page.session.kind == "views":
            project.update(between_frames=int(self.frames.value))
        elif self.page.session.kind == "picture":
            project.update(picture_frames=max(2, int(self.frames.value)))
        self.weights.visible = self.model.value in FOUNDATION
        if self.page.session.kind == "picture":
            self.page.want("aim")

    def config(self) -> CompleteConfig:
        """What the controls say."""
        return CompleteConfig(
            model=self.model.value, weights=self.weights.value.strip() or None,
            sampling_steps=int(self.steps.value) or None,
            adapt_minutes=float(self.adapt.value) or None, seed=int(self.seed.value),
        )  # fmt: skip

    def _make(self) -> None:
        session = self.page.session
        session.need_project().update(complete=self.config())
        session.make(self.config())
        self.shown_pictures = 0

    # Takes

    @property
    def take(self) -> Take | None:
        """The take that is chosen."""
        project = self.page.session.project
        if project is None:
            return None
        return next((t for t in project.state.takes if _label(t) == self.takes.value), None)

    def need_take(self) -> Take:
        """The same. Raises RecamError where there is none."""
        if self.take is None:
            raise RecamError("make a take first")
        return self.take

    def _folder(self, take: Take) -> Path:
        return self.page.session.need_project().take_folder(take.number)

    def _delete(self) -> None:
        self.page.session.remove_take(self.need_take().number)

    def refresh(self) -> None:
        """Show the project's takes."""
        project = self.page.session.project
        takes = project.state.takes if project else ()
        labels = tuple(_label(t) for t in takes) or (NONE,)
        if labels != tuple(self.takes.options):
            new = len(labels) > len(self.takes.options) or self.takes.value not in labels
            self.takes.options = labels
            if new or len(labels) == 1:
                self.takes.value = labels[-1]
        take = self.take
        for control in (self.comparing, self.saving, self.again, self.drop):
            control.visible = take is not None
        self.film.content = self.recipe.content = self.saved.content = ""
        if project is not None:
            self._show_options(project.state.complete)
        if take is None:
            return
        others = ("source", *(x for x in labels if x != _label(take)))
        self.other.options = others
        self._show_take(take)

    def _show_options(self, config: CompleteConfig) -> None:
        session = self.page.session
        self.model.value, self.weights.value = config.model, config.weights or ""
        self.steps.value, self.adapt.value = config.sampling_steps or 0, config.adapt_minutes or 0.0
        self.seed.value = config.seed
        self.weights.visible = config.model in FOUNDATION
        self.frames.visible = session.kind != "film"
        if session.project is not None and session.kind != "film":
            state, views = session.project.state, session.kind == "views"
            self.frames.value = state.between_frames if views else state.picture_frames

    def _show_take(self, take: Take) -> None:
        folder, guard = self._folder(take), self.page.guard
        film = folder / "result.mp4"
        if not film.is_file():
            self.film.content = small("its film is gone from the workspace")
            return
        address = guard.publish(film)
        rows = [("Task", take.task), ("Path", take.label)]
        if take.seconds is not None:
            rows.append(("Time", duration(take.seconds)))
        rows += _known(folder)
        self.film.content = (
            f"<video src='{address}' controls loop muted playsinline "
            "style='width:calc(100% - 1.6em);margin:0 .8em;border-radius:4px'></video>"
            + small(table(rows))
        )
        stem = f"{Path(self.page.session.need_project().state.name).stem}-{take.number}"
        links = [
            download_link(guard, folder / name, f"{stem}-{name}", words)
            for name, words in (
                ("result.mp4", "the film, with its sound"),
                ("known.mp4", "white = seen, black = made up"),
                ("preview.mp4", "source, seen part and result side by side"),
                ("cameras.json", "the new cameras (other formats: Aim, Save the path)"),
                ("path.png", "the path over the scene"),
                ("contact_sheet.png", "a sheet of frames"),
                ("config.json", "everything that was set"),
            )
            if (folder / name).is_file()
        ]
        self.links.content = small("<br>".join(links))
        self.recipe.content = (
            f"```sh\n{take.command}\n```\n\n```python\n{take.python}```\n\n"
            "Files are named as they lie in the workspace."
        )

    def _zip_frames(self) -> None:
        take = self.need_take()
        folder = self._folder(take)
        target = folder / "frames.zip"
        if not target.is_file():
            film = read_video(folder / "result.mp4")
            temporary = target.with_suffix(".tmp")
            picture = folder / ".frame.png"
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for i, frame in enumerate(film.frames):
                    write_image(frame, picture)
                    archive.write(picture, f"{i:05d}.png")
            picture.unlink()
            temporary.replace(target)
        self.saved.content = small(
            download_link(self.page.guard, target, f"take-{take.number}.zip")
        )

    def _export(self) -> None:
        session, chosen = self.page.session, self.export.value
        project, scene = session.need_project(), session.need_scene()
        from recam.apps.studio import recipe

        out = project.folder / "exports" / f"{scene.which}-{chosen}"
        archive = out.with_suffix(".zip")
        configs = recipe.options(scene.about.input, scene.about.reconstruct)
        words = ["recam", "reconstruct", str(project.source), *configs]
        words += ["--export", chosen, "-o", str(out)]

        def done(job: Job) -> None:
            if job.state == "done":
                zipped(out, archive)
                link = download_link(self.page.guard, archive, f"scene-{chosen}.zip")
                self.saved.content = small(link)

        out.parent.mkdir(exist_ok=True)
        session.submit(Job(f"Scene as {chosen}", words, project.folder / "jobs" / "export", done))
        self.saved.content = small("The link comes when it is written.")

    # Progress

    def show_progress(self, job: Job | None) -> None:
        """The frames that a running job has finished."""
        showing = job is not None and job.state == "running" and bool(job.pictures)
        if showing and job is not None and len(job.pictures) != self.shown_pictures:
            self.shown_pictures = len(job.pictures)
            picture = read_image(job.pictures[-1])
            self.live.image = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        self.live.visible = showing

    # Comparing (the page's thread)

    def comparison(self, frame: int) -> Tensor | None:
        """What the middle shows: the take against the other side, at a frame."""
        take = self.take
        if take is None:
            return None
        result = self._film(take.number, "result.mp4")
        other = self._other(len(result))
        way, place = self.way.value, float(self.place.value) / 100
        frame = min(frame, len(result) - 1)
        right, left = result[frame], other[min(frame, len(other) - 1)]
        if way == "Wipe":
            return compare.wipe(compare.same_size(left, *right.shape[1:]), right, place)
        if way == "Blink":
            import time

            self.page.want("blink")
            return right if int(time.monotonic() / BLINK_S) % 2 else left
        if way == "Side by side":
            return compare.beside(left, right, (self.other.value, _label(take)))
        if way == "Slice over time":
            return compare.slices(other, result, place)
        known = self._film(take.number, "known.mp4")[frame, 0].float() / 255
        return compare.overlay(right, known, self._elsewhere(take, frame, known))

    def _elsewhere(self, take: Take, frame: int, known: Tensor) -> Tensor:
        """bool [h, w]: seen at another moment only; told by the preview of the take's path."""
        session = self.page.session
        if session.scene is None or take.task not in ("reshoot", "image"):
            return torch.zeros_like(known, dtype=torch.bool)
        record = _record(self._folder(take)).record("config").record("path")
        path = as_dataclass(record, PathConfig)
        previewer = session.scene.previewer
        preview = previewer.frame(previewer.path(path, session.num_frames), frame)
        return compare.same_size(
            preview.elsewhere[None].to(torch.uint8) * 255, *known.shape
        )[0] > 127  # fmt: skip

    def _other(self, num: int) -> Tensor:
        if self.other.value != "source":
            project = self.page.session.need_project()
            found = [t for t in project.state.takes if _label(t) == self.other.value]
            if found:
                return self._film(found[0].number, "result.mp4")
        session = self.page.session
        project = session.need_project()
        if session.kind == "views":
            first = read_image(project.source)[None]
            return first.expand(num, -1, -1, -1)
        key = (0, "source")
        if key not in self.films:
            self._keep(key, session.source_frames(COMPARE_SIDE))
        frames = self.films[key]
        return frames if len(frames) > 1 else frames.expand(num, -1, -1, -1)

    def _film(self, number: int, name: str) -> Tensor:
        folder = self.page.session.need_project().take_folder(number)
        key = (number, str(folder / name))
        if key not in self.films:
            self._keep(key, read_video(folder / name, max_side=COMPARE_SIDE).frames)
        return self.films[key]

    def _keep(self, key: tuple[int, str], film: Tensor) -> None:
        """The last few films that were compared stay in memory."""
        while len(self.films) >= 4:
            self.films.pop(next(iter(self.films)))
        self.films[key] = film

    def forget_films(self) -> None:
        """Another project: none of the films is of it."""
        self.films.clear()


def _label(take: Take) -> str:
    return f"{take.number} · {take.label}"


def _known(folder: Path) -> list[tuple[str, str]]:
    rows = []
    try:
        record = _record(folder)
        if "known_fraction" in record:
            share = record.number("known_fraction", 0, 1)
            rows.append(("Seen", f"{share:.1%} of the pixels; the rest made up"))
        if "config" in record and "complete" in record.record("config"):
            rows.append(("Model", record.record("config").record("complete").text("model")))
    except (ValueError, RecamError) as error:
        rows.append(("Record", str(error)))
    return rows


def _record(folder: Path) -> Record:
    """What a take's run wrote down of itself."""
    file = folder / "config.json"
    return Record(read_json(file), file)


def download_link(guard: Guard, path: Path, name: str, words: str = "") -> str:
    """A link that saves a file."""
    said = f" <span style='opacity:.65'>{html.escape(words)}</span>" if words else ""
    address = html.escape(guard.publish(path, name))
    return f"<a href='{address}' download='{html.escape(name)}'>{html.escape(name)}</a>{said}"


def zipped(folder: Path, target: Path | None = None) -> Path:
    """A folder as a zip beside it."""
    target = target or folder.with_suffix(".zip")
    temporary = target.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for root, _, files in os.walk(folder):
            for name in sorted(files):
                path = Path(root) / name
                archive.write(path, path.relative_to(folder))
    temporary.replace(target)
    return target
