"""Readers of other programs' cameras: axes, a real layout, a point by hand, and what is refused."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from input_cameras import (
    FLIP,
    H,
    K,
    N,
    W,
    assert_as_made,
    colmap_lines,
    quaternion,
    transforms,
    world_from_cam,
    write_claims,
    write_colmap,
    write_json,
)
from recam.camera_files import CameraFile, read_cameras
from recam.geometry import quaternion_from_rotation
from recam.types import RecamError, SourcePart

POSES = world_from_cam()
INPUTS = "inputs"


def seen(file: CameraFile, camera: int, point: tuple[float, float, float]) -> list[float]:
    """Pixel of a world point."""
    x = file.cam_from_world[camera] @ torch.tensor([*point, 1.0], dtype=torch.float64)
    u = file.intrinsics[camera] @ x[:3]
    return (u[:2] / u[2]).tolist()


# A point 2 ahead of camera 0, 0.4 to its right and 0.2 below: (32 + 60 · 0.2, 24 + 60 · 0.1).
POINT, PIXEL = (0.4, 0.2, 2.0), [44.0, 30.0]


def gaussians(folder: Path) -> Path:
    content = [
        {"id": i, "img_name": f"{i:05d}", "width": W, "height": H, "fx": 60.0, "fy": 60.0,
         "position": p[:3, 3].tolist(), "rotation": p[:3, :3].tolist()}
        for i, p in enumerate(POSES)
    ]  # fmt: skip
    return write_json(folder / "cameras.json", content)


def record3d(folder: Path) -> Path:
    """OpenGL's axes, as ARKit has them."""
    gl = POSES @ FLIP
    wxyz = quaternion_from_rotation(torch.from_numpy(gl[:, :3, :3])).numpy()
    poses = np.concatenate([wxyz[:, [1, 2, 3, 0]], gl[:, :3, 3]], 1)
    about = {"w": W, "h": H, "fps": 60, "K": K.T.ravel().tolist(), "poses": poses.tolist()}
    return write_json(folder / "metadata.json", about)


def r3d(folder: Path) -> Path:
    text = record3d(folder).read_text()
    (folder / "metadata.json").unlink()
    with zipfile.ZipFile(folder / "shot.r3d", "w") as archive:
        archive.writestr("rgbd/0.jpg", b"")
        archive.writestr("metadata", text)
    return folder / "shot.r3d"


