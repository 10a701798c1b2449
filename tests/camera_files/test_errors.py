"""Files that are wrong or could mean several things: an error that says what was expected."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from camera_examples import C2W_GL, EYE, EYE_GL, W2C, H, K, W, some_cameras
from recam.camera_files import colmap, detect_format, read_cameras, write_cameras
from recam.configs import CameraFormat
from recam.types import RecamError


def recam_file(folder: Path, **changes: Any) -> Path:
    frame: dict[str, Any] = {"frame": 0, "K": K, "w2c": W2C, "w": W, "h": H, **changes}
    path = folder / "cameras.json"
    path.write_text(json.dumps({"frames": [frame]}))
    return path


def text_file(folder: Path, text: str) -> Path:
    path = folder / "path.txt"
    path.write_text(text)
    return path


def test_three_lines_of_numbers_could_be_three_programs(tmp_path: Path) -> None:
    path = text_file(tmp_path, "0 10\n0 5\n0 0.1\n")
    with pytest.raises(ValueError, match=r"CogNVS.*TrajectoryCrafter.*ViewCrafter.*file-format"):
        read_cameras(path)
    for name in ("cognvs", "trajectorycrafter", "viewcrafter"):
        assert read_cameras(path, name).orbit is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cognvs", "trajectorycrafter", "viewcrafter"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 10\n0 5\n", "2 lines of numbers; a .* path has three"),
        ("0 10\n0 5\n0 1\n0 1\n", "4 lines"),
        ("0 10\n5\n0 0.1\n", "line 2 .* needs two or more"),
        ("0 10\n0 nan\n0 0.1\n", "line 2 .* finite"),
        ("0 10\n0 up\n0 0.1\n", "line 2 is not a list of numbers"),
        ("", "0 lines"),
    ],
)
def test_broken_orbit_files(name: CameraFormat, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_cameras(text_file(tmp_path, text), name)


def _changed(value: float | None = None, mirror: bool = False, scale: float = 1.0) -> list:
    pose = np.array(W2C, float)
    if value is not None:
        pose[1, 3] = value
    if mirror:
        pose[1] *= -1
    pose[:3, :3] *= scale
    return pose.tolist()


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (_changed(float("nan")), "pose 0 has NaN"),
        (_changed(float("inf")), "NaN or infinite"),
        (_changed(mirror=True), "left-handed"),
        (_changed(scale=1.1), "not a rotation"),
        (np.array(W2C).T.tolist(), "transposed"),
        (np.eye(3).tolist(), "shape"),
        ([["a"] * 4] * 4, "not numbers"),
    ],
)
def test_broken_poses_say_which_convention_was_expected(
    pose: list, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{message}.*expected recam's cameras.json"):
        read_cameras(recam_file(tmp_path, w2c=pose))


def test_a_mirrored_nerfstudio_file_is_told_its_axes(tmp_path: Path) -> None:
    mirrored = (np.array(C2W_GL) @ np.diag([1, -1, 1, 1])).tolist()
    content = {"camera_angle_x": 1.0, "frames": [{"file_path": "a", "transform_matrix": mirrored}]}
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"left-handed.*OpenGL axes .x right, y up, z backward."):
        read_cameras(tmp_path / "t.json")


def test_rounded_rotations_are_accepted_and_made_exact(tmp_path: Path) -> None:
    pose = some_cameras(1).cam_from_world[0]
    rounded = np.round(pose.numpy(), 3).tolist()
    again = read_cameras(recam_file(tmp_path, w2c=rounded)).cam_from_world
    assert again is not None
    rotation = again[0, :3, :3]
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotation @ rotation.T, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(again[0], pose, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": np.diag([-1.0, 1, 1]).tolist()}, "focal length"),
        ({"K": [[1, 2], [3, 4]]}, "intrinsics have shape"),
        ({"w": None}, "K without w and h"),
        ({"dist": [0, 0, 0, 0, 0, 0.1]}, "undistort the video first"),
        ({"dist": [float("nan")]}, "distortion coefficients with NaN"),
    ],
)
def test_broken_intrinsics(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_cameras(recam_file(tmp_path, **changes))


def test_counts_that_do_not_fit_the_video(tmp_path: Path) -> None:
    write_cameras(some_cameras(7), tmp_path / "p.txt", "tum")
    with pytest.raises(ValueError, match="7 cameras but the video has 9 frames"):
        read_cameras(tmp_path / "p.txt", num_frames=9)
    write_cameras(some_cameras(7), tmp_path / "c.json")
    with pytest.raises(ValueError, match="cameras for frames 0…6, but frames 0…8 are wanted"):
        read_cameras(tmp_path / "c.json", num_frames=9)
    assert len(read_cameras(tmp_path / "c.json", num_frames=5)) == 5  # numbered frames: a part


def test_two_cameras_for_one_frame(tmp_path: Path) -> None:
    frame = {"frame": 3, "K": K, "w2c": W2C, "w": W, "h": H}
    (tmp_path / "c.json").write_text(json.dumps({"frames": [frame, frame]}))
    with pytest.raises(ValueError, match="two cameras for one frame"):
        read_cameras(tmp_path / "c.json")


def test_text_files_that_are_nothing_known(tmp_path: Path) -> None:
    for text in ("hello\n", "1 2 3\n4 5 6\n", "0 1 2 3 9 9 9 9\n" * 4):
        with pytest.raises(ValueError, match="fits no camera file"):
            read_cameras(text_file(tmp_path, text))
    with pytest.raises(ValueError, match=r"line 2 has 3 numbers.*tx ty tz qx qy qz qw"):
        read_cameras(text_file(tmp_path, "0 0 0 0 0 0 0 1\n1 2 3\n"), "tum")
    with pytest.raises(ValueError, match="not of length 1"):
        read_cameras(text_file(tmp_path, "0 1 2 3 9 9 9 9\n"), "tum")
    with pytest.raises(ValueError, match="do not increase"):
        read_cameras(text_file(tmp_path, "1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n"), "tum")
    with pytest.raises(ValueError, match="line 2 has 12 numbers; expected a header"):
        read_cameras(text_file(tmp_path, "url\n" + "1 " * 12 + "\n"), "re10k")
    pixels = "0 900 900 640 360 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n"
    with pytest.raises(ValueError, match="not a fraction of the picture"):
        read_cameras(text_file(tmp_path, "url\n" + pixels), "re10k")


def test_json_files_that_are_nothing_known(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, message in (("{", "not JSON"), ("[]", "JSON object"), ('{"a": 1}', "fit no camera")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_cameras(path)
    path.write_text(json.dumps({"camera_model": "THIN_PRISM", "frames": [
        {"file_path": "a", "transform_matrix": EYE_GL}]}))  # fmt: skip
    with pytest.raises(ValueError, match="camera model"):
        read_cameras(path)


def test_arrays_that_do_not_say_their_convention(tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", np.array([EYE]))
    with pytest.raises(ValueError, match="does not say its convention"):
        read_cameras(tmp_path / "poses.npy")
    np.savez(tmp_path / "poses.npz", c2w=np.array([EYE]))
    with pytest.raises(ValueError, match=r"\['c2w'\] fit no camera file"):
        read_cameras(tmp_path / "poses.npz")
    np.savez(tmp_path / "pickled.npz", cam_c2w=np.array([{}], dtype=object), intrinsic=np.eye(3))
    with pytest.raises(ValueError, match="cam_c2w is not a plain array"):
        read_cameras(tmp_path / "pickled.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "poses.npz").read_bytes()[:40])
    with pytest.raises((ValueError, RecamError), match="cut"):
        read_cameras(tmp_path / "cut.npz")


def test_folders_with_none_or_two_kinds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no camera files in this folder"):
        detect_format(tmp_path)
    recam_file(tmp_path)
    write_cameras(some_cameras(3, centered=True), tmp_path / "camera.npz", "gen3c")
    with pytest.raises(ValueError, match=r"more than one kind \(gen3c, recam\)"):
        detect_format(tmp_path)
    assert len(read_cameras(tmp_path, "recam")) == 1 and len(read_cameras(tmp_path, "gen3c")) == 3
    (tmp_path / "camera.npz").unlink()
    assert read_cameras(tmp_path).format == "recam"
    with pytest.raises(RecamError, match="no such file"):
        read_cameras(tmp_path / "absent.json")


def test_cut_off_and_unknown_colmap_models(tmp_path: Path) -> None:
    write_cameras(some_cameras(), tmp_path / "m", "colmap")
    images = tmp_path / "m" / "images.bin"
    images.write_bytes(images.read_bytes()[:-20])
    with pytest.raises(ValueError, match="broken or cut off"):
        read_cameras(tmp_path / "m")
    cameras = tmp_path / "m" / "cameras.bin"
    data = bytearray(cameras.read_bytes())
    data[12] = 7  # FOV
    cameras.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"camera model number 7.*image_undistorter"):
        read_cameras(tmp_path / "m")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "no keys"),
        ([{"frame": 0}, {"time_s": 1}], "every key needs a frame"),
        ([{"frame": 0, "yaww": 1}], "unknown 'yaww'"),
        ([{"frame": 5}, {"frame": 5}], "must increase"),
        ([{"frame": 0, "zoom": 0}], "zoom must be positive"),
        ([{"frame": 0, "zoom": 1, "fov": 50}], "zoom or fov"),
        ([{"frame": 0, "fov": 200}], "between 0 and 180"),
        ([{"frame": 0, "yaw": "left"}], "not a number"),
        ([{"frame": 0, "cam_from_world": EYE, "yaw": 3}], "cannot be mixed"),
        ([{"frame": 0, "cam_from_world": EYE}, {"frame": 1}], "cannot be mixed"),
    ],
)
def test_broken_keyframes(keys: list, message: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": keys}))
    with pytest.raises(ValueError, match=message):
        read_cameras(path, "keyframes")


def test_recammaster_needs_the_camera_named(tmp_path: Path) -> None:
    eye = "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1]"
    path = tmp_path / "camera_extrinsics.json"
    path.write_text(json.dumps({"frame0": {"cam01": eye, "cam02": eye}}))
    with pytest.raises(ValueError, match="choose one of its cameras cam01, cam02"):
        read_cameras(path)
    assert len(read_cameras(path, file="cam02")) == 1
    assert len(read_cameras(path, file="videos/cam02.mp4")) == 1
    path.write_text(json.dumps({"frame0": {"cam01": "[1 0 0 0]"}}))
    with pytest.raises(ValueError, match="has 4 numbers; expected ReCamMaster"):
        read_cameras(path)


def test_formats_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    zooming, skewed = some_cameras(zooming=True, centered=True), some_cameras()
    with pytest.raises(ValueError, match="these cameras zoom"):
        write_cameras(zooming, tmp_path / "a.npz", "megasam")
    with pytest.raises(ValueError, match="square pixels"):
        write_cameras(skewed, tmp_path / "p.json", "camera-path")
    with pytest.raises(ValueError, match="give source cameras and focus_depth"):
        write_cameras(skewed, tmp_path / "p.txt", "cognvs")
    with pytest.raises(ValueError, match="do not orbit the source's"):
        write_cameras(
            skewed, tmp_path / "p.txt", "cognvs", source=skewed[torch.arange(7).flip(0)],
            focus_depth=2.0,
        )  # fmt: skip
    with pytest.raises(ValueError, match="cannot write"):
        write_cameras(skewed, tmp_path / "k.json", "keyframes")
    with pytest.raises(ValueError, match="no spaces"):
        colmap.write_colmap(tmp_path / "m", skewed, ["a b.png"] * 7, None, binary=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecamError, match="cannot write"):
        write_cameras(some_cameras(), tmp_path / "file" / "cameras.json")


def test_height_without_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        read_cameras(recam_file(tmp_path), height=3)


def test_a_file_without_intrinsics_asks_for_the_field_of_view(tmp_path: Path) -> None:
    write_cameras(some_cameras(), tmp_path / "p.txt", "tum")
    file = read_cameras(tmp_path / "p.txt")
    assert file.cameras is None
    with pytest.raises(ValueError, match="give the horizontal field of view"):
        file.cameras_with(H, W)
    cameras = file.cameras_with(H, W, fov_deg=90)
    assert float(cameras.intrinsics[0, 0, 0]) == pytest.approx(W / 2)
