"""Where the horizon is, by straight edges, and what that says about depth known up to a shift.

A model's inverse depth of a level ground is linear in the picture, and it ought to vanish on the
horizon. Edges of what people build run upright or level, the level ones mostly along two directions
at right angles; cameras are mostly held level to a few degrees. So every pitch, roll and focal
length can be judged by the edges that it explains; what they leave open stays open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from recam.arrays import F32, F64, I64, U8, Mask
from recam.geometry import DEFAULT_FOV_DEG
from recam.runtime.jit import kernel
from recam.types import Cameras

FOVS_DEG = (20.0, 104.0)
"""Of the longer side, searched in NUM_FOCALS even steps of the focal length's logarithm where
nothing tells it."""
NUM_FOCALS = 16
FOCAL_SPREAD, FOCAL_SURE = 0.5, 0.05
"""Standard deviation of the log of the focal length about the usual one, and about one that the
camera's motion told."""
PITCHES_DEG, PITCH_STEP_DEG = (-36.0, 60.0), 1.5
PITCH_DEG = (8.0, 20.0)
"""Mean and standard deviation of how far cameras look down, roughly."""
ROLLS_DEG, ROLL_SPREAD_DEG = (-3.0, -1.5, 0.0, 1.5, 3.0), 1.5
AZIMUTH_STEP_DEG = 1.5
FRAMES = 3
"""That lines and ground are looked for in."""
NEAR_DEG = 1.8
"""How far an edge may point past where it ought to meet others; less counts more."""
MAX_LINES, MIN_LINES = 150, 12
MIN_LENGTH, MIN_PX = 0.05, 14.0
"""Of a line, as part of the longer side and in px."""
BELIEF = 80.0
"""Nats by which directions that explain all edges are likelier than those that explain none."""
MANY_LINES = 75
"""Fewer lines, counted as if all were of one length, are more easily explained by chance."""


class FocalGuess(NamedTuple):
    """A focal length in px, and how far off it may be: standard deviation of its logarithm."""

    focal_px: float
    spread: float


@dataclass(frozen=True)
class PictureGuess:
    """What single pictures of a clip look like: focal, and of its ``frames`` [k] the inverse depth
    float [k, h, w], at the size of the flows, each with a median of 1."""

    focal: FocalGuess
    frames: I64
    inverse_depth: F32


@dataclass(frozen=True)
class Level:
    """What may be level. down: unit vectors [m, 3] in the middle frame's axes (x right, y down,
    z ahead); focal [m] in px; log_weight [m]: how likely by the edges and by habit; clear: part of
    the edges' length that the best explain beyond what any do, less for few edges."""

    down: F64
    focal: F64
    log_weight: F64
    clear: float

    def log_focal(self) -> tuple[float, float]:
        """Mean and standard deviation of the focal length's logarithm."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        weight /= weight.sum()
        log = np.log(self.focal)
        mean = float((weight * log).sum())
        return mean, math.sqrt(float((weight * (log - mean) ** 2).sum()))


def level_by_lines(
    rgb: U8, cameras: Cameras, still: Mask, focal_sure: bool, guess: FocalGuess | None = None
) -> Level | None:
    """How likely every pitch, roll and focal length is by straight edges that stand still; None
    where there are too few.

    rgb: uint8 [t, h, w, 3]. cameras: t cameras of that size, which do not move through space.
    still: bool [t, h, w]. focal_sure: theirs is the focal length. guess: what is believed of it
    otherwise; None = a usual one.
    """
    ends, share = _lines(rgb, cameras, still, line_frames(cameras, focal_sure))
    if len(ends) < MIN_LINES:
        return None
    side = max(cameras.height, cameras.width)
    if focal_sure:
        middle = float(cameras.intrinsics[len(cameras) // 2, 0, 0])
        focals, spread = middle * np.exp(FOCAL_SURE * np.arange(-2, 3)), FOCAL_SURE
    else:
        middle, spread = guess or FocalGuess(_focal(DEFAULT_FOV_DEG, side), FOCAL_SPREAD)
        focals = np.geomspace(_focal(FOVS_DEG[1], side), _focal(FOVS_DEG[0], side), NUM_FOCALS)
    pitch, roll = np.meshgrid(pitches(), np.radians(ROLLS_DEG), indexing="ij")
    down, ahead, across = axes_of(pitch.ravel(), roll.ravel())
    azimuth = np.radians(np.arange(0, 90, AZIMUTH_STEP_DEG))
    along = ends[:, 1] - ends[:, 0]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    score = _explained(
        ends.mean(1), along, share, focals, down, ahead, across,
        np.stack([np.cos(azimuth), np.sin(azimuth)], 1), math.radians(NEAR_DEG) ** 2,
    )  # fmt: skip
    habit = -0.5 * (np.log(focals / middle) / spread)[:, None] ** 2
    habit = habit - 0.5 * (np.degrees(roll.ravel()) / ROLL_SPREAD_DEG) ** 2
    habit = habit - 0.5 * ((np.degrees(pitch.ravel()) - PITCH_DEG[0]) / PITCH_DEG[1]) ** 2
    weight = (BELIEF * score + habit).ravel()
    many = min(1.0, 1 / float((share**2).sum()) / MANY_LINES)
    clear = math.sqrt(many) * float(score.max() - np.median(score))
    return Level(np.tile(down, (len(focals), 1)), np.repeat(focals, len(down)), weight, clear)


def line_frames(cameras: Cameras, focal_sure: bool) -> list[int]:
    """The middle frame first; others only if it is known how they are turned."""
    t = len(cameras)
    rotation = cameras.cam_from_world[:, :3, :3]
    turns = float((rotation - rotation[:1]).abs().max()) > 1e-3
    others = np.linspace(0, t - 1, FRAMES).round().astype(int).tolist()
    return [t // 2] + [i for i in others if turns and focal_sure and i != t // 2]


def _focal(fov_deg: float, side: int) -> float:
    return 0.5 * side / math.tan(math.radians(fov_deg) / 2)


def pitches() -> F64:
    low, high = PITCHES_DEG
    return np.radians(np.arange(low, high + 1e-6, PITCH_STEP_DEG))


def axes_of(pitch: F64, roll: F64) -> tuple[F64, F64, F64]:
    """Unit vectors [m, 3] down, ahead and across, in axes of cameras that look down by ``pitch``
    and are then turned about their axis by ``roll``."""
    cos = np.cos(pitch)
    down = np.stack([-np.sin(roll) * cos, np.cos(roll) * cos, np.sin(pitch)], -1)
    ahead = np.array([0.0, 0, 1]) - down[:, 2:] * down
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    return down, ahead, np.cross(down, ahead)


def horizon_row(down: F64, focal: F64 | float, k: F64) -> F64:
    """Where the horizon meets the picture's middle column, in px from the top."""
    return np.asarray(k[1, 2] - focal * (k[1, 1] / k[0, 0]) * down[:, 2] / down[:, 1])


