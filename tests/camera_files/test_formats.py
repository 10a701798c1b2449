"""Camera files: each format's axes against a point worked out by hand, and there and back again."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from camera_examples import (
    C2W,
    C2W_GL,
    EYE,
    EYE_GL,
    F64,
    FOV_Y,
    HALF,
    POINT,
    UV,
    W2C,
    H,
    K,
    W,
    some_cameras,
)
from recam.camera_files import (
    CameraFile,
    arrays,
    colmap,
    detect_format,
    own,
    read_cameras,
    write_cameras,
)
from recam.configs import CameraFormat
from recam.geometry import interpolate_poses, project


def _json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def _npz(path: Path, **content: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, **{k: np.asarray(v) for k, v in content.items()})
    return path


def _recam(folder: Path) -> Path:
    frames = [{"frame": i, "K": K, "w2c": m, "w": W, "h": H} for i, m in enumerate([EYE, W2C])]
    return _json(folder / "cameras.json", {"frames": frames})


def _nerfstudio(folder: Path) -> Path:
    frames = [
        # The file's order is not the video's: frame 10 follows frame 9.
        {"file_path": "images/frame_10.png", "transform_matrix": C2W_GL},
        {"file_path": "images/frame_9.png", "transform_matrix": EYE_GL},
    ]
    lens = {"fl_x": 100, "fl_y": 100, "cx": 32, "cy": 24, "w": W, "h": H}
    return _json(folder / "transforms.json", {**lens, "camera_model": "OPENCV", "frames": frames})


def _camera_path(folder: Path) -> Path:
    entries = [
        {"camera_to_world": np.ravel(m).tolist(), "fov": FOV_Y, "aspect": W / H}
        for m in (EYE_GL, C2W_GL)
    ]
    content = {"camera_type": "perspective", "render_height": H, "render_width": W, "fps": 24}
    return _json(folder / "path.json", {**content, "seconds": 1.0, "camera_path": entries})


def _colmap(folder: Path) -> Path:
    (folder / "cameras.txt").write_text(f"# cameras\n3 PINHOLE {W} {H} 100 100 32 24\n")
    (folder / "images.txt").write_text(
        f"# images\n7 {HALF} 0 {-HALF} 0 3 -2 -1 3 b 2.png\n10.5 3 -1 2 2 5\n"
        "1 1 0 0 0 0 0 0 3 a 1.png\n\n"
    )
    return folder


def _re10k(folder: Path) -> Path:
    lens = f"{100 / W} {100 / H} 0.5 0.5 0 0"
    rows = [" ".join(str(v) for row in m[:3] for v in row) for m in (EYE, W2C)]
    path = folder / "poses.txt"
    lines = ["https://video", f"0 {lens} {rows[0]}", f"33000 {lens} {rows[1]}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def _gen3c(folder: Path) -> Path:
    return _npz(folder / "camera.npz", w2c=[EYE, W2C], intrinsics=[K, K])


def _gen3c_path(folder: Path) -> Path:
    keys = [
        {"R": [0, 0, 0, 1], "T": [0, 0, 0], "fov": FOV_Y, "timestamp": 0.5},
        {"R": [0, HALF, 0, HALF], "T": [1, 2, 3], "fov": FOV_Y, "timestamp": 1.0},
    ]
    return _json(folder / "gui.json", {"path": keys, "spline_order": 3})


def _megasam(folder: Path) -> Path:
    depths = np.ones((2, H, W), np.float32)
    return _npz(folder / "x_droid.npz", cam_c2w=[EYE, C2W], intrinsic=K, depths=depths)


def _cognvs_folder(folder: Path) -> Path:
    info = folder / "cam_info"
    info.mkdir()
    np.save(info / "megasam_c2ws.npy", np.array([EYE, C2W], np.float32))
    np.save(info / "megasam_intrinsics.npy", np.array(K, np.float32))
    np.save(info / "megasam_depth.npy", np.ones((2, H, W), np.float16))
    return folder


def _vista4d(folder: Path) -> Path:
    return _npz(folder / "cameras.npz", cam_c2w=[EYE, C2W], intrinsics=[[100, 100, 32, 24]] * 2)


def _vipe(folder: Path) -> Path:
    _npz(folder / "intrinsics" / "a.npz", data=[[100, 100, 32, 24]] * 2, inds=[0, 1])
    return _npz(folder / "pose" / "a.npz", data=[EYE, C2W], inds=[0, 1])


def _llff(folder: Path) -> Path:
    # 3×5 blocks [down right backward centre (h w f)], then near and far.
    hand = [[0, 0, -1, 1, H], [1, 0, 0, 2, W], [0, -1, 0, 3, 100]]
    eye = [[0, 1, 0, 0, H], [1, 0, 0, 0, W], [0, 0, -1, 0, 100]]
    table = [[*np.ravel(block), 1.0, 9.0] for block in (eye, hand)]
    np.save(folder / "poses_bounds.npy", np.array(table))
    return folder / "poses_bounds.npy"


def _tum(folder: Path) -> Path:
    path = folder / "poses.txt"
    path.write_text(f"# time\n0.0 0 0 0 0 0 0 1\n0.5 1 2 3 0 {HALF} 0 {HALF}\n")
    return path


def _7scenes(folder: Path) -> Path:
    for i, m in enumerate((EYE, C2W)):
        rows = "\n".join("\t".join(map(str, row)) for row in m)
        (folder / f"frame-{i:06d}.pose.txt").write_text(rows)
    (folder / "camera-intrinsics.txt").write_text("\n".join(" ".join(map(str, r)) for r in K))
    return folder


HAND_WRITTEN: list[tuple[CameraFormat, Callable[[Path], Path]]] = [
    ("recam", _recam), ("nerfstudio", _nerfstudio), ("camera-path", _camera_path),
    ("colmap", _colmap), ("re10k", _re10k), ("gen3c", _gen3c), ("gen3c", _gen3c_path),
    ("megasam", _megasam), ("megasam", _cognvs_folder), ("vista4d", _vista4d), ("vipe", _vipe),
    ("llff", _llff), ("tum", _tum), ("7scenes", _7scenes),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make"), HAND_WRITTEN, ids=lambda v: getattr(v, "__name__", v))
def test_axes_by_hand(name: CameraFormat, make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    assert detect_format(path) == name
    file = read_cameras(path, num_frames=2, height=H, width=W)
    assert file.format == name and len(file) == 2
    cameras = file.cameras_with(H, W, intrinsics=torch.tensor(K, dtype=F64))
    uv_px, depth = project(torch.tensor([POINT], dtype=F64), cameras[1:])
    np.testing.assert_allclose(uv_px[0, 0].numpy(), UV, atol=1e-4)
    assert float(depth) == pytest.approx(4.0, abs=1e-6)
    np.testing.assert_allclose(cameras.cam_from_world[0].numpy(), np.eye(4), atol=1e-9)


def test_recammaster_axes_by_hand(tmp_path: Path) -> None:
    # Unreal: the camera at (100, 200, 300) cm looks along y, its right is −x, its up is z. Rows
    # are forward, right, up and the place. Here the world is metres with y mirrored, so a point
    # 4 m ahead, 1 m to the right and 0.5 m down lies at (1 − 1, −2 − 4, 3 − 0.5).
    content = {
        "frame0": {"cam01": "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1] "},
        "frame1": {"cam01": "[0 1 0 0] [-1 0 0 0] [0 0 1 0] [100 200 300 1] "},
    }
    file = read_cameras(_json(tmp_path / "camera_extrinsics.json", content))
    assert file.format == "recammaster" and file.metric and file.relative_to_first
    cameras = file.cameras_with(H, W, intrinsics=torch.tensor(K, dtype=F64))
    points = torch.tensor([[0.0, -6.0, 2.5]], dtype=F64)
    np.testing.assert_allclose(project(points, cameras[1:])[0][0, 0].numpy(), UV, atol=1e-9)
    # Its own program takes frame 1 relative to frame 0: 1 m ahead, 2 m right, 3 m up of it.
    relative = cameras.cam_from_world[0] @ cameras.world_from_cam[1]
    np.testing.assert_allclose(relative[:3, 3].numpy(), [2, -3, 1], atol=1e-9)
    # The formula of FACTS (transpose, columns 1 2 0 3, negate column 1, cm to m) agrees.
    turned = [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [100, 200, 300, 1]]
    rows = np.array([EYE, turned], float)
    c2w = rows.transpose(0, 2, 1)[:, :, [1, 2, 0, 3]]
    c2w[:, :3, 1] *= -1
    c2w[:, :3, 3] /= 100
    np.testing.assert_allclose(relative.numpy(), np.linalg.inv(c2w[0]) @ c2w[1], atol=1e-12)


# format, file name, intrinsics change, centred square pixels only, tolerance
ROUND_TRIPS: list[tuple[CameraFormat, str, bool, bool, float]] = [
    ("recam", "cameras.json", True, False, 1e-12),
    ("nerfstudio", "transforms.json", True, False, 1e-9),
    ("nerfstudio", "same/transforms.json", False, False, 1e-9),
    ("camera-path", "path.json", True, True, 1e-9),
    ("colmap", "model", True, False, 1e-9),
    ("re10k", "poses.txt", True, False, 1e-9),
    ("gen3c", "camera.npz", True, True, 1e-5),
    ("gen3c", "path.json", True, True, 1e-9),
    ("megasam", "x_droid.npz", False, True, 1e-9),
    ("vista4d", "cameras.npz", True, True, 1e-9),
    ("vipe", "pose/a.npz", True, True, 1e-9),
    ("llff", "poses_bounds.npy", True, True, 1e-9),
    ("7scenes", "seven", False, True, 1e-9),
    ("tum", "poses.txt", False, False, 1e-9),
    ("recammaster", "camera_extrinsics.json", False, False, 1e-8),
]


@pytest.mark.parametrize(("name", "to", "zooming", "centered", "atol"), ROUND_TRIPS)
def test_round_trip(
    name: CameraFormat, to: str, zooming: bool, centered: bool, atol: float, tmp_path: Path
) -> None:
    cameras = some_cameras(zooming=zooming, centered=centered)
    write_cameras(cameras, tmp_path / to, name)
    file = read_cameras(tmp_path / to, num_frames=7, height=H, width=W)
    assert file.format == name
    again = file.cameras_with(H, W, intrinsics=cameras.intrinsics)
    np.testing.assert_allclose(
        again.cam_from_world.numpy(), cameras.cam_from_world.numpy(), atol=atol, rtol=0
    )
    np.testing.assert_allclose(
        again.intrinsics.numpy(), cameras.intrinsics.numpy(), atol=1e-4, rtol=1e-7
    )
    assert not list(tmp_path.rglob(".*"))  # nothing half-written is left


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_agrees_with_pycolmap(binary: bool, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    cameras = some_cameras(zooming=True)
    names = [f"shot_{i}.png" for i in range(7)]
    lens = torch.tensor([0.1, -0.05, 0.001, 0.002, 0.03], dtype=F64)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    colmap.write_colmap(ours, cameras, names, lens, binary)
    model = pycolmap.Reconstruction(str(ours))
    assert sorted(image.name for image in model.images.values()) == names
    for image in model.images.values():
        i = names.index(image.name)
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        np.testing.assert_allclose(pose.matrix(), cameras.cam_from_world[i, :3].numpy(), atol=1e-9)
        camera = model.cameras[image.camera_id]
        np.testing.assert_allclose(camera.calibration_matrix(), cameras.intrinsics[i].numpy())
        ray = torch.tensor([0.2, -0.1, 1.0], dtype=F64)
        bent = camera.img_from_cam(ray.numpy()[None])
        from recam.geometry import distort

        uv = cameras.intrinsics[i, :2, :2] @ distort(ray[:2], lens) + cameras.intrinsics[i, :2, 2]
        np.testing.assert_allclose(np.ravel(bent), uv.numpy(), atol=1e-9)
    theirs.mkdir()
    (model.write_binary if binary else model.write_text)(str(theirs))
    file = read_cameras(theirs)
    assert file.distortion is not None
    torch.testing.assert_close(file.distortion, lens)
    torch.testing.assert_close(file.cam_from_world, cameras.cam_from_world)
    torch.testing.assert_close(file.intrinsics, cameras.intrinsics)


def test_colmap_is_not_written_into_another_model(tmp_path: Path) -> None:
    colmap.write_colmap(tmp_path, some_cameras(), list("abcdefg"), None, binary=False)
    before = (tmp_path / "images.txt").read_text()
    with pytest.raises(Exception, match="already holds another COLMAP model"):
        colmap.write_colmap(tmp_path, some_cameras(), list("abcdefg"), None, binary=True)
    assert (tmp_path / "images.txt").read_text() == before and not list(tmp_path.glob("*.bin"))


def test_intrinsics_are_rescaled_axis_by_axis(tmp_path: Path) -> None:
    # MegaSAM's sizes are multiples of 8, so the two axes scale by slightly different factors.
    depths = np.ones((2, 96, 136), np.float32)
    path = _npz(tmp_path / "x_droid.npz", cam_c2w=[EYE, C2W], depths=depths,
                intrinsic=[[200, 0, 68], [0, 200, 48], [0, 0, 1]])  # fmt: skip
    k = read_cameras(path, height=480, width=854).intrinsics
    assert k is not None
    expected = [[200 * 854 / 136, 0, 427], [0, 1000, 240], [0, 0, 1]]
    np.testing.assert_allclose(k[0].numpy(), expected)


def test_a_megasam_file_without_a_depth_belongs_to_twice_its_center(tmp_path: Path) -> None:
    path = _npz(tmp_path / "a.npz", cam_c2w=[EYE], intrinsic=K)
    file = read_cameras(path)
    assert (file.height, file.width) == (H, W)
    assert "principal point" in file.notes[0]


def test_a_blender_file_takes_its_size_from_the_video(tmp_path: Path) -> None:
    frames = [{"file_path": "./r_0", "transform_matrix": C2W_GL}]
    angle = 2 * math.atan(32 / 100)
    path = _json(tmp_path / "transforms.json", {"camera_angle_x": angle, "frames": frames})
    assert read_cameras(path).intrinsics is None
    k = read_cameras(path, height=H, width=W).intrinsics
    assert k is not None
    np.testing.assert_allclose(k[0].numpy(), K)


def test_camera_path_keeps_its_vertical_field_of_view(tmp_path: Path) -> None:
    k = read_cameras(_camera_path(tmp_path), height=2 * H, width=2 * H).intrinsics
    assert k is not None
    expected = [[200, 0, 48], [0, 200, 48], [0, 0, 1]]
    np.testing.assert_allclose(k[0].numpy(), expected)


def test_sparse_frames_are_interpolated_and_their_ends_continued(tmp_path: Path) -> None:
    cameras = some_cameras(4, zooming=True)
    at = torch.tensor([0, 11, 22, 33])
    write_cameras(cameras, tmp_path / "c.json", frames=at)
    file = read_cameras(tmp_path / "c.json", num_frames=40)
    assert len(file) == 40 and file.frame_indices is not None
    assert file.frame_indices.tolist() == list(range(40))
    assert file.cam_from_world is not None and file.intrinsics is not None
    assert torch.equal(file.cam_from_world[at], cameras.cam_from_world)
    torch.testing.assert_close(file.intrinsics[at], cameras.intrinsics)
    expected = interpolate_poses(at, cameras.cam_from_world, torch.arange(40), extrapolate=True)
    assert torch.equal(file.cam_from_world, expected)
    assert "4 cameras of the file interpolated" in file.notes[-1]
    trimmed = read_cameras(tmp_path / "c.json").at_frames(torch.arange(2, 30, 3))
    assert trimmed.cam_from_world is not None
    torch.testing.assert_close(trimmed.cam_from_world, expected[2:30:3])


def test_one_camera_without_a_number_stands_still(tmp_path: Path) -> None:
    path = _json(tmp_path / "c.json", {"frames": [{"K": K, "w2c": W2C, "w": W, "h": H}]})
    poses = read_cameras(path, num_frames=5).cam_from_world
    assert poses is not None
    np.testing.assert_array_equal(poses.numpy(), np.array([W2C] * 5, float))


def test_cameras_of_several_videos_are_told_apart(tmp_path: Path) -> None:
    base = {"K": K, "w": W, "h": H, "dist": [0.1, 0, 0, 0]}
    content = {"units": "metres", "frames": [
        {**base, "file": "rig/a.mp4", "w2c": EYE}, {**base, "file": "rig/b.mp4", "w2c": W2C},
    ]}  # fmt: skip
    path = _json(tmp_path / "cameras.json", content)
    for wanted in ("b.mp4", "rig/b.mp4", "/elsewhere/rig/b.mp4", "/moved/b.mp4"):
        file = read_cameras(path, file=wanted)
        assert len(file) == 1 and file.metric and file.distortion is not None
        np.testing.assert_array_equal(file.cam_from_world, np.array([W2C], float))
    with pytest.raises(ValueError, match=r"several videos \(rig/a.mp4, rig/b.mp4\)"):
        read_cameras(path)
    with pytest.raises(ValueError, match="no camera belongs to c"):
        read_cameras(path, file="c.mp4")


def test_images_are_chosen_by_name_and_in_order(tmp_path: Path) -> None:
    write_cameras(some_cameras(), tmp_path / "t.json", "nerfstudio")
    names = ["x/frame_000004.png", "frame_000001.png"]
    file = read_cameras(tmp_path / "t.json", file=names)
    torch.testing.assert_close(file.cam_from_world, some_cameras().cam_from_world[[4, 1]])
    with pytest.raises(ValueError, match="no camera for frame_000009"):
        read_cameras(tmp_path / "t.json", file=["frame_000009.png"])


def test_lens_and_scale_survive(tmp_path: Path) -> None:
    lens = torch.tensor([0.1, -0.05, 0.001, 0.002, 0.03], dtype=F64)
    for name, to in (("recam", "c.json"), ("nerfstudio", "t.json"), ("colmap", "m")):
        write_cameras(some_cameras(), tmp_path / to, name, distortion=lens)  # type: ignore[arg-type]
        file = read_cameras(tmp_path / to)
        assert file.distortion is not None
        torch.testing.assert_close(file.distortion, lens)
    with pytest.raises(ValueError, match="cannot hold lens distortion"):
        write_cameras(some_cameras(), tmp_path / "x.txt", "tum", distortion=lens)
    write_cameras(some_cameras(), tmp_path / "metric.json", metres_per_unit=1.0)
    assert read_cameras(tmp_path / "metric.json").metric


def test_recammaster_centimetres_come_from_the_scale(tmp_path: Path) -> None:
    cameras = some_cameras()
    write_cameras(cameras, tmp_path / "r.json", "recammaster", metres_per_unit=0.5)
    poses = read_cameras(tmp_path / "r.json").cam_from_world
    assert poses is not None
    torch.testing.assert_close(poses[:, :3, 3], 0.5 * cameras.cam_from_world[:, :3, 3])


def test_megasam_takes_images_and_depths(tmp_path: Path) -> None:
    depths = np.ones((7, H, W), np.float32)
    cameras = some_cameras()
    arrays.write_megasam(tmp_path / "a.npz", cameras, {"depths": depths})
    assert set(np.load(tmp_path / "a.npz").files) == {"cam_c2w", "intrinsic", "depths"}
    k = read_cameras(tmp_path / "a.npz").intrinsics
    torch.testing.assert_close(k, cameras.intrinsics)
    with pytest.raises(ValueError, match="use cameras"):
        arrays.write_megasam(tmp_path / "b.npz", cameras, {"depths": depths[:, :5]})


def test_keyframes_read_back(tmp_path: Path) -> None:
    keys = [{"frame": 0, "yaw": 0}, {"frame": 10, "yaw": 20, "zoom": 2}, {"frame": 20, "zoom": 1}]
    own.write_keyframes(tmp_path / "k.json", keys)
    file: CameraFile = read_cameras(tmp_path / "k.json")
    assert file.format == "keyframes" and file.keyframes is not None
    yaw_at, yaw = file.keyframes.channels["yaw"]
    assert yaw_at.tolist() == [0, 10] and yaw.tolist() == [0, 20]
    assert file.keyframes.channels["zoom"][0].tolist() == [10, 20]
