"""Camera files as data sets and programs lay them out: clocks, sensors, groups, code pages."""

from __future__ import annotations

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
    transforms,
    world_from_cam,
    write_colmap,
    write_json,
)
from recam.camera_files import CameraFile, read_cameras
from recam.camera_files.undistort import fisheye_map, sphere_map
from recam.geometry import intrinsics_from_fov, pixel_centers, quaternion_from_rotation
from recam.types import SourcePart

POSES = world_from_cam()
STEP_NS = 50_000_000
START_NS = 1_403_636_579_763_555_584


def read(path: Path, source: SourcePart, times_s: torch.Tensor | None = None) -> CameraFile:
    return read_cameras(
        path, num_frames=N, height=H, width=W, part=source, times_s=times_s
    )  # fmt: skip


def pictures(name: str, names: list[str]) -> SourcePart:
    return SourcePart(name, tuple(names), None, len(names))


FILM = SourcePart("film.mp4", None, None, N)
FILM_TIMES_S = torch.arange(N, dtype=torch.float64) / 24


def poses_at(steps: np.ndarray) -> np.ndarray:
    """The way of the six cameras at any moments [k] between, [k, 4, 4]."""
    poses, angle = np.tile(np.eye(4), (len(steps), 1, 1)), np.deg2rad(2 * steps)
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    poses[:, :3, 3] = steps[:, None] * np.array([0.1, 0.02, 0.05])
    return poses


def wxyz(poses: np.ndarray) -> np.ndarray:
    return quaternion_from_rotation(torch.from_numpy(poses[:, :3, :3])).numpy()


def tum(path: Path, stamps: np.ndarray, poses: np.ndarray) -> Path:
    rows = np.concatenate([poses[:, :3, 3], wxyz(poses)[:, [1, 2, 3, 0]]], 1)
    lines = [f"{t:.6f} " + " ".join(map(str, row)) for t, row in zip(stamps, rows)]
    path.write_text("# ground truth trajectory\n# timestamp tx ty …\n" + "\n".join(lines) + "\n")
    return path


def worst(file: CameraFile) -> float:
    assert file.cam_from_world is not None
    return float(np.abs(np.linalg.inv(file.cam_from_world.numpy()) - POSES).max())


def test_tum_belongs_to_pictures_by_their_times(tmp_path: Path) -> None:
    """A capture of motion runs faster than the camera, on the clock that pictures are named by."""
    start, rate = 1305031102.175304, 1 / 30
    steps = np.linspace(-0.3, 5.4, 60)
    tum(tmp_path / "groundtruth.txt", start + steps * rate, poses_at(steps))
    source = pictures("rgb", [f"{start + i * rate:.6f}.png" for i in range(N)])
    file = read(tmp_path, source)
    assert worst(file) < 1e-4 and "60 cameras of the file matched to 6 frames" in file.notes[-1]
    late = pictures("rgb", [f"{start + (i + 3) * rate:.6f}.png" for i in range(N)])
    with pytest.raises(ValueError, match="use fewer frames \\(--start 0 --num-frames 3\\)"):
        read(tmp_path, late)


@pytest.mark.parametrize("stamp", [1.0, 1 / 24])
def test_key_frames_of_a_film_by_number_or_time(tmp_path: Path, stamp: float) -> None:
    keys = np.array([0, 2, 5])
    file = read(tum(tmp_path / "keys.txt", keys * stamp, POSES[keys]), FILM, FILM_TIMES_S)
    assert worst(file) < 1e-6


