"""recam from Python: every task as one function that takes files, arrays or tensors.

A **video** is a path (film, folder of pictures), a ``Video``, or an array or tensor [t, h, w, 3] or
[t, 3, h, w], uint8 or float in [0, 1]; a **picture** the same with one dimension less; a **mask** a
path, or an array [h, w] or [t, h, w] that is True (or above one half) for what is meant.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.configs import (
    CompleteConfig,
    EditConfig,
    EditContent,
    Fit,
    Generator,
    ImageConfig,
    InputConfig,
    InterpolateConfig,
    PathConfig,
    ReconstructConfig,
    RenderConfig,
    ReshootConfig,
    RigConfig,
    StereoConfig,
    StereoGaps,
    StereoLayout,
    StereoOutlines,
)
from recam.media import read_image, read_mask, read_video, write_image, write_video
from recam.media.input import read_input, source_part
from recam.media.pictures import PICTURE_SUFFIXES
from recam.reconstruct import reconstruct as reconstruct_video
from recam.reconstruct import scene_cache
from recam.render import render as render_scene
from recam.tasks import edit as edit_task
from recam.tasks import fill as fill_task
from recam.tasks import image as image_task
from recam.tasks import interpolate as interpolate_task
from recam.tasks import reshoot as reshoot_task
from recam.tasks import stereo as stereo_task
from recam.tasks.generator_inputs import RULES, fit_path, with_holes
from recam.tasks.stereo import StereoResult
from recam.tasks.unseen import path_in_scene
from recam.types import (
    PartialVideo,
    Progress,
    RecamError,
    Rendering,
    Result,
    Scene,
    SourcePart,
    Video,
    no_progress,
    video_from_frames,
)

Source = str | Path | Video | np.ndarray | Tensor
PathLike = PathConfig | str | Path

_INPUT, _RECONSTRUCT = InputConfig(), ReconstructConfig()
_RENDER, _COMPLETE, _RIG = RenderConfig(), CompleteConfig(), RigConfig()


def reshoot(
    video: Source | Scene,
    path: PathLike = "orbit",
    *,
    input: InputConfig = _INPUT,
    reconstruct: ReconstructConfig = _RECONSTRUCT,
    render: RenderConfig = _RENDER,
    complete: CompleteConfig = _COMPLETE,
    memory: int = 0,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Result:
    """The video that another camera would have seen.

    video: or a Scene, or a folder that ``recam reconstruct`` wrote. path: ``recam.orbit(...)`` and
    its like, a preset's name, or a file of cameras. The scene of a file is kept in the cache, and a
    masked model is adapted to it; arrays are reconstructed every time, without adapting. memory:
    views whose made-up parts stay in the scene. fps: of an array. Raises what the stages raise:
    ValueError, and RecamError for what a file lacks.
    """
    config = ReshootConfig(input, reconstruct, as_path(path), render, complete, memory)
    if isinstance(video, str | Path):
        opened = scene_cache.open_scene(Path(video), input, reconstruct, progress)
        completer = reshoot_task.adapted_completer(opened, complete, progress)
        return reshoot_task.reshoot(opened.scene, config, progress, completer, opened.folder)
    scene = open_scene(video, input=input, reconstruct=reconstruct, fps=fps, progress=progress)
    return reshoot_task.reshoot(scene, config, progress)


def open_scene(
    video: Source | Scene,
    *,
    input: InputConfig = _INPUT,
    reconstruct: ReconstructConfig = _RECONSTRUCT,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Scene:
    """Cameras, depth and moving areas of a video: what ``recam reconstruct`` works out.

    video: also a Scene, or a folder that ``recam reconstruct`` wrote. A file's scene is kept in the
    cache. ``recam.reconstruct.export_scene`` and ``recam.camera_files.write_cameras`` write it for
    other programs.
    """
    if isinstance(video, Scene):
        return video
    if isinstance(video, str | Path):
        return scene_cache.open_scene(Path(video), input, reconstruct, progress).scene
    return reconstruct_video(as_video(video, input, fps), reconstruct, progress)


def render_path(
    video: Source | Scene,
    path: PathLike = "orbit",
    *,
    input: InputConfig = _INPUT,
    reconstruct: ReconstructConfig = _RECONSTRUCT,
    render: RenderConfig = _RENDER,
    generator: Generator | None = None,
    fit: Fit = "crop",
    piece: int = 1,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Rendering:
    """What the new camera can see of a video, with its depth, and no completion.

    video, path: as in ``reshoot``. generator: with the size, the frames and the colour of holes
    that a published video generator takes (``known`` stays 1 = seen); fit: how the picture meets
    its shape; piece: which one, from 1, of a path longer than it takes.
    """
    scene = open_scene(video, input=input, reconstruct=reconstruct, fps=fps, progress=progress)
    along, _ = path_in_scene(scene, as_path(path), render, progress)
    if generator is None:
        return render_scene(scene, along, render, progress)
    times_s, _ = reshoot_task.path_times_s(scene, along)
    fitted = fit_path(along, times_s, generator, fit, piece)
    seen = render_scene(scene, fitted.path[: fitted.num_moving], render, progress)
    frames, held = with_holes(seen, RULES[generator]), torch.arange(len(fitted.path))
    held = held.clamp(max=fitted.num_moving - 1)
    return Rendering(frames[held], seen.known[held], seen.depth[held], fitted.path.cameras)


def stereo(
    video: Source | Scene,
    *,
    rig: RigConfig = _RIG,
    layout: StereoLayout = "side-by-side",
    outlines: StereoOutlines = "soft",
    gaps: StereoGaps = "model",
    input: InputConfig = _INPUT,
    reconstruct: ReconstructConfig = _RECONSTRUCT,
    render: RenderConfig = _RENDER,
    complete: CompleteConfig = _COMPLETE,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> StereoResult:
    """Two eyes from one film, or from one picture.

    video: as in ``reshoot``. rig: how far apart the eyes stand and what lies on the screen.
    outlines, gaps: how things' outlines are moved, and what fills what opens beside them. The
    result has ``left`` and ``right``; ``save`` packs them as ``layout`` says. Raises as reshoot.
    """
    config = StereoConfig(
        rig, layout, outlines, gaps, reconstruct=reconstruct, render=render, complete=complete
    )
    if isinstance(video, str | Path):
        opened = scene_cache.open_scene(Path(video), input, reconstruct, progress)
        completer = reshoot_task.adapted_completer(opened, complete, progress)
        return stereo_task.stereo(opened.scene, config, progress, completer)
    scene = open_scene(video, input=input, reconstruct=reconstruct, fps=fps, progress=progress)
    return stereo_task.stereo(scene, config, progress)


def image(
    picture: Source | Scene,
    path: PathLike = "orbit",
    *,
    frames: int = 48,
    memory: int = 6,
    input: InputConfig = _INPUT,
    reconstruct: ReconstructConfig = _RECONSTRUCT,
    render: RenderConfig = _RENDER,
    complete: CompleteConfig = _COMPLETE,
    progress: Progress = no_progress,
) -> Result:
    """A video of ``frames`` frames along a path through one picture; see tasks.image."""
    config = ImageConfig(frames, memory, reconstruct, as_path(path), render, complete)
    if isinstance(picture, str | Path):
        scene = scene_cache.open_scene(Path(picture), input, reconstruct, progress).scene
    elif isinstance(picture, Scene):
        scene = picture
    else:
        if isinstance(picture, Video):
            one = picture
        else:
            one = video_from_frames(as_picture(picture)[None])
        scene = reconstruct_video(one, reconstruct, progress)
    return image_task.reshoot_image(scene, config, progress)


def interpolate(
    *views: Source,
    frames: int = 15,
    size: int = InterpolateConfig.size,
    complete: CompleteConfig = _COMPLETE,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Result:
    """``frames`` new frames between each two of the given pictures; see tasks.interpolate.

    size: longer side, in pixels, that motion between the views is found at.
    """
    pictures = [as_picture(view) for view in views]
    config = InterpolateConfig(frames, size, complete)
    return interpolate_task.interpolate(stacked(pictures), config, progress, fps)


def edit(
    video: Source,
    edited: Source,
    frame: int = 0,
    mask: Source | None = None,
    *,
    content: EditContent = "surface",
    input: InputConfig = _INPUT,
    complete: CompleteConfig = _COMPLETE,
    mask_weights: str | Path | None = None,
    track_weights: str | Path | None = None,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Result:
    """The video as if all of it had been edited like one of its frames; see tasks.edit.edit.

    mask: what was edited; default: where the two differ. mask_weights, track_weights: checkpoints
    of SAM 2 and CoTracker, as in EditConfig. With input.max_side, files of the source's size are
    made smaller like the video.
    """
    film = as_video(video, input, fps, progress)
    picture = as_picture(edited, input.max_side)
    region = None
    if mask is not None:
        shrunk = input.max_side is not None
        region = as_mask(mask, 1, film.height, film.width, resize=shrunk)[0]
    config = EditConfig(content, complete, _named(mask_weights), _named(track_weights))
    return edit_task.edit(film, picture, frame, region, config, progress)


def remove(
    video: Source,
    mask: Source,
    frame: int = 0,
    *,
    input: InputConfig = _INPUT,
    complete: CompleteConfig = _COMPLETE,
    mask_weights: str | Path | None = None,
    track_weights: str | Path | None = None,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Result:
    """The video without what a mask covers at ``frame``, or in every frame; see tasks.edit.remove.

    mask_weights, track_weights: as in ``edit``, where one frame's mask is followed.
    """
    film = as_video(video, input, fps, progress)
    region = _mask_of(video, mask, film, input)
    config = EditConfig("surface", complete, _named(mask_weights), _named(track_weights))
    return edit_task.remove(film, region, frame, config, progress)


def complete(
    video: Source,
    known: Source,
    *,
    input: InputConfig = _INPUT,
    config: CompleteConfig = _COMPLETE,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Result:
    """Fill a video where ``known`` is not True (white); one picture's mask holds throughout.

    With config.adapt_minutes a model is adapted to a video and a mask that are files.
    """
    film = as_video(video, input, fps, progress)
    where = _mask_of(video, known, film, input, soft=True)
    partial = PartialVideo(film.frames, where.expand(len(film), -1, -1).float())
    files = isinstance(video, str | Path) and isinstance(known, str | Path)
    identity = (Path(video), Path(known), input) if files else None  # type: ignore[arg-type]
    clock = time.perf_counter()
    completer = fill_task.adapted_completer(partial, identity, config, progress)
    timings_s = {"adapt": time.perf_counter() - clock} if completer.note else {}
    return fill_task.fill(film, partial, config, completer, timings_s, progress)


def save(result: Result | StereoResult | Video, path: str | Path) -> Path:
    """Write a result's video: .mp4, .gif, .webp …, a folder for PNG; one frame as a picture too.

    Of two eyes both, packed as their layout says; the layout "separate" gives name-left and
    name-right.
    """
    path = Path(path)
    if isinstance(result, StereoResult) and result.layout == "separate":
        for eye in ("left", "right"):
            save(getattr(result, eye), path.with_name(f"{path.stem}-{eye}{path.suffix}"))
        return path.with_name(f"{path.stem}-left{path.suffix}")
    video = result if isinstance(result, Video) else result.video
    mode = stereo_task.MODES.get(result.layout) if isinstance(result, StereoResult) else None
    if len(video) == 1 and path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        write_image(video.frames[0], path)
    else:
        write_video(video, path, stereo=mode)
    return path


def as_path(path: PathLike) -> PathConfig:
    """A PathConfig as it is; a preset's name or a file as one."""
    return path if isinstance(path, PathConfig) else PathConfig(path=str(path))


