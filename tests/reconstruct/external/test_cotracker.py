"""Points that CoTracker follows, with a stand-in for its package that knows the answer."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from recam.configs import EditConfig
from recam.evaluation.metrics import psnr
from recam.reconstruct.external import cotracker
from recam.tasks.edit import edit, remove
from recam.tasks.edit_tracking import pointed, track
from recam.types import RecamError, no_progress
from task_clips import STEP, moving_thing, thing_region


class _Knows:
    """Takes CoTrackerPredictor's place: every point moves with the thing of moving_thing."""

    def __init__(self, checkpoint: str) -> None:
        if not Path(checkpoint).read_bytes():
            raise RuntimeError("empty")
        self.seen: list[int] = []

    def to(self, device: torch.device) -> "_Knows":
        return self

    def eval(self) -> "_Knows":
        return self

    def __call__(
        self, video: torch.Tensor, queries: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert video.shape[:3:2] == (1, 3) and queries.shape[2] == 3 and not queries[..., 0].any()
        clip = moving_thing(8).frames.float()
        number = [int((clip - one).abs().mean((1, 2, 3)).argmin()) for one in video[0]]
        ways = STEP * (torch.tensor(number) - number[0]).float()
        tracks = queries[:, None, :, 1:].repeat(1, video.shape[1], 1, 1)
        tracks[..., 0] += ways[None, :, None]
        return tracks, torch.ones(tracks.shape[:3])


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package, predictor = ModuleType("cotracker"), ModuleType("cotracker.predictor")
    predictor.CoTrackerPredictor = _Knows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cotracker", package)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", predictor)
    (tmp_path / "scaled.pth").write_bytes(b"weights")
    return str(tmp_path / "scaled.pth")


@pytest.mark.parametrize("together", [3, 48])
def test_points_are_followed_both_ways_and_on_from_part_to_part(
    weights: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cotracker, "TOGETHER", together)
    points = np.array([[30, 40], [35, 45]], np.float32)
    at, visible = cotracker.follow_points(moving_thing(8), 3, points, weights)
    for i in range(8):
        np.testing.assert_allclose(at[i], points + np.array([STEP * (i - 3), 0]), atol=0.01)
    assert visible.all()


def test_where_the_flow_is_not_sure_the_points_say_where_the_surface_is_from(weights: str) -> None:
    video, region = moving_thing(5), thing_region(0).numpy()
    lost = [
        replace(one, at=one.at + 20, reliable=np.zeros_like(one.reliable))
        for one in track(video, 0, region, no_progress)
    ]
    found = list(pointed(iter(lost), video, 0, region, weights, no_progress))
    for one in found:
        inside = thing_region(one.frame).numpy() & one.inside
        there = one.reliable & inside
        assert there.sum() > 0.8 * inside.sum() > 500
        rows, columns = np.nonzero(there)
        true = np.stack([columns - STEP * one.frame, rows], 1)
        assert np.abs(one.at[there] - true).max() < 0.6
    plain = list(pointed(iter(lost), video, 0, region, None, no_progress))
    assert all(a is b for a, b in zip(plain, lost))


def test_what_was_lost_is_found_again_by_its_points(weights: str) -> None:
    video, region = moving_thing(5), thing_region(0).numpy()
    lost = [
        replace(one, inside=np.zeros_like(one.inside), reliable=np.zeros_like(one.reliable))
        for one in track(video, 0, region, no_progress)
    ]
    for one in pointed(iter(lost), video, 0, region, weights, no_progress):
        true = thing_region(one.frame).numpy()
        assert (one.inside & true).sum() > 0.95 * (one.inside | true).sum()


def test_removing_asks_it_too(weights: str) -> None:
    video, truth = moving_thing(4), moving_thing(4, thing_seed=None)
    out = remove(video, thing_region(0), config=EditConfig(track_weights=weights)).video.frames
    inside = torch.stack([thing_region(i) for i in range(4)]).float()
    assert psnr(out, truth.frames, inside) > psnr(video.frames, truth.frames, inside) + 4
    with pytest.raises(RecamError, match="no such CoTracker"):
        remove(video, thing_region(0), config=EditConfig(track_weights="none.pth"))
    with pytest.raises(ValueError, match="nothing is followed"):
        remove(video, inside, config=EditConfig(track_weights=weights))


def test_edits_ask_it(weights: str) -> None:
    video, truth = moving_thing(4), moving_thing(4, thing_seed=5)
    out = edit(video, truth.frames[0], config=EditConfig(track_weights=weights)).video.frames
    inside = torch.stack([thing_region(i) for i in range(4)]).float()
    assert psnr(out, truth.frames, inside) > 24


def test_what_is_missing_is_said(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = moving_thing(2)
    points = np.zeros((1, 2), np.float32)
    with pytest.raises(RecamError, match="no such CoTracker"):
        cotracker.follow_points(video, 0, points, str(tmp_path / "none.pth"))
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(RecamError, match="cannot read"):
        cotracker.follow_points(video, 0, points, str(tmp_path / "empty.pth"))
    monkeypatch.setitem(sys.modules, "cotracker.predictor", None)
    with pytest.raises(RecamError, match="package cotracker"):
        cotracker.follow_points(video, 0, points, weights)
