"""Drawing a surface into a z-buffer, compiled. ``reference.py`` says the same in torch."""

from __future__ import annotations

import numpy as np

from recam.render.compiled import inlined, kernel
from recam.render.fast_surface import HIDDEN, IRREGULAR, own_corner

f32 = np.float32
SKIP, PLAIN, SPECIAL = 0, 1, 2
NEAREST = f32(1e-4)  # target depth over source depth; what is nearer than that is behind
THINNEST = f32(1e-6)  # px², twice the area of a triangle that is seen edge-on
SLACK = f32(1e-3)  # barycentric, so that shared edges leave no crack


@inlined
def project(m, u, v, d):
    """Target x, y and disparity of a source point; disparity 0 where it is behind the camera."""
    q0 = m[0] * u + m[1] * v + m[2] + m[9] * d
    q1 = m[3] * u + m[4] * v + m[5] + m[10] * d
    q2 = m[6] * u + m[7] * v + m[8] + m[11] * d
    inverse = f32(1) / q2 if q2 > NEAREST else f32(0)
    return q0 * inverse, q1 * inverse, d * inverse


@kernel
def _project_row(m, corners, y, x_low, xs, ys, ds):
    for i in range(xs.shape[0]):
        x = x_low + i
        xs[i], ys[i], ds[i] = project(m, f32(x), f32(y), corners[y, x])


@inlined
def _first_pixel(low):
    """First pixel whose centre is not before ``low``, as a float."""
    return min(max(np.ceil(low - f32(0.5)), f32(0)), f32(1e6))


@inlined
def _last_pixel(high, size):
    """Last pixel of ``size`` whose centre is not after ``high``, as a float."""
    return max(min(np.floor(high - f32(0.5)), f32(size - 1)), f32(-1))


@kernel
def _box_row(disparity, flags, limit, width, height, r0, r1, boxes, todo):
    """Bounding boxes (in pixels) of a row of quads; lists those that may cover a pixel."""
    x0, y0, d0, x1, y1, d1 = r0[0], r0[1], r0[2], r1[0], r1[1], r1[2]
    for x in range(disparity.shape[0]):
        xa, ya, da, xb, yb, db = x0[x], y0[x], d0[x], x0[x + 1], y0[x + 1], d0[x + 1]
        xc, yc, dc, xd, yd, dd = x1[x + 1], y1[x + 1], d1[x + 1], x1[x], y1[x], d1[x]
        upper = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
        lower = (xc - xa) * (yd - ya) - (yc - ya) * (xd - xa)
        x_first = _first_pixel(min(min(xa, xb), min(xc, xd)))
        y_first = _first_pixel(min(min(ya, yb), min(yc, yd)))
        x_last = _last_pixel(max(max(xa, xb), max(xc, xd)), width)
        y_last = _last_pixel(max(max(ya, yb), max(yc, yd)), height)
        boxes[0, x], boxes[1, x] = np.int32(x_first), np.int32(x_last)
        boxes[2, x], boxes[3, x] = np.int32(y_first), np.int32(y_last)
        d = disparity[x]
        drawn = (d > 0) & ((flags[x] & HIDDEN) == 0)
        in_front = min(min(da, db), min(dc, dd)) > 0
        seen = drawn & in_front & (x_last >= x_first) & (y_last >= y_first)
        allowed = limit * da * da
        big = max(upper, lower) * d * d > allowed
        plain = (min(upper, lower) > THINNEST) & (not big)
        irregular = drawn & ((flags[x] & IRREGULAR) != 0)
        kind = (PLAIN if plain else SPECIAL) if seen else SKIP
        boxes[4, x] = SPECIAL if irregular else kind
    count = 0
    for x in range(disparity.shape[0]):
        todo[count] = x
        count += 1 if boxes[4, x] != SKIP else 0
    return count


@kernel
def _draw_plain(xa, ya, da, xb, yb, db, xc, yc, dc, xd, yd, dd, box, front):
    """A convex quad that is seen from the front, within its bounding box."""
    upper = f32(1) / ((xb - xa) * (yc - ya) - (yb - ya) * (xc - xa))
    lower = f32(-1) / ((xc - xa) * (yd - ya) - (yc - ya) * (xd - xa))
    for j in range(box[2], box[3] + 1):
        py = f32(j) + f32(0.5)
        for i in range(box[0], box[1] + 1):
            px = f32(i) + f32(0.5)
            ax, ay, cx, cy = xa - px, ya - py, xc - px, yc - py
            diagonal = ax * cy - ay * cx
            is_upper = diagonal <= 0
            ex, ey = (xb - px, yb - py) if is_upper else (xd - px, yd - py)
            de = db if is_upper else dd
            inverse = upper if is_upper else lower
            wa = (ex * cy - ey * cx) * inverse
            wc = (ax * ey - ay * ex) * inverse
            d = wa * da + wc * dc - diagonal * inverse * de
            # Stores without a branch: whether a pixel is hit cannot be predicted.
            front[j, i] = max(front[j, i], d if min(wa, wc) >= -SLACK else f32(0))


