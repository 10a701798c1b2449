"""What moves as whole things: pieces of one colour, held together by how they move.

Evidence of motion is patchy. A plain shirt shows none, a head that goes along its epipolar lines
fits a still world at some wrong depth. But the flow changes only where a thing ends: pieces that
move alike, in one frame and from frame to frame, belong together. What they take in too much of
is then told by other frames, which show the background that would be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

from recam.reconstruct.depth import Array, each_frame
from recam.reconstruct.dynamic import MIN_AREA, Mask, residuals, usual_misfit
from recam.reconstruct.flow import FlowSet, part_of_flows
from recam.reconstruct.still import windows
from recam.reconstruct.witnesses import ask_witnesses
from recam.types import Cameras, Progress, no_progress

F64 = NDArray[np.float64]

PIECES = 40
"""Pieces along a picture's mean side."""
FLOWS = (1, 4)
"""Offsets of the flows that pieces are compared by."""
FLOW_APART = (0.4, 0.05)
"""Pixels, and part of its length, by which a flow differs without meaning it."""
COLOUR_APART = 25.0
LIKE_FLOW, LIKE_COLOUR, AT_LEAST = 0.3, 0.7, 0.03
"""How strongly pieces hold together that share their flow; their colour (less so where the flow
differs); and any two."""
OVER_TIME = 0.5
"""The same for each pixel that flow carries from one to the other."""
LOGIT = (5.0, 1.2, 4.9, 1.75, 1.9, -8.2)
"""Log odds of motion by misfit, contrast, texture, trust in the flow, the first mask; constant.
Fitted to pieces of three synthetic clips, the constant then raised by 2, so that plain pieces are
undecided."""
DOUBT = 0.05
LOOSER = 0.2
"""Belief in undecided pieces; how much less strongly pieces hold together once witnesses spoke."""
CANDIDATE, MOVES = 0.4, 0.5
"""First opinion from which on witnesses are asked, last one that counts."""
LEAST_WITNESSES, ENOUGH_WITNESSES = 3, 6
UNLIKE = (0.2, 0.55)
"""Shares of the witnesses that contradict; see ``witnesses``."""
OWN = (0.15, 0.65)
OWN_SHARE = 0.15
"""First opinions that stand still, that move; their weight beside the witnesses'."""
LIKE = 0.3
"""Belief in witnesses that do not contradict: plain surfaces look alike."""
SLACK = 0.05
"""Error of the inverse depth that is forgiven, in parts of what is near and of itself."""


@dataclass(frozen=True)
class Pieces:
    """label: int32 [t, h, w], each piece's number in the clip; size [n] its pixels; neighbours
    int64 [k, 2]; hold float64 [k], how strongly they hold together; onward: sparse [n, n], pixels
    that flow carries from one to the other, by its confidence."""

    label: NDArray[np.int32]
    size: F64
    neighbours: NDArray[np.int64]
    hold: F64
    onward: sparse.csr_matrix

    def sum(self, field: NDArray) -> F64:
        """Sums [n] of a field [t, h, w]."""
        return np.bincount(self.label.ravel(), field.ravel(), len(self.size)).astype(np.float64)

    def mean(self, field: NDArray) -> F64:
        """Means [n] of a field [t, h, w]."""
        return self.sum(field) / self.size


def whole_things(
    rgb: NDArray[np.uint8],
    flows: FlowSet,
    cameras: Cameras,
    dynamic: Mask,
    rho: Array | None = None,
    confidence: Array | None = None,
    reference: float = 0.0,
    progress: Progress = no_progress,
) -> Mask:
    """Where things move, bool [t, h, w]: a first opinion ``dynamic`` made whole.

    rgb: uint8 [t, h, w, 3]; cameras: t of that size; rho, confidence: inverse depth and trust in it
    [t, h, w]; reference: the inverse depth of what is near. Without rho the cameras must not move
    but turn. Of long clips a window at a time, with frames around as witnesses.
    """
    out = np.empty_like(dynamic)
    for wide, inner, own in windows(len(rgb)):
        part = part_of_flows(flows, wide.start, wide.stop)
        depth = None if rho is None or confidence is None else (rho[wide], confidence[wide])
        out[own] = _window(
            rgb[wide], part, cameras[wide], dynamic[wide], depth, reference, progress
        )[inner]
    return out