def as_video(
    video: Source,
    input: InputConfig = _INPUT,
    fps: float = 24.0,
    progress: Progress = no_progress,
) -> Video:
    """Any video (see above) as a Video. ``input`` chooses a part of a file."""
    if isinstance(video, Video):
        return video
    if isinstance(video, str | Path):
        if not Path(video).exists() and not any(c in str(video) for c in "*%["):
            raise RecamError(f"{video}: no such file or folder")
        return read_input(Path(video), input, progress)
    if not 0 < fps < np.inf:
        raise ValueError(f"fps is {fps}; expected more than 0")
    return video_from_frames(_planar(video, 4, "a video [t, h, w, 3] or [t, 3, h, w]"), fps)


def as_picture(picture: Source, max_side: int | None = None) -> Tensor:
    """Any picture (see above) as uint8 [3, h, w]; a file scaled down to ``max_side`` as a video's
    frames are."""
    if isinstance(picture, str | Path):
        if max_side is None or not Path(picture).is_file():
            return read_image(picture)
        return read_video(picture, num_frames=1, max_side=max_side).frames[0]
    if isinstance(picture, Video):
        if len(picture) != 1:
            raise ValueError(f"got a video of {len(picture)} frames; expected one picture")
        return picture.frames[0]
    return _planar(picture, 3, "a picture [h, w, 3] or [3, h, w]")


