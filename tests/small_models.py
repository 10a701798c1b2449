"""Masked models small enough for a test, and completing by a model that is there already."""

import torch

from recam.completers import FoundationCompleter, MaskedCompleter, complete, resolve_config
from recam.completion.foundation import FoundationModel
from recam.completion.transformer import VideoTransformer
from recam.configs import CompleteConfig, ModelConfig
from recam.types import PartialVideo, Progress, Video, no_progress

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


def complete_masked(
    model: VideoTransformer,
    partial: PartialVideo,
    config: CompleteConfig,
    progress: Progress = no_progress,
) -> Video:
    return complete(partial, progress=progress, completer=masked(model, config))


def masked(model: VideoTransformer, config: CompleteConfig) -> MaskedCompleter:
    return MaskedCompleter(model, resolve_config(config))


def complete_published(
    model: FoundationModel, partial: PartialVideo, config: CompleteConfig
) -> Video:
    return complete(partial, completer=FoundationCompleter(model, resolve_config(config)))
