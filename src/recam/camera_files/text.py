"""Cameras in lines of text: TUM, KITTI, EuRoC, RealEstate10K / Wan-Fun, and 7-Scenes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from recam.camera_files.camera_file import CameraFile
from recam.camera_files.checks import (
    as_distortion,
    as_intrinsics,
    as_poses,
    intrinsics_size,
    numbers,
    picture_size,
    pinhole,
    read_text,
    size_from_center,
    size_near_center,
    split_numbers,
    write_text,
)
from recam.camera_files.clocks import seconds
from recam.camera_files.names import Wanted, in_order, parts_of, select
from recam.geometry import quaternion_from_rotation, rotation_from_quaternion, se3, se3_inverse
from recam.types import Cameras

TUM = "lines of: timestamp tx ty tz qx qy qz qw (camera to world, OpenCV axes)"
RE10K = (
    "a header line, then lines of 19 numbers: timestamp, fx fy cx cy as fractions of the picture, "
    "0 0, and world-to-camera as 3×4 numbers by row (OpenCV axes)"
)
SEVEN_SCENES = "frame-*.pose.txt files of 4×4 camera-to-world numbers (OpenCV axes, metres)"


KITTI = "KITTI's poses: lines of 12 numbers, camera to world 3×4 by row, OpenCV axes, metres"
MATRICES = (
    "lines of 16 numbers, 4×4 camera to world by row, OpenCV axes, as Depth Anything 3's "
    "streaming, VGGT-Long and Replica write them; fx fy cx cy of each in an intrinsic.txt beside"
)
EUROC = (
    "EuRoC's csv: timestamp in nanoseconds, position x y z, quaternion w x y z, body to world, "
    "metres"
)


def read_tum(path: Path) -> CameraFile:
    """A TUM trajectory. It holds no intrinsics. Its times belong to the source's clock, or are
    whole numbers, which may be frames."""
    table = _table(path, 8, TUM)
    _check_times(table[:, 0], path, TUM)
    world_from_cam = _from_quaternions(table[:, [7, 4, 5, 6]], table[:, 1:4], path, TUM)
    at = table[:, 0]
    whole = bool((at == at.round()).all()) and float(at[0]) >= 0 and float(at[-1]) < 2**40
    notes: tuple[str, ...] = ()
    if abs(float(table[0, 4])) > 1 - 1e-6:  # where others begin with no turn, if w comes first
        notes = (
            "its first quaternion is 1 0 0 0, as TUM's x y z w half a turn about x; programs that "
            "write w first mean no turn by it: put w last then",
        )
    return CameraFile(
        "tum", se3_inverse(world_from_cam), times_s=seconds(at), clock="source",
        numbers=at.to(torch.int64) if whole else None, notes=notes,
    )  # fmt: skip


def _table(path: Path, num_columns: int, expected: str, more: bool = False) -> torch.Tensor:
    """float64 [n, num_columns] of a text's lines; comments start with #. more: lines may be
    longer."""
    rows = []
    for i, line in enumerate(read_text(path).splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            row = numbers(line, path, f"line {i + 1}")
            if len(row) != num_columns and not (more and len(row) > num_columns):
                raise ValueError(
                    f"{path}: line {i + 1} has {len(row)} numbers; expected {expected}"
                )
            rows.append(row[:num_columns])
    if not rows:
        raise ValueError(f"{path}: no poses; expected {expected}")
    return torch.tensor(rows, dtype=torch.float64)


def _check_times(times: torch.Tensor, path: Path, expected: str) -> None:
    if not bool((times[1:] > times[:-1]).all()) or not bool(torch.isfinite(times).all()):
        raise ValueError(f"{path}: timestamps do not increase; expected {expected}")


def _from_quaternions(
    wxyz: torch.Tensor, center: torch.Tensor, path: Path, expected: str
) -> torch.Tensor:
    length = wxyz.norm(dim=1)
    if not bool(((length - 1).abs() < 0.02).all()):
        raise ValueError(f"{path}: quaternions that are not of length 1; expected {expected}")
    return as_poses(se3(rotation_from_quaternion(wxyz), center), path, expected)


def read_kitti(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A KITTI odometry trajectory; intrinsics from the calib.txt beside it, or in its sequence's
    folder, for pictures of the given size."""
    table = _table(path, 12, KITTI)
    world_from_cam = as_poses(table.reshape(-1, 3, 4), path, KITTI)
    intrinsics = None
    sequence = path.parent.parent / "sequences" / path.stem / "calib.txt"
    calibration = next((f for f in (path.parent / "calib.txt", sequence) if f.is_file()), None)
    notes: tuple[str, ...] = ()
    h, w = None, None
    if calibration is not None:
        intrinsics = _kitti_intrinsics(calibration, len(world_from_cam))
        h, w, notes = size_near_center(intrinsics, height, width)
    return CameraFile(
        "kitti", se3_inverse(world_from_cam), intrinsics, h, w, metric=True, notes=notes
    )


