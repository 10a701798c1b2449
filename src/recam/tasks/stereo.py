"""Two eyes from one film: the source's camera, moved by half the eyes' distance to either side.

The eyes look the same way and their pictures are shifted, not turned in: turned cameras would see
straight things at different heights (keystone), which no eyes can bring together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recam.completers import open_completer, resolve_config
from recam.completion.completer import Completer
from recam.completion.streaming import collected
from recam.configs import ReshootConfig, RigConfig, StereoConfig, StereoLayout
from recam.geometry import se3
from recam.media.stereo_mode import StereoMode
from recam.runtime.versions import versions
from recam.tasks.reshoot import complete_along, path_times_s
from recam.trajectories import focus_depth
from recam.types import (
    CameraPath,
    Cameras,
    PartialVideo,
    Progress,
    Result,
    Scene,
    Video,
    no_progress,
)

FAR_SHARE, NEAR_SHARE = 0.02, 0.98
"""Of the clip's inverse depths: what counts as farthest and nearest."""
MAX_INTERAXIAL = 0.05
"""In focus depths: wider would make a shallow scene look like a model of itself."""
MODES: dict[StereoLayout, StereoMode] = {
    "side-by-side": "left-right",
    "half-side-by-side": "left-right",
    "top-bottom": "top-bottom",
    "half-top-bottom": "top-bottom",
}
"""What a film's file says of each layout that holds both eyes."""
DUBOIS = (
    ((0.456, 0.500, 0.176), (-0.040, -0.038, -0.016), (-0.015, -0.021, -0.005)),
    ((-0.043, -0.088, -0.002), (0.378, 0.734, -0.018), (-0.072, -0.113, 1.226)),
)
"""Red and cyan from the left and the right eye, least ghosting. Source: Dubois 2001."""


@dataclass(frozen=True)
class StereoRig:
    """interaxial, convergence_depth in scene units; nearest, farthest: disparity of the nearest and
    the farthest things as shares of the picture's width, negative before the screen."""

    interaxial: float
    convergence_depth: float
    nearest: float
    farthest: float

    def describe(self, metres_per_unit: float | None) -> str:
        apart = f"{self.interaxial / self.convergence_depth:.3f} of the distance to the screen"
        if metres_per_unit:
            apart = f"{100 * self.interaxial * metres_per_unit:.1f} cm"
        return (
            f"eyes {apart} apart; disparity {100 * self.nearest:+.1f} % (nearest) to "
            f"{100 * self.farthest:+.1f} % (farthest) of the picture's width"
        )


@dataclass(frozen=True)
class StereoResult:
    """left, right: what each eye sees; the eye that the film itself is has everything known."""

    left: Result
    right: Result
    rig: StereoRig
    layout: StereoLayout

    @property
    def video(self) -> Video:
        """Both packed as ``layout`` says. Raises ValueError for "separate"."""
        return replace(
            self.left.video,
            frames=packed(self.left.video.frames, self.right.video.frames, self.layout),
        )


def check_rig(config: RigConfig) -> None:
    """Raises ValueError for limits or distances that are not positive."""
    for name in ("behind", "in_front", "convergence", "interaxial", "focus_depth"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value:g}; expected more than 0")


