"""A Python script that makes the animated camera when Blender runs it.

World with z up in metres, cameras x right, y up, z backward. Lens and sensor, pixel aspect, frame
rate, frame range and picture size are set as well; the principal point is the lens's shift.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recam.camera_files.checks import write_text
from recam.camera_files.graphics_axes import (
    FILM_WIDTH_MM,
    FIRST_FRAME,
    frame_rate,
    unwound,
    z_up_from_cam,
)
from recam.geometry import quaternion_from_rotation
from recam.types import Cameras

_SCRIPT = '''"""An animated camera, written by recam.

In Blender: Scripting, Open, Run Script. From a shell: blender --python {name}
"""

import bpy

VIDEO = ""  # the film's file, to see it behind the scene
FPS = {fps}
WIDTH, HEIGHT, PIXEL_ASPECT = {width}, {height}, {aspect}  # pixels; height by width of one
SENSOR_MM = {sensor}
# Frame, place x y z, rotation as quaternion w x y z, lens in mm, shift x y.
KEYS = [
{keys}
]


def make_camera():
    scene = bpy.context.scene
    scene.render.fps = max(1, round(FPS))
    scene.render.fps_base = scene.render.fps / FPS
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = max(1.0, 1 / PIXEL_ASPECT)
    scene.render.pixel_aspect_y = max(1.0, PIXEL_ASPECT)
    scene.frame_start, scene.frame_end = KEYS[0][0], KEYS[-1][0]
    lens = bpy.data.cameras.new("recam camera")
    lens.sensor_fit, lens.sensor_width, lens.clip_start = "HORIZONTAL", SENSOR_MM, 0.001
    camera = bpy.data.objects.new("recam camera", lens)
    scene.collection.objects.link(camera)
    camera.rotation_mode = "QUATERNION"
    for frame, place, rotation, focal_mm, shift in KEYS:
        camera.location, camera.rotation_quaternion = place, rotation
        lens.lens, (lens.shift_x, lens.shift_y) = focal_mm, shift
        for path in ("location", "rotation_quaternion"):
            camera.keyframe_insert(path, frame=frame)
        for path in ("lens", "shift_x", "shift_y"):
            lens.keyframe_insert(path, frame=frame)
    scene.camera = camera
    if VIDEO:
        behind = lens.background_images.new()
        behind.source, behind.clip = "MOVIE_CLIP", bpy.data.movieclips.load(VIDEO)
        behind.alpha, lens.show_background_images = 1.0, True
    scene.frame_set(KEYS[0][0])
    return camera


make_camera()
'''


def write_blender(
    path: Path, cameras: Cameras, times_s: Tensor, frames: Tensor, metres_per_unit: float | None
) -> None:
    """times_s [n] in seconds and frames int64 [n], counted from 0, of the cameras; metres_per_unit:
    None = not known, a unit is written as a metre."""
    poses, k = z_up_from_cam(cameras), cameras.intrinsics
    h, w = cameras.height, cameras.width
    place = (poses[:, :3, 3] * (metres_per_unit or 1.0)).tolist()
    turn = unwound(quaternion_from_rotation(poses[:, :3, :3])).tolist()
    focal = (FILM_WIDTH_MM * k[:, 0, 0] / w).tolist()
    # With a horizontal fit both shifts are in widths of the picture, its pixels taken as square.
    aspect = k[:, 0, 0] / k[:, 1, 1]
    if float((aspect / aspect[0] - 1).abs().max()) > 1e-3:
        raise ValueError("a Blender scene has one pixel aspect; these cameras change theirs")
    shift = torch.stack([0.5 - k[:, 0, 2] / w, (k[:, 1, 2] - h / 2) * aspect / w], 1).tolist()
    keys = [
        f"    ({int(frame) + FIRST_FRAME}, {_numbers(place[i])}, {_numbers(turn[i])}, "
        f"{focal[i]:.9g}, {_numbers(shift[i])}),"
        for i, frame in enumerate(frames)
    ]
    write_text(
        path,
        _SCRIPT.format(
            name=path.name, fps=f"{frame_rate(times_s, frames):.9g}", width=w, height=h,
            aspect=f"{float(aspect[0]):.9g}", sensor=FILM_WIDTH_MM, keys="\n".join(keys),
        ),
    )  # fmt: skip


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{v:.12g}" for v in values) + ")"
