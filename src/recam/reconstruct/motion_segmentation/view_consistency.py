"""What other frames, all over the clip, say about each pixel of a world that stands still.

A thing that moves along its own epipolar lines has flow that looks like depth. But that depth is
wrong, and then other frames do not show the thing where it would have to be, or show something
that would have to hide it. And where a thing is known to move, frames from before and after show
what is behind it, so that its outline is where the picture is not like that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recam.arrays import F32, U8, Mask
from recam.flow.dense import FlowSet
from recam.reconstruct.depth.tgv import tgv_inpaint
from recam.reconstruct.motion_segmentation.regions import (
    SNAP,
    refine_mask_grabcut,
    regions,
    share_over_time,
    without_specks,
)
from recam.reconstruct.warping import MIN_Z, NEARER, inverse_depth_warps, project, seen_in
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

NUM_VIEWS = 8
GRID_PX, MIN_GRID = 6, 50
"""Distance of the points that brightness is compared at, and how many must be seen."""
MIN_VIEWS = 3
ENOUGH_VIEWS = 6
DIFFERENCE, SHADED = 20.0, 8.0
"""Levels (of 255) in the worst channel that surely differ; the same once brightness is evened
out, up to which the difference may be a shadow."""
MIN_TRUST = 0.3
"""Confidence from which on a frame's depth can say that something ought to be hidden."""
UNLIKE = (0.2, 0.55)
"""Shares of the witnesses that contradict, up to which a pixel surely stands still, from which on
it surely moves."""
AWAY = 0.35
"""A surface that a witness sees foreshortened to less than this, of how frame i sees it, is on its
way out of sight there, as the side of a ball is: it cannot be asked."""
BORDER_PX = 3
"""How far beyond the regions the witnesses' own outline may reach."""
DOUBT = 0.25
"""Evidence from which on a pixel inside the colours' outline moves."""
SURELY = 0.65
"""Share of the witnesses that must contradict outside of it. Where a thing passes by in half of
them the background is contradicted as well."""
KEPT = 0.25
"""Evidence that what has moved by its flow still has when no witness contradicts."""


@dataclass(frozen=True)
class ConsistencyVotes:
    """Float32 [t, h, w] each. unlike: share of the witnesses that contradict a still world; firm:
    the same without what a shadow explains; count: of the witnesses."""

    unlike: F32
    firm: F32
    count: F32


def collect_votes(
    rgb: U8,
    dynamic: Mask,
    rho: F32,
    confidence: F32,
    cameras: Cameras,
    progress: Progress = no_progress,
) -> ConsistencyVotes:
    """Look every pixel up in NUM_VIEWS frames, by its inverse depth rho [t, h, w] (behind what
    is ``dynamic``: of the background); and ask which of their still surfaces, where their
    confidence [t, h, w] allows it, would have to be in front of it.

    rgb: uint8 [t, h, w, 3]. What is dynamic in a witness says nothing. A surface counts as found
    if its colour is within a pixel of where it should be.
    """
    t, h, w = rgb.shape[:3]
    level = rgb.astype(np.float32)
    views = np.unique(np.linspace(0, t - 1, min(NUM_VIEWS, t)).round().astype(np.int64))
    around = np.ones((5, 5), np.uint8)
    blocked = np.stack([cv2.dilate(d.astype(np.uint8), around) for d in dynamic])
    out = ConsistencyVotes(*(np.zeros((t, h, w), np.float32) for _ in range(3)))

    def job(i: int) -> None:
        """Ask the witnesses about frame i."""
        others = views[views != i]
        votes = np.zeros((3, h, w), np.float32)
        a, b = inverse_depth_warps(cameras, i, others.tolist())
        gains = _gains(level, rho[i], i, others, a, b)
        centers = centers_seen_from(cameras, i, others)
        lens = cameras.intrinsics[i].numpy()[[0, 1, 0, 1], [0, 1, 2, 2]].astype(np.float32)
        _look_up(level, blocked, rho, i, others, gains, a, b, slopes(rho[i]), centers, lens, votes)
        front = np.empty((4, h, w), np.float32)
        for j, gain in zip(others.tolist(), gains):
            a, b = inverse_depth_warps(cameras, j, [i])
            front[:] = 0
            _draw(level[j], gain, blocked[j], rho[j], confidence[j], a, b, front)
            _ought_to_be_hidden(level[i], rho[i], front, votes)
        out.count[i] = votes[0]
        out.unlike[i] = votes[1] / np.maximum(votes[0], 1)
        out.firm[i] = votes[2] / np.maximum(votes[0], 1)

    parallel_frames(job, range(t), progress, "asking other frames")
    return out


