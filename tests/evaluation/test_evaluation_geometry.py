"""Camera, depth, Chamfer and colour measures against values worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from recam.evaluation.cameras import camera_errors
from recam.evaluation.chamfer import chamfer_distance, consistency_3d, static_points
from recam.evaluation.color import apply_color, fit_color
from recam.evaluation.depth import depth_errors
from recam.geometry import intrinsics_from_fov, se3, se3_inverse, so3_exp
from recam.types import Cameras, Scene, video_from_frames

F64 = torch.float64


def some_cameras(n: int = 6, seed: int = 0) -> Cameras:
    rng = torch.Generator().manual_seed(seed)
    rotation = so3_exp(0.3 * torch.randn(n, 3, generator=rng, dtype=F64))
    pose = se3(rotation, torch.randn(n, 3, generator=rng, dtype=F64))
    return Cameras(pose, intrinsics_from_fov(60, 40, 60).expand(n, 3, 3).clone(), 40, 60)


def in_another_world(cameras: Cameras, scale: float, world: torch.Tensor) -> Cameras:
    """The same cameras, their world turned and moved by world [4, 4], then scaled."""
    world_from_cam = world @ cameras.world_from_cam
    world_from_cam[:, :3, 3] *= scale
    return replace(cameras, cam_from_world=se3_inverse(world_from_cam))


def test_the_same_cameras_in_another_world_have_no_error() -> None:
    truth = some_cameras()
    turn = torch.tensor([0.4, -1.0, 2.0], dtype=F64)
    world = se3(so3_exp(turn), torch.tensor([3.0, -2.0, 9.0], dtype=F64))
    errors = camera_errors(in_another_world(truth, 0.25, world), truth)
    assert errors.scale == pytest.approx(4.0)
    assert errors.rotation_deg == pytest.approx(0.0, abs=1e-5)
    assert errors.step_rotation_deg == pytest.approx(0.0, abs=1e-5)
    assert errors.translation == pytest.approx(0.0, abs=1e-9)
    assert errors.step_translation == pytest.approx(0.0, abs=1e-9)
    assert errors.focal_fraction == pytest.approx(0.0)


def test_camera_errors_by_hand() -> None:
    # Four cameras on a square that looks ahead; the estimate turns two of them by ±10° about y.
    centers = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=F64)
    eye = torch.eye(3, dtype=F64).expand(4, 3, 3)
    k = intrinsics_from_fov(60, 40, 60).expand(4, 3, 3).clone()
    truth = Cameras(se3(eye, -centers), k, 40, 60)
    angle = math.radians(10)
    turns = so3_exp(torch.tensor([[0, 0, 0], [0, angle, 0], [0, -angle, 0], [0, 0, 0]], dtype=F64))
    turned = se3(turns, -(turns @ centers[..., None])[..., 0])
    errors = camera_errors(Cameras(turned, 1.1 * k, 40, 60), truth)
    assert errors.rotation_deg == pytest.approx(5.0, abs=1e-6)  # (0 + 10 + 10 + 0) / 4
    assert errors.translation == pytest.approx(0.0, abs=1e-9)  # centres are where they were
    assert errors.step_rotation_deg == pytest.approx(math.sqrt((100 + 400 + 100) / 3), abs=1e-6)
    assert errors.focal_fraction == pytest.approx(0.1)
    # Corners of the square moved in and out by 0.1 in turn along the diagonals cannot be aligned.
    out = (centers - 0.5) * torch.tensor([1.1, 0.9, 1.1, 0.9], dtype=F64)[:, None]
    out[:, 2] = 0
    moved = camera_errors(replace(truth, cam_from_world=se3(eye, -out)), truth)
    # Best scale 1 / 1.01 (least squares), so the radii √½·(1.1, 0.9)/1.01 against √½.
    left = [math.sqrt(0.5) * abs(r / 1.01 - 1) for r in (1.1, 0.9)]
    assert moved.translation == pytest.approx(math.sqrt((left[0] ** 2 + left[1] ** 2) / 2))
    assert moved.translation_fraction == pytest.approx(moved.translation / 3)


def test_cameras_that_stand_still() -> None:
    truth = some_cameras(1)[torch.zeros(3, dtype=torch.int64)]
    errors = camera_errors(truth, truth)
    assert errors.scale == 1.0 and errors.translation == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(errors.translation_fraction)
    shaky = some_cameras(3)
    assert camera_errors(shaky, truth).translation > 0.1
    with pytest.raises(ValueError, match="3 estimated and 2 true"):
        camera_errors(shaky, truth[:2])


def test_depth_errors_by_hand() -> None:
    truth = torch.tensor([[[1.0, 2.0, 4.0, 8.0, 5.0]]])
    valid = torch.tensor([[[True, True, True, True, False]]])
    depth = torch.tensor([[[1.1, 2.0, 4.0, 16.0, 99.0]]])
    errors = depth_errors(depth, truth, valid, "none")
    assert errors.abs_rel == pytest.approx((0.1 + 0 + 0 + 1.0) / 4)
    assert errors.delta1 == pytest.approx(0.75) and errors.num_pixels == 4
    # A wrong scale costs nothing after alignment, unless the scale drifts and one fits all.
    assert depth_errors(3 * truth, truth, valid).abs_rel == pytest.approx(0.0, abs=1e-6)
    assert depth_errors(3 * truth, truth, valid).scale == pytest.approx(1 / 3)
    assert depth_errors(3 * truth, truth, valid, "none").abs_rel == pytest.approx(2.0)
    both, twice = torch.cat([truth, 2 * truth]), torch.cat([truth, truth])
    ok = torch.cat([valid, valid])
    assert depth_errors(both, twice, ok, per_frame=True).abs_rel == pytest.approx(0.0, abs=1e-6)
    assert depth_errors(both, twice, ok).abs_rel > 0.2


def test_scale_and_shift_is_in_inverse_depth() -> None:
    truth = 1 + 9 * torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    depth = 1 / (0.5 / truth + 0.3)
    errors = depth_errors(depth, truth, valid, "scale-and-shift")
    assert errors.abs_rel == pytest.approx(0.0, abs=1e-5) and errors.delta1 == 1.0
    assert errors.scale == pytest.approx(2.0, rel=1e-4)
    assert errors.shift == pytest.approx(-0.6, rel=1e-4)
    assert depth_errors(depth, truth, valid, "scale").abs_rel > 0.1
    flat = depth_errors(torch.ones_like(truth), truth, valid, "scale-and-shift")
    assert flat.scale == 0.0 and flat.abs_rel > 0.1
    with pytest.raises(ValueError, match="nothing to compare"):
        depth_errors(depth, truth, ~valid)


def test_chamfer_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    b = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 3, 0]])
    same = chamfer_distance(a, a)
    assert same.chamfer == 0.0
    found = chamfer_distance(a, b)
    assert found.accuracy == 0.0 and found.completeness == pytest.approx(1.0)
    assert found.chamfer == pytest.approx(0.5)
    limited = chamfer_distance(a, b, max_distance=0.3)
    assert limited.completeness == pytest.approx(0.1)
    # Against every pair by brute force.
    rng = torch.Generator().manual_seed(1)
    x, y = torch.rand(40, 3, generator=rng), torch.rand(50, 3, generator=rng)
    every = torch.cdist(x.double(), y.double())
    found = chamfer_distance(x, y)
    assert found.accuracy == pytest.approx(float(every.min(1).values.mean()))
    assert found.completeness == pytest.approx(float(every.min(0).values.mean()))
    with pytest.raises(ValueError, match=r"points have shape \[0, 3\]"):
        chamfer_distance(a[:0], b)


def wall_scene(cameras: Cameras, distance: float = 5.0, unit: float = 1.0) -> Scene:
    """What cameras that look along +z see of the plane z = distance; lengths times unit."""
    n, h, w = len(cameras), cameras.height, cameras.width
    depth = (distance - cameras.centers[:, 2] / unit)[:, None, None].expand(n, h, w) * unit
    no = torch.zeros(n, h, w, dtype=torch.bool)
    frames = torch.zeros(n, 3, h, w, dtype=torch.uint8)
    return Scene(
        video_from_frames(frames), cameras, depth.float().contiguous(), ~no, no,
        torch.ones(n, h, w),
    )  # fmt: skip


def straight_cameras(step: float, unit: float = 1.0) -> Cameras:
    centers = torch.zeros(4, 3, dtype=F64)
    centers[:, 0] = torch.arange(4) * step * unit
    k = intrinsics_from_fov(60, 24, 32).expand(4, 3, 3).clone()
    return Cameras(se3(torch.eye(3, dtype=F64).expand(4, 3, 3), -centers), k, 24, 32)


def test_consistency_of_a_wall_by_hand() -> None:
    source = wall_scene(straight_cameras(0.2))
    assert consistency_3d(source, source).chamfer == 0.0
    # The wall 0.25 too far: a twentieth of the median depth from wherever it overlaps.
    far = wall_scene(straight_cameras(0.2), distance=5.25)
    assert consistency_3d(far, source).chamfer == pytest.approx(0.05, rel=0.1)
    assert consistency_3d(far, source, max_fraction=0.01).chamfer == pytest.approx(0.01)


def test_consistency_brings_a_reconstruction_into_the_wanted_world() -> None:
    source = wall_scene(straight_cameras(0.2))
    wanted = straight_cameras(0.2)
    # The same view reconstructed in a world of its own: 7 times the scale, turned and moved.
    own = wall_scene(straight_cameras(0.2, unit=7.0), unit=7.0)
    world = se3(so3_exp(torch.tensor([0.3, 2.0, -0.5], dtype=F64)), torch.ones(3, dtype=F64))
    own = replace(own, cameras=in_another_world(own.cameras, 1.0, world))
    assert consistency_3d(own, source).chamfer > 0.05
    assert consistency_3d(own, source, wanted).chamfer == pytest.approx(0.0, abs=1e-6)


def test_static_points_leave_out_what_moves() -> None:
    scene = wall_scene(straight_cameras(0.2))
    dynamic = torch.zeros_like(scene.dynamic)
    dynamic[:, :, 10:] = True
    points = static_points(replace(scene, dynamic=dynamic))
    assert len(points) == 4 * 24 * 10
    few = static_points(scene, max_points=100)
    assert len(few) == 100 and torch.equal(few, static_points(scene, max_points=100))
    with pytest.raises(ValueError, match="still pixel"):
        static_points(replace(scene, dynamic=torch.ones_like(dynamic)))


def colorful_video() -> torch.Tensor:
    noise = np.random.default_rng(5).uniform(0, 1, (2, 3, 40, 50))
    smooth = gaussian_filter(noise, (0, 0, 3, 3))
    return torch.tensor(40 + 160 * (smooth - smooth.min()) / np.ptp(smooth)).to(torch.uint8)


def test_color_fit_finds_an_affine_map_despite_wrong_pixels() -> None:
    frames = colorful_video()
    matrix = torch.tensor([[0.9, 0.05, 0], [0.02, 1.1, -0.03], [0, 0.1, 0.8]])
    offset = torch.tensor([10.0, -12.0, 20.0])
    target = torch.einsum("ij,tjhw->tihw", matrix, frames.float()) + offset[:, None, None]
    target = target.round().clamp(0, 255).to(torch.uint8)
    wrong = target.clone()
    wrong[:, :, :10, :15] = 30  # a surface that is not the same
    known = torch.ones(2, 40, 50)
    fit = fit_color(frames, wrong, known)
    torch.testing.assert_close(fit.matrix.float(), matrix, atol=0.03, rtol=0)
    torch.testing.assert_close(fit.offset.float(), offset, atol=3.0, rtol=0)
    difference = apply_color(frames, fit).float() - target.float()
    assert float(difference.abs().mean()) < 0.6
    # Only known pixels are looked at.
    known[:, :10, :15] = 0
    wrong[:, :, :10, :15] = 250
    again = fit_color(frames, wrong, known)
    torch.testing.assert_close(again.matrix.float(), matrix, atol=0.02, rtol=0)


def test_color_fit_of_equal_pictures_is_the_identity() -> None:
    frames = colorful_video()
    fit = fit_color(frames, frames, torch.ones(2, 40, 50))
    assert torch.equal(apply_color(frames, fit), frames)
    # Grey pictures say nothing about colour: it stays as it is.
    grey = frames[:, :1].expand(2, 3, 40, 50)
    fit = fit_color(grey, grey, torch.ones(2, 40, 50))
    assert int((apply_color(frames, fit).int() - frames.int()).abs().max()) <= 1
    with pytest.raises(ValueError, match="0 known, unclipped"):
        fit_color(frames, frames, torch.zeros(2, 40, 50))
