"""The loops of exemplar.py: matching patches, and making the picture anew of what they show.

Places in a source lie between pixels where a plane turns the copy. Arrays are those of
``exemplar._Level``; ``match`` is float32 [h, w, 3]: frame, row and column of what the patch around
a pixel copies; ``cost`` float32 [h, w].
"""

from __future__ import annotations

import numpy as np

from recam.completion.flow_tracing import sample_cubic
from recam.completion.planes import BEYOND
from recam.runtime.jit import kernel

RADIUS = 3
"""Patches are 7 × 7 pixels on every level."""
COHERENT = 0.9
"""What continues a neighbour's copy may be this much less alike: fewer seams."""
NEARER = 0.9
"""What is copied may stand nearer than what is filled in by this factor at most."""
GUIDE_SHARE = 1.0
"""What a patch's mean may differ from the smooth fill, in units of its own difference."""
ROW_SHARE = 60.0
"""Cost (grey levels squared) of copying from half a picture's height above or below."""
SCALE_SHARE = 15.0
"""Cost (grey levels squared) of a copy at twice or half its size in the plane."""
MAX_SCALE = 1.5
"""What is copied is made larger or smaller by this factor at most: beyond, it would be blurred."""
LOG_MAX_SCALE = float(np.log2(MAX_SCALE))
NOTHING = np.float32(1e12)


@kernel
def _turn(into, outof, y, x, frame, sy, sx):
    """How a step in the picture at (y, x) goes in the source at (sy, sx), by the plane that both
    show: (xx, xy, yx, yy), made no larger or smaller than MAX_SCALE; and the logarithm to base 2
    of how much larger it would be."""
    row, column = np.int64(sy + 0.5), np.int64(sx + 0.5)
    a, b = outof[frame, row, column, 0, 0], outof[frame, row, column, 0, 1]
    c, d = outof[frame, row, column, 1, 0], outof[frame, row, column, 1, 1]
    xx = a * into[y, x, 0, 0] + b * into[y, x, 1, 0]
    xy = a * into[y, x, 0, 1] + b * into[y, x, 1, 1]
    yx = c * into[y, x, 0, 0] + d * into[y, x, 1, 0]
    yy = c * into[y, x, 0, 1] + d * into[y, x, 1, 1]
    scale = np.sqrt(max(abs(xx * yy - xy * yx), np.float32(1e-9)))
    part = min(max(scale, np.float32(1 / MAX_SCALE)), np.float32(MAX_SCALE)) / scale
    return (part * xx, part * xy, part * yx, part * yy), np.log2(scale)


@kernel
def move_on(match, rows, columns, tall, wide, label, into, outof):
    """Coarse matches [h, w, 3], repeated, at this level's size: each pixel's own shift from the
    middle of the pixel that it was a part of. rows, columns: of that pixel."""
    height, width = outof.shape[1:3]
    for y in range(match.shape[0]):
        off_y = y - (rows[y] + 0.5) * tall + 0.5
        for x in range(match.shape[1]):
            off_x = x - (columns[x] + 0.5) * wide + 0.5
            sy, sx = (match[y, x, 1] + 0.5) * tall - 0.5, (match[y, x, 2] + 0.5) * wide - 0.5
            if label[y, x] == 0:
                match[y, x, 1], match[y, x, 2] = np.rint(sy + off_y), np.rint(sx + off_x)
                continue
            frame = np.int64(match[y, x, 0])
            row, column = min(max(sy, 0.0), height - 1.0), min(max(sx, 0.0), width - 1.0)
            turn, _ = _turn(into, outof, y, x, frame, row, column)
            match[y, x, 1] = sy + turn[2] * off_x + turn[3] * off_y
            match[y, x, 2] = sx + turn[0] * off_x + turn[1] * off_y


