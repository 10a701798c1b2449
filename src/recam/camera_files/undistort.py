"""Undo a lens, so that every later stage sees a pinhole camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recam.camera_files.camera_file import CameraFile
from recam.geometry import distort, intrinsics_from_fov, max_distortion_radius, pixel_centers
from recam.types import Cameras, Progress, Video, no_progress

USUAL_FOV_DEG = 90.0
"""Of the pinhole that a fisheye's or a whole sphere's picture is straightened to."""


def undistortion_map(
    intrinsics: Tensor, height: int, width: int, distortion: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each pixel of the pinhole picture lies in the lens's picture.

    intrinsics: [3, 3] px of both. Returns uv_px float64 [h, w, 2] and valid bool [h, w], False
    where the lens's picture has nothing.
    """
    xy = _rays(intrinsics, height, width)[..., :2]
    bent = torch.cat([distort(xy, distortion), torch.ones_like(xy[..., :1])], -1)
    uv_px = (bent @ intrinsics.T)[..., :2]
    near = xy.norm(dim=-1) < max_distortion_radius(distortion)
    return uv_px, _inside(uv_px, height, width) & near


def undistort_video(
    video: Video,
    cameras: Cameras,
    distortion: Tensor,
    progress: Progress = no_progress,
    into: Tensor | None = None,
) -> tuple[Video, Cameras, Tensor]:
    """The video as pinhole cameras with the same intrinsics would have seen it.

    cameras: one per frame (or one for all), of any picture size; distortion k1 k2 p1 p2 k3
    (OpenCV), [5] or one for each camera [n, 5]. into: uint8 like the video's frames, to hold the
    result; memory may be mapped.
    Returns the video, the cameras at the video's size, and valid bool [t, h, w], False where the
    lens saw nothing. Bilinear: bicubic would ring at the borders of valid pixels.
    """
    if len(cameras) not in {1, len(video)}:
        raise ValueError(
            f"{len(cameras)} cameras for {len(video)} frames; give one per frame or one"
        )
    height, width = video.height, video.width
    cameras = cameras.resized(height, width)

    lenses = distortion.to(torch.float64).expand(len(cameras), 5)

    def place(i: int) -> tuple[Tensor, Tensor]:
        return undistortion_map(cameras.intrinsics[i], height, width, lenses[i])

    differ = torch.cat([cameras.intrinsics.flatten(1), lenses], 1)
    straight, valid = _remapped(video, differ, place, progress, into)
    return straight, cameras, valid


def straightened_video(
    video: Video,
    file: CameraFile,
    fov_deg: float | None = None,
    progress: Progress = no_progress,
    into: Tensor | None = None,
) -> tuple[Video, Cameras, Tensor]:
    """The video of a fisheye or a whole sphere as a pinhole would have seen it, looking forward.

    file: cameras for each frame, with ``lens``. fov_deg: horizontal field of view of the pinhole;
    default 90. The picture keeps its size. Returns as :func:`undistort_video`.

    Raises ValueError for a fisheye without intrinsics, and a field of view that is no pinhole's.
    """
    fov = USUAL_FOV_DEG if fov_deg is None else fov_deg
    if not 1 <= fov <= 150:
        raise ValueError(f"a pinhole of {fov:g}° cannot be drawn; give --fov from 1 to 150")
    assert file.cam_from_world is not None
    height, width = video.height, video.width
    target = intrinsics_from_fov(fov, height, width).to(torch.float64)
    own = None if file.lens == "equirectangular" else file.resized(height, width).intrinsics
    if own is None and file.lens == "fisheye":
        raise ValueError(f"the {file.format} file gives a fisheye without its intrinsics")
    k = target.expand(len(file), 3, 3).clone()
    cameras = Cameras(file.cam_from_world, k, height, width)

    zero = torch.zeros(5, dtype=torch.float64)
    lenses = (zero if file.distortion is None else file.distortion).expand(len(file), 5)

    def place(i: int) -> tuple[Tensor, Tensor]:
        if own is None:
            return sphere_map(target, height, width)
        return fisheye_map(target, height, width, own[i], lenses[i, :4])

    differ = torch.cat([(k if own is None else own).flatten(1), lenses], 1)
    straight, valid = _remapped(video, differ, place, progress, into, wraps=own is None)
    return straight, cameras, valid


