"""The panels without a browser: what their controls show and what they set."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recam.apps.studio.jobs import Job
from recam.apps.studio.launch import Studio, start
from recam.configs import CompleteConfig, PathConfig
from recam.media import write_image, write_video
from recam.types import RecamError
from studio_scene import small_clip

pytest.importorskip("viser", reason="viser is not installed (pip install 'recam[studio]')")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = start(tmp_path / "ws", port=8820)
    yield made
    made.close()


def drawn(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the page's thread has drawn it."""
    end = time.time() + seconds
    while not true():
        assert time.time() < end, "waited too long"
        time.sleep(0.02)


def near(value: float, wanted: float) -> bool:
    return abs(value - wanted) < 1e-3


def test_a_distance_is_in_metres_where_they_are_known(studio: Studio) -> None:
    session, panel = studio.session, studio.page.aim
    slider = panel.sliders["distance"]
    session.open_scene(replace(small_clip(), metres_per_unit=0.5))
    session.set_aim(replace(session.aim, preset=PathConfig("dolly", distance=0.2)))
    metres = session.need_scene().previewer.focus_depth * 0.5
    drawn(lambda: slider.label == "Distance m" and near(slider.value, 0.2 * metres))
    slider.value = 0.5 * metres
    panel._amount("distance")
    assert session.aim.preset.distance == pytest.approx(0.5)
    session.open_scene(replace(small_clip(), metres_per_unit=None))
    session.set_aim(replace(session.aim, preset=PathConfig("dolly", distance=0.2)))
    drawn(lambda: slider.label == "Distance" and near(slider.value, 0.2))


def test_dragging_a_gizmo_moves_its_key(studio: Studio) -> None:
    session, view, panel = studio.session, studio.page.view, studio.page.aim
    session.open_scene(small_clip())
    session.set_aim(replace(session.aim, preset=PathConfig("orbit", yaw=10.0)))
    drawn(lambda: view.previewer is not None)
    panel._to_keys()
    first, last = session.aim.keys[0], session.aim.keys[-1]
    panel._pick(last.frame)
    drawn(lambda: view.gizmo is not None)
    held, start = view.gizmo, view.gizmo.position.copy()
    for step in (0.1, 0.2):
        view.key_moved(held.wxyz, start + np.array([step, 0.0, 0.0]))
    moved = view.place(session.path().cameras.cam_from_world[last.frame])[1]
    assert moved == pytest.approx(start + np.array([0.2, 0.0, 0.0]), abs=1e-4)
    drawn(lambda: not studio.page.wanted)
    assert view.gizmo is held  # it is where the hand is
    panel._pick(first.frame)  # at once: the gizmo goes to the key that is chosen
    drawn(lambda: view.gizmo is not held)
    panel._step("Undo")
    assert session.aim.keys[-1] == last  # a drag is one step


def test_frames_between_views_are_chosen(studio: Studio, tmp_path: Path) -> None:
    views = tmp_path / "a.png", tmp_path / "b.png"
    for i, view in enumerate(views):
        write_image(small_clip().video.frames[4 * i], view)
    studio.session.open(views)
    panel, project = studio.page.make, studio.session.need_project()
    drawn(lambda: panel.frames.visible and panel.frames.value == 15)
    panel.frames.value = 3
    panel._options()
    assert project.state.between_frames == 3 and project.state.picture_frames == 48


def test_an_edit_is_followed_before_it_is_filled(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, picture = tmp_path / "a.mp4", tmp_path / "edited.png"
    write_video(small_clip().video, film)
    write_image(small_clip().video.frames[2], picture)
    studio.session.open((film,))
    jobs: list[Any] = []
    monkeypatch.setattr(studio.session, "submit", jobs.append)
    panel = studio.page.edit
    drawn(lambda: panel.project is studio.session.project)
    panel.task.value = "Carry my edited frame"
    panel.picture, panel.edited_number = picture, 2
    panel._follow()
    words = list(jobs[0].words)
    assert words[words.index("--model") + 1] == "none"
    assert words[words.index("--edited-frame") + 1 :][:2] == ["2", str(picture)]


def test_time_to_go_in_all(tmp_path: Path) -> None:
    job = Job("Draft", [], tmp_path, state="running", started_s=0.0, expected_s=90.0)
    assert job.said() == "Draft: starting, about 1 min 30 s in all · 0 s so far"
    assert "in all" not in replace(job, expected_s=None).said()


def test_a_scenes_own_film_is_what_takes_are_compared_with(studio: Studio) -> None:
    session = studio.session
    session.open_scene(small_clip())
    assert session.source_frames(144).shape == (8, 3, 96, 144)
    assert session.source_frames(72).shape == (8, 3, 48, 72)
    assert not session.has_film
    with pytest.raises(RecamError, match="needs a film"):
        session.make_remove(Path("mask.png"), 0, CompleteConfig())
