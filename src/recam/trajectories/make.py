"""Paths of presets and of files, sized by the scene."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
from torch import Tensor

from recam.camera_files import read_cameras
from recam.camera_files.camera_file import CameraFileWarning
from recam.camera_files.describe import odd_steps
from recam.camera_files.path_txt import orbit_transforms
from recam.configs import PathConfig
from recam.geometry import se3, se3_inverse, so3_exp, so3_log
from recam.trajectories.from_file import path_from_file, scaled_focal
from recam.trajectories.presets import AMOUNTS, DEFAULTS, motion, preset_amounts, speed_curve
from recam.types import CameraPath, Cameras, RecamError, Scene


def relative_path(phi_deg: Tensor, theta_deg: Tensor, r: Tensor, focus_depth: float) -> Tensor:
    """target_from_source [n, 4, 4] of CogNVS's orbit for values [n], relative to each frame.

    T = Tz(R)·Ry(φ)·Rx(θ)·Tz(−(1 + r)R) with R = focus_depth, on points in OpenCV camera axes: +φ
    orbits right, +θ up, +r moves forward by that fraction of R. Source: CogNVS. Its order of
    turning tips the horizon when φ and θ are both large; the orbit preset does not.
    """
    return orbit_transforms("cognvs", phi_deg, theta_deg, r, focus_depth)


def make_path(
    source: Cameras,
    focus_depth: float,
    config: PathConfig,
    source_times_s: Tensor | None = None,
    *,
    num_frames: int | None = None,
    metres_per_unit: float | None = None,
) -> CameraPath:
    """The path of a preset or a file for the n source cameras.

    focus_depth: depth in scene units of what orbits turn about; it sizes every shift.
    source_times_s: float [n], so that speeds hold at a varying frame rate; default 24 a second.
    num_frames: length of the path where the moment stands still (freeze, or a single image);
        default as many as the source has.
    metres_per_unit: the scene's scale, for path files in metres.

    Raises ValueError for amounts that the preset does not use or cannot have, an at_frame outside
    the clip, and a file that does not fit; RecamError when the file cannot be opened.
    """
    n = len(source)
    if not (math.isfinite(focus_depth) and focus_depth > 0):
        raise ValueError(f"focus depth must be a positive number, got {focus_depth}")
    if n == 0:
        raise ValueError("no source cameras")
    if config.at_frame is not None and not 0 <= config.at_frame < n:
        raise ValueError(f"at_frame {config.at_frame} is outside the clip's frames 0…{n - 1}")
    times_s = (
        torch.arange(n, dtype=torch.float64) / 24 if source_times_s is None else source_times_s
    )
    if len(times_s) != n:
        raise ValueError(f"{len(times_s)} times for {n} source cameras")
    length = n if num_frames is None else num_frames
    if length < 1 or (length != n and n > 1 and config.path != "freeze"):
        raise ValueError(
            f"a path of {length} frames for a clip of {n}: only freeze, or a path from a single "
            "image, may have another length"
        )
    if length != n:
        times_s = torch.arange(length, dtype=torch.float64) / 24
    check_path(config)
    if config.path not in DEFAULTS:
        return _path_of_file(source, focus_depth, config, times_s, metres_per_unit)
    amounts = preset_amounts(config)
    if config.path == "freeze":
        moment = n // 2 if config.at_frame is None else config.at_frame
        frames = torch.full((length,), moment, dtype=torch.int64)
    else:
        frames = torch.arange(length).clamp(max=n - 1)
    if config.path == "static":
        held = _central_frame(source, focus_depth) if config.at_frame is None else config.at_frame
        return CameraPath(source[torch.full((length,), held)], frames)
    base = source[frames]
    if config.path == "stabilise":
        smooth = _smoothed(base, times_s, amounts["smoothness"])
        return CameraPath(_between(base, smooth, amounts["amount"]), frames)
    assert amounts, config.path
    seconds = times_s - times_s[0]
    duration = float(seconds[-1])
    u = seconds / duration if duration > 0 else torch.zeros_like(seconds)
    moved = motion(config, speed_curve(u, config.speed), seconds, focus_depth)
    cameras = Cameras(
        moved.target_from_source @ base.cam_from_world,
        scaled_focal(base.intrinsics, moved.focal_scale),
        source.height,
        source.width,
    )
    return CameraPath(cameras, frames)


def check_path(config: PathConfig) -> None:
    """What can be told without a scene: raises ValueError for amounts that the preset does not use
    or cannot have, and RecamError when there is neither a preset nor a file of that name."""
    if config.path in DEFAULTS:
        preset_amounts(config)
        return
    if not Path(config.path).exists():
        raise RecamError(
            f"path {config.path!r} is neither a file nor a preset ({', '.join(DEFAULTS)})"
        )
    given = [name for name in (*AMOUNTS, "at_frame") if getattr(config, name) is not None]
    if given:
        raise ValueError(f"{given[0]} belongs to presets; a path file says it all itself")


def _path_of_file(
    source: Cameras,
    focus_depth: float,
    config: PathConfig,
    times_s: Tensor,
    metres_per_unit: float | None,
) -> CameraPath:
    path = Path(config.path)
    if len(source) == 1 and len(times_s) > 1:
        source = source[torch.zeros(len(times_s), dtype=torch.int64)]
        path_of = _read_path(path, config, source, focus_depth, times_s, metres_per_unit)
        return CameraPath(path_of.cameras, torch.zeros(len(path_of), dtype=torch.int64))
    return _read_path(path, config, source, focus_depth, times_s, metres_per_unit)


def _read_path(
    path: Path,
    config: PathConfig,
    source: Cameras,
    focus_depth: float,
    times_s: Tensor,
    metres_per_unit: float | None,
) -> CameraPath:
    file = read_cameras(
        path, config.file_format, height=source.height, width=source.width, file=config.file_video
    )
    for note in (*file.notes, *odd_steps(file)):
        warnings.warn(f"{path}: {note}", CameraFileWarning, stacklevel=2)
    scale = config.file_scale
    if scale is None:
        scale = 1 / metres_per_unit if file.metric and metres_per_unit else 1.0
    try:
        return path_from_file(file, source, focus_depth, times_s, scale)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _central_frame(source: Cameras, focus_depth: float) -> int:
    """The frame whose camera is nearest to all others: the best place to put a tripod.

    Turning by an angle counts as moving by it at the focus depth.
    """
    n = len(source)
    picked = torch.linspace(0, n - 1, min(n, 200)).round().to(torch.int64)
    few = source[picked]
    rotation = few.cam_from_world[:, :3, :3]
    angle = so3_log(rotation[:, None] @ rotation[None].transpose(-1, -2)).norm(dim=-1)
    gap = (few.centers[:, None] - few.centers[None]).norm(dim=-1)
    return int(picked[(gap + focus_depth * angle).sum(1).argmin()])


def _between(source: Cameras, smooth: Cameras, amount: float) -> Cameras:
    """Each source camera taken that share of the way to its smooth one."""
    a, b = source.world_from_cam, smooth.world_from_cam
    turn = so3_log(a[:, :3, :3].transpose(1, 2) @ b[:, :3, :3])
    rotation = a[:, :3, :3] @ so3_exp(amount * turn)
    mixed = se3(rotation, torch.lerp(a[:, :3, 3], b[:, :3, 3], amount))
    intrinsics = torch.lerp(source.intrinsics, smooth.intrinsics, amount)
    return Cameras(se3_inverse(mixed), intrinsics, source.height, source.width)


def _smoothed(cameras: Cameras, times_s: Tensor, seconds: float) -> Cameras:
    """The same path without its shake: a parabola fitted around each moment, over a Gaussian window
    of this standard deviation. With 0.7 s, 90 % of a motion at 0.25 Hz stays, and 1 Hz goes.

    A plain average would cut corners, and lag at the clip's ends, where it sees one side only.
    """
    world_from_cam = cameras.world_from_cam
    rotation, center = world_from_cam[:, :3, :3], world_from_cam[:, :3, 3]
    smooth, intrinsics = world_from_cam.clone(), cameras.intrinsics.clone()
    for i in range(len(cameras)):
        age = (times_s - times_s[i]) / seconds
        near = (age.abs() <= 3).nonzero()[:, 0]
        weight = _parabola_weights(age[near])
        u, _, vh = torch.linalg.svd(rotation[near].mean(0))
        mean = u @ vh
        bend = (weight[:, None] * so3_log(mean.T @ rotation[near])).sum(0)
        smooth[i, :3, :3] = mean @ so3_exp(bend)
        smooth[i, :3, 3] = (weight[:, None] * center[near]).sum(0)
        intrinsics[i] = (weight[:, None, None] * cameras.intrinsics[near]).sum(0)
    return Cameras(se3_inverse(smooth), intrinsics, cameras.height, cameras.width)


def _parabola_weights(age: Tensor) -> Tensor:
    """Weights [k] of samples at ages [k]: their sum is the value at age 0 of the parabola that
    fits the samples best, each counted by a Gaussian of its age (Savitzky and Golay 1964)."""
    root = torch.exp(-0.25 * age**2)
    terms = torch.stack([torch.ones_like(age), age, age**2], 1)
    # The pseudo-inverse gives the smallest coefficients where few samples leave the curve open.
    return torch.linalg.pinv(root[:, None] * terms)[0] * root


def focus_depth(scene: Scene) -> float:
    """Depth in scene units of what the shot is about, for orbits to turn about.

    In each of up to 16 frames: the median depth of what moves, if that is at least 1 % of the
    picture, else of the middle of the picture; both weighted to the middle and by confidence. Then
    the median over the frames. Raises ValueError when no frame has a valid depth.
    """
    n, h, w = scene.depth.shape
    y = (torch.arange(h) + 0.5) / h - 0.5
    x = (torch.arange(w) + 0.5) / w - 0.5
    central = torch.exp(-((x[None] ** 2 + y[:, None] ** 2) / (2 * 0.15**2)))
    found = []
    for i in torch.linspace(0, n - 1, min(n, 16)).round().to(torch.int64).tolist():
        depth = scene.depth[i]
        usable = scene.valid[i] & torch.isfinite(depth) & (depth > 0)
        moving = usable & scene.dynamic[i]
        region = moving if int(moving.sum()) >= 0.01 * h * w else usable
        weight = torch.where(region, central * scene.confidence[i].clamp(min=1e-3), 0.0)
        if float(weight.sum()) > 0:
            found.append(_weighted_median(depth[region], weight[region]))
    if not found:
        raise ValueError("no frame has a valid depth; give the focus depth (--focus-depth)")
    return float(torch.tensor(found).median())


def _weighted_median(values: Tensor, weight: Tensor) -> float:
    order = values.argsort()
    total = weight[order].to(torch.float64).cumsum(0)
    return float(values[order][int(torch.searchsorted(total, total[-1] / 2))])


def path_for_scene(
    scene: Scene, config: PathConfig, *, num_frames: int | None = None
) -> CameraPath:
    """The path through a scene, for pictures of its video's size (geometry may be smaller).

    It is sized by the scene's focus depth unless the config gives one.
    """
    depth = focus_depth(scene) if config.focus_depth is None else config.focus_depth
    return make_path(
        scene.cameras.resized(scene.video.height, scene.video.width),
        depth,
        config,
        scene.video.times_s,
        num_frames=num_frames,
        metres_per_unit=scene.metres_per_unit,
    )