def stereo_rig(scene: Scene, config: RigConfig) -> StereoRig:
    """One rig for the whole clip, so that depth does not pump.

    Disparity of depth z with focal f px, width w and interaxial b: f·b/w·(1/convergence − 1/z).
    Raises ValueError as ``check_rig``.
    """
    check_rig(config)
    focus = focus_depth(scene) if config.focus_depth is None else config.focus_depth
    on_screen = config.convergence * focus
    inverse = (
        1
        / scene.depth[scene.valid & (scene.depth > 0)][:: max(1, scene.depth.numel() // 2_000_000)]
    )
    limits = torch.tensor([FAR_SHARE, NEAR_SHARE])
    far, near = (float(v) for v in torch.quantile(inverse, limits))
    focal = float((scene.cameras.intrinsics[:, 0, 0] / scene.cameras.width).max())
    behind, before = 1 / on_screen - far, near - 1 / on_screen
    interaxial = MAX_INTERAXIAL * focus
    if behind > 0:
        interaxial = min(interaxial, config.behind / (focal * behind))
    if before > 0:
        interaxial = min(interaxial, config.in_front / (focal * before))
    if config.interaxial is not None:
        interaxial = config.interaxial * focus
    return StereoRig(
        interaxial, on_screen, -focal * interaxial * before, focal * interaxial * behind
    )


def eye_paths(scene: Scene, rig: StereoRig, config: RigConfig) -> tuple[CameraPath, CameraPath]:
    """Cameras of the left and the right eye, at the video's size; see the module."""
    source = scene.cameras.resized(scene.video.height, scene.video.width)
    share = {None: (-0.5, 0.5), "left": (0.0, 1.0), "right": (-1.0, 0.0)}[config.keep]
    frames = torch.arange(len(scene))
    left, right = (
        CameraPath(_shifted(source, s * rig.interaxial, rig.convergence_depth), frames)
        for s in share
    )
    return left, right


def _shifted(cameras: Cameras, right: float, convergence_depth: float) -> Cameras:
    """Cameras moved to their right; a point at the convergence depth stays where it is seen."""
    n = len(cameras)
    move = torch.tensor([-right, 0.0, 0.0], dtype=torch.float64).expand(n, 3)
    moved = se3(torch.eye(3, dtype=torch.float64).expand(n, 3, 3), move) @ cameras.cam_from_world
    k = cameras.intrinsics.clone()
    k[:, 0, 2] += k[:, 0, 0] * right / convergence_depth
    return replace(cameras, cam_from_world=moved, intrinsics=k)


def stereo(
    scene: Scene,
    config: StereoConfig,
    progress: Progress = no_progress,
    completer: Completer | None = None,
) -> StereoResult:
    """Both eyes of a scene's film. completer: as in ``reshoot``."""
    completer = completer or open_completer(resolve_config(config.complete, "reshoot"))
    rig = stereo_rig(scene, config.rig)
    paths = eye_paths(scene, rig, config.rig)
    left, right = (
        _film_itself(scene, path, config)
        if eye == config.rig.keep
        else _eye(scene, path, config, progress, completer)
        for eye, path in zip(("left", "right"), paths)
    )
    return StereoResult(left, right, rig, config.layout)


def _eye(
    scene: Scene,
    path: CameraPath,
    config: StereoConfig,
    progress: Progress,
    completer: Completer,
) -> Result:
    timings_s: dict[str, float] = {}
    whole = ReshootConfig(
        reconstruct=config.reconstruct, render=config.render, complete=config.complete
    )
    pieces = complete_along(scene, path, whole, completer, timings_s, progress)
    partial, frames = collected(pieces, len(path))
    video = Video(frames, *path_times_s(scene, path))
    return Result(video, partial, config, timings_s, versions(), completer.weights_sha256)


def _film_itself(scene: Scene, path: CameraPath, config: StereoConfig) -> Result:
    """The source's frames, of which everything is known."""
    clock = time.perf_counter()
    frames = scene.video.frames
    known = torch.ones(len(frames), *frames.shape[2:])
    seconds = {"copy": time.perf_counter() - clock}
    return Result(scene.video, PartialVideo(frames, known), config, seconds, versions())


def packed(left: Tensor, right: Tensor, layout: StereoLayout) -> Tensor:
    """uint8 [t, 3, h', w'] of two eyes [t, 3, h, w] in one picture."""
    height, width = left.shape[2:]
    match layout:
        case "side-by-side":
            return torch.cat([left, right], 3)
        case "top-bottom":
            return torch.cat([left, right], 2)
        case "half-side-by-side":
            return torch.cat([_resized(eye, height, width // 2) for eye in (left, right)], 3)
        case "half-top-bottom":
            return torch.cat([_resized(eye, height // 2, width) for eye in (left, right)], 2)
        case "anaglyph":
            mixed = torch.zeros(left.shape)
            for matrix, eye in zip(DUBOIS, (left, right)):
                mixed += torch.einsum("ij,tjhw->tihw", torch.tensor(matrix), eye.float())
            return mixed.round().clamp(0, 255).to(torch.uint8)
    raise ValueError(f"layout {layout!r} is not one picture")


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    sized = torch.nn.functional.interpolate(
        frames.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return sized.round().clamp(0, 255).to(torch.uint8)
