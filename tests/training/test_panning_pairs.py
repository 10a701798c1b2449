"""A window that moves over a video, and pairs of what it shows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recam.apps import learning
from recam.configs import SEARCHED, PretrainConfig
from recam.media import write_video
from recam.training import panning_pairs as module
from recam.training.panning_pairs import panned, panned_pairs, window_path
from recam.types import RecamError, video_from_frames


def test_the_window_stays_on_the_picture_and_moves_smoothly() -> None:
    size, picture = (48, 80), (300, 400)
    middle = np.array([40.0, 24.0, 1.0])
    for seed in range(20):
        path = window_path(12, size, picture, np.random.default_rng(seed))
        centers = path @ middle
        assert (centers > 0).all() and (centers < (400, 300)).all()
        assert np.linalg.norm(np.diff(centers, axis=0), axis=1).max() < 0.05 * 400
        scale = np.sqrt(np.linalg.det(path[:, :, :2]))
        assert (scale * 80 <= 0.93 * 400 + 1e-6).all() and (scale * 48 <= 300).all()


def test_a_window_shows_the_pixels_that_its_matrix_names() -> None:
    rows, columns = torch.meshgrid(torch.arange(300), torch.arange(400), indexing="ij")
    ramp = torch.stack([columns * 0.6, rows * 0.8, torch.zeros(300, 400)])
    frames = ramp.to(torch.uint8).expand(6, 3, 300, 400)
    seen = panned(frames, 48, 80, np.random.default_rng(3))
    path = window_path(6, (48, 80), (300, 400), np.random.default_rng(3))
    for i in range(6):
        x, y = path[i] @ np.array([30.0, 20.0, 1.0])
        assert abs(float(seen[i, 0, 20, 30]) - 0.6 * x) < 2.5
        assert abs(float(seen[i, 1, 20, 30]) - 0.8 * y) < 2.5


def test_pairs_of_a_video_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SIZE", (5, 32, 48))
    frames = torch.randint(0, 255, (1, 3, 12, 16), dtype=torch.uint8).expand(9, 3, 12, 16)
    big = torch.nn.functional.interpolate(frames.float(), (96, 128), mode="bilinear").to(
        torch.uint8
    )
    path = tmp_path / "a.mp4"
    write_video(video_from_frames(big), path)
    holes = torch.ones(3, 16, 24)
    holes[:, 4:10, 5:12] = 0
    first = list(panned_pairs(path, [holes], 2, 0))
    assert len(first) == 2
    assert not torch.equal(first[0].target.frames, first[1].target.frames)
    for pair in first:
        assert pair.target.frames.shape == (5, 3, 32, 48)
        assert pair.filled.shape == (len(SEARCHED), 5, 4, 32, 48)
        known = pair.partial.known == 1
        assert 0.5 < float(known.float().mean()) < 0.95
        assert torch.equal(pair.partial.frames, pair.target.frames * known[:, None])
    monkeypatch.setattr(module, "filled", None)  # found again
    again = list(panned_pairs(path, [holes], 2, 0))
    assert all(torch.equal(a.filled, b.filled) for a, b in zip(first, again))


def test_panning_needs_holes_from_somewhere(tmp_path: Path) -> None:
    config = PretrainConfig(out=str(tmp_path), videos=str(tmp_path), panned_per_video=1)
    with pytest.raises(RecamError, match="--num-scenes"):
        learning.panned_over(config, [], lambda *_: None)
