"""A camera that turns and shakes before a far wall, exactly, with a shutter of any readout."""

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.geometry import se3, so3_exp
from recam.types import Cameras, Scene, Video

H, W, FPS = 180, 320, 30.0
FOCAL = 300.0
WALL = 10.0
"""Depth of the wall, which is square to the world's z."""


def _wall() -> np.ndarray:
    """Blobs of several sizes."""
    generator = np.random.default_rng(0)
    wall = np.zeros((900, 1200, 3), np.float32)
    for size in (4, 10, 30):
        noise = generator.random((900 // size, 1200 // size, 3), dtype=np.float32)
        wall += cv2.resize(noise, (1200, 900), interpolation=cv2.INTER_CUBIC)
    return np.clip(wall / 3 * 255, 0, 255)


def turns(seconds: Tensor, shake: float, seed: int) -> Tensor:
    """world_from_cam rotations [..., 3, 3] at times [...]: a slow pan, and a hand's shake."""
    generator = np.random.default_rng(seed)
    vector = torch.zeros(*seconds.shape, 3, dtype=torch.float64)
    vector[..., 1] = 0.05 * seconds
    for hertz in (1.3, 2.9, 5.3):
        phase, size = generator.uniform(0, 6.3, 3), generator.normal(0, 1, 3)
        wave = torch.sin(2 * np.pi * hertz * seconds[..., None] + torch.from_numpy(phase))
        vector += shake / hertz * torch.from_numpy(size) * wave
    return so3_exp(vector)


def seen(world_from_cam: Tensor) -> Tensor:
    """uint8 [3, h, w] through rotations [h, w, 3, 3], one for each pixel (or one for all)."""
    y, x = np.mgrid[0:H, 0:W] + 0.5
    rays = np.stack([(x - W / 2) / FOCAL, (y - H / 2) / FOCAL, np.ones_like(x)], -1)
    world = (world_from_cam @ torch.from_numpy(rays)[..., None])[..., 0].numpy()
    u = (600 + 500 * world[..., 0] / world[..., 2]).astype(np.float32)
    v = (450 + 500 * world[..., 1] / world[..., 2]).astype(np.float32)
    shown = cv2.remap(_wall(), u, v, cv2.INTER_LINEAR)
    return torch.from_numpy(shown.round().astype(np.uint8).transpose(2, 0, 1).copy())


def film(
    readout: float = 0.0, shake: float = 0.03, columns: bool = False, seed: int = 1, num: int = 20
) -> Scene:
    """readout: share of a frame's time from the first to the last row. The scene's cameras are
    those of each frame's middle row, its depth the wall's at half the size."""
    y, x = np.mgrid[0:H, 0:W] + 0.5
    share = torch.from_numpy(x / W - 0.5 if columns else y / H - 0.5)
    frames = [seen(turns((i + readout * share) / FPS, shake, seed)) for i in range(num)]
    times_s = torch.arange(num, dtype=torch.float64) / FPS
    rotation = turns(times_s, shake, seed).transpose(1, 2)
    poses = se3(rotation, torch.zeros(num, 3, dtype=torch.float64))
    k = torch.tensor([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]], dtype=torch.float64)
    cameras = Cameras(poses, k.repeat(num, 1, 1), H, W).resized(H // 2, W // 2)
    depth = _wall_depth(cameras)
    there = torch.ones_like(depth, dtype=torch.bool)
    return Scene(Video(torch.stack(frames), times_s), cameras, depth, there, ~there, there.float())


def _wall_depth(cameras: Cameras) -> Tensor:
    """z-depth [n, h, w] of the wall."""
    y, x = np.mgrid[0 : cameras.height, 0 : cameras.width] + 0.5
    pixels = torch.from_numpy(np.stack([x, y, np.ones_like(x)], -1))
    rays = torch.einsum("nij,hwj->nhwi", torch.linalg.inv(cameras.intrinsics), pixels)
    toward = torch.einsum("ni,nhwi->nhw", cameras.world_from_cam[:, 2, :3], rays)
    return (WALL / toward).float()
