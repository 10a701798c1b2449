"""Three-line orbit files: CogNVS, TrajectoryCrafter and ViewCrafter write the same three lines of
numbers and mean different things by them.

| line | CogNVS | TrajectoryCrafter | ViewCrafter |
| --- | --- | --- | --- |
| 1 | φ, + orbits right | θ, + orbits up | φ, + orbits right |
| 2 | θ, + orbits up | φ, + orbits right | θ, **−** orbits up |
| 3 | r, + forward | r, + forward | r, **−** forward |

Angles are degrees; r is a fraction of the orbit's radius, which is the focus depth here. All are
relative to each source frame's own camera. (TrajectoryCrafter caps the radius at 5 of its own depth
units, which mean nothing here; its one-line target pose θ φ r x y is read as well.)
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, OrbitConvention, OrbitKeys
from recam.camera_files.checks import numbers, read_text, write_text
from recam.geometry import interpolate_values, se3, se3_inverse, so3_exp
from recam.types import Cameras

VIEWCRAFTER_ELEVATION_DEG = 5.0
"""Tilt of ViewCrafter's orbit axis: its --elevation, which the file does not hold, by default."""


def read_orbit(path: Path, convention: OrbitConvention) -> CameraFile:
    """An orbit file of a named convention. Raises ValueError when it does not have its lines."""
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    zero = torch.zeros(2, dtype=torch.float64)
    rows = [
        torch.tensor(numbers(line, path, f"line {i + 1}"), dtype=torch.float64)
        for i, line in enumerate(lines)
    ]
    if convention == "trajectorycrafter" and len(rows) == 1 and len(rows[0]) == 5:
        theta, phi, r, x, y = (torch.stack([v * 0, v]) for v in rows[0])
        return _orbit_file(OrbitKeys(convention, phi, theta, r, x, y))
    expected = "θ, φ, r" if convention == "trajectorycrafter" else "φ, θ, r"
    if len(rows) != 3:
        raise ValueError(
            f"{path}: {len(rows)} lines of numbers; a {convention} path has three ({expected})"
        )
    for i, row in enumerate(rows):
        if len(row) < 2 or not bool(torch.isfinite(row).all()):
            raise ValueError(
                f"{path}: line {i + 1} of a {convention} path ({expected}) needs two or more "
                f"finite numbers, got {row.tolist()}"
            )
    phi, theta = (rows[1], rows[0]) if convention == "trajectorycrafter" else (rows[0], rows[1])
    return _orbit_file(OrbitKeys(convention, phi, theta, rows[2], zero, zero))


def _orbit_file(orbit: OrbitKeys) -> CameraFile:
    notes: tuple[str, ...] = ()
    if max(len(orbit.phi_deg), len(orbit.theta_deg), len(orbit.r)) > 3:
        notes = (
            "the path passes through its keys; the original program smooths files of more than "
            "three keys and misses them",
        )
    return CameraFile(orbit.convention, designed=True, orbit=orbit, notes=notes)


def spread_keys(keys: Tensor, num_frames: int) -> Tensor:
    """Values [num_frames] of keys [k] spread evenly over a clip: straight lines between up to
    three keys, as the original programs do, a smooth curve through more."""
    at = torch.linspace(0, 1, len(keys), dtype=torch.float64)
    query = torch.linspace(0, 1, num_frames, dtype=torch.float64)
    if len(keys) > 3:
        return interpolate_values(at, keys[:, None], query)[:, 0]
    piece = torch.searchsorted(at, query, right=True).clamp(1, len(keys) - 1) - 1
    share = (query - at[piece]) / (at[piece + 1] - at[piece])
    return torch.lerp(keys[piece], keys[piece + 1], share)


