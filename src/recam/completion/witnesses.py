"""What other frames show of known pixels: needed where what is known may itself be wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recam.completion.motion import estimate_motion
from recam.completion.propagate import MARGIN_PX, as_pictures, eroded, luma_of, propagate
from recam.completion.trace import Traced, trace
from recam.configs import Fill
from recam.types import PartialVideo, Progress, no_progress

WITNESSED: tuple[Fill, ...] = ("traced-past", "traced-future", "flow-past", "flow-future")
"""Fills that show them at known pixels: the nearest moment before and after, and the next nearest
but one, so that no two see with the same frame."""
BACKWARDS = (1, 0, 3, 2)
"""Of a clip played backwards."""


def find_witnesses(partial: PartialVideo, progress: Progress = no_progress) -> Tensor:
    """What other frames show of the surface of every known pixel, whatever it shows itself.

    uint8 [4, t, 4, h, w], in the order of WITNESSED: colours and trust (255 = sure, 0 = not found,
    and where nothing is known). Raises RecamError when nothing at all is known.
    """
    known = (partial.known > 0.5).numpy()
    found = np.zeros((len(WITNESSED), *known.shape, 4), np.uint8)
    if len(known) > 1:
        frames = as_pictures(partial.frames)
        luma = luma_of(propagate(partial, progress))
        trusted = eroded(known, MARGIN_PX)
        motion = estimate_motion(luma, known, trusted, progress=progress, everywhere=True)
        wanted = np.ones_like(known)
        for i, past in enumerate((True, False)):
            found[i] = _with_trust(trace(frames, wanted, known, motion, past), known)
            for parity in (0, 1):
                # Of an even frame the even ones see it next but one, of an odd frame the odd ones.
                sources = known.copy()
                sources[1 - parity :: 2] = False
                seen = _with_trust(trace(frames, wanted, sources, motion, past), known)
                found[2 + i, parity::2] = seen[parity::2]
    return torch.from_numpy(found).permute(0, 1, 4, 2, 3).contiguous()


def _with_trust(traced: Traced, known: np.ndarray) -> np.ndarray:
    """uint8 [t, h, w, 4]."""
    gap = np.abs(np.arange(len(known), dtype=np.float32)[:, None, None] - traced.frame)
    trust = 255 / (1 + traced.miss.astype(np.float32) + 0.1 * gap)
    trust = np.where((traced.frame >= 0) & known, np.maximum(trust, 1), 0)
    return np.concatenate([traced.color, trust.round().astype(np.uint8)[..., None]], -1)
