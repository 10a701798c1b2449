"""Data sets of moving scenes, each written here in its own layout from a rendered scene."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evaluation_views import (
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    View,
    bent_by_lens,
    check_straight,
    mismatch,
    rendered,
    write_png,
)
from recam.evaluation.datasets import (
    caliscope_samples,
    dycheck_samples,
    kubric_samples,
    load_samples,
    nvidia_samples,
    pardom_samples,
)
from recam.evaluation.datasets.gcd import z_from_ray_distance
from recam.media import VideoWriter
from recam.types import Cameras, RecamError

F64 = torch.float64


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def camera_center(cameras: Cameras, i: int) -> np.ndarray:
    """−Rᵀt, worked out here rather than by the code under test."""
    pose = cameras.cam_from_world[i].numpy()
    return -pose[:3, :3].T @ pose[:3, 3]


# ---------------------------------------------------------------- DyCheck


def write_dycheck(root: Path, with_splits: bool = True) -> tuple[View, ...]:
    views = rendered(3)
    scene = root / "apple"
    val: list[tuple[str, int, int]] = []
    for camera, view in enumerate(views):
        for time in range(NUM_FRAMES):
            name = f"{camera}_{time:05d}"
            if camera == 2 and time == 0:
                continue  # a bad frame that the authors left out
            k = view.cameras.intrinsics[time].numpy()
            write_json(
                scene / "camera" / f"{name}.json",
                {
                    "orientation": view.cameras.cam_from_world[time, :3, :3].tolist(),
                    "position": camera_center(view.cameras, time).tolist(),
                    # Files are about the 1x pictures, here twice as large as the 2x ones.
                    "focal_length": 2 * k[0, 0],
                    "pixel_aspect_ratio": k[1, 1] / k[0, 0],
                    "principal_point": [2 * k[0, 2], 2 * k[1, 2]],
                    "image_size": [2 * WIDTH, 2 * HEIGHT],
                    "skew": 0.0,
                    "radial_distortion": [0.0, 0.0, 0.0],
                    "tangential_distortion": [0.0, 0.0],
                },
            )
            write_png(scene / "rgb" / "2x" / f"{name}.png", view.frames[time], alpha=True)
            if camera == 0:
                depth = view.depth[time, :, :, None].numpy().copy()
                depth[:3] = 0  # not measured
                (scene / "depth" / "2x").mkdir(parents=True, exist_ok=True)
                np.save(scene / "depth" / "2x" / f"{name}.npy", depth)
            else:
                mask = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
                mask[:, 10:, 5:] = 255
                write_png(
                    scene / "covisible" / "2x" / "val" / f"{name}.png", mask[:1].expand(3, -1, -1)
                )
                val.append((name, time, camera))
    write_json(scene / "extra.json", {"factor": 2, "fps": 15.0, "bbox": [], "lookat": [], "up": []})
    if with_splits:
        train = [(f"0_{t:05d}", t, 0) for t in range(NUM_FRAMES)]
        for split, rows in (("train", train), ("val", val)):
            columns = zip(*rows)
            content = dict(zip(("frame_names", "time_ids", "camera_ids"), columns))
            write_json(scene / "splits" / f"{split}.json", content)
    return views


@pytest.mark.parametrize("with_splits", [True, False])
def test_dycheck(tmp_path: Path, with_splits: bool) -> None:
    truth = write_dycheck(tmp_path, with_splits)
    (sample,) = load_samples("dycheck", tmp_path)
    assert sample.name == "apple" and sample.metres_per_unit == 1.0
    video = sample.read_video()
    assert torch.equal(video.frames, truth[0].frames)
    torch.testing.assert_close(video.times_s, torch.arange(NUM_FRAMES, dtype=F64) / 15)
    assert sample.cameras is not None and sample.read_depth is not None
    torch.testing.assert_close(sample.cameras.intrinsics, truth[0].cameras.intrinsics)
    depth, valid = sample.read_depth()
    assert not bool(valid[:, :3].any()) and bool(valid[:, 3:].all())
    torch.testing.assert_close(depth[:, 3:], truth[0].depth[:, 3:])
    assert [view.name for view in sample.views] == ["camera 1", "camera 2"]
    first, second = sample.views
    assert second.path.source_frames.tolist() == [1, 2]
    assert torch.equal(second.read_video().frames, truth[2].frames[1:])
    assert first.read_counted is not None
    counted = first.read_counted()
    assert bool(counted[:, 10:, 5:].all()) and int(counted.sum()) == 3 * 38 * 67
    target = first.read_video()
    fits = mismatch(video, sample.cameras, depth, target, first.path.cameras)
    assert fits < 6 < mismatch(video, sample.cameras, depth, target, sample.cameras)


def test_dycheck_at_full_size_uses_the_masks_of_half_size(tmp_path: Path) -> None:
    truth = write_dycheck(tmp_path)
    scene = tmp_path / "apple"
    for file in sorted((scene / "rgb" / "2x").glob("*.png")):
        large = cv2.resize(cv2.imread(str(file)), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        (scene / "rgb" / "1x").mkdir(exist_ok=True)
        cv2.imwrite(str(scene / "rgb" / "1x" / file.name), large)
    (scene / "depth" / "2x").rename(scene / "depth" / "1x")
    (sample,) = dycheck_samples(scene, factor=1)
    assert sample.cameras is not None and sample.cameras.width == 2 * WIDTH
    assert float(sample.cameras.intrinsics[0, 0, 0]) == pytest.approx(2 * 66.0)
    view = sample.views[0]
    assert view.read_counted is not None
    counted = view.read_counted()
    assert counted.shape == (3, 2 * HEIGHT, 2 * WIDTH)
    assert bool(counted[:, 20:, 10:].all()) and not bool(counted[:, :20].any())
    assert truth[0].frames.shape[-1] == WIDTH


def test_dycheck_as_cognvs_compares(tmp_path: Path) -> None:
    truth = write_dycheck(tmp_path)
    scene = tmp_path / "apple"
    for file in sorted((scene / "rgb" / "2x").glob("*.png")):
        picture = cv2.imread(str(file))
        (scene / "rgb" / "1x").mkdir(exist_ok=True)
        cv2.imwrite(str(scene / "rgb" / "1x" / file.name), cv2.resize(picture, None, fx=2, fy=2))
    shutil.copytree(scene, tmp_path / "wheel")  # not one of its five scenes
    (sample,) = load_samples("dycheck", tmp_path, "cognvs")
    assert sample.name == "apple" and all(v.read_counted is None for v in sample.views)
    assert sample.views[0].read_video().frames.shape[2:] == (2 * HEIGHT, 2 * WIDTH)
    assert any("all pixels" in note for note in sample.notes)
    assert len(list(load_samples("dycheck", tmp_path))) == 2
    shutil.rmtree(scene)
    with pytest.raises(RecamError, match="none of the scenes of this protocol"):
        next(load_samples("dycheck", tmp_path, "cognvs"))
    with pytest.raises(ValueError, match="no protocol for davis"):
        load_samples("davis", tmp_path, "cognvs")
    assert len(truth) == 3


def test_scenes_that_cognvs_takes(tmp_path: Path) -> None:
    write_kubric(tmp_path)
    shutil.copytree(tmp_path / "scn02900", tmp_path / "scn02899")
    assert len(list(load_samples("kubric-4d", tmp_path))) == 2
    assert [s.name for s in load_samples("kubric-4d", tmp_path, "cognvs")] == ["scn02900"]
    write_pardom(tmp_path / "pardom")
    (scene,) = (tmp_path / "pardom").iterdir()
    scene = scene.rename(scene.with_name("scene_000049"))
    with pytest.raises(RecamError, match="scene_000048"):
        next(load_samples("pardom-4d", tmp_path / "pardom", "cognvs"))
    scene.rename(scene.with_name("scene_000663"))
    (sample,) = load_samples("pardom-4d", tmp_path / "pardom", "cognvs")
    assert sample.name == "scene_000663"


def test_dycheck_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RecamError, match="holds no camera"):
        next(load_samples("dycheck", tmp_path))
    with pytest.raises(RecamError, match="there is no folder"):
        next(load_samples("dycheck", tmp_path / "nothing"))
    write_dycheck(tmp_path)
    path = tmp_path / "apple" / "camera" / "0_00001.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(entry | {"radial_distortion": [0.1, 0, 0]}))
    with pytest.raises(ValueError, match="lens distortion"):
        next(load_samples("dycheck", tmp_path))
    del entry["orientation"]
    path.write_text(json.dumps(entry))
    with pytest.raises(ValueError, match=r"no 'orientation'; expected DyCheck's camera"):
        next(load_samples("dycheck", tmp_path))


# ---------------------------------------------------------------- Kubric-4D


def ray_lengths(k: np.ndarray) -> np.ndarray:
    """Length of each pixel's ray at unit depth, pixel by pixel."""
    out = np.empty((HEIGHT, WIDTH))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            a, b = (x + 0.5 - k[0, 2]) / k[0, 0], (y + 0.5 - k[1, 2]) / k[1, 1]
            out[y, x] = math.sqrt(a * a + b * b + 1)
    return out


