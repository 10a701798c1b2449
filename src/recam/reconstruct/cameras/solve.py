"""The cameras of a video: what they did, their poses and focal length, and points that stand still.

Rotation first: a camera that only turns is fitted to point tracks from several focal lengths; from
there rotations, translations, inverse depths and the focal length are optimised together, with
things that move kept out by the robust cost (see ``motion`` and ``bundle``). Few, spread out frames
are solved first, then all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from recam.arrays import F64, I64, U8, Mask
from recam.configs import ReconstructConfig
from recam.flow.dense import FlowSet
from recam.geometry import DEFAULT_FOV_DEG, se3, so3_log
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    adjust,
    inverse_depths,
    residuals_px,
    rotation_exp,
    scaled,
    shifts_px,
    triangulated,
)
from recam.reconstruct.cameras.level_lines import FocalGuess, PictureGuess
from recam.reconstruct.cameras.manhattan_focal import focal_from_right_angles
from recam.reconstruct.cameras.motion_model import (
    FIRM_PRIOR,
    LIGHT_PRIOR,
    STATIC,
    Decision,
    Fit,
    chained_rotations,
    decide,
    fit_moving,
    fit_rotating,
    fit_static,
    focal_from_fov,
    refined,
    start_bundle,
    start_focals,
    stillness,
    unit_depth,
    with_focal,
    with_focal_settled,
    with_points,
)
from recam.reconstruct.cameras.radial_distortion import Bend, find_bend
from recam.reconstruct.cameras.report import (
    MIN_SEEN,
    MIN_TRACKS,
    FocalSource,
    describe_cameras,
    frame_notes,
    turned_deg,
)
from recam.reconstruct.matching.tracks import (
    Tracks,
    compute_tracks,
    cut_tracks,
    select_observations,
    select_tracks,
)
from recam.types import CameraMotion, Cameras, Progress, Video, no_progress

DEFAULTS = ReconstructConfig()
TRACKS_PER_FRAME = 40
"""Tracks that take part in a fit, per frame of it: 300 to 600 are then seen in each frame."""
LONGEST = 120
"""Frames that a track may span in the fit of all frames; longer ones are cut, since memory and time
grow with the longest."""
MIN_PARALLAX_RATIO = 50.0
"""Parallax, in residuals of the tracks, from which on depth is measured. Clips of 20 to 38 have
better predicted than measured depth, those of 72 and more better measured (docs/results/depth.md).
"""
TOO_LITTLE = (
    "it moves too little for depth to be measured; it is taken to turn in place "
    "(--motion moving measures all the same)"
)
MIN_PARALLAX_PX = 4.0
"""Of a moving camera, for its lens to be judged: with less, bending and focal length explain each
other, and pinholes were found to bend by 8 and 14 px at the corners (parallax 2.4 and 2.5)."""


@dataclass(frozen=True)
class CameraSolution:
    """What ``solve_cameras`` found.

    cameras: t cameras at the size of the flows; the first is the world. A moving camera's scale is
        such that the median depth of the points is 1, unless the cameras were given.
    motion: "static", "rotating" or "moving".
    tracks: all point tracks, uv_px at the size of the flows.
    inverse_depth: float64 [m], per observation, 1 / z-depth in that camera; 0 = at infinity. All 1
        if the camera does not move, since nothing is known then.
    still: float64 [n] in [0, 1] per track, how well it fits a point that stands still.
    residual_px: median distance of standing points from where they should be.
    parallax_px: median over standing points of the angle between the rays to them, times focal.
    fov_deg: horizontal field of view. focal_source: who knows it; "nothing" = it is assumed.
    notes: sentences for the user. decision: the numbers behind ``motion``, None if it was forced.
    bend: the lens that explains the tracks clearly better than a pinhole; None if none does, or if
        none was looked for. The cameras here are a pinhole's all the same.
    """

    cameras: Cameras
    motion: CameraMotion
    tracks: Tracks
    inverse_depth: F64
    still: F64
    residual_px: float
    parallax_px: float
    fov_deg: float
    focal_source: FocalSource
    notes: tuple[str, ...] = ()
    decision: Decision | None = None
    bend: Bend | None = None

    @property
    def fov_known(self) -> bool:
        return self.focal_source not in ("network", "nothing")

    def report(self) -> dict[str, Any]:
        """The figures, JSON-able."""
        out: dict[str, Any] = {
            "motion": self.motion,
            "fov_deg": round(self.fov_deg, 2),
            "fov_known": self.fov_known,
            "focal_source": self.focal_source,
            "residual_px": round(self.residual_px, 3),
            "parallax_px": round(self.parallax_px, 2),
            "tracks": len(self.tracks),
            "still": round(float(self.still.mean()), 3) if len(self.still) else 0.0,
        }
        if self.decision is not None:
            out["decision"] = {
                "still_share": round(self.decision.still_share, 3),
                "turning_share": round(self.decision.turning_share, 3),
                "moving_share": round(self.decision.moving_share, 3),
                "noise_px": round(self.decision.noise_px, 3),
            }
        return out


@dataclass(frozen=True)
class _Lens:
    """How pixels of the flows become square ones measured from the principal point, and back.

    intrinsics: [t, 3, 3] for a focal length of ``reference`` px, which scales them.
    """

    intrinsics: F64
    reference: float
    known: bool

    def centred(self, tracks: Tracks) -> Tracks:
        k = self.intrinsics
        focal = np.stack([k[:, 0, 0], k[:, 1, 1]], 1)[tracks.frame]
        middle = k[:, :2, 2][tracks.frame]
        return replace(tracks, uv_px=(tracks.uv_px - middle) * self.reference / focal)

    def with_focal(self, focal: float) -> F64:
        scale = np.array([focal / self.reference, focal / self.reference, 1.0])
        out = self.intrinsics.copy()
        out[:, [0, 1], [0, 1]] *= scale[:2]
        return out


def solve_cameras(
    video: Video,
    flows: FlowSet,
    config: ReconstructConfig = DEFAULTS,
    progress: Progress = no_progress,
    *,
    known_cameras: Cameras | None = None,
    known_intrinsics: Tensor | None = None,
    guess: PictureGuess | None = None,
) -> CameraSolution:
    """Poses and focal length of the camera that filmed ``video``, from its ``flows``.

    The motion is found out unless ``config.motion`` names it, the focal length (one for all frames)
    unless ``config.fov`` or ``known_intrinsics`` ([3, 3] or [t, 3, 3], px of the flows) gives it;
    ``guess`` is what pictures alone say of it (default: a usual one) and of depth.
    Unless ``config.lens`` is "pinhole", it is told whether the lens bends.
    With ``known_cameras`` nothing but the points is worked out. The result does not depend on
    chance. Raises ValueError where the sizes do not fit together.
    """
    lens = _lens(video, flows, config, known_cameras, known_intrinsics)
    # The systems are small: threads that wait for each other cost more than they do, many times
    # more on a busy machine, and how many there are would show in the last digits.
    with threadpool_limits(1, user_api="blas"):
        return _solve_cameras(flows, config, progress, lens, known_cameras, guess)


def _solve_cameras(
    flows: FlowSet,
    config: ReconstructConfig,
    progress: Progress,
    lens: _Lens,
    known_cameras: Cameras | None,
    guess: PictureGuess | None,
) -> CameraSolution:
    tracks = compute_tracks(flows, progress=progress)
    centred = lens.centred(tracks)
    decision: Decision | None = None
    focal_source: FocalSource = "user" if lens.known else "nothing"
    if known_cameras is not None:
        motion, bundle = _given(known_cameras, centred, lens, config)
    elif len(tracks) < MIN_TRACKS or len(flows) < 2:
        motion, bundle = "static", fit_static(centred, len(flows), lens.reference).bundle
    else:
        motion, bundle, decision, focal_source = _solve(
            centred, flows, config, lens, guess, progress
        )
    given = known_cameras is not None
    found = _solution(bundle, motion, decision, focal_source, tracks, centred, lens, flows, given)
    if decision is not None and _moves_too_little(found, config):
        turning = replace(config, motion="rotating")
        motion, bundle, _, focal_source = _solve(centred, flows, turning, lens, guess, progress)
        found = _solution(
            bundle, motion, decision, focal_source, tracks, centred, lens, flows, False
        )
        found = replace(found, notes=(*found.notes, TOO_LITTLE))
    if given or config.lens == "pinhole" or motion == "static":
        return found
    if motion == "moving" and found.parallax_px < MIN_PARALLAX_PX:
        return found  # so little parallax may as well be made by a lens
    bend = _bend(bundle, motion, centred, lens, flows)
    if bend is not None and focal_source == "network":  # a wrong guess may pass for a bend
        motion, bundle, _, _ = _solve(centred, flows, config, lens, None, progress)
        bend = _bend(bundle, motion, centred, lens, flows)
    return replace(found, bend=bend)


def _bend(
    bundle: Bundle, motion: CameraMotion, centred: Tracks, lens: _Lens, flows: FlowSet
) -> Bend | None:
    """Whether the lens bends, by the key frames."""
    keys = _key_frames(centred, len(flows))
    few = _sampled(_on_frames(centred, keys, len(flows)), len(keys))
    start = start_bundle(few, np.ascontiguousarray(bundle.rotation[keys]), bundle.focal)
    start = replace(start, center=bundle.center[keys].copy())
    radius = 0.5 * math.hypot(flows.width, flows.height)
    return find_bend(with_points(start, few, motion), few, motion, radius, not lens.known)


def _lens(
    video: Video,
    flows: FlowSet,
    config: ReconstructConfig,
    known_cameras: Cameras | None,
    known_intrinsics: Tensor | None,
) -> _Lens:
    num, h, w = len(flows), flows.height, flows.width
    if len(video) != num:
        raise ValueError(f"{num} frames of flow for {len(video)} frames of video")
    if known_cameras is not None:
        if len(known_cameras) != num:
            raise ValueError(f"{len(known_cameras)} known cameras for {num} frames")
        known_intrinsics = known_cameras.resized(h, w).intrinsics
    if known_intrinsics is not None:
        if known_intrinsics.shape not in ((3, 3), (num, 3, 3)):
            raise ValueError(
                f"known_intrinsics has shape {list(known_intrinsics.shape)}, "
                f"expected [3, 3] or [{num}, 3, 3]"
            )
        k = known_intrinsics.to(torch.float64).expand(num, 3, 3).numpy().copy()
        return _Lens(k, float(k[0, 0, 0]), True)
    if config.fov is not None:
        reference = focal_from_fov(config.fov, w)
    else:
        reference = focal_from_fov(DEFAULT_FOV_DEG, max(h, w))
    # Pixels of the video are square; those of the flows are only nearly so, after rounding.
    aspect = (h / video.height) / (w / video.width)
    k = np.array([[reference, 0, w / 2], [0, reference * aspect, h / 2], [0, 0, 1]])
    return _Lens(np.tile(k, (num, 1, 1)), reference, config.fov is not None)


def _given(
    cameras: Cameras, centred: Tracks, lens: _Lens, config: ReconstructConfig
) -> tuple[CameraMotion, Bundle]:
    """Points seen by known cameras; what those did is told by how much parallax they have."""
    pose = cameras.cam_from_world.numpy()
    bundle = start_bundle(centred, np.ascontiguousarray(pose[:, :3, :3]), lens.reference)
    bundle = replace(bundle, center=cameras.centers.numpy().copy())
    bundle = triangulated(bundle, centred)
    if config.motion != "auto":
        return config.motion, bundle
    if _parallax_px(bundle, centred, np.ones(len(centred))) > 1.0:
        return "moving", bundle
    turned = float(turned_deg(bundle.rotation).max())
    return ("rotating" if turned > 0.02 else "static"), bundle


def _solve(
    centred: Tracks,
    flows: FlowSet,
    config: ReconstructConfig,
    lens: _Lens,
    guess: PictureGuess | None,
    progress: Progress,
) -> tuple[CameraMotion, Bundle, Decision | None, FocalSource]:
    """CameraMotion, cameras of all frames, the numbers behind, and who tells the focal length."""
    num = len(flows)
    keys = _key_frames(centred, num)
    few = _sampled(_on_frames(centred, keys, num), len(keys))
    focals = [lens.reference] if lens.known else start_focals(max(flows.height, flows.width))
    focal_guess = None if guess is None else guess.focal
    usual = None if lens.known else focal_guess.focal_px if focal_guess else lens.reference
    requested = config.motion
    auto = requested == "auto"
    relief = None
    if guess is not None and config.rules.guessed_relief:
        relief = _guessed(guess, few, keys, lens)
    fits: dict[str, Fit] = {}
    chained = cache(partial(chained_rotations, few, len(keys)))
    if auto or requested == "static":
        fits["static"] = fit_static(few, len(keys), lens.reference)
    progress("cameras", 1, 4)
    if auto or requested == "rotating":
        fits["rotating"] = fit_rotating(few, chained, focals, usual)
    progress("cameras", 2, 4)
    if auto or requested == "moving":
        restarts = config.rules.relief_restarts and relief is None
        fits["moving"] = fit_moving(few, chained, focals, usual, restarts, relief)
    progress("cameras", 3, 4)
    decision, motion = None, requested
    if motion == "auto":
        decision = decide(few, fits["static"], fits["rotating"], fits["moving"])
        motion = decision.motion
    fit = fits[motion]
    focal_source: FocalSource = "user"
    if usual is not None:
        gray = flows.gray.numpy()[keys] if config.rules.manhattan_focal else None
        fit, focal_source = _focal_settled(fit, few, motion, usual, gray, lens, keys, focal_guess)
    if motion == "static":
        bundle = start_bundle(centred, np.tile(np.eye(3), (num, 1, 1)), fit.bundle.focal)
    else:
        usual = None if focal_source == "lines" else usual
        known = focal_source not in ("network", "nothing")
        bundle = _all_frames(fit, keys, centred, num, motion, usual, known)
    progress("cameras", 4, 4)
    return motion, bundle, decision, focal_source


def _focal_settled(
    fit: Fit,
    tracks: Tracks,
    motion: CameraMotion,
    usual: float,
    gray: U8 | None,
    lens: _Lens,
    keys: I64,
    guess: FocalGuess | None,
) -> tuple[Fit, FocalSource]:
    """The key frames' fit with the focal length that the motion tells; or else lines at right
    angles in their pictures gray [k, h, w]; or else near the usual one, which is the guess's."""
    known = False
    if motion != "static":
        fit, known = with_focal_settled(fit, tracks, motion, usual)
    if known:
        return fit, "motion"
    told = None
    if gray is not None:
        rotvec = so3_log(torch.from_numpy(fit.bundle.rotation)).numpy()
        told = focal_from_right_angles(gray, lens.intrinsics[keys], rotvec, fit.bundle.focal, guess)
    if told is not None and motion != "static":
        other = with_focal(fit, tracks, motion, told.focal_px)
        if other is not None:
            return other, "lines"
    if motion == "static":
        focal = usual if told is None else told.focal_px
        fit = replace(fit, bundle=replace(fit.bundle, focal=focal))
        if told is not None:
            return fit, "lines"
    return fit, "nothing" if guess is None else "network"


