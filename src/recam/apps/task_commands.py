"""The commands image, interpolate and edit; cli.py holds their options."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam import api
from recam.apps.commands import (
    NUM_SHEET_FRAMES,
    PREVIEW_WIDTH,
    holes_shown,
    open_scene,
    say,
    write_record,
)
from recam.apps.progress import show_progress
from recam.apps.runs import choose_folder, new_folder
from recam.camera_files import write_cameras
from recam.completers import check_weights
from recam.configs import EditConfig, ImageConfig, InputConfig, InterpolateConfig
from recam.drawing import draw_path
from recam.media import VideoWriter, contact_sheet, side_by_side, write_image, write_video
from recam.media.input import source_part
from recam.tasks import edit as edit_task
from recam.tasks import image as image_task
from recam.tasks import interpolate as interpolate_task
from recam.trajectories import check_path
from recam.types import PartialVideo, RecamError, Result

WRITTEN_TOGETHER = 16
"""Frames: pictures to look at are made of so many at a time."""


def image(
    source: Path,
    input_config: InputConfig,
    config: ImageConfig,
    out: Path | None,
    quiet: bool = False,
) -> Path:
    """A camera path through one picture; returns the folder written."""
    folder = choose_folder(out, f"{source.stem}-{Path(config.path.path).stem}")
    check_weights(config.complete)
    check_path(config.path)
    timings_s: dict[str, float] = {}
    with show_progress(quiet) as progress:
        opened = open_scene(source, input_config, config.reconstruct, timings_s, progress)
        path = image_task.image_path(opened.scene, config)
        result = image_task.reshoot_image(opened.scene, config, progress)
        with new_folder(folder) as staged:
            write_image(draw_path(opened.scene, path), staged / "path.png")
            write_cameras(path.cameras, staged / "cameras.json", times_s=result.video.times_s)
            still = opened.scene.video.frames[path.source_frames]
            _write_result(staged, source, result, {"picture": still}, timings_s)
    print(folder / "result.mp4")
    return folder


def interpolate(
    views: Sequence[Path],
    config: InterpolateConfig,
    fps: float,
    out: Path | None,
    quiet: bool = False,
) -> Path:
    """New frames between pictures; returns the folder written."""
    folder = choose_folder(out, f"{views[0].stem}-to-{views[-1].stem}")
    check_weights(config.complete)
    pictures = api.stacked([api.as_picture(view) for view in views])
    with show_progress(quiet) as progress:
        result = interpolate_task.interpolate(pictures, config, progress, fps)
        with new_folder(folder) as staged:
            _write_result(staged, views[0], result, {}, {})
    print(folder / "result.mp4")
    return folder


def edit(
    source: Path,
    edited: tuple[int, Path] | None,
    mask: Path | None,
    removed: Path | None,
    at_frame: int,
    input_config: InputConfig,
    config: EditConfig,
    out: Path | None,
    quiet: bool = False,
) -> Path:
    """Carry one frame's edit through a video, or remove something; returns the folder written."""
    if (edited is None) == (removed is None):
        raise RecamError(
            "give either --edited-frame NUMBER PICTURE (NUMBER counts from 0), or --remove MASK"
        )
    if removed is not None and mask is not None:
        raise RecamError("--mask says what --edited-frame changed; --remove has a mask of its own")
    if removed is not None and config.content != EditConfig.content:
        raise RecamError("--content says what --edited-frame shows; leave it out with --remove")
    if edited is not None and at_frame != 0:
        raise RecamError("--at-frame belongs to --remove; --edited-frame has a number of its own")
    folder = choose_folder(out, f"{source.stem}-edit")
    check_weights(config.complete)
    with show_progress(quiet) as progress:
        video = api.as_video(source, input_config, progress=progress)
        size = (video.height, video.width)
        shrunk = input_config.max_side is not None
        clock = time.perf_counter()
        if removed is not None:
            part = source_part(source, input_config, len(video))
            region = api.as_mask(removed, len(video), *size, resize=shrunk, part=part)
            result = edit_task.remove(video, region, at_frame, config, progress)
        else:
            assert edited is not None
            picture = api.as_picture(edited[1], input_config.max_side)
            where = None if mask is None else api.as_mask(mask, 1, *size, resize=shrunk)[0]
            result = edit_task.edit(video, picture, edited[0], where, config, progress)
        say(f"edit: {time.perf_counter() - clock:.1f} s")
        with new_folder(folder) as staged:
            _write_result(staged, source, result, {"source": video.frames}, {})
    print(folder / "result.mp4")
    return folder


def _write_result(
    folder: Path,
    source: Path,
    result: Result,
    rows: dict[str, Tensor],
    timings_s: dict[str, float],
) -> None:
    """result.mp4, preview.mp4, known.mp4, contact_sheet.png and the run's record."""
    clock = time.perf_counter()
    for note in write_video(result.video, folder / "result.mp4"):
        say(f"result: {note}")
    num_known = 0.0
    with (
        VideoWriter(folder / "preview.mp4", fps=None, crf=18) as preview_file,
        VideoWriter(folder / "known.mp4", fps=None, crf=0) as known_file,
    ):
        for first in range(0, len(result.video), WRITTEN_TOGETHER):
            piece = slice(first, first + WRITTEN_TOGETHER)
            part = PartialVideo(result.partial.frames[piece], result.partial.known[piece])
            shown = [r[piece] for r in rows.values()]
            shown += [holes_shown(part), result.video.frames[piece]]
            preview = side_by_side(shown, [*rows, "evidence", "result"], PREVIEW_WIDTH)
            times_s = result.video.times_s[piece]
            preview_file.write(preview.frames, times_s)
            known_file.write(_grey(part.known), times_s)
            num_known += float((part.known > 0.5).float().mean((1, 2)).sum())
    num = len(result.video)
    picked = np.linspace(0, num - 1, min(NUM_SHEET_FRAMES, num)).round().astype(int).tolist()
    part = PartialVideo(result.partial.frames[picked], result.partial.known[picked])
    sheet = {name: frames[picked] for name, frames in rows.items()}
    sheet |= {"evidence": holes_shown(part), "result": result.video.frames[picked]}
    sheet["known"] = _grey(part.known)
    write_image(contact_sheet(sheet, cell_width=320), folder / "contact_sheet.png")
    timings_s = {**timings_s, **result.timings_s, "write": time.perf_counter() - clock}
    write_record(folder, source, result.config, timings_s, known_fraction=num_known / num)


def _grey(known: Tensor) -> Tensor:
    """uint8 [t, 3, h, w] of known [t, h, w]."""
    return (known * 255).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
