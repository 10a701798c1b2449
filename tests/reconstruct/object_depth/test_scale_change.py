"""How much larger things look from frame to frame tells how much nearer they come."""

import numpy as np
import pytest
import torch

from recam.flow.dense import STEPS_PER_PX, FlowSet
from recam.reconstruct.object_depth.ground_contact import place_on_ground
from recam.reconstruct.object_depth.scale_change import relative_scale

T, H, W = 10, 120, 100
RATE = np.log(0.985)


def _walker(foot: float, height: float, horizon: float = 40.0):
    """A thing ``height`` px high at first, that shrinks towards the horizon while it goes away:
    masks [t, h, w], and flows of it."""
    masks, steps = np.zeros((T, H, W), bool), {}
    y, x = np.mgrid[0:H, 0:W] + 0.5
    for i in range(T):
        scale = np.exp(RATE * i)
        low, top = (horizon + scale * (v - horizon) for v in (foot, foot - height))
        masks[i] = (y > top) & (y < low) & (np.abs(x - 50) < 12 * scale)
    for i in range(T):
        for k in (1, 2, 4):
            for j in (i - k, i + k):
                if 0 <= j < T:
                    grow = np.exp(RATE * (j - i)) - 1
                    flow = np.stack([(x - 50) * grow, (y - horizon) * grow], -1)
                    flow[~masks[i]] = 0
                    steps[i, j] = torch.from_numpy((STEPS_PER_PX * flow).round().astype(np.int16))
    sure = {pair: torch.full((H, W), 255, dtype=torch.uint8) for pair in steps}
    return masks, FlowSet(torch.zeros(T, H, W, dtype=torch.uint8), steps, sure, (1, 2, 4))


def test_what_shrinks_by_one_and_a_half_percent_a_frame_is_said_to() -> None:
    masks, flows = _walker(110, 60)
    found = relative_scale(masks.astype(np.int32), flows)[1]
    assert found.frames.tolist() == list(range(T)) and len(set(found.piece.tolist())) == 1
    assert np.allclose(np.diff(found.log_size), RATE, atol=0.003)


def test_limbs_that_swing_and_turning_about_the_vertical_change_little() -> None:
    masks, flows = _walker(110, 60)
    for (i, j), step in flows.steps.items():
        rows = np.nonzero(masks[i].any(1))[0]
        legs = slice(int(rows[int(0.75 * len(rows))]), H)
        step[legs, :, 0] += int(STEPS_PER_PX * 2 * (j - i) * (-1) ** i)
        step[..., 0] = (0.7 * step[..., 0].float()).to(torch.int16)
    found = relative_scale(masks.astype(np.int32), flows)[1]
    assert np.allclose(np.diff(found.log_size), RATE, atol=0.004)


def test_frames_that_nothing_ties_are_pieces_of_their_own() -> None:
    masks, flows = _walker(110, 60)
    for pair in [p for p in flows.steps if (p[0] < 5) != (p[1] < 5)]:
        flows.confidence_u8[pair][:] = 0
    found = relative_scale(masks.astype(np.int32), flows)[1]
    assert (found.piece[:5] == found.piece[0]).all() and (found.piece[5:] == found.piece[5]).all()
    assert found.piece[0] != found.piece[5]


def test_nothing_to_follow_gives_nothing() -> None:
    masks, flows = _walker(110, 60)
    assert relative_scale(np.zeros(masks.shape, np.int32), flows) == {}
    assert (
        relative_scale(np.where(masks & (np.arange(H)[:, None] < 45), 1, 0).astype(np.int32), flows)
        == {}
    )


@pytest.mark.parametrize("foot", [110, 125])
def test_a_thing_whose_foot_is_out_of_the_picture_is_as_near_as_it_looks_large(foot: int) -> None:
    """Its foot comes into the picture after some frames, if it was not all along."""
    rows = (np.arange(H) - 40 + 0.5).clip(1) / 100
    rho = np.ascontiguousarray(np.broadcast_to(rows[:, None], (T, H, W)), np.float32)
    masks, flows = _walker(foot, 90)
    assert masks[0, -1].any() == (foot > H) and not masks[-1, -1].any()
    out = place_on_ground(rho, masks, flows)
    true = (foot - 40) * np.exp(RATE * np.arange(T)) / 100
    found = np.array([np.median(out[i][masks[i]]) for i in range(T)])
    assert np.abs(np.log(found / true)).max() < 0.05
