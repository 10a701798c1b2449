"""Masked models small enough for a test."""

import torch

from recam.completion.transformer import VideoTransformer
from recam.configs import ModelConfig

TINY = ModelConfig(
    patch=8,
    hidden=32,
    heads=2,
    blocks=3,
    stem=8,
    num_anchors=2,
    fills=("pull-push", "past", "future"),
)


def shaken(config: ModelConfig = TINY) -> VideoTransformer:
    torch.manual_seed(0)
    model = VideoTransformer(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return model.eval()
