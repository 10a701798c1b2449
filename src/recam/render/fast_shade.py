"""Colouring a z-buffer from the frame that it was drawn from, compiled.

Each target pixel knows its disparity, so it knows where in the source it comes from; the colour is
interpolated there. ``reference.py`` says the same in torch.
"""

from __future__ import annotations

import numpy as np

from recam.render.fast_surface import MARGIN, NEAR_EDGE
from recam.runtime.jit import inlined, kernel

f32 = np.float32
u64 = np.uint64
FINEST = f32(0.75)  # target pixels per source pixel below which several samples are averaged
MAX_SAMPLES = 4


@kernel
def pack(frame, rgba):
    """uint8 [3, h, w] to the flat [h·w·4] (of any type) that the samplers read."""
    _, h, w = frame.shape
    for y in range(h):
        for x in range(w):
            k = 4 * (y * w + x)
            rgba[k], rgba[k + 1], rgba[k + 2] = frame[0, y, x], frame[1, y, x], frame[2, y, x]


@kernel
def settle(front, blocked, tolerance):
    """Take from ``front`` what lies behind a surface that is seen from its back."""
    for y in range(front.shape[0]):
        for x in range(front.shape[1]):
            if blocked[y, x] * (f32(1) - tolerance) > front[y, x]:
                front[y, x] = f32(0)


@inlined
def locate(n, x, y, d):
    """Source u, v and disparity of the target pixel (x, y) of disparity d; n as in ``draw``."""
    u, v = f32(x) + f32(0.5), f32(y) + f32(0.5)
    p0 = n[0] * u + n[1] * v + n[2] - n[9] * d
    p1 = n[3] * u + n[4] * v + n[5] - n[10] * d
    p2 = n[6] * u + n[7] * v + n[8] - n[11] * d
    inverse = f32(1) / p2
    return p0 * inverse, p1 * inverse, d * inverse


@inlined
def _cubic_weights(f):
    """Catmull–Rom weights of the four samples around a fraction f of [0, 1)."""
    w0 = f32(0.5) * (((-f + f32(2)) * f - f32(1)) * f)
    w1 = f32(0.5) * ((f32(3) * f - f32(5)) * f * f + f32(2))
    w2 = f32(0.5) * (((f32(-3) * f + f32(4)) * f + f32(1)) * f)
    return w0, w1, w2, f32(0.5) * ((f - f32(1)) * f * f)


@inlined
def cubic(rgba, h, w, u, v):
    """Red, green, blue at (u, v) px, which lies at least two pixels inside."""
    iu, iv = np.int32(np.floor(u - f32(0.5))), np.int32(np.floor(v - f32(0.5)))
    xs = _cubic_weights(u - f32(0.5) - f32(iu))
    ys = _cubic_weights(v - f32(0.5) - f32(iv))
    p = u64(4 * ((iv - 1) * w + iu - 1))
    r, g, b = f32(0), f32(0), f32(0)
    for j in range(4):
        row_r, row_g, row_b, row_a = f32(0), f32(0), f32(0), f32(0)
        for i in range(4):
            q = p + u64(4 * i)
            row_r += xs[i] * f32(rgba[q])
            row_g += xs[i] * f32(rgba[q + u64(1)])
            row_b += xs[i] * f32(rgba[q + u64(2)])
            row_a += xs[i] * f32(rgba[q + u64(3)])  # unused; four lanes make one vector
        r, g, b = r + ys[j] * row_r, g + ys[j] * row_g, b + ys[j] * row_b
        p += u64(4 * w)
    return r, g, b


@kernel
def _linear(rgba, disparity, u, v, d, tolerance, share, rgb):
    """Add to ``rgb`` a share of the colour at (u, v) px, from those neighbours that lie at
    disparity d, or else from the one that is closest to it."""
    h, w = disparity.shape
    iu, iv = np.int32(np.floor(u - f32(0.5))), np.int32(np.floor(v - f32(0.5)))
    fu, fv = u - f32(0.5) - f32(iu), v - f32(0.5) - f32(iv)
    r, g, b, a, total = f32(0), f32(0), f32(0), f32(0), f32(1e-6)
    closest, near_gap = 0, f32(np.inf)
    for j in range(2):
        y = min(max(iv + j, 0), h - 1)
        for i in range(2):
            x = min(max(iu + i, 0), w - 1)
            k, there = y * w + x, disparity[y, x]
            gap = abs(there - d)
            weight = (fu if i else f32(1) - fu) * (fv if j else f32(1) - fv)
            closest, near_gap = (k, gap) if gap < near_gap else (closest, near_gap)
            weight = weight if there > 0 and gap <= tolerance * d else f32(0)
            r += weight * f32(rgba[4 * k])
            g += weight * f32(rgba[4 * k + 1])
            b += weight * f32(rgba[4 * k + 2])
            a += weight * f32(rgba[4 * k + 3])
            total += weight
    if total > f32(1e-3):
        scale = share / total
        rgb[0], rgb[1], rgb[2] = rgb[0] + scale * r, rgb[1] + scale * g, rgb[2] + scale * b
    else:
        for c in range(3):
            rgb[c] += share * f32(rgba[4 * closest + c])


