"""Points on what moves, followed through a clip, and which of them move together.

Points side by side that move alike hold together, those that do not repel each other; what holds
together in sum is one group. This is the greedy contraction of a graph with attracting and
repelling edges (Keuper et al. 2015, "Efficient decomposition of image and mesh graphs by lifted
multicuts"), of point trajectories as in their "Motion trajectory segmentation via minimum cost
multicuts".
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from recam.arrays import F32, F64, I32, I64, Mask
from recam.flow.dense import FlowSet, sample_bilinear

Pairs = tuple[I64, I64, F64]

CELLS_ACROSS = 96
"""Points across the width of the picture, if all of it moved."""
MIN_CERTAINTY = 0.3
"""Confidence of flow below which a point is lost,"""
CHANGED = 25.0
"""and grey levels by which it changes from one frame to the next."""
REACH = 2.2
"""Points so near, in cells, are neighbours."""
AHEAD = (8, 4, 2)
"""Frames over which the motion of neighbours is compared: the first for which both are seen."""
ALIKE, ALIKE_SHARE = 1 / 6, 0.15
"""Difference of motion, in cells a frame, up to which it is alike; added in quadrature to this part
of the speed."""
HOLDS, REPELS = 0.5, 3.0
"""Neighbours hold together up to this part of that difference, and repel each other beyond, at most
so many times as strongly as they can hold together."""
WELL_APART, PARTNERS = 3.0, 4
"""Distance of regions, in cells, from which on they are no pieces of one thing that the mask has
broken; and with how many points of other regions each point is compared."""
NEAR, AGAIN = 0.7, 1.0
"""A new point is one that was lost if flow leads so near to that, in cells; and how much the two
then hold together."""


@dataclass(frozen=True)
class Points:
    """Points followed through a clip.

    ids: of each frame those of the points seen there [k], increasing. uv_px: where they are,
    float32 [k, 2]. num: how many there are in all. cell: their usual distance, px. still: float64
    [t, 2], how far the still picture has moved since the first frame, px.
    """

    ids: list[I64]
    uv_px: list[F32]
    num: int
    cell: int
    still: F64


def follow(dynamic: Mask, flows: FlowSet) -> Points:
    """Points in every cell of ``dynamic`` [t, h, w], followed from frame to frame until the flow
    loses them, they leave the mask, or they come too near to an older one."""
    cell = max(3, round(dynamic.shape[2] / CELLS_ACROSS))
    ids, uv, num = np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 0
    all_ids, all_uv = [], []
    for i in range(len(dynamic)):
        if i:
            kept, uv = _step(uv, i, dynamic[i], flows, cell)
            ids = ids[kept]
        new = _new_points(dynamic[i], uv, cell)
        ids = np.concatenate([ids, np.arange(num, num + len(new))])
        uv = np.concatenate([uv, new])
        num += len(new)
        all_ids.append(ids)
        all_uv.append(uv)
    return Points(all_ids, all_uv, num, cell, _still_motion(dynamic, flows))


def _step(uv: F32, i: int, dynamic: Mask, flows: FlowSet, cell: int) -> tuple[I64, F32]:
    """Which of the points uv [k, 2] of frame i - 1 are still seen in frame i, and where."""
    if not len(uv) or not flows.has(i - 1, i):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    flow, confidence = (a.numpy() for a in flows.get(i - 1, i))
    there = (uv + sample_bilinear(flow, uv)).astype(np.float32)
    size = np.array(dynamic.shape[::-1])
    kept = ((there > 0) & (there < size)).all(1) & (sample_bilinear(confidence, uv) > MIN_CERTAINTY)
    x, y = np.clip(there.astype(np.int64), 0, size - 1).T
    kept &= dynamic[y, x]
    before, after = (flows.gray[j].numpy().astype(np.float32) for j in (i - 1, i))
    kept &= np.abs(sample_bilinear(before, uv) - sample_bilinear(after, there)) < CHANGED
    found = np.flatnonzero(kept)
    # Of points that have come together the oldest is kept.
    half = np.floor(there[found] * 2 / cell).astype(np.int64)
    _, first = np.unique(half[:, 1] * 4 * dynamic.shape[1] + half[:, 0], return_index=True)
    found = found[np.sort(first)]
    return found, there[found]


def _new_points(dynamic: Mask, taken: F32, cell: int) -> F32:
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


def _still_motion(dynamic: Mask, flows: FlowSet) -> F64:
    """float64 [t, 2] px: how far what stands still has moved in the picture, in the median."""
    out = np.zeros((len(dynamic), 2))
    for i in range(1, len(dynamic)):
        static = ~dynamic[i - 1, ::2, ::2]
        if flows.has(i - 1, i) and static.any():
            out[i] = np.median(flows.get(i - 1, i)[0].numpy()[::2, ::2][static], 0)
    return np.cumsum(out, 0)


def motion_of(points: Points, i: int, k: int) -> tuple[I64, F64]:
    """Which of the points [m] of frame i are still seen k frames later, as indices into that
    frame's; and how they move until then [m, 2], px a frame, beyond what stands still."""
    _, here, there = np.intersect1d(points.ids[i], points.ids[i + k], True, return_indices=True)
    moved = points.uv_px[i + k][there] - points.uv_px[i][here]
    return here, (moved - (points.still[i + k] - points.still[i])) / k


def allowed(one: F64, other: F64, cell: int) -> F64:
    """The square of the difference up to which two motions [k, 2], px a frame, are alike."""
    return (ALIKE * cell) ** 2 + ALIKE_SHARE**2 * ((one + other) ** 2).sum(1) / 4


