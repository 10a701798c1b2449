"""Kubric-4D and ParallelDomain-4D (Van Hoorick et al. 2024), in the layout GCD reads.

Kubric-4D, camera to world, Blender's axes (x right, y up, z backward)::

    scn02900/scn02900_p0_v4.json                camera: quaternions w x y z, positions, K as
                                                fractions of the picture with signs of Blender's
    scn02900/frames_p0_v4/rgba_00000.png
    scn02900/frames_p0_v4/depth_00000.tiff      distance along the ray, metres

ParallelDomain-4D, camera to the car, OpenCV axes already::

    scene_000048/calibration/<hash>.json        names, intrinsics (px), extrinsics
    scene_000048/rgb/<camera>/000000000000000005.png        frame i is file i·10 + 5
    scene_000048/depth/<camera>/000000000000000005.npz      data: z-depth, metres
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.camera_files.checks import as_poses, pinhole, read_array, read_json
from recam.evaluation.configs import Protocol
from recam.evaluation.datasets.pictures import (
    chosen_scenes,
    folders_with,
    picture_size,
    read_pictures,
)
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.geometry import pixel_centers, rotation_from_quaternion, se3, se3_inverse
from recam.types import CameraPath, Cameras, RecamError, Video

KUBRIC_FPS, KUBRIC_INPUT_VIEW = 24.0, 4
PARDOM_FPS, PARDOM_INPUT = 10.0, "yaw-0"
KUBRIC_COGNVS_SCENES = tuple(f"scn{i:05d}" for i in range(2900, 2920))
PARDOM_COGNVS_SCENES = tuple(
    f"scene_{i:06d}"
    for i in (
        48, 72, 74, 106, 165, 167, 173, 181, 294, 298,
        310, 315, 337, 362, 365, 444, 581, 626, 651, 663,
    )
)  # fmt: skip
"""What CogNVS's evaluation takes of each set, by its published script."""
FARTHEST_M = 1000.0
"""Depth beyond it is sky: not valid."""

KUBRIC = "Kubric's camera: quaternions (w x y z) and positions, camera to world, y up, z backward"
PARDOM = "a calibration of camera to vehicle: rotation qw qx qy qz and translation, OpenCV axes"
_BLENDER_AXES = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
_TARGETS = (
    "compared with the true pictures of the rig's other cameras; GCD and CogNVS compare with "
    "renderings of point clouds merged from all cameras, on paths of their own"
)


def kubric_samples(
    folder: Path,
    input_view: int = KUBRIC_INPUT_VIEW,
    target_views: tuple[int, ...] | None = None,
    protocol: Protocol = "own",
) -> Iterator[EvaluationSample]:
    """The scenes of a folder (or the folder as a scene), by name.

    target_views: views to compare with; None = all that are there but the input. protocol:
    "cognvs" takes KUBRIC_COGNVS_SCENES only; what it compares with are renderings all the same.
    Raises RecamError for missing files, ValueError for broken cameras.
    """
    scenes = folders_with(folder, "*_p0_v*.json")
    for scene in chosen_scenes(scenes, KUBRIC_COGNVS_SCENES) if protocol == "cognvs" else scenes:
        files = {_view_number(f): f for f in scene.glob("*_p0_v*.json")}
        chosen = tuple(v for v in sorted(files) if v != input_view)
        chosen = chosen if target_views is None else target_views
        missing = [v for v in (input_view, *chosen) if v not in files]
        if missing:
            raise RecamError(f"{scene} has no camera file of view {missing[0]}")
        source = _kubric_cameras(files[input_view])
        frames = scene / f"frames_p0_v{input_view}"
        views = []
        for v in chosen:
            cameras = _kubric_cameras(files[v])
            if len(cameras) != len(source):
                raise ValueError(f"{files[v]}: {len(cameras)} cameras, the input {len(source)}")
            path = CameraPath(cameras, torch.arange(len(cameras)))
            read = partial(_kubric_video, scene / f"frames_p0_v{v}", len(cameras))
            views.append(TargetView(f"view {v}", path, read))
        yield EvaluationSample(
            name=scene.name,
            read_video=partial(_kubric_video, frames, len(source)),
            cameras=source,
            views=tuple(views),
            read_depth=partial(_kubric_depth, frames, source),
            metres_per_unit=1.0,
            notes=(_TARGETS,),
        )


