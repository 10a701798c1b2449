"""Real camera files, judged by whether pixels that show the same thing agree with the cameras."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recam.camera_files import read_cameras, undistort_video
from recam.camera_files.undistort import undistortion_map
from recam.geometry import project, rotation_angle_deg, skew, so3_log
from recam.trajectories import relative_path
from recam.types import Cameras, Video, video_from_frames

F64 = torch.float64


def read_images(files: list[Path]) -> list[np.ndarray]:
    images = [cv2.imread(str(f), cv2.IMREAD_GRAYSCALE) for f in files]
    assert all(image is not None for image in images)
    return images  # type: ignore[return-value]


def read_frames(path: Path, frames: list[int]) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(path)), {}
    for i in range(max(frames) + 1):
        ok, image = capture.read()
        assert ok, path
        if i in frames:
            found[i] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return [found[i] for i in frames]


def matches(a: np.ndarray, b: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels [k, 2] of both pictures that show the same corners."""
    sift = cv2.SIFT_create(1500)  # type: ignore[attr-defined]
    (points_a, about_a), (points_b, about_b) = (sift.detectAndCompute(i, None) for i in (a, b))
    pairs = cv2.BFMatcher().knnMatch(about_a, about_b, k=2)
    good = [m for m, n in pairs if m.distance < 0.75 * n.distance]
    assert len(good) > 60
    uv_a = torch.tensor([points_a[m.queryIdx].pt for m in good], dtype=F64) + 0.5
    return uv_a, torch.tensor([points_b[m.trainIdx].pt for m in good], dtype=F64) + 0.5


def epipolar_px(pair: tuple[torch.Tensor, torch.Tensor], cameras: Cameras) -> float:
    """Median distance in px of the second picture's pixels from the lines that two cameras say."""
    b_from_a = cameras.cam_from_world[1] @ cameras.world_from_cam[0]
    k_inverse = torch.linalg.inv(cameras.intrinsics)
    fundamental = k_inverse[1].T @ skew(b_from_a[:3, 3]) @ b_from_a[:3, :3] @ k_inverse[0]
    uv_a, uv_b = (torch.cat([uv, torch.ones(len(uv), 1, dtype=F64)], 1) for uv in pair)
    lines = uv_a @ fundamental.T
    return float(((uv_b * lines).sum(1).abs() / lines[:, :2].norm(dim=1)).median())


def test_davis_bear_by_two_routes(shared_data: Path) -> None:
    folder = shared_data / "dynamic" / "davis_bear"
    own = read_cameras(folder / "cameras.json", num_frames=49, height=480, width=854)
    megasam = read_cameras(folder / "megasam_c2ws.npy", num_frames=49, height=480, width=854)
    for file in (own, megasam):
        assert file.intrinsics is not None and file.cam_from_world is not None
    torch.testing.assert_close(own.cam_from_world, megasam.cam_from_world, atol=1e-5, rtol=0)
    torch.testing.assert_close(own.intrinsics, megasam.intrinsics, atol=0.01, rtol=0)
    cameras = own.cameras
    assert cameras is not None
    pair = matches(*read_frames(folder / "gt_rgb.mp4", [0, 24]))
    assert epipolar_px(pair, cameras[torch.tensor([0, 24])]) < 1.0


def test_nvidia_balloon_by_three_routes(shared_data: Path) -> None:
    folder = shared_data / "multiview" / "nvidia_balloon1"
    own = read_cameras(folder / "cameras.json", file="input_960x540", num_frames=12)
    nerfstudio = read_cameras(folder / "transforms_train.json", num_frames=12)
    llff = read_cameras(folder / "poses_bounds.npy", num_frames=12)
    for other in (nerfstudio, llff):
        torch.testing.assert_close(other.cam_from_world, own.cam_from_world, atol=1e-6, rtol=0)
        torch.testing.assert_close(other.intrinsics, own.intrinsics, atol=1e-4, rtol=0)
    assert nerfstudio.distortion is not None and float(nerfstudio.distortion[0]) < 0
    with pytest.raises(ValueError, match="several videos"):
        read_cameras(folder / "cameras.json")
    pair = matches(*read_images(sorted((folder / "input_960x540").glob("*.png"))[:3:2]))
    cameras = own.cameras
    assert cameras is not None
    cameras = cameras[torch.tensor([0, 2])]
    assert epipolar_px(pair, cameras) < 1.0
    # The check can fail: with OpenGL's axes taken for OpenCV's the lines miss.
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=F64))
    wrong = replace(cameras, cam_from_world=flip @ cameras.cam_from_world)
    assert epipolar_px(pair, wrong) > 3 * epipolar_px(pair, cameras)


