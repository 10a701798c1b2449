"""A kept scene is found again for what it was made of, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from input_cameras import N, transforms, write_json
from recam.configs import InputConfig, ReconstructConfig
from recam.media.input import files_of, read_input, source_part
from recam.reconstruct.scene_cache import scene_key
from recam.types import RecamError

PART = InputConfig()


def pictures(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / name)
    return folder


def test_equal_pictures_of_two_cameras_are_two_scenes(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(N)]
    first, second = (pictures(tmp_path / cam, names) for cam in ("cam0", "cam1"))
    cameras = str(write_json(tmp_path / "t.json", transforms([f"cam0/{n}" for n in names])))
    assert scene_key(first, PART, ReconstructConfig()) == scene_key(
        second, PART, ReconstructConfig()
    )
    given = ReconstructConfig(cameras=cameras)
    assert scene_key(first, PART, given) != scene_key(second, PART, given)
    before = scene_key(first, PART, given)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "t.json").write_bytes(Path(cameras).read_bytes())
    # What lies beside a camera file and is read with it counts as well.
    write_json(tmp_path / "dataparser_transforms.json", {"scale": 2})
    assert scene_key(first, PART, given) != before


def test_patterns_are_sources(tmp_path: Path) -> None:
    pictures(
        tmp_path, [f"f{i}.color.png" for i in range(3)] + [f"f{i}.depth.png" for i in range(3)]
    )
    source = tmp_path / "*.color.png"
    assert len(files_of(source)) == 3
    video = read_input(source, PART)
    part = source_part(source, InputConfig(start=1), 2)
    assert len(video) == 3 and part.frames is not None and part.frames.tolist() == [1, 2]
    assert part.pictures == ("f0.color.png", "f1.color.png", "f2.color.png")
    key = scene_key(source, PART, ReconstructConfig())
    Image.new("RGB", (8, 6), "red").save(tmp_path / "f1.color.png")
    assert scene_key(source, PART, ReconstructConfig()) != key
    with pytest.raises(RecamError, match="no such file or folder"):
        files_of(tmp_path / "nothing.mp4")
    with pytest.raises(RecamError, match="holds no pictures"):
        files_of(tmp_path / "*.nothing.png")
