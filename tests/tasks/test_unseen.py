"""The share of a move that nobody filmed, and the largest move that keeps it below a limit."""

from dataclasses import replace

import pytest
import torch

from recam.configs import PathConfig
from recam.geometry import intrinsics_from_fov
from recam.tasks.unseen import limited_move, path_in_scene, read_share, unseen_share
from recam.trajectories import path_for_scene
from recam.types import Cameras, RecamError, Scene
from task_clips import moving_thing


def wall() -> Scene:
    """A still camera before a wall that fills its picture."""
    video = moving_thing(4, thing_seed=None)
    n, (h, w) = len(video), (video.height, video.width)
    poses = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    intrinsics = intrinsics_from_fov(60.0, h, w).repeat(n, 1, 1)
    nothing = torch.zeros(n, h, w, dtype=torch.bool)
    depth = torch.full((n, h, w), 4.0)
    cameras = Cameras(poses, intrinsics, h, w)
    return Scene(video, cameras, depth, ~nothing, nothing, torch.ones_like(depth))


def test_a_pan_shows_as_much_unseen_as_it_turns() -> None:
    scene = wall()
    shares = unseen_share(scene, path_for_scene(scene, PathConfig("pan", yaw=15.0)))
    assert float(shares[0]) < 0.01
    assert torch.all(shares.diff() > 0)
    # tan 30° of half the picture's width is focal length 1: turning by 15° leaves tan(30 − 15).
    expected = 1 - (0.5 + 0.5 * torch.tan(torch.tensor(torch.pi / 12)) / 0.5774)
    assert float(shares[-1]) == pytest.approx(float(expected), abs=0.04)


def test_a_limit_scales_the_move_down() -> None:
    scene = wall()
    asked = PathConfig("pan", yaw=15.0)
    limited, worst = limited_move(scene, asked, 0.1)
    assert 1.0 < limited.yaw < 14.0 and 0.05 < worst <= 0.1
    assert limited_move(scene, replace(asked, yaw=limited.yaw), 0.1)[0].yaw == limited.yaw
    assert limited_move(scene, replace(asked, yaw=-15.0), 0.1)[0].yaw == pytest.approx(
        -limited.yaw, abs=0.5
    )
    path, note = path_in_scene(scene, replace(asked, max_unseen="10%"))
    assert torch.equal(
        path.cameras.cam_from_world, path_for_scene(scene, limited).cameras.cam_from_world
    )
    assert "pan: yaw" in note and "limited by --max-unseen 10%" in note
    assert "as asked for" in path_in_scene(scene, replace(asked, max_unseen="0.9"))[1]


def test_bad_limits_are_told() -> None:
    assert read_share("15%") == read_share("0.15") == 0.15
    for bad in ("much", "150%", "-1", "nan"):
        with pytest.raises(RecamError, match=r"15% or 0\.15"):
            read_share(bad)
    with pytest.raises(RecamError, match="is a file"):
        limited_move(wall(), PathConfig("cameras.json"), 0.1)
