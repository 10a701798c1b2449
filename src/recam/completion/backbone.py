"""What a network must offer to complete videos; everything else is plain functions over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from recam.configs import Fill


@dataclass(frozen=True)
class Condition:
    """What is known of b videos of t frames, for backbones that look at it.

    evidence: float [b, t, 3, h, w] in [-1, 1], 0 where nothing is known.
    known: float [b, t, 1, h, w] in [0, 1]; between, evidence that is not to be trusted wholly.
    fills: float [b, k, t, 3, h, w] in [-1, 1], k classical fills, the best one first.
    trust: float [b, k, t, 1, h, w] in [0, 1], how surely a fill shows what is there, 0 where it
        is a guess from around; None = 0 everywhere.
    """

    evidence: Tensor
    known: Tensor
    fills: Tensor
    trust: Tensor | None = None

    def __post_init__(self) -> None:
        b, t, c, h, w = self.evidence.shape
        fits = (b, self.fills.shape[1], t, 3, h, w)
        fit = self.known.shape == (b, t, 1, h, w) and self.fills.shape == fits
        if self.trust is not None:
            fit = fit and self.trust.shape == (*fits[:3], 1, h, w)
        if c != 3 or not fit:
            raise ValueError(
                f"Condition of evidence {list(self.evidence.shape)}, known "
                f"{list(self.known.shape)}, fills {list(self.fills.shape)}; expected "
                "[b, t, 3, h, w], [b, t, 1, h, w] and [b, k, t, 3, h, w] (trust: 1 channel)"
            )

    def to(self, device: torch.device) -> Condition:
        return self.each(lambda a: a.to(device))

    def each(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """``change`` applied to each of its tensors."""
        trust = None if self.trust is None else change(self.trust)
        return Condition(change(self.evidence), change(self.known), change(self.fills), trust)

    def doubted(self, trust: float = 0.5) -> Condition:
        """The same with evidence that may be wrong: known is scaled by ``trust``."""
        return replace(self, known=self.known * trust)


def join(conditions: list[Condition]) -> Condition:
    """Conditions of the same size as one batch."""
    trust = [torch.zeros_like(c.fills[..., :1, :, :]) if c.trust is None else c.trust
             for c in conditions]  # fmt: skip
    return Condition(
        torch.cat([c.evidence for c in conditions]),
        torch.cat([c.known for c in conditions]),
        torch.cat([c.fills for c in conditions]),
        torch.cat(trust),
    )


@runtime_checkable
class Backbone(Protocol):
    """A video denoiser in a latent space of its own.

    per_token_noise: whether ``denoise`` takes a sigma that differs between tokens.
    """

    per_token_noise: bool

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def pixel_multiple(self) -> int:
        """Sides of the frames must be multiples of this."""
        ...

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The classical fills that its condition must bring; () for none."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Latent [b, t', c, h', w'] of frames [b, t, 3, h, w] in [-1, 1]."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Frames [b, t, 3, h, w] in [-1, 1] of a latent."""
        ...

    def token_levels(self, known: Tensor) -> Tensor:
        """Known share [b, t, h, w] of every token, from known [b, t, 1, h, w] of its pixels.

        A token counts as evidence only where it is 1.
        """
        ...

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        """Estimate of the clean latent, shaped as x.

        x: noisy latent [b, t', c, h', w']. sigma: [b, t, h, w], one level in [0, 1] per token; a
        token at 0 is evidence and comes back as it was. Raises ValueError when the backbone cannot
        take different levels and sigma has them.
        """
        ...


def require_uniform(sigma: Tensor) -> None:
    """Raise ValueError when any sample of sigma [b, t, h, w] has more than one level."""
    flat = sigma.flatten(1)
    if bool((flat != flat[:, :1]).any()):
        raise ValueError(
            "this backbone takes one noise level per sample, but sigma differs between tokens; "
            "sample with evidence as channels (conditioning 'concat') and no clean tokens"
        )
