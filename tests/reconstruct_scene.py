"""A small world whose depth, flow and motion are known exactly, for the reconstruction tests.

A floor, a wall behind it, and a box on the floor that may slide; all textured by a smooth random
function of the surface point. Rays are cast in numpy, pixel by pixel.
"""

from dataclasses import dataclass

import numpy as np
import torch

from recam.flow.dense import STEPS_PER_PX, FlowSet
from recam.geometry import intrinsics_from_fov, se3, se3_inverse, so3_exp
from recam.types import Cameras, Video, video_from_frames

FLOOR_Y, WALL_Z, BOX_Z = 1.0, 6.0, 4.0
BOX_HALF_WIDTH, BOX_TOP = 0.5, -0.1
_PHASES = np.random.default_rng(5).uniform(0, 2 * np.pi, (24, 3))
_WAVES = np.random.default_rng(6).normal(0, 1, (24, 3)) * np.geomspace(2, 14, 24)[:, None]


@dataclass(frozen=True)
class Truth:
    video: Video
    cameras: Cameras
    depth: np.ndarray
    moving: np.ndarray
    box_x: np.ndarray


def make_cameras(t: int, h: int, w: int, shift: float = 0.06, turn: float = 0.004) -> Cameras:
    """A camera that trucks to the right and turns a little."""
    k = intrinsics_from_fov(60, h, w).expand(t, 3, 3).clone()
    at = torch.arange(t, dtype=torch.float64)
    zero = torch.zeros_like(at)
    world_from_cam = se3(
        so3_exp(torch.stack([zero, -turn * at, zero], 1)),
        torch.stack([shift * at, 0.2 * shift * at, 0.3 * shift * at], 1),
    )
    return Cameras(se3_inverse(world_from_cam), k, h, w)


def render_world(
    t: int = 9, h: int = 72, w: int = 112, slide: float = 0.0, cameras: Cameras | None = None
) -> Truth:
    """The world seen by moving cameras; the box slides by ``slide`` units a frame."""
    cameras = make_cameras(t, h, w) if cameras is None else cameras
    box_x = 0.2 + slide * np.arange(t)
    frames, depths, moving = [], [], []
    for i in range(t):
        depth, color, on_box = _cast(cameras, i, float(box_x[i]))
        frames.append(color)
        depths.append(depth)
        moving.append(on_box if slide else np.zeros_like(on_box))
    stack = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return Truth(video_from_frames(stack), cameras, np.stack(depths), np.stack(moving), box_x)


def _rays(cameras: Cameras, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre [3] and directions [h, w, 3] whose camera z is 1."""
    x, y = np.meshgrid(np.arange(cameras.width) + 0.5, np.arange(cameras.height) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    k, pose = cameras.intrinsics[i].numpy(), cameras.world_from_cam[i].numpy()
    return pose[:3, 3], pixels @ np.linalg.inv(k).T @ pose[:3, :3].T


def _cast(cameras: Cameras, i: int, box_x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    center, ray = _rays(cameras, i)
    with np.errstate(divide="ignore"):
        floor = np.where(ray[..., 1] > 1e-6, (FLOOR_Y - center[1]) / ray[..., 1], np.inf)
        wall = (WALL_Z - center[2]) / ray[..., 2]
        box = (BOX_Z - center[2]) / ray[..., 2]
    at_box = center + box[..., None] * ray
    on_box = (np.abs(at_box[..., 0] - box_x) < BOX_HALF_WIDTH) & (at_box[..., 1] > BOX_TOP)
    on_box &= (box < floor) & (box < wall)
    depth = np.where(on_box, box, np.minimum(floor, wall))
    point = center + depth[..., None] * ray
    point = np.where(on_box[..., None], point - [box_x, 0, 5], point)
    return depth.astype(np.float32), _texture(point), on_box


def _texture(point: np.ndarray) -> np.ndarray:
    waves = np.sin(point @ _WAVES.T + _PHASES[:, 0])
    gray = 128 + 22 * waves[..., ::2].sum(-1) / np.sqrt(6)
    tint = 12 * waves[..., 1:4]
    return np.clip(gray[..., None] + tint, 0, 255).astype(np.uint8)


def exact_flows(truth: Truth, offsets: tuple[int, ...] = (1, 2, 4)) -> FlowSet:
    """True flow (rounded as FlowSet rounds), with confidence 1 where both see the same surface."""
    t = len(truth.video)
    steps, confidence = {}, {}
    for k in offsets:
        for i in range(t):
            for j in (i - k, i + k):
                if 0 <= j < t:
                    flow, seen = true_flow(truth, i, j)
                    scaled = np.rint(flow * STEPS_PER_PX).clip(-32767, 32767)
                    steps[i, j] = torch.from_numpy(scaled.astype(np.int16))
                    confidence[i, j] = torch.from_numpy((255 * seen).astype(np.uint8))
    gray = truth.video.frames.float().mean(1).to(torch.uint8)
    return FlowSet(gray, steps, confidence, offsets)


def true_flow(truth: Truth, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow i -> j [h, w, 2] px, and where the point is in view and not hidden in j."""
    cameras = truth.cameras
    center, ray = _rays(cameras, i)
    point = center + truth.depth[i][..., None] * ray
    point[..., 0] += np.where(truth.moving[i], truth.box_x[j] - truth.box_x[i], 0)
    pose, k = cameras.cam_from_world[j].numpy(), cameras.intrinsics[j].numpy()
    there = point @ pose[:3, :3].T + pose[:3, 3]
    uv = (there @ k.T)[..., :2] / there[..., 2:]
    x, y = np.meshgrid(np.arange(cameras.width) + 0.5, np.arange(cameras.height) + 0.5)
    iu, iv = np.floor(uv[..., 0]).astype(int), np.floor(uv[..., 1]).astype(int)
    inside = (iu >= 0) & (iv >= 0) & (iu < cameras.width) & (iv < cameras.height)
    front = truth.depth[j][iv.clip(0, cameras.height - 1), iu.clip(0, cameras.width - 1)]
    seen = inside & (np.abs(front - there[..., 2]) < 0.05 * there[..., 2])
    return uv - np.stack([x, y], -1), seen
