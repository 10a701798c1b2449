"""Ray casting of convex primitives in plain torch: the same code on CPU and CUDA.

Rays are affine in the pixel: origin + t·direction with both affine in (x, y), which covers pinhole
cameras (t is the z-depth) and parallel light. Primitives are culled by their screen boxes in tiles
of 8 × 8 pixels; every (tile, part) pair is intersected at 64 pixels at once and the nearest hit
wins by an integer minimum over (depth bits, part, face), so the result depends neither on order
nor on chunking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recam.geometry import se3_inverse
from recam.synthetic.scene import SHAPES, Part, SyntheticScene
from recam.types import Cameras

TILE = 8
NEAR = 0.02
FACES = 8  # face codes: box 0–5, frustum side 0, caps 2 and 3, others 0
MISS = 0x7F800000 << 20  # keys from here on are infinitely far
NOTHING = MISS | 0xFFFFF  # infinitely far, no part
# Tile pairs intersected at once: on a CPU 1 MB a tensor, which stays in cache.
_PAIR_CHUNK = {"cpu": 1 << 12, "cuda": 1 << 17}


@dataclass(frozen=True)
class Views:
    """v ray grids of the same size, and all parts seen from them.

    part_rays: float32 [v·parts, 18], rows ox oy oz dx dy dz, each times (x, y, 1), in part axes.
    uvw_from_world: float64 [v, 3, 4], projection of world points. pinhole: else parallel rays.
    world_rays: float32 [v, 18], as part_rays in the world. size [parts, 3], radius [parts].
    world_from_part: float64 [v, parts, 4, 4]; part_from_world: float32 [v·parts, 12], the first
    three rows of its inverse. core: float32 [parts, 4], half extents without rounding and the
    rounding's radius. shape: index into SHAPES [parts]. All of the
    float32 tables lie on the device.
    """

    height: int
    width: int
    pinhole: bool
    uvw_from_world: Tensor
    world_from_part: Tensor
    world_rays: Tensor
    part_rays: Tensor
    part_from_world: Tensor
    size: Tensor
    radius: Tensor
    core: Tensor
    shape: Tensor

    def __len__(self) -> int:
        return self.uvw_from_world.shape[0]

    @property
    def num_parts(self) -> int:
        return self.size.shape[0]

    @property
    def device(self) -> torch.device:
        return self.part_rays.device


def camera_views(
    scene: SyntheticScene, cameras: Cameras, world_from_part: Tensor, device: torch.device
) -> Views:
    """The parts, posed [n, parts, 4, 4], each set as seen by the camera of the same index."""
    inverse_k = torch.linalg.inv(cameras.intrinsics)
    world_from_cam = cameras.world_from_cam
    direction = world_from_cam[:, :3, :3] @ inverse_k
    origin = torch.zeros_like(direction)
    origin[:, :, 2] = world_from_cam[:, :3, 3]
    uvw = cameras.intrinsics @ cameras.cam_from_world[:, :3]
    size = (cameras.height, cameras.width)
    return make_views(scene.parts, world_from_part, origin, direction, uvw, size, True, device)


def make_views(
    parts: Sequence[Part],
    world_from_part: Tensor,
    origin: Tensor,
    direction: Tensor,
    uvw_from_world: Tensor,
    size: tuple[int, int],
    pinhole: bool,
    device: torch.device,
) -> Views:
    """Views from world rays: origin, direction [v, 3, 3] times (x, y, 1). See Views."""
    rotation = world_from_part[..., :3, :3].transpose(-1, -2)  # part from world [v, p, 3, 3]
    shifted = origin[:, None].repeat(1, len(parts), 1, 1)
    shifted[..., 2] -= world_from_part[..., :3, 3]
    local = torch.cat([rotation @ shifted, rotation @ direction[:, None]], -2)
    world = torch.cat([origin, direction], -2)
    return Views(
        height=size[0],
        width=size[1],
        pinhole=pinhole,
        uvw_from_world=uvw_from_world,
        world_from_part=world_from_part,
        world_rays=world.flatten(1).float().to(device),
        part_rays=local.reshape(-1, 18).float().to(device),
        part_from_world=se3_inverse(world_from_part)[..., :3, :].reshape(-1, 12).float().to(device),
        size=torch.tensor([p.size for p in parts], dtype=torch.float32, device=device),
        radius=torch.tensor([p.radius for p in parts], dtype=torch.float32, device=device),
        core=torch.tensor([_core(p) for p in parts], dtype=torch.float32, device=device),
        shape=torch.tensor([SHAPES.index(p.shape) for p in parts]),
    )


def _core(part: Part) -> tuple[float, float, float, float]:
    """The part as a box with rounded edges, about: half extents of the core, radius."""
    match part.shape:
        case "box":
            rounding = 0.0
        case "rounded":
            rounding = part.radius
        case _:
            rounding = min(part.size)
    x, y, z = (max(s - rounding, 0.0) for s in part.size)
    return x, y, z, rounding


def enumerate_boxes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All integer points (box, x, y) of k boxes with int64 corners [k, 2], high not included."""
    extent = (high - low).clamp(min=0)
    count = extent[:, 0] * extent[:, 1]
    box = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    first = torch.cumsum(count, 0) - count
    local = torch.arange(len(box), device=count.device) - first.index_select(0, box)
    columns = extent[:, 0].index_select(0, box)
    row = torch.div(local, columns, rounding_mode="floor")
    x = local - row * columns + low[:, 0].index_select(0, box)
    return box, x, row + low[:, 1].index_select(0, box)


