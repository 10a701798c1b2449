"""Drawing a surface into a z-buffer, compiled. ``reference.py`` says the same in torch."""

from __future__ import annotations

import numpy as np

from recam.render.fast_surface import DOWN, HIDDEN, IRREGULAR, RIGHT
from recam.runtime.jit import inlined, kernel

f32 = np.float32
SKIP, ONE, MANY, SPECIAL = 0, 1, 2, 3
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


@inlined
def _cover(xa, ya, da, xb, yb, db, xc, yc, dc, xd, yd, dd, upper, lower, px, py):
    """Disparity of a convex quad at (px, py), 0 outside. upper, lower: 1 / twice the areas of
    the triangles abc and acd."""
    ax, ay, cx, cy = xa - px, ya - py, xc - px, yc - py
    diagonal = ax * cy - ay * cx
    in_upper = diagonal <= 0
    ex, ey, de = (
        xb - px if in_upper else xd - px,
        yb - py if in_upper else yd - py,
        db if in_upper else dd,
    )
    inverse = upper if in_upper else -lower
    wa = (ex * cy - ey * cx) * inverse
    wc = (ax * ey - ay * ex) * inverse
    d = wa * da + wc * dc - diagonal * inverse * de
    return d if min(wa, wc) >= -SLACK else f32(0)


@kernel
def _first_row(disparity, flags, limit, width, height, r0, r1, boxes, places, values, todo):
    """A row of quads: the first pixel that each may cover, and what it has there.

    boxes int32 [4, n]: pixels x_first, x_last, y_first, y_last; places: flat index of the first,
    values: disparity there, 0 if not covered. ``todo`` lists the quads that may cover more, or
    need care; returns how many, and whether each needs care in ``boxes[4]``.
    """
    x0, y0, d0, x1, y1, d1 = r0[0], r0[1], r0[2], r1[0], r1[1], r1[2]
    half = f32(0.5)
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
        fits = max(upper, lower) * d * d <= limit * da * da
        plain = seen & (min(upper, lower) > THINNEST) & fits & ((flags[x] & IRREGULAR) == 0)
        single = (x_first == x_last) & (y_first == y_last)
        special = (seen & (not plain)) | (drawn & ((flags[x] & IRREGULAR) != 0))
        boxes[4, x] = SPECIAL if special else ((ONE if single else MANY) if plain else SKIP)
        value = _cover(
            xa, ya, da, xb, yb, db, xc, yc, dc, xd, yd, dd,
            f32(1) / upper, f32(1) / lower, x_first + half, y_first + half,
        )  # fmt: skip
        values[x] = value if plain else f32(0)
        places[x] = np.int32(y_first) * width + np.int32(x_first) if plain else 0
    count = 0
    for x in range(disparity.shape[0]):
        todo[count] = x
        count += 1 if boxes[4, x] >= MANY else 0
    return count


@kernel
def _draw_many(r0, r1, x, boxes, front):
    """A convex quad that is seen from the front, within its bounding box."""
    xa, ya, da, xb, yb, db = r0[0, x], r0[1, x], r0[2, x], r0[0, x + 1], r0[1, x + 1], r0[2, x + 1]
    xc, yc, dc, xd, yd, dd = r1[0, x + 1], r1[1, x + 1], r1[2, x + 1], r1[0, x], r1[1, x], r1[2, x]
    upper = f32(1) / ((xb - xa) * (yc - ya) - (yb - ya) * (xc - xa))
    lower = f32(1) / ((xc - xa) * (yd - ya) - (yc - ya) * (xd - xa))
    for j in range(boxes[2, x], boxes[3, x] + 1):
        for i in range(boxes[0, x], boxes[1, x] + 1):
            px, py = f32(i) + f32(0.5), f32(j) + f32(0.5)
            d = _cover(xa, ya, da, xb, yb, db, xc, yc, dc, xd, yd, dd, upper, lower, px, py)
            # Stores without a branch: whether a pixel is hit cannot be predicted.
            front[j, i] = max(front[j, i], d)