@inlined
def byte(value):
    return np.uint8(min(max(value + f32(0.5), f32(0)), f32(255)))


@kernel
def _near_hole(front, x, y, reach):
    height, width = front.shape
    for j in range(max(y - reach, 0), min(y + reach + 1, height)):
        for i in range(max(x - reach, 0), min(x + reach + 1, width)):
            if front[j, i] <= 0:
                return True
    return False


@kernel
def careful(rgba, disparity, n, x, y, d, own, samples, tolerance, rgb):
    """Mean colour over samples × samples points of the target pixel (x, y), from source pixels
    whose disparity is close to ``own``, that of the one in the middle."""
    rgb[0], rgb[1], rgb[2] = f32(0), f32(0), f32(0)
    share = f32(1) / f32(samples)
    for j in range(samples):
        for i in range(samples):
            dx = (f32(i) + f32(0.5)) * share - f32(0.5)
            dy = (f32(j) + f32(0.5)) * share - f32(0.5)
            u, v, _ = locate(n, f32(x) + dx, f32(y) + dy, d)
            _linear(rgba, disparity, u, v, own, tolerance, share * share, rgb)


@inlined
def num_samples(size):
    """How many samples a side, for a target pixel of ``size`` target pixels a source pixel."""
    if size >= FINEST:
        return np.int32(1)
    return np.int32(min(np.ceil(f32(1) / max(size, f32(1e-3))), f32(MAX_SAMPLES)))


@kernel
def _locate_row(n, scale, front, y, w, h, us, vs, plain, known, depth, origin):
    """Where a row of target pixels comes from; plain = one cubic sample may do."""
    u_end, v_end = f32(w) - f32(2.5), f32(h) - f32(2.5)
    for x in range(front.shape[0]):
        d = front[x]
        u, v, ds = locate(n, f32(x), f32(y), d)
        seen = d > 0
        u, v = (u, v) if seen else (f32(0), f32(0))
        us[x], vs[x] = u, v
        iu = np.int32(min(max(u, f32(0)), f32(w - 1)))
        iv = np.int32(min(max(v, f32(0)), f32(h - 1)))
        inside = (u >= f32(2.5)) & (v >= f32(2.5)) & (u < u_end) & (v < v_end)
        plain[x] = inside & (scale * d >= FINEST * ds)
        known[x] = f32(1) if seen else f32(0)
        depth[x] = f32(1) / d if seen else f32(0)
        origin[x] = iv * np.int32(w) + iu if seen else np.int32(-1)


@kernel
def shade(rgba, disparity, flags, n, scale, tolerance, reach, front, frame, known, depth, origin):
    """Fill frame, known, depth and origin (flat source index, −1 = none) from a z-buffer.

    n: float32 [12], rows of A⁻¹ and then A⁻¹·b. scale: target over source focal length. reach: how
    near to a hole, in pixels, a MARGIN pixel is left out.
    """
    h, w = disparity.shape
    width = front.shape[1]
    rgb, marks = np.empty(3, f32), flags.reshape(-1)
    us, vs, plain = np.empty(width, f32), np.empty(width, f32), np.empty(width, np.bool_)
    for y in range(front.shape[0]):
        _locate_row(n, scale, front[y], y, w, h, us, vs, plain, known[y], depth[y], origin[y])
        reds, greens, blues = frame[0, y], frame[1, y], frame[2, y]
        for x in range(width):
            source = origin[y, x]
            r, g, b = f32(0), f32(0), f32(0)
            if source >= 0:
                mark = marks[source]
                if plain[x] and not mark & (NEAR_EDGE | MARGIN):
                    r, g, b = cubic(rgba, h, w, us[x], vs[x])
                elif mark & MARGIN and _near_hole(front, x, y, reach):
                    known[y, x], depth[y, x], origin[y, x] = f32(0), f32(0), -1
                else:
                    d, own = front[y, x], disparity[source // w, source % w]
                    _, _, ds = locate(n, f32(x), f32(y), d)
                    samples = num_samples(scale * d / ds)
                    careful(rgba, disparity, n, x, y, d, own, samples, tolerance, rgb)
                    r, g, b = rgb[0], rgb[1], rgb[2]
            reds[x], greens[x], blues[x] = byte(r), byte(g), byte(b)