@pytest.mark.parametrize("name", ["static/spatialvid_trulli", "dynamic/spatialvid_crossing"])
def test_spatialvid_is_filled_between_its_frames(name: str, shared_data: Path) -> None:
    path = shared_data / name / "cameras.json"
    sparse = read_cameras(path)
    assert len(sparse) == 82 and sparse.frame_indices is not None
    assert sparse.frame_indices[:3].tolist() == [0, 11, 22]
    full = read_cameras(path, num_frames=899)
    assert len(full) == 899 and full.cam_from_world is not None
    assert torch.equal(full.cam_from_world[sparse.frame_indices], sparse.cam_from_world)
    # Leave every second camera out: smooth filling over twice the gap finds it again.
    halved = torch.arange(0, 82, 2)
    assert sparse.cam_from_world is not None and sparse.intrinsics is not None
    coarse = replace(
        sparse, cam_from_world=sparse.cam_from_world[halved],
        intrinsics=sparse.intrinsics[halved], frame_indices=sparse.frame_indices[halved],
    )  # fmt: skip
    again = coarse.at_frames(sparse.frame_indices[1:80:2]).cam_from_world
    assert again is not None
    rotation = sparse.cam_from_world[1:80:2, :3, :3]
    error = rotation_angle_deg(again[:, :3, :3], rotation)
    assert float(error.square().mean().sqrt()) < 0.1


def test_spatialvid_in_between_frames_fit_the_pictures(shared_data: Path) -> None:
    folder = shared_data / "static" / "spatialvid_trulli"
    cameras = read_cameras(folder / "cameras.json", num_frames=899).cameras
    assert cameras is not None
    picked = [5, 27]  # neither has a camera of its own
    pair = matches(*read_frames(folder / "input.mp4", picked))
    assert epipolar_px(pair, cameras[torch.tensor(picked)]) < 1.5


def test_7scenes_poses_by_two_routes(shared_data: Path) -> None:
    folder = shared_data / "static" / "7scenes_rgbd"
    colour = sorted(folder.glob("*.color.jpg"))
    poses = read_cameras(folder, "7scenes", num_frames=len(colour))
    own = read_cameras(
        folder / "cameras.json", file=[str(f) for f in colour], num_frames=len(colour)
    )
    assert poses.metric and own.metric
    torch.testing.assert_close(poses.cam_from_world, own.cam_from_world, atol=2e-4, rtol=0)
    cameras = own.cameras
    assert cameras is not None
    pair = matches(*read_images([colour[0], colour[5]]))
    assert epipolar_px(pair, cameras[torch.tensor([0, 5])]) < 2.5


def caliscope(shared_data: Path, camera: int) -> tuple[Path, Cameras, torch.Tensor]:
    folder = shared_data / "multiview" / "caliscope_post_optimization"
    file = read_cameras(folder / "cameras.json", file=f"cam_{camera}.mp4", num_frames=57)
    cameras = file.cameras
    assert cameras is not None and file.distortion is not None and file.metric
    assert len(cameras) == 57
    return folder, cameras, file.distortion


def corners(path: Path, columns: tuple[str, ...], camera: int | None) -> dict[str, list[float]]:
    """Numbers of each board corner at each moment, by "moment corner"."""
    with path.open() as file:
        return {
            f"{row['sync_index']} {row['keypoint_id']}": [float(row[c]) for c in columns]
            for row in csv.DictReader(file)
            if camera is None or int(row["cam_id"]) == camera
        }


