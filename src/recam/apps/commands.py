"""What each command of the command line does; cli.py holds its options."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recam.apps.progress import show_finished, show_progress
from recam.apps.runs import (
    check_writable,
    choose_folder,
    machine,
    new_folder,
    peak_memory_gb,
    plain_name,
)
from recam.apps.warm_up import start_compiling
from recam.camera_files import format_to_write, write_cameras
from recam.completers import check_weights
from recam.completion.completer import Completer
from recam.completion.windows import part_of
from recam.configs import (
    CompleteConfig,
    InputConfig,
    PathConfig,
    ReconstructConfig,
    ReshootConfig,
    SceneFormat,
    WrittenCameraFormat,
)
from recam.drawing import draw_path
from recam.media import (
    VideoWriter,
    contact_sheet,
    read_mask,
    side_by_side,
    write_image,
    write_video,
)
from recam.media.input import files_of, read_input, source_part
from recam.reconstruct import export_scene, save_scene, scene_cache
from recam.reconstruct.scene_cache import OpenedScene
from recam.runtime.records import write_json
from recam.runtime.versions import versions
from recam.tasks import fill as fill_task
from recam.tasks import reshoot as reshoot_task
from recam.tasks.unseen import describe_shares, path_in_scene, unseen_share
from recam.trajectories import check_path, focus_depth
from recam.types import CameraPath, PartialVideo, Progress, RecamError, Rendering

NUM_SHEET_FRAMES = 6
PREVIEW_WIDTH = 3840
WRITTEN_AT_ONCE = 8
"""Frames: what is drawn for looking at takes as much memory as they do, several times over."""
"""Pixels; encoders and players take no video of any width."""


def say(text: str) -> None:
    """A line for the user on stderr; stdout carries only the path of what was made."""
    print(text, file=sys.stderr)


def reshoot(source: Path, config: ReshootConfig, out: Path | None, quiet: bool = False) -> Path:
    """Reconstruct, render, complete; returns the folder written."""
    folder = choose_folder(out, f"{source.stem}-{Path(config.path.path).stem}")
    check_weights(config.complete)
    check_path(config.path)
    start_compiling()
    timings_s: dict[str, float] = {}
    with show_progress(quiet) as progress:
        opened = open_scene(source, config.input, config.reconstruct, timings_s, progress)
        path, note = path_in_scene(opened.scene, config.path, config.render, progress)
        if note:
            say(f"path: {note}")
        reshoot_task.warn_of_rolling_shutter(opened.scene, config.path)
        clock = time.perf_counter()
        completer = reshoot_task.adapted_completer(opened, config.complete, progress)
        if completer.note:
            timings_s["adapt"] = time.perf_counter() - clock
            say(f"model: {completer.note}")
        write_run(folder, source, opened, path, config, completer, timings_s, progress)
    print(folder / "result.mp4")
    return folder


def open_scene(
    source: Path,
    input_config: InputConfig,
    config: ReconstructConfig,
    timings_s: dict[str, float],
    progress: Progress,
) -> OpenedScene:
    """scene_cache.open_scene, timed, and its findings told to the user."""
    clock = time.perf_counter()
    opened = scene_cache.open_scene(source, input_config, config, progress)
    timings_s["reuse scene" if opened.reused else "reconstruct"] = time.perf_counter() - clock
    if opened.reused:
        say(f"scene: found in {opened.folder}")
    for note in opened.scene.report.get("notes", []):
        say(f"scene: {note}")
    return opened


def write_run(
    folder: Path,
    source: Path,
    opened: OpenedScene,
    path: CameraPath,
    config: ReshootConfig,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress,
) -> None:
    """Render and complete along the path, and write the run's folder."""
    with new_folder(folder) as staged:
        _write_run(staged, source, opened, path, config, completer, timings_s, progress)


