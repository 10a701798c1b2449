"""Geometry at half the size: flows, masks and total variation keep their meaning."""

from __future__ import annotations

import numpy as np
import torch

from recam.flow.dense import STEPS_PER_PX, FlowSet
from recam.reconstruct.coarse import half_size, halved_flows, resized_frames, resized_mask
from recam.reconstruct.depth.tgv import Smoothness, tgv_inpaint


def test_small_pictures_stay() -> None:
    assert half_size(288, 512) == (144, 256)
    assert half_size(144, 256) == (144, 256)
    assert half_size(144, 256, smaller=True) == (72, 128)
    assert half_size(301, 513) == (151, 257)


def test_halved_flows_are_half_as_long_and_half_as_noisy() -> None:
    steps = torch.full((24, 40, 2), 3 * STEPS_PER_PX, dtype=torch.int16)
    sure = torch.full((24, 40), 128, dtype=torch.uint8)
    gray = torch.zeros(2, 24, 40, dtype=torch.uint8)
    flows = FlowSet(gray, {(0, 1): steps, (1, 0): -steps}, {(0, 1): sure, (1, 0): sure}, (1,))
    half = halved_flows(flows, 12, 20)
    flow, confidence = half.get(1, 0)
    assert (half.height, half.width, half.pairs()) == (12, 20, flows.pairs())
    assert torch.allclose(flow, torch.full((12, 20, 2), -1.5))
    assert torch.allclose(confidence, torch.full((12, 20), 128 / 255))
    assert half.sigma_px == flows.sigma_px / 2
    assert halved_flows(flows, 24, 40) is flows


def test_masks_and_frames_come_back() -> None:
    mask = np.zeros((1, 20, 30), bool)
    mask[:, 4:16, 6:20] = True
    assert (resized_mask(resized_mask(mask, 10, 15), 20, 30) == mask).all()
    ramp = np.tile(np.arange(30, dtype=np.float32), (1, 20, 1))
    again = resized_frames(resized_frames(ramp, 10, 15), 20, 30)
    assert np.abs(again - ramp)[:, :, 1:-1].max() < 1e-4


def test_total_variation_of_a_halved_picture_is_that_level_of_the_large_one() -> None:
    """What the coarse picture gives is close to the fine solution, however the weights are."""
    rng = np.random.default_rng(0)
    fine = np.zeros((64, 96), np.float32)
    fine[:, 48:] = 1
    rgb = np.repeat((fine * 200).astype(np.uint8)[..., None], 3, -1)
    weight = (rng.random(fine.shape) < 0.3).astype(np.float32)
    full = tgv_inpaint(fine, weight, rgb, Smoothness())
    half = [resized_frames(x[None], 32, 48)[0] for x in (fine, weight, rgb)]
    coarse = tgv_inpaint(half[0], half[1], half[2], Smoothness(), level=1)
    assert np.abs(resized_frames(full[None], 32, 48)[0] - coarse).max() < 0.1
