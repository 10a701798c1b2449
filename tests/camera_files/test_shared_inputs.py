"""Camera files of ../shared/data/inputs: each kind that people reported, read as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from input_cameras import H, N, W, assert_as_made, world_from_cam
from recam.camera_files import CameraFile, read_cameras
from recam.media.source import part_of


@pytest.fixture(scope="module")
def inputs(shared_data: Path) -> Path:
    return shared_data / "inputs"


def read(path: Path, source: Path, height: int = H, width: int = W, num: int = N) -> CameraFile:
    part = part_of(source, None)
    return read_cameras(path, num_frames=num, height=height, width=width, part=part)


def test_names(inputs: Path) -> None:
    kinds = inputs / "names_of_another_kind"
    for name in ("other_suffix.json", "windows.json", "windows_whole.json"):
        assert_as_made(read(kinds / name, kinds / "images"))
    blender = inputs / "blender_without_extension"
    for source in ("train", "clip.mp4"):
        assert_as_made(read(blender / "transforms_train.json", blender / source))
    zeros = inputs / "colmap_names_without_zeros"
    file = read(zeros / "sparse", zeros / "clip.mp4", num=12)
    assert (-file.cam_from_world[:, 0, 3]).tolist() == pytest.approx([0.1 * i for i in range(12)])
    two = inputs / "same_names_in_two_folders"
    for source in ("images/cam0", "cam0.mp4"):
        assert_as_made(read(two / "sparse", two / source))


def test_some_registered(inputs: Path) -> None:
    some = inputs / "colmap_some_registered"
    for source in ("images", "clip.mp4"):
        file = read(some / "sparse", some / source)
        assert any("none for frame 3" in note for note in file.notes)
        off = np.linalg.inv(file.cam_from_world.numpy()) - world_from_cam()
        assert np.abs(off).max() < 1e-3 and np.abs(off[[0, 1, 2, 4, 5]]).max() < 1e-9


def test_colmap_lines_and_rigs(inputs: Path) -> None:
    lines = inputs / "images_txt_with_more_empty_lines"
    for name in ("after_the_header", "between"):
        assert_as_made(read_cameras(lines / name, num_frames=N))
    rig = inputs / "rig_whose_images_txt_is_stale"
    file = read_cameras(rig, num_frames=N, file="right")
    own = world_from_cam()
    expected = own[:, :3, 3] + own[:, :3, :3] @ np.array([0.1, 0, 0])
    np.testing.assert_allclose(
        np.linalg.inv(file.cam_from_world.numpy())[:, :3, 3], expected, atol=1e-9
    )


def test_turned_pictures(inputs: Path) -> None:
    turned = inputs / "cameras_of_the_unturned_picture"
    file = read(turned / "sparse", turned / "exif", height=W, width=H)
    assert file.intrinsics[0].tolist() == [[60, 0, 24], [0, 60, 32], [0, 0, 1]]
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(
        file.cam_from_world[:, :3, :3],
        quarter @ np.linalg.inv(world_from_cam())[:, :3, :3],
        atol=1e-9,
    )
    with pytest.raises(ValueError, match="turned on their side"):
        read(turned / "transforms.json", turned / "images", height=W, width=H)


def test_worlds_of_viewers(inputs: Path) -> None:
    viewer = inputs / "camera_path_of_nerfstudios_viewer"
    assert_as_made(read_cameras(viewer / "camera_path.json"))
    assert_as_made(read_cameras(viewer / "ns_export_cameras.json", num_frames=N))
    with pytest.raises(ValueError, match="instant-ngp"):
        read_cameras(inputs / "camera_path_of_instant_ngp" / "base_cam.json")


def test_more_cameras_than_frames(inputs: Path) -> None:
    folder = inputs / "more_cameras_than_the_source_has_frames"
    for frames in (None, torch.arange(4)):
        part = part_of(folder / "clip.mp4", frames)
        with pytest.raises(ValueError, match="75"):
            num = N if frames is None else 4
            read_cameras(folder / "trajectory_300hz.txt", num_frames=num, part=part)


def test_formats(inputs: Path) -> None:
    formats = inputs / "formats_that_are_not_read"
    for name in ("3dgs/cameras.json", "dycheck_camera", "kitti_poses.txt", "depth_anything_3.npz"):
        assert_as_made(read_cameras(formats / name, num_frames=N))
    assert_as_made(read_cameras(formats / "euroc.csv", num_frames=N), atol=1e-4)
    # Record3D's poses have OpenGL's axes; these were written without turning them.
    file = read_cameras(formats / "record3d_metadata.json", num_frames=N)
    centers = np.linalg.inv(file.cam_from_world.numpy())[:, :3, 3]
    np.testing.assert_allclose(centers, world_from_cam()[:, :3, 3], atol=1e-9)
    assert file.intrinsics[0].tolist() == [[60, 0, 32], [0, 60, 24], [0, 0, 1]]
