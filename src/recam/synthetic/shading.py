"""Light on hit points: textured albedo, a far light with soft shadows, contact darkening, sky.

Everything but gloss and haze depends on the place in the world alone, so that two views of a
static surface agree in colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.synthetic.atlas import Atlas, build_atlas, sample_atlas
from recam.synthetic.raycast import (
    Views,
    cast,
    enumerate_boxes,
    make_views,
    unpack_keys,
)
from recam.synthetic.scene import SyntheticScene, part_is_dynamic, world_from_parts
from recam.synthetic.surface import Points, Surface, Vector, dot, rows, surface_at

REACH_M = 0.55  # how far contact darkening reaches
_CONTACT = 0.9  # a surface that touches the probe leaves exp(−0.9) of the ambient light
_DEEPEST = 0.25  # what is left in the deepest corner
_THIN_M = 0.045  # parts whose middle half extent is less do not darken
_CELL_M = 0.4  # size of the cells in which near parts are looked up
_GRID = (70, 16, 70)  # number of cells (x, y, z) around the stage; beyond, nothing darkens


@dataclass(frozen=True)
class Look:
    """What shading needs and does not change over time, on the device.

    material: per part, columns tint 3, gloss, emission, texture number, u offset, v offset.
    sky_texture: its number in the atlas. static_depth float32, static_part int32 [num, num]: what
    of the parts that do not move each ray from the light meets first. casters: indices of the
    moving parts that throw shadows.
    """

    scene: SyntheticScene
    atlas: Atlas
    material: Tensor
    sky_texture: int
    light: LightGrid
    static_depth: Tensor
    static_part: Tensor
    casters: Tensor


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
    for i, p in enumerate(scene.parts):
        m = scene.materials[p.material]
        # Parts of one material shall not show the same piece of it.
        shift = (0.0, 0.0) if m.repeat_m <= 0 else (0.618034 * i % 1, 0.414214 * i % 1)
        table[i] = torch.tensor([*m.tint, m.gloss, m.emission, number[m.texture], *shift])
    light = _light_grid(scene)
    throws = torch.tensor([p.casts_shadow for p in scene.parts])
    moves = part_is_dynamic(scene)
    still = (throws & ~moves).nonzero()[:, 0]
    poses = world_from_parts(scene, torch.zeros(1, dtype=torch.float64))
    depth, part = _from_light(
        scene, light, still, poses[:, still], (0, 0, light.num, light.num), device
    )
    return Look(
        scene,
        build_atlas(specs, device),
        table.to(device),
        number[scene.sky.texture],
        light,
        depth[0],
        part[0],
        (throws & moves).nonzero()[:, 0],
    )


def _light_grid(scene: SyntheticScene) -> LightGrid:
    """The ball around the stage in which things may throw shadows, seen from the light."""
    stage, lighting = scene.stage, scene.lighting
    center = torch.tensor(stage.center, dtype=torch.float64)
    low, high = (torch.tensor(c, dtype=torch.float64) for c in (stage.low, stage.high))
    reach = max(float((high - low).norm()) / 2 + 3.0, stage.radius + 4.0)
    num = int(min(max(2 * reach / (lighting.blur_m / 2), 192), 800))
    ahead = -torch.tensor(lighting.to_light, dtype=torch.float64)
    aside = torch.tensor([0.0, 0.0, 1.0] if abs(float(ahead[2])) < 0.9 else [1.0, 0.0, 0.0])
    right = torch.linalg.cross(aside.double(), ahead)
    right = right / right.norm()
    down = torch.linalg.cross(ahead, right)
    spacing = 2 * reach / num
    corner = center - reach * (right + down) - (reach + 30.0) * ahead
    return LightGrid(corner, right * spacing, down * spacing, ahead, num)


def _from_light(
    scene: SyntheticScene,
    light: LightGrid,
    chosen: Tensor,
    poses: Tensor,
    window: tuple[int, int, int, int],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Depth float32 and part int32 [v, h, w] that rays from the light meet first.

    chosen: indices [c] of the parts looked at; poses [v, c, 4, 4]: theirs. window: x, y, width and
    height of the rays wanted. Depth is inf where they meet nothing.
    """
    x, y, w, h = window
    v = len(poses)
    if not len(chosen):
        depth = torch.full((v, h, w), math.inf, device=device)
        return depth, torch.zeros(v, h, w, dtype=torch.int32, device=device)
    corner = light.corner + x * light.right + y * light.down
    grid = replace(light, corner=corner)
    origin = torch.stack([grid.right, grid.down, grid.corner], -1).expand(v, 3, 3)
    direction = torch.zeros(v, 3, 3, dtype=torch.float64)
    direction[:, :, 2] = grid.ahead
    uvw = grid.uvw_from_world.expand(v, 3, 4)
    parts = [scene.parts[i] for i in chosen.tolist()]
    views = make_views(parts, poses, origin, direction, uvw, (h, w), pinhole=False, device=device)
    depth, part, _ = unpack_keys(cast(views))
    numbers = torch.cat([chosen, chosen[:1]]).to(torch.int32).to(device)
    part = numbers.index_select(0, part.clamp(max=len(chosen)).flatten()).view_as(part)
    return depth, part


