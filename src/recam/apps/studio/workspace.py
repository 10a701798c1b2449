"""What the studio keeps: a folder of projects, one for each thing that was opened.

    WORKSPACE/
      state.json                 the project that was open last
      uploads/<generated>.mp4    what was dropped into the page
      projects/<id>/project.json all that is set in the page, written whole at each change
                    keys.json    the keyframes, as the command line reads them
                    draft/ best/ small copies of the scene, for previews
                    takes/1/     what a run of the command line leaves

Nothing is lost when the page is reloaded or the server is killed: what is not in here is not state.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from recam.apps.studio.aim import Aim
from recam.configs import (
    CompleteConfig,
    EditContent,
    InputConfig,
    ReconstructConfig,
)
from recam.runtime.files import read_json
from recam.runtime.records import Record, as_dataclass, write_json
from recam.types import RecamError

Task = Literal["reshoot", "image", "interpolate", "edit", "remove", "complete"]
MAX_NUMBER = 1e15
"""Of a project's file: times of day, and seeds."""
SCENES = ("draft", "best")
"""Scenes of a project, worse first."""


def default_workspace() -> Path:
    """Where projects are kept unless ``--workspace`` says otherwise."""
    return Path.home() / "recam-studio"


@dataclass(frozen=True)
class Take:
    """A result: its folder below takes/, what it is called, and what makes it again."""

    number: int
    task: Task = "reshoot"
    label: str = ""
    command: str = ""
    python: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class ProjectState:
    """All that is set in the page for one source."""

    name: str = ""
    sources: tuple[str, ...] = ()
    """Files: one film or picture, or several pictures in order."""
    created_s: float = 0.0
    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    aim: Aim = field(default_factory=Aim)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    picture_frames: int = 48
    between_frames: int = 15
    content: EditContent = "surface"
    frame: int = 0
    takes: tuple[Take, ...] = ()


class Project:
    """A project's folder and its state. ``update`` writes it down."""

    def __init__(self, folder: Path, state: ProjectState) -> None:
        self.folder, self.state = folder, state

    @property
    def source(self) -> Path:
        """The first (usually only) file."""
        return Path(self.state.sources[0])

    @property
    def keys_file(self) -> Path:
        """Where keyframes are written for the command line."""
        return self.folder / "keys.json"

    def scene_folder(self, which: str) -> Path:
        """Where the small copy of a scene is: ``draft`` or ``best``."""
        return self.folder / which

    def take_folder(self, number: int) -> Path:
        """The folder of a take."""
        return self.folder / "takes" / str(number)

    def best_scene(self) -> str | None:
        """The best scene that is there."""
        for which in reversed(SCENES):
            if (self.scene_folder(which) / "about.json").is_file():
                return which
        return None

    def update(self, **changes: Any) -> None:
        """Change the state and write it, whole or not at all."""
        self.state = replace(self.state, **changes)
        write_json(self.folder / "project.json", dataclasses.asdict(self.state))


class Workspace:
    """The folder of all projects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("uploads", "projects", "jobs"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def new_project(self, name: str, sources: tuple[Path, ...]) -> Project:
        """A project for files that are there; its folder's name is generated."""
        folder = self.folder / "projects" / f"{time.strftime('%Y%m%d')}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        project = Project(folder, ProjectState())
        project.update(
            name=name, sources=tuple(str(s.resolve()) for s in sources), created_s=time.time()
        )
        self.remember(project)
        return project

    def open_project(self, identity: str) -> Project:
        """A project by its folder's name. Raises RecamError for none, or a broken one."""
        folder = self.folder / "projects" / identity
        if folder.parent != self.folder / "projects" or not (folder / "project.json").is_file():
            raise RecamError(f"{identity}: no such project in {self.folder}")
        try:
            state = _read_state(folder / "project.json")
        except (ValueError, RecamError) as error:
            raise RecamError(f"{error}; the project is broken, delete its folder") from error
        project = Project(folder, state)
        self.remember(project)
        return project

    def remember(self, project: Project) -> None:
        """This project is opened when the studio starts the next time."""
        write_json(self.folder / "state.json", {"project": project.folder.name})

    def last(self) -> Project | None:
        """The project that was open last, if it can still be opened."""
        try:
            file = self.folder / "state.json"
            return self.open_project(Record(read_json(file), file).text("project"))
        except (ValueError, RecamError):
            return None

    def recent(self, most: int = 20) -> list[tuple[str, str]]:
        """(id, name) of projects whose files are there, the newest first."""
        found = []
        for file in (self.folder / "projects").glob("*/project.json"):
            try:
                state = _read_state(file)
            except (ValueError, RecamError):
                continue
            if all(Path(s).exists() for s in state.sources):
                found.append((state.created_s, file.parent.name, state.name))
        return [(identity, name) for _, identity, name in sorted(found, reverse=True)[:most]]


def _read_state(file: Path) -> ProjectState:
    state = as_dataclass(Record(read_json(file), file), ProjectState, most=MAX_NUMBER)
    if not state.sources:
        raise ValueError(f"{file}: sources is empty; expected a file")
    return state