def as_mask(
    mask: Source,
    num_frames: int,
    height: int,
    width: int,
    soft: bool = False,
    resize: bool = False,
    part: SourcePart | None = None,
) -> Tensor:
    """Any mask as float32 [1, h, w] (one picture) or [num_frames, h, w]; hard unless ``soft``.

    resize, part: of files, as in media.read_mask.
    """
    if isinstance(mask, str | Path):
        path = Path(mask)
        one = path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES
        found = read_mask(path, 1 if one else num_frames, height, width, resize=resize, part=part)
    else:
        values = mask.frames[:, 0] if isinstance(mask, Video) else torch.as_tensor(mask)
        found = values.float() / (255 if values.dtype == torch.uint8 else 1)
        found = found[None] if found.dim() == 2 else found
    if found.dim() != 3 or tuple(found.shape[1:]) != (height, width):
        raise ValueError(f"the mask has shape {list(found.shape)}, the video {width}×{height}")
    if len(found) not in (1, num_frames):
        raise ValueError(f"{len(found)} masks for {num_frames} frames; give one, or one each")
    return found if soft else (found > 0.5).float()


def _mask_of(
    video: Source, mask: Source, film: Video, input: InputConfig, soft: bool = False
) -> Tensor:
    """as_mask for ``film``, which is what ``input`` chose of ``video``."""
    part = None
    if isinstance(video, str | Path):
        part = source_part(Path(video), input, len(film))
    shrunk = input.max_side is not None
    return as_mask(mask, len(film), film.height, film.width, soft, shrunk, part)


