"""The twenty scenes of Synth4D: which scene, filmed how, and seen anew from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recam.synthetic.cameras import CameraKind, sample_cameras
from recam.synthetic.layouts import sample_scene
from recam.synthetic.natural import with_natural_textures
from recam.synthetic.rigid import add_rigid, rigid_clips
from recam.synthetic.scene import SceneKind, SyntheticScene
from recam.trajectories import relative_path
from recam.types import Cameras

ViewName = Literal["near", "far", "gradual"]
Split = Literal["easy", "hard"]
VIEWS: tuple[ViewName, ...] = ("near", "far", "gradual")
NUM_FRAMES, HEIGHT, WIDTH, FPS = 48, 256, 384, 24.0
NATURAL_SHARE = 0.25


@dataclass(frozen=True)
class SceneSpec:
    """One scene of the benchmark.

    rigid: number of the rigid-body clip added to it (``rigid_clips``), or None.
    near, far, gradual: degrees that each new camera orbits to the right about the middle of the
        stage; gradual starts at the source's own view and ends there.
    split: hard is the half of the scenes in which things move more (``moved_px``).
    moved_px: mean over all pixels and frames of how far moving surfaces move in the picture from
        one frame to the next, in pixels.
    """

    kind: SceneKind
    seed: int
    camera: CameraKind
    rigid: int | None
    near: float
    far: float
    gradual: float
    split: Split = "easy"
    moved_px: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"


SPECS: tuple[SceneSpec, ...] = (
    SceneSpec("room", 101, "orbit", None, 12, 40, 30, "hard", 0.538),
    SceneSpec("park", 102, "handheld", 5, -12, -40, -30, "easy", 0.035),
    SceneSpec("hall", 103, "dolly", 10, 12, 40, 30, "hard", 0.179),
    SceneSpec("street", 104, "handheld", 3, -12, -40, -30, "easy", 0.116),
    SceneSpec("park", 106, "tripod", 8, -12, -40, 30, "hard", 0.128),
    SceneSpec("hall", 107, "orbit", None, 12, 40, 30, "hard", 0.153),
    SceneSpec("street", 108, "dolly", 6, -12, 30, 30, "easy", 0.069),
    SceneSpec("park", 110, "rotation", 11, -12, -40, -30, "hard", 0.181),
    SceneSpec("hall", 111, "orbit", 4, -12, -40, -30, "easy", 0.077),
    SceneSpec("street", 112, "handheld", 9, -12, -30, -30, "easy", 0.095),
    SceneSpec("room", 113, "dolly", None, 12, 40, 30, "hard", 0.372),
    SceneSpec("park", 114, "handheld", 7, -12, -40, -30, "easy", 0.057),
    SceneSpec("hall", 115, "tripod", 0, 12, 40, 30, "easy", 0.082),
    SceneSpec("street", 116, "orbit", 5, -12, -40, -30, "easy", 0.122),
    SceneSpec("room", 117, "dolly", 10, 12, 40, 30, "hard", 0.943),
    SceneSpec("park", 118, "rotation", None, -12, -40, -30, "easy", 0.100),
    SceneSpec("hall", 119, "orbit", 8, -12, -30, -30, "hard", 0.202),
    SceneSpec("street", 120, "handheld", 1, -12, -40, -30, "easy", 0.061),
    SceneSpec("room", 121, "dolly", 6, 12, 40, 30, "hard", 0.660),
    SceneSpec("room", 125, "handheld", 11, -12, 40, -30, "hard", 0.678),
)


def build_scene(spec: SceneSpec) -> SyntheticScene:
    """The scene's description, without pixels."""
    scene = with_natural_textures(sample_scene(spec.seed, spec.kind), spec.seed, NATURAL_SHARE)
    if spec.rigid is None:
        return scene
    return add_rigid(scene, rigid_clips()[spec.rigid], spec.seed)


def times_s(num_frames: int = NUM_FRAMES) -> Tensor:
    """float64 [num_frames]: when each frame is."""
    return torch.arange(num_frames, dtype=torch.float64) / FPS


def source_cameras(spec: SceneSpec, scene: SyntheticScene) -> Cameras:
    """The camera that films the source video."""
    return sample_cameras(scene, spec.seed, spec.camera, NUM_FRAMES, HEIGHT, WIDTH, FPS)


def view_cameras(
    spec: SceneSpec, scene: SyntheticScene, source: Cameras, view: ViewName
) -> Cameras:
    """The cameras of a new view: each orbits from the source camera of its moment.

    About the point on the first source camera's axis that is as deep as the middle of the stage.
    """
    yaw = getattr(spec, view)
    s = torch.linspace(0, 1, len(source), dtype=torch.float64)
    rising = s * s * (3 - 2 * s) if view == "gradual" else torch.ones_like(s)
    zero = torch.zeros_like(s)
    center = torch.tensor([*scene.stage.center, 1.0], dtype=torch.float64)
    depth = float((source.cam_from_world[0] @ center)[2])
    moved = relative_path(yaw * rising, zero, zero, max(depth, 1.0)) @ source.cam_from_world
    return replace(source, cam_from_world=moved)
