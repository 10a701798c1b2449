"""Procedural textures that tile: linear albedo with the statistics of photographed surfaces.

Every texture is a function of (kind, seed): float32 [3, SIZE, SIZE], periodic in both directions,
so that mip levels and wrapped look-ups are exact. v runs down, u right.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from recam.synthetic.texture_noise import (
    SIZE,
    TEXTURE_KINDS,
    Noise,
    TextureKind,
    TextureSpec,
    grid,
    look_up,
    mix,
    smooth,
)
from recam.types import RecamError

__all__ = ["SIZE", "TEXTURE_KINDS", "TextureKind", "TextureSpec", "texture"]


def texture(spec: TextureSpec) -> Tensor:
    """Linear albedo float32 [3, SIZE, SIZE] of a texture."""
    if spec.photo is not None:
        return _tiled_photo(spec.photo).clamp(0.015, 0.92)
    return _PAINTERS[spec.kind](Noise(spec)).clamp(0.015, 0.92)


def _plaster(n: Noise) -> Tensor:
    base = n.color((0.0, 1.0), (0.02, 0.3), (0.62, 0.95))
    return base * (1 + 0.05 * n.fractal(1.3) + 0.035 * n.fractal(0.3))


def _concrete(n: Noise) -> Tensor:
    base = n.color((0.05, 0.15), (0.02, 0.12), (0.45, 0.7))
    pits = smooth(1.6, 2.6, n.fractal(0.3, low=12))
    stains = smooth(0.2, 1.8, n.fractal(1.4))
    return base * (1 + 0.13 * n.fractal(1.0)) * (1 - 0.5 * pits) * (1 - 0.22 * stains)


def _masonry(n: Noise, columns: int, rows: int, gap: float, shift: float) -> tuple[Tensor, ...]:
    """Row-shifted blocks: joint (1 inside a joint), block number field, distance to the joint."""
    u, v = grid()
    wobble = 0.0012 * n.fractal(1.0)
    y = (v + wobble) * rows
    row = y.floor()
    x = (u + wobble) * columns + (row % 2) * shift
    fx, fy = x % 1, y % 1
    aspect = rows / columns
    edge = torch.minimum(torch.minimum(fx, 1 - fx) * aspect, torch.minimum(fy, 1 - fy))
    return 1 - smooth(gap * 0.55, gap, edge), look_up(n.cells(columns, rows), x, row), edge


def _brick(n: Noise) -> Tensor:
    rows = 2 * n.integer(4, 7)
    joint, tone, edge = _masonry(n, max(rows // 3, 2), rows, 0.09, 0.5)
    base = n.color((0.0, 0.09), (0.35, 0.7), (0.4, 0.7))
    other = n.color((0.0, 0.12), (0.2, 0.6), (0.3, 0.75))
    brick = mix(base, other, tone) * (1 + 0.22 * n.fractal(0.8) + 0.5 * (tone - 0.5))
    brick = brick * (0.75 + 0.25 * smooth(0.05, 0.25, edge))
    mortar = n.color((0.05, 0.12), (0.02, 0.15), (0.55, 0.8)) * (1 + 0.15 * n.fractal(0.5))
    return mix(brick, mortar, joint)


def _tiles(n: Noise) -> Tensor:
    count = 2 * n.integer(1, 4)
    joint, tone, _ = _masonry(n, count, count, 0.02 + 0.006 * count, 0.0)
    u, v = grid()
    checker = ((u * count).floor() + (v * count).floor()) % 2
    a = n.color((0.0, 1.0), (0.02, 0.4), (0.55, 0.9))
    b = n.color((0.0, 1.0), (0.05, 0.5), (0.2, 0.7)) if n.uniform() < 0.5 else a
    tile = mix(a, b, checker) * (1 + 0.16 * (tone - 0.5) + 0.09 * n.fractal(1.1))
    grout = n.color((0.05, 0.12), (0.02, 0.1), (0.3, 0.6))
    return mix(tile, grout, joint)


def _grain(n: Noise, stretch: float) -> Tensor:
    """Wood grain along u: bent rings and fibres."""
    _, v = grid()
    rings = n.integer(5, 11)
    bent = v * rings + 0.35 * n.fractal(1.6, stretch)
    return 0.55 * torch.sin(2 * math.pi * bent) + 0.8 * n.fractal(0.6, stretch * 2)


def _planks(n: Noise) -> Tensor:
    columns, rows = n.integer(1, 2), n.integer(4, 8)
    joint, tone, edge = _masonry(n, columns, 2 * (rows // 2), 0.03, 0.37)
    base = n.color((0.05, 0.1), (0.3, 0.65), (0.4, 0.8))
    field = base * (1 + 0.75 * (tone - 0.5)) * (1 + 0.13 * _grain(n, 9.0))
    return field * (1 - 0.75 * joint) * (0.9 + 0.1 * smooth(0.0, 0.2, edge))


def _wood(n: Noise) -> Tensor:
    base = n.color((0.03, 0.11), (0.3, 0.7), (0.3, 0.8))
    return base * (1 + 0.16 * _grain(n, 7.0) + 0.06 * n.fractal(1.2))


def _fabric(n: Noise) -> Tensor:
    u, v = grid()
    threads = n.integer(20, 34) * 2
    weave = torch.sin(math.pi * threads * u) * torch.sin(math.pi * threads * v)
    base = n.color((0.0, 1.0), (0.1, 0.75), (0.25, 0.85))
    cloth = base.expand(3, SIZE, SIZE)
    if n.uniform() < 0.6:
        other = n.color((0.0, 1.0), (0.1, 0.7), (0.2, 0.9))
        count = n.integer(2, 7)
        bands = smooth(0.2, 0.35, torch.sin(2 * math.pi * count * u))
        if n.uniform() < 0.5:
            bands = 0.5 * bands + 0.5 * smooth(0.2, 0.35, torch.sin(2 * math.pi * count * v))
        cloth = mix(cloth, other, bands)
    return cloth * (1 + 0.1 * weave + 0.07 * n.fractal(0.9))


def _rug(n: Noise) -> Tensor:
    """A carpet: figures mirrored in both directions, a border, pile noise."""
    u, v = grid()
    a, b = (u - 0.5).abs() * 2, (v - 0.5).abs() * 2
    k, m = n.integer(3, 6), n.integer(3, 6)
    angle = torch.atan2(b, a)
    figure = torch.sin(math.pi * k * a) * torch.sin(math.pi * m * b)
    figure = figure + torch.sin(8 * (a * a + b * b).sqrt() + m * torch.cos(4 * angle))
    colors = [n.color((0.9, 1.15), (0.3, 0.85), (0.2, 0.85)) for _ in range(4)]
    rug = mix(colors[0], colors[1], smooth(-0.1, 0.1, figure))
    rug = mix(rug, colors[2], smooth(0.7, 0.8, figure))
    border = smooth(0.82, 0.83, torch.maximum(a, b)) * (1 - smooth(0.92, 0.93, torch.maximum(a, b)))
    rug = mix(rug, colors[3], border)
    return rug * (1 + 0.12 * n.fractal(0.4) + 0.06 * n.fractal(1.2))


def _grass(n: Noise) -> Tensor:
    low = n.color((0.2, 0.3), (0.4, 0.7), (0.2, 0.35))
    high = n.color((0.15, 0.28), (0.35, 0.7), (0.45, 0.7))
    dry = n.color((0.1, 0.16), (0.3, 0.6), (0.5, 0.75))
    blades = n.fractal(0.5, 0.35) + 0.6 * n.fractal(0.4, 0.25, low=16)
    lawn = mix(low, high, torch.sigmoid(1.5 * blades + 0.5 * n.fractal(1.1)))
    return mix(lawn, dry, 0.6 * smooth(0.5, 2.0, n.fractal(1.3)))


def _asphalt(n: Noise) -> Tensor:
    base = n.color((0.05, 0.65), (0.0, 0.08), (0.25, 0.5))
    stones = n.fractal(0.15)
    patch = smooth(-0.4, 0.4, n.fractal(1.6))
    return base * (1 + 0.22 * stones + 0.1 * n.fractal(1.0)) * (0.85 + 0.15 * patch)


def _worley(n: Noise, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells about jittered points: distance to the border, a number for each, radius to centre."""
    u, v = grid()
    side = torch.arange(count).float()
    jitter = 0.75 * (n.rand(count, count, 2) - 0.5)
    centre_u = (side[None, :] + 0.5 + jitter[..., 0]) / count
    centre_v = (side[:, None] + 0.5 + jitter[..., 1]) / count
    tone = n.rand(count, count)
    near = torch.full((SIZE, SIZE), 9.0)
    second, owner = near.clone(), torch.zeros(SIZE, SIZE)
    column, row = (u * count).long(), (v * count).long()
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            r, c = (row + dr) % count, (column + dc) % count
            du, dv = (u - centre_u[r, c]).abs(), (v - centre_v[r, c]).abs()
            du, dv = torch.minimum(du, 1 - du), torch.minimum(dv, 1 - dv)
            distance = count * (du * du + dv * dv).sqrt()
            second = torch.minimum(second, torch.maximum(near, distance))
            owner = torch.where(distance < near, tone[r, c], owner)
            near = torch.minimum(near, distance)
    return second - near, owner, near


