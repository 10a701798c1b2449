"""Light on hit points: textured albedo, a far light with soft shadows, contact darkening, sky.

Everything but gloss and haze depends on the place in the world alone, so that two views of a
static surface agree in colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.synthetic.raycast import (
    FACES,
    NOTHING,
    Views,
    cast,
    enumerate_boxes,
    make_views,
    unpack_keys,
)
from recam.synthetic.scene import SyntheticScene, part_is_dynamic, world_from_parts
from recam.synthetic.surface import Points, Surface, Vector, dot, rows, surface_at
from recam.synthetic.textures import Atlas, build_atlas, sample_atlas

REACH_M = 0.55  # how far contact darkening reaches
_CONTACT = 0.6  # how much of the ambient light one near surface takes
_CELL_M = 0.7  # size of the cells in which near parts are looked up
_GRID_M = 14.0  # contact darkening is worked out this far around the stage's centre


@dataclass(frozen=True)
class Look:
    """What shading needs and does not change over time, on the device.

    material: per part, columns tint 3, gloss, emission, texture number, u offset, v offset.
    sky_texture: its number in the atlas. static_keys: hits [s, s] from the light of the parts that
    do not move, or None without shadows.
    """

    scene: SyntheticScene
    atlas: Atlas
    material: Tensor
    sky_texture: int
    light: LightGrid
    static_keys: Tensor


@dataclass(frozen=True)
class LightGrid:
    """A square grid of parallel rays from the light over the stage.

    corner [3]: where the ray of pixel (0, 0) starts; right, down [3]: from one pixel to the next;
    ahead [3]: unit direction of the light. num: pixels along a side.
    """

    corner: Tensor
    right: Tensor
    down: Tensor
    ahead: Tensor
    num: int

    @property
    def uvw_from_world(self) -> Tensor:
        spacing2 = float(self.right @ self.right)
        matrix = torch.zeros(3, 4, dtype=torch.float64)
        for row, axis in enumerate((self.right, self.down)):
            matrix[row, :3] = axis / spacing2
            matrix[row, 3] = -(axis @ self.corner) / spacing2
        matrix[2, 3] = 1.0
        return matrix


def prepare_look(scene: SyntheticScene, device: torch.device) -> Look:
    """Textures, material table and the static part of the shadows of a scene."""
    specs = tuple(dict.fromkeys([*(m.texture for m in scene.materials), scene.sky.texture]))
    number = {spec: i for i, spec in enumerate(specs)}
    table = torch.zeros(len(scene.parts), 8)
    for i, part in enumerate(scene.parts):
        m = scene.materials[part.material]
        # Parts of one material shall not show the same piece of it.
        shift = (0.0, 0.0) if m.repeat_m <= 0 else (0.618034 * i % 1, 0.414214 * i % 1)
        table[i] = torch.tensor([*m.tint, m.gloss, m.emission, number[m.texture], *shift])
    light = _light_grid(scene)
    static = torch.zeros(1, dtype=torch.float64)
    keys = _light_keys(scene, light, static, ~part_is_dynamic(scene), device)[0]
    return Look(
        scene, build_atlas(specs, device), table.to(device), number[scene.sky.texture], light, keys
    )


def _light_grid(scene: SyntheticScene) -> LightGrid:
    """The ball around the stage in which things may throw shadows, seen from the light."""
    stage, lighting = scene.stage, scene.lighting
    center = torch.tensor(stage.center, dtype=torch.float64)
    low, high = (torch.tensor(c, dtype=torch.float64) for c in (stage.low, stage.high))
    reach = max(float((high - low).norm()) / 2 + 3.0, stage.radius + 4.0)
    num = int(min(max(2 * reach / (lighting.blur_m / 2), 192), 1024))
    ahead = -torch.tensor(lighting.to_light, dtype=torch.float64)
    aside = torch.tensor([0.0, 0.0, 1.0] if abs(float(ahead[2])) < 0.9 else [1.0, 0.0, 0.0])
    right = torch.linalg.cross(aside.double(), ahead)
    right = right / right.norm()
    down = torch.linalg.cross(ahead, right)
    spacing = 2 * reach / num
    corner = center - reach * (right + down) - (reach + 30.0) * ahead
    return LightGrid(corner, right * spacing, down * spacing, ahead, num)


def _light_keys(
    scene: SyntheticScene, light: LightGrid, times_s: Tensor, chosen: Tensor, device: torch.device
) -> Tensor:
    """Keys [t, s, s] of what the light sees first among the chosen parts [parts] at times_s.

    Their part numbers are the scene's own.
    """
    casters = [i for i, p in enumerate(scene.parts) if p.casts_shadow and bool(chosen[i])]
    if not casters:
        shape = (len(times_s), light.num, light.num)
        return torch.full(shape, NOTHING, device=device)
    part_scene = replace(scene, parts=tuple(scene.parts[i] for i in casters))
    n = len(times_s)
    origin = torch.stack([light.right, light.down, light.corner], -1).expand(n, 3, 3)
    direction = torch.zeros(n, 3, 3, dtype=torch.float64)
    direction[:, :, 2] = light.ahead
    views = make_views(
        part_scene,
        world_from_parts(part_scene, times_s),
        origin,
        direction,
        light.uvw_from_world.expand(n, 3, 4),
        (light.num, light.num),
        pinhole=False,
        device=device,
    )
    keys = cast(views)
    original = torch.tensor(casters, device=device)
    _, part, _ = unpack_keys(keys)
    hit = keys < NOTHING
    part = original.index_select(0, part.clamp(max=len(casters) - 1).flatten()).view_as(part)
    return torch.where(hit, (keys >> 20 << 20) | (part * FACES), keys)


def shade(look: Look, views: Views, times_s: Tensor, points: Points) -> Tensor:
    """Linear colours float32 [3, k] of hit points, haze included."""
    scene, lighting = look.scene, look.scene.lighting
    surface = surface_at(scene, views, points)
    material = rows(look.material, points.part)
    albedo = _albedo(look, surface, material)
    to_light = lighting.to_light
    normal = surface.normal
    facing = (normal[0] * to_light[0] + normal[1] * to_light[1] + normal[2] * to_light[2]).clamp(
        min=0
    )
    lit = facing * _lit_fraction(look, times_s, points, surface)
    open_sky = _openness(look, views, points, surface)
    up = 0.5 - 0.5 * normal[1]
    fade = _falloff(scene, surface.position)
    glint = material[3] * _highlight(surface, views, points, to_light) * lit
    distance = points.depth * _ray_length(views, points)
    haze = 1 - torch.exp(-distance / scene.sky.haze_m)
    out = []
    for c in range(3):
        ambient = (
            lighting.ambient_down[c] + (lighting.ambient_up[c] - lighting.ambient_down[c]) * up
        )
        light = (ambient * open_sky + lighting.sun[c] * lit) * fade + material[4]
        color = albedo[c] * light + glint * lighting.sun[c]
        out.append(torch.lerp(color, torch.full_like(color, scene.sky.horizon[c]), haze))
    return torch.stack(out)


def _albedo(look: Look, surface: Surface, material: tuple[Tensor, ...]) -> Tensor:
    u, v = surface.u + material[6], surface.v + material[7]
    du, dv = 0.25 * surface.along_u, 0.25 * surface.along_v
    first = sample_atlas(look.atlas, material[5], u + du, v + dv, surface.level)
    second = sample_atlas(look.atlas, material[5], u - du, v - dv, surface.level)
    return 0.5 * (first + second) * torch.stack(material[:3])


def _falloff(scene: SyntheticScene, position: Vector) -> Tensor:
    """The lamp's light at a place, 1 under the lamp."""
    center, reach = scene.lighting.falloff_center, scene.lighting.falloff_m
    dx, dy, dz = (position[i] - center[i] for i in range(3))
    return 1 / (1 + (dx * dx + dy * dy + dz * dz) / reach**2)


