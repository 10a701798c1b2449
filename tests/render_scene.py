"""An analytic scene for the tests: textured rectangles, ray-cast exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recam.geometry import intrinsics_from_fov, pixel_centers, se3, so3_exp
from recam.types import Cameras


@dataclass(frozen=True)
class Rectangle:
    """Points origin + s·along + t·across with s, t in [0, 1]."""

    origin: tuple[float, float, float]
    along: tuple[float, float, float]
    across: tuple[float, float, float]
    seed: int


def room(with_front: bool = True) -> list[Rectangle]:
    """A back wall, a floor, a slanted board, and in front a box face and a thin pole."""
    far = [
        Rectangle((-9, -6, 7), (18, 0, 0), (0, 9, 0), 1),
        Rectangle((-9, 1.2, 0.5), (18, 0, 0), (0, 0, 6.5), 2),
        Rectangle((1.0, -1.2, 3.4), (1.6, 0, 2.2), (0, 2.2, 0), 3),
    ]
    near = [
        Rectangle((-1.1, -0.5, 2.4), (0.9, 0, 0.2), (0, 1.2, 0), 4),
        Rectangle((0.35, -1.0, 2.0), (0.02, 0, 0), (0, 2.0, 0), 5),
    ]
    return far + near if with_front else far


def _texture(points: Tensor, seed: int, waves: int) -> Tensor:
    """Colours [k, 3] in [0, 1]: waves of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    base = 0.3 + 0.4 * torch.rand(3, generator=generator)
    colour = base.expand(len(points), 3).clone()
    for k in range(waves):
        length = 1.2 * 0.75**k
        direction = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        tint = torch.rand(3, generator=generator) - 0.5
        phase = points @ direction * (2 * math.pi / length) + k
        colour += 0.25 * torch.sin(phase)[:, None] * tint
    return colour.clamp(0, 1)


def _cast(
    rectangles: list[Rectangle], origin: Tensor, rays: Tensor, waves: int
) -> tuple[Tensor, Tensor]:
    """Colours [k, 3] and distances [k] (in multiples of the rays) of the first hits."""
    nearest = torch.full((len(rays),), 1e3)
    colour = torch.zeros(len(rays), 3)
    for r in rectangles:
        along, across = torch.tensor(r.along).float(), torch.tensor(r.across).float()
        normal = torch.linalg.cross(along, across)
        corner = torch.tensor(r.origin).float()
        distance = ((corner - origin) @ normal) / (rays @ normal)
        offset = origin + distance[:, None] * rays - corner
        s, t = offset @ along / along.dot(along), offset @ across / across.dot(across)
        hit = (distance > 0) & (distance < nearest) & (s >= 0) & (s < 1) & (t >= 0) & (t < 1)
        nearest = torch.where(hit, distance, nearest)
        colour[hit] = _texture(offset[hit], r.seed, waves)
    return colour, nearest


def see(
    rectangles: list[Rectangle], camera: Cameras, samples: int = 4, waves: int = 12
) -> tuple[Tensor, Tensor]:
    """Frame uint8 [3, h, w] (samples² rays a pixel), z-depth float32 [h, w] of the centres.

    waves: how many octaves-of-¾ of texture; few for small pictures.
    """
    h, w = camera.height, camera.width
    inverse_k = torch.linalg.inv(camera.intrinsics[0]).float()
    world_from_cam = camera.world_from_cam[0].float()
    total, depth = torch.zeros(h * w, 3), torch.zeros(h * w)
    offsets = [(k + 0.5) / samples - 0.5 for k in range(samples)]
    for dx, dy in [(0.0, 0.0)] + [(dx, dy) for dx in offsets for dy in offsets]:
        uv = pixel_centers(h, w).reshape(-1, 2) + torch.tensor([dx, dy])
        rays = torch.cat([uv, torch.ones(len(uv), 1)], 1) @ inverse_k.T @ world_from_cam[:3, :3].T
        colour, distance = _cast(rectangles, world_from_cam[:3, 3], rays, waves)
        if (dx, dy) == (0.0, 0.0):
            depth = distance
            if samples > 1:
                continue
        total += colour / samples**2
    frame = (total * 255 + 0.5).clamp(0, 255).to(torch.uint8).T.reshape(3, h, w)
    return frame, depth.reshape(h, w)


def camera(
    height: int,
    width: int,
    position: tuple[float, float, float] = (0, 0, 0),
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    fov_deg: float = 60.0,
) -> Cameras:
    """One camera at a place of the room; +yaw looks to the right, +pitch up."""
    turn = so3_exp(torch.tensor([math.radians(pitch_deg), math.radians(yaw_deg), 0.0]).double())
    centre = torch.tensor(position, dtype=torch.float64)
    cam_from_world = se3(turn.T, -turn.T @ centre)
    intrinsics = intrinsics_from_fov(fov_deg, height, width)
    return Cameras(cam_from_world[None], intrinsics[None], height, width)


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> float:
    """dB between uint8 frames [..., 3, h, w], over the pixels of ``where`` [..., h, w]."""
    error = (a.float() - b.float()).square().mean(-3)
    mean = error.mean() if where is None else error[where].mean()
    return float(10 * torch.log10(255**2 / mean.clamp(min=1e-9)))