def _window(
    rgb: NDArray[np.uint8],
    flows: FlowSet,
    cameras: Cameras,
    dynamic: Mask,
    depth: tuple[Array, Array] | None,
    reference: float,
    progress: Progress,
) -> Mask:
    pieces = cut(rgb, flows, progress)
    first = _by_flow(pieces, flows, cameras, dynamic, depth, reference, progress)
    candidate = _grown((first > CANDIDATE)[pieces.label] | dynamic, 2)
    if depth is None:
        rho, confidence = np.ones(dynamic.shape, np.float32), np.zeros(dynamic.shape, np.float32)
    else:
        rho, confidence = filled(depth[0], _grown(candidate, 2)), depth[1]
    said = ask_witnesses(rgb, candidate, rho, confidence, cameras, progress)
    least, most = UNLIKE
    asked = np.minimum(said.count / ENOUGH_WITNESSES, 1) * (said.count >= LEAST_WITNESSES)
    firm = np.clip((said.firm - least) / (most - least), 0, 1)
    own = np.clip((first[pieces.label] - OWN[0]) / (OWN[1] - OWN[0]), 0, 1)
    evidence = OWN_SHARE * own + (1 - OWN_SHARE) * (asked * firm + (1 - asked) * own)
    belief = asked * (LIKE + (1 - LIKE) * firm) + 0.5 * (1 - asked)
    evidence, belief = np.where(candidate, evidence, 0), np.where(candidate, belief, 1)
    total = np.maximum(pieces.sum(belief), 1e-9)
    last = settled(pieces, pieces.sum(belief * evidence) / total, total / pieces.size, LOOSER)
    return _whole((last > MOVES)[pieces.label] | dynamic, candidate)


def _by_flow(
    pieces: Pieces,
    flows: FlowSet,
    cameras: Cameras,
    dynamic: Mask,
    depth: tuple[Array, Array] | None,
    reference: float,
    progress: Progress,
) -> F64:
    """How surely each piece moves, in [0, 1], by the flow, the first opinion and its neighbours."""
    rho = None if depth is None else depth[0]
    slack = None if rho is None else (SLACK * (reference + rho)).astype(np.float32)
    found = residuals(flows, cameras, rho, slack, progress)
    misfit = found.misfit * (0.7 / usual_misfit(found, flows))
    gray = flows.gray.numpy()
    texture = np.empty_like(misfit)
    for i in range(len(gray)):
        across = (cv2.Sobel(gray[i], cv2.CV_32F, *axes) for axes in ((1, 0), (0, 1)))
        texture[i] = sum(np.abs(slope) for slope in across)
    features = (
        np.minimum(misfit / 6, 1), np.minimum(found.contrast / 20, 1),
        np.minimum(texture / 100, 1), np.minimum(found.sure, 1), dynamic,
    )  # fmt: skip
    odds = LOGIT[-1] + sum(a * pieces.mean(f) for a, f in zip(LOGIT, features))
    surely = 1 / (1 + np.exp(-odds))
    return settled(pieces, surely, DOUBT + np.abs(2 * surely - 1))


