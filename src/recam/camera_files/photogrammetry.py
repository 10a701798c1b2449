"""Cameras of Agisoft Metashape (XML) and RealityCapture / RealityScan (csv, xmp)."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile, LensKind
from recam.camera_files.checks import (
    as_distortion,
    as_intrinsics,
    as_lenses,
    as_poses,
    numbers,
    picture_size,
    pinhole,
    read_text,
)
from recam.camera_files.names import Wanted, in_order, select
from recam.camera_files.nerfstudio import FLIP
from recam.geometry import se3_inverse
from recam.runtime.records import shown

METASHAPE = (
    "Metashape's cameras XML: transform, 16 numbers by row, camera to chunk, OpenCV axes, and "
    "sensors with a calibration of f, cx, cy from the picture's middle"
)
REALITY_CSV = (
    "RealityCapture's csv: #name, x, y, alt, heading, pitch, roll (degrees), f in millimetres of a "
    "36 mm picture"
)
REALITY_XMP = (
    "RealityCapture's xmp beside each picture: xcr:Rotation, world to camera by row, OpenCV axes, "
    "xcr:Position, FocalLength35mm"
)
_FULL_FRAME_MM = 36.0


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises ValueError for a broken one, or one that defines entities."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path}: XML with a document type, which no camera file has")
    try:
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, RecursionError) as error:
        raise ValueError(f"{path}: not XML ({error})") from error


# --- Metashape ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sensor:
    """A lens: intrinsics [3, 3] or None, size, distortion as of ``CameraFile``; in a rig also its
    place, master from this [4, 4]."""

    k: np.ndarray | None
    height: int
    width: int
    distortion: tuple[float, ...]
    lens: LensKind
    in_rig: np.ndarray | None


def read_metashape(path: Path, wanted: Wanted) -> CameraFile:
    """A Metashape export. Cameras that were not aligned, or are switched off, are left out; what is
    scaled by the chunk's transform is in metres."""
    root = read_xml(path)
    chunks = [c for c in root.iter("chunk") if c.find("cameras") is not None]
    if len(chunks) != 1:
        raise ValueError(f"{path}: {len(chunks)} chunks with cameras; expected one, as {METASHAPE}")
    (chunk,) = chunks
    sensors = {e.get("id", ""): e for e in chunk.iter("sensor") if e.find("resolution") is not None}
    components = {
        e.get("id", ""): _similarity(e.find("transform"), path) for e in chunk.iter("component")
    }
    entries = [e for e in chunk.iter("camera") if e.get("id") is not None]
    own = {e.get("id"): _matrix(e.findtext("transform"), path) for e in entries}
    placed = []
    for entry in entries:
        off = entry.get("enabled", "true").lower() in {"false", "0"}
        pose = _placed(entry, own, sensors, path)
        if pose is not None and not off:
            # A component's or the chunk's transform would turn into the globe's axes; of both only
            # the scale is taken.
            scale = components.get(entry.get("component_id", ""))
            pose[:3, 3] *= 1.0 if scale is None else scale
            placed.append((entry, entry.get("sensor_id", ""), pose))
    if not placed:
        raise ValueError(f"{path}: no aligned camera; expected {METASHAPE}")
    chosen = select(_labels(chunk, [entry for entry, _, _ in placed]), wanted, path)
    placed = [placed[i] for i in chosen.indices]
    used = {sensor for _, sensor, _ in placed}
    if len(used) > 1 and len({_key(_sensor(sensors, s, path)) for s in used}) > 1:
        raise ValueError(f"{path}: cameras of {len(used)} sensors; choose one video (file=…)")
    sensor = _sensor(sensors, placed[0][1], path)
    poses = as_poses(np.stack([pose for _, _, pose in placed]), path, METASHAPE)
    chunk_scale = _similarity(chunk.find("transform"), path)
    if chunk_scale is not None:
        poses[:, :3, 3] *= chunk_scale
    k = None if sensor.k is None else as_intrinsics(sensor.k, len(poses), path)
    notes: tuple[str, ...] = ()
    if len(placed) < len(entries):
        out = len(entries) - len(placed)
        notes = (f"{out} of {len(entries)} cameras are not aligned or not of this video",)
    if sensor.k is None and sensor.lens != "equirectangular":
        notes += ("its sensor has no calibration: give --fov",)
    return CameraFile(
        "metashape", se3_inverse(poses), k, None if k is None else sensor.height,
        None if k is None else sensor.width, frame_indices=chosen.frames,
        distortion=as_distortion(sensor.distortion, path), lens=sensor.lens,
        metric=chunk_scale is not None, numbers=chosen.numbers, missing=chosen.missing,
        notes=notes + chosen.notes,
    )  # fmt: skip


