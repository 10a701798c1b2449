"""DyCheck's iPhone data set (Gao et al. 2022), in the layout that its authors released.

<scene>/camera/<id>.json            world to camera, OpenCV axes, pixels of the 1x pictures
<scene>/rgb/{1x,2x}/<id>.png        ids "0_00012": the phone that moves; "1_", "2_": held out
<scene>/depth/{1x,2x}/<id>.npy      z-depth (LiDAR), 0 where nothing was measured
<scene>/covisible/2x/val/<id>.png   white = seen by the training camera at some time
<scene>/splits/{train,val}.json     frame_names, time_ids, camera_ids
<scene>/extra.json                  fps
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.checks import as_poses, read_array, read_json
from recam.evaluation.configs import Protocol
from recam.evaluation.datasets.pictures import (
    chosen_scenes,
    folders_with,
    picture_size,
    read_marks,
    read_pictures,
)
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.types import CameraPath, Cameras, RecamError

CAMERA = "DyCheck's camera: orientation (3×3, world to camera, OpenCV axes) and position"
COGNVS_SCENES = ("apple", "block", "paper-windmill", "spin", "teddy")
"""The five scenes of CogNVS's evaluation (960 × 720 pictures, factor 1, no masks)."""
_LENS = ("radial_distortion", "tangential_distortion", "tangential")
_MOMENTS = (
    "depth is the phone's LiDAR, with holes; frames of a held-out phone count that show a moment "
    "which the source shows"
)
_OWN = (
    "CogNVS's evaluation differs: five scenes, factor 1, all pixels, means over all frames of all "
    "clips, and for its reconstruction baselines a camera refined on the true pictures"
)
_AS_COGNVS = (
    "CogNVS's protocol: full size, all pixels; its own results start from MegaSAM's depth and "
    "cameras, and for its reconstruction baselines the camera is refined on the true pictures"
)


def dycheck_samples(
    folder: Path, factor: Literal[1, 2] = 2, protocol: Protocol = "own"
) -> Iterator[EvaluationSample]:
    """The scenes of a folder (or the folder as a scene) that have held-out views, by name.

    factor: 2 reads the half-size pictures that DyCheck evaluates at, 1 the full size (720 × 960).
    protocol: "own", DyCheck's, with its masks of co-visible pixels; "cognvs": COGNVS_SCENES only,
    factor 1, no masks.
    Cameras stay in metres in their files' world, without DyCheck's normalisation of the scene.
    Raises RecamError for missing files, ValueError for cameras against the convention.
    """
    scenes = folders_with(folder, "camera")
    if protocol == "cognvs":
        scenes, factor = chosen_scenes(scenes, COGNVS_SCENES), 1
    for scene in scenes:
        ids = _ids(scene)
        if any(camera != 0 for camera, _ in ids.values()):
            sample = _sample(scene, ids, factor)
            if protocol == "cognvs":
                views = tuple(replace(view, read_counted=None) for view in sample.views)
                sample = replace(sample, views=views, notes=(_MOMENTS, _AS_COGNVS))
            yield sample


def _sample(scene: Path, ids: dict[str, tuple[int, int]], factor: int) -> EvaluationSample:
    source = sorted((time, name) for name, (camera, time) in ids.items() if camera == 0)
    if not source:
        raise RecamError(f"{scene} has no frames of the training camera (ids 0_…)")
    fps = float(read_json(scene / "extra.json").get("fps", 30.0))
    frame_of_time = {time: i for i, (time, _) in enumerate(source)}
    names = [name for _, name in source]
    pictures = [scene / "rgb" / f"{factor}x" / f"{name}.png" for name in names]
    times_s = [time / fps for time, _ in source]
    views = []
    for camera in sorted({camera for camera, _ in ids.values()} - {0}):
        held_out = sorted((time, name) for name, (own, time) in ids.items() if own == camera)
        # Held-out phones run on a little after the training one has stopped.
        held_out = [(time, name) for time, name in held_out if time in frame_of_time]
        if held_out:
            views.append(_view(scene, camera, held_out, frame_of_time, fps, factor))
    depth = [scene / "depth" / f"{factor}x" / f"{name}.npy" for name in names]
    if not depth[0].is_file():
        depth = [scene / "depth" / "1x" / f"{name}.npy" for name in names]
    return EvaluationSample(
        name=scene.name,
        read_video=partial(read_pictures, pictures, times_s, keep_hidden=True),
        cameras=_read_cameras(scene, names, pictures[0]),
        views=tuple(views),
        read_depth=partial(_read_depth, depth) if depth[0].is_file() else None,
        metres_per_unit=1.0,
        notes=(_MOMENTS, _OWN),
    )


