"""What has another texture in other frames moves, however alike its colours are."""

import numpy as np
import pytest
import torch

from recam.reconstruct.motion_segmentation.texture_consistency import (
    HALF,
    unlike_in_texture,
)
from recam.types import Cameras
from reconstruct_scene import make_cameras

T, H, W = 12, 60, 90
SHIFT_PX = 2
"""By how much the wall moves in the picture from one frame to the next."""
BOX = np.s_[20:44, 30:60]


def _walk() -> tuple[Cameras, np.ndarray]:
    """Cameras that go to the right before a flat wall at depth 1, and its inverse depth."""
    one = make_cameras(1, H, W)
    pose = torch.eye(4, dtype=torch.float64).repeat(T, 1, 1)
    pose[:, 0, 3] = -SHIFT_PX * torch.arange(T) / float(one.intrinsics[0, 0, 0])
    cameras = Cameras(pose, one.intrinsics.expand(T, 3, 3).clone(), H, W)
    return cameras, np.ones((T, H, W), np.float32)


def _wall(seed: int, plain: bool = False) -> np.ndarray:
    """Frames uint8 [t, h, w, 3] of a wall."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(size=(H // 2, W // 2 + T)).repeat(2, 0).repeat(2, 1)
    level = np.clip(120 + (0 if plain else 25) * grain, 0, 255).astype(np.uint8)
    frames = np.stack([level[:, SHIFT_PX * i : SHIFT_PX * i + W] for i in range(T)])
    return np.repeat(frames[..., None], 3, -1)


def _nothing() -> np.ndarray:
    return np.zeros((T, H, W), bool)


def test_a_still_wall_is_like_itself_and_less_light_changes_nothing() -> None:
    cameras, rho = _walk()
    rgb = _wall(0)
    rgb[::2] //= 2
    out = unlike_in_texture(rgb, _nothing(), rho, cameras)
    assert out.dtype == np.float32 and out.shape == rho.shape
    assert out.max() < 0.1


def test_another_texture_of_the_same_colours_is_unlike_and_its_surroundings_are_not() -> None:
    cameras, rho = _walk()
    rgb, other = _wall(0), _wall(1)
    rgb[5][BOX] = other[5][BOX]
    out = unlike_in_texture(rgb, _nothing(), rho, cameras)
    assert out[5][BOX][HALF:-HALF, HALF:-HALF].mean() > 0.5
    outside = np.ones((H, W), bool)
    outside[BOX] = False
    assert out[5][outside].max() < 0.1  # not even beside it
    assert np.delete(out, 5, 0).max() < 0.1  # one frame of twelve that contradicts


@pytest.mark.parametrize("here", [True, False])
def test_a_plain_thing_before_a_textured_wall_moves_and_a_plain_wall_tells_nothing(here) -> None:
    cameras, rho = _walk()
    rgb = _wall(0, plain=not here)
    rgb[5][BOX] = 120
    out = unlike_in_texture(rgb, _nothing(), rho, cameras)
    inside = out[5][BOX][HALF:-HALF, HALF:-HALF]
    assert inside.mean() > 0.5 if here else out.max() == 0


def test_what_moves_in_the_other_frames_is_not_asked() -> None:
    cameras, rho = _walk()
    rgb = _wall(0)
    rgb[:6][(slice(None), *BOX)] = _wall(1)[:6][(slice(None), *BOX)]
    moving = _nothing()
    moving[(slice(0, 6), *BOX)] = True
    out = unlike_in_texture(rgb, moving, rho, cameras)
    assert out[8:].max() < 0.1
    assert out[2][BOX][HALF:-HALF, HALF:-HALF].mean() > 0.5
