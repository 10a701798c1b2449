"""The command stereo: a film, or a picture, for two eyes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from recam.apps.commands import (
    NUM_SHEET_FRAMES,
    holes_shown,
    open_scene,
    say,
    write_record,
)
from recam.apps.progress import show_progress
from recam.apps.runs import choose_folder, new_folder
from recam.camera_files import write_cameras
from recam.completers import check_weights
from recam.configs import InputConfig, StereoConfig, StereoLayout
from recam.media import VideoWriter, contact_sheet, write_image
from recam.tasks import reshoot as reshoot_task
from recam.tasks.stereo import MODES, StereoResult, check_rig, eye_paths, packed, stereo_rig
from recam.tasks.stereo import stereo as make_stereo
from recam.types import CameraPath, PartialVideo, Scene

CHUNK = 16
"""Frames packed and written together."""


def stereo(
    source: Path,
    input_config: InputConfig,
    config: StereoConfig,
    film: str = "mp4",
    out: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Two eyes from one film; returns the folder written."""
    folder = choose_folder(out, f"{source.stem}-stereo")
    check_rig(config.rig)
    check_weights(config.complete)
    timings_s: dict[str, float] = {}
    with show_progress(quiet) as progress:
        opened = open_scene(source, input_config, config.reconstruct, timings_s, progress)
        rig = stereo_rig(opened.scene, config.rig)
        say(f"stereo: {rig.describe(opened.scene.metres_per_unit)}")
        completer = reshoot_task.adapted_completer(opened, config.complete, progress)
        if completer.note:
            say(f"model: {completer.note}")
        result = make_stereo(opened.scene, config, progress, completer)
        eyes = (result.left, result.right)
        for name, seconds in (item for eye in eyes for item in eye.timings_s.items()):
            timings_s[name] = timings_s.get(name, 0.0) + seconds
        known = [float((eye.partial.known > 0.5).float().mean()) for eye in eyes]
        with new_folder(folder) as staged:
            clock = time.perf_counter()
            paths = eye_paths(opened.scene, rig, config.rig)
            written = _write(staged, opened.scene, paths, result, film)
            timings_s["write"] = time.perf_counter() - clock
            write_record(
                staged, source, config, timings_s, scene=str(opened.folder), rig=rig,
                known_fraction={"left": known[0], "right": known[1]},
                weights_sha256=completer.weights_sha256,
            )  # fmt: skip
    print(folder / written)
    return folder


def _write(
    folder: Path,
    scene: Scene,
    paths: tuple[CameraPath, CameraPath],
    result: StereoResult,
    film: str,
) -> str:
    """Films (a picture: PNG), cameras of each eye and a contact sheet; returns the main file."""
    eyes = {"left": result.left, "right": result.right}
    for (name, eye), path in zip(eyes.items(), paths):
        write_cameras(path.cameras, folder / f"{name}.cameras.json", times_s=eye.video.times_s)
    if result.layout == "separate":
        names = [_write_film(folder, eye, result, film, (eye,)) for eye in eyes]
    else:
        names = [_write_film(folder, "result", result, film, ("left", "right"))]
    num = len(result.left.video)
    picked = np.linspace(0, num - 1, min(NUM_SHEET_FRAMES, num)).round().astype(int).tolist()
    rows = {"source": scene.video.frames[picked]}
    for name, eye in eyes.items():
        part = PartialVideo(eye.partial.frames[picked], eye.partial.known[picked])
        rows |= {f"{name}, seen": holes_shown(part), name: eye.video.frames[picked]}
    rows["anaglyph"] = packed(rows["left"], rows["right"], "anaglyph")
    write_image(contact_sheet(rows, cell_width=320), folder / "contact_sheet.png")
    return names[0]


def _write_film(
    folder: Path, name: str, result: StereoResult, film: str, eyes: tuple[str, ...]
) -> str:
    videos = [getattr(result, eye).video for eye in eyes]
    layout: StereoLayout = result.layout

    def shown(piece: slice) -> torch.Tensor:
        frames = [video.frames[piece] for video in videos]
        return frames[0] if len(frames) == 1 else packed(frames[0], frames[1], layout)

    first = videos[0]
    if len(first) == 1:
        write_image(shown(slice(0, 1))[0], folder / f"{name}.png")
        return f"{name}.png"
    mode = MODES.get(layout)
    sound = first.audio_path
    with VideoWriter(folder / f"{name}.{film}", fps=None, audio_path=sound, stereo=mode) as writer:
        for start in range(0, len(first), CHUNK):
            piece = slice(start, start + CHUNK)
            writer.write(shown(piece), first.times_s[piece])
    for note in writer.notes:
        say(f"{name}: {note}")
    return f"{name}.{film}"