def _guessed(guess: PictureGuess, tracks: Tracks, keys: I64, lens: _Lens) -> F64:
    """Inverse depth [n] of the points by the guess, where a frame of it shows them; else 1."""
    number = np.full(len(lens.intrinsics), -1)
    number[guess.frames] = np.arange(len(guess.frames))
    at = number[keys[tracks.frame]]
    k = lens.intrinsics[0]
    uv = tracks.uv_px * k[[0, 1], [0, 1]] / lens.reference + k[:2, 2]
    h, w = guess.inverse_depth.shape[1:]
    x, y = np.clip(uv.astype(np.int64), 0, [w - 1, h - 1]).T
    own = np.where(at >= 0, guess.inverse_depth[at, y, x], 0.0)
    count = np.bincount(tracks.track, at >= 0, len(tracks))
    total = np.bincount(tracks.track, own, len(tracks))
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def _key_frames(tracks: Tracks, num_frames: int) -> I64:
    """About every eighth of a usual track's length, at least 20 of the clip; first and last too."""
    length = np.diff(tracks.start)
    usual = float(np.median(np.repeat(length, length)))
    stride = int(np.clip(round(usual / 8), 1, max(1, num_frames // 20)))
    keys = np.arange(0, num_frames, stride)
    return keys if keys[-1] == num_frames - 1 else np.append(keys, num_frames - 1)


def _on_frames(tracks: Tracks, keys: I64, num_frames: int) -> Tracks:
    """Tracks as seen by the key frames only, renumbered."""
    number = np.full(num_frames, -1)
    number[keys] = np.arange(len(keys))
    seen, _ = select_observations(tracks, number[tracks.frame] >= 0, min(3, len(keys)))
    return replace(seen, frame=number[seen.frame])


def _sampled(tracks: Tracks, num_frames: int) -> Tracks:
    """TRACKS_PER_FRAME of the tracks, long ones more likely (Efraimidis and Spirakis 2006)."""
    num = min(max(TRACKS_PER_FRAME * num_frames, 600), 8000)
    if len(tracks) <= num:
        return tracks
    chance = np.random.default_rng(0).random(len(tracks)) ** (1 / np.diff(tracks.start))
    keep = np.zeros(len(tracks), bool)
    keep[np.argsort(-chance, kind="stable")[:num]] = True
    return select_tracks(tracks, keep)


def _all_frames(
    fit: Fit,
    keys: I64,
    centred: Tracks,
    num: int,
    motion: CameraMotion,
    usual: float | None,
    fov_known: bool,
) -> Bundle:
    """From the key frames' cameras to those of all frames, optimised together."""
    many = cut_tracks(_sampled(centred, num), LONGEST)
    moves = motion == "moving"
    rotation, center = _between_keys(fit.bundle, keys, many, num)
    bundle = replace(start_bundle(many, rotation, fit.bundle.focal), center=center)
    if moves:
        bundle = unit_depth(triangulated(bundle, many))
    freedom = Freedom(center=moves, depth=moves, focal=False, sigma_px=4.0, redescending=False)
    bundle = adjust(bundle, many, freedom, 8)[0]
    begun = refined(bundle, many, motion, usual, 0.0, sigma_px=2.0, iterations=10).bundle
    bundle = refined(begun, many, motion, usual, 0.0, iterations=20).bundle
    good = select_tracks(many, stillness(residuals_px(bundle, many), many) > STATIC)
    bundle = with_points(bundle, good, motion)
    begun_cost = refined(bundle, good, motion, None, 0.0, 0.5, False, iterations=3).cost
    prior = (LIGHT_PRIOR if fov_known else FIRM_PRIOR) * begun_cost
    return refined(bundle, good, motion, usual, prior, 0.5, False).bundle


def _between_keys(bundle: Bundle, keys: NDArray, tracks: Tracks, num: int) -> tuple[F64, F64]:
    """Rotations [t, 3, 3] and centres [t, 3] of all frames.

    Rotations chained from frame to frame know the shakes between two keys; how far they are off at
    the keys is taken out evenly in between.
    """
    chain = chained_rotations(tracks, num, bundle.focal)
    off = np.einsum("kij,klj->kil", bundle.rotation, chain[keys])
    rotation = np.empty((num, 3, 3))
    for a, b, first, second in zip(keys[:-1], keys[1:], off[:-1], off[1:]):
        turn = so3_log(torch.from_numpy(second @ first.T)).numpy()
        part = np.linspace(0, 1, b - a + 1)[:, None]
        rotation[a : b + 1] = rotation_exp(part * turn) @ first @ chain[a : b + 1]
    if len(keys) == 1:
        rotation[:] = chain
    every = np.arange(num)
    center = np.stack([np.interp(every, keys, bundle.center[:, i]) for i in range(3)], 1)
    return rotation, center


def _solution(
    bundle: Bundle,
    motion: CameraMotion,
    decision: Decision | None,
    focal_source: FocalSource,
    tracks: Tracks,
    centred: Tracks,
    lens: _Lens,
    flows: FlowSet,
    given: bool,
) -> CameraSolution:
    """All tracks fitted to the cameras, the scale set, and what it means for the user."""
    seen = np.bincount(centred.frame, minlength=len(flows))
    blind = (seen < MIN_SEEN) & (len(flows) > 1)
    if not given:
        bundle = _bridged(bundle, blind)
    points = with_points(bundle, centred, motion)
    residual = residuals_px(points, centred)
    still = stillness(residual, centred)
    inverse_depth = np.ones(len(centred.frame))
    static = still[centred.track] > STATIC
    residual_px = float(np.median(residual[static])) if static.any() else 0.0
    if motion == "moving":
        if not given:
            points = _unit_scale(points, centred, static)
        inverse_depth = inverse_depths(points, centred)
    intrinsics = lens.with_focal(points.focal)
    pose = se3(torch.from_numpy(points.rotation), torch.zeros(len(flows), 3, dtype=torch.float64))
    pose[:, :3, 3] = -(pose[:, :3, :3] @ torch.from_numpy(points.center)[..., None])[..., 0]
    cameras = Cameras(pose, torch.from_numpy(intrinsics), flows.height, flows.width)
    fov_deg = math.degrees(2 * math.atan(0.5 * flows.width / intrinsics[0, 0, 0]))
    about = describe_cameras(motion, points, fov_deg, focal_source, still)
    return CameraSolution(
        cameras, motion, tracks, inverse_depth, still, residual_px,
        _parallax_px(points, centred, still), fov_deg, focal_source,
        () if given else (*about, *frame_notes(centred, flows, blind)), decision,
    )  # fmt: skip


def _moves_too_little(found: CameraSolution, config: ReconstructConfig) -> bool:
    """Whether the camera moves, but by so little that predicted depth is the better one."""
    least = MIN_PARALLAX_RATIO * found.residual_px
    return config.rules.short_baselines and found.motion == "moving" and found.parallax_px < least


def _unit_scale(points: Bundle, tracks: Tracks, static: Mask) -> Bundle:
    """Scaled so that the median depth of what stands still is 1 (its mean inverse, if far away)."""
    rho = inverse_depths(points, tracks)[static]
    if not len(rho):
        return points
    middle = float(np.median(rho))
    if middle < 1e-3 * float(rho.mean()):
        middle = float(rho.mean())
    return scaled(points, middle) if middle > 1e-12 else points


def _parallax_px(points: Bundle, tracks: Tracks, still: F64) -> float:
    """Median over standing tracks of the largest displacement that translation gives them."""
    if not (still > STATIC).any():
        return 0.0
    largest = np.maximum.reduceat(shifts_px(points, tracks), tracks.start[:-1])
    return float(np.median(largest[still > STATIC]))


def _bridged(bundle: Bundle, blind: Mask) -> Bundle:
    """Frames that are ``blind`` [t] get the cameras between their neighbours'."""
    if not blind.any() or blind.all():
        return bundle
    keys, every = np.flatnonzero(~blind), np.arange(len(blind))
    center = np.stack([np.interp(every, keys, bundle.center[keys, i]) for i in range(3)], 1)
    rotation = bundle.rotation.copy()
    for i in np.flatnonzero(blind):
        before, after = keys[keys < i], keys[keys > i]
        a = before[-1] if len(before) else after[0]
        b = after[0] if len(after) else before[-1]
        turn = so3_log(torch.from_numpy(bundle.rotation[b] @ bundle.rotation[a].T)).numpy()
        part = (i - a) / (b - a) if b > a else 0.0
        rotation[i] = rotation_exp(part * turn[None])[0] @ bundle.rotation[a]
    # The first camera is the world, also where it is one of these. Points are fitted anew later.
    return replace(
        bundle,
        rotation=rotation @ rotation[0].T,
        center=(center - center[0]) @ rotation[0].T,
    )