def write_kubric(root: Path) -> dict[int, View]:
    views = dict(zip((4, 0, 11), rendered(3)))
    scene = root / "scn02900"
    for number, view in views.items():
        quaternions, positions = [], []
        for i in range(NUM_FRAMES):
            # Blender's camera looks along −z with y up.
            world_from_cam = view.cameras.cam_from_world[i, :3, :3].numpy().T
            blender = Rotation.from_matrix(world_from_cam @ np.diag([1.0, -1.0, -1.0]))
            x, y, z, w = blender.as_quat()
            quaternions.append([w, x, y, z])
            positions.append(camera_center(view.cameras, i).tolist())
        k = view.cameras.intrinsics[0].numpy()
        # Kubric's own signs, in fractions of the picture.
        signed = [
            [k[0, 0] / WIDTH, 0.0, -k[0, 2] / WIDTH],
            [0.0, -k[1, 1] / HEIGHT, -k[1, 2] / HEIGHT],
            [0.0, 0.0, -1.0],
        ]
        metadata = {
            "scene": {"num_frames": NUM_FRAMES, "resolution": [WIDTH, HEIGHT]},
            "camera": {"K": signed, "quaternions": quaternions, "positions": positions},
        }
        write_json(scene / f"scn02900_p0_v{number}.json", metadata)
        frames = scene / f"frames_p0_v{number}"
        for i in range(NUM_FRAMES):
            write_png(frames / f"rgba_{i:05d}.png", view.frames[i], alpha=True)
            distance = (view.depth[i].numpy() * ray_lengths(k)).astype(np.float32)
            distance[0, 0] = 1e10  # sky
            assert cv2.imwrite(str(frames / f"depth_{i:05d}.tiff"), distance)
    return views


