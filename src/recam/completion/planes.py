"""The planes that bound a scene, and how they go on where nobody looked.

A plane behind which next to nothing is seen bounds the scene: the ground, the walls and the ceiling
of a room, but not the side of a box. Such planes go on behind what stands before them and beyond
the picture's border. The first one that a ray meets is what it would show.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recam.flow.masked import from_nearest, split_border
from recam.types import Rendering

MAX_PLANES = 6
MIN_SHARE = 0.06
"""Of the known pixels that a plane has to explain."""
NEAR = 0.012
"""A point lies on a plane if it is nearer to it than this share of its depth."""
BEHIND_SHARE = 0.04
"""Of all points that may lie behind a plane that bounds the scene."""
HYPOTHESES = 600
MAX_POINTS = 12_000
DEPTH_STEP = 0.1
"""As in flow_propagation: nearer by more than this share is in front."""
BEYOND = 255
"""Label of pixels whose rays meet no plane: the sky, and what stands before it."""


@dataclass(frozen=True)
class Surface:
    """What one frame's pixels lie on.

    label: uint8 [h, w], 0 = none of the planes, k = the k-th, BEYOND. into: float32 [h, w, 2, 2],
    d(coordinates in the plane) / d(column, row); the identity where there is no plane. depth:
    float32 [h, w], the plane's z-depth, 0 where there is none.
    """

    label: np.ndarray
    into: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Layout:
    """planes: float64 [k, 4], n · X + d = 0 in the world, n towards the cameras. surfaces: one a
    frame. cam_from_world [t, 4, 4], intrinsics [t, 3, 3]: of the frames."""

    planes: np.ndarray
    surfaces: list[Surface]
    cam_from_world: np.ndarray
    intrinsics: np.ndarray

    def homography(self, plane: int, start: int, end: int) -> np.ndarray:
        """float64 [3, 3]: from pixel centres of frame ``start`` to those of ``end``, by the plane
        with this number (from 1)."""
        n, d = self.planes[plane - 1, :3], self.planes[plane - 1, 3]
        first, second = self.cam_from_world[start], self.cam_from_world[end]
        relative = second @ np.linalg.inv(first)
        center = -first[:3, :3].T @ first[:3, 3]
        normal, away = first[:3, :3] @ n, n @ center + d
        motion = relative[:3, :3] - np.outer(relative[:3, 3], normal) / away
        return self.intrinsics[end] @ motion @ np.linalg.inv(self.intrinsics[start])


def find_layout(rendering: Rendering, seed: int = 0) -> Layout | None:
    """The planes that bound what a rendering shows; None where there are none.

    Known pixels without depth, and holes, are taken to show the first plane in their way.
    """
    known = (rendering.known > 0.5).numpy()
    depth = np.where(known, rendering.depth.numpy(), 0)
    poses = rendering.cameras.cam_from_world.numpy()
    intrinsics = rendering.cameras.intrinsics.numpy()
    points, scale, places = _points(depth, poses, intrinsics)
    centers = rendering.cameras.centers.numpy()
    planes = _bounding_planes(points, scale, places, centers, np.random.default_rng(seed))
    if len(planes) == 0:
        return None
    surfaces = [_surface(planes, d, p, k) for d, p, k in zip(depth, poses, intrinsics)]
    return Layout(planes, surfaces, poses, intrinsics)


def _points(
    depth: np.ndarray, poses: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points [n, 3] of a grid of pixels with depth, their depth [n], and where they are:
    (frame, row, column) [n, 3]."""
    step = max(1, round((depth.size / (2 * MAX_POINTS)) ** 0.5))
    places = np.argwhere(depth[:, step // 2 :: step, step // 2 :: step] > 0)
    places[:, 1:] = places[:, 1:] * step + step // 2
    frame, y, x = places.T
    z = depth[frame, y, x].astype(np.float64)
    rays = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], -1)
    local = z[:, None] * np.einsum("nij,nj->ni", np.linalg.inv(intrinsics)[frame], rays)
    turned = local - poses[frame, :3, 3]
    return np.einsum("nji,nj->ni", poses[frame, :3, :3], turned), z, places


