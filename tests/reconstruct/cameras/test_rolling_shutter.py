"""Rolling shutter is noticed where rows are read at different times, and nowhere else."""

import cv2
import numpy as np
import pytest
import torch

from recam.reconstruct.cameras.rolling_shutter import find_rolling_shutter
from recam.types import Cameras, Scene, Video

H, W, NUM, FPS = 180, 320, 20, 30.0
FOCAL = 300.0


def texture() -> np.ndarray:
    """A far wall of blobs of several sizes, seen by all cameras."""
    generator = np.random.default_rng(0)
    wall = np.zeros((900, 1200, 3), np.float32)
    for size in (4, 10, 30):
        noise = generator.random((900 // size, 1200 // size, 3), dtype=np.float32)
        wall += cv2.resize(noise, (1200, 900), interpolation=cv2.INTER_CUBIC)
    return np.clip(wall / 3 * 255, 0, 255)


def angles(seconds: np.ndarray, shake: float, seed: int) -> np.ndarray:
    """Rotation vectors [..., 3] in radians: a slow pan, and a hand's shake."""
    generator = np.random.default_rng(seed)
    out = np.zeros((*seconds.shape, 3))
    out[..., 1] = 0.05 * seconds
    for hertz in (1.3, 2.9, 5.3):
        phase, size = generator.uniform(0, 6.3, 3), generator.normal(0, 1, 3)
        out += shake * size / hertz * np.sin(2 * np.pi * hertz * seconds[..., None] + phase)
    return out


def film(readout: float, shake: float = 0.03, columns: bool = False, seed: int = 1) -> Scene:
    """Every pixel of a turning camera at its own row's (column's) moment: exact."""
    wall = texture()
    y, x = np.mgrid[0:H, 0:W] + 0.5
    rays = np.stack([(x - W / 2) / FOCAL, (y - H / 2) / FOCAL, np.ones_like(x)], -1)
    share = x / W - 0.5 if columns else y / H - 0.5
    frames = np.empty((NUM, 3, H, W), np.uint8)
    for i in range(NUM):
        turn = angles((i + readout * share) / FPS, shake, seed)
        # Small turns: world = ray + turn × ray, to second order.
        once = np.cross(turn, rays)
        world = rays + once + np.cross(turn, once) / 2
        u = (600 + 500 * world[..., 0] / world[..., 2]).astype(np.float32)
        v = (450 + 500 * world[..., 1] / world[..., 2]).astype(np.float32)
        shown = cv2.remap(wall, u, v, cv2.INTER_LINEAR)
        frames[i] = shown.round().astype(np.uint8).transpose(2, 0, 1)
    k = torch.tensor([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]], dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(NUM, 1, 1)
    depth = torch.full((NUM, H // 2, W // 2), 10.0)
    cameras = Cameras(poses, k.repeat(NUM, 1, 1), H, W).resized(H // 2, W // 2)
    there = torch.ones_like(depth, dtype=torch.bool)
    video = Video(torch.from_numpy(frames), torch.arange(NUM, dtype=torch.float64) / FPS)
    return Scene(video, cameras, depth, there, ~there, there.float())


@pytest.mark.parametrize(("readout", "columns"), [(0.8, False), (0.4, False), (-0.6, True)])
def test_it_is_noticed_and_measured(readout: float, columns: bool) -> None:
    found = find_rolling_shutter(film(readout, columns=columns))
    assert found is not None and found.columns == columns
    assert found.readout == pytest.approx(readout, abs=0.15)
    assert ("columns" if columns else "rows") in found.describe()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_global_shutter_is_none(seed: int) -> None:
    assert find_rolling_shutter(film(0.0, seed=seed)) is None


def test_a_steady_camera_tells_nothing() -> None:
    assert find_rolling_shutter(film(0.8, shake=0.0)) is None


def test_few_frames_tell_nothing() -> None:
    scene = film(0.8)
    short = Scene(
        scene.video[:5], scene.cameras[:5], scene.depth[:5], scene.valid[:5], scene.dynamic[:5],
        scene.confidence[:5],
    )  # fmt: skip
    assert find_rolling_shutter(short) is None
