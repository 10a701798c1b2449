"""Lens distortion undone: against OpenCV, on a drawn grid, and where the lens saw nothing."""

import cv2
import numpy as np
import pytest
import torch

from recam.camera_files import CameraFile, straightened_video, undistort_video
from recam.camera_files.undistort import fisheye_map, sphere_map, undistortion_map
from recam.geometry import intrinsics_from_fov
from recam.types import Cameras, Video, video_from_frames

F64 = torch.float64
H, W = 90, 120
K = torch.tensor([[70.0, 0, 58], [0, 72, 47], [0, 0, 1]], dtype=F64)
BARREL = torch.tensor([-0.3, 0.05, 0.002, -0.001, 0.01], dtype=F64)
PINCUSHION = torch.tensor([0.25, 0.1, 0.0, 0.0, 0.0], dtype=F64)


def cameras(num: int = 1) -> Cameras:
    return Cameras(torch.eye(4, dtype=F64).repeat(num, 1, 1), K.repeat(num, 1, 1), H, W)


def noise_video(num: int = 3) -> Video:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (num, 3, 9, 12), generator=generator, dtype=torch.uint8)
    smooth = torch.nn.functional.interpolate(small.float(), (H, W), mode="bicubic")
    return video_from_frames(smooth.clamp(0, 255).to(torch.uint8))


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_the_map_agrees_with_opencv(lens: torch.Tensor) -> None:
    uv_px, _ = undistortion_map(K, H, W, lens)
    # OpenCV puts the centre of the first pixel at (0, 0), recam at (0.5, 0.5).
    k = K.numpy() - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    x, y = cv2.initUndistortRectifyMap(k, lens.numpy(), None, k, (W, H), cv2.CV_32FC1)
    np.testing.assert_allclose((uv_px - 0.5).numpy(), np.stack([x, y], -1), atol=2e-4)


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_pictures_agree_with_opencv(lens: torch.Tensor) -> None:
    video = noise_video(2)
    straight, same, valid = undistort_video(video, cameras(2), lens)
    assert torch.equal(same.intrinsics, cameras(2).intrinsics) and len(straight) == 2
    k = K.numpy() - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    for i in range(2):
        image = video.frames[i].permute(1, 2, 0).numpy()
        expected = cv2.undistort(image, k, lens.numpy())
        ours = straight.frames[i].permute(1, 2, 0).numpy()
        off = np.abs(ours.astype(int) - expected.astype(int))[valid[i].numpy()]
        assert off.max() <= 3  # OpenCV's own map is rounded to 1/32 px