def _cobble(n: Noise) -> Tensor:
    border, tone, near = _worley(n, n.integer(6, 11))
    base = n.color((0.05, 0.65), (0.02, 0.2), (0.4, 0.7))
    stone = base * (0.7 + 0.6 * tone) * (1.1 - 0.45 * near) * (1 + 0.15 * n.fractal(0.8))
    gap = n.color((0.05, 0.2), (0.1, 0.4), (0.15, 0.35))
    return mix(gap, stone, smooth(0.05, 0.22, border + 0.02 * n.fractal(0.8)))


def _bark(n: Noise) -> Tensor:
    base = n.color((0.04, 0.1), (0.2, 0.55), (0.3, 0.55))
    ridges = n.fractal(0.9, 0.22)
    return base * (1 + 0.4 * torch.tanh(1.3 * ridges) + 0.15 * n.fractal(0.3))


def _leaves(n: Noise) -> Tensor:
    """Foliage: leaf-sized cells of many greens over deep shade."""
    hue = n.uniform(0.17, 0.33) if n.uniform() < 0.8 else n.uniform(0.03, 0.14)
    _, tone, near = _worley(n, n.integer(18, 28))
    dark = n.color((hue, hue + 0.04), (0.5, 0.8), (0.1, 0.22))
    light = n.color((hue - 0.05, hue), (0.4, 0.75), (0.5, 0.8))
    shade = tone * (1.2 - 0.8 * near) + 0.3 * n.fractal(1.0)
    depth = smooth(0.3, 1.3, n.fractal(0.8, low=4))
    return mix(mix(dark, light, shade.clamp(0, 1)), 0.5 * dark, 0.8 * depth)


