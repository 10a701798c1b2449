"""From a video to a scene, with everything estimated, and with parts given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recam.camera_files import write_cameras
from recam.configs import ReconstructConfig
from recam.media import write_image
from recam.reconstruct import reconstruct
from recam.reconstruct.pipeline import working_size
from recam.types import RecamError, video_from_frames
from reconstruct_scene import Truth, make_cameras, render_world

T, H, W = 9, 96, 152


@pytest.fixture(scope="module")
def truth() -> Truth:
    return render_world(T, H, W, slide=0.05)


@pytest.fixture
def camera_file(truth: Truth, tmp_path: Path) -> str:
    write_cameras(truth.cameras, tmp_path / "cameras.json", "recam")
    return str(tmp_path / "cameras.json")


def _error(depth: torch.Tensor, truth: np.ndarray) -> np.ndarray:
    return np.abs(depth.numpy() / truth - 1)


def test_given_cameras_give_true_depth(truth: Truth, camera_file: str) -> None:
    scene = reconstruct(truth.video, ReconstructConfig(cameras=camera_file))
    assert scene.report["cameras"]["source"] == "given"
    assert scene.depth_source == "measured"
    assert torch.allclose(scene.cameras.cam_from_world, truth.cameras.cam_from_world)
    error = _error(scene.depth, truth.depth)
    assert np.median(error) < 0.03 and np.median(error[truth.moving]) < 0.2
    dynamic = scene.dynamic.numpy()
    assert (dynamic & truth.moving).sum() > 0.7 * truth.moving.sum()
    assert (dynamic & ~truth.moving).mean() < 0.05
    assert any("cameras.json" in note for note in scene.report["notes"])


def test_given_depth_and_cameras_are_kept(truth: Truth, camera_file: str, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", truth.depth)
    config = ReconstructConfig(cameras=camera_file, depth=str(tmp_path / "depth.npy"))
    scene = reconstruct(truth.video, config)
    assert torch.equal(scene.depth, torch.from_numpy(truth.depth))
    assert bool(scene.valid.all()) and scene.metres_per_unit is None
    overlap = (scene.dynamic.numpy() & truth.moving).sum() / truth.moving.sum()
    assert overlap > 0.7


def test_estimated_cameras_come_to_the_scale_of_given_depth(truth: Truth, tmp_path: Path) -> None:
    still = render_world(T, H, W)
    np.save(tmp_path / "depth.npy", 10 * still.depth)
    config = ReconstructConfig(depth=str(tmp_path / "depth.npy"), fov=60, motion="moving")
    scene = reconstruct(still.video, config)
    travelled = float((scene.cameras.centers[-1] - scene.cameras.centers[0]).norm())
    true = float((truth.cameras.centers[-1] - truth.cameras.centers[0]).norm())
    assert 0.7 < travelled / (10 * true) < 1.4


def test_disparity_called_depth_is_told_by_the_parallax(
    truth: Truth, camera_file: str, tmp_path: Path
) -> None:
    """Values without zeros or a 1, so that only the cameras can tell."""
    np.save(tmp_path / "depth.npy", 7 / truth.depth)
    config = ReconstructConfig(cameras=camera_file, depth=str(tmp_path / "depth.npy"))
    with pytest.raises(ValueError, match=r"depth\.npy: near and far are swapped against"):
        reconstruct(truth.video, config)
    scene = reconstruct(truth.video, replace(config, depth_kind="inverse"))
    assert np.allclose(scene.depth.numpy(), truth.depth / 7, rtol=1e-5)


def test_given_masks_are_used(truth: Truth, camera_file: str, tmp_path: Path) -> None:
    for i in range(T):
        write_image(torch.from_numpy(truth.moving[i]), tmp_path / "masks" / f"{i:03d}.png")
    config = ReconstructConfig(cameras=camera_file, masks=str(tmp_path / "masks"))
    scene = reconstruct(truth.video, config)
    assert np.array_equal(scene.dynamic.numpy(), truth.moving)
    assert scene.report["dynamic"]["source"] == "given"


def test_a_tripod_gives_a_stated_assumption() -> None:
    cameras = make_cameras(T, H, W, shift=0.0, turn=0.0)
    truth = render_world(T, H, W, slide=0.08, cameras=cameras)
    scene = reconstruct(truth.video, ReconstructConfig(depth_model="stage"))
    assert scene.camera_motion == "static"
    assert scene.depth_source == "assumed"
    assert any("assumed" in note for note in scene.report["notes"])
    still = ~scene.dynamic.any(0)
    assert torch.equal(scene.depth[0][still], scene.depth[-1][still])  # nothing breathes
    assert float(scene.confidence.max()) <= 0.3
    assert (scene.dynamic.numpy() & truth.moving).sum() > 0.6 * truth.moving.sum()


def test_a_tripod_is_believed_to_be_what_the_network_says() -> None:
    cameras = make_cameras(T, H, W, shift=0.0, turn=0.0)
    truth = render_world(T, H, W, slide=0.08, cameras=cameras)
    scene = reconstruct(truth.video)
    assert scene.depth_source == "predicted"
    assert any("network" in note for note in scene.report["notes"])
    still = ~scene.dynamic.any(0)
    assert torch.equal(scene.depth[0][still], scene.depth[-1][still])  # nothing breathes
    assert bool((scene.depth > 0).all())


def test_geometry_is_worked_out_at_the_size_asked(truth: Truth, camera_file: str) -> None:
    scene = reconstruct(truth.video, ReconstructConfig(size=76, cameras=camera_file))
    assert scene.depth.shape == (T, 48, 76)
    assert (scene.video.height, scene.video.width) == (H, W)
    small = render_world(T, 48, 76, slide=0.05)
    assert np.median(_error(scene.depth, small.depth)) < 0.05


def test_working_size_keeps_the_shape_and_never_enlarges() -> None:
    assert working_size(480, 854, 512) == (288, 512)
    assert working_size(854, 480, 512) == (512, 288)
    assert working_size(100, 120, 512) == (100, 120)
    with pytest.raises(ValueError, match="at least 32"):
        working_size(480, 854, 10)


@pytest.mark.parametrize("t", [1, 2])
def test_one_and_two_frames(truth: Truth, t: int) -> None:
    scene = reconstruct(truth.video[:t])
    assert len(scene) == t and bool(scene.valid.all())
    assert bool(torch.isfinite(scene.depth).all()) and float(scene.depth.min()) > 0


def test_black_frames_give_a_scene_that_says_so() -> None:
    black = video_from_frames(torch.zeros(4, 3, 64, 96, dtype=torch.uint8))
    scene = reconstruct(black, ReconstructConfig(depth_model="stage"))
    assert scene.depth_source == "assumed" and scene.report["notes"]
    assert bool(torch.isfinite(scene.depth).all())
    guessed = reconstruct(black)
    assert guessed.depth_source == "predicted" and guessed.report["notes"]
    assert bool(torch.isfinite(guessed.depth).all())


def test_what_does_not_fit_is_refused(truth: Truth, camera_file: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"9 cameras but the video has 5|cameras for"):
        np.savez(
            tmp_path / "m.npz", cam_c2w=truth.cameras.world_from_cam.numpy(),
            intrinsic=truth.cameras.intrinsics[0].numpy(), depths=truth.depth,
        )  # fmt: skip
        reconstruct(truth.video[:5], ReconstructConfig(cameras=str(tmp_path / "m.npz")))
    with pytest.raises(RecamError):
        reconstruct(truth.video, ReconstructConfig(depth=str(tmp_path / "none.npz")))
    np.save(tmp_path / "nan.npy", np.full_like(truth.depth, np.nan))
    with pytest.raises(ValueError, match="NaN"):
        reconstruct(truth.video, ReconstructConfig(depth=str(tmp_path / "nan.npy")))
    with pytest.raises(ValueError, match="no frames"):
        reconstruct(truth.video[:0])


def test_progress_counts_up_to_its_total(truth: Truth, camera_file: str) -> None:
    seen: dict[str, tuple[int, int]] = {}

    def progress(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        seen[what] = (done, total)

    config = replace(ReconstructConfig(cameras=camera_file), size=64)
    reconstruct(truth.video, config, progress)
    assert {"optical flow", "triangulating", "matching", "smoothing"} <= set(seen)
    assert all(done == total for done, total in seen.values())
