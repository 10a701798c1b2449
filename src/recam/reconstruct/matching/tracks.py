"""Point tracks through a video, from chained dense flow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.arrays import F32, F64, I64, U8, Mask
from recam.flow.dense import FlowSet, sample_bilinear
from recam.types import Progress, no_progress

CELL_PX = 13
"""One track is kept alive per cell of this size, about 850 at 512×288."""
MIN_CONFIDENCE = 0.5
MAX_DISAGREEMENT_PX = 1.0
"""Between what flows of different offsets say about the same point."""
MIN_CORNER = 2e-5
"""Smaller eigenvalue of the structure tensor (gray in [0, 1], 7×7 window, Sobel 3) for a seed."""
BORDER_PX = 4
MIN_LIKENESS = 0.6
"""Correlation of the 7×7 px around a point with those around it in the frame before."""


@dataclass(frozen=True)
class Tracks:
    """Observations of points, sorted by track, then by frame.

    uv_px: float64 [m, 2], where the point is seen.
    frame: int64 [m], in which frame.
    start: int64 [n + 1]; track k owns the observations start[k] to start[k + 1].
    """

    uv_px: F64
    frame: I64
    start: I64

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def track(self) -> I64:
        """int64 [m], the track that each observation belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))


def select_tracks(tracks: Tracks, keep: Mask) -> Tracks:
    """The tracks where ``keep`` [n] is True."""
    return select_observations(tracks, keep[tracks.track])[0]


def select_observations(tracks: Tracks, keep: Mask, min_length: int = 1) -> tuple[Tracks, I64]:
    """The observations where ``keep`` [m] is True, and which tracks still have min_length."""
    owner = tracks.track
    length = np.bincount(owner[keep], minlength=len(tracks))
    ids = np.flatnonzero(length >= min_length)
    keep = keep & (length >= min_length)[owner]
    start = np.concatenate([[0], np.cumsum(length[ids])])
    return Tracks(tracks.uv_px[keep], tracks.frame[keep], start), ids


