"""A session without its page: projects that survive, jobs in processes, takes."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recam.apps.studio.jobs import Job, JobQueue, duration
from recam.apps.studio.paint import Stroke, mask_of
from recam.apps.studio.session import Session
from recam.apps.studio.workspace import Workspace
from recam.configs import CompleteConfig, PathConfig
from recam.media import probe, read_image, write_image, write_video
from recam.reconstruct import save_scene
from recam.types import RecamError
from studio_scene import small_clip


def wait_for(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.time() + seconds
    while not true():
        assert time.time() < end, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(Workspace(tmp_path / "ws"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    save_scene(small_clip(), folder)
    return folder


def test_a_take_is_what_the_command_line_makes(session: Session, scene_folder: Path) -> None:
    session.open((scene_folder,))
    assert session.scene is not None and session.kind == "film"
    session.set_aim(replace(session.aim, preset=PathConfig("orbit", yaw=5.0)))
    session.make(CompleteConfig(model="propagate"))
    project = session.need_project()
    wait_for(lambda: bool(project.state.takes) or session.last_job.state == "failed")  # type: ignore[union-attr]
    assert session.last_job is not None and session.last_job.error == ""
    take = project.state.takes[0]
    folder = project.take_folder(take.number)
    assert probe(folder / "result.mp4").num_frames == 8
    record = json.loads((folder / "config.json").read_text())
    assert record["config"]["path"]["yaw"] == 5.0
    assert record["config"]["complete"]["model"] == "propagate"
    focus = session.scene.previewer.focus_depth
    assert record["config"]["path"]["focus_depth"] == focus  # as previewed
    assert "--yaw 5.0" in take.command and "PathConfig(yaw=5.0" in take.python
    assert session.last_job.stage and session.last_job.state == "done"
    assert session.last_job.pictures and read_image(session.last_job.pictures[0]).shape[1:] == (
        96, 144,
    )  # fmt: skip
    session.remove_take(take.number)
    assert not folder.exists() and project.state.takes == ()


def test_nothing_is_lost_when_the_server_is_killed(scene_folder: Path, tmp_path: Path) -> None:
    first = Session(Workspace(tmp_path))
    first.open((scene_folder,))
    aim = replace(first.aim, preset=PathConfig("dolly", distance=0.3), limit=0.2)
    first.set_aim(aim)
    first.need_project().update(frame=3)
    # No goodbye: another session takes over the folder.
    second = Session(Workspace(tmp_path))
    assert second.resume()
    assert second.aim == aim and second.need_project().state.frame == 3
    assert second.scene is not None and second.scene.which == "best"
    assert [name for _, name in second.workspace.recent()] == [scene_folder.name]
    first.close()
    second.close()


def test_a_broken_project_is_one_line(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    film = tmp_path / "a.mp4"
    write_video(small_clip().video, film)
    project = workspace.new_project("a", (film,))
    (project.folder / "project.json").write_text("{")
    with pytest.raises(RecamError, match="broken"):
        workspace.open_project(project.folder.name)
    assert workspace.last() is None and workspace.recent() == []
    for name in ("../..", "nothing", ""):
        with pytest.raises(RecamError, match="no such project"):
            workspace.open_project(name)


def test_what_cannot_be_done_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="open a film"):
        session.reconstruct()
    film = tmp_path / "a.mp4"
    write_video(small_clip().video, film)
    session.open((film,))
    with pytest.raises(RecamError, match="reconstruct the scene first"):
        session.make(CompleteConfig())
    with pytest.raises(RecamError, match="two pictures"):
        session.make_between(CompleteConfig())
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    with pytest.raises(RecamError, match=r"text\.mp4"):
        session.open((text,))
    assert session.need_project().source == film.resolve()  # what was open stays


def test_keys_without_a_key(session: Session, scene_folder: Path) -> None:
    session.open((scene_folder,))
    session.set_aim(replace(session.aim, mode="keys"))
    with pytest.raises(RecamError, match="no keys yet"):
        session.path()
    session.undo()
    assert len(session.path()) == 8
    session.redo()
    assert session.aim.mode == "keys"


def test_one_job_runs_and_one_waits(tmp_path: Path) -> None:
    seen: list[str] = []
    queue = JobQueue(lambda job: seen.append(f"{job.label} {job.state}"))
    jobs = [Job(str(i), ["recam", "reshoot", "missing.mp4"], tmp_path / str(i)) for i in range(3)]
    queue.submit(jobs[0])
    queue.submit(jobs[1])
    with pytest.raises(RecamError, match="waits"):
        queue.submit(jobs[2])
    wait_for(lambda: queue.running is None)
    assert [job.state for job in jobs] == ["failed", "failed", "waiting"]
    assert jobs[0].error.startswith("missing.mp4") and "\n" not in jobs[0].error
    assert seen.index("0 failed") < seen.index("1 running")
    queue.submit(jobs[2])  # the queue goes on after failures
    wait_for(lambda: queue.running is None)
    assert jobs[2].state == "failed"


def test_cancel_and_kill_leave_the_queue_running(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    write_video(small_clip(30).video, film)
    words = ["recam", "complete", str(film), "--known", str(film), "-o", str(tmp_path / "o.mp4")]
    queue = JobQueue()
    first, second = (Job(str(i), words, tmp_path / str(i)) for i in range(2))
    queue.submit(first)
    queue.submit(second)
    assert queue.cancel()
    wait_for(lambda: first.state != "running" and queue.running is not first)
    assert first.state == "cancelled"
    wait_for(lambda: second.process is not None)
    assert isinstance(second.process, subprocess.Popen)
    second.process.send_signal(signal.SIGKILL)
    wait_for(lambda: queue.running is None)
    assert second.state == "failed" and "SIGKILL" in second.error
    assert not (tmp_path / "o.mp4").exists()
    queue.close()
    with pytest.raises(RecamError, match="stopping"):
        queue.submit(first)


def test_words_for_time() -> None:
    said = [duration(s) for s in (8, 200, 900, 3900)]
    assert said == ["8 s", "3 min 20 s", "15 min", "1 h 5 min"]


def test_the_other_tasks_run_as_commands(session: Session, tmp_path: Path) -> None:
    video = small_clip().video
    film, mask, views = tmp_path / "a.mp4", tmp_path / "mask.png", []
    write_video(video, film)
    painted = mask_of([Stroke(((0.4, 0.5), (0.5, 0.6)), 0.06)], 96, 144)
    write_image((painted.to(torch.uint8) * 255).expand(3, -1, -1).contiguous(), mask)
    for i in (0, 4):
        views.append(tmp_path / f"{i}.png")
        write_image(video.frames[i], views[-1])
    complete = CompleteConfig(model="propagate")

    def made(task: str, frames: int) -> None:
        project = session.need_project()
        wait_for(lambda: session.queue.running is None, 300.0)
        assert session.last_job is not None and session.last_job.error == ""
        take = project.state.takes[-1]
        assert take.task == task and take.command.startswith("recam ")
        assert probe(project.take_folder(take.number) / "result.mp4").num_frames == frames

    session.open((film,))
    session.make_remove(mask, 2, complete)
    made("remove", 8)
    session.make_complete(mask, complete)
    made("complete", 8)
    session.make_edit(views[1], 4, mask, complete)
    made("edit", 8)
    session.open(tuple(views))
    assert session.kind == "views"
    session.need_project().update(between_frames=3)
    session.make(complete)
    made("interpolate", 5)
