"""Undo a lens, so that every later stage sees a pinhole camera."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.geometry import distort, max_distortion_radius, pixel_centers
from recam.types import Cameras, Progress, Video, no_progress


def undistortion_map(
    intrinsics: Tensor, height: int, width: int, distortion: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each pixel of the pinhole picture lies in the lens's picture.

    intrinsics: [3, 3] px of both. Returns uv_px float64 [h, w, 2] and valid bool [h, w], False
    where the lens's picture has nothing.
    """
    ones = torch.ones(height, width, 1, dtype=torch.float64)
    uv1 = torch.cat([pixel_centers(height, width, torch.float64), ones], -1)
    rays = uv1 @ torch.linalg.inv(intrinsics).T
    xy = rays[..., :2]
    bent = torch.cat([distort(xy, distortion), ones], -1)
    uv_px = (bent @ intrinsics.T)[..., :2]
    size = torch.tensor([width, height], dtype=torch.float64)
    # Bilinear sampling needs a pixel centre on every side.
    inside = ((uv_px >= 0.5) & (uv_px <= size - 0.5)).all(-1)
    return uv_px, inside & (xy.norm(dim=-1) < max_distortion_radius(distortion))


def undistort_video(
    video: Video,
    cameras: Cameras,
    distortion: Tensor,
    progress: Progress = no_progress,
    into: Tensor | None = None,
) -> tuple[Video, Cameras, Tensor]:
    """The video as pinhole cameras with the same intrinsics would have seen it.

    cameras: one per frame (or one for all), of any picture size; distortion [5] k1 k2 p1 p2 k3
    (OpenCV). into: uint8 like the video's frames, to hold the result; memory may be mapped.
    Returns the video, the cameras at the video's size, and valid bool [t, h, w], False where the
    lens saw nothing. Bilinear: bicubic would ring at the borders of valid pixels.
    """
    import cv2

    if len(cameras) not in {1, len(video)}:
        raise ValueError(
            f"{len(cameras)} cameras for {len(video)} frames; give one per frame or one"
        )
    height, width = video.height, video.width
    cameras = cameras.resized(height, width)
    frames = torch.empty_like(video.frames) if into is None else into
    one = len(cameras) == 1
    valid = torch.empty(1 if one else len(video), height, width, dtype=torch.bool)
    last, grid = -1, np.empty(0)
    for i in range(len(video)):
        k = min(i, len(cameras) - 1)
        if last < 0 or not torch.equal(cameras.intrinsics[k], cameras.intrinsics[last]):
            uv_px, seen = undistortion_map(cameras.intrinsics[k], height, width, distortion)
            # cv2 counts from the centre of the first pixel, recam from its corner.
            grid, last = (uv_px - 0.5).to(torch.float32).numpy(), k
        image = video.frames[i].permute(1, 2, 0).contiguous().numpy()
        straight = cv2.remap(
            image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        frames[i] = torch.from_numpy(straight).permute(2, 0, 1)
        valid[k] = seen
        progress("undistort", i + 1, len(video))
    valid = valid.expand(len(video), height, width)
    return Video(frames, video.times_s, video.audio_path), cameras, valid
