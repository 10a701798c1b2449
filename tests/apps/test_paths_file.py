"""`recam paths FILE`, `--validate-only`: one sentence, or one clear line, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from command_line import fails
from input_cameras import N, transforms, write_json
from media_samples import encode_film, moving_frames
from recam.apps.cli import main
from recam.camera_files import write_cameras
from recam.geometry import intrinsics_from_fov
from recam.types import Cameras


def test_a_camera_file_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_json(tmp_path / "t.json", transforms([f"{i}.png" for i in range(N)]))
    main(["paths", str(path)])
    shown = capsys.readouterr().out
    assert shown.startswith("6 cameras (nerfstudio, 64×48") and "10° to the right" in shown
    turned = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    turned[1, :2, :2] = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # its right is the picture's down
    cameras = Cameras(turned, intrinsics_from_fov(50, 48, 64).expand(2, 3, 3), 48, 64)
    write_cameras(cameras, tmp_path / "no_suffix", "nerfstudio")
    main(["paths", "no_suffix"])
    assert "50.0° wide" in (shown := capsys.readouterr().out)
    assert "rolled 90° clockwise" in shown and "turned" not in shown
    write_cameras(cameras, tmp_path / "c.chan")
    main(["paths", "c.chan"])
    assert "field of view by the picture's size" in capsys.readouterr().out
    (tmp_path / "c.chan").unlink()
    (tmp_path / "no_suffix").unlink()
    film = encode_film(tmp_path / "f.mp4", moving_frames(4, 48, 64))
    main(["paths", str(film), "--path", "orbit", "--pitch", "10", "--validate-only"])
    assert capsys.readouterr().out == "The preset orbit (pitch 10).\n"
    line = fails("paths", str(film), "--path", str(path), "--validate-only")
    assert "t.json" in line and "6 cameras but the video has 4 frames" in line
    assert sorted(f.name for f in tmp_path.iterdir()) == ["f.mp4", "t.json"]


def test_cameras_of_several_videos_name_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{side}/{i}.png" for side in ("left", "right") for i in range(2)]
    path = write_json(tmp_path / "t.json", transforms(names))
    assert "--file-video" in fails("paths", str(path))
    main(["paths", str(path), "--file-video", "right"])
    assert capsys.readouterr().out.startswith("2 cameras")
