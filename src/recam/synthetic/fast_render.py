"""Synthetic scenes drawn fast on one CPU core, for training pictures by the ten thousand.

Geometry is that of ``raycast`` (a test holds the two together). Light is simpler than ``shading``:
one shadow ray and one probe for contact darkening a sample, textures from a fixed bank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.runtime.jit import kernel
from recam.synthetic.fast_hits import hit
from recam.synthetic.fast_shading import CELLS, LEVELS, cast_bins, shade
from recam.synthetic.natural import photo_files
from recam.synthetic.raycast import camera_views, screen_boxes
from recam.synthetic.render import SKY_DEPTH
from recam.synthetic.scene import SyntheticScene, world_from_parts
from recam.synthetic.shading import develop
from recam.synthetic.textures import SIZE, TEXTURE_KINDS, TextureSpec, texture
from recam.types import Cameras, RecamError

THIN_M = 0.045
"""Parts whose middle half extent is less do not darken others."""
TEXTURES_OF_A_KIND = 14
CROPS_OF_A_PHOTO = 14


@dataclass(frozen=True)
class Bank:
    """Textures with their mip levels: texels uint8 [n, TEXELS, 3], 255·√albedo; names: of each."""

    texels: np.ndarray
    names: tuple[str, ...]


def _bank_row(albedo: Tensor) -> np.ndarray:
    """uint8 [TEXELS, 3] of a texture, linear albedo [3, SIZE, SIZE]."""
    rows = []
    for _ in range(LEVELS):
        level = (albedo.clamp(0, 1).sqrt() * 255).round().to(torch.uint8)
        rows.append(level.flatten(1).T.numpy())
        albedo = torch.nn.functional.avg_pool2d(albedo, 2)
    return np.concatenate(rows)


def texture_bank(photos: Path | None = None) -> Bank:
    """Textures of every kind, and crops of all sizes of the photographs in a folder."""
    rows, names = [], []
    for kind in TEXTURE_KINDS:
        for seed in range(TEXTURES_OF_A_KIND):
            rows.append(_bank_row(texture(TextureSpec(kind, 1000 + seed))))
            names.append(str(kind))
    rng = np.random.default_rng(5)
    for file in [] if photos is None else photo_files(photos):
        stored = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if stored is None:
            raise RecamError(f"{file} cannot be read as a picture")
        picture = stored[..., ::-1]
        short = min(picture.shape[:2])
        for _ in range(CROPS_OF_A_PHOTO):
            side = int(short * math.exp(rng.uniform(math.log(0.12), 0)))
            y, x = (int(rng.integers(n - side + 1)) for n in picture.shape[:2])
            crop = picture[y : y + side, x : x + side].astype(np.float32) / 255
            crop = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            linear = torch.from_numpy(crop**2.2).permute(2, 0, 1)
            rows.append(_bank_row(linear.clamp(0.015, 0.92)))
            names.append("photo")
    return Bank(np.stack(rows), tuple(names))


@kernel
def _draw(rays, shape, size, radius, low, high, depth, part, face):
    """Nearest hits at all pixel centres of one view."""
    h, w = depth.shape
    for p in range(len(shape)):
        if not (high[p, 0] > low[p, 0] and high[p, 1] > low[p, 1]):
            continue
        x0, y0 = int(max(low[p, 0] - 0.5, 0.0)), int(max(low[p, 1] - 0.5, 0.0))
        x1, y1 = int(min(high[p, 0] + 0.5, w)), int(min(high[p, 1] + 0.5, h))
        m = rays[p]
        for y in range(y0, y1):
            for x in range(x0, x1):
                fx, fy = x + 0.5, y + 0.5
                dx = m[9] * fx + m[10] * fy + m[11]
                dy = m[12] * fx + m[13] * fy + m[14]
                dz = m[15] * fx + m[16] * fy + m[17]
                t, f = hit(shape[p], m[2], m[5], m[8], dx, dy, dz, size[p, 0], size[p, 1],
                            size[p, 2], radius[p])  # fmt: skip
                if t < depth[y, x]:
                    depth[y, x], part[y, x], face[y, x] = t, p, f


def fast_render(
    scene: SyntheticScene,
    cameras: Cameras,
    times_s: Tensor,
    bank: Bank,
    rng: np.random.Generator,
    textures: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [t, 3, h, w] and z-depth float32 [t, h, w], SKY_DEPTH for the sky.

    textures: per view and material [t, materials], a row of the bank each; None = random ones, the
    same in all views. One sample a pixel, lit anew in every view: grain and jagged edges are for
    who shrinks the pictures.
    """
    num, h, w = len(cameras), cameras.height, cameras.width
    poses = world_from_parts(scene, times_s)
    views = camera_views(scene, cameras, poses, torch.device("cpu"))
    low, high = (x.nan_to_num(0).clamp(-1e6, 1e6).numpy() for x in screen_boxes(views))
    parts = len(scene.parts)
    rays = views.part_rays.view(num, parts, 18).double().numpy()
    back = views.part_from_world.view(num, parts, 12).double().numpy()
    pose = poses[..., :3, :].reshape(num, parts, 12).numpy()
    size, radius = views.size.double().numpy(), views.radius.double().numpy()
    shape, reach = views.shape.numpy(), np.linalg.norm(size, axis=1)
    thick = np.sort(size, 1)[:, 1] > THIN_M
    core = np.concatenate([views.core.double().numpy(), thick[:, None]], 1)
    if textures is None:
        one = rng.integers(len(bank.names), size=len(scene.materials))
        textures = np.broadcast_to(one, (num, len(one)))
    frames = np.empty((num, 3, h, w), np.uint8)
    depths = np.empty((num, h, w), np.float32)
    for i in range(num):
        depth, linear = np.full((h, w), np.inf), np.empty((h, w, 3))
        part, face = np.zeros((2, h, w), np.int64)
        _draw(rays[i], shape, size, radius, low[i], high[i], depth, part, face)
        centre = np.ascontiguousarray(pose[i].reshape(parts, 3, 4)[..., 3])
        light = _light(scene, rng)
        pose_i = cameras.world_from_cam[i].numpy()
        inverse_k = np.linalg.inv(cameras.intrinsics[i].numpy())
        world = np.concatenate([pose_i[:3, :3] @ inverse_k, pose_i[:3, 3:]], 1)
        sky_number, noise = int(rng.integers(len(bank.names))), rng.random((h, w, 4))
        shade(
            depth, part, face, rays[i], world, pose[i], back[i], shape, size, radius, core, reach,
            centre, _materials(scene, textures[i]), bank.texels, light,
            *_shadow_grid(scene, light, centre, reach), float(cameras.intrinsics[i, 0, 0]),
            sky_number, noise, linear,
        )  # fmt: skip
        shown = develop(torch.from_numpy(linear), scene.lighting.exposure)
        frames[i] = shown.permute(2, 0, 1).to(torch.uint8).numpy()
        depths[i] = np.where(np.isinf(depth), SKY_DEPTH, depth)
    return frames, depths