def _ray_length(views: Views, points: Points) -> Tensor:
    """Length of the rays whose z is 1 [k]."""
    w = rows(views.world_rays, points.view)
    d = [w[9 + 3 * i] * points.x + w[10 + 3 * i] * points.y + w[11 + 3 * i] for i in range(3)]
    return (d[0] ** 2 + d[1] ** 2 + d[2] ** 2).sqrt()


def _highlight(surface: Surface, views: Views, points: Points, to_light: tuple) -> Tensor:
    """Blinn's highlight (Blinn 1977), exponent 48."""
    w = rows(views.world_rays, points.view)
    half = []
    length = _ray_length(views, points)
    for i in range(3):
        d = w[9 + 3 * i] * points.x + w[10 + 3 * i] * points.y + w[11 + 3 * i]
        half.append(to_light[i] - d / length)
    norm = (half[0] ** 2 + half[1] ** 2 + half[2] ** 2).sqrt().clamp(min=1e-6)
    cosine = (dot(surface.normal, (half[0], half[1], half[2])) / norm).clamp(min=0)
    return cosine**48


def _lit_fraction(look: Look, times_s: Tensor, points: Points, surface: Surface) -> Tensor:
    """How much of the light [k] in [0, 1] reaches the points: cubic B-spline over 4 × 4 rays.

    A convex part throws no shadow on itself that its normal does not know of, so hits on the own
    part are no occluders and no depth bias is needed.
    """
    light, scene = look.light, look.scene
    dynamic = _light_keys(scene, light, times_s, part_is_dynamic(scene), points.view.device)
    keys = torch.minimum(dynamic, look.static_keys)
    depth, part, _ = unpack_keys(keys)
    depth, part = depth.flatten(), part.to(torch.int32).flatten()
    matrix = light.uvw_from_world.tolist()
    p = surface.position
    x, y = (m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + (m[3] - 0.5) for m in matrix[:2])
    a = light.ahead.tolist()
    along = a[0] * p[0] + a[1] * p[1] + a[2] * p[2] - float(light.ahead @ light.corner)
    inside = (x >= 1) & (y >= 1) & (x < light.num - 3) & (y < light.num - 3)
    x, y = x.clamp(1, light.num - 3), y.clamp(1, light.num - 3)
    x0, y0 = x.floor(), y.floor()
    weights_x, weights_y = _b_spline(x - x0), _b_spline(y - y0)
    own = points.part.to(torch.int32)
    corner = (points.view * light.num + y0.long() - 1) * light.num + x0.long() - 1
    shadow = torch.zeros_like(x)
    for j in range(4):
        for i in range(4):
            index = corner + (j * light.num + i)
            nearer = depth.index_select(0, index) < along - 1e-3
            occluded = nearer & (part.index_select(0, index) != own)
            shadow = shadow + weights_x[i] * weights_y[j] * occluded
    return 1 - shadow * inside