def _labels(chunk: ElementTree.Element, entries: list[ElementTree.Element]) -> list[str]:
    """The cameras' labels; where some are the same, each with its groups before it."""
    labels = [e.get("label", e.get("id", "")) for e in entries]
    if len(set(labels)) == len(labels):
        return labels
    within = [(g.get("label", ""), set(g.iter("camera"))) for g in chunk.iter("group")]
    return [
        "/".join([*(name for name, cameras in within if entry in cameras), label])
        for entry, label in zip(entries, labels)
    ]


def _key(sensor: _Sensor) -> tuple:
    k = () if sensor.k is None else tuple(sensor.k.ravel())
    return k, sensor.height, sensor.width, sensor.distortion, sensor.lens


def _matrix(text: str | None, path: Path) -> np.ndarray | None:
    if not text or not text.strip():
        return None
    values = numbers(text.replace("\n", " "), path, "transform")
    if len(values) != 16:
        raise ValueError(f"{path}: a transform of {len(values)} numbers; expected {METASHAPE}")
    return np.array(values).reshape(4, 4)


def _similarity(element: ElementTree.Element | None, path: Path) -> float | None:
    """The scale of a chunk's or component's transform, None where it has none."""
    text = None if element is None else element.findtext("scale")
    if not text:
        return None
    values = numbers(text, path, "scale")
    if len(values) != 1 or not 1e-9 < values[0] < 1e9:
        raise ValueError(f"{path}: scale is {text.strip()[:40]!r}; expected a positive number")
    return values[0]


def _placed(
    entry: ElementTree.Element,
    own: dict[str | None, np.ndarray | None],
    sensors: dict[str, ElementTree.Element],
    path: Path,
) -> np.ndarray | None:
    """Camera to chunk; of a rig's second camera from its master's and its sensor's place in it."""
    pose = own[entry.get("id")]
    if pose is not None:
        return pose.copy()
    master = own.get(entry.get("master_id"))
    if master is None or entry.get("sensor_id", "") not in sensors:
        return None
    in_rig = _sensor(sensors, entry.get("sensor_id", ""), path).in_rig
    return None if in_rig is None else master @ in_rig


