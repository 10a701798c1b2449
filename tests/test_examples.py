"""Every example runs, at a small size, and says what it wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recam.media import read_video

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("[0-9]*.py"))


def test_examples_are_numbered() -> None:
    assert [int(p.name[:2]) for p in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example), "9", "72", "128"],
        cwd=tmp_path, env={**os.environ, "RECAM_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [tmp_path / line for line in done.stdout.split() if line.endswith(".mp4")]
    assert written
    for path in written:
        video = read_video(path)
        assert len(video) >= 9 and (video.height, video.width) == (72, 128)
