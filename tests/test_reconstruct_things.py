"""Moving things that touch in the picture are told apart; what is one thing stays whole."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from recam.reconstruct.flow import STEPS_PER_PX, FlowSet
from recam.reconstruct.moving_points import contract
from recam.reconstruct.things import in_one_piece, tell_apart

HEIGHT, WIDTH = 96, 160
Pose = Callable[[int], np.ndarray]
Thing = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Pose]


def _box(width: float, height: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A box that hangs down from its own origin."""
    return lambda x, y: (np.abs(x) < width / 2) & (y > 0) & (y < height)


def _disc(radius: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda x, y: x * x + y * y < radius * radius


def _at(x: float, y: float, angle: float = 0.0) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1.0]])


def _film(
    things: list[Thing], num: int = 20, floor: int = HEIGHT
) -> tuple[np.ndarray, np.ndarray, FlowSet]:
    """Which thing [t, h, w] is seen where (0 = none; later ones are in front), what moves, and the
    exact flows; what is hidden in the other frame has no confidence."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    of = np.zeros((num, HEIGHT, WIDTH), np.int32)
    for i in range(num):
        for n, (inside, pose) in enumerate(things, 1):
            own = np.linalg.inv(pose(i)) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
            of[i][inside(own[0], own[1]).reshape(x.shape)] = n
        of[i, floor:] = 0
    steps, sure = {}, {}
    for k in (1, 2, 4, 8):
        for i in range(num):
            for j in (i - k, i + k):
                if not 0 <= j < num:
                    continue
                flow = np.zeros((HEIGHT, WIDTH, 2))
                for n, (_, pose) in enumerate(things, 1):
                    there = (
                        pose(j)
                        @ np.linalg.inv(pose(i))
                        @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
                    )
                    moved = (there[:2] - np.stack([x, y]).reshape(2, -1)).T.reshape(*x.shape, 2)
                    flow[of[i] == n] = moved[of[i] == n]
                u, v = np.floor(x + flow[..., 0]), np.floor(y + flow[..., 1])
                inside = (u >= 0) & (v >= 0) & (u < WIDTH) & (v < HEIGHT)
                u, v = (np.clip(a, 0, m - 1).astype(int) for a, m in ((u, WIDTH), (v, HEIGHT)))
                seen = inside & (of[j][v, u] == of[i])
                steps[i, j] = torch.from_numpy(np.rint(flow * STEPS_PER_PX).astype(np.int16))
                sure[i, j] = torch.from_numpy((255 * seen).astype(np.uint8))
    gray = torch.full((num, HEIGHT, WIDTH), 128, dtype=torch.uint8)
    return of, of > 0, FlowSet(gray, steps, sure, (1, 2, 4, 8))


def _regions(moving: np.ndarray) -> np.ndarray:
    return np.stack(
        [cv2.connectedComponents(m.astype(np.uint8), connectivity=4)[1] for m in moving]
    )


def _told_apart(label: np.ndarray, of: np.ndarray) -> float:
    """The least share, over things and the frames that show most of them, of a thing's pixels that
    have its usual label, and of that label's pixels that are the thing's."""
    least = 1.0
    for n in range(1, of.max() + 1):
        usual = int(np.bincount(label[of == n]).argmax())
        whole = max((mine == n).sum() for mine in of)
        for one, mine in zip(label, of):
            if (mine == n).sum() > 0.6 * whole:
                both = ((one == usual) & (mine == n)).sum()
                least = min(least, both / (mine == n).sum(), both / max((one == usual).sum(), 1))
    return float(least)


def _is_labelling(label: np.ndarray, moving: np.ndarray) -> None:
    assert label.dtype == np.int32
    assert np.array_equal(label > 0, moving)
    for one in label:
        for n in np.unique(one[one > 0]):
            assert cv2.connectedComponents((one == n).astype(np.uint8), connectivity=4)[0] == 2


def test_two_that_cross_keep_their_numbers() -> None:
    """Apart at first and at last, one region of the mask in between."""
    of, moving, flows = _film(
        [
            (_box(24, 50), lambda i: _at(30 + 5 * i, 20)),
            (_box(28, 64), lambda i: _at(125 - 5 * i, 26)),
        ]
    )
    num = [int(r.max()) for r in _regions(moving)]
    assert min(num) == 1 and num[0] == num[-1] == 2
    label = tell_apart(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) > 0.9


def test_two_that_are_never_apart() -> None:
    of, moving, flows = _film(
        [
            (_box(30, 56), lambda i: _at(50 + 1.5 * i, 22)),
            (_box(30, 70), lambda i: _at(76 - 1.0 * i, 24)),
        ]
    )
    assert _regions(moving).max() == 1
    label = tell_apart(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) > 0.8


def test_one_that_stood_beside_another_is_known_when_they_touch() -> None:
    """It does not move, the other comes and stops beside it: then they move alike."""
    of, moving, flows = _film(
        [
            (_box(26, 50), lambda i: _at(110, 30)),
            (_box(26, 60), lambda i: _at(30 + 4 * min(i, 14), 28)),
        ]
    )
    assert _regions(moving[-5:]).max() == 1
    assert _told_apart(tell_apart(moving, flows), of) > 0.9


def test_swinging_legs_stay_with_the_walker() -> None:
    def hip(i: int, sign: int) -> np.ndarray:
        return _at(40 + 2 * i, 46, sign * 0.6 * np.sin(2 * np.pi * i / 20))

    _, moving, flows = _film(
        [
            (_box(12, 44), lambda i: hip(i, 1)),
            (_box(12, 44), lambda i: hip(i, -1)),
            (_box(24, 40), lambda i: _at(40 + 2 * i, 8)),
        ]
    )
    label = tell_apart(moving, flows)
    assert np.array_equal(label > 0, moving)
    assert all(len(np.unique(one)) == 2 for one in label)


def test_a_rolling_ball_is_one() -> None:
    _, moving, flows = _film([(_disc(22), lambda i: _at(30 + 2.0 * i, 60, 2.0 * i / 22))])
    assert tell_apart(moving, flows).max() == 1


@pytest.mark.parametrize("width", [6, 9])
def test_what_is_small_stays_with_what_it_touches(width: int) -> None:
    """A small box that slides down along a large one."""
    _, moving, flows = _film(
        [
            (_box(50, 70), lambda i: _at(60, 20)),
            (_box(width, 12), lambda i: _at(60, 24 + 2.0 * i)),
        ]
    )
    assert tell_apart(moving, flows).max() == 1


def test_what_never_reaches_the_ground_stays_with_what_is_below() -> None:
    """A large upper part that slides over a lower one: it has no contact of its own."""
    _, moving, flows = _film(
        [
            (_box(70, 40), lambda i: _at(75, 50)),
            (_box(40, 30), lambda i: _at(55 + 2.0 * i, 24)),
        ]
    )
    assert tell_apart(moving, flows).max() == 1


def test_regions_of_one_thing_each_stay_as_they_are() -> None:
    of, moving, flows = _film(
        [
            (_box(20, 50), lambda i: _at(30 + i, 20)),
            (_box(20, 50), lambda i: _at(120 - i, 20)),
        ],
        num=12,
    )
    label = tell_apart(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) == 1.0


def test_the_same_again_and_nothing_from_nothing() -> None:
    _, moving, flows = _film([(_box(20, 50), lambda i: _at(30 + 2 * i, 20))], num=10)
    assert np.array_equal(tell_apart(moving, flows), tell_apart(moving, flows))
    assert not tell_apart(np.zeros_like(moving), flows).any()


def test_a_single_frame_has_its_regions() -> None:
    moving = np.zeros((1, HEIGHT, WIDTH), bool)
    moving[0, 10:40, 10:30] = moving[0, 50:80, 50:90] = True
    flows = FlowSet(torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8), {}, {}, ())
    label = tell_apart(moving, flows)
    _is_labelling(label, moving)
    assert len(np.unique(label)) == 3


def test_what_holds_together_in_sum_is_joined() -> None:
    """Two triangles; one bridge attracts, two repel more in sum."""
    links = [(0, 1, 1), (1, 2, 1), (0, 2, 1), (3, 4, 1), (4, 5, 1), (3, 5, 1)]
    links += [(2, 3, 0.9), (1, 4, -0.6), (0, 5, -0.6)]
    a, b, weight = (np.array(one) for one in zip(*links))
    group = contract(6, a, b, weight)
    assert len(set(group[:3])) == len(set(group[3:])) == 1 and group[0] != group[3]
    assert len(set(contract(6, a, b, np.where(weight < 0, -0.4, weight)))) == 1
    assert len(set(contract(3, a[:0], b[:0], weight[:0]))) == 3


def test_every_label_is_in_one_piece_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        label = rng.integers(1, 4, (20, 30)).astype(np.int32)
        label[:, 20:] *= rng.random((20, 10)) > 0.2
        inside = cv2.connectedComponents((label > 0).astype(np.uint8), connectivity=4)[1] == 1
        label *= inside
        out = in_one_piece(label)
        assert np.array_equal(out > 0, inside)
        _is_labelling(out[None], inside[None])
