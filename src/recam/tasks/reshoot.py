"""The tasks: each composes the stages and does nothing else.

video ─ reconstruct ─► Scene ─ render ─► PartialVideo ─ complete ─► Video
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from recam.camera_files.detect import read_as_well
from recam.completion.foundation import NAMES, FoundationModel
from recam.completion.streaming import (
    OpenedModel,
    collected,
    complete_pieces,
    open_model,
    plan_pieces,
)
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import chosen
from recam.configs import (
    CompleteConfig,
    FinetuneConfig,
    InputConfig,
    ReconstructConfig,
    ReshootConfig,
)
from recam.covisibility import make_pairs, resize_scene, take_frames
from recam.media import probe, read_video
from recam.media.convert import fitted_size
from recam.media.source import part_of
from recam.reconstruct import load_scene, reconstruct, save_scene
from recam.reconstruct.checkpoint import Checkpoint, forget_abandoned
from recam.reconstruct.external.choose import models_used
from recam.render import render_windows
from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.cache_entries import is_whole, new_entry, tell_not_kept
from recam.runtime.tensors import tensors_are_whole
from recam.training.adapt.examples import encode_hidden, frames_to_learn
from recam.training.adapt.foundation import (
    adapt_foundation,
    clip_tokens,
    foundation_finetune_config,
    require_memory,
    require_trainable,
    weights_fingerprint,
)
from recam.training.adapt.latents import encode_hidden_latents
from recam.training.adapt.loop import Adaptation
from recam.training.adapt.masked import EXAMPLES_SHARE, adapt, finetune, read_adaptation
from recam.trajectories import path_for_scene
from recam.types import (
    CameraPath,
    PartialVideo,
    Progress,
    RecamError,
    Rendering,
    Result,
    Scene,
    SourcePart,
    Video,
    no_progress,
)

BASE_BYTES = 1_500_000_000
BYTES_PER_PIXEL = 550
"""Of one frame: what a reshoot takes at its peak, measured at 7680×4320."""
MOST_OF_MEMORY = 0.8
SCENE_VERSION = 12
"""Raised when reconstruct's results change, so that scenes kept from before are made anew."""


@dataclass(frozen=True)
class OpenedScene:
    """A scene, the folder that keeps it, and whether it was there already."""

    scene: Scene
    folder: Path
    reused: bool


def open_scene(
    source: Path,
    input_config: InputConfig,
    config: ReconstructConfig,
    progress: Progress = no_progress,
) -> OpenedScene:
    """The scene of a video, or of a folder that save_scene wrote.

    A video's scene is kept in the cache under the hash of the video's content, of the options and
    of every file that they name; when only the path changes it is found again. Of one that was
    killed, the steps that were done are.
    """
    if (source / "scene.json").is_file():
        return OpenedScene(load_scene(source), source, True)
    if not source.exists():
        raise RecamError(f"{source}: no such file or folder")
    named = [Path(f) for f in (config.cameras, config.depth, config.masks) if f]
    for path in named:
        if not path.exists():
            raise RecamError(f"{path}: no such file or folder")
    check_memory(source, input_config)
    named += read_as_well(Path(config.cameras)) if config.cameras else []
    # Which cameras of a file are meant may hang on what the source is called.
    called = source.absolute().parts[-2:] if config.cameras or config.depth else ()
    key = content_hash(
        source, *named, input_config, config, models_used(config), SCENE_VERSION, *called
    )
    folder = cache_folder() / "scenes" / key[:24]
    video = read_input(source, input_config, progress)
    if is_whole(folder):
        return OpenedScene(load_scene(folder, video), folder, True)
    part = source_part(source, input_config, len(video))
    unfinished = cache_folder() / "unfinished"
    forget_abandoned(unfinished)
    kept = Checkpoint(unfinished / key[:24])
    scene = reconstruct(video, config, progress, part, kept)
    # Where a lens was straightened, the scene's frames are not the file's.
    try:
        with new_entry(folder) as staged:
            save_scene(scene, staged, with_frames=scene.video is not video)
    except (RecamError, OSError) as error:
        tell_not_kept("the scene", error)
    return OpenedScene(scene, folder, False)


