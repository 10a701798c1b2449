"""Camera motions through a scene, as people film: never inside things, the action in view."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from recam.geometry import intrinsics_from_fov, look_at, se3, so3_exp
from recam.synthetic.render import cast_synthetic
from recam.synthetic.scene import SyntheticScene, world_from_parts
from recam.types import Cameras

CameraKind = Literal["handheld", "orbit", "tripod", "rotation", "dolly"]
CAMERA_KINDS: tuple[CameraKind, ...] = get_args(CameraKind)
CLEARANCE_M = 0.3  # no part comes nearer to a camera than this
_UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
_TRIES = 60


def sample_cameras(
    scene: SyntheticScene,
    seed: int,
    kind: CameraKind,
    num_frames: int,
    height: int,
    width: int,
    fps: float = 24.0,
    fov_x: float | None = None,
) -> Cameras:
    """Cameras [num_frames] that film the scene's stage from time 0 on.

    handheld: drifts with a shaking hand. orbit: on an arc around the stage. tripod: does not move.
    rotation: turns about its own centre. dolly: travels in a straight line.
    fov_x: horizontal field of view in radians; drawn (focal lengths of 20–90 mm on full frame,
    wider where walls leave no room) when left out. Of several tries the first good one is taken:
    CLEARANCE_M from everything at all times, moving things in view and not cut off, nothing large
    right before the lens.
    """
    if kind not in CAMERA_KINDS:
        raise ValueError(
            f"sample_cameras got kind {kind!r}; expected one of {', '.join(CAMERA_KINDS)}"
        )
    rng = np.random.default_rng([13, seed, CAMERA_KINDS.index(kind)])
    times = torch.arange(num_frames, dtype=torch.float64) / fps
    best: tuple[float, Cameras] | None = None
    for _ in range(_TRIES):
        drawn = 2 * math.atan(18 / math.exp(rng.uniform(3.0, 4.5)))
        poses, wide = _path(scene, rng, kind, times, drawn if fov_x is None else fov_x)
        fov = max(drawn, wide) if fov_x is None else fov_x
        k = intrinsics_from_fov(math.degrees(fov), height, width).expand(num_frames, 3, 3)
        cameras = Cameras(poses, k.clone(), height, width)
        if clearance(scene, cameras.centers, times) < CLEARANCE_M:
            continue
        score = _view_score(scene, cameras, times)
        if best is None or score > best[0]:
            best = (score, cameras)
        if score >= 1:
            break
    if best is None:
        raise ValueError(
            f"found no free camera path of kind {kind!r} in scene {scene.seed} ({scene.kind}) in "
            f"{_TRIES} tries; take another seed"
        )
    return best[1]


def clearance(scene: SyntheticScene, centers: Tensor, times_s: Tensor) -> float:
    """The least of ``clearances``."""
    return float(clearances(scene, centers, times_s).min())


def clearances(scene: SyntheticScene, centers: Tensor, times_s: Tensor) -> Tensor:
    """Distance in metres [t] from centers [t, 3] at times_s [t] to the parts' bounding boxes.

    Ellipsoids count as ellipsoids, so that one can stand beside a hill.
    """
    poses = world_from_parts(scene, times_s)
    offset = centers[:, None] - poses[..., :3, 3]
    local = (poses[..., :3, :3].transpose(-1, -2) @ offset[..., None])[..., 0]
    size = torch.tensor([p.size for p in scene.parts], dtype=torch.float64)
    box = (local.abs() - size).clamp(min=0).norm(dim=-1)
    # |q/s| − 1 times the least axis never exceeds the distance to the ellipsoid.
    round_ = ((local / size).norm(dim=-1) - 1) * size.amin(-1)
    is_round = torch.tensor([p.shape in ("ellipsoid", "foliage") for p in scene.parts])
    return torch.where(is_round, torch.maximum(box, round_), box).amin(1)


def _path(
    scene: SyntheticScene,
    rng: np.random.Generator,
    kind: CameraKind,
    times: Tensor,
    fov: float,
) -> tuple[Tensor, float]:
    """One try: cam_from_world [t, 4, 4], and the field of view that takes in the stage."""
    stage = scene.stage
    center = torch.tensor(stage.center, dtype=torch.float64)
    low, high = (torch.tensor(c, dtype=torch.float64) for c in (stage.low, stage.high))
    # As far off as the stage fills the picture, as near as the walls allow.
    distance = stage.radius / math.tan(fov / 2) * rng.uniform(0.7, 1.3) + 0.5
    azimuth, lift = rng.uniform(0, 2 * math.pi), float(rng.uniform(float(low[1]), float(high[1])))
    eye = _around(center, azimuth, distance, lift).clamp(low, high)
    target = center + torch.tensor(rng.normal(0, 0.25, 3)) * stage.radius * 0.5
    target[1] = -rng.uniform(0.5, 1.2)
    s = times / max(float(times[-1]), 1e-6) if len(times) > 1 else torch.zeros_like(times)
    ease = s + rng.uniform(0, 0.15) * torch.sin(2 * math.pi * s)
    seconds = float(times[-1])
    eyes, targets = eye.expand(len(times), 3), target.expand(len(times), 3)
    shake = 0.0
    match kind:
        case "orbit":
            sweep = float(rng.choice([-1, 1])) * min(rng.uniform(0.15, 0.4) * seconds, 1.2)
            flat = math.hypot(float(eye[0] - center[0]), float(eye[2] - center[2]))
            start = math.atan2(float(eye[0] - center[0]), float(eye[2] - center[2]))
            angles = start + sweep * (ease - 0.5)
            rise = float(eye[1]) + rng.uniform(-0.3, 0.3) * (ease - 0.5)
            x, z = center[0] + flat * torch.sin(angles), center[2] + flat * torch.cos(angles)
            eyes = torch.stack([x, rise.expand_as(x), z], -1)
            eyes = torch.minimum(torch.maximum(eyes, low), high)
        case "dolly":
            path = torch.tensor(rng.normal(0, 1, 3)) * torch.tensor([1.0, 0.25, 1.0])
            path = path / path.norm() * min(rng.uniform(0.25, 0.7) * seconds, 2.2)
            eyes = eye + (ease[:, None] - 0.5) * path
            if rng.random() < 0.5:
                targets = targets + (ease[:, None] - 0.5) * path
        case "handheld":
            shake = rng.uniform(0.5, 1.5)
            path = torch.tensor(rng.normal(0, 0.25, 3)) * torch.tensor([1.0, 0.2, 1.0])
            eyes = eye + (ease[:, None] - 0.5) * path * seconds
        case "rotation":
            turn = torch.tensor(rng.normal(0, 1, 3)) * torch.tensor([1.0, 0.3, 1.0])
            turn = turn / turn.norm() * stage.radius * rng.uniform(0.4, 1.0)
            targets = targets + (ease[:, None] - 0.5) * turn
        case "tripod":
            pass
    poses = torch.stack([look_at(e, g, _UP) for e, g in zip(eyes, targets)])
    if shake:
        poses = _shaken(rng, times, 0.006 * shake, 0.012 * shake) @ poses
    away = max(float((eye - center).norm()) - 0.5, 0.3)
    return poses, min(2 * math.atan(0.75 * stage.radius / away), 1.5)


def _around(center: Tensor, azimuth: float, distance: float, y: float) -> Tensor:
    offset = torch.tensor([math.sin(azimuth), 0.0, math.cos(azimuth)], dtype=torch.float64)
    place = center + distance * offset
    place[1] = y
    return place


def _shaken(rng: np.random.Generator, times: Tensor, angle: float, length: float) -> Tensor:
    """A hand's tremor [t, 4, 4]: sums of sines from 0.4 to 6 Hz whose amplitude falls with 1/f."""
    wave = torch.zeros(len(times), 6, dtype=torch.float64)
    for frequency in (0.45, 0.8, 1.4, 2.3, 3.7, 6.0):
        phase = torch.tensor(rng.uniform(0, 2 * math.pi, 6))
        gain = torch.tensor(rng.normal(0, 1, 6)) / (1 + 1.5 * frequency)
        wave += gain * torch.sin(2 * math.pi * frequency * times[:, None] + phase)
    return se3(so3_exp(2 * angle * wave[:, :3]), length * wave[:, 3:])


def _view_score(scene: SyntheticScene, cameras: Cameras, times: Tensor) -> float:
    """1 or more when three moments show moving things and free sight, else less."""
    n = len(cameras)
    index = torch.tensor(sorted({0, n // 2, n - 1}))
    aspect = cameras.width / cameras.height
    small = cameras[index].resized(24, max(8, round(24 * aspect)))
    depth, ids, _, dynamic = cast_synthetic(scene, small, times[index])
    moving = dynamic.float().mean((1, 2))
    near = (depth < 0.9).float().mean((1, 2))
    shown = min(len(ids[i][dynamic[i]].unique()) for i in range(len(index)))
    sky = (ids == 0).float().mean((1, 2))
    border = torch.cat([dynamic[:, 0], dynamic[:, -1], dynamic[:, :, 0], dynamic[:, :, -1]], 1)
    cut = border.float().mean(1)
    enough = float((moving / 0.03).clamp(max=1).min())
    tidy = ((moving < 0.45) & (near < 0.08) & (sky < 0.6) & (cut < 0.08)).float().mean()
    return 0.5 * enough + 0.3 * float(tidy > 0.99) + 0.2 * min(shown, 2) / 2 + 1e-6