def _write_run(
    folder: Path,
    source: Path,
    opened: OpenedScene,
    path: CameraPath,
    config: ReshootConfig,
    completer: Completer,
    timings_s: dict[str, float],
    progress: Progress,
) -> None:
    scene = opened.scene
    times_s, audio_path = reshoot_task.path_times_s(scene, path)
    write_image(draw_path(scene, path), folder / "path.png")
    write_cameras(path.cameras, folder / "cameras.json", times_s=times_s)
    rows: dict[str, list[torch.Tensor]] = {"source": [], "render": [], "known": [], "result": []}
    on_sheet = set(np.linspace(0, len(path) - 1, NUM_SHEET_FRAMES).round().astype(int).tolist())
    num_known, first = 0.0, 0
    with ExitStack() as files:
        outputs = [
            files.enter_context(VideoWriter(folder / name, fps=None, crf=crf, audio_path=sound))
            for name, crf, sound in [
                ("result.mp4", 14, audio_path),
                ("preview.mp4", 18, None),
                ("known.mp4", 0, None),
            ]
        ]
        pieces = reshoot_task.complete_along(
            scene, path, config, completer, timings_s, progress, opened.folder
        )

        def write(rendering: Rendering, frames: torch.Tensor, first: int) -> None:
            piece = slice(first, first + len(frames))
            source_frames = scene.video.frames[path.source_frames[piece]]
            shown = [source_frames, holes_shown(rendering), frames]
            preview = side_by_side(shown, ["source", "render", "result"], PREVIEW_WIDTH)
            assert rendering.evidence is not None
            known = rendering.evidence[:, None].expand(-1, 3, -1, -1)
            for output, part in zip(outputs, [frames, preview.frames, known]):
                output.write(part, times_s[piece])
            picked = [i - first for i in sorted(on_sheet) if first <= i < piece.stop]
            for row, part in zip(rows.values(), [*shown[:2], known, frames]):
                row.extend(part[i].clone() for i in picked)

        for rendering, frames in pieces:
            clock = time.perf_counter()
            for i in range(0, len(frames), WRITTEN_AT_ONCE):
                j = min(i + WRITTEN_AT_ONCE, len(frames))
                write(part_of(rendering, i, j), frames[i:j], first + i)
            show_finished(frames[len(frames) // 2])
            num_known += float((rendering.known > 0.5).sum()) / rendering.known[0].numel()
            first += len(frames)
            del rendering, frames  # not held while the next ones are made
            timings_s["write"] = timings_s.get("write", 0.0) + time.perf_counter() - clock
    sheet = contact_sheet({name: torch.stack(row) for name, row in rows.items()}, cell_width=320)
    write_image(sheet, folder / "contact_sheet.png")
    for note in outputs[0].notes:
        say(f"result: {note}")
    write_record(
        folder,
        source,
        config,
        timings_s,
        scene=str(opened.folder),
        scene_report=scene.report,
        known_fraction=num_known / len(path),
        weights_sha256=completer.weights_sha256,
        adaptation=completer.note or None,
    )


def holes_shown(partial: PartialVideo) -> torch.Tensor:
    """Frames [t, 3, h, w] for looking at: holes are drawn in an even dark magenta."""
    hole_rgb = torch.tensor([64.0, 0.0, 64.0])[None, :, None, None]
    known = partial.known[:, None]
    shown = torch.empty_like(partial.frames)
    for i in range(len(partial)):  # a frame at a time: floats are four times as large
        shown[i] = (known[i] * partial.frames[i] + (1 - known[i]) * hole_rgb[0]).to(torch.uint8)
    return shown


def write_record(
    folder: Path, source: Path, config: Any, timings_s: dict[str, float], **more: Any
) -> None:
    """config.json (all that reproduces the run) and timings.json."""
    write_json(
        folder / "config.json",
        {
            "command": sys.argv[1:],
            "source": str(source.resolve()),
            "config": config,
            "versions": versions(),
            "machine": machine(),
            "weights_sha256": None,
            **more,
        },
    )
    timings = {name: round(seconds, 3) for name, seconds in timings_s.items()}
    total = round(sum(timings_s.values()), 3)
    write_json(
        folder / "timings.json",
        {"seconds": timings, "total_s": total, "peak_memory_gb": round(peak_memory_gb(), 2)},
    )
    say("time: " + ", ".join(f"{k} {v:.1f} s" for k, v in timings.items()))


def reconstruct(
    source: Path,
    input_config: InputConfig,
    config: ReconstructConfig,
    out: Path | None,
    export: SceneFormat | None,
    cameras_out: Path | None = None,
    cameras_out_format: WrittenCameraFormat = "auto",
    quiet: bool = False,
) -> Path:
    """Video to scene folder; returns it."""
    folder = choose_folder(out, f"{source.stem}-scene")
    if cameras_out:
        cameras_out_format = format_to_write(cameras_out, cameras_out_format)
        check_writable(cameras_out)
    timings_s: dict[str, float] = {}
    with show_progress(quiet) as progress:
        opened = open_scene(source, input_config, config, timings_s, progress)
    scene = opened.scene
    with new_folder(folder) as staged:
        save_scene(scene, staged)
        if export:
            names = {"ply": "points.ply", "megasam": "megasam.npz", "usd": "scene.usda"}
            suffix = (names | {"gltf": "scene.glb"}).get(export, export)
            export_scene(scene, staged / suffix, export)
        write_record(staged, source, {"input": input_config, "reconstruct": config}, timings_s)
        if cameras_out:
            frames, names_there = _source_frames(source, input_config, opened)
            write_cameras(
                scene.cameras.resized(scene.video.height, scene.video.width), cameras_out,
                cameras_out_format, times_s=scene.video.times_s, frames=frames, names=names_there,
                metres_per_unit=scene.metres_per_unit,
            )  # fmt: skip
    print(folder)
    return folder


def _source_frames(
    source: Path, input_config: InputConfig, opened: OpenedScene
) -> tuple[torch.Tensor, list[str] | None]:
    """Which of the source's frames a scene has, int64 [n], and, of pictures, what they are called.
    A scene's folder counts its own."""
    num = len(opened.scene)
    if opened.folder == source:
        return torch.arange(num), None
    part = source_part(source, input_config, num)
    frames = torch.arange(num) if part.frames is None else part.frames
    return frames, None if part.pictures is None else [part.pictures[i] for i in frames.tolist()]


def complete(
    source: Path,
    known_path: Path,
    out: Path,
    input_config: InputConfig,
    config: CompleteConfig,
    quiet: bool = False,
) -> Path:
    """Fill a video where its mask is black; returns what was written."""
    VideoWriter(out)  # refuses what it cannot write
    check_writable(out)
    check_weights(config)
    for path in (source, known_path):
        files_of(path)
        if out.resolve() == path.resolve():
            raise RecamError(f"{out}: is read from, so it cannot be written to; give another place")
    with show_progress(quiet) as progress:
        video = read_input(source, input_config, progress)
        part = source_part(source, input_config, len(video))
        shrunk = input_config.max_side is not None
        size = (len(video), video.height, video.width)
        known = read_mask(known_path, *size, resize=shrunk, part=part)
        partial = PartialVideo(video.frames, known)
        identity = (source, known_path, input_config)
        completer = fill_task.adapted_completer(partial, identity, config, progress)
        if completer.note:
            say(f"model: {completer.note}")
        result = fill_task.fill(video, partial, config, completer, {}, progress)
    for note in write_video(result.video, out):
        say(f"result: {note}")
    print(out)
    return out


def paths(
    source: Path,
    input_config: InputConfig,
    reconstruct_config: ReconstructConfig,
    path_config: PathConfig,
    out: Path | None,
    cameras_out: Path | None,
    cameras_out_format: WrittenCameraFormat,
    quiet: bool = False,
) -> Path:
    """Draw a path over the scene; returns the picture's file."""
    name = plain_name(f"{source.stem}-{Path(path_config.path).stem}-path")
    picture = out or Path(f"{name}.png")
    check_writable(picture)
    check_path(path_config)
    if cameras_out:
        cameras_out_format = format_to_write(cameras_out, cameras_out_format)
        check_writable(cameras_out)
    with show_progress(quiet) as progress:
        opened = open_scene(source, input_config, reconstruct_config, {}, progress)
        path, note = path_in_scene(opened.scene, path_config, progress=progress)
        share = unseen_share(opened.scene, path, progress=progress)
    if note:
        say(f"path: {note}")
    if cameras_out:  # first, as it may refuse
        times_s, _ = reshoot_task.path_times_s(opened.scene, path)
        write_cameras(
            path.cameras, cameras_out, cameras_out_format, times_s=times_s,
            metres_per_unit=opened.scene.metres_per_unit,
            source=opened.scene.cameras[path.source_frames],
            focus_depth=path_config.focus_depth or focus_depth(opened.scene),
        )  # fmt: skip
    write_image(draw_path(opened.scene, path, never_seen=share), picture)
    say(f"never seen: {describe_shares(share)}")
    print(picture)
    return picture
