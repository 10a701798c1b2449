"""Films that say that they hold two eyes: what ffprobe and PyAV find in the file."""

import json
import shutil
import subprocess
from pathlib import Path

import av
import pytest
import torch

from recam.media import read_video, write_video
from recam.media.stereo_mode import StereoMode
from recam.types import Video, video_from_frames


def clip(num: int = 12) -> Video:
    generator = torch.Generator().manual_seed(0)
    base = torch.randint(0, 256, (1, 3, 6, 8), generator=generator, dtype=torch.uint8)
    big = base.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return video_from_frames(torch.cat([big.roll(i, 3) for i in range(num)]), 25)


@pytest.mark.parametrize("mode", ["left-right", "top-bottom"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_file_says_so_and_plays(suffix: str, mode: StereoMode, tmp_path: Path) -> None:
    video, path = clip(), tmp_path / f"a{suffix}"
    write_video(video, path, stereo=mode)
    write_video(video, tmp_path / f"plain{suffix}")
    again, plain = read_video(path), read_video(tmp_path / f"plain{suffix}")
    assert torch.equal(again.frames, plain.frames)
    torch.testing.assert_close(again.times_s, plain.times_s)
    data = path.read_bytes()
    if suffix == ".mkv":
        code = {"left-right": 1, "top-bottom": 3}[mode]
        assert bytes([0x53, 0xB8, 0x81, code]) in data  # StereoMode of Matroska
    else:
        code = {"left-right": 2, "top-bottom": 1}[mode]
        assert b"\0\0\0\x0dst3d\0\0\0\0" + bytes([code]) in data
    # H.264's own message, too, in every frame that can be begun from.
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        kinds = {str(side.type).lower() for side in frame.side_data}
        assert any("stereo3d" in kind for kind in kinds)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") or "marked" in p.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_as_ffprobe_reads_it(suffix: str, tmp_path: Path) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    path = tmp_path / f"a{suffix}"
    write_video(clip(), path, stereo="left-right")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    side = said["streams"][0]["side_data_list"]
    assert [s["type"] for s in side if s["side_data_type"] == "Stereo 3D"] == ["side by side"]