def _named(weights: str | Path | None) -> str | None:
    return None if weights is None else str(weights)


def stacked(pictures: Sequence[Tensor]) -> Tensor:
    """uint8 [k, 3, h, w] of pictures. Raises ValueError for fewer than two, or other sizes."""
    if len(pictures) < 2:
        raise ValueError(f"got {len(pictures)} picture; give two or more, in order")
    for number, picture in enumerate(pictures[1:], 2):
        if picture.shape != pictures[0].shape:
            first, other = ("×".join(map(str, p.shape[:0:-1])) for p in (pictures[0], picture))
            raise ValueError(
                f"picture {number} is {other}, the first {first}; give pictures of one size"
            )
    return torch.stack(list(pictures))


def _planar(values: Any, dims: int, expected: str) -> Tensor:
    """uint8 [..., 3, h, w] of an array or a tensor, whose channels may come last."""
    tensor = torch.as_tensor(values).cpu()
    if tensor.dim() != dims or 3 not in (tensor.shape[-1], tensor.shape[-3]):
        raise ValueError(f"got an array of shape {list(tensor.shape)}; expected {expected}")
    last = tensor.shape[-1] == 3 and (tensor.shape[-3] != 3 or not isinstance(values, Tensor))
    tensor = tensor.movedim(-1, -3) if last else tensor
    if tensor.is_floating_point():
        low, high = float(tensor.min()), float(tensor.max())
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(
                f"got floats from {low:.3g} to {high:.3g}; expected [0, 1], or uint8 in 0…255"
            )
        tensor = (tensor.clamp(0, 1) * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise ValueError(f"got {tensor.dtype}; expected uint8, or floats in [0, 1]")
    return tensor.contiguous()
