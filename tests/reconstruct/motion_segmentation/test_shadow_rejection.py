"""What lies in a moving shadow stands still."""

import numpy as np

from recam.reconstruct.motion_segmentation.shadow_rejection import without_shadows
from recam.types import Cameras
from reconstruct_scene import make_cameras

T, H, W = 16, 60, 90


def _still_cameras() -> Cameras:
    one = make_cameras(1, H, W)
    pose = one.cam_from_world.expand(T, 4, 4).clone()
    return Cameras(pose, one.intrinsics.expand(T, 3, 3).clone(), H, W)


def _texture(seed: int, contrast: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(H // 2, W // 2, 1)).repeat(2, 0).repeat(2, 1)
    return np.array([150.0, 120.0, 90.0]) * np.exp(contrast * coarse)


def _clip(thing: np.ndarray | None, light: tuple[float, float, float] = (0.45, 0.5, 0.55)):
    """A floor over which a shadow passes and, beside it, a ``thing`` of another picture."""
    floor = _texture(0, 0.12)
    frames = np.broadcast_to(floor, (T, H, W, 3)).copy()
    shadow, moves = (np.zeros((T, H, W), bool) for _ in range(2))
    for i in range(T):
        left = 4 + 4 * i
        shadow[i, 30:50, left : left + 16] = True
        frames[i][shadow[i]] *= light
        if thing is not None:
            moves[i, 8:30, left : left + 16] = True
            frames[i][moves[i]] = thing[: moves[i].sum()]
    rgb = frames.clip(0, 255).astype(np.uint8)
    rho = np.full((T, H, W), 0.5, np.float32)
    return rgb, shadow, moves, rho


def test_a_moving_shadow_on_texture_stands_still_and_what_casts_it_does_not() -> None:
    other = _texture(5, 0.12)[:22, :16].reshape(-1, 3) * 0.5
    rgb, shadow, moves, rho = _clip(other)
    out = without_shadows(shadow | moves, rgb, rho, _still_cameras())
    inner = shadow.copy()
    inner[:, 30:33] = False
    assert out[inner].mean() < 0.1
    assert out[moves].mean() > 0.85  # of the same colours, as dark as the shadow


def test_another_colour_is_no_shadow_even_without_texture() -> None:
    """Grey trousers over a brown floor, as dark as a shadow would be."""
    rgb, shadow, _, rho = _clip(None)
    rgb[shadow] = (60, 62, 64)
    assert without_shadows(shadow, rgb, rho, _still_cameras())[shadow].all()


def test_what_no_other_frame_shows_stays_as_it_is() -> None:
    rgb, shadow, _, rho = _clip(None)
    always = np.broadcast_to(shadow.any(0), shadow.shape)
    assert np.array_equal(without_shadows(always, rgb, rho, _still_cameras()), always)


def test_nothing_moves() -> None:
    rgb, _, _, rho = _clip(None)
    nothing = np.zeros((T, H, W), bool)
    assert not without_shadows(nothing, rgb, rho, _still_cameras()).any()


def test_what_lies_between_head_and_feet_is_no_shadow() -> None:
    """A hip that looks exactly as the floor behind it would in a shadow."""
    other = _texture(5, 0.12)[:22, :16].reshape(-1, 3)[:, ::-1]
    rgb, hip, head, rho = _clip(other)
    feet = np.roll(head, 42, axis=1)  # from 50 on down
    rgb[feet] = 255 - rgb[head][: feet.sum()]
    out = without_shadows(head | hip | feet, rgb, rho, _still_cameras())
    assert out[hip].mean() > 0.95
