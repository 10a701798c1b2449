"""Data sets of still scenes and of single videos, each written here in its own layout."""

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evaluation_views import (
    HEIGHT,
    WIDTH,
    View,
    bent_by_lens,
    check_straight,
    mismatch,
    rendered,
    write_png,
)
from recam.camera_files import write_cameras
from recam.evaluation.datasets import (
    EvaluationSample,
    davis_samples,
    load_samples,
    re10k_samples,
    tanks_and_temples_samples,
)
from recam.media import write_video
from recam.types import RecamError, Video, video_from_frames

F64 = torch.float64
NUM_PICTURES = 4


def still_clip(plain: bool = False) -> list[View]:
    """Pictures of one moment from cameras side by side, one view each."""
    one = torch.tensor([0])
    return [
        View(v.cameras[one], v.frames[:1], v.depth[:1], v.dynamic[:1])
        for v in rendered(NUM_PICTURES, moving=False, plain=plain)
    ]


def check_views(
    sample: EvaluationSample, truth: list[View], index: list[int], limit: float = 6
) -> Video:
    """Source and targets are those pictures, and their pixels meet; returns the targets."""
    (view,) = sample.views
    video, target = sample.read_video(), view.read_video()
    assert len(video) == 1 and len(target) == len(index) == len(view.path)
    assert view.path.source_frames.tolist() == [0] * len(index)
    assert sample.cameras is not None
    for place, i in enumerate(index):
        assert (truth[i].cameras.height, truth[i].cameras.width) == (HEIGHT, WIDTH)
        at = slice(place, place + 1)
        # Files differ in their worlds' digits, so what is seen is compared.
        fits = mismatch(video, sample.cameras, truth[0].depth, target[at], view.path.cameras[at])
        wrong = mismatch(video, sample.cameras, truth[0].depth, target[at], sample.cameras)
        assert fits < limit < wrong, (i, fits, wrong)
    return target


# ---------------------------------------------------------------- Tanks and Temples


def colmap_text(root: Path, truth: list[View], names: list[str], scale: float) -> None:
    """A COLMAP model in text, for pictures ``scale`` times as large."""
    k = truth[0].cameras.intrinsics[0].numpy() * scale
    size = f"{round(scale * WIDTH)} {round(scale * HEIGHT)}"
    root.mkdir(parents=True)
    (root / "cameras.txt").write_text(f"1 PINHOLE {size} {k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}\n")
    lines = []
    for i, (view, name) in enumerate(zip(truth, names)):
        pose = view.cameras.cam_from_world[0].numpy()
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        t = pose[:3, 3]
        lines += [f"{i + 1} {w} {x} {y} {z} {t[0]} {t[1]} {t[2]} 1 {name}", ""]
    (root / "images.txt").write_text("\n".join(lines) + "\n")
    (root / "points3D.txt").write_text("")


def test_tanks_and_temples_with_colmap(tmp_path: Path) -> None:
    truth = still_clip()
    scene = tmp_path / "Barn"
    for i, view in enumerate(truth):
        write_png(scene / "images" / f"{i + 1:06d}.png", view.frames[0])
    # The model could not place the third picture, and is for pictures of twice the size.
    placed = [0, 1, 3]
    names = [f"{i + 1:06d}.png" for i in placed]
    colmap_text(scene / "sparse" / "0", [truth[i] for i in placed], names, 2.0)
    (sample,) = load_samples("tanks-and-temples", tmp_path)
    assert sample.name == "Barn"
    target = check_views(sample, truth, [1, 3])
    assert torch.equal(target.frames[1], truth[3].frames[0])


