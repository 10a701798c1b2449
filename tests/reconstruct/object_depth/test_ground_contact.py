"""How deep moving things stand, and the ground that they stand on."""

import math

import numpy as np
import pytest
import torch

from recam.flow.dense import STEPS_PER_PX, FlowSet
from recam.reconstruct.object_depth.ground_contact import PriorAround, filled, place_on_ground
from recam.reconstruct.object_depth.ground_plane import find_ground
from recam.types import Cameras
from reconstruct_scene import exact_flows, make_cameras, render_world


def _confidence(truth) -> np.ndarray:
    return np.ones(truth.depth.shape, np.float32)


def test_holes_are_filled_from_around_and_the_rest_is_kept() -> None:
    rho = np.linspace(0.1, 1.0, 40, dtype=np.float32)[None, :, None].repeat(60, 2)
    hole = np.zeros(rho.shape, bool)
    hole[:, 15:25, 20:30] = True
    broken = np.where(hole, np.float32(50), rho)
    out = filled(broken, hole)
    assert np.array_equal(out[~hole], rho[~hole])
    assert np.abs(out - rho)[hole].max() < 0.15


def test_a_thing_in_the_air_keeps_the_size_that_it_has_on_the_ground() -> None:
    """A square of one size that comes down from high in the picture, where ground is far."""
    t, h, w, side = 10, 100, 80, 14
    rho = np.linspace(0.1, 1.0, h, dtype=np.float32)[None, :, None].repeat(w, 2).repeat(t, 0)
    dynamic = np.zeros(rho.shape, bool)
    top = np.minimum(20 + 8 * np.arange(t), 68)
    steps = {}
    for i in range(t):
        dynamic[i, top[i] : top[i] + side, 30 : 30 + side] = True
        for j in (i - 1, i + 1):
            if 0 <= j < t:
                steps[i, j] = torch.zeros(h, w, 2, dtype=torch.int16)
                steps[i, j][..., 1] = int(STEPS_PER_PX * (top[j] - top[i]))
    sure = {p: torch.full((h, w), 255, dtype=torch.uint8) for p in steps}
    flows = FlowSet(torch.zeros(t, h, w, dtype=torch.uint8), steps, sure, (1,))
    out = place_on_ground(np.ascontiguousarray(rho), dynamic, flows)
    ground = float(rho[-1, 68 + side, 0])
    level = [float(np.median(out[i][dynamic[i]])) for i in range(t)]
    assert level[-1] > 0.9 * ground
    assert level[0] > 0.75 * ground > 1.5 * float(rho[0, top[0] + side, 0])


def test_the_ground_is_found_under_a_wall_and_a_box() -> None:
    """Camera 1 unit above the floor: the floor's depth, and behind the box too."""
    truth = render_world(12, 96, 144)
    rho = (1 / truth.depth).astype(np.float32)
    ground = find_ground(rho, _confidence(truth), truth.cameras)
    assert ground is not None
    bottom = ground.rho[:, -1] / rho[:, -1] - 1
    assert np.abs(bottom).max() < 0.02
    assert (ground.rho[:, 2:20] < rho[:, 2:20]).all()  # nothing of the wall is below it
    assert (rho > 0.95 * ground.rho).all()


def test_a_wall_is_no_ground() -> None:
    rho = np.full((4, 48, 64), 0.5, np.float32)
    cameras = make_cameras(4, 48, 64)
    assert find_ground(rho, np.ones_like(rho), cameras) is None


def test_a_thing_stands_on_the_level_ground_where_depth_near_its_foot_is_wrong() -> None:
    truth = render_world(slide=0.05)
    rho = (1 / truth.depth).astype(np.float32)
    ground = find_ground(rho, np.where(truth.moving, 0, 1).astype(np.float32), truth.cameras)
    wrong = rho.copy()
    for i in range(len(rho)):
        y, x = np.nonzero(truth.moving[i])
        wrong[i, y.max() - 8 : y.max() + 8, x.min() - 8 : x.max() + 8] = 0.05
    out = place_on_ground(wrong, truth.moving, exact_flows(truth), ground=ground)
    assert np.allclose(np.median(out[truth.moving]), np.median(rho[truth.moving]), rtol=0.1)


def test_a_thing_that_comes_out_from_behind_a_pillar_stays_where_it_stands() -> None:
    """It looks smaller while it is half hidden, which says nothing about how far it is."""
    t, h, w, side, step = 16, 100, 120, 24, 3
    rho = np.linspace(0.1, 1.0, h, dtype=np.float32)[None, :, None].repeat(w, 2).repeat(t, 0)
    rho[:, :, 30:50] = 3.0
    dynamic = np.zeros(rho.shape, bool)
    steps = {}
    for i in range(t):
        left = 35 + step * i
        dynamic[i, 50 : 50 + side, max(left, 50) : min(left + side, w - 3)] = True
        for j in (i - 1, i + 1):
            if 0 <= j < t:
                steps[i, j] = torch.zeros(h, w, 2, dtype=torch.int16)
                steps[i, j][..., 0] = int(STEPS_PER_PX * step * (j - i))
    sure = {p: torch.full((h, w), 255, dtype=torch.uint8) for p in steps}
    flows = FlowSet(torch.zeros(t, h, w, dtype=torch.uint8), steps, sure, (1,))
    out = place_on_ground(np.ascontiguousarray(rho), dynamic, flows)
    level = np.array([float(np.median(out[i][dynamic[i]])) for i in range(t)])
    assert np.abs(level / float(rho[0, 50 + side, 0]) - 1).max() < 0.1


