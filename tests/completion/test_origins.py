"""Where filled pixels are from, and a large video filled by its smaller copy."""

import numpy as np
import pytest
import torch

from completion_clips import panned, with_known
from recam.completion import origins
from recam.completion.copying import complete_by_copies
from recam.completion.flow_tracing import Traced
from recam.completion.origins import Filled, at_working_size, no_origins
from recam.types import PartialVideo, no_progress


def test_copies_of_copies_are_of_what_is_known() -> None:
    made = no_origins((3, 8, 9))
    made.copied((np.array([1]), np.array([2]), np.array([3])), np.array([0]), np.array([[5.0, 6]]))
    assert made.frame[1, 2, 3] == 0 and made.place[1, 2, 3].tolist() == [5, 6]
    # A quarter of a pixel beside it, seen from another frame:
    made.copied((np.array([2]), np.array([7]), np.array([8])), np.array([1]), np.array([[3.25, 2]]))
    assert made.frame[2, 7, 8] == 0 and made.place[2, 7, 8].tolist() == [5.25, 6]


def test_the_nearer_and_surer_find_counts() -> None:
    frame, place = np.full((4, 1, 2), -1, np.int16), np.zeros((4, 1, 2, 2), np.float32)
    color, miss = np.zeros((4, 1, 2, 3), np.uint8), np.zeros((4, 1, 2), np.float16)
    past = Traced(frame.copy(), place + 1, color, miss)
    future = Traced(frame.copy(), place + 2, color, miss.copy())
    past.frame[2], future.frame[2] = 0, 3
    future.miss[2, 0, 1] = 4
    made = no_origins((4, 1, 2))
    made.nearest(past, future)
    assert made.frame[2, 0].tolist() == [3, 0]
    assert made.place[2, 0, :, 0].tolist() == [2, 1]
    assert (made.frame[[0, 1, 3]] == -1).all()


def test_a_large_video_is_filled_with_its_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another frame saw comes in full sharpness; enlarging would blur it."""
    truth = panned(5, 4)
    known = torch.ones(5, *truth.shape[2:])
    known[2, 24:48, 40:64] = 0
    partial = with_known(truth, known)
    height, width = truth.shape[2:]
    monkeypatch.setattr(origins, "working_pixels", lambda pixels: pixels // 4)
    fill = at_working_size(lambda p, progress: complete_by_copies(p, progress, planes=False))
    filled = fill(partial, no_progress)
    kept = known.bool()[:, None].expand_as(truth)
    assert torch.equal(filled[kept], truth[kept])
    inside = (filled[2, :, 28:44, 44:60].float() - truth[2, :, 28:44, 44:60].float()).abs().mean()
    small = torch.nn.functional.interpolate(truth[2:3].float(), scale_factor=0.5, mode="area")
    painted = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0]
    blurred = (painted - truth[2].float())[:, 28:44, 44:60].abs().mean()
    assert inside < 0.5 * blurred


def test_what_was_painted_is_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.full((2, 3, 8, 12), 50, dtype=torch.uint8)
    known = torch.ones(2, 8, 12)
    known[:, 4:] = 0
    monkeypatch.setattr(origins, "working_pixels", lambda pixels: pixels // 4)
    seen = []

    def fill(partial: PartialVideo, progress: object) -> Filled:
        seen.append(partial)
        grey = torch.where(partial.known[:, None] > 0.5, partial.frames, 90)
        return Filled(grey.to(torch.uint8), no_origins(tuple(partial.known.shape)))

    out = at_working_size(fill)(PartialVideo(frames, known), no_progress)
    assert seen[0].frames.shape == (2, 3, 4, 6)
    assert out[:, :, :4].eq(50).all() and out[:, :, 6:].eq(90).all()
    monkeypatch.undo()
    at_working_size(fill)(PartialVideo(frames, known), no_progress)
    assert seen[1].frames is frames  # small enough as it is
