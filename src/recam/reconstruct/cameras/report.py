"""What was found about a camera, in plain words for the user."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from recam.arrays import F64, Mask
from recam.flow.dense import FlowSet
from recam.geometry import so3_log
from recam.reconstruct.cameras.bundle_adjustment import Bundle
from recam.reconstruct.matching.shots import find_cuts
from recam.reconstruct.matching.tracks import Tracks
from recam.types import CameraMotion

FocalSource = Literal["user", "motion", "lines", "network", "nothing"]
"""Who knows the field of view; the last two only guess."""
MIN_TRACKS = 30
"""With fewer there is nothing to tell a motion by."""
MIN_SEEN = 8
"""Points that a frame must see for its camera to be measured."""


def frame_notes(tracks: Tracks, flows: FlowSet, blind: Mask) -> list[str]:
    """What the user should know about single frames: blind ones, and cuts."""
    if blind.all():
        return []
    notes = []
    if blind.any():
        notes.append(
            f"{int(blind.sum())} of {len(blind)} frames show nothing to follow; their cameras are "
            "put between their neighbours'"
        )
    clear = np.flatnonzero(~blind).tolist()
    cuts = [f"{a}/{b}" for a, b in find_cuts(tracks, flows, clear, MIN_SEEN)]
    if cuts:
        notes.append(
            f"the picture seems to cut at frame {', '.join(cuts[:5])}: how the cameras on both "
            "sides stand to each other is not known; reshoot each shot on its own"
        )
    return notes


def turned_deg(rotation: F64) -> F64:
    """Angle [t] in degrees from the first camera to each."""
    return np.degrees(np.linalg.norm(so3_log(torch.from_numpy(rotation @ rotation[0].T)), axis=-1))


def describe_cameras(
    motion: CameraMotion, bundle: Bundle, fov_deg: float, focal_source: FocalSource, still: F64
) -> list[str]:
    """What was found, in plain words."""
    turned = float(turned_deg(bundle.rotation).max())
    if len(bundle.rotation) == 1:
        did = "there is one frame only"
    elif len(still) < MIN_TRACKS:
        did = "the picture has too little texture to follow: the camera is taken to stand still"
    elif motion == "static":
        did = f"the camera stands still ({still.mean():.0%} of the points followed do not move)"
    elif motion == "rotating":
        did = f"the camera turns in place, by up to {turned:.1f}°"
    else:
        path = float(np.linalg.norm(np.diff(bundle.center, axis=0), axis=1).sum())
        did = (
            f"the camera moves by {path:.2f} of the scene's usual depth and turns by {turned:.1f}°"
        )
    notes = [did]
    if focal_source == "lines":
        notes.append(
            f"the motion does not tell the field of view: lines at right angles say about "
            f"{fov_deg:.0f}° across; give it as --fov if you know it"
        )
    if focal_source == "network":
        notes.append(
            f"the motion does not tell the field of view: recam's own network guesses about "
            f"{fov_deg:.0f}° across; give it as --fov if you know it"
        )
    if focal_source == "nothing":
        notes.append(
            f"the motion does not tell the field of view: about {fov_deg:.0f}° across is assumed; "
            "give it as --fov if you know it"
        )
    return notes
