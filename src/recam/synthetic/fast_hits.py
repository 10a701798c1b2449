"""Where single rays hit the primitives of synthetic scenes, compiled.

``raycast`` says the same for many rays at once in torch; shapes, faces and the parameter of a hit
are as there.
"""

from __future__ import annotations

import math

import numpy as np

from recam.runtime.jit import inlined, kernel
from recam.synthetic.raycast import NEAR

BOX, ROUNDED, ELLIPSOID, FRUSTUM, FOLIAGE = range(5)


@inlined
def _box(ox, oy, oz, dx, dy, dz, sx, sy, sz):
    near, far, face = -1e30, 1e30, 0
    for axis in range(3):
        o = ox if axis == 0 else (oy if axis == 1 else oz)
        d = dx if axis == 0 else (dy if axis == 1 else dz)
        s = sx if axis == 0 else (sy if axis == 1 else sz)
        inverse = 1.0 / d
        middle, half = -o * inverse, abs(inverse) * s
        if middle - half > near:
            near = middle - half
            face = 2 * axis + (1 if inverse < 0 else 0)
        far = min(far, middle + half)
    return (near if near <= far and near > NEAR else np.inf), face


@inlined
def _sphere(ox, oy, oz, dx, dy, dz, sx, sy, sz):
    ox, oy, oz, dx, dy, dz = ox / sx, oy / sy, oz / sz, dx / sx, dy / sy, dz / sz
    a = dx * dx + dy * dy + dz * dz
    middle = -(ox * dx + oy * dy + oz * dz) / a
    px, py, pz = ox + middle * dx, oy + middle * dy, oz + middle * dz
    inside = 1 - (px * px + py * py + pz * pz)
    half = math.sqrt(max(inside, 0.0) / a)
    return inside, middle - half, middle + half


@inlined
def _leaf(x, y, z, gap):
    k = math.pi / gap
    x, y, z = x * k, y * k, z * k
    coarse = math.sin(x + 1.7 * math.sin(0.9 * y)) + math.sin(y + 1.7 * math.sin(1.1 * z))
    fine = math.sin(2.3 * z + 1.9 * math.sin(2.1 * x))
    fine *= math.sin(2.6 * y + 1.5 * math.sin(2.4 * z))
    return coarse + 1.3 * fine > -0.55


@inlined
def _frustum(ox, oy, oz, dx, dy, dz, sx, sy, sz, ratio):
    ox, oy, oz, dx, dy, dz = ox / sx, oy / sy, oz / sz, dx / sx, dy / sy, dz / sz
    shift = -(ox * dx + oz * dz) / (dx * dx + dz * dz)
    px, py, pz = ox + shift * dx, oy + shift * dy, oz + shift * dz
    m, n = 0.5 * (1 + ratio), 0.5 * (1 - ratio)
    r, dr = m + n * py, n * dy
    a = dx * dx + dz * dz - dr * dr
    b = px * dx + pz * dz - r * dr
    c = px * px + pz * pz - r * r
    if abs(a) < 1e-9:
        a = 1e-9
    best, face = np.inf, 0
    if b * b >= a * c:
        root = math.sqrt(max(b * b - a * c, 0.0))
        for i in range(2):
            t = (-b + (root if i else -root)) / a
            if abs(py + t * dy) <= 1 and r + t * dr >= 0 and t + shift > NEAR:
                best = min(best, t + shift)
    cap = -1.0 if dy > 0 else 1.0
    t = (cap - oy) / dy
    x, z, rc = ox + t * dx, oz + t * dz, m + n * cap
    if x * x + z * z <= rc * rc and t > NEAR and t < best:
        best, face = t, (3 if cap > 0 else 2)
    return best, face


@inlined
def _rounded(ox, oy, oz, dx, dy, dz, sx, sy, sz, radius):
    t, _ = _box(ox, oy, oz, dx, dy, dz, sx, sy, sz)
    if t == np.inf:
        return t
    cx, cy, cz = max(sx - radius, 0.0), max(sy - radius, 0.0), max(sz - radius, 0.0)
    gap = np.inf
    for _ in range(10):
        qx, qy, qz = ox + t * dx, oy + t * dy, oz + t * dz
        vx, vy, vz = (
            qx - max(min(qx, cx), -cx), qy - max(min(qy, cy), -cy), qz - max(min(qz, cz), -cz),
        )  # fmt: skip
        length = max(math.sqrt(vx * vx + vy * vy + vz * vz), 1e-9)
        slope = (vx * dx + vy * dy + vz * dz) / length
        gap = length - radius
        if slope > -1e-4 or gap < 1e-4 * radius:
            break
        t -= gap / slope
    return t if abs(gap) < 1e-3 * radius + 1e-5 and t > NEAR else np.inf


@kernel
def hit(shape, ox, oy, oz, dx, dy, dz, sx, sy, sz, radius):
    """Parameter of the nearest hit, inf for none, and the face."""
    dx, dy, dz = dx + 1e-12, dy + 1e-12, dz + 1e-12
    if shape == BOX:
        return _box(ox, oy, oz, dx, dy, dz, sx, sy, sz)
    if shape == ROUNDED:
        return _rounded(ox, oy, oz, dx, dy, dz, sx, sy, sz, radius), 0
    if shape == FRUSTUM:
        return _frustum(ox, oy, oz, dx, dy, dz, sx, sy, sz, radius)
    inside, near, far = _sphere(ox, oy, oz, dx, dy, dz, sx, sy, sz)
    if inside <= 0:
        return np.inf, 0
    if shape == ELLIPSOID:
        return (near if near > NEAR else np.inf), 0
    if near > NEAR and _leaf(ox + near * dx, oy + near * dy, oz + near * dz, radius):
        return near, 0
    if far > NEAR and _leaf(ox + far * dx, oy + far * dy, oz + far * dz, radius):
        return far, 1
    return np.inf, 0
