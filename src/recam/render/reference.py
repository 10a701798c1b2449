"""The renderer in plain torch: slow, obvious, on any device.

``make_surface`` and ``shade`` mirror the compiled kernels; ``draw_dense`` tests every triangle
against every pixel, ``draw_scatter`` only those it may cover. The last is the CUDA path: it needs
no compiler, only torch's scatter.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.render.fast_draw import NEAREST, SLACK, THINNEST
from recam.render.fast_shade import FINEST, MAX_SAMPLES
from recam.render.surface import (
    DOWN,
    HIDDEN,
    IRREGULAR,
    MARGIN,
    NEAR_EDGE,
    RAMP_PX,
    RIGHT,
    Surface,
)


def _shift(x: Tensor, dy: int, dx: int, fill: float | bool = 0) -> Tensor:
    """out[y, x] = x[y + dy, x + dx], ``fill`` outside."""
    h, w = x.shape
    out = torch.full_like(x, fill)
    if abs(dy) < h and abs(dx) < w:
        to = (slice(max(-dy, 0), h - max(dy, 0)), slice(max(-dx, 0), w - max(dx, 0)))
        at = (slice(max(dy, 0), h + min(dy, 0)), slice(max(dx, 0), w + min(dx, 0)))
        out[to] = x[at]
    return out


def _torn(d: Tensor, threshold: float, dy: int, dx: int) -> Tensor:
    """Is (y, x) torn from (y + dy, x + dx)? A large step is none of four or more even ones."""
    near = [_shift(d, k * dy, k * dx) for k in range(-3, 5)]
    step = near[4] - near[3]
    exists = _shift(torch.ones_like(d), dy, dx) > 0
    big = (step.abs() > threshold * torch.maximum(near[3], near[4])) & exists

    def even(k: int) -> Tensor:
        ratio = (near[k + 1] - near[k]) / step
        return (ratio >= 0.5) & (ratio <= 2) & (near[k] > 0) & (near[k + 1] > 0)

    before = [even(2), even(2) & even(1), even(2) & even(1) & even(0)]
    after = [even(4), even(4) & even(5), even(4) & even(5) & even(6)]
    run = torch.stack(before + after).sum(0)
    return big & ~((run >= 3) & (near[3] > 0) & (near[4] > 0))


def _ramp_end(d: Tensor, torn: Tensor, dy: int, dx: int) -> Tensor:
    """Where the ramp of torn pixels through each pixel ends in direction (dy, dx)."""
    torn_ahead = torn if dy + dx > 0 else _shift(torn, dy, dx, False)
    rising = _shift(d, dy, dx) > d
    end, walking = d.clone(), torch.ones_like(d, dtype=torch.bool)
    for k in range(RAMP_PX):
        here, ahead = _shift(d, k * dy, k * dx), _shift(d, (k + 1) * dy, (k + 1) * dx)
        torn_here = _shift(torn_ahead, k * dy, k * dx, False)
        walking = walking & (ahead > 0) & torn_here & ((ahead > here) == rising)
        end = torch.where(walking, ahead, end)
    return end


def _snap_flying(d: Tensor, torn_right: Tensor, torn_down: Tensor) -> Tensor:
    best, best_gap = d.clone(), torch.full_like(d, float("inf"))
    for torn, dy, dx in ((torn_right, 0, 1), (torn_down, 1, 0)):
        before, after = _shift(d, -dy, -dx), _shift(d, dy, dx)
        between = torn & _shift(torn, -dy, -dx, False) & (d > 0) & (before > 0) & (after > 0)
        between &= (d - before) * (after - d) > 0
        for sign in (-1, 1):
            end = _ramp_end(d, torn, sign * dy, sign * dx)
            closer = between & ((end - d).abs() < best_gap)
            best = torch.where(closer, end, best)
            best_gap = torch.where(closer, (end - d).abs(), best_gap)
    return best


def _spread(x: Tensor, up: int, down: int, left: int, right: int) -> Tensor:
    """True at every pixel from ``up`` above to ``down`` below (and so on) of a True pixel."""
    out = torch.zeros_like(x)
    for dy in range(-up, down + 1):
        for dx in range(-left, right + 1):
            out |= _shift(x, -dy, -dx, False)
    return out


def make_surface(
    disparity: Tensor, edge_threshold: float = 0.05, margin: int = 1, snap: bool = True
) -> Surface:
    """The same as ``surface.make_surface``, on the tensor's device."""
    d = disparity
    torn_right, torn_down = _torn(d, edge_threshold, 0, 1), _torn(d, edge_threshold, 1, 0)
    marks = torch.zeros_like(d, dtype=torch.bool)
    if snap:
        sharp = _snap_flying(d, torn_right, torn_down)
        marks, d = sharp != d, sharp
        torn_right, torn_down = _torn(d, edge_threshold, 0, 1), _torn(d, edge_threshold, 1, 0)
    near_edge = _spread(torn_right, 2, 2, 1, 2) | _spread(torn_down, 1, 2, 2, 2)
    irregular = _spread(torn_right, 1, 1, 0, 1) | _spread(torn_down, 0, 1, 1, 1)
    for torn, dy, dx in ((torn_right, 0, 1), (torn_down, 1, 0)):
        there = _shift(d, dy, dx)
        real = torn & (d > 0) & (there > 0)
        for k in range(margin):
            marks |= _shift(real & (d > there), -(1 + k) * dy, -(1 + k) * dx, False)
            marks |= _shift(real & (d <= there), k * dy, k * dx, False)
    links = RIGHT * torn_right.to(torch.uint8) + DOWN * torn_down.to(torch.uint8)
    flags = torch.zeros_like(links)
    for bit, where in ((IRREGULAR, irregular), (NEAR_EDGE, near_edge), (MARGIN, marks)):
        flags |= bit * where.to(torch.uint8)
    padded = F.pad(d[None, None], (1, 1, 1, 1), mode="replicate")
    return Surface(d, links, flags, F.avg_pool2d(padded, 2, 1)[0, 0])


