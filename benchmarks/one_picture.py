"""A camera around one picture of a synthetic scene, against what it would truly have seen.

Time stands still in the truth. True depth, so that only warping and completing are measured. PSNR
in dB where the picture alone shows nothing (holes) / of whole frames; loop: of the frames on the
way out against the same cameras' on the way back, median (worst).

    python benchmarks/one_picture.py [--models propagate masked] [--memory 6] [--frames 17]

With --real: from one picture of a real posed set to another (a stereo pair with measured disparity,
and pictures of an RGB-D sequence two apart, whose measured depth is not exactly the colour
camera's), beside the picture as it stands; depth as measured, and as recam's own network guesses it
of the picture, brought to the measured one's scale.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.camera_files import read_cameras
from recam.completers import complete
from recam.configs import CompleteConfig, ImageConfig, PathConfig, ReconstructConfig
from recam.evaluation.metrics import psnr
from recam.media import read_image
from recam.reconstruct import reconstruct
from recam.render import render
from recam.synthetic import render_synthetic, synthetic_clip
from recam.tasks.image import image_path, reshoot_image
from recam.types import CameraPath, Cameras, Scene, video_from_frames

SEEDS = (3, 7, 11, 26)
STATIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "static"
COLOUR_FOCAL, DEPTH_FOCAL = 530.0, 585.0
"""Of the RGB-D camera's two lenses, in pixels."""


def with_depth(picture: Tensor, depth: np.ndarray, intrinsics: np.ndarray) -> Scene:
    """The scene of one picture uint8 [3, h, w] with its camera in the origin; depth [h, w], 0 where
    it is not known."""
    height, width = depth.shape
    k = torch.from_numpy(intrinsics)[None].double()
    z = torch.from_numpy(depth.astype(np.float32))[None]
    cameras = Cameras(torch.eye(4, dtype=torch.float64)[None], k, height, width)
    sure = torch.ones_like(z)
    return Scene(video_from_frames(picture[None]), cameras, z, z > 0, z < 0, sure)


