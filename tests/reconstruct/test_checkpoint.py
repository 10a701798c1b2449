"""What is kept of a reconstruction that was killed, and that going on from it changes nothing."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.configs import ReconstructConfig
from recam.reconstruct import reconstruct
from recam.reconstruct.checkpoint import Checkpoint, as_text, forget_abandoned, from_text
from recam.types import Scene, Video
from reconstruct_scene import make_cameras, render_world


def test_a_step_is_done_once(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept")
    calls = []

    def work() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros((2, 2), bool), "c": as_text([1])}

    first, again = kept.arrays("step", work), kept.arrays("step", work)
    assert len(calls) == 1 and set(first) == set(again)
    assert np.array_equal(first["a"], again["a"]) and again["b"].dtype == bool
    assert type(again["a"]) is np.ndarray and from_text(again["c"]) == [1]
    again["a"][0, 0] = 7  # in memory only
    assert kept.arrays("step", work)["a"][0, 0] == 0
    kept.forget("step")
    kept.arrays("step", work)
    assert len(calls) == 2
    kept.forget_all()
    assert not (tmp_path / "kept").exists()


def test_two_processes_may_do_the_same_step(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept")

    def work() -> dict[str, np.ndarray]:
        return {"a": np.arange(4.0)}

    def while_another_does_it() -> dict[str, np.ndarray]:
        kept.arrays("step", work)
        return work()

    def while_another_ends() -> dict[str, np.ndarray]:
        kept.forget_all()
        return work()

    for slow in (while_another_does_it, while_another_ends):
        assert np.array_equal(kept.arrays("step", slow)["a"], np.arange(4.0))
        assert [p.name for p in (tmp_path / "kept").iterdir()] == ["step"]
        kept.forget_all()


def test_what_was_abandoned_is_deleted(tmp_path: Path) -> None:
    for name in ("old", "new"):
        Checkpoint(tmp_path / name).arrays("step", lambda: {"a": np.zeros(3)})
    os.utime(tmp_path / "old", (0, 0))
    forget_abandoned(tmp_path)
    forget_abandoned(tmp_path / "not there")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_step_that_fails_is_not_kept(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path)

    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        kept.arrays("step", fail)
    assert list(tmp_path.iterdir()) == []


class _Killed(Exception):
    pass


def _killed_at(name: str):
    def progress(what: str, done: int, total: int) -> None:
        if what == name and done == total:
            raise _Killed

    return progress


@pytest.fixture(scope="module")
def video() -> Video:
    return render_world(10, 72, 108, 0.05, make_cameras(10, 72, 108, 0.08, 0.006)).video


@pytest.fixture(scope="module")
def whole(video: Video) -> Scene:
    return reconstruct(video, ReconstructConfig(depth_model="stage"))


def test_a_killed_reconstruction_goes_on(video: Video, whole: Scene, tmp_path: Path) -> None:
    """Killed in its first round, then in its second, it ends in the same scene, bit for bit; and
    what was done is not done again."""
    config = ReconstructConfig(depth_model="stage")
    kept = Checkpoint(tmp_path / "kept")
    for at in ("triangulating", "matching again"):
        with pytest.raises(_Killed):
            reconstruct(video, config, _killed_at(at), kept=kept)
    seen = set()
    again = reconstruct(video, config, lambda what, *_: seen.add(what), kept=kept)
    assert torch.equal(again.depth, whole.depth) and torch.equal(again.dynamic, whole.dynamic)
    assert torch.equal(again.cameras.cam_from_world, whole.cameras.cam_from_world)
    assert again.report["notes"] == whole.report["notes"]
    assert "matching again" in seen
    assert not seen & {"cameras", "triangulating", "matching", "following patches"}


def test_nothing_is_left_of_a_finished_one(video: Video, tmp_path: Path) -> None:
    reconstruct(video, ReconstructConfig(depth_model="stage"), kept=Checkpoint(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()
