"""Lens distortion undone: against OpenCV, on a drawn grid, and where the lens saw nothing."""

import cv2
import numpy as np
import pytest
import torch

from recam.camera_files import undistort_video
from recam.camera_files.undistort import undistortion_map
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
