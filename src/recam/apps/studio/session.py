"""What the studio does, without its page: open, reconstruct, aim, preview, make.

The page shows a session and calls its methods; the tests do too. Nothing of the pipeline is in
here: jobs run the command line, previews run the renderer.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.apps.studio import facts, recipe
from recam.apps.studio.aim import Aim, History, path_config
from recam.apps.studio.compare import same_size
from recam.apps.studio.jobs import Job, JobQueue
from recam.apps.studio.preview import About, Previewer, read_about, write_small
from recam.apps.studio.workspace import Project, ProjectState, Take, Workspace
from recam.configs import (
    CompleteConfig,
    EditConfig,
    ImageConfig,
    InterpolateConfig,
    PathConfig,
    ReshootConfig,
)
from recam.media import MediaInfo, read_video
from recam.media.convert import fitted_size
from recam.reconstruct import load_scene, save_scene
from recam.runtime.records import write_json
from recam.types import CameraPath, RecamError, Scene


@dataclass(frozen=True, eq=False)
class OpenScene:
    """The scene that is shown: which one, what is said of it, and its previews."""

    which: str
    about: About
    previewer: Previewer


class Session:
    """One user's work: a project, its scene, its aim, its jobs.

    changed(what) is called from any thread, what being one of ``project``, ``scene``, ``aim``,
    ``job``, ``takes``, ``static``.
    """

    def __init__(
        self, workspace: Workspace, changed: Callable[[str], None] = lambda what: None
    ) -> None:
        self.workspace, self.changed = workspace, changed
        self.lock = threading.RLock()
        self.queue = JobQueue(lambda job: self.changed("job"))
        self.project: Project | None = None
        self.info: MediaInfo | None = None
        self.scene: OpenScene | None = None
        self.history = History(Aim())
        self.last_job: Job | None = None
        self.merging: threading.Thread | None = None
        self._path: tuple[Any, tuple[PathConfig, CameraPath]] | None = None

    # Opening

    def open(self, sources: tuple[Path, ...], name: str | None = None) -> None:
        """A new project for files. Raises RecamError for what cannot be read."""
        if (sources[0] / "scene.json").is_file():
            self.open_scene_folder(sources[0], name)
            return
        info = facts.look_at(sources[0])
        for other in sources[1:]:
            facts.look_at(other)
        self._show(self.workspace.new_project(name or sources[0].name, sources), info)

    def open_scene(self, scene: Scene, name: str = "scene") -> None:
        """A new project for a scene that is there already: nothing is to be reconstructed."""
        project = self.workspace.new_project(name, (self.workspace.folder / "projects",))
        folder = project.folder / "source"
        save_scene(scene, folder)
        project.update(sources=(str(folder.resolve()),))
        self._adopt(project, scene, folder)

    def open_scene_folder(self, folder: Path, name: str | None = None) -> None:
        """The same for a folder that ``recam reconstruct`` wrote."""
        project = self.workspace.new_project(name or folder.name, (folder,))
        self._adopt(project, load_scene(folder), folder)

    def _adopt(self, project: Project, scene: Scene, folder: Path) -> None:
        write_preview(scene, project.scene_folder("best"), folder, project.state)
        self._show(project, None)

    def open_recent(self, identity: str) -> None:
        """A project of the workspace, as it was left."""
        project = self.workspace.open_project(identity)
        self._show(project, _info(project))

    def resume(self) -> bool:
        """The project that was open last; whether there was one."""
        project = self.workspace.last()
        if project is None:
            return False
        try:
            self._show(project, _info(project))
        except RecamError:
            return False
        return True

    def _show(self, project: Project, info: MediaInfo | None) -> None:
        with self.lock:
            self.project, self.info = project, info
            self.history = History(project.state.aim)
            self.scene = None
            self._path = None
        self.changed("project")
        which = project.best_scene()
        if which is not None:
            self.load(which)

    @property
    def kind(self) -> str:
        """``film``, ``picture`` or ``views``: what the open project is made of."""
        if self.project is not None and len(self.project.state.sources) > 1:
            return "views"
        if self.scene is not None and self.info is None:
            return "picture" if len(self.scene.previewer.scene) == 1 else "film"
        return "picture" if self.info is not None and self.info.kind == "picture" else "film"

    def need_project(self) -> Project:
        """The open project. Raises RecamError where there is none."""
        if self.project is None:
            raise RecamError("open a film or a picture first")
        return self.project

    def need_scene(self) -> OpenScene:
        """The open scene. Raises RecamError where there is none."""
        if self.scene is None:
            raise RecamError("reconstruct the scene first (a draft is enough)")
        return self.scene

    # Reconstructing

    def reconstruct(self, draft: bool = True, best: bool = True) -> None:
        """Work out the scene: a draft to aim in, then the full one in its place."""
        project = self.need_project()
        first = "draft" if draft else "best"
        self.submit(self._scene_job(project, first, then_best=draft and best))

    def _scene_job(self, project: Project, which: str, then_best: bool) -> Job:
        config = project.state.reconstruct
        if which == "draft":
            config = replace(config, quality="draft")
        folder = project.folder / f"job-{which}"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / "job.json",
            {
                "source": str(project.source),
                "input": dataclasses.asdict(project.state.input),
                "reconstruct": dataclasses.asdict(config),
                "out": str(project.scene_folder(which)),
            },
        )

        def done(job: Job) -> None:
            if job.state != "done":
                return
            about = read_about(project.scene_folder(which))
            if self.project is project:
                self.load(which)
                if not about.reused and self.scene is not None:
                    num = len(self.scene.previewer.scene)
                    rates = self.workspace.folder / "rates.json"
                    facts.add_rate(rates, which, about.seconds / num)
            if then_best:
                self.submit(self._scene_job(project, "best", False))

        label = "Draft" if which == "draft" else "Full scene"
        words = ["scene", str(folder / "job.json")]
        return Job(label, words, folder, done, expected_s=self._expected_s(project, which))

    def _expected_s(self, project: Project, which: str) -> float | None:
        """How long a scene takes here, by earlier ones; None where none was measured."""
        known = facts.read_rates(self.workspace.folder / "rates.json").get(which)
        part = project.state.input
        total = self.info.num_frames if self.info is not None else None
        frames = facts.frames_used(total, part.start, part.num_frames, part.stride)
        return sorted(known)[len(known) // 2] * frames if known and frames else None

    def load(self, which: str) -> None:
        """Show the draft or the best scene of the project."""
        project = self.need_project()
        folder = project.scene_folder(which)
        about = read_about(folder)
        previewer = Previewer(load_scene(folder), about.focus_depth)
        with self.lock:
            self.scene = OpenScene(which, about, previewer)
            self._path = None
        self.changed("scene")

        def merge() -> None:
            previewer.prepare()
            if self.scene is not None and self.scene.previewer is previewer:
                self.changed("static")

        self.merging = threading.Thread(target=merge, daemon=True)
        self.merging.start()

    def submit(self, job: Job) -> None:
        """Start a job, or let it wait. Raises RecamError where another waits."""
        self.queue.submit(job)
        self.last_job = job
        self.changed("job")

    # Aiming

    @property
    def aim(self) -> Aim:
        """Where the new camera goes."""
        return self.history.now

    def set_aim(self, aim: Aim, control: str = "") -> None:
        """A step that can be undone, written down at once. control: see ``History.push``."""
        if self.history.push(aim, control):
            self._aimed()

    def undo(self) -> None:
        """One step back."""
        if self.history.undo():
            self._aimed()

    def redo(self) -> None:
        """One step forward again."""
        if self.history.redo():
            self._aimed()

    def _aimed(self) -> None:
        self.changed("aim")  # first: the disk may be slow
        if self.project is not None:
            self.project.update(aim=self.aim)

    def path_config(self, keys_file: Path | None = None) -> PathConfig:
        """What the command line would be given for the present aim, within its limit.

        keys_file: where keyframes are written; default: the project's. Raises RecamError while
        there is no key or no file.
        """
        return self._aimed_path(keys_file or self.need_project().keys_file)[0]

    @property
    def num_frames(self) -> int | None:
        """Length of the path where it is free: for one picture."""
        if self.kind == "picture" and self.project is not None:
            return self.project.state.picture_frames
        return None

    def path(self) -> CameraPath:
        """The present path at the preview's size. Raises as ``path_config`` does."""
        return self._aimed_path(self.need_project().keys_file)[1]

    def _aimed_path(self, keys_file: Path) -> tuple[PathConfig, CameraPath]:
        """Worked out once for each aim: a limit takes most of a second to find."""
        scene, aim, num = self.need_scene(), self.aim, self.num_frames
        key = (aim, scene, num, keys_file)
        with self.lock:
            if self._path is not None and self._path[0] == key:
                return self._path[1]
        previewer = scene.previewer
        config = path_config(aim, previewer.source, previewer.focus_depth, keys_file)
        if config is None:
            raise RecamError("no keys yet" if aim.mode == "keys" else "load a path file first")
        if aim.limit is not None and aim.mode == "preset":
            config = previewer.within(config, aim.limit, num)
        made = config, previewer.path(config, num)
        with self.lock:
            self._path = (key, made)
        return made

    # Making

    def make(self, complete: CompleteConfig) -> None:
        """A take of the present path."""
        if self.kind == "views":
            self.make_between(complete)
            return
        project, scene = self.need_project(), self.need_scene()
        number = self._next_number(project)
        keys = project.folder / "paths" / f"{number}.json"
        keys.parent.mkdir(exist_ok=True)
        path = self.path_config(keys_file=keys)
        reconstruct, part = scene.about.reconstruct, scene.about.input
        out = project.take_folder(number)
        source = str(project.source)
        if self.kind == "picture":
            image = ImageConfig(
                frames=project.state.picture_frames, reconstruct=reconstruct, path=path,
                complete=complete,
            )  # fmt: skip
            given = [image, *([InputMaxSide(part.max_side)] if part.max_side else [])]
            python = recipe.python_image(source, image, part, "result.mp4")
            self._run(project, number, "image", label_of(path), [source], given, python, out)
            return
        config = ReshootConfig(part, reconstruct, path, complete=complete)
        python = recipe.python_reshoot(source, config, "result.mp4")
        self._run(project, number, "reshoot", label_of(path), [source], [config], python, out)

    def make_between(self, complete: CompleteConfig) -> None:
        """The frames between the project's pictures."""
        project = self.need_project()
        if self.kind != "views":
            raise RecamError("bring two pictures or more for the frames between them")
        number = self._next_number(project)
        config = InterpolateConfig(frames=project.state.between_frames, complete=complete)
        files = list(project.state.sources)
        python = recipe.python_interpolate(files, config, 24.0, "result.mp4")
        out = project.take_folder(number)
        self._run(project, number, "interpolate", "between", files, [config], python, out)

    def make_edit(
        self, picture: Path, frame: int, mask: Path | None, complete: CompleteConfig
    ) -> None:
        """One frame's edit carried through the film."""
        project = self._need_film()
        number = self._next_number(project)
        config = EditConfig(project.state.content, complete)
        part = project.state.input
        extra: list[Any] = ["--edited-frame", frame, picture]
        extra += ["--mask", mask] if mask else []
        source = str(project.source)
        python = recipe.python_edit(
            source, str(picture), frame, str(mask) if mask else None, config, part, "result.mp4"
        )
        out = project.take_folder(number)
        self._run(project, number, "edit", "edit", [source], [part, config], python, out, extra)

    def make_remove(self, mask: Path, frame: int, complete: CompleteConfig) -> None:
        """The film without what the mask covers at a frame."""
        project = self._need_film()
        number = self._next_number(project)
        config, part = EditConfig(complete=complete), project.state.input
        extra = ["--remove", mask, *(["--at-frame", frame] if frame else [])]
        source = str(project.source)
        python = recipe.python_remove(source, str(mask), frame, config, part, "result.mp4")
        out = project.take_folder(number)
        self._run(project, number, "remove", "remove", [source], [part, config], python, out, extra)

    def make_complete(self, known: Path, complete: CompleteConfig) -> None:
        """The film filled where a mask is black."""
        project = self._need_film()
        number = self._next_number(project)
        part, source = project.state.input, str(project.source)
        out = project.take_folder(number) / "result.mp4"
        extra = ["--known", known]
        python = recipe.python_complete(source, str(known), complete, part, "result.mp4")
        self._run(
            project, number, "complete", "complete", [source], [part, complete], python, out, extra
        )

    @property
    def has_film(self) -> bool:
        """Whether a film is open: edits need one, a scene is none."""
        return self.info is not None and self.kind == "film"

    def _need_film(self) -> Project:
        project = self.need_project()
        if not self.has_film:
            raise RecamError("this needs a film")
        return project

    def source_frames(self, max_side: int) -> Tensor:
        """uint8 [t, 3, h, w]: the open film or picture, the part that is used, made small."""
        project = self.need_project()
        if self.info is None:
            frames = load_scene(project.source).video.frames
            size = fitted_size(frames.shape[2], frames.shape[3], max_side)
            return torch.stack([same_size(frame, *size) for frame in frames])
        part = project.state.input
        return read_video(
            project.source, start=part.start, num_frames=part.num_frames, stride=part.stride,
            max_side=max_side,
        ).frames  # fmt: skip

    def _next_number(self, project: Project) -> int:
        used = [t.number for t in project.state.takes]
        used += [int(p.name) for p in (project.folder / "takes").glob("*") if p.name.isdigit()]
        if self.queue.running is not None or self.queue.waiting is not None:
            used += [_number_of(j) for j in (self.queue.running, self.queue.waiting) if j]
        return max(used, default=0) + 1

    def _run(
        self,
        project: Project,
        number: int,
        command: Any,
        label: str,
        files: list[str],
        configs: list[Any],
        python: str,
        out: Path,
        extra: list[Any] | None = None,
    ) -> None:
        """Queue a command of the command line, and list its result as a take when it is done."""
        out.parent.mkdir(parents=True, exist_ok=True)
        more = [str(x) for x in extra or []]
        task = "edit" if command == "remove" else command
        words = ["recam", task, *files, *recipe.options(*configs), *more, "-o", str(out)]
        shown = recipe.command_line(task, files, *configs, extra=[*more, "-o", out.name])
        folder = project.folder / "jobs" / f"take-{number}"
        started = time.time()

        def done(job: Job) -> None:
            if job.state != "done":
                return
            seconds = round(time.time() - max(started, job.started_s), 1)
            take = Take(number, command, label, shown, python, seconds)
            project.update(takes=(*project.state.takes, take))
            self.changed("takes")

        self.submit(Job(f"Take {number} ({label})", words, folder, done))

    def remove_take(self, number: int) -> None:
        """Forget a take and delete its folder."""
        import shutil

        project = self.need_project()
        kept = tuple(t for t in project.state.takes if t.number != number)
        if len(kept) < len(project.state.takes):
            shutil.rmtree(project.take_folder(number), ignore_errors=True)
            project.update(takes=kept)
            self.changed("takes")

    def close(self) -> None:
        """Stop the jobs; what they have done so far is kept."""
        self.queue.close()
        if self.merging is not None:
            self.merging.join(timeout=60.0)


@dataclass(frozen=True)
class InputMaxSide:
    """The one part of InputConfig that ``recam image`` takes."""

    max_side: int | None = None


def _number_of(job: Job) -> int:
    name = job.folder.name
    return int(name.removeprefix("take-")) if name.startswith("take-") else 0


def _info(project: Project) -> MediaInfo | None:
    """What the project's first file is; None for a scene."""
    if (project.source / "scene.json").is_file():
        return None
    return facts.look_at(project.source)


def write_preview(scene: Scene, out: Path, folder: Path, state: ProjectState) -> None:
    """The small copy of a scene that was not reconstructed here."""
    write_small(scene, out, folder=folder, input=state.input, reconstruct=state.reconstruct)


def label_of(path: PathConfig) -> str:
    """A short name for a path: ``orbit yaw 20``."""
    if Path(path.path).suffix:
        return "keys" if Path(path.path).parent.name == "paths" else Path(path.path).stem
    amounts = [
        f"{name} {value:.3g}"
        for name in ("yaw", "pitch", "roll", "distance", "zoom")
        if (value := getattr(path, name)) is not None
    ]
    return " ".join([path.path, *amounts])