def enlarge(disparity: Tensor, frame: Tensor, edge_threshold: float, sigma: float) -> Tensor:
    """The same as ``surface.enlarge``, on the tensor's device."""
    sharp = make_surface(disparity, edge_threshold)
    d, links, (h, w), size = sharp.disparity, sharp.links, disparity.shape, frame.shape[1:]
    v = ((torch.arange(size[0], device=d.device) + 0.5) * h / size[0])[:, None].expand(size)
    u = ((torch.arange(size[1], device=d.device) + 0.5) * w / size[1]).expand(size)
    iv, iu = (v - 0.5).floor().long().clamp(0, h - 2), (u - 0.5).floor().long().clamp(0, w - 2)
    fv, fu = (v - 0.5 - iv).clamp(0, 1), (u - 0.5 - iu).clamp(0, 1)
    four = torch.stack([d[iv + j, iu + i] for j in (0, 1) for i in (0, 1)])
    top, bottom = torch.lerp(four[0], four[1], fu), torch.lerp(four[2], four[3], fu)
    torn = links[iv, iu] | (links[iv, iu + 1] & DOWN) | (links[iv + 1, iu] & RIGHT)
    near, far = four.amax(0), torch.where(four > 0, four, torch.inf).amin(0)
    guide = F.interpolate(frame[None].float(), (h, w), mode="area")[0].round()
    sums = torch.zeros(2, 2, *size, device=d.device)  # far and near side; weight and weighted sum
    for j in range(-1, 3):
        for i in range(-1, 3):
            y, x = iv + j, iu + i
            exists = (y >= 0) & (y < h) & (x >= 0) & (x < w)
            y, x = y.clamp(0, h - 1), x.clamp(0, w - 1)
            colour = (guide[:, y, x] - frame).square().sum(0) / sigma**2
            apart = (x + 0.5 - u).square() + (y + 0.5 - v).square()
            weight = torch.exp(-0.5 * (apart + colour)) + 1e-12
            weight = torch.where(exists & (d[y, x] > 0), weight, 0)
            is_near = (d[y, x] > 0.5 * (near + far)) | (near == far)
            for side, where in ((0, ~is_near), (1, is_near)):
                sums[side, 0] += torch.where(where, weight, 0)
                sums[side, 1] += torch.where(where, weight * d[y, x], 0)
    chosen = torch.where(sums[1, 0] >= sums[0, 0], sums[1, 1] / sums[1, 0], sums[0, 1] / sums[0, 0])
    chosen = torch.where(d[v.long().clamp(max=h - 1), u.long().clamp(max=w - 1)] > 0, chosen, 0)
    return torch.where(torn == 0, torch.lerp(top, bottom, fv), chosen)