def superpixels(rgb: NDArray[np.uint8], step: int) -> tuple[NDArray[np.int32], int]:
    """Pieces of like colour, about step × step px: their numbers int32 [h, w], how many there are.

    rgb: uint8 [h, w, 3]. Watersheds of the picture from a grid of seeds, each moved to where the
    colours change least nearby.
    """
    h, w = rgb.shape[:2]
    smooth = cv2.GaussianBlur(rgb, (0, 0), 0.8)
    slope = cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(-1)
    rows = np.linspace(0, h, max(1, round(h / step)) + 1).astype(int)
    columns = np.linspace(0, w, max(1, round(w / step)) + 1).astype(int)
    seeds = np.zeros((h, w), np.int32)
    num = 0
    for top, bottom in pairwise(rows.tolist()):
        for left, right in pairwise(columns.tolist()):
            num += 1
            y0, x0 = top + (bottom - top) // 4, left + (right - left) // 4
            reach = slope[y0 : bottom - (bottom - top) // 4, x0 : right - (right - left) // 4]
            y, x = divmod(int(reach.argmin()), reach.shape[1])
            seeds[y0 + y, x0 + x] = num
    cv2.watershed(smooth, seeds)
    # Lines between pieces are −1: they go to one of the two.
    grown = cv2.dilate(np.maximum(seeds, 0).astype(np.float32), np.ones((3, 3), np.uint8))
    label = np.where(seeds < 1, grown, seeds).astype(np.int32)
    return np.maximum(label, 1) - 1, num


def cut(rgb: NDArray[np.uint8], flows: FlowSet, progress: Progress = no_progress) -> Pieces:
    """Cut all frames uint8 [t, h, w, 3] into pieces and tell how they hold together."""
    t, h, w = rgb.shape[:3]
    step = int(np.clip(round(float(np.sqrt(h * w)) / PIECES), 3, 9))
    label = np.empty((t, h, w), np.int32)
    counts = np.zeros(t, np.int64)

    def job(i: int) -> None:
        label[i], counts[i] = superpixels(rgb[i], step)

    each_frame(job, range(t), progress, "cutting into pieces")
    label += (np.cumsum(counts) - counts).astype(np.int32)[:, None, None]
    num = int(counts.sum())
    size = np.maximum(np.bincount(label.ravel(), minlength=num), 1).astype(np.float64)
    neighbours, length = _neighbours(label, num)
    nothing = sparse.csr_matrix((num, num))
    bare = Pieces(label, size, neighbours, length, nothing)
    colour = np.stack([bare.mean(rgb[..., c]) for c in range(3)], 1)
    a, b = neighbours.T
    like_colour = np.exp(-np.abs(colour[a] - colour[b]).max(1) / COLOUR_APART)
    like_flow = np.exp(-_flow_difference(bare, flows) / 4)
    like = LIKE_FLOW * like_flow + LIKE_COLOUR * like_colour * (0.3 + 0.7 * like_flow)
    hold = length * (AT_LEAST + (1 - AT_LEAST) * like)
    return Pieces(label, size, neighbours, hold, _onward(label, flows, num))


def _neighbours(label: NDArray[np.int32], num: int) -> tuple[NDArray[np.int64], F64]:
    """Pairs of pieces that touch, and along how many pixels."""
    pairs = []
    for a, b in ((label[:, :, :-1], label[:, :, 1:]), (label[:, :-1], label[:, 1:])):
        differ = a != b
        pairs.append(np.stack([a[differ], b[differ]], 1))
    pair = np.sort(np.concatenate(pairs), 1).astype(np.int64)
    key, length = np.unique(pair[:, 0] * num + pair[:, 1], return_counts=True)
    return np.stack([key // num, key % num], 1), length.astype(np.float64)


def _flow_difference(pieces: Pieces, flows: FlowSet) -> F64:
    """Squared differences [k] of neighbours' mean flows, in units of what means nothing."""
    t, h, w = pieces.label.shape
    a, b = pieces.neighbours.T
    total, weight = np.zeros(len(a)), np.full(len(a), 1e-6)
    for offset in (s * k for k in FLOWS for s in (1, -1)):
        field, trust = np.zeros((t, h, w, 2), np.float32), np.zeros((t, h, w), np.float32)
        for i in range(t):
            if flows.has(i, i + offset):
                flow, confidence = (x.numpy() for x in flows.get(i, i + offset))
                field[i], trust[i] = flow, confidence + 1e-3
        sure = pieces.sum(trust)
        mean = np.stack([pieces.sum(trust * field[..., d]) for d in range(2)], 1)
        mean /= np.maximum(sure, 1e-9)[:, None]
        length = np.linalg.norm(mean, axis=1)
        spread = FLOW_APART[0] + FLOW_APART[1] * np.minimum(length[a], length[b])
        both = np.minimum((sure / pieces.size)[a], (sure / pieces.size)[b])
        apart = ((mean[a] - mean[b]) ** 2).sum(1) / spread**2
        total += both * np.minimum(apart, 25)
        weight += both
    return total / weight


def _onward(label: NDArray[np.int32], flows: FlowSet, num: int) -> sparse.csr_matrix:
    """Pixels, every second of every second line, that flow carries from piece to piece."""
    _, h, w = label.shape
    y, x = np.mgrid[0:h:2, 0:w:2]
    total = sparse.csr_matrix((num, num))
    parts: list[tuple[NDArray, NDArray, NDArray]] = []
    for i, j in flows.pairs():
        if abs(i - j) > 2:
            continue
        flow, confidence = (f.numpy()[::2, ::2] for f in flows.get(i, j))
        u = np.round(x + flow[..., 0]).astype(np.int64)
        v = np.round(y + flow[..., 1]).astype(np.int64)
        there = (u >= 0) & (v >= 0) & (u < w) & (v < h) & (confidence > 0.3)
        pair = label[i, y[there], x[there]].astype(np.int64) * num + label[j, v[there], u[there]]
        key, index = np.unique(pair, return_inverse=True)
        parts.append((key // num, key % num, np.bincount(index, 4 * confidence[there])))
    if parts:
        rows, columns, values = (np.concatenate(p) for p in zip(*parts))
        total = sparse.csr_matrix((values, (rows, columns)), (num, num))
    return total


def settled(pieces: Pieces, value: F64, belief: F64, factor: float = 1.0) -> F64:
    """What pieces [n] agree on: the least Σ belief (x − value)² over pixels and Σ hold (x − x')²
    over neighbours, in space and along the flow, the second times ``factor`` (a random walk with
    restarts; Grady 2006)."""
    num = len(value)
    a, b = pieces.neighbours.T
    links = sparse.csr_matrix((pieces.hold, (a, b)), (num, num)) + OVER_TIME * pieces.onward
    links = factor * links
    links = links + links.T
    own = np.maximum(belief * pieces.size, 1e-6)
    system = sparse.diags(np.asarray(links.sum(1)).ravel() + own) - links
    start = np.asarray(value, np.float64)
    first = sparse.diags(1 / system.diagonal())
    out, _ = cg(system, own * value, x0=start, rtol=1e-3, maxiter=200, M=first)
    return np.asarray(out)


def filled(rho: Array, hole: Mask) -> Array:
    """rho [t, h, w] where it is not ``hole``; smooth from around there, by a pyramid of means."""
    out = rho.copy()
    for i in range(len(rho)):
        if hole[i].all() or not hole[i].any():
            continue
        weight = (~hole[i]).astype(np.float32)
        levels = [(rho[i] * weight, weight)]
        while min(levels[-1][0].shape) > 2:
            half = tuple((s + 1) // 2 for s in levels[-1][0].shape[::-1])
            levels.append(
                tuple(cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in levels[-1])
            )
        value, weight = levels[-1]
        now = value / np.maximum(weight, 1e-9)
        for value, weight in levels[-2::-1]:
            wider = cv2.resize(now, value.shape[::-1], interpolation=cv2.INTER_LINEAR)
            now = value + (1 - weight) * wider
        out[i] = np.where(hole[i], now, rho[i])
    return out


def _grown(found: Mask, reach: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.stack([cv2.dilate(f.astype(np.uint8), disc) > 0 for f in found])


def _whole(found: Mask, candidate: Mask) -> Mask:
    """``found`` without specks, and with those of its holes that are wholly ``candidate``."""
    out = found.copy()
    for i in range(len(found)):
        holes, label, stats, _ = cv2.connectedComponentsWithStats(
            (~found[i]).astype(np.uint8), connectivity=4
        )
        outside = np.bincount(label[~candidate[i]], minlength=holes) > 0
        outside[0] = True
        out[i] |= ~outside[label]
        _, label, stats, _ = cv2.connectedComponentsWithStats(out[i].astype(np.uint8))
        small = stats[:, cv2.CC_STAT_AREA] < MIN_AREA * found[i].size
        small[0] = False
        out[i] &= ~small[label]
    return out
