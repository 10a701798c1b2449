"""NVIDIA Dynamic Scenes (Yoon et al. 2020), by the protocol of Gao et al. 2021.

Twelve cameras of a rig; input frame i is what camera i sees at time i, so the input looks like one
moving camera. Evaluated are the pictures of camera 0 at every time. Layouts::

    <scene>/poses_bounds.npy                   LLFF: one camera per input frame
    <scene>/images*/ or input*/                the inputs, in the order of their names
    <scene>/gt*/*.png                          camera 0 at times 0, 1, …; or
    gt/<scene>/v000_t000.png                   beside the scenes (released results); or
    <scene>/mv_images/00000/cam01.jpg          all cameras at every time, counted from 1
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from recam.camera_files import read_cameras
from recam.evaluation.datasets.pictures import folders_with, picture_size, read_pictures
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.media.pictures import natural_key, pictures_at
from recam.types import CameraPath, RecamError

_NOTES = (
    "camera 0's picture at time 0 is also the first input; published tables differ in whether "
    "they count it",
    "released results were compared at 480 × 270 pixels; here at the size of the true pictures",
)


def nvidia_samples(folder: Path) -> Iterator[EvaluationSample]:
    """The scenes of a folder (or the folder as a scene), by name; the truth is camera 0's.

    Frames have no clock: they count as 24 a second. Longer inputs go around the rig (frame i is
    camera i mod 12). Raises RecamError when pictures are missing, ValueError when the cameras do
    not fit them.
    """
    for scene in folders_with(folder, "poses_bounds.npy"):
        inputs = _inputs(scene)
        n = len(inputs)
        height, width = picture_size(inputs[0])
        file = read_cameras(
            scene / "poses_bounds.npy", "llff", num_frames=n, height=height, width=width
        )
        cameras = file.cameras
        assert cameras is not None
        truth = _truth(scene, n)
        at_rig_zero = cameras[torch.zeros(n, dtype=torch.int64)]
        path = CameraPath(at_rig_zero.resized(*picture_size(truth[0])), torch.arange(n))
        times_s = [i / 24 for i in range(n)]
        yield EvaluationSample(
            name=scene.resolve().name,
            read_video=partial(read_pictures, inputs, times_s),
            cameras=cameras,
            views=(TargetView("camera 0", path, partial(read_pictures, truth, times_s)),),
            notes=_NOTES,
        )


def _inputs(scene: Path) -> list[Path]:
    folders = [f for pattern in ("images*", "input*") for f in scene.glob(pattern) if f.is_dir()]
    if not folders:
        raise RecamError(f"{scene} has no folder images… or input… with the input frames")
    # images, images_2, images_4, …: the first name is the full size.
    return pictures_at(min(folders, key=natural_key)) or []


def _truth(scene: Path, num_frames: int) -> list[Path]:
    """Camera 0's pictures at times 0 … num_frames − 1."""
    beside = scene.resolve().parent / "gt" / scene.resolve().name
    rig = sorted((scene / "mv_images").glob("*/cam01.*")) if (scene / "mv_images").is_dir() else []
    own = [f for f in scene.glob("gt*") if f.is_dir()]
    if own:
        found = pictures_at(min(own, key=natural_key)) or []
    elif beside.is_dir():
        found = sorted(beside.glob("v000_t*.png"))
    else:
        found = rig
    if len(found) < num_frames:
        raise RecamError(
            f"{scene}: {len(found)} true pictures of camera 0 for {num_frames} input frames; "
            f"looked for {scene.name}/gt*/*.png, {beside}/v000_t*.png and mv_images/*/cam01.*"
        )
    return found[:num_frames]
