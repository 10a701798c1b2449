"""Which of the pixels that move belong to one thing: moving things that touch are told apart.

What touches in the picture is one region of the moving mask, however far apart it is in the world.
Points are followed through the clip; points side by side that move alike hold together, those
that do not repel each other, and what holds together in sum is a part (greedy contraction of such
a graph: Keuper et al. 2015, "Efficient decomposition of image and mesh graphs by lifted
multicuts"; of point trajectories: the same, "Motion trajectory segmentation via minimum cost
multicuts"). Parts that cannot be things of their own go with the neighbour that moves most like
them: a swinging leg is no thing, and a wrong split is worse than none.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recam.reconstruct.dynamic import Mask
from recam.reconstruct.flow import FlowSet, part_of_flows, sample_bilinear
from recam.reconstruct.still import windows
from recam.types import Progress, no_progress

Labels = NDArray[np.int32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CELLS_ACROSS = 96
"""Points followed across the width of the picture, if all of it moved."""
SURE = 0.3
"""Confidence of flow below which a point is lost,"""
UNLIKE = 25.0
"""and grey levels by which it changes from one frame to the next."""
REACH = 2.2
"""Points so near, in cells, are neighbours."""
AHEAD = (8, 4, 2)
"""Frames over which the motion of neighbours is compared: the first for which both are seen."""
ALIKE = 1 / 6
"""Difference of motion, cells a frame, up to which neighbours hold together,"""
ALIKE_SHARE = 0.15
"""added in quadrature to this part of their speed."""
REPELS = 3.0
"""Neighbours repel at most so many times as strongly as they can hold together."""
STEP_AHEAD = 4
"""Frames over which the step of motion at the border of two parts is measured,"""
AROUND = 5.0
"""from points up to so many cells from it,"""
LEAST_PAIRS = 4
"""where so many neighbours are on both sides of it."""
STEP, LARGEST_STEP = 1.7, 3.0
"""Step, of ALIKE, up to which two parts are one thing; and what it counts for at most."""
LEAST_BORDER = 0.1
"""A border of less than this part of the smaller part's points tells nothing."""
WELL_APART, PARTNERS = 3.0, 4
"""Distance of regions, in cells, from which on they are no pieces of one; and with how many points
of other regions each is compared."""
NEAR, AGAIN = 0.7, 1.0
"""A new point is one that was lost if flow leads so near to that, in cells; and how much the two
then hold together."""
LEAST_AREA, LEAST_FRAMES = 0.004, 8
"""Part of the picture and number of frames that a thing covers at least."""
LEAST_SHARE = 0.2
"""A thing is at least so large as what it touches is; else it is a part of that."""
LEAST_GROUND = 0.25
"""In this part of its frames a thing stands on the ground; else it is a part of what is below."""
ALONE = 0.5
"""What touches nothing in this part of its frames is a thing anyhow."""


@dataclass(frozen=True)
class _Points:
    """Points followed through a clip: of each frame the ``ids`` [k], increasing, of those seen
    there and where, ``uv`` float32 [k, 2] px; ``num`` in all; cell: their distance, px."""

    ids: list[Ints]
    uv: list[NDArray[np.float32]]
    num: int
    cell: int


@dataclass(frozen=True)
class _Links:
    """Neighbours a < b [m] that hold together (weight > 0) or repel each other."""

    a: Ints
    b: Ints
    weight: Floats


def tell_apart(dynamic: Mask, flows: FlowSet, progress: Progress = no_progress) -> Labels:
    """int32 [t, h, w]: which moving thing each pixel belongs to, 0 = none.

    dynamic: bool [t, h, w], what moves; every True pixel gets a label. Labels differ inside of a
    frame, and each is 4-connected there; a thing that is followed has the same number in the
    frames of a window (``still.windows``), but its further pieces have their own.
    """
    out = np.zeros(dynamic.shape, np.int32)
    for done, (wide, inner, own) in enumerate(every := windows(len(dynamic))):
        progress("telling moving things apart", done, len(every))
        if dynamic[wide].any():
            flows_there = part_of_flows(flows, wide.start, wide.stop)
            out[own] = _in_window(dynamic[wide], flows_there)[inner]
    progress("telling moving things apart", len(every), len(every))
    return out


