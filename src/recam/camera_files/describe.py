"""What a camera file says, in one sentence of plain words, and what is odd about its motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, Keyframes, OrbitKeys
from recam.geometry import se3_inverse, so3_exp, so3_log

_JUMP = 10.0
"""Times the usual step between frames that count as a jump, …"""
_ALONE = 4.0
"""… if it is also so many times those before and after it."""
_MIN_CAMERAS = 5
_MIN_TURN_DEG = 3.0
_STILL = 1e-9
_BY_SIZE = {"chan", "realitycapture", "realitycapture-xmp", "re10k"}
"""Formats whose intrinsics are relative to a picture that only the video tells."""


def described(file: CameraFile) -> str:
    """One sentence: how many cameras, how far and which way they go, and relative to what."""
    if file.orbit is not None:
        return _of_orbit(file.orbit)
    if file.keyframes is not None:
        return _of_keyframes(file.keyframes)
    count = f"{len(file)} camera{'s' if len(file) != 1 else ''}"
    return f"{count} ({file.format}{_lens_words(file)}): {_motion_words(file)}; {_world(file)}."


def _lens_words(file: CameraFile) -> str:
    if file.lens == "equirectangular":
        return ", whole sphere"
    if file.intrinsics is None and file.format in _BY_SIZE:
        return ", field of view by the picture's size"
    if file.intrinsics is None or file.width is None or file.height is None:
        return ", no intrinsics: give --fov"
    fov = math.degrees(2 * math.atan(0.5 * file.width / float(file.intrinsics[0, 0, 0])))
    lens = {"fisheye": ", fisheye"}.get(file.lens, "")
    bent = ", with lens distortion" if file.distortion is not None and not lens else ""
    return f", {file.width}×{file.height}, {fov:.1f}° wide{lens}{bent}"


def _world(file: CameraFile) -> str:
    unit = "in metres" if file.metric else "in units of its own"
    if file.relative_to_first:
        return f"{unit}, relative to its first camera"
    return f"{unit}, in the file's own world"


def _motion_words(file: CameraFile) -> str:
    """The way of the last camera as the first one sees it."""
    poses = file.cam_from_world
    assert poses is not None
    world_from_cam = se3_inverse(poses)
    center = world_from_cam[:, :3, 3]
    length = float((center[1:] - center[:-1]).norm(dim=1).sum())
    move = poses[0] @ world_from_cam[-1]
    turn = math.degrees(float(so3_log(move[:3, :3]).norm()))
    if length < _STILL and turn < 1e-6 and len(file) > 1:
        return "all at one place, looking one way"
    if len(file) == 1:
        return "one place"
    directions = (("right", "left"), ("down", "up"), ("forward", "back"))
    shift = [
        f"{abs(float(v)):.3g} {names[float(v) < 0]}"
        for v, names in zip(move[:3, 3], directions)
        if abs(float(v)) > 0.02 * max(length, _STILL)
    ]
    words = f"the camera travels {length:.3g} in all"
    words += f", from the first to the last {', '.join(shift)}" if shift else ", back to its start"
    return words + _turn_words(move[:3, :3], turn)


def _turn_words(rotation: Tensor, turn_deg: float) -> str:
    if turn_deg < 0.5:
        return ", without turning"
    forward = rotation[:, 2]
    yaw = math.degrees(math.atan2(float(forward[0]), float(forward[2])))
    pitch = math.degrees(math.asin(max(-1.0, min(1.0, -float(forward[1])))))
    level = so3_exp(rotation.new_tensor([0.0, math.radians(yaw), 0.0]))
    level = level @ so3_exp(rotation.new_tensor([math.radians(pitch), 0.0, 0.0]))
    tip = level.T @ rotation[:, 0]
    roll = math.degrees(math.atan2(float(tip[1]), float(tip[0])))
    turned = _angle_words((yaw, "to the right", "to the left"), (pitch, "up", "down"))
    rolled = _angle_words((roll, "clockwise", "anticlockwise"))
    return (f", turned {turned}" if turned else "") + (f", rolled {rolled}" if rolled else "")


def _angle_words(*angles_deg: tuple[float, str, str]) -> str:
    return " and ".join(
        f"{abs(angle):.0f}° {less if angle < 0 else more}"
        for angle, more, less in angles_deg
        if abs(angle) >= 0.5
    )


def _of_orbit(keys: OrbitKeys) -> str:
    up = -1 if keys.convention == "viewcrafter" else 1
    ends = [
        _span(keys.phi_deg, 1, "° right", "° left"),
        _span(keys.theta_deg, up, "° up", "° down"),
        _span(keys.r, 100 * up, " % of the focus depth nearer", " % of the focus depth farther"),
    ]
    words = ", ".join(part for part in ends if part) or "no motion"
    return f"An orbit ({keys.convention}) about the focus: {words}; relative to each source frame."


def _span(values: Tensor, sign: float, more: str, less: str) -> str:
    extreme = sign * float(values[values.abs().argmax()])
    return "" if extreme == 0 else f"up to {abs(extreme):.4g}{more if extreme > 0 else less}"


def _of_keyframes(keys: Keyframes) -> str:
    if keys.cam_from_world is not None:
        return f"{len(keys.cam_from_world)} keys with cameras of the scene's own world."
    parts = [
        f"{name} {float(values.min()):.4g} to {float(values.max()):.4g}"
        for name, (_, values) in keys.channels.items()
    ]
    last = max((float(at[-1]) for at, _ in keys.channels.values()), default=0.0)
    unit = "frame" if keys.unit == "frame" else "second"
    return (
        f"Keyframes up to {unit} {last:g}: {', '.join(parts) or 'no motion'}; relative to the "
        "source's camera of each moment."
    )


def odd_steps(file: CameraFile) -> tuple[str, ...]:
    """Notes on a trajectory that stands still throughout, or jumps, as after a loop was closed."""
    poses = file.cam_from_world
    if poses is None or file.designed or len(file) < 2:
        return ()
    center = se3_inverse(poses)[:, :3, 3]
    relative = poses[1:, :3, :3] @ poses[:-1, :3, :3].transpose(1, 2)
    steps = (center[1:] - center[:-1]).norm(dim=1)
    turns = torch.rad2deg(so3_log(relative).norm(dim=-1))
    if float(steps.max()) < _STILL and float(turns.max()) < 1e-6:
        return ("all its cameras stand at one place and look one way: was it tracked at all?",)
    if len(file) < _MIN_CAMERAS:
        return ()
    if file.frame_indices is not None:
        gaps = (file.frame_indices[1:] - file.frame_indices[:-1]).to(torch.float64)
        steps, turns = steps / gaps, turns / gaps
    notes = []
    for size, least, unit in ((steps, 0.0, "step"), (turns, _MIN_TURN_DEG, "turn")):
        jumps = _jumps(size, least)
        if jumps:
            at = jumps[0]
            times = float(size[at] / _usual(size))
            more = f" (and {len(jumps) - 1} more)" if len(jumps) > 1 else ""
            frame = at if file.frame_indices is None else int(file.frame_indices[at])
            notes.append(
                f"its cameras jump between frame {frame} and the next: {times:.0f} times the usual "
                f"{unit}{more}. A cut, or a loop that was closed? Give the parts one by one"
            )
    return tuple(notes[:1])


def _usual(size: Tensor) -> float:
    moving = size[size > 1e-6 * float(size.max())]
    return float(moving.median())


def _jumps(size: Tensor, least: float) -> list[int]:
    if float(size.max()) < _STILL:
        return []
    before = torch.cat([size[:1] * 0, size[:-1]])
    after = torch.cat([size[1:], size[-1:] * 0])
    beside = torch.maximum(before, after)
    found = (size > _JUMP * _usual(size)) & (size > _ALONE * beside) & (size > least)
    return found.nonzero()[:, 0].tolist()
