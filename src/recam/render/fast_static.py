"""Merging what other frames saw of the static scene, compiled."""

from __future__ import annotations

import numpy as np

from recam.render.fast_draw import draw, project
from recam.render.fast_shade import FINEST, byte, careful, cubic, locate, num_samples
from recam.render.fast_surface import NEAR_EDGE
from recam.runtime.jit import inlined, kernel

f32 = np.float32


@inlined
def nearest_around(disparity, u, v):
    """Largest disparity in the 3×3 pixels around (u, v) px; 0 if outside or if any is unknown."""
    h, w = disparity.shape
    if not (u >= 0 and v >= 0 and u < w and v < h):
        return f32(0)
    iu, iv = int(u), int(v)
    largest = f32(0)
    for y in range(max(iv - 1, 0), min(iv + 2, h)):
        for x in range(max(iu - 1, 0), min(iu + 2, w)):
            if disparity[y, x] <= 0:
                return f32(0)
            largest = max(largest, disparity[y, x])
    return largest


@kernel
def vote(disparity, m, other, confidence, tolerance, balance):
    """Ask another frame about every point: add its confidence to ``balance`` where it sees the
    same surface, take it away where it sees clearly through the point."""
    h, w = disparity.shape
    oh, ow = other.shape
    for y in range(h):
        for x in range(w):
            d = disparity[y, x]
            if d <= 0:
                continue
            u, v, there = project(m, f32(x) + f32(0.5), f32(y) + f32(0.5), d)
            if there <= 0 or not (u >= 0 and v >= 0 and u < ow and v < oh):
                continue
            iu, iv = np.int32(u), np.int32(v)
            seen = other[iv, iu]
            if seen <= 0:
                continue
            if abs(seen - there) <= tolerance * there:
                balance[y, x] += confidence[iv, iu]
            else:
                around = nearest_around(other, u, v)
                if around > 0 and around < there * (f32(1) - tolerance):
                    balance[y, x] -= confidence[iv, iu]


@kernel
def drop_known(disparity, m, scale, other, kept, tolerance, keep):
    """Clear ``keep`` where another frame's kept points show the same surface, finely enough.

    scale: focal length of the other frame over this one's.
    """
    h, w = disparity.shape
    oh, ow = other.shape
    for y in range(h):
        for x in range(w):
            d = disparity[y, x]
            if d <= 0 or not keep[y, x]:
                continue
            u, v, there = project(m, f32(x) + f32(0.5), f32(y) + f32(0.5), d)
            if there <= 0 or not (u >= 0 and v >= 0 and u < ow and v < oh):
                continue
            iu, iv = np.int32(u), np.int32(v)
            same = abs(other[iv, iu] - there) <= tolerance * there
            if kept[iv, iu] and same and scale * there >= FINEST * d:
                keep[y, x] = False


@kernel
def find_tiles(disparity, flags, hidden, size, tiles, ranges):
    """List tiles with something to draw: tiles [k, 4] = y_low, y_high, x_low, x_high; ranges
    [k, 2] = smallest and largest disparity. Returns their number."""
    h, w = disparity.shape
    count = 0
    for y_low in range(0, h, size):
        for x_low in range(0, w, size):
            low, high = f32(np.inf), f32(0)
            for y in range(y_low, min(y_low + size, h)):
                for x in range(x_low, min(x_low + size, w)):
                    if disparity[y, x] > 0 and not flags[y, x] & hidden:
                        low, high = min(low, disparity[y, x]), max(high, disparity[y, x])
            if high > 0:
                tiles[count, 0], tiles[count, 1] = y_low, min(y_low + size, h)
                tiles[count, 2], tiles[count, 3] = x_low, min(x_low + size, w)
                ranges[count, 0], ranges[count, 1] = low, high
                count += 1
    return count


