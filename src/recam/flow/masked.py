"""Apparent motion between neighbouring frames of a partially known video, also inside holes."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local

import numpy as np
import torch

from recam.flow.pyramid import fill_from_pyramid
from recam.runtime.jit import kernel
from recam.runtime.threads import one_opencv_thread, one_torch_thread
from recam.types import Progress, no_progress

FLOW_SIDE = 960
"""Flow is found at most at this longer side, in pixels."""
MIN_SLACK_PX, MAX_SLACK_PX = 0.25, 1.5
SHARE_APART = 0.4
ROUND_TRIP_PX = 0.6
"""Flow forth and back may miss its start by this much, plus a share of its length."""
ROUND_TRIP_SHARE = 0.05
RAY_COS = tuple(math.cos(0.3 * k) for k in (0, -1, 1, -2, 2, -3, 3, -4, 4))
RAY_SIN = tuple(math.sin(0.3 * k) for k in (0, -1, 1, -2, 2, -3, 3, -4, 4))
"""Directions of split_border's rays, against the way straight into the gap."""


@dataclass(frozen=True)
class Steps:
    """Motion of every pixel of each frame to one neighbouring frame.

    flow: float16 [t, h, w, 2], (dx, dy) px; the frame without that neighbour has zeros.
    slack: float16 [t, h, w], px that going there and back may miss by before the pixel is taken to
        be hidden there; negative = not to be followed.
    """

    flow: np.ndarray
    slack: np.ndarray


@dataclass(frozen=True)
class Motion:
    """Motion of every pixel into the past and into the future."""

    past: Steps
    future: Steps


def estimate_motion(
    luma: np.ndarray,
    seen: np.ndarray,
    trusted: np.ndarray,
    nearness: np.ndarray | None = None,
    progress: Progress = no_progress,
    everywhere: bool = False,
) -> Motion:
    """Motion of a video from its known pixels, carried smoothly into the holes.

    luma: uint8 [t, h, w], holes already filled with something smooth.
    seen: bool [t, h, w]. trusted: bool [t, h, w], seen pixels that are not next to a hole.
    nearness: float32 [t, h, w], of the trusted pixels; what exceeds another by more than 1 stands
        before it. None = unknown: what departs least from the picture's dominant motion is taken to
        lie behind.
    everywhere: also between two frames that are wholly trusted; else nothing is to be followed
        there.

    Between two frames the flow (DIS, Kroeger et al. 2016) is kept where both ends are trusted and
    forth and back agree. Holes get the motion of what lies behind: a moved camera uncovers that.
    """
    num, height, width = luma.shape
    past, future = [
        Steps(np.zeros((*luma.shape, 2), np.float16), np.full(luma.shape, -1, np.float16))
        for _ in range(2)
    ]
    flow_of = _flow_finder(height, width)

    def near(t: int) -> np.ndarray | None:
        return None if nearness is None else nearness[t]

    def find(i: int) -> None:
        if not everywhere and trusted[i].all() and trusted[i + 1].all():
            return  # no way through a hole leads over this pair
        back, forth = flow_of(luma[i + 1], luma[i]), flow_of(luma[i], luma[i + 1])
        good = agreeing(back, forth, trusted[i + 1], trusted[i])
        past.flow[i + 1], past.slack[i + 1] = complete_flow(back, good, seen[i + 1], near(i + 1))
        good = agreeing(forth, back, trusted[i], trusted[i + 1])
        future.flow[i], future.slack[i] = complete_flow(forth, good, seen[i], near(i))

    with (
        one_torch_thread(),
        one_opencv_thread() as num_threads,
        ThreadPoolExecutor(num_threads) as pool,
    ):
        for done, _ in enumerate(pool.map(find, range(num - 1))):
            progress("finding motion", done + 1, num - 1)
    return Motion(past, future)


