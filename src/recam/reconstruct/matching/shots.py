"""Where a video is not one shot of one picture: cuts, and the black border that some files have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from recam.arrays import U8, Mask
from recam.flow.dense import FlowSet
from recam.reconstruct.matching.tracks import Tracks

CUT_SHARE = 0.1
"""The picture cuts where less than this part of a frame's tracks goes on to the next, …"""
CUT_CONFIDENCE = (0.2, 0.3)
"""… or where the flow's mean confidence is below this, and below this part of the clip's median."""
BLACK = 10
"""Grey levels (of 255) that black borders stay below, in every frame."""
MAX_BORDER = 0.4
"""Part of the height or width that one side's border may take."""


def find_cuts(
    tracks: Tracks, flows: FlowSet, frames: Sequence[int], least: int
) -> list[tuple[int, int]]:
    """Neighbouring frames that hardly a track, or no flow, connects though both show enough.

    frames: those that show enough, in order. least: tracks that must go on at the very least.
    """
    first, last = tracks.frame[tracks.start[:-1]], tracks.frame[tracks.start[1:] - 1]
    seen = np.bincount(tracks.frame, minlength=len(flows))
    confidence = {
        (a, b): float(flows.get(a, b)[1].mean()) for a, b in pairwise(frames) if flows.has(a, b)
    }
    usual = float(np.median(list(confidence.values()))) if confidence else 0.0
    cuts = []
    for a, b in pairwise(frames):
        across = int(((first <= a) & (last >= b)).sum())
        few = across < max(least, CUT_SHARE * min(seen[a], seen[b]))
        lost = confidence.get((a, b), 1.0) < min(CUT_CONFIDENCE[0], CUT_CONFIDENCE[1] * usual)
        if few or lost:
            cuts.append((int(a), int(b)))
    return cuts


def black_border(gray: U8) -> Mask:
    """bool [h, w], True = in a black bar along a side of the picture, in all frames uint8
    [t, h, w]. None where the pictures are black altogether."""
    brightest = gray.max(0)
    h, w = brightest.shape
    out = np.zeros((h, w), bool)
    lit = brightest > BLACK
    if not lit.any():
        return out
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    for index, size, axis in ((rows, h, 0), (columns, w, 1)):
        before, after = int(index[0]), size - 1 - int(index[-1])
        along = np.zeros(size, bool)
        if 2 <= before <= MAX_BORDER * size:
            along[:before] = True
        if 2 <= after <= MAX_BORDER * size:
            along[size - after :] = True
        out |= along[:, None] if axis == 0 else along[None]
    return out
