"""Depth that a model says: one scale over time, steady, and used where nothing is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recam.camera_files import write_cameras
from recam.configs import ReconstructConfig
from recam.reconstruct import reconstruct
from recam.reconstruct.depth_prior import temporal_alignment
from recam.reconstruct.depth_prior.affine_fit import fitted_by_frame
from recam.reconstruct.depth_prior.temporal_alignment import aligned_over_time, steady
from recam.reconstruct.external.choose import DepthChoice
from recam.reconstruct.external.prior_depth import PriorDepth
from recam.types import Cameras
from reconstruct_scene import Truth, exact_flows, make_cameras, render_world

T, H, W = 9, 96, 152
OUTSIDE = ReconstructConfig(depth_model="depth-anything-v2", depth_weights="some/model")


@pytest.fixture(scope="module")
def turning() -> Truth:
    return render_world(T, H, W, cameras=make_cameras(T, H, W, shift=0.0, turn=0.02))


@pytest.fixture(scope="module")
def tripod() -> Truth:
    return render_world(T, H, W, slide=0.08, cameras=make_cameras(T, H, W, shift=0.0, turn=0.0))


def _drifted(rho: np.ndarray, with_shift: bool = True) -> np.ndarray:
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.7, 1.4, len(rho))[:, None, None]
    shift = rng.uniform(-0.05, 0.05, len(rho))[:, None, None] if with_shift else 0.0
    return (scale * rho + shift).astype(np.float32)


def _affine_spread(rho: np.ndarray, true: np.ndarray) -> float:
    """How far rho is from one scale and shift of the truth, relative to the truth's spread."""
    x, y = rho.ravel(), true.ravel()
    slope, level = np.polyfit(x, y, 1)
    return float(np.abs(slope * x + level - y).mean() / y.std())


@pytest.mark.parametrize("with_shift", [True, False])
def test_drifting_frames_are_brought_to_one_scale(turning: Truth, with_shift: bool) -> None:
    true = 1 / turning.depth
    drifted = _drifted(true, with_shift)
    flows = exact_flows(turning, (1, 2, 4))
    still = np.ones(true.shape, bool)
    out = aligned_over_time(
        drifted, "scale-and-shift" if with_shift else "scale", flows, turning.cameras, still
    )
    assert _affine_spread(drifted, true) > 0.1
    assert _affine_spread(out, true) < 0.03
    assert aligned_over_time(drifted, "none", flows, turning.cameras, still) is drifted


def test_still_points_of_a_tripod_keep_their_depth(tripod: Truth) -> None:
    rng = np.random.default_rng(0)
    noisy = (1 / tripod.depth * rng.normal(1, 0.1, tripod.depth.shape)).astype(np.float32)
    still = ~tripod.moving
    flows = exact_flows(tripod, (1, 2))
    out = steady(noisy, still, flows, tripod.cameras, static=True)
    both = still[0] & still[-1]
    assert np.array_equal(out[0][both], out[-1][both])
    error = np.abs(out * tripod.depth - 1)
    assert error[still].mean() < 0.06
    assert error[tripod.moving].mean() < 0.09  # averaged along its own motion


def test_a_turning_camera_averages_what_it_sees_again(turning: Truth) -> None:
    rng = np.random.default_rng(0)
    noisy = (1 / turning.depth * rng.normal(1, 0.03, turning.depth.shape)).astype(np.float32)
    still = np.ones(noisy.shape, bool)
    out = steady(noisy, still, exact_flows(turning, (1, 2)), turning.cameras, static=False)
    error = np.abs(out * turning.depth - 1)[:, 8:-8, 8:-8]
    assert np.median(error) < 0.5 * np.median(np.abs(noisy * turning.depth - 1))


def test_a_prior_of_drifting_frames_is_fitted_frame_by_frame() -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(0.2, 1.0, (7, 20, 30)).astype(np.float32)
    slow = np.linspace(1.0, 1.5, 7, dtype=np.float32)[:, None, None]
    weight = (rng.random(true.shape) < 0.3).astype(np.float32)
    by_frame = fitted_by_frame(true / slow, true, weight, "scale")
    whole = fitted_by_frame(true / slow, true, weight, "none")
    assert np.abs(by_frame / true - 1).mean() < 0.5 * np.abs(whole / true - 1).mean()
    assert np.array_equal(
        fitted_by_frame(true / slow, true, 0 * weight, "scale"),
        fitted_by_frame(true / slow, true, 0 * weight, "none"),
    )


