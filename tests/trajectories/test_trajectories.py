"""Paths: no motion gives the source back, signs by hand, speeds, keyframes, files."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recam.camera_files import own, read_cameras, write_cameras
from recam.configs import PathConfig
from recam.geometry import fov_x_deg, project, rotation_angle_deg, se3, so3_exp
from recam.path_presets import stabilise
from recam.trajectories import (
    focus_depth,
    make_path,
    path_for_scene,
    relative_path,
    speed_curve,
)
from recam.trajectories.presets import DEFAULTS, shake
from recam.types import CameraPath, Cameras, RecamError, Scene, video_from_frames

F64 = torch.float64
H, W = 48, 64
R = 4.0  # focus depth
FOCUS = torch.tensor([[0.0, 0.0, R]], dtype=F64)
MOVING = sorted(set(DEFAULTS) - {"static", "stabilise"})


def still_source(num: int = 9) -> Cameras:
    """A tripod at the origin of the world."""
    k = torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], dtype=F64).repeat(num, 1, 1)
    return Cameras(torch.eye(4, dtype=F64).repeat(num, 1, 1), k, H, W)


def moving_source(num: int = 9) -> Cameras:
    t = torch.arange(num, dtype=F64)[:, None]
    turned = so3_exp(t * torch.tensor([0.02, -0.05, 0.01], dtype=F64))
    moved = t * torch.tensor([0.1, 0.02, -0.15], dtype=F64)
    return replace(still_source(num), cam_from_world=se3(turned, moved))


def last_of(source: Cameras | None = None, **config: Any) -> CameraPath:
    """The end of a path at full amount."""
    return make_path(source or still_source(), R, PathConfig(**config))[-1:]


def center(path: CameraPath) -> list[float]:
    return [round(v, 9) + 0.0 for v in path.cameras.centers[0].tolist()]


def seen(path: CameraPath, point: list[float]) -> list[float]:
    uv_px, _ = project(torch.tensor([point], dtype=F64), path.cameras)
    return uv_px[0, 0].tolist()


def test_each_preset_at_rest_gives_the_source_back_exactly() -> None:
    source = moving_source()
    for preset in MOVING:
        nothing: dict[str, Any] = dict.fromkeys(DEFAULTS[preset], 0.0)  # type: ignore[index]
        if "zoom" in nothing:
            nothing = {"zoom": 1.0}
        path = make_path(source, R, PathConfig(path=preset, **nothing))
        frames = path.source_frames
        assert torch.equal(path.cameras.cam_from_world, source.cam_from_world[frames]), preset
        assert torch.equal(path.cameras.intrinsics, source.intrinsics[frames]), preset
        assert (path.cameras.height, path.cameras.width) == (H, W)


def test_presets_start_at_the_source_and_move() -> None:
    source = moving_source()
    for preset in sorted(set(MOVING) - {"arc", "freeze", "handheld"}):
        path = make_path(source, R, PathConfig(path=preset))
        assert path.source_frames.tolist() == list(range(9))
        torch.testing.assert_close(path.cameras.cam_from_world[0], source.cam_from_world[0])
        end = path.cameras.cam_from_world[-1] - source.cam_from_world[-1]
        zoom = path.cameras.intrinsics[-1] - source.intrinsics[-1]
        assert float(end.abs().max() + zoom.abs().max()) > 0.05, preset


def test_orbit_by_hand() -> None:
    right = last_of(path="orbit", yaw=20)
    a = math.radians(20)
    np.testing.assert_allclose(center(right), [R * math.sin(a), 0, R - R * math.cos(a)], atol=1e-9)
    assert center(right)[0] > 0
    np.testing.assert_allclose(seen(right, [0, 0, R]), [32, 24], atol=1e-9)
    # Beyond the focus the background moves to the right in the picture, nearer to the left.
    assert seen(right, [0, 0, 2 * R])[0] > 33 and seen(right, [0, 0, R / 2])[0] < 31
    up = last_of(path="orbit", pitch=20)
    np.testing.assert_allclose(center(up), [0, -R * math.sin(a), R - R * math.cos(a)], atol=1e-9)
    np.testing.assert_allclose(seen(up, [0, 0, R]), [32, 24], atol=1e-9)
    near = last_of(path="orbit", distance=0.25)
    assert center(near) == [0, 0, 1.0]


def test_orbit_keeps_its_focus_and_its_horizon() -> None:
    path = make_path(still_source(), R, PathConfig("orbit", yaw=30, pitch=-25, distance=0.3))
    uv_px, depth = project(FOCUS, path.cameras)
    torch.testing.assert_close(uv_px[:, 0], torch.tensor([[32.0, 24.0]], dtype=F64).expand(9, 2))
    assert float(depth[-1]) == pytest.approx(0.7 * R)
    camera_right = path.cameras.world_from_cam[:, :3, 0]
    torch.testing.assert_close(camera_right[:, 1], torch.zeros(9, dtype=F64))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"path": "dolly", "distance": 0.5}, [0, 0, 2]),  # forward
        ({"path": "truck", "distance": 0.5}, [2, 0, 0]),  # right
        ({"path": "pedestal", "distance": 0.5}, [0, -2, 0]),  # up
        ({"path": "dolly", "distance": -0.5}, [0, 0, -2]),
    ],
)
def test_shifts_by_hand(config: dict[str, Any], expected: list[float]) -> None:
    path = last_of(**config)
    assert center(path) == expected
    torch.testing.assert_close(path.cameras.cam_from_world[0, :3, :3], torch.eye(3, dtype=F64))


def test_turns_on_the_spot_by_hand() -> None:
    ahead = [0.0, 0.0, 10.0]
    pan, tilt = last_of(path="pan", yaw=10), last_of(path="tilt", pitch=10)
    shift = 60 * math.tan(math.radians(10))
    # Turning right lets what was ahead wander left; tilting up lets it sink.
    np.testing.assert_allclose(seen(pan, ahead), [32 - shift, 24], atol=1e-9)
    np.testing.assert_allclose(seen(tilt, ahead), [32, 24 + shift], atol=1e-9)
    # A camera rolled clockwise by 90° sees its old top at its new left.
    roll = last_of(path="roll", roll=90)
    np.testing.assert_allclose(seen(roll, [0, -1, 10]), [32 - 6, 24], atol=1e-9)
    for path in (pan, tilt, roll):
        assert center(path) == [0, 0, 0]


def test_zoom_and_dolly_zoom_by_hand() -> None:
    zoom = last_of(path="zoom", zoom=2)
    k = zoom.cameras.intrinsics[0]
    np.testing.assert_allclose(k.numpy(), [[120, 0, 32], [0, 120, 24], [0, 0, 1]])
    vertigo = last_of(path="dolly-zoom", zoom=2)
    assert center(vertigo) == [0, 0, -R]  # twice as far away
    for x in (-1.0, 0.5):  # what stands at the focus keeps its place
        np.testing.assert_allclose(seen(vertigo, [x, 0.3, R]), [32 + 15 * x, 24 + 4.5])
    nearer = last_of(path="dolly-zoom", distance=0.5)
    assert center(nearer) == [0, 0, 2]
    np.testing.assert_allclose(seen(nearer, [1, 0, R]), [47, 24])


def test_spiral_looks_at_the_focus_from_within_its_radius() -> None:
    path = make_path(still_source(60), R, PathConfig("spiral", distance=0.2, speed="linear"))
    uv_px, _ = project(FOCUS, path.cameras)
    torch.testing.assert_close(uv_px[:, 0], torch.tensor([[32.0, 24.0]], dtype=F64).expand(60, 2))
    radius = path.cameras.centers[:, :2].norm(dim=1)
    torch.testing.assert_close(radius, torch.linspace(0, 0.2 * R, 60, dtype=F64))
    around = torch.atan2(path.cameras.centers[1:, 0], -path.cameras.centers[1:, 1])
    turned = torch.from_numpy(np.unwrap(around.numpy()))
    assert float(turned[-1] - turned[0]) == pytest.approx(4 * math.pi, rel=0.05)


def test_arc_is_centred_on_the_source() -> None:
    path = make_path(still_source(), R, PathConfig("arc", yaw=30, speed="linear"))
    a = math.radians(15)
    assert path.cameras.centers[0, 0] == pytest.approx(-R * math.sin(a))
    assert path.cameras.centers[-1, 0] == pytest.approx(R * math.sin(a))
    torch.testing.assert_close(path.cameras.cam_from_world[4], torch.eye(4, dtype=F64))


def test_freeze_holds_the_moment_and_orbits_its_camera() -> None:
    source = moving_source()
    path = make_path(source, R, PathConfig("freeze", at_frame=3, yaw=30))
    assert path.source_frames.tolist() == [3] * 9
    assert torch.equal(path.cameras.cam_from_world[0], source.cam_from_world[3])
    relative = path.cameras.cam_from_world[-1] @ source.world_from_cam[3]
    expected = last_of(path="orbit", yaw=30).cameras.cam_from_world[0]
    torch.testing.assert_close(relative, expected)
    assert make_path(source, R, PathConfig("freeze")).source_frames.tolist() == [4] * 9
    assert len(make_path(source, R, PathConfig("freeze"), num_frames=30)) == 30


def test_static_holds_one_camera() -> None:
    source = moving_source()
    source.intrinsics[:, 0, 0] += torch.arange(9)
    held = make_path(source, R, PathConfig("static", at_frame=2))
    assert held.source_frames.tolist() == list(range(9))
    expected = source.cam_from_world[2].expand(9, 4, 4)
    assert torch.equal(held.cameras.cam_from_world, expected)
    assert torch.equal(held.cameras.intrinsics, source.intrinsics[2].expand(9, 3, 3))
    central = make_path(source, R, PathConfig("static"))  # the middle of a steady motion
    assert torch.equal(central.cameras.cam_from_world[0], source.cam_from_world[4])


def test_stabilise_takes_the_shake_out_and_leaves_the_motion() -> None:
    t = torch.arange(72, dtype=F64)[:, None] / 72
    turned = so3_exp(t * torch.tensor([0.1, -0.3, 0.05], dtype=F64))
    moved = t * torch.tensor([1.0, 0.2, -1.5], dtype=F64)
    steady = replace(still_source(72), cam_from_world=se3(turned, moved))
    noise = 0.01 * torch.randn(72, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    jerk = se3(so3_exp(noise[:, :3]), noise[:, 3:])
    shaky = replace(steady, cam_from_world=jerk @ steady.cam_from_world)
    smooth = make_path(shaky, R, PathConfig("stabilise")).cameras

    def off(cameras: Cameras) -> tuple[float, float]:
        turned = rotation_angle_deg(
            cameras.cam_from_world[:, :3, :3], steady.cam_from_world[:, :3, :3]
        )
        away = (cameras.centers - steady.centers).norm(dim=1)
        return float(turned.square().mean().sqrt()), float(away.square().mean().sqrt())

    for left, before in zip(off(smooth), off(shaky)):
        assert left < 0.3 * before
    straight = replace(steady, cam_from_world=se3(
        torch.eye(3, dtype=F64).repeat(72, 1, 1), steady.cam_from_world[:, :3, 3]))  # fmt: skip
    same = make_path(straight, R, PathConfig("stabilise")).cameras  # ends included
    torch.testing.assert_close(same.cam_from_world, straight.cam_from_world, atol=1e-9, rtol=0)
    # Half the amount leaves the middle between the two, and none of it the source.
    halfway = make_path(shaky, R, stabilise(amount=0.5)).cameras
    torch.testing.assert_close(halfway.centers, (shaky.centers + smooth.centers) / 2)
    none = make_path(shaky, R, stabilise(amount=0)).cameras
    torch.testing.assert_close(none.cam_from_world, shaky.cam_from_world, atol=1e-9, rtol=0)
    # A longer window keeps less of a slow swing.
    swing = 0.1 * torch.sin(2 * torch.pi * 0.5 * torch.arange(96, dtype=F64) / 24)
    turned = so3_exp(swing[:, None] * torch.tensor([0.0, 1, 0], dtype=F64))
    slow = replace(still_source(96), cam_from_world=se3(turned, torch.zeros(96, 3, dtype=F64)))
    eye = torch.eye(3, dtype=F64)
    kept = []
    for seconds in (0.3, 0.7, 2.0):
        path = make_path(slow, R, stabilise(smoothness=seconds)).cameras.cam_from_world[32:64]
        kept.append(float(torch.deg2rad(rotation_angle_deg(path[:, :3, :3], eye)).max()))
    assert kept[0] > 0.08 > kept[1] > kept[2]


@pytest.mark.parametrize(
    ("name", "value"), [("amount", 1.5), ("amount", -0.1), ("smoothness", 0.0)]
)
def test_amounts_that_stabilise_cannot_have(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        make_path(still_source(5), R, PathConfig("stabilise", **{name: value}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not use amount"):
        make_path(still_source(5), R, PathConfig("orbit", amount=1.0))


def test_handheld_is_repeatable_smooth_and_as_large_as_asked() -> None:
    source = still_source(240)
    config = PathConfig("handheld", distance=0.02, yaw=1.0, pitch=1.0, roll=0.5)
    path = make_path(source, R, config).cameras
    assert torch.equal(path.cam_from_world, make_path(source, R, config).cameras.cam_from_world)
    other = make_path(source, R, replace(config, shake_seed=1)).cameras
    assert not torch.allclose(path.cam_from_world, other.cam_from_world)
    angle = rotation_angle_deg(path.cam_from_world[:, :3, :3], source.cam_from_world[:, :3, :3])
    assert 0.5 < float(angle.square().mean().sqrt()) < 3
    step = rotation_angle_deg(path.cam_from_world[1:, :3, :3], path.cam_from_world[:-1, :3, :3])
    assert float(step.max()) < 1.0  # no jump within 1/24 s


def test_shake_has_unit_size_and_falls_with_frequency() -> None:
    seconds = torch.arange(24 * 300, dtype=F64) / 24
    waves = shake(seconds, 3, seed=5)
    torch.testing.assert_close(waves.std(dim=1), torch.ones(3, dtype=F64), atol=0.1, rtol=0)
    power = torch.fft.rfft(waves).abs().square().mean(0)
    hertz = torch.fft.rfftfreq(len(seconds), 1 / 24)
    low, high = (hertz > 0.15) & (hertz < 0.9), (hertz > 0.9) & (hertz < 5.1)
    assert float(power[low].sum()) > 5 * float(power[high].sum())
    assert float(power[hertz > 5.1].sum()) < 0.01 * float(power.sum())
    # The same motion at twice the frame rate.
    torch.testing.assert_close(shake(seconds[::2], 3, seed=5), waves[:, ::2])


@pytest.mark.parametrize("speed", ["linear", "ease", "ease-in", "ease-out", "there-and-back"])
def test_speed_curves(speed: Any) -> None:
    s = speed_curve(torch.linspace(0, 1, 1001, dtype=F64), speed)
    assert float(s[0]) == 0 and float(s.min()) >= 0 and float(s.max()) <= 1
    assert float(s[-1]) == pytest.approx(0 if speed == "there-and-back" else 1, abs=1e-12)
    assert float(s[500] if speed == "there-and-back" else s[-1]) == pytest.approx(1)
    rate = (s[1:] - s[:-1]) * 1000
    starts_still = speed in {"ease", "ease-in", "there-and-back"}
    ends_still = speed in {"ease", "ease-out", "there-and-back"}
    assert (abs(float(rate[0])) < 0.02) == starts_still
    assert (abs(float(rate[-1])) < 0.02) == ends_still
    assert float((rate[1:] - rate[:-1]).abs().max()) < 0.03  # no jerk on the way


def test_there_and_back_returns_to_the_source() -> None:
    source = moving_source()
    path = make_path(source, R, PathConfig("orbit", yaw=20, speed="there-and-back"))
    torch.testing.assert_close(path.cameras.cam_from_world[[0, -1]], source.cam_from_world[[0, -1]])


def test_speed_follows_time_not_frame_numbers() -> None:
    times = torch.tensor([0.0, 0.1, 0.2, 1.0], dtype=F64)  # a variable frame rate
    path = make_path(still_source(4), R, PathConfig("truck", distance=1, speed="linear"), times)
    torch.testing.assert_close(path.cameras.centers[:, 0], R * times)


def test_amounts_named_set_the_others_to_none() -> None:
    up_only = last_of(path="orbit", pitch=10)
    assert center(up_only)[0] == 0
    by_default = last_of(path="orbit")
    assert center(by_default) == center(last_of(path="orbit", yaw=20))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"path": "dolly", "yaw": 5}, "dolly does not use yaw; it uses distance"),
        ({"path": "static", "yaw": 5}, "static does not use yaw; it uses none of them"),
        ({"path": "orbit", "at_frame": 3}, "does not use at_frame"),
        ({"path": "static", "at_frame": 9}, "outside the clip's frames 0…8"),
        ({"path": "zoom", "zoom": 0.0}, "zoom must be positive"),
        ({"path": "orbit", "yaw": math.nan}, "yaw must be a finite number"),
        ({"path": "orbit", "distance": 1.0}, "reaches the focus"),
        ({"path": "dolly-zoom", "distance": 1.5}, "reaches the focus"),
        ({"path": "dolly-zoom", "distance": 0.5, "zoom": 2.0}, "give one of the two"),
    ],
)
def test_amounts_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_path(still_source(), R, PathConfig(**config))


def test_bad_surroundings() -> None:
    with pytest.raises(RecamError, match="neither a file nor a preset"):
        make_path(still_source(), R, PathConfig("orbti"))
    for depth in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="focus depth"):
            make_path(still_source(), depth, PathConfig())
    with pytest.raises(ValueError, match="3 times for 9"):
        make_path(still_source(), R, PathConfig(), torch.arange(3))
    with pytest.raises(ValueError, match="only freeze"):
        make_path(still_source(), R, PathConfig(), num_frames=5)


def test_a_single_image_may_have_a_path_of_any_length() -> None:
    for config in (PathConfig("orbit"), PathConfig("static"), PathConfig("freeze")):
        path = make_path(still_source(1), R, config, num_frames=25)
        assert path.source_frames.tolist() == [0] * 25
    assert len(make_path(still_source(1), R, PathConfig("orbit"))) == 1


# CogNVS's formula, and the three conventions of its file format.


def test_relative_path_by_hand() -> None:
    zero, ten = torch.zeros(1, dtype=F64), torch.tensor([10.0], dtype=F64)
    ahead = torch.tensor([[0.0, 0.0, R]], dtype=F64)

    def camera(phi: torch.Tensor, theta: torch.Tensor, r: torch.Tensor) -> Cameras:
        return replace(still_source(1), cam_from_world=relative_path(phi, theta, r, R))

    right, up = camera(ten, zero, zero), camera(zero, ten, zero)
    a = math.radians(10)
    away = R - R * math.cos(a)
    np.testing.assert_allclose(right.centers[0].numpy(), [R * math.sin(a), 0, away], atol=1e-12)
    np.testing.assert_allclose(up.centers[0].numpy(), [0, -R * math.sin(a), away], atol=1e-12)
    for cameras in (right, up):
        np.testing.assert_allclose(project(ahead, cameras)[0][0, 0].numpy(), [32, 24], atol=1e-9)
    forward = camera(zero, zero, torch.tensor([0.1], dtype=F64))
    np.testing.assert_allclose(forward.centers[0].numpy(), [0, 0, 0.4], atol=1e-12)
    assert torch.equal(relative_path(zero, zero, zero, R)[0], torch.eye(4, dtype=F64))


def test_relative_path_is_the_product_it_claims() -> None:
    phi, theta, r = (torch.tensor([v], dtype=F64) for v in (25.0, -12.0, 0.2))
    p, t = math.radians(25), math.radians(-12)
    c, s = math.cos(p), math.sin(p)
    ry = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
    c, s = math.cos(t), math.sin(t)
    rx = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    out, back = np.eye(4), np.eye(4)
    out[2, 3], back[2, 3] = R, -1.2 * R
    np.testing.assert_allclose(relative_path(phi, theta, r, R)[0].numpy(), out @ ry @ rx @ back)


def test_the_orbit_preset_is_the_reference_formula_for_one_angle() -> None:
    angle, zero = torch.tensor([17.0], dtype=F64), torch.zeros(1, dtype=F64)
    for preset, reference in (
        (last_of(path="orbit", yaw=17), relative_path(angle, zero, zero, R)),
        (last_of(path="orbit", pitch=17), relative_path(zero, angle, zero, R)),
    ):
        torch.testing.assert_close(preset.cameras.cam_from_world, reference)


def path_of_text(text: str, name: Any, tmp_path: Path, source: Cameras) -> CameraPath:
    (tmp_path / "path.txt").write_text(text)
    return make_path(source, R, PathConfig(str(tmp_path / "path.txt"), file_format=name))


@pytest.mark.parametrize(
    ("name", "right", "up", "forward"),
    [
        ("cognvs", "0 10\n0 0\n0 0", "0 0\n0 10\n0 0", "0 0\n0 0\n0 0.1"),
        ("trajectorycrafter", "0 0\n0 10\n0 0", "0 10\n0 0\n0 0", "0 0\n0 0\n0 0.1"),
        ("viewcrafter", "0 10\n0 0\n0 0", "0 0\n0 -10\n0 0", "0 0\n0 0\n0 -0.1"),
    ],
)
def test_signs_of_orbit_files(name: str, right: str, up: str, forward: str, tmp_path: Path) -> None:
    source = still_source()
    path = path_of_text(right, name, tmp_path, source)
    assert torch.equal(path.cameras.cam_from_world[0], torch.eye(4, dtype=F64))
    x, y, z = path.cameras.centers[-1].tolist()
    a = math.radians(10)
    assert x == pytest.approx(R * math.sin(a), rel=5e-3) and abs(y) < 0.01 * R
    uv_px, _ = project(FOCUS, path.cameras)
    torch.testing.assert_close(uv_px[:, 0], torch.tensor([[32.0, 24.0]], dtype=F64).expand(9, 2))
    x, y, z = path_of_text(up, name, tmp_path, source).cameras.centers[-1].tolist()
    assert abs(x) < 1e-9 and y == pytest.approx(-R * math.sin(a), rel=0.02)
    x, y, z = path_of_text(forward, name, tmp_path, source).cameras.centers[-1].tolist()
    assert z == pytest.approx(0.1 * R, rel=0.01) and abs(x) < 1e-9 and abs(y) < 0.1 * z


def test_orbit_files_are_relative_to_each_frame(tmp_path: Path) -> None:
    source = moving_source()
    path = path_of_text("0 0\n0 0\n0 0", "cognvs", tmp_path, source)
    assert torch.equal(path.cameras.cam_from_world, source.cam_from_world)


def test_orbit_files_pass_through_their_keys(tmp_path: Path) -> None:
    # Nine keys, as in the reference's own example, whose smoothing turns 0.16 into 0.134.
    r = [0, 0.02, 0.09, 0.16, 0.25, 0.28, 0.19, 0.09, 0]
    text = "0 1\n0 0\n" + " ".join(map(str, r))
    path = path_of_text(text.replace("0 1", "0 0"), "cognvs", tmp_path, still_source(17))
    np.testing.assert_allclose(path.cameras.centers[::2, 2].numpy(), np.array(r) * R, atol=1e-12)
    linear = path_of_text("0 0\n0 0\n0 0.1 0.4", "cognvs", tmp_path, still_source(9))
    expected = R * np.interp(np.linspace(0, 1, 9), [0, 0.5, 1], [0, 0.1, 0.4])
    np.testing.assert_allclose(linear.cameras.centers[:, 2].numpy(), expected, atol=1e-12)


def test_target_pose_of_trajectorycrafter(tmp_path: Path) -> None:
    path = path_of_text("0 0 0 0.5 0.25", "trajectorycrafter", tmp_path, still_source())
    np.testing.assert_allclose(path.cameras.centers[-1].numpy(), [0.5, -0.25, 0], atol=1e-12)
    path = path_of_text("0 10 0 0 0", "auto", tmp_path, still_source())
    assert path.cameras.centers[-1, 0] == pytest.approx(R * math.sin(math.radians(10)))


@pytest.mark.parametrize("name", ["cognvs", "trajectorycrafter", "viewcrafter"])
def test_orbit_files_round_trip(name: Any, tmp_path: Path) -> None:
    source = moving_source()
    (tmp_path / "a.txt").write_text("0 10 25 20 5\n0 -5 -2 3 8\n0 0.1 0.15 0.05\n")
    config = PathConfig(str(tmp_path / "a.txt"), file_format=name)
    path = make_path(source, R, config)
    again = tmp_path / "b.txt"
    write_cameras(path.cameras, again, name, source=source, focus_depth=R)
    back = make_path(source, R, replace(config, path=str(again)))
    torch.testing.assert_close(
        back.cameras.cam_from_world, path.cameras.cam_from_world, atol=1e-7, rtol=0
    )


# Keyframes.


def path_of_keys(keys: list[dict[str, Any]], tmp_path: Path, source: Cameras) -> CameraPath:
    own.write_keyframes(tmp_path / "keys.json", keys)
    return make_path(source, R, PathConfig(str(tmp_path / "keys.json")))


def test_keyframes_pass_exactly_through_their_keys(tmp_path: Path) -> None:
    keys = [
        {"frame": 0, "yaw": 0, "zoom": 1},
        {"frame": 3, "yaw": 12},
        {"frame": 8, "yaw": -5, "zoom": 2},
    ]
    path = path_of_keys(keys, tmp_path, still_source())
    for frame, yaw in ((0, 0), (3, 12), (8, -5)):
        expected = last_of(path="orbit", yaw=yaw).cameras.cam_from_world[0]
        torch.testing.assert_close(path.cameras.cam_from_world[frame], expected, atol=1e-12, rtol=0)
    focal = path.cameras.intrinsics[:, 0, 0]
    assert float(focal[0]) == 60 and float(focal[-1]) == 120
    assert bool((focal[1:] > focal[:-1]).all())  # zoom passes over the key that does not name it


def test_keyframes_by_hand(tmp_path: Path) -> None:
    for key, expected in (
        ({"distance": 0.5}, [0, 0, 2]), ({"right": 0.5}, [2, 0, 0]), ({"up": 0.5}, [0, -2, 0]),
    ):  # fmt: skip
        path = path_of_keys([{"frame": 0, **key}], tmp_path, still_source())
        assert center(path[-1:]) == expected
    for key, preset in (
        ({"pan": 9}, {"path": "pan", "yaw": 9}), ({"tilt": 9}, {"path": "tilt", "pitch": 9}),
        ({"roll": 9}, {"path": "roll", "roll": 9}), ({"pitch": 9}, {"path": "orbit", "pitch": 9}),
    ):  # fmt: skip
        path = path_of_keys([{"frame": 0, **key}], tmp_path, still_source())[-1:]
        expected_pose = last_of(**preset).cameras.cam_from_world
        torch.testing.assert_close(path.cameras.cam_from_world, expected_pose)
    wide = path_of_keys([{"time_s": 0, "fov": 90}], tmp_path, still_source())
    torch.testing.assert_close(fov_x_deg(wide.cameras), torch.full((9,), 90.0, dtype=F64))


def test_keyframes_hold_and_retime(tmp_path: Path) -> None:
    keys = [
        {"frame": 0, "source_frame": 0}, {"frame": 4, "source_frame": 4, "yaw": 0},
        {"frame": 8, "source_frame": 4, "yaw": 20},
    ]  # fmt: skip
    source = moving_source()
    path = path_of_keys(keys, tmp_path, source)
    assert path.source_frames.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4]  # runs, then freezes
    torch.testing.assert_close(path.cameras.cam_from_world[:5], source.cam_from_world[:5])
    with pytest.raises(ValueError, match="between 0 and 8"):
        path_of_keys([{"frame": 0, "source_frame": 9}], tmp_path, source)
    with pytest.raises(ValueError, match="after the clip's end"):
        path_of_keys([{"frame": 20, "yaw": 9}], tmp_path, source)


def test_keyframes_in_seconds_and_as_cameras(tmp_path: Path) -> None:
    a, b = moving_source().cam_from_world[[0, 8]].tolist()
    keys = [{"time_s": 0.0, "cam_from_world": a}, {"time_s": 8 / 24, "cam_from_world": b}]
    path = path_of_keys(keys, tmp_path, moving_source())
    ends = path.cameras.cam_from_world[[0, -1]]
    torch.testing.assert_close(ends, moving_source().cam_from_world[[0, 8]])


def test_keyframe_motion_is_smooth(tmp_path: Path) -> None:
    keys = [{"frame": 0, "yaw": 0}, {"frame": 50, "yaw": 30}, {"frame": 100, "yaw": 20}]
    path = path_of_keys(keys, tmp_path, still_source(101))
    velocity = path.cameras.centers[1:] - path.cameras.centers[:-1]
    jerk = (velocity[1:] - velocity[:-1]).norm(dim=1)
    assert float(jerk.max()) < 0.1 * float(velocity.norm(dim=1).max())


# Absolute cameras.


def test_absolute_cameras_are_in_the_scenes_world(tmp_path: Path) -> None:
    target = moving_source()
    target = replace(target, cam_from_world=target.cam_from_world.flip(0))
    write_cameras(target.resized(96, 128), tmp_path / "c.json")
    path = make_path(moving_source(), R, PathConfig(str(tmp_path / "c.json")))
    assert torch.equal(path.cameras.cam_from_world, target.cam_from_world)
    torch.testing.assert_close(path.cameras.intrinsics, target.intrinsics)
    assert (path.cameras.height, path.cameras.width) == (H, W)
    with pytest.raises(ValueError, match=r"cameras for frames 0…8, but frames 0…11"):
        make_path(moving_source(12), R, PathConfig(str(tmp_path / "c.json")))


def test_poses_without_intrinsics_take_the_sources(tmp_path: Path) -> None:
    write_cameras(moving_source(), tmp_path / "p.txt", "tum")
    path = make_path(still_source(), R, PathConfig(str(tmp_path / "p.txt")))
    torch.testing.assert_close(path.cameras.cam_from_world, moving_source().cam_from_world)
    assert torch.equal(path.cameras.intrinsics, still_source().intrinsics)


def test_formats_relative_to_their_first_camera_start_at_the_source(tmp_path: Path) -> None:
    away = se3(so3_exp(torch.tensor([0.5, 1.0, 0.2], dtype=F64)), torch.ones(3, dtype=F64))
    elsewhere = replace(moving_source(), cam_from_world=moving_source().cam_from_world @ away)
    source = still_source()
    write_cameras(elsewhere, tmp_path / "r.txt", "re10k")
    path = make_path(source, R, PathConfig(str(tmp_path / "r.txt")))
    torch.testing.assert_close(path.cameras.cam_from_world, moving_source().cam_from_world)
    write_cameras(elsewhere, tmp_path / "m.json", "recammaster")  # metres
    config = PathConfig(str(tmp_path / "m.json"))
    halved = make_path(source, R, config, metres_per_unit=2.0)
    torch.testing.assert_close(halved.cameras.centers, moving_source().centers / 2)
    tripled = make_path(source, R, replace(config, file_scale=3.0), metres_per_unit=2.0)
    torch.testing.assert_close(tripled.cameras.centers, moving_source().centers * 3)


def test_designed_paths_are_spread_over_the_clip(tmp_path: Path) -> None:
    target = moving_source(5)
    write_cameras(target, tmp_path / "p.json", "camera-path")
    path = make_path(still_source(9), R, PathConfig(str(tmp_path / "p.json")))
    torch.testing.assert_close(path.cameras.cam_from_world[::2], target.cam_from_world)
    assert path.source_frames.tolist() == list(range(9))


def test_presets_amounts_do_not_go_with_files(tmp_path: Path) -> None:
    write_cameras(moving_source(), tmp_path / "c.json")
    with pytest.raises(ValueError, match="yaw belongs to presets"):
        make_path(still_source(), R, PathConfig(str(tmp_path / "c.json"), yaw=3))


# Scenes.


def scene_of(depth: torch.Tensor, **changes: Any) -> Scene:
    n = len(depth)
    parts: dict[str, Any] = {
        "video": video_from_frames(torch.zeros(n, 3, H, W, dtype=torch.uint8)),
        "cameras": still_source(n), "depth": depth,
        "valid": torch.ones(n, H, W, dtype=torch.bool),
        "dynamic": torch.zeros(n, H, W, dtype=torch.bool), "confidence": torch.ones(n, H, W),
    }  # fmt: skip
    return Scene(**{**parts, **changes})


def test_focus_is_the_middle_of_the_picture_or_what_moves() -> None:
    depth = torch.full((5, H, W), 10.0)
    depth[:, 12:36, 16:48] = 3.0
    assert focus_depth(scene_of(depth)) == pytest.approx(3.0)
    dynamic = torch.zeros(5, H, W, dtype=torch.bool)
    dynamic[:, 4:12, 40:60] = True
    depth[:, 4:12, 40:60] = 6.0
    assert focus_depth(scene_of(depth, dynamic=dynamic)) == pytest.approx(6.0)
    specks = torch.zeros(5, H, W, dtype=torch.bool)
    specks[:, 0, :5] = True  # less than 1 %
    assert focus_depth(scene_of(depth, dynamic=specks)) == pytest.approx(3.0)


def test_focus_ignores_what_is_not_valid() -> None:
    depth = torch.full((3, H, W), 2.0)
    depth[1] = math.nan
    valid = torch.ones(3, H, W, dtype=torch.bool)
    depth[:, :, 20:44], valid[:, :, 20:44] = 500.0, False
    assert focus_depth(scene_of(depth, valid=valid)) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no frame has a valid depth"):
        focus_depth(scene_of(depth, valid=torch.zeros_like(valid)))


def test_path_for_scene_is_sized_by_its_focus() -> None:
    scene = scene_of(torch.full((3, H, W), 8.0))
    path = path_for_scene(scene, PathConfig("truck", distance=0.5))
    assert center(path[-1:]) == [4, 0, 0]
    path = path_for_scene(scene, PathConfig("truck", distance=0.5, focus_depth=2))
    assert center(path[-1:]) == [1, 0, 0]


def test_written_path_reads_as_the_same_path(tmp_path: Path) -> None:
    source = moving_source()
    path = make_path(source, R, PathConfig("orbit", yaw=25, pitch=10))
    write_cameras(path.cameras, tmp_path / "cameras.json")
    content = json.loads((tmp_path / "cameras.json").read_text())
    assert content["convention"].startswith("OpenCV")
    again = make_path(source, R, PathConfig(str(tmp_path / "cameras.json")))
    assert torch.equal(again.cameras.cam_from_world, path.cameras.cam_from_world)
    assert read_cameras(tmp_path / "cameras.json").frame_indices is not None
