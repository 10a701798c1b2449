"""Does the lens bend straight lines? One radial parameter, told by the tracks of still points.

A pinhole camera that moves or turns explains the tracks of a bent picture only with an error that
grows towards the corners. Tracks are points, so undoing a lens for them costs next to nothing:
cameras, focal length and points are fitted to tracks straightened by a few amounts of bending, and
the cost says which is the right one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from recam.arrays import F64
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    adjust,
    residuals_px,
)
from recam.reconstruct.cameras.motion_model import STATIC, stillness, with_points
from recam.reconstruct.matching.tracks import Tracks, select_tracks
from recam.types import CameraMotion

MIN_BEND = 0.01
"""Below which a lens counts as straight: what the corners move by, as a part of their distance from
the middle."""
MIN_GAIN = 0.03
"""Part of the cost that bending must take away: of twenty rendered pinhole clips it took at most
0.026, of 17 bent ones 0.03 to 0.64 but of one with a long lens (0.017). And at least as large a
part as the bending: a lens that bends much is to be seen clearly."""
INMOST, OUTMOST = -0.14, 0.06
"""Bending that is tried: how far a point at the corners' distance from the middle is moved, as a
part of that. Beyond -4/27 a lens of one parameter shows nothing that far out; and no usual lens
bends outwards by more."""
STEP = 0.02
"""What is tried first."""
MAX_K1, MAX_REFOCUSED = 0.3, 0.6
"""Lenses are not bent more, and the log focal length does not change more, unless what was fitted
is something else: a camera that drives straight ahead tells neither."""
SIGMA_PX = 0.5
MIN_TRACKS = 100


@dataclass(frozen=True)
class Bend:
    """k1 and focal_px (of the straightened picture, as wide as the bent one) of a lens that puts
    the ray (x/z, y/z) at radius r where a pinhole would put (1 + k1 r²) times it.

    shift_px: of the picture's corners. gain: the part of the cost that it takes away.
    """

    k1: float
    focal_px: float
    shift_px: float
    gain: float


def straightened(uv: F64, bend: float, radius: float) -> F64:
    """Where a pinhole camera sees what a lens shows at uv [m, 2] px from the principal point.

    bend: by what part of its distance a point at ``radius`` is moved outwards by the lens. Newton's
    method on r (1 + bend r² / radius²) = r seen.
    """
    seen = np.linalg.norm(uv, axis=1) / radius
    r = seen.copy()
    for _ in range(8):
        r -= (r * (1 + bend * r * r) - seen) / np.maximum(1 + 3 * bend * r * r, 0.1)
    return uv * (r / np.maximum(seen, 1e-12))[:, None]


def find_bend(
    bundle: Bundle, tracks: Tracks, motion: CameraMotion, radius: float, focal_free: bool
) -> Bend | None:
    """The lens that explains tracks better than a pinhole; None where none does, clearly.

    bundle: cameras of all frames, found for a pinhole; tracks: uv_px from the principal point;
    radius: of the picture's corners, px.
    """
    good = select_tracks(tracks, stillness(residuals_px(bundle, tracks), tracks) > STATIC)
    if motion == "static" or len(good) < MIN_TRACKS:
        return None
    fit = _Fits(with_points(bundle, good, motion), good, motion, radius, focal_free)
    best = _least(fit.cost, STEP)
    if best is None:
        return None
    focal = fit.found[best][1].focal
    gain = 1 - fit.cost(best) / fit.cost(0.0)
    found = Bend(best * (focal / radius) ** 2, focal, abs(best) * radius, gain)
    clear = abs(best) > MIN_BEND and gain > max(MIN_GAIN, abs(best))
    likely = abs(found.k1) < MAX_K1 and abs(math.log(focal / bundle.focal)) < MAX_REFOCUSED
    return found if clear and likely else None


def _least(cost: Callable[[float], float], step: float) -> float | None:
    """Where between INMOST and OUTMOST a smooth function is least, from 0 on downhill and then by
    parabolas through three points; None if it is least at one of the two."""
    a, b, c = -step, 0.0, step
    while cost(a) < cost(b):
        a, b, c = max(a - (c - a), INMOST), a, b
        if a == b:
            return None
    while cost(c) < cost(b):
        a, b, c = b, c, min(c + (c - a), OUTMOST)
        if b == c:
            return None
    for _ in range(4):
        below, above = (cost(b) - cost(a)) / (b - a), (cost(c) - cost(b)) / (c - b)
        bent = (above - below) / (c - a)
        if not bent > 0:
            return None
        at = 0.5 * (a + b) - 0.5 * below / bent
        if not a < at < c or abs(at - b) < 0.02 * step:
            break
        a, b, c = (a, at, b) if at < b else (b, at, c)
        if cost(b) > min(cost(a), cost(c)):
            break
    return min((a, b, c), key=cost)


class _Fits:
    """Cameras and points fitted to tracks straightened by some bending, from those fitted before
    to the one most like it."""

    def __init__(
        self, bundle: Bundle, tracks: Tracks, motion: CameraMotion, radius: float, focal_free: bool
    ) -> None:
        self.tracks, self.motion, self.radius = tracks, motion, radius
        moves = motion == "moving"
        self.freedom = Freedom(
            center=moves, depth=moves, focal=focal_free, sigma_px=SIGMA_PX, redescending=False
        )
        self.found: dict[float, tuple[float, Bundle]] = {}
        self.start = bundle

    def cost(self, bend: float) -> float:
        if bend not in self.found:
            nearest = min(self.found, key=lambda b: abs(b - bend), default=None)
            start = self.start if nearest is None else self.found[nearest][1]
            uv = straightened(self.tracks.uv_px, bend, self.radius)
            straight = replace(self.tracks, uv_px=uv)
            # What counts are pixels as seen: straightening makes the corners' errors larger.
            r2 = (uv**2).sum(1) / self.radius**2
            weight = np.abs((1 + 3 * bend * r2) * (1 + bend * r2))
            if nearest is not None:
                start = with_points(start, straight, self.motion)
            bundle, cost = adjust(start, straight, self.freedom, 20, 1e-5, weight)
            self.found[bend] = cost, bundle
        return self.found[bend][0]