def _kitti_intrinsics(path: Path, num: int) -> torch.Tensor:
    for line in read_text(path).splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "P0":
            values = numbers(rest, path, "P0")
            if len(values) == 12:
                return as_intrinsics(np.array(values).reshape(3, 4)[:, :3], num, path)
    raise ValueError(f"{path}: no P0 of 12 numbers; expected KITTI's calib.txt")


def read_matrices(path: Path) -> CameraFile:
    """Lines of 4×4 matrices; intrinsics from an intrinsic.txt beside, for twice its centre."""
    poses = as_poses(_table(path, 16, MATRICES).reshape(-1, 4, 4), path, MATRICES)
    note = "its matrices are taken for camera to world, OpenCV axes"
    file = CameraFile("matrices", se3_inverse(poses), notes=(note,))
    beside = path.parent / "intrinsic.txt"
    if not beside.is_file():
        return file
    rows = _table(beside, 4, MATRICES).numpy()
    if len(rows) not in {1, len(file)}:
        raise ValueError(f"{beside}: {len(rows)} lines for {len(file)} cameras of {path.name}")
    k = as_intrinsics(pinhole(*rows.repeat(len(file) // len(rows), 0).T), len(file), beside)
    h, w, notes = intrinsics_size(k, None)
    return replace(file, intrinsics=k, height=h, width=w, notes=(note, *notes))


def read_euroc(path: Path, wanted: Wanted) -> CameraFile:
    """An EuRoC ground truth: poses of the body, moved to the source's camera (else cam0) by its
    ``sensor.yaml`` where that lies in the data set's folder; its lens as well."""
    table = _table(path, 8, EUROC, more=True)
    _check_times(table[:, 0], path, EUROC)
    world_from_body = _from_quaternions(table[:, 4:8], table[:, 1:4], path, EUROC)
    file = CameraFile(
        "euroc", se3_inverse(world_from_body), times_s=seconds(table[:, 0]), clock="source",
        metric=True,
    )  # fmt: skip
    sensor = euroc_sensor(path, wanted.source)
    if sensor is None:
        note = (
            "EuRoC's poses are of the body and are taken for the camera's: no cam0/sensor.yaml "
            "beside says how the camera is mounted"
        )
        return replace(file, notes=(note,))
    return _through_sensor(file, world_from_body, sensor)


def euroc_sensor(path: Path, source: str | None = None) -> Path | None:
    """The sensor.yaml of the camera that the source is of, beside a ground truth."""
    named = [part for part in parts_of(source or "") if re.fullmatch(r"cam[0-9]", part)]
    for camera in [*named[::-1], "cam0"]:
        for folder in (path.parent, path.parent.parent):
            if (folder / camera / "sensor.yaml").is_file():
                return folder / camera / "sensor.yaml"
    return None


def _through_sensor(file: CameraFile, world_from_body: torch.Tensor, sensor: Path) -> CameraFile:
    text = read_text(sensor)
    mounted = _yaml_numbers(text, r"T_BS:.*?data", sensor, 16)
    if mounted is None:
        raise ValueError(f"{sensor}: no T_BS of 16 numbers; expected EuRoC's sensor.yaml")
    body_from_cam = as_poses(np.array(mounted).reshape(1, 4, 4), sensor, "EuRoC's T_BS")[0]
    note = f"poses of the body, moved to {sensor.parent.name} by its sensor.yaml"
    file = replace(file, cam_from_world=se3_inverse(world_from_body @ body_from_cam), notes=(note,))
    lens = _yaml_numbers(text, "intrinsics", sensor, 4)
    size = _yaml_numbers(text, "resolution", sensor, 2)
    if lens is None or size is None:
        return file
    k = as_intrinsics(pinhole(*lens)[0], len(file), sensor)
    height, width = picture_size(size[1], size[0], sensor)
    model = re.search(r"distortion_model:\s*([\w-]+)", text)
    kind = model[1].lower() if model else "radial-tangential"
    if kind not in {"radial-tangential", "radtan", "equidistant", "none"}:
        raise ValueError(f"{sensor}: distortion_model {kind}; recam undoes radial-tangential")
    bent = _yaml_numbers(text, "distortion_coefficients", sensor, 4) or [0.0] * 4
    return replace(
        file, intrinsics=k, height=height, width=width, distortion=as_distortion(bent, sensor),
        lens="fisheye" if kind == "equidistant" else "opencv",
    )  # fmt: skip


def _yaml_numbers(text: str, name: str, path: Path, count: int) -> list[float] | None:
    """A list of so many numbers of a YAML file; None where it has none."""
    found = re.search(rf"{name}:\s*\[([^\]]*)\]", text, re.DOTALL)
    values = numbers(found[1].replace("\n", " "), path, name) if found else []
    return values if len(values) == count else None


def write_tum(path: Path, cameras: Cameras, times_s: torch.Tensor) -> None:
    world_from_cam = cameras.world_from_cam
    quaternion = quaternion_from_rotation(world_from_cam[:, :3, :3])[:, [1, 2, 3, 0]]
    table = torch.cat([times_s[:, None], world_from_cam[:, :3, 3], quaternion], 1)
    lines = [" ".join(f"{v:.12g}" for v in row) for row in table.tolist()]
    write_text(path, "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n")


def read_re10k(path: Path, height: int | None, width: int | None) -> CameraFile:
    """A RealEstate10K or Wan-Fun camera file.

    Its intrinsics are fractions of the picture, so they fit any size; without one the picture
    counts as 720 px high and as wide as square pixels ask for.
    """
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: empty; expected {RE10K}")
    first = 0 if len(split_numbers(lines[0])) == 19 else 1
    rows = [numbers(line, path, f"line {i + first + 1}") for i, line in enumerate(lines[first:])]
    wrong = [i for i, row in enumerate(rows) if len(row) != 19]
    if wrong or not rows:
        got = (
            f"line {wrong[0] + first + 1} has {len(rows[wrong[0]])} numbers"
            if wrong
            else "no poses"
        )
        raise ValueError(f"{path}: {got}; expected {RE10K}")
    table = np.array(rows)
    if np.any(table[:, 3:5] > 1.5) or np.any(table[:, 3:5] < -0.5):
        raise ValueError(
            f"{path}: the principal point is not a fraction of the picture; expected {RE10K}"
        )
    w2c = as_poses(table[:, 7:].reshape(-1, 3, 4), path, RE10K)
    notes: tuple[str, ...] = ()
    if height is None or width is None:
        height = 720
        width = round(height * float(np.median(table[:, 2] / table[:, 1])))
        notes = (f"size taken as {width}×{height}, where the file's pixels are square",)
    k = pinhole(
        table[:, 1] * width, table[:, 2] * height, table[:, 3] * width, table[:, 4] * height
    )
    # RealEstate10K counts microseconds; Wan-Fun's files hold zeros or frame numbers.
    microseconds = table[:, 0]
    times = torch.from_numpy(microseconds / 1e6) if np.all(np.diff(microseconds) > 1e3) else None
    return CameraFile(
        "re10k", w2c, as_intrinsics(k, len(w2c), path), height, width, times_s=times,
        relative_to_first=True, notes=notes,
    )  # fmt: skip


def write_re10k(path: Path, cameras: Cameras, times_s: torch.Tensor, header: str) -> None:
    k, h, w = cameras.intrinsics, cameras.height, cameras.width
    lines = [header]
    for i in range(len(cameras)):
        normalised = [k[i, 0, 0] / w, k[i, 1, 1] / h, k[i, 0, 2] / w, k[i, 1, 2] / h]
        values = [*map(float, normalised), 0, 0, *cameras.cam_from_world[i, :3].flatten().tolist()]
        microseconds = round(float(times_s[i]) * 1e6)
        lines.append(" ".join([str(microseconds), *(f"{v:.12g}" for v in values)]))
    write_text(path, "\n".join(lines) + "\n")


def read_7scenes(path: Path, wanted: Wanted) -> CameraFile:
    """A folder of 7-Scenes poses, in the order of their names; camera-intrinsics.txt if present.

    The frames are those that have a pose file. The intrinsics there are the depth camera's.
    """
    files = in_order(path.glob("*.pose.txt")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no poses; expected {SEVEN_SCENES}")
    chosen = select(
        [f.name.removesuffix(".pose.txt") + ".png" for f in files], _color(wanted), path
    )
    poses = []
    for file in (files[i] for i in chosen.indices):
        values = numbers(read_text(file).replace("\n", " "), file, "the file")
        if len(values) != 16:
            raise ValueError(f"{file}: {len(values)} numbers; expected {SEVEN_SCENES}")
        poses.append(np.array(values).reshape(4, 4))
    world_from_cam = as_poses(np.stack(poses), path, SEVEN_SCENES)
    intrinsics, height, width = None, None, None
    calibration = files[0].parent / "camera-intrinsics.txt"
    notes: tuple[str, ...] = ()
    if calibration.is_file():
        values = numbers(read_text(calibration).replace("\n", " "), calibration, "the file")
        if len(values) != 9:
            raise ValueError(f"{calibration}: {len(values)} numbers; expected a 3×3 matrix")
        intrinsics = as_intrinsics(np.array(values).reshape(3, 3), len(poses), calibration)
        height, width = size_from_center(intrinsics)
        height, width = picture_size(height, width, calibration)
        notes = ("intrinsics are the depth camera's; the colour camera's focal length is shorter",)
    return CameraFile(
        "7scenes", se3_inverse(world_from_cam), intrinsics, height, width,
        frame_indices=chosen.frames, metric=True, numbers=chosen.numbers, missing=chosen.missing,
        notes=notes + chosen.notes,
    )  # fmt: skip


def _color(wanted: Wanted) -> Wanted:
    """The pictures' names without ``.color``, as those of their poses."""
    if wanted.pictures is None:
        return wanted
    return Wanted(wanted.source, tuple(p.replace(".color.", ".") for p in wanted.pictures))


def write_7scenes(path: Path, cameras: Cameras) -> None:
    for i, pose in enumerate(cameras.world_from_cam.tolist()):
        rows = "\n".join("\t ".join(f"{v:.12e}" for v in row) for row in pose)
        write_text(path / f"frame-{i:06d}.pose.txt", rows + "\n")
    rows = "\n".join(" ".join(f"{v:.12e}" for v in row) for row in cameras.intrinsics[0].tolist())
    write_text(path / "camera-intrinsics.txt", rows + "\n")
