"""Synchronised, calibrated webcams of a caliscope project: real truth for moving scenes.

camera_array.toml                        cameras.<n>: matrix, distortions, rotation and
                                         translation (world to camera), size, in metres
calibration/extrinsic/cam_<n>.mp4        frame i of all files is the same moment
calibration/extrinsic/CHARUCO/xyz_CHARUCO.csv    corners of the board in the cameras' world, with
calibration/extrinsic/timestamps.csv     the moments' numbers (sync_index); both may be missing
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.checks import as_distortion, as_intrinsics, as_poses, read_text
from recam.evaluation.datasets.pictures import straightened
from recam.evaluation.datasets.sample import EvaluationSample, TargetView
from recam.geometry import so3_exp
from recam.media import probe, read_video
from recam.types import CameraPath, Cameras, RecamError, Video

CALISCOPE = "caliscope's cameras.<n>: matrix, rotation and translation, world to camera"
POINTS = Path("calibration/extrinsic/CHARUCO/xyz_CHARUCO.csv")
MOMENTS = Path("calibration/extrinsic/timestamps.csv")
XYZ = ("x_coord", "y_coord", "z_coord")
PAIRS = ((3, 0), (0, 2), (2, 3))
"""Source and target camera: 6°, 35° and 39° apart in the project at hand."""


def caliscope_samples(
    folder: Path, pairs: tuple[tuple[int, int], ...] = PAIRS, num_frames: int | None = None
) -> Iterator[EvaluationSample]:
    """One sample for each pair (source camera, target camera); lenses undone.

    num_frames: at most this many frames from the start. Exposure and white balance differ between
    webcams: fit colour (``fit_color``) on known pixels before comparing. Raises RecamError for
    missing files, ValueError for broken ones.
    """
    lenses = read_camera_array(folder / "camera_array.toml")
    for pair in pairs:
        missing = [c for c in pair if c not in lenses]
        if missing:
            raise RecamError(f"{folder} has no calibrated camera {missing[0]}: {sorted(lenses)}")
    for source, target in pairs:
        (camera, lens), (wanted, wanted_lens) = lenses[source], lenses[target]
        clips = [folder / "calibration" / "extrinsic" / f"cam_{c}.mp4" for c in (source, target)]
        n = min(_num_frames(clip, num_frames) for clip in clips)
        same = torch.zeros(n, dtype=torch.int64)
        yield EvaluationSample(
            name=f"camera {source} to {target}",
            read_video=partial(_video, clips[0], camera, lens, n),
            cameras=camera[same],
            views=(
                TargetView(
                    f"camera {target}",
                    CameraPath(wanted[same], torch.arange(n)),
                    partial(_video, clips[1], wanted, wanted_lens, n),
                    partial(_seen, clips[1], wanted, wanted_lens, n),
                ),
            ),
            read_points=partial(board_points, folder, n) if _has_points(folder) else None,
            metres_per_unit=1.0,
            notes=(
                "lenses undone; pixels that the target's lens did not see are not counted",
                "webcams differ in exposure and white balance: colour is to be fitted first",
            ),
        )


def read_camera_array(path: Path) -> dict[int, tuple[Cameras, Tensor | None]]:
    """Each camera (one) and its lens [5] (OpenCV), by number, of a camera_array.toml."""
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML ({error})") from error
    found = {}
    for entry in content.get("cameras", {}).values():
        if not entry.get("ignore", False):
            found[int(entry["cam_id"])] = _camera(path, entry)
    if not found:
        raise ValueError(f"{path}: no cameras; expected {CALISCOPE}")
    return found


def _camera(path: Path, entry: dict[str, Any]) -> tuple[Cameras, Tensor | None]:
    if entry.get("rotation_count", 0):
        raise ValueError(f"{path}: pictures turned by rotation_count; recam reads unturned ones")
    try:
        rotation = np.array(entry["rotation"], dtype=np.float64)
        shift = np.array(entry["translation"], dtype=np.float64)
        width, height = (int(v) for v in entry["size"])
        matrix, lens = entry["matrix"], entry.get("distortions", [0.0])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no {error}; expected {CALISCOPE}") from error
    if rotation.shape == (3,):  # some versions write rotation vectors
        rotation = so3_exp(torch.from_numpy(rotation)).numpy()
    pose = as_poses(np.concatenate([rotation, shift.reshape(3, 1)], 1)[None], path, CALISCOPE)
    cameras = Cameras(pose, as_intrinsics(matrix, 1, path), height, width)
    return cameras, as_distortion(lens, path)


def _has_points(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (POINTS, MOMENTS))


def board_points(folder: Path, num_frames: int) -> tuple[Tensor, Tensor]:
    """Frame int64 [k] and place in the world float64 [k, 3] of the board's corners, as triangulated
    by the calibration, in the first num_frames frames. Raises ValueError for broken files."""
    rows = {}
    for name, columns in ((POINTS, ("sync_index", *XYZ)), (MOMENTS, ("sync_index",))):
        reader = csv.DictReader(read_text(folder / name).splitlines())
        try:
            rows[name] = [[float(row[c]) for c in columns] for row in reader]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / name}: no {error}; expected columns {columns}") from error
    moments = sorted({int(row[0]) for row in rows[MOMENTS]})
    number = {moment: i for i, moment in enumerate(moments)}
    found = [(number[int(r[0])], r[1:]) for r in rows[POINTS] if int(r[0]) in number]
    found = [(i, place) for i, place in found if i < num_frames]
    places = torch.tensor([place for _, place in found], dtype=torch.float64).view(-1, 3)
    return torch.tensor([i for i, _ in found], dtype=torch.int64), places


def _num_frames(clip: Path, at_most: int | None) -> int:
    n = probe(clip).num_frames or len(read_video(clip, max_side=64))
    return n if at_most is None else min(n, at_most)


def _video(clip: Path, camera: Cameras, lens: Tensor | None, num_frames: int) -> Video:
    return straightened(read_video(clip, num_frames=num_frames), camera, lens)[0]


def _seen(clip: Path, camera: Cameras, lens: Tensor | None, num_frames: int) -> Tensor:
    return straightened(read_video(clip, num_frames=num_frames), camera, lens)[1]