def euroc(folder: Path) -> Path:
    """mav0 with two cameras that are mounted turned, and ground truth at twenty times the rate."""
    for i in range(2):
        mount = mounted(i)
        rows = ",\n         ".join(", ".join(map(str, row)) for row in mount)
        (folder / f"cam{i}").mkdir(parents=True)
        (folder / f"cam{i}" / "sensor.yaml").write_text(
            f"sensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{rows}]\nrate_hz: 20\n"
            "resolution: [64, 48]\nintrinsics: [60.0, 60.0, 32.0, 24.0] #fu, fv, cu, cv\n"
            "distortion_model: radial-tangential\n"
            "distortion_coefficients: [-0.28, 0.07, 0.0002, 1.8e-05]\n"
        )
    steps = np.linspace(-0.5, 5.5, 121)
    body = poses_at(steps) @ np.linalg.inv(mounted(1))
    rows = np.concatenate([body[:, :3, 3], wxyz(body), np.zeros((len(body), 3))], 1)
    stamps = [START_NS + round(step * STEP_NS) for step in steps]
    lines = [f"{stamp}," + ",".join(map(str, row)) for stamp, row in zip(stamps, rows)]
    truth = folder / "state_groundtruth_estimate0"
    truth.mkdir()
    (truth / "data.csv").write_text("#timestamp, p_RS_R_x [m], …\n" + "\n".join(lines) + "\n")
    return folder


def mounted(camera: int) -> np.ndarray:
    return np.array([[0, -1, 0, 0.1 + camera], [1, 0, 0, 0.2], [0, 0, 1, 0.3], [0, 0, 0, 1.0]])


def test_euroc_by_times_camera_and_lens(tmp_path: Path) -> None:
    euroc(tmp_path / "mav0")
    names = [f"{START_NS + i * STEP_NS}.png" for i in range(N)]
    file = read(tmp_path, pictures("mav0/cam1/data", names))
    assert worst(file) < 1e-6
    np.testing.assert_allclose(file.intrinsics, np.tile(K, (N, 1, 1)))
    assert file.distortion.tolist() == [-0.28, 0.07, 0.0002, 1.8e-05, 0.0]
    # The other camera, a metre to the left along the body's x: 1 along its own −y.
    left = read(tmp_path, pictures("mav0/cam0/data", names))
    off = left.cam_from_world @ torch.linalg.inv(file.cam_from_world)
    assert off[0, :3, 3].tolist() == pytest.approx([0.0, -1.0, 0.0], abs=1e-9)


def test_matrices_in_lines(tmp_path: Path) -> None:
    lines = "\n".join(" ".join(map(str, p.ravel())) for p in POSES)
    (tmp_path / "camera_poses.txt").write_text(lines)
    (tmp_path / "intrinsic.txt").write_text("60 60 32 24\n" * N)
    assert_as_made(read(tmp_path, FILM))


def test_record3d_focuses(tmp_path: Path) -> None:
    gl = POSES @ FLIP
    poses = np.concatenate([wxyz(gl)[:, [1, 2, 3, 0]], gl[:, :3, 3]], 1)
    about = {
        "w": W, "h": H, "K": K.T.ravel().tolist(), "poses": poses.tolist(),
        "perFrameIntrinsicCoeffs": [[60.0 + i, 61.0 + i, 32, 24] for i in range(N)],
    }  # fmt: skip
    file = read(write_json(tmp_path / "metadata.json", about), FILM)
    assert file.intrinsics[3].diagonal().tolist() == [63.0, 64.0, 1.0] and worst(file) < 1e-9
    about["perFrameIntrinsicCoeffs"] = [[60.0 + i, 0, 0, 0, 61, 0, 32, 24, 1] for i in range(N)]
    file = read(write_json(tmp_path / "metadata.json", about), FILM)
    assert file.intrinsics[3].tolist() == [[63, 0, 32], [0, 61, 24], [0, 0, 1]]


LENSES = {
    "SIMPLE_RADIAL_FISHEYE": [30.0, 32, 24, 0.01],
    "RADIAL_FISHEYE": [30.0, 32, 24, 0.01, 0.002],
    "SIMPLE_FISHEYE": [30.0, 32, 24],
    "FISHEYE": [30.0, 31, 32, 24],
    "EQUIRECTANGULAR": [W, H],
}