def _says(monkeypatch: pytest.MonkeyPatch, truth: Truth, metric: bool, noise: float = 0.02) -> None:
    rng = np.random.default_rng(3)

    def outside_depth(choice: DepthChoice, frames: torch.Tensor, *_: object) -> PriorDepth:
        assert frames.dtype == torch.uint8 and frames.shape == (T, 3, H, W)
        rho = 1 / truth.depth * rng.normal(1, noise, truth.depth.shape)
        rho = torch.from_numpy(rho.astype(np.float32))
        return PriorDepth(rho, torch.full_like(rho, 0.5), metric, "scale")

    monkeypatch.setattr(temporal_alignment, "external_depth", outside_depth)


def test_a_tripod_shot_gets_the_models_depth(
    monkeypatch: pytest.MonkeyPatch, tripod: Truth
) -> None:
    _says(monkeypatch, tripod, metric=True)
    scene = reconstruct(tripod.video, OUTSIDE)
    assert scene.depth_source == "predicted"
    assert "some/model" in scene.report["depth"]["model"] and scene.metres_per_unit == 1.0
    assert any("depth-anything-v2 (some/model) says" in note for note in scene.report["notes"])
    assert np.median(np.abs(scene.depth.numpy() / tripod.depth - 1)) < 0.03
    still = ~scene.dynamic.any(0)
    assert torch.equal(scene.depth[0][still], scene.depth[-1][still])


def test_a_moving_shot_is_measured_and_takes_a_metric_models_scale(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    truth = render_world(T, H, W, slide=0.05)
    _says(monkeypatch, truth, metric=True)
    half = replace(truth.cameras, cam_from_world=_scaled(truth.cameras, 0.5))
    write_cameras(half, tmp_path / "cameras.json", "recam")
    config = replace(OUTSIDE, cameras=str(tmp_path / "cameras.json"))
    scene = reconstruct(truth.video, config)
    assert scene.depth_source == "measured"
    assert scene.metres_per_unit == pytest.approx(2.0, rel=0.05)
    error = np.abs(2 * scene.depth.numpy() / truth.depth - 1)
    assert np.median(error) < 0.03
    assert np.median(error[truth.moving & scene.dynamic.numpy()]) < 0.1


def _scaled(cameras: Cameras, factor: float) -> torch.Tensor:
    poses = cameras.cam_from_world.clone()
    poses[:, :3, 3] *= factor
    return poses


def test_the_users_scale_makes_a_scene_metric(tripod: Truth) -> None:
    config = ReconstructConfig(depth_model="stage", scale=3.0)
    scene = reconstruct(tripod.video, config)
    assert scene.metres_per_unit is not None
    middle = float(scene.depth[0, H // 2, W // 2]) * scene.metres_per_unit
    assert middle == pytest.approx(3.0, rel=0.05)
    assert any("metric" in note and "as given" in note for note in scene.report["notes"])
    with pytest.raises(ValueError, match="scale is -1"):
        reconstruct(tripod.video, replace(config, scale=-1.0))


def test_sky_is_far_and_valid(monkeypatch: pytest.MonkeyPatch, tripod: Truth) -> None:
    def outside_depth(choice: DepthChoice, frames: torch.Tensor, *_: object) -> PriorDepth:
        rho = torch.from_numpy(1 / tripod.depth[: len(frames)])
        rho[:, :20] = 0
        return PriorDepth(rho, torch.full_like(rho, 0.5), False, "scale-and-shift")

    monkeypatch.setattr(temporal_alignment, "external_depth", outside_depth)
    scene = reconstruct(tripod.video[:1], OUTSIDE)
    assert bool(scene.valid.all()) and scene.metres_per_unit is None
    assert float(scene.depth[0, :20].min()) > 5 * float(scene.depth[0, 20:].median())
