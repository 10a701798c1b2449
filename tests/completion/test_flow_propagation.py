"""The classical completion: what it must keep, what it must find, and that it stays steady."""

import pytest
import torch

from completion_clips import moving_hole, panned, psnr_in_holes, texture, with_known
from recam.completers import complete
from recam.completion.flow_propagation import propagate
from recam.completion.pull_push import pull_push
from recam.configs import CompleteConfig
from recam.types import Cameras, PartialVideo, RecamError, Rendering


def _unmoved_camera(num: int, height: int, width: int) -> Cameras:
    pose = torch.eye(4, dtype=torch.float64).expand(num, 4, 4)
    matrix = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]])
    return Cameras(pose, matrix.double().expand(num, 3, 3), height, width)


def test_known_pixels_stay_bit_for_bit() -> None:
    frames = panned(6, 2)
    generator = torch.Generator().manual_seed(1)
    known = (torch.rand(6, 72, 112, generator=generator) > 0.3).float()
    kept = known.bool()[:, None].expand(-1, 3, -1, -1)
    result = propagate(with_known(frames, known))
    assert torch.equal(result[kept], frames[kept])


@pytest.mark.parametrize(("pan_px", "hole_px"), [(0, 5), (2, -5), (-3, -1)])
def test_what_another_frame_shows_is_found(pan_px: int, hole_px: int) -> None:
    """A pattern that moves one way behind a hole that moves another."""
    truth = panned(12, pan_px)
    partial = moving_hole(truth, hole_px, left_px=80 if hole_px < 0 else 14)
    result = propagate(partial)
    assert psnr_in_holes(result, truth, partial.known) > 38
    assert psnr_in_holes(pull_push(partial), truth, partial.known) < 30


def test_a_picture_at_rest_is_found_exactly() -> None:
    truth = panned(8, 0)
    partial = moving_hole(truth, 8, left_px=10)
    assert int((propagate(partial).int() - truth.int()).abs().max()) <= 1


def test_what_only_the_margin_of_a_hole_shows_is_used() -> None:
    """A hole that opens from the border: near its first edge only frame 0 shows anything."""
    truth = panned(8, 0)
    known = torch.ones(8, 72, 112)
    for i in range(8):
        known[i, :, : 2 + i] = 0
    result = propagate(with_known(truth, known))
    assert int((result[-1, :, :, 2:9].int() - truth[-1, :, :, 2:9].int()).abs().max()) <= 2


def test_one_frame_is_filled_from_around() -> None:
    truth = panned(1, 0)
    partial = moving_hole(truth, 0)
    result = propagate(partial)
    hole = result[0][:, partial.known[0] == 0]
    assert result.shape == truth.shape and int(hole.min()) > 0


def test_all_known_comes_back() -> None:
    truth = panned(5, 1)
    assert torch.equal(propagate(PartialVideo(truth, torch.ones(5, 72, 112))), truth)


def test_nothing_known_is_refused() -> None:
    frames = panned(3, 1)
    for config in (CompleteConfig(), CompleteConfig("propagate", window=2, overlap=1)):
        with pytest.raises(RecamError, match="nothing"):
            complete(PartialVideo(frames, torch.zeros(3, 72, 112)), config)


def test_a_frame_of_which_nothing_is_known() -> None:
    truth = panned(7, 0)
    known = torch.ones(7, 72, 112)
    known[3] = 0
    result = propagate(with_known(truth, known))
    assert psnr_in_holes(result, truth, known) > 30


def test_partly_known_pixels_are_blended() -> None:
    """The better a bright pixel is known, the brighter it stays among dark ones."""
    frames = torch.full((3, 3, 40, 60), 50, dtype=torch.uint8)
    frames[:, :, 18:22, 28:32] = 250
    levels = []
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        known = torch.ones(3, 40, 60)
        known[:, 18:22, 28:32] = level
        result = propagate(PartialVideo(frames, known))
        levels.append(float(result[:, :, 18:22, 28:32].float().mean()))
    assert levels[0] == 50 and levels[-1] == 250
    assert levels == sorted(levels) and len(set(levels)) == 5


@pytest.mark.parametrize("window", [48, 6])
def test_same_bytes_twice(window: int) -> None:
    partial = moving_hole(panned(10, 2), 5)
    config = CompleteConfig("propagate", window=window, overlap=2)
    first, second = (complete(partial, config).frames for _ in range(2))
    assert torch.equal(first, second)


def test_fill_of_a_still_hole_stays_still() -> None:
    """What no frame shows may be wrong but must not flicker, nor jump where windows meet."""
    truth = panned(14, 0)
    partial = moving_hole(truth, 0)
    for window, limit in ((48, 0), (6, 1)):
        result = complete(
            partial, CompleteConfig("propagate", window=window, overlap=2)
        ).frames.int()
        assert int((result[1:] - result[:-1]).abs().max()) <= limit


def test_windows_fill_as_well_as_one_piece() -> None:
    truth = panned(20, 2)
    partial = moving_hole(truth, 3, left_px=14)
    result = complete(partial, CompleteConfig("propagate", window=8, overlap=3)).frames
    assert psnr_in_holes(result, truth, partial.known) > 35


def test_odd_and_tiny_pictures() -> None:
    for height, width in ((41, 67), (16, 16), (5, 90)):
        truth = panned(4, 0, height, width)
        partial = moving_hole(truth, 1, size_px=3, left_px=2)
        assert propagate(partial).shape == truth.shape


def test_what_stands_in_front_lends_no_colour_where_depth_is_known() -> None:
    """A hole between a near red thing and a far grey wall belongs to the wall."""
    num, height, width = 4, 60, 100
    frames = torch.full((num, 3, height, width), 120, dtype=torch.uint8)
    frames[:, :, :, :40] = torch.tensor([250, 0, 0], dtype=torch.uint8)[:, None, None]
    depth = torch.full((num, height, width), 8.0)
    depth[:, :, :40] = 2.0
    known = torch.ones(num, height, width)
    known[:, :, 40:60] = 0
    depth = depth * known
    partial = with_known(frames, known)
    rendering = Rendering(partial.frames, known, depth, _unmoved_camera(num, height, width))
    hole = known[0] == 0
    with_depth, without = propagate(rendering), propagate(partial)
    assert int((with_depth[:, :, hole].int() - 120).abs().max()) <= 1
    assert float((without[:, 0][:, hole].float() - 120).mean()) > 20
    kept = known.bool()[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(with_depth[kept], frames[kept])


def test_finished_frames_without_depth_lend_their_fill() -> None:
    """The lead of a window: all is known, though depth is 0 where there was a hole."""
    num, height, width = 6, 60, 100
    frames = torch.from_numpy(texture(height, width)).permute(2, 0, 1).repeat(num, 1, 1, 1)
    known = torch.ones(num, height, width)
    known[3:, 20:40, 40:60] = 0
    depth = torch.full((num, height, width), 5.0)
    depth[:, 20:40, 40:60] = 0
    rendering = Rendering(frames, known, depth, _unmoved_camera(num, height, width))
    assert psnr_in_holes(propagate(rendering), frames, known) > 40


def test_depth_that_says_nothing_changes_nothing() -> None:
    partial = moving_hole(panned(5, 1), 3)
    camera = _unmoved_camera(5, 72, 112)
    rendering = Rendering(partial.frames, partial.known, torch.zeros(5, 72, 112), camera)
    assert torch.equal(propagate(rendering), propagate(partial))
