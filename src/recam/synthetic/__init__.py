"""Procedural dynamic scenes with exact ground truth, in plain torch."""

from recam.synthetic.cameras import CAMERA_KINDS, CameraKind, sample_cameras
from recam.synthetic.clips import (
    demo_clip,
    ground_truth_scene,
    synthetic_clip,
    true_view,
)
from recam.synthetic.layouts import sample_scene
from recam.synthetic.natural import with_natural_textures
from recam.synthetic.render import (
    SKY_DEPTH,
    SyntheticFrames,
    cast_synthetic,
    optical_flow,
    render_synthetic,
)
from recam.synthetic.rigid import add_rigid, rigid_clips
from recam.synthetic.scene import SCENE_KINDS, SceneKind, SyntheticScene

__all__ = [
    "CAMERA_KINDS",
    "SCENE_KINDS",
    "SKY_DEPTH",
    "CameraKind",
    "SceneKind",
    "SyntheticFrames",
    "SyntheticScene",
    "add_rigid",
    "cast_synthetic",
    "demo_clip",
    "ground_truth_scene",
    "optical_flow",
    "render_synthetic",
    "rigid_clips",
    "sample_cameras",
    "sample_scene",
    "synthetic_clip",
    "true_view",
    "with_natural_textures",
]