def _b_spline(f: Tensor) -> tuple[Tensor, ...]:
    """The four cubic B-spline weights at fraction f."""
    g = 1 - f
    return (
        g**3 / 6, (4 - 6 * f * f + 3 * f**3) / 6, (4 - 6 * g * g + 3 * g**3) / 6, f**3 / 6,
    )  # fmt: skip


def _openness(look: Look, views: Views, points: Points, surface: Surface) -> Tensor:
    """Share of the ambient light [k] that near parts leave.

    A point REACH_M along the normal is free of the parts around in the open and close to them in
    corners (the idea of ambient occlusion by distance fields, Evans 2006, with one sample).
    """
    index, part = _near_parts(look, views, points, surface)
    open_sky = torch.ones(len(points), device=views.device)
    pair = points.view.index_select(0, index) * views.num_parts + part
    probe = [
        (surface.position[i] + REACH_M * surface.normal[i]).index_select(0, index) for i in range(3)
    ]
    rotation = views.world_from_part[..., :3, :3].flatten(0, 1)
    origin = views.world_from_part[..., :3, 3].flatten(0, 1)
    r = rows(rotation.flatten(1).float().to(views.device), pair)
    c = rows(origin.float().to(views.device), pair)
    size = rows(views.size, part)
    d = [probe[i] - c[i] for i in range(3)]
    squared = torch.zeros_like(d[0])
    for i in range(3):
        q = r[i] * d[0] + r[3 + i] * d[1] + r[6 + i] * d[2]
        squared = squared + (q.abs() - size[i]).clamp(min=0) ** 2
    near = (1 - squared.sqrt() / REACH_M).clamp(min=0)
    factor = 1 - _CONTACT * near * (part != points.part.index_select(0, index))
    return open_sky.scatter_reduce_(0, index, factor, "prod")


