"""Bring: open something, see what it is, choose a part, add what is known of it, reconstruct."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

from recam.apps.studio import facts
from recam.apps.studio.shell import Shell, small, table
from recam.apps.studio.uploads import ARCHIVE, DATA, FILM, PICTURE
from recam.types import RecamError

FILES = ("Cameras", "Depth", "Moving areas")
FIELDS = {"Cameras": "cameras", "Depth": "depth", "Moving areas": "masks"}
NONE = "—"


class BringPanel:
    """The first tab."""

    def __init__(self, page: Shell) -> None:
        self.page = page
        self.sentences: dict[str, str] = {}
        """What files of the user's are and say, by their path."""
        gui = page.server.gui
        self.upload = gui.add_upload_button(
            "Open film, picture or zip of frames", icon="upload",
            hint="Or drop it anywhere on the page. Two pictures, one after the other: the frames "
            "between them.",
        )  # fmt: skip
        self.sample = gui.add_button(
            "Try the sample", icon="sparkles", color="gray",
            hint="A short synthetic scene that recam makes itself",
        )  # fmt: skip
        self.recent = gui.add_dropdown("Recent", (NONE,), hint="What was opened before")
        self.errors = gui.add_html("")
        self.about = gui.add_html("")
        with gui.add_folder("Part and size", expand_by_default=False) as self.part:
            self.start = gui.add_number("First frame", 0, min=0, step=1, hint="Counted from 0")
            self.count = gui.add_number("Frames", 0, min=0, step=1, hint="How many; 0 = all")
            self.stride = gui.add_number("Every nth", 1, min=1, step=1, hint="1 = all frames")
            self.side = gui.add_number(
                "Longer side", 0, min=0, step=1, hint="Pixels, scaled down to; 0 = as it is"
            )
            self.fov = gui.add_number(
                "Field of view", 0.0, min=0.0, max=170.0, step=0.1,
                hint="Degrees across, if you know it; 0 = found out",
            )  # fmt: skip
        with gui.add_folder("Your own files", expand_by_default=False) as self.own:
            self.what = gui.add_dropdown("What", FILES, hint="What the file below holds")
            self.file = gui.add_upload_button("Add the file (or a zip)", icon="file-plus")
            self.forget = gui.add_button("Forget these files", color="gray")
            self.said = gui.add_html("")
        self.cost = gui.add_html("")
        self.quality = gui.add_dropdown(
            "Scene", ("draft, then full", "draft only", "full only"),
            hint="A draft is coarser and is there in seconds; aim in it while the full scene is "
            "worked out",
        )  # fmt: skip
        self.detail = gui.add_dropdown(
            "Full scene", ("normal", "best"), hint="best: finer geometry, and several times as long"
        )
        self.go = gui.add_button("Reconstruct", icon="player-play")
        self._connect()

    def _connect(self) -> None:
        page = self.page
        page.on(self.upload, self.errors, self._uploaded)
        page.on(self.sample, self.errors, lambda _: self._make_sample())
        page.on(self.recent, self.errors, lambda _: self._open_recent())
        for control in (self.start, self.count, self.stride, self.side, self.fov, self.detail):
            page.on(control, self.errors, lambda _: self._take_part())
        page.on(self.file, self.said, self._add_file)
        page.on(self.forget, self.said, lambda _: self._forget())
        page.on(self.go, self.errors, lambda _: self._reconstruct())

    def _uploaded(self, event: Any) -> None:
        kind, path = self.page.upload(event)
        if kind == DATA:
            path.unlink()
            raise RecamError(
                f"{event.target.value.name} is neither a film nor a picture; cameras and depth go "
                "into “Your own files”"
            )
        name = Path(event.target.value.name.replace("\\", "/")).name or "upload"
        try:
            self._open(kind, path, name)
        except RecamError as error:  # of the generated name, which says nothing to the user
            raise RecamError(str(error).replace(str(path), name)) from None

    def _open(self, kind: str, path: Path, name: str) -> None:
        session = self.page.session
        project = session.project
        fresh = session.scene is None and session.queue.running is None
        if kind == PICTURE and session.kind != "film" and project is not None and fresh:
            views = tuple(Path(s) for s in project.state.sources)
            session.open((*views, path), f"{project.state.name} + {name}")
            return
        assert kind in (FILM, PICTURE, ARCHIVE)
        session.open((path,), name)

    def _make_sample(self) -> None:
        from recam.apps.studio.jobs import Job

        session = self.page.session
        path = session.workspace.folder / "uploads" / "sample.mp4"
        if path.is_file():
            session.open((path,), "sample")
            return

        def done(job: Job) -> None:
            if job.state == "done":
                session.open((path,), "sample")

        words = ["sample", str(path)]
        session.submit(Job("Sample", words, session.workspace.folder / "jobs" / "sample", done))

    def _open_recent(self) -> None:
        chosen = self.identities.get(self.recent.value)
        if chosen is not None:
            self.page.session.open_recent(chosen)

    identities: dict[str, str] = {}  # noqa: RUF012

    def _take_part(self) -> None:
        project = self.page.session.need_project()
        part = replace(
            project.state.input, start=int(self.start.value), stride=int(self.stride.value),
            num_frames=int(self.count.value) or None, max_side=int(self.side.value) or None,
        )  # fmt: skip
        config = replace(
            project.state.reconstruct, fov=float(self.fov.value) or None,
            quality=self.detail.value,
        )  # fmt: skip
        project.update(input=part, reconstruct=config)
        self._show_cost()

    def _add_file(self, event: Any) -> None:
        project, what = self.page.session.need_project(), self.what.value
        _, path = self.page.upload(event)
        try:
            self.sentences[str(path)] = self._describe(what, path)
        except RecamError as error:  # what is none is refused before it is kept
            raise RecamError(str(error).replace(str(path), event.target.value.name)) from None
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), event.target.value.name)) from None
        config = replace(project.state.reconstruct, **{FIELDS[what]: str(path)})  # type: ignore[arg-type]
        project.update(reconstruct=config)
        self._say_files()

    def _describe(self, what: str, path: Path) -> str:
        """What a file is and says, in one sentence."""
        if what == "Cameras":
            return facts.describe_cameras(path)
        info = self.page.session.info
        num = None if info is None else 1 if info.kind == "picture" else info.num_frames
        if info is None or num is None:
            return path.suffix[1:] or "a folder"
        describe = facts.describe_depth if what == "Depth" else facts.describe_masks
        return describe(path, num, info.height, info.width)

    def _forget(self) -> None:
        project = self.page.session.need_project()
        config = replace(project.state.reconstruct, cameras=None, depth=None, masks=None)
        project.update(reconstruct=config)
        self._say_files()

    def _say_files(self) -> None:
        project = self.page.session.project
        rows = []
        if project is not None:
            for what, field in FIELDS.items():
                file = getattr(project.state.reconstruct, field)
                if file is not None:
                    rows.append((what, self.sentences.get(file) or Path(file).suffix or "a folder"))
        self.said.content = small(table(rows)) if rows else ""

    def _reconstruct(self) -> None:
        session = self.page.session
        if session.kind == "views":
            raise RecamError("these are views: the frames between them are made in “Make”")
        words = self.quality.value
        session.reconstruct(draft=words.startswith("draft"), best=words != "draft only")

    # Drawing

    def refresh(self) -> None:
        """Show the project that is open."""
        session = self.page.session
        recent = session.workspace.recent()
        self.identities = {}
        for identity, name in recent:
            label, n = name, 2
            while label in self.identities:
                label, n = f"{name} ({n})", n + 1
            self.identities[label] = identity
        project = session.project
        now = project.folder.name if project else None
        chosen = next((k for k, v in self.identities.items() if v == now), NONE)
        options = tuple(self.identities) if chosen != NONE else (NONE, *self.identities)
        self.recent.options = options or (NONE,)
        self.recent.value = chosen
        there = project is not None
        for control in (self.part, self.own, self.quality, self.detail, self.go):
            control.visible = there and session.kind != "views"
        if project is None:
            self.about.content = self.cost.content = ""
            return
        part, config = project.state.input, project.state.reconstruct
        self.start.value, self.stride.value = part.start, part.stride
        self.count.value, self.side.value = part.num_frames or 0, part.max_side or 0
        self.fov.value = config.fov or 0.0
        self.detail.value = "best" if config.quality == "best" else "normal"
        self._say_about()
        self._say_files()
        self._show_cost()

    def _say_about(self) -> None:
        session = self.page.session
        assert session.project is not None
        if session.info is None:
            self.about.content = small("a scene")
            return
        rows = facts.what_it_is(session.info)
        if session.kind == "views":
            rows.insert(0, ("Views", str(len(session.project.state.sources))))
        notes = "".join(f"<div>{html.escape(n)}</div>" for n in session.info.notes)
        self.about.content = small(table(rows) + notes)

    def _show_cost(self) -> None:
        session = self.page.session
        info, project = session.info, session.project
        if info is None or project is None or session.kind == "views":
            self.cost.content = ""
            return
        part = project.state.input
        num = 1 if session.kind == "picture" else info.num_frames
        frames = facts.frames_used(num, part.start, part.num_frames, part.stride)
        rates = facts.read_rates(session.workspace.folder / "rates.json")
        cost = facts.cost(frames, info.height, info.width, rates)
        self.cost.content = small(f"{cost} {facts.limits().capitalize()}.")
