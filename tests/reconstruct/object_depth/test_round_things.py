"""Balls that are followed by their outlines."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from recam.configs import ALL_RULES
from recam.flow.dense import FlowSet
from recam.reconstruct.object_depth.ground_contact import place_on_ground
from recam.reconstruct.object_depth.round_things import follow_round

T, H, W = 12, 96, 128


def _ball(radius: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """bool [T, H, W]: a disc that flies to the right by more than its width a frame, whose lowest
    pixel is in row ``bottom`` [T]."""
    out = np.zeros((T, H, W), np.uint8)
    for i in range(T):
        middle = 14 + 9 * i, int(bottom[i] - radius[i])
        cv2.circle(out[i], middle, int(radius[i]), 1, -1)
    return out > 0


def _bounce() -> np.ndarray:
    """Rows of a ball that falls, touches the ground in frame 6 and goes up again."""
    return (80 - 7 * np.abs(np.arange(T) - 6)).astype(np.int64)


def test_a_ball_with_other_labels_in_every_frame_is_one_thing() -> None:
    radius = np.linspace(6, 10, T).round()
    ball = _ball(radius, _bounce())
    label = np.where(ball, np.arange(1, T + 1)[:, None, None], 0).astype(np.int32)
    label[4:7][ball[4:7] & (np.arange(W) % 20 < 8)] = 30  # and torn in some
    found, log_size = follow_round(label, np.where(ball, 200, 50).astype(np.uint8))
    assert len(log_size) == 1
    (number,) = log_size
    assert ((found == number) == ball).all()
    assert np.allclose(np.exp(log_size[number]), 2 * radius, rtol=0.03)


def test_what_is_not_round_or_another_colour_keeps_its_labels() -> None:
    label = np.zeros((T, H, W), np.int32)
    label[:, 20:80, 20:40] = 1  # a person
    label[:, 40:60, 80:100] = 2  # a box
    found, log_size = follow_round(label, np.zeros(label.shape, np.uint8))
    assert not log_size and (found == label).all()
    ball = _ball(np.full(T, 8), _bounce()).astype(np.int32)
    gray = np.where(ball > 0, 21 * np.arange(T)[:, None, None], 0).astype(np.uint8)
    assert not follow_round(ball, gray)[1]


@pytest.mark.parametrize("follow", [True, False])
def test_a_bouncing_ball_is_as_near_as_where_it_touches_the_ground(follow: bool) -> None:
    """Its flow is not known at all. Without its outline it flies off to the ground behind it."""
    ball = _ball(np.full(T, 8), _bounce())
    rho = np.linspace(0.1, 1.0, H, dtype=np.float32)[None, :, None].repeat(W, 2).repeat(T, 0)
    gray = torch.from_numpy(np.where(ball, 200, 50).astype(np.uint8))
    flows = FlowSet(gray, {}, {}, (1,))
    rules = replace(ALL_RULES, round_outlines=follow)
    out = place_on_ground(np.ascontiguousarray(rho), ball, flows, rules=rules)
    level = np.array([np.median(out[i][ball[i]]) for i in range(T)])
    off = np.abs(np.log(level / rho[0, 81, 0]))
    assert off.max() < 0.1 if follow else off.max() > 0.4
