"""Fill a window of a partially known video with a masked video model: any size and aspect."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.backbone import Backbone, Condition
from recam.completion.baselines import keep_known
from recam.completion.fills import fills_to_signal, make_condition, search_fills
from recam.completion.flow_propagation import propagate
from recam.completion.neighbor_lookup import find_witnesses
from recam.completion.pixels import from_signal, pad, padding_to, to_signal, unpad
from recam.completion.pull_push import pull_push
from recam.completion.samplers import sample_anchored, sample_single_step, sample_stochastic
from recam.completion.schedule import sampling_levels
from recam.completion.windows import resize_partial
from recam.configs import SEARCHED, CompleteConfig, Fill
from recam.types import PartialVideo, Progress, no_progress

SEAM_PX = 6
"""How far from the edge of a hole the generated part is fitted to what is known there."""
DOUBT = 0.5
"""Trust in evidence once it is denoised too; training shows the model the same."""


def fill_window(
    model: Backbone,
    partial: PartialVideo,
    config: CompleteConfig,
    progress: Progress = no_progress,
) -> Tensor:
    """Fill what is not known of a window by the model: uint8 [t, 3, h, w]. Of any size and aspect.

    Videos larger than config.model_side are completed at that size, and the model's correction of
    the classical fill is enlarged and added to the fill at full size. With the anchored sampler
    known pixels come back bit for bit, partly known ones blended by ``partial.known``; the
    stochastic one corrects all.
    """
    height, width = partial.frames.shape[-2:]
    scale = min(1.0, config.model_side / max(height, width))
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    small = resize_partial(partial, *size)
    frames, known = shrink_known(to_signal(partial.frames), partial.known[:, None], size)
    frames, known = frames[None].to(model.device), known[None].to(model.device)
    anchored = config.sampler == "anchored"
    padding = padding_to(*size, model.pixel_multiple)
    both = [_padded(c, padding) for c in _conditions(model, small, frames, known, config, progress)]
    x0 = unpad(_sample(model, both[0], both[-1].doubted(DOUBT), config), padding)
    if anchored:
        x0 = fit_to_known(x0, frames, known)
    x0 = x0[0].float().cpu()
    if scale == 1.0:
        filled = from_signal(x0)
    else:
        full_start = _full_size_start(model.fills, partial, progress)
        filled = _enlarge(x0 - resize(to_signal(full_start), size), full_start)
    return keep_known(partial, filled) if anchored else filled


def _conditions(
    model: Backbone,
    small: PartialVideo,
    frames: Tensor,
    known: Tensor,
    config: CompleteConfig,
    progress: Progress,
) -> Iterator[Condition]:
    """What the model is shown of a window; and, for the stochastic sampler, what it is shown once
    evidence is denoised too. frames [1, t, 3, h, w] and known [1, t, 1, h, w] as ``small`` has."""
    searched = fills_to_signal(search_window(small, model.fills, progress))[None].to(model.device)
    yield make_condition(frames, known, model.fills, searched)
    if config.sampler == "stochastic" and bool((small.known > 0).any()):
        others = fills_to_signal(find_witnesses(small, progress))[None].to(model.device)
        yield make_condition(frames, known, model.fills, searched, others)


def _sample(
    model: Backbone, condition: Condition, joint: Condition, config: CompleteConfig
) -> Tensor:
    """Clean frames [1, t, 3, h, w] of a padded condition; joint: once evidence is denoised too."""
    clean = model.token_levels(condition.known) >= 1
    evidence = model.encode(condition.evidence)
    steps = config.sampling_steps or 1
    levels = sampling_levels(steps)
    with torch.no_grad():
        if config.sampler == "stochastic":
            z = sample_stochastic(
                model, evidence, clean, condition, joint, [config.seed], levels, config.threshold,
                config.eta,
            )  # fmt: skip
        elif steps == 1:
            z = sample_single_step(model, evidence, clean, condition)
        else:
            z = sample_anchored(
                model, evidence, clean, condition, [config.seed], levels, config.eta
            )
        return model.decode(z)


def _padded(condition: Condition, padding: tuple[int, int, int, int]) -> Condition:
    # The edge is repeated, known or not: padding must not turn evidence at the border into holes.
    return condition.each(lambda part: pad(part, padding))


def search_window(partial: PartialVideo, fills: tuple[Fill, ...], progress: Progress) -> Tensor:
    """``search_fills``; grey without trust where nothing at all is known."""
    if bool((partial.known > 0).any()):
        return search_fills(partial, fills, progress)
    t, _, h, w = partial.frames.shape
    nothing = torch.full((sum(f in SEARCHED for f in fills), t, 4, h, w), 128, dtype=torch.uint8)
    nothing[:, :, 3] = 0
    return nothing


def fit_to_known(x0: Tensor, frames: Tensor, known: Tensor) -> Tensor:
    """Shift what was generated next to known pixels so that no seam shows.

    How far x0 misses the known pixels is carried a few pixels into the hole and fades out there
    (normalised convolution). All [b, t, c, h, w].
    """
    missed = (frames - x0) * known
    both = torch.cat([missed, known], 2).flatten(0, 1)
    for _ in range(2):  # two box blurs are a tent
        both = F.avg_pool2d(both, 2 * SEAM_PX + 1, 1, SEAM_PX, count_include_pad=False)
    both = both.view(*x0.shape[:2], 4, *x0.shape[3:])
    near = both[:, :, 3:]
    return x0 + both[:, :, :3] / near.clamp(min=1e-3) * (2 * near).clamp(max=1)


def shrink_known(frames: Tensor, known: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Frames [t, 3, h, w] and known [t, 1, h, w] at a smaller size.

    A small pixel is the mean of the known pixels under it and as known as they are many.
    """
    if frames.shape[-2:] == size:
        return frames, known
    share = F.interpolate(known, size=size, mode="area")
    shown = F.interpolate(frames * known, size=size, mode="area")
    share = torch.where(share > 0.999, torch.ones_like(share), share)
    return torch.where(share > 0, shown / share.clamp(min=1e-4), torch.zeros_like(shown)), share


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames [t, c, h, w] at another size: area means when smaller, bicubic when larger."""
    if frames.shape[-2:] == size:
        return frames
    if size[0] <= frames.shape[-2]:
        return F.interpolate(frames, size=size, mode="area")
    return F.interpolate(frames, size=size, mode="bicubic", align_corners=False)


def _enlarge(correction: Tensor, start: Tensor) -> Tensor:
    """A fill at full size, uint8 [t, 3, h, w], plus the enlarged correction of it."""
    filled = torch.empty_like(start)
    for t in range(len(start)):  # one frame at a time: full size in float is large
        larger = resize(correction[t : t + 1], (start.shape[-2], start.shape[-1]))[0]
        filled[t] = from_signal(to_signal(start[t]) + larger)
    return filled


def _full_size_start(fills: tuple[Fill, ...], partial: PartialVideo, progress: Progress) -> Tensor:
    """The fill that carries detail beyond the working size: uint8 [t, 3, h, w]."""
    if not bool((partial.known > 0).any()):
        return torch.full_like(partial.frames, 128)  # a window of a video known elsewhere
    return propagate(partial, progress) if "propagate" in fills else pull_push(partial)