def _near_parts(
    look: Look, views: Views, points: Points, surface: Surface
) -> tuple[Tensor, Tensor]:
    """Pairs (point, part) int64 of parts within reach, found in cells on the ground plan."""
    stage = look.scene.stage
    n = int(2 * _GRID_M / _CELL_M)
    x0, z0 = stage.center[0] - _GRID_M, stage.center[2] - _GRID_M
    pose = views.world_from_part
    extent = (pose[..., :3, :3].abs() @ views.size.cpu().double()[..., None])[..., 0] + REACH_M
    plan = torch.tensor([x0, z0], dtype=torch.float64)
    center = pose[..., :3, 3]
    low = ((center - extent)[..., [0, 2]] - plan) / _CELL_M
    high = ((center + extent)[..., [0, 2]] - plan) / _CELL_M
    low, high = low.floor().clamp(0, n).long(), (high.floor() + 1).clamp(0, n).long()
    box, cx, cz = enumerate_boxes(low.flatten(0, 1), high.flatten(0, 1))
    view = torch.div(box, views.num_parts, rounding_mode="floor")
    cell = (view * n + cz) * n + cx
    cell, order = cell.sort(stable=True)
    part_of = (box % views.num_parts)[order].to(views.device)
    count = torch.bincount(cell, minlength=len(views) * n * n).to(views.device)
    first = torch.cumsum(count, 0) - count
    px = ((surface.position[0] - x0) / _CELL_M).floor()
    pz = ((surface.position[2] - z0) / _CELL_M).floor()
    inside = ((px >= 0) & (pz >= 0) & (px < n) & (pz < n)).nonzero()[:, 0]
    own = (points.view * n + pz.long()) * n + px.long()
    own = own.index_select(0, inside)
    num = count.index_select(0, own)
    row = torch.repeat_interleave(torch.arange(len(own), device=num.device), num)
    begin = first.index_select(0, own) - (torch.cumsum(num, 0) - num)
    entry = begin.index_select(0, row) + torch.arange(len(row), device=num.device)
    return inside.index_select(0, row), part_of.index_select(0, entry)


def sky_colors(look: Look, views: Views, view: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Linear colours float32 [3, k] of rays that leave the scene."""
    sky, lighting = look.scene.sky, look.scene.lighting
    w = rows(views.world_rays, view)
    d = [w[9 + 3 * i] * x + w[10 + 3 * i] * y + w[11 + 3 * i] for i in range(3)]
    length = (d[0] ** 2 + d[1] ** 2 + d[2] ** 2).sqrt()
    dx, dy, dz = (c / length for c in d)
    up = (-dy).clamp(min=0)
    rise = 1 - torch.exp(-3.5 * up)
    flat = 0.25 / (up + 0.12)
    spacing = views.world_rays[:, 9::3].norm(dim=1).index_select(0, view)
    level = torch.log2(256 * 4 * flat * spacing + 1e-6)
    number = torch.full_like(x, look.sky_texture)
    cover = sample_atlas(look.atlas, number, dx * flat, dz * flat, level)[0]
    cover = cover * sky.clouds * (up * 6).clamp(max=1)
    toward = dx * lighting.to_light[0] + dy * lighting.to_light[1] + dz * lighting.to_light[2]
    glow = 0.35 * toward.clamp(min=0) ** 24
    out = []
    for c in range(3):
        blue = sky.horizon[c] + (sky.zenith[c] - sky.horizon[c]) * rise
        white = 0.55 * lighting.sun[c] / max(lighting.sun) + 0.25
        out.append(blue + cover * (white - blue) + glow * lighting.sun[c] * 0.3)
    return torch.stack(out)


def develop(linear: Tensor, exposure: float) -> Tensor:
    """sRGB values in [0, 255] of linear colours of any shape: exposure, then a film curve.

    x / (x + 0.155) · 1.019 is close to sRGB's curve for small x and rolls highlights off.
    """
    x = (linear * exposure).clamp(min=0)
    return (x / (x + 0.155) * (1.019 * 255)).clamp(max=255)


def tint_of(kelvin: float) -> tuple[float, float, float]:
    """Linear colour of a black body, scaled to a mean of 1 (a fit good from 2000 to 12000 K)."""
    t = kelvin / 1000
    red = 1.0 if t < 6.6 else 1.29 * (t - 6) ** -0.133
    green = min(0.39 * math.log(t * 10) - 0.63, 1.0) if t < 6.6 else 1.13 * (t - 6) ** -0.0755
    blue = 1.0 if t > 6.6 else max(0.543 * math.log(max(t * 10 - 10, 1.0)) - 1.196, 0.05)
    rgb = [c**2.2 for c in (red, green, blue)]
    mean = sum(rgb) / 3
    return rgb[0] / mean, rgb[1] / mean, rgb[2] / mean
