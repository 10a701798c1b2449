"""Training batches. Batch k is a function of (seed, k) alone, which is what makes training resume
bit for bit: the step number is the position in the data and the state of all randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.codec import from_signal, to_signal
from recam.completion.fills import make_condition
from recam.completion.propagate import propagate
from recam.configs import Fill, MaskSource, ObjectiveConfig
from recam.training.degrade import degrade
from recam.training.layered import LayeredClips, layered_clips, traced_fill
from recam.training.loss import Batch
from recam.training.masks import Size, draw_known
from recam.types import Pair, PartialVideo, Progress, RecamError, no_progress

JOINT_SHARE = 0.15
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}


@dataclass(frozen=True)
class Material:
    """What to learn from beside the layered clips that are made on the fly.

    videos: uint8 [t, 3, h, w] each, only the picture is known; masks are drawn.
    pairs: from covisibility.make_pairs, with their own holes and evidence.
    """

    videos: Sequence[Tensor] = field(default_factory=tuple)
    pairs: Sequence[Pair] = field(default_factory=tuple)


def step_generator(seed: int, step: int, worker: int, device: torch.device) -> torch.Generator:
    """Randomness of one training step; different for every step and worker."""
    generator = torch.Generator(device)
    # Odd multipliers keep (seed, step, worker) apart in 63 bits.
    mixed = seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + worker * 0x94D049BB133111EB
    return generator.manual_seed(mixed % (1 << 63))


def draw_batch(
    size: Size,
    objective: ObjectiveConfig,
    fills: tuple[Fill, ...],
    generator: torch.Generator,
    material: Material | None = None,
    synthetic_share: float = 1.0,
) -> Batch:
    """A batch of b clips on the generator's device, of every mask source in the objective."""
    b = size[0]
    device = generator.device
    clips = layered_clips(size, generator)
    target, frames = clips.frames, clips.frames
    reprojected = clips.known
    real = torch.zeros(b, dtype=torch.bool, device=device)
    if material and (material.videos or material.pairs):
        real = torch.rand(b, generator=generator, device=device) >= synthetic_share
        for i in real.nonzero()[:, 0].tolist():
            shown, true, known = _real_clip(material, size, generator)
            target, frames = target.clone(), frames.clone()
            target[i], frames[i] = true, shown
            if known is not None:
                reprojected = reprojected.clone()
                reprojected[i] = known
    known, identity = _choose_masks(objective.masks, reprojected, size, generator)
    chosen = torch.rand(b, generator=generator, device=device) < objective.degrade
    frames, known = degrade(frames, known, chosen | identity, generator)
    joint = torch.rand(b, generator=generator, device=device) < JOINT_SHARE
    given = _propagated(clips, frames, known, real, generator) if "propagate" in fills else None
    condition = make_condition(frames, known, fills, given)
    return Batch(target, condition, joint | identity, torch.ones_like(known))


def _propagated(
    clips: LayeredClips, frames: Tensor, known: Tensor, real: Tensor, generator: torch.Generator
) -> Tensor:
    """The fill that follows motion: by the true motion of layered clips, estimated in real ones."""
    filled = traced_fill(clips, frames, known, generator)
    for i in real.nonzero()[:, 0].tolist():
        if bool((known[i] > 0).any()):
            shown = PartialVideo(from_signal(frames[i]).cpu(), known[i, :, 0].cpu().contiguous())
            filled[i] = to_signal(propagate(shown)).to(filled)
    return filled


def _choose_masks(
    sources: tuple[MaskSource, ...], reprojected: Tensor, size: Size, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(known, identity [b]): each sample's mask from a source drawn for it."""
    device = generator.device
    choice = torch.randint(len(sources), (size[0],), generator=generator, device=device)
    known = reprojected
    identity = torch.zeros(size[0], dtype=torch.bool, device=device)
    for source in sorted(set(sources)):
        of_source = torch.zeros_like(identity)
        for i, name in enumerate(sources):
            of_source |= (choice == i) & (name == source)
        if source == "identity":
            identity = of_source
        if source != "reprojected":
            drawn = draw_known(source, size, generator)
            known = torch.where(of_source.view(-1, 1, 1, 1, 1), drawn, known)
    return known, identity


def _real_clip(
    material: Material, size: Size, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(shown, true, known or None): a random crop in space and time, perhaps played backwards."""
    _, t, h, w = size
    count = len(material.videos) + len(material.pairs)

    def below(n: int) -> int:
        return int(torch.randint(max(n, 1), (1,), generator=generator, device=generator.device))

    which = below(count)
    if which < len(material.videos):
        true = shown = material.videos[which]
        known = None
    else:
        pair = material.pairs[which - len(material.videos)]
        true, shown, known = pair.target.frames, pair.partial.frames, pair.partial.known[:, None]
    stride = 1 + below(min(3, (len(true) - 1) // max(t - 1, 1)))
    start = below(len(true) - stride * (t - 1))
    when = (start + stride * torch.arange(t)).clamp(max=len(true) - 1)
    if below(2):
        when = when.flip(0)
    height, width = true.shape[-2:]
    scale = max(h / height, w / width, 0.35 + 0.05 * below(14))
    crop_h, crop_w = min(height, round(h / scale)), min(width, round(w / scale))
    top, left = below(height - crop_h + 1), below(width - crop_w + 1)

    def cut(frames: Tensor) -> Tensor:
        part = frames[when, :, top : top + crop_h, left : left + crop_w]
        signal = to_signal(part) if frames.dtype == torch.uint8 else part
        return F.interpolate(signal, size=(h, w), mode="area").to(generator.device)

    true_cut = cut(true)
    # A pixel made of known and unknown ones is not known; its evidence would be half a hole.
    known_cut = None if known is None else (cut(known) > 0.999).float()
    return (true_cut if shown is true else cut(shown)), true_cut, known_cut


def find_videos(folder: Path) -> list[Path]:
    """Every video in a folder and below. Raises RecamError when there is none."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise RecamError(f"{folder}: no video ({', '.join(sorted(VIDEO_SUFFIXES))}) in it")
    return paths


def read_videos(
    folder: Path, max_frames: int = 120, max_side: int = 512, progress: Progress = no_progress
) -> list[Tensor]:
    """The first frames of every video in a folder and below, scaled down, kept in memory.

    Raises RecamError when there is none.
    """
    from recam.media import read_video

    paths = find_videos(folder)
    videos = []
    for i, path in enumerate(paths):
        videos.append(read_video(path, num_frames=max_frames, max_side=max_side).frames)
        progress("reading videos", i + 1, len(paths))
    return videos
