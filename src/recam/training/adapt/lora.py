"""Low-rank adapters (Hu et al. 2021) on the transformer's linear layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recam.completion.transformer import Block, VideoTransformer


class LowRank(nn.Module):
    """A frozen linear layer plus a trained product of two thin matrices, zero at first."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(rank, base.in_features, device=base.weight.device))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, device=base.weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.down), self.up)

    def merged(self) -> nn.Linear:
        """The plain layer that does the same."""
        with torch.no_grad():
            self.base.weight += (self.up @ self.down).to(self.base.weight)
        return self.base


def add_low_rank(model: VideoTransformer, rank: int) -> list[nn.Parameter]:
    """Freeze a model and give every linear layer of its blocks an adapter; returns its weights."""
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    model.requires_grad_(False)
    for parent, name, layer in _linear_layers(model, nn.Linear):
        assert isinstance(layer, nn.Linear)
        setattr(parent, name, LowRank(layer, rank))
    return [p for p in model.parameters() if p.requires_grad]


def merge_low_rank(model: VideoTransformer) -> None:
    """Add the adapters into the layers that they sit on and take them away."""
    for parent, name, layer in _linear_layers(model, LowRank):
        assert isinstance(layer, LowRank)
        setattr(parent, name, layer.merged())


def _linear_layers(model: nn.Module, kind: type) -> list[tuple[nn.Module, str, nn.Module]]:
    found: list[tuple[nn.Module, str, nn.Module]] = []
    for block in model.modules():
        if isinstance(block, Block):
            for parent in (block, block.attention):
                for name, layer in parent.named_children():
                    if isinstance(layer, kind):
                        found.append((parent, name, layer))
    return found
