"""What a process may take, and what follows from it."""

from pathlib import Path

import pytest

from recam.completion import windows
from recam.configs import InputConfig
from recam.media import input as media_input
from recam.runtime import cache, memory
from recam.types import RecamError

resource = pytest.importorskip("resource")


def test_the_least_limit_counts(monkeypatch, tmp_path: Path) -> None:
    assert (memory.memory_bytes() or 0) > 1e8
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (3_000_000_000, -1))
    assert memory.memory_bytes() == 3_000_000_000
    monkeypatch.setattr(memory, "_container_limits", lambda: [2_000_000_000, 1 << 62])
    assert memory.memory_bytes() == 2_000_000_000


def test_windows_shrink_where_there_is_little_memory(monkeypatch) -> None:
    sizes = {}
    for gb in (1, 2, 4, 8, 64):
        monkeypatch.setattr(memory, "memory_bytes", lambda gb=gb: gb * 10**9)
        sizes[gb] = sum(windows.fitting_window(48, 8, 50_000_000, 400_000))
    assert sizes == {1: 6, 2: 17, 4: 45, 8: 45, 64: 45}
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    assert sum(windows.fitting_window(48, 8, 50_000_000, 400_000)) == 45


def test_pictures_that_do_not_fit_are_told_before_the_start(monkeypatch) -> None:
    about = type("About", (), {"height": 4320, "width": 7680, "num_frames": 90})
    monkeypatch.setattr(media_input, "probe", lambda source: about)
    monkeypatch.setattr(media_input, "memory_bytes", lambda: 8 * 10**9)
    with pytest.raises(RecamError, match=r"take about 14\.8 GB; 8\.0 GB are there .* --max-side"):
        media_input.check_memory(Path("a.mp4"), InputConfig())
    told = ""
    try:
        media_input.check_memory(Path("a.mp4"), InputConfig())
    except RecamError as error:
        told = str(error)
    media_input.check_memory(Path("a.mp4"), InputConfig(max_side=int(told.split()[-1])))
    monkeypatch.setattr(media_input, "memory_bytes", lambda: 6 * 10**8)
    with pytest.raises(RecamError, match=r"However small they are, 0\.7 GB are needed"):
        media_input.check_memory(Path("a.mp4"), InputConfig(max_side=64))


def test_a_plan_is_what_was_measured() -> None:
    """Largest resident memory of reshoots (benchmarks/memory_estimate.py), to 30 %."""
    measured_gb = {
        (192, 288, 12): 0.68, (480, 854, 12): 1.28, (720, 1280, 10): 1.44, (1080, 1920, 6): 1.76,
    }  # fmt: skip
    for (height, width, frames), gb in measured_gb.items():
        assert 0.7 < media_input.memory_needed(height, width, frames) / 1e9 / gb < 1.3


def test_little_memory_keeps_less_of_it(monkeypatch) -> None:
    monkeypatch.setattr(cache, "memory_bytes", lambda: 2 * 10**9)
    assert cache.fits_in_memory(49_000_000) and not cache.fits_in_memory(51_000_000)
    for there in (64 * 10**9, None):
        monkeypatch.setattr(cache, "memory_bytes", lambda there=there: there)
        assert cache.fits_in_memory(256 << 20) and not cache.fits_in_memory((256 << 20) + 1)
