"""Videos of any length completed piece by piece: flat memory, and a stopped run goes on."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from recam.completion import BLENDED, complete
from recam.completion.backbone import Backbone
from recam.completion.foundation import (
    NAMES,
    FitNote,
    FoundationModel,
    describe_length,
    load_foundation,
    window_overlap,
)
from recam.completion.weights import chosen, find_weights, load_model, weights_sha256
from recam.completion.windows import P, cut, fill_pieces, fitting_window
from recam.configs import CompleteConfig
from recam.runtime.cache import cache_folder, content_hash, scratch_tensor
from recam.runtime.cache_entries import tell_not_kept
from recam.runtime.tensors import load_tensors, save_tensors, tensors_are_whole
from recam.types import PartialVideo, Progress, RecamError, Rendering, no_progress

KEPT_DAYS = 7
"""Windows of runs that were stopped and never taken up again are kept for so long."""
KEPT_VERSION = 1
"""Raised when completing gives other frames, so that windows kept from before are made anew."""


@dataclass(frozen=True)
class OpenedModel:
    """A model ready for one video, its weights' sha256 (None for a foundation model's gigabytes),
    and what adapting it did."""

    model: Backbone | FoundationModel
    sha256: str | None
    note: str
    adapter: Path | None


def open_model(config: CompleteConfig) -> OpenedModel:
    """The model as its weights are. Raises RecamError when there are none."""
    if config.model in NAMES:
        return OpenedModel(load_foundation(config), None, f"{config.weights}, not adapted", None)
    weights = find_weights(config.weights)
    note = "not adapted to this video (--adapt-minutes 0)"
    return OpenedModel(load_model(weights), weights_sha256(weights), note, None)


@dataclass(frozen=True)
class Plan:
    """How a video is completed piece by piece.

    config: of one piece with what is carried over into it. window: new frames of a piece. overlap,
    blend: as fill_pieces takes them. opened: the model, or None where none is needed.
    """

    config: CompleteConfig
    window: int
    overlap: int
    blend: int
    opened: OpenedModel | None


def plan_pieces(
    config: CompleteConfig,
    total: int,
    height: int,
    width: int,
    opened: OpenedModel | None = None,
) -> Plan:
    """Pieces as long as config.window says and memory takes. opened: by default the model as its
    weights are, where config.model is one."""
    config = chosen(config)
    window, overlap = fitting_window(config.window, config.overlap, height, width)
    # The frames carried over come on top: a piece and they are one window.
    completing = replace(config, window=window + overlap, overlap=overlap)
    if opened is None and config.model in ("masked", *NAMES):
        opened = open_model(config)
    blend = int(BLENDED * overlap)
    if config.model in NAMES:  # its own length, the frames carried over included
        assert opened is not None
        model = cast("FoundationModel", opened.model)
        overlap, blend = window_overlap(model, overlap, config.sampler == "stochastic")
        window = model.max_frames
        if total > window:
            warnings.warn(describe_length(model, total, overlap), FitNote, stacklevel=2)
            window -= overlap
    return Plan(completing, window, overlap, blend, opened)


def complete_pieces(
    pieces: Iterable[P],
    total: int,
    plan: Plan,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
    what: str = "completing",
) -> Iterator[tuple[P, Tensor]]:
    """Complete consecutive pieces of a video of ``total`` frames, of plan.window frames each.

    Yields (partial, frames uint8 [k, 3, h, w]) of consecutive parts that together cover the video
    (see fill_pieces). Finished windows are kept in the cache until the last one is done, under the
    hash of all that they depend on: a run that was stopped finds them. Seconds spent are added to
    timings_s["complete"].
    """
    opened = plan.opened
    model = None if opened is None else opened.model
    keeps = total > plan.window and plan.config.model != "none"
    kept = _KeptWindows(cache_folder() / "windows") if keeps else None
    adapter = None if opened is None else opened.adapter
    identity = content_hash(
        KEPT_VERSION, plan.config, None if opened is None else opened.sha256, adapter or "none"
    )

    def fill(piece: P, first: int) -> Tensor:
        clock = time.perf_counter()
        seeded = replace(plan.config, seed=plan.config.seed + first)  # noise of its own
        key = _key(piece, identity, first) if kept else ""
        frames = kept.find(key, piece.frames.shape) if kept else None
        if frames is None:
            frames = complete(piece, seeded, model=model).frames
            if kept:
                kept.add(key, frames)
        timings_s["complete"] = timings_s.get("complete", 0.0) + time.perf_counter() - clock
        return frames

    done = 0
    for part, frames in fill_pieces(fill, pieces, total, plan.overlap, plan.blend):
        done += len(frames)
        progress(what, done, total)
        yield part, frames
    if kept:
        kept.forget()


def complete_whole(
    partial: PartialVideo,
    config: CompleteConfig,
    progress: Progress = no_progress,
    opened: OpenedModel | None = None,
) -> Tensor:
    """uint8 [t, 3, h, w]: a video completed piece by piece, the result on disk where it is large.

    Raises RecamError when nothing in it is known.
    """
    out = scratch_tensor(tuple(partial.frames.shape), torch.uint8)
    done = 0
    for _, frames in complete_streamed(partial, config, {}, progress, opened):
        out[done : done + len(frames)] = frames
        done += len(frames)
    return out


def complete_streamed(
    partial: PartialVideo,
    config: CompleteConfig,
    timings_s: dict[str, float],
    progress: Progress = no_progress,
    opened: OpenedModel | None = None,
) -> Iterator[tuple[PartialVideo, Tensor]]:
    """``complete_pieces`` of a video that is there as a whole. Raises RecamError when nothing in it
    is known."""
    total, _, height, width = partial.frames.shape
    if not any(bool((known > 0).any()) for known in partial.known):
        raise RecamError("nothing in the video is known; give a mask that is white somewhere")
    plan = plan_pieces(config, total, height, width, opened)
    starts = range(0, total, plan.window)
    pieces = (cut(partial, i, min(i + plan.window, total)) for i in starts)
    yield from complete_pieces(pieces, total, plan, timings_s, progress)


def collected(
    parts: Iterable[tuple[PartialVideo, Tensor]], total: int
) -> tuple[PartialVideo, Tensor]:
    """What complete_pieces yields, as one partial video and its frames; on disk where large."""
    seen: tuple[Tensor, ...] | None = None
    done = 0
    for part, frames in parts:
        if seen is None:
            size = tuple(frames.shape[1:])
            seen = (
                scratch_tensor((total, *size), torch.uint8),
                scratch_tensor((total, *size[1:]), torch.float32),
                scratch_tensor((total, *size), torch.uint8),
            )
        for out, values in zip(seen, (part.frames, part.known, frames)):
            out[done : done + len(frames)] = values
        done += len(frames)
    if seen is None:
        raise ValueError("there is no piece to collect; give at least one")
    return PartialVideo(seen[0], seen[1]), seen[2]


def _key(piece: PartialVideo, identity: str, first: int) -> str:
    """sha256 (hex) of what a window is filled from."""
    digest = hashlib.sha256(f"{identity} {first} {tuple(piece.frames.shape)}".encode())
    tensors = [piece.frames, piece.known]
    if isinstance(piece, Rendering):
        cameras = piece.cameras
        tensors += [piece.depth, cameras.cam_from_world, cameras.intrinsics]
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _KeptWindows:
    """Finished windows of a run, a file each; they appear whole or not at all."""

    folder: Path
    used: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for old in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):  # another run may have taken it away
                if time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
                    old.unlink()

    def find(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        path = self.folder / f"{key[:32]}.safetensors"
        if not tensors_are_whole(path):
            return None
        frames = load_tensors(path).get("frames")
        if frames is None or frames.shape != tuple(shape) or frames.dtype != torch.uint8:
            return None
        self.used.append(path)
        return frames

    def add(self, key: str, frames: Tensor) -> None:
        """Keep a finished window, whole or not at all; a disk that takes it not is a warning."""
        path = self.folder / f"{key[:32]}.safetensors"
        try:
            save_tensors(path, {"frames": frames}, {})
        except OSError as error:  # a full disk, say: the run itself can still end well
            tell_not_kept("a finished window", error)
            return
        self.used.append(path)

    def forget(self) -> None:
        for path in self.used:
            path.unlink(missing_ok=True)