@inlined
def _reaches(m, tile, span, sums, cell):
    """May a tile of this range of disparity cover a cell with holes? sums: integral image."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    x_low, y_low, x_high, y_high = f32(1e9), f32(1e9), f32(-1e9), f32(-1e9)
    for k in range(8):
        u, v = f32(tile[2 + (k & 1)]), f32(tile[(k >> 1) & 1])
        x, y, d = project(m, u, v, span[k >> 2])
        if d <= 0:
            return True
        x_low, x_high, y_low, y_high = min(x_low, x), max(x_high, x), min(y_low, y), max(y_high, y)
    if x_high < 0 or y_high < 0 or x_low > columns * cell or y_low > rows * cell:
        return False
    i0, i1 = max(np.int32(x_low / cell), 0), min(np.int32(x_high / cell) + 1, columns)
    j0, j1 = max(np.int32(y_low / cell), 0), min(np.int32(y_high / cell) + 1, rows)
    return sums[j1, i1] - sums[j0, i1] - sums[j1, i0] + sums[j0, i0] > 0


@kernel
def count_holes(known, cell, sums):
    """Integral image of the number of unknown pixels per cell; sums int64 [rows+1, columns+1]."""
    for j in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            sums[j, i] = 0
    h, w = known.shape
    for y in range(h):
        for x in range(w):
            if known[y, x] <= 0:
                sums[y // cell + 1, x // cell + 1] += 1
    for j in range(1, sums.shape[0]):
        for i in range(1, sums.shape[1]):
            sums[j, i] += sums[j - 1, i] + sums[j, i - 1] - sums[j - 1, i - 1]
    return sums[-1, -1]


@kernel
def draw_tiles(
    disparity, corners, links, flags, m, limit, tiles, ranges, sums, cell, front, blocked
):
    """``draw`` for the tiles that may cover a hole, neighbours in a row at once. Returns how many
    may."""
    count, run = 0, np.zeros(4, np.int64)
    for k in range(tiles.shape[0]):
        if not _reaches(m, tiles[k], ranges[k], sums, cell):
            continue
        count += 1
        if tiles[k, 0] == run[0] and tiles[k, 2] == run[3] and run[3] > 0:
            run[3] = tiles[k, 3]
            continue
        if run[3] > 0:
            draw(disparity, corners, links, flags, m, limit, run, front, blocked)
        run[0], run[1], run[2], run[3] = tiles[k, 0], tiles[k, 1], tiles[k, 2], tiles[k, 3]
    if run[3] > 0:
        draw(disparity, corners, links, flags, m, limit, run, front, blocked)
    return count


@kernel
def adopt(
    which, front, blocked, known, n_source, seen, hidden_front, n, scale, tolerance,
    best, fineness, owner,
):  # fmt: skip
    """Take over into the holes what keyframe number ``which`` drew there.

    A point counts unless it is behind a surface seen from its back (in the keyframe or in the
    frame itself, ``hidden_front``), or the frame itself (disparity ``seen``, n_source maps the
    target to it) sees clearly through it. Of two keyframes the nearer surface wins; on the same
    surface the first, unless the second shows it clearly finer. n, scale: the keyframe's warp.
    """
    margin = f32(1) - tolerance
    for y in range(front.shape[0]):
        for x in range(front.shape[1]):
            d = front[y, x]
            if d <= 0 or known[y, x] > 0:
                continue
            if blocked[y, x] * margin > d or hidden_front[y, x] * margin > d:
                continue
            if d < best[y, x] * margin:
                continue
            u, v, here = locate(n_source, f32(x), f32(y), d)
            if here > 0:
                around = nearest_around(seen, u, v)
                if around > 0 and around < here * (f32(1) - f32(2) * tolerance):
                    continue
            u, v, there = locate(n, f32(x), f32(y), d)
            fine = there / (scale * d)  # source pixels per target pixel
            if d * margin > best[y, x] or fine > f32(1.5) * fineness[y, x]:
                best[y, x], fineness[y, x], owner[y, x] = d, fine, which


@kernel
def shade_adopted(
    which, rgba, disparity, flags, n, scale, gain, tolerance, best, owner, frame, known, depth
):
    """Colour the pixels that keyframe number ``which`` owns; gain float32 [3] on its colours."""
    h, w = disparity.shape
    rgb = np.empty(3, f32)
    for y in range(best.shape[0]):
        for x in range(best.shape[1]):
            if owner[y, x] != which:
                continue
            d = best[y, x]
            u, v, there = locate(n, f32(x), f32(y), d)
            iu, iv = min(max(np.int32(u), 0), w - 1), min(max(np.int32(v), 0), h - 1)
            samples = num_samples(scale * d / there)
            inside = 2.5 <= u < w - 2.5 and 2.5 <= v < h - 2.5
            if inside and samples == 1 and not flags[iv, iu] & NEAR_EDGE:
                rgb[0], rgb[1], rgb[2] = cubic(rgba, h, w, u, v)
            else:
                careful(rgba, disparity, n, x, y, d, disparity[iv, iu], samples, tolerance, rgb)
            for c in range(3):
                frame[c, y, x] = byte(rgb[c] * gain[c])
            known[y, x], depth[y, x] = f32(1), f32(1) / d


@kernel
def find_shared(points, projection, disparity, tolerance, us, vs, same):
    """Which world points [m, 3] a frame shows (projection float64 [3, 4]): ``same``, and where."""
    h, w = disparity.shape
    p = projection
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
        if depth <= 0:
            continue
        u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / depth
        v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / depth
        if not (u >= 0 and v >= 0 and u < w and v < h):
            continue
        us[i], vs[i] = u, v
        same[i] = abs(disparity[int(v), int(u)] * depth - 1) <= tolerance


@kernel
def mean_colours(rgba, h, w, us, vs, out):
    """Means [m, 3] of every other pixel of the 8×8 px around points of a packed h×w picture."""
    for i in range(us.shape[0]):
        x_first, y_first = int(us[i]) - 4, int(vs[i]) - 4
        r, g, b, count = f32(0), f32(0), f32(0), f32(0)
        for y in range(max(y_first, 0), min(y_first + 8, h), 2):
            for x in range(max(x_first, 0), min(x_first + 8, w), 2):
                k = 4 * (y * w + x)
                r, g, b = r + f32(rgba[k]), g + f32(rgba[k + 1]), b + f32(rgba[k + 2])
                count += f32(1)
        out[i, 0], out[i, 1], out[i, 2] = r / count, g / count, b / count


@kernel
def widen(mask, reach, across, out):
    """True within ``reach`` pixels (a square) of a True pixel; ``across`` is scratch."""
    h, w = mask.shape
    for y in range(h):
        for x in range(w):
            found = False
            for i in range(max(x - reach, 0), min(x + reach + 1, w)):
                found |= mask[y, i]
            across[y, x] = found
    for y in range(h):
        for x in range(w):
            out[y, x] = False
        for j in range(max(y - reach, 0), min(y + reach + 1, h)):
            for x in range(w):
                out[y, x] |= across[j, x]
