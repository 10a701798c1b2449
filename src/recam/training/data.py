"""Training batches. Batch k is a function of (seed, k) alone, which is what makes training resume
bit for bit: the step number is the position in the data and the state of all randomness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.fills import fills_to_signal, make_condition, pick, search_fills
from recam.completion.pixels import from_signal
from recam.configs import SEARCHED, Fill, MaskSource, ObjectiveConfig
from recam.training.degrade import degrade
from recam.training.layered import layered_clips, traced_fills
from recam.training.loss import Batch
from recam.training.masks import Size, draw_known
from recam.types import Pair, PartialVideo, Progress, RecamError, no_progress

BACKWARDS = tuple(
    [name.replace("past", "future") if "past" in name else name.replace("future", "past")
     for name in SEARCHED].index(name) for name in SEARCHED
)  # fmt: skip
"""Of a clip played backwards, the past's fills are the future's."""
VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}


@dataclass(frozen=True)
class FilledPair(Pair):
    """A pair and all searched fills of its partial video, uint8 [k, t, 4, h, w] (search_fills)."""

    filled: Tensor


@dataclass(frozen=True)
class Clip:
    """A clip on the device that trains; uint8 [t, 3, h, w] each, known uint8 [t, 1, h, w] (0, 1),
    filled uint8 [k, t, 4, h, w].

    A video has its true frames alone, and masks are drawn for it.
    """

    true: Tensor
    shown: Tensor | None = None
    known: Tensor | None = None
    filled: Tensor | None = None


@dataclass(frozen=True)
class Material:
    """What to learn from beside the layered clips that are made on the fly."""

    clips: Sequence[Clip] = ()


def make_material(
    videos: Sequence[Tensor] = (),
    pairs: Sequence[Pair] = (),
    device: torch.device | str = "cpu",
) -> Material:
    """Move what to learn from to the device that trains, so that cutting it costs nothing there.

    videos: uint8 [t, 3, h, w], of which only the picture is known. pairs: from ``make_pairs``;
    those that are not filled yet (FilledPair) are when they are needed, which costs the most.
    """
    clips = [Clip(video.to(device)) for video in videos]
    for pair in pairs:
        known = (pair.partial.known > 0.999).to(device, torch.uint8)[:, None]
        filled = pair.filled.to(device) if isinstance(pair, FilledPair) else None
        shown = pair.partial.frames.to(device)
        clips.append(Clip(pair.target.frames.to(device), shown, known, filled))
    return Material(clips)


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
    cuts: list[_Cut] = []
    if material and material.clips:
        # One draw for the host: asking the device for every choice would make it wait.
        drawn = torch.rand(b + 1, generator=generator, device=device, dtype=torch.float64).cpu()
        host = torch.Generator().manual_seed(int(drawn[b] * 2**52))
        count = int((drawn[:b] >= synthetic_share).sum())
        cuts = [_random_cut(material.clips, size, host) for _ in range(count)]
    clips = layered_clips((max(b - len(cuts), 1), *size[1:]), generator)
    made = slice(b - len(cuts))  # the layered ones come first
    # A video's picture may have holes where a layered clip does: any mask is right for it.
    holes = [clips.known[i % len(clips.known)] if c.known is None else c.known
             for i, c in enumerate(cuts)]  # fmt: skip
    target = torch.stack([*clips.frames[made], *(c.true for c in cuts)])
    frames = torch.stack([*clips.frames[made], *(c.shown for c in cuts)])
    reprojected = torch.stack([*clips.known[made], *holes])
    known, identity = _choose_masks(objective.masks, reprojected, size, generator)
    for i, cut in enumerate(cuts, b - len(cuts)):
        if cut.filled is not None:  # its fills belong to its own holes
            known[i], identity[i] = reprojected[i], False
    chosen = torch.rand(b, generator=generator, device=device) < objective.degrade
    frames, known = degrade(frames, known, chosen | identity, generator)
    joint = torch.rand(b, generator=generator, device=device) < objective.joint
    given = None
    if set(fills) & set(SEARCHED):
        parts = [pick(cut, fills) for cut in _filled_cuts(cuts, frames, known)]
        if len(cuts) < b:
            parts[:0] = traced_fills(clips, frames[made], known[made], fills, generator)
        given = torch.stack(parts)
    condition = make_condition(frames, known, fills, given)
    return Batch(target, condition, joint | identity, torch.ones_like(known))


def _filled_cuts(cuts: Sequence[_Cut], frames: Tensor, known: Tensor) -> Iterator[Tensor]:
    """All searched fills [k, t, 4, h, w] of every cut clip, which are the last of a batch: its own,
    else made now."""
    for i, cut in enumerate(cuts, len(frames) - len(cuts)):
        if cut.filled is not None:
            yield cut.filled
        elif bool((known[i] > 0).any()):
            shown = PartialVideo(from_signal(frames[i]).cpu(), known[i, :, 0].cpu().contiguous())
            yield fills_to_signal(search_fills(shown)).to(frames)
        else:
            t, _, h, w = frames[i].shape
            yield frames.new_zeros(len(SEARCHED), t, 4, h, w)


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


@dataclass(frozen=True)
class _Cut:
    """A part of a clip at the training size: [t, 3, h, w] in [-1, 1], known [t, 1, h, w], all
    searched fills [k, t, 4, h, w]."""

    true: Tensor
    shown: Tensor
    known: Tensor | None
    filled: Tensor | None


def _random_cut(clips: Sequence[Clip], size: Size, generator: torch.Generator) -> _Cut:
    """A random part of a random clip in space and time, perhaps played backwards."""
    _, t, h, w = size

    def below(n: int) -> int:
        return int(torch.randint(max(n, 1), (1,), generator=generator))

    clip = clips[below(len(clips))]
    num_frames, _, height, width = clip.true.shape
    stride = 1 + below(min(3, (num_frames - 1) // max(t - 1, 1)))
    start = below(num_frames - stride * (t - 1))
    when = (start + stride * torch.arange(t)).clamp(max=num_frames - 1)
    backwards = below(2)
    if backwards:
        when = when.flip(0)
    when = when.to(clip.true.device)
    # Fills err by pixels of the size they were searched for at; scaled down they would err by less
    # than they will.
    wanted = 1.0 if clip.filled is not None else 0.35 + 0.05 * below(14)
    scale = max(h / height, w / width, wanted)
    crop_h, crop_w = min(height, round(h / scale)), min(width, round(w / scale))
    top, left = below(height - crop_h + 1), below(width - crop_w + 1)
    flip = below(2)

    def resized(frames: Tensor) -> Tensor:
        part = frames[when][..., top : top + crop_h, left : left + crop_w].float()
        if (crop_h, crop_w) != (h, w):
            part = F.interpolate(part, size=(h, w), mode="area")
        return part.flip(-1) if flip else part

    def all_fills(fills: Tensor) -> Tensor:
        if backwards:
            fills = fills[list(BACKWARDS)]
        parts = resized(fills.transpose(0, 1).flatten(1, 2)).unflatten(1, (-1, 4)).transpose(0, 1)
        return torch.cat([parts[:, :, :3] * (2 / 255) - 1, parts[:, :, 3:] / 255], 2)

    def signal(frames: Tensor | None) -> Tensor | None:
        return None if frames is None else resized(frames) * (2 / 255) - 1

    true, shown = signal(clip.true), signal(clip.shown)
    assert true is not None
    # A pixel made of known and unknown ones is not known; its evidence would be half a hole.
    known = None if clip.known is None else (resized(clip.known) > 0.999).float()
    filled = None if clip.filled is None else all_fills(clip.filled)
    return _Cut(true, true if shown is None else shown, known, filled)


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
