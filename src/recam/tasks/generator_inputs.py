"""Renderings as published video generators take them: size, length, frame rate, colour of holes,
polarity of the mask. The rules are those of each program's own loader (docs/export.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.configs import Fit, Generator
from recam.types import CameraPath, Cameras, PartialVideo


@dataclass(frozen=True)
class GeneratorRules:
    """What one generator expects.

    width, height: of its pictures; None = the video's own, cut to a multiple of ``multiple``.
    turns: takes the same size upright, for upright videos. lengths: frames are a multiple of this
    and one more, at most ``max_frames``; equal to max_frames − 1 where only one length will do.
    fps: frames a second that it was made for; None = it takes frames as they come.
    hole: grey level of what is missing. white: what the mask's white means.
    """

    width: int | None
    height: int | None
    lengths: int
    max_frames: int
    fps: float | None
    hole: int
    white: str
    turns: bool = False
    multiple: int = 16


RULES: dict[Generator, GeneratorRules] = {
    "cognvs": GeneratorRules(720, 480, 48, 49, None, 0, "known"),
    "trajectorycrafter": GeneratorRules(672, 384, 48, 49, None, 0, "known"),
    "vace": GeneratorRules(832, 480, 4, 81, 16.0, 128, "missing", turns=True),
    "gen3c": GeneratorRules(1280, 704, 120, 121, 24.0, 0, "known"),
    "comfyui": GeneratorRules(None, None, 4, 81, 16.0, 128, "missing"),
}


@dataclass(frozen=True)
class FittedPath:
    """A path with the size and the frames that a generator takes.

    picked: int64 [n], which of the path's frames; from ``num_moving`` on the last one again.
    fps: to play them at. notes: what was left out or repeated, for the user.
    """

    path: CameraPath
    picked: Tensor
    fps: float
    notes: tuple[str, ...]

    @property
    def num_moving(self) -> int:
        return len(self.picked.unique())


def fit_path(
    path: CameraPath, times_s: Tensor, generator: Generator, fit: Fit, piece: int = 1
) -> FittedPath:
    """times_s: float64 [n], seconds of the path's frames. Raises ValueError as ``pick_frames``."""
    rules = RULES[generator]
    picked, fps, notes = pick_frames(times_s, rules, piece)
    size = fitted_size(path.cameras.height, path.cameras.width, rules)
    cameras = fit_cameras(path.cameras[picked], *size, fit)
    return FittedPath(CameraPath(cameras, path.source_frames[picked]), picked, fps, notes)


def pick_frames(
    times_s: Tensor, rules: GeneratorRules, piece: int = 1
) -> tuple[Tensor, float, tuple[str, ...]]:
    """Which frames a generator gets, int64 [m], and at which rate.

    A faster video is thinned to its rate, one that is too long is cut into pieces of which each
    begins with the last frame of the one before, and one that is too short holds its last frame.
    piece: which one, counted from 1. Raises ValueError where there are fewer.
    """
    n, notes = len(times_s), []
    seconds = float(times_s[-1] - times_s[0])
    fps = (n - 1) / seconds if seconds > 0 else rules.fps or 24.0
    picked = torch.arange(n)
    if rules.fps is not None and fps > 1.02 * rules.fps:
        wanted = torch.arange(int(seconds * rules.fps + 1e-6) + 1) / rules.fps
        after = torch.searchsorted(times_s - times_s[0], wanted.double()).clamp(1, n - 1)
        nearer = (times_s[after] - times_s[0] - wanted) > (wanted - times_s[after - 1] + times_s[0])
        picked = (after - nearer.to(after.dtype)).unique()
        notes.append(
            f"{len(picked)} of {n} frames: thinned from {fps:.4g} to {rules.fps:g} a second"
        )
        fps = rules.fps
    elif rules.fps is not None and fps < 0.98 * rules.fps:
        notes.append(f"{fps:.4g} frames a second, fewer than the {rules.fps:g} that it is made for")
    step = rules.max_frames - 1
    pieces = max(1, math.ceil((len(picked) - 1) / step))
    if not 1 <= piece <= pieces:
        raise ValueError(
            f"piece {piece}: the path's {n} frames make {pieces} of at most {rules.max_frames}"
        )
    if pieces > 1:
        picked = picked[(piece - 1) * step : piece * step + 1]
        notes.append(
            f"piece {piece} of {pieces}: frames {int(picked[0])} to {int(picked[-1])} of {n}, "
            f"counted from 0; --piece 1 to {pieces} give all"
        )
    short = len(picked) - 1
    if short < rules.lengths:
        added = rules.lengths - short
        notes.append(f"the last frame is held for {added} more: {rules.lengths + 1} are needed")
        picked = torch.cat([picked, picked[-1:].expand(added)])
    elif short % rules.lengths:
        notes.append(f"{short % rules.lengths} frames at the end left out")
        picked = picked[: len(picked) - short % rules.lengths]
    return picked, fps, tuple(notes)


def fitted_size(height: int, width: int, rules: GeneratorRules) -> tuple[int, int]:
    """(height, width) of the pictures that a generator gets for a video of this size."""
    if rules.width is None or rules.height is None:
        step = rules.multiple
        return max(step, height // step * step), max(step, width // step * step)
    upright = rules.turns and height > width
    return (rules.width, rules.height) if upright else (rules.height, rules.width)


def fit_cameras(cameras: Cameras, height: int, width: int, fit: Fit) -> Cameras:
    """Cameras of another size and aspect that keep the picture's middle and its pixels' shape.

    crop: the larger side is cut. pad: the field of view grows, and the rest is unknown.
    """
    ratios = (width / cameras.width, height / cameras.height)
    scale = max(ratios) if fit == "crop" else min(ratios)
    k = cameras.intrinsics.clone()
    k[:, :2] *= scale
    k[:, 0, 2] += (width - scale * cameras.width) / 2
    k[:, 1, 2] += (height - scale * cameras.height) / 2
    return replace(cameras, intrinsics=k, height=height, width=width)


def fit_frames(frames: Tensor, height: int, width: int, fit: Fit, hole: int) -> Tensor:
    """uint8 [t, 3, h, w] frames as ``fit_cameras`` sees them; the rest is ``hole``."""
    ratios = (width / frames.shape[3], height / frames.shape[2])
    scale = max(ratios) if fit == "crop" else min(ratios)
    size = round(scale * frames.shape[2]), round(scale * frames.shape[3])
    sized = torch.nn.functional.interpolate(
        frames.float(), size, mode="bilinear", antialias=True, align_corners=False
    )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    out = torch.nn.functional.pad(
        sized, (left, width - size[1] - left, top, height - size[0] - top), value=hole
    )  # where negative, it cuts
    return out.round().clamp(0, 255).to(torch.uint8)


def with_holes(partial: PartialVideo, rules: GeneratorRules) -> Tensor:
    """uint8 [t, 3, h, w]: the frames, what is not known in the generator's colour."""
    return torch.where(partial.known[:, None] > 0.5, partial.frames, rules.hole)


def mask_frames(known: Tensor, rules: GeneratorRules) -> Tensor:
    """uint8 [t, 3, h, w], black and white, of known [t, h, w]."""
    white = known > 0.5 if rules.white == "known" else known <= 0.5
    return (white.to(torch.uint8) * 255)[:, None].expand(-1, 3, -1, -1)