def test_upright_is_along_the_grounds_normal_where_the_camera_looks_down() -> None:
    """A board that faces a camera 1.5 units above the floor, pitched down by 25°: its top is an
    eighth nearer than its foot, and it is found to be so."""
    cameras = _pitched(2, 96, 128, 25.0, 1.5)
    y, x = np.mgrid[0:96, 0:128]
    rays = (
        np.stack([x + 0.5, y + 0.5, np.ones_like(x)], -1)
        @ np.linalg.inv(cameras.intrinsics[0].numpy()).T
    )
    world = rays @ cameras.cam_from_world[0, :3, :3].numpy()  # y down, z along the floor
    floor = np.maximum(world[..., 1] / 1.5, 0.02)
    board = world[..., 2] / 4.0
    height = 1.5 - world[..., 1] / np.maximum(board, 1e-6)
    region = (np.abs(world[..., 0] / board) < 0.4) & (height > 0) & (height < 1.2)
    assert board[region].max() / board[region].min() > 1.1
    rho = np.broadcast_to(floor, (2, 96, 128)).astype(np.float32)
    dynamic = np.broadcast_to(region, rho.shape)
    ground = find_ground(rho, np.where(dynamic, 0, 1).astype(np.float32), cameras)
    assert ground is not None
    flows = FlowSet(torch.zeros(2, 96, 128, dtype=torch.uint8), {}, {}, (1,))
    out = place_on_ground(np.where(dynamic, np.float32(9), rho), dynamic, flows, ground=ground)
    assert np.abs(out[0][region] / board[region] - 1).max() < 0.03


def _pitched(t: int, height: int, width: int, down_deg: float, up: float) -> Cameras:
    """Cameras that stand at (0, −up, 0), y down, and look along z, pitched down."""
    c, s = np.cos(np.radians(down_deg)), np.sin(np.radians(down_deg))
    rotation = torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rotation
    pose[:3, 3] = rotation @ torch.tensor([0.0, up, 0.0], dtype=torch.float64)
    k = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]]).double()
    return Cameras(pose.expand(t, 4, 4).clone(), k.expand(t, 3, 3).clone(), height, width)


def test_a_foot_that_is_hidden_for_a_moment_does_not_send_the_thing_away() -> None:
    """Something else that moves, in front of it, hides its lower half in two of ten frames."""
    t, h, w = 10, 80, 60
    rho = np.linspace(0.1, 1.0, h, dtype=np.float32)[None, :, None].repeat(w, 2).repeat(t, 0)
    dynamic = np.zeros(rho.shape, bool)
    dynamic[:, 20:60, 20:34] = True
    dynamic[4:6, 40:] = False
    steps = {
        (i, j): torch.zeros(h, w, 2, dtype=torch.int16)
        for i in range(t) for j in (i - 1, i + 1) if 0 <= j < t
    }  # fmt: skip
    sure = {p: torch.full((h, w), 255, dtype=torch.uint8) for p in steps}
    flows = FlowSet(torch.zeros(t, h, w, dtype=torch.uint8), steps, sure, (1,))
    out = place_on_ground(np.ascontiguousarray(rho), dynamic, flows)
    level = [float(np.median(out[i][dynamic[i]])) for i in range(t)]
    assert np.abs(np.array(level) / float(rho[0, 60, 0]) - 1).max() < 0.1


def test_who_shows_no_foot_is_as_deep_as_the_prior_says() -> None:
    """A person cut off by the lower border, before a wall: the prior has another scale in
    every frame, and bends the wall a little, but sees that he stands twice as near."""
    t, h, w = 5, 60, 90
    rho = np.broadcast_to(np.linspace(0.2, 0.3, w, dtype=np.float32), (t, h, w)).copy()
    dynamic = np.zeros((t, h, w), bool)
    for i in range(t):
        dynamic[i, 20:, 30 + i : 50 + i] = True
    true = np.where(dynamic, np.float32(0.55), rho)
    bend = np.linspace(0.95, 1.05, h)[:, None]
    prior = np.stack([(0.5 + 0.1 * i) * true[i] * bend for i in range(t)]).astype(np.float32)
    beside = PriorAround(prior, (~dynamic).astype(np.float32))
    still = FlowSet(torch.zeros(t, h, w, dtype=torch.uint8), {}, {}, (1,))
    without = place_on_ground(rho, dynamic, still)
    found = place_on_ground(rho, dynamic, still, prior=beside)
    assert np.abs(np.log(found / true)[dynamic]).max() < 0.12
    assert np.median(np.abs(np.log(without / true)[dynamic])) > 0.4
    assert np.array_equal(found[~dynamic], rho[~dynamic])


@pytest.mark.parametrize("said, expected", [(0.6, 0.6), (0.85, 0.714), (1.8, 1.8)])
def test_contact_and_prior_are_weighed_by_their_errors(said: float, expected: float) -> None:
    """Without a level ground both err alike: halfway (of log depth); much nearer is in the air."""
    rho = np.linspace(0.1, 1.0, 100, dtype=np.float32)[None, :, None].repeat(90, 2)
    dynamic = np.zeros(rho.shape, bool)
    dynamic[:, 20:55, 30:60] = True
    prior = np.where(dynamic, np.float32(said), rho)
    still = FlowSet(torch.zeros(1, 100, 90, dtype=torch.uint8), {}, {}, (1,))
    beside = PriorAround(prior, (~dynamic).astype(np.float32))
    found = place_on_ground(np.ascontiguousarray(rho), dynamic, still, prior=beside)
    assert abs(math.log(float(np.median(found[dynamic])) / expected)) < 0.03