def test_kubric(tmp_path: Path) -> None:
    truth = write_kubric(tmp_path)
    (sample,) = load_samples("kubric-4d", tmp_path)
    assert sample.name == "scn02900"
    assert sample.cameras is not None and sample.read_depth is not None
    torch.testing.assert_close(sample.cameras.cam_from_world, truth[4].cameras.cam_from_world)
    torch.testing.assert_close(sample.cameras.intrinsics, truth[4].cameras.intrinsics)
    depth, valid = sample.read_depth()
    near = truth[4].depth < 1000  # windows show the sky
    near[:, 0, 0] = False
    assert torch.equal(valid, near) and float(near.float().mean()) > 0.9
    torch.testing.assert_close(depth[near], truth[4].depth[near], rtol=1e-5, atol=1e-5)
    assert [view.name for view in sample.views] == ["view 0", "view 11"]
    video = sample.read_video()
    assert torch.equal(video.frames, truth[4].frames)
    for view in sample.views:
        target = view.read_video()
        fits = mismatch(video, sample.cameras, depth, target, view.path.cameras)
        assert fits < 8 < mismatch(video, sample.cameras, depth, target, sample.cameras)
    (one,) = kubric_samples(tmp_path / "scn02900", input_view=0, target_views=(4,))
    assert torch.equal(one.read_video().frames, truth[0].frames)
    assert [view.name for view in one.views] == ["view 4"]
    with pytest.raises(RecamError, match="camera file of view 7"):
        next(kubric_samples(tmp_path, target_views=(7,)))


def test_ray_distance_by_hand() -> None:
    k = torch.tensor([[[3.0, 0, 1.5], [0, 4.0, 0.5], [0, 0, 1]]], dtype=F64)
    cameras = Cameras(torch.eye(4, dtype=F64)[None], k, 1, 3)
    distance = torch.tensor([[[math.sqrt(10.0), 3.0, math.sqrt(10.0)]]])
    # The outer pixels' rays are (∓1/3, 0, 1), of length √10 / 3.
    torch.testing.assert_close(z_from_ray_distance(distance, cameras), torch.full((1, 1, 3), 3.0))


# ---------------------------------------------------------------- ParallelDomain-4D