def screen_boxes(views: Views) -> tuple[Tensor, Tensor]:
    """Pixel boxes float64 [v, parts, 2] (low, high) around every part; empty when out of view.

    Edges of the part's bounding box are cut at the near plane before they are projected.
    """
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    corners = signs * views.size.cpu().double()[:, None]  # [p, 8, 3]
    pose = views.world_from_part
    world = corners @ pose[..., :3, :3].transpose(-1, -2) + pose[..., None, :3, 3]
    matrix = views.uvw_from_world[:, None]
    uvw = world @ matrix[..., :3].transpose(-1, -2) + matrix[..., None, :, 3]  # [v, p, 8, 3]
    a, b = uvw[..., _EDGES[:, 0], :], uvw[..., _EDGES[:, 1], :]
    # The end of each edge that is too near moves along the edge to the near plane.
    gap = b[..., 2:] - a[..., 2:]
    gap = torch.where(gap.abs() < 1e-12, torch.full_like(gap, 1e-12), gap)
    cut = (NEAR - a[..., 2:]) / gap
    on_plane = a + cut.clamp(0, 1) * (b - a)
    a_in, b_in = a[..., 2:] >= NEAR, b[..., 2:] >= NEAR
    points = torch.cat([torch.where(a_in, a, on_plane), torch.where(b_in, b, on_plane)], -2)
    seen = (a_in | b_in)[..., 0]
    seen = torch.cat([seen, seen], -1)[..., None]
    uv = points[..., :2] / points[..., 2:].clamp(min=NEAR * 0.5)
    low = uv.masked_fill(~seen, math.inf).amin(-2)
    high = uv.masked_fill(~seen, -math.inf).amax(-2)
    return low, high


_EDGES = torch.tensor([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])


