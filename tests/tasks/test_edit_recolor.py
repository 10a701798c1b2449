"""What became of colours, told by one edited picture."""

import numpy as np
import pytest

from recam.tasks.edit_recolor import changed_colours, colour_change
from task_clips import texture


def _pixels(where: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(where)
    return np.stack([columns, rows], 1).astype(np.float32)


def test_a_smooth_change_of_colours_is_told_for_other_pixels() -> None:
    original = texture(80, 120, 3).astype(np.float32)
    edited = 40 + 0.7 * original[..., ::-1]
    learned = np.zeros((80, 120), bool)
    learned[:, :60] = True
    change = colour_change(original, edited, learned)
    told = changed_colours(change, original[~learned], _pixels(~learned))
    assert np.abs(told - edited[~learned]).mean() < 10
    assert np.abs(edited[learned].mean(0) - edited[~learned]).mean() > 20


def test_what_became_of_a_colour_depends_on_the_place() -> None:
    original = np.full((60, 130, 3), 90, np.float32)
    edited = original.copy()
    edited[:, :65], edited[:, 65:] = 20, 200
    everywhere = np.ones((60, 130), bool)
    change = colour_change(original, edited, everywhere)
    told = changed_colours(change, original[everywhere], _pixels(everywhere)).reshape(60, 130, 3)
    assert told[:, :35].max() < 30 and told[:, 95:].min() > 190


def test_unseen_colours_take_the_likest_and_all_stay_in_range() -> None:
    original = np.zeros((40, 60, 3), np.float32)
    edited = np.zeros_like(original)
    original[:, 30:], edited[:, 30:] = 120, (10, 150, 60)
    change = colour_change(original, edited, np.ones((40, 60), bool))
    colours = np.array([[255, 255, 255], [300, -20, 128], [0, 0, 0]], np.float32)
    told = changed_colours(change, colours, np.array([[5, 5], [900, -90], [2, 2]], np.float32))
    np.testing.assert_allclose(told[0], (10, 150, 60), atol=12)
    assert told.min() >= 0 and told.max() <= 150
    np.testing.assert_allclose(told[2], 0, atol=1)


def test_nothing_to_learn_from_is_an_error() -> None:
    picture = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="no pixel"):
        colour_change(picture, picture, np.zeros((8, 8), bool))
