"""Light on the surfaces of synthetic scenes, compiled: textures, one shadow ray a pixel, contact
darkening from near parts, haze and sky. Simpler than ``shading``, which this is modelled on."""

from __future__ import annotations

import math

import numpy as np

from recam.runtime.jit import inlined, kernel
from recam.synthetic.fast_hits import BOX, FRUSTUM, ROUNDED, hit
from recam.synthetic.textures import SIZE

LEVELS = 8
"""Mip levels of a texture, the coarsest of 2 × 2 texels."""
TEXELS = sum((SIZE >> k) ** 2 for k in range(LEVELS))
CELLS = 48
"""Along a side of the grid, square to the light, in which shadow casters are looked up."""
REACH_M = 0.55
"""How far contact darkening reaches."""
TILE = 8
TO_LIGHT, SUN, UP, DOWN, HORIZON, ZENITH, SOFT, HAZE, CLOUDS = 0, 3, 6, 9, 12, 15, 18, 19, 20
"""Where what stands in the row of numbers that describes the light."""


@inlined
def _texel(texels, number, u, v, level, channel):
    """Bilinear look-up at one mip level: √albedo in [0, 255]."""
    level = min(max(level, 0), LEVELS - 1)
    side, first = SIZE, 0
    for _ in range(level):
        first += side * side
        side //= 2
    x, y = (u - math.floor(u)) * side - 0.5, (v - math.floor(v)) * side - 0.5
    x0, y0 = math.floor(x), math.floor(y)
    a, b = x - x0, y - y0
    xa, xb = int(x0) % side, (int(x0) + 1) % side
    ya, yb = first + int(y0) % side * side, first + (int(y0) + 1) % side * side
    top = texels[number, ya + xa, channel] * (1 - a) + texels[number, ya + xb, channel] * a
    below = texels[number, yb + xa, channel] * (1 - a) + texels[number, yb + xb, channel] * a
    return top * (1 - b) + below * b


