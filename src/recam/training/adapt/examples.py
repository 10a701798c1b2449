"""What adaptation to one video learns from: partial videos of it with everything precomputed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.backbone import Condition
from recam.completion.fills import fills_to_signal, make_condition, search_fills
from recam.completion.masked import resize, shrink_known
from recam.completion.pixels import from_signal, to_signal
from recam.completion.windows import resize_partial
from recam.configs import Fill, MaskSource
from recam.training.loss import Batch
from recam.training.masks import draw_known
from recam.types import Pair, PartialVideo, Progress, RecamError, Rendering, no_progress

MAX_FRAMES = 32
SOURCES: tuple[MaskSource, ...] = ("tracks", "border", "random-2d")


@dataclass(frozen=True)
class Example:
    """A clip, what is shown of it, and the fills of that, all cached at the working size.

    target, evidence: uint8 [t, 3, h, w]. known: float32 [t, 1, h, w]. fills: uint8
    [k, t, 4, h, w], colours and trust. scored: float32 [t, 1, h, w], 1 where the target is true
    and worth learning.
    """

    target: Tensor
    evidence: Tensor
    known: Tensor
    fills: Tensor
    scored: Tensor

    def cut(self, when: Tensor, rows: slice, columns: slice, device: torch.device) -> Batch:
        """Frames ``when`` of a window of the picture, as a batch of one."""

        def part(frames: Tensor) -> Tensor:
            return frames[when][..., rows, columns][None].to(device)

        known = part(self.known)
        evidence = torch.where(known > 0, to_signal(part(self.evidence)), 0.0)
        fills = fills_to_signal(self.fills[:, when][..., rows, columns][None].to(device))
        joint = torch.zeros(1, dtype=torch.bool, device=device)
        condition = Condition(evidence, known, fills[:, :, :, :3], fills[:, :, :, 3:])
        return Batch(to_signal(part(self.target)), condition, joint, part(self.scored))


def frames_to_learn(num_frames: int, most: int = MAX_FRAMES, max_stride: int = 3) -> Tensor:
    """Indices of the frames that all examples of a video show: at most ``most`` from its middle,
    every second or third one of a long video.

    All show the same ones, so that what is held back at their end is held back from all.
    """
    count = min(num_frames, most)
    stride = min(max(num_frames // count, 1), max_stride)
    start = (num_frames - 1 - stride * (count - 1)) // 2
    return start + stride * torch.arange(count)


def encode_pairs(
    pairs: Iterable[Pair],
    fills: tuple[Fill, ...],
    max_side: int,
    seconds: float = float("inf"),
    progress: Progress = no_progress,
) -> list[Example]:
    """Examples of pairs (of ``make_pairs``), scaled down to max_side and filled once.

    Stops early, with three or more, when so many seconds are over.
    """
    until = time.monotonic() + seconds
    examples: list[Example] = []
    for pair in pairs:
        full = torch.ones_like(pair.partial.known)
        examples.append(_encode(pair.partial, pair.target.frames, full, fills, max_side))
        progress("making examples", len(examples), len(examples) + 1)
        if len(examples) >= 3 and time.monotonic() > until:
            break
    return examples


def hide_more(
    partial: PartialVideo, num: int, generator: torch.Generator
) -> Iterable[tuple[PartialVideo, Tensor, Tensor]]:
    """(partial, target frames, scored) of a video whose truth is known only in part.

    Each hides more of what is known: the video's own holes moved elsewhere, mirrored or put at
    another time, or drawn masks. Only what is known is ever scored, so nothing of what is to be
    completed leaks into training.
    """
    for i in range(num):
        yield _hide(partial, i, generator)


def _hide(
    partial: PartialVideo, number: int, generator: torch.Generator
) -> tuple[PartialVideo, Tensor, Tensor]:
    t, h, w = partial.known.shape
    if number % 4 < 3 and bool((partial.known < 1).any()):
        hidden = _moved_holes(partial.known, generator)
    else:
        source = SOURCES[int(torch.randint(len(SOURCES), (1,), generator=generator))]
        hidden = 1 - draw_known(source, (1, t, h, w), generator)[0, :, 0]
    known = partial.known * (1 - hidden)
    if not bool((known > 0).any()):  # the moved holes hide all that is left
        hidden = 1 - draw_known("tracks", (1, t, h, w), generator)[0, :, 0]
        known = partial.known * (1 - hidden)
    shown = replace(partial, frames=partial.frames * (known > 0)[:, None], known=known)
    if isinstance(shown, Rendering):
        shown = replace(shown, depth=shown.depth * (known > 0))
    return shown, partial.frames, (partial.known > 0.999).float()


def encode_hidden(
    partial: PartialVideo,
    num: int,
    fills: tuple[Fill, ...],
    max_side: int,
    seed: int,
    seconds: float = float("inf"),
    progress: Progress = no_progress,
) -> list[Example]:
    """Examples from the known pixels of a partial video alone.

    Stops early, with three or more, when so many seconds are over.
    """
    if not bool((partial.known > 0.999).any()):
        raise RecamError("nothing in the video is known, so there is nothing to adapt to")
    until = time.monotonic() + seconds
    generator = torch.Generator().manual_seed(seed)
    # Before filling: large videos take long to fill.
    small = resize_partial(partial, *_working_size(partial.frames, max_side))
    examples: list[Example] = []
    for shown, target, scored in hide_more(small, num, generator):
        if bool((shown.known > 0).any()):
            examples.append(_encode(shown, target, scored, fills, max_side))
        progress("making examples", len(examples), num)
        if len(examples) >= 3 and time.monotonic() > until:
            break
    return examples


def _working_size(frames: Tensor, max_side: int) -> tuple[int, int]:
    height, width = frames.shape[-2:]
    scale = min(1.0, max_side / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _encode(
    partial: PartialVideo,
    target: Tensor,
    scored: Tensor,
    fills: tuple[Fill, ...],
    max_side: int,
) -> Example:
    size = _working_size(target, max_side)
    frames, known = shrink_known(to_signal(partial.frames), partial.known[:, None], size)
    given = fills_to_signal(search_fills(resize_partial(partial, *size), fills))[None]
    condition = make_condition(frames[None], known[None], fills, given)
    trust = (
        torch.zeros_like(condition.fills[:, :, :, :1])
        if condition.trust is None
        else condition.trust
    )
    scored_small = F.interpolate(scored[:, None], size=size, mode="area")
    return Example(
        from_signal(resize(to_signal(target), size)),
        from_signal(condition.evidence[0]),
        known,
        torch.cat([from_signal(condition.fills[0]), (trust[0] * 255).round().to(torch.uint8)], 2),
        (scored_small > 0.999).float(),
    )


def _moved_holes(known: Tensor, generator: torch.Generator) -> Tensor:
    """Holes [t, h, w] of the same video, mirrored, shifted by up to half the picture, and played
    from another moment on."""
    t, h, w = known.shape

    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    holes = 1 - known
    for axis in (0, 2):
        if below(2):
            holes = holes.flip(axis)
    shift = (below(t), below(h + 1) - h // 2, below(w + 1) - w // 2)
    return holes.roll(shift, (0, 1, 2))
