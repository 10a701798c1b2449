"""Outlines without stairs."""

import torch

from recam.render.outlines import smooth_outlines
from recam.render.splat import View

SIZE = 12


def _view(near: torch.Tensor, shift: int) -> View:
    """A near white thing in front of a far black wall; its pixels come from ``shift`` px aside."""
    frame = torch.where(near, 255, 0).to(torch.uint8).expand(3, SIZE, SIZE).contiguous()
    place = torch.arange(SIZE * SIZE, dtype=torch.int32).reshape(SIZE, SIZE)
    origin = torch.where(near, place + shift, place)
    return View(frame, torch.ones(SIZE, SIZE), torch.where(near, 1.0, 2.0), origin)


def _slope() -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return column > 3 + row // 2


def test_a_straight_outline_stays_sharp() -> None:
    upright = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    upright[:, 5:] = True
    view = _view(upright, 5)
    before = view.frame.clone()
    smooth_outlines(view, SIZE, 0.05)
    assert torch.equal(view.frame, before)


def test_the_corners_of_stairs_are_mixed_and_nothing_else() -> None:
    near = _slope()
    view = _view(near, 5)
    smooth_outlines(view, SIZE, 0.05)
    mixed = (view.frame[0] > 0) & (view.frame[0] < 255)
    inside = view.frame[0, 2:-2, 1:-1]
    # Each stair of two rows has one corner of the thing and one of the wall, as large.
    assert int(mixed[2:-2].sum()) == 2 * ((SIZE - 4) // 2)
    assert abs(float(inside.float().sum()) / 255 - float(near[2:-2, 1:-1].sum())) < 0.1
    assert torch.equal(view.frame[0, ~mixed] > 0, near[~mixed])


def test_what_met_in_the_source_already_and_holes_stay() -> None:
    view = _view(_slope(), 0)
    before = view.frame.clone()
    smooth_outlines(view, SIZE, 0.05)
    assert torch.equal(view.frame, before)
    view = _view(_slope(), 5)
    view.known[~_slope()] = 0
    view.frame[:, ~_slope()] = 77
    smooth_outlines(view, SIZE, 0.05)
    assert (view.frame[:, ~_slope()] == 77).all() and (view.frame[:, _slope()] == 255).all()
