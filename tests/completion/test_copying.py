"""What no frame shows: copies that continue what is there, made up once, the same in all frames."""

import cv2
import numpy as np
import torch

from completion_clips import panned, psnr_in_holes, texture, with_known
from recam.completion.copying import complete_by_copies
from recam.completion.exemplar import Source, fill_by_copies, well_painted


def bricks(height: int, width: int) -> np.ndarray:
    """uint8 [h, w, 3]: rows of 8 × 16 px bricks, every second one shifted."""
    y, x = np.indices((height, width))
    joint = (y % 8 == 0) | ((x + 8 * (y // 8 % 2)) % 16 == 0)
    return np.where(joint[..., None], (200, 195, 190), (150, 70, 50)).astype(np.uint8)


def with_hole(picture: np.ndarray, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a square smoothly filled in, and the square."""
    hole = np.zeros(picture.shape[:2], bool)
    top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    hole[top : top + size, left : left + size] = True
    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA), hole


def test_copies_continue_a_pattern_that_paint_cannot() -> None:
    truth = bricks(96, 128)
    smooth, hole = with_hole(truth)
    filled, origin = fill_by_copies(smooth, hole, [Source(truth, ~hole)])
    np.testing.assert_array_equal(filled[~hole], truth[~hole])
    assert (origin[~hole] == -1).all() and (origin[hole, 0] == 0).all()
    row, column = origin[hole, 1:].astype(int).T
    assert not hole[row, column].any()
    painted, copied = (np.abs(p[hole].astype(int) - truth[hole]).mean() for p in (smooth, filled))
    assert copied < 0.6 * painted
    np.testing.assert_array_equal(filled, fill_by_copies(smooth, hole, [Source(truth, ~hole)])[0])


def test_only_narrow_holes_that_paint_shows_well_are_left_to_it() -> None:
    stripes = np.where(np.arange(96) % 7 < 3, 200, 60).astype(np.uint8)
    truth = np.repeat(np.broadcast_to(stripes, (64, 96))[..., None], 3, 2)
    slit, square = np.zeros((2, 64, 96), bool)
    slit[30:34], square[20:44, 30:54] = True, True
    assert well_painted(truth, slit).mean() > 0.9 * slit.mean()
    assert not well_painted(truth, square).any()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    noise[slit] = 128
    assert not well_painted(noise, slit).any()


def test_light_and_dark_goes_on_instead_of_what_has_its_mean_everywhere() -> None:
    rng = np.random.default_rng(0)
    blots = cv2.GaussianBlur(rng.normal(size=(120, 256)).astype(np.float32), (0, 0), 3) > 0
    grey = np.where(blots, 200, 60)
    grey[:, 160:] = 130 + rng.integers(-40, 41, (120, 96))  # as grey, and of fine grain
    truth = np.repeat(grey[..., None].astype(np.uint8), 3, 2)
    hole = np.zeros((120, 256), bool)
    hole[:, :48] = True  # beside the blots
    smooth = np.where(hole[..., None], 130, truth).astype(np.uint8)
    filled, _ = fill_by_copies(smooth, hole, [Source(truth, ~hole)])
    slow = cv2.GaussianBlur(filled[..., 0].astype(np.float32), (0, 0), 2)
    assert slow[:, :32].std() > 0.6 * slow[:, 48:160].std()  # single patches' means: 0.2


def test_what_stands_nearer_is_not_copied() -> None:
    truth = np.repeat(texture(96, 160, 1)[..., :1], 3, 2)  # grey, far
    near = (np.arange(160) >= 50) & (np.arange(160) < 110)
    stripes_here = np.where(np.arange(160) % 4 < 2, 255, 0)
    truth[:, near, 2] = stripes_here[near]  # blue stripes, near, all around the hole
    smooth, hole = with_hole(truth)
    depth = np.where(near, 1, 4)[None].repeat(96, 0).astype(np.float32)
    behind = np.full((96, 160), 4.0, np.float32)

    def stripes(depth: np.ndarray | None) -> float:
        pool = [Source(truth, ~hole, depth)]
        filled = fill_by_copies(smooth, hole, pool, behind)[0].astype(int)
        blue = (filled[..., 2] - filled[..., 1])[36:60, 68:92]
        return float(np.abs(np.diff(blue, 2, axis=1)).mean())

    assert stripes(depth) < 0.3 * stripes(None)


def test_nothing_to_copy_leaves_the_smooth_fill() -> None:
    picture = texture(40, 40)
    smooth, hole = with_hole(picture)
    nothing = np.zeros((40, 40), bool)
    filled, origin = fill_by_copies(smooth, hole, [Source(picture, nothing)])
    np.testing.assert_array_equal(filled, smooth)
    assert (origin == -1).all()


def test_what_was_made_up_is_the_same_in_all_frames() -> None:
    truth = panned(6, 4)
    known = torch.ones(6, 72, 112)
    for i in range(6):  # a hole that stays on the surface: no frame shows what is there
        known[i, 26:46, 60 - 4 * i : 80 - 4 * i] = 0
    partial = with_known(truth, known)
    before = partial.frames.clone()
    filled = complete_by_copies(partial).frames
    assert torch.equal(partial.frames, before)
    assert torch.equal(filled[:, :, known[0] > 2], truth[:, :, known[0] > 2])
    for i in range(6):
        assert torch.equal(filled[i][:, known[i] > 0], truth[i][:, known[i] > 0])
    inner = [filled[i, :, 30:42, 64 - 4 * i : 76 - 4 * i].float() for i in range(6)]
    apart = max(float((part - inner[0]).abs().mean()) for part in inner)
    assert apart < 6
    assert inner[0].std() > 8  # detail, not paint


def test_what_another_frame_saw_is_fetched_not_made_up() -> None:
    truth = panned(6, 4)
    known = torch.ones(6, 72, 112)
    known[3, 26:46, 40:60] = 0
    filled = complete_by_copies(with_known(truth, known)).frames
    assert psnr_in_holes(filled, truth, known) > 30
