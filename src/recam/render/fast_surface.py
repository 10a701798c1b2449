"""From a depth map to a drawable surface, compiled. ``reference.py`` says the same in torch."""

from __future__ import annotations

import numpy as np

from recam.runtime.jit import inlined, kernel

IRREGULAR, NEAR_EDGE, MARGIN, HIDDEN = 1, 2, 4, 8
RIGHT, DOWN = 1, 2

f32 = np.float32


@kernel
def invert(depth, valid, disparity):
    """1/depth, 0 where depth is not finite, not positive or not valid."""
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            z = depth[y, x]
            good = valid[y, x] and z > 0 and z < np.inf
            disparity[y, x] = f32(1) / z if good else f32(0)


@inlined
def _even_run(d, y, x, dy, dx, step, side):
    """How many of the next three steps, going ``side`` (±1) from a link, are about as large."""
    h, w = d.shape
    run = 0
    y, x = (y + dy, x + dx) if side > 0 else (y, x)
    for _ in range(3):
        ny, nx = y + side * dy, x + side * dx
        if ny < 0 or nx < 0 or ny >= h or nx >= w or d[ny, nx] <= 0:
            break
        next_step = (d[ny, nx] - d[y, x]) * f32(side)
        if next_step / step < f32(0.5) or next_step / step > f32(2):
            break
        run, y, x = run + 1, ny, nx
    return run


@inlined
def _is_slope(d, y, x, dy, dx):
    """Is the step from (y, x) to its neighbour one of at least four even ones in a row (a slanted
    plane), rather than an edge?"""
    if d[y, x] <= 0 or d[y + dy, x + dx] <= 0:
        return False
    step = d[y + dy, x + dx] - d[y, x]
    return _even_run(d, y, x, dy, dx, step, 1) + _even_run(d, y, x, dy, dx, step, -1) >= 3


@kernel
def find_links(disparity, threshold, links, words, torn):
    """Set the bits RIGHT and DOWN of ``links`` where a pixel is torn from that neighbour.

    words: the memory of ``links`` as uint64, to pass over eight untorn pixels at a time. ``torn``
    int32 [h·w] lists the torn pixels' flat indices; returns how many there are.
    """
    h, w = disparity.shape
    t = f32(threshold)
    for y in range(h):
        below = min(y + 1, h - 1)
        for x in range(w):
            here, under = disparity[y, x], disparity[below, x]
            right = disparity[y, min(x + 1, w - 1)]
            torn_right = abs(here - right) > t * max(here, right)
            torn_down = abs(here - under) > t * max(here, under)
            links[y, x] = (RIGHT if torn_right else 0) | (DOWN if torn_down else 0)
    count, d = 0, disparity
    for word in range(words.shape[0]):
        if words[word] == 0:
            continue
        for k in range(8 * word, 8 * word + 8):
            y, x = k // w, k % w
            link = links[y, x] if y < h else 0
            if link & RIGHT and _is_slope(d, y, x, 0, 1):
                link &= DOWN
            if link & DOWN and _is_slope(d, y, x, 1, 0):
                link &= RIGHT
            if y < h:
                links[y, x] = link
            if link:
                torn[count] = k
                count += 1
    return count


@inlined
def _ramp_end(disparity, links, y, x, dy, dx, reach):
    """Follow a ramp of torn pixels from (y, x) one way to the surface where it ends."""
    h, w = disparity.shape
    bit = RIGHT if dx != 0 else DOWN
    rising = disparity[y + dy, x + dx] > disparity[y, x]
    for _ in range(reach):
        ny, nx = y + dy, x + dx
        if ny < 0 or nx < 0 or ny >= h or nx >= w or disparity[ny, nx] <= 0:
            break
        torn = links[min(y, ny), min(x, nx)] & bit
        if not torn or (disparity[ny, nx] > disparity[y, x]) != rising:
            break
        y, x = ny, nx
    return disparity[y, x]


@kernel
def snap_flying(original, links, torn, reach, disparity, snapped):
    """Give pixels that hang between two surfaces the disparity of the nearer one.

    Such a pixel is torn from both of its neighbours in a row or column, in the same direction. A
    thin structure is not touched: it stands in front of both. ``disparity`` comes in as a copy of
    ``original``; ``snapped`` gets the flat indices of what was changed. Returns how many were.
    """
    h, w = original.shape
    num = 0
    for index in torn:
        y, x = index // w, index % w
        here = original[y, x]
        if here <= 0:
            continue
        best, best_gap = here, f32(np.inf)
        for axis in range(2):
            dy, dx = (0, 1) if axis == 0 else (1, 0)
            bit = RIGHT if axis == 0 else DOWN
            if not (dy <= y < h - dy and dx <= x < w - dx):
                continue
            if not (links[y, x] & bit and links[y - dy, x - dx] & bit):
                continue
            before, after = original[y - dy, x - dx], original[y + dy, x + dx]
            if before <= 0 or after <= 0 or (here - before) * (after - here) <= 0:
                continue
            for side in range(-1, 2, 2):
                end = _ramp_end(original, links, y, x, dy * side, dx * side, reach)
                if abs(end - here) < best_gap:
                    best, best_gap = end, abs(end - here)
        if best != here:
            disparity[y, x] = best
            snapped[num] = index
            num += 1
    return num