@kernel
def _surface(shape, q, s, radius, face, repeat):
    """Local normal, u, v and texels per metre of a hit."""
    n = np.zeros(3)
    if shape in (BOX, ROUNDED):
        if shape == BOX:
            n[face // 2] = 1.0 if face % 2 else -1.0
        else:
            for i in range(3):
                core = max(s[i] - radius, 0.0)
                n[i] = q[i] - max(min(q[i], core), -core)
            n /= max(math.sqrt((n * n).sum()), 1e-9)
        ax, ay, az = abs(n[0]), abs(n[1]), abs(n[2])
        on_y = ay >= ax and ay >= az
        on_x = ax > az and not on_y
        flip = 1.0
        if not on_y and (n[0] if on_x else -n[2]) < 0:
            flip = -1.0
        u, v = (q[2] if on_x else q[0]) * flip, (q[2] if on_y else q[1])
        per_u, per_v, shift = repeat, repeat, 0.0
        if repeat <= 0:
            per_u, per_v = 2 * (s[2] if on_x else s[0]), 2 * (s[2] if on_y else s[1])
            shift = 0.5
        return n, u / per_u + shift, v / per_v + shift, SIZE / min(per_u, per_v)
    widest = max(s[0], s[2])
    turns = max(round(2 * math.pi * widest / max(repeat, 1e-3)), 1.0) if repeat > 0 else 1.0
    x, y, z = q[0] / s[0], q[1] / s[1], q[2] / s[2]
    if shape == FRUSTUM and face >= 2:
        n[1] = 1.0 if face == 3 else -1.0
        per = repeat if repeat > 0 else 2 * widest
        return n, q[0] / per, q[2] / per, SIZE / per
    around = math.atan2(x, z) * turns / (2 * math.pi)
    if shape == FRUSTUM:
        m, k = 0.5 * (1 + radius), 0.5 * (1 - radius)
        n[0], n[1], n[2] = x / s[0], -(m + k * y) * k / s[1], z / s[2]
        n /= max(math.sqrt((n * n).sum()), 1e-12)
        per_v = repeat if repeat > 0 else 2 * s[1]
        return n, around, q[1] / per_v, SIZE * turns / (2 * math.pi * widest)
    n[0], n[1], n[2] = x / s[0], y / s[1], z / s[2]
    n /= max(math.sqrt((n * n).sum()), 1e-12)
    v = math.asin(min(max(y, -1.0), 1.0)) / math.pi * (turns * 0.5 if repeat > 0 else 1.0)
    return n, around, v, SIZE * turns / (2 * math.pi * widest)


@kernel
def cast_bins(centre, reach, casts, a, b, corner, cell, first, entries):
    """Which casters lie over each cell of the light's grid; counts when entries is empty."""
    count = np.zeros(CELLS * CELLS + 1, np.int64)
    for p in range(len(reach)):
        if not casts[p]:
            continue
        u = (centre[p, 0] * a[0] + centre[p, 1] * a[1] + centre[p, 2] * a[2] - corner[0]) / cell
        v = (centre[p, 0] * b[0] + centre[p, 1] * b[1] + centre[p, 2] * b[2] - corner[1]) / cell
        r = reach[p] / cell + 0.5
        for j in range(max(int(v - r), 0), min(int(v + r) + 1, CELLS)):
            for i in range(max(int(u - r), 0), min(int(u + r) + 1, CELLS)):
                n = j * CELLS + i
                if len(entries):
                    entries[first[n] + count[n]] = p
                count[n] += 1
    return count


@kernel
def _sky(light, texels, number, d, length, color):
    up = max(-d[1] / length, 0.0)
    flat = 0.25 / (up + 0.12)
    cover = _texel(texels, number, d[0] / length * flat, d[2] / length * flat, 2, 0) / 255
    cover *= cover * min(up * 6, 1.0) * light[CLOUDS]
    for c in range(3):
        blue = light[HORIZON + c]
        blue += (light[ZENITH + c] - blue) * (1 - math.exp(-3.5 * up))
        color[c] = blue + cover * (0.8 - blue)


@kernel
def _in_shadow(p, at, to, grid, first, entries, back, shape, size, radius):
    """Whether a ray from a point of part p towards the light meets another part.

    grid [8]: two axes square to the light, the grid's corner along them.
    """
    cell = grid[8]
    i = int((at[0] * grid[0] + at[1] * grid[1] + at[2] * grid[2] - grid[6]) / cell)
    j = int((at[0] * grid[3] + at[1] * grid[4] + at[2] * grid[5] - grid[7]) / cell)
    if not (0 <= i < CELLS and 0 <= j < CELLS):
        return False
    for k in range(first[j * CELLS + i], first[j * CELLS + i + 1]):
        q = entries[k]
        if q == p:
            continue
        r = back[q]
        t, _ = hit(
            shape[q],
            r[0] * at[0] + r[1] * at[1] + r[2] * at[2] + r[3],
            r[4] * at[0] + r[5] * at[1] + r[6] * at[2] + r[7],
            r[8] * at[0] + r[9] * at[1] + r[10] * at[2] + r[11],
            r[0] * to[0] + r[1] * to[1] + r[2] * to[2],
            r[4] * to[0] + r[5] * to[1] + r[6] * to[2],
            r[8] * to[0] + r[9] * to[1] + r[10] * to[2],
            size[q, 0], size[q, 1], size[q, 2], radius[q],
        )  # fmt: skip
        if t < np.inf:
            return True
    return False


@kernel
def _openness(p, probe, near_parts, num_near, back, core):
    """Share of the light from all around that near parts leave (ambient occlusion by distance
    fields, Evans 2006, with one sample)."""
    total = 0.0
    for k in range(num_near):
        q = near_parts[k]
        if q == p:
            continue
        r, squared = back[q], 0.0
        for i in range(3):
            at = r[4 * i] * probe[0] + r[4 * i + 1] * probe[1] + r[4 * i + 2] * probe[2]
            outside = max(abs(at + r[4 * i + 3]) - core[q, i], 0.0)
            squared += outside * outside
        total += min(max(1 - (math.sqrt(squared) - core[q, 3]) / REACH_M, 0.0), 1.0)
    return 0.25 + 0.75 * math.exp(-0.9 * total)


@kernel
def _near_tile(ty, tx, depth, world, core, reach, centre, near_parts):
    """Collects the parts that may darken a tile's surfaces; how many."""
    low, high = np.full(3, 1e30), np.full(3, -1e30)
    for y in range(ty, min(ty + TILE, depth.shape[0])):
        for x in range(tx, min(tx + TILE, depth.shape[1])):
            if depth[y, x] < 200.0:
                for i in range(3):
                    d = world[i, 0] * (x + 0.5) + world[i, 1] * (y + 0.5) + world[i, 2]
                    at = world[i, 3] + depth[y, x] * d
                    low[i], high[i] = min(low[i], at), max(high[i], at)
    num = 0
    for p in range(len(reach)):
        gap = 0.0
        for i in range(3):
            e = max(low[i] - centre[p, i], 0.0, centre[p, i] - high[i])
            gap += e * e
        # Thin things take little light.
        if core[p, 4] > 0.5 and gap < (reach[p] + 2 * REACH_M) ** 2:
            near_parts[num] = p
            num += 1
    return num


@kernel
def shade(
    depth, part, face, rays, world, pose, back, shape, size, radius, core, reach, centre,
    material, texels, light, grid, first, entries, focal_px, sky_number, noise, out,
):  # fmt: skip
    """Linear colours [h, w, 3] of one view into ``out``.

    depth, part, face [h, w]: what each pixel hits, depth inf = sky. rays [p, 18]: see
    ``raycast.Views``. world [3, 4]: rotation times K⁻¹, and the camera's centre. pose, back
    [p, 12]: world from part and its inverse. core [p, 5]: box with rounded edges, and whether it
    darkens. reach [p], centre [p, 3]: balls around the parts. material [p, 8]: texture, repeat,
    tint 3, emission, shift 2. light [21], grid [9]: see TO_LIGHT and ``_in_shadow``. noise
    [h, w, 4] in [0, 1): which way soft light comes from, between mip levels.
    """
    h, w = depth.shape
    near_parts = np.empty(len(shape), np.int64)
    q, d, at, to, normal = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for tile in range(-(-h // TILE) * -(-w // TILE)):
        ty, tx = tile // -(-w // TILE) * TILE, tile % -(-w // TILE) * TILE
        num_near = _near_tile(ty, tx, depth, world, core, reach, centre, near_parts)
        for y in range(ty, min(ty + TILE, h)):
            for x in range(tx, min(tx + TILE, w)):
                fx, fy = x + 0.5, y + 0.5
                for i in range(3):
                    d[i] = world[i, 0] * fx + world[i, 1] * fy + world[i, 2]
                length = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
                if depth[y, x] == np.inf:
                    _sky(light, texels, sky_number, d, length, out[y, x])
                    continue
                p, t = part[y, x], depth[y, x]
                m, e = rays[p], pose[p]
                for i in range(3):
                    along = m[9 + 3 * i] * fx + m[10 + 3 * i] * fy + m[11 + 3 * i]
                    q[i] = m[2 + 3 * i] + t * along
                n, u, v, per_metre = _surface(shape[p], q, size[p], radius[p], face[y, x],
                                              material[p, 1])  # fmt: skip
                cosine = 0.0
                for i in range(3):
                    normal[i] = e[4 * i] * n[0] + e[4 * i + 1] * n[1] + e[4 * i + 2] * n[2]
                    cosine -= normal[i] * d[i] / length
                if cosine < 0:  # the far side of a leafy shell
                    normal *= -1
                facing = 0.0
                for i in range(3):
                    at[i] = world[i, 3] + t * d[i]
                    to[i] = light[TO_LIGHT + i] + light[SOFT] * (noise[y, x, i] - 0.5)
                    facing += normal[i] * to[i]
                if facing <= 0 or _in_shadow(p, at, to, grid, first, entries, back, shape, size,
                                             radius):  # fmt: skip
                    facing = 0.0
                at += REACH_M * normal
                opened = _openness(p, at, near_parts, num_near, back, core)
                haze = 1 - math.exp(-t * length / light[HAZE])
                spread = t / focal_px / max(abs(cosine), 0.05) ** 0.5 * per_metre
                level = int(math.log2(max(spread, 1.0)) + noise[y, x, 3])
                for c in range(3):
                    albedo = _texel(texels, int(material[p, 0]), u + material[p, 6],
                                    v + material[p, 7], level, c) / 255  # fmt: skip
                    around = light[DOWN + c] + (light[UP + c] - light[DOWN + c]) * (
                        0.5 - 0.5 * normal[1]
                    )
                    lit = around * opened + light[SUN + c] * facing + material[p, 5]
                    color = albedo * albedo * material[p, 2 + c] * lit
                    out[y, x, c] = color + (light[HORIZON + c] - color) * haze
