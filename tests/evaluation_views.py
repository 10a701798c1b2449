"""Tiny rendered scenes that tests write as data sets, and a check in pixels that the loaded cameras
and pictures belong together."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.evaluation.temporal import warp_back
from recam.geometry import pixel_centers, project, se3, so3_exp, unproject
from recam.synthetic import render_synthetic, sample_cameras, sample_scene
from recam.types import Cameras, Video

HEIGHT, WIDTH, NUM_FRAMES = 48, 72, 3
F64 = torch.float64


@dataclass(frozen=True)
class View:
    """One camera's film of the scene: true pictures, z-depth, and what moves."""

    cameras: Cameras
    frames: Tensor
    depth: Tensor
    dynamic: Tensor


@cache
def rendered(num_cameras: int = 2, moving: bool = True, plain: bool = False) -> tuple[View, ...]:
    """The source, then cameras beside it. The scene is in metres, a closed room.

    moving: the source's camera moves; else each camera stands still.
    plain: square pixels and a centred principal point, for layouts that hold no others.
    """
    scene = sample_scene(3, "room")
    source = sample_cameras(scene, 3, "orbit", NUM_FRAMES, HEIGHT, WIDTH, 24.0)
    k = torch.tensor([[66.0, 0, 36.0], [0, 66.0, 24.0], [0, 0, 1]], dtype=F64)
    if not plain:
        k = torch.tensor([[66.0, 0, 38.0], [0, 62.0, 22.5], [0, 0, 1]], dtype=F64)
    pose = source.cam_from_world if moving else source.cam_from_world[:1].expand(NUM_FRAMES, 4, 4)
    times_s = torch.arange(NUM_FRAMES, dtype=F64) / 24
    views = []
    for i in range(num_cameras):
        turn = so3_exp(torch.tensor([0.02 * i, 0.05 * i, -0.04 * i], dtype=F64))
        beside = se3(turn, torch.tensor([0.12 * i, -0.05 * i, 0.06 * i], dtype=F64))
        cameras = Cameras(beside @ pose, k.expand(NUM_FRAMES, 3, 3).clone(), HEIGHT, WIDTH)
        truth = render_synthetic(scene, cameras, times_s)
        views.append(View(cameras, truth.frames, truth.depth, truth.dynamic))
    return tuple(views)


def mismatch(
    video: Video, cameras: Cameras, depth: Tensor, target: Video, target_cameras: Cameras
) -> float:
    """Median grey-level difference between pixels of a video and where its depth puts them in the
    target. A few levels where all conventions fit, far more than that where one does not."""
    world = unproject(depth.double(), cameras.resized(*depth.shape[1:]))
    uv_px, z = project(world.reshape(len(depth), -1, 3), target_cameras)
    h, w = depth.shape[1:]
    differences = []
    for i in range(len(depth)):
        flow = uv_px[i].view(h, w, 2) - pixel_centers(h, w, F64)
        if (target.height, target.width) != (h, w):
            raise AssertionError("the views of a test share one size")
        found, inside = warp_back(target.frames[i].float(), flow)
        seen = inside & (z[i].view(h, w) > 0)
        assert float(seen.float().mean()) > 0.3, "the views hardly overlap"
        differences.append((found - video.frames[i].float()).abs().mean(0)[seen])
    return float(torch.cat(differences).median())


def write_png(path: Path, frame: Tensor, alpha: bool = False) -> None:
    """A picture [3, h, w], with an opaque fourth channel if asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[..., ::-1])
    if alpha:
        bgr = np.concatenate([bgr, np.full_like(bgr[..., :1], 255)], -1)
    assert cv2.imwrite(str(path), bgr)


def bent_by_lens(frame: Tensor, k: np.ndarray, lens: np.ndarray) -> Tensor:
    """What a camera with OpenCV's distortion (k1 k2 p1 p2 k3) would see of a pinhole's picture."""
    h, w = frame.shape[1:]
    grid = np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5), -1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(grid.astype(np.float64), k, lens, P=k).reshape(h, w, 2)
    planar = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
    x, y = (straight[..., i].astype(np.float32) - np.float32(0.5) for i in (0, 1))
    bent = cv2.remap(planar, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(bent).permute(2, 0, 1)


def check_straight(
    straight: Tensor, truth: Tensor, counted: Tensor, k: Tensor, lens: np.ndarray
) -> None:
    """Near the picture's border, where a lens bends most, the straightened frames [t, 3, h, w] must
    be far closer to the pinhole's own than what the lens showed."""
    outer = counted.clone()
    outer[:, 8:-8, 12:-12] = False
    bent = torch.stack([bent_by_lens(frame, k.numpy(), lens) for frame in truth])
    errors = [
        (frames.float() - truth.float()).abs().mean(1)[outer].mean() for frames in (straight, bent)
    ]
    assert float(errors[0]) < 0.6 * float(errors[1]), errors
