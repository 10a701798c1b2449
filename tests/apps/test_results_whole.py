"""Commands a second time and stopped half-way: an earlier result is replaced whole, or stays."""

import hashlib
from pathlib import Path

import pytest
import torch

from media_samples import moving_frames
from recam.apps import cli, commands, progress
from recam.media import write_image, write_video
from recam.types import video_from_frames


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    video = video_from_frames(torch.from_numpy(moving_frames(10, 48, 64)))
    write_video(video, tmp_path / "clip.mp4", crf=0)
    known = torch.ones(48, 64, dtype=torch.bool)
    known[20:30, 20:40] = False
    write_image(known, tmp_path / "known.png")
    return tmp_path / "clip.mp4"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_complete_twice_and_stopped(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["complete", "clip.mp4", "--known", "known.png", "--model", "propagate"]
    words += ["--window", "4", "--overlap", "2", "--quiet", "-o", "whole.mp4"]
    for _ in range(2):
        cli.main(words)
    first = sha256(Path("whole.mp4"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(commands, "write_video", stop)
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 130
    assert sha256(Path("whole.mp4")) == first and not hidden(clip.parent)
    progress.style.set("auto")
