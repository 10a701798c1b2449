"""A path through one picture: its own pixels, what is remembered, bad input."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from command_line import fails, left_behind
from recam.apps.cli import main
from recam.configs import ImageConfig, PathConfig
from recam.evaluation.metrics import psnr
from recam.media import read_video, write_image, write_video
from recam.synthetic import demo_clip
from recam.tasks.image import reshoot_image
from recam.types import Scene

LOOP = PathConfig("orbit", yaw=15.0, speed="there-and-back")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return demo_clip(1, 96, 160)[0]


def test_the_way_back_shows_what_the_way_there_did(scene: Scene) -> None:
    config = ImageConfig(frames=13, path=LOOP)
    result = reshoot_image(scene, config)
    frames = result.video.frames
    assert torch.equal(frames[0], scene.video.frames[0])
    assert torch.equal(frames[0], frames[-1])
    back = frames.flip(0)
    with_memory = psnr(frames[1:6], back[1:6])
    without = reshoot_image(scene, replace(config, memory=0))
    plain = psnr(without.video.frames[1:6], without.video.frames.flip(0)[1:6])
    assert with_memory > 35 and with_memory > plain
    assert float(result.partial.known.mean()) > float(without.partial.known.mean()) + 0.05


def test_the_picture_comes_before_what_is_remembered(scene: Scene) -> None:
    config = ImageConfig(frames=5, path=PathConfig("truck", distance=0.1, speed="linear"))
    seen = reshoot_image(scene, replace(config, memory=0)).partial
    remembered = reshoot_image(scene, config).partial
    sure = (seen.known >= 1)[:, None].expand(-1, 3, -1, -1)
    same = seen.frames[sure].float() - remembered.frames[sure].float()
    assert float((same.abs() > 2).float().mean()) < 0.02


def test_not_a_single_picture(scene: Scene) -> None:
    film = demo_clip(2, 48, 80)[0]
    with pytest.raises(ValueError, match="2 frames"):
        reshoot_image(film)
    with pytest.raises(ValueError, match="frames is 0"):
        reshoot_image(scene, ImageConfig(frames=0))


def test_command(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    write_image(scene.video.frames[0], Path("input.png"))
    main(["image", "input.png", "--path", "dolly", "--frames", "4", "-o", "a", "--quiet"])
    video = read_video(Path("a/result.mp4"))
    assert video.frames.shape == (4, 3, 96, 160)
    assert {p.name for p in Path("a").iterdir()} >= {"path.png", "cameras.json", "preview.mp4"}
    assert "nowhere.png" in fails("image", "nowhere.png", "-o", "out")
    assert "frames is 0" in fails("image", "input.png", "--frames", "0", "-o", "out")
    write_video(demo_clip(2, 96, 160)[0].video, Path("input-film"))
    assert "2 frames" in fails("image", "input-film", "-o", "out")
    assert "memory" in fails("image", "input.png", "--memory", "-1", "-o", "out")
    assert [n for n in left_behind(tmp_path) if not n.startswith("a")] == []