def _metal(n: Noise) -> Tensor:
    base = n.color((0.0, 1.0), (0.0, 0.5), (0.35, 0.85))
    scratches = n.fractal(0.3, 12.0)
    rust = smooth(1.0, 2.2, n.fractal(1.2)) * (n.uniform() < 0.5)
    painted = base * (1 + 0.06 * scratches + 0.05 * n.fractal(1.2))
    return mix(painted, n.color((0.03, 0.07), (0.5, 0.8), (0.25, 0.45)), 0.8 * rust)


def _stripes(n: Noise) -> Tensor:
    u, v = grid()
    count = n.integer(2, 6)
    along = v if n.uniform() < 0.5 else u
    phase = count * along + 0.15 * torch.sin(2 * math.pi * n.integer(1, 3) * (u + v - along))
    cells = (phase * 2).floor().long() % (2 * count)
    palette = torch.stack(
        [n.color((0.0, 1.0), (0.3, 0.9), (0.25, 0.95))[:, 0, 0] for _ in range(3)]
    )
    picked = palette[torch.randint(0, 3, (2 * count,), generator=n.generator)]
    picked[::2] = palette[0]
    return picked[cells].permute(2, 0, 1) * (1 + 0.06 * n.fractal(0.9))


def _pattern(n: Noise) -> Tensor:
    """Printed pattern: checks, dots or lozenges in two or three colours."""
    u, v = grid()
    count = 2 * n.integer(2, 5)
    x, y = u * count, v * count
    match n.integer(0, 2):
        case 0:
            figure = (x.floor() + y.floor()) % 2
        case 1:
            odd = y.floor() % 2
            figure = 1 - smooth(0.28, 0.34, torch.hypot((x + 0.5 * odd) % 1 - 0.5, y % 1 - 0.5))
        case _:
            figure = smooth(
                -0.08, 0.08, torch.sin(math.pi * (x + y)) * torch.sin(math.pi * (x - y))
            )
    a = n.color((0.0, 1.0), (0.3, 0.9), (0.3, 0.95))
    b = n.color((0.0, 1.0), (0.1, 0.8), (0.2, 0.95))
    return mix(a, b, figure) * (1 + 0.06 * n.fractal(1.0) + 0.03 * n.fractal(0.2))