def fisheye_map(
    target: Tensor, height: int, width: int, intrinsics: Tensor, lens: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each pixel of a pinhole's picture lies in that of OpenCV's fisheye model.

    target, intrinsics: [3, 3] px of the pinhole and of the fisheye; lens [4] k1 … k4: a ray at the
    angle θ to the axis lies at the radius θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸). Returns as
    :func:`undistortion_map`.
    """
    rays = _rays(target, height, width)
    radius = rays[..., :2].norm(dim=-1)
    angle = torch.atan(radius)
    powers = torch.stack([angle**n for n in (3, 5, 7, 9)], -1)
    bent = angle + powers @ lens.to(torch.float64)
    scale = torch.where(radius > 1e-9, bent / radius.clamp(min=1e-12), torch.ones_like(radius))
    xy1 = torch.cat([rays[..., :2] * scale[..., None], torch.ones_like(rays[..., :1])], -1)
    uv_px = (xy1 @ intrinsics.T)[..., :2]
    return uv_px, _inside(uv_px, height, width) & (angle < _last_angle(lens))


def _last_angle(lens: Tensor) -> float:
    """Up to which angle in radians the model's radius grows; beyond, it would fold back."""
    angle = torch.linspace(0, torch.pi / 2, 2000, dtype=torch.float64)
    powers = torch.stack([(n + 1) * angle**n for n in (2, 4, 6, 8)], -1)
    folds = (1 + powers @ lens.to(torch.float64) <= 0).nonzero()
    return float(angle[folds[0, 0]]) if len(folds) else torch.pi


def sphere_map(target: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each pixel of a pinhole's picture lies in an equirectangular one of the same size.

    The sphere's middle is forward, longitude grows to the right, latitude downward.
    """
    x, y, z = _rays(target, height, width).unbind(-1)
    longitude = torch.atan2(x, z)
    latitude = torch.atan2(y, torch.hypot(x, z))
    u = (longitude / (2 * torch.pi) + 0.5) * width
    v = (latitude / torch.pi + 0.5) * height
    return torch.stack([u, v], -1), torch.ones(height, width, dtype=torch.bool)


def _rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Directions [h, w, 3] with z = 1 of a pinhole's pixels."""
    ones = torch.ones(height, width, 1, dtype=torch.float64)
    uv1 = torch.cat([pixel_centers(height, width, torch.float64), ones], -1)
    return uv1 @ torch.linalg.inv(intrinsics).T


def _inside(uv_px: Tensor, height: int, width: int) -> Tensor:
    """Bilinear sampling needs a pixel centre on every side."""
    size = torch.tensor([width, height], dtype=torch.float64)
    return ((uv_px >= 0.5) & (uv_px <= size - 0.5)).all(-1)


def _remapped(
    video: Video,
    lenses: Tensor,
    place: Callable[[int], tuple[Tensor, Tensor]],
    progress: Progress,
    into: Tensor | None,
    wraps: bool = False,
) -> tuple[Video, Tensor]:
    """The video with each pixel taken from where ``place`` says, which hangs on lenses [n, any]
    (n may be 1), and valid bool [t, h, w]."""
    import cv2

    frames = torch.empty_like(video.frames) if into is None else into
    one = len(lenses) == 1
    valid = torch.empty(1 if one else len(video), video.height, video.width, dtype=torch.bool)
    border = cv2.BORDER_WRAP if wraps else cv2.BORDER_REPLICATE
    last, grid, seen = -1, np.empty(0), torch.empty(0)
    for i in range(len(video)):
        k = min(i, len(lenses) - 1)
        if last < 0 or not torch.equal(lenses[k], lenses[last]):
            uv_px, seen = place(k)
            # cv2 counts from the centre of the first pixel, recam from its corner.
            grid, last = (uv_px - 0.5).to(torch.float32).numpy(), k
        image = video.frames[i].permute(1, 2, 0).contiguous().numpy()
        straight = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=border)
        frames[i] = torch.from_numpy(straight).permute(2, 0, 1)
        valid[k] = seen
        progress("undistort", i + 1, len(video))
    valid = valid.expand(len(video), video.height, video.width)
    return Video(frames, video.times_s, video.audio_path), valid