def groups(points: Points, region: I32, flows: FlowSet) -> I64:
    """Which group [num] each point belongs to: those that move together. region: int32 [t, h, w],
    the connected regions of what moves; only points of the same one are neighbours, and those well
    apart that move unlike repel each other, so that they are told apart where they touch."""
    a, b, unlike = well_apart(points, region)
    found = [(a, b, -np.clip(unlike - 1, 0, REPELS) / PARTNERS)]
    found += _neighbours(points, region) + _found_again(points, flows)
    a, b, weight = (np.concatenate(one) for one in zip(*found))
    return contract(points.num, a, b, weight)


def _neighbours(points: Points, region: I32) -> list[Pairs]:
    """Neighbours, frame by frame, and how much they hold together (< 0: repel each other)."""
    out = []
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px)):
        if len(ids) < 2:
            continue
        pairs = cKDTree(uv).query_pairs(REACH * points.cell, output_type="ndarray")
        x, y = uv.astype(np.int64).T
        own = region[i, y, x]
        pairs = pairs[own[pairs[:, 0]] == own[pairs[:, 1]]]
        for k in AHEAD:
            if i + k >= len(points.ids) or not len(pairs):
                continue
            here, displacement = motion_of(points, i, k)
            at = np.full(len(ids), -1)
            at[here] = np.arange(len(here))
            both = (at[pairs] >= 0).all(1)
            a, b = pairs[both].T
            one, other = displacement[at[a]], displacement[at[b]]
            unlike = ((one - other) ** 2).sum(1) / allowed(one, other, points.cell)
            out.append((ids[a], ids[b], k / AHEAD[0] * np.maximum(1 - unlike / HOLDS**2, -REPELS)))
            pairs = pairs[~both]
    return out


def _found_again(points: Points, flows: FlowSet) -> list[Pairs]:
    """Points that are new in a frame, and those lost before that longer flows say they are."""
    out = []
    for i, (ids, uv) in enumerate(zip(points.ids, points.uv_px)):
        new = ~np.isin(ids, points.ids[i - 1]) if i else np.zeros(len(ids), bool)
        for k in flows.offsets[1:]:
            if not flows.has(i, i - k) or not new.any() or not len(points.ids[i - k]):
                continue
            flow, confidence = (a.numpy() for a in flows.get(i, i - k))
            x, y = uv[new].astype(np.int64).T
            certainty = confidence[y, x]
            away, at = cKDTree(points.uv_px[i - k]).query(uv[new] + flow[y, x])
            other = points.ids[i - k][at]
            same = (certainty > MIN_CERTAINTY) & (away < NEAR * points.cell) & ~np.isin(other, ids)
            out.append((ids[new][same], other[same], AGAIN * certainty[same].astype(np.float64)))
    return out


def well_apart(points: Points, region: I32) -> Pairs:
    """Points [m] of regions well apart, in pairs drawn at random, and how unlike they move: the
    square of the difference, of what is alike."""
    draw, k = np.random.default_rng(0), AHEAD[0]
    out = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for i in range(0, len(points.ids) - k, 2):
        here, displacement = motion_of(points, i, k)
        ids, at = points.ids[i][here], points.uv_px[i][here]
        x, y = at.astype(np.int64).T
        own = region[i, y, x]
        far = _far_apart(at, own, WELL_APART * points.cell)
        for _ in range(PARTNERS if far.any() else 0):
            other = draw.permutation(len(ids))
            a = np.flatnonzero(far[own, own[other]])
            b = other[a]
            unlike = ((displacement[a] - displacement[b]) ** 2).sum(1) / allowed(
                displacement[a], displacement[b], points.cell
            )
            out.append((ids[a], ids[b], unlike))
    a, b, unlike = (np.concatenate(one) for one in zip(*out))
    return a, b, unlike


def _far_apart(at: F32, own: I32, least: float) -> Mask:
    """Which regions [n + 1, n + 1] are at least so far from each other, going by their points."""
    out = np.zeros((int(own.max(initial=0)) + 1,) * 2, bool)
    trees = {int(r): cKDTree(at[own == r]) for r in np.unique(own)}
    for p, one in trees.items():
        for q, other in trees.items():
            if p < q:
                nearest = other.query(one.data, distance_upper_bound=least)[0].min()
                out[p, q] = out[q, p] = nearest >= least
    return out


def contract(num: int, a: I64, b: I64, weight: F64) -> I64:
    """Which group [num] each of ``num`` points is in, named by one of its points.

    a, b, weight [m]: how much pairs of points hold together; of the same pair they add up. The two
    groups that hold together most are joined first, until those left repel each other in sum.
    """
    code, which = np.unique(np.minimum(a, b) * num + np.maximum(a, b), return_inverse=True)
    near: list[dict[int, float]] = [{} for _ in range(num)]
    heap = []
    for pair, total in zip(code.tolist(), np.bincount(which, weight).tolist()):
        one, other = divmod(pair, num)
        near[one][other] = near[other][one] = total
        if total > 0:
            heap.append((-total, one, other))
    heapq.heapify(heap)
    group = np.arange(num)
    while heap:
        negative, one, other = heapq.heappop(heap)
        if near[one].get(other) != -negative:  # joined or changed since
            continue
        if len(near[one]) < len(near[other]):
            one, other = other, one
        group[other] = one
        del near[one][other]
        for third, more in near[other].items():
            if third == one:
                continue
            del near[third][other]
            total = near[one].get(third, 0.0) + more
            near[one][third] = near[third][one] = total
            if total > 0:
                heapq.heappush(heap, (-total, one, third))
        near[other] = {}
    while not np.array_equal(above := group[group], group):
        group = above
    return group
