"""Kernels are compiled once, kept, and made by a second process where there are none."""

import subprocess
from pathlib import Path

import pytest

from recam.apps import warm_up
from recam.runtime import jit


def test_a_kernel_is_told_to_lie_on_disk_once_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def twice(x):
        return x + x

    compiled = jit.kernel(twice)
    assert jit.lies_on_disk(compiled) is False
    assert str(jit.kept_in(compiled)).startswith(str(tmp_path))
    assert compiled(3) == 6
    assert jit.lies_on_disk(compiled) is True
    assert jit.lies_on_disk(jit.inlined(twice)) is None  # nothing of it is kept


@pytest.mark.parametrize(
    ("wanted", "cores", "on_disk", "starts"),
    [
        ("1", 2, False, 1),
        ("0", 2, False, 0),
        ("1", 1, False, 0),
        ("1", 2, True, 0),
        ("1", 2, None, 0),
    ],
)
def test_a_second_process_compiles_once_where_it_helps(
    monkeypatch: pytest.MonkeyPatch, wanted: str, cores: int, on_disk: bool | None, starts: int
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(warm_up, "_running", [])
    monkeypatch.setattr(warm_up, "num_cores", lambda: cores)
    monkeypatch.setattr(warm_up, "lies_on_disk", lambda _: on_disk)
    monkeypatch.setenv("RECAM_COMPILE_BESIDE", wanted)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: begun.append(command))
    warm_up.start_compiling()
    warm_up.start_compiling()
    assert len(begun) == starts
