"""Where the new camera goes, as the page edits it: a preset, keyframes, or a file.

``Aim`` is the whole of it in one value, so that undo is a list of values and saving is one JSON
object. What it means is said by the ``PathConfig`` that it turns into, the one the command line
builds too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from recam.camera_files.own import write_keyframes
from recam.configs import PathConfig
from recam.geometry import fov_x_deg, se3_inverse
from recam.types import Cameras

Mode = Literal["preset", "keys", "file"]
MAX_UNDO = 200
ONE_STEP_S = 1.0
"""Moves of one control closer together than this are undone together."""


@dataclass(frozen=True)
class Key:
    """A camera at a frame.

    target_from_source: 4×4 by rows, from the source's camera at that frame, translation in focus
    depths: it means the same place in a draft of the scene and in the finished one, whose units
    and axes differ. fov_deg: horizontal.
    """

    frame: int
    target_from_source: tuple[float, ...]
    fov_deg: float

    def __post_init__(self) -> None:
        if len(self.target_from_source) != 16:
            raise ValueError(f"a key has {len(self.target_from_source)} numbers; expected 16")


@dataclass(frozen=True)
class Aim:
    """Everything that is set in the page about the new camera's path."""

    mode: Mode = "preset"
    preset: PathConfig = field(default_factory=PathConfig)
    keys: tuple[Key, ...] = ()
    file: str | None = None
    file_format: str = "auto"
    limit: float | None = None
    """At most so much of a frame may be never seen, as a share; None = no limit."""
    focus_depth: float | None = None
    """In the median focus depths of the scene (1 = where the scene's own focus is)."""


def key_at(
    frame: int, cam_from_world: Tensor, fov_deg: float, source: Cameras, focus_depth: float
) -> Key:
    """A key for a camera float64 [4, 4] in the scene's world; source: its t cameras."""
    relative = cam_from_world @ source.world_from_cam[frame]
    relative = relative.clone()
    relative[:3, 3] /= focus_depth
    return Key(frame, tuple(float(v) for v in relative.reshape(-1)), float(fov_deg))


def key_camera(key: Key, source: Cameras, focus_depth: float) -> Tensor:
    """cam_from_world float64 [4, 4] of a key in a scene."""
    relative = torch.tensor(key.target_from_source, dtype=torch.float64).reshape(4, 4)
    relative[:3, 3] *= focus_depth
    return relative @ source.cam_from_world[key.frame]


def with_key(aim: Aim, key: Key) -> Aim:
    """The aim with a key more; one that was at the same frame goes."""
    keys = [k for k in aim.keys if k.frame != key.frame]
    return replace(aim, mode="keys", keys=tuple(sorted([*keys, key], key=lambda k: k.frame)))


def without_key(aim: Aim, frame: int) -> Aim:
    """The aim without the key at a frame."""
    return replace(aim, keys=tuple(k for k in aim.keys if k.frame != frame))


def retimed(aim: Aim, frame: int, to: int, source: Cameras, focus_depth: float) -> Aim:
    """The key at a frame moved to another one; its camera stays where it is in the world."""
    found = [k for k in aim.keys if k.frame == frame]
    if not found or to == frame:
        return aim
    world = key_camera(found[0], source, focus_depth)
    moved = key_at(to, world, found[0].fov_deg, source, focus_depth)
    return with_key(without_key(aim, frame), moved)


def path_config(
    aim: Aim, source: Cameras, focus_depth: float, keys_file: Path
) -> PathConfig | None:
    """What the command line would be given: None while there is nothing (no key, no file).

    focus_depth: the scene's own, in its units. keys_file: where keyframes are written.
    """
    focus = focus_depth * (aim.focus_depth or 1.0)
    if aim.mode == "preset":
        return replace(aim.preset, focus_depth=focus)
    if aim.mode == "file":
        if aim.file is None:
            return None
        return PathConfig(aim.file, file_format=aim.file_format, focus_depth=focus)  # type: ignore[arg-type]
    if not aim.keys:
        return None
    write_keyframes(keys_file, keyframes(aim.keys, source, focus_depth))
    return PathConfig(str(keys_file), focus_depth=focus)


def keyframes(keys: tuple[Key, ...], source: Cameras, focus_depth: float) -> list[dict[str, Any]]:
    """Entries of a keyframe file: cameras in the scene's world."""
    return [
        {
            "frame": key.frame,
            "cam_from_world": key_camera(key, source, focus_depth).tolist(),
            "fov": key.fov_deg,
        }
        for key in keys
    ]


def keys_of_path(
    cam_from_world: Tensor, fov_deg: Tensor, frames: list[int], source: Cameras, focus_depth: float
) -> tuple[Key, ...]:
    """Keys at some frames of a path: what turns a preset into something to drag."""
    return tuple(
        key_at(f, cam_from_world[f], float(fov_deg[f]), source, focus_depth) for f in frames
    )


def source_fov_deg(source: Cameras, frame: int) -> float:
    """Horizontal field of view of the source at a frame."""
    return float(fov_x_deg(source[frame : frame + 1])[0])


def pose_parts(cam_from_world: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation world_from_cam [3, 3] and centre [3] of a camera."""
    inverse = se3_inverse(cam_from_world)
    return inverse[:3, :3], inverse[:3, 3]


class History:
    """Values with undo and redo. A value equal to the present one is no step."""

    def __init__(self, first: Aim) -> None:
        self.values, self.at = [first], 0
        self.control, self.pushed_s = "", 0.0

    @property
    def now(self) -> Aim:
        """The present value."""
        return self.values[self.at]

    def push(self, value: Aim, control: str = "") -> bool:
        """A new value; what was undone goes. Whether it was a change.

        control: what was moved: one that moves on within ONE_STEP_S is still the same step.
        """
        if value == self.now:
            return False
        now = time.monotonic()
        same = bool(control) and control == self.control and now - self.pushed_s < ONE_STEP_S
        keep = self.at if same and self.at > 0 else self.at + 1
        self.values = [*self.values[:keep], value][-MAX_UNDO:]
        self.at = len(self.values) - 1
        self.control, self.pushed_s = control, now
        return True

    def undo(self) -> bool:
        """Back by one step; whether there was one."""
        if self.at == 0:
            return False
        self.at -= 1
        self.control = ""
        return True

    def redo(self) -> bool:
        """Forward again by one step; whether there was one."""
        if self.at + 1 == len(self.values):
            return False
        self.at += 1
        return True
