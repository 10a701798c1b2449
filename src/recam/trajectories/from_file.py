"""Paths from camera files: orbits and keyframes relative to the source, or cameras in its world."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import CameraFile, Keyframes, OrbitKeys
from recam.camera_files.path_txt import orbit_transforms, spread_keys
from recam.geometry import interpolate_poses, interpolate_values, intrinsics_from_fov, se3_inverse
from recam.trajectories.presets import orbit, shift, turn
from recam.types import CameraPath, Cameras


def path_from_file(
    file: CameraFile,
    source: Cameras,
    focus_depth: float,
    times_s: Tensor,
    file_scale: float = 1.0,
) -> CameraPath:
    """The path that a camera file describes, for the source's n cameras at times_s [n].

    file_scale: scene units per unit of the file's translations. Absolute cameras are in the scene's
    world, as when the source's cameras came from a file of the same world; those of formats that
    mean motion from their first camera start at the source's first camera. Raises ValueError when
    the file has a number of cameras that does not fit.
    """
    if file.keyframes is not None:
        return _from_keyframes(file.keyframes, source, focus_depth, times_s)
    frames = torch.arange(len(source))
    if file.orbit is not None:
        transform = _orbit(file.orbit, len(source), focus_depth)
        cam_from_world = transform @ source.cam_from_world
        cameras = Cameras(cam_from_world, source.intrinsics, source.height, source.width)
        return CameraPath(cameras, frames)
    assert file.cam_from_world is not None
    if file.designed:
        file = _resampled(file, len(source))
    else:
        file = file.for_video(len(source), times_s=times_s)
    poses = file.cam_from_world
    assert poses is not None
    poses = poses.clone()
    poses[:, :3, 3] *= file_scale
    if file.relative_to_first:
        poses = poses @ se3_inverse(poses[0]) @ source.cam_from_world[0]
    intrinsics = source.intrinsics
    if file.intrinsics is not None:
        resized = file.resized(source.height, source.width).intrinsics
        assert resized is not None
        intrinsics = resized
    return CameraPath(Cameras(poses, intrinsics, source.height, source.width), frames)


def _orbit(keys: OrbitKeys, num_frames: int, focus_depth: float) -> Tensor:
    values = [
        spread_keys(k, num_frames) for k in (keys.phi_deg, keys.theta_deg, keys.r, keys.x, keys.y)
    ]
    phi, theta, r, x, y = values
    return orbit_transforms(keys.convention, phi, theta, r, focus_depth, x, y)


def _resampled(file: CameraFile, num_frames: int) -> CameraFile:
    """A designed path spread over num_frames, by its own times."""
    n = len(file)
    if n == num_frames:
        return file
    at = torch.arange(n, dtype=torch.float64) if file.times_s is None else file.times_s
    query = torch.linspace(float(at[0]), float(at[-1]), num_frames, dtype=torch.float64)
    assert file.cam_from_world is not None
    intrinsics = file.intrinsics
    if intrinsics is not None:
        intrinsics = interpolate_values(at, intrinsics.reshape(n, 9), query).reshape(-1, 3, 3)
    poses = interpolate_poses(at, file.cam_from_world, query)
    return CameraFile(
        file.format, poses, intrinsics, file.height, file.width, metric=file.metric,
        relative_to_first=file.relative_to_first, designed=True, notes=file.notes,
    )  # fmt: skip


def _from_keyframes(
    keys: Keyframes, source: Cameras, focus_depth: float, times_s: Tensor
) -> CameraPath:
    """Keys at source frames or seconds from the first frame, evaluated at every frame."""
    n = len(source)
    query = torch.arange(n, dtype=torch.float64) if keys.unit == "frame" else times_s - times_s[0]
    starts = [float(at[0]) for at, _ in keys.channels.values()]
    starts += [] if keys.at is None else [float(keys.at[0])]
    if starts and min(starts) > float(query[-1]):
        raise ValueError(
            f"the first key is at {keys.unit} {min(starts):g}, after the clip's end at "
            f"{float(query[-1]):g}"
        )

    def channel(name: str, rest: float) -> Tensor:
        if name not in keys.channels:
            return torch.full((n,), rest, dtype=torch.float64)
        at, values = keys.channels[name]
        return interpolate_values(at, values[:, None], query)[:, 0]

    moment = torch.arange(n)
    if "source_frame" in keys.channels:
        # Straight lines: a smooth curve would play faster than the source before it stops.
        at, values = keys.channels["source_frame"]
        shown = np.interp(query.numpy(), at.numpy(), values.numpy())
        moment = torch.from_numpy(shown).round().to(torch.int64)
        if int(moment.min()) < 0 or int(moment.max()) >= n:
            raise ValueError(f"source_frame must lie between 0 and {n - 1}")
    base = source[moment]
    if keys.cam_from_world is not None:
        assert keys.at is not None
        cam_from_world = interpolate_poses(keys.at, keys.cam_from_world, query)
    else:
        placed = orbit(channel("yaw", 0), channel("pitch", 0), channel("distance", 0), focus_depth)
        moved = shift(-focus_depth * channel("right", 0), focus_depth * channel("up", 0), 0, n)
        turned = turn(0, -channel("tilt", 0)) @ turn(1, -channel("pan", 0))
        cam_from_world = turn(2, -channel("roll", 0)) @ turned @ moved @ placed
        cam_from_world = cam_from_world @ base.cam_from_world
    focal_scale = channel("zoom", 1)
    if "fov" in keys.channels:
        wanted = [
            float(intrinsics_from_fov(float(f), source.height, source.width)[0, 0])
            for f in channel("fov", 0)
        ]
        focal_scale = torch.tensor(wanted, dtype=torch.float64) / base.intrinsics[:, 0, 0]
    cameras = Cameras(
        cam_from_world, scaled_focal(base.intrinsics, focal_scale), source.height, source.width
    )
    return CameraPath(cameras, moment)


def scaled_focal(intrinsics: Tensor, factor: Tensor) -> Tensor:
    """Intrinsics [n, 3, 3] with focal lengths (and skew) times factor [n]."""
    scaled = intrinsics.clone()
    scaled[:, :2, :2] *= factor[:, None, None]
    return scaled