def cut_tracks(tracks: Tracks, longest: int) -> Tracks:
    """Tracks that span more than ``longest`` frames cut into pieces that do not.

    Each is cut at other frames than its neighbours in the list, so that at no frame all are.
    """
    if not len(tracks):
        return tracks
    first, last = tracks.frame[tracks.start[:-1]], tracks.frame[tracks.start[1:] - 1]
    long = (last - first >= longest)[tracks.track]
    # Multiples of the golden ratio are spread evenly however many there are.
    phase = (np.arange(len(tracks)) * 0.618034 % 1 * longest).astype(np.int64)
    piece = np.where(long, (tracks.frame + phase[tracks.track]) // longest, 0)
    begins = np.append(True, (np.diff(piece) != 0) | (np.diff(tracks.track) != 0))
    return Tracks(tracks.uv_px, tracks.frame, np.append(np.flatnonzero(begins), len(begins)))


def compute_tracks(flows: FlowSet, min_length: int = 3, progress: Progress = no_progress) -> Tracks:
    """Follow corners from frame to frame; a cell that has lost its track gets a new one.

    A point's place in a new frame is the mean of what the flows of all stored offsets say from
    where it was 1, 2, 4, … frames ago, weighted by how few steps each has behind it: long flows
    keep the chain from drifting. A track ends where the flow has no confidence, where the offsets
    disagree by more than a pixel, or at the border.
    """
    num_frames = len(flows)
    following = _Following(max(flows.offsets, default=0) + 1)
    for frame in range(num_frames):
        if frame:
            following.step(flows, frame)
        progress("tracks", frame + 1, num_frames)
        seeds = corners(flows.gray[frame].numpy(), following.current(frame))
        following.add(seeds, frame)
    return following.result(min(min_length, num_frames))


class _Following:
    """The living tracks: their number, and uv_px and number of steps in the latest frames, frame i
    at i % reach; and what all have been seen at."""

    def __init__(self, reach: int) -> None:
        self.reach, self.num = reach, 0
        self.number = np.zeros(0, np.int64)
        self.uv = np.zeros((0, reach, 2), np.float32)
        self.steps = np.zeros((0, reach), np.float32)  # 0 = not seen, else steps + 1
        self.seen: list[tuple[NDArray, NDArray]] = []

    def current(self, frame: int) -> NDArray:
        return self.uv[:, frame % self.reach]

    def add(self, seeds: NDArray, frame: int) -> None:
        """Begin tracks; then what is seen in ``frame`` is complete."""
        uv = np.zeros((len(seeds), self.reach, 2), np.float32)
        steps = np.zeros((len(seeds), self.reach), np.float32)
        uv[:, frame % self.reach], steps[:, frame % self.reach] = seeds, 1
        self.uv = np.concatenate([self.uv, uv])
        self.steps = np.concatenate([self.steps, steps])
        self.number = np.append(self.number, self.num + np.arange(len(seeds)))
        self.num += len(seeds)
        self.seen.append((self.number, self.current(frame).copy()))

    def step(self, flows: FlowSet, frame: int) -> None:
        """Carry the living tracks into ``frame``, by the flows of all offsets from frames before;
        those that are lost, or that the offsets disagree about, end."""
        num = len(self.number)
        total = np.zeros((num, 2))
        total_weight = np.zeros(num)
        total_steps = np.zeros(num)
        low, high = np.full((num, 2), np.inf), np.full((num, 2), -np.inf)
        for k in flows.offsets:
            if not flows.has(frame - k, frame):
                continue
            past = (frame - k) % self.reach
            here = np.flatnonzero(self.steps[:, past] > 0)
            flow, confidence = (a.numpy() for a in flows.get(frame - k, frame))
            uv = self.uv[here, past]
            there = uv + sample_bilinear(flow, uv)
            certainty = sample_bilinear(confidence, uv)
            here, there = here[certainty > MIN_CONFIDENCE], there[certainty > MIN_CONFIDENCE]
            steps = self.steps[here, past] + 1
            weight = steps**-2.0
            total[here] += weight[:, None] * there
            total_weight[here] += weight
            total_steps[here] += weight * steps
            low[here] = np.minimum(low[here], there)
            high[here] = np.maximum(high[here], there)
        found = total_weight > 0
        agree = (high - low).max(1, initial=0) < MAX_DISAGREEMENT_PX
        uv = total / np.maximum(total_weight, 1e-12)[:, None]
        size = np.array([flows.width, flows.height])
        inside = ((uv > BORDER_PX) & (uv < size - BORDER_PX)).all(1)
        keep = found & agree & inside
        pictures = flows.gray[frame - 1].numpy(), flows.gray[frame].numpy()
        before = self.uv[keep, (frame - 1) % self.reach]
        keep[keep] = _likeness(*pictures, before, uv[keep]) > MIN_LIKENESS
        self.number, self.uv, self.steps = self.number[keep], self.uv[keep], self.steps[keep]
        self.uv[:, frame % self.reach] = uv[keep]
        steps = total_steps / np.maximum(total_weight, 1e-12)
        self.steps[:, frame % self.reach] = steps[keep]

    def result(self, min_length: int) -> Tracks:
        number = np.concatenate([seen for seen, _ in self.seen])
        frame = np.repeat(np.arange(len(self.seen)), [len(seen) for seen, _ in self.seen])
        uv = np.concatenate([uv for _, uv in self.seen]).astype(np.float64)
        order = np.argsort(number, kind="stable")  # by track, then by frame
        length = np.bincount(number, minlength=self.num)
        tracks = Tracks(uv[order], frame[order], np.concatenate([[0], np.cumsum(length)]))
        return select_tracks(tracks, length >= min_length)


def _likeness(a: U8, b: U8, at: NDArray, there: NDArray) -> NDArray:
    """Normalised correlation [k] of the patches of ``a`` at ``at`` and of ``b`` at ``there``."""
    reach = np.arange(-3, 4)
    grid = np.stack(np.meshgrid(reach, reach), -1).reshape(1, -1, 2)
    patches = []
    for picture, uv in ((a, at), (b, there)):
        values = sample_bilinear(picture.astype(np.float32), (uv[:, None] + grid).reshape(-1, 2))
        values = values.reshape(-1, grid.shape[1])
        patches.append(values - values.mean(1, keepdims=True))
    first, second = patches
    # Half a gray level of noise in quadrature: a patch without texture is like nothing.
    powers = [(p * p).mean(1) + 0.25 for p in patches]
    return (first * second).mean(1) / np.sqrt(powers[0] * powers[1])


def corners(gray: U8, taken: NDArray) -> F32:
    """uv_px [k, 2] of the best corner of every cell that has no point of ``taken`` [j, 2]."""
    h, w = gray.shape
    strength = cv2.cornerMinEigenVal(gray.astype(np.float32) / 255, 7, ksize=3)
    b = BORDER_PX
    strength[:b], strength[-b:], strength[:, :b], strength[:, -b:] = 0, 0, 0, 0
    rows, cols = -(-h // CELL_PX), -(-w // CELL_PX)
    padded = np.zeros((rows * CELL_PX, cols * CELL_PX), np.float32)
    padded[:h, :w] = strength
    blocks = padded.reshape(rows, CELL_PX, cols, CELL_PX).swapaxes(1, 2)
    cells = blocks.reshape(rows * cols, CELL_PX * CELL_PX)
    best = cells.argmax(1)
    cell = np.arange(rows * cols)
    free = cells[cell, best] > MIN_CORNER
    at = (taken // CELL_PX).astype(np.int64)
    free[at[:, 1] * cols + at[:, 0]] = False
    y = (cell // cols) * CELL_PX + best // CELL_PX
    x = (cell % cols) * CELL_PX + best % CELL_PX
    return np.stack([x, y], -1)[free].astype(np.float32) + 0.5
