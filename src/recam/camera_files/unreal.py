"""ReCamMaster's camera_extrinsics.json: Unreal Engine cameras (x forward, y right, z up; cm)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import as_poses, numbers, read_object
from recam.geometry import se3_inverse
from recam.runtime.records import write_json
from recam.types import Cameras

RECAMMASTER = (
    'ReCamMaster\'s {"frame0": {"cam01": "[r r r 0] [r r r 0] [r r r 0] [tx ty tz 1]"}}: row '
    "vectors, camera to world, Unreal axes (x forward, y right, z up), centimetres"
)
# Columns of OpenCV's axes (right, down, forward) in Unreal's camera axes (forward, right, up).
_OPENCV_IN_UNREAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=np.float64)
# Unreal's world is left-handed; mirroring y makes it right-handed and keeps every distance.
_MIRROR = np.diag([1.0, -1.0, 1.0])

_FRAME = re.compile(r"frame([0-9]{1,9})")


def read_recammaster(path: Path, camera: str | None) -> CameraFile:
    """One camera's poses. ``camera`` names it (cam01) where the file holds several.

    The world is Unreal's with y mirrored, in metres; all cameras of a file share it.
    """
    content = read_object(path).value
    frames = sorted(
        ((int(match[1]), content[key]) for key in content if (match := _FRAME.fullmatch(key))),
        key=lambda frame: frame[0],
    )
    if not frames or not all(isinstance(cameras, dict) for _, cameras in frames):
        raise ValueError(f"{path}: no frames; expected {RECAMMASTER}")
    names = sorted(frames[0][1])
    if camera is not None:
        camera = next((n for n in names if n == camera or n in Path(camera).stem), None)
    elif len(names) == 1:
        camera = names[0]
    if camera is None:
        raise ValueError(f"{path}: choose one of its cameras {', '.join(names)} (file=…)")
    matrices = []
    for index, cameras in frames:
        text = re.sub(r"[\[\]]", " ", str(cameras.get(camera, "")))
        values = numbers(text, path, f"frame{index} {camera}")
        if len(values) != 16:
            raise ValueError(
                f"{path}: frame{index} {camera} has {len(values)} numbers; expected {RECAMMASTER}"
            )
        matrices.append(np.array(values).reshape(4, 4).T)
    world_from_unreal = np.stack(matrices)
    poses = world_from_unreal.copy()
    poses[:, :3, :3] = _MIRROR @ world_from_unreal[:, :3, :3] @ _OPENCV_IN_UNREAL
    poses[:, :3, 3] = world_from_unreal[:, :3, 3] @ _MIRROR / 100
    return CameraFile(
        "recammaster", se3_inverse(as_poses(poses, path, RECAMMASTER)),
        frame_indices=torch.tensor([i for i, _ in frames]), metric=True, relative_to_first=True,
    )  # fmt: skip


def write_recammaster(path: Path, cameras: Cameras, camera: str, metres_per_unit: float) -> None:
    poses = cameras.world_from_cam.numpy()
    unreal = poses.copy()
    unreal[:, :3, :3] = _MIRROR @ poses[:, :3, :3] @ _OPENCV_IN_UNREAL.T
    unreal[:, :3, 3] = poses[:, :3, 3] @ _MIRROR * 100 * metres_per_unit
    content = {}
    for i, matrix in enumerate(unreal.transpose(0, 2, 1)):
        rows = " ".join(f"[{' '.join(f'{v:.10g}' for v in row)}]" for row in matrix)
        content[f"frame{i}"] = {camera: rows + " "}
    write_json(path, content)
