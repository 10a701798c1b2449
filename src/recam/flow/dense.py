"""Dense optical flow between the frames of a video, over several offsets, with a confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.runtime.cache import scratch_tensor
from recam.runtime.threads import one_opencv_thread
from recam.types import Cameras, Progress, RecamError, Video, no_progress

STEPS_PER_PX = 32
"""Stored flows are rounded to 1/32 px: a third of what the flow itself is good for."""
FLOW_SIGMA_PX = 0.3
"""Noise of short flows in pixels of the pictures that they were found on."""
NUM_PLANES = 4
MIN_MATCHES = 8
"""Matched features that must move together before views far apart are searched from there."""
BORDER_REACH_PX = 5
"""Flow beside a black border is drawn to its edge, which stands still."""
SMALLEST_SIDE_PX = 24
"""Below this the flow has no pyramid to stand on."""


@dataclass(frozen=True)
class FlowSet:
    """Where every pixel of a frame is in other frames.

    gray: uint8 [t, h, w], the frames that the flows were computed on.
    steps: for each stored pair (i, j), int16 [h, w, 2]: the flow i -> j in 1/32 px.
    confidence_u8: for each stored pair, uint8 [h, w]: the confidence in 1/255.
    offsets: the distances |i - j| that are stored, increasing.
    level: how often the pictures were halved since the flows were found.
    """

    gray: Tensor
    steps: dict[tuple[int, int], Tensor]
    confidence_u8: dict[tuple[int, int], Tensor]
    offsets: tuple[int, ...]
    level: int = 0

    @property
    def sigma_px(self) -> float:
        """Noise of short flows, in pixels of this size."""
        return FLOW_SIGMA_PX / 2**self.level

    def __len__(self) -> int:
        return self.gray.shape[0]

    @property
    def height(self) -> int:
        return self.gray.shape[1]

    @property
    def width(self) -> int:
        return self.gray.shape[2]

    def has(self, i: int, j: int) -> bool:
        """Whether the flow i -> j is stored."""
        return (i, j) in self.steps

    def pairs(self) -> list[tuple[int, int]]:
        """All stored (i, j), by offset, then by frame."""
        return list(self.steps)

    def get(self, i: int, j: int) -> tuple[Tensor, Tensor]:
        """Flow i -> j, float32 [h, w, 2] px (x, y), and its confidence, float32 [h, w] in [0, 1].

        What frame i shows at pixel centre p, frame j shows at p + flow. The confidence is 1 where
        the flow back from j returns to p, about 0.6 where it misses by 0.5 px (a little more for
        long flows), and 0 where it leaves the picture. Raises ValueError for a pair not stored.
        """
        if (i, j) not in self.steps:
            raise ValueError(
                f"flow {i} -> {j} is not stored: {len(self)} frames, offsets {self.offsets}"
            )
        # By numpy: torch's threads would wait for each other, in every thread that asks.
        flow = self.steps[i, j].numpy().astype(np.float32)
        confidence = self.confidence_u8[i, j].numpy().astype(np.float32)
        flow *= np.float32(1 / STEPS_PER_PX)
        confidence /= np.float32(255)
        return torch.from_numpy(flow), torch.from_numpy(confidence)


@dataclass(frozen=True)
class Beside:
    """What the frames between those of a :class:`FlowSet` show of them.

    flows: of all frames. cameras: all, of that size. numbers: int64 [k], which of all frames those
    of the other set are.
    """

    flows: FlowSet
    cameras: Cameras
    numbers: NDArray[np.int64]

    def of(self, i: int) -> list[tuple[int, int]]:
        """Pairs of all frames: frame i of the chosen ones, and each of its neighbours that is not
        one of them."""
        n = int(self.numbers[i])
        return [(n, j) for j in (n - 1, n + 1) if self.flows.has(n, j) and j not in self.numbers]


def compute_flows(
    video: Video,
    height: int,
    width: int,
    offsets: Sequence[int] = (1, 2, 4, 8),
    progress: Progress = no_progress,
    border: NDArray[np.bool_] | None = None,
    begun: FlowSet | None = None,
    chosen: NDArray[np.int64] | None = None,
) -> FlowSet:
    """Flow both ways between all frames ``offset`` apart, at the size (height, width).

    DIS flow (Kroeger et al. 2016) down to the full resolution of that size. A longer offset starts
    from the chain of two shorter ones where there are any, so it follows what a search from zero
    would lose. About 30 ms of one core per flow at 512×288, and 0.75 MB of memory, or of disk once
    the flows of an offset are many. The result does not depend on the number of threads.

    border: bool [h, w], what is no part of the picture: no flow is trusted there or just beside it.
    begun: flows of this video that are there already. chosen: numbers of the frames that others are
    wanted between, default all.

    Raises ValueError for offsets below 1, RecamError for pictures too small for flow.
    """
    if min(height, width) < SMALLEST_SIDE_PX:
        raise RecamError(
            f"pictures of {width}×{height} px are too small to follow motion in; "
            f"the shorter side needs {SMALLEST_SIDE_PX} px or more"
        )
    if any(offset < 1 for offset in offsets):
        raise ValueError(f"offsets must be 1 or more, got {tuple(offsets)}")
    gray = gray_frames(video, height, width) if begun is None else begun.gray.numpy()
    offsets = tuple(sorted({k for k in offsets if k < len(video)}))
    flows = {} if begun is None else dict(begun.steps)
    confidences = {} if begun is None else dict(begun.confidence_u8)
    among = set(range(len(video)) if chosen is None else chosen.tolist())
    wanted = {
        k: [i for i in range(len(video) - k) if {i, i + k} <= among and (i, i + k) not in flows]
        for k in offsets
    }
    before, total = len(flows), sum(map(len, wanted.values()))
    keep = _away_from(border, height, width)
    with one_opencv_thread() as num_threads, ThreadPoolExecutor(num_threads) as pool:
        dis = _DisPerThread()
        for k in offsets:
            half = _split(k, offsets)

            def job(i: int, k: int = k, half: int | None = half) -> tuple[Tensor, ...]:
                j = i + k
                m = None if half is None else i + half
                there = dis(gray[i], gray[j], _chained(flows, i, m, j))
                m = None if half is None else j - half
                back = dis(gray[j], gray[i], _chained(flows, j, m, i))
                return (
                    _to_steps(there),
                    _to_steps(back),
                    keep * _consistency(there, back),
                    keep * _consistency(back, there),
                )

            # Results are listed only when the whole offset is done: a job reads shorter ones alone.
            num = len(wanted[k])
            steps = scratch_tensor((2, num, height, width, 2), torch.int16)
            certainty = scratch_tensor((2, num, height, width), torch.uint8)
            for n, (there, back, sure_there, sure_back) in enumerate(pool.map(job, wanted[k])):
                steps[0, n], steps[1, n] = there, back
                certainty[0, n], certainty[1, n] = sure_there, sure_back
                progress("optical flow", (len(flows) - before) // 2 + n + 1, total)
            for n, i in enumerate(wanted[k]):
                flows[i, i + k], flows[i + k, i] = steps[0, n], steps[1, n]
                confidences[i, i + k], confidences[i + k, i] = certainty[0, n], certainty[1, n]
    return FlowSet(torch.from_numpy(gray), flows, confidences, offsets)


def _away_from(border: NDArray[np.bool_] | None, height: int, width: int) -> Tensor:
    """uint8 [h, w], 1 = farther from a border than flow is drawn to it."""
    if border is None or not border.any():
        return torch.ones(height, width, dtype=torch.uint8)
    around = np.ones((2 * BORDER_REACH_PX + 1, 2 * BORDER_REACH_PX + 1), np.uint8)
    return torch.from_numpy((cv2.dilate(border.astype(np.uint8), around) == 0).astype(np.uint8))


def part_of_flows(flows: FlowSet, start: int, stop: int) -> FlowSet:
    """The flows between frames start to stop alone, numbered from 0; nothing is copied."""
    inside = [(i, j) for i, j in flows.pairs() if start <= min(i, j) and max(i, j) < stop]
    return FlowSet(
        flows.gray[start:stop],
        {(i - start, j - start): flows.steps[i, j] for i, j in inside},
        {(i - start, j - start): flows.confidence_u8[i, j] for i, j in inside},
        flows.offsets,
        flows.level,
    )


def sample_bilinear(field: NDArray, uv_px: NDArray) -> NDArray:
    """Values of ``field`` [h, w] or [h, w, c] at uv_px [k, 2]: [k] or [k, c]. Edges repeat."""
    x = np.ascontiguousarray(uv_px[:, 0] - 0.5, dtype=np.float32)[:, None]
    y = np.ascontiguousarray(uv_px[:, 1] - 0.5, dtype=np.float32)[:, None]
    # OpenCV's remap takes at most 32767 rows.
    parts = [
        cv2.remap(
            field, x[a : a + 16384], y[a : a + 16384], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )[:, 0]
        for a in range(0, len(x), 16384)
    ]  # fmt: skip
    return np.concatenate(parts) if parts else np.zeros((0, *field.shape[2:]), field.dtype)


def gray_frames(
    video: Video, height: int, width: int, most: int | None = None
) -> NDArray[np.uint8]:
    """uint8 [t, h, w] at another size; most: only so many frames, spread over the video."""
    num = len(video) if most is None else min(most, len(video))
    gray = scratch_tensor((num, height, width), torch.uint8).numpy()
    for k, i in enumerate(np.linspace(0, len(video) - 1, num).round().astype(int).tolist()):
        rgb = np.ascontiguousarray(video.frames[i].permute(1, 2, 0).numpy())
        one = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        shrinks = height <= one.shape[0] and width <= one.shape[1]
        kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        gray[k] = cv2.resize(one, (width, height), interpolation=kind)
    return gray


def _split(k: int, offsets: tuple[int, ...]) -> int | None:
    """The most even a with a and k - a both among the offsets, or None."""
    candidates = [a for a in offsets if k - a in offsets]
    return min(candidates, key=lambda a: abs(2 * a - k)) if candidates else None


class _DisPerThread:
    """DIS keeps buffers between calls, so each thread needs its own."""

    def __init__(self) -> None:
        self._own = local()

    def __call__(self, a: NDArray, b: NDArray, start: NDArray | None) -> NDArray[np.float32]:
        if not hasattr(self._own, "dis"):
            dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            # Down to full resolution: half the error of the preset, for 30 ms instead of 11.
            dis.setFinestScale(0)
            dis.setPatchStride(4)
            dis.setGradientDescentIterations(12)
            self._own.dis = dis
        return self._own.dis.calc(a, b, start)


def _to_steps(flow: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.clip(np.rint(flow * STEPS_PER_PX), -32767, 32767).astype(np.int16))


def _chained(flows: dict, i: int, m: int | None, j: int) -> NDArray[np.float32] | None:
    """i -> j by way of m."""
    if m is None:
        return None
    first = flows[i, m].numpy().astype(np.float32) / STEPS_PER_PX
    return first + _follow(first, flows[m, j].numpy().astype(np.float32) / STEPS_PER_PX)[0]


def _follow(flow: NDArray, field: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """``field`` of the other frame, fetched to where ``flow`` leads; and where that is."""
    h, w = flow.shape[:2]
    x = flow[..., 0] + np.arange(w, dtype=np.float32)
    y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    there = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return there, x, y


def _consistency(there: NDArray[np.float32], back: NDArray[np.float32]) -> Tensor:
    h, w = there.shape[:2]
    returned, x, y = _follow(there, back)
    miss = there + returned
    miss_sq = miss[..., 0] ** 2 + miss[..., 1] ** 2
    length_sq = there[..., 0] ** 2 + there[..., 1] ** 2
    # Allowance 0.5 px, growing by 2 % of the flow's length.
    confidence = np.exp(-0.5 * miss_sq / (0.25 + 4e-4 * length_sq))
    confidence[(x < 0) | (y < 0) | (x > w - 1) | (y > h - 1)] = 0
    return torch.from_numpy(np.rint(confidence * 255).astype(np.uint8))


@dataclass(frozen=True)
class AnchoredFlow:
    """How frame ``frame`` lies to one chosen frame, and to the neighbour on the way there.

    to_anchor: float32 [h, w, 2] px; what this frame shows at p, the anchor shows at p + to_anchor.
    confidence: float32 [h, w], as FlowSet's. to_before, before_confidence: the same to the
    neighbouring frame on the anchor's side. to_next, next_confidence: to that on the other side
    (confidence 0 at the video's end).
    """

    frame: int
    to_anchor: NDArray[np.float32]
    confidence: NDArray[np.float32]
    to_before: NDArray[np.float32]
    before_confidence: NDArray[np.float32]
    to_next: NDArray[np.float32]
    next_confidence: NDArray[np.float32]


def flows_to_frame(
    video: Video, anchor: int, height: int, width: int, progress: Progress = no_progress
) -> Iterator[AnchoredFlow]:
    """Flow from every other frame to one, at the size (height, width): later frames in order, then
    earlier ones backwards.

    Steps between neighbours are added up and the sum refined against the anchor itself, so that it
    does not drift; where that loses the way the sum stays. Memory does not grow with the length.
    Raises ValueError for an anchor outside the video, RecamError for pictures too small for flow.
    """
    if not 0 <= anchor < len(video):
        raise ValueError(f"frame {anchor} is outside the video's frames 0…{len(video) - 1}")
    if min(height, width) < SMALLEST_SIDE_PX:
        raise RecamError(
            f"pictures of {width}×{height} px are too small to follow motion in; "
            f"the shorter side needs {SMALLEST_SIDE_PX} px or more"
        )
    dis, done, farthest = _DisPerThread(), 0, float(max(height, width))
    gray_anchor = gray_frames(video[anchor : anchor + 1], height, width)[0]
    for order in (range(anchor + 1, len(video)), range(anchor - 1, -1, -1)):
        to_anchor = np.zeros((height, width, 2), np.float32)
        from_anchor = np.zeros_like(to_anchor)
        nothing = np.zeros_like(to_anchor), np.zeros_like(to_anchor)
        following, next_step = gray_anchor, nothing
        for j in (anchor, *order):
            here, (back, forth) = following, next_step
            k = j + order.step
            next_step = nothing
            if k in order:
                following = gray_frames(video[k : k + 1], height, width)[0]
                next_step = dis(following, here, None), dis(here, following, None)
            if j == anchor:
                continue
            # What has long left the picture must not run off without end.
            summed = (back + _follow(back, to_anchor)[0]).clip(-farthest, farthest)
            summed_from = from_anchor + _follow(from_anchor, forth)[0]
            summed_from = summed_from.clip(-farthest, farthest)
            direct = dis(here, gray_anchor, summed.copy())
            direct_from = dis(gray_anchor, here, summed_from.copy())
            certainty, certainty_summed = (
                _confidence(direct, direct_from),
                _confidence(summed, summed_from),
            )
            better = (certainty >= certainty_summed)[..., None]
            to_anchor = np.where(better, direct, summed)
            better = _confidence(direct_from, direct) >= _confidence(summed_from, summed)
            from_anchor = np.where(better[..., None], direct_from, summed_from)
            ahead = next_step[1]
            ahead_certainty = _confidence(ahead, next_step[0]) * np.float32(k in order)
            yield AnchoredFlow(
                j, to_anchor, np.maximum(certainty, certainty_summed),
                back, _confidence(back, forth), ahead, ahead_certainty,
            )  # fmt: skip
            done += 1
            progress("following motion", done, len(video) - 1)


def _confidence(there: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    return (_consistency(there, back).numpy() / np.float32(255)).astype(np.float32)


def flow_between(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Flow between two grey pictures uint8 [h, w] that may be far apart.

    Returns flow a -> b float32 [h, w, 2] px, its confidence [h, w], flow b -> a, its confidence.
    Searched for from no motion and from the homographies, up to NUM_PLANES, that matched features
    agree on; the best of them is kept at every pixel. Raises RecamError for pictures too small.
    """
    if min(a.shape) < SMALLEST_SIDE_PX:
        raise RecamError(
            f"pictures of {a.shape[1]}×{a.shape[0]} px are too small to follow motion in; "
            f"the shorter side needs {SMALLEST_SIDE_PX} px or more"
        )
    dis = _DisPerThread()
    found = [(dis(a, b, None), dis(b, a, None))]
    for plane in _matched_planes(a, b):
        start, start_back = _flow_of(plane, a.shape), _flow_of(np.linalg.inv(plane), a.shape)
        found.append((dis(a, b, start), dis(b, a, start_back)))
    # Smooth areas return anywhere: what is reached must also look alike.
    forth, certainty = _best([(f, _confidence(f, g) * _likeness(a, b, f)) for f, g in found])
    back, certainty_back = _best([(g, _confidence(g, f) * _likeness(b, a, g)) for f, g in found])
    return forth, certainty, back, certainty_back


def _best(
    found: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """At every pixel the flow that is the surest around it, and its confidence."""
    flow, certainty = found[0]
    around = cv2.blur(certainty, (9, 9))
    for other, other_certainty in found[1:]:
        other_around = cv2.blur(other_certainty, (9, 9))
        better = other_around > around
        flow = np.where(better[..., None], other, flow)
        certainty = np.where(better, other_certainty, certainty)
        around = np.maximum(around, other_around)
    return flow, certainty


def _likeness(
    a: NDArray[np.uint8], b: NDArray[np.uint8], flow: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [h, w], 1 where a and what the flow fetches from b differ little nearby."""
    there, _, _ = _follow(flow, b.astype(np.float32))
    off = cv2.blur(np.abs(a - there), (5, 5))
    return np.exp(-0.5 * (off / 25) ** 2).astype(np.float32)


def _matched_planes(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[NDArray]:
    """b_from_a [3, 3] that most matched SIFT features (Lowe 2004) agree on, then the next on what
    is left; none where too few match."""
    sift = cv2.SIFT.create(2000)
    (points_a, about_a), (points_b, about_b) = (sift.detectAndCompute(p, None) for p in (a, b))
    planes: list[NDArray] = []
    if about_a is None or about_b is None or min(len(about_a), len(about_b)) < MIN_MATCHES:
        return planes
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(about_a, about_b, k=2)
    kept = [m for m, n in pairs if m.distance < 0.75 * n.distance]
    here = np.array([points_a[m.queryIdx].pt for m in kept], np.float32)
    there = np.array([points_b[m.trainIdx].pt for m in kept], np.float32)
    cv2.setRNGSeed(0)
    while len(here) >= MIN_MATCHES and len(planes) < NUM_PLANES:
        # A similarity for the smaller groups: fewer matches fit it by chance.
        if planes:
            part, inliers = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=3.0)
            plane = None if part is None else np.vstack([part, [0, 0, 1]])
        else:
            plane, inliers = cv2.findHomography(here, there, cv2.RANSAC, 3.0)
        if plane is None or int(inliers.sum()) < MIN_MATCHES:
            break
        if 0.05 < abs(np.linalg.det(plane)) < 20:
            planes.append(plane)
        rest = inliers[:, 0] == 0
        here, there = here[rest], there[rest]
    return planes


def _flow_of(plane: NDArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The flow [h, w, 2] of a homography, kept within the picture's size."""
    h, w = shape
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float64)
    there = grid @ plane[:2, :2].T + plane[:2, 2]
    depth = np.maximum(grid @ plane[2, :2] + plane[2, 2], 1e-3)
    flow = there / depth[..., None] - grid
    return np.ascontiguousarray(flow.clip(-max(h, w), max(h, w)).astype(np.float32))