@pytest.mark.parametrize("model", LENSES)
def test_lenses_as_colmap_itself_bends_them(tmp_path: Path, model: str) -> None:
    try:
        camera = pycolmap.Camera(
            model=model, width=W, height=H, params=LENSES[model], camera_id=1
        )  # fmt: skip
    except (ValueError, AttributeError, KeyError):
        pytest.skip(f"this pycolmap has no {model}")
    model_of = pycolmap.Reconstruction()
    model_of.add_camera_with_trivial_rig(camera)
    for i in range(N):
        image = pycolmap.Image(name=f"{i}.png", camera_id=1, image_id=i + 1)
        pose = pycolmap.Rigid3d(np.linalg.inv(POSES[i])[:3])
        model_of.add_image_with_trivial_frame(image, pose)
    model_of.write(tmp_path)
    file = read(tmp_path, FILM)
    assert worst(file) < 1e-9
    target = intrinsics_from_fov(80.0, H, W).to(torch.float64)
    rays = (torch.cat([pixel_centers(H, W).double(), torch.ones(H, W, 1).double()], -1)
            @ torch.linalg.inv(target).T).reshape(-1, 3)[::37]  # fmt: skip
    expected = [camera.img_from_cam(ray) for ray in rays.numpy()]
    if file.lens == "equirectangular":
        uv_px, _ = sphere_map(target, H, W)
    else:
        lens = torch.zeros(4) if file.distortion is None else file.distortion[:4]
        uv_px, _ = fisheye_map(target, H, W, file.intrinsics[0], lens.double())
    np.testing.assert_allclose(uv_px.reshape(-1, 2)[::37], expected, atol=1e-6)


def reality_csv(path: Path, names: list[str], encoding: str, german: bool) -> Path:
    """Turned about the world's up axis alone: heading 90 − yaw, pitch 90 looks level."""
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for i, name in enumerate(names):
        lines.append(f"{name},{0.5 * i},0.25,1.5,0.0,90.0,0.0,33.75,0,0,0,0,0,0,0,0")
    text = "\n".join(lines) + "\n"
    if german:
        head, *rows = text.replace(",", ";").splitlines()
        rows = [row.partition(";") for row in rows]
        text = "\n".join([head, *(n + s + rest.replace(".", ",") for n, s, rest in rows)]) + "\n"
        text = f"#cameras {len(names)}\n{text}"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(("encoding", "german"), [("utf-8", False), ("cp1252", True)])
def test_reality_csv_as_spreadsheets_and_old_code_pages_save_it(
    tmp_path: Path, encoding: str, german: bool
) -> None:
    names = [f"größe{i}.png" for i in range(N)]
    file = read(reality_csv(tmp_path / "c.csv", names, encoding, german), pictures("p", names))
    # Looks along +y, up is +z: a point 2 ahead, 0.4 to the right, 0.2 above.
    point = torch.tensor([0.4, 2.25, 1.7, 1.0], dtype=torch.float64)
    seen = file.intrinsics[0] @ (file.cam_from_world[0] @ point)[:3]
    assert (seen[:2] / seen[2]).tolist() == pytest.approx([44.0, 18.0])
    assert not file.notes


@pytest.mark.parametrize(
    ("attribute", "message"),
    [('xcr:DistortionModel="division"', "model 'division'"), ('xcr:AspectRatio="1.2"', "square")],
)
def test_reality_xmp_of_another_lens_is_refused(
    tmp_path: Path, attribute: str, message: str
) -> None:
    rest = "" if "Model" in attribute else 'xcr:DistortionModel="brown3"'
    (tmp_path / "0.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-'
        'rdf-syntax-ns#"><rdf:Description xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#"'
        f' {attribute} {rest} xcr:FocalLength35mm="33.75" xcr:Rotation="1 0 0 0 1 0 0 0 1" '
        'xcr:Position="0 0 0" xcr:DistortionCoeficients="0.1 0 0 0 0 0"/></rdf:RDF></x:xmpmeta>'
    )
    with pytest.raises(ValueError, match=message):
        read_cameras(tmp_path, height=H, width=W)


