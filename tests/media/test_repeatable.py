"""The same frames give the same file, byte for byte, on any number of cores."""

from pathlib import Path

import pytest
import torch

from media_samples import encode_tone, moving_frames
from recam.media import write_video
from recam.types import video_from_frames


@pytest.mark.parametrize("name", ["f.mp4", "f.mkv", "f.mov", "f.gif", "f.webp"])
def test_equal_frames_give_equal_bytes(tmp_path: Path, name: str) -> None:
    sound = encode_tone(tmp_path / "tone.mp4", "aac", duration_s=1.0)
    film = name.endswith(("mp4", "mkv", "mov"))
    frames = torch.from_numpy(moving_frames(12, 96, 128))
    video = video_from_frames(frames, 12.0, str(sound) if film else None)
    written = []
    for _ in range(4):
        write_video(video, tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert len(set(written)) == 1
    if film:  # x264 notes its options in the film
        assert b"threads=1 " in written[0]