@kernel
def _draw(state, below):
    """A random whole number from 0 up to ``below`` (Marsaglia's xorshift, 64 bits)."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return np.int64((x >> np.uint64(33)) % np.uint64(below))


@kernel
def _distance(now, filled, sources, usable, y, x, frame, sy, sx, turn, limit):
    """Mean squared difference of two patches over what is filled; NOTHING once above ``limit``.

    turn: (xx, xy, yx, yy), how a step in the picture goes in the source. NOTHING too where the
    patch there is not usable.
    """
    height, width = filled.shape
    total, count, most = 0.0, 0.0, 0.0
    for dy in range(-RADIUS, RADIUS + 1):
        if 0 <= y + dy < height:
            for dx in range(-RADIUS, RADIUS + 1):
                if 0 <= x + dx < width and filled[y + dy, x + dx] > 0:
                    count += 1.0
    if count < 4.0:
        return NOTHING
    most = limit * count
    xx, xy, yx, yy = turn
    for dy in range(-RADIUS, RADIUS + 1):
        if 0 <= y + dy < height:
            for dx in range(-RADIUS, RADIUS + 1):
                if 0 <= x + dx < width and filled[y + dy, x + dx] > 0:
                    column = int(np.floor(sx + xx * dx + xy * dy + 0.5))
                    row = int(np.floor(sy + yx * dx + yy * dy + 0.5))
                    if not (0 <= row < height and 0 <= column < width):
                        return NOTHING
                    if not usable[frame, row, column]:
                        return NOTHING
                    for c in range(3):
                        d = now[y + dy, x + dx, c] - sources[frame, row, column, c]
                        total += d * d
        if total >= most:
            return NOTHING
    return np.float32(total / count)


@kernel
def _allowed(label, behind, source_label, source_depth, y, x, frame, sy, sx):
    """Whether a source may be shown at a place: from the same plane; where there is none, nothing
    that stands nearer."""
    row, column = np.int64(sy + 0.5), np.int64(sx + 0.5)
    if label[y, x] > 0 and source_label[frame, row, column] != label[y, x]:
        return False
    if 0 < label[y, x] < BEYOND:
        return True
    far = source_depth[frame, row, column]
    return far <= 0 or behind[y, x] <= 0 or far >= NEARER * behind[y, x]


@kernel
def _prior(guide, means, y, x, frame, sy, sx, shown):
    """How little a source's colour, texture and row fit the place. shown: by what a step in the
    picture is longer in the source, and slopes are steeper in the picture."""
    row, column = np.int64(sy + 0.5), np.int64(sx + 0.5)
    total = 0.0
    for c in range(4):
        d = guide[y, x, c] - means[frame, row, column, c] * (shown if c == 3 else 1.0)
        total += d * d
    rows = 2.0 * (sy - y) / guide.shape[0]
    return GUIDE_SHARE * total + ROW_SHARE * rows * rows


@kernel
def _cost(
    now, filled, sources, usable, guide, means, label, into, outof, y, x, frame, sy, sx, limit
):  # fmt: skip
    """How badly a source fits a place; NOTHING once above ``limit``."""
    turn, scale = (np.float32(1), np.float32(0), np.float32(0), np.float32(1)), np.float32(0)
    if label[y, x] > 0:
        turn, scale = _turn(into, outof, y, x, frame, sy, sx)
    shown = 2.0 ** np.minimum(np.maximum(scale, -LOG_MAX_SCALE), LOG_MAX_SCALE)
    prior = _prior(guide, means, y, x, frame, sy, sx, shown) + SCALE_SHARE * scale * scale
    if prior >= limit:
        return NOTHING
    rest = limit - prior
    return np.float32(
        prior + _distance(now, filled, sources, usable, y, x, frame, sy, sx, turn, rest)
    )


@kernel
def search_matches(
    now, filled, target, sources, centres, source_depth, behind, guide, means, usable, label, into,
    source_label, outof, match, cost, seed, reach,
):  # fmt: skip
    """Two sweeps of PatchMatch over the targets; writes match and cost."""
    state = np.empty(1, np.uint64)
    state[0] = seed
    height, width = target.shape
    for y in range(height):
        for x in range(width):
            if target[y, x]:
                frame, sy, sx = np.int64(match[y, x, 0]), match[y, x, 1], match[y, x, 2]
                if _allowed(label, behind, source_label, source_depth, y, x, frame, sy, sx):
                    cost[y, x] = _cost(
                        now, filled, sources, usable, guide, means, label, into, outof,
                        y, x, frame, sy, sx, NOTHING,
                    )  # fmt: skip
    for sweep in range(2):
        step = 1 if sweep == 0 else -1
        for row in range(height):
            y = row if sweep == 0 else height - 1 - row
            for column in range(width):
                x = column if sweep == 0 else width - 1 - column
                if not target[y, x]:
                    continue
                best = cost[y, x]
                radius = reach
                trial = 0
                while True:
                    if trial < 2:  # what the neighbours copy, one on
                        ny, nx = (y, x - step) if trial == 0 else (y - step, x)
                        trial += 1
                        if not (0 <= ny < height and 0 <= nx < width and target[ny, nx]):
                            continue
                        frame = np.int64(match[ny, nx, 0])
                        sy, sx = match[ny, nx, 1], match[ny, nx, 2]
                        sy, sx = _onward(label, into, outof, ny, nx, frame, sy, sx, y - ny, x - nx)
                        share = COHERENT
                    else:
                        if radius < 1:
                            break
                        frame = np.int64(match[y, x, 0])
                        if _draw(state, 5) == 0:
                            frame = _draw(state, sources.shape[0])
                        sy = match[y, x, 1] + _draw(state, 2 * radius + 1) - radius
                        sx = match[y, x, 2] + _draw(state, 2 * radius + 1) - radius
                        radius //= 2
                        share = 1.0
                    if not (0 <= sy < centres.shape[1] - 1 and 0 <= sx < centres.shape[2] - 1):
                        continue
                    if not centres[frame, np.int64(sy + 0.5), np.int64(sx + 0.5)]:
                        continue
                    if not _allowed(label, behind, source_label, source_depth, y, x, frame, sy, sx):
                        continue
                    found = _cost(
                        now, filled, sources, usable, guide, means, label, into, outof,
                        y, x, frame, sy, sx, best / share,
                    )  # fmt: skip
                    if found * share < best:
                        best = found
                        match[y, x, 0], match[y, x, 1], match[y, x, 2] = frame, sy, sx
                cost[y, x] = best


@kernel
def _onward(label, into, outof, y, x, frame, sy, sx, dy, dx):
    """Row and column of what a copy shows a step (dy, dx) on."""
    if label[y, x] == 0:
        return sy + dy, sx + dx
    turn, _ = _turn(into, outof, y, x, frame, sy, sx)
    return sy + turn[2] * dx + turn[3] * dy, sx + turn[0] * dx + turn[1] * dy


@kernel
def _show(sources, label, into, outof, match, y, x, dy, dx, pixel):
    """Write into ``pixel`` what the copy around (y, x) shows a step (dy, dx) on; returns where that
    is: row and column of the source."""
    frame = np.int64(match[y, x, 0])
    sy, sx = match[y, x, 1], match[y, x, 2]
    sy, sx = _onward(label, into, outof, y, x, frame, sy, sx, dy, dx)
    if label[y, x] != 0:  # between pixels: bilinear would blur what is to be sharp
        sample_cubic(sources[frame], sx, sy, pixel)
        return sy, sx
    row = min(max(np.int64(sy), 0), sources.shape[1] - 1)
    column = min(max(np.int64(sx), 0), sources.shape[2] - 1)
    for c in range(3):
        pixel[c] = sources[frame, row, column, c]
    return np.float32(row), np.float32(column)


@kernel
def rebuild(
    now, filled, hole, target, inward, sources, label, into, outof, match, cost, spread, copies,
    origin,
):  # fmt: skip
    """The hole anew from the patches that overlap each pixel: their weighted mean, or a copy of
    the best one's pixel; into ``now`` and ``filled``, which it does not read. origin: float32
    [h, w, 3], frame, row and column of copies."""
    height, width = hole.shape
    pixel, total = np.empty(3, np.float64), np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            if not hole[y, x]:
                continue
            weights, best, best_y, best_x = 0.0, 0.0, 0, 0
            total[:] = 0
            for dy in range(-RADIUS, RADIUS + 1):
                for dx in range(-RADIUS, RADIUS + 1):
                    py, px = y + dy, x + dx
                    if not (0 <= py < height and 0 <= px < width and target[py, px]):
                        continue
                    if cost[py, px] >= NOTHING:
                        continue
                    weight = np.exp(-cost[py, px] / (2 * spread)) * inward[py, px] + 1e-12
                    if copies:
                        weight /= 1.0 + 0.2 * (dy * dy + dx * dx)
                        if weight > best:
                            best, best_y, best_x = weight, py, px
                        continue
                    _show(sources, label, into, outof, match, py, px, -dy, -dx, pixel)
                    weights += weight
                    for c in range(3):
                        total[c] += weight * pixel[c]
            if best > 0:
                weights = 1.0
                origin[y, x, 0] = match[best_y, best_x, 0]
                origin[y, x, 1], origin[y, x, 2] = _show(
                    sources, label, into, outof, match, best_y, best_x, y - best_y, x - best_x,
                    total,
                )  # fmt: skip
            if weights > 0:
                for c in range(3):
                    now[y, x, c] = total[c] / weights
                filled[y, x] = 1.0