def _facade(n: Noise) -> Tensor:
    """House front, two storeys by two windows to the repeat."""
    u, v = grid()
    columns, rows = 2, 2
    x, y = (u * columns) % 1, (v * rows) % 1
    wide, tall = n.uniform(0.18, 0.36), n.uniform(0.22, 0.36)
    across, down = (x - 0.5).abs(), (y - 0.45).abs()
    window = smooth(-0.008, 0.008, torch.minimum(wide - across, tall - down))
    frame = smooth(-0.03, -0.02, torch.minimum(wide - across, tall - down)) - window
    bar = window * (1 - smooth(0.008, 0.02, torch.minimum(across, (down - 0.06).abs())))
    tone = look_up(n.cells(columns, rows), u * columns, v * rows)
    glass = n.color((0.52, 0.65), (0.1, 0.5), (0.15, 0.45)) * (0.5 + 1.3 * tone)
    glass = glass * (1.3 - 0.8 * y + 0.15 * n.fractal(1.3))
    lit = n.color((0.1, 0.14), (0.3, 0.5), (0.7, 0.9))
    glass = mix(glass, lit, 0.8 * (tone > 0.86))
    wall_kind = n.integer(0, 2)
    wall = (_brick(n), _plaster(n), _concrete(n))[wall_kind]
    if wall_kind == 0:
        wall = F.avg_pool2d(wall.repeat(1, 4, 4), 4)
    sill = smooth(tall + 0.01, tall + 0.02, y - 0.45) * (
        1 - smooth(tall + 0.05, tall + 0.06, y - 0.45)
    )
    sill = sill * smooth(-0.05, -0.04, wide - across)
    wall = wall * (1 - 0.12 * smooth(0.9, 0.97, y))
    trim = n.color((0.0, 1.0), (0.0, 0.3), (0.5, 0.95))
    front = mix(mix(wall, trim, (frame + sill).clamp(0, 1)), glass, window)
    return mix(front, trim, bar) * (1 + 0.05 * n.fractal(1.2))


def _picture(n: Noise) -> Tensor:
    """A framed landscape or abstract: graded ground, hills, discs, boxes, strokes."""
    u, v = grid()
    sky = n.color((0.0, 1.0), (0.15, 0.7), (0.5, 0.95))
    low = n.color((0.0, 1.0), (0.15, 0.8), (0.3, 0.9))
    art = mix(sky, low, v) * (1 + 0.12 * n.fractal(1.3))
    for _ in range(n.integer(3, 7)):
        color = n.color((0.0, 1.0), (0.2, 0.9), (0.1, 0.95)) * (1 + 0.15 * n.fractal(1.0))
        cx, cy, size = n.uniform(0.1, 0.9), n.uniform(0.1, 0.9), n.uniform(0.06, 0.3)
        match n.integer(0, 3):
            case 0:
                inside = size - torch.hypot(u - cx, v - cy)
            case 1:
                inside = torch.minimum(size - (u - cx).abs(), 0.6 * size - (v - cy).abs())
            case 2:
                hills = sum(
                    n.uniform(-0.1, 0.1) * torch.sin(2 * math.pi * k * (u + cx)) for k in (1, 2, 3)
                )
                inside = v - cy - hills
            case _:
                inside = 0.03 - (v - cy - (u - 0.5) * n.uniform(-1.5, 1.5)).abs()
        art = mix(art, color, smooth(-0.004, 0.004, inside))
    edge = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v))
    mat = n.color((0.08, 0.13), (0.0, 0.15), (0.75, 0.97))
    frame = n.color((0.03, 0.12), (0.2, 0.7), (0.08, 0.5)) * (1 + 0.1 * n.fractal(0.8))
    art = mix(mat, art, smooth(0.095, 0.1, edge))
    return mix(frame, art, smooth(0.04, 0.046, edge))


