"""Pull-push: fill holes from a pyramid of weighted means over space and time."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.flow.pyramid import fill_from_pyramid
from recam.types import PartialVideo, Progress, RecamError, no_progress


def pull_push(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """Fill holes by the spatio-temporal pyramid: uint8 [t, 3, h, w].

    Known pixels are kept bit for bit, partly known ones blended by ``partial.known``. Raises
    RecamError when nothing at all is known.
    """
    require_something_known(partial)
    known = partial.known.clamp(0, 1)
    out = torch.empty(partial.frames.shape, dtype=torch.uint8)
    for channel in range(3):  # one at a time: a long video in float is large
        values = partial.frames[None, :, channel][None].float()
        filled = fill_from_pyramid(values, known[None, None])[0, 0]
        out[:, channel] = filled.round_().clamp_(0, 255).to(torch.uint8)
        progress("filling (pull-push)", channel + 1, 3)
    return out


def require_something_known(partial: PartialVideo) -> None:
    """Raise RecamError when no pixel of the video is known."""
    if not bool((partial.known > 0).any()):
        raise RecamError(
            "nothing in the video is known, so there is nothing to fill it from; "
            "is the mask inverted? (white = known)"
        )