def pixel_corners(surface: Surface) -> Tensor:
    """Disparity [h, w, 4] at every pixel's own corners (clockwise from the top left)."""
    d, links = surface.disparity, surface.links
    right, down = (links & RIGHT) == 0, (links & DOWN) == 0
    right[:, -1], down[-1] = False, False
    corners = []
    for sy, sx in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        to_side = right if sx > 0 else _shift(right, 0, -1, False)
        to_end = down if sy > 0 else _shift(down, -1, 0, False)
        side_on, end_on = _shift(to_end, 0, sx, False), _shift(to_side, sy, 0, False)
        side = to_side | (to_end & end_on & side_on)
        end = to_end | (to_side & side_on & end_on)
        far = (to_side & side_on) | (to_end & end_on)
        total, count = d.clone(), torch.ones_like(d)
        for joined, dy, dx in ((side, 0, sx), (end, sy, 0), (far, sy, sx)):
            total += torch.where(joined, _shift(d, dy, dx), 0)
            count += joined
        corners.append(total / count)
    return torch.stack(corners, -1)


def triangles(surface: Surface, m: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Target triangles [k, 3, 3] of (x, y, disparity), twice their signed areas [k].

    Those behind the camera, edge-on or stretched too far are left out. m, limit: as in
    ``fast_draw.draw``.
    """
    h, w = surface.disparity.shape
    device, a, b = surface.disparity.device, m[:9].reshape(3, 3), m[9:]
    offsets = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]], device=device)
    y, x = torch.arange(h, device=device), torch.arange(w, device=device)
    v = (y[:, None, None] + offsets[:, 0]).float().expand(h, w, 4)
    u = (x[None, :, None] + offsets[:, 1]).float().expand(h, w, 4)
    d = pixel_corners(surface)
    q = torch.stack([u, v, torch.ones_like(u)], -1) @ a.T + d[..., None] * b
    drawn = (surface.disparity > 0) & ((surface.flags & HIDDEN) == 0)
    in_front = (q[..., 2] > float(NEAREST)).all(-1) & drawn
    xyd = torch.stack([q[..., 0], q[..., 1], d], -1) / q[..., 2:]
    quads, source = xyd[in_front], surface.disparity[in_front]
    both = torch.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1)
    e, f = both[:, :, 1] - both[:, :, 0], both[:, :, 2] - both[:, :, 0]
    area = e[..., 0] * f[..., 1] - e[..., 1] * f[..., 0]
    largest = limit * (quads[:, 0, 2] / source) ** 2
    keep = (area.abs() >= float(THINNEST)) & (area <= largest[:, None])
    return both[keep], area[keep]


def _inside(tri: Tensor, area: Tensor, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor]:
    """Do triangles cover pixel centres, and with which disparity? Broadcasts."""
    (xa, ya, da), (xb, yb, db), (xc, yc, dc) = (tri[..., k, :].unbind(-1) for k in range(3))
    wa = ((xb - px) * (yc - py) - (yb - py) * (xc - px)) / area
    wb = ((xc - px) * (ya - py) - (yc - py) * (xa - px)) / area
    wc = 1 - wa - wb
    inside = torch.minimum(torch.minimum(wa, wb), wc) >= -float(SLACK)
    return inside, wa * da + wb * db + wc * dc


def draw_dense(
    surface: Surface, m: Tensor, limit: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Z-buffers front and blocked [height, width] (largest disparity, 0 = nothing).

    Every triangle against every pixel, a row of pixels at a time: for small pictures.
    """
    tri, area = triangles(surface, m, limit)
    px = torch.arange(width, device=tri.device) + 0.5
    front, blocked = torch.zeros(2, height, width, device=tri.device)
    if len(tri) == 0:
        return front, blocked
    for y in range(height):
        py = torch.full_like(px, y + 0.5)
        inside, d = _inside(tri[:, None], area[:, None], px, py)
        faces = area[:, None] > 0
        front[y] = torch.where(inside & faces, d, 0).amax(0)
        blocked[y] = torch.where(inside & ~faces, d, 0).amax(0)
    return front.clamp_(min=0), blocked.clamp_(min=0)


def draw_scatter(
    surface: Surface, m: Tensor, limit: float, height: int, width: int, chunk: int = 1 << 22
) -> tuple[Tensor, Tensor]:
    """The same z-buffers by listing the pixels in each triangle's bounding box and scattering the
    largest disparity. Runs on CUDA as it stands; ``chunk`` bounds the list's length."""
    tri, area = triangles(surface, m, limit)
    low, high = tri[..., :2].amin(1) - float(SLACK), tri[..., :2].amax(1) + float(SLACK)
    size = torch.tensor([width, height], device=tri.device)
    first = (low - 0.5).ceil().clamp(min=0).minimum(size.float()).long()
    last = (high - 0.5).floor().clamp(min=-1).minimum(size - 1.0).long()
    extent = (last - first + 1).clamp(min=0)
    count = extent.prod(1)
    some = count > 0
    tri, area, first, extent, count = (x[some] for x in (tri, area, first, extent, count))
    buffers = torch.zeros(2 * height * width, device=tri.device)
    if len(tri) == 0:
        return buffers.reshape(2, height, width).unbind(0)  # type: ignore[return-value]
    ends = count.cumsum(0)
    cuts = torch.arange(0, int(ends[-1]), chunk, device=tri.device)[1:]
    bounds = [0, *torch.searchsorted(ends, cuts).tolist(), len(tri)]
    for begin, end in pairwise(bounds):
        part = slice(begin, end)
        which = torch.arange(begin, end, device=tri.device).repeat_interleave(count[part])
        start = (ends[part] - count[part])[which - begin]
        place = torch.arange(len(which), device=tri.device) + (start[:1] - start)
        x = first[which, 0] + place % extent[which, 0]
        y = first[which, 1] + place // extent[which, 0]
        inside, d = _inside(tri[which], area[which], x + 0.5, y + 0.5)
        index = (y * width + x + (area[which] <= 0) * (height * width))[inside]
        buffers.scatter_reduce_(0, index, d[inside].clamp(min=0), "amax")
    front, blocked = buffers.reshape(2, height, width)
    return front, blocked


def settle(front: Tensor, blocked: Tensor, tolerance: float) -> Tensor:
    """``front`` without what lies behind a surface that is seen from its back."""
    return torch.where(blocked * (1 - tolerance) > front, 0, front)


def locate(n: Tensor, x: Tensor, y: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Source u, v and disparity of target points (x, y) px of disparity d."""
    b, c = n[:9].reshape(3, 3), n[9:]
    p = torch.stack([x, y, torch.ones_like(x)], -1) @ b.T - d[..., None] * c
    return p[..., 0] / p[..., 2], p[..., 1] / p[..., 2], d / p[..., 2]


def _cubic_weights(f: Tensor) -> list[Tensor]:
    """Catmull–Rom weights of the four samples around a fraction f of [0, 1)."""
    w0 = 0.5 * (((2 - f) * f - 1) * f)
    w1 = 0.5 * ((3 * f - 5) * f * f + 2)
    w2 = 0.5 * (((4 - 3 * f) * f + 1) * f)
    return [w0, w1, w2, 0.5 * ((f - 1) * f * f)]


def _cubic(image: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Colours [k, 3] of an image [3, h, w] (float) at points [k]."""
    _, h, w = image.shape
    iu, iv = (u - 0.5).floor(), (v - 0.5).floor()
    xs, ys = _cubic_weights(u - 0.5 - iu), _cubic_weights(v - 0.5 - iv)
    total = torch.zeros(len(u), 3, device=image.device)
    for j in range(4):
        for i in range(4):
            y, x = (iv.long() - 1 + j).clamp(0, h - 1), (iu.long() - 1 + i).clamp(0, w - 1)
            total += (ys[j] * xs[i])[:, None] * image[:, y, x].T
    return total


def _linear(
    image: Tensor, disparity: Tensor, u: Tensor, v: Tensor, d: Tensor, tolerance: float
) -> Tensor:
    """Colours [k, 3] at points [k], from those of the four neighbours that lie at disparity d."""
    _, h, w = image.shape
    iu, iv = (u - 0.5).floor(), (v - 0.5).floor()
    fu, fv = u - 0.5 - iu, v - 0.5 - iv
    total, weights = torch.zeros(len(u), 3, device=image.device), torch.full_like(u, 1e-6)
    closest, near_gap = torch.zeros_like(total), torch.full_like(u, float("inf"))
    for j in range(2):
        for i in range(2):
            y, x = (iv.long() + j).clamp(0, h - 1), (iu.long() + i).clamp(0, w - 1)
            there, colour = disparity[y, x], image[:, y, x].T
            gap = (there - d).abs()
            weight = (fu if i else 1 - fu) * (fv if j else 1 - fv)
            weight = torch.where((there > 0) & (gap <= tolerance * d), weight, 0)
            total, weights = total + weight[:, None] * colour, weights + weight
            closer = gap < near_gap
            closest = torch.where(closer[:, None], colour, closest)
            near_gap = torch.where(closer, gap, near_gap)
    return torch.where((weights > 1e-3)[:, None], total / weights[:, None], closest)


def colours(
    frame: Tensor, surface: Surface, n: Tensor, scale: float, tolerance: float,
    x: Tensor, y: Tensor, d: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Colours [k, 3] of target pixels [k] of disparity d, and the source pixels' flat indices [k].

    n, scale: as in ``fast_shade.shade``. Each target pixel takes the colour of the place in the
    source ``frame`` (uint8 [3, h, w]) that it came from.
    """
    h, w = surface.disparity.shape
    u, v, ds = locate(n, x + 0.5, y + 0.5, d)
    source = v.long().clamp(0, h - 1) * w + u.long().clamp(0, w - 1)
    size = scale * d / ds
    samples = (1 / size).ceil().clamp(max=MAX_SAMPLES).long()
    samples[size >= float(FINEST)] = 1
    inside = (u >= 2.5) & (v >= 2.5) & (u < w - 2.5) & (v < h - 2.5)
    plain = inside & (samples == 1) & ((surface.flags.reshape(-1)[source] & NEAR_EDGE) == 0)
    image, out = frame.float(), torch.zeros(len(d), 3, device=d.device)
    out[plain] = _cubic(image, u[plain], v[plain])
    for count in range(1, MAX_SAMPLES + 1):
        some = ~plain & (samples == count)
        offsets = [(k + 0.5) / count for k in range(count)]
        for dy, dx in ((dy, dx) for dy in offsets for dx in offsets):
            us, vs, _ = locate(n, x[some] + dx, y[some] + dy, d[some])
            own = surface.disparity.reshape(-1)[source[some]]
            out[some] += _linear(image, surface.disparity, us, vs, own, tolerance) / count**2
    return out, source


def to_bytes(colours: Tensor) -> Tensor:
    return (colours + 0.5).clamp(0, 255).to(torch.uint8)


def shade(
    frame: Tensor,
    surface: Surface,
    n: Tensor,
    scale: float,
    tolerance: float,
    reach: int,
    front: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frame uint8 [3, H, W], known, depth float32 and origin int32 [H, W] from a z-buffer."""
    y, x = torch.nonzero(front > 0, as_tuple=True)
    rgb, source = colours(frame, surface, n, scale, tolerance, x, y, front[y, x])
    margin = (surface.flags.reshape(-1)[source] & MARGIN) > 0
    keep = ~(margin & _spread(front <= 0, reach, reach, reach, reach)[y, x])
    y, x, rgb, source = y[keep], x[keep], rgb[keep], source[keep]
    out = torch.zeros(3, *front.shape, dtype=torch.uint8, device=front.device)
    out[:, y, x] = to_bytes(rgb).T
    known, depth = torch.zeros(2, *front.shape, device=front.device)
    origin = torch.full(front.shape, -1, dtype=torch.int32, device=front.device)
    known[y, x], depth[y, x], origin[y, x] = 1.0, 1 / front[y, x], source.int()
    return out, known, depth, origin
