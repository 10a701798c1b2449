"""Points on what moves are followed, and those that move together hold together."""

import cv2
import numpy as np
import torch

from moving_film import HEIGHT, WIDTH, at, box, film
from recam.flow.dense import STEPS_PER_PX, FlowSet
from recam.reconstruct.motion_segmentation.trajectory_clustering import (
    contract,
    follow,
    groups,
    motion_of,
    well_apart,
)


def test_points_stay_where_they_are_on_a_thing() -> None:
    _, moving, flows = film([(box(40, 50), lambda i: at(40 + 2.5 * i, 20 + 0.5 * i))])
    points = follow(moving, flows)
    assert points.num == 1 + max(int(ids[-1]) for ids in points.ids)
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px)):
        x, y = uv.astype(int).T
        assert (np.diff(ids) > 0).all() and moving[i, y, x].all()
        assert len(ids) > 0.9 * moving[i].sum() / points.cell**2
    here, motion = motion_of(points, 0, 8)
    assert len(here) > 0.7 * len(points.ids[0])
    assert np.abs(motion - (2.5, 0.5)).max() < 0.05


def test_motion_is_what_is_beyond_that_of_the_still_picture() -> None:
    """The camera pans: everything moves by 3 px, and the thing by 1 px more."""
    _, moving, flows = film([(box(40, 50), lambda i: at(30 + i, 20))], num=10)
    pan = int(3 * STEPS_PER_PX)
    steps = {p: f + torch.tensor([pan * (p[1] - p[0]), 0], dtype=torch.int16)
             for p, f in flows.steps.items()}  # fmt: skip
    moving = np.stack([np.roll(m, 3 * i, 1) for i, m in enumerate(moving)])
    steps = {p: torch.roll(f, 3 * p[0], 1) for p, f in steps.items()}
    sure = {p: torch.roll(f, 3 * p[0], 1) for p, f in flows.confidence_u8.items()}
    points = follow(moving, FlowSet(flows.gray, steps, sure, flows.offsets))
    _, motion = motion_of(points, 0, 4)
    assert len(motion) > 50 and np.abs(motion - (1, 0)).max() < 0.05


def test_points_of_two_things_are_in_different_groups() -> None:
    of, moving, flows = film(
        [(box(24, 50), lambda i: at(60 + i, 20)), (box(24, 60), lambda i: at(75 - i, 22))]
    )
    points = follow(moving, flows)
    region = [cv2.connectedComponents(m.astype(np.uint8), connectivity=4)[1] for m in moving]
    group = groups(points, np.stack(region), flows)
    usual = {}
    for n in (1, 2):
        own = np.concatenate(
            [ids[of[i][tuple(uv.astype(int).T[::-1])] == n]
             for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px))]
        )  # fmt: skip
        count = np.bincount(group[own])
        usual[n] = int(count.argmax())
        assert count.max() > 0.7 * len(own)
    assert usual[1] != usual[2]


def test_only_regions_well_apart_are_compared() -> None:
    _, moving, flows = film(
        [(box(20, 50), lambda i: at(30, 20)), (box(20, 50), lambda i: at(100 + 2 * i, 20))], num=12
    )
    region = np.stack(
        [cv2.connectedComponents(m.astype(np.uint8), connectivity=4)[1] for m in moving]
    )
    points = follow(moving, flows)
    a, b, unlike = well_apart(points, region)
    first = np.zeros(points.num, bool)
    for ids, uv in zip(points.ids, points.uv_px):
        first[ids] = uv[:, 0] < 60
    assert len(a) > 100 and (first[a] != first[b]).all()
    assert (unlike > 4).all()
    assert not len(well_apart(points, (region > 0).astype(np.int32))[0])


def test_no_points_where_nothing_moves() -> None:
    flows = FlowSet(torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8), {}, {}, ())
    points = follow(np.zeros((1, HEIGHT, WIDTH), bool), flows)
    assert points.num == 0 and not len(points.ids[0])


def test_what_holds_together_in_sum_is_joined() -> None:
    """Two triangles; one bridge attracts, two repel more in sum."""
    links = [(0, 1, 1), (1, 2, 1), (0, 2, 1), (3, 4, 1), (4, 5, 1), (3, 5, 1)]
    links += [(2, 3, 0.9), (1, 4, -0.6), (0, 5, -0.6)]
    a, b, weight = (np.array(one) for one in zip(*links))
    group = contract(6, a, b, weight)
    assert len(set(group[:3])) == len(set(group[3:])) == 1 and group[0] != group[3]
    assert len(set(contract(6, a, b, np.where(weight < 0, -0.4, weight)))) == 1
    assert len(set(contract(3, a[:0], b[:0], weight[:0]))) == 3
