"""The level ground of a clip: the one plane that most of the lower picture lies on.

In every frame a plane's inverse depth is linear in the pixel, and nothing that is seen lies below
the ground. So it bounds how far away anything can be, also where depth was measured badly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recam.arrays import F32, F64, Mask
from recam.types import Cameras

FRAMES, GRID = 12, 24
"""Frames that are looked at, and points across each."""
LOWER = 0.4
"""The ground is sought below this part of the picture's height."""
TRIES = 400
NEAR = 0.03
"""Relative difference of inverse depth up to which a point lies on the plane."""
BELOW = 0.9
"""Part of the plane's inverse depth under which a point lies below it."""
STEEPEST_DEG = 40.0
"""Between the ground's normal and the mean picture's vertical."""
MIN_SHARE, MAX_BELOW = 0.2, 0.1
"""Parts of the points that must lie on the ground, and that may lie below it."""
MIN_TRUST = 0.3


@dataclass(frozen=True)
class Ground:
    """The ground as each frame sees it. rho: its inverse depth [t, h, w], 0 above its horizon;
    down: its normal in each camera's axes [t, 3]; rays_from_pixels: inverse intrinsics [t, 3, 3].
    """

    rho: F32
    down: F64
    rays_from_pixels: F64

    def standing_plane(self, frame: int, x: float, y: float) -> F64:
        """The vertical plane that faces the camera, through the point of the ground at a pixel: its
        inverse depth at (x', y') is that at (x, y) times result · (x' + ½, y' + ½, 1)."""
        there = np.array([x + 0.5, y + 0.5, 1.0])
        ray, down = self.rays_from_pixels[frame] @ there, self.down[frame]
        plane = self.rays_from_pixels[frame].T @ (ray - (ray @ down) * down)
        return np.asarray(plane / (plane @ there))


def find_ground(rho: F32, trust: F32, cameras: Cameras) -> Ground | None:
    """The ground of a clip; None where there is no such.

    rho, trust: inverse depth of what stands still and how sure it is, [t, h, w]. The plane that
    most points lie on and few below, of those through three points of a frame (RANSAC; Fischler
    and Bolles 1981), then fitted to its points.
    """
    frames = np.unique(np.linspace(0, len(rho) - 1, FRAMES).round().astype(int))
    samples = [_points(rho[i], trust[i], cameras, i) for i in frames.tolist()]
    if sum(len(rays) for rays, _ in samples) < 100:
        return None
    points = np.concatenate([rays / own[:, None] for rays, own in samples])
    frame = np.repeat(np.arange(len(samples)), [len(own) for _, own in samples])
    centers = cameras.centers.numpy()[frames]
    plane = _best_plane(points, frame, centers, _down(cameras))
    if plane is None:
        return None
    down = cameras.cam_from_world[:, :3, :3].numpy() @ plane[:3]
    return Ground(_drawn(plane, cameras), down, np.linalg.inv(cameras.intrinsics.numpy()))


def _points(rho: F32, trust: F32, cameras: Cameras, i: int) -> tuple[F64, F64]:
    """Rays [k, 3] of a frame's grid points in world axes, z-depth 1, and their inverse depth."""
    h, w = rho.shape
    step = max(1, w // GRID)
    y, x = np.mgrid[int(LOWER * h) + step // 2 : h : step, step // 2 : w : step].reshape(2, -1)
    trusted = (trust[y, x] > MIN_TRUST) & (rho[y, x] > 0)
    y, x = y[trusted], x[trusted]
    return _rays(cameras, i, x, y), rho[y, x].astype(np.float64)


def _rays(cameras: Cameras, i: int, x: NDArray, y: NDArray) -> F64:
    pixels = np.stack([x + 0.5, y + 0.5, np.ones_like(x, dtype=np.float64)], -1)
    k, rotation = cameras.intrinsics[i].numpy(), cameras.cam_from_world[i, :3, :3].numpy()
    return np.asarray(pixels @ np.linalg.inv(k).T @ rotation)


def _down(cameras: Cameras) -> F64:
    down = cameras.cam_from_world[:, 1, :3].mean(0).numpy()
    return np.asarray(down / np.linalg.norm(down))


def _best_plane(points: F64, frame: NDArray, centers: F64, down: F64) -> F64 | None:
    """(normal, offset) [4] with normal · X = offset, the normal pointing down; points [k, 3] are
    relative to the centres [n, 3] of their frames."""
    rng = np.random.default_rng(0)
    own = centers[frame]
    best, score = None, 0.0
    order = np.argsort(frame, kind="stable")
    starts = np.searchsorted(frame[order], np.arange(len(centers) + 1))
    for _ in range(TRIES):
        f = int(rng.integers(len(centers)))
        few = order[starts[f] : starts[f + 1]]
        if len(few) < 10:
            continue
        a, b, c = (points + own)[rng.choice(few, 3, replace=False)]
        plane = _plane(np.cross(b - a, c - a), a, down)
        if plane is None:
            continue
        on, below = _sides(plane, points, own)
        if on.sum() - 2.0 * below.sum() > score:
            best, score = plane, float(on.sum() - 2.0 * below.sum())
    if best is None:
        return None
    for _ in range(3):
        on, below = _sides(best, points, own)
        world = (points + own)[on]
        # Far points err more, as the square of their distance.
        weight = 1 / np.maximum((points[on] ** 2).sum(1), 1e-12)
        middle = np.average(world, axis=0, weights=weight)
        away = (world - middle) * np.sqrt(weight)[:, None]
        best = _plane(np.linalg.eigh(away.T @ away)[1][:, 0], middle, down)
        if best is None:
            return None
    on, below = _sides(best, points, own)
    good = on.mean() > MIN_SHARE and below.mean() < MAX_BELOW
    return best if good else None


def _plane(normal: F64, through: F64, down: F64) -> F64 | None:
    length = float(np.linalg.norm(normal))
    if length < 1e-12:
        return None
    normal = normal / length
    slope = float(normal @ down)
    if abs(slope) < np.cos(np.radians(STEEPEST_DEG)):
        return None
    normal = normal * np.sign(slope)
    return np.append(normal, normal @ through)


def _sides(plane: F64, points: F64, own: F64) -> tuple[Mask, Mask]:
    """Which points lie on the plane, and which below it."""
    height = plane[3] - own @ plane[:3]
    # How many times its own distance along the ray the plane is away: 1 on it, less below it.
    ratio = height / np.maximum(points @ plane[:3], 1e-12)
    seen = (points @ plane[:3] > 0) & (height > 0)
    return seen & (np.abs(ratio - 1) < NEAR), seen & (ratio < BELOW)


def _drawn(plane: F64, cameras: Cameras) -> F32:
    t, h, w = len(cameras), cameras.height, cameras.width
    y, x = np.mgrid[0:h, 0:w]
    centers = cameras.centers.numpy()
    out = np.zeros((t, h, w), np.float32)
    for i in range(t):
        height = float(plane[3] - centers[i] @ plane[:3])
        if height > 1e-9:
            out[i] = np.maximum(_rays(cameras, i, x, y) @ plane[:3] / height, 0)
    return out
