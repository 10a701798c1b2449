"""Cameras matched to frames by what both are called; more, fewer, turned, and of other folders."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from input_cameras import (
    H,
    N,
    W,
    assert_as_made,
    colmap_lines,
    transforms,
    world_from_cam,
    write_colmap,
    write_json,
)
from recam.camera_files import read_cameras
from recam.camera_files.names import Wanted, parts_of, select
from recam.types import SourcePart

PICTURES = tuple(f"{i:03d}.png" for i in range(N))


def part(pictures: tuple[str, ...] | None = PICTURES, folder: str = "images", **more) -> SourcePart:
    total = len(pictures) if pictures else N
    return SourcePart(f"/data/scene/{folder}", pictures, num_source_frames=total, **more)


@pytest.mark.parametrize(
    "name",
    [
        "images/{i:03d}.png", "./images/{i:03d}.png", "images\\{i:03d}.png", "{i:03d}",
        "C:\\data\\scene\\{i:03d}.png", "images/{i:03d}.jpg", "IMAGES/{i:03d}.PNG",
        "images/{i:03d}", "/home/other/{i:03d}.JPEG", "images/{i:03d}.png.",
    ],
)  # fmt: skip
def test_names_of_another_kind(tmp_path: Path, name: str) -> None:
    shuffled = [3, 1, 0, 5, 4, 2]
    content = transforms([name.format(i=i) for i in shuffled], shuffled)
    path = write_json(tmp_path / "transforms.json", content)
    file = read_cameras(path, num_frames=N, height=H, width=W, part=part())
    assert_as_made(file)


def test_unicode_forms(tmp_path: Path) -> None:
    names = [f"Prüfung é {i}.png" for i in range(N)]
    decomposed = [unicodedata.normalize("NFD", n) for n in names]
    assert names != decomposed
    path = write_json(tmp_path / "t.json", transforms(decomposed))
    pictures = tuple(unicodedata.normalize("NFC", n) for n in names)
    assert_as_made(read_cameras(path, num_frames=N, part=part(pictures)))


@pytest.mark.parametrize("written", ["{}.png", "{:02d}.png", "{:05d}.png", "frame_{}.jpg"])
def test_numbers_with_and_without_zeros(tmp_path: Path, written: str) -> None:
    names = [written.format(i) for i in range(12)]
    path = write_json(tmp_path / "t.json", transforms(names, [i % N for i in range(12)]))
    for pictures in (
        tuple(f"{i:04d}.png" for i in range(12)),
        tuple(f"f{i}.png" for i in range(12)),
    ):
        file = read_cameras(path, num_frames=12, part=part(pictures))
        assert_as_made(file, [i % N for i in range(12)])
    assert_as_made(read_cameras(path, num_frames=12), [i % N for i in range(12)])


def test_colmap_goes_by_number(tmp_path: Path) -> None:
    order = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    lines = colmap_lines([f"{i}.png" for i in order], [i % N for i in order])
    file = read_cameras(write_colmap(tmp_path, lines), num_frames=12)
    assert_as_made(file, [i % N for i in range(12)])


def test_order_only_with_a_word(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", transforms([f"shot{'abcdef'[i]}.png" for i in range(N)]))
    file = read_cameras(path, num_frames=N, part=part())
    assert_as_made(file)
    assert any("in the order of their names" in note for note in file.notes)
    with pytest.raises(ValueError, match=r"no camera for 000\.png"):
        read_cameras(path, num_frames=7, part=part((*PICTURES, "006.png")))


def test_some_registered(tmp_path: Path) -> None:
    which = [0, 1, 2, 4, 5]
    lines = colmap_lines([f"frame_{i:05d}.png" for i in which], which)
    model = write_colmap(tmp_path, lines)
    pictures = tuple(f"frame_{i:05d}.png" for i in range(N))
    for source in (part(pictures), part(None)):
        file = read_cameras(model, num_frames=N, height=H, width=W, part=source)
        assert len(file) == N
        off = np.linalg.inv(file.cam_from_world.numpy()) - world_from_cam()
        assert np.abs(off[which]).max() < 1e-9 and np.abs(off[3]).max() < 1e-3
        assert any("none for frame 3" in note for note in file.notes)
    some = SourcePart("x", pictures, torch.tensor([3]), N)
    alone = read_cameras(model, num_frames=1, part=some)
    assert np.abs(np.linalg.inv(alone.cam_from_world.numpy()) - world_from_cam()[3]).max() < 1e-3
    with pytest.raises(ValueError, match=r"no camera for frame_00003\.png"):
        read_cameras(model, file=list(pictures))


def test_numbers_of_a_films_frames_may_count_from_one(tmp_path: Path) -> None:
    which = [1, 2, 4, 5]
    names = [f"images/frame_{i + 1:05d}.png" for i in which]  # as ffmpeg counts
    path = write_json(tmp_path / "t.json", transforms(names, which))
    source = SourcePart("clip.mp4", None, torch.tensor([1, 2, 3, 4, 5]), N)
    file = read_cameras(path, num_frames=5, part=source)
    assert np.abs(np.linalg.inv(file.cam_from_world.numpy()) - world_from_cam()[1:]).max() < 1e-3
    which = [1, 2, 4]  # neither 0 nor 6: nothing says where they count from
    path = write_json(tmp_path / "u.json", transforms([f"{i}.png" for i in which], which))
    with pytest.raises(ValueError, match="does not say which frames"):
        read_cameras(path, num_frames=N, part=SourcePart("clip.mp4", None, None, N))


def test_same_names_in_two_folders(tmp_path: Path) -> None:
    names = [f"cam{c}/{i:03d}.png" for c in (0, 1) for i in range(N)]
    which = [*range(N), *reversed(range(N))]
    model = write_colmap(tmp_path, colmap_lines(names, which))
    back = list(reversed(range(N)))
    assert_as_made(read_cameras(model, num_frames=N, part=part(folder="images/cam0")))
    assert_as_made(read_cameras(model, num_frames=N, part=part(folder="images/cam1")), back)
    assert_as_made(read_cameras(model, num_frames=N, part=SourcePart("/films/cam0.mp4")))
    assert_as_made(read_cameras(model, num_frames=N, part=SourcePart("/films/cam1.mp4")), back)
    for other in (part(folder="images"), SourcePart("/films/other.mp4")):
        with pytest.raises(ValueError, match=r"several videos|no camera belongs"):
            read_cameras(model, num_frames=N, part=other)


def test_a_folder_of_another_name_is_told(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", transforms([f"cam0/{p}" for p in PICTURES]))
    file = read_cameras(path, num_frames=N, part=part(folder="cam1"))
    assert any("of pictures in cam0, taken for those in cam1" in note for note in file.notes)
    file = read_cameras(path, num_frames=N, part=part(folder="images"))
    assert not file.notes


def test_more_cameras_than_the_source_has_frames(tmp_path: Path) -> None:
    lines = [f"{1000 + i / 300:.4f} {i / 1000:.3f} 0 0 0 0 0 1" for i in range(75)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    first = torch.arange(4)
    with pytest.raises(ValueError, match=r"75 for a video of 4 frames \(of 6\)"):
        read_cameras(tmp_path / "t.txt", num_frames=4, part=SourcePart("clip.mp4", None, first, 6))
    whole = read_cameras(
        tmp_path / "t.txt", num_frames=4, part=SourcePart("clip.mp4", None, first + 10, 75)
    )
    assert whole.cam_from_world[:, 0, 3].tolist() == pytest.approx([-0.010, -0.011, -0.012, -0.013])


def test_blender_without_extension(tmp_path: Path) -> None:
    content = transforms([f"./train/r_{i}" for i in range(N)])
    content = {"camera_angle_x": 2 * np.arctan(32 / 60), "frames": content["frames"]}
    path = write_json(tmp_path / "transforms_train.json", content)
    pictures = tuple(f"r_{i}.png" for i in range(N))
    for source in (part(pictures, "train"), SourcePart("clip.mp4"), None):
        assert_as_made(read_cameras(path, num_frames=N, height=H, width=W, part=source))


def test_a_picture_with_two_cameras_is_told(tmp_path: Path) -> None:
    names = [*PICTURES[:5], "000.png"]
    path = write_json(tmp_path / "t.json", transforms(names))
    with pytest.raises(ValueError, match=r"000\.png and 000\.png could both be"):
        read_cameras(path, num_frames=N, part=part())


def test_paths_are_written_in_one_way() -> None:
    same = ("images", "frame_1.left")
    for name in ("images/frame_1.left.PNG", "Images\\Frame_1.Left.png", "./images/frame_1.left"):
        assert parts_of(name) == same
    assert parts_of("D:\\shots\\cam0.mp4") == ("shots", "cam0")
    assert select(["a.mp4"] * 3, Wanted("b.mp4"), Path("f")).indices == [0, 1, 2]


# --- turned pictures ---------------------------------------------------------------------------


def turned_part(turn: tuple[int, int, int, int], **more) -> SourcePart:
    return part(stored_height=H, stored_width=W, turn=turn, **more)


@pytest.mark.parametrize("turn", [(0, 1, -1, 0), (0, -1, 1, 0)])
def test_cameras_of_the_stored_pictures_are_turned(tmp_path: Path, turn) -> None:
    """A point is seen where the turned picture shows it."""
    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    stored = read_cameras(path, num_frames=N, height=H, width=W, part=part()).cameras
    file = read_cameras(path, num_frames=N, height=W, width=H, part=turned_part(turn))
    shown = file.cameras
    assert shown is not None and stored is not None
    assert any("turned with them" in note for note in file.notes)
    point = torch.tensor([0.3, -0.2, 2.0, 1.0], dtype=torch.float64)

    def seen(cameras) -> np.ndarray:
        at = cameras.intrinsics @ (cameras.cam_from_world[:, :3] @ point)[:, :, None]
        return (at[:, :2, 0] / at[:, 2]).numpy()

    x, y = seen(stored).T
    expected = [H - y, x] if turn == (0, 1, -1, 0) else [y, W - x]
    np.testing.assert_allclose(seen(shown).T, expected, atol=1e-9)
    assert torch.equal(
        torch.linalg.det(shown.cam_from_world[:, :3, :3]).round(), torch.ones(N).double()
    )


def test_by_hand_turned_a_quarter(tmp_path: Path) -> None:
    """EXIF 6: a point right of the axis, (0.5, 0, 1), at x = 62 of the stored row 24, is shown in
    column 48 − 24 of row 62."""
    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    file = read_cameras(path, num_frames=N, height=W, width=H, part=turned_part((0, 1, -1, 0)))
    at = file.intrinsics[0] @ (
        file.cam_from_world[0, :3, :3] @ torch.tensor([0.5, 0, 1.0]).double()
    )
    assert (at[:2] / at[2]).tolist() == pytest.approx([24, 62])


def test_turned_copies_are_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    with pytest.raises(ValueError, match="turned on their side"):
        read_cameras(path, num_frames=N, height=W, width=H, part=part())


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    """Stored 64×48, shown 96×48: the same rays; another shape without a reason is told."""
    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    source = part(stored_height=H, stored_width=W)
    file = read_cameras(path, num_frames=N, height=H, width=96, part=source)
    assert file.intrinsics[0].diagonal().tolist() == [90, 60, 1] and not file.notes
    file = read_cameras(path, num_frames=N, height=H, width=96, part=part())
    assert any("another shape" in note for note in file.notes)
    for size in ((96, 128), (24, 32), (47, 64)):
        assert not read_cameras(
            path, num_frames=N, height=size[0], width=size[1], part=part()
        ).notes


def test_half_turns_are_told(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    file = read_cameras(path, num_frames=N, height=H, width=W, part=turned_part((-1, 0, 0, -1)))
    assert any("taken to be of what is shown" in note for note in file.notes)


def test_tangential_distortion_turns_with_the_picture(tmp_path: Path) -> None:
    from recam.camera_files.picture_fit import turned
    from recam.geometry import distort

    content = transforms(list(PICTURES), camera_model="OPENCV", k1=0.1, p1=0.02, p2=-0.03)
    file = read_cameras(write_json(tmp_path / "t.json", content))
    quarter = turned(file, (0, 1, -1, 0))
    x, y = 0.3, -0.2
    bent = distort(torch.tensor([[x, y]]).double(), file.distortion)[0]
    around = distort(torch.tensor([[-y, x]]).double(), quarter.distortion)[0]
    np.testing.assert_allclose(around, [-bent[1], bent[0]], atol=1e-12)


# --- motion that is odd, and what a file says ---------------------------------------------------


def tum(tmp_path: Path, centers: list[float]) -> Path:
    lines = [f"{i} {x} 0 0 0 0 0 1" for i, x in enumerate(centers)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    return tmp_path / "t.txt"


def test_jumps_and_stillness_are_told(tmp_path: Path) -> None:
    smooth = [0.01 * i for i in range(30)]
    assert not read_cameras(tum(tmp_path, smooth), num_frames=30).notes
    jumped = [x + (0.5 if i >= 12 else 0) for i, x in enumerate(smooth)]
    (note,) = read_cameras(tum(tmp_path, jumped), num_frames=30).notes
    assert "jump between frame 11 and the next: 51 times" in note
    (note,) = read_cameras(tum(tmp_path, [1.0] * 30), num_frames=30).notes
    assert "at one place and look one way" in note
    faster = [0.002 * i * i for i in range(30)]  # speeding up is no jump
    stops = [0.1 * max(0, i - 15) for i in range(30)]  # nor is standing first
    for centers in (faster, stops):
        assert not read_cameras(tum(tmp_path, centers), num_frames=30).notes


def test_one_sentence(tmp_path: Path) -> None:
    from recam.camera_files import described

    path = write_json(tmp_path / "t.json", transforms(list(PICTURES)))
    text = described(read_cameras(path))
    # Camera 5 is at (0.5, 0.1, 0.25) of camera 0, turned by 10° about the axis down: to the right.
    assert text == (
        "6 cameras (nerfstudio, 64×48, 56.1° wide): the camera travels 0.568 in all, from the "
        "first to the last 0.5 right, 0.1 down, 0.25 forward, turned 10° to the right; in units of "
        "its own, in the file's own world."
    )
    (tmp_path / "p.txt").write_text("0 10 20\n0 0 0\n0 -0.1 0\n")
    text = described(read_cameras(tmp_path / "p.txt", "cognvs"))
    assert "up to 20° right, up to 10 % of the focus depth farther" in text
    write_json(tmp_path / "k.json", {"keys": [{"frame": 0}, {"frame": 24, "yaw": 20}]})
    assert "yaw 20 to 20" in described(read_cameras(tmp_path / "k.json"))
