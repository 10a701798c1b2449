"""Camera paths by name, for Python callers: each gives the PathConfig that the command line builds.

With no amount given a path takes its preset's defaults; naming one sets the others to none.
Angles are in degrees; ``distance`` is a fraction of the depth that the shot is about.
"""

from __future__ import annotations

from recam.configs import PathConfig, Speed


def static(at_frame: int | None = None) -> PathConfig:
    """Hold one frame's camera; by default the most central one."""
    return PathConfig("static", at_frame=at_frame)


def stabilise(amount: float | None = None, smoothness: float | None = None) -> PathConfig:
    """The source's own path without its shake, or with ``amount`` (0 to 1) of it gone; smoothed
    over ``smoothness`` seconds."""
    return PathConfig("stabilise", amount=amount, smoothness=smoothness)


def orbit(
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    distance: float | None = None,
    *,
    focus_depth: float | None = None,
    speed: Speed = "ease",
) -> PathConfig:
    """Circle the subject: +yaw to the right, +pitch up, +distance nearer."""
    return PathConfig(
        "orbit", yaw_deg, pitch_deg, distance=distance, focus_depth=focus_depth, speed=speed
    )


def arc(
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    distance: float | None = None,
    *,
    focus_depth: float | None = None,
    speed: Speed = "ease",
) -> PathConfig:
    """An orbit centred on the source's view."""
    return PathConfig(
        "arc", yaw_deg, pitch_deg, distance=distance, focus_depth=focus_depth, speed=speed
    )


def freeze(
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    distance: float | None = None,
    *,
    at_frame: int | None = None,
    focus_depth: float | None = None,
    speed: Speed = "ease",
) -> PathConfig:
    """Stop time at a frame (the middle one) and circle it."""
    return PathConfig(
        "freeze", yaw_deg, pitch_deg, distance=distance, focus_depth=focus_depth, speed=speed,
        at_frame=at_frame,
    )  # fmt: skip


def dolly(distance: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Move forward."""
    return PathConfig("dolly", distance=distance, speed=speed)


def truck(distance: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Move to the right."""
    return PathConfig("truck", distance=distance, speed=speed)


def pedestal(distance: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Move up."""
    return PathConfig("pedestal", distance=distance, speed=speed)


def pan(yaw_deg: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Turn to the right on the spot."""
    return PathConfig("pan", yaw_deg, speed=speed)


def tilt(pitch_deg: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Turn up on the spot."""
    return PathConfig("tilt", pitch=pitch_deg, speed=speed)


def roll(roll_deg: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Turn clockwise about the line of sight."""
    return PathConfig("roll", roll=roll_deg, speed=speed)


def zoom(factor: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """Lengthen the lens by a factor."""
    return PathConfig("zoom", zoom=factor, speed=speed)


def dolly_zoom(
    factor: float | None = None, distance: float | None = None, *, speed: Speed = "ease"
) -> PathConfig:
    """Zoom while moving so that the subject keeps its size; give one of the two."""
    return PathConfig("dolly-zoom", zoom=factor, distance=distance, speed=speed)


def spiral(distance: float | None = None, *, speed: Speed = "ease") -> PathConfig:
    """A turn about the source's place with a radius of ``distance``."""
    return PathConfig("spiral", distance=distance, speed=speed)


def handheld(
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    roll_deg: float | None = None,
    distance: float | None = None,
    *,
    seed: int = 0,
) -> PathConfig:
    """Shake like a camera in the hand; the amounts are typical sizes."""
    return PathConfig("handheld", yaw_deg, pitch_deg, roll_deg, distance=distance, shake_seed=seed)