def _view_number(file: Path) -> int:
    found = re.search(r"_v(\d+)\.json$", file.name)
    return int(found.group(1)) if found else -1


def _kubric_cameras(path: Path) -> Cameras:
    content = read_json(path)
    try:
        width, height = (int(v) for v in content["scene"]["resolution"])
        camera = content["camera"]
        quaternion = torch.tensor(camera["quaternions"], dtype=torch.float64)
        center = torch.tensor(camera["positions"], dtype=torch.float64)
        normalised = np.abs(np.array(camera["K"], dtype=np.float64))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no {error}; expected {KUBRIC}") from error
    if quaternion.ndim != 2 or quaternion.shape[1] != 4 or normalised.shape != (3, 3):
        raise ValueError(f"{path}: quaternions {list(quaternion.shape)}; expected {KUBRIC}")
    blender = as_poses(se3(rotation_from_quaternion(quaternion), center), path, KUBRIC)
    scale = np.array([[width], [height], [1.0]])
    k = torch.from_numpy(scale * normalised).expand(len(center), 3, 3).clone()
    return Cameras(se3_inverse(blender @ _BLENDER_AXES), k, height, width)


def _kubric_video(frames: Path, num_frames: int) -> Video:
    files = [frames / f"rgba_{i:05d}.png" for i in range(num_frames)]
    return read_pictures(files, [i / KUBRIC_FPS for i in range(num_frames)], keep_hidden=True)


def _kubric_depth(frames: Path, cameras: Cameras) -> tuple[Tensor, Tensor]:
    maps = []
    for i in range(len(cameras)):
        path = frames / f"depth_{i:05d}.tiff"
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if found is None or found.dtype != np.float32:
            raise RecamError(f"there is no depth {path} of 32-bit numbers")
        maps.append(torch.from_numpy(found.reshape(found.shape[:2])))
    return _usable(z_from_ray_distance(torch.stack(maps), cameras))


def z_from_ray_distance(distance: Tensor, cameras: Cameras) -> Tensor:
    """z-depth float32 [n, h, w] from distances along the rays [n, h, w] of cameras of that size.

    Exact per pixel centre. (GCD's own conversion spaces rays evenly in angle over the field of
    view, which is off by up to 0.3 % of the depth at Kubric-4D's 49°.)
    """
    n, h, w = distance.shape
    uv1 = torch.cat([pixel_centers(h, w, torch.float64), torch.ones(h, w, 1).double()], -1)
    rays = uv1.view(1, h * w, 3) @ torch.linalg.inv(cameras.intrinsics).transpose(1, 2)
    return (distance / rays.norm(dim=-1).view(n, h, w)).to(torch.float32)


def _usable(depth: Tensor) -> tuple[Tensor, Tensor]:
    valid = torch.isfinite(depth) & (depth > 0) & (depth < FARTHEST_M)
    return torch.where(valid, depth, torch.zeros_like(depth)), valid


