"""What a user asks for: one class a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recam.configs.completion import CompleteConfig, RenderConfig
from recam.configs.paths import PathConfig
from recam.configs.reconstruction import InputConfig, ReconstructConfig

Generator = Literal["cognvs", "vace", "trajectorycrafter", "gen3c", "comfyui"]
Fit = Literal["crop", "pad"]
Eye = Literal["left", "right"]
StereoLayout = Literal[
    "side-by-side", "half-side-by-side", "top-bottom", "half-top-bottom", "anaglyph", "separate"
]
StereoOutlines = Literal["soft", "sharp"]
StereoGaps = Literal["behind", "model"]


@dataclass(frozen=True)
class ReshootConfig:
    """A whole run: read, reconstruct, render along a path, complete."""

    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    memory: int = 0
    """Views along the path that are completed first and then stay in the scene, and in its folder:
    frames, windows and later paths see the same made-up things. 0 = none: what was made up is
    carried along the motion within a window, and handed on to the next."""


EditContent = Literal["surface", "background"]


@dataclass(frozen=True)
class EditConfig:
    """An edit of one frame, carried through the video."""

    content: EditContent = "surface"
    """What the edited frame shows in its region. surface: something that sticks to what was there
    (recoloured, retextured, put on it). background: what lies behind the thing taken out."""
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    mask_weights: str | None = None
    """Folder or Hub name of a SAM 2 checkpoint that outlines what was followed."""
    track_weights: str | None = None
    """CoTracker checkpoint file; it follows points where the flow is not sure. It needs the package
    cotracker."""


@dataclass(frozen=True)
class RigConfig:
    """Two eyes: how far apart they stand, and what lies on the screen."""

    keep: Eye | None = None
    """The eye that is the film itself, so that only the other one is new. Default: both are new,
    half the distance to either side, so that both are alike."""
    behind: float = 0.02
    """How far behind the screen the farthest things may lie: their disparity as a share of the
    picture's width. The eyes stand as far apart as this and --in-front allow."""
    in_front: float = 0.015
    """How far before the screen the nearest things may come, likewise."""
    convergence: float = 1.0
    """Depth of what lies on the screen, in focus depths: what the shot is about, by default."""
    interaxial: float | None = None
    """Distance of the eyes in focus depths; by default what --behind and --in-front allow."""
    focus_depth: float | None = None
    """In scene units; default: from the scene."""


@dataclass(frozen=True)
class StereoConfig:
    """Two eyes from one film."""

    rig: RigConfig = field(default_factory=RigConfig)
    layout: StereoLayout = "side-by-side"
    """How the two are packed. half: each squeezed to half, so that the picture keeps its size.
    anaglyph: for red and cyan glasses. separate: two files."""
    outlines: StereoOutlines = "soft"
    """How outlines are moved. soft: things reach a little over what lies behind, which is stretched
    beside them. sharp: torn at depth's edges, as by any new camera; what opens is filled: for eyes
    that stand far apart."""
    gaps: StereoGaps = "model"
    """Narrow gaps beside things with sharp outlines are filled by the model, as all others, or by
    what borders them on the far side."""
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)


@dataclass(frozen=True)
class InterpolateConfig:
    """New frames between two or more views."""

    frames: int = 15
    """New frames between each two neighbouring views."""
    size: int = 768
    """Longer side, in pixels, that motion between the views is found at."""
    complete: CompleteConfig = field(default_factory=CompleteConfig)


@dataclass(frozen=True)
class ImageConfig:
    """A camera path through one picture."""

    frames: int = 48
    """Frames of the video."""
    memory: int = 6
    """Views along the path that are completed first and then stay in the scene, so that what was
    made up once is seen again; 0 = every frame is completed from the picture alone."""
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
