"""Cameras from flow: the three kinds of motion, exact poses, moving things, and real clips."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recam.camera_files import read_cameras
from recam.configs import InputConfig, ReconstructConfig
from recam.evaluation.cameras import camera_errors
from recam.flow.dense import FlowSet, compute_flows
from recam.geometry import fov_x_deg, rotation_angle_deg
from recam.media import read_video
from recam.media.input import source_part
from recam.reconstruct.camera_stage import OFFSETS
from recam.reconstruct.cameras.bundle_adjustment import (
    Bundle,
    Freedom,
    adjust,
    residuals_px,
    rotation_exp,
    triangulated,
)
from recam.reconstruct.cameras.level_lines import FocalGuess, PictureGuess
from recam.reconstruct.cameras.motion_model import (
    MAX_COST_OF_FLIP,
    Fit,
    _like_guessed,
    bas_relief_flip,
    prefer_relief,
    rms_px,
    shift_inverse_depth,
    start_bundle,
    unit_depth,
)
from recam.reconstruct.cameras.solve import CameraSolution, _moves_too_little, solve_cameras
from recam.reconstruct.matching.tracks import Tracks
from recam.reconstruct.pipeline import working_size
from recam.types import Cameras
from reconstruct_scene import Truth, exact_flows, make_cameras, render_world

H, W, T = 96, 144, 13


def world(shift: float, turn: float, slide: float = 0.0) -> tuple[Truth, FlowSet]:
    truth = render_world(T, H, W, slide, make_cameras(T, H, W, shift, turn))
    return truth, exact_flows(truth, (1, 2, 4, 8))


def solved(truth: Truth, flows: FlowSet, **options: object) -> CameraSolution:
    return solve_cameras(truth.video, flows, ReconstructConfig(**options))  # type: ignore[arg-type]


def rotation_rms_deg(found: Cameras, truth: Cameras) -> float:
    """Root mean square angle, with the first cameras laid on each other."""
    a, b = found.cam_from_world[:, :3, :3], truth.cam_from_world[:, :3, :3]
    angle = rotation_angle_deg(a @ a[0].T, b @ b[0].T)
    return float(angle.square().mean().sqrt())


def test_a_moving_camera_is_found_with_its_field_of_view() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    found = solved(truth, flows)
    assert found.motion == "moving"
    assert rotation_rms_deg(found.cameras, truth.cameras) < 0.2
    assert camera_errors(found.cameras, truth.cameras).translation_fraction < 0.02
    assert found.fov_deg == pytest.approx(60, abs=5)


def test_inverse_depths_of_the_points_are_the_true_ones_up_to_one_scale() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    found = solved(truth, flows, fov=60.0)
    uv = found.tracks.uv_px
    true = truth.depth[found.tracks.frame, uv[:, 1].astype(int), uv[:, 0].astype(int)]
    product = found.inverse_depth * true
    assert np.median(np.abs(product / np.median(product) - 1)) < 0.02


@pytest.mark.parametrize("slide", [0.0, 0.08])
def test_a_turning_camera(slide: float) -> None:
    truth, flows = world(shift=0.0, turn=0.02, slide=slide)
    found = solved(truth, flows)
    assert found.motion == "rotating"
    assert rotation_rms_deg(found.cameras, truth.cameras) < 0.5
    assert torch.equal(found.cameras.centers, torch.zeros_like(found.cameras.centers))


@pytest.mark.parametrize("slide", [0.0, 0.08])
def test_a_tripod(slide: float) -> None:
    truth, flows = world(shift=0.0, turn=0.0, slide=slide)
    found = solved(truth, flows)
    assert found.motion == "static" and not found.fov_known
    poses = found.cameras.cam_from_world
    assert torch.equal(poses, torch.eye(4, dtype=torch.float64).expand_as(poses))
    assert any("--fov" in note for note in found.notes)


def test_things_that_move_are_kept_out() -> None:
    truth, flows = world(shift=0.08, turn=0.006, slide=0.1)
    found = solved(truth, flows, fov=60.0)
    assert found.motion == "moving"
    assert rotation_rms_deg(found.cameras, truth.cameras) < 0.3
    uv = found.tracks.uv_px
    on_box = truth.moving[found.tracks.frame, uv[:, 1].astype(int), uv[:, 0].astype(int)]
    owner = found.tracks.track
    share = np.bincount(owner, on_box) / np.bincount(owner)
    assert found.still[share < 0.1].mean() > found.still[share > 0.9].mean() + 0.3


def test_known_field_of_view_and_motion_are_obeyed() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    found = solved(truth, flows, fov=50.0, motion="rotating")
    assert found.motion == "rotating" and found.fov_known
    assert float(fov_x_deg(found.cameras)[0]) == pytest.approx(50)


def test_known_cameras_only_get_points() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    found = solve_cameras(truth.video, flows, known_cameras=truth.cameras)
    assert torch.equal(found.cameras.intrinsics, truth.cameras.intrinsics)
    torch.testing.assert_close(found.cameras.cam_from_world, truth.cameras.cam_from_world)
    uv = found.tracks.uv_px
    true = truth.depth[found.tracks.frame, uv[:, 1].astype(int), uv[:, 0].astype(int)]
    assert np.median(np.abs(found.inverse_depth * true - 1)) < 0.02


def test_a_cut_is_told() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    across = [(i, j) for i, j in flows.pairs() if (i < 6) != (j < 6)]
    confidence = dict(flows.confidence_u8)
    for pair in across:
        confidence[pair] = torch.zeros_like(confidence[pair])
    found = solved(truth, replace(flows, confidence_u8=confidence))
    assert any("cut at frame 5/6" in note for note in found.notes)


def test_what_does_not_fit_is_refused() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    with pytest.raises(ValueError, match="known cameras for"):
        solve_cameras(truth.video, flows, known_cameras=truth.cameras[:5])
    with pytest.raises(ValueError, match="known_intrinsics has shape"):
        solve_cameras(truth.video, flows, known_intrinsics=torch.eye(4))


def test_bundle_adjustment_finds_exact_cameras_and_points() -> None:
    rng = np.random.default_rng(0)
    cameras = make_cameras(6, H, W, 0.3, 0.02)
    points = rng.uniform([-2, -1, 3], [2, 1, 9], (60, 3))
    rotation, center = cameras.cam_from_world[:, :3, :3].numpy(), cameras.centers.numpy()
    focal = float(cameras.intrinsics[0, 0, 0])
    seen = np.einsum("tij,ntj->nti", rotation, points[:, None] - center)
    xy = focal * seen[..., :2] / seen[..., 2:]
    tracks = Tracks(xy.reshape(-1, 2), np.tile(np.arange(6), 60), np.arange(0, 361, 6))
    start = Bundle(
        np.tile(np.eye(3), (6, 1, 1)), center + rng.normal(0, 0.05, center.shape) * (center != 0),
        focal, xy[:, 0] / focal, 1 / points[:, 2] * rng.uniform(0.8, 1.2, 60),
        np.tile(np.eye(3), (60, 1, 1)), np.zeros((60, 3)),
    )  # fmt: skip
    freedom = Freedom(focal=False, redescending=False, depth_prior_px=0.0, sigma_px=5.0)
    best, cost = adjust(start, tracks, freedom, 100, 1e-12)
    assert cost < 1e-6 and residuals_px(best, tracks).max() < 1e-3
    assert np.abs(best.rotation - rotation).max() < 1e-5
    scale = np.linalg.norm(best.center[-1]) / np.linalg.norm(center[-1])
    assert np.abs(best.center / scale - center).max() < 1e-4


@pytest.mark.parametrize(
    ("source", "num", "motion"),
    [
        ("dynamic/davis_bear/gt_rgb.mp4", 17, "rotating"),
        ("multiview/nvidia_balloon1/input_960x540", 12, "moving"),
    ],
)
def test_rotation_on_real_clips(shared_data: Path, source: str, num: int, motion: str) -> None:
    path = shared_data / source
    video = read_video(path, num_frames=num, max_side=640)
    part = source_part(path, InputConfig(num_frames=num), num)
    file = read_cameras(path.parent / "cameras.json", num_frames=num, part=part)
    h, w = working_size(video.height, video.width, 384)
    found = solve_cameras(video, compute_flows(video, h, w, OFFSETS))
    assert found.motion == motion
    assert file.cameras is not None
    assert rotation_rms_deg(found.cameras, file.cameras) < 1.5


def test_a_relief_turned_inside_out_takes_nearly_the_same_pictures() -> None:
    """With a long lens; and turned once more it is itself again."""
    rng = np.random.default_rng(4)
    points = np.stack([*rng.uniform(-0.1, 0.1, (2, 60)), rng.uniform(0.85, 1.15, 60)], 1)
    angle = np.linspace(0, 0.25, 9)
    rotation = rotation_exp(np.stack([0 * angle, -angle, 0 * angle], 1))
    middle = np.array([0.0, 0.0, 1.0])
    center = middle - np.einsum("kji,j->ki", rotation, middle)  # an orbit about the middle
    seen = np.einsum("kij,knj->nki", rotation, points[None] - center[:, None])
    uv = 1500 * seen[..., :2] / seen[..., 2:]
    frame = np.tile(np.arange(9), 60)
    tracks = Tracks(uv.reshape(-1, 2), frame, 9 * np.arange(61))
    true = replace(start_bundle(tracks, rotation, 1500.0), center=center)
    true = unit_depth(triangulated(true, tracks))
    mirrored = bas_relief_flip(true, tracks)
    assert np.median(residuals_px(true, tracks)) < 0.1
    moved = np.linalg.norm(uv - uv[:, :1] - (uv - uv[:, :1]).mean(0), axis=-1)
    assert np.median(residuals_px(mirrored, tracks)) < 0.1 * np.quantile(moved, 0.9)
    assert np.corrcoef(mirrored.inverse_depth, true.inverse_depth)[0, 1] < -0.9
    assert np.allclose(bas_relief_flip(mirrored, tracks).center, true.center, atol=0.02)


@pytest.mark.parametrize("ground", [True, False])
def test_of_two_reliefs_the_one_with_the_ground_below_is_taken(ground: bool) -> None:
    """If it costs little more; a ceiling that the pictures tell clearly is left alone."""
    rng = np.random.default_rng(6)
    xy = rng.uniform(-0.1, 0.1, (150, 2))
    depth = 1 - (3 if ground else -3) * xy[:, 1] + rng.normal(0, 0.02, 150)
    points = np.concatenate([xy, np.ones((150, 1))], 1) * depth[:, None]
    angle = np.linspace(0, 0.12 if ground else 0.3, 9)
    rotation = rotation_exp(np.stack([0 * angle, -angle, 0 * angle], 1))
    middle = np.array([0.0, 0.0, 1.0])
    center = middle - np.einsum("kji,j->ki", rotation, middle)
    seen = np.einsum("kij,knj->nki", rotation, points[None] - center[:, None])
    uv = 1500 * seen[..., :2] / seen[..., 2:] + rng.normal(0, 0.15, (150, 9, 2))
    tracks = Tracks(uv.reshape(-1, 2), np.tile(np.arange(9), 150), 9 * np.arange(151))
    true = replace(start_bundle(tracks, rotation, 1500.0), center=center)
    free = Freedom(focal=False)
    fits = []
    for start in (true, bas_relief_flip(unit_depth(triangulated(true, tracks)), tracks)):
        bundle, cost = adjust(unit_depth(triangulated(start, tracks)), tracks, free, 60)
        fits.append(Fit(unit_depth(bundle), cost, rms_px(bundle, tracks, 3)))
    right, inside_out = fits
    if ground:
        found = prefer_relief(inside_out, tracks, None)
        assert np.corrcoef(found.bundle.inverse_depth, right.bundle.inverse_depth)[0, 1] > 0.9
        guess = right.bundle.inverse_depth
        likely = partial(_like_guessed, guess)
        assert (
            _like_guessed(guess, inside_out.bundle)
            < 0
            < likely(prefer_relief(inside_out, tracks, None, likely).bundle)
        )
    else:
        assert inside_out.cost > MAX_COST_OF_FLIP * right.cost, "the pictures tell"
    assert prefer_relief(right, tracks, None) is right


def test_points_held_at_infinity_are_brought_back() -> None:
    """A long lens that turns and steps aside takes nearly the same pictures of points that are all
    nearer by one amount of inverse depth, and none of them is at 0 then."""
    rng = np.random.default_rng(5)
    points = np.stack([*rng.uniform(-0.2, 0.2, (2, 200)), np.ones(200)], 1)
    points /= rng.uniform(0.2, 1.2, 200)[:, None]
    angle = np.linspace(0, 0.06, 12)
    rotation = rotation_exp(np.stack([0.4 * angle**2, -angle, 0 * angle], 1))
    center = np.stack([np.linspace(0, 0.06, 12), 0.01 * np.sin(9 * angle), 0 * angle], 1)
    seen = np.einsum("kij,nkj->nki", rotation, points[:, None] - center)
    uv = 700 * seen[..., :2] / seen[..., 2:] + rng.normal(0, 0.02, (200, 12, 2))
    tracks = Tracks(uv.reshape(-1, 2), np.tile(np.arange(12), 200), 12 * np.arange(201))
    true = replace(start_bundle(tracks, rotation, 700.0), center=center)
    true = unit_depth(triangulated(true, tracks))
    far = replace(true, inverse_depth=np.maximum(true.inverse_depth - 0.6, 0))
    only_cameras = Freedom(depth=False, focal=False, sigma_px=4.0)
    far = adjust(far, tracks, only_cameras, 10)[0]
    far = triangulated(far, tracks)
    nearer = shift_inverse_depth(far, tracks)
    assert (far.inverse_depth < 1e-3).mean() > 0.05
    assert (nearer.inverse_depth < 1e-3).mean() == 0
    assert np.median(residuals_px(nearer, tracks)) < 0.2
    fine = Freedom(focal=False, sigma_px=0.3, redescending=False, depth_prior_px=0.0)
    wanted, found = (adjust(start, tracks, fine, 40, 1e-6)[1] for start in (true, nearer))
    assert found < 1.01 * wanted


def test_a_guess_that_is_inside_out_is_not_kept() -> None:
    truth, flows = world(shift=0.08, turn=0.006)
    frames = np.array([0, T - 1])
    inside_out = truth.depth[frames].astype(np.float32)
    focal = float(truth.cameras.intrinsics[0, 0, 0])
    guess = PictureGuess(FocalGuess(focal, 0.3), frames, inside_out / np.median(inside_out))
    found = solve_cameras(truth.video, flows, ReconstructConfig(), guess=guess)
    assert found.motion == "moving"
    assert rotation_rms_deg(found.cameras, truth.cameras) < 0.2
    assert found.fov_deg == pytest.approx(60, abs=5)


def test_a_camera_that_moves_by_next_to_nothing_turns_in_place() -> None:
    def found(parallax_px: float) -> Any:
        return SimpleNamespace(motion="moving", parallax_px=parallax_px, residual_px=0.1)

    config = ReconstructConfig()
    assert _moves_too_little(found(3.0), config) and not _moves_too_little(found(6.0), config)
    off = replace(config, rules=replace(config.rules, short_baselines=False))
    assert not _moves_too_little(found(3.0), off)