def polycam(folder: Path) -> Path:
    for i, gl in enumerate(POSES @ FLIP):
        entry = {f"t_{r}{c}": gl[r, c] for r in range(3) for c in range(4)}
        lens = {"fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, "width": W, "height": H}
        write_json(folder / "keyframes" / "cameras" / f"{1000 + i}.json", {**entry, **lens})
    return folder


def arkit(folder: Path) -> Path:
    for i, gl in enumerate(POSES @ FLIP):
        pose = {"cameraPoseARFrame": gl.ravel().tolist(), "intrinsics": K.ravel().tolist()}
        write_json(folder / f"frame_{i:05d}.json", {**pose, "time": 0.1 * i})
    write_json(folder / "info.json", {"title": "a scan"})
    return folder


def dycheck(folder: Path) -> Path:
    for i, pose in enumerate(POSES):
        write_json(folder / "camera" / f"0_{i:05d}.json", {
            "focal_length": 60.0, "image_size": [W, H], "orientation": pose[:3, :3].T.tolist(),
            "position": pose[:3, 3].tolist(), "principal_point": [32.0, 24.0], "skew": 0.0,
            "pixel_aspect_ratio": 1.0, "radial_distortion": [0, 0, 0],
            "tangential_distortion": [0, 0],
        })  # fmt: skip
    write_json(folder / "scene.json", {"scale": 1, "center": [0, 0, 0], "near": 0.1, "far": 1})
    return folder


def depth_anything_3(folder: Path) -> Path:
    w2c = np.linalg.inv(POSES)[:, :3]
    np.savez(
        folder / "results.npz", extrinsics=w2c, intrinsics=np.tile(K, (N, 1, 1)),
        depth=np.ones((N, H, W), np.float32), conf=np.ones((N, 2, 2)),
    )  # fmt: skip
    return folder / "results.npz"


def kitti(folder: Path) -> Path:
    folder = folder / "poses"
    folder.mkdir(exist_ok=True)
    np.savetxt(folder / "00.txt", POSES[:, :3].reshape(N, 12))
    p0 = " ".join(map(str, np.c_[K, np.zeros(3)].ravel()))
    calibration = folder.parent / "sequences" / "00" / "calib.txt"
    calibration.parent.mkdir(parents=True, exist_ok=True)
    calibration.write_text(f"P0: {p0}\nP1: {p0}\n")
    return folder / "00.txt"


def euroc(folder: Path) -> Path:
    """Poses of a body in which the camera sits turned and to the side."""
    body_from_cam = np.array([[0, -1, 0, 0.02], [1, 0, 0, -0.05], [0, 0, 1, 0.01], [0, 0, 0, 1.0]])
    body = POSES @ np.linalg.inv(body_from_cam)
    q = quaternion_from_rotation(torch.from_numpy(body[:, :3, :3])).numpy()
    lines = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x []"]
    for i in range(N):
        row = [*body[i, :3, 3], *q[i], 0.0, 0.0, 0.0]
        lines.append(
            f"{1403715524907143168 + i * 50_000_000}," + ",".join(map(repr, map(float, row)))
        )
    place = folder / "mav0" / "state_groundtruth_estimate0"
    place.mkdir(parents=True)
    (place / "data.csv").write_text("\r\n".join(lines))
    sensor = folder / "mav0" / "cam0" / "sensor.yaml"
    sensor.parent.mkdir()
    numbers = ", ".join(map(str, body_from_cam.ravel()))
    sensor.write_text(f"sensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{numbers}]\n")
    return place / "data.csv"


def metashape_xml(calibrations: str, cameras: str, more: str = "") -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<document version="2.0.0"><chunk label="Chunk 1" enabled="true"><sensors next_id="1">
<sensor id="0" label="phone" type="frame"><resolution width="{W}" height="{H}"/>
<property name="pixel_width" value="0.01"/><property name="focal_length" value="0.6"/>
{calibrations}</sensor></sensors><cameras next_id="6" next_group_id="1">{cameras}</cameras>{more}
</chunk></document>"""


def metashape_cameras(poses: np.ndarray) -> str:
    return "".join(
        f'<camera id="{i}" sensor_id="0" label="{i:03d}"><transform>'
        f"{' '.join(map(repr, map(float, p.ravel())))}</transform></camera>"
        for i, p in enumerate(poses)
    )


INITIAL = '<calibration type="frame" class="initial"><f>99</f><cx>3</cx><cy>3</cy></calibration>'
ADJUSTED = (
    f'<calibration type="frame" class="adjusted"><resolution width="{W}" height="{H}"/><f>60</f>'
    "<cx>0</cx><cy>0</cy></calibration>"
)


def metashape(folder: Path) -> Path:
    """Some in a group, one not aligned, one switched off; the adjusted calibration counts."""
    lines = metashape_cameras(POSES)
    group, rest = lines[: len(lines) // 2], lines
    split = lines.index('<camera id="3"')
    group, rest = lines[:split], lines[split:]
    odd = '<camera id="7" sensor_id="0" label="not aligned"/>'
    odd += metashape_cameras(POSES[:1]).replace('id="0" sensor', 'id="8" enabled="0" sensor')
    cameras = f'<group id="0" label="left" type="folder">{group}</group>{rest}{odd}'
    (folder / "cameras.xml").write_text(metashape_xml(INITIAL + ADJUSTED, cameras))
    return folder / "cameras.xml"


def reality_csv(folder: Path) -> Path:
    """A z-up world; with all angles zero a camera looks straight down."""
    world = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # OpenCV's y down to z up
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for i in range(N):
        x, y, z = world @ POSES[i, :3, 3]
        # Looking along +y of its world, so 90° up from straight down; headings count clockwise.
        lines.append(f"{i:03d}.jpg,{x},{y},{z},{2 * i},90,0,{60 * 36 / W},0,0,0,0,0,0,0,0")
    (folder / "cameras.csv").write_text("\n".join(lines))
    return folder / "cameras.csv"


def reality_xmp(folder: Path) -> Path:
    for i, pose in enumerate(POSES):
        rotation = " ".join(map(str, pose[:3, :3].T.ravel()))
        (folder / f"{i:03d}.xmp").write_text(
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
            'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
            'xcr:Version="3" xcr:DistortionModel="brown3" '
            f'xcr:FocalLength35mm="{60 * 36 / W}" xcr:PrincipalPointU="0" xcr:PrincipalPointV="0" '
            'xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">'
            f"<xcr:Rotation>{rotation}</xcr:Rotation>"
            f"<xcr:Position>{' '.join(map(str, pose[:3, 3]))}</xcr:Position>"
            "<xcr:DistortionCoeficients>0 0 0 0 0 0</xcr:DistortionCoeficients>"
            "</rdf:Description></rdf:RDF></x:xmpmeta>"
        )
    return folder


def ns_export(folder: Path) -> Path:
    """The viewer's world: axes turned to (z, x, y), shifted, an eighth of the size."""
    turn = np.array([[0.0, 0, 1, 0.3], [1, 0, 0, -0.1], [0, 1, 0, -0.09], [0, 0, 0, 1]])
    viewed = turn @ POSES @ FLIP
    viewed[:, :3, 3] *= 0.125
    write_json(
        folder / "dataparser_transforms.json", {"transform": turn[:3].tolist(), "scale": 0.125}
    )
    names = [f"images/frame_{i + 1:05d}.png" for i in range(N)]
    write_json(folder / "transforms.json", transforms(names))
    content = [{"file_path": n, "transform": v[:3].tolist()} for n, v in zip(names, viewed)]
    return write_json(folder / "cameras_train.json", content)


FORMATS = {
    "3dgs": gaussians, "record3d": record3d, "r3d": r3d, "polycam": polycam, "arkit": arkit,
    "dycheck": dycheck, "depth-anything-3": depth_anything_3, "kitti": kitti, "euroc": euroc,
    "metashape": metashape, "realitycapture-xmp": reality_xmp, "ns-export": ns_export,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_the_same_cameras(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path)
    file = read_cameras(path, num_frames=N, height=H, width=W)
    assert file.format == {"r3d": "record3d"}.get(name, name)
    assert_as_made(file, atol=1e-6)
    if file.intrinsics is not None:
        assert seen(file, 0, POINT) == pytest.approx(PIXEL)
    larger = read_cameras(path, num_frames=N, height=2 * H, width=2 * W)
    if larger.intrinsics is not None:
        assert seen(larger, 0, POINT) == pytest.approx([2 * v for v in PIXEL])
    metric = {"record3d", "polycam", "arkit", "kitti", "euroc"}
    assert file.metric == (file.format in metric)


@pytest.mark.parametrize("name", ["3dgs", "polycam", "arkit", "dycheck", "metashape"])
def test_formats_with_names_take_part_of_them(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path)
    written = {
        "3dgs": "{:05d}", "polycam": "10{:02d}", "arkit": "frame_{:05d}", "dycheck": "0_{:05d}",
        "metashape": "{:03d}",
    }[name]  # fmt: skip
    pictures = tuple(f"{written.format(i)}.jpg" for i in range(N))
    part = SourcePart("/x/images", pictures, torch.tensor([4, 2]), N)
    file = read_cameras(path, num_frames=2, height=H, width=W, part=part)
    assert_as_made(file, [4, 2])


def test_reality_csv_axes(tmp_path: Path) -> None:
    """x right, y ahead, z up; heading 0 and pitch 90 look along +y, heading 90 along +x."""
    path = reality_csv(tmp_path)
    file = read_cameras(path, num_frames=N, height=H, width=W)
    assert file.format == "realitycapture"
    assert seen(file, 0, (0.4, 2.0, -0.2)) == pytest.approx(PIXEL)
    poses = np.linalg.inv(file.cam_from_world.numpy())
    world = np.eye(4)
    world[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    np.testing.assert_allclose(poses, world @ POSES, atol=1e-9)
    header = "#name,x,y,alt,heading,pitch,roll,f,px,py\n"
    path.write_text(header + "a.jpg,0,0,0,90,90,0,36,0,0\nb.jpg,0,0,0,0,0,0,36,0,0\n")
    file = read_cameras(path, height=H, width=W)
    forward = np.linalg.inv(file.cam_from_world.numpy())[:, :3, 2]
    np.testing.assert_allclose(forward, [[1, 0, 0], [0, 0, -1]], atol=1e-12)
    assert read_cameras(path).intrinsics is None


def test_metashape_lenses(tmp_path: Path) -> None:
    path = tmp_path / "c.xml"
    lens = "<cx>1</cx><cy>-2</cy><b1>3</b1><k1>-0.1</k1><p1>0.01</p1><p2>0.02</p2>"
    bent = ADJUSTED.replace("<cx>0</cx><cy>0</cy>", lens)
    path.write_text(metashape_xml(bent, metashape_cameras(POSES)))
    file = read_cameras(path)
    assert file.intrinsics[0].tolist() == [[63, 0, 33], [0, 60, 22], [0, 0, 1]]
    assert file.distortion.tolist() == [-0.1, 0, 0.02, 0.01, 0]  # p1 and p2 change places
    path.write_text(metashape_xml("", metashape_cameras(POSES)))
    assert_as_made(read_cameras(path))  # 0.6 mm over 0.01 mm a pixel
    without = metashape_xml("", metashape_cameras(POSES)).replace("focal_length", "else")
    path.write_text(without)
    file = read_cameras(path)
    assert file.intrinsics is None and any("give --fov" in note for note in file.notes)
    scaled = "<transform><rotation>1 0 0 0 1 0 0 0 1</rotation><scale>10</scale></transform>"
    path.write_text(metashape_xml(ADJUSTED, metashape_cameras(POSES), scaled))
    file = read_cameras(path)
    assert file.metric
    center = np.linalg.inv(file.cam_from_world.numpy())[1, :3, 3]
    np.testing.assert_allclose(center, [1, 0.2, 0.5])
    fish = metashape_xml(ADJUSTED, metashape_cameras(POSES)).replace(
        'type="frame">', 'type="fisheye">'
    )
    path.write_text(fish)
    assert read_cameras(path).lens == "fisheye"
    ball = metashape_xml("", metashape_cameras(POSES)).replace('type="frame">', 'type="spherical">')
    path.write_text(ball)
    assert read_cameras(path).lens == "equirectangular"


def test_metashape_rig(tmp_path: Path) -> None:
    """A second camera without a transform is where its sensor sits on the master."""
    second = (
        f'<sensor id="1" label="right" type="frame" master_id="0"><resolution width="{W}" '
        f'height="{H}"/>{ADJUSTED}<rotation>1 0 0 0 1 0 0 0 1</rotation>'
        "<location>0.1 0 0</location></sensor>"
    )
    slave = '<camera id="9" sensor_id="1" label="right/000" master_id="0"/>'
    masters = metashape_cameras(POSES[:1]).replace('label="000"', 'label="left/000"')
    text = metashape_xml(ADJUSTED, masters + slave).replace("</sensors>", second + "</sensors>")
    (tmp_path / "c.xml").write_text(text)
    file = read_cameras(tmp_path / "c.xml", file=["right/000.png"])
    np.testing.assert_allclose(np.linalg.inv(file.cam_from_world[0].numpy())[:3, 3], [0.1, 0, 0])


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.xml").write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>')
    with pytest.raises(ValueError, match=r"c\.xml: XML with a document type"):
        read_cameras(tmp_path / "c.xml")


# --- normalised worlds -------------------------------------------------------------------------


def test_viewer_path_is_taken_back_to_the_captures_world(tmp_path: Path) -> None:
    ns_export(tmp_path)
    exported = json.loads((tmp_path / "cameras_train.json").read_text())
    fov = float(np.rad2deg(2 * np.arctan(24 / 60)))
    path = [
        {"camera_to_world": [*np.ravel(e["transform"]), 0, 0, 0, 1], "fov": fov, "aspect": W / H}
        for e in exported
    ]  # fmt: skip
    content = {
        "camera_type": "perspective",
        "render_height": H,
        "render_width": W,
        "camera_path": path,
    }
    file = read_cameras(write_json(tmp_path / "camera_path.json", content))
    assert_as_made(file)
    (tmp_path / "dataparser_transforms.json").unlink()
    file = read_cameras(tmp_path / "camera_path.json")
    assert any("own turned and scaled world" in note for note in file.notes)
    file = read_cameras(tmp_path / "cameras_train.json")
    assert any("own turned and scaled world" in note for note in file.notes)


def test_what_ns_process_data_applied_stays(tmp_path: Path) -> None:
    """transforms.json lies in a world that was turned before; the viewer's file undoes that too."""
    ns_export(tmp_path)
    turn = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    content = json.loads((tmp_path / "transforms.json").read_text())
    content["applied_transform"] = turn[:3].tolist()
    write_json(tmp_path / "transforms.json", content)
    file = read_cameras(tmp_path / "cameras_train.json")
    np.testing.assert_allclose(np.linalg.inv(file.cam_from_world.numpy()), turn @ POSES, atol=1e-9)
    assert any("into the world of transforms.json" in note for note in file.notes)


def ngp_path(tmp_path: Path, scale: float, offset: np.ndarray) -> Path:
    """What instant-ngp would save of the cameras: each in its cube, as its reader puts it there."""
    keys = []
    for pose in POSES:
        opengl = pose @ np.diag([1.0, -1, -1, 1])
        columns = opengl[:3] * np.array([1.0, -1, -1, scale])  # its camera axes are OpenCV's
        columns[:, 3] += offset
        cube = columns[[1, 2, 0]]  # xyz <- yzx
        w, *xyz = quaternion_from_rotation(torch.from_numpy(cube[:, :3].copy())).tolist()
        key = {"R": [*xyz, w], "T": cube[:, 3].tolist(), "slice": 0.0, "scale": 1.5, "fov": 43.6}
        keys.append({**key, "aperture_size": 0.0, "timestamp": 0.0})
    return write_json(tmp_path / "base_cam.json", {"path": keys})


@pytest.mark.parametrize(
    "about, scale, offset",
    [({}, 0.33, [0.5] * 3), ({"scale": 0.2, "offset": [0.1, 0.4, 0.7]}, 0.2, [0.1, 0.4, 0.7])],
)
def test_instant_ngp_by_the_capture_beside_it(
    tmp_path: Path, about: dict, scale: float, offset: list
) -> None:
    path = ngp_path(tmp_path, scale, np.array(offset))
    write_json(tmp_path / "transforms.json", {**about, "frames": [], "aabb_scale": 4})
    file = read_cameras(path, height=48, width=64)
    np.testing.assert_allclose(np.linalg.inv(file.cam_from_world.numpy()), POSES, atol=1e-6)
    assert file.format == "instant-ngp" and "unit cube undone" in file.notes[0]
    assert float(file.intrinsics[0, 1, 1]) == pytest.approx(60, rel=1e-3)  # fov is vertical


def test_instant_ngp_alone_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = ngp_path(tmp_path, 0.33, np.full(3, 0.5))
    with pytest.raises(ValueError, match=r"instant-ngp.*unit cube; put the transforms\.json"):
        read_cameras(path)
    write_json(tmp_path / "transforms.json", {"frames": [], "from_mitsuba": True})
    with pytest.raises(ValueError, match="from_mitsuba in a way of its own"):
        read_cameras(path)


# --- COLMAP as COLMAP reads it -----------------------------------------------------------------


@pytest.mark.parametrize("between", ["\n", "\n\n", "\n\n# a comment\n\n", "1.5 2 -1 3 4 7\n\n"])
@pytest.mark.parametrize("head", ["", "# Image list with two lines of data per image\n\n"])
def test_empty_lines_and_comments(tmp_path: Path, between: str, head: str) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    model = write_colmap(tmp_path, head + colmap_lines(names, between=between))
    assert_as_made(read_cameras(model, num_frames=N))


def with_own_lenses(model: Path) -> Path:
    """Every picture a camera of its own, of which the odd ones bend."""
    lines = [f"{i + 1} OPENCV {W} {H} 60 60 32 24 {-0.1 * (i % 2)} 0 0 0\n" for i in range(N)]
    (model / "cameras.txt").write_text("".join(lines))
    text = (model / "images.txt").read_text()
    (model / "images.txt").write_text(re.sub(r" 1 (\d+)\.png", own_camera, text))
    return model


def own_camera(match: re.Match[str]) -> str:
    return f" {int(match[1]) + 1} {match[1]}.png"


def test_pictures_with_lenses_of_their_own(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    wanted = [[-0.1 * (i % 2), 0, 0, 0, 0] for i in range(N)]
    model = with_own_lenses(write_colmap(tmp_path / "colmap", colmap_lines(names)))
    content = transforms(names)
    for i, frame in enumerate(content["frames"]):
        frame["k1"] = -0.1 * (i % 2)
    for path in (model, write_json(tmp_path / "transforms.json", content)):
        file = read_cameras(path, num_frames=N)
        assert_as_made(file)
        np.testing.assert_allclose(file.distortion.numpy(), wanted)
        some = file.at_frames(torch.tensor([1, 4]))
        np.testing.assert_allclose(some.distortion.numpy(), [wanted[1], wanted[4]])


def test_images_without_their_second_lines_are_told(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    model = write_colmap(tmp_path, colmap_lines(names, between=""))
    with pytest.raises(ValueError, match=r"the line after image 000\.png lists no points"):
        read_cameras(model)


@pytest.mark.parametrize("kind", ["txt", "bin"])
def test_rigs_say_where_cameras_are(tmp_path: Path, kind: str) -> None:
    """Written by pycolmap; then the poses in images, which are of older models, are spoilt."""
    model = pycolmap.Reconstruction()
    for camera_id in (1, 2):
        model.add_camera(
            pycolmap.Camera(
                model="PINHOLE", width=W, height=H, params=[60, 60, 32, 24], camera_id=camera_id
            )
        )
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(pycolmap.sensor_t(pycolmap.SensorType.CAMERA, 1))
    offset = pycolmap.Rigid3d(pycolmap.Rotation3d(), np.array([-0.1, 0, 0]))
    rig.add_sensor(pycolmap.sensor_t(pycolmap.SensorType.CAMERA, 2), offset)
    model.add_rig(rig)
    w2c = np.linalg.inv(POSES)
    for i in range(N):
        frame = pycolmap.Frame(frame_id=i + 1, rig_id=1)
        frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(w2c[i, :3, :3]), w2c[i, :3, 3])
        for camera_id in (1, 2):
            image_id = 2 * i + camera_id
            sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera_id)
            frame.add_data_id(pycolmap.data_t(sensor, image_id))
        model.add_frame(frame)
        for camera_id, side in ((1, "left"), (2, "right")):
            model.add_image(pycolmap.Image(
                name=f"{side}/{i:03d}.png", camera_id=camera_id, image_id=2 * i + camera_id,
                frame_id=i + 1,
            ))  # fmt: skip
        model.register_frame(i + 1)
    (model.write_text if kind == "txt" else model.write_binary)(str(tmp_path))
    pictures = tuple(f"{i:03d}.png" for i in range(N))
    for side, at in (("left", 0.0), ("right", 0.1)):
        part = SourcePart(f"/x/{side}", pictures, None, N)
        file = read_cameras(tmp_path, num_frames=N, part=part)
        local = POSES[:, :3, :3] @ np.array([at, 0, 0]) + POSES[:, :3, 3]
        np.testing.assert_allclose(
            np.linalg.inv(file.cam_from_world.numpy())[:, :3, 3], local, atol=1e-9
        )
    if kind == "txt":
        text = (tmp_path / "images.txt").read_text().replace("-0.1 ", "-0.13 ")
        (tmp_path / "images.txt").write_text(text)
        stale = read_cameras(tmp_path, num_frames=N, part=SourcePart("/x/right", pictures, None, N))
        center = np.linalg.inv(stale.cam_from_world.numpy())[:, :3, 3]
        np.testing.assert_allclose(center, local, atol=1e-9)


def test_fisheye_of_colmap_and_nerfstudio(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    model = write_colmap(tmp_path / "m", colmap_lines(names))
    (model / "cameras.txt").write_text("1 OPENCV_FISHEYE 64 48 60 60 32 24 0.1 0.2 0.3 0.4\n")
    for file in (
        read_cameras(model, num_frames=N),
        read_cameras(write_json(tmp_path / "t.json", transforms(
            names, camera_model="OPENCV_FISHEYE", k1=0.1, k2=0.2, k3=0.3, k4=0.4))),
    ):  # fmt: skip
        assert file.lens == "fisheye" and file.distortion[:4].tolist() == [0.1, 0.2, 0.3, 0.4]
        assert_as_made(file)
    sphere = transforms(names, camera_model="EQUIRECTANGULAR")
    assert read_cameras(write_json(tmp_path / "s.json", sphere)).lens == "equirectangular"


# --- text as other systems write it ------------------------------------------------------------


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [" ", ", ", ",", ";", "\t", " decimal", "; decimal"])
def test_tum_in_every_hand(tmp_path: Path, encoding: str, separator: str) -> None:
    q = quaternion(POSES[:, :3, :3])
    rows = []
    for i in range(N):
        row = [f"{v:.9f}" for v in (i / 10, *POSES[i, :3, 3], *q[i, [1, 2, 3, 0]])]
        if "decimal" in separator:
            row = [v.replace(".", ",") for v in row]
        rows.append(separator.replace(" decimal", "" if ";" in separator else " ").join(row))
    (tmp_path / "t.txt").write_bytes("\r\n".join(["# a trajectory", *rows, ""]).encode(encoding))
    assert_as_made(read_cameras(tmp_path / "t.txt", num_frames=N), atol=1e-7)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_and_models_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    (tmp_path / "t.json").write_bytes(json.dumps(transforms(names)).encode(encoding))
    assert_as_made(read_cameras(tmp_path / "t.json"))
    model = write_colmap(tmp_path / "m", "")
    text = colmap_lines(names).replace("\n", "\r\n")
    (model / "images.txt").write_bytes(text.encode(encoding))
    assert_as_made(read_cameras(model))


# --- damage: one clear line --------------------------------------------------------------------


def every_change(content, path=()):
    """(where, parent, key) of each value in nested JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield (*path, key), content, key
        if isinstance(value, dict | list):
            yield from every_change(value, (*path, key))


BAD = [None, "x", [], {}, -1, 0, True, float("nan"), 1e308, 10**400, [[]], "²"]


@pytest.mark.parametrize(
    "name", ["recam", "nerfstudio", "3dgs", "ns-export", "record3d", "polycam", "dycheck", "arkit"]
)
def test_mutated_json_is_one_clear_line(tmp_path: Path, name: str) -> None:
    """Each value of a small file made bad in each way: read, or one line that names the file."""
    if name == "recam":
        frames = [{"frame": i, "w": W, "h": H, "K": K.tolist(), "w2c": p.tolist(), "dist": [0.1],
                   "time_s": 0.1 * i} for i, p in enumerate(np.linalg.inv(POSES))]  # fmt: skip
        path = file = write_json(
            tmp_path / "cameras.json", {"units": "metres", "frames": frames[:2]}
        )
    elif name == "nerfstudio":
        path = file = write_json(
            tmp_path / "transforms.json", transforms(["0.png", "1.png"], k1=0.1)
        )
    else:
        path = file = FORMATS[name](tmp_path)
        if path.is_dir():
            file = sorted(path.rglob("*00.json"))[0]
    text = file.read_text()
    original = json.loads(text)
    if isinstance(original, list):
        original = original[:2]
    if isinstance(original, dict) and "poses" in original:
        original["poses"] = original["poses"][:2]
    count = 0
    for where, _, _ in every_change(original):
        for bad in BAD[count % 3 :: 3]:
            changed = json.loads(json.dumps(original))
            parent = changed
            for key in where[:-1]:
                parent = parent[key]
            parent[where[-1]] = bad
            file.write_text(json.dumps(changed))
            count += 1
            try:
                read_cameras(path, height=H, width=W)
            except ValueError as error:
                assert str(tmp_path) in str(error) or "size" in str(error), (where, bad, str(error))
                assert "\n" not in str(error)
    assert count > 30


TOKENS = [b"nan", b"inf", b"-1", b"0", b"1e308", b"", b"9" * 21, b"{", b"\0", b"\xff\xfe", b"null"]


@pytest.mark.parametrize("name", [*FORMATS, "realitycapture", "colmap"])
def test_mutated_bytes_are_one_clear_line(tmp_path: Path, name: str) -> None:
    """Bytes changed, cut out and put in; numbers made something else: read, or one line."""
    makers = {**FORMATS, "realitycapture": reality_csv}
    if name == "colmap":
        path = write_colmap(tmp_path, colmap_lines([f"{i}.png" for i in range(N)]))
    else:
        path = makers[name](tmp_path)
    rng = np.random.default_rng(0)
    files = sorted(f for f in tmp_path.rglob("*") if f.is_file() and f.stat().st_size)
    for _ in range(12):
        file = files[rng.integers(len(files))]
        original = file.read_bytes()
        data, at = bytearray(original), int(rng.integers(len(original)))
        token = TOKENS[rng.integers(len(TOKENS))]
        match rng.integers(4):
            case 0:
                data[at] = rng.integers(256)
            case 1:
                del data[at : at + 20]
            case 2:
                data[at:at] = token
            case _:
                numbers = list(re.finditer(rb"-?[0-9][0-9.e+-]*", original))
                if numbers:
                    where = numbers[rng.integers(len(numbers))]
                    data[where.start() : where.end()] = token
        file.write_bytes(bytes(data))
        try:
            found = read_cameras(path, num_frames=N, height=H, width=W)
            assert bool(torch.isfinite(found.cam_from_world).all())
        except (ValueError, RecamError) as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error), str(error)
        file.write_bytes(original)


def test_arrays_are_bounded_by_their_headers(tmp_path: Path) -> None:
    write_claims(tmp_path / "bomb.npz", {"cam_c2w": (8_000_000, 4, 4)}, intrinsic=np.eye(3))
    with pytest.raises(ValueError, match=r"bomb\.npz: cam_c2w says that it has the shape.*512 MB"):
        read_cameras(tmp_path / "bomb.npz")
    huge = {"unasked": (50_000, 50_000)}
    write_claims(tmp_path / "other.npz", huge, cam_c2w=POSES, intrinsic=K)
    assert len(read_cameras(tmp_path / "other.npz")) == N
    for field in (b"cam_c2w", b"intrinsic"):
        data = bytearray((tmp_path / "other.npz").read_bytes())
        at = data.index(field) + 60
        data[at : at + 20] = bytes(20)
        (tmp_path / "broken.npz").write_bytes(bytes(data))
        with pytest.raises(ValueError, match=r"broken\.npz"):
            read_cameras(tmp_path / "broken.npz", "megasam")