def _occluders(look: Look, views: Views) -> tuple[Tensor, Tensor]:
    """Depth and part [v, num, num] nearest to the light, moving parts included."""
    light, v = look.light, len(views)
    depth, part = look.static_depth.repeat(v, 1, 1), look.static_part.repeat(v, 1, 1)
    poses = views.world_from_part[:, look.casters]
    if not len(look.casters):
        return depth, part
    # Only the window that the moving parts' balls may reach is cast anew.
    radius = views.size.cpu().double()[look.casters].norm(dim=-1, keepdim=True)
    matrix = light.uvw_from_world[:2]
    middle = poses[..., :3, 3] @ matrix[:, :3].T + matrix[:, 3]
    margin = radius / float(light.right.norm())
    low = (middle - margin).amin((0, 1)).floor().clamp(0, light.num - 1).long()
    high = (middle + margin).amax((0, 1)).ceil().clamp(1, light.num).long()
    (x, y), (w, h) = low.tolist(), (high - low).clamp(min=1).tolist()
    moving = _from_light(look.scene, light, look.casters, poses, (x, y, w, h), views.device)
    old = depth[:, y : y + h, x : x + w], part[:, y : y + h, x : x + w]
    nearer = moving[0] < old[0]
    part[:, y : y + h, x : x + w] = torch.where(nearer, moving[1], old[1])
    depth[:, y : y + h, x : x + w] = torch.minimum(moving[0], old[0])
    return depth, part


def shade(look: Look, views: Views, points: Points) -> Tensor:
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
    lit = facing * _lit_fraction(look, views, points, surface)
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


_DAY = 1.6  # light outside the windows, in units of the lamp's


def _falloff(scene: SyntheticScene, position: Vector) -> Tensor:
    """The lamp's light at a place, 1 under the lamp."""
    lighting = scene.lighting
    if math.isinf(lighting.falloff_m):
        return torch.ones_like(position[0])
    dx, dy, dz = (position[i] - lighting.falloff_center[i] for i in range(3))
    fade = 1 / (1 + (dx * dx + dy * dy + dz * dz) / lighting.falloff_m**2)
    low, high = lighting.indoor_low, lighting.indoor_high
    indoors = torch.ones_like(fade, dtype=torch.bool)
    for i in range(3):
        indoors &= (position[i] > low[i]) & (position[i] < high[i])
    return torch.where(indoors, fade, torch.full_like(fade, _DAY))


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


def _lit_fraction(look: Look, views: Views, points: Points, surface: Surface) -> Tensor:
    """How much of the light [k] in [0, 1] reaches the points: B-spline over 3 × 3 rays.

    A convex part throws no shadow on itself that its normal does not know of, so hits on the own
    part are no occluders and no depth bias is needed.
    """
    light = look.light
    depth, part = (plane.flatten() for plane in _occluders(look, views))
    # Points that face away are dark anyway.
    ahead = light.ahead.tolist()
    rows_ = (dot(surface.normal, ahead) < 0).nonzero()[:, 0]
    p = [c.index_select(0, rows_) for c in surface.position]
    matrix = light.uvw_from_world.tolist()
    x, y = (m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + m[3] for m in matrix[:2])
    along = dot(p, ahead) - float(light.ahead @ light.corner) - 1e-3
    inside = (x >= 2) & (y >= 2) & (x < light.num - 2) & (y < light.num - 2)
    x, y = x.clamp(2, light.num - 3), y.clamp(2, light.num - 3)
    x0, y0 = x.floor(), y.floor()
    weights_x, weights_y = _b_spline(x - x0), _b_spline(y - y0)
    own = points.part.to(torch.int32).index_select(0, rows_)
    view = points.view.index_select(0, rows_)
    corner = (view * light.num + y0.long() - 1) * light.num + x0.long() - 1
    shadow = torch.zeros_like(x)
    for j in range(3):
        row = torch.zeros_like(x)
        for i in range(3):
            index = corner + (j * light.num + i)
            nearer = depth.index_select(0, index) < along
            row += weights_x[i] * (nearer & (part.index_select(0, index) != own))
        shadow += weights_y[j] * row
    dark = torch.zeros(len(points), device=x.device)
    return dark.index_copy_(0, rows_, 1 - shadow * inside)