def _flow_finder(height: int, width: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of two uint8 images [h, w] that gives the flow float32 [h, w, 2] in their px."""
    import cv2

    own = local()  # DIS keeps buffers between calls, so each thread needs its own

    def dis(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not hasattr(own, "dis"):
            own.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return own.dis.calc(a, b, None)

    scale = min(1.0, FLOW_SIDE / max(height, width))
    # DIS needs some room for its pyramid; tiny pictures are enlarged.
    scale = max(scale, 48 / min(height, width))
    size = (max(round(width * scale), 48), max(round(height * scale), 48))
    if size == (width, height):
        return dis
    back = np.array([width / size[0], height / size[1]], np.float32)

    def flow_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (a, b)]
        flow = dis(small[0], small[1])
        return cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * back

    return flow_of


def agreeing(
    flow: np.ndarray, reverse: np.ndarray, trusted: np.ndarray, trusted_there: np.ndarray
) -> np.ndarray:
    """bool [h, w]: the flow starts and ends on trusted pixels and the reverse flow returns."""
    import cv2

    height, width = trusted.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    to_x, to_y = x + flow[..., 0], y + flow[..., 1]
    returned = cv2.remap(reverse, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    there = cv2.remap(trusted_there.astype(np.uint8) * 255, to_x, to_y, cv2.INTER_LINEAR)
    miss = np.hypot(*(flow + returned).transpose(2, 0, 1))
    length = np.hypot(flow[..., 0], flow[..., 1])
    return trusted & (there > 250) & (miss < ROUND_TRIP_PX + ROUND_TRIP_SHARE * length)


def dominant_motion(flow: np.ndarray, good: np.ndarray) -> np.ndarray:
    """float32 [h, w, 2]: the motion of the plane that explains most of the good flow.

    Eight parameters (the instantaneous motion of a plane), fitted by iteratively reweighted least
    squares on a grid; only a shift where there is little flow to go by.
    """
    height, width = good.shape
    step = max(1, min(height, width) // 60)
    rows, columns = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    chosen = good[rows, columns]
    sample = flow[rows, columns][chosen].astype(np.float64)
    if len(sample) == 0:
        return np.zeros((height, width, 2), np.float32)
    parameters = np.zeros(8)
    parameters[[0, 3]] = np.median(sample, 0)
    if len(sample) >= 60:
        design = np.concatenate(_plane_terms(columns[chosen], rows[chosen], height, width))
        target = sample.T.reshape(-1)
        for _ in range(12):
            error = np.hypot(*(target - design @ parameters).reshape(2, -1))
            sigma = max(0.3, 1.5 * float(np.median(error)))
            weight = np.tile(1 / (1 + (error / sigma) ** 2), 2)
            normal = design.T @ (design * weight[:, None])
            normal += 1e-6 * np.trace(normal) * np.eye(8)
            parameters = np.linalg.solve(normal, design.T @ (weight * target))
    return _plane_motion(parameters.astype(np.float32), height, width)


def _plane_motion(parameters: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 [h, w, 2]: _plane_terms times the parameters, at every pixel."""
    x = ((np.arange(width, dtype=np.float32) - width / 2) / width)[None]
    y = ((np.arange(height, dtype=np.float32) - height / 2) / width)[:, None]
    p = parameters
    out = np.empty((height, width, 2), np.float32)
    out[..., 0] = (p[0] + p[1] * x + p[6] * x * x) + (p[2] + p[7] * x) * y
    out[..., 1] = (p[3] + p[4] * x) + (p[5] * y + p[7] * y * y) + p[6] * x * y
    return out


def _plane_terms(
    column: np.ndarray, row: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """[..., 8] factors of a plane's eight motion parameters in dx and in dy."""
    x, y = (column - width / 2) / width, (row - height / 2) / width
    one, zero = np.ones_like(x), np.zeros_like(x)
    across = np.stack([one, x, y, zero, zero, zero, x * x, x * y], -1)
    down = np.stack([zero, zero, zero, one, x, y, x * y, y * y], -1)
    return across, down


def complete_flow(
    flow: np.ndarray, good: np.ndarray, seen: np.ndarray, nearness: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The flow where good, elsewhere carried on: float32 [h, w, 2]; and its slack [h, w] in px.

    Unseen pixels move with what lies behind the gap, by ``nearness`` [h, w] as in estimate_motion.
    A seen pixel without good flow (near a hole, or hidden in the other frame) moves with the
    nearest pixel that has it.
    """
    plane = dominant_motion(flow, good)
    slack = np.full(good.shape, MAX_SLACK_PX, np.float32)
    if not good.any():
        return plane, slack
    rest = flow - plane
    if nearness is None:
        size = np.hypot(rest[..., 0], rest[..., 1])
        usual = max(0.2, float(np.median(size[good])))
        behind, front = split_border(np.log2(1 + size / usual), good)
        back = plane + _spread(rest, behind * (1 / np.square(1 + np.square(size / usual)) + 1e-9))
    else:
        behind, front = split_border(nearness, good)
        back = plane + _spread(rest, behind)
    nearest, _ = from_nearest(flow, good)
    completed = np.where(good[..., None], flow, np.where(seen[..., None], nearest, back))
    if front.any():
        # Beside something in front, half of what sets its motion apart tells the two asunder.
        apart = np.hypot(*(flow - back).transpose(2, 0, 1))
        near, distance = from_nearest(SHARE_APART * apart, front)
        room = np.maximum(distance / max(good.shape) - 0.04, 0) / 0.02
        slack = np.clip(np.maximum(near, MIN_SLACK_PX) + room, 0, MAX_SLACK_PX)
    return completed, slack


def _spread(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """values [h, w, 2] carried smoothly from where weight [h, w] is, float32."""
    return fill_from_pyramid(
        torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None, :, None],
        torch.from_numpy(weight.astype(np.float32))[None, None, None],
    )[0, :, 0].numpy().transpose(1, 2, 0)  # fmt: skip


def from_nearest(values: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values [h, w, ...] taken from the nearest pixel of ``where``, and how far [h, w] that is."""
    import cv2

    distance, label = cv2.distanceTransformWithLabels(
        (~where).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.zeros(label.max() + 1, np.int64)
    at[label[where]] = np.flatnonzero(where)
    return values.reshape(where.size, *values.shape[2:])[at[label]], distance


def split_border(nearness: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Good pixels along the border of what is not good: those behind, those in front. bool [h, w].

    nearness: float32 [h, w]. From every border pixel rays go across the gap; where one comes out on
    something that is farther by more than 1, the pixel stands in front of the gap.
    """
    import cv2

    height, width = good.shape
    reach = max(3, max(height, width) // 120)
    gap = (~good).astype(np.uint8)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    border = (cv2.dilate(gap, kernel) > 0) & good
    known = good.astype(np.float32)
    smooth = cv2.blur(np.where(good, nearness, 0).astype(np.float32), (3, 3))
    smooth /= np.maximum(cv2.blur(known, (3, 3)), 1e-6)
    soft = cv2.GaussianBlur(gap.astype(np.float32), (0, 0), reach)
    inward_x = cv2.Sobel(soft, cv2.CV_32F, 1, 0)
    inward_y = cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    behind = _behind_across(border, good, smooth, inward_x, inward_y, reach)
    return behind, border & ~behind


@kernel
def _behind_across(border, good, nearness, inward_x, inward_y, reach):
    """split_border's rays: bool [h, w], border pixels with nothing farther across the gap."""
    height, width = good.shape
    behind = border.copy()
    for y in range(height):
        for x in range(width):
            length = np.hypot(inward_x[y, x], inward_y[y, x])
            if not border[y, x] or length < 1e-6:
                continue
            limit = nearness[y, x] - 1
            for turn in range(len(RAY_COS)):
                cos, sin = RAY_COS[turn] / length, RAY_SIN[turn] / length
                dx = inward_x[y, x] * cos - inward_y[y, x] * sin
                dy = inward_x[y, x] * sin + inward_y[y, x] * cos
                px, py, entered, past = float(x), float(y), False, 0
                for steps in range(width + height):
                    px, py = px + dx, py + dy
                    column, row = int(np.floor(px + 0.5)), int(np.floor(py + 0.5))
                    if column < 0 or row < 0 or column >= width or row >= height:
                        break
                    if not good[row, column]:
                        entered, past = True, 0
                    elif entered:
                        past += 1
                        if past == reach:  # well on the other side: its edge may be unclean
                            behind[y, x] = nearness[row, column] >= limit
                            break
                    elif steps > 3 * reach:
                        break
                if not behind[y, x]:
                    break
    return behind
