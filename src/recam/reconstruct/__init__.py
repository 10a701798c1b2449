"""Video to scene: flow, cameras, depth, what moves; and scenes on disk."""

from recam.reconstruct.importers import DepthSource, read_depth
from recam.reconstruct.pipeline import reconstruct
from recam.reconstruct.prior import depth_prior
from recam.reconstruct.scene_files import export_scene, load_scene, save_scene

__all__ = [
    "DepthSource",
    "depth_prior",
    "export_scene",
    "load_scene",
    "read_depth",
    "reconstruct",
    "save_scene",
]
