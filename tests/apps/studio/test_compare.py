"""Comparing pictures, exactly."""

import torch

from recam.apps.studio import compare
from recam.apps.studio.paint import Stroke, mask_of, painted

DARK, LIGHT = torch.zeros(3, 8, 20, dtype=torch.uint8), torch.full((3, 8, 20), 200).to(torch.uint8)


def test_a_wipe_has_each_side_on_its_side() -> None:
    mixed = compare.wipe(DARK, LIGHT, 0.5)
    assert (mixed[:, :, :9] == 0).all() and (mixed[:, :, 11:] == 200).all()
    assert torch.equal(compare.wipe(DARK, LIGHT, 0.0), LIGHT)
    assert torch.equal(compare.wipe(DARK, LIGHT, 1.0), DARK)


def test_slices_show_a_column_over_time() -> None:
    film = (torch.arange(20)[:, None, None, None] * torch.ones(20, 3, 8, 10)).to(torch.uint8)
    both = compare.slices(film, film, 0.5)
    assert both.shape[2] == 20 and torch.equal(both[0, 0], torch.arange(20).to(torch.uint8))


def test_the_overlay_leaves_what_was_seen_alone() -> None:
    known, elsewhere = torch.ones(8, 20), torch.zeros(8, 20, dtype=torch.bool)
    known[:, 15:], elsewhere[:, :5] = 0, True
    shown = compare.overlay(LIGHT, known, elsewhere)
    assert torch.equal(shown[:, :, 5:15], LIGHT[:, :, 5:15])
    assert (shown[2, :, :5] > shown[0, :, :5]).all()  # blue
    assert (shown[1, :, 15:] < shown[0, :, 15:]).all()  # purple


def test_bars_keep_the_picture() -> None:
    wide = compare.letterboxed(LIGHT, 5.0)
    assert wide.shape == (3, 8, 40) and torch.equal(wide[:, :, 10:30], LIGHT)
    tall = compare.letterboxed(LIGHT, 1.0)
    assert tall.shape == (3, 20, 20) and torch.equal(tall[:, 6:14], LIGHT)


def test_paint_covers_where_the_brush_went() -> None:
    stroke = Stroke(((0.25, 0.5), (0.75, 0.5)), 0.05)
    mask = mask_of([stroke], 100, 200)
    assert mask[50, 50:150].all() and not mask[70].any() and not mask[50, :35].any()
    erased = mask_of([stroke, Stroke(((0.5, 0.5),), 0.05, erases=True)], 100, 200)
    assert not erased[50, 100] and erased[50, 60]
    shown = painted(LIGHT, mask_of([Stroke(((0.5, 0.5),), 0.5)], 8, 20))
    assert (shown[1] < LIGHT[1]).any()