def write_pardom(root: Path) -> dict[str, View]:
    views = dict(zip(("yaw-0", "camera3", "camera12"), rendered(3, moving=False)))
    scene = root / "scene_000048"
    content: dict[str, list[Any]] = {"names": [], "intrinsics": [], "extrinsics": []}
    for name, view in views.items():
        k = view.cameras.intrinsics[0].numpy()
        x, y, z, w = Rotation.from_matrix(
            view.cameras.cam_from_world[0, :3, :3].numpy().T
        ).as_quat()
        center = camera_center(view.cameras, 0)
        content["names"].append(name)
        content["intrinsics"].append(
            dict(zip(("fx", "fy", "cx", "cy"), k[[0, 1, 0, 1], [0, 1, 2, 2]]))
        )
        content["extrinsics"].append(
            {
                "rotation": {"qw": w, "qx": x, "qy": y, "qz": z},
                "translation": dict(zip("xyz", center.tolist())),
            }
        )
        for i in range(NUM_FRAMES):
            if name == "camera12" and i == 1:
                continue  # the data set lacks some
            write_png(scene / "rgb" / name / f"{i * 10 + 5:018d}.png", view.frames[i], alpha=True)
            path = scene / "depth" / name / f"{i * 10 + 5:018d}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, data=view.depth[i].numpy())
    content["names"].append("velodyne")
    content["intrinsics"].append({})
    content["extrinsics"].append({})
    write_json(scene / "calibration" / "0123abcd.json", content)
    return views


def test_pardom(tmp_path: Path) -> None:
    truth = write_pardom(tmp_path)
    (sample,) = load_samples("pardom-4d", tmp_path)
    assert sample.cameras is not None and sample.read_depth is not None
    video, (depth, valid) = sample.read_video(), sample.read_depth()
    assert torch.equal(video.frames, truth["yaw-0"].frames)
    assert torch.equal(valid, truth["yaw-0"].depth < 1000)
    assert torch.equal(depth[valid], truth["yaw-0"].depth[valid])
    torch.testing.assert_close(video.times_s, torch.tensor([0.0, 0.1, 0.2], dtype=F64))
    by_name = {view.name: view for view in sample.views}
    assert list(by_name) == ["camera12", "camera3"]
    assert by_name["camera12"].path.source_frames.tolist() == [0, 2]
    assert torch.equal(by_name["camera12"].read_video().frames, truth["camera12"].frames[::2])
    view = by_name["camera3"]
    fits = mismatch(video, sample.cameras, depth, view.read_video(), view.path.cameras)
    assert fits < 6 < mismatch(video, sample.cameras, depth, view.read_video(), sample.cameras)
    with pytest.raises(RecamError, match="camera camera7"):
        next(pardom_samples(tmp_path, target_cameras=("camera7",)))


# ---------------------------------------------------------------- NVIDIA Dynamic Scenes


def write_nvidia(root: Path, layout: str) -> tuple[View, ...]:
    """Three rig cameras stand for twelve: input frame i is camera i at time i."""
    views = rendered(NUM_FRAMES, moving=False, plain=True)
    scene = root / "Balloon1"
    rows = []
    for i, view in enumerate(views):
        write_png(scene / "images" / f"{i:03d}.png", view.frames[i])
        pose = view.cameras.cam_from_world[i].numpy()
        right, down, forward = pose[:3, :3]  # rows: the camera's axes in the world
        center = camera_center(view.cameras, i)
        # LLFF: columns down, right, back, centre, then height, width, focal length (px).
        hwf = [2 * HEIGHT, 2 * WIDTH, 2 * 66.0]
        block = np.stack([down, right, -forward, center, hwf], 1)
        rows.append(np.concatenate([block.ravel(), [1.0, 10.0]]))
    np.save(scene / "poses_bounds.npy", np.array(rows))
    for time in range(NUM_FRAMES):
        match layout:
            case "gt":
                path = scene / "gt_v000" / f"{time:03d}.png"
            case "beside":
                path = root / "gt" / "Balloon1" / f"v000_t{time:03d}.png"
            case _:
                path = scene / "mv_images" / f"{time:05d}" / "cam01.png"
                write_png(path.with_name("cam02.png"), views[1].frames[time])
        write_png(path, views[0].frames[time])
    return views