def _shift(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """[n, 4, 4] translations."""
    eye = torch.eye(3, dtype=torch.float64).expand(len(z), 3, 3)
    return se3(eye, torch.stack([x.expand_as(z), y.expand_as(z), z], -1))


def _turn(theta_deg: Tensor, phi_deg: Tensor) -> Tensor:
    """Ry(φ)·Rx(θ) [n, 3, 3]."""
    zero = torch.zeros_like(phi_deg)
    about_y = so3_exp(torch.stack([zero, torch.deg2rad(phi_deg), zero], -1))
    return about_y @ so3_exp(torch.stack([torch.deg2rad(theta_deg), zero, zero], -1))


def _viewcrafter_world(radius: float) -> Tensor:
    """world_from_cam [4, 4] of ViewCrafter's first camera: origin in the focus, y up, z back."""
    e = torch.deg2rad(torch.tensor(VIEWCRAFTER_ELEVATION_DEG, dtype=torch.float64))
    c, s = float(e.cos()), float(e.sin())
    rotation = torch.tensor([[1, 0, 0], [0, -c, -s], [0, s, -c]], dtype=torch.float64)
    return se3(rotation, torch.tensor([0, s * radius, c * radius], dtype=torch.float64))


def orbit_transforms(
    convention: OrbitConvention,
    phi_deg: Tensor,
    theta_deg: Tensor,
    r: Tensor,
    focus_depth: float,
    x: Tensor | None = None,
    y: Tensor | None = None,
) -> Tensor:
    """target_from_source [n, 4, 4] of orbit values [n], in the convention's own signs.

    focus_depth R is the radius. CogNVS and TrajectoryCrafter apply
    T = Tz(R)·Ry(φ)·Rx(θ)·Txyz(−x, y, −(1 + r)R) to points in OpenCV camera axes; TrajectoryCrafter
    then takes the first frame of the path for the source's camera.
    """
    phi_deg, theta_deg, r = (v.to(torch.float64) for v in (phi_deg, theta_deg, r))
    radius, zero = torch.full_like(r, focus_depth), torch.zeros_like(r)
    rotation = se3(_turn(theta_deg, phi_deg), torch.zeros(len(r), 3, dtype=torch.float64))
    if convention == "viewcrafter":
        world_from_cam = _viewcrafter_world(focus_depth)
        moved = rotation @ _shift(zero, zero, r * world_from_cam[2, 3]) @ world_from_cam
        return se3_inverse(moved) @ world_from_cam
    x, y = zero if x is None else x, zero if y is None else y
    back = _shift(-x, y, -(radius + r * focus_depth))
    transform = _shift(zero, zero, radius) @ rotation @ back
    if convention == "trajectorycrafter":
        transform = transform @ se3_inverse(transform[:1])
    return transform


def write_orbit(
    path: Path,
    convention: OrbitConvention,
    cameras: Cameras,
    source: Cameras,
    focus_depth: float,
) -> None:
    """Write the orbit that takes the source's cameras to these, one key per frame.

    Raises ValueError when the motion is not an orbit of this convention, so the file could not
    hold it.
    """
    if len(source) != len(cameras):
        raise ValueError(f"{len(cameras)} cameras but {len(source)} source cameras; give as many")
    if convention == "viewcrafter" and len(cameras) > 25:
        raise ValueError(
            f"a viewcrafter path has at most 25 values a line, got {len(cameras)} cameras; "
            "give every k-th camera and source camera"
        )
    transform = cameras.cam_from_world @ se3_inverse(source.cam_from_world)
    if convention == "viewcrafter":
        world = _viewcrafter_world(focus_depth)
        moved = world @ se3_inverse(transform) @ se3_inverse(world)
        turn = moved[:, :3, :3]
        r = (turn[:, :, 2] * moved[:, :3, 3]).sum(1) / float(world[2, 3])
    else:
        turn = transform[:, :3, :3]
        pivot = torch.tensor([0, 0, focus_depth], dtype=torch.float64)
        reach = (turn[:, :, 2] * (pivot - transform[:, :3, 3])).sum(1)
        r = reach / focus_depth - 1
    phi = torch.rad2deg(torch.atan2(-turn[:, 2, 0], turn[:, 0, 0]))
    theta = torch.rad2deg(torch.atan2(-turn[:, 1, 2], turn[:, 1, 1]))
    again = orbit_transforms(convention, phi, theta, r, focus_depth)
    scale = torch.tensor([1, 1, 1, 1 / focus_depth], dtype=torch.float64)
    if float(((again - transform) * scale).abs().max()) > 1e-4:
        raise ValueError(
            f"these cameras do not orbit the source's at focus depth {focus_depth:g}, which is all "
            f"that a {convention} path can say; write another format (recam, nerfstudio, colmap)"
        )
    rows = [theta, phi, r] if convention == "trajectorycrafter" else [phi, theta, r]
    write_text(path, "\n".join(" ".join(f"{float(v):.10g}" for v in row) for row in rows) + "\n")