def _b_spline(f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quadratic B-spline weights of a cell and its two neighbours, f in [0, 1) within it."""
    return 0.5 * (1 - f) ** 2, 0.5 + f - f * f, 0.5 * f * f


def _openness(look: Look, views: Views, points: Points, surface: Surface) -> Tensor:
    """Share of the ambient light [k] that near parts leave.

    A probe REACH_M along the normal is far from all parts in the open and close to some in corners
    (ambient occlusion by distance fields, Evans 2006, with one sample).
    """
    p, n = surface.position, surface.normal
    probe = tuple(torch.add(p[i], n[i], alpha=REACH_M) for i in range(3))
    index, part = _near_parts(look, views, points.view, probe)
    view = points.view.index_select(0, index)
    picked = tuple(c.index_select(0, index) for c in probe)
    near = (1 - _distances(views, view * views.num_parts + part, picked) / REACH_M).clamp(0, 1)
    near = near * (part != points.part.index_select(0, index))
    # Summed as whole numbers, so that the order, which CUDA does not keep, does not matter.
    steps = torch.zeros(len(points), dtype=torch.int64, device=views.device)
    steps.scatter_add_(0, index, (near * 4096).long())
    return _DEEPEST + (1 - _DEEPEST) * torch.exp(steps.float() * (-_CONTACT / 4096))


def _distances(views: Views, pair: Tensor, points: tuple[Tensor, ...]) -> Tensor:
    """Distance [k] of world points from (view, part) pairs [k] as boxes with rounded edges."""
    c = rows(views.part_from_world, pair)
    core = rows(views.core, pair % views.num_parts)
    squared = torch.zeros_like(points[0])
    for i in range(3):
        q = torch.addcmul(c[4 * i + 3], c[4 * i], points[0])
        q = torch.addcmul(torch.addcmul(q, c[4 * i + 1], points[1]), c[4 * i + 2], points[2])
        squared += (q.abs() - core[i]).clamp(min=0) ** 2
    return squared.sqrt() - core[3]


def _near_parts(
    look: Look, views: Views, view: Tensor, probe: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Pairs (probe, part) int64 of parts within reach, found in a grid of cells."""
    n = torch.tensor(_GRID)
    center = torch.tensor(look.scene.stage.center)
    corner = center - 0.5 * _CELL_M * n
    corner[1] = 0.5 - n[1] * _CELL_M  # from half a metre under ground upwards
    cell, part_of = _parts_of_cells(views, corner)
    count = torch.bincount(cell, minlength=len(views) * int(n.prod()))
    first = torch.cumsum(count, 0) - count
    at = [((probe[i] - float(corner[i])) / _CELL_M).floor() for i in range(3)]
    inside = (at[0] >= 0) & (at[0] < _GRID[0])
    for i in (1, 2):
        inside = inside & (at[i] >= 0) & (at[i] < _GRID[i])
    index = inside.nonzero()[:, 0]
    x, y, z = (a.index_select(0, index).long() for a in at)
    own = ((view.index_select(0, index) * _GRID[1] + y) * _GRID[2] + z) * _GRID[0] + x
    num = count.index_select(0, own)
    row = torch.repeat_interleave(torch.arange(len(own), device=num.device), num)
    begin = first.index_select(0, own) - (torch.cumsum(num, 0) - num)
    entry = begin.index_select(0, row) + torch.arange(len(row), device=num.device)
    return index.index_select(0, row), part_of.index_select(0, entry)


def _parts_of_cells(views: Views, corner: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted cell numbers and the part within reach of some point of each cell."""
    device, (nx, ny, nz) = views.device, _GRID
    pose = views.world_from_part
    extent = (pose[..., :3, :3].abs() @ views.size.cpu().double()[..., None])[..., 0] + REACH_M
    center, limit = pose[..., :3, 3] - corner, torch.tensor(_GRID, dtype=torch.float64)
    low = ((center - extent) / _CELL_M).floor().clamp(min=0).minimum(limit).long().flatten(0, 1)
    high = ((center + extent) / _CELL_M).floor() + 1
    high = high.clamp(min=0).minimum(limit).long().flatten(0, 1)
    # Thin things take little light; leaving them out halves the work.
    wide = views.size.cpu().sort(dim=1).values[:, 1] > _THIN_M
    high[~wide.repeat(len(views))] = 0
    # Boxes of columns first, then the layers of each column.
    column, x, z = enumerate_boxes(low[:, [0, 2]], high[:, [0, 2]])
    layers = torch.stack([low[:, 1], high[:, 1]], 1)[column]
    zero = torch.zeros_like(layers[:, 0])
    entry, _, y = enumerate_boxes(
        torch.stack([zero, layers[:, 0]], 1), torch.stack([zero + 1, layers[:, 1]], 1)
    )
    pair, x, y, z = column[entry].to(device), x[entry], y, z[entry]
    middle = tuple(
        ((c + 0.5) * _CELL_M + corner[i]).float().to(device) for i, c in enumerate((x, y, z))
    )
    view = torch.div(pair, views.num_parts, rounding_mode="floor")
    cell = ((view * ny + y.to(device)) * nz + z.to(device)) * nx + x.to(device)
    reached = _distances(views, pair, middle) < REACH_M + 0.5 * math.sqrt(3) * _CELL_M
    cell, pair = cell[reached], pair[reached]
    cell, order = cell.sort(stable=True)
    return cell, (pair % views.num_parts)[order]


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
