"""Flicker and warping error against values worked out by hand and true motion."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from recam.evaluation.temporal import change, flicker, video_flow, warp_back, warping_error
from recam.types import video_from_frames


def sliding_video(t: int = 4, h: int = 48, w: int = 64, step: int = 2) -> torch.Tensor:
    """A textured picture that moves ``step`` px to the left in every frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (3, h, w + t * step))
    smooth = gaussian_filter(noise, (0, 2, 2))
    wide = torch.tensor((smooth - smooth.min()) / np.ptp(smooth) * 255).to(torch.uint8)
    return torch.stack([wide[:, :, i * step : i * step + w] for i in range(t)])


def true_flow(frames: torch.Tensor, step: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    t, _, h, w = frames.shape
    flow = torch.zeros(t - 1, h, w, 2)
    flow[..., 0] = -step
    return flow, torch.ones(t - 1, h, w, dtype=torch.bool)


def test_true_motion_has_no_warping_error() -> None:
    frames = sliding_video()
    flow, visible = true_flow(frames)
    assert warping_error(frames, flow, visible) == pytest.approx(0.0, abs=1e-12)
    # The other way round it is wrong.
    assert warping_error(frames, -flow, visible) > 1e-3


def test_warping_error_by_hand() -> None:
    frames = torch.full((3, 3, 6, 8), 100, dtype=torch.uint8)
    frames[1] = 100 + 51  # a flash of 0.2 in one frame: both pairs are off by it
    flow, visible = torch.zeros(2, 6, 8, 2), torch.ones(2, 6, 8)
    assert warping_error(frames, flow, visible) == pytest.approx(0.04)
    visible[1] = 0  # the pair that has no visible pixel does not count
    assert warping_error(frames, flow, visible) == pytest.approx(0.04)
    frames[1, :, :, 4:] = 100
    assert warping_error(frames, flow, visible) == pytest.approx(0.02)
    visible[0, :, 4:] = 0
    assert warping_error(frames, flow, visible) == pytest.approx(0.04)
    assert math.isnan(warping_error(frames, flow, torch.zeros(2, 6, 8)))


def test_warping_is_bilinear_and_knows_the_border() -> None:
    image = torch.arange(6.0).expand(1, 4, 6)
    flow = torch.zeros(4, 6, 2)
    flow[..., 0] = 0.5
    back, inside = warp_back(image, flow)
    torch.testing.assert_close(back[0, :, :5], image[0, :, :5] + 0.5)
    assert bool(inside[:, :5].all()) and not bool(inside[:, 5].any())


def test_estimated_flow_finds_the_motion() -> None:
    frames = sliding_video()
    flow, visible = video_flow(video_from_frames(frames))
    assert flow.shape == (3, 48, 64, 2) and visible.shape == (3, 48, 64)
    middle = flow[:, 12:-12, 12:-12]
    assert float((middle - torch.tensor([-2.0, 0.0])).norm(dim=-1).median()) < 0.3
    assert float(visible[:, 12:-12, 12:-12].float().mean()) > 0.8
    with pytest.raises(ValueError, match="two frames"):
        video_flow(video_from_frames(frames[:1]))


def test_flicker_by_hand() -> None:
    target = sliding_video()
    assert flicker(target, target) == 0.0
    # A constant error does not flicker, however large.
    brighter = target.float() + 40
    assert flicker(brighter, target) == pytest.approx(0.0, abs=1e-12)
    # Every second frame brighter by 10: each change is off by 10.
    pulsing = target.float()
    pulsing[1::2] += 10
    assert flicker(pulsing, target) == pytest.approx(10.0)
    # Frozen: what is missing is all of the truth's change.
    frozen = target[:1].expand_as(target)
    steps = (target[1:].double() - target[:-1].double()).abs().mean()
    assert flicker(frozen, target) == pytest.approx(float(steps))
    assert change(frozen) == 0.0 and change(target) == pytest.approx(float(steps))


def test_flicker_weights_choose_pixels() -> None:
    target = torch.zeros(3, 3, 4, 4)
    frames = target.clone()
    frames[1, :, :, :2] = 30
    left = torch.zeros(3, 4, 4)
    left[:, :, :2] = 1
    assert flicker(frames, target, left) == pytest.approx(30.0)
    assert flicker(frames, target, 1 - left) == 0.0
    assert flicker(frames, target) == pytest.approx(15.0)
    left[2] = 0  # the second pair has a frame where nothing counts
    assert flicker(frames, target, left) == pytest.approx(30.0)
    assert math.isnan(flicker(frames, target, torch.zeros(3, 4, 4)))
    with pytest.raises(ValueError, match=r"\[3, 3, 4, 4\] and target \[2, 3, 4, 4\]"):
        flicker(frames, target[:2])
    with pytest.raises(ValueError, match="flow has shape"):
        warping_error(frames, torch.zeros(3, 4, 4, 2), torch.zeros(3, 4, 4))
