"""Data sets of scenes that stand still: Tanks and Temples, RealEstate10K, DL3DV.

From the first frame of a clip (the source, one picture) the views of the frames that follow are
asked for, as single-picture methods are evaluated on these sets (ViewCrafter, Yu et al. 2024): by
default 24 frames. Published tables choose clips and strides of their own; the notes say ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import CameraFile, read_cameras
from recam.camera_files.checks import as_poses, numbers, read_text
from recam.camera_files.colmap import model_folder
from recam.evaluation.datasets.pictures import (
    folders_with,
    picture_size,
    read_pictures,
    straightened,
)
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.geometry import intrinsics_from_fov, se3_inverse
from recam.media.pictures import natural_key, pictures_at
from recam.types import CameraPath, Cameras, RecamError, Video

SFM_LOG = "a Tanks and Temples log: per picture 'i i 0', then camera to world as 4×4 numbers"


def tanks_and_temples_samples(
    folder: Path, num_views: int = 24, stride: int = 1, fov_x_deg: float | None = None
) -> Iterator[EvaluationSample]:
    """Scenes with ``images/`` (or pictures in the scene's folder) and cameras.

    Cameras from a COLMAP model (sparse/0, as the set comes with 3D Gaussian splatting), else from
    the set's own <scene>_COLMAP_SfM.log, which has no intrinsics: then give fov_x_deg, the
    horizontal field of view. Raises RecamError when neither serves.
    """
    try:
        scenes = folders_with(folder, "sparse")
    except RecamError:
        scenes = folders_with(folder, "*_COLMAP_SfM.log")
    for scene in scenes:
        where = next((f for f in (scene / "images", scene) if f.is_dir()), scene)
        pictures = pictures_at(where) or []
        if (scene / "sparse").is_dir():
            pictures = _placed(scene, pictures)
            file = read_cameras(scene, "colmap", file=[f.name for f in pictures])
            file = file.resized(*picture_size(pictures[0]))
        else:
            log = min(scene.glob("*_COLMAP_SfM.log"))
            file, pictures = _read_log(log, fov_x_deg, pictures)
        yield _still_sample(scene.name, pictures, file, num_views, stride)


def _placed(scene: Path, pictures: list[Path]) -> list[Path]:
    """The pictures that COLMAP's model has a camera for: it drops what it cannot place."""
    import pycolmap

    folder = model_folder(scene)
    if folder is None:
        raise RecamError(f"{scene}/sparse holds no COLMAP model")
    images = pycolmap.Reconstruction(folder).images.values()
    names = {Path(image.name).name for image in images}
    placed = [f for f in pictures if f.name in names]
    if not placed:
        raise RecamError(f"{folder} has no camera for any picture of {pictures[0].parent}")
    return placed


def _read_log(
    path: Path, fov_x_deg: float | None, pictures: list[Path]
) -> tuple[CameraFile, list[Path]]:
    """The log's cameras and the picture of each: block 'i i 0' is about picture i."""
    if fov_x_deg is None:
        raise RecamError(
            f"{path} has no intrinsics; put COLMAP's model of the scene into sparse/0 beside it, "
            "or give fov_x_deg, the horizontal field of view"
        )
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    rows = [numbers(line, path, f"line {i + 1}") for i, line in enumerate(lines)]
    if not rows or [len(row) for row in rows] != [3, 4, 4, 4, 4] * (len(rows) // 5):
        raise ValueError(f"{path}: not blocks of 1 + 4 lines; expected {SFM_LOG}")
    index = [int(row[0]) for row in rows[::5]]
    if max(index) >= len(pictures):
        raise RecamError(f"{path} has a camera of picture {max(index)} of {len(pictures)}")
    matrices = np.array([rows[i + 1 : i + 5] for i in range(0, len(rows), 5)])
    cam_from_world = se3_inverse(as_poses(matrices, path, SFM_LOG))
    height, width = picture_size(pictures[0])
    k = intrinsics_from_fov(fov_x_deg, height, width).expand(len(index), 3, 3).clone()
    file = CameraFile("log", cam_from_world, k, height, width)
    return file, [pictures[i] for i in index]


def re10k_samples(folder: Path, num_views: int = 24, stride: int = 1) -> Iterator[EvaluationSample]:
    """RealEstate10K (Zhou et al. 2018): <id>.txt anywhere below, with the clip's pictures.

    Pictures are named by the file's timestamps in microseconds and lie in a folder <id> beside the
    file, or in frames/…/<id> at the same place below the data set. Lines without a picture are left
    out. Raises RecamError when there is no clip with pictures.
    """
    files = sorted(folder.rglob("*.txt")) if folder.is_dir() else []
    clips = [(file, found) for file in files if (found := _re10k_pictures(folder, file))]
    if not clips:
        raise RecamError(
            f"{folder} holds no <id>.txt with a folder <id> (or frames/…/<id>) of pictures named "
            "by timestamp"
        )
    for file, by_time in clips:
        height, width = picture_size(next(iter(by_time.values())))
        cameras = read_cameras(file, "re10k", height=height, width=width)
        lines = [line for line in read_text(file).splitlines() if len(line.split()) == 19]
        stamps = [line.split()[0] for line in lines]
        rows = [i for i, stamp in enumerate(stamps) if stamp in by_time]
        if not rows:
            raise RecamError(f"{file}: none of its timestamps names a picture of {file.stem}")
        pictures = [by_time[stamps[i]] for i in rows]
        chosen = CameraFile(
            "re10k", cameras.cam_from_world, cameras.intrinsics, height, width
        ).at_frames(torch.tensor(rows))
        times_s = [int(stamps[i]) / 1e6 for i in rows]
        yield _still_sample(file.stem, pictures, chosen, num_views, stride, times_s)


def _re10k_pictures(folder: Path, file: Path) -> dict[str, Path]:
    """Pictures of a clip by timestamp; empty when it has none."""
    below = file.relative_to(folder).parent
    for place in (file.with_suffix(""), folder / "frames" / below / file.stem):
        if place.is_dir():
            return {f.stem: f for f in pictures_at(place) or []}
    return {}


def dl3dv_samples(folder: Path, num_views: int = 24, stride: int = 1) -> Iterator[EvaluationSample]:
    """DL3DV-10K (Ling et al. 2024) in its nerfstudio layout: transforms.json and images*.

    Scenes are folders with transforms.json anywhere below (…/<hash>/ or …/<hash>/nerfstudio/). Of
    images, images_2, images_4, images_8 the largest that is there is read; the cameras are for the
    full size. The lens is undone, and what it did not see does not count.
    """
    files = sorted(folder.rglob("transforms.json")) if folder.is_dir() else []
    if not files:
        raise RecamError(f"{folder} holds no transforms.json, nor does any folder in it")
    for file in files:
        scene = file.parent
        sizes = sorted((f for f in scene.glob("images*") if f.is_dir()), key=natural_key)
        if not sizes:
            raise RecamError(f"{scene} has no folder images… with the pictures")
        pictures = pictures_at(sizes[0]) or []
        cameras = read_cameras(file, "nerfstudio", file=[f.name for f in pictures])
        cameras = cameras.resized(*picture_size(pictures[0]))
        name = scene.parent.name if scene.name == "nerfstudio" else scene.name
        yield _still_sample(name, pictures, cameras, num_views, stride)


def _still_sample(
    name: str,
    pictures: Sequence[Path],
    file: CameraFile,
    num_views: int,
    stride: int,
    times_s: Sequence[float] | None = None,
) -> EvaluationSample:
    cameras = file.cameras
    assert cameras is not None
    if len(cameras) != len(pictures):
        raise ValueError(f"{name}: {len(cameras)} cameras for {len(pictures)} pictures")
    index = list(range(stride, len(pictures), stride))[:num_views]
    if not index:
        raise RecamError(f"{name} has {len(pictures)} pictures; two or more are needed")
    times_s = [i / 24 for i in range(len(pictures))] if times_s is None else times_s
    lens, first_lens = (file.distortion_of(torch.tensor(i)) for i in (index, [0]))
    wanted = (
        lens, [pictures[i] for i in index], [times_s[i] for i in index],
        cameras[torch.tensor(index)],
    )  # fmt: skip
    path = CameraPath(wanted[3], torch.zeros(len(index), dtype=torch.int64))
    read_seen = None if file.distortion is None else partial(_seen, *wanted)
    return EvaluationSample(
        name=name,
        read_video=partial(_clip, first_lens, pictures[:1], times_s[:1], cameras[:1]),
        cameras=cameras[:1],
        views=(TargetView("following frames", path, partial(_clip, *wanted), read_seen),),
        notes=(
            f"from the first picture to the next {len(index)}, every {stride}.; a choice of ours, "
            "published tables choose their own clips",
            *file.notes,
        ),
    )


def _clip(
    lens: Tensor | None, files: Sequence[Path], times_s: Sequence[float], cameras: Cameras
) -> Video:
    return straightened(read_pictures(files, times_s), cameras, lens)[0]


def _seen(
    lens: Tensor | None, files: Sequence[Path], times_s: Sequence[float], cameras: Cameras
) -> Tensor:
    return straightened(read_pictures(files, times_s), cameras, lens)[1]
