"""Aiming: keys mean the same place in every scene, undo goes back, a preset shrinks evenly."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from recam.apps.studio.aim import (
    Aim,
    History,
    Key,
    key_at,
    key_camera,
    path_config,
    retimed,
    source_fov_deg,
    with_key,
    without_key,
)
from recam.configs import PathConfig
from recam.geometry import intrinsics_from_fov, se3, so3_exp
from recam.runtime.records import Record, as_dataclass
from recam.tasks.unseen import scaled
from recam.trajectories import make_path
from recam.trajectories.presets import DEFAULTS
from recam.types import Cameras

FOCUS = 2.5


def random_cameras(n: int = 9, seed: int = 0) -> Cameras:
    generator = torch.Generator().manual_seed(seed)
    turn = 0.2 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    shift = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    intrinsics = intrinsics_from_fov(50.0, 60, 90).repeat(n, 1, 1)
    return Cameras(se3(so3_exp(turn), shift), intrinsics, 60, 90)


def test_a_key_gives_its_camera_back() -> None:
    source, other = random_cameras(), random_cameras(seed=1)
    for frame in range(9):
        pose = other.cam_from_world[frame]
        key = key_at(frame, pose, 40.0, source, FOCUS)
        assert torch.allclose(key_camera(key, source, FOCUS), pose, atol=1e-12)


def test_a_key_means_the_same_place_in_a_scene_of_other_units() -> None:
    """The draft and the full scene differ by a scale and by where their worlds begin."""
    source, pose = random_cameras(), random_cameras(seed=1).cam_from_world[4]
    key = key_at(4, pose, 40.0, source, FOCUS)
    scale, world = (
        3.7,
        se3(so3_exp(torch.tensor([0.3, -0.2, 0.9]).double()[None]), torch.ones(1, 3).double())[0],
    )

    def carried(poses: torch.Tensor) -> torch.Tensor:
        out = poses @ world
        out[..., :3, 3] *= scale
        return out

    moved = dataclasses.replace(source, cam_from_world=carried(source.cam_from_world))
    found = key_camera(key, moved, scale * FOCUS)
    assert torch.allclose(found, carried(pose[None])[0], atol=1e-10)


def test_a_path_of_keys_meets_every_key(tmp_path: Path) -> None:
    source, poses = random_cameras(), random_cameras(seed=2).cam_from_world
    aim = Aim()
    for frame, fov in ((7, 60.0), (0, 40.0), (3, 50.0)):
        aim = with_key(aim, key_at(frame, poses[frame], fov, source, FOCUS))
    assert [k.frame for k in aim.keys] == [0, 3, 7] and aim.mode == "keys"
    config = path_config(aim, source, FOCUS, tmp_path / "keys.json")
    assert config is not None
    path = make_path(source, FOCUS, config)
    for key in aim.keys:
        assert torch.allclose(path.cameras.cam_from_world[key.frame], poses[key.frame], atol=1e-8)
        assert source_fov_deg(path.cameras, key.frame) == pytest.approx(key.fov_deg, abs=1e-6)


def test_retiming_keeps_the_camera_where_it_is() -> None:
    source, pose = random_cameras(), random_cameras(seed=2).cam_from_world[0]
    aim = with_key(Aim(), key_at(2, pose, 40.0, source, FOCUS))
    aim = retimed(aim, 2, 6, source, FOCUS)
    assert [k.frame for k in aim.keys] == [6]
    assert torch.allclose(key_camera(aim.keys[0], source, FOCUS), pose, atol=1e-12)
    assert retimed(aim, 5, 1, source, FOCUS) is aim
    assert without_key(aim, 6).keys == ()


def test_no_key_and_no_file_are_no_path(tmp_path: Path) -> None:
    source = random_cameras()
    for mode in ("keys", "file"):
        assert path_config(Aim(mode=mode), source, FOCUS, tmp_path / "k.json") is None  # type: ignore[arg-type]
    preset = path_config(Aim(focus_depth=2.0), source, FOCUS, tmp_path / "k.json")
    assert preset == PathConfig(focus_depth=5.0)


@pytest.mark.parametrize("name", [n for n in DEFAULTS if DEFAULTS[n]])
def test_a_preset_shrinks_to_nothing(name: str) -> None:
    source = random_cameras()
    preset = PathConfig(name, speed="linear")
    none = make_path(source, FOCUS, scaled(preset, 0.0))
    base = source[none.source_frames]
    assert torch.allclose(none.cameras.cam_from_world, base.cam_from_world, atol=1e-9)
    whole, same = make_path(source, FOCUS, preset), make_path(source, FOCUS, scaled(preset, 1.0))
    assert torch.allclose(whole.cameras.cam_from_world, same.cameras.cam_from_world, atol=1e-9)


def test_history_goes_back_and_forward() -> None:
    steps = [Aim(), Aim(limit=0.1), Aim(limit=0.2), Aim(limit=0.3)]
    history = History(steps[0])
    assert not history.undo() and not history.redo()
    for step in steps[1:]:
        assert history.push(step) and not history.push(step)
    for step in reversed(steps[:-1]):
        assert history.undo() and history.now == step
    assert history.redo() and history.now == steps[1]
    history.push(Aim(limit=0.9))
    assert not history.redo() and history.undo() and history.now == steps[1]


def test_an_aim_survives_json() -> None:
    key = Key(3, tuple(float(v) for v in range(16)), 41.5)
    aim = Aim("keys", PathConfig("dolly", distance=0.3), (key,), limit=0.1, focus_depth=1.25)
    there = json.loads(json.dumps(dataclasses.asdict(aim)))
    assert as_dataclass(Record(there, "a.json"), Aim) == aim
    for field, value in (("mode", "mood"), ("limit", "x"), ("preset", 3), ("keys", [{"frame": 1}])):
        with pytest.raises(ValueError, match=rf"a\.json: {field}"):
            as_dataclass(Record({**there, field: value}, "a.json"), Aim)


def test_one_move_of_a_control_is_one_step() -> None:
    history = History(Aim())
    for yaw in (1.0, 2.0, 3.0):
        history.push(Aim(preset=PathConfig(yaw=yaw)), "yaw")
    history.push(Aim(preset=PathConfig(yaw=3.0, pitch=1.0)), "pitch")
    assert history.undo() and history.now.preset.yaw == 3.0
    assert history.undo() and history.now == Aim() and not history.undo()
    history.push(Aim(limit=0.5), "pitch")
    assert history.undo() and history.now == Aim()