def _books(n: Noise) -> Tensor:
    """Shelves of book spines, three rows to the repeat."""
    u, v = grid()
    rows = 3
    row = (v * rows).long()
    y = (v * rows) % 1
    art = torch.zeros(3, SIZE, SIZE)
    board = n.color((0.05, 0.1), (0.3, 0.6), (0.15, 0.6))
    for r in range(rows):
        art_row = board * 0.12 * torch.ones(3, SIZE, SIZE)
        left = 0.0
        while left < 0.97:
            width, height = n.uniform(0.02, 0.06), n.uniform(0.55, 0.86)
            color = n.color((0.0, 1.0), (0.1, 0.85), (0.15, 0.9))
            x = (u - left) / width
            spine = (x > 0.04) & (x < 0.97) & (y > 0.93 - height) & (y < 0.93)
            round_shade = 0.7 + 0.5 * (1 - (2 * x - 1) ** 2).clamp(0, 1)
            at = 0.93 - height * n.uniform(0.3, 0.8)
            label = ((y - at).abs() < 0.05) & ((x - 0.5).abs() < 0.3)
            spine_color = mix(color, n.color((0, 1), (0, 0.5), (0.2, 1)), 0.8 * label.float())
            art_row = torch.where(spine, spine_color * round_shade, art_row)
            left += width
        art = torch.where(row == r, art_row, art)
    art = torch.where(y > 0.93, board * (1 + 0.1 * n.fractal(0.8, 6.0)), art)
    return art * (1 + 0.07 * n.fractal(0.8))


def _rock(n: Noise) -> Tensor:
    base = n.color((0.03, 0.15), (0.05, 0.3), (0.35, 0.65))
    ridges = 1 - n.fractal(1.2).abs()
    moss = smooth(0.3, 1.4, n.fractal(1.0))
    stone = base * (0.75 + 0.3 * ridges + 0.16 * n.fractal(0.7)).clamp(min=0.1)
    return mix(stone, n.color((0.18, 0.26), (0.3, 0.6), (0.2, 0.45)), 0.5 * moss)


def _marble(n: Noise) -> Tensor:
    u, v = grid()
    base = n.color((0.0, 1.0), (0.0, 0.12), (0.7, 0.95))
    vein = n.color((0.0, 1.0), (0.05, 0.4), (0.2, 0.5))
    wave = torch.sin(
        2 * math.pi * (n.integer(1, 2) * u + n.integer(1, 3) * v) + 1.7 * n.fractal(1.4)
    )
    lines = 1 - smooth(0.0, 0.35, wave.abs())
    return mix(base, vein, 0.65 * lines * smooth(-1.0, 1.0, n.fractal(1.0))) * (
        1 + 0.05 * n.fractal(1.0)
    )


def _page(n: Noise) -> Tensor:
    """A printed sheet: heading, lines of words, a picture."""
    u, v = grid()
    lines = 2 * n.integer(10, 16)
    y = v * lines
    odd = (y.floor() % 2 == 0) & (y % 1 > 0.15)
    words = look_up((n.cells(48, lines) > 0.24).float(), u * 48, y)
    ink = words * odd * (u > 0.08) * (u < 0.92) * (v > 0.22) * (v < 0.94)
    heading = (v > 0.07) & (v < 0.16) & (u > 0.08) & (u < n.uniform(0.5, 0.92))
    heading = heading & (look_up((n.cells(14, 1) > 0.15).float(), u * 14, v * 0) > 0)
    paper = n.color((0.08, 0.6), (0.0, 0.2), (0.8, 0.98)) * (1 + 0.02 * n.fractal(1.2))
    dark = n.color((0.0, 1.0), (0.0, 0.6), (0.05, 0.3))
    sheet = mix(paper, dark, (0.85 * ink + heading).clamp(0, 1))
    x0, y0 = n.uniform(0.1, 0.45), n.uniform(0.25, 0.5)
    inside = (u > x0) & (u < x0 + 0.42) & (v > y0) & (v < y0 + 0.3)
    photo = n.color((0.0, 1.0), (0.1, 0.6), (0.3, 0.8)) * (1 + 0.35 * n.fractal(1.1))
    return torch.where(inside, photo, sheet)


def _dirt(n: Noise) -> Tensor:
    base = n.color((0.06, 0.12), (0.2, 0.5), (0.4, 0.75))
    pebbles = smooth(1.2, 1.8, n.fractal(0.5, low=10))
    soil = base * (1 + 0.16 * n.fractal(0.9) + 0.07 * n.fractal(0.2))
    return mix(soil, n.color((0.05, 0.6), (0.0, 0.15), (0.5, 0.8)), 0.6 * pebbles)