def segment_by_votes(
    tally: ConsistencyVotes,
    dynamic: Mask,
    flows: FlowSet,
    rgb: U8,
    progress: Progress = no_progress,
) -> Mask:
    """Where things move, bool [t, h, w]: ``dynamic``, as found before, less what looks like the
    background that other frames show there, and with what they contradict (shadows apart).

    Smoothed up to image edges it says which regions move; colours give these an outline. Where
    witnesses could be asked, they add to it, to the pixel, what surely moves (heads and legs that
    are coloured like what is around them), and take away what surely does not.
    """
    least, most = UNLIKE
    unlike, firm = (np.clip((x - least) / (most - least), 0, 1) for x in (tally.unlike, tally.firm))
    judged = tally.count >= MIN_VIEWS
    evidence = np.where(dynamic, KEPT + (1 - KEPT) * unlike, firm)
    evidence = np.where(judged, evidence, 0.9 * dynamic).astype(np.float32)
    belief = np.where(judged, np.minimum(tally.count / ENOUGH_VIEWS, 1), 0.3).astype(np.float32)
    shared, trust = share_over_time(evidence, belief, flows)
    out = np.zeros(dynamic.shape, bool)
    around = np.ones((2 * BORDER_PX + 1, 2 * BORDER_PX + 1), np.uint8)

    def job(i: int) -> None:
        """Regions of frame i, with the outline that the witnesses give them."""
        smooth = tgv_inpaint(shared[i], trust[i] + 1e-4, rgb[i], SNAP, flows.level)
        coarse = regions(smooth)
        inside = refine_mask_grabcut(coarse, rgb[i], evidence[i] > 0.6)
        near = cv2.dilate((coarse | inside).astype(np.uint8), around) > 0
        own = np.where(judged[i], 0.5 * (shared[i] + smooth), smooth).astype(np.float32)
        own = cv2.medianBlur(own, 3)
        share = np.where(dynamic[i], tally.unlike[i], tally.firm[i]) * judged[i]
        surely = (own > 0.5) & (cv2.medianBlur(share.astype(np.float32), 3) > SURELY)
        out[i] = without_specks(near & (surely | (inside & (own > DOUBT))))

    parallel_frames(job, range(len(out)), progress, "outlining what moves")
    return out


def _gains(level: F32, rho: F32, i: int, others: NDArray, a: F32, b: F32) -> F32:
    """How many times as bright frame i [h, w, 3] is as each of the others: the median over a grid
    of points, each compared with where its inverse depth puts it."""
    h, w = rho.shape
    y, x = (v.ravel() for v in np.mgrid[GRID_PX // 2 : h : GRID_PX, GRID_PX // 2 : w : GRID_PX])
    pixels = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], -1)
    own = level[i, y, x].sum(-1) + 1
    out = np.ones(len(others), np.float32)
    for k, j in enumerate(others.tolist()):
        at = pixels @ a[k].T + rho[y, x, None] * b[k]
        u, v = (at[:, :2] / np.maximum(at[:, 2:], 0.05)).T
        seen = (at[:, 2] > 0.05) & (u > 0) & (v > 0) & (u < w) & (v < h)
        if seen.sum() >= MIN_GRID:
            there = level[j, v[seen].astype(np.int64), u[seen].astype(np.int64)].sum(-1) + 1
            out[k] = np.median(own[seen] / there)
    return out


def centers_seen_from(cameras: Cameras, i: int, others: NDArray) -> F32:
    """Where the cameras ``others`` [k] stand, in the axes of camera i, [k, 3]."""
    pose = cameras.cam_from_world[i].numpy()
    centers = cameras.centers.numpy()[others]
    return np.asarray(centers @ pose[:3, :3].T + pose[:3, 3], np.float32)


def slopes(rho: F32) -> F32:
    """Change of inverse depth [h, w] per pixel to the right and downwards, [2, h, w]: the lesser of
    those to both sides, so that a step beside a surface is no slope of it."""
    out = np.zeros((2, *rho.shape), np.float32)
    for axis in (0, 1):
        step = np.diff(rho, axis=1 - axis)
        ends = [(0, 0), (0, 0)]
        ends[1 - axis] = (1, 1)
        wide = np.pad(step, ends)
        before, after = (wide[:, :-1], wide[:, 1:]) if axis == 0 else (wide[:-1], wide[1:])
        out[axis] = np.where(np.abs(before) < np.abs(after), before, after)
    return out


