"""From a partially known video to what the network is given: evidence, mask and classical fills."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.completion.backbone import Condition
from recam.completion.pull_push import fill_from_pyramid
from recam.configs import Fill


def make_condition(
    frames: Tensor, known: Tensor, fills: tuple[Fill, ...], propagated: Tensor | None = None
) -> Condition:
    """The condition of b videos; every step runs on the tensors' device.

    frames: [b, t, 3, h, w] in [-1, 1]. known: [b, t, 1, h, w] in [0, 1]. propagated: the same shape
    as frames, what ``propagate`` makes of them; needed when it is among the fills, since it is the
    one fill that cannot be computed here (it estimates motion).
    """
    evidence = torch.where(known > 0, frames, torch.zeros_like(frames))
    made: dict[str, Tensor] = {}
    if set(fills) & {"pull-push", "past", "future"}:
        made["pull-push"] = pull_push_signal(evidence, known)
    for name, reverse in (("past", False), ("future", True)):
        if name in fills:
            made[name] = hold(evidence, known, made["pull-push"], reverse)
    if "propagate" in fills:
        if propagated is None:
            raise ValueError("the fill 'propagate' is asked for; pass what propagate() returned")
        # Known pixels as they are given now: a window's first frames may be finished since.
        made["propagate"] = torch.lerp(propagated.to(frames), evidence, known)
    b, t, _, h, w = frames.shape
    if not fills:
        return Condition(evidence, known, frames.new_zeros(b, 0, t, 3, h, w))
    return Condition(evidence, known, torch.stack([made[name] for name in fills], 1))


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
