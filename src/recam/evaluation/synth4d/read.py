"""Synth4D as samples for evaluation, scene by scene."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import read_cameras
from recam.evaluation.datasets.pictures import read_pictures
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.evaluation.synth4d.scenes import (
    HEIGHT,
    NUM_FRAMES,
    SPECS,
    VIEWS,
    WIDTH,
    SceneSpec,
    build_scene,
    times_s,
)
from recam.runtime.cache import content_hash
from recam.synthetic.render import SyntheticFrames, cast_synthetic, optical_flow
from recam.types import CameraPath, Cameras, RecamError, Video


def synth4d_samples(folder: Path, limit: int | None = None) -> Iterator[EvaluationSample]:
    """The benchmark's scenes that ``make_synth4d`` wrote into a folder, in their order.

    Everything about them is true and exact: cameras, z-depth, what moves (in the source and in
    each view), and what of each view the source shows. Raises RecamError for a scene that is not
    there.
    """
    for spec in SPECS[:limit]:
        yield synth4d_sample(folder, spec)


def synth4d_sample(folder: Path, spec: SceneSpec) -> EvaluationSample:
    """One of them. Raises RecamError when it is not there."""
    scene = folder / spec.name
    if not (scene / "hashes.json").is_file():
        raise RecamError(f"{scene} is not made yet: recam eval synth4d-make --data {folder}")
    views = []
    for name in VIEWS:
        views.append(
            TargetView(
                name,
                CameraPath(_cameras(scene, name), torch.arange(NUM_FRAMES)),
                partial(_video, scene / name),
                read_dynamic=partial(_bool_array, scene / f"{name}.npz", "dynamic"),
                read_seen=partial(_array, scene / f"{name}.npz", "seen"),
                read_flow=partial(true_flow, spec, _cameras(scene, name)),
            )
        )
    return EvaluationSample(
        name=spec.name,
        read_video=partial(_video, scene / "source"),
        cameras=_cameras(scene, "source"),
        views=tuple(views),
        read_depth=partial(_depth, scene / "source.npz"),
        read_dynamic=partial(_bool_array, scene / "source.npz", "dynamic"),
        metres_per_unit=1.0,
        split=spec.split,
        files=content_hash(scene / "hashes.json"),
    )


def _cameras(scene: Path, name: str) -> Cameras:
    file = read_cameras(
        scene / f"{name}.cameras.json", "recam",
        num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH,
    )  # fmt: skip
    assert file.cameras is not None
    return file.cameras


def true_flow(spec: SceneSpec, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """What read_flow gives, cast anew from the scene: it is not kept on disk (TargetView)."""
    scene, times = build_scene(spec), times_s()
    depth, object_ids, part_ids, dynamic = cast_synthetic(scene, cameras, times)
    here = (part[:-1] for part in (depth, object_ids, part_ids, dynamic))
    shown = SyntheticFrames(torch.empty(0), *here)  # flow asks for the geometry only
    return optical_flow(scene, shown, cameras[:-1], times[:-1], cameras[1:], times[1:])


def _video(folder: Path) -> Video:
    files = [folder / f"{i:05d}.png" for i in range(NUM_FRAMES)]
    return read_pictures(files, times_s().tolist())


def _array(path: Path, name: str) -> Tensor:
    with np.load(path, allow_pickle=False) as file:
        return torch.from_numpy(file[name])


def _bool_array(path: Path, name: str) -> Tensor:
    return _array(path, name).bool()


def _depth(path: Path) -> tuple[Tensor, Tensor]:
    depth = _array(path, "depth")
    return depth, torch.ones_like(depth, dtype=torch.bool)