def _bounding_planes(
    points: np.ndarray,
    scale: np.ndarray,
    places: np.ndarray,
    centers: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """float64 [k, 4], found one after the other by consensus."""
    planes: list[np.ndarray] = []
    free = np.ones(len(points), bool)
    while len(planes) < MAX_PLANES and free.sum() > MIN_SHARE * len(points):
        tried = _hypotheses(points, places, np.flatnonzero(free), rng)
        if len(tried) == 0:
            break
        tried = _towards(tried, centers)
        off = (points @ tried[:, :3].T + tried[:, 3]) / scale[:, None]
        support = ((np.abs(off) < NEAR) & free[:, None]).mean(0)
        support[(off < -3 * NEAR).mean(0) > BEHIND_SHARE] = 0
        best = tried[int(support.argmax())]
        if support.max() < MIN_SHARE:
            break
        first = np.abs(points @ best[:3] + best[3]) < NEAR * scale
        for _ in range(4):
            near = free & (np.abs(points @ best[:3] + best[3]) < NEAR * scale)
            if near.sum() < 3:
                break
            best = _towards(_fitted(points[near], scale[near])[None], centers)[0]
        off = (points @ best[:3] + best[3]) / scale
        on = np.abs(off) < NEAR
        if (on & free).mean() < MIN_SHARE or (off < -3 * NEAR).mean() > BEHIND_SHARE:
            free &= ~first
            continue
        planes.append(best)
        free &= np.abs(off) > 2 * NEAR
    return np.array(planes).reshape(-1, 4)


def _hypotheses(
    points: np.ndarray, places: np.ndarray, free: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """float64 [n, 4]: planes through three points of one frame, not far apart in the picture."""
    first = rng.choice(free, HYPOTHESES)
    reach = rng.choice([0.05, 0.12, 0.3], HYPOTHESES) * places[:, 1:].max()
    others = []
    for _ in range(2):
        guesses = rng.choice(free, (HYPOTHESES, 64))
        apart = np.abs(places[guesses] - places[first][:, None])
        good = (apart[..., 0] == 0) & (apart[..., 1:].max(-1) < reach[:, None])
        others.append(np.where(good.any(1), guesses[np.arange(HYPOTHESES), good.argmax(1)], -1))
    found = (others[0] >= 0) & (others[1] >= 0)
    a, b, c = points[first[found]], points[others[0][found]], points[others[1][found]]
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    wide = np.linalg.norm(b - a, axis=1) * np.linalg.norm(c - a, axis=1)
    good = length > 0.1 * wide + 1e-12
    normal = normal[good] / length[good][:, None]
    return np.concatenate([normal, -(normal * a[good]).sum(1, keepdims=True)], 1)


def _fitted(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float64 [4]: the plane nearest to points, in units of their depths."""
    weight = 1 / scale**2
    mean = (weight[:, None] * points).sum(0) / weight.sum()
    _, _, axes = np.linalg.svd((points - mean) / scale[:, None], full_matrices=False)
    return np.append(axes[2], -axes[2] @ mean)


def _towards(planes: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Planes [n, 4] whose normals point to where the cameras are."""
    side = np.sign((planes[:, :3] @ centers.T + planes[:, 3:]).mean(1))
    return planes * np.where(side == 0, 1, side)[:, None]


def _surface(
    planes: np.ndarray, depth: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray
) -> Surface:
    """What a frame's pixels lie on. depth: [h, w], 0 = unknown."""
    height, width = depth.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    back = pose[:3, :3].T @ np.linalg.inv(intrinsics)  # pixel → direction with z-depth 1
    rays = back[:, 0] * x[:, None] + back[:, 2] + (back[:, 1] * y[:, None])[:, None]
    center = -pose[:3, :3].T @ pose[:3, 3]
    first = np.full(depth.shape, np.inf)
    label = np.full(depth.shape, BEYOND, np.uint8)
    slant = np.ones(depth.shape)
    for number, plane in enumerate(planes, 1):
        towards = rays @ plane[:3]
        away = center @ plane[:3] + plane[3]
        with np.errstate(divide="ignore", invalid="ignore"):
            hit = np.where((towards < 0) & (away > 0), -away / towards, np.inf)
        nearer = hit < first
        first[nearer], label[nearer], slant[nearer] = hit[nearer], number, -towards[nearer]
    # What is known to stand before the plane, or behind it, is not on it.
    off = np.abs(depth - first) * slant > 2 * NEAR * np.where(depth > 0, depth, np.inf)
    label[(label != BEYOND) & (depth > 0) & off] = 0
    label[_beside_other_things(label, depth)] = 0
    into = np.broadcast_to(np.eye(2, dtype=np.float32), (*depth.shape, 2, 2)).copy()
    for number, plane in enumerate(planes, 1):
        on = label == number
        axes = np.linalg.svd(plane[None, :3])[2][1:]
        ray, z, towards = rays[on], first[on], rays[on] @ plane[:3]
        for k in range(2):
            step = z[:, None] * (back[:, k] - ray * (back[:, k] @ plane[:3] / towards)[:, None])
            into[on, :, k] = step @ axes.T
    on_plane = (label > 0) & (label != BEYOND)
    return Surface(label, into, np.where(on_plane, first, 0).astype(np.float32))


def _beside_other_things(label: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """bool [h, w]: unknown pixels whose nearest neighbour that lies behind them is on no plane, as
    far as the thing that it belongs to is long along the border: it goes on, not the plane."""
    known = depth > 0
    nearness = np.where(known, -np.log(np.where(known, depth, 1)) / DEPTH_STEP, 0)
    behind, _ = split_border(nearness.astype(np.float32), known)
    other = behind & (label == 0)
    if not other.any():
        return np.zeros(known.shape, bool)
    on_plane, _ = from_nearest(label > 0, behind)
    _, part = cv2.connectedComponents(other.astype(np.uint8), connectivity=8)
    thickness = max(3, max(known.shape) // 120)  # of the border that split_border tells
    long, away = from_nearest((np.bincount(part.ravel()) / thickness)[part], other)
    return ~known & ~on_plane & (away < long)
