"""Preset camera paths, as motions relative to each source frame's own camera.

A preset is a function of how far along its speed curve the path is, s in [0, 1], to a transform
``target_from_source`` of points in OpenCV camera axes and a factor on the focal length. Amount 0
(zoom 1) gives the source back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recam.configs import PathConfig, PathPreset, Speed
from recam.geometry import se3, so3_exp

SPIRAL_TURNS = 2
DEFAULTS: dict[PathPreset, dict[str, float]] = {
    "static": {},
    "stabilise": {"amount": 1.0, "smoothness": 0.7},
    "orbit": {"yaw": 20.0, "pitch": 0.0, "distance": 0.0},
    "arc": {"yaw": 30.0, "pitch": 0.0, "distance": 0.0},
    "dolly": {"distance": 0.2},
    "truck": {"distance": 0.2},
    "pedestal": {"distance": 0.15},
    "pan": {"yaw": 15.0},
    "tilt": {"pitch": 10.0},
    "roll": {"roll": 15.0},
    "zoom": {"zoom": 1.5},
    "dolly-zoom": {"zoom": 1.5, "distance": 0.0},
    "spiral": {"distance": 0.1},
    "handheld": {"distance": 0.006, "yaw": 0.5, "pitch": 0.5, "roll": 0.3},
    "freeze": {"yaw": 30.0, "pitch": 0.0, "distance": 0.0},
}
"""The amounts that each preset uses, and what it does when none is given (see PathConfig)."""

AMOUNTS = ("yaw", "pitch", "roll", "distance", "zoom", "amount", "smoothness")


@dataclass(frozen=True)
class Motion:
    """target_from_source float64 [n, 4, 4] and focal_scale float64 [n]."""

    target_from_source: Tensor
    focal_scale: Tensor


def preset_amounts(config: PathConfig) -> dict[str, float]:
    """What a preset does: the amounts given, else its defaults.

    Naming one amount of a preset sets the others to none (orbit with a pitch orbits up only);
    handheld and stabilise keep their other defaults. Raises ValueError for an amount that it does
    not use.
    """
    defaults = DEFAULTS[config.path]  # type: ignore[index]
    given = {name: value for name in AMOUNTS if (value := getattr(config, name)) is not None}
    for name, value in given.items():
        if name not in defaults:
            uses = " and ".join(defaults) or "none of them"
            raise ValueError(f"the path {config.path} does not use {name}; it uses {uses}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")
        if name in ("zoom", "smoothness") and value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")
        if name == "amount" and not 0 <= value <= 1:
            raise ValueError(f"amount is a share of the shake, 0 to 1; got {value}")
    if config.at_frame is not None and config.path not in {"static", "freeze"}:
        raise ValueError(f"the path {config.path} does not use at_frame; static and freeze do")
    if config.path == "dolly-zoom" and len(given) == 2:
        raise ValueError("a dolly-zoom's zoom follows from its distance: give one of the two")
    if given and config.path not in ("handheld", "stabilise"):
        rest = {name: 1.0 if name == "zoom" else 0.0 for name in defaults}
        return {**rest, **given}
    return {**defaults, **given}


def speed_curve(u: Tensor, speed: Speed) -> Tensor:
    """How far along a path the camera is, in [0, 1], at share u in [0, 1] of its time."""
    match speed:
        case "linear":
            return u
        case "ease":
            return u * u * (3 - 2 * u)
        case "ease-in":
            return u * u
        case "ease-out":
            return 1 - (1 - u) ** 2
        case "there-and-back":
            return 0.5 - 0.5 * torch.cos(2 * math.pi * u)
    raise ValueError(f"unknown speed {speed!r}")


def turn(axis: int, angle_deg: Tensor) -> Tensor:
    """[n, 4, 4] rotations about camera axis 0 (x), 1 (y) or 2 (z) by angles [n]."""
    rotvec = torch.zeros(len(angle_deg), 3, dtype=torch.float64)
    rotvec[:, axis] = torch.deg2rad(angle_deg)
    return se3(so3_exp(rotvec), torch.zeros(len(angle_deg), 3, dtype=torch.float64))


def shift(x: Tensor | float, y: Tensor | float, z: Tensor | float, num: int) -> Tensor:
    """[num, 4, 4] translations of points."""
    parts = [torch.as_tensor(v, dtype=torch.float64).expand(num) for v in (x, y, z)]
    return se3(torch.eye(3, dtype=torch.float64).expand(num, 3, 3), torch.stack(parts, -1))


def orbit(yaw_deg: Tensor, pitch_deg: Tensor, distance: Tensor, focus_depth: float) -> Tensor:
    """target_from_source [n, 4, 4] of a camera that circles the focus and keeps it in the middle.

    +yaw to the right, +pitch up, +distance nearer by that fraction of the focus depth. The horizon
    stays level (Rx·Ry; the reference's Ry·Rx, see ``relative_path``, tips it when both turn).
    """
    n = len(yaw_deg)
    turned = turn(0, pitch_deg) @ turn(1, yaw_deg)
    near = focus_depth * (1 - distance)
    return shift(0, 0, near, n) @ turned @ shift(0, 0, -focus_depth, n)


def motion(config: PathConfig, s: Tensor, seconds: Tensor, focus_depth: float) -> Motion:
    """A moving preset at stages s [n] of its speed curve (handheld: at times seconds [n])."""
    amounts = preset_amounts(config)
    n, one = len(s), torch.ones_like(s)
    reach = amounts.get("distance", 0.0) * focus_depth
    if config.path in {"orbit", "freeze", "arc"} and amounts["distance"] >= 1:
        raise ValueError(f"distance {amounts['distance']:g} reaches the focus; give less than 1")
    match config.path:
        case "orbit" | "freeze":
            return Motion(_orbit_by(amounts, s, focus_depth), one)
        case "arc":  # centred on the source's view: half the way to each side
            half = {**amounts, "yaw": amounts["yaw"] / 2, "pitch": amounts["pitch"] / 2}
            arc = orbit(
                half["yaw"] * (2 * s - 1), half["pitch"] * (2 * s - 1), amounts["distance"] * s,
                focus_depth,
            )  # fmt: skip
            return Motion(arc, one)
        case "dolly":
            return Motion(shift(0, 0, -reach * s, n), one)
        case "truck":
            return Motion(shift(-reach * s, 0, 0, n), one)
        case "pedestal":
            return Motion(shift(0, reach * s, 0, n), one)
        case "pan":
            return Motion(turn(1, -amounts["yaw"] * s), one)
        case "tilt":
            return Motion(turn(0, -amounts["pitch"] * s), one)
        case "roll":
            return Motion(turn(2, -amounts["roll"] * s), one)
        case "zoom":
            return Motion(shift(0, 0, 0, n), amounts["zoom"] ** s)
        case "dolly-zoom":
            return _dolly_zoom(amounts, s, focus_depth)
        case "spiral":
            angle = 2 * math.pi * SPIRAL_TURNS * s
            x, y = reach * s * torch.sin(angle), -reach * s * torch.cos(angle)
            return Motion(aimed(x, y, focus_depth), one)
        case "handheld":
            return Motion(_handheld(amounts, seconds, focus_depth, config.shake_seed), one)
    raise ValueError(f"{config.path!r} is not a moving preset; presets: {', '.join(DEFAULTS)}")


def _orbit_by(amounts: Mapping[str, float], s: Tensor, focus_depth: float) -> Tensor:
    return orbit(amounts["yaw"] * s, amounts["pitch"] * s, amounts["distance"] * s, focus_depth)


def _dolly_zoom(amounts: Mapping[str, float], s: Tensor, focus_depth: float) -> Motion:
    """What stands at the focus keeps its size: the focal length follows the distance to it."""
    factor = amounts["zoom"] ** s if amounts["distance"] == 0 else 1 - amounts["distance"] * s
    if float(factor.min()) <= 0:
        raise ValueError(f"distance {amounts['distance']:g} reaches the focus; give less than 1")
    return Motion(shift(0, 0, focus_depth * (factor - 1), len(s)), factor)


def aimed(x: Tensor, y: Tensor, focus_depth: float) -> Tensor:
    """target_from_source [n, 4, 4] of a level camera at (x, y, 0) that looks at the focus."""
    n = len(x)
    # Turn right by yaw and then up by pitch to face the focus from there.
    yaw = torch.atan2(-x, torch.full_like(x, focus_depth))
    pitch = torch.atan2(y, torch.hypot(x, torch.full_like(x, focus_depth)))
    turned = turn(0, -torch.rad2deg(pitch)) @ turn(1, -torch.rad2deg(yaw))
    return turned @ shift(-x, -y, 0.0, n)


def _handheld(
    amounts: Mapping[str, float], seconds: Tensor, focus_depth: float, seed: int
) -> Tensor:
    """A shake whose standard deviation in each direction is the amount given."""
    shakes = shake(seconds, 6, seed)
    reach = amounts["distance"] * focus_depth
    names = ("pitch", "yaw", "roll")
    turned = [turn(axis, amounts[name] * shakes[axis]) for axis, name in enumerate(names)]
    # Forward shake is small with a camera in the hand.
    moved = shift(reach * shakes[3], reach * shakes[4], 0.3 * reach * shakes[5], len(seconds))
    return turned[2] @ turned[0] @ turned[1] @ moved


def shake(seconds: Tensor, num: int, seed: int) -> Tensor:
    """[num, n] smooth random motions at times [n], of unit standard deviation over a long time.

    Sums of sines from 0.15 to 5 Hz whose amplitude falls with the frequency (1/f), as measured
    hand tremor and sway do: the same at any frame rate, and the same for the same seed.
    """
    generator = torch.Generator().manual_seed(seed)
    count = 24
    # One frequency in each of 24 equal steps of the logarithm, so that none repeats.
    step = torch.arange(count, dtype=torch.float64)
    jitter = torch.rand(num, count, generator=generator, dtype=torch.float64)
    phase = torch.rand(num, count, generator=generator, dtype=torch.float64) * 2 * math.pi
    hertz = 0.15 * (5.0 / 0.15) ** ((step + jitter) / count)
    amplitude = 1 / hertz
    amplitude = amplitude * torch.rsqrt(0.5 * (amplitude**2).sum(1, keepdim=True))
    waves = torch.sin(2 * math.pi * hertz[..., None] * seconds + phase[..., None])
    return (amplitude[..., None] * waves).sum(1)