def test_bent_lines_become_straight() -> None:
    # The picture of a lens that looks at vertical stripes in the plane z = 1.
    ys, xs = np.mgrid[0:H, 0:W] + 0.5
    bent = np.stack([xs, ys], -1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(bent, K.numpy(), BARREL.numpy()).reshape(H, W, 2)
    stripes = (127 + 120 * np.sin(12 * rays[..., 0])).astype(np.uint8)
    video = video_from_frames(torch.from_numpy(stripes).expand(1, 3, H, W).contiguous())
    straight, _, valid = undistort_video(video, cameras(), BARREL)
    image = straight.frames[0, 0].numpy().astype(float)
    expected = 127 + 120 * np.sin(12 * (np.arange(W) + 0.5 - 58) / 70)
    inside = valid[0].numpy()
    assert np.abs(image - expected)[inside].mean() < 1.0
    before = np.abs(stripes - expected)[inside].mean()
    assert before > 15  # it was far from straight


def test_no_distortion_changes_nothing() -> None:
    video = noise_video()
    same, _, valid = undistort_video(video, cameras(), torch.zeros(5, dtype=F64))
    assert torch.equal(same.frames, video.frames) and bool(valid.all())
    assert torch.equal(same.times_s, video.times_s)


def test_where_the_lens_saw_nothing_is_not_valid() -> None:
    # A pincushion lens saw less in its corners than the pinhole picture shows.
    _, _, valid = undistort_video(noise_video(1), cameras(), PINCUSHION)
    assert not bool(valid[0, 0, 0]) and bool(valid[0, H // 2, W // 2])
    assert 0.3 < float(valid.float().mean()) < 0.95
    # Past its fold a strong barrel polynomial would show the middle again: not valid either.
    fold = torch.tensor([-0.9, 0, 0, 0, 0], dtype=F64)
    uv_px, valid_fold = undistortion_map(K, H, W, fold)
    radius = ((uv_px[..., 0] - 58) / 70).hypot((uv_px[..., 1] - 47) / 72)
    xs = torch.arange(W) + 0.5
    row = valid_fold[47]
    assert row[58] and not row[0] and not row[-1]
    assert bool((torch.diff(radius[47][row & (xs > 58)]) > 0).all())


def test_intrinsics_follow_the_videos_size_and_may_zoom() -> None:
    zooming = cameras(3)
    zooming.intrinsics[:, 0, 0] += torch.tensor([0.0, 5.0, 10.0])
    half = zooming.resized(H // 2, W // 2)
    straight, found, _ = undistort_video(noise_video(3), half, BARREL)
    torch.testing.assert_close(found.intrinsics, zooming.intrinsics)
    alone, _, _ = undistort_video(noise_video(3)[2:], zooming[2:], BARREL)
    assert torch.equal(straight.frames[2], alone.frames[0])
    with pytest.raises(ValueError, match="2 cameras for 3 frames"):
        undistort_video(noise_video(3), cameras(2), BARREL)


def test_each_frame_may_have_a_lens_of_its_own() -> None:
    """As pictures of one film have that were solved with lenses of their own."""
    video, lenses = noise_video(3), torch.stack([BARREL, torch.zeros(5, dtype=F64), PINCUSHION])
    straight, _, valid = undistort_video(video, cameras(3), lenses)
    for i, lens in enumerate(lenses):
        one = video_from_frames(video.frames[i : i + 1])
        alone, _, seen = undistort_video(one, cameras(1), lens)
        assert torch.equal(straight.frames[i], alone.frames[0])
        assert torch.equal(valid[i], seen[0])


FISHEYE = torch.tensor([0.05, -0.02, 0.004, -0.001], dtype=F64)


@pytest.mark.parametrize("fov_deg", [60.0, 90.0, 120.0])
def test_fisheye_agrees_with_opencv(fov_deg: float) -> None:
    target = intrinsics_from_fov(fov_deg, H, W).to(F64)
    own = torch.tensor([[42.0, 0, 58], [0, 43, 47], [0, 0, 1]], dtype=F64)
    uv_px, _ = fisheye_map(target, H, W, own, FISHEYE)
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    x, y = cv2.fisheye.initUndistortRectifyMap(
        own.numpy() - half, FISHEYE.numpy(), np.eye(3), target.numpy() - half, (W, H), cv2.CV_32FC1
    )
    np.testing.assert_allclose((uv_px - 0.5).numpy(), np.stack([x, y], -1), atol=2e-4)


def test_fisheye_by_hand() -> None:
    """A ray at 45° to the right lies at θ = π/4 focal lengths: 40 + 40 π/4 = 71.416 px."""
    target = torch.tensor([[20.0, 0, 40], [0, 20, 40], [0, 0, 1]], dtype=F64)
    own = torch.tensor([[40.0, 0, 40], [0, 40, 40], [0, 0, 1]], dtype=F64)
    uv_px, valid = fisheye_map(target, 80, 80, own, torch.zeros(4))
    # Pixels 59 and 60 are centred at 59.5 and 60.5, on either side of x = 60, where z = x.
    assert float(uv_px[39:41, 59:61, 0].mean()) == pytest.approx(71.416, abs=0.02)
    assert bool(valid[40, 40])


def test_sphere_by_hand() -> None:
    """Of a 90° pinhole the right border looks 45° to the right: 5/8 of the sphere's width."""
    target = intrinsics_from_fov(90.0, 100, 200).to(F64)
    uv_px, valid = sphere_map(target, 100, 200)
    assert valid.all()
    right = (
        float(uv_px[49:51, 199, 0].mean())
        + float(uv_px[49:51, 199, 0].mean() - uv_px[49:51, 198, 0].mean()) / 2
    )
    assert right == pytest.approx(0.625 * 200, abs=0.01)
    assert float(uv_px[49:51, 99:101, 0].mean()) == pytest.approx(100, abs=1e-6)
    down = float(uv_px[-1, 99:101, 1].mean())  # 49.5 of 100 px below the middle, f = 100
    assert down == pytest.approx(
        (np.arctan2(49.5, np.hypot(0.5, 100)) / np.pi + 0.5) * 100, abs=1e-6
    )


def test_a_sphere_seen_through_a_pinhole() -> None:
    """Colours of the sphere's directions come out where the pinhole looks."""
    v, u = np.mgrid[0:128, 0:256] + 0.5
    longitude, latitude = (u / 256 - 0.5) * 2 * np.pi, (v / 128 - 0.5) * np.pi
    flat = np.cos(latitude)
    direction = np.stack([flat * np.sin(longitude), np.sin(latitude), flat * np.cos(longitude)])
    video = video_from_frames(
        torch.from_numpy(np.rint(127.5 + 127 * direction).astype(np.uint8))[None]
    )
    file = CameraFile("nerfstudio", torch.eye(4, dtype=F64)[None], lens="equirectangular")
    straight, cameras, valid = straightened_video(video, file, 100.0)
    assert valid.all() and straight.frames.shape == video.frames.shape
    rays = torch.linalg.inv(cameras.intrinsics[0]) @ torch.tensor([200.5, 30.5, 1.0], dtype=F64)
    expected = 127.5 + 127 * (rays / rays.norm())
    assert np.abs(straight.frames[0, :, 30, 200].numpy() - expected.numpy()).max() < 2
    with pytest.raises(ValueError, match="--fov from 1 to 150"):
        straightened_video(video, file, 170.0)
