"""A clear sky is told by its colour and by looking at infinity; a blue wall close by is not one."""

import numpy as np
import pytest
import torch

from recam.geometry import intrinsics_from_fov
from recam.reconstruct.depth.sky import clear_sky
from recam.types import Cameras

T, H, W = 6, 48, 72
BLUE, PALE, STONE = (90, 140, 220), (175, 190, 205), (150, 130, 110)


def _cameras(step: float) -> Cameras:
    """They step to the right, looking ahead."""
    poses = torch.eye(4, dtype=torch.float64).repeat(T, 1, 1)
    poses[:, 0, 3] = -step * torch.arange(T)
    return Cameras(poses, intrinsics_from_fov(60.0, H, W).expand(T, 3, 3).clone(), H, W)


def _pictures(blue: np.ndarray, colour: tuple[int, int, int] = BLUE) -> np.ndarray:
    grain = np.random.default_rng(0).integers(-30, 30, (T, H, W, 1))
    stone = np.clip(np.array(STONE) + grain, 0, 255)
    return np.where(blue[..., None], np.array(colour), stone).astype(np.uint8)


@pytest.fixture
def above() -> np.ndarray:
    """The upper third."""
    out = np.zeros((T, H, W), bool)
    out[:, : H // 3] = True
    return out


def test_sky_above_is_found_and_stone_is_not(above: np.ndarray) -> None:
    nothing = np.zeros((T, H, W), np.float32)
    found = clear_sky(_pictures(above), _cameras(0.1), nothing, nothing)
    assert found[above].mean() > 0.95
    assert not found[:, H // 3 + 3 :].any()


def test_what_does_not_reach_the_top_is_no_sky(above: np.ndarray) -> None:
    nothing = np.zeros((T, H, W), np.float32)
    lake = above[:, ::-1]
    assert not clear_sky(_pictures(lake), _cameras(0.1), nothing, nothing).any()


def test_blue_that_parallax_moves_is_no_sky() -> None:
    panel = np.zeros((T, H, W), bool)
    for i in range(T):  # 12 px from frame to frame: it is close by
        panel[i, : H // 3, max(0, 55 - 12 * i) : max(0, 75 - 12 * i)] = True
    nothing = np.zeros((T, H, W), np.float32)
    assert not clear_sky(_pictures(panel), _cameras(0.1), nothing, nothing).any()


def test_pale_sky_that_was_measured_close_by_is_none(above: np.ndarray) -> None:
    near, pale = np.ones((T, H, W), np.float32), _pictures(above, PALE)
    assert not clear_sky(pale, _cameras(0.0), near, near).any()
    assert clear_sky(pale, _cameras(0.0), 0 * near, near)[above].mean() > 0.95
    # A clear one is sky whatever was measured in it.
    assert clear_sky(_pictures(above), _cameras(0.0), near, near)[above].mean() > 0.95
