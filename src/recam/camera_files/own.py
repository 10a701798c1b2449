"""recam's own files: cameras.json, and keyframes of a path.

cameras.json::

    {"convention": "OpenCV: …", "units": "metres" or anything else,
     "frames": [{"frame": 0, "time_s": 0.0, "file": "clip.mp4", "w": 854, "h": 480,
                 "K": 3×3 px, "w2c": 4×4, "dist": [k1, k2, p1, p2, k3]}, …]}

Only K, w2c, w and h are needed. Frames without a number are taken in order; one camera without a
number stands still for the whole video. Cameras of several videos tell them apart by "file".

Keyframes::

    {"keys": [{"frame": 0}, {"frame": 24, "yaw": 20, "distance": 0.1}, {"frame": 48, "zoom": 1.5}]}

Each key has a "frame" or "time_s" and any of: yaw, pitch (degrees of orbit about the focus, + right
and up), distance, right, up (shift, fractions of the focus depth, distance + forward), pan, tilt,
roll (degrees of turning on the spot, + right, up, clockwise), zoom (factor on the focal length) or
fov (horizontal, degrees), and source_frame (the moment shown, for freezing or retiming). An amount
passes smoothly through the keys that give it (source_frame in straight lines), holds before the
first and after the last of them, and is 0 (zoom: 1) if no key gives it. All are relative to the
source's camera of the moment. Or, for cameras in the scene's own world, every key has
"cam_from_world" (4×4, OpenCV axes) instead of motions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, Keyframes
from recam.camera_files.checks import (
    MAX_CAMERAS,
    MAX_SIDE,
    as_intrinsics,
    as_lenses,
    as_poses,
    read_json,
    read_object,
)
from recam.camera_files.names import Wanted, select
from recam.runtime.records import write_json
from recam.types import Cameras

RECAM = "recam's cameras.json: frames with K, w2c (4×4, world to camera, OpenCV axes), w and h"
KEYFRAMES = 'recam\'s keyframes: {"keys": [{"frame": 0, "yaw": 0}, …]}'
CONVENTION = (
    "OpenCV: x right, y down, z forward; w2c maps world to camera; dist = OpenCV k1 k2 p1 p2 k3; "
    "K in pixels from the picture's corner"
)
MOTIONS = ("yaw", "pitch", "distance", "right", "up", "pan", "tilt", "roll")
MAX_FRAME = 1 << 40
CHANNELS = (*MOTIONS, "zoom", "fov", "source_frame")


def read_recam(path: Path, wanted: Wanted) -> CameraFile:
    """A cameras.json. Raises ValueError when the cameras of one video cannot be told."""
    content = read_object(path)
    if not all("w2c" in f for f in content.records("frames", 1, MAX_CAMERAS)):
        raise ValueError(f"{path}: no frames with w2c; expected {RECAM}")
    frames = content.records("frames", 1, MAX_CAMERAS)
    chosen = select([f.text("file", default="") for f in frames], wanted, path)
    frames = [frames[i] for i in chosen.indices]
    numbered = [f for f in frames if "frame" in f]
    indices = chosen.frames
    if len(numbered) == len(frames):
        frames.sort(key=lambda f: f.whole("frame", 0, MAX_FRAME))
        indices = torch.tensor([f.whole("frame", 0, MAX_FRAME) for f in frames])
        if not bool((indices[1:] > indices[:-1]).all()):
            raise ValueError(f"{path}: two cameras for one frame; choose one video (file=…)")
    elif numbered:
        raise ValueError(f"{path}: only some cameras have a frame number")
    poses = as_poses([f.value["w2c"] for f in frames], path, RECAM)
    lenses = [f.value.get("dist") or [0.0] for f in frames]
    sizes = {(f.whole("h", 1, MAX_SIDE, None), f.whole("w", 1, MAX_SIDE, None)) for f in frames}
    if len(sizes) > 1:
        raise ValueError(f"{path}: cameras of different picture sizes; choose one video (file=…)")
    h, w = sizes.pop()
    intrinsics = None
    if all("K" in f for f in frames):
        intrinsics = as_intrinsics([f.value["K"] for f in frames], len(frames), path)
        if h is None or w is None:
            raise ValueError(f"{path}: K without w and h; expected {RECAM}")
    has_times = all("time_s" in f for f in frames)
    return CameraFile(
        "recam", poses, intrinsics, h, w, frame_indices=indices,
        times_s=_table([f.number("time_s") for f in frames]) if has_times else None,
        distortion=as_lenses(lenses, path),
        metric=str(content.value.get("units", "")).startswith("metre"), notes=chosen.notes,
        missing=chosen.missing,
    )  # fmt: skip


def _table(values: list[Any]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def write_recam(
    path: Path,
    cameras: Cameras,
    frames: Tensor,
    times_s: Tensor,
    distortion: Tensor | None,
    metric: bool,
) -> None:
    """A cameras.json with an entry for each camera: frames int64 [n], times_s float [n] seconds."""
    entries = []
    for i in range(len(cameras)):
        entry: dict[str, Any] = {
            "frame": int(frames[i]), "time_s": float(times_s[i]),
            "w": cameras.width, "h": cameras.height,
            "K": cameras.intrinsics[i].tolist(), "w2c": cameras.cam_from_world[i].tolist(),
        }  # fmt: skip
        if distortion is not None:
            entry["dist"] = distortion.tolist()
        entries.append(entry)
    units = "metres" if metric else "arbitrary"
    write_json(path, {"convention": CONVENTION, "units": units, "frames": entries})


def read_keyframes(path: Path) -> CameraFile:
    """A keyframe file. Raises ValueError for unknown amounts and for keys out of order."""
    return parse_keyframes(read_json(path), path)


def parse_keyframes(content: Any, path: Path) -> CameraFile:
    """Keyframes from the file's content; ``path`` is for messages."""
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(k, dict) for k in keys):
        raise ValueError(f"{path}: no keys; expected {KEYFRAMES}")
    unit: Literal["frame", "time_s"] = "frame" if "frame" in keys[0] else "time_s"
    if not all((unit in k) and not {"frame", "time_s"} <= k.keys() for k in keys):
        raise ValueError(f"{path}: every key needs a frame, or every key a time_s")
    known = {*CHANNELS, "frame", "time_s", "cam_from_world"}
    for key in keys:
        if unknown := sorted(key.keys() - known):
            raise ValueError(
                f"{path}: unknown {unknown[0]!r} in a key; it may have {sorted(known)}"
            )
    channels = {}
    try:
        at = _table([k[unit] for k in keys])
        for name in CHANNELS:
            having = [k for k in keys if name in k]
            if having:
                channels[name] = (
                    _table([k[unit] for k in having]),
                    _table([k[name] for k in having]),
                )
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: a key with something that is not a number") from error
    _check_keys(path, unit, at, channels)
    absolute = [k for k in keys if "cam_from_world" in k]
    poses = None
    if absolute:
        if len(absolute) != len(keys) or set(channels) & set(MOTIONS):
            raise ValueError(
                f"{path}: keys with cam_from_world cannot be mixed with keys that move relative to "
                f"the source ({', '.join(MOTIONS)})"
            )
        poses = as_poses([k["cam_from_world"] for k in keys], path, KEYFRAMES)
    keyframes = Keyframes(unit, channels, at if absolute else None, poses)
    return CameraFile("keyframes", designed=True, keyframes=keyframes)


def _check_keys(
    path: Path, unit: str, at: Tensor, channels: dict[str, tuple[Tensor, Tensor]]
) -> None:
    if not bool(torch.isfinite(at).all()) or not bool((at[1:] > at[:-1]).all()) or float(at[0]) < 0:
        raise ValueError(f"{path}: {unit} must increase from key to key, got {at.tolist()}")
    for name, (_, values) in channels.items():
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{path}: {name} has NaN or infinite values")
    if "zoom" in channels and "fov" in channels:
        raise ValueError(f"{path}: give zoom or fov, not both")
    if "zoom" in channels and float(channels["zoom"][1].min()) <= 0:
        raise ValueError(f"{path}: zoom must be positive")
    if "fov" in channels and not bool(((channels["fov"][1] - 90).abs() < 90).all()):
        raise ValueError(f"{path}: fov must lie between 0 and 180 degrees")


def write_keyframes(path: Path, keys: list[dict[str, Any]]) -> None:
    """Write keys as described above, after the same checks as in reading."""
    content = {"format": "recam-keyframes", "keys": keys}
    parse_keyframes(content, path)
    write_json(path, content)