def pardom_samples(
    folder: Path,
    input_camera: str = PARDOM_INPUT,
    target_cameras: tuple[str, ...] | None = None,
    protocol: Protocol = "own",
) -> Iterator[EvaluationSample]:
    """The scenes of a folder (or the folder as a scene), by name.

    Cameras are fixed to the car and so is the world: a street that passes counts as moving. The
    frames are those that the input camera has; a view has those that it shares with the input
    (the data set lacks some). target_cameras: names; None = all that have pictures but the input.
    protocol: "cognvs" takes PARDOM_COGNVS_SCENES only; what it compares with are renderings.
    """
    scenes = folders_with(folder, "calibration/*.json")
    for scene in chosen_scenes(scenes, PARDOM_COGNVS_SCENES) if protocol == "cognvs" else scenes:
        calibration = _pardom_calibration(
            next(iter(sorted((scene / "calibration").glob("*.json"))))
        )
        frames = _pardom_frames(scene, input_camera)
        if input_camera not in calibration or not frames:
            raise RecamError(f"{scene} has no calibrated pictures of the camera {input_camera}")
        have = [name for name in sorted(calibration) if (scene / "rgb" / name).is_dir()]
        chosen = tuple(name for name in have if name != input_camera)
        chosen = chosen if target_cameras is None else target_cameras
        views = []
        for name in chosen:
            shared = sorted(set(frames) & set(_pardom_frames(scene, name)))
            if name not in calibration or not shared:
                raise RecamError(f"{scene} has no calibrated pictures of the camera {name}")
            index = torch.tensor([frames.index(i) for i in shared])
            path = CameraPath(_pardom_cameras(scene, name, calibration[name], shared), index)
            views.append(TargetView(name, path, partial(_pardom_video, scene, name, shared)))
        cameras = _pardom_cameras(scene, input_camera, calibration[input_camera], frames)
        yield EvaluationSample(
            name=scene.name,
            read_video=partial(_pardom_video, scene, input_camera, frames),
            cameras=cameras,
            views=tuple(views),
            read_depth=partial(_pardom_depth, scene, input_camera, frames),
            metres_per_unit=1.0,
            notes=(_TARGETS, "the world moves with the car: its cameras stand still in it"),
        )


def _pardom_file(scene: Path, kind: str, camera: str, frame: int, suffix: str) -> Path:
    return scene / kind / camera / f"{frame * 10 + 5:018d}{suffix}"


def _pardom_frames(scene: Path, camera: str) -> list[int]:
    """Numbers of the frames of a camera that are there."""
    stems = [f.stem for f in (scene / "rgb" / camera).glob("*.png")]
    return sorted((int(stem) - 5) // 10 for stem in stems if stem.isdigit())


def _pardom_calibration(path: Path) -> dict[str, tuple[np.ndarray, Tensor]]:
    """K [3, 3] px and world_from_cam [4, 4] of each camera."""
    content, found = read_json(path), {}
    try:
        for name, k, pose in zip(content["names"], content["intrinsics"], content["extrinsics"]):
            if "velodyne" in name.lower():
                continue
            turn = pose.get("rotation", pose.get("orientation"))
            shift = pose.get("translation", pose.get("position"))
            turn = {key.removeprefix("q"): float(value) for key, value in turn.items()}
            quaternion = torch.tensor([turn[c] for c in "wxyz"], dtype=torch.float64)
            center = torch.tensor([float(shift[c]) for c in "xyz"], dtype=torch.float64)
            world_from_cam = se3(rotation_from_quaternion(quaternion), center)
            found[name] = (
                pinhole(k["fx"], k["fy"], k["cx"], k["cy"])[0],
                as_poses(world_from_cam[None], path, PARDOM)[0],
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no {error}; expected {PARDOM}") from error
    return found


def _pardom_cameras(
    scene: Path, name: str, calibration: tuple[np.ndarray, Tensor], frames: list[int]
) -> Cameras:
    k, world_from_cam = calibration
    height, width = picture_size(_pardom_file(scene, "rgb", name, frames[0], ".png"))
    n = len(frames)
    return Cameras(
        se3_inverse(world_from_cam).expand(n, 4, 4).clone(),
        torch.from_numpy(k).expand(n, 3, 3).clone(), height, width,
    )  # fmt: skip


def _pardom_video(scene: Path, camera: str, frames: list[int]) -> Video:
    files = [_pardom_file(scene, "rgb", camera, i, ".png") for i in frames]
    return read_pictures(files, [i / PARDOM_FPS for i in frames], keep_hidden=True)


def _pardom_depth(scene: Path, camera: str, frames: list[int]) -> tuple[Tensor, Tensor]:
    maps = []
    for i in frames:
        path = _pardom_file(scene, "depth", camera, i, ".npz")
        maps.append(read_array(path, "data", "z-depth [h, w], metres").astype(np.float32))
    return _usable(torch.from_numpy(np.stack(maps)))
