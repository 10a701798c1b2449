"""Completion by published video models, through diffusers (the ``foundation`` extra)."""

from recam.completion.foundation.model import (
    PER_TOKEN,
    FoundationModel,
    load_foundation,
    require_weights,
)
from recam.completion.foundation.windows import FitNote, describe_length, window_overlap

__all__ = [
    "PER_TOKEN",
    "FitNote",
    "FoundationModel",
    "describe_length",
    "load_foundation",
    "require_weights",
    "window_overlap",
]
