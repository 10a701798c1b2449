"""Local geometry of hit points: normals, texture coordinates and footprints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recam.synthetic.raycast import Views
from recam.synthetic.scene import SHAPES, SyntheticScene
from recam.synthetic.textures import SIZE

Vector = tuple[Tensor, Tensor, Tensor]
"""Three components, each [k]: planes keep every operation contiguous."""


@dataclass(frozen=True)
class Points:
    """k points that rays hit: indices int64 [k], pixel coordinates and z-depth float32 [k]."""

    view: Tensor
    part: Tensor
    face: Tensor
    x: Tensor
    y: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.view)


@dataclass(frozen=True)
class Surface:
    """Geometry at k points.

    position, normal: in the world. u, v: texture repeats. along_u, along_v: change of u and v per
    unit of ``stretch``'s direction on the surface. level: log2 of the pixel's footprint in texels.
    cosine: of the viewing angle, > 0.
    """

    position: Vector
    normal: Vector
    u: Tensor
    v: Tensor
    along_u: Tensor
    along_v: Tensor
    level: Tensor
    cosine: Tensor


def rows(table: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """Columns of ``table`` [n, c] at index [k], as c tensors [k]."""
    columns = table.t().contiguous()
    return tuple(column.index_select(0, index) for column in columns)


def dot(a: Sequence[Tensor], b: Sequence[Tensor] | Sequence[float]) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _affine(m: tuple[Tensor, ...], x: Tensor, y: Tensor) -> Vector:
    a, b, c = (torch.addcmul(torch.addcmul(m[i + 2], m[i + 1], y), m[i], x) for i in (0, 3, 6))
    return a, b, c


def surface_at(scene: SyntheticScene, views: Views, points: Points) -> Surface:
    """Positions, normals and texture coordinates of hit points."""
    pair = points.view * views.num_parts + points.part
    m = rows(views.part_rays, pair)
    direction = _affine(m[9:], points.x, points.y)
    local: Vector = tuple(  # type: ignore[assignment]
        torch.addcmul(m[i * 3 + 2], points.depth, direction[i]) for i in range(3)
    )
    normal, u, v, along_u, along_v, level, cosine = _texture_frame(
        scene, views, points, local, direction
    )
    pose = views.world_from_part.flatten(0, 1)
    r = rows(pose[:, :3, :3].flatten(1).float().to(views.device), pair)
    world_normal = tuple(
        r[3 * i] * normal[0] + r[3 * i + 1] * normal[1] + r[3 * i + 2] * normal[2] for i in range(3)
    )
    w = rows(views.world_rays, points.view)
    ahead = _affine(w[9:], points.x, points.y)
    position = tuple(torch.addcmul(w[i * 3 + 2], points.depth, ahead[i]) for i in range(3))
    return Surface(position, world_normal, u, v, along_u, along_v, level, cosine)  # type: ignore[arg-type]


def _texture_frame(
    scene: SyntheticScene, views: Views, points: Points, local: Vector, direction: Vector
) -> tuple[Vector, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Local normal, u, v, their change along the pixel's long axis, mip level and cosine."""
    device = views.device
    repeat = torch.tensor([scene.materials[p.material].repeat_m for p in scene.parts])
    repeat = repeat.to(device).index_select(0, points.part)
    size: Vector = rows(views.size, points.part)  # type: ignore[assignment]
    radius = views.radius.index_select(0, points.part)
    shape = views.shape.to(device).index_select(0, points.part)
    out = torch.zeros(8, len(points), device=device)  # normal 3, u, v, du, dv, texels per metre
    for kind, name in enumerate(SHAPES):
        index = (shape == kind).nonzero()[:, 0]
        if not len(index):
            continue
        pick = lambda values: tuple(c.index_select(0, index) for c in values)  # noqa: E731, B023
        q, s, d = pick(local), pick(size), pick(direction)
        r, face, per = pick((radius, points.face, repeat))
        match name:
            case "box":
                frame = _flat_frame(q, s, _face_normal(face), d, per)
            case "rounded":
                frame = _flat_frame(q, s, _rounded_normal(q, s, r), d, per)
            case "ellipsoid" | "foliage":
                frame = _round_frame(q, s, per)
            case "frustum":
                frame = _frustum_frame(q, s, r, face, per)
        out.index_copy_(1, index, torch.stack(frame))
    normal: Vector = (out[0], out[1], out[2])
    length = dot(direction, direction).sqrt()
    cosine = (-dot(normal, direction) / length).clamp(0.02, 1.0)
    # One pixel is this wide on a surface that faces the camera.
    spacing = views.part_rays[:: views.num_parts, 9::3].norm(dim=1)  # 1/f [v]
    minor = points.depth * spacing.index_select(0, points.view)
    major = minor / cosine
    has_axis = (out[5] != 0) | (out[6] != 0)
    # Two look-ups half a footprint apart cover the long axis; where the axis is not known, one
    # look-up at the geometric mean of the two axes stands between blur and aliasing.
    two = torch.maximum(minor, 0.5 * major)
    width = torch.where(has_axis, two, (minor * major).sqrt())
    level = torch.log2((width * out[7]).clamp(min=1e-6))
    return normal, out[3], out[4], out[5] * major, out[6] * major, level, cosine


