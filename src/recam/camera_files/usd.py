"""USD's text form, .usda: an animated camera, and points where a scene is written.

World with y up, cameras x right, y up, z backward, matrices of row vectors. Focal length and
aperture are of a film of 36 mm, in tenths of a scene unit, as UsdGeomCamera's schema has them; the
principal point is the aperture's offset. Time codes are frame numbers from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from recam.camera_files.checks import write_text
from recam.camera_files.graphics_axes import (
    FILM_WIDTH_MM,
    FIRST_FRAME,
    frame_rate,
    points_y_up,
    y_up_from_cam,
)
from recam.types import Cameras


def write_usd(
    path: Path,
    cameras: Cameras,
    times_s: Tensor,
    frames: Tensor,
    metres_per_unit: float | None,
    points: tuple[Tensor, Tensor] | None = None,
) -> None:
    """A stage with ``/recam/camera``, and ``/recam/points`` where points are given.

    times_s [n] in seconds and frames int64 [n], counted from 0, of the cameras. metres_per_unit:
    None = not known, written as 1. points: float [k, 3] in the world, with colours uint8 [k, 3].
    """
    metres = metres_per_unit or 1.0
    codes = [int(frame) + FIRST_FRAME for frame in frames]
    rate = _number(frame_rate(times_s, frames))
    known = "" if metres_per_unit else " (of unknown scale: a unit is called a metre)"
    lines = [
        "#usda 1.0",
        "(",
        f'    doc = "A camera written by recam{known}"',
        '    defaultPrim = "recam"',
        f"    startTimeCode = {codes[0]}",
        f"    endTimeCode = {codes[-1]}",
        f"    framesPerSecond = {rate}",
        f"    timeCodesPerSecond = {rate}",
        f"    metersPerUnit = {_number(metres)}",
        '    upAxis = "Y"',
        ")",
        "",
        'def Xform "recam"',
        "{",
        *_camera(cameras, codes, metres),
    ]
    if points is not None:
        lines += ["", *_points(*points)]
    write_text(path, "\n".join([*lines, "}", ""]))


def _camera(cameras: Cameras, codes: list[int], metres: float) -> list[str]:
    film = FILM_WIDTH_MM / 1000 / metres * 10  # tenths of a unit
    k, h, w = cameras.intrinsics, cameras.height, cameras.width
    fx, fy, cx, cy = k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]
    height = film * (h / fy) / (w / fx)
    lens = {
        "horizontalAperture": torch.full_like(fx, film),
        "verticalAperture": height,
        "horizontalApertureOffset": film * (0.5 - cx / w),
        "verticalApertureOffset": height * (cy / h - 0.5),
        "focalLength": film * fx / w,
    }
    matrices = y_up_from_cam(cameras).transpose(1, 2).tolist()
    samples = [
        f"{code}: ( " + ", ".join(_tuple(row) for row in matrix) + " )"
        for code, matrix in zip(codes, matrices)
    ]
    return [
        '    def Camera "camera"',
        "    {",
        "        float2 clippingRange = (0.001, 1000000)",
        '        token projection = "perspective"',
        *(line for name, values in lens.items() for line in _attribute(name, codes, values)),
        *_block("        matrix4d xformOp:transform.timeSamples", samples),
        '        uniform token[] xformOpOrder = ["xformOp:transform"]',
        "    }",
    ]


def _attribute(name: str, codes: list[int], values: Tensor) -> list[str]:
    """A float that changes only where it does."""
    if float((values - values[0]).abs().max()) <= 1e-9 * max(1.0, float(values[0].abs())):
        return [f"        float {name} = {_number(float(values[0]))}"]
    samples = [f"{code}: {_number(value)}" for code, value in zip(codes, values.tolist())]
    return _block(f"        float {name}.timeSamples", samples)


def _block(head: str, samples: Sequence[str]) -> list[str]:
    return [f"{head} = {{", *(f"            {sample}," for sample in samples), "        }"]


def _points(points_world: Tensor, colors: Tensor) -> list[str]:
    placed = points_y_up(points_world)
    spread = float((placed - placed.median(0).values).norm(dim=1).median()) if len(placed) else 1.0
    xyz = ", ".join(_tuple(p) for p in placed.tolist())
    rgb = ", ".join(_tuple(c) for c in (colors.float() / 255).tolist())
    return [
        '    def Points "points"',
        "    {",
        f"        point3f[] points = [{xyz}]",
        f"        float[] widths = [{_number(0.005 * spread)}] (",
        '            interpolation = "constant"',
        "        )",
        f"        color3f[] primvars:displayColor = [{rgb}] (",
        '            interpolation = "vertex"',
        "        )",
        "    }",
    ]


def _tuple(values: Sequence[float]) -> str:
    return "(" + ", ".join(_number(v) for v in values) + ")"


def _number(value: float) -> str:
    return f"{value:.12g}"
