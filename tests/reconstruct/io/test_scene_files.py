"""Scenes on disk: exact round trips, refusals, and exports that others can read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.camera_files import read_cameras
from recam.reconstruct import export_scene, load_scene, read_depth, save_scene
from recam.reconstruct.io.scene_files import scene_points
from recam.types import RecamError, Scene, video_from_frames
from reconstruct_scene import render_world


@pytest.fixture
def scene() -> Scene:
    """5 frames of 72×112 with geometry at half the size; depth that float16 could not hold."""
    truth, half = render_world(5, slide=0.05), render_world(5, 36, 56, slide=0.05)
    depth, dynamic = torch.from_numpy(half.depth), torch.from_numpy(half.moving)
    depth[:, 0, 0] = 1e6
    valid = torch.ones_like(dynamic)
    valid[:, 3, 5:9] = False
    return Scene(
        truth.video, half.cameras, depth, valid, dynamic,
        torch.rand(depth.shape, generator=torch.Generator().manual_seed(0)),
        metres_per_unit=0.25, report={"notes": ["made for a test"], "n": 3},
    )  # fmt: skip


def _assert_same(a: Scene, b: Scene) -> None:
    assert torch.equal(a.video.frames, b.video.frames)
    assert torch.equal(a.video.times_s, b.video.times_s)
    for name in ("depth", "valid", "dynamic", "confidence"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.cameras.cam_from_world, b.cameras.cam_from_world)
    assert torch.equal(a.cameras.intrinsics, b.cameras.intrinsics)
    assert a.metres_per_unit == b.metres_per_unit and a.report == b.report


def test_round_trip_is_exact(scene: Scene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path / "new" / "scene")
    _assert_same(scene, load_scene(tmp_path / "new" / "scene"))
    _assert_same(scene, load_scene(tmp_path / "new" / "scene", scene.video))
    assert not list((tmp_path / "new").rglob(".*"))  # nothing temporary left


def test_saving_again_replaces_and_keeps_other_files(scene: Scene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    changed = replace(scene, metres_per_unit=None, depth=scene.depth * 2)
    save_scene(changed, tmp_path)
    _assert_same(changed, load_scene(tmp_path))
    assert (tmp_path / "config.json").exists()


def test_without_frames_the_video_is_needed(scene: Scene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path)
    save_scene(scene, tmp_path, with_frames=False)
    assert {p.name for p in tmp_path.iterdir()} == {"scene.json", "scene.safetensors"}
    _assert_same(scene, load_scene(tmp_path, scene.video))
    with pytest.raises(RecamError, match="holds no frames"):
        load_scene(tmp_path)


def test_another_video_is_refused(scene: Scene, tmp_path: Path) -> None:
    save_scene(scene, tmp_path, with_frames=False)
    other = video_from_frames(torch.zeros(4, 3, 72, 112, dtype=torch.uint8))
    with pytest.raises(ValueError, match="made from 5 frames of 112×72 px"):
        load_scene(tmp_path, other)


def test_unfinished_broken_and_newer_folders(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="not finished"):
        load_scene(tmp_path)
    save_scene(scene, tmp_path)
    (tmp_path / "scene.safetensors").write_bytes(b"short")
    with pytest.raises(RecamError, match="make the scene again"):
        load_scene(tmp_path)
    save_scene(scene, tmp_path)
    record = json.loads((tmp_path / "scene.json").read_text())
    (tmp_path / "scene.json").write_text(json.dumps({**record, "version": 99}))
    with pytest.raises(RecamError, match="version 99"):
        load_scene(tmp_path)
    (tmp_path / "scene.json").write_text("{")
    with pytest.raises(RecamError, match="not JSON"):
        load_scene(tmp_path)


def test_a_report_that_is_not_json_is_refused_before_anything_is_written(
    scene: Scene, tmp_path: Path
) -> None:
    for bad in (torch.ones(2), float("nan")):
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            save_scene(replace(scene, report={"x": bad}), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_place_that_cannot_be_written(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecamError, match="cannot write"):
        save_scene(scene, tmp_path / "file" / "scene")


def test_points_lie_on_the_surfaces(scene: Scene) -> None:
    points, colors = scene_points(scene)
    assert points.shape == colors.shape and colors.dtype == torch.uint8
    near = points[points[:, 2] < 100]
    on_floor = (near[:, 1] - 1.0).abs() < 1e-3
    on_wall = (near[:, 2] - 6.0).abs() < 1e-3
    on_box = (near[:, 2] - 4.0).abs() < 1e-3
    assert bool((on_floor | on_wall | on_box).all())
    # Moving things come from one frame only.
    assert int((on_box & ~on_floor).sum()) <= int(scene.dynamic[2].sum())


def test_ply_holds_the_points(scene: Scene, tmp_path: Path) -> None:
    export_scene(scene, tmp_path / "points.ply", "ply")
    head, body = (tmp_path / "points.ply").read_bytes().split(b"end_header\n", 1)
    points, colors = scene_points(scene)
    assert f"element vertex {len(points)}".encode() in head
    rows = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert np.array_equal(rows["xyz"], points.numpy())
    assert np.array_equal(rows["rgb"], colors.numpy())


def test_colmap_reads_back(scene: Scene, tmp_path: Path) -> None:
    import pycolmap

    export_scene(scene, tmp_path, "colmap")
    full = scene.cameras.resized(72, 112)
    cameras = read_cameras(tmp_path, "colmap").cameras
    assert cameras is not None and (cameras.height, cameras.width) == (72, 112)
    assert torch.allclose(cameras.cam_from_world, full.cam_from_world, atol=1e-9)
    assert torch.allclose(cameras.intrinsics, full.intrinsics)
    model = pycolmap.Reconstruction(str(tmp_path / "sparse" / "0"))
    assert len(model.points3D) > 100 and len(model.images) == 5
    assert len(list((tmp_path / "images").glob("*.png"))) == 5


def test_nerfstudio_reads_back(scene: Scene, tmp_path: Path) -> None:
    export_scene(scene, tmp_path, "nerfstudio")
    cameras = read_cameras(tmp_path / "transforms.json", "nerfstudio").cameras
    assert cameras is not None
    full = scene.cameras.resized(72, 112)
    assert torch.allclose(cameras.cam_from_world, full.cam_from_world, atol=1e-9)
    transforms = json.loads((tmp_path / "transforms.json").read_text())
    assert (tmp_path / transforms["ply_file_path"]).is_file()
    assert all((tmp_path / f["file_path"]).is_file() for f in transforms["frames"])


def test_megasam_reads_back_as_depth_and_cameras(scene: Scene, tmp_path: Path) -> None:
    export_scene(scene, tmp_path / "megasam.npz", "megasam")
    source = read_depth(tmp_path / "megasam.npz", 5, 36, 56)
    assert torch.equal(source.depth[scene.valid], scene.depth[scene.valid])
    assert source.cameras is not None
    assert torch.allclose(source.cameras.cam_from_world, scene.cameras.cam_from_world, atol=1e-9)
    assert np.load(tmp_path / "megasam.npz")["images"].shape == (5, 36, 56, 3)


def test_unknown_format(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected ply, colmap"):
        export_scene(scene, tmp_path / "x", "max")  # type: ignore[arg-type]


def test_a_folder_for_gaussian_splatting(scene: Scene, tmp_path: Path) -> None:
    """Opened as COLMAP's and as nerfstudio's; what moves is masked and lends no points."""
    import pycolmap

    from recam.geometry import project
    from recam.media import read_image

    export_scene(scene, tmp_path / "s", "3dgs")
    model = pycolmap.Reconstruction(str(tmp_path / "s" / "sparse" / "0"))
    pictures = sorted(image.name for image in model.images.values())
    assert pictures == sorted(p.name for p in (tmp_path / "s" / "images").iterdir())
    transforms = json.loads((tmp_path / "s" / "transforms.json").read_text())
    for frame in transforms["frames"]:
        assert (tmp_path / "s" / frame["file_path"]).is_file()
        name = Path(frame["file_path"]).name
        assert frame["mask_path"] == f"masks/{name}.png"
    static = read_image(tmp_path / "s" / transforms["frames"][0]["mask_path"])[0] > 127
    half = static[::2, ::2] & static[1::2, ::2] & static[::2, 1::2] & static[1::2, 1::2]
    assert not bool((half & scene.dynamic[0]).any())
    assert float((half == ~scene.dynamic[0]).float().mean()) > 0.95
    cameras = read_cameras(tmp_path / "s" / "transforms.json").cameras
    assert cameras is not None
    torch.testing.assert_close(cameras.cam_from_world, scene.cameras.cam_from_world)
    assert (cameras.height, cameras.width) == (scene.video.height, scene.video.width)
    # Every point lies where some frame saw something that stands still.
    points = torch.tensor(np.array([p.xyz for p in model.points3D.values()]))
    assert len(points) > 1000
    uv_px, depth = project(points, scene.cameras)
    x, y = uv_px[..., 0].floor().long(), uv_px[..., 1].floor().long()
    inside = (x >= 0) & (y >= 0) & (x < scene.cameras.width) & (y < scene.cameras.height)
    frame = torch.arange(len(scene))[:, None].expand_as(x)
    x, y = x.clamp(0, scene.cameras.width - 1), y.clamp(0, scene.cameras.height - 1)
    near = (scene.depth[frame, y, x] / depth - 1).abs() < 1e-3
    assert bool((inside & near & ~scene.dynamic[frame, y, x]).any(0).all())


def test_a_scene_in_usd_and_gltf_has_its_points_before_its_camera(
    scene: Scene, tmp_path: Path
) -> None:
    Usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    expected = scene_points(scene)[0] * torch.tensor([1.0, -1.0, -1.0])
    export_scene(scene, tmp_path / "s.usda", "usd")
    stage = Usd.Stage.Open(str(tmp_path / "s.usda"))
    points = np.array(stage.GetPrimAtPath("/recam/points").GetAttribute("points").Get())
    np.testing.assert_allclose(points, expected.numpy(), rtol=1e-5, atol=1e-5)
    export_scene(scene, tmp_path / "s.glb", "gltf")
    cloud = next(iter(trimesh.load(tmp_path / "s.glb").geometry.values()))
    metres = scene.metres_per_unit or 1.0
    np.testing.assert_allclose(cloud.vertices, metres * expected.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(cloud.colors[:, :3], scene_points(scene)[1].numpy())


def test_exr_of_depth_and_of_what_moves(scene: Scene, tmp_path: Path) -> None:
    from recam.reconstruct.io.exr import read_exr

    export_scene(scene, tmp_path, "exr")
    for i in range(len(scene)):
        depth = read_exr((tmp_path / "depth" / f"{i:06d}.exr").read_bytes(), "d")
        np.testing.assert_array_equal(depth, np.where(scene.valid[i], scene.depth[i], 0))
        moves = read_exr((tmp_path / "dynamic" / f"{i:06d}.exr").read_bytes(), "m", ("Y",))
        np.testing.assert_array_equal(moves, scene.dynamic[i].numpy())
