"""Videos completed piece by piece: windows that a stopped run finished are found, bit for bit."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recam.completers import FlowPropagation, MaskedCompleter, open_completer, resolve_config
from recam.completion import streaming
from recam.completion.completer import Completer
from recam.completion.windows import fill_pieces
from recam.configs import CompleteConfig
from recam.runtime import cache
from recam.runtime.cache import scratch_tensor
from recam.runtime.cache_entries import CacheWarning
from recam.types import PartialVideo, RecamError, video_from_frames


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "windows"


def _moving(num: int) -> PartialVideo:
    """A texture that moves by a pixel a frame, with a hole that stays where it is."""
    generator = torch.Generator().manual_seed(3)
    wall = torch.randint(0, 255, (3, 40, 60 + num), generator=generator, dtype=torch.uint8)
    frames = torch.stack([wall[:, :, i : i + 60] for i in range(num)])
    known = torch.ones(num, 40, 60)
    known[:, 10:24, 20:36] = 0
    return PartialVideo(frames, known)


CONFIG = CompleteConfig("masked", window=8, overlap=4)


def _counting(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[int]:
    """Lengths of the windows that are really completed; Ctrl-C at the one numbered stop_at."""
    lengths: list[int] = []
    for kind in (FlowPropagation, MaskedCompleter):

        def fill(
            self: Completer, window: PartialVideo, *args: Any, plain: Any = kind.fill
        ) -> Tensor:
            if len(lengths) == stop_at:
                raise KeyboardInterrupt
            lengths.append(len(window))
            return plain(self, window, *args)

        monkeypatch.setattr(kind, "fill", fill)
    return lengths


def complete_whole(partial: PartialVideo, config: CompleteConfig) -> Tensor:
    return streaming.complete_whole(partial, open_completer(resolve_config(config)))


def test_a_stopped_run_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    partial = _moving(30)
    at_once = complete_whole(partial, CONFIG)
    assert not list(own_cache.iterdir())  # nothing is left of a run that came to its end
    with monkeypatch.context() as patched:
        _counting(patched, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            complete_whole(partial, CONFIG)
    assert len(list(own_cache.glob("*.safetensors"))) == 2
    lengths = _counting(monkeypatch)
    resumed = complete_whole(partial, CONFIG)
    assert lengths == [12, 10] and torch.equal(resumed, at_once)
    assert not list(own_cache.iterdir())


def test_another_video_or_option_finds_nothing(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    partial = _moving(30)
    with monkeypatch.context() as patched:
        _counting(patched, stop_at=1)
        with pytest.raises(KeyboardInterrupt):
            complete_whole(partial, CONFIG)
    other = PartialVideo(partial.frames.clone(), partial.known)
    other.frames[3, 0, 0, 0] ^= 1
    for video, config in ((other, CONFIG), (partial, replace(CONFIG, seed=5))):
        with monkeypatch.context() as patched:
            lengths = _counting(patched)
            complete_whole(video, config)
            assert lengths == [8, 12, 12, 10]
    old = next(own_cache.glob("*.safetensors"))
    os.utime(old, (0, 0))  # a run that was never taken up again
    complete_whole(partial, CONFIG)
    assert not list(own_cache.iterdir())


def test_nothing_is_kept_of_one_window(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    complete_whole(_moving(8), CONFIG)
    assert not own_cache.exists()
    with pytest.raises(RecamError, match="nothing"):
        complete_whole(PartialVideo(_moving(3).frames, torch.zeros(3, 40, 60)), CONFIG)


def test_frames_without_a_look_ahead_are_cross_faded() -> None:
    """Filled with 0, then 80, then 160 …: the change is spread over the blended frames."""
    calls: list[PartialVideo] = []

    def fill(piece: PartialVideo, first: int) -> Tensor:
        calls.append(piece)
        value = torch.full_like(piece.frames, 80 * (len(calls) - 1))
        return torch.where(piece.known[:, None] > 0, piece.frames, value)

    video = PartialVideo(torch.zeros(18, 3, 2, 2, dtype=torch.uint8), torch.zeros(18, 2, 2))
    video.known[:, 0] = 1
    parts = (PartialVideo(video.frames[i : i + 6], video.known[i : i + 6]) for i in (0, 6, 12))
    done = list(fill_pieces(fill, parts, 18, 4, 3))
    assert [len(frames) for _, frames in done] == [3, 6, 9]
    assert torch.equal(torch.cat([p.known for p, _ in done]), video.known)
    values = torch.cat([f for _, f in done])[:, 0, 1, 0].tolist()
    assert values == [0] * 3 + [20, 40, 60] + [80] * 3 + [100, 120, 140] + [160] * 6
    assert [len(p) for p in calls] == [6, 10, 10]
    assert calls[1].known[:, 1, 0].tolist() == [1] + [0] * 9  # one finished frame, three open ones
    assert not torch.cat([f for _, f in done])[:, :, 0].any()  # known pixels stay


def test_large_results_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES_IN_MEMORY", 1000)
    partial = _moving(20)
    small = complete_whole(partial, CONFIG)
    tensor = scratch_tensor((3, 1000), torch.float32)
    assert tensor.shape == (3, 1000) and not tensor.any()
    tensor[1] = 7
    assert tensor.sum() == 7000 and not list((tmp_path / "cache" / "scratch").iterdir())
    monkeypatch.setattr(cache, "MAX_BYTES_IN_MEMORY", 1 << 30)
    assert torch.equal(small, complete_whole(partial, CONFIG))
    assert len(video_from_frames(small)) == 20


def test_a_window_that_cannot_be_kept_is_told_and_made_again(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    partial = _moving(20)
    at_once = complete_whole(partial, CONFIG)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match="No space left"):
            assert torch.equal(complete_whole(partial, CONFIG), at_once)
    assert not list(own_cache.iterdir())
    with monkeypatch.context() as patched:
        _counting(patched, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            complete_whole(partial, CONFIG)
    for kept in own_cache.glob("*.safetensors"):
        kept.write_bytes(kept.read_bytes()[:100])
    with pytest.warns(CacheWarning, match="is damaged"):
        assert torch.equal(complete_whole(partial, CONFIG), at_once)