def _face_normal(face: Tensor) -> Vector:
    """Axis normals from face codes 2·axis + positive."""
    sign = (face % 2).float() * 2 - 1
    axis = torch.div(face, 2, rounding_mode="floor")
    x, y, z = ((axis == i).float() * sign for i in range(3))
    return x, y, z


def _rounded_normal(q: Vector, size: Vector, radius: Tensor) -> Vector:
    core = [(size[i] - radius).clamp(min=0) for i in range(3)]
    v = [q[i] - torch.maximum(torch.minimum(q[i], core[i]), -core[i]) for i in range(3)]
    length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt().clamp(min=1e-9)
    return v[0] / length, v[1] / length, v[2] / length


def _flat_frame(
    q: Vector, size: Vector, normal: Vector, direction: Vector, repeat: Tensor
) -> tuple[Tensor, ...]:
    """Texture projected along the normal's main axis: upright and unmirrored on the four sides."""
    ax, ay, az = (c.abs() for c in normal)
    on_y = (ay >= ax) & (ay >= az)
    on_x = (ax > az) & ~on_y
    # Seen from outside with −y up, u runs to the right on every side face.
    sign = torch.where(on_y, torch.ones_like(ax), torch.where(on_x, normal[0], -normal[2]).sign())
    flip = torch.where(sign < 0, -torch.ones_like(sign), torch.ones_like(sign))
    u = torch.where(on_x, q[2], q[0]) * flip
    v = torch.where(on_y, q[2], q[1])
    half_u, half_v = torch.where(on_x, size[2], size[0]), torch.where(on_y, size[2], size[1])
    fitted = repeat <= 0
    per_u = torch.where(fitted, 2 * half_u, repeat)
    per_v = torch.where(fitted, 2 * half_v, repeat)
    shift = 0.5 * fitted.float()
    # The footprint is drawn out along the viewing direction's tangent.
    facing = dot(normal, direction)
    tangent = [direction[i] - facing * normal[i] for i in range(3)]
    tu = torch.where(on_x, tangent[2], tangent[0]) * flip
    tv = torch.where(on_y, tangent[2], tangent[1])
    length = (tangent[0] ** 2 + tangent[1] ** 2 + tangent[2] ** 2).sqrt().clamp(min=1e-6)
    texels = SIZE / torch.minimum(per_u, per_v)
    return (
        *normal, u / per_u + shift, v / per_v + shift,
        tu / (length * per_u), tv / (length * per_v), texels,
    )  # fmt: skip


def _turns(radius: Tensor, repeat: Tensor) -> Tensor:
    """Whole number of repeats around a circle, so that the seam closes."""
    wanted = 2 * math.pi * radius / repeat.clamp(min=1e-3)
    return torch.where(repeat > 0, wanted.round().clamp(min=1), torch.ones_like(wanted))


def _round_frame(q: Vector, size: Vector, repeat: Tensor) -> tuple[Tensor, ...]:
    """Longitude and latitude on an ellipsoid."""
    unit = [q[i] / size[i] for i in range(3)]
    gradient = [unit[i] / size[i] for i in range(3)]
    length = (gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2).sqrt().clamp(min=1e-12)
    widest = torch.maximum(size[0], size[2])
    turns = _turns(widest, repeat)
    u = torch.atan2(unit[0], unit[2]) * (turns / (2 * math.pi))
    latitude = torch.asin(unit[1].clamp(-1, 1)) / math.pi
    v = latitude * torch.where(repeat > 0, turns * 0.5, torch.ones_like(turns))
    zero = torch.zeros_like(u)
    texels = SIZE * turns / (2 * math.pi * widest)
    return (*(g / length for g in gradient), u, v, zero, zero, texels)


def _frustum_frame(
    q: Vector, size: Vector, ratio: Tensor, face: Tensor, repeat: Tensor
) -> tuple[Tensor, ...]:
    """Around the side of a cylinder or cone; flat on its caps."""
    unit = [q[i] / size[i] for i in range(3)]
    m, n = 0.5 * (1 + ratio), 0.5 * (1 - ratio)
    cap = face >= 2
    gx, gz = unit[0] / size[0], unit[2] / size[2]
    gy = -(m + n * unit[1]) * n / size[1]
    length = (gx * gx + gy * gy + gz * gz).sqrt().clamp(min=1e-12)
    cap_sign = (face == 3).float() * 2 - 1
    zero = torch.zeros_like(gx)
    nx = torch.where(cap, zero, gx / length)
    ny = torch.where(cap, cap_sign, gy / length)
    nz = torch.where(cap, zero, gz / length)
    widest = torch.maximum(size[0], size[2])
    turns = _turns(widest, repeat)
    per = torch.where(repeat > 0, repeat, 2 * widest)
    per_v = torch.where(repeat > 0, repeat, 2 * size[1])
    u = torch.where(cap, q[0] / per, torch.atan2(unit[0], unit[2]) * (turns / (2 * math.pi)))
    v = torch.where(cap, q[2] / per, q[1] / per_v)
    texels = SIZE * torch.maximum(turns / (2 * math.pi * widest), 1 / per)
    return nx, ny, nz, u, v, zero, zero, texels