def _in_window(dynamic: Mask, flows: FlowSet) -> Labels:
    region = np.stack(
        [cv2.connectedComponents(d.astype(np.uint8), connectivity=4)[1] for d in dynamic]
    )
    points = _follow(dynamic, flows)
    still = _still_motion(dynamic, flows)
    links = _links(points, region, still, flows)
    part = _large(points, _contract(points.num, links), dynamic.shape)
    if part.max(initial=0) > 1:
        size = sum(np.bincount(part[ids], minlength=int(part.max()) + 1) for ids in points.ids)
        total, num = _steps(points, part, region, still)
        part = _joined(_paint(points, part, region), dynamic, total, num, size)[part]
    return _numbered(_paint(points, part, region), region)


def _still_motion(dynamic: Mask, flows: FlowSet) -> Floats:
    """float64 [t, 2] px: how what stands still moves in the picture from each frame to the next."""
    out = np.zeros((len(dynamic), 2))
    for i in range(len(dynamic) - 1):
        if flows.has(i, i + 1) and not dynamic[i].all():
            out[i] = np.median(flows.get(i, i + 1)[0].numpy()[::2, ::2][~dynamic[i, ::2, ::2]], 0)
    return out


def _follow(dynamic: Mask, flows: FlowSet) -> _Points:
    """Points in every cell of what moves, followed from frame to frame until they are lost."""
    cell = max(3, round(dynamic.shape[2] / CELLS_ACROSS))
    ids, uv, num = np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 0
    points = _Points([], [], 0, cell)
    for i in range(len(dynamic)):
        if i:
            kept, uv = _step(uv, i, dynamic[i], flows, cell)
            ids = ids[kept]
        new = _new_points(dynamic[i], uv, cell)
        ids = np.concatenate([ids, np.arange(num, num + len(new))])
        uv = np.concatenate([uv, new])
        num += len(new)
        points.ids.append(ids)
        points.uv.append(uv)
    return _Points(points.ids, points.uv, num, cell)


def _step(
    uv: NDArray[np.float32], i: int, dynamic: Mask, flows: FlowSet, cell: int
) -> tuple[Ints, NDArray[np.float32]]:
    """Which of the points uv [k, 2] of frame i - 1 are still seen in frame i, and where."""
    if not len(uv) or not flows.has(i - 1, i):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    flow, confidence = (a.numpy() for a in flows.get(i - 1, i))
    there = (uv + sample_bilinear(flow, uv)).astype(np.float32)
    size = np.array(dynamic.shape[::-1])
    kept = ((there > 0) & (there < size)).all(1) & (sample_bilinear(confidence, uv) > SURE)
    x, y = np.clip(there.astype(np.int64), 0, size - 1).T
    kept &= dynamic[y, x]
    before, after = (flows.gray[j].numpy().astype(np.float32) for j in (i - 1, i))
    kept &= np.abs(sample_bilinear(before, uv) - sample_bilinear(after, there)) < UNLIKE
    found = np.flatnonzero(kept)
    # Of points that have come together the oldest is kept.
    half = np.floor(there[found] * 2 / cell).astype(np.int64)
    _, first = np.unique(half[:, 1] * 4 * dynamic.shape[1] + half[:, 0], return_index=True)
    found = found[np.sort(first)]
    return found, there[found]


