"""The central types: exact camera arithmetic, and shapes that are refused."""

import pytest
import torch

from recam.geometry import pixel_centers, project, se3, so3_exp
from recam.types import CameraPath, Cameras, PartialVideo, Scene, Video, video_from_frames

F64 = torch.float64


def some_cameras(num: int = 3, height: int = 48, width: int = 64) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    rotation = so3_exp(0.3 * torch.randn(num, 3, generator=generator, dtype=F64))
    poses = se3(rotation, torch.randn(num, 3, generator=generator, dtype=F64))
    k = torch.tensor([[50.0, 0.2, 31.0], [0, 55.0, 25.5], [0, 0, 1]], dtype=F64)
    return Cameras(poses, k.expand(num, 3, 3).clone(), height, width)


@pytest.mark.parametrize("size", [(96, 128), (24, 32), (50, 20), (1, 1)])
def test_resizing_keeps_every_ray(size: tuple[int, int]) -> None:
    cameras = some_cameras()
    points = torch.randn(20, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    uv_px, depth = project(points, cameras)
    resized = cameras.resized(*size)
    scaled, same_depth = project(points, resized)
    scale = torch.tensor([size[1] / 64, size[0] / 48], dtype=F64)
    torch.testing.assert_close(scaled, uv_px * scale)
    torch.testing.assert_close(same_depth, depth)
    assert (resized.height, resized.width) == size
    torch.testing.assert_close(resized.resized(48, 64).intrinsics, cameras.intrinsics)


def test_resizing_maps_a_pixel_area_onto_its_block() -> None:
    # Doubling the size, pixel (0, 0) with centre 0.5 becomes a 2×2 block with centre 1.0.
    cameras = some_cameras(1)
    ray = torch.linalg.inv(cameras.intrinsics[0]) @ torch.tensor([0.5, 0.5, 1], dtype=F64)
    uvw = cameras.resized(96, 128).intrinsics[0] @ ray
    torch.testing.assert_close(uvw, torch.tensor([1.0, 1.0, 1.0], dtype=F64))
    assert pixel_centers(2, 2, F64).reshape(-1, 2).mean(0).tolist() == [1.0, 1.0]


def test_cropping_shifts_pixels_and_nothing_else() -> None:
    cameras = some_cameras()
    points = torch.randn(20, 3, dtype=F64, generator=torch.Generator().manual_seed(2))
    uv_px, _ = project(points, cameras)
    cropped = cameras.cropped(top=5, left=7.5, height=30, width=40)
    moved, _ = project(points, cropped)
    torch.testing.assert_close(moved, uv_px - torch.tensor([7.5, 5.0], dtype=F64))
    assert (cropped.height, cropped.width) == (30, 40)


def test_world_from_cam_and_centers() -> None:
    cameras = some_cameras()
    eye = torch.eye(4, dtype=F64).expand(3, 4, 4)
    torch.testing.assert_close(cameras.world_from_cam @ cameras.cam_from_world, eye)
    homogeneous = torch.cat([cameras.centers, torch.ones(3, 1, dtype=F64)], 1)[..., None]
    origin = (cameras.cam_from_world @ homogeneous)[:, :3, 0]
    torch.testing.assert_close(origin, torch.zeros(3, 3, dtype=F64), atol=1e-12, rtol=0)


def test_indexing_keeps_pairs_together() -> None:
    cameras = some_cameras()
    path = CameraPath(cameras, torch.tensor([4, 5, 6]))
    picked = path[torch.tensor([2, 0])]
    assert picked.source_frames.tolist() == [6, 4]
    assert torch.equal(picked.cameras.cam_from_world, cameras.cam_from_world[[2, 0]])
    assert len(path[1:]) == 2


def test_wrong_shapes_and_types_are_refused_with_what_was_expected() -> None:
    cameras = some_cameras()
    with pytest.raises(ValueError, match=r"shape \[3, 3, 3\], expected \[any, 4, 4\]"):
        Cameras(cameras.intrinsics, cameras.intrinsics, 48, 64)
    with pytest.raises(ValueError, match="float32, expected"):
        Cameras(cameras.cam_from_world.float(), cameras.intrinsics, 48, 64)
    with pytest.raises(ValueError, match="uint8"):
        Video(torch.zeros(2, 3, 4, 5), torch.zeros(2))
    with pytest.raises(ValueError, match="known"):
        PartialVideo(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), torch.zeros(2, 4, 4))


def test_a_scene_needs_a_camera_per_frame() -> None:
    video = video_from_frames(torch.zeros(2, 3, 48, 64, dtype=torch.uint8))
    depth = torch.ones(2, 48, 64)
    yes = torch.ones(2, 48, 64, dtype=torch.bool)
    with pytest.raises(ValueError, match="3 cameras for 2 frames"):
        Scene(video, some_cameras(3), depth, yes, yes, depth)
    assert len(Scene(video, some_cameras(2), depth, yes, yes, depth)) == 2


def test_frame_rate() -> None:
    frames = torch.zeros(5, 3, 2, 2, dtype=torch.uint8)
    assert video_from_frames(frames, fps=25).fps == pytest.approx(25)
    assert video_from_frames(frames[:1]).fps == 24.0
