"""From a partially known video to what the network is given: evidence, mask and classical fills."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.completion.backbone import Condition
from recam.completion.baselines import fill_telea
from recam.completion.flow_propagation import Found, find
from recam.completion.neighbor_lookup import WITNESSED
from recam.completion.pixels import to_signal
from recam.configs import SEARCHED, Fill
from recam.flow.pyramid import fill_from_pyramid
from recam.types import PartialVideo, Progress, Rendering, no_progress


def search_fills(
    partial: PartialVideo, names: tuple[Fill, ...] = SEARCHED, progress: Progress = no_progress
) -> Tensor:
    """Those fills among ``names`` that are searched for on the CPU, since they estimate motion or
    march along borders: uint8 [k, t, 4, h, w], colours and trust (255 = sure).

    Known pixels are as they were. Raises RecamError when nothing at all is known.
    """
    made: dict[str, Tensor] = {}
    if set(names) & {"propagate", "traced-past", "traced-future", "around"}:
        by_depth = find(partial, progress)
        made |= _with_trust(by_depth, ("propagate", "traced-past", "traced-future", "around"))
    if set(names) & {"flow", "flow-past", "flow-future", "flow-around"}:
        by_flow = by_depth if "propagate" in made and not isinstance(partial, Rendering) else None
        if by_flow is None:
            by_flow = find(PartialVideo(partial.frames, partial.known), progress)
        made |= _with_trust(by_flow, ("flow", "flow-past", "flow-future", "flow-around"))
    if "telea" in names:
        frames = fill_telea(partial, progress)
        made["telea"] = torch.cat([frames, torch.zeros_like(frames[:, :1])], 1)
    t, _, h, w = partial.frames.shape
    chosen = [made[name] for name in names if name in SEARCHED]
    return torch.stack(chosen) if chosen else torch.zeros(0, t, 4, h, w, dtype=torch.uint8)


def _with_trust(found: Found, names: tuple[str, ...]) -> dict[str, Tensor]:
    past, future = (found.trust * 255).round().to(torch.uint8)[:, :, None].unbind(1)
    pictures = (found.frames, found.past, found.future, found.around)
    trusts = (torch.maximum(past, future), past, future, torch.zeros_like(past))
    return {n: torch.cat([p, s], 1) for n, p, s in zip(names, pictures, trusts)}


def pick(searched: Tensor, names: tuple[Fill, ...]) -> Tensor:
    """Of all searched fills [k, ...], in the order of SEARCHED, those of ``names``, in theirs."""
    return searched[[SEARCHED.index(name) for name in names if name in SEARCHED]]


def fills_to_signal(searched: Tensor) -> Tensor:
    """float [..., 4, h, w] of uint8 searched fills: colours in [-1, 1], trust in [0, 1]."""
    colors, trust = searched[..., :3, :, :], searched[..., 3:, :, :]
    return torch.cat([to_signal(colors), trust.float() / 255], -3)


def make_condition(
    frames: Tensor,
    known: Tensor,
    fills: tuple[Fill, ...],
    searched: Tensor | None = None,
    witnesses: Tensor | None = None,
) -> Condition:
    """The condition of b videos; every step runs on the tensors' device.

    frames: [b, t, 3, h, w] in [-1, 1]. known: [b, t, 1, h, w] in [0, 1]. searched: float
    [b, k, t, 4, h, w], colours and trust of those of ``fills`` that cannot be computed here
    (``search_fills``), in their order; needed when there are any. witnesses: float
    [b, 4, t, 4, h, w], what other frames show of known pixels (``find_witnesses``), for evidence
    that is to be denoised too: where they are found, some fills show them instead of the evidence.
    """
    evidence = torch.where(known > 0, frames, torch.zeros_like(frames))
    wanted = [name for name in fills if name in SEARCHED]
    if len(wanted) != (0 if searched is None else searched.shape[1]):
        raise ValueError(
            f"fills {', '.join(wanted)} are searched for, but "
            f"{0 if searched is None else searched.shape[1]} were given; pass those of search_fills"
        )
    made: dict[str, Tensor] = {}
    trust: dict[str, Tensor] = {}
    if set(fills) & {"pull-push", "past", "future"}:
        made["pull-push"] = pull_push_signal(evidence, known)
    for name, reverse in (("past", False), ("future", True)):
        if name in fills:
            made[name] = hold(evidence, known, made["pull-push"], reverse)
    for i, name in enumerate(wanted):
        assert searched is not None
        given = searched[:, i].to(frames)
        # Known pixels as they are given now: a window's first frames may be finished since.
        shown, sure = evidence, given[:, :, 3:]
        if witnesses is not None and name in WITNESSED:
            seen = witnesses[:, WITNESSED.index(name)].to(frames)
            shown = torch.where(seen[:, :, 3:] > 0, seen[:, :, :3], evidence)
            sure = torch.lerp(sure, seen[:, :, 3:], known)
        made[name] = torch.lerp(given[:, :, :3], shown, known)
        trust[name] = sure
    b, t, _, h, w = frames.shape
    if not fills:
        return Condition(evidence, known, frames.new_zeros(b, 0, t, 3, h, w))
    none = torch.zeros_like(known)
    return Condition(
        evidence,
        known,
        torch.stack([made[name] for name in fills], 1),
        torch.stack([trust.get(name, none) for name in fills], 1),
    )


def pull_push_signal(evidence: Tensor, known: Tensor) -> Tensor:
    """Spatio-temporal pull-push of [b, t, 3, h, w] in [-1, 1]; 0 (grey) when nothing is known."""
    filled = fill_from_pyramid(evidence.transpose(1, 2), known.transpose(1, 2))
    return filled.transpose(1, 2)


def hold(evidence: Tensor, known: Tensor, otherwise: Tensor, reverse: bool) -> Tensor:
    """Each pixel as it was last known (reverse: will next be known); else ``otherwise``."""
    out = otherwise.clone()
    order = range(evidence.shape[1])
    last: Tensor | None = None
    have: Tensor | None = None
    for t in reversed(order) if reverse else order:
        now = known[:, t] > 0.5
        last = evidence[:, t] if last is None else torch.where(now, evidence[:, t], last)
        have = now if have is None else have | now
        out[:, t] = torch.where(have, last, out[:, t])
    return out
