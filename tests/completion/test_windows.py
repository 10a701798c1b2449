"""Long videos by windows: every frame once, finished frames enter the next window as known."""

from typing import Any

import pytest
import torch
from torch import Tensor

from recam.completion.completer import Windows
from recam.completion.streaming import complete_windows
from recam.completion.windows import fitting_window, resize_partial, windows_that_fit
from recam.runtime import memory
from recam.types import Cameras, PartialVideo, Progress, RecamError, Rendering, Scene, no_progress


class _Recorder:
    """A fill that writes its call's number into unknown pixels, and keeps what it was given."""

    note, weights_sha256, identity = "", None, ()

    def __init__(self, window: int = 0, overlap: int = 0) -> None:
        """window: frames that are filled together, ``overlap`` of them finished ones."""
        self.windows = Windows(window - overlap, overlap, 0)
        self.pieces: list[PartialVideo] = []

    def plan(self, total: int, height: int, width: int) -> Windows:
        return self.windows

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        self.pieces.append(window)
        number = torch.tensor(len(self.pieces), dtype=torch.uint8)
        return torch.where(window.known[:, None] > 0, window.frames, number)

    def adapt(self, shown: Scene | PartialVideo, *args: Any) -> "_Recorder":
        return self


def _numbered(num: int) -> PartialVideo:
    """Frames that show 100 + their index, known in the upper half."""
    frames = (100 + torch.arange(num, dtype=torch.uint8))[:, None, None, None]
    known = torch.zeros(num, 4, 6)
    known[:, :2] = 1
    return PartialVideo(frames.expand(num, 3, 4, 6).contiguous(), known)


@pytest.mark.parametrize(
    ("num", "window", "overlap", "sizes"),
    [
        (5, 8, 2, [5]), (8, 8, 2, [8]), (9, 8, 2, [8, 3]), (20, 8, 2, [8, 8, 8]),
        (7, 3, 0, [3, 3, 1]), (4, 2, 1, [2, 2, 2]),
    ],
)  # fmt: skip
def test_windows_cover_every_frame_once(
    num: int, window: int, overlap: int, sizes: list[int]
) -> None:
    partial, fill = _numbered(num), _Recorder(window, overlap)
    before = partial.frames.clone(), partial.known.clone()
    out = complete_windows(fill, partial)
    assert [len(p) for p in fill.pieces] == sizes
    assert out[:, 0, 0, 0].tolist() == [100 + i for i in range(num)]
    step, numbers = window - overlap, out[:, 0, 3, 0].tolist()
    assert numbers == [1 + max(0, (i - overlap) // step) for i in range(num)]
    assert torch.equal(partial.frames, before[0]) and torch.equal(partial.known, before[1])


def test_finished_frames_enter_as_known() -> None:
    fill = _Recorder(5, 2)
    out = complete_windows(fill, _numbered(9))
    lead = fill.pieces[1]
    assert bool((lead.known[:2] == 1).all()) and bool((lead.known[2:, 2:] == 0).all())
    assert torch.equal(lead.frames[:2], out[3:5])


def test_geometry_goes_with_the_frames() -> None:
    partial = _numbered(6)
    pose = torch.eye(4, dtype=torch.float64).repeat(6, 1, 1)
    pose[:, 0, 3] = torch.arange(6)
    cameras = Cameras(pose, torch.eye(3, dtype=torch.float64).expand(6, 3, 3), 4, 6)
    depth = torch.arange(6.0)[:, None, None].expand(6, 4, 6)
    fill = _Recorder(4, 1)
    complete_windows(fill, Rendering(partial.frames, partial.known, depth, cameras))
    second = fill.pieces[1]
    assert isinstance(second, Rendering)
    assert second.depth[:, 0, 0].tolist() == [3, 4, 5]
    assert second.cameras.cam_from_world[:, 0, 3].tolist() == [3, 4, 5]


def test_progress_counts_frames() -> None:
    seen: list[tuple[int, int]] = []
    complete_windows(
        _Recorder(4, 1), _numbered(10), lambda _, done, total: seen.append((done, total))
    )
    assert seen == [(4, 10), (7, 10), (10, 10)]


@pytest.mark.parametrize(("window", "overlap"), [(0, 4), (-1, 0), (4, -1), (0, 0)])
def test_a_window_must_have_frames(window: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        windows_that_fit(window, overlap, 1000, 24)


def test_nothing_known_is_refused() -> None:
    partial = PartialVideo(_numbered(3).frames, torch.zeros(3, 4, 6))
    with pytest.raises(RecamError, match="nothing"):
        complete_windows(_Recorder(2, 0), partial)


def test_windows_of_large_pictures_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert fitting_window(48, 8, 10_000_000, 400_000) == (48, 8)
    new, overlap = fitting_window(48, 8, 100_000_000, 2_000_000)
    assert (new + overlap) * 100_000_000 < memory.MAX_BYTES and new > overlap > 0
    assert fitting_window(48, 8, 10**10, 33_000_000) == (4, 2)


def test_a_smaller_copy_counts_only_what_is_known_as_a_whole() -> None:
    partial = _numbered(6)
    assert resize_partial(partial, 4, 6) is partial
    depth = torch.arange(24.0).reshape(1, 4, 6).expand(6, 4, 6).contiguous()
    k = torch.eye(3, dtype=torch.float64).expand(6, 3, 3)
    cameras = Cameras(torch.eye(4, dtype=torch.float64).expand(6, 4, 4), k, 4, 6)
    small = resize_partial(Rendering(partial.frames, partial.known, depth, cameras), 2, 3)
    assert isinstance(small, Rendering) and small.frames.shape == (6, 3, 2, 3)
    assert small.known.tolist() == [[[1.0] * 3, [0.0] * 3]] * 6