def _view(
    scene: Path,
    camera: int,
    held_out: list[tuple[int, str]],
    frame_of_time: dict[int, int],
    fps: float,
    factor: int,
) -> TargetView:
    names = [name for _, name in held_out]
    pictures = [scene / "rgb" / f"{factor}x" / f"{name}.png" for name in names]
    cameras = _read_cameras(scene, names, pictures[0])
    masks = [scene / "covisible" / f"{factor}x" / "val" / f"{name}.png" for name in names]
    if not masks[0].is_file():
        masks = [scene / "covisible" / "2x" / "val" / f"{name}.png" for name in names]
    read_counted = partial(read_marks, masks, cameras.height, cameras.width)
    return TargetView(
        name=f"camera {camera}",
        path=CameraPath(cameras, torch.tensor([frame_of_time[time] for time, _ in held_out])),
        read_video=partial(
            read_pictures, pictures, [time / fps for time, _ in held_out], keep_hidden=True
        ),
        read_counted=read_counted if masks[0].is_file() else None,
    )


def _ids(scene: Path) -> dict[str, tuple[int, int]]:
    """Camera and time of every frame, by the splits' files where they are there, else by names."""
    found: dict[str, tuple[int, int]] = {}
    for split in ("train", "val"):
        path = scene / "splits" / f"{split}.json"
        if path.is_file():
            content = read_json(path)
            try:
                columns = [content[k] for k in ("frame_names", "camera_ids", "time_ids")]
            except (KeyError, TypeError) as error:
                raise ValueError(f"{path}: no {error}; expected frame_names and ids") from error
            found |= {name: (int(c), int(t)) for name, c, t in zip(*columns)}
    if not found:
        for file in (scene / "camera").glob("*_*.json"):
            camera, time = file.stem.split("_")
            found[file.stem] = (int(camera), int(time))
    if not found:
        raise RecamError(f"{scene}/camera holds no cameras <camera>_<time>.json")
    return found


def _read_cameras(scene: Path, names: list[str], picture: Path) -> Cameras:
    """Cameras of these frames at the size of a picture of them."""
    files = [scene / "camera" / f"{name}.json" for name in names]
    entries: list[dict[str, Any]] = [read_json(file) for file in files]
    try:
        rotation = np.array([e["orientation"] for e in entries], dtype=np.float64)
        center = np.array([e["position"] for e in entries], dtype=np.float64)
        rows = [_intrinsics(e) for e in entries]
        sizes = {(int(e["image_size"][1]), int(e["image_size"][0])) for e in entries}
        bent = any(np.any(e.get(k, 0)) for e in entries for k in _LENS)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{files[0]}: no {error}; expected {CAMERA}") from error
    if len(sizes) > 1:
        raise ValueError(f"{files[0].parent}: cameras of several picture sizes {sorted(sizes)}")
    if bent:
        raise ValueError(f"{files[0]}: lens distortion; the iPhone data set has none")
    pose = np.concatenate([rotation, -rotation @ center[:, :, None]], -1)
    height, width = sizes.pop()
    cameras = Cameras(
        as_poses(pose, files[0], CAMERA), torch.tensor(rows, dtype=torch.float64), height, width
    )
    return cameras.resized(*picture_size(picture))


def _intrinsics(entry: dict[str, Any]) -> list[list[float]]:
    focal, (cx, cy) = float(entry["focal_length"]), entry["principal_point"]
    aspect, skew = float(entry.get("pixel_aspect_ratio", 1.0)), float(entry.get("skew", 0.0))
    return [[focal, skew, float(cx)], [0.0, focal * aspect, float(cy)], [0.0, 0.0, 1.0]]


def _read_depth(files: list[Path]) -> tuple[Tensor, Tensor]:
    depth = [read_array(file, None, "z-depth [h, w] or [h, w, 1]") for file in files]
    stacked = torch.from_numpy(np.stack([d.reshape(d.shape[:2]) for d in depth]).astype(np.float32))
    valid = torch.isfinite(stacked) & (stacked > 0)
    return torch.where(valid, stacked, torch.zeros_like(stacked)), valid
