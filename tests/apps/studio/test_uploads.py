"""Uploads: told by their content, bounded, under generated names."""

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recam.apps.studio.facts import describe_cameras, describe_depth, describe_masks, limits
from recam.apps.studio.uploads import keep, sniff
from recam.camera_files import write_cameras
from recam.media import probe, write_image, write_video
from recam.types import RecamError
from studio_scene import small_clip

PNG = cv2.imencode(".png", np.zeros((8, 12, 3), np.uint8))[1].tobytes()
LIMIT = 1_000_000


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    write_video(small_clip().video, film)
    assert sniff(film.read_bytes()) == ("film", ".mp4")
    kind, path = keep(film.read_bytes(), tmp_path / "up", LIMIT)
    assert kind == "film" and path.parent == tmp_path / "up" and path.stem.isalnum()
    assert probe(path).num_frames == 8
    assert sniff(PNG) == ("picture", ".png")
    assert sniff(b'  {"keys": []}') == ("data", ".json")
    assert sniff(b"0 1 2 3\n") == ("data", ".txt")
    array = io.BytesIO()
    np.savez(array, a=np.zeros(3))
    assert sniff(array.getvalue()) == ("data", ".npz")


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01" + bytes(64), b"MZ\x90\x00" + bytes(64), bytes(100), b"\xfe\xff\x00"],
)
def test_what_is_not_known_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="neither a film"):
        keep(content, tmp_path / "up", LIMIT)
    assert not list(tmp_path.rglob("*.*"))


def test_size_and_emptiness(tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="at most 1 MB"):
        keep(PNG + bytes(LIMIT), tmp_path, LIMIT)
    with pytest.raises(RecamError, match="empty"):
        keep(b"", tmp_path, LIMIT)


def test_a_zip_becomes_a_folder_of_its_pictures(tmp_path: Path) -> None:
    content = packed({"shot/1.png": PNG, "shot/2.png": PNG, "shot/run.sh": b"rm", ".x.png": PNG})
    kind, folder = keep(content, tmp_path, LIMIT)
    assert kind == "archive" and sorted(p.name for p in folder.iterdir()) == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../../evil.png": PNG, "evil.png": PNG}, "same name"),
        ({"run.sh": b"rm"}, "without pictures"),
        ({"a.txt": bytes(20 * LIMIT)}, "at most 4 MB"),
    ],
)
def test_bad_zips(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecamError, match=message):
        keep(packed(files), tmp_path / "up", LIMIT)
    assert not (tmp_path / "evil.png").exists()


def test_a_zip_cannot_leave_its_folder(tmp_path: Path) -> None:
    _, folder = keep(packed({"../../evil.png": PNG, "/abs.png": PNG}), tmp_path / "up", LIMIT)
    assert sorted(p.name for p in folder.iterdir()) == ["abs.png", "evil.png"]
    assert folder.parent == tmp_path / "up" and not (tmp_path / "evil.png").exists()


def test_a_camera_file_is_described(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    write_cameras(small_clip().cameras, file)
    said = describe_cameras(file)
    assert said.startswith("8 cameras (recam, 144×96") and "turned" in said
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"frame": 0}, {"frame": 7, "yaw": 10}]}))
    assert "Keyframes" in describe_cameras(keys)


def test_depth_and_masks_are_described(tmp_path: Path) -> None:
    clip = small_clip()
    depth, masks = tmp_path / "depth.npz", tmp_path / "masks"
    np.savez(depth, depth=clip.depth.numpy())
    masks.mkdir()
    for i in range(8):
        white = torch.zeros(3, 96, 144, dtype=torch.uint8)
        white[:, :48] = 255
        write_image(white, masks / f"{i:03d}.png")
    said = describe_depth(depth, 8, 96, 144)
    middle = f"{float(clip.depth[clip.valid].median()):.2g}"
    assert said.startswith("npz: 8 depth maps") and middle in said
    assert describe_masks(masks, 8, 96, 144) == "a folder of png: 50% of the pixels move"
    with pytest.raises(ValueError, match="7"):
        describe_depth(depth, 7, 96, 144)
    assert "one job at a time" in limits() and "GB" in limits()