@kernel
def _unlike(level, y, x, r, g, b, exposure):
    """0: the colour (r, g, b) is there, within a pixel of (y, x). 1: it would be but for a shadow.
    2: no. exposure: what the level is multiplied by first."""
    h, w, _ = level.shape
    shaded = np.float32(255.0)
    one, brightness = np.float32(1), r + g + b
    if (
        abs(exposure * level[y, x, 0] - r) <= DIFFERENCE
        and abs(exposure * level[y, x, 1] - g) <= DIFFERENCE
        and abs(exposure * level[y, x, 2] - b) <= DIFFERENCE
    ):
        return 0  # most are, so the pixel itself comes first
    for row in range(max(y - 1, 0), min(y + 2, h)):
        for column in range(max(x - 1, 0), min(x + 2, w)):
            there_r = exposure * level[row, column, 0]
            there_g = exposure * level[row, column, 1]
            there_b = exposure * level[row, column, 2]
            off = max(abs(there_r - r), max(abs(there_g - g), abs(there_b - b)))
            if off <= DIFFERENCE:
                return 0
            gain = brightness / max(there_r + there_g + there_b, one)
            gain = min(max(gain, np.float32(0.3)), np.float32(3.0))
            tinted = max(abs(gain * there_g - g), abs(gain * there_b - b))
            tinted = max(abs(gain * there_r - r), tinted)
            shaded = min(shaded, tinted / min(max(gain, np.float32(0.5)), one))
    return 1 if shaded < SHADED else 2


@kernel
def turned_away(rx, ry, own, slope, lens, center):
    """Whether a camera at ``center`` [3] (in the axes of the one that sees the ray (rx, ry, 1)) has
    the surface there, of inverse depth ``own`` and its ``slopes``, foreshortened by AWAY or more.
    lens: fx, fy, cx, cy."""
    # The surface's plane n · X = 1, of which inverse depth is n · (rx, ry, 1).
    nx, ny = lens[0] * slope[0], lens[1] * slope[1]
    nz = own - nx * rx - ny * ry
    front = 1 - nx * center[0] - ny * center[1] - nz * center[2]
    far = (rx - own * center[0]) ** 2 + (ry - own * center[1]) ** 2 + (1 - own * center[2]) ** 2
    return front < AWAY * math.sqrt(far / (rx * rx + ry * ry + 1))


@kernel
def _look_up(level, blocked, rho, i, others, gains, a, b, slope, centers, lens, votes):
    _, h, w, _ = level.shape
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    for y in range(h):
        for x in range(w):
            own = rho[i, y, x]
            px, py = x + 0.5, y + 0.5
            rx, ry = (px - cx) / fx, (py - cy) / fy
            for k in range(len(others)):
                j = others[k]
                if turned_away(rx, ry, own, slope[:, y, x], lens, centers[k]):
                    continue
                u, v, seen = seen_in(a, b, k, px, py, own, j, rho, blocked, 2)
                if not seen:
                    continue
                votes[0, y, x] += 1
                red, green, blue = level[i, y, x, 0], level[i, y, x, 1], level[i, y, x, 2]
                found = _unlike(level[j], int(v), int(u), red, green, blue, gains[k])
                if found > 0:
                    votes[1, y, x] += 1
                if found > 1:
                    votes[2, y, x] += 1


@kernel
def _draw(level, gain, blocked, rho, confidence, a, b, front):
    """front [4, h, w]: inverse depth and colour of another frame's still surfaces, seen from this
    one, pixel by pixel; 0 = none."""
    h, w, _ = level.shape
    for y in range(h):
        for x in range(w):
            if blocked[y, x] or confidence[y, x] < MIN_TRUST:
                continue
            px, py, own = x + 0.5, y + 0.5, rho[y, x]
            u, v, z = project(a, b, 0, px, py, own)
            if z < MIN_Z:
                continue
            if u < 0 or v < 0 or u >= w or v >= h:
                continue
            iu, iv = int(u), int(v)
            if own / z > front[0, iv, iu]:
                front[0, iv, iu] = own / z
                front[1, iv, iu] = gain * level[y, x, 0]
                front[2, iv, iu] = gain * level[y, x, 1]
                front[3, iv, iu] = gain * level[y, x, 2]


@kernel
def _ought_to_be_hidden(level, rho, front, votes):
    """A witness more for each pixel behind ``front``; it contradicts if that is not to be seen."""
    h, w, _ = level.shape
    for y in range(h):
        for x in range(w):
            if front[0, y, x] > NEARER * rho[y, x]:
                found = _unlike(
                    level, y, x, front[1, y, x], front[2, y, x], front[3, y, x], np.float32(1)
                )
                if found > 0:
                    votes[0, y, x] += 1
                    votes[1, y, x] += 1
                if found > 1:
                    votes[2, y, x] += 1
