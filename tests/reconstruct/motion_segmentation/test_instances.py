"""Moving things that touch in the picture are told apart; what is one thing stays whole."""

import cv2
import numpy as np
import pytest
import torch

from moving_film import HEIGHT, WIDTH, at, box, disc, film
from recam.flow.dense import FlowSet
from recam.reconstruct.motion_segmentation.instances import in_one_piece, segment_instances


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
    of, moving, flows = film(
        [
            (box(24, 50), lambda i: at(30 + 5 * i, 20)),
            (box(28, 64), lambda i: at(125 - 5 * i, 26)),
        ]
    )
    num = [int(r.max()) for r in _regions(moving)]
    assert min(num) == 1 and num[0] == num[-1] == 2
    label = segment_instances(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) > 0.9


def test_two_that_are_never_apart() -> None:
    of, moving, flows = film(
        [
            (box(30, 56), lambda i: at(50 + 1.5 * i, 22)),
            (box(30, 70), lambda i: at(76 - 1.0 * i, 24)),
        ]
    )
    assert _regions(moving).max() == 1
    label = segment_instances(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) > 0.8


def test_one_that_stood_beside_another_is_known_when_they_touch() -> None:
    """It does not move, the other comes and stops beside it: then they move alike."""
    of, moving, flows = film(
        [
            (box(26, 50), lambda i: at(110, 30)),
            (box(26, 60), lambda i: at(30 + 4 * min(i, 14), 28)),
        ]
    )
    assert _regions(moving[-5:]).max() == 1
    assert _told_apart(segment_instances(moving, flows), of) > 0.9


def test_swinging_legs_stay_with_the_walker() -> None:
    def hip(i: int, sign: int) -> np.ndarray:
        return at(40 + 2 * i, 46, sign * 0.6 * np.sin(2 * np.pi * i / 20))

    _, moving, flows = film(
        [
            (box(12, 44), lambda i: hip(i, 1)),
            (box(12, 44), lambda i: hip(i, -1)),
            (box(24, 40), lambda i: at(40 + 2 * i, 8)),
        ]
    )
    label = segment_instances(moving, flows)
    assert np.array_equal(label > 0, moving)
    assert all(len(np.unique(one)) == 2 for one in label)


def test_a_rolling_ball_is_one() -> None:
    _, moving, flows = film([(disc(22), lambda i: at(30 + 2.0 * i, 60, 2.0 * i / 22))])
    assert segment_instances(moving, flows).max() == 1


@pytest.mark.parametrize("width", [6, 9])
def test_what_is_small_stays_with_what_it_touches(width: int) -> None:
    """A small box that slides down along a large one."""
    _, moving, flows = film(
        [
            (box(50, 70), lambda i: at(60, 20)),
            (box(width, 12), lambda i: at(60, 24 + 2.0 * i)),
        ]
    )
    assert segment_instances(moving, flows).max() == 1


def test_what_never_reaches_the_ground_stays_with_what_is_below() -> None:
    """A large upper part that slides over a lower one: it has no contact of its own."""
    _, moving, flows = film(
        [
            (box(70, 40), lambda i: at(75, 50)),
            (box(40, 30), lambda i: at(55 + 2.0 * i, 24)),
        ]
    )
    assert segment_instances(moving, flows).max() == 1


def test_regions_of_one_thing_each_stay_as_they_are() -> None:
    of, moving, flows = film(
        [
            (box(20, 50), lambda i: at(30 + i, 20)),
            (box(20, 50), lambda i: at(120 - i, 20)),
        ],
        num=12,
    )
    label = segment_instances(moving, flows)
    _is_labelling(label, moving)
    assert _told_apart(label, of) == 1.0


def test_the_same_again_and_nothing_from_nothing() -> None:
    _, moving, flows = film([(box(20, 50), lambda i: at(30 + 2 * i, 20))], num=10)
    assert np.array_equal(segment_instances(moving, flows), segment_instances(moving, flows))
    assert not segment_instances(np.zeros_like(moving), flows).any()


def test_a_single_frame_has_its_regions() -> None:
    moving = np.zeros((1, HEIGHT, WIDTH), bool)
    moving[0, 10:40, 10:30] = moving[0, 50:80, 50:90] = True
    flows = FlowSet(torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8), {}, {}, ())
    label = segment_instances(moving, flows)
    _is_labelling(label, moving)
    assert len(np.unique(label)) == 3


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