def _sensor(sensors: dict[str, ElementTree.Element], name: str, path: Path) -> _Sensor:
    if name not in sensors:
        raise ValueError(f"{path}: a camera of sensor {name!r}, which is not there")
    element = sensors[name]
    resolution = element.find("resolution")
    assert resolution is not None
    size = [resolution.get("width", ""), resolution.get("height", "")]
    values = numbers(" ".join(size), path, f"resolution of sensor {name}")
    if len(values) != 2:
        raise ValueError(f"{path}: sensor {name} without width and height; expected {METASHAPE}")
    height, width = picture_size(values[1], values[0], path)
    kind = element.get("type", "frame")
    in_rig = _place_in_rig(element, path)
    if kind == "spherical":
        return _Sensor(None, height, width, (), "equirectangular", in_rig)
    if kind not in {"frame", "fisheye", "equidistant_fisheye"}:
        raise ValueError(f"{path}: sensor {name} is {kind}; recam reads frame, fisheye, spherical")
    lens: LensKind = "opencv" if kind == "frame" else "fisheye"
    found = {c.get("class", "adjusted"): c for c in element.findall("calibration")}
    calibration = found.get("adjusted", found.get("initial"))
    if calibration is None:
        return _Sensor(_nominal(element, height, width), height, width, (), lens, in_rig)
    p = {e.tag: numbers(e.text or "", path, e.tag) for e in calibration if e.tag != "resolution"}
    v = {tag: row[0] for tag, row in p.items() if len(row) == 1}
    if "f" not in v:
        raise ValueError(f"{path}: sensor {name} has a calibration without f; expected {METASHAPE}")
    middle = width / 2 + v.get("cx", 0.0), height / 2 + v.get("cy", 0.0)
    k = pinhole(v["f"] + v.get("b1", 0.0), v["f"], *middle)[0]
    k[0, 1] = v.get("b2", 0.0)
    if lens == "opencv":
        if v.get("k4", 0.0):
            raise ValueError(f"{path}: sensor {name} has k4; recam undoes k1, k2, k3, p1, p2")
        # Metashape's p1 and p2 are OpenCV's p2 and p1.
        order: tuple[str, ...] = ("k1", "k2", "p2", "p1", "k3")
    else:
        if v.get("p1", 0.0) or v.get("p2", 0.0):
            raise ValueError(
                f"{path}: sensor {name} is a fisheye with p1, p2; recam undoes k1 … k4"
            )
        order = ("k1", "k2", "k3", "k4")
    return _Sensor(k, height, width, tuple(v.get(n, 0.0) for n in order), lens, in_rig)


