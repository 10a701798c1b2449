"""Which of the pixels that move belong to one thing: things that touch are told apart.

What touches in the picture is one region of the moving mask, however far apart it is in the world.
Points that move together (``moving_points``) are parts of things. Two parts are one thing where
motion makes no step at their common border, as at a hip or on a ball that rolls; and what cannot be
a thing by itself, being small beside what it touches, or never seen to stand on the ground, goes
with the neighbour from which it differs least: a wrong split is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from scipy.spatial import cKDTree

from recam.arrays import F64, I32, I64, Mask
from recam.flow.dense import FlowSet, part_of_flows
from recam.reconstruct.motion_segmentation.trajectory_clustering import (
    ALIKE,
    PARTNERS,
    REACH,
    Points,
    allowed,
    follow,
    groups,
    motion_of,
    well_apart,
)
from recam.reconstruct.temporal_windows import windows
from recam.types import Progress, no_progress

MIN_AREA, MIN_FRAMES = 0.004, 8
"""Part of the picture and number of frames that a part covers at least."""
STEP_AHEAD = 4
"""Frames over which the step of motion at the border of two parts is measured,"""
AROUND = 5.0
"""from points up to so many cells from it,"""
MIN_PAIRS = 4
"""where so many pairs of neighbours are of both."""
STEP, LARGEST_STEP = 1.9, 3.0
"""Step, of what is alike, up to which two parts are one thing; and what it counts for at most."""
MIN_BORDER, MIN_SEPARATED = 0.1, 0.02
"""A border of fewer pairs than this part of the smaller part's points does not tell how large the
step is; and of fewer than this, not even that there may be one."""
MIN_SHARE = 0.27
"""A thing covers at least this part of the area of what it touches, where it is seen best."""
MIN_GROUND = 0.12
"""In this part of its frames a thing is seen to stand on the ground,"""
ALONE = 0.5
"""or in this it touches nothing."""
SAME_SHARE = 0.4
"""Part of a piece that flow must carry into one of the next frame for the same thing."""


def segment_instances(dynamic: Mask, flows: FlowSet, progress: Progress = no_progress) -> I32:
    """int32 [t, h, w]: which moving thing each pixel belongs to; 0 = none.

    dynamic: bool [t, h, w], what moves; every pixel of it gets a label. Each label is 4-connected
    in its frame. The same number in several frames is the same thing; of a thing that is seen in
    several pieces the largest has its number, others have another. Things are followed inside of
    windows (``still.windows``) only. Where nothing tells parts of a region apart it stays whole.
    """
    out, most = np.zeros(dynamic.shape, np.int32), 0
    every = windows(len(dynamic))
    for done, (wide, inner, own) in enumerate(every):
        progress("telling moving things apart", done, len(every))
        if dynamic[own].any():
            label = _in_window(dynamic[wide], part_of_flows(flows, wide.start, wide.stop))[inner]
            used, dense = np.unique(label, return_inverse=True)
            first = most + int(used[0] > 0)
            out[own] = np.where(label > 0, first + dense.reshape(label.shape), 0)
            most = int(out[own].max())
    progress("telling moving things apart", len(every), len(every))
    return out


def _in_window(dynamic: Mask, flows: FlowSet) -> I32:
    region = np.stack(
        [cv2.connectedComponents(d.astype(np.uint8), connectivity=4)[1] for d in dynamic]
    ).astype(np.int32)
    points = follow(dynamic, flows)
    group = np.unique(groups(points, region, flows), return_inverse=True)[1]
    part = _large(points, group, dynamic.shape)
    thing = _joined(points, part, region, dynamic)[part] if part.max(initial=0) > 1 else part
    label = _paint(points, thing, region)
    # Regions of no thing have the number of the group that most of their points are of; and so have
    # pieces that have come off a thing.
    first = int(part.max(initial=0)) + 1
    return _carried_on(_numbered(label, _paint_whole(points, first + group, region)), flows)


def _large(points: Points, group: I64, shape: tuple[int, ...]) -> I64:
    """Numbers from 1 on for the groups that are large enough for long enough; 0 = the others."""
    t, h, w = shape
    num = int(group.max(initial=0)) + 1
    seen = np.stack([np.bincount(group[ids], minlength=num) for ids in points.ids])
    frames = (seen * points.cell**2 >= MIN_AREA * h * w).sum(0)
    number = np.zeros(num, np.int64)
    large = np.flatnonzero(frames >= min(MIN_FRAMES, -(-t // 3)))
    number[large] = np.arange(1, len(large) + 1)
    return number[group]


def _steps(points: Points, part: I64, region: I32) -> tuple[F64, F64]:
    """How unlike parts move just at their common border: sums of squares [n + 1, n + 1], in units
    of what is alike, over how many places.

    Each part's motion there is that of an affine fit to its own points around, so that a limb that
    turns about its joint makes no step, nor a ball that rolls. Points of regions well apart tell as
    much as if there were a border between them.
    """
    n = int(part.max()) + 1
    total, num = np.zeros((n, n)), np.zeros((n, n))
    for i in range(len(points.ids) - 1):
        here, displacement = motion_of(points, i, min(STEP_AHEAD, len(points.ids) - 1 - i))
        own = part[points.ids[i][here]]
        known = own > 0
        at, displacement, own = (
            points.uv_px[i][here][known].astype(np.float64),
            displacement[known],
            own[known],
        )
        for p, q, border in _common_borders(at, own, region[i], points.cell):
            near = cKDTree(border).query(at)[0] < AROUND * points.cell
            mine, yours = near & (own == p), near & (own == q)
            one = _affine(at[mine], displacement[mine], border, points.cell)
            other = _affine(at[yours], displacement[yours], border, points.cell)
            step = ((one - other) ** 2).sum(1) / allowed(one, other, points.cell)
            total[p, q] += np.minimum(step, LARGEST_STEP**2).sum()
            num[p, q] += len(border)
    a, b, unlike = well_apart(points, region)
    a, b = part[a], part[b]
    known = (a > 0) & (b > 0) & (a != b)
    code = a[known] * n + b[known]
    unlike = np.minimum(unlike[known], LARGEST_STEP**2) / PARTNERS
    total += np.bincount(code, unlike, minlength=n * n).reshape(n, n)
    num += np.bincount(code, minlength=n * n).reshape(n, n) / PARTNERS
    return total + total.T, num + num.T


def _common_borders(at: F64, own: I64, region: I32, cell: int) -> Iterator[tuple[int, int, F64]]:
    """For all parts p < q of one region: places [k, 2] between points of both, where there are
    enough of them."""
    if len(np.unique(own)) < 2:
        return
    a, b = cKDTree(at).query_pairs(REACH * cell, output_type="ndarray").T
    x, y = at.astype(np.int64).T
    there = region[y, x]
    between = (own[a] != own[b]) & (there[a] == there[b])
    a, b = a[between], b[between]
    first, second = np.minimum(own[a], own[b]), np.maximum(own[a], own[b])
    for p, q in np.unique(np.stack([first, second], 1), axis=0).tolist():
        both = (first == p) & (second == q)
        if both.sum() >= MIN_PAIRS:
            yield p, q, (at[a[both]] + at[b[both]]) / 2


def _affine(at: F64, displacement: F64, there: F64, cell: int) -> F64:
    """The motion [k, 2] at ``there`` of the affine motion that fits ``displacement`` [m, 2] at
    ``at``; with few points more like their mean."""
    middle, unit = at.mean(0), 2.0 * cell
    a = np.concatenate([np.ones((len(at), 1)), (at - middle) / unit], 1)
    weight, found = np.ones(len(at)), np.zeros((3, 2))
    for _ in range(3):
        normal = (a * weight[:, None]).T @ a + np.diag([1e-6, 0.5, 0.5])
        found = np.linalg.solve(normal, (a * weight[:, None]).T @ displacement)
        weight = 1 / (1 + ((displacement - a @ found) ** 2).sum(1) / (ALIKE * cell) ** 2)
    return np.concatenate([np.ones((len(there), 1)), (there - middle) / unit], 1) @ found


def _joined(points: Points, part: I64, region: I32, dynamic: Mask) -> I64:
    """Which thing [n + 1] each part goes with: the least step first, parts without a step between
    them are one; then what is no thing by itself goes with the neighbour it differs least from, or,
    if nothing is known of that, with that of the longest common border."""
    total, num = _steps(points, part, region)
    size = np.bincount(part[np.concatenate(points.ids)], minlength=len(total))
    label = _paint(points, part, region)
    touch = _touching(label, len(total))
    thing = np.arange(len(total))
    while True:
        smaller = np.maximum(np.minimum(size[:, None], size[None]), 1)
        enough = num >= MIN_BORDER * smaller
        step = np.where(enough & (touch > 0), np.sqrt(total / np.maximum(num, 1)), np.inf)
        if step.min() > STEP:
            now = thing[label]
            certain = np.isfinite(step.min(axis=1))
            step = np.where(certain[:, None] | (touch == 0), step, LARGEST_STEP + 1 / (1 + touch))
            certain |= ((touch > 0) & (num >= MIN_SEPARATED * smaller)).max(axis=1)
            for p in np.flatnonzero(certain & (touch.max(axis=1) > 0)).tolist():
                if _stands_alone(now == p, now, dynamic):
                    step[p] = np.inf
        if not np.isfinite(step.min()):
            return thing
        p, q = (int(one) for one in np.unravel_index(int(step.argmin()), step.shape))
        thing[thing == p] = q
        size[q] += size[p]
        for sums in (total, num, touch):
            sums[q] += sums[p]
            sums[:, q] += sums[:, p]
            sums[p], sums[:, p], sums[q, q] = 0, 0, 0


def _touching(label: I32, num: int) -> F64:
    """Length of the common border of ``num`` labels (0 = none of them), over all frames, px."""
    out = np.zeros((num, num))
    for one in label:
        a, b = _borders(one)
        out += np.bincount(a * num + b, minlength=num * num).reshape(num, num)
    out[0], out[:, 0] = 0, 0
    return out


def _stands_alone(own: Mask, label: I64, dynamic: Mask) -> bool:
    """Whether a part, bool [t, h, w], is a thing by itself, among all ``label``."""
    area, beside, ground = [], [], []
    frames = np.flatnonzero(own.any((1, 2)))
    for i in frames:
        area.append(int(own[i].sum()))
        around = cv2.dilate(own[i].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        others = np.unique(label[i][around & ~own[i]])
        beside += [max(int((label[i] == q).sum()) for q in others if q)] if others.any() else []
        ground.append(_on_ground(own[i], dynamic[i]))
    if len(frames) - len(beside) >= ALONE * len(frames):
        return True
    # It may be hidden in most frames.
    large = float(np.quantile(area, 0.9)) >= MIN_SHARE * float(np.median(beside))
    return large and float(np.mean(ground)) >= MIN_GROUND


def _on_ground(own: Mask, dynamic: Mask) -> bool:
    """Whether the lowest pixels of a part [h, w] have what stands still below them."""
    h = len(own)
    columns, rows = np.flatnonzero(own.any(0)), np.flatnonzero(own.any(1))
    lowest = h - 1 - own[::-1, columns].argmax(0)
    low = lowest >= rows[-1] - max(2.0, 0.15 * (rows[-1] - rows[0]))
    lowest, columns = lowest[low], columns[low]
    free = ~dynamic[np.minimum(lowest + 2, h - 1), columns] | (lowest >= h - 3)
    return float(free.mean()) > 0.4


def _paint(points: Points, part: I64, region: I32) -> I32:
    """Parts [t, h, w] from those of the points (0 = none), each region by itself; 0 in regions
    that have no point of any part."""
    out = np.zeros(region.shape, np.int32)
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px)):
        known = part[ids] > 0
        own, at = part[ids[known]], uv[known].astype(np.int64)
        there = region[i, at[:, 1], at[:, 0]]
        for r in np.unique(there):
            mine, inside = there == r, region[i] == r
            parts = np.unique(own[mine])
            if len(parts) == 1:
                out[i][inside] = parts[0]
                continue
            ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            box = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
            which = np.searchsorted(parts, own[mine])
            found = _nearest(at[mine] - (xs[0], ys[0]), which, inside[box], points.cell)
            out[i][box][inside[box]] = parts[found[inside[box]] - 1]
    return out


def _paint_whole(points: Points, number: I64, region: I32) -> I32:
    """Each region [t, h, w] with the number that most of its points have."""
    out = np.zeros(region.shape, np.int32)
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px)):
        if not len(ids):
            continue
        x, y = uv.astype(np.int64).T
        pair, num = np.unique(np.stack([region[i, y, x], number[ids]]), axis=1, return_counts=True)
        most = np.zeros(int(region[i].max()) + 1, np.int32)
        order = np.argsort(num, kind="stable")
        most[pair[0, order]] = pair[1, order]
        out[i] = np.where(region[i] > 0, most[region[i]], 0)
    return out


def _nearest(at: I64, which: I64, inside: Mask, cell: int) -> I32:
    """Numbers from 1 on [h, w] of the points that most of those around are of; ``which`` [k] from
    0 on. Each is in one piece."""
    votes = np.zeros((int(which.max()) + 1, *inside.shape), np.float32)
    np.add.at(votes, (which, at[:, 1], at[:, 0]), 1)
    empty = (votes.sum(0) == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of = np.zeros(int(nearest.max()) + 1, np.int64)
    of[nearest[empty == 0]] = votes.argmax(0)[empty == 0]
    around = np.stack([cv2.GaussianBlur(v, (0, 0), float(cell)) for v in votes])
    best = np.where(around.max(0) > 1e-6, around.argmax(0), of[nearest])
    return in_one_piece(np.where(inside, best + 1, 0).astype(np.int32))


def in_one_piece(label: I32) -> I32:
    """``label`` [h, w] with the largest 4-connected piece of each alone; others go to the label
    with which they share the longest border."""
    while True:
        piece, owner, size = _pieces(label)
        largest = np.zeros(len(owner), bool)
        largest[_largest(owner, size)] = True
        a, b = _borders(piece)
        loose = ~largest[a] & largest[b] & (b > 0)
        if not loose.any():
            return label
        code, num = np.unique(a[loose] * len(owner) + b[loose], return_counts=True)
        new = owner.copy()
        for one in code[np.argsort(num, kind="stable")].tolist():
            new[one // len(owner)] = owner[one % len(owner)]
        label = new[piece].astype(np.int32)


def _pieces(label: I32) -> tuple[I32, I64, I64]:
    """The 4-connected pieces [h, w] of all labels, from 1 on; the label of each, and its area."""
    piece, owner = np.zeros(label.shape, np.int32), [0]
    for one in np.unique(label[label > 0]):
        num, found = cv2.connectedComponents((label == one).astype(np.uint8), connectivity=4)
        piece[found > 0] = found[found > 0] + len(owner) - 1
        owner += [int(one)] * (num - 1)
    return piece, np.array(owner), np.bincount(piece.ravel(), minlength=len(owner))


def _largest(owner: I64, size: I64) -> I64:
    """For each label that ``owner`` names, which of its pieces is the largest."""
    order = np.lexsort((-size, owner))
    return order[np.unique(owner[order], return_index=True)[1]]


def _borders(label: I32) -> tuple[I64, I64]:
    """The labels on both sides of every border between pixels, both ways round."""
    pairs = [(label[:, 1:], label[:, :-1]), (label[1:], label[:-1])]
    a = np.concatenate([x.ravel() for one in pairs for x in one]).astype(np.int64)
    b = np.concatenate([x.ravel() for one in pairs for x in one[::-1]]).astype(np.int64)
    return a[a != b], b[a != b]


def _numbered(label: I32, whole: I32) -> I32:
    """The largest piece of each label in a frame keeps its number. Other pieces, and what has no
    label, get their region's of ``whole``, whose numbers are higher, if it is free; else new ones.
    """
    out = np.zeros(label.shape, np.int32)
    most = int(whole.max(initial=0))
    for i in range(len(label)):
        piece, owner, size = _pieces(np.where(label[i] > 0, label[i], whole[i]))
        number = np.zeros(len(owner), np.int64)
        largest = _largest(owner, size)
        number[largest] = owner[largest]
        used = set(number.tolist())
        for n in np.flatnonzero(number[1:] == 0) + 1:
            y, x = np.argwhere(piece == n)[0]
            if (free := int(whole[i, y, x])) in used:
                free = most = most + 1
            number[n] = free
            used.add(free)
        out[i] = number[piece]
    return out


def _carried_on(label: I32, flows: FlowSet) -> I32:
    """What has a number that the frame before has not goes on with that of what flow says it was
    there, if that is free."""
    out = label.copy()
    for i in range(1, len(out)):
        if not flows.has(i, i - 1) or not flows.has(i - 1, i):
            continue
        back, there = _led_to(out, flows, i, i - 1), _led_to(out, flows, i - 1, i)
        known, now = set(np.unique(out[i - 1]).tolist()), set(np.unique(out[i]).tolist())
        for a, b in back.items():
            if a not in known and b not in now and there.get(b) == a:
                out[i][out[i] == a] = b
                now.add(b)
    return out


def _led_to(label: I32, flows: FlowSet, i: int, j: int) -> dict[int, int]:
    """Which label of frame j most of each label of frame i flows into."""
    h, w = label.shape[1:]
    y, x = np.nonzero(label[i])
    flow = flows.get(i, j)[0].numpy()[y, x]
    u = np.clip(np.round(x + flow[:, 0]), 0, w - 1).astype(np.int64)
    v = np.clip(np.round(y + flow[:, 1]), 0, h - 1).astype(np.int64)
    own, size = np.unique(label[i, y, x], return_counts=True)
    most = int(label[j].max()) + 1
    code = label[i, y, x].astype(np.int64) * most + label[j, v, u]
    pair, num = np.unique(code, return_counts=True)
    first, second = pair // most, pair % most
    out = {}
    for n, all_of_it in zip(own.tolist(), size.tolist()):
        to = (first == n) & (second > 0)
        if to.any() and num[to].max() > SAME_SHARE * all_of_it:
            out[n] = int(second[to][num[to].argmax()])
    return out
