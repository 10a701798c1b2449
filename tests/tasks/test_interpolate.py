"""Frames between views: the views unchanged, straight motion found, exposure and bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import fails, left_behind
from recam.apps.cli import main
from recam.configs import InterpolateConfig
from recam.evaluation.metrics import psnr
from recam.media import read_image, read_video, write_image
from recam.tasks.interpolate import interpolate
from task_clips import moving_thing, texture


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_straight_motion_between_two_views() -> None:
    truth = moving_thing(7).frames
    result = interpolate(truth[::6], InterpolateConfig(frames=5))
    out = result.video.frames
    assert torch.equal(out[0], truth[0]) and torch.equal(out[-1], truth[-1])
    fade = torch.stack([truth[0].float().lerp(truth[6].float(), i / 6) for i in range(7)])
    assert psnr(out[1:-1], truth[1:-1]) > psnr(fade[1:-1], truth[1:-1]) + 4
    assert psnr(out[1:-1], truth[1:-1]) > 21


def test_views_in_order() -> None:
    views = moving_thing(9).frames[::4]
    result = interpolate(views, InterpolateConfig(frames=3))
    assert torch.equal(result.video.frames[::4], views) and len(result.video) == 9
    assert torch.equal(result.partial.known[::4], torch.ones_like(result.partial.known[::4]))


def _seen_from(places: np.ndarray) -> torch.Tensor:
    """uint8 [t, 3, 96, 160]: a wide picture through a window at places [t, 2] px (x, y)."""
    wide = texture(260, 320, 7)
    corners = [np.rint(p).astype(int) for p in places]
    cut = np.stack([wide[y : y + 96, x : x + 160] for x, y in corners])
    return torch.from_numpy(cut).permute(0, 3, 1, 2).contiguous()


def test_four_views_of_an_arc_make_the_motion_between_curved() -> None:
    step = 6
    angle = np.radians(50) * np.arange(3 * step + 1) / step
    truth = _seen_from(60 + 20 * np.stack([np.sin(angle), -np.cos(angle)], 1))
    curved = interpolate(truth[::step], InterpolateConfig(frames=step - 1)).video.frames
    assert torch.equal(curved[::step], truth[::step])
    two = interpolate(truth[step : 2 * step + 1 : step], InterpolateConfig(frames=step - 1))
    inner, middle = slice(step + 1, 2 * step), (..., slice(25, -25), slice(30, -30))
    straight = psnr(two.video.frames[1:-1][middle], truth[inner][middle])
    assert psnr(curved[inner][middle], truth[inner][middle]) > straight + 3  # 24.4, 20.6 dB
    # Before the first and behind the last nothing says how motion bends.
    ends = interpolate(truth[: step + 1 : step], InterpolateConfig(frames=step - 1)).video.frames
    assert torch.equal(curved[: step + 1], ends)


def test_views_that_shake_are_joined_by_straight_lines() -> None:
    places = np.array([[60, 60], [72, 64], [60, 60], [72, 64]])
    views, config = _seen_from(places), InterpolateConfig(frames=3)
    shaken = interpolate(views, config).video.frames[4:9].float()
    alone = interpolate(views[1:3], config).video.frames.float()
    assert float((shaken - alone).abs().mean()) < 0.05


def test_exposure_passes_over_evenly() -> None:
    still = torch.from_numpy(texture(96, 160, 3)).permute(2, 0, 1).clamp(40, 220)
    dark = (still.float() * 0.7).round().to(torch.uint8)
    out = interpolate(torch.stack([still, dark]), InterpolateConfig(frames=3)).video.frames
    wanted = torch.stack([still.float() * 0.7 ** (i / 4) for i in range(5)])
    assert torch.equal(out[0], still) and torch.equal(out[4], dark)
    assert psnr(out, wanted) > 35


def test_nothing_in_common_is_said() -> None:
    views = torch.stack([torch.from_numpy(texture(96, 160, s)).permute(2, 0, 1) for s in (3, 4)])
    with pytest.warns(UserWarning, match="nothing in common"):
        result = interpolate(views, InterpolateConfig(frames=2))
    assert torch.equal(result.video.frames[[0, 3]], views)


def test_bad_views() -> None:
    views = moving_thing(2).frames
    with pytest.raises(ValueError, match="k ≥ 2"):
        interpolate(views[:1])
    with pytest.raises(ValueError, match="frames is 0"):
        interpolate(views, InterpolateConfig(frames=0))


def test_command(tmp_path: Path) -> None:
    views = moving_thing(3).frames
    for i in range(2):
        write_image(views[2 * i], Path(f"input-{i}.png"))
    write_image(views[0, :, :40], Path("input-small.png"))
    main(["interpolate", "input-0.png", "input-1.png", "--frames", "2", "-o", "a", "--quiet"])
    assert len(read_video(Path("a/result.mp4"))) == 4
    line = fails("interpolate", "input-0.png", "input-small.png", "-o", "out")
    assert "160×40" in line and "160×96" in line
    assert "two or more" in fails("interpolate", "input-0.png", "-o", "out")
    two = ("interpolate", "input-0.png", "input-1.png", "-o", "out")
    assert "frames is 0" in fails(*two, "--frames", "0")
    assert "size is 8" in fails(*two, "--size", "8")
    assert "fps" in fails(*two, "--fps", "0")
    assert "input-9.png" in fails("interpolate", "input-0.png", "input-9.png", "-o", "out")
    assert [n for n in left_behind(tmp_path) if not n.startswith("a")] == []


def test_real_pairs(shared_data: Path) -> None:
    for k in range(3):
        files = [shared_data / "pairs" / "rife_demo" / f"I{k}_{j}.png" for j in (0, 1)]
        views = torch.stack([read_image(f) for f in files])
        result = interpolate(views, InterpolateConfig(frames=1))
        assert torch.equal(result.video.frames[::2], views)
        assert float((result.partial.known[1] > 0.9).float().mean()) > 0.6