@kernel
def _draw_triangle(xa, ya, da, xb, yb, db, xc, yc, dc, largest, front, blocked):
    """Any triangle; the largest disparity wins.

    Seen from behind it goes to ``blocked``; with more than ``largest`` px² (twice its area) it is
    left out.
    """
    height, width = front.shape
    area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
    if abs(area) < THINNEST or area > largest:
        return
    x_first = np.int32(_first_pixel(min(xa, min(xb, xc)) - SLACK))
    y_first = np.int32(_first_pixel(min(ya, min(yb, yc)) - SLACK))
    x_last = np.int32(_last_pixel(max(xa, max(xb, xc)) + SLACK, width))
    y_last = np.int32(_last_pixel(max(ya, max(yb, yc)) + SLACK, height))
    inverse = f32(1) / area
    for y in range(y_first, y_last + 1):
        py = f32(y) + f32(0.5)
        for x in range(x_first, x_last + 1):
            px = f32(x) + f32(0.5)
            wa = ((xb - px) * (yc - py) - (yb - py) * (xc - px)) * inverse
            wb = ((xc - px) * (ya - py) - (yc - py) * (xa - px)) * inverse
            wc = f32(1) - wa - wb
            if min(wa, min(wb, wc)) >= -SLACK:
                d = wa * da + wb * db + wc * dc
                if area > 0:
                    front[y, x] = max(front[y, x], d)
                else:
                    blocked[y, x] = max(blocked[y, x], d)


@kernel
def _own_corners(disparity, links, y, x, out):
    """Disparities at the corners of pixel (y, x), clockwise from the top left: each the mean over
    the pixels joined to it among the four that meet there."""
    h, w = disparity.shape
    here = disparity[y, x]
    for k in range(4):
        sx, sy = (1 if k == 1 or k == 2 else -1), (1 if k >= 2 else -1)
        in_row, in_column = 0 <= x + sx < w, 0 <= y + sy < h
        left, top = x + min(sx, 0), y + min(sy, 0)
        side = in_row and not links[y, left] & RIGHT
        end = in_column and not links[top, x] & DOWN
        beyond_side = in_row and in_column and not links[top, x + sx] & DOWN
        beyond_end = in_row and in_column and not links[y + sy, left] & RIGHT
        total, count = here, f32(1)
        if side or (end and beyond_end and beyond_side):
            total, count = total + disparity[y, x + sx], count + f32(1)
        if end or (side and beyond_side and beyond_end):
            total, count = total + disparity[y + sy, x], count + f32(1)
        if (side and beyond_side) or (end and beyond_end):
            total, count = total + disparity[y + sy, x + sx], count + f32(1)
        out[k] = total / count


@kernel
def _draw_special(disparity, links, m, y, x, i, irregular, limit, r0, r1, own, front, blocked):
    """A quad at a depth edge (with corners of its own), folded or seen from behind."""
    if irregular:
        _own_corners(disparity, links, y, x, own)
        left, right, top, bottom = f32(x), f32(x + 1), f32(y), f32(y + 1)
        xa, ya, da = project(m, left, top, own[0])
        xb, yb, db = project(m, right, top, own[1])
        xc, yc, dc = project(m, right, bottom, own[2])
        xd, yd, dd = project(m, left, bottom, own[3])
    else:
        xa, ya, da, xb, yb, db = (
            r0[0, i],
            r0[1, i],
            r0[2, i],
            r0[0, i + 1],
            r0[1, i + 1],
            r0[2, i + 1],
        )
        xc, yc, dc, xd, yd, dd = (
            r1[0, i + 1],
            r1[1, i + 1],
            r1[2, i + 1],
            r1[0, i],
            r1[1, i],
            r1[2, i],
        )
    if min(min(da, db), min(dc, dd)) <= 0:
        return
    nearer = da / disparity[y, x]
    largest = limit * nearer * nearer
    _draw_triangle(xa, ya, da, xb, yb, db, xc, yc, dc, largest, front, blocked)
    _draw_triangle(xa, ya, da, xc, yc, dc, xd, yd, dd, largest, front, blocked)


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
    places, values, own = np.empty(n, np.int32), np.empty(n, f32), np.empty(4, f32)
    flat = front.reshape(-1)
    _project_row(m, corners, y_low, x_low, r0[0], r0[1], r0[2])
    for y in range(y_low, y_high):
        _project_row(m, corners, y + 1, x_low, r1[0], r1[1], r1[2])
        row, marks = disparity[y, x_low:x_high], flags[y, x_low:x_high]
        count = _first_row(row, marks, limit, width, height, r0, r1, boxes, places, values, todo)
        for i in range(n):
            flat[places[i]] = max(flat[places[i]], values[i])
        for k in range(count):
            i = todo[k]
            if boxes[4, i] == MANY:
                _draw_many(r0, r1, i, boxes, front)
            else:
                irregular = (marks[i] & IRREGULAR) != 0
                _draw_special(
                    disparity, links, m, y, x_low + i, i, irregular, limit, r0, r1, own,
                    front, blocked,
                )  # fmt: skip
        r0, r1 = r1, r0
