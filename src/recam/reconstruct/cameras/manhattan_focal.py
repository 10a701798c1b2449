"""The focal length that rooms and streets tell: their edges run along three directions at right
angles, and only with the right lens do the points where those of a kind meet say so.

A camera that only drives straight ahead, or stands still, tells nothing about its lens: a world
drawn out along the view takes the same pictures. Buildings do not look drawn out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from recam.arrays import F64, I64, U8
from recam.geometry import DEFAULT_FOV_DEG, intrinsics_from_fov
from recam.reconstruct.cameras.bundle_adjustment import rotation_exp
from recam.reconstruct.cameras.level_lines import FocalGuess, level_by_lines
from recam.reconstruct.cameras.report import FocalSource
from recam.types import Cameras

FOVS_DEG = (17.0, 110.0)
"""Of the longer side, searched in STEPS even steps of the focal length's logarithm."""
STEPS = 40
NUM_FRAMES = 8
MIN_LENGTH, MIN_PX = 0.05, 14.0
"""Of a line, as part of the longer side and in px."""
MAX_LINES, MIN_LINES = 400, 25
"""Of all frames together, and of each on average: they may all show the same."""
TRIES = 300
"""Pairs of directions tried for each focal length; the best REFINED are fitted to their lines."""
REFINED = 5
MIN_SPREAD = 0.02, 0.05
"""Sine of the angle between planes through lines, below which they give no direction."""
SIGMA = math.radians(0.7)
"""How far lines point past where they ought to meet."""
NEARLY, WITHIN = 0.95, 1.6
"""Focal lengths at which NEARLY as many lines fit must lie within this factor, or none is told."""
MIN_SHARE, MIN_SECOND = 0.2, 0.06
"""Part of the lines' length along the three directions, and along the second best of them."""

ALIKE_RAD = 1e-3
"""Views that are turned by less show the same."""
MIN_CLEAR, MAX_SPREAD = 0.15, 0.35
"""How clear lines must be (``horizon.Level``) in a single view, and how narrow what they leave open
of the focal length's logarithm."""
AGREE = 0.15
"""Difference of that up to which the search over free directions, which is finer, is believed."""


@dataclass(frozen=True)
class Lines:
    """Straight edges: ends [n, 2, 2] in square px from the principal point, rotation [n, 3, 3],
    cam_from_world of their frames, and their share [n] of the length of all."""

    ends: F64
    rotation: F64
    share: F64