def _lines(rgb: U8, cameras: Cameras, still: Mask, frames: list[int]) -> tuple[F64, F64]:
    """Ends [n, 2, 2] of the longest lines, in square px from the principal point of the middle
    frame, into which those of the others are turned; and their shares [n] of the length of all."""
    h, w = rgb.shape[1:3]
    finder = cv2.createLineSegmentDetector()
    every = []
    for i in frames:
        found = finder.detect(cv2.cvtColor(rgb[i], cv2.COLOR_RGB2GRAY))[0]
        if found is None:
            continue
        ends = found.reshape(-1, 2, 2).astype(np.float64) + 0.5
        x, y = ends.mean(1).astype(int).T
        ends = ends[still[i, y.clip(0, h - 1), x.clip(0, w - 1)]]
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        order = np.argsort(-length, kind="stable")[: MAX_LINES // len(frames)]
        order = order[length[order] > max(MIN_LENGTH * max(h, w), MIN_PX)]
        every.append(_turned(ends[order], cameras, i, frames[0]))
    if not every or not sum(len(ends) for ends in every):
        return np.zeros((0, 2, 2)), np.zeros(0)
    ends = np.concatenate(every)
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    share = np.minimum(length, np.quantile(length, 0.9))  # one very long line is not many
    return ends, share / share.sum()


def _turned(ends: F64, cameras: Cameras, i: int, middle: int) -> F64:
    """Ends in px of frame i as square px from the principal point of another."""
    k = cameras.intrinsics[i].numpy()
    pose = cameras.cam_from_world[:, :3, :3].numpy()
    rays = np.concatenate([ends, np.ones((*ends.shape[:2], 1))], -1) @ np.linalg.inv(k).T
    rays = rays @ (pose[middle] @ pose[i].T).T
    rays = rays[(rays[..., 2] > 0.2).all(1)]
    return np.asarray(float(cameras.intrinsics[middle, 0, 0]) * rays[..., :2] / rays[..., 2:])


@kernel
def _explained(
    middle: F64,
    along: F64,
    share: F64,
    focals: F64,
    down: F64,
    ahead: F64,
    across: F64,
    turns: F64,
    near: float,
) -> F64:
    """The share of the lines [f, m] that point up, or along two level directions at right angles,
    of all such directions the best. middle, along [n, 2]: of the lines; down, ahead, across [m, 3];
    turns [a, 2]: cosine and sine of azimuths; near: square of the angle up to which a line fits."""
    out = np.zeros((len(focals), len(down)))
    verticality = np.zeros(len(share))
    for i in range(len(focals)):
        f = focals[i]
        for m in range(len(down)):
            for n in range(len(share)):
                x = f * down[m, 0] - middle[n, 0] * down[m, 2]
                y = f * down[m, 1] - middle[n, 1] * down[m, 2]
                off = x * along[n, 1] - y * along[n, 0]
                off = off * off / ((x * x + y * y + 1e-9) * near)
                verticality[n] = (1 - off) ** 2 if off < 1 else 0.0
            for a in range(len(turns)):
                c, s = turns[a, 0], turns[a, 1]
                total = 0.0
                for n in range(len(share)):
                    fits = verticality[n]
                    for side in range(2):
                        p, q = (c, s) if side == 0 else (-s, c)
                        z = p * ahead[m, 2] + q * across[m, 2]
                        x = f * (p * ahead[m, 0] + q * across[m, 0]) - middle[n, 0] * z
                        y = f * (p * ahead[m, 1] + q * across[m, 1]) - middle[n, 1] * z
                        off = x * along[n, 1] - y * along[n, 0]
                        off = off * off / ((x * x + y * y + 1e-9) * near)
                        if off < 1:
                            fits = max(fits, (1 - off) ** 2)
                    total += share[n] * fits
                out[i, m] = max(out[i, m], total)
    return out