@kernel
def _draw_triangle(a, b, c, largest, front, blocked):
    """Any triangle of corners (x, y, disparity); the largest disparity wins.

    Seen from behind it goes to ``blocked``; with more than ``largest`` px² (twice its area) it is
    left out.
    """
    height, width = front.shape
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if abs(area) < THINNEST or area > largest:
        return
    x_first = np.int32(_first_pixel(min(a[0], min(b[0], c[0])) - SLACK))
    y_first = np.int32(_first_pixel(min(a[1], min(b[1], c[1])) - SLACK))
    x_last = np.int32(_last_pixel(max(a[0], max(b[0], c[0])) + SLACK, width))
    y_last = np.int32(_last_pixel(max(a[1], max(b[1], c[1])) + SLACK, height))
    inverse = f32(1) / area
    for y in range(y_first, y_last + 1):
        py = f32(y) + f32(0.5)
        for x in range(x_first, x_last + 1):
            px = f32(x) + f32(0.5)
            wa = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) * inverse
            wb = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) * inverse
            wc = f32(1) - wa - wb
            if min(wa, min(wb, wc)) >= -SLACK:
                d = wa * a[2] + wb * b[2] + wc * c[2]
                if area > 0:
                    front[y, x] = max(front[y, x], d)
                else:
                    blocked[y, x] = max(blocked[y, x], d)


@kernel
def _draw_special(disparity, links, m, y, x, i, irregular, limit, r0, r1, quad, front, blocked):
    """A quad at a depth edge (with corners of its own), folded or seen from behind."""
    for k in range(4):
        sx, sy = (1 if k == 1 or k == 2 else -1), (1 if k >= 2 else -1)
        if irregular:
            d = own_corner(disparity, links, y, x, sy, sx)
            u, v = f32(x + max(sx, 0)), f32(y + max(sy, 0))
            quad[k, 0], quad[k, 1], quad[k, 2] = project(m, u, v, d)
        else:
            row = r0 if sy < 0 else r1
            quad[k] = row[:, i + max(sx, 0)]
    if min(min(quad[0, 2], quad[1, 2]), min(quad[2, 2], quad[3, 2])) <= 0:
        return
    nearer = quad[0, 2] / disparity[y, x]
    largest = limit * nearer * nearer
    _draw_triangle(quad[0], quad[1], quad[2], largest, front, blocked)
    _draw_triangle(quad[0], quad[2], quad[3], largest, front, blocked)


@kernel
def draw(disparity, corners, links, flags, m, limit, region, front, blocked):
    """Draw the pixels of a surface as small quads into z-buffers of disparity.

    m: float32 [12], rows of A and then b; a source point (u, v) of disparity d lands at
    q = A·(u, v, 1) + b·d, that is at (q0, q1) / q2 with disparity d / q2.
    limit: largest area in px² of a pixel whose depth does not change, seen face on.
    region: int64 [4], source pixels y_low, y_high, x_low, x_high (ends excluded).
    """
    height, width = front.shape
    y_low, y_high, x_low, x_high = region[0], region[1], region[2], region[3]
    n = x_high - x_low
    r0, r1 = np.empty((3, n + 1), f32), np.empty((3, n + 1), f32)
    boxes, todo = np.empty((5, n), np.int32), np.empty(n + 1, np.int32)
    box, quad = np.empty(4, np.int32), np.empty((4, 3), f32)
    _project_row(m, corners, y_low, x_low, r0[0], r0[1], r0[2])
    for y in range(y_low, y_high):
        _project_row(m, corners, y + 1, x_low, r1[0], r1[1], r1[2])
        row, marks = disparity[y, x_low:x_high], flags[y, x_low:x_high]
        count = _box_row(row, marks, limit, width, height, r0, r1, boxes, todo)
        for k in range(count):
            i = todo[k]
            if boxes[4, i] == PLAIN:
                box[0], box[1], box[2], box[3] = boxes[0, i], boxes[1, i], boxes[2, i], boxes[3, i]
                _draw_plain(
                    r0[0, i], r0[1, i], r0[2, i], r0[0, i + 1], r0[1, i + 1], r0[2, i + 1],
                    r1[0, i + 1], r1[1, i + 1], r1[2, i + 1], r1[0, i], r1[1, i], r1[2, i],
                    box, front,
                )  # fmt: skip
            else:
                irregular = (marks[i] & IRREGULAR) != 0
                _draw_special(
                    disparity, links, m, y, x_low + i, i, irregular, limit, r0, r1, quad,
                    front, blocked,
                )  # fmt: skip
        r0, r1 = r1, r0