def _shadow_grid(
    scene: SyntheticScene, light: np.ndarray, centre: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid [9] of ``fast_shading``, where the casters of each cell begin, and the casters."""
    to = light[:3]
    a = np.cross(to, [1.0, 0.0, 0.0] if abs(to[0]) < 0.9 else [0.0, 0.0, 1.0])
    a /= np.linalg.norm(a)
    b = np.cross(to, a)
    middle, span = np.array(scene.stage.center), 2 * (scene.stage.radius + 12.0)
    corner = np.array([middle @ a, middle @ b]) - span / 2
    cell = span / CELLS
    casts = np.array([p.casts_shadow for p in scene.parts])
    none = np.zeros(0, np.int64)
    count = cast_bins(centre, reach, casts, a, b, corner, cell, none, none)
    first = np.concatenate([[0], np.cumsum(count[:-1])])
    entries = np.empty(max(int(first[-1]), 1), np.int64)
    cast_bins(centre, reach, casts, a, b, corner, cell, first, entries)
    return np.concatenate([a, b, corner, [cell]]), first, entries


def _materials(scene: SyntheticScene, textures: np.ndarray) -> np.ndarray:
    table = np.array([[m.repeat_m, *m.tint, m.emission] for m in scene.materials])
    chosen = np.array([p.material for p in scene.parts])
    number = np.arange(len(chosen))
    fitted = table[chosen, 0] <= 0
    shift = [np.where(fitted, 0, k * number % 1) for k in (0.618034, 0.414214)]
    return np.column_stack([textures[chosen], table[chosen], *shift])


def _light(scene: SyntheticScene, rng: np.random.Generator) -> np.ndarray:
    """The scene's light, turned and coloured anew: the row of numbers of ``fast_shading``."""
    given, sky = scene.lighting, scene.sky
    to = np.array(given.to_light) + rng.normal(0, 0.35, 3) * np.array([1, 0.3, 1])
    to /= np.linalg.norm(to)
    if to[1] > -0.15:
        to = np.array(given.to_light)
    sun = np.array(given.sun) * rng.uniform(0.2, 1.4)
    ambient = rng.uniform(0.6, 1.6)
    haze = sky.haze_m if math.isfinite(sky.haze_m) else 1e9
    return np.concatenate([
        to, sun, np.array(given.ambient_up) * ambient, np.array(given.ambient_down) * ambient,
        np.array(sky.horizon), np.array(sky.zenith),
        [rng.choice([0.05, 0.2, 0.8]), haze, sky.clouds],
    ])  # fmt: skip
