"""The command stereo: a film, or a picture, for two eyes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
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
from recam.tasks.stereo import (
    MODES,
    Seen,
    StereoRig,
    check_rig,
    eye_paths,
    packed,
    stereo_pieces,
    stereo_rig,
)
from recam.types import PartialVideo, Scene

EYES = ("left", "right")

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
        with new_folder(folder) as staged:
            clock = time.perf_counter()
            pieces = stereo_pieces(
                opened.scene, eye_paths(opened.scene, rig, config.rig), config, completer,
                timings_s, progress,
            )  # fmt: skip
            written, known = _write(staged, opened.scene, rig, config, pieces, film)
            spent = time.perf_counter() - clock
            timings_s["render and write"] = spent - timings_s.get("complete", 0.0)
            write_record(
                staged, source, config, timings_s, scene=str(opened.folder), rig=rig,
                known_fraction=known, weights_sha256=completer.weights_sha256,
            )  # fmt: skip
    print(folder / written)
    return folder


def _write(
    folder: Path,
    scene: Scene,
    rig: StereoRig,
    config: StereoConfig,
    pieces: Iterator[tuple[Seen, Seen]],
    film: str,
) -> tuple[str, dict[str, float]]:
    """Films (a picture: PNG), cameras of each eye and a contact sheet; returns the main file, and
    the share of each eye that was known."""
    paths, num = eye_paths(scene, rig, config.rig), len(scene)
    times_s, sound = reshoot_task.path_times_s(scene, paths[0])
    for eye, path in zip(EYES, paths):
        write_cameras(path.cameras, folder / f"{eye}.cameras.json", times_s=times_s)
    suffix = "png" if num == 1 else film
    names = [f"{n}.{suffix}" for n in (EYES if config.layout == "separate" else ("result",))]
    picked = np.linspace(0, num - 1, min(NUM_SHEET_FRAMES, num)).round().astype(int).tolist()
    rows: dict[str, list[torch.Tensor]] = {}
    known, first, mode = dict.fromkeys(EYES, 0.0), 0, MODES.get(config.layout)
    shown: list[torch.Tensor] = []
    with ExitStack() as files:
        writers = [
            files.enter_context(VideoWriter(folder / name, fps=None, audio_path=sound, stereo=mode))
            for name in names
            if num > 1
        ]
        for eyes in pieces:
            for shown in _packed_chunks(eyes, config.layout):
                for writer, frames in zip(writers, shown):
                    writer.write(frames, times_s[first : first + len(frames)])
                first += len(shown[0])
            on_sheet = [i - first + len(eyes[0][1]) for i in picked]
            on_sheet = [i for i in on_sheet if 0 <= i < len(eyes[0][1])]
            for eye, (part, done) in zip(EYES, eyes):
                known[eye] += float((part.known > 0.5).float().mean()) * len(done) / num
                seen = PartialVideo(part.frames[on_sheet], part.known[on_sheet])
                rows.setdefault(f"{eye}, seen", []).append(holes_shown(seen))
                rows.setdefault(eye, []).append(done[on_sheet].clone())
    if num == 1:
        for name, frames in zip(names, shown):
            write_image(frames[0], folder / name)
    for name, writer in zip(names, writers):
        for note in writer.notes:
            say(f"{name}: {note}")
    sheet = {"source": scene.video.frames[picked], **{n: torch.cat(r) for n, r in rows.items()}}
    sheet["anaglyph"] = packed(sheet["left"], sheet["right"], "anaglyph")
    write_image(contact_sheet(sheet, cell_width=320), folder / "contact_sheet.png")
    return names[0], known


def _packed_chunks(eyes: tuple[Seen, Seen], layout: StereoLayout) -> Iterator[list[torch.Tensor]]:
    """Frames for each file, a few at a time."""
    for start in range(0, len(eyes[0][1]), CHUNK):
        left, right = (done[start : start + CHUNK] for _, done in eyes)
        yield [left, right] if layout == "separate" else [packed(left, right, layout)]
