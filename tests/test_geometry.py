"""Rigid motions, projection, interpolation and lenses: properties over many random cases."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from recam.geometry import (
    align_similarity,
    distort,
    fov_x_deg,
    interpolate_poses,
    interpolate_values,
    intrinsics_from_fov,
    look_at,
    max_distortion_radius,
    pixel_centers,
    project,
    quaternion_from_rotation,
    rotation_angle_deg,
    rotation_from_quaternion,
    se3,
    se3_inverse,
    skew,
    so3_exp,
    so3_log,
    transform_points,
    unproject,
)
from recam.types import Cameras

F64 = torch.float64
SHAPES = [(), (1,), (5,), (2, 3)]
# Rotation angles on either side of every branch: none, tiny, ordinary, just short of π.
ANGLES = [0.0, 1e-12, 1e-9, 1e-6, 1e-4, 0.1, 1.0, 3.0, math.pi - 1e-4, math.pi - 1e-7]


def random_rotvecs(shape: tuple[int, ...], angle: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    axis = torch.randn(*shape, 3, generator=generator, dtype=F64)
    return angle * torch.nn.functional.normalize(axis, dim=-1)


def random_poses(num: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rotvec = torch.randn(num, 3, generator=generator, dtype=F64)
    return se3(so3_exp(rotvec), spread * torch.randn(num, 3, generator=generator, dtype=F64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", ANGLES)
def test_exp_and_log_are_inverse_and_agree_with_scipy(shape: tuple[int, ...], angle: float) -> None:
    rotvec = random_rotvecs(shape, angle, seed=len(shape))
    rotation = so3_exp(rotvec)
    expected = Rotation.from_rotvec(rotvec.reshape(-1, 3).numpy()).as_matrix()
    assert np.abs(rotation.reshape(-1, 3, 3).numpy() - expected).max() < 1e-12
    eye = torch.eye(3, dtype=F64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(-1, -2), eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(so3_log(rotation), rotvec, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    rotation = so3_exp(random_rotvecs((4,), 0.5, 0).to(dtype))
    assert rotation.dtype == so3_log(rotation).dtype == dtype
    assert se3_inverse(se3(rotation, torch.ones(4, 3, dtype=dtype))).dtype == dtype


def test_log_of_half_turns_has_length_pi() -> None:
    rotvec = random_rotvecs((50,), math.pi, 3)
    logs = so3_log(so3_exp(rotvec))
    torch.testing.assert_close(logs.norm(dim=-1), torch.full((50,), math.pi, dtype=F64))
    torch.testing.assert_close(so3_exp(logs), so3_exp(rotvec), rtol=0, atol=1e-7)


def test_quaternions_agree_with_scipy_and_with_their_rotation() -> None:
    rotation = so3_exp(random_rotvecs((200,), 2.7, 1))
    quaternion = quaternion_from_rotation(rotation)
    expected = Rotation.from_matrix(rotation.numpy()).as_quat(canonical=True)[:, [3, 0, 1, 2]]
    assert np.abs(quaternion.numpy() - expected).max() < 1e-12
    torch.testing.assert_close(rotation_from_quaternion(quaternion * 7), rotation)


def test_skew_is_the_cross_product() -> None:
    v, u = random_poses(2, 5)[:, :3, 3]
    torch.testing.assert_close(skew(v) @ u, torch.linalg.cross(v, u))


def test_se3_group_axioms() -> None:
    a, b, c = random_poses(3 * 20, 7).reshape(3, 20, 4, 4)
    eye = torch.eye(4, dtype=F64).expand(20, 4, 4)
    torch.testing.assert_close(a @ se3_inverse(a), eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(se3_inverse(a) @ a, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(se3_inverse(a @ b), se3_inverse(b) @ se3_inverse(a))
    points = torch.randn(20, 9, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    nested = transform_points(a, transform_points(b @ c, points))
    torch.testing.assert_close(nested, transform_points(a @ b @ c, points))
    gaps = (points[:, 1:] - points[:, :-1]).norm(dim=-1)
    moved = transform_points(a, points)
    torch.testing.assert_close((moved[:, 1:] - moved[:, :-1]).norm(dim=-1), gaps)


def test_rotation_angle() -> None:
    base = so3_exp(random_rotvecs((6,), 1.3, 2))
    turned = base @ so3_exp(random_rotvecs((6,), math.radians(25), 4))
    torch.testing.assert_close(rotation_angle_deg(base, turned), torch.full((6,), 25.0, dtype=F64))


def test_intrinsics_and_field_of_view() -> None:
    k = intrinsics_from_fov(90.0, 100, 200)
    expected = torch.tensor([[100.0, 0, 100], [0, 100, 50], [0, 0, 1]], dtype=F64)
    torch.testing.assert_close(k, expected)
    cameras = Cameras(torch.eye(4, dtype=F64)[None], k[None], 100, 200)
    torch.testing.assert_close(fov_x_deg(cameras), torch.tensor([90.0], dtype=F64))


def test_look_at_faces_its_target_upright() -> None:
    eye = torch.tensor([1.0, -2.0, 0.5], dtype=F64)
    target = torch.tensor([3.0, 1.0, 4.0], dtype=F64)
    up = torch.tensor([0.0, -1.0, 0.0], dtype=F64)
    cam_from_world = look_at(eye, target, up)
    seen = transform_points(cam_from_world, torch.stack([eye, target, target + 0.1 * up]))
    torch.testing.assert_close(seen[0], torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)
    distance = (target - eye).norm()
    torch.testing.assert_close(seen[1], torch.stack([0 * distance, 0 * distance, distance]))
    assert abs(float(seen[2, 0])) < 1e-12 and float(seen[2, 1]) < 0  # above, and not tilted
    with pytest.raises(ValueError, match="parallel to up"):
        look_at(eye, eye + up, up)


def test_project_by_hand() -> None:
    k = torch.tensor([[100.0, 0, 32], [0, 200.0, 24], [0, 0, 1]], dtype=F64)
    cameras = Cameras(torch.eye(4, dtype=F64)[None], k[None], 48, 64)
    uv_px, depth = project(torch.tensor([[1.0, 0.5, 2.0], [0.0, 0.0, -1.0]], dtype=F64), cameras)
    assert uv_px[0, 0].tolist() == [32 + 50, 24 + 50]
    assert depth.tolist() == [[2.0, -1.0]]


def test_unproject_then_project_finds_the_pixel() -> None:
    k = intrinsics_from_fov(70.0, 12, 16).expand(3, 3, 3).clone()
    cameras = Cameras(random_poses(3, 9), k, 12, 16)
    depth = 1 + torch.rand(3, 12, 16, dtype=F64, generator=torch.Generator().manual_seed(0))
    uv_px, again = project(unproject(depth, cameras).reshape(3, -1, 3), cameras)
    expected = pixel_centers(12, 16, F64).reshape(1, -1, 2).expand_as(uv_px)
    torch.testing.assert_close(uv_px, expected)
    torch.testing.assert_close(again, depth.reshape(3, -1))
    with pytest.raises(ValueError, match="resized"):
        unproject(depth[:, :6], cameras)


def test_align_similarity_recovers_a_similarity() -> None:
    source = torch.randn(30, 3, dtype=F64, generator=torch.Generator().manual_seed(4))
    rotation, shift = so3_exp(random_rotvecs((), 2.0, 8)), torch.tensor([1.0, 2, 3], dtype=F64)
    scale, r, t = align_similarity(source, 2.5 * source @ rotation.T + shift)
    assert abs(scale - 2.5) < 1e-9
    torch.testing.assert_close(r, rotation)
    torch.testing.assert_close(t, shift)


AT = torch.tensor([0.0, 1.0, 2.5, 3.0, 7.0], dtype=F64)


def test_values_follow_pchip_and_hold_outside() -> None:
    values = torch.randn(5, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    query = torch.linspace(0, 7, 141, dtype=F64)
    expected = PchipInterpolator(AT.numpy(), values.numpy())(query.numpy())
    assert np.abs(interpolate_values(AT, values, query).numpy() - expected).max() < 1e-12
    assert torch.equal(interpolate_values(AT, values, AT), values)
    outside = interpolate_values(AT, values, torch.tensor([-3.0, 99.0], dtype=F64))
    assert torch.equal(outside, values[[0, -1]])


def test_interpolation_refuses_times_out_of_order() -> None:
    with pytest.raises(ValueError, match="must increase"):
        interpolate_values(torch.tensor([0.0, 0.0]), torch.zeros(2, 1), torch.zeros(1))
    with pytest.raises(ValueError, match="one time per key"):
        interpolate_poses(AT, random_poses(4, 0), AT)


def test_poses_pass_exactly_through_their_keys() -> None:
    poses = random_poses(5, 11)
    assert torch.equal(interpolate_poses(AT, poses, AT), poses)
    assert torch.equal(interpolate_poses(AT[:1], poses[:1], AT), poses[:1].expand(5, 4, 4))


def test_pose_path_is_rigid_and_has_continuous_velocity() -> None:
    poses = random_poses(5, 12)
    step = 1e-5
    query = torch.stack([AT[1:-1] - step, AT[1:-1], AT[1:-1] + step], 1).flatten()
    path = se3_inverse(interpolate_poses(AT, poses, query)).reshape(3, 3, 4, 4)
    eye = torch.eye(3, dtype=F64).expand(3, 3, 3, 3)
    rotation = path[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(-1, -2), eye, atol=1e-10, rtol=0)
    before, after = (path[:, 1] - path[:, 0]) / step, (path[:, 2] - path[:, 1]) / step
    torch.testing.assert_close(before, after, atol=2e-3, rtol=0)
    assert float(before.abs().max()) > 0.1  # it does move there


def test_pose_path_does_not_depend_on_the_world_frame() -> None:
    poses, (world,) = random_poses(5, 13), random_poses(1, 14)
    query = torch.linspace(-1, 8, 50, dtype=F64)
    plain = interpolate_poses(AT, poses, query, extrapolate=True)
    torch.testing.assert_close(interpolate_poses(AT, poses @ world, query, True), plain @ world)


def test_pose_path_holds_still_between_equal_keys() -> None:
    poses = random_poses(4, 15)[[0, 1, 1, 2]]
    still = interpolate_poses(AT[:4], poses, torch.linspace(1, 2.5, 9, dtype=F64))
    torch.testing.assert_close(still, poses[1].expand(9, 4, 4), atol=1e-12, rtol=0)


def test_steady_motion_stays_steady_and_extrapolates() -> None:
    spin, drift = torch.tensor([0.0, 0.1, 0.0], dtype=F64), torch.tensor([0.3, 0, 0], dtype=F64)

    def world_from_cam(t: torch.Tensor) -> torch.Tensor:
        return se3(so3_exp(t[:, None] * spin), t[:, None] * drift)

    at = torch.arange(4, dtype=F64)
    query = torch.tensor([-0.5, 0.25, 1.7, 3.6], dtype=F64)
    path = interpolate_poses(at, se3_inverse(world_from_cam(at)), query, extrapolate=True)
    torch.testing.assert_close(se3_inverse(path), world_from_cam(query), atol=1e-12, rtol=0)


LENS = torch.tensor([-0.33, 0.046, -0.0043, 0.0041, 0.067], dtype=F64)


def test_distort_agrees_with_opencv() -> None:
    xy = 0.6 * torch.randn(100, 2, dtype=F64, generator=torch.Generator().manual_seed(2))
    points = torch.cat([xy, torch.ones(100, 1, dtype=F64)], 1).numpy()
    k = np.eye(3)
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, LENS.numpy())
    assert np.abs(distort(xy, LENS).numpy() - expected[:, 0]).max() < 1e-12
    assert torch.equal(distort(xy, torch.zeros(5, dtype=F64)), xy)


def test_max_distortion_radius_is_where_the_lens_folds() -> None:
    barrel = torch.tensor([-0.3, 0, 0, 0, 0], dtype=F64)  # r(1 − 0.3 r²) peaks at r = 1/√0.9
    assert max_distortion_radius(barrel) == pytest.approx(1 / math.sqrt(0.9), abs=1e-3)
    assert max_distortion_radius(-barrel) == math.inf