def cast(views: Views) -> Tensor:
    """Nearest hits at all pixel centres: keys int64 [v, height, width] (see unpack_keys)."""
    tiles_y, tiles_x = -(-views.height // TILE), -(-views.width // TILE)
    keys = torch.full((len(views) * tiles_y * tiles_x * TILE * TILE,), NOTHING, device=views.device)
    inner = torch.arange(TILE * TILE, device=views.device)
    dx, dy = inner % TILE + 0.5, torch.div(inner, TILE, rounding_mode="floor") + 0.5
    for shape, pair, tx, ty in tile_pairs(views, tiles_y, tiles_x):
        view = torch.div(pair, views.num_parts, rounding_mode="floor")
        x, y = tx[:, None] * TILE + dx, ty[:, None] * TILE + dy
        found = hit_keys(views, shape, pair, x, y)
        tile = (view * tiles_y + ty) * tiles_x + tx
        index = tile[:, None] * (TILE * TILE) + inner
        keys.scatter_reduce_(0, index.flatten(), found.flatten(), "amin")
    keys.masked_fill_(keys >= MISS, NOTHING)
    grid = keys.view(len(views), tiles_y, tiles_x, TILE, TILE).transpose(2, 3)
    return grid.reshape(len(views), tiles_y * TILE, tiles_x * TILE)[
        :, : views.height, : views.width
    ].contiguous()


def tile_pairs(
    views: Views, tiles_y: int, tiles_x: int
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Chunks (shape, view·parts + part, tile x, tile y) of all tiles that parts may cover."""
    low, high = screen_boxes(views)
    limit = torch.tensor([tiles_x, tiles_y], dtype=torch.float64)
    first = (low / TILE).floor().clamp(min=0).minimum(limit).flatten(0, 1)
    last = ((high / TILE).floor() + 1).clamp(min=0).minimum(limit).flatten(0, 1)
    shape = views.shape.repeat(len(views))
    for kind in range(len(SHAPES)):
        rows = (shape == kind).nonzero()[:, 0]
        box, tx, ty = enumerate_boxes(first[rows].long(), last[rows].long())
        pair = rows[box].to(views.device)
        tx, ty = tx.to(views.device), ty.to(views.device)
        step = _PAIR_CHUNK.get(views.device.type, 1 << 16)
        for i in range(0, len(pair), step):
            part = slice(i, i + step)
            yield kind, pair[part], tx[part], ty[part]


def hit_keys(views: Views, shape: int, pair: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Keys int64 [k, s] of the hits of pairs [k] (all of one shape) at s pixels each."""
    part = pair % views.num_parts
    o, d = local_rays(views, pair, x, y)
    face: Tensor | None = None
    size = views.size.index_select(0, part)
    radius = views.radius.index_select(0, part)[:, None]
    match SHAPES[shape]:
        case "box":
            t, face = _hit_box(o, d, size)
        case "rounded":
            t = _hit_rounded(o, d, size, radius)
        case "ellipsoid":
            t = _hit_ellipsoid(o, d, size)
        case "frustum":
            t, face = _hit_frustum(o, d, size, radius)
        case "foliage":
            t, face = _hit_foliage(o, d, size, radius)
    code = (part * FACES)[:, None] if face is None else (part * FACES)[:, None] + face
    # The bits of a positive float grow with it, so the least key is the nearest hit.
    return (t.view(torch.int32).long() << 20) | code


def local_rays(
    views: Views, pair: Tensor, x: Tensor, y: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Origins and directions, three components each, in the axes of the pairs' parts."""
    m = views.part_rays.index_select(0, pair).t().contiguous()[..., None]  # [18, k, 1]
    o: tuple[Tensor, ...]
    d: tuple[Tensor, ...]
    if views.pinhole:
        o = (m[2], m[5], m[8])
        d = tuple(torch.addcmul(torch.addcmul(m[i + 2], m[i + 1], y), m[i], x) for i in (9, 12, 15))
    else:
        o = tuple(torch.addcmul(torch.addcmul(m[i + 2], m[i + 1], y), m[i], x) for i in (0, 3, 6))
        d = (m[11], m[14], m[17])
    return o, tuple(c + 1e-12 for c in d)


def _hit_box(o: tuple, d: tuple, size: Tensor) -> tuple[Tensor, Tensor]:
    """Slab test; face = 2·axis + (1 if the hit side is the positive one)."""
    near = torch.full((1, 1), -math.inf, device=size.device)
    far = -near
    face = torch.zeros((1, 1), dtype=torch.int64, device=size.device)
    for axis in range(3):
        inverse = d[axis].reciprocal()
        middle = -o[axis] * inverse
        half = inverse.abs() * size[:, axis, None]
        enter, leave = middle - half, middle + half
        side = 2 * axis + (inverse < 0).long()
        face = face + (enter > near).long() * (side - face)
        near, far = torch.maximum(near, enter), torch.minimum(far, leave)
    near, far, face = torch.broadcast_tensors(near, far, face)
    return _when((near <= far) & (near > NEAR), near), face


def _when(hit: Tensor, t: Tensor) -> Tensor:
    """t where hit, else infinity (also for t that is not a number)."""
    return torch.where(hit, t, torch.full_like(t, math.inf))


def _hit_ellipsoid(o: tuple, d: tuple, size: Tensor) -> Tensor:
    inside, near, _ = _sphere_crossings(o, d, size)
    return _when((inside > 0) & (near > NEAR), near)


def _sphere_crossings(o: tuple, d: tuple, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both crossings of an ellipsoid: a unit sphere in scaled space; real where the first is > 0.

    The perpendicular form keeps its digits far from the origin.
    """
    inverse = size.reciprocal()
    ox, oy, oz = (o[i] * inverse[:, i, None] for i in range(3))
    dx, dy, dz = (d[i] * inverse[:, i, None] for i in range(3))
    a = dx * dx + dy * dy + dz * dz
    middle = -(ox * dx + oy * dy + oz * dz) / a
    px, py, pz = ox + middle * dx, oy + middle * dy, oz + middle * dz
    inside = 1 - (px * px + py * py + pz * pz)
    half = (inside.clamp(min=0) / a).sqrt()
    return inside, middle - half, middle + half


def _hit_foliage(o: tuple, d: tuple, size: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """An ellipsoid's shell with gaps, through which its far side shows (face 1)."""
    inside, near, far = _sphere_crossings(o, d, size)
    leaf_near = (inside > 0) & (near > NEAR) & _is_leaf(o, d, near, gap)
    leaf_far = (inside > 0) & (far > NEAR) & _is_leaf(o, d, far, gap)
    t = torch.where(leaf_near, near, far)
    return _when(leaf_near | leaf_far, t), (~leaf_near).long()


def _is_leaf(o: tuple, d: tuple, t: Tensor, gap: Tensor) -> Tensor:
    """Where foliage has leaves: warped waves in space of about ``gap`` metres, in two sizes."""
    k = math.pi / gap
    x, y, z = (torch.addcmul(o[i], t, d[i]) * k for i in range(3))
    coarse = torch.sin(x + 1.7 * torch.sin(0.9 * y)) + torch.sin(y + 1.7 * torch.sin(1.1 * z))
    fine = torch.sin(2.3 * z + 1.9 * torch.sin(2.1 * x)) * torch.sin(
        2.6 * y + 1.5 * torch.sin(2.4 * z)
    )
    return coarse + 1.3 * fine > -0.55


def _hit_frustum(o: tuple, d: tuple, size: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Upright cone stump: radius 1 at the bottom (+y), ``ratio`` at the top, in scaled space."""
    inverse = size.reciprocal()
    ox, oy, oz = (o[i] * inverse[:, i, None] for i in range(3))
    dx, dy, dz = (d[i] * inverse[:, i, None] for i in range(3))
    # Radius at height y is m + n·y. Start at the point nearest to the axis' middle for accuracy.
    shift = -(ox * dx + oz * dz) / (dx * dx + dz * dz)
    sx, sy, sz = ox + shift * dx, oy + shift * dy, oz + shift * dz
    m, n = 0.5 * (1 + ratio), 0.5 * (1 - ratio)
    r, dr = m + n * sy, n * dy
    a = dx * dx + dz * dz - dr * dr
    b = sx * dx + sz * dz - r * dr
    c = sx * sx + sz * sz - r * r
    a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
    root = (b * b - a * c).clamp(min=0).sqrt()
    real = b * b >= a * c
    side = torch.full_like(a, math.inf)
    for sign in (-1.0, 1.0):
        t = (-b + sign * root) / a
        on_side = real & ((sy + t * dy).abs() <= 1) & (r + t * dr >= 0) & (t + shift > NEAR)
        side = torch.minimum(side, _when(on_side, t + shift))
    cap = -dy.sign()  # the cap that faces the ray: bottom +1, top −1
    t_cap = (cap - oy) / dy
    cx, cz, rc = ox + t_cap * dx, oz + t_cap * dz, m + n * cap
    t_cap = _when((cx * cx + cz * cz <= rc * rc) & (t_cap > NEAR), t_cap)
    on_cap = (t_cap < side).long()
    return torch.minimum(side, t_cap), on_cap * (2 + (cap > 0).long())


_NEWTON_STEPS = 10


def _hit_rounded(o: tuple, d: tuple, size: Tensor, radius: Tensor) -> Tensor:
    """A box core grown by a radius: Newton's method on the distance along the ray.

    The distance to a convex set is convex along a ray, so steps from outside never overshoot.
    """
    start, _ = _hit_box(o, d, size)
    missed = start.isinf()
    t = start.masked_fill(missed, 0.0)
    core = [(size[:, i, None] - radius).clamp(min=0) for i in range(3)]
    gap = torch.full_like(t, math.inf)
    for _ in range(_NEWTON_STEPS):
        q = [torch.addcmul(o[i], t, d[i]) for i in range(3)]
        v = [q[i] - torch.maximum(torch.minimum(q[i], core[i]), -core[i]) for i in range(3)]
        length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt().clamp(min=1e-9)
        slope = (v[0] * d[0] + v[1] * d[1] + v[2] * d[2]) / length
        gap = length - radius
        # A ray that no longer comes nearer has passed by: leave its gap open.
        t = t - gap / slope.clamp(max=-1e-4)
    reached = (gap.abs() < 1e-3 * radius + 1e-5) & ~missed
    return _when(reached & (t > NEAR), t)


def cast_points(views: Views, view: Tensor, uv_px: Tensor) -> Tensor:
    """Nearest hits at k free points: keys int64 [k].

    view: int64 [k]; uv_px: float32 [k, 2], inside the picture.
    """
    tiles_y, tiles_x = -(-views.height // TILE), -(-views.width // TILE)
    tile_xy = (uv_px / TILE).floor().long()
    tile_xy[:, 0].clamp_(0, tiles_x - 1)
    tile_xy[:, 1].clamp_(0, tiles_y - 1)
    tile = (view * tiles_y + tile_xy[:, 1]) * tiles_x + tile_xy[:, 0]
    order = tile.argsort(stable=True)
    count = torch.bincount(tile, minlength=len(views) * tiles_y * tiles_x)
    first = torch.cumsum(count, 0) - count
    keys = torch.full((len(view),), NOTHING, device=views.device)
    for shape, pair, tx, ty in tile_pairs(views, tiles_y, tiles_x):
        of_view = torch.div(pair, views.num_parts, rounding_mode="floor")
        owner = (of_view * tiles_y + ty) * tiles_x + tx
        n = count.index_select(0, owner)
        row = torch.repeat_interleave(torch.arange(len(owner), device=n.device), n)
        begin = (first.index_select(0, owner) - (torch.cumsum(n, 0) - n)).index_select(0, row)
        point = order.index_select(0, begin + torch.arange(len(row), device=n.device))
        uv = uv_px.index_select(0, point)
        found = hit_keys(views, shape, pair.index_select(0, row), uv[:, :1], uv[:, 1:])
        keys.scatter_reduce_(0, point, found[:, 0], "amin")
    return keys


def unpack_keys(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """t float32 (z-depth; inf = nothing), part int64 (of no meaning there), face int64."""
    depth = (keys >> 20).to(torch.int32).view(torch.float32)
    code = keys & 0xFFFFF
    return depth, code >> 3, code & (FACES - 1)