def focal_from_right_angles(
    gray: U8, intrinsics: F64, rotvec: F64, reference: float, guess: FocalGuess | None = None
) -> FocalGuess | None:
    """Focal length in px at which most lines run along three directions at right angles; None
    where they do not tell.

    gray: uint8 [t, h, w]. intrinsics: [t, 3, 3], of which the principal point and the ratio of the
    two focal lengths count. rotvec: [t, 3], cam_from_world rotations as found with the focal length
    reference; with another one the same pictures mean smaller or larger turns.

    Views that all look the same way tell less: there what is known of how cameras are held and of
    usual lenses, or of this one (``guess``), counts too (``level_by_lines``).
    """
    free = _from_free_directions(gray, intrinsics, rotvec, reference)
    if float(np.abs(rotvec - rotvec[:1]).max()) > ALIKE_RAD:
        return None if free is None else FocalGuess(free, AGREE)
    middle = slice(len(gray) // 2, len(gray) // 2 + 1)
    h, w = gray.shape[1:]
    pose = torch.eye(4, dtype=torch.float64)[None]
    camera = Cameras(pose, torch.from_numpy(intrinsics[middle].copy()), h, w)
    rgb = np.repeat(gray[middle, ..., None], 3, -1)
    level = level_by_lines(rgb, camera, np.ones((1, h, w), bool), False, guess)
    if level is None or level.clear < MIN_CLEAR:
        return None
    log_focal, spread = level.log_focal()
    if free is not None and abs(math.log(free) - log_focal) < AGREE:
        return FocalGuess(free, spread)
    return FocalGuess(math.exp(log_focal), spread) if spread < MAX_SPREAD else None


def camera_of_picture(
    gray: U8, fov_deg: float | None, ask_lines: bool = True, guess: FocalGuess | None = None
) -> tuple[Cameras, FocalSource, float | None]:
    """One camera for a picture uint8 [h, w], with the horizontal field of view that the user gave,
    or that lines tell, or the guess, or a usual one; which of these it is; and how far off the
    focal length may be (``FocalGuess.spread``; None = unknown)."""
    h, w = gray.shape
    k = intrinsics_from_fov(fov_deg or DEFAULT_FOV_DEG, h, w)[None]
    pose = torch.eye(4, dtype=torch.float64)[None]
    if fov_deg is not None:
        return Cameras(pose, k, h, w), "user", 0.0
    usual = float(k[0, 0, 0])
    told = None
    if ask_lines:
        told = focal_from_right_angles(gray[None], k.numpy(), np.zeros((1, 3)), usual, guess)
    source: FocalSource = "network" if told is None else "lines"
    told = told or guess
    if told is None:
        return Cameras(pose, k, h, w), "nothing", None
    k[:, [0, 1], [0, 1]] *= told.focal_px / usual
    return Cameras(pose, k, h, w), source, told.spread


def _from_free_directions(gray: U8, intrinsics: F64, rotvec: F64, reference: float) -> float | None:
    """The focal length by lines alone, along any three directions at right angles."""
    lines, vectors = _lines(gray, intrinsics, rotvec)
    if len(lines.ends) < MIN_LINES * min(len(gray), NUM_FRAMES):
        return None
    side = max(gray.shape[1:])
    widest, longest = (0.5 * side / math.tan(math.radians(fov) / 2) for fov in FOVS_DEG[::-1])
    focals = np.geomspace(widest, longest, STEPS)
    found = [_best_axes(lines, vectors, reference, float(f)) for f in focals]
    score = np.array([s for s, _ in found])
    best = int(score.argmax())
    nearly = np.flatnonzero(score > NEARLY * score[best])
    low, high = nearly[0], nearly[-1]
    if low == 0 or high == STEPS - 1 or focals[high] > WITHIN * focals[low]:
        return None
    if score[best] < MIN_SHARE or np.sort(found[best][1])[1] < MIN_SECOND:
        return None
    step = math.log(focals[1] / focals[0])
    left, mid, right = score[best - 1 : best + 2]
    shift = 0.5 * (left - right) / min(left - 2 * mid + right, -1e-9)
    return float(focals[best] * math.exp(step * float(np.clip(shift, -0.5, 0.5))))


def _lines(gray: U8, intrinsics: F64, rotvec: F64) -> tuple[Lines, F64]:
    """The longest lines of some frames, and the rotation vectors [n, 3] of these."""
    ends, frames = [], []
    h, w = gray.shape[1:]
    finder = cv2.createLineSegmentDetector()
    for i in np.unique(np.linspace(0, len(gray) - 1, NUM_FRAMES).round().astype(int)):
        found = finder.detect(gray[i])[0]
        if found is None:
            continue
        k = intrinsics[i]
        points = found.reshape(-1, 2, 2).astype(np.float64) + 0.5 - k[:2, 2]
        points[..., 1] *= k[0, 0] / k[1, 1]
        ends.append(points)
        frames.append(np.full(len(points), i))
    if not ends:
        return Lines(np.zeros((0, 2, 2)), np.zeros((0, 3, 3)), np.zeros(0)), np.zeros((0, 3))
    all_ends, frame = np.concatenate(ends), np.concatenate(frames)
    length = np.linalg.norm(all_ends[:, 1] - all_ends[:, 0], axis=1)
    keep = np.argsort(-length, kind="stable")[:MAX_LINES]
    keep = keep[length[keep] > max(MIN_LENGTH * max(h, w), MIN_PX)]
    if not len(keep):
        return Lines(np.zeros((0, 2, 2)), np.zeros((0, 3, 3)), np.zeros(0)), np.zeros((0, 3))
    # One very long line shall not count for many.
    share = np.minimum(length[keep], np.quantile(length[keep], 0.9))
    vectors = rotvec[frame[keep]]
    return Lines(all_ends[keep], rotation_exp(vectors), share / share.sum()), vectors


def _best_axes(lines: Lines, vectors: F64, reference: float, focal: float) -> tuple[float, F64]:
    """The share of the lines along the best three directions for this focal length, and of each."""
    factor = focal / reference
    lines = Lines(lines.ends, rotation_exp(vectors / [factor, factor, 1.0]), lines.share)
    rays = np.concatenate([lines.ends, np.full((len(lines.ends), 2, 1), focal)], 2)
    normal = np.cross(rays[:, 0], rays[:, 1])
    normal = np.einsum("nji,nj->ni", lines.rotation, normal)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    a, b, c = normal[rng.choice(len(normal), (3, TRIES), p=lines.share)]
    first, spread = _directions(a, b)
    second, other = _directions(first, c)
    good = (spread > MIN_SPREAD[0]) & (other > MIN_SPREAD[1])
    axes = np.stack([first, second, np.cross(first, second)], -1)[good]
    if not len(axes):
        return 0.0, np.zeros(3)
    scores = _shares(lines, axes, focal)
    best = np.argsort(-scores, kind="stable")[:REFINED]
    share = _along(lines, _fitted(lines, normal, axes[best], focal), focal)[0]
    most = int(share.sum(1).argmax())
    return float(share[most].sum()), share[most]


def _directions(a: F64, b: F64) -> tuple[F64, F64]:
    """Unit vectors [n, 3] across a and b, and the sines of the angles between these."""
    across = np.cross(a, b)
    sine = np.linalg.norm(across, axis=1)
    return across / np.maximum(sine, 1e-9)[:, None], sine


def _shares(lines: Lines, axes: F64, focal: float) -> F64:
    """For sets of axes [m, 3, 3]: the sum [m] of what ``_along`` says of each, about."""
    ends, rotation = lines.ends.astype(np.float32), lines.rotation.astype(np.float32)
    at = ends.mean(1)[:, :, None, None]
    line = ends[:, 1] - ends[:, 0]
    line = (line / np.linalg.norm(line, axis=1, keepdims=True))[:, :, None, None]
    seen = rotation.reshape(-1, 3) @ axes.astype(np.float32).transpose(1, 0, 2).reshape(3, -1)
    seen = seen.reshape(-1, 3, len(axes), 3)  # line, coordinate, set, axis
    x, y = (np.float32(focal) * seen[:, k] - at[:, k] * seen[:, 2] for k in range(2))
    square = (x * line[:, 1] - y * line[:, 0]) ** 2 / np.maximum(x * x + y * y, np.float32(1e-18))
    return np.asarray(lines.share @ np.exp(-0.5 / SIGMA**2 * square.min(2)), np.float64)


def _along(lines: Lines, axes: F64, focal: float) -> tuple[F64, F64, I64]:
    """For sets of axes [m, 3, 3] (columns): the share of the lines along each [m, 3], the weight of
    each line [m, n] and which axis it is nearest to [m, n]."""
    at = lines.ends.mean(1)
    line = lines.ends[:, 1] - lines.ends[:, 0]
    line = line / np.linalg.norm(line, axis=1, keepdims=True)
    seen = lines.rotation @ axes[:, None]
    to = focal * seen[..., :2, :] - at[:, :, None] * seen[..., 2:, :]
    sine = np.abs(to[..., 0, :] * line[:, 1:] - to[..., 1, :] * line[:, :1])
    sine /= np.maximum(np.linalg.norm(to, axis=-2), 1e-9)
    which = sine.argmin(-1)
    weight = lines.share * np.exp(-0.5 * (sine.min(-1) / SIGMA) ** 2)
    share = np.stack([(weight * (which == axis)).sum(-1) for axis in range(3)], -1)
    return share, weight, which


def _fitted(lines: Lines, normal: F64, axes: F64, focal: float) -> F64:
    """Sets of three axes [m, 3, 3] turned so that their lines lie in the planes through them (a few
    reweighted least squares of a small rotation)."""
    for _ in range(4):
        _, weight, which = _along(lines, axes, focal)
        own = np.take_along_axis(axes.transpose(0, 2, 1), which[..., None], 1)
        rows = np.cross(own, normal)
        off = (normal * own).sum(-1)
        weighted = (rows * weight[..., None]).transpose(0, 2, 1)
        system = weighted @ rows + 1e-9 * np.eye(3)
        turn = np.linalg.solve(system, weighted @ off[..., None])[..., 0]
        axes = rotation_exp(-turn) @ axes
    return axes
