"""Stabilising shows the whole frame: other moments fill what shake had put outside."""

from pathlib import Path

import pytest
import torch

import recam
from recam.apps.cli import main
from recam.configs import CompleteConfig, RenderConfig
from recam.media import read_video
from recam.reconstruct import save_scene
from recam.trajectories import path_for_scene
from shaken_film import H, W, film, seen

PATH = recam.stabilise(smoothness=1.0)


def test_borders_come_from_other_moments() -> None:
    """Against what the steady camera truly sees, in the borders that its own frame lacks."""
    scene = film(num=45)
    alone = recam.render_path(scene, PATH, render=RenderConfig(aggregate_static=False))
    together = recam.render_path(scene, PATH)
    lacking = alone.known < 0.5
    assert float(lacking.float().mean()) > 0.02
    assert float((together.known < 0.5).float().mean()) < 0.25 * float(lacking.float().mean())
    result = recam.reshoot(scene, PATH, complete=CompleteConfig("propagate")).video.frames
    path = path_for_scene(scene, PATH)
    truth = torch.stack([seen(m) for m in path.cameras.world_from_cam[:, :3, :3]])
    off = (result.float() - truth.float()).abs().mean(1)
    assert float(off[lacking].mean()) < 8 and float(off[~lacking].mean()) < 4
    # A film that is cut to what every frame shows would lose the borders altogether.
    assert tuple(result.shape[2:]) == (H, W)


def test_the_steady_film_is_steadier() -> None:
    scene = film(num=45)
    before = (scene.video.frames[1:].float() - scene.video.frames[:-1].float()).abs().mean()
    steady = recam.render_path(scene, PATH).frames.float()
    assert float((steady[1:] - steady[:-1]).abs().mean()) < 0.6 * float(before)


@pytest.mark.parametrize("readout", [0.0, 0.8])
def test_the_command_says_what_it_noticed(
    readout: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_scene(film(readout), tmp_path / "scene")
    options = ["--path", "stabilise", "--amount", "0.8", "--smoothness", "0.5"]
    main(["reshoot", "scene", *options, "--model", "none", "-o", "o", "--quiet"])
    assert len(read_video(Path("o/result.mp4"))) == 20
    assert ("rolling shutter: rows" in capsys.readouterr().err) == (readout > 0)