def test_metashape_groups_tell_equal_names_apart(tmp_path: Path) -> None:
    def group(number: int, poses: np.ndarray) -> str:
        cameras = "".join(
            f'<camera id="{number * N + i}" sensor_id="0" label="{i}"><transform>'
            f"{' '.join(map(str, pose.ravel()))}</transform><orientation>1</orientation></camera>"
            for i, pose in enumerate(poses)
        )
        return f'<group id="{number}" label="cam{number}" type="folder">{cameras}</group>'

    (tmp_path / "cameras.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><document version="2.0.0"><chunk><sensors>'
        '<sensor id="0" type="frame"><resolution width="64" height="48"/>'
        '<calibration type="frame" class="adjusted"><f>60</f></calibration></sensor></sensors>'
        f"<cameras>{group(0, POSES[::-1])}{group(1, POSES)}</cameras></chunk></document>"
    )
    names = [f"{i}.png" for i in range(N)]
    assert worst(read(tmp_path, pictures("shoot/cam1", names))) < 1e-9
    first = read(tmp_path, pictures("shoot/cam0", names))
    np.testing.assert_allclose(first.cam_from_world[0], np.linalg.inv(POSES[5]), atol=1e-9)
    with pytest.raises(ValueError, match="cam0/0 and cam1/0"):
        read(tmp_path, pictures("elsewhere", names))


def test_pictures_that_were_counted_anew_go_by_order(tmp_path: Path) -> None:
    theirs = [f"frame_{i + 1:05d}.png" for i in range(N)]
    path = write_json(tmp_path / "transforms.json", transforms(theirs))
    file = read(path, pictures("p", [f"{i:03d}.png" for i in range(N)]))
    assert_as_made(file)
    assert "in the order of their names" in file.notes[0]


def test_names_that_are_all_the_same_are_told(tmp_path: Path) -> None:
    """3D Gaussian splatting cuts a name at its first point."""
    path = write_json(tmp_path / "transforms.json", transforms(["2024"] * N))
    dated = [f"2024.05.01_{i}.png" for i in range(N)]
    assert "all its cameras are named 2024" in read(path, pictures("p", dated)).notes[0]
    assert not read(path, pictures("shoots/2024", dated)).notes and not read(path, FILM).notes


def test_size_is_the_pictures_where_the_principal_point_is_off(tmp_path: Path) -> None:
    content = transforms([f"{i}.png" for i in range(N)], cx=33.0, cy=23.0)
    del content["w"], content["h"]
    file = read(write_json(tmp_path / "transforms.json", content), FILM)
    assert file.intrinsics[0].tolist() == [[60, 0, 33], [0, 60, 23], [0, 0, 1]]


def test_quaternions_that_may_have_w_first_are_told(tmp_path: Path) -> None:
    rows = np.concatenate([np.arange(N)[:, None], POSES[:, :3, 3], wxyz(POSES)], 1)
    np.savetxt(tmp_path / "pred_traj.txt", rows)
    assert "put w last" in read(tmp_path / "pred_traj.txt", FILM).notes[0]
    assert not read(tum(tmp_path / "t.txt", np.arange(N), POSES), FILM).notes


@pytest.mark.parametrize("below", ["", "sparse"])
def test_the_largest_of_several_colmap_models(tmp_path: Path, below: str) -> None:
    names = [f"{i}.png" for i in range(N)]
    write_colmap(tmp_path / "sparse" / "0", colmap_lines(names[:2]))
    write_colmap(tmp_path / "sparse" / "1", colmap_lines(names))
    write_colmap(tmp_path / "sparse" / "10", colmap_lines(names[3:]))
    file = read(tmp_path / below, pictures("p", names))
    assert_as_made(file)
    assert "models 1 is taken, with 6 images (0 with 2, 10 with 3)" in file.notes[0]
    assert not read(tmp_path / "sparse" / "1", pictures("p", names)).notes


def test_names_that_count_the_used_frames_are_told(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", transforms([f"{i}.png" for i in range(N)]))
    every_third = SourcePart("film.mp4", None, 3 * torch.arange(N), 3 * N)
    file = read(path, every_third)
    assert_as_made(file)
    assert "count the 6 frames used" in file.notes[0]
    assert not read(path, SourcePart("film.mp4", None, 4 + torch.arange(N), 3 * N)).notes
