"""Where the new camera goes: presets, keyframes and camera files, sized by the scene.

Presets move relative to each source frame's own camera, so that a path of no motion gives the
source back exactly. Signs (docs/conventions.md): +yaw orbits to the right, +pitch up, +distance
forward (dolly), right (truck), up (pedestal); sizes are fractions of the focus depth.
"""

from recam.trajectories.from_file import path_from_file
from recam.trajectories.make import (
    check_path,
    focus_depth,
    make_path,
    path_for_scene,
    relative_path,
)
from recam.trajectories.presets import speed_curve

__all__ = [
    "check_path",
    "focus_depth",
    "make_path",
    "path_for_scene",
    "path_from_file",
    "relative_path",
    "speed_curve",
]
