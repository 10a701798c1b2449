"""Where the camera goes, and in what files that is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PathPreset = Literal[
    "static", "stabilise", "orbit", "arc", "dolly", "truck", "pedestal", "pan", "tilt", "roll",
    "zoom", "dolly-zoom", "spiral", "handheld", "freeze",
]  # fmt: skip
Speed = Literal["linear", "ease", "ease-in", "ease-out", "there-and-back"]
CameraFormat = Literal[
    "auto", "recam", "cognvs", "trajectorycrafter", "viewcrafter", "nerfstudio", "camera-path",
    "colmap", "re10k", "recammaster", "gen3c", "megasam", "vipe", "vista4d", "tum", "llff",
    "7scenes", "keyframes", "3dgs", "ns-export", "record3d", "polycam", "arkit", "dycheck", "kitti",
    "matrices", "euroc", "depth-anything-3", "metashape", "realitycapture", "realitycapture-xmp",
    "chan", "usd", "gltf", "blender",
]  # fmt: skip
WrittenCameraFormat = Literal[
    "auto", "recam", "nerfstudio", "camera-path", "colmap", "chan", "usd", "gltf", "blender",
    "re10k", "recammaster", "gen3c", "megasam", "vipe", "vista4d", "tum", "7scenes", "llff",
    "cognvs", "trajectorycrafter", "viewcrafter",
]  # fmt: skip
SceneFormat = Literal["ply", "colmap", "nerfstudio", "megasam", "3dgs", "usd", "gltf", "exr"]


@dataclass(frozen=True)
class PathConfig:
    """Where the new camera goes. With no amount given a preset takes its defaults; naming one sets
    the preset's others to none (orbit with a pitch orbits up only)."""

    path: str = "orbit"
    """A preset (static, stabilise, orbit, arc, dolly, truck, pedestal, pan, tilt, roll, zoom,
    dolly-zoom, spiral, handheld, freeze) or a file of cameras or keyframes."""
    yaw: float | None = None
    """Degrees to the right that the camera orbits or pans by the end of the path; an arc is
    centred on the source's view; handheld: typical shake."""
    pitch: float | None = None
    """Degrees upward that the camera orbits, arcs, tilts or shakes."""
    roll: float | None = None
    """Degrees clockwise that the camera rolls or shakes."""
    distance: float | None = None
    """Travel of dolly (+forward), truck (+right), pedestal (+up), how much nearer an orbit comes,
    the spiral's radius or the handheld shake, as a fraction of the focus depth."""
    zoom: float | None = None
    """Factor on the focal length for zoom and dolly-zoom (2 = twice as long)."""
    focus_depth: float | None = None
    """Depth of the point that orbits turn about, in scene units; default: from the scene."""
    speed: Speed = "ease"
    """How a preset's camera starts and stops."""
    at_frame: int | None = None
    """static: hold this frame's camera. freeze: the frame whose moment is frozen."""
    amount: float | None = None
    """stabilise: how much of the shake goes, 0 to 1; default all of it."""
    smoothness: float | None = None
    """stabilise: seconds that the path is smoothed over (a Gaussian's standard deviation); default
    0.7: motion slower than some 4 s stays, shake of 1 Hz and more goes."""
    file_format: CameraFormat = "auto"
    """Convention of a path file; auto recognises those that name themselves."""
    file_video: str | None = None
    """Which one's cameras, where a path file has those of several videos or folders."""
    file_scale: float | None = None
    """Scene units per unit of a path file's translations; default 1, or by the scene's scale where
    the file is in metres."""
    shake_seed: int = 0
    """Of the handheld shake."""
    max_unseen: str | None = None
    """Share of a frame that may be shown though no frame of the video shows it, such as 15%: a
    preset's amounts are scaled down until no frame needs more. Default: no limit."""
