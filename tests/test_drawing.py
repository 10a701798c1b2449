"""The picture of a path: what is drawn where, and that odd paths are drawn at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recam.configs import PathConfig
from recam.drawing import FOCUS, SOURCE, TARGET, draw_path, path_summary
from recam.trajectories import make_path
from recam.types import CameraPath, Cameras, Scene, video_from_frames

F64 = torch.float64
H, W = 48, 64
R = 4.0


def source_cameras(num: int = 12) -> Cameras:
    k = torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], dtype=F64).repeat(num, 1, 1)
    return Cameras(torch.eye(4, dtype=F64).repeat(num, 1, 1), k, H, W)


def scene(num: int = 12) -> Scene:
    frames = torch.zeros(num, 3, H, W, dtype=torch.uint8)
    frames[:, 1] = 200  # a green wall
    shape = (num, H, W)
    return Scene(
        video_from_frames(frames), source_cameras(num), torch.full(shape, R),
        torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool),
        torch.ones(shape),
    )  # fmt: skip


def where(image: torch.Tensor, color: tuple[int, int, int]) -> np.ndarray:
    """(y, x) of pixels of a colour, above the legend."""
    near = (image.int() - torch.tensor(color)[:, None, None]).abs().amax(0) < 12
    return near[: image.shape[1] - 66].nonzero().numpy()


def halves(image: torch.Tensor, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    found = where(image, color)
    middle = image.shape[2] // 2
    return found[found[:, 1] < middle], found[found[:, 1] >= middle]


def drawn(config: PathConfig) -> torch.Tensor:
    return draw_path(scene(), make_path(source_cameras(), R, config))


def test_what_is_never_seen_has_bars_as_tall_as_its_share() -> None:
    path = make_path(source_cameras(), R, PathConfig())
    shares = torch.linspace(0, 0.3, len(path))
    image = draw_path(scene(), path, never_seen=shares)[:, -66:]
    red = (image.int() - torch.tensor(FOCUS)[:, None, None]).abs().amax(0) < 12
    tall = red.sum(0)[round(0.62 * image.shape[2]) :]
    first, last = tall[5:60].max(), tall[-60:-20].max()
    assert first <= 4 and last >= 24
    nothing = draw_path(scene(), path, never_seen=0 * shares)[:, -66:]
    assert nothing.shape == image.shape


def test_it_is_a_picture_of_the_size_asked() -> None:
    path = make_path(source_cameras(), R, PathConfig())
    image = draw_path(scene(), path, height=500, width=900, title="orbit")
    assert image.dtype == torch.uint8 and image.shape == (3, 500, 900)
    for color in (SOURCE, TARGET, FOCUS):
        assert all(len(half) > 10 for half in halves(image, color))
    green = (image[1].int() - image[0].int() > 40) & (image[1].int() - image[2].int() > 40)
    assert int(green.sum()) > 300  # the scene's points
    with pytest.raises(ValueError, match="too small"):
        draw_path(scene(), path, height=100, width=900)


def test_right_is_right_and_left_is_left() -> None:
    for yaw, sign in ((30, 1), (-30, -1)):
        top, _ = halves(drawn(PathConfig("orbit", yaw=yaw)), TARGET)
        source_top, _ = halves(drawn(PathConfig("orbit", yaw=yaw)), SOURCE)
        assert sign * (top[:, 1].mean() - source_top[:, 1].mean()) > 15


def test_up_is_up_from_the_side() -> None:
    for pitch, sign in ((30, 1), (-30, -1)):
        _, side = halves(drawn(PathConfig("orbit", pitch=pitch)), TARGET)
        _, source_side = halves(drawn(PathConfig("orbit", pitch=pitch)), SOURCE)
        assert sign * (source_side[:, 0].mean() - side[:, 0].mean()) > 15


def test_forward_is_up_from_above_and_right_from_the_side() -> None:
    top, side = halves(drawn(PathConfig("dolly", distance=0.6)), TARGET)
    source_top, source_side = halves(drawn(PathConfig("dolly", distance=0.6)), SOURCE)
    assert source_top[:, 0].mean() - top[:, 0].mean() > 15
    assert side[:, 1].mean() - source_side[:, 1].mean() > 15
    focus_top, _ = halves(drawn(PathConfig("dolly", distance=0.6)), FOCUS)
    assert focus_top[:, 0].min() < top[:, 0].max()


def test_it_does_not_depend_on_the_world_frame() -> None:
    path = make_path(source_cameras(), R, PathConfig())
    turned = torch.tensor([[0, 0, 1, 5], [1, 0, 0, -2], [0, 1, 0, 9], [0, 0, 0, 1]], dtype=F64)

    def moved(cameras: Cameras) -> Cameras:
        return replace(cameras, cam_from_world=cameras.cam_from_world @ turned)

    other = CameraPath(moved(path.cameras), path.source_frames)
    a = draw_path(source_cameras(), path, focus_depth=R)
    b = draw_path(moved(source_cameras()), other, focus_depth=R)
    assert float((a.int() - b.int()).abs().float().mean()) < 0.05


@pytest.mark.parametrize("config", [PathConfig("static"), PathConfig("zoom"), PathConfig("freeze")])
def test_paths_that_stand_still_are_drawn(config: PathConfig) -> None:
    image = drawn(config)
    assert len(where(image, TARGET)) > 20


def test_odd_scenes_are_drawn() -> None:
    one = make_path(source_cameras(1), R, PathConfig())
    assert draw_path(scene(1), one).shape == (3, 720, 1280)
    nothing = replace(scene(), valid=torch.zeros(12, H, W, dtype=torch.bool))
    path = make_path(source_cameras(), R, PathConfig())
    assert len(where(draw_path(nothing, path, focus_depth=R), TARGET)) > 20
    depth = torch.full((12, H, W), R)
    depth[:, :10] = 1e6  # sky
    depth[:, 10, :5] = float("nan")
    assert len(where(draw_path(replace(scene(), depth=depth), path), TARGET)) > 200


def test_summary() -> None:
    source = source_cameras()
    path = make_path(source, R, PathConfig("truck", distance=0.5))
    text = path_summary(source, path, R)
    assert text == ("at most 2 units and 0 deg from the source; travels 2 units; focus at 4 units")
    metric = replace(scene(), metres_per_unit=0.5)
    assert "at most 1 m" in path_summary(source, path, R, metric)
    frozen = make_path(source, R, PathConfig("freeze", yaw=20))
    assert "20 deg" in path_summary(source, frozen, None)
    assert path_summary(source, frozen, None).endswith("time held at frame 6")
    zoomed = make_path(source, R, PathConfig("zoom", zoom=2))
    assert "zoom 1 to 2" in path_summary(source, zoomed, None)
