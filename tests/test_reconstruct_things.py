"""Moving things as wholes, and their depth over time."""

import numpy as np
import torch

from recam.reconstruct.flow import STEPS_PER_PX, FlowSet
from recam.reconstruct.ground import ground_rho
from recam.reconstruct.standing import stand
from recam.reconstruct.things import cut, filled, settled, superpixels, whole_things
from reconstruct_scene import exact_flows, make_cameras, render_world


def _rgb(truth) -> np.ndarray:
    return np.ascontiguousarray(truth.video.frames.permute(0, 2, 3, 1).numpy())


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max(1, (a | b).sum())


def _confidence(truth) -> np.ndarray:
    return np.ones(truth.depth.shape, np.float32)


def test_pieces_keep_to_the_borders_of_colours() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, 23:] = 200
    label, num = superpixels(rgb, 6)
    assert label.shape == (40, 60)
    assert label.min() >= 0
    assert label.max() < num
    assert not set(label[:, :22].ravel()) & set(label[:, 24:].ravel())


def test_what_moves_alike_holds_together_more_than_what_looks_alike() -> None:
    truth = render_world(slide=0.08)
    pieces = cut(_rgb(truth), exact_flows(truth))
    moves = pieces.mean(truth.moving) > 0.5
    a, b = pieces.neighbours.T
    length = np.ones(len(a))
    across = moves[a] != moves[b]
    assert (pieces.hold / length)[across].mean() < 0.5 * (pieces.hold / length)[~across].mean()


def test_pieces_that_nothing_is_known_of_go_with_their_neighbours() -> None:
    truth = render_world(slide=0.08)
    pieces = cut(_rgb(truth), exact_flows(truth))
    moves = (pieces.mean(truth.moving) > 0.5).astype(float)
    known = np.random.default_rng(0).random(len(moves)) < 0.3
    found = settled(pieces, np.where(known, moves, 0.5), np.where(known, 1.0, 1e-3))
    assert ((found > 0.5) == (moves > 0.5)).mean() > 0.95


def test_a_part_of_a_thing_becomes_the_whole_thing() -> None:
    """The first opinion has the box's upper half only."""
    truth = render_world(12, 96, 144, slide=0.08)
    first = truth.moving.copy()
    for i in range(len(first)):
        rows = np.flatnonzero(first[i].any(1))
        first[i, rows[len(rows) // 2] :] = False
    rho = (1 / truth.depth).astype(np.float32)
    found = whole_things(
        _rgb(truth), exact_flows(truth), truth.cameras, first, rho, _confidence(truth), 0.5
    )
    assert _overlap(found, truth.moving) > 0.8 > _overlap(first, truth.moving)


def test_a_still_world_stays_still() -> None:
    truth = render_world(12, 96, 144)
    rho = (1 / truth.depth).astype(np.float32)
    nothing = np.zeros(rho.shape, bool)
    found = whole_things(
        _rgb(truth), exact_flows(truth), truth.cameras, nothing, rho, _confidence(truth), 0.5
    )
    assert found.mean() < 0.005


def test_things_before_a_tripod() -> None:
    cameras = make_cameras(12, 96, 144, shift=0.0, turn=0.0)
    truth = render_world(12, 96, 144, slide=0.08, cameras=cameras)
    nothing = np.zeros(truth.depth.shape, bool)
    found = whole_things(_rgb(truth), exact_flows(truth), cameras, nothing)
    assert _overlap(found, truth.moving) > 0.7


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
    out = stand(np.ascontiguousarray(rho), dynamic, flows)
    ground = float(rho[-1, 68 + side, 0])
    level = [float(np.median(out[i][dynamic[i]])) for i in range(t)]
    assert level[-1] > 0.9 * ground
    assert level[0] > 0.75 * ground > 1.5 * float(rho[0, top[0] + side, 0])


def test_the_ground_is_found_under_a_wall_and_a_box() -> None:
    """Camera 1 unit above the floor: the floor's depth, and behind the box too."""
    truth = render_world(12, 96, 144)
    rho = (1 / truth.depth).astype(np.float32)
    ground = ground_rho(rho, _confidence(truth), truth.cameras)
    assert ground is not None
    bottom = ground[:, -1] / rho[:, -1] - 1
    assert np.abs(bottom).max() < 0.02
    assert (ground[:, 2:20] < rho[:, 2:20]).all()  # nothing of the wall is below it
    assert (rho > 0.95 * ground).all()


def test_a_wall_is_no_ground() -> None:
    rho = np.full((4, 48, 64), 0.5, np.float32)
    cameras = make_cameras(4, 48, 64)
    assert ground_rho(rho, np.ones_like(rho), cameras) is None


def test_a_thing_stands_on_the_level_ground_where_depth_near_its_foot_is_wrong() -> None:
    truth = render_world(slide=0.05)
    rho = (1 / truth.depth).astype(np.float32)
    ground = ground_rho(rho, np.where(truth.moving, 0, 1).astype(np.float32), truth.cameras)
    wrong = rho.copy()
    for i in range(len(rho)):
        y, x = np.nonzero(truth.moving[i])
        wrong[i, y.max() - 8 : y.max() + 8, x.min() - 8 : x.max() + 8] = 0.05
    out = stand(wrong, truth.moving, exact_flows(truth), ground=ground)
    assert np.allclose(np.median(out[truth.moving]), np.median(rho[truth.moving]), rtol=0.1)
