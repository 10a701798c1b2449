"""Synth4D: a benchmark of twenty synthetic scenes that anyone can make again, byte for byte."""

from recam.evaluation.synth4d.make import (
    REFERENCE,
    differing_scenes,
    make_scene,
    make_synth4d,
    synth4d_folder,
)
from recam.evaluation.synth4d.read import synth4d_samples
from recam.evaluation.synth4d.scenes import SPECS, VIEWS, SceneSpec

__all__ = [
    "REFERENCE",
    "SPECS",
    "VIEWS",
    "SceneSpec",
    "differing_scenes",
    "make_scene",
    "make_synth4d",
    "synth4d_folder",
    "synth4d_samples",
]