@pytest.mark.parametrize("camera", [0, 1, 2, 3])
def test_caliscope_board_corners_reproject(camera: int, shared_data: Path) -> None:
    folder, cameras, lens = caliscope(shared_data, camera)
    folder = folder / "calibration" / "extrinsic"
    world = corners(folder / "CHARUCO" / "xyz_CHARUCO.csv", ("x_coord", "y_coord", "z_coord"), None)
    found = corners(folder / "xy.csv", ("img_loc_x", "img_loc_y"), camera)
    both = sorted(world.keys() & found.keys())
    assert len(both) > 50
    points = torch.tensor([world[k] for k in both], dtype=F64)
    detected = torch.tensor([found[k] for k in both], dtype=F64)
    straight, depth = project(points, cameras[:1])
    assert bool((depth > 0).all())
    # Where the straightened picture shows the corner, its map must point at the detection.
    uv_px, _ = undistortion_map(cameras.intrinsics[0], 720, 1280, lens)
    grid = (straight / torch.tensor([1280.0, 720.0], dtype=F64) * 2 - 1)[None]
    bent = torch.nn.functional.grid_sample(
        uv_px.permute(2, 0, 1)[None], grid, align_corners=False
    )[0, :, 0].T  # fmt: skip
    inside = (grid[0, 0].abs() < 0.99).all(1)
    error = (bent - detected).norm(dim=1)
    assert float(error[inside].median()) < 1.5
    bends = inside & ((bent - straight[0]).norm(dim=1) > 3)
    assert int(bends.sum()) > 10
    without = (straight[0] - detected).norm(dim=1)
    assert float(error[bends].median()) < 0.6 * float(without[bends].median())


def test_caliscope_video_straightened(shared_data: Path) -> None:
    folder, cameras, lens = caliscope(shared_data, 0)
    images = read_frames(folder / "calibration" / "extrinsic" / "cam_0.mp4", [0, 1])
    frames = torch.from_numpy(np.stack(images))[:, None].expand(2, 3, 720, 1280).contiguous()
    video: Video = video_from_frames(frames)
    straight, same, valid = undistort_video(video, cameras[:2], lens)
    assert len(straight) == 2 and same.height == 720
    assert bool(valid[:, 200:500, 300:900].all())  # barrel: the middle always has a source
    assert not torch.equal(straight.frames, video.frames)


@pytest.mark.parametrize("name", ["dynamic/davis_bear", "generated/sora_balloon"])
def test_the_reference_render_moves_the_way_relative_path_says(
    name: str, shared_data: Path
) -> None:
    # CogNVS's own render of φ 0 → −40°, r 0 → −0.2: a third of the way in.
    folder = shared_data / name
    (source,) = read_frames(folder / "gt_rgb.mp4", [16])
    (render,) = read_frames(folder / "example_eval_render.mp4", [16])
    source = cv2.resize(source, render.shape[::-1], interpolation=cv2.INTER_AREA)
    uv_a, uv_b = (uv.numpy() for uv in matches(source, render))
    k = np.array([[500.0, 0, 360], [0, 500, 240], [0, 0, 1]])  # its focal length without a file's
    essential, kept = cv2.findEssentialMat(uv_a, uv_b, k, method=cv2.RANSAC, threshold=1.0)
    _, rotation, toward, _ = cv2.recoverPose(essential, uv_a, uv_b, k, mask=kept)
    third = torch.tensor([1 / 3], dtype=F64)
    expected = relative_path(-40 * third, 0 * third, -0.2 * third, 1.0)[0]
    found, wanted = so3_log(torch.from_numpy(rotation)), so3_log(expected[:3, :3])
    alike = torch.nn.functional.cosine_similarity
    assert float(alike(found, wanted, dim=0)) > 0.99  # about the same axis, the same way round
    shift = torch.from_numpy(toward).ravel()
    assert float(alike(shift, expected[:3, 3], dim=0)) > 0.95
