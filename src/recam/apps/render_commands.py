"""The command render: what the new camera sees, for looking at or for a video generator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.apps.commands import holes_shown, open_scene, say, write_record
from recam.apps.progress import show_progress
from recam.apps.runs import choose_folder, new_folder
from recam.camera_files import write_cameras
from recam.camera_files.checks import write_arrays
from recam.configs import Fit, Generator, ReshootConfig
from recam.drawing import draw_depth, nearest_shown
from recam.media import VideoWriter, write_exr
from recam.render import render_windows
from recam.tasks import reshoot as reshoot_task
from recam.tasks.generator_inputs import (
    RULES,
    FittedPath,
    fit_frames,
    fit_path,
    mask_frames,
    with_holes,
)
from recam.tasks.unseen import path_in_scene
from recam.trajectories import check_path
from recam.types import CameraPath, Progress, RecamError, Rendering, Scene

RENDER_CHUNK = 16
"""Frames rendered and written together."""
FILES: dict[Generator, tuple[str | None, str, str | None]] = {
    "cognvs": ("gt_rgb.mp4", "eval_render1.mp4", None),
    "trajectorycrafter": ("input.mp4", "render.mp4", "mask.mp4"),
    "vace": (None, "src_video.mp4", "src_mask.mp4"),
    "gen3c": (None, "rgb.mp4", None),
    "comfyui": ("source", "control_video", "control_masks"),
}
"""What each generator's program calls the source, the rendering and the mask; None = not written.
A name without a suffix is a folder of PNG pictures."""


def render(
    source: Path,
    config: ReshootConfig,
    out: Path | None,
    exr: bool = False,
    generator: Generator | None = None,
    fit: Fit = "crop",
    piece: int = 1,
    quiet: bool = False,
) -> Path:
    """Write what the scene shows to the path's cameras, without completing it; returns the folder.

    exr: also depth and what is known as EXR pictures. generator: as that program takes it; piece:
    of a path that is longer than it takes.
    """
    if generator is None and (fit != "crop" or piece != 1):
        raise RecamError("--fit and --piece are of a generator's files; name it with --for")
    name = generator or "render"
    folder = choose_folder(out, f"{source.stem}-{Path(config.path.path).stem}-{name}")
    check_path(config.path)
    timings_s: dict[str, float] = {}
    with show_progress(quiet) as progress:
        opened = open_scene(source, config.input, config.reconstruct, timings_s, progress)
        path, note = path_in_scene(opened.scene, config.path, config.render, progress)
        if note:
            say(f"path: {note}")
        times_s, _ = reshoot_task.path_times_s(opened.scene, path)
        with new_folder(folder) as staged:
            clock = time.perf_counter()
            if generator is None:
                first = _write_plain(staged, opened.scene, path, times_s, config, exr, progress)
                more = {}
            else:
                fitted = fit_path(path, times_s, generator, fit, piece)
                for note in fitted.notes:
                    say(f"{generator}: {note}")
                first = _write_for(
                    staged, opened.scene, fitted, generator, fit, config, exr, progress
                )
                more = {"generator": RULES[generator], "frames": fitted.picked.tolist()}
            timings_s["render and write"] = time.perf_counter() - clock
            write_record(staged, source, config, timings_s, scene=str(opened.folder), **more)
    print(folder / first.relative_to(staged))
    return folder


def _write_plain(
    folder: Path,
    scene: Scene,
    path: CameraPath,
    times_s: Tensor,
    config: ReshootConfig,
    exr: bool,
    progress: Progress,
) -> Path:
    write_cameras(path.cameras, folder / "cameras.json", times_s=times_s)
    nearest = nearest_shown(scene.depth[scene.valid])
    with ExitStack() as files:
        frames_file, known_file, depth_file = (
            files.enter_context(VideoWriter(folder / name, fps=None, crf=crf))
            for name, crf in [("render.mp4", 14), ("known.mp4", 0), ("depth.mp4", 14)]
        )
        for piece, rendering in _pieces(scene, path, config, progress):
            known = (rendering.known * 255).round().to(torch.uint8)[:, None]
            frames_file.write(holes_shown(rendering), times_s[piece])
            known_file.write(known.expand(-1, 3, -1, -1), times_s[piece])
            depth_file.write(draw_depth(rendering.depth, nearest), times_s[piece])
            if exr:
                _write_exr(folder, rendering, piece.start)
    return folder / "render.mp4"


def _write_for(
    folder: Path,
    scene: Scene,
    fitted: FittedPath,
    generator: Generator,
    fit: Fit,
    config: ReshootConfig,
    exr: bool,
    progress: Progress,
) -> Path:
    """The generator's files; its mask and pictures are stored without loss where films allow it."""
    rules, path = RULES[generator], fitted.path
    source_name, render_name, mask_name = FILES[generator]
    times_s = torch.arange(len(path), dtype=torch.float64) / fitted.fps
    write_cameras(path.cameras, folder / "cameras.json", times_s=times_s)
    size = path.cameras.height, path.cameras.width
    depths: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    with ExitStack() as files:

        def opened(name: str | None, crf: float) -> VideoWriter | None:
            if name is None:
                return None
            writer = VideoWriter(folder / name, fps=fitted.fps, crf=crf)
            return files.enter_context(writer)

        source_file, mask_file = opened(source_name, 14), opened(mask_name, 0)
        frames_file = opened(render_name, 4)
        assert frames_file is not None
        moving = path[: fitted.num_moving]
        for piece, rendering in _held(_pieces(scene, moving, config, progress), len(path)):
            frames_file.write(with_holes(rendering, rules))
            if source_file is not None:
                shown = scene.video.frames[path.source_frames[piece]]
                source_file.write(fit_frames(shown, *size, fit, rules.hole))
            if mask_file is not None:
                mask_file.write(mask_frames(rendering.known, rules))
            if exr:
                _write_exr(folder, rendering, piece.start)
            if generator == "gen3c":
                depths.append(rendering.depth.numpy())
                masks.append((rendering.known > 0.5).numpy())
    if generator == "gen3c":
        depth = np.concatenate(depths)
        if depth.max() < np.finfo(np.float16).max:  # as its own files; farther would be infinite
            depth = depth.astype(np.float16)
        write_arrays(folder / "depth.npz", {"depth": depth})
        write_arrays(folder / "mask.npz", {"mask": np.concatenate(masks)})
        write_cameras(path.cameras, folder / "camera.npz", "gen3c")
    return folder / render_name


def _pieces(
    scene: Scene, path: CameraPath, config: ReshootConfig, progress: Progress
) -> Iterator[tuple[slice, Rendering]]:
    first = 0
    for rendering in render_windows(scene, path, config.render, RENDER_CHUNK):
        yield slice(first, first + len(rendering)), rendering
        first += len(rendering)
        progress("render", first, len(path))


def _held(pieces: Iterator[tuple[slice, Rendering]], num: int) -> Iterator[tuple[slice, Rendering]]:
    """The pieces, and their last frame again up to ``num`` frames."""
    for piece, rendering in pieces:
        yield piece, rendering
    last = rendering.frames[-1:], rendering.known[-1:], rendering.depth[-1:], rendering.cameras[-1:]
    for i in range(piece.stop, num):
        yield slice(i, i + 1), Rendering(*last)


def _write_exr(folder: Path, rendering: Rendering, first: int) -> None:
    """depth/000000.exr (channel Z, scene units, 0 = unknown) and known/000000.exr (Y, 0 or 1)."""
    for i in range(len(rendering)):
        name = f"{first + i:06d}.exr"
        write_exr(folder / "depth" / name, rendering.depth[i], "Z")
        write_exr(folder / "known" / name, rendering.known[i] > 0.5, "Y")
