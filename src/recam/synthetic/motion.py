"""How bodies move: closed-form rigid motions, each a function of time alone.

World axes: +x right, +y down, +z away; the ground is the plane y = 0, so up is −y. Lengths are in
metres, times in seconds. A body's own axes are the same with +z its front, its origin where the
motion says. Every motion is exact at any time, before and after the clip too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recam.geometry import (
    quaternion_from_rotation,
    rotation_from_quaternion,
    se3,
    so3_exp,
)

GRAVITY = 9.81


@dataclass(frozen=True)
class Route:
    """A walk over the ground at constant speed: a straight line or a circle.

    x, z, heading: place and direction (radians about +y, 0 = +z, positive towards +x) at time 0.
    speed: metres per second. curvature: radians per metre, positive turns towards +heading.
    y: height of the ground there.
    """

    x: float
    z: float
    heading: float
    speed: float
    curvature: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Still:
    """A body that does not move; world_from_body: float64 [4, 4]."""

    world_from_body: Tensor


@dataclass(frozen=True)
class Follow:
    """A body carried along a route, its origin at body_from... ``mount`` [4, 4] of the carrier.

    The carrier's origin is on the ground. wheel_radius > 0 turns the body about its own x axis as
    a wheel (or ball) of that radius that rolls without slipping.
    """

    route: Route
    mount: Tensor
    wheel_radius: float = 0.0


@dataclass(frozen=True)
class Bounce:
    """A body that flies under gravity and bounces on the ground along a route.

    apex: height of its origin above the rest height ``radius`` at time 0. restitution: speed kept
    at each impact, 1 = for ever the same height. spin: radians per second about its x axis.
    """

    route: Route
    radius: float
    apex: float
    restitution: float
    spin: float
    body_rotation: Tensor


@dataclass(frozen=True)
class Swing:
    """A pendulum: the body's origin is its pivot, it hangs along +y and swings about its x axis.

    amplitude: radians. length: of the equivalent pendulum, metres; gives the period.
    """

    world_from_pivot: Tensor
    amplitude: float
    length: float
    phase: float


@dataclass(frozen=True)
class Spin:
    """A body that turns at a steady rate about its own axis; rate: radians per second [3]."""

    world_from_body: Tensor
    rate: Tensor


@dataclass(frozen=True)
class Hover:
    """A body that drifts about a place: sums of sines in position and small tilts."""

    world_from_body: Tensor
    amplitude: Tensor  # [3] metres
    frequency: Tensor  # [3] radians per second
    phase: Tensor  # [3]
    tilt: float  # radians


Limb = Literal[
    "torso", "head", "thigh_l", "thigh_r", "shin_l", "shin_r", "arm_l", "arm_r", "forearm_l",
    "forearm_r",
]  # fmt: skip


@dataclass(frozen=True)
class Gait:
    """Proportions and style of a walking figure. Lengths in metres, angles in radians."""

    thigh: float
    shin: float
    foot: float
    torso: float
    shoulder_width: float
    hip_width: float
    upper_arm: float
    stride: float
    hip_swing: float
    knee_bend: float
    arm_swing: float
    lean: float
    phase: float


@dataclass(frozen=True)
class Walk:
    """One limb of a figure that walks along a route.

    Limb frames: torso at the pelvis with −y up the spine, head at the neck, the others at their
    upper joint with +y along the limb.
    """

    route: Route
    gait: Gait
    limb: Limb


@dataclass(frozen=True)
class Keyed:
    """A motion given by samples, e.g. from a physics engine: linear in place, slerp in rotation.

    times_s: float64 [k], increasing; world_from_body: float64 [k, 4, 4]. Held outside its range.
    """

    times_s: Tensor
    world_from_body: Tensor


Motion = Still | Follow | Bounce | Swing | Spin | Hover | Walk | Keyed


def world_from_body(motion: Motion, times_s: Tensor) -> Tensor:
    """Poses float64 [t, 4, 4] of a motion at times_s [t]."""
    times = times_s.to(torch.float64).cpu()
    match motion:
        case Still():
            return motion.world_from_body.expand(len(times), 4, 4)
        case Follow():
            pose = _on_route(motion.route, times) @ motion.mount
            if motion.wheel_radius > 0:
                angle = -motion.route.speed / motion.wheel_radius * times
                pose = pose @ _rotate_x(angle)
            return pose
        case Bounce():
            return _bounce(motion, times)
        case Swing():
            rate = math.sqrt(GRAVITY / motion.length)
            angle = motion.amplitude * torch.sin(rate * times + motion.phase)
            return motion.world_from_pivot @ _rotate_x(angle)
        case Spin():
            rotation = so3_exp(times[:, None] * motion.rate)
            return motion.world_from_body @ se3(rotation, torch.zeros_like(rotation[:, 0]))
        case Hover():
            wave = torch.sin(times[:, None] * motion.frequency + motion.phase)
            local = se3(so3_exp(motion.tilt * wave[:, [2, 1, 0]]), motion.amplitude * wave)
            return motion.world_from_body @ local
        case Walk():
            return _walk(motion, times)
        case Keyed():
            return _keyed(motion, times)


def is_moving(motion: Motion) -> bool:
    """Whether a body with this motion is ever anywhere else than at the start."""
    return not isinstance(motion, Still)


def place(x: float, y: float, z: float, yaw: float = 0.0) -> Tensor:
    """float64 [4, 4]: a body at (x, y, z) turned by yaw about +y (0 faces +z)."""
    return se3(_rotation_y(torch.tensor(yaw, dtype=torch.float64)), _vector(x, y, z))


def _vector(x: float, y: float, z: float) -> Tensor:
    return torch.tensor([x, y, z], dtype=torch.float64)


def _rotation_y(angle: Tensor) -> Tensor:
    zero = torch.zeros_like(angle)
    return so3_exp(torch.stack([zero, angle, zero], -1))


def _rotate_x(angle: Tensor) -> Tensor:
    """[t] angles about x as transforms [t, 4, 4]; a positive angle turns +y towards +z."""
    zero = torch.zeros_like(angle)
    rotvec = torch.stack([angle, zero, zero], -1)
    return se3(so3_exp(rotvec), torch.zeros_like(rotvec))


def _translate(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """[t] offsets as transforms [t, 4, 4]."""
    offset = torch.stack(torch.broadcast_tensors(x, y, z), -1)
    return se3(torch.eye(3, dtype=offset.dtype).expand(len(offset), 3, 3), offset)


def _on_route(route: Route, times: Tensor) -> Tensor:
    """Frames [t, 4, 4] on the ground along a route, +z ahead."""
    s = route.speed * times
    heading = route.heading + route.curvature * s
    # The chord of a circular arc: length s·sinc(κs/2), in the direction of the mean heading.
    half = route.curvature * s / 2
    chord = s * torch.sinc(half / math.pi)
    middle = route.heading + half
    x = route.x + chord * torch.sin(middle)
    z = route.z + chord * torch.cos(middle)
    position = torch.stack([x, torch.full_like(x, route.y), z], -1)
    return se3(_rotation_y(heading), position)


def _bounce(motion: Bounce, times: Tensor) -> Tensor:
    """Free flight between impacts; at time 0 the body is at its apex."""
    fall = math.sqrt(2 * motion.apex / GRAVITY)
    e = motion.restitution
    height = motion.apex - 0.5 * GRAVITY * times**2
    speed, start = GRAVITY * fall, fall
    last = float(times.abs().max()) if len(times) else 0.0
    height = torch.where(times.abs() > fall, torch.zeros_like(height), height)
    while start < last and e * speed > 0.05:
        speed *= e
        since = times.abs() - start  # the past mirrors the future, so any time is defined
        flight = 2 * speed / GRAVITY
        airborne = (since > 0) & (since <= flight)
        height = torch.where(airborne, speed * since - 0.5 * GRAVITY * since**2, height)
        start += flight
    up = _translate(torch.zeros_like(height), -(motion.radius + height), torch.zeros_like(height))
    spun = _rotate_x(-motion.spin * times)
    turned = se3(motion.body_rotation, torch.zeros(3, dtype=torch.float64))
    return _on_route(motion.route, times) @ up @ spun @ turned


def _walk(motion: Walk, times: Tensor) -> Tensor:
    """A walking cycle: sinusoidal hips, knees bent in the swing, the lower foot on the ground."""
    gait = motion.gait
    phase = gait.phase + 2 * math.pi * motion.route.speed / gait.stride * times
    angles = {side: _leg_angles(gait, phase + shift) for side, shift in _SIDES.items()}
    reach = [
        gait.thigh * torch.cos(hip) + gait.shin * torch.cos(hip - knee)
        for hip, knee in angles.values()
    ]
    height = torch.maximum(*reach) + gait.foot
    zero = torch.zeros_like(phase)
    pelvis = _on_route(motion.route, times) @ _translate(zero, -height, zero)
    spine = pelvis @ _rotate_x(zero + gait.lean)
    limb, _, side = motion.limb.partition("_")
    if limb == "torso":
        return spine
    if limb == "head":
        return spine @ _translate(zero, zero - gait.torso, zero)
    sign = -1.0 if side == "l" else 1.0
    if limb in ("thigh", "shin"):
        hip, knee = angles[side]
        thigh = pelvis @ _translate(zero + sign * gait.hip_width / 2, zero, zero) @ _rotate_x(hip)
        if limb == "thigh":
            return thigh
        return thigh @ _translate(zero, zero + gait.thigh, zero) @ _rotate_x(-knee)
    swing = -gait.arm_swing * torch.sin(phase + _SIDES[side])
    shoulder = _translate(zero + sign * gait.shoulder_width / 2, zero - 0.93 * gait.torso, zero)
    arm = spine @ shoulder @ _rotate_x(swing)
    if limb == "arm":
        return arm
    bend = 0.35 + 0.5 * (swing + gait.arm_swing)
    return arm @ _translate(zero, zero + gait.upper_arm, zero) @ _rotate_x(bend)


_SIDES = {"l": 0.0, "r": math.pi}


def _leg_angles(gait: Gait, phase: Tensor) -> tuple[Tensor, Tensor]:
    hip = gait.hip_swing * torch.sin(phase)
    # The knee bends most while the leg swings forward (the hip's rate is positive).
    knee = 0.06 + gait.knee_bend * (0.5 + 0.5 * torch.cos(phase + 0.4)) ** 2
    return hip, knee


def _keyed(motion: Keyed, times: Tensor) -> Tensor:
    keys = motion.times_s
    clamped = times.clamp(float(keys[0]), float(keys[-1]))
    if len(keys) == 1:
        return motion.world_from_body.expand(len(times), 4, 4)
    after = torch.searchsorted(keys, clamped).clamp(1, len(keys) - 1)
    w = ((clamped - keys[after - 1]) / (keys[after] - keys[after - 1]))[:, None]
    a, b = motion.world_from_body[after - 1], motion.world_from_body[after]
    qa, qb = quaternion_from_rotation(a[:, :3, :3]), quaternion_from_rotation(b[:, :3, :3])
    cosine = (qa * qb).sum(-1, keepdim=True)
    qb, cosine = torch.where(cosine < 0, -qb, qb), cosine.abs().clamp(max=1.0)
    angle = torch.acos(cosine)
    small = angle < 1e-6
    sine = torch.where(small, torch.ones_like(angle), torch.sin(angle))
    wa = torch.where(small, 1 - w, torch.sin((1 - w) * angle) / sine)
    wb = torch.where(small, w, torch.sin(w * angle) / sine)
    position = (1 - w) * a[:, :3, 3] + w * b[:, :3, 3]
    return se3(rotation_from_quaternion(wa * qa + wb * qb), position)