def _new_points(dynamic: Mask, taken: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """A point [k, 2] near the middle of every cell of what moves that has none of ``taken``."""
    across = -(-dynamic.shape[1] // cell)
    y, x = np.nonzero(dynamic)
    code = (y // cell) * across + x // cell
    off = (y % cell - (cell - 1) / 2) ** 2 + (x % cell - (cell - 1) / 2) ** 2
    order = np.lexsort((off, code))
    _, first = np.unique(code[order], return_index=True)
    pick = order[first]
    at = taken.astype(np.int64) // cell
    pick = pick[~np.isin(code[pick], at[:, 1] * across + at[:, 0])]
    return np.stack([x[pick], y[pick]], 1).astype(np.float32) + np.float32(0.5)


def _links(points: _Points, region: Labels, still: Floats, flows: FlowSet) -> _Links:
    """How alike neighbours inside of one region move, summed over the frames that show both; and
    which points longer flows say are those that were lost before."""
    found = _found_again(points, flows) + _apart(points, region, still)
    moved = np.concatenate([np.zeros((1, 2)), np.cumsum(still, 0)])
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv)):
        if len(ids) < 2:
            continue
        pairs = cKDTree(uv).query_pairs(REACH * points.cell, output_type="ndarray")
        x, y = uv.astype(np.int64).T
        own = region[i, y, x]
        pairs = pairs[own[pairs[:, 0]] == own[pairs[:, 1]]]
        for k in AHEAD:
            if i + k >= len(points.ids) or not len(pairs):
                continue
            later, at = points.ids[i + k], np.full(len(ids), -1)
            _, here, there = np.intersect1d(ids, later, True, return_indices=True)
            at[here] = there
            both = (at[pairs] >= 0).all(1)
            a, b = pairs[both].T
            way = (points.uv[i + k][at] - uv - (moved[i + k] - moved[i])) / k
            unlike = ((way[a] - way[b]) ** 2).sum(1) / _allowed(way[a], way[b], points.cell)
            weight = k / AHEAD[0] * np.maximum(1 - unlike, -REPELS)
            found.append((ids[a], ids[b], weight))
            pairs = pairs[~both]
    if not found:
        return _Links(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    a, b, weight = (np.concatenate(one) for one in zip(*found))
    code = np.minimum(a, b) * points.num + np.maximum(a, b)
    code, which = np.unique(code, return_inverse=True)
    return _Links(code // points.num, code % points.num, np.bincount(which, weight))


def _found_again(points: _Points, flows: FlowSet) -> list[tuple[Ints, Ints, Floats]]:
    """Points that are new in a frame, those near where they were in frames before that are lost
    now, and how much they hold together."""
    out = []
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv)):
        new = ~np.isin(ids, points.ids[i - 1]) if i else np.zeros(len(ids), bool)
        for k in flows.offsets[1:]:
            if not flows.has(i, i - k) or not new.any() or not len(points.ids[i - k]):
                continue
            flow, confidence = (a.numpy() for a in flows.get(i, i - k))
            x, y = uv[new].astype(np.int64).T
            sure = confidence[y, x]
            away, at = cKDTree(points.uv[i - k]).query(uv[new] + flow[y, x])
            other = points.ids[i - k][at]
            same = (sure > SURE) & (away < NEAR * points.cell) & ~np.isin(other, ids)
            out.append((ids[new][same], other[same], AGAIN * sure[same].astype(np.float64)))
    return out


def _apart(points: _Points, region: Labels, still: Floats) -> list[tuple[Ints, Ints, Floats]]:
    """Points of regions well apart that move unlike each other, pairs drawn at random, and how much
    they repel each other: two things do even where they will touch."""
    out, draw = [], np.random.default_rng(0)
    moved = np.concatenate([np.zeros((1, 2)), np.cumsum(still, 0)])
    for i in range(0, len(points.ids) - AHEAD[0], 2):
        ids, here, there = np.intersect1d(
            points.ids[i], points.ids[i + AHEAD[0]], True, return_indices=True
        )
        at = points.uv[i][here]
        way = (points.uv[i + AHEAD[0]][there] - at - (moved[i + AHEAD[0]] - moved[i])) / AHEAD[0]
        x, y = at.astype(np.int64).T
        own = region[i, y, x]
        far = _far_apart(at, own, WELL_APART * points.cell)
        for _ in range(PARTNERS if far.any() else 0):
            other = draw.permutation(len(ids))
            a, b = np.flatnonzero(far[own, own[other]]), other[far[own, own[other]]]
            unlike = ((way[a] - way[b]) ** 2).sum(1) / _allowed(way[a], way[b], points.cell)
            out.append((ids[a], ids[b], -np.clip(unlike - 1, 0, REPELS) / PARTNERS))
    return out


def _far_apart(at: NDArray[np.float32], own: Labels, least: float) -> Mask:
    """Which regions [n + 1, n + 1] are at least so far from each other, going by their points."""
    out = np.zeros((int(own.max(initial=0)) + 1,) * 2, bool)
    trees = {int(r): cKDTree(at[own == r]) for r in np.unique(own)}
    for p, one in trees.items():
        for q, other in trees.items():
            if p < q:
                nearest = other.query(one.data, distance_upper_bound=least)[0].min()
                out[p, q] = out[q, p] = nearest >= least
    return out


def _contract(num: int, links: _Links) -> Ints:
    """Which group [num] each point is in, when what holds together most is joined first, until
    what is left repels in sum."""
    near: list[dict[int, float]] = [{} for _ in range(num)]
    heap = []
    for a, b, weight in zip(links.a.tolist(), links.b.tolist(), links.weight.tolist()):
        near[a][b] = near[b][a] = weight
        if weight > 0:
            heap.append((-weight, a, b))
    heapq.heapify(heap)
    group = np.arange(num)
    while heap:
        weight, a, b = heapq.heappop(heap)
        if near[a].get(b) != -weight:  # joined or changed since
            continue
        if len(near[a]) < len(near[b]):
            a, b = b, a
        group[b] = a
        del near[a][b]
        for c, more in near[b].items():
            if c == a:
                continue
            del near[c][b]
            near[a][c] = near[c][a] = total = near[a].get(c, 0.0) + more
            if total > 0:
                heapq.heappush(heap, (-total, a, c))
        near[b] = {}
    while not np.array_equal(above := group[group], group):
        group = above
    return group


def _large(points: _Points, group: Ints, shape: tuple[int, ...]) -> Ints:
    """Numbers from 1 on for the groups that are large enough for long enough; 0 = the others."""
    t, h, w = shape
    seen = np.stack([np.bincount(group[ids], minlength=points.num) for ids in points.ids])
    frames = (seen * points.cell**2 >= LEAST_AREA * h * w).sum(0)
    number = np.zeros(points.num, np.int64)
    large = np.flatnonzero(frames >= min(LEAST_FRAMES, -(-t // 3)))
    number[large] = np.arange(1, len(large) + 1)
    return number[group]


def _steps(points: _Points, part: Ints, region: Labels, still: Floats) -> tuple[Floats, Floats]:
    """How unlike parts move just at their common border: sums of squares [n + 1, n + 1], in units
    of what ALIKE allows, over how many places.

    Each part's motion there is that of an affine fit to its own points around, so that a limb that
    turns about its joint makes no step, nor a ball that rolls.
    """
    n = int(part.max()) + 1
    total, num = np.zeros((n, n)), np.zeros((n, n))
    moved = np.concatenate([np.zeros((1, 2)), np.cumsum(still, 0)])
    for i in range(len(points.ids) - 1):
        k = min(STEP_AHEAD, len(points.ids) - 1 - i)
        _, here, there = np.intersect1d(points.ids[i], points.ids[i + k], True, return_indices=True)
        own = part[points.ids[i][here]]
        here, there, own = here[own > 0], there[own > 0], own[own > 0]
        at = points.uv[i][here].astype(np.float64)
        way = (points.uv[i + k][there] - at - (moved[i + k] - moved[i])) / k
        for p, q, border in _common_borders(at, own, region[i], points.cell):
            near = cKDTree(border).query(at)[0] < AROUND * points.cell
            mine, yours = near & (own == p), near & (own == q)
            one = _affine(at[mine], way[mine], border, points.cell)
            other = _affine(at[yours], way[yours], border, points.cell)
            step = ((one - other) ** 2).sum(1) / _allowed(one, other, points.cell)
            total[p, q] += np.minimum(step, LARGEST_STEP**2).sum()
            num[p, q] += len(border)
    return total + total.T, num + num.T


def _allowed(one: Floats, other: Floats, cell: int) -> Floats:
    """The square of the difference up to which two motions [k, 2], px a frame, are alike."""
    return (ALIKE * cell) ** 2 + ALIKE_SHARE**2 * ((one + other) ** 2).sum(1) / 4


def _common_borders(
    at: Floats, own: Ints, region: Labels, cell: int
) -> Iterator[tuple[int, int, Floats]]:
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
        if both.sum() >= LEAST_PAIRS:
            yield p, q, (at[a[both]] + at[b[both]]) / 2


def _affine(at: Floats, way: Floats, there: Floats, cell: int) -> Floats:
    """The motion [k, 2] at ``there`` of the affine motion that fits ``way`` [m, 2] at ``at``;
    with few points more like their mean."""
    middle, unit = at.mean(0), 2.0 * cell
    a = np.concatenate([np.ones((len(at), 1)), (at - middle) / unit], 1)
    weight, found = np.ones(len(at)), np.zeros((3, 2))
    for _ in range(3):
        normal = (a * weight[:, None]).T @ a + np.diag([1e-6, 0.5, 0.5])
        found = np.linalg.solve(normal, (a * weight[:, None]).T @ way)
        weight = 1 / (1 + ((way - a @ found) ** 2).sum(1) / (ALIKE * cell) ** 2)
    return np.concatenate([np.ones((len(there), 1)), (there - middle) / unit], 1) @ found


def _joined(label: Labels, dynamic: Mask, total: Floats, num: Floats, size: Ints) -> Ints:
    """Which thing [n + 1] each part goes with: parts without a step between them are one; and what
    is no thing of its own goes with the neighbour from which it differs least.

    total, num: as ``_steps``'; size [n + 1]: number of places in all that each part covers.
    """
    n = len(total)
    thing, size = np.arange(n), size.copy()
    while True:
        enough = num >= LEAST_BORDER * np.minimum(size[:, None], size[None])
        step = np.where(enough & (num > 0), np.sqrt(total / np.maximum(num, 1)), np.inf)
        now = thing[label]
        if step.min() > STEP:
            part = [p for p in range(1, n) if thing[p] == p and np.isfinite(step[p]).any()]
            of_none = np.isin(np.arange(n), [p for p in part if not _stands_alone(now, dynamic, p)])
            step[~of_none] = np.inf
        if not np.isfinite(step.min()):
            return thing
        p, q = (int(one) for one in np.unravel_index(int(step.argmin()), step.shape))
        thing[thing == p] = q
        size[q] += size[p]
        for sums in (total, num):
            sums[q] += sums[p]
            sums[:, q] += sums[:, p]
            sums[p], sums[:, p], sums[q, q] = 0, 0, 0


def _stands_alone(label: Labels, dynamic: Mask, p: int) -> bool:
    """Whether part p is a thing of its own."""
    frames = np.flatnonzero((label == p).any((1, 2)))
    h = label.shape[1]
    area, beside, ground, apart = [], [], [], []
    for i in frames:
        own = label[i] == p
        y, x = np.nonzero(own)
        around = cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        others = np.unique(label[i][around & ~own])
        others = others[others > 0]
        area.append(len(y))
        apart.append(not len(others))
        beside += [max(int((label[i] == q).sum()) for q in others)] if len(others) else []
        columns = np.unique(x)
        lowest = h - 1 - own[::-1, columns].argmax(0)
        low = lowest >= lowest.max() - max(2.0, 0.15 * (lowest.max() - y.min()))
        below = np.minimum(lowest[low] + 2, h - 1)
        free = ~dynamic[i, below, columns[low]] | (lowest[low] >= h - 3)
        ground.append(free.mean() > 0.4)
    if not len(frames) or np.mean(apart) >= ALONE:
        return True
    if np.quantile(area, 0.9) < LEAST_SHARE * np.median(beside):  # it may be hidden in most
        return False
    return bool(np.mean(ground) >= LEAST_GROUND)


def _paint(points: _Points, part: Ints, region: Labels) -> Labels:
    """Parts [t, h, w] from those of the points (0 = none), each region by itself; 0 in regions
    that have no point of any part."""
    out = np.zeros(region.shape, np.int32)
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv)):
        known = part[ids] > 0
        own, at = part[ids[known]], uv[known].astype(np.int64)
        there = region[i, at[:, 1], at[:, 0]]
        for r in np.unique(there):
            mine = there == r
            inside = region[i] == r
            parts = np.unique(own[mine])
            if len(parts) == 1:
                out[i][inside] = parts[0]
                continue
            ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            box = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
            painted = _nearest(
                at[mine] - (xs[0], ys[0]), np.searchsorted(parts, own[mine]), inside[box],
                points.cell,
            )  # fmt: skip
            out[i][box][inside[box]] = parts[painted[inside[box]] - 1]
    return out


def _nearest(at: Ints, which: Ints, inside: Mask, cell: int) -> Labels:
    """Numbers from 1 on [h, w] of the points that most of those around are of; ``which`` [k] from
    0 on. Each is of one piece."""
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
    return _in_one_piece(np.where(inside, best + 1, 0).astype(np.int32))


def _in_one_piece(label: Labels) -> Labels:
    """Labels [h, w] of which each keeps its largest 4-connected piece only; the others go to the
    label with which they share the longest border."""
    while True:
        piece, owner, size = _pieces(label)
        largest = np.zeros(len(owner), bool)
        order = np.lexsort((-size, owner))
        largest[order[np.unique(owner[order], return_index=True)[1]]] = True
        if largest.all():
            return label
        a, b = _borders(piece)
        loose = ~largest[a] & (b > 0) & (a > 0)
        code, num = np.unique(a[loose] * len(owner) + b[loose], return_counts=True)
        if not len(code):
            return label
        new = owner.copy()
        for one in code[np.argsort(num, kind="stable")].tolist():
            new[one // len(owner)] = owner[one % len(owner)]
        label = new[piece].astype(np.int32)


def _pieces(label: Labels) -> tuple[Labels, Ints, Ints]:
    """The 4-connected pieces [h, w] of all labels, from 1 on; the label of each, and its area."""
    piece, owner = np.zeros(label.shape, np.int32), [0]
    for one in np.unique(label[label > 0]):
        num, found = cv2.connectedComponents((label == one).astype(np.uint8), connectivity=4)
        piece[found > 0] = found[found > 0] + len(owner) - 1
        owner += [int(one)] * (num - 1)
    return piece, np.array(owner), np.bincount(piece.ravel(), minlength=len(owner))


def _borders(label: Labels) -> tuple[Ints, Ints]:
    """The labels on both sides of every border between pixels, both ways round."""
    pairs = [(label[:, 1:], label[:, :-1]), (label[1:], label[:-1])]
    a = np.concatenate([x.ravel() for one in pairs for x in one]).astype(np.int64)
    b = np.concatenate([x.ravel() for one in pairs for x in one[::-1]]).astype(np.int64)
    return a[a != b], b[a != b]


def _numbered(label: Labels, region: Labels) -> Labels:
    """Every piece with a number of its own in its frame: the largest of a thing has the thing's."""
    out = np.zeros(label.shape, np.int32)
    most = int(label.max(initial=0))
    for i in range(len(label)):
        # Regions without a thing are labels of their own, above those of the things.
        whole = np.where((label[i] == 0) & (region[i] > 0), most + region[i], label[i])
        piece, owner, size = _pieces(whole)
        order = np.lexsort((-size, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        number = int(owner.max()) + np.arange(len(owner))
        number[first] = owner[first]
        number[0] = 0
        out[i] = number[piece]
    return out