def check_memory(source: Path, config: InputConfig) -> None:
    """Raise RecamError now, rather than be killed after minutes, for pictures so large that the
    machine's memory will not do."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return  # a system that does not say
    info = probe(source)
    height, width = fitted_size(info.height, info.width, config.max_side)
    needed = BASE_BYTES + BYTES_PER_PIXEL * height * width
    if needed > MOST_OF_MEMORY * memory:
        raise RecamError(
            f"{source}: pictures of {width}×{height} take about {needed / 1e9:.0f} GB, this "
            f"machine has {memory / 1e9:.0f} GB; give --max-side {max(height, width) // 2}"
        )


def read_input(source: Path, config: InputConfig, progress: Progress = no_progress) -> Video:
    """The part of a video that the options choose; what had to be done to it is a MediaWarning."""
    return read_video(
        source,
        start=config.start,
        num_frames=config.num_frames,
        stride=config.stride,
        max_side=config.max_side,
        progress=progress,
    )


def source_part(source: Path, config: InputConfig, num_frames: int) -> SourcePart:
    """Which frames of its source ``read_input`` took, and what these are called."""
    start, stride = config.start, config.stride
    whole = start == 0 and stride == 1 and config.num_frames is None
    return part_of(source, None if whole else start + stride * torch.arange(num_frames))


ADAPTER_VERSION = 1
"""Raised when what adapting gives changes, so that adapters kept from before are made anew."""
LEAST_FRAMES = 4
"""Shorter videos have too little to learn from and to check on."""


def completion_for(scene: Scene, config: CompleteConfig) -> CompleteConfig:
    """The config with what is left open filled in for a scene.

    Where the camera stood still, other frames may show exactly what is behind, which mixing can
    spoil: there "auto" is propagate, steadied, which did better on three clips of that kind
    (docs/log.md).
    """
    auto = config.model == "auto" and config.weights is None
    stood_still = scene.camera_motion == "static"
    config = chosen(config)
    if auto and stood_still:
        config = replace(config, model="propagate")
    return config


def model_for_scene(
    opened: OpenedScene, config: CompleteConfig, progress: Progress = no_progress
) -> OpenedModel | None:
    """The model that completes paths through a scene: None when config.model needs none.

    With config.adapt_minutes it is adapted to the scene's video, by pairs made of it; the adapter
    is kept in the cache under the hash of scene, weights and options, for other paths.
    """
    config = completion_for(opened.scene, config)
    if config.model not in ("masked", *NAMES):
        return None
    whole = opened.scene.video

    def learn(model: Any, options: FinetuneConfig, folder: Path) -> Adaptation:
        """Adapt to pairs made of the scene by double reprojection."""
        shown = take_frames(opened.scene, _frames_to_learn(model, len(whole)))
        if isinstance(model, VideoTransformer):
            side: int | None = config.model_side
            largest = config.model_side
        else:
            side = config.foundation.work_side
            largest = max(model.fit(whole.height, whole.width, side).inner)
        scale = min(1.0, largest / max(whole.height, whole.width))
        shown = resize_scene(shown, round(whole.height * scale), round(whole.width * scale))
        pairs = make_pairs(shown, np.random.default_rng(options.seed))
        return finetune(model, pairs, options, side, folder, progress)

    in_cache = opened.folder.parent == cache_folder() / "scenes"  # named by its content's hash
    identity = opened.folder.name if in_cache else opened.folder
    return _opened_model(tuple(whole.frames.shape), (identity,), config, learn)


def _frames_to_learn(model: Any, num_frames: int) -> torch.Tensor:
    """Foundation models see as many consecutive frames as they complete together."""
    if isinstance(model, VideoTransformer):
        return frames_to_learn(num_frames)
    return frames_to_learn(num_frames, model.max_frames, max_stride=1)


def model_for_partial(
    partial: PartialVideo,
    identity: Sequence[Any],
    config: CompleteConfig,
    progress: Progress = no_progress,
) -> OpenedModel | None:
    """The model that completes a partial video: None when config.model needs none.

    With config.adapt_minutes it is adapted to what is known of the video. ``identity`` says what
    the video is, for the cache (see content_hash).
    """
    config = chosen(config)
    if config.model not in ("masked", *NAMES):
        return None

    def learn(model: Any, options: FinetuneConfig, folder: Path) -> Adaptation:
        """Adapt to hidden parts of what is known, in the time that options give."""
        started = time.perf_counter()
        index = _frames_to_learn(model, len(partial))
        shown = PartialVideo(partial.frames[index], partial.known[index])
        seconds = EXAMPLES_SHARE * 60 * options.minutes
        if not isinstance(model, VideoTransformer):
            latents = encode_hidden_latents(
                model, shown, options.num_pairs, config.foundation.work_side, options.seed,
                seconds, progress,
            )  # fmt: skip
            spent = time.perf_counter() - started
            return adapt_foundation(model, latents, options, folder, progress, spent)
        examples = encode_hidden(
            shown, options.num_pairs, model.config.fills, config.model_side, options.seed,
            seconds, progress,
        )  # fmt: skip
        return adapt(model, examples, options, folder, progress, time.perf_counter() - started)

    return _opened_model(tuple(partial.frames.shape), identity, config, learn)


def _opened_model(
    shape: tuple[int, ...],
    identity: Sequence[Any],
    config: CompleteConfig,
    learn: Callable[[Any, FinetuneConfig, Path], Adaptation],
) -> OpenedModel:
    """shape: of the video, [t, 3, h, w]."""
    opened = open_model(config)
    model, sha256 = opened.model, opened.sha256
    minutes = config.adapt_minutes or 0.0
    if minutes <= 0:
        return opened
    if shape[0] < LEAST_FRAMES:
        note = f"not adapted: {shape[0]} frames are too few (at least {LEAST_FRAMES})"
        return OpenedModel(model, sha256, note, None)
    if isinstance(model, VideoTransformer):
        options = FinetuneConfig(minutes=minutes, seed=config.seed)
        key = content_hash(*identity, sha256, options, config.model_side, ADAPTER_VERSION)
    else:
        given = config.foundation
        options = foundation_finetune_config(
            minutes, given.adapt_method, given.adapt_steps, config.seed, given.adapt_devices
        )
        try:
            require_trainable(model)
            num = min(shape[0], cast("FoundationModel", model).max_frames)
            tokens = clip_tokens(model, num, shape[2], shape[3], given.work_side)
            require_memory(model, given.adapt_method, tokens, given.adapt_devices)
        except RecamError as error:
            return OpenedModel(model, sha256, f"not adapted: {error}", None)
        seen = (weights_fingerprint(model), given.prompt, given.work_side)
        key = content_hash(*identity, *seen, options, ADAPTER_VERSION)
    folder = cache_folder() / "adapters" / key[:24]
    adapter = folder / "adapter.safetensors"
    if tensors_are_whole(adapter):
        adapted, found = read_adaptation(adapter, model), f" (found in {folder})"
    else:
        adapted, found = learn(model, options, folder), ""
    kept = adapter if adapter.is_file() else None
    return OpenedModel(adapted.model, sha256, adapted.describe() + found, kept)


def complete_along(
    scene: Scene,
    path: CameraPath,
    config: ReshootConfig,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
    opened: OpenedModel | None = None,
) -> Iterator[tuple[Rendering, torch.Tensor]]:
    """Render and complete a path window by window, so that memory does not grow with its length.

    Yields (rendering, frames uint8 [k, 3, h, w]) of consecutive pieces that together cover the
    path; see ``complete_pieces``, which also keeps finished windows for a run that is stopped.
    Seconds spent are added to timings_s["render"] and ["complete"]. opened: see ``reshoot``.
    """
    size = (path.cameras.height, path.cameras.width)
    plan = plan_pieces(completion_for(scene, config.complete), len(path), *size, opened)

    def rendered() -> Iterator[Rendering]:
        clock = time.perf_counter()
        for rendering in render_windows(scene, path, config.render, plan.window):
            timings_s["render"] = timings_s.get("render", 0.0) + time.perf_counter() - clock
            yield rendering
            clock = time.perf_counter()

    what = "render and complete"
    yield from complete_pieces(rendered(), len(path), plan, timings_s, progress, what)


def reshoot(
    scene: Scene,
    config: ReshootConfig,
    progress: Progress = no_progress,
    opened: OpenedModel | None = None,
) -> Result:
    """The video that a camera on config.path would have seen, at the source's size.

    opened: the masked model from ``model_for_scene``; by default the weights as they are.
    """
    path = path_for_scene(scene, config.path)
    timings_s: dict[str, float] = {}
    pieces = complete_along(scene, path, config, timings_s, progress, opened)
    partial, frames = collected(pieces, len(path))
    video = Video(frames, *path_times_s(scene, path))
    sha256 = opened.sha256 if opened else None
    return Result(video, partial, config, timings_s, versions(), sha256)


def path_times_s(scene: Scene, path: CameraPath) -> tuple[torch.Tensor, str | None]:
    """Presentation times of a path's frames, and the sound that goes with them.

    A path that sees the source's frames in their own order keeps their times and sound; any other
    (frozen time, a path of its own length) plays at the source's mean rate, silent.
    """
    num_source = len(scene)
    if len(path) == num_source and torch.equal(path.source_frames, torch.arange(num_source)):
        return scene.video.times_s, scene.video.audio_path
    return torch.arange(len(path), dtype=torch.float64) / scene.video.fps, None


def versions() -> dict[str, str]:
    """Versions of recam and of what its results depend on."""
    from importlib.metadata import version

    packages = ["recam", "torch", "numpy", "scipy", "numba", "av", "opencv-python-headless"]
    return {name: version(name) for name in packages}