def real_pairs() -> Iterator[tuple[str, Scene, Cameras, Tensor]]:
    """Name, scene of one picture, camera of another [1] and what it saw, uint8 [3, h, w]."""
    folder = STATIC / "middlebury_motorcycle"
    disparity = np.load(folder / "disp.npz")["arr_0"]
    focal, centre, offset, baseline = 994.978, (311.193, 254.877), 31.086, 0.193001
    k = np.array([[focal, 0, centre[0] + 0.5], [0, focal, centre[1] + 0.5], [0, 0, 1]])
    found = np.isfinite(disparity) & (disparity > 0)
    depth = np.where(found, focal * baseline / np.where(found, disparity + offset, 1), 0)
    scene = with_depth(read_image(folder / "left.png"), depth, k)
    right = k.copy()
    right[0, 2] += offset
    pose = torch.eye(4, dtype=torch.float64)[None]
    pose[0, 0, 3] = -baseline
    camera = Cameras(pose, torch.from_numpy(right)[None], *depth.shape)
    yield "motorcycle", scene, camera, read_image(folder / "right.png")
    folder = STATIC / "7scenes_rgbd"
    poses = read_cameras(folder, "7scenes").cameras.cam_from_world
    files = sorted(folder.glob("*.color.jpg"))
    for i in range(0, len(files) - 2, 4):
        raw = cv2.imread(str(files[i]).replace("color.jpg", "depth.png"), cv2.IMREAD_UNCHANGED)
        metres = np.where((raw > 0) & (raw < 65535), raw / 1000, 0).astype(np.float32)
        k = np.array([[COLOUR_FOCAL, 0, 320], [0, COLOUR_FOCAL, 240], [0, 0, 1.0]])
        lens = DEPTH_FOCAL / COLOUR_FOCAL
        onto = np.array([[lens, 0, 320 * (1 - lens)], [0, lens, 240 * (1 - lens)]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        depth = cv2.warpAffine(metres, onto, (640, 480), flags=flags)
        step = poses[i + 2] @ torch.linalg.inv(poses[i])
        camera = Cameras(step[None], torch.from_numpy(k)[None], 480, 640)
        yield (
            f"7scenes {i}",
            with_depth(read_image(files[i]), depth, k),
            camera,
            read_image(files[i + 2]),
        )


def guessed(scene: Scene) -> Scene:
    """The scene with the depth that recam's own network guesses, at the measured one's scale."""
    fov = float(torch.rad2deg(2 * torch.atan(scene.cameras.width / 2
                                             / scene.cameras.intrinsics[0, 0, 0])))  # fmt: skip
    config = ReconstructConfig(depth_model="shipped", fov=fov, size=640)
    found = reconstruct(scene.video, config)
    size = (scene.cameras.height, scene.cameras.width)
    depth = torch.nn.functional.interpolate(found.depth[None], size, mode="nearest-exact")[0]
    scale = (scene.depth / depth)[scene.valid].median()
    return replace(scene, depth=depth * scale, valid=torch.ones_like(scene.valid))


def measure_real(models: list[str]) -> None:
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for name, scene, camera, truth in real_pairs():
        path = CameraPath(camera, torch.zeros(1, dtype=torch.int64))
        for kind, one in (("measured", scene), ("guessed", guessed(scene))):
            rendering = render(one, path, ImageConfig().render)
            holes = 1 - rendering.known
            made = {"as it stands": scene.video.frames}
            for model in models:
                made[model] = complete(rendering, CompleteConfig(model)).frames
            for model, frames in made.items():
                row = (psnr(frames, truth[None], holes), psnr(frames, truth[None]))
                rows.setdefault((kind, model), []).append(row)
                place = f"{name:11} depth {kind:8} {model:12}"
                print(f"{place} holes {row[0]:5.2f} whole {row[1]:5.2f} "
                      f"({100 * float(holes.mean()):.0f} % holes)", flush=True)  # fmt: skip
    for (kind, model), values in rows.items():
        first, rest = values[0], np.mean(values[1:], 0)
        print(f"depth {kind:8} {model:12} stereo {first[0]:5.2f} / {first[1]:5.2f}  "
              f"RGB-D {rest[0]:5.2f} / {rest[1]:5.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["propagate", "masked"])
    parser.add_argument("--memory", type=int, default=6)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--real", action="store_true", help="real posed pictures instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.real:
        measure_real(args.models)
        return
    scores: dict[str, list[tuple[float, ...]]] = {m: [] for m in args.models}
    for seed in args.seeds:
        scene, synthetic = synthetic_clip(seed, 1, 240, 416, "tripod", "room")
        # To one side and back, so that every camera is met twice.
        there = PathConfig("orbit", yaw=20, speed="there-and-back")
        config = ImageConfig(frames=args.frames, memory=args.memory, path=there)
        path = image_path(scene, config)
        truth = render_synthetic(synthetic, path.cameras, torch.zeros(len(path))).frames
        holes = 1 - render(scene, path, config.render).known
        for model in args.models:
            clock = time.perf_counter()
            made = reshoot_image(scene, replace(config, complete=CompleteConfig(model)))
            seconds, frames = time.perf_counter() - clock, made.video.frames
            half = len(frames) // 2
            loop = [psnr(frames[i : i + 1], frames[-1 - i][None]) for i in range(half)]
            row = (psnr(frames, truth, holes), psnr(frames, truth), np.median(loop), min(loop))
            scores[model].append(row)
            print(f"{seed:3} {model:10} {describe(row)}  ({seconds:.1f} s)", flush=True)
    for model, rows in scores.items():
        print(f"mean {model:10} {describe(np.mean(rows, 0))}")


def describe(row) -> str:
    return f"holes {row[0]:5.2f} whole {row[1]:5.2f} loop {row[2]:5.2f} ({row[3]:5.2f})"


if __name__ == "__main__":
    main()
