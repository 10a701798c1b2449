"""Cameras for other programs: what those programs' own libraries read in the files that recam
writes, against a point worked out by hand and against recam's own projection."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.camera_files import detect_format, read_cameras, write_cameras
from recam.geometry import project, se3, so3_exp
from recam.types import Cameras

F64 = torch.float64
H, W = 48, 64
# A camera at (1, 2, 3), turned 90° to the right: its right is −z, its down y, it looks along x. A
# point 4 ahead, 1 to the right and 0.5 down from it lies at (5, 2.5, 2); with a focal length of
# 100 px around (32, 24) it shows up at (32 + 25, 24 + 12.5).
C2W = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]], dtype=F64)
POINT, UV = [5.0, 2.5, 2.0], (57.0, 36.5)
K = torch.tensor([[100, 0, 32], [0, 100, 24], [0, 0, 1]], dtype=F64)
# The same point with y up is (5, −2.5, −2), and with z up (Blender) (5, 2, −2.5).


def by_hand() -> Cameras:
    poses = torch.stack([torch.eye(4, dtype=F64), torch.linalg.inv(C2W)])
    return Cameras(poses, K.repeat(2, 1, 1), H, W)


def some_cameras(num: int = 7, off_center: bool = False, zooming: bool = False) -> Cameras:
    generator = torch.Generator().manual_seed(num)
    rotation = so3_exp(torch.randn(num, 3, generator=generator, dtype=F64))
    poses = se3(rotation, 3 * torch.randn(num, 3, generator=generator, dtype=F64))
    k = torch.tensor([[90.0, 0, 32], [0, 90, 24], [0, 0, 1]], dtype=F64).repeat(num, 1, 1)
    if off_center:
        k[:, 0, 2] += 3.5
        k[:, 1, 2] -= 2.0
        k[:, 1, 1] = 95.0
    if zooming:
        k[:, [0, 1], [0, 1]] *= torch.linspace(1, 1.4, num, dtype=F64)[:, None]
    return Cameras(poses, k, H, W)


def seen_points(cameras: Cameras, num: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """World points [n, k, 3] before each camera and where it sees them, [n, k, 2]."""
    generator = torch.Generator().manual_seed(3)
    ahead = torch.rand(num, 3, generator=generator, dtype=F64) * 2 - 1
    ahead[:, 2] += 4
    world = cameras.world_from_cam
    points = ahead @ world[:, :3, :3].transpose(1, 2) + world[:, None, :3, 3]
    uv_px = torch.stack([project(p, cameras[i : i + 1])[0][0] for i, p in enumerate(points)])
    return points, uv_px


def test_nuke_chan_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "shot.chan"
    write_cameras(by_hand(), path)
    rows = [[float(v) for v in line.split()] for line in path.read_text().splitlines()]
    fov = math.degrees(2 * math.atan(24 / 100))
    # A turn to the right about an axis that points up is negative.
    np.testing.assert_allclose(rows[0], [1, 0, 0, 0, 0, 0, 0, fov], atol=1e-9)
    np.testing.assert_allclose(rows[1], [2, 1, -2, -3, 0, -90, 0, fov], atol=1e-9)


def test_nuke_chan_in_the_formula_of_the_program(tmp_path: Path) -> None:
    """R = Ry·Rx·Rz on points with y up, the camera looking along −z."""
    cameras = some_cameras()
    write_cameras(cameras, tmp_path / "a.chan")
    points, uv_px = seen_points(cameras)
    for i, line in enumerate((tmp_path / "a.chan").read_text().splitlines()):
        _, *place, rx, ry, rz, fov = (float(v) for v in line.split())
        x, y, z = np.radians([rx, ry, rz])
        turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        y_up = points[i].numpy() * [1, -1, -1]
        local = (y_up - place) @ (turn_y @ turn_x @ turn_z)
        focal = H / 2 / np.tan(np.radians(fov) / 2)
        seen = np.array([W / 2, H / 2]) + focal * local[:, :2] * [1, -1] / -local[:, 2:]
        np.testing.assert_allclose(seen, uv_px[i].numpy(), atol=1e-6)


def test_nuke_chan_there_and_back(tmp_path: Path) -> None:
    cameras = some_cameras(zooming=True)
    path = tmp_path / "a.chan"
    write_cameras(cameras, path)
    assert detect_format(path) == "chan"
    again = read_cameras(path, num_frames=7, height=H, width=W).cameras_with(H, W)
    torch.testing.assert_close(again.cam_from_world, cameras.cam_from_world, atol=1e-8, rtol=0)
    torch.testing.assert_close(again.intrinsics, cameras.intrinsics, atol=1e-6, rtol=0)
    # Other programs begin at frame 1001, skip frames, and leave out the field of view.
    rows = [line.split()[:7] for line in path.read_text().splitlines()]
    for i, row in enumerate(rows):
        row[0] = str(1001 + 2 * i)
    path.write_text("# from elsewhere\n" + "\n".join(" ".join(row) for row in rows))
    file = read_cameras(path)
    assert file.intrinsics is None and file.frame_indices is not None
    assert file.frame_indices.tolist() == list(range(0, 14, 2))
    path.write_text("1 2 3\n")
    with pytest.raises(ValueError, match="7 or 8 numbers"):
        read_cameras(path)


def test_usd_as_usd_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Gf, Usd, UsdGeom

    cameras = some_cameras(off_center=True, zooming=True)
    frames = 10 + 2 * torch.arange(7)  # of a film of 25 a second
    write_cameras(
        cameras, tmp_path / "a.usda", metres_per_unit=0.5, times_s=frames / 25, frames=frames
    )
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 0.5
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (11, 23)
    assert stage.GetTimeCodesPerSecond() == pytest.approx(25)
    prim = UsdGeom.Camera(stage.GetDefaultPrim().GetChild("camera"))
    # 36 mm in tenths of units of half a metre.
    assert prim.GetHorizontalApertureAttr().Get() == pytest.approx(0.036 / 0.5 * 10)
    points, uv_px = seen_points(cameras)
    for i in range(7):
        frustum = prim.GetCamera(Usd.TimeCode(11 + 2 * i)).frustum
        to_screen = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
        for point, uv in zip(points[i].tolist(), uv_px[i].tolist()):
            x, y, _ = to_screen.Transform(Gf.Vec3d(point[0], -point[1], -point[2]))
            assert ((x + 1) / 2 * W, (1 - y) / 2 * H) == pytest.approx(uv, abs=1e-4)


def test_usd_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Gf, Usd, UsdGeom

    write_cameras(by_hand(), tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/recam/camera")).GetCamera(Usd.TimeCode(2))
    to_screen = camera.frustum.ComputeViewMatrix() * camera.frustum.ComputeProjectionMatrix()
    x, y, _ = to_screen.Transform(Gf.Vec3d(5, -2.5, -2))
    assert ((x + 1) / 2 * W, (1 - y) / 2 * H) == pytest.approx(UV, abs=1e-4)


@pytest.mark.parametrize("suffix", [".gltf", ".glb"])
def test_gltf_as_pygltflib_reads_it(suffix: str, tmp_path: Path) -> None:
    pygltflib = pytest.importorskip("pygltflib", reason="pygltflib is not installed")
    from scipy.spatial.transform import Rotation

    cameras = some_cameras()
    path = tmp_path / f"a{suffix}"
    write_cameras(cameras, path, metres_per_unit=2.0)
    content = pygltflib.GLTF2().load(str(path))
    lens = content.cameras[0].perspective
    assert lens.yfov == pytest.approx(2 * math.atan(H / 2 / 90))
    assert lens.aspectRatio == pytest.approx(W / H)
    blob = content.binary_blob() if suffix == ".glb" else None
    if blob is None:
        blob = content.get_data_from_buffer_uri(content.buffers[0].uri)

    def values(number: int) -> np.ndarray:
        accessor = content.accessors[number]
        view = content.bufferViews[accessor.bufferView]
        data = blob[view.byteOffset : view.byteOffset + view.byteLength]
        return np.frombuffer(data, np.float32).reshape(accessor.count, -1)

    animation = content.animations[0]
    by_path = {c.target.path: animation.samplers[c.sampler] for c in animation.channels}
    assert values(by_path["translation"].input).ravel() == pytest.approx(np.arange(7) / 24)
    place = values(by_path["translation"].output) / 2.0
    turn = values(by_path["rotation"].output)
    assert np.all((turn[1:] * turn[:-1]).sum(1) >= 0)  # the short way between neighbours
    points, uv_px = seen_points(cameras)
    for i, rotation in enumerate(Rotation.from_quat(turn).as_matrix()):
        local = (points[i].numpy() * [1, -1, -1] - place[i]) @ rotation
        seen = np.array([W / 2, H / 2]) + 90 * local[:, :2] * [1, -1] / -local[:, 2:]
        np.testing.assert_allclose(seen, uv_px[i].numpy(), atol=1e-3)


def test_gltf_as_trimesh_reads_it(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")

    write_cameras(by_hand()[1:], tmp_path / "a.glb")
    scene = trimesh.load(tmp_path / "a.glb", force="scene")
    pose, _ = scene.graph.get("camera")
    np.testing.assert_allclose(pose[:3, 3], [1, -2, -3], atol=1e-6)
    local = np.linalg.inv(pose) @ [5, -2.5, -2, 1]
    np.testing.assert_allclose(local[:3], [1, -0.5, -4], atol=1e-6)


class _Recorder(types.SimpleNamespace):
    """Stands for Blender's objects: keeps what is set, and each key's values."""

    def keyframe_insert(self, path: str, frame: int) -> None:
        self.__dict__.setdefault("keys", {})[path, frame] = getattr(self, path)


def _fake_bpy() -> tuple[types.ModuleType, _Recorder, _Recorder, _Recorder]:
    lens, camera = _Recorder(), _Recorder()
    scene = _Recorder(render=_Recorder(), frame_set=lambda frame: None)
    scene.collection = _Recorder(objects=_Recorder(link=lambda thing: None))
    bpy = types.ModuleType("bpy")
    bpy.context = _Recorder(scene=scene)  # type: ignore[attr-defined]
    bpy.data = _Recorder(  # type: ignore[attr-defined]
        cameras=_Recorder(new=lambda name: lens), objects=_Recorder(new=lambda name, data: camera)
    )
    return bpy, scene, lens, camera


def test_blender_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on a stand-in for Blender that keeps what is set; Blender's formula for the lens."""
    from scipy.spatial.transform import Rotation

    cameras = some_cameras(off_center=True, zooming=True)
    path = tmp_path / "camera.py"
    rate = 30000 / 1001
    write_cameras(cameras, path, times_s=torch.arange(7).double() / rate)
    bpy, scene, lens, camera = _fake_bpy()
    monkeypatch.setitem(sys.modules, "bpy", bpy)
    exec(compile(path.read_text(), str(path), "exec"), {})
    assert (scene.frame_start, scene.frame_end, scene.camera) == (1, 7, camera)
    assert scene.render.fps / scene.render.fps_base == pytest.approx(rate)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (W, H)
    points, uv_px = seen_points(cameras)
    aspect = scene.render.pixel_aspect_y / scene.render.pixel_aspect_x
    for i in range(7):
        w, x, y, z = camera.keys["rotation_quaternion", i + 1]
        turn = Rotation.from_quat([x, y, z, w]).as_matrix()
        z_up = points[i].numpy()[:, [0, 2, 1]] * [1, 1, -1]
        local = (z_up - camera.keys["location", i + 1]) @ turn
        # The picture's plane in widths of the sensor, moved by the shift.
        plane = lens.keys["lens", i + 1] / lens.sensor_width * local[:, :2] / -local[:, 2:]
        plane = plane - [lens.keys["shift_x", i + 1], lens.keys["shift_y", i + 1]]
        seen = np.array([W / 2, H / 2]) + W * plane * [1, -1 / aspect]
        np.testing.assert_allclose(seen, uv_px[i].numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["a.chan", "a.gltf"])
def test_what_a_format_cannot_say_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"centred principal point.*\.usda"):
        write_cameras(some_cameras(off_center=True), tmp_path / name)
    assert not list(tmp_path.iterdir())
    if name == "a.gltf":
        with pytest.raises(ValueError, match="cannot zoom"):
            write_cameras(some_cameras(zooming=True), tmp_path / name)


def test_a_name_that_says_no_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not say the format.*\.usda"):
        write_cameras(by_hand(), tmp_path / "cameras.xyz")
    with pytest.raises(ValueError, match="does not read"):
        read_cameras(tmp_path, "gltf")
    with pytest.raises(ValueError, match="cannot write cameras as 'metashape'; choose one"):
        write_cameras(by_hand(), tmp_path / "a.xml", "metashape")  # type: ignore[arg-type]