@pytest.mark.parametrize("layout", ["gt", "beside", "mv_images"])
def test_nvidia(tmp_path: Path, layout: str) -> None:
    truth = write_nvidia(tmp_path, layout)
    (sample,) = load_samples("nvidia", tmp_path)
    assert sample.name == "Balloon1" and sample.cameras is not None
    video, (view,) = sample.read_video(), sample.views
    for i in range(NUM_FRAMES):
        assert torch.equal(video.frames[i], truth[i].frames[i])
        torch.testing.assert_close(
            sample.cameras.cam_from_world[i], truth[i].cameras.cam_from_world[i]
        )
    # The file's cameras are for pictures of twice the size.
    torch.testing.assert_close(sample.cameras.intrinsics, truth[0].cameras.intrinsics)
    target = view.read_video()
    assert torch.equal(target.frames, truth[0].frames)
    assert view.path.source_frames.tolist() == [0, 1, 2]
    depth = torch.stack([truth[i].depth[i] for i in range(NUM_FRAMES)])
    last = slice(1, None)  # the first input is camera 0's own
    fits = mismatch(
        video[last], sample.cameras[last], depth[last], target[last], view.path.cameras[last]
    )
    wrong = mismatch(
        video[last], sample.cameras[last], depth[last], target[last], sample.cameras[last]
    )
    assert fits < 8 < wrong


def test_nvidia_without_truth(tmp_path: Path) -> None:
    write_nvidia(tmp_path, "gt")
    for file in (tmp_path / "Balloon1" / "gt_v000").glob("*.png"):
        file.unlink()
    with pytest.raises(RecamError, match="holds no pictures"):
        next(nvidia_samples(tmp_path))
    (tmp_path / "Balloon1" / "gt_v000").rmdir()
    with pytest.raises(RecamError, match="0 true pictures of camera 0 for 3"):
        next(nvidia_samples(tmp_path))


# ---------------------------------------------------------------- caliscope


def write_caliscope(root: Path) -> tuple[tuple[View, ...], np.ndarray]:
    views = rendered(4, moving=False)
    lens = np.array([-0.2, 0.05, 0.003, -0.002, 0.0])
    lines = []
    for c, view in enumerate(views):
        pose, k = view.cameras.cam_from_world[0].numpy(), view.cameras.intrinsics[0].numpy()
        lines += [
            f"[cameras.{c}]", f"cam_id = {c}", "rotation_count = 0", "ignore = false",
            f"size = [{WIDTH}, {HEIGHT}]", f"matrix = {k.tolist()}",
            f"distortions = {lens.tolist()}", f"translation = {pose[:3, 3].tolist()}",
            f"rotation = {pose[:3, :3].tolist()}", "",
        ]  # fmt: skip
        path = root / "calibration" / "extrinsic" / f"cam_{c}.mp4"
        with VideoWriter(path, fps=6.0, crf=0.0) as writer:
            for frame in view.frames:
                writer.write(bent_by_lens(frame, k, lens))
    (root / "camera_array.toml").write_text("\n".join(lines))
    return views, lens


def test_caliscope(tmp_path: Path) -> None:
    truth, lens = write_caliscope(tmp_path)
    samples = list(load_samples("caliscope", tmp_path))
    assert [s.name for s in samples] == ["camera 3 to 0", "camera 0 to 2", "camera 2 to 3"]
    sample = samples[1]
    (view,) = sample.views
    assert sample.cameras is not None and view.read_counted is not None
    video, target, counted = sample.read_video(), view.read_video(), view.read_counted()
    assert len(video) == len(target) == len(sample.cameras) == NUM_FRAMES
    check_straight(target.frames, truth[2].frames, counted, truth[2].cameras.intrinsics[0], lens)
    everywhere = torch.ones_like(counted)
    assert sample.cameras is not None
    check_straight(video.frames, truth[0].frames, everywhere, sample.cameras.intrinsics[0], lens)
    assert counted.dtype == torch.bool and bool(counted[:, 12:-12, 12:-12].all())
    fits = mismatch(video, sample.cameras, truth[0].depth, target, view.path.cameras)
    assert fits < 10 < mismatch(video, sample.cameras, truth[0].depth, target, sample.cameras)
    (short,) = caliscope_samples(tmp_path, ((1, 0),), num_frames=2)
    assert len(short.read_video()) == 2 and len(short.views[0].path) == 2
    with pytest.raises(RecamError, match="no calibrated camera 9"):
        next(caliscope_samples(tmp_path, ((9, 0),)))


def test_real_caliscope_agrees_with_the_prepared_cameras(shared_data: Path) -> None:
    from recam.camera_files import read_cameras

    folder = shared_data / "multiview" / "caliscope_post_optimization"
    for sample in caliscope_samples(folder, num_frames=2):
        assert sample.cameras is not None
        number = sample.name.split()[1]
        prepared = read_cameras(folder / "cameras.json", file=f"cam_{number}.mp4", num_frames=2)
        assert prepared.cameras is not None
        torch.testing.assert_close(sample.cameras.intrinsics, prepared.cameras.intrinsics)
        torch.testing.assert_close(sample.cameras.cam_from_world, prepared.cameras.cam_from_world)
