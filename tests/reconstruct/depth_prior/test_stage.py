import numpy as np
import pytest
import torch

from recam.geometry import intrinsics_from_fov, se3, so3_exp, unproject
from recam.reconstruct.depth_prior.affine_fit import fit_prior
from recam.reconstruct.depth_prior.stage import stage_prior
from recam.types import Cameras


def _turning(t: int, h: int = 48, w: int = 80) -> Cameras:
    at = torch.linspace(-0.1, 0.1, t, dtype=torch.float64)
    zero = torch.zeros_like(at)
    poses = se3(so3_exp(torch.stack([zero, at, zero], 1)), torch.zeros(t, 3).double())
    return Cameras(poses, intrinsics_from_fov(60, h, w).expand(t, 3, 3).clone(), h, w)


def test_nearest_at_the_bottom_and_positive() -> None:
    frames = torch.full((3, 3, 48, 80), 120, dtype=torch.uint8)
    inverse_depth, confidence = stage_prior(frames)
    assert inverse_depth.shape == confidence.shape == (3, 48, 80)
    assert inverse_depth.dtype == confidence.dtype == torch.float32
    assert float(inverse_depth.min()) > 0
    assert bool((inverse_depth[:, -1] > inverse_depth[:, 10] + 0.2).all())
    assert bool((inverse_depth.diff(dim=1)[:, 20:] >= -1e-6).all())
    assert abs(float(inverse_depth[1, -1, 40]) - 1) < 0.1


def test_the_stage_stands_still_while_the_camera_turns() -> None:
    cameras = _turning(5)
    frames = torch.full((5, 3, 48, 80), 120, dtype=torch.uint8)
    inverse_depth, _ = stage_prior(frames, cameras)
    world = unproject(1 / inverse_depth.double(), cameras)
    # A world direction that all frames see is at one distance in all of them.
    middle = world[2].reshape(-1, 3)
    for i in (0, 1, 3, 4):
        other = world[i].reshape(-1, 3)
        directions = torch.nn.functional.normalize(other, dim=1)
        cosine = torch.nn.functional.normalize(middle, dim=1)[::37] @ directions.T
        best = cosine.max(1)
        same = best.values > 0.99995
        assert int(same.sum()) > 20
        ratio = other[best.indices].norm(dim=1) / middle[::37].norm(dim=1)
        assert float((ratio[same] - 1).abs().max()) < 0.05


def test_no_ground_where_the_sky_reaches_the_bottom() -> None:
    sky = torch.zeros(3, 3, 48, 80, dtype=torch.uint8)
    sky[:, 0], sky[:, 1], sky[:, 2] = 90, 150, 220
    inverse_depth, _ = stage_prior(sky)
    assert float(inverse_depth.max() / inverse_depth.min()) < 1.3


def test_prior_wants_cameras_of_its_size() -> None:
    with pytest.raises(ValueError, match=r"use cameras\.resized"):
        stage_prior(torch.zeros(5, 3, 10, 10, dtype=torch.uint8), _turning(5))


def test_fit_prior_finds_scale_and_shift_despite_outliers() -> None:
    rng = np.random.default_rng(0)
    prior = rng.random((4, 30, 40)).astype(np.float32)
    measured = 0.7 * prior + 0.2 + rng.normal(0, 0.01, prior.shape).astype(np.float32)
    weight = (rng.random(prior.shape) < 0.3).astype(np.float32)
    wrong = rng.random(prior.shape) < 0.2
    measured[wrong] = 5.0
    fitted, spread = fit_prior(prior, measured, weight)
    assert np.abs(fitted - (0.7 * prior + 0.2)).max() < 0.02
    assert 0.005 < spread < 0.03


def test_fit_prior_never_turns_the_prior_over() -> None:
    prior = np.linspace(0, 1, 1000, dtype=np.float32).reshape(1, 10, 100)
    fitted, _ = fit_prior(prior, 1 - prior, np.ones_like(prior))
    assert np.ptp(fitted) < 1e-6
