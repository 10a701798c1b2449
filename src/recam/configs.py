"""Every option, as plain dataclasses. Standard library only, so that ``recam --help`` is fast.

The command line, the web page and Python callers build the same objects; a run writes them to its
``config.json``. Degrees appear only here, at the user's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PathPreset = Literal[
    "static", "orbit", "arc", "dolly", "truck", "pedestal", "pan", "tilt", "roll", "zoom",
    "dolly-zoom", "spiral", "handheld", "freeze",
]  # fmt: skip
Speed = Literal["linear", "ease", "ease-in", "ease-out", "there-and-back"]
CameraFormat = Literal[
    "auto", "recam", "cognvs", "trajectorycrafter", "viewcrafter", "nerfstudio", "camera-path",
    "colmap", "re10k", "recammaster", "gen3c", "megasam", "vipe", "tum", "keyframes",
]  # fmt: skip
CameraMotion = Literal["auto", "static", "rotating", "moving"]
CompletionModel = Literal["propagate", "none"]


@dataclass(frozen=True)
class PathConfig:
    """Where the new camera goes. Amounts left out take the preset's own default."""

    path: str = "orbit"
    """A preset (static, orbit, arc, dolly, truck, pedestal, pan, tilt, roll, zoom, dolly-zoom,
    spiral, handheld, freeze) or a file of cameras or keyframes."""
    yaw: float | None = None
    """Degrees to the right that the camera orbits, arcs or pans by the end of the path."""
    pitch: float | None = None
    """Degrees upward that the camera orbits, arcs or tilts."""
    roll: float | None = None
    """Degrees clockwise that the picture's camera rolls."""
    distance: float | None = None
    """Travel of dolly (+forward), truck (+right), pedestal (+up), the spiral's radius or the
    handheld shake, as a fraction of the focus depth."""
    zoom: float | None = None
    """Factor on the focal length for zoom and dolly-zoom (2 = twice as long)."""
    focus_depth: float | None = None
    """Depth of the point that orbits turn about, in scene units; default: from the scene."""
    speed: Speed = "ease"
    """How the camera starts and stops."""
    at_frame: int | None = None
    """static: hold this frame's camera. freeze: the frame whose moment is frozen."""
    file_format: CameraFormat = "auto"
    """Convention of a path file; auto recognises those that name themselves."""
    shake_seed: int = 0
    """Of the handheld shake."""


@dataclass(frozen=True)
class ReconstructConfig:
    """Video to scene."""

    size: int = 512
    """Longer side, in pixels, that geometry is worked out at; the result keeps the video's size."""
    motion: CameraMotion = "auto"
    """What the source camera did; auto finds out."""
    cameras: str | None = None
    """File or folder with the source's own cameras; they are used instead of estimated."""
    cameras_format: CameraFormat = "auto"
    fov: float | None = None
    """Horizontal field of view of the source in degrees, if known."""
    depth: str | None = None
    """Depth of the source: MegaSAM npz, CogNVS or ViPE folder, npz, or a folder of PNG/EXR/npy."""
    masks: str | None = None
    """Folder or video of masks, white = moving; used instead of found."""


@dataclass(frozen=True)
class RenderConfig:
    """Scene to co-visible pixels."""

    aggregate_static: bool = True
    """Let what one frame saw of the static scene fill what another did not."""
    num_static_frames: int = 12
    """How many source frames are merged into the static points at most."""
    edge_threshold: float = 0.05
    """Relative depth step between neighbours beyond which a point counts as on an edge and is
    left out."""


@dataclass(frozen=True)
class CompleteConfig:
    """Partial video to video."""

    model: CompletionModel = "propagate"
    """propagate: classical fill along time, then space. none: leave holes black."""
    window: int = 48
    """Frames completed together; longer videos go by overlapping windows."""
    overlap: int = 8
    seed: int = 0


@dataclass(frozen=True)
class InputConfig:
    """Which part of the video is used, and at what size."""

    start: int = 0
    """First source frame."""
    num_frames: int | None = None
    """How many frames; default all."""
    stride: int = 1
    """Use every stride-th frame."""
    max_side: int | None = None
    """Scale the video down to this longer side before anything else; default: its own size."""


@dataclass(frozen=True)
class ReshootConfig:
    """A whole run: read, reconstruct, render along a path, complete."""

    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
