"""How well estimated cameras agree with the true ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recam.geometry import align_similarity, rotation_angle_deg, se3_inverse
from recam.types import Cameras


@dataclass(frozen=True)
class CameraErrors:
    """Errors of n cameras; lengths in units of the true cameras' world.

    rotation_deg: mean angle from the true orientations, after the rotation of the world that fits
        them best.
    translation: root mean square distance from the true centres, after the similarity transform
        of the world that fits the centres best (absolute trajectory error).
    translation_fraction: the same over the length of the true path; NaN for cameras that stand.
    step_rotation_deg, step_translation: root mean square error of the motion from each camera to
        the next (relative pose error), at the scale of that similarity; NaN for one camera.
    focal_fraction: mean of |estimated / true − 1| over horizontal focal lengths, as angles: each
        in widths of its picture.
    scale: of that similarity, true units per estimated unit.
    """

    rotation_deg: float
    translation: float
    translation_fraction: float
    step_rotation_deg: float
    step_translation: float
    focal_fraction: float
    scale: float


def camera_errors(estimated: Cameras, truth: Cameras) -> CameraErrors:
    """Compare cameras that belong to the same frames, in worlds of their own.

    Alignment of centres: Umeyama 1991; absolute and relative errors: Sturm et al. 2012. Where the
    true centres do not move, no scale can be told: it is 1, and ``translation`` then says how much
    the estimate moves. Raises ValueError for different numbers of cameras.
    """
    if len(estimated) != len(truth) or not len(truth):
        raise ValueError(
            f"{len(estimated)} estimated and {len(truth)} true cameras; give one per frame of each"
        )
    scale, rotation, shift = _align_centers(estimated.centers, truth.centers)
    aligned = scale * estimated.centers @ rotation.T + shift
    distance = (aligned - truth.centers).norm(dim=1)
    path = float((truth.centers[1:] - truth.centers[:-1]).norm(dim=1).sum())
    rms = float(distance.square().mean().sqrt())
    step_deg, step = _step_errors(estimated, truth, scale)
    focal = estimated.intrinsics[:, 0, 0] / estimated.width
    true_focal = truth.intrinsics[:, 0, 0] / truth.width
    return CameraErrors(
        rotation_deg=float(_rotation_errors(estimated, truth).mean()),
        translation=rms,
        translation_fraction=rms / path if path > 0 else float("nan"),
        step_rotation_deg=step_deg,
        step_translation=step,
        focal_fraction=float((focal / true_focal - 1).abs().mean()),
        scale=scale,
    )


def _align_centers(estimated: Tensor, truth: Tensor) -> tuple[float, Tensor, Tensor]:
    spread = float((truth - truth.mean(0)).norm(dim=1).max())
    if len(truth) > 1 and spread > 1e-9:
        return align_similarity(estimated, truth)
    eye = torch.eye(3, dtype=torch.float64)
    return 1.0, eye, truth.mean(0) - estimated.mean(0)


def _rotation_errors(estimated: Cameras, truth: Cameras) -> Tensor:
    """Angles [n] in degrees after the rotation of the world nearest to all (chordal mean)."""
    a, b = estimated.cam_from_world[:, :3, :3], truth.cam_from_world[:, :3, :3]
    u, _, vh = torch.linalg.svd((a.transpose(1, 2) @ b).sum(0))
    flip = torch.ones(3, dtype=torch.float64)
    flip[2] = torch.linalg.det(u @ vh).sign()
    estimated_from_true_world = u @ torch.diag(flip) @ vh
    return rotation_angle_deg(a @ estimated_from_true_world, b)


def _step_errors(estimated: Cameras, truth: Cameras, scale: float) -> tuple[float, float]:
    if len(truth) < 2:
        return float("nan"), float("nan")
    steps = []
    for cameras in (estimated, truth):
        pose = cameras.cam_from_world
        steps.append(pose[1:] @ se3_inverse(pose[:-1]))
    moved, true = steps
    angle = rotation_angle_deg(moved[:, :3, :3], true[:, :3, :3])
    distance = (scale * moved[:, :3, 3] - true[:, :3, 3]).norm(dim=1)
    return float(angle.square().mean().sqrt()), float(distance.square().mean().sqrt())