def test_tanks_and_temples_with_its_log(tmp_path: Path) -> None:
    truth = still_clip(plain=True)
    scene, lines = tmp_path / "Barn", []
    for i, view in enumerate(truth):
        write_png(scene / "images" / f"{i + 1:06d}.png", view.frames[0])
        if i != 1:  # not placed
            lines.append(f"{i} {i} 0")
            world_from_cam = np.linalg.inv(view.cameras.cam_from_world[0].numpy())
            lines += [" ".join(f"{v:.12g}" for v in row) for row in world_from_cam]
    (scene / "Barn_COLMAP_SfM.log").write_text("\n".join(lines) + "\n")
    with pytest.raises(RecamError, match="fov_x_deg"):
        next(load_samples("tanks-and-temples", tmp_path))
    fov = math.degrees(2 * math.atan(36 / 66))
    (sample,) = tanks_and_temples_samples(tmp_path, fov_x_deg=fov)
    check_views(sample, truth, [2, 3])
    (scene / "Barn_COLMAP_SfM.log").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"blocks of 1 \+ 4 lines"):
        next(tanks_and_temples_samples(tmp_path, fov_x_deg=fov))


# ---------------------------------------------------------------- RealEstate10K


def write_re10k(root: Path, pictures: Path, truth: list[View]) -> None:
    stamps = [33366667, 66733333, 100100000, 133466667]
    lines = ["https://www.youtube.com/watch?v=0000"]
    for i, (stamp, view) in enumerate(zip(stamps, truth)):
        k, pose = view.cameras.intrinsics[0].numpy(), view.cameras.cam_from_world[0].numpy()
        four = [k[0, 0] / WIDTH, k[1, 1] / HEIGHT, k[0, 2] / WIDTH, k[1, 2] / HEIGHT]
        numbers = [*four, 0, 0, *pose[:3].ravel()]
        lines.append(f"{stamp} " + " ".join(f"{v:.9f}" for v in numbers))
        if i != 2:  # that picture could not be fetched
            write_png(pictures / f"{stamp}.png", view.frames[0])
    root.mkdir(parents=True, exist_ok=True)
    (root / "00a5a09aaa05.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("place", ["test/00a5a09aaa05", "frames/test/00a5a09aaa05"])
def test_re10k(tmp_path: Path, place: str) -> None:
    truth = still_clip()
    write_re10k(tmp_path / "test", tmp_path / place, truth)
    (sample,) = load_samples("re10k", tmp_path)
    assert sample.name == "00a5a09aaa05"
    target = check_views(sample, truth, [1, 3])
    torch.testing.assert_close(target.times_s, torch.tensor([66.733333, 133.466667], dtype=F64))
    (two,) = re10k_samples(tmp_path, stride=2)
    assert torch.equal(two.views[0].read_video().frames[0], truth[3].frames[0])


def test_re10k_without_pictures(tmp_path: Path) -> None:
    write_re10k(tmp_path / "test", tmp_path / "elsewhere", still_clip())
    with pytest.raises(RecamError, match=r"no <id>\.txt with a folder <id>"):
        next(load_samples("re10k", tmp_path))


# ---------------------------------------------------------------- DL3DV


@pytest.mark.parametrize("inner", ["", "nerfstudio"])
def test_dl3dv(tmp_path: Path, inner: str) -> None:
    truth = still_clip()
    scene = tmp_path / "1K" / "0a1b2c" / inner
    k = truth[0].cameras.intrinsics[0].numpy()
    lens = np.array([-0.15, 0.03, 0.002, -0.001, 0.0])
    frames = []
    for i, view in enumerate(truth):
        write_png(
            scene / "images_4" / f"frame_{i + 1:05d}.png", bent_by_lens(view.frames[0], k, lens)
        )
        small = cv2.resize(view.frames[0].permute(1, 2, 0).numpy(), (WIDTH // 2, HEIGHT // 2))
        write_png(
            scene / "images_8" / f"frame_{i + 1:05d}.png", torch.from_numpy(small).permute(2, 0, 1)
        )
        world_from_cam = np.linalg.inv(view.cameras.cam_from_world[0].numpy())
        opengl = world_from_cam @ np.diag([1.0, -1.0, -1.0, 1.0])
        name = f"images/frame_{i + 1:05d}.png"
        frames.append({"file_path": name, "transform_matrix": opengl.tolist(), "colmap_im_id": i})
    content = {
        "w": 4 * WIDTH, "h": 4 * HEIGHT, "camera_model": "OPENCV",
        "fl_x": 4 * k[0, 0], "fl_y": 4 * k[1, 1], "cx": 4 * k[0, 2], "cy": 4 * k[1, 2],
        "k1": lens[0], "k2": lens[1], "p1": lens[2], "p2": lens[3],
        "frames": frames[::-1],
    }  # fmt: skip
    (scene / "transforms.json").write_text(json.dumps(content))
    (sample,) = load_samples("dl3dv", tmp_path)
    assert sample.name == "0a1b2c"
    target = check_views(sample, truth, [1, 2, 3], limit=8)
    (view,) = sample.views
    assert view.read_counted is not None
    counted = view.read_counted()
    assert counted.shape == (3, HEIGHT, WIDTH) and float(counted.float().mean()) > 0.8
    true_frames = torch.cat([v.frames for v in truth[1:]])
    check_straight(target.frames, true_frames, counted, view.path.cameras.intrinsics[0], lens)


# ---------------------------------------------------------------- DAVIS


def write_davis(root: Path) -> View:
    view = rendered(1)[0]
    for i, frame in enumerate(view.frames):
        path = root / "JPEGImages" / "480p" / "bear" / f"{i:05d}.jpg"
        write_png(path, frame)
        labels = view.dynamic[i].numpy().astype(np.uint8)
        # DAVIS's palette: object 1 is (128, 0, 0), the background black.
        colors = np.stack([np.zeros_like(labels), np.zeros_like(labels), labels * 128], -1)
        mark = root / "Annotations" / "480p" / "bear" / f"{i:05d}.png"
        mark.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(mark), colors)
    write_png(root / "JPEGImages" / "480p" / "camel" / "00000.jpg", view.frames[0])
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("bear\n")
    return view


def test_davis(tmp_path: Path) -> None:
    truth = write_davis(tmp_path)
    bear, camel = load_samples("davis", tmp_path)
    assert (bear.name, camel.name) == ("bear", "camel")
    assert bear.cameras is None and bear.views == () and camel.read_dynamic is None
    video = bear.read_video()
    assert float((video.frames.float() - truth.frames.float()).abs().median()) < 6
    assert bear.read_dynamic is not None
    assert torch.equal(bear.read_dynamic(), truth.dynamic)
    assert [s.name for s in davis_samples(tmp_path, subset="2017/val")] == ["bear"]
    with pytest.raises(RecamError, match="Full-Resolution"):
        next(davis_samples(tmp_path, "Full-Resolution"))
    with pytest.raises(RecamError, match="list of sequences"):
        next(davis_samples(tmp_path, subset="2016/val"))


# ---------------------------------------------------------------- a plain folder


def test_plain_folder(tmp_path: Path) -> None:
    view = rendered(1)[0]
    write_video(video_from_frames(view.frames, 12.0), tmp_path / "clip2.mp4")
    for i, frame in enumerate(view.frames):
        write_png(tmp_path / "clip10" / f"{i}.png", frame)
    (tmp_path / "notes.txt").write_text("not a video")
    (tmp_path / "empty").mkdir()
    half = replace(view, cameras=view.cameras.resized(HEIGHT // 2, WIDTH // 2))
    write_cameras(half.cameras, tmp_path / "clip10.cameras.json")
    film, pictures = load_samples("folder", tmp_path)
    assert (film.name, pictures.name) == ("clip2", "clip10")
    assert film.cameras is None and film.read_video().fps == pytest.approx(12.0)
    assert torch.equal(pictures.read_video().frames, view.frames)
    assert pictures.cameras is not None
    torch.testing.assert_close(pictures.cameras.intrinsics, view.cameras.intrinsics)
    torch.testing.assert_close(pictures.cameras.cam_from_world, view.cameras.cam_from_world)
    with pytest.raises(RecamError, match="no videos"):
        next(load_samples("folder", tmp_path / "empty"))


def test_unknown_data_set() -> None:
    with pytest.raises(ValueError, match="expected one of dycheck, kubric-4d"):
        load_samples("imagenet", "/tmp")  # type: ignore[arg-type]
