"""Whole clips with ground truth, as the rest of recam takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.synthetic.cameras import CameraKind, sample_cameras
from recam.synthetic.layouts import sample_scene
from recam.synthetic.render import SyntheticFrames, render_synthetic
from recam.synthetic.scene import SceneKind, SyntheticScene
from recam.types import CameraPath, Cameras, Progress, Scene, Video, no_progress

FPS = 24.0


def ground_truth_scene(
    synthetic: SyntheticScene, cameras: Cameras, times_s: Tensor, truth: SyntheticFrames
) -> Scene:
    """A rendered clip as a recam Scene: true depth and cameras, in metres, confidence 1.

    The sky is valid: its depth is SKY_DEPTH, where it belongs in any other view.
    """
    report = {"source": "synthetic", "kind": synthetic.kind, "seed": synthetic.seed}
    return Scene(
        video=Video(truth.frames.cpu(), times_s),
        cameras=cameras,
        depth=truth.depth.cpu(),
        valid=torch.ones_like(truth.dynamic).cpu(),
        dynamic=truth.dynamic.cpu(),
        confidence=torch.ones_like(truth.depth).cpu(),
        metres_per_unit=1.0,
        report=report,
    )


def synthetic_clip(
    seed: int,
    num_frames: int = 24,
    height: int = 256,
    width: int = 384,
    camera_kind: CameraKind = "handheld",
    scene_kind: SceneKind | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> tuple[Scene, SyntheticScene]:
    """A clip of a sampled scene by a sampled camera at 24 frames/s, with ground truth.

    Returns the clip and the scene's description, with which render_synthetic shows it to any
    other camera.
    """
    synthetic = sample_scene(seed, scene_kind)
    cameras = sample_cameras(synthetic, seed, camera_kind, num_frames, height, width, FPS)
    times_s = torch.arange(num_frames, dtype=torch.float64) / FPS
    truth = render_synthetic(synthetic, cameras, times_s, device, progress=progress)
    return ground_truth_scene(synthetic, cameras, times_s, truth), synthetic


def demo_clip(
    num_frames: int = 32, height: int = 288, width: int = 512, progress: Progress = no_progress
) -> tuple[Scene, SyntheticScene]:
    """The fixed sample of ``recam demo``: a camera with parallax, several moving objects."""
    return synthetic_clip(_DEMO_SEED, num_frames, height, width, "orbit", "room", progress=progress)


_DEMO_SEED = 26


def true_view(
    synthetic: SyntheticScene, path: CameraPath, times_s: Tensor, progress: Progress = no_progress
) -> SyntheticFrames:
    """What the cameras of a path truly see; times_s [t]: those of the source video's frames."""
    return render_synthetic(synthetic, path.cameras, times_s[path.source_frames], progress=progress)
