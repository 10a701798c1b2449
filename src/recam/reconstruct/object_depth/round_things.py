"""Balls: of what flies fast and turns, flow says nothing, but its outline tells all.

A round region is followed from frame to frame by place, size and brightness. It is one thing,
however its points seem to move, and comes nearer as its outline grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from recam.arrays import F64, I32, I64, U8, Mask
from recam.reconstruct.object_depth.scale_change import MIN_PIXELS

LONGEST, FULL = 1.3, 0.96
"""A round region is so many times as long as wide at most, and fills this part of an ellipse."""
MIN_FRAMES, MISSED = 4, 3
"""Frames in which a thing is seen to be round at least, and frames between them at most."""
SAME_SIZE, SAME_GREY = 1.3, 20.0
"""Ratio of sizes and difference of mean grey, from one frame to the next, up to which two regions
may be of one thing."""


@dataclass(frozen=True)
class _Seen:
    """A round region of a frame: its pixels (rows, columns), its middle and width, px, and its mean
    grey."""

    frame: int
    pixels: tuple[I64, I64]
    at: F64
    size: float
    grey: float


def follow_round(label: I32, gray: U8) -> tuple[I32, dict[int, F64]]:
    """``label`` int32 [t, h, w] (0 = still) in which each round thing has a number of its own in
    the frames that show it round; and the log of its width, px, in each of these [k].
    gray: uint8 [t, h, w]."""
    tracks: list[list[_Seen]] = []
    for i in range(len(label)):
        _go_on(tracks, _round_regions(label[i], gray[i], i))
    out, log_size, number = label.copy(), {}, int(label.max(initial=0))
    for track in tracks:
        if len(track) < MIN_FRAMES:
            continue
        number += 1
        for one in track:
            out[one.frame][one.pixels] = number
        log_size[number] = np.log([one.size for one in track])
    return out, log_size


def _go_on(tracks: list[list[_Seen]], found: list[_Seen]) -> None:
    """Add what a frame shows to the tracks that it fits best, or as new ones."""
    unlike = np.array([[_unlike(track, one) for track in tracks] for one in found])
    unlike = unlike.reshape(len(found), len(tracks))
    best = dict(zip(*linear_sum_assignment(np.minimum(unlike, 1))))
    for m, one in enumerate(found):
        if m in best and unlike[m, best[m]] < 1:
            tracks[best[m]].append(one)
        else:
            tracks.append([one])


def _unlike(track: list[_Seen], now: _Seen) -> float:
    """Up to 1 for what may be the same thing: how far it is, of how far it may be."""
    last = track[-1]
    later = now.frame - last.frame
    ratio = max(last.size, now.size) / min(last.size, now.size)
    if later > MISSED or ratio > SAME_SIZE or abs(last.grey - now.grey) > SAME_GREY:
        return math.inf
    moved = last.size  # nothing is known of its motion yet
    if len(track) > 1:
        moved = float(np.hypot(*(last.at - track[-2].at))) / (last.frame - track[-2].frame)
    return float(np.hypot(*(now.at - last.at))) / (last.size + moved * later)


def _round_regions(label: I32, gray: U8, frame: int) -> list[_Seen]:
    """The round ones of the connected regions [h, w], and of the labels inside of the others."""
    out = []
    num, piece = cv2.connectedComponents((label > 0).astype(np.uint8), connectivity=4)
    for k in range(1, num):
        region = piece == k
        one = _if_round(region, gray, frame)
        if one is not None:
            out.append(one)
            continue
        inside = [_if_round(region & (label == n), gray, frame) for n in np.unique(label[region])]
        out += [one for one in inside if one is not None]
    return out


def _if_round(region: Mask, gray: U8, frame: int) -> _Seen | None:
    """A region [h, w] that is an ellipse nearly as wide as high, not cut by the border."""
    y, x = np.nonzero(region)
    h, w = region.shape
    if len(y) < MIN_PIXELS or min(x.min(), y.min(), w - 1 - x.max(), h - 1 - y.max()) < 2:
        return None
    small, large = np.sqrt(np.linalg.eigvalsh(np.cov(x, y)))
    if large > LONGEST * small or len(y) < FULL * 4 * math.pi * small * large:
        return None
    middle = np.array([x.mean(), y.mean()])
    return _Seen(frame, (y, x), middle, 4 * float(small), float(gray[y, x].mean()))
