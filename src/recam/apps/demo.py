"""recam demo: reshoot a clip that recam makes itself, and compare with the true new view."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from recam.apps import commands
from recam.apps.progress import show_progress
from recam.apps.runs import choose_folder
from recam.apps.warm_up import start_compiling
from recam.configs import InputConfig, PathConfig, ReconstructConfig, ReshootConfig
from recam.evaluation.metrics import psnr
from recam.geometry import se3
from recam.media import contact_sheet, read_video, write_image, write_video
from recam.reconstruct.scene_cache import open_scene
from recam.runtime.records import write_json
from recam.synthetic import demo_clip, true_view
from recam.tasks.unseen import path_in_scene
from recam.types import CameraPath, Cameras, Scene


def run(video: Path | None, path_config: PathConfig, out: Path, quiet: bool = False) -> Path:
    """Reshoot the sample (or the given video) into the folder ``out``; returns it."""
    start_compiling()
    config = ReshootConfig(path=path_config)
    if video is not None:
        return commands.reshoot(video, config, out, quiet)
    folder = choose_folder(out, out.name)
    clip = folder.with_name(f"{folder.name}-source.mp4")
    with show_progress(quiet) as progress:
        truth, world = demo_clip(progress=progress)
    write_video(truth.video, clip)
    commands.reshoot(clip, config, folder, quiet)
    estimated = open_scene(clip, InputConfig(), ReconstructConfig()).scene
    path, _ = path_in_scene(estimated, path_config)
    cameras = true_cameras(path, estimated, truth)
    with show_progress(quiet) as progress:
        true_path = CameraPath(cameras, path.source_frames)
        true_frames = true_view(world, true_path, truth.video.times_s, progress).frames
    write_video(replace(truth.video, frames=true_frames), folder / "truth.mp4")
    _compare(folder, true_frames)
    return folder


def true_cameras(path: CameraPath, estimated: Scene, truth: Scene) -> Cameras:
    """The cameras of a path through an estimated scene, carried over into the true world.

    Each target camera keeps its motion relative to the source frame that it sees; its translation
    is scaled by the median ratio of true to estimated depth, its focal length by that of the true
    to the estimated one. What is left between result and truth is recam's own error.
    """
    h, w = estimated.cameras.height, estimated.cameras.width
    true_depth = torch.nn.functional.interpolate(truth.depth[:, None], (h, w))[:, 0]
    usable = estimated.valid & (true_depth > 0)
    scale = float((true_depth[usable] / estimated.depth[usable]).median())
    source = path.source_frames
    relative = path.cameras.cam_from_world @ estimated.cameras.world_from_cam[source]
    relative = se3(relative[:, :3, :3], relative[:, :3, 3] * scale)
    height, width = path.cameras.height, path.cameras.width
    estimated_k = estimated.cameras.resized(height, width).intrinsics[source]
    true_k = truth.cameras.resized(height, width).intrinsics[source]
    intrinsics = path.cameras.intrinsics @ torch.linalg.inv(estimated_k) @ true_k
    cam_from_world = relative @ truth.cameras.cam_from_world[source]
    return Cameras(cam_from_world, intrinsics, height, width)


def _compare(folder: Path, true_frames: torch.Tensor) -> None:
    """Print PSNR of the result as written against the truth, and write a picture of both."""
    result = read_video(folder / "result.mp4").frames
    known = (read_video(folder / "known.mp4").frames[:, 0] >= 128).float()
    scores = {
        "whole_frame": psnr(result, true_frames),
        "known": psnr(result, true_frames, known),
        "holes": psnr(result, true_frames, 1 - known),
    }
    write_json(
        folder / "scores.json", {"psnr_db": scores, "hole_fraction": 1 - float(known.mean())}
    )
    pick = torch.linspace(0, len(result) - 1, commands.NUM_SHEET_FRAMES).round().long()
    sheet = contact_sheet({"result": result[pick], "truth": true_frames[pick]})
    write_image(sheet, folder / "result_and_truth.png")
    print("against the true new view, PSNR in dB:")
    for name, value in scores.items():
        print(f"  {name.replace('_', ' '):<12}" + ("none" if math.isnan(value) else f"{value:.1f}"))
