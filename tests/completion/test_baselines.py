"""The simple fills that every other is compared with, and the pull-push pyramid."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned, with_known
from recam.completion.baselines import (
    fill_hold_nearest,
    fill_navier_stokes,
    fill_telea,
    keep_known,
)
from recam.completion.pull_push import pull_push
from recam.flow.pyramid import fill_from_pyramid
from recam.types import PartialVideo, RecamError

FILLS = [fill_hold_nearest, fill_telea, fill_navier_stokes, pull_push]
Fill = Callable[[PartialVideo], Tensor]


@pytest.mark.parametrize("fill", FILLS)
def test_known_stays_and_holes_are_filled(fill: Fill) -> None:
    truth = panned(5, 2)
    partial = moving_hole(truth, 3)
    before = partial.frames.clone()
    result = fill(partial)
    kept = partial.known.bool()[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(result[kept], truth[kept])
    assert torch.equal(partial.frames, before)  # the input is not written into
    assert float((result[~kept].float() - truth[~kept].float()).abs().mean()) < 60


@pytest.mark.parametrize("fill", FILLS)
def test_even_colour_is_filled_evenly(fill: Fill) -> None:
    frames = torch.full((4, 3, 33, 47), 90, dtype=torch.uint8)
    result = fill(moving_hole(frames, 2, size_px=9, left_px=3))
    assert int((result.int() - 90).abs().max()) <= 2  # Telea is not exact in OpenCV


@pytest.mark.parametrize("fill", FILLS)
def test_nothing_known_is_refused(fill: Fill) -> None:
    with pytest.raises(RecamError, match="nothing in the video is known"):
        fill(PartialVideo(panned(2, 0), torch.zeros(2, 72, 112)))


@pytest.mark.parametrize("fill", FILLS)
def test_frames_of_which_nothing_is_known(fill: Fill) -> None:
    frames = torch.full((4, 3, 24, 30), 200, dtype=torch.uint8)
    known = torch.ones(4, 24, 30)
    known[1:3] = 0
    assert torch.equal(fill(with_known(frames, known)), frames)


@pytest.mark.parametrize("fill", FILLS)
def test_all_known_and_one_frame(fill: Fill) -> None:
    truth = panned(1, 0)
    assert torch.equal(fill(PartialVideo(truth, torch.ones(1, 72, 112))), truth)


def test_hold_nearest_takes_the_nearest_moment_and_the_past_first() -> None:
    frames = (torch.arange(7, dtype=torch.uint8) * 30)[:, None, None, None].expand(7, 3, 8, 8)
    known = torch.zeros(7, 8, 8)
    known[[1, 5]] = 1
    result = fill_hold_nearest(PartialVideo(frames.contiguous(), known))
    assert result[:, 0, 0, 0].tolist() == [30, 30, 30, 30, 150, 150, 150]


def test_hold_nearest_takes_the_nearest_pixel_where_no_frame_knows() -> None:
    frames = torch.zeros(2, 3, 4, 9, dtype=torch.uint8)
    frames[:] = torch.arange(9, dtype=torch.uint8) * 20
    known = torch.ones(2, 4, 9)
    known[:, :, 3:6] = 0
    result = fill_hold_nearest(PartialVideo(frames, known))
    assert result[0, 0, 0].tolist()[3] == 40 and result[0, 0, 0].tolist()[5] == 120


def test_hold_nearest_of_a_picture_at_rest_is_exact() -> None:
    truth = panned(9, 0)
    assert torch.equal(fill_hold_nearest(moving_hole(truth, 9, left_px=5)), truth)


def test_keep_known_mixes_by_the_share_known() -> None:
    frames = torch.full((1, 3, 1, 5), 200, dtype=torch.uint8)
    known = torch.tensor([[[0.0, 0.25, 0.5, 0.75, 1.0]]])
    mixed = keep_known(PartialVideo(frames, known), torch.zeros_like(frames))
    assert mixed[0, 0, 0].tolist() == [0, 50, 100, 150, 200]


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 7, 9), (5, 1, 8), (4, 16, 16), (3, 13, 6)])
def test_pyramid_keeps_what_has_full_weight(size: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, *size, generator=generator)
    weight = (torch.rand(2, 1, *size, generator=generator) > 0.5).float()
    weight[:, :, 0, 0, 0] = 1
    filled = fill_from_pyramid(values, weight)
    full = weight.expand_as(values) == 1
    assert torch.equal(filled[full], values[full])
    assert torch.isfinite(filled).all()
    seen = torch.where(full, values, torch.nan)
    low, high = seen.nan_to_num(9).amin((2, 3, 4)), seen.nan_to_num(-9).amax((2, 3, 4))
    inside = (filled >= low[..., None, None, None] - 1e-5).all()
    assert inside and (filled <= high[..., None, None, None] + 1e-5).all()


def test_pyramid_ignores_values_without_weight_even_if_not_finite() -> None:
    values = torch.full((1, 1, 2, 8, 8), 3.0)
    weight = torch.ones(1, 1, 2, 8, 8)
    values[..., 2:5, 2:5], weight[..., 2:5, 2:5] = torch.nan, 0
    assert torch.allclose(fill_from_pyramid(values, weight), torch.tensor(3.0))
    assert float(fill_from_pyramid(values, torch.zeros_like(weight)).abs().max()) == 0


def test_pyramid_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"expected \[b, c, t, h, w\]"):
        fill_from_pyramid(torch.zeros(1, 3, 2, 4, 4), torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(ValueError, match="weight"):
        fill_from_pyramid(torch.zeros(3, 2, 4, 4), torch.zeros(1, 2, 4, 4))
