"""The horizon that straight edges tell, and the shift of inverse depth that it tells."""

import cv2
import numpy as np
import pytest
import torch

from recam.geometry import intrinsics_from_fov
from recam.reconstruct.cameras import level_lines
from recam.reconstruct.cameras.bundle_adjustment import rotation_exp
from recam.reconstruct.cameras.level_lines import level_by_lines
from recam.reconstruct.depth_prior.horizon_shift import shift_by_horizon
from recam.types import Cameras

H, W = 192, 288


def _cameras(pitch_deg: float, fov_deg: float, yaws_deg: tuple[float, ...] = (0.0,)) -> Cameras:
    pitch = rotation_exp(np.array([[np.radians(pitch_deg), 0, 0]]))[0]
    yaw = rotation_exp(np.array([[0, np.radians(y), 0] for y in yaws_deg]))
    poses = torch.eye(4, dtype=torch.float64).repeat(len(yaws_deg), 1, 1)
    poses[:, :3, :3] = torch.from_numpy(pitch @ yaw)
    k = intrinsics_from_fov(fov_deg, H, W).expand(len(yaws_deg), 3, 3).clone()
    return Cameras(poses, k, H, W)


def _picture(cameras: Cameras, i: int, ends: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] of lines with these ends [n, 2, 3] in the world, y down."""
    out = np.full((H, W), 90, np.uint8)
    k = cameras.intrinsics[i].numpy()
    for a, b in ends @ cameras.cam_from_world[i, :3, :3].numpy().T:
        if min(a[2], b[2]) > 0.3:
            p, q = ((k @ v)[:2] / v[2] * 16 - 8 for v in (a, b))
            if np.abs(np.stack([p, q])).max() < 16 * 2000:
                first, second = (tuple(int(x) for x in v.round()) for v in (p, q))
                cv2.line(out, first, second, 200, 1, cv2.LINE_AA, 4)
    return np.repeat(cv2.GaussianBlur(out, (0, 0), 0.6)[..., None], 3, -1)


def _inverse_depth(cameras: Cameras, i: int, far: float = 15.0, height: float = 1.5) -> np.ndarray:
    """[h, w] of a level ground and what ends the view ``far`` away."""
    y, x = np.mgrid[0:H, 0:W] + 0.5
    k = cameras.intrinsics[i].numpy()
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(k).T
    down = rays @ cameras.cam_from_world[i, :3, 1].numpy()
    level = np.sqrt((rays**2).sum(-1) - down**2)
    return np.maximum(down / height, level / far).astype(np.float32)


def _edges(seed: int, turn_deg: float = 25.0) -> np.ndarray:
    """[n, 2, 3]: upright and level edges along two more directions, all around the camera."""
    rng = np.random.default_rng(seed)
    turn = rotation_exp(np.array([[0, np.radians(turn_deg), 0]]))[0]
    start = rng.uniform([-6, -3, 1], [6, 3, 12], (150, 3))
    return np.stack([start, start + 1.6 * turn.T[rng.integers(0, 3, 150)]], 1)


@pytest.mark.parametrize(("pitch", "fov", "shift"), [(12, 50, 0.07), (20, 70, -0.08), (8, 60, 0.0)])
def test_edges_tell_the_shift(pitch: float, fov: float, shift: float) -> None:
    cameras = _cameras(pitch, fov)
    rgb = _picture(cameras, 0, _edges(1))[None]
    rho = _inverse_depth(cameras, 0)[None]
    near = float(np.quantile(rho, 0.95))
    usual = Cameras(cameras.cam_from_world, intrinsics_from_fov(55.0, H, W)[None], H, W)
    found = shift_by_horizon(rho + shift * near, rgb, usual, np.ones((1, H, W), bool), False)
    assert found / near == pytest.approx(-shift, abs=0.035)


def test_frames_of_a_turning_camera_count_together() -> None:
    cameras = _cameras(15, 60, (-20.0, 0.0, 20.0))
    rgb = np.stack([_picture(cameras, i, _edges(2)) for i in range(3)])
    rho = np.stack([_inverse_depth(cameras, i) for i in range(3)])
    near = float(np.quantile(rho, 0.95))
    still = np.ones(rho.shape, bool)
    found = shift_by_horizon(rho + 0.06 * near, rgb, cameras, still, True)
    assert found / near == pytest.approx(-0.06, abs=0.015)


def test_the_farthest_does_not_go_to_infinity() -> None:
    cameras = _cameras(12, 50)
    rgb, rho = _picture(cameras, 0, _edges(1))[None], _inverse_depth(cameras, 0, far=4000)[None]
    near = float(np.quantile(rho, 0.95))
    still = np.ones((1, H, W), bool)
    rho = rho + 0.1 * near
    found = shift_by_horizon(rho, rgb, cameras, still, True)
    assert found < 0
    assert (rho + found).min() > 0.35 * rho.min()


def test_edges_that_run_anywhere_are_not_clear_and_moving_ones_not_asked() -> None:
    cameras = _cameras(12, 50)
    rng = np.random.default_rng(2)
    start = rng.uniform([-6, -3, 1], [6, 3, 12], (150, 3))
    anyhow = np.stack([start, start + rng.normal(0, 1, (150, 3))], 1)
    rho, still = _inverse_depth(cameras, 0)[None], np.ones((1, H, W), bool)
    unclear = level_by_lines(_picture(cameras, 0, anyhow)[None], cameras, still, False)
    rgb = _picture(cameras, 0, _edges(1))[None]
    clear = level_by_lines(rgb, cameras, still, False)
    assert unclear is not None and clear is not None
    assert unclear.clear < 0.2 < 0.4 < clear.clear
    assert np.exp(clear.log_focal()[0]) == pytest.approx(
        float(cameras.intrinsics[0, 0, 0]), rel=0.1
    )
    assert level_by_lines(rgb, cameras, ~still, False) is None
    assert shift_by_horizon(rho, rgb, cameras, ~still, False) == 0


def test_without_ground_nothing_is_told() -> None:
    cameras = _cameras(0, 50)
    rgb = _picture(cameras, 0, _edges(1))[None]
    wall = np.ones((1, H, W), np.float32)
    assert shift_by_horizon(wall, rgb, cameras, np.ones((1, H, W), bool), True) == 0


def test_explained_is_what_it_says() -> None:
    rng = np.random.default_rng(3)
    middle, along = rng.normal(0, 60, (20, 2)), rng.normal(0, 1, (20, 2))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    share = np.full(20, 0.05)
    down, ahead, across = level_lines.axes_of(np.radians([5.0, 20.0]), np.radians([0.0, 2.0]))
    azimuth = np.radians(np.arange(0, 90, 15.0))
    turns, near = np.stack([np.cos(azimuth), np.sin(azimuth)], 1), np.radians(20.0) ** 2
    found = level_lines._explained(
        middle, along, share, np.array([150.0, 300.0]), down, ahead, across, turns, near
    )
    for i, focal in enumerate((150.0, 300.0)):
        for m in range(2):
            best = 0.0
            for c, s in turns:
                level = c * ahead[m] + s * across[m], -s * ahead[m] + c * across[m]
                fits = np.zeros(20)
                for v in (down[m], *level):
                    to = focal * v[:2] - middle * v[2]
                    to /= np.linalg.norm(to, axis=1, keepdims=True)
                    sine = to[:, 0] * along[:, 1] - to[:, 1] * along[:, 0]
                    fits = np.maximum(fits, np.clip(1 - sine**2 / near, 0, 1) ** 2)
                best = max(best, float((share * fits).sum()))
            assert found[i, m] == pytest.approx(best)