def _nominal(element: ElementTree.Element, height: int, width: int) -> np.ndarray | None:
    """Intrinsics from the lens's and the pixels' size in millimetres, as the camera wrote them."""
    said = {e.get("name"): e.get("value") for e in element.findall("property")}
    try:
        focal = float(said.get("focal_length") or "") / float(said.get("pixel_width") or "")
    except (ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(focal) or focal <= 0:
        return None
    return pinhole(focal, focal, width / 2, height / 2)[0]


def _place_in_rig(element: ElementTree.Element, path: Path) -> np.ndarray | None:
    rotation, location = element.findtext("rotation"), element.findtext("location")
    if not rotation or not location:
        return None
    turn = numbers(rotation.replace("\n", " "), path, "rotation")
    shift = numbers(location.replace("\n", " "), path, "location")
    if len(turn) != 9 or len(shift) != 3:
        raise ValueError(f"{path}: a sensor's rotation and location need 9 and 3 numbers")
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = np.array(turn).reshape(3, 3), shift
    return place


# --- RealityCapture ----------------------------------------------------------------------------


def read_reality_csv(
    path: Path, height: int | None, width: int | None, wanted: Wanted
) -> CameraFile:
    """RealityCapture's "Internal/External camera parameters" csv; a z-up world.

    Without a picture size it gives no intrinsics: its focal lengths are for a picture 36 mm long.
    """
    rows = _csv_rows(path)
    needed = ("x", "y", "alt", "heading", "pitch", "roll")
    if not rows or "#name" not in rows[0] or not all(n in rows[0] for n in needed):
        raise ValueError(
            f"{path}: columns {list(rows[0])[:8] if rows else []}; expected {REALITY_CSV}"
        )
    chosen = select([row["#name"] or "" for row in rows], wanted, path)
    rows = [rows[i] for i in chosen.indices]
    table = {name: _column(rows, name, path) for name in needed}
    turn = _heading_pitch_roll(table["heading"], table["pitch"], table["roll"])
    center = np.stack([table["x"], table["y"], table["alt"]], -1)
    gl = as_poses(np.concatenate([turn, center[:, :, None]], -1), path, REALITY_CSV)
    k, distortion = None, None
    if height is not None and width is not None and "f" in rows[0]:
        px = max(height, width) / _FULL_FRAME_MM
        focal = px * _column(rows, "f", path)
        shift = [px * _column(rows, n, path) if n in rows[0] else 0.0 for n in ("px", "py")]
        middle = width / 2 + shift[0], height / 2 + shift[1]
        k = as_intrinsics(pinhole(focal, focal, *middle), len(gl), path)
        distortion = _brown(
            [[float(c) for c in _lens_row(row, path)] for row in rows], path, REALITY_CSV
        )
    h, w = (None, None) if k is None else (height, width)
    return CameraFile(
        "realitycapture", se3_inverse(gl @ FLIP), k, h, w, frame_indices=chosen.frames,
        distortion=distortion, numbers=chosen.numbers, missing=chosen.missing, notes=chosen.notes,
    )  # fmt: skip


def _csv_rows(path: Path) -> list[dict[str, str]]:
    """Rows by column; as spreadsheets save them again too: apart by ; with decimal commas."""
    lines = read_text(path).splitlines()
    if lines and lines[0].startswith("#cameras"):  # how many there are
        lines = lines[1:]
    if not lines or ";" not in lines[0]:
        return list(csv.DictReader(lines, skipinitialspace=True))
    return [
        {k: v if k == "#name" else str(v).replace(",", ".") for k, v in row.items()}
        for row in csv.DictReader(lines, delimiter=";", skipinitialspace=True)
    ]


def _column(rows: list[dict[str, str]], name: str, path: Path) -> np.ndarray:
    values = [numbers(row[name] or "", path, f"{name} of {row['#name']}") for row in rows]
    if not all(len(v) == 1 for v in values):
        raise ValueError(f"{path}: a row without {name}; expected {REALITY_CSV}")
    return np.array(values)[:, 0]


def _lens_row(row: dict[str, str], path: Path) -> list[float]:
    names = ("k1", "k2", "k3", "k4", "t1", "t2")
    return [v for n in names for v in (numbers(row.get(n) or "0", path, n) or [0.0])[:1]]


def _heading_pitch_roll(heading: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Camera to world [n, 3, 3], OpenGL axes: with all zero it looks straight down, north up.

    Rz(−heading)·Rx(pitch)·Ry(roll), in degrees.
    """
    z, x, y = np.deg2rad(-heading), np.deg2rad(pitch), np.deg2rad(roll)
    zero, one = np.zeros_like(z), np.ones_like(z)

    def matrix(rows: list[list[np.ndarray]]) -> np.ndarray:
        return np.stack([np.stack(row, -1) for row in rows], -2)

    about_z = [[np.cos(z), -np.sin(z), zero], [np.sin(z), np.cos(z), zero], [zero, zero, one]]
    about_x = [[one, zero, zero], [zero, np.cos(x), -np.sin(x)], [zero, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), zero, np.sin(y)], [zero, one, zero], [-np.sin(y), zero, np.cos(y)]]
    return matrix(about_z) @ matrix(about_x) @ matrix(about_y)


def _brown(rows: list[list[float]], path: Path, expected: str) -> Tensor | None:
    """OpenCV's coefficients of each picture's k1 k2 k3 k4 t1 t2."""
    rows = [(row + [0.0] * 6)[:6] for row in rows]
    if any(any(row[3:]) for row in rows):
        raise ValueError(
            f"{path}: distortion with k4, t1 or t2; recam undoes k1, k2, k3 of these lenses: "
            f"export undistorted pictures; expected {expected}"
        )
    return as_lenses([[k1, k2, 0.0, 0.0, k3] for k1, k2, k3, *_ in rows], path)


def xmp_files(path: Path) -> list[Path]:
    """RealityCapture's files of a folder, one beside each picture."""
    if not path.is_dir():
        return [path]
    return in_order(f for f in path.iterdir() if f.suffix.lower() == ".xmp")


def read_reality_xmp(
    path: Path, height: int | None, width: int | None, wanted: Wanted
) -> CameraFile:
    """A folder of RealityCapture's xmp files; without a picture size it gives no intrinsics."""
    files = xmp_files(path)
    if not files:
        raise ValueError(f"{path}: no xmp; expected {REALITY_XMP}")
    chosen = select([f.stem for f in files], wanted, path)
    files = [files[i] for i in chosen.indices]
    fields = [_xmp_fields(file) for file in files]
    for f, g in zip(fields, files):
        _check_xmp_lens(f, g)
    turn = np.stack([_xmp(f, "Rotation", 9, file) for f, file in zip(fields, files)])
    center = np.stack([_xmp(f, "Position", 3, file) for f, file in zip(fields, files)])
    rotation = torch.from_numpy(turn.reshape(-1, 3, 3))
    shift = -(rotation @ torch.from_numpy(center)[:, :, None])
    poses = as_poses(torch.cat([rotation, shift], -1), path, REALITY_XMP)
    k, distortion = None, None
    if height is not None and width is not None:
        px = max(height, width)
        focal = np.array([_xmp(f, "FocalLength35mm", 1, g)[0] for f, g in zip(fields, files)])
        u, v = (
            np.array([_xmp(f, name, 1, g, (0.0,))[0] for f, g in zip(fields, files)])
            for name in ("PrincipalPointU", "PrincipalPointV")
        )
        focal_px = focal * px / _FULL_FRAME_MM
        middle = width / 2 + px * u, height / 2 + px * v
        k = as_intrinsics(pinhole(focal_px, focal_px, *middle), len(poses), path)
        none = (0.0,) * 6
        lenses = [_xmp(f, "DistortionCoeficients", 6, g, none) for f, g in zip(fields, files)]
        distortion = _brown([lens.tolist() for lens in lenses], path, REALITY_XMP)
    h, w = (None, None) if k is None else (height, width)
    return CameraFile(
        "realitycapture-xmp", poses, k, h, w, frame_indices=chosen.frames, distortion=distortion,
        numbers=chosen.numbers, missing=chosen.missing, notes=chosen.notes,
    )  # fmt: skip


def _check_xmp_lens(fields: dict[str, str], path: Path) -> None:
    """Raises ValueError for a lens that Brown's coefficients and square pixels do not say."""
    model = fields.get("DistortionModel", "brown3").lower()
    bent = _xmp(fields, "DistortionCoeficients", 6, path, (0.0,) * 6)
    if bent.any() and not model.startswith(("brown", "perspective")):
        raise ValueError(
            f"{path}: lens distortion of the model {shown(model)}; recam undoes brown3: align with "
            "that model, or export undistorted pictures"
        )
    aspect, skew = (
        _xmp(fields, name, 1, path, (usual,))[0]
        for name, usual in (("AspectRatio", 1.0), ("Skew", 0.0))
    )
    if abs(aspect - 1) > 1e-3 or abs(skew) > 1e-3:
        raise ValueError(
            f"{path}: pixels that are not square (AspectRatio {aspect:g}, Skew {skew:g}); export "
            "undistorted pictures"
        )


def _xmp_fields(path: Path) -> dict[str, str]:
    """Attributes and texts of an xmp by name, without their namespaces."""
    fields: dict[str, str] = {}
    for element in read_xml(path).iter():
        named = [*element.attrib.items(), (element.tag, element.text or "")]
        fields |= {name.rpartition("}")[2]: value for name, value in named if value.strip()}
    return fields


def _xmp(
    fields: dict[str, str], name: str, count: int, path: Path, default: tuple[float, ...] = ()
) -> np.ndarray:
    if name not in fields and default:
        return np.array(default)
    values = numbers(fields.get(name, "").replace("\n", " "), path, name)
    if len(values) != count:
        raise ValueError(
            f"{path}: {name} has {len(values)} numbers, not {count}; expected {REALITY_XMP}"
        )
    return np.array(values)
