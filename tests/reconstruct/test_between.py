"""Frames between those that geometry is worked out in."""

from dataclasses import replace

import numpy as np
import torch

from recam.reconstruct.between import carried_between, chosen_frames, flows_of, taken
from reconstruct_scene import exact_flows, render_world

T, H, W = 13, 60, 96


def test_every_other_frame_tells_those_between() -> None:
    truth = render_world(T, H, W, slide=0.02)
    flows = exact_flows(truth)
    chosen = chosen_frames(flows, spare=True)
    assert chosen.tolist() == list(range(0, T, 2))
    rho, moves = (1 / truth.depth).astype(np.float32), truth.moving
    sure = np.ones_like(rho)
    found, dynamic, confidence = carried_between(
        taken(rho, chosen), taken(moves, chosen), taken(sure, chosen), chosen, truth.cameras, flows
    )
    still = ~moves & ~dynamic
    assert np.quantile(np.abs(found / rho - 1)[still], 0.95) < 0.01
    assert (dynamic & moves).sum() > 0.8 * (dynamic | moves).sum()
    assert np.median(confidence) == 1
    few = flows_of(flows, chosen)
    assert torch.equal(few.steps[0, 1], flows.steps[0, 2])


def test_no_frame_is_left_out_of_short_clips_or_where_much_changes() -> None:
    slow = exact_flows(render_world(T, H, W, slide=0.02), (1,))
    assert len(chosen_frames(slow, spare=False)) == T
    fast = replace(slow, steps={pair: 20 * step for pair, step in slow.steps.items()})
    assert len(chosen_frames(fast, spare=True)) == T
    assert len(chosen_frames(exact_flows(render_world(5, H, W), (1,)), spare=True)) == 5
