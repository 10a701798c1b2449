"""The lens that lines at right angles tell, and when they tell nothing."""

import cv2
import numpy as np
import pytest
import torch

from recam.geometry import intrinsics_from_fov, so3_log
from recam.reconstruct.cameras.bundle_adjustment import rotation_exp
from recam.reconstruct.cameras.level_lines import FocalGuess
from recam.reconstruct.cameras.manhattan_focal import (
    camera_of_picture,
    focal_from_right_angles,
)

H, W = 192, 288


def _shown(ends: np.ndarray, fov_deg: float, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture [h, w] of lines with these ends [n, 2, 3], by a turned camera; its intrinsics."""
    k = intrinsics_from_fov(fov_deg, H, W).numpy()
    out = np.full((H, W), 90, np.uint8)
    for a, b in ends @ rotation_exp(turn[None])[0].T:
        if min(a[2], b[2]) > 0.3:
            p, q = ((k @ v)[:2] / v[2] * 16 for v in (a, b))
            if np.abs(np.stack([p, q])).max() < 16 * 2000:
                first, second = (tuple(int(x) for x in v.round()) for v in (p - 8, q - 8))
                cv2.line(out, first, second, 200, 1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(out, (0, 0), 0.6), k


def _edges_of_boxes(rng: np.random.Generator) -> np.ndarray:
    """[n, 2, 3]: edges along the three axes, all around the camera."""
    start = rng.uniform([-6, -3, 1], [6, 3, 12], (150, 3))
    return np.stack([start, start + 1.6 * np.eye(3)[rng.integers(0, 3, 150)]], 1)


@pytest.mark.parametrize("fov_deg", [42.0, 60.0, 82.0])
def test_edges_of_boxes_tell_the_lens(fov_deg: float) -> None:
    edges = _edges_of_boxes(np.random.default_rng(1))
    turns = np.array([[0.25, 0.5, 0.03], [0.2, 0.6, 0.0]])
    pictures = [_shown(edges, fov_deg, turn) for turn in turns]
    gray, k = np.stack([g for g, _ in pictures]), np.stack([k for _, k in pictures])
    # Found with another lens, the second view is turned by another angle.
    reference, true = 1.3 * k[0, 0, 0], k[0, 0, 0]
    apart = turns - turns[:1]
    k[:, [0, 1], [0, 1]] = reference
    found = focal_from_right_angles(
        gray, k, apart * [true / reference, true / reference, 1], reference
    )
    assert found is not None and found.focal_px == pytest.approx(true, rel=0.06)


def test_edges_that_run_anywhere_tell_nothing() -> None:
    rng = np.random.default_rng(2)
    start = rng.uniform([-6, -3, 1], [6, 3, 12], (150, 3))
    edges = np.stack([start, start + rng.normal(0, 1, (150, 3))], 1)
    gray, k = _shown(edges, 60.0, np.zeros(3))
    assert focal_from_right_angles(gray[None], k[None], np.zeros((1, 3)), k[0, 0]) is None


def test_a_wall_seen_from_straight_ahead_tells_nothing() -> None:
    rng = np.random.default_rng(3)
    start = np.concatenate([rng.uniform([-4, -3], [4, 3], (150, 2)), np.full((150, 1), 5.0)], 1)
    edges = np.stack([start, start + 1.6 * np.eye(3)[rng.integers(0, 2, 150)]], 1)
    gray, k = _shown(edges, 60.0, np.zeros(3))
    assert focal_from_right_angles(gray[None], k[None], np.zeros((1, 3)), k[0, 0]) is None


def test_a_picture_without_lines_tells_nothing() -> None:
    gray = np.full((2, H, W), 128, np.uint8)
    k = np.tile(intrinsics_from_fov(50.0, H, W).numpy(), (2, 1, 1))
    assert focal_from_right_angles(gray, k, np.zeros((2, 3)), k[0, 0, 0]) is None


@pytest.mark.parametrize("fov_deg", [42.0, 60.0])
def test_one_view_tells_the_lens_if_the_camera_is_held_as_usual(fov_deg: float) -> None:
    edges = _edges_of_boxes(np.random.default_rng(1))
    # Looking down by 14°, along no edge.
    turn = so3_log(
        torch.from_numpy(
            rotation_exp(np.array([[0.25, 0, 0]])) @ rotation_exp(np.array([[0, 0.5, 0]]))
        )
    ).numpy()[0]
    gray, k = _shown(edges, fov_deg, turn)
    true = k[0, 0]
    k[[0, 1], [0, 1]] *= 1.3
    found = focal_from_right_angles(
        np.stack([gray] * 3), np.stack([k] * 3), np.zeros((3, 3)), k[0, 0]
    )
    assert found is not None and found.focal_px == pytest.approx(true, rel=0.08)
    cameras, told_by, _ = camera_of_picture(gray, None)
    assert told_by == "lines"
    assert float(cameras.intrinsics[0, 0, 0]) == pytest.approx(true, rel=0.08)
    assert camera_of_picture(gray, 30.0)[1] == "user"
    plain = np.full_like(gray, 90)
    assert camera_of_picture(plain, None)[1:] == ("nothing", None)
    guess = FocalGuess(1.2 * true, 0.3)
    cameras, told_by, spread = camera_of_picture(plain, None, guess=guess)
    assert (told_by, spread) == ("network", 0.3)
    assert float(cameras.intrinsics[0, 0, 0]) == pytest.approx(1.2 * true)
    # Clear lines say more than the guess, and are the surer with it.
    both, told_by, spread = camera_of_picture(gray, None, guess=guess)
    assert told_by == "lines" and spread is not None and spread < 0.3
    assert float(both.intrinsics[0, 0, 0]) == pytest.approx(true, rel=0.08)
