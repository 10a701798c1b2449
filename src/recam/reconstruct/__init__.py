"""Video to scene: flow, cameras, depth, what moves; and scenes on disk."""

from recam.reconstruct.io.importers import DepthSource, read_depth
from recam.reconstruct.io.scene_files import export_scene, load_scene, save_scene
from recam.reconstruct.pipeline import reconstruct

__all__ = [
    "DepthSource",
    "export_scene",
    "load_scene",
    "read_depth",
    "reconstruct",
    "save_scene",
]