@kernel
def mark_edges(disparity, links, torn, snapped, margin, flags):
    """Set the bits IRREGULAR, NEAR_EDGE and MARGIN of ``flags`` around the torn links."""
    h, w = disparity.shape
    for index in snapped:
        flags[index // w, index % w] |= MARGIN
    for index in torn:
        y, x = index // w, index % w
        for axis in range(2):
            if not links[y, x] & (RIGHT if axis == 0 else DOWN):
                continue
            dy, dx = (0, 1) if axis == 0 else (1, 0)
            # The cubic footprint of a pixel reaches two pixels either way; the corners at
            # either end of the link touch 2×3 or 3×2 pixels.
            for j in range(max(y - 2 + dy, 0), min(y + 3, h)):
                for i in range(max(x - 2 + dx, 0), min(x + 3, w)):
                    flags[j, i] |= NEAR_EDGE
            for j in range(max(y - dx, 0), min(y + 2, h)):
                for i in range(max(x - dy, 0), min(x + 2, w)):
                    flags[j, i] |= IRREGULAR
            here, there = disparity[y, x], disparity[y + dy, x + dx]
            if min(here, there) <= 0:
                continue
            first, step = (1, 1) if here > there else (0, -1)
            for k in range(margin):
                j, i = y + dy * (first + step * k), x + dx * (first + step * k)
                if 0 <= j < h and 0 <= i < w:
                    flags[j, i] |= MARGIN


@kernel
def average_corners(disparity, corners):
    """corners [h+1, w+1]: mean disparity of the four pixels that meet at each pixel corner."""
    h, w = disparity.shape
    half, quarter = f32(0.5), f32(0.25)
    for y in range(h + 1):
        above, below = max(y - 1, 0), min(y, h - 1)
        corners[y, 0] = half * (disparity[above, 0] + disparity[below, 0])
        corners[y, w] = half * (disparity[above, w - 1] + disparity[below, w - 1])
        for x in range(1, w):
            left = disparity[above, x - 1] + disparity[below, x - 1]
            corners[y, x] = quarter * (left + disparity[above, x] + disparity[below, x])


@kernel
def shrink(frame, h, w, rgba):
    """A uint8 [3, H, W] frame to the packed uint8 picture of h×w: means over the pixels that each
    small pixel touches."""
    _, height, width = frame.shape
    for y in range(h):
        y0, y1 = y * height // h, -(-(y + 1) * height // h)
        for x in range(w):
            x0, x1 = x * width // w, -(-(x + 1) * width // w)
            area = f32((y1 - y0) * (x1 - x0))
            for c in range(3):
                total = f32(0)
                for j in range(y0, y1):
                    for i in range(x0, x1):
                        total += f32(frame[c, j, i])
                rgba[4 * (y * w + x) + c] = np.uint8(total / area + f32(0.5))


@kernel
def _by_colour(disparity, guide, fine, k, u, v, iu, iv, spread):
    """Disparity at (u, v) coarse px beside an edge: of the side whose colours are closer to
    those of pixel k of the fine picture."""
    h, w = disparity.shape
    near, far = f32(0), f32(np.inf)
    for y in range(iv, iv + 2):
        for x in range(iu, iu + 2):
            if disparity[y, x] > 0:
                near, far = max(near, disparity[y, x]), min(far, disparity[y, x])
    between = f32(0.5) * (near + far)
    near_sum, near_weight, far_sum, far_weight = f32(0), f32(0), f32(0), f32(0)
    for y in range(max(iv - 1, 0), min(iv + 3, h)):
        for x in range(max(iu - 1, 0), min(iu + 3, w)):
            d = disparity[y, x]
            if d <= 0:
                continue
            dx, dy = f32(x) + f32(0.5) - u, f32(y) + f32(0.5) - v
            colour, p = f32(0), 4 * (y * w + x)
            for c in range(3):
                step = f32(guide[p + c]) - f32(fine[4 * k + c])
                colour += step * step
            weight = np.exp(f32(-0.5) * (dx * dx + dy * dy + colour * spread)) + f32(1e-12)
            if d > between or near == far:
                near_sum, near_weight = near_sum + weight * d, near_weight + weight
            else:
                far_sum, far_weight = far_sum + weight * d, far_weight + weight
    return near_sum / near_weight if near_weight >= far_weight else far_sum / far_weight


@kernel
def upsample(disparity, links, guide, fine, sigma, out):
    """Enlarge a disparity map: linear on surfaces; at edges each pixel takes the side that its
    colour belongs to. guide, fine: packed pictures of the coarse and the fine size."""
    h, w = disparity.shape
    height, width = out.shape
    spread = f32(1) / (f32(sigma) * f32(sigma))
    for y in range(height):
        v = (f32(y) + f32(0.5)) * f32(h) / f32(height)
        iv = min(max(np.int32(np.floor(v - f32(0.5))), 0), h - 2)
        fv = min(max(v - f32(0.5) - f32(iv), f32(0)), f32(1))
        for x in range(width):
            u = (f32(x) + f32(0.5)) * f32(w) / f32(width)
            iu = min(max(np.int32(np.floor(u - f32(0.5))), 0), w - 2)
            fu = min(max(u - f32(0.5) - f32(iu), f32(0)), f32(1))
            a, b = disparity[iv, iu], disparity[iv, iu + 1]
            c, d = disparity[iv + 1, iu], disparity[iv + 1, iu + 1]
            torn = links[iv, iu] | (links[iv, iu + 1] & DOWN) | (links[iv + 1, iu] & RIGHT)
            if torn == 0:
                top, bottom = a + fu * (b - a), c + fu * (d - c)
                out[y, x] = top + fv * (bottom - top)
            elif disparity[min(np.int32(v), h - 1), min(np.int32(u), w - 1)] <= 0:
                out[y, x] = f32(0)
            else:
                k = y * width + x
                out[y, x] = _by_colour(disparity, guide, fine, k, u, v, iu, iv, spread)