def _shingles(n: Noise) -> Tensor:
    _, v = grid()
    rows = 2 * n.integer(4, 6)
    joint, tone, _ = _masonry(n, rows, rows, 0.06, 0.5)
    y = (v * rows) % 1
    base = n.color((0.0, 0.08), (0.2, 0.7), (0.3, 0.6))
    return (
        base
        * (0.65 + 0.45 * y + 0.4 * (tone - 0.5))
        * (1 + 0.12 * n.fractal(0.7))
        * (1 - 0.5 * joint)
    )


def _panels(n: Noise) -> Tensor:
    """Painted wall: wainscot boards or wallpaper stripes, worn."""
    u, v = grid()
    base = n.color((0.0, 1.0), (0.05, 0.45), (0.45, 0.9))
    other = n.color((0.0, 1.0), (0.05, 0.4), (0.45, 0.9))
    count = n.integer(3, 8)
    stripe = smooth(-0.1, 0.1, torch.sin(2 * math.pi * count * u))
    if n.uniform() < 0.5:
        sprig = torch.sin(2 * math.pi * 2 * count * u) * torch.sin(2 * math.pi * 2 * count * v)
        stripe = smooth(0.55, 0.7, sprig + 0.1 * n.fractal(0.8))
    else:
        stripe = 0.5 * stripe
    return mix(base, other, stripe) * (1 + 0.05 * n.fractal(1.3) + 0.02 * n.fractal(0.2))


def _clouds(n: Noise) -> Tensor:
    """Cloud cover as grey, 0 clear to 1 white, for the sky."""
    field = n.fractal(1.5) + 0.25 * n.fractal(0.9)
    return smooth(n.uniform(-0.4, 0.6), n.uniform(1.2, 2.0), field).expand(3, SIZE, SIZE)


def _deadleaves(n: Noise) -> Tensor:
    """Crooked patches of all sizes that hide each other, each with a grain of its own.

    The dead leaves model with radii of density 1/r³, whose edges, scales and occlusions are those
    of photographs (Lee, Mumford and Huang 2001); colours keep near one, as a material's do.
    """
    u, v = grid()
    u, v = u + 0.02 * n.fractal(1.3), v + 0.02 * n.fractal(1.3)
    hue, value = n.uniform(), n.uniform(0.35, 0.65)
    strong = n.uniform(0.1, 0.5)
    grain = torch.stack([n.fractal(s) for s in (0.6, 1.0, 1.4)])
    art = n.color((hue, hue), (0.0, strong), (value, value)).expand(3, SIZE, SIZE).clone()
    low, high = 0.012, 0.28
    for _ in range(n.integer(500, 900)):
        radius = (low**-2 + n.uniform() * (high**-2 - low**-2)) ** -0.5
        cu, cv = n.uniform(), n.uniform()
        du, dv = (u - cu) % 1, (v - cv) % 1
        du, dv = torch.minimum(du, 1 - du), torch.minimum(dv, 1 - dv)
        inside = du * du + dv * dv < radius * radius
        color = n.color((hue - 0.06, hue + 0.06), (0.0, strong), (value - 0.2, value + 0.25))[:, 0]
        strength = n.uniform(0.05, 0.25)
        art[:, inside] = color * (1 + strength * grain[n.integer(0, 2)][inside])
    return art * (1 + 0.1 * n.fractal(1.3))


def _tiled_photo(path: str) -> Tensor:
    """The middle square of a picture file, linear, cross-faded with itself so that it repeats."""
    stored = cv2.imread(path, cv2.IMREAD_COLOR)
    if stored is None:
        raise RecamError(f"{path} cannot be read as a picture")
    picture = torch.from_numpy(stored[..., ::-1].copy()).permute(2, 0, 1).float()[None] / 255
    side = min(picture.shape[2:])
    top, left = (picture.shape[2] - side) // 2, (picture.shape[3] - side) // 2
    square = picture[..., top : top + side, left : left + side]
    kind = "area" if side >= SIZE else "bilinear"
    linear = F.interpolate(square, (SIZE, SIZE), mode=kind)[0] ** 2.2
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    weight = smooth(0.0, 0.2, torch.minimum(axis, 1 - axis))
    for dim, w in ((1, weight[:, None]), (2, weight[None, :])):
        linear = mix(linear.roll(SIZE // 2, dim), linear, w)
    return linear


_PAINTERS: dict[str, Callable[[Noise], Tensor]] = {
    kind: globals()[f"_{kind}"] for kind in TEXTURE_KINDS
}
