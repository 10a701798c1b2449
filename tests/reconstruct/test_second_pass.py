"""The second round: other frames as witnesses, cameras from patches, depth matched again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recam.geometry import intrinsics_from_fov, look_at, rotation_angle_deg, so3_exp, unproject
from recam.reconstruct.cameras.photometric_refinement import (
    follow_patches,
    refine_photometrically,
)
from recam.reconstruct.depth.local_plane_sweep import local_plane_sweep, witnesses_of
from recam.reconstruct.motion_segmentation.view_consistency import (
    collect_votes,
    segment_by_votes,
    slopes,
)
from recam.reconstruct.object_depth.ground_contact import place_upright
from recam.reconstruct.second_pass import SecondPassOptions, second_pass
from recam.reconstruct.static_depth import StaticGeometry
from recam.reconstruct.temporal_windows import windows
from recam.types import Cameras
from reconstruct_scene import Truth, exact_flows, make_cameras, render_world


@pytest.fixture(scope="module")
def still() -> Truth:
    return render_world(12, 96, 144)


def _rgb(truth: Truth) -> np.ndarray:
    return truth.video.frames.permute(0, 2, 3, 1).contiguous().numpy()


def _gray(truth: Truth) -> np.ndarray:
    return truth.video.frames.float().mean(1).to(torch.uint8).numpy()


def _rho(truth: Truth) -> np.ndarray:
    return (1 / truth.depth).astype(np.float32)


def _nothing(truth: Truth) -> np.ndarray:
    return np.zeros(truth.depth.shape, bool)


def _red_box(slide: float) -> Truth:
    """A red box that slides."""
    truth = render_world(12, 96, 144, slide=slide)
    frames = truth.video.frames.clone()
    red = torch.from_numpy(truth.moving)
    for channel in (1, 2):
        frames[:, channel][red] //= 3
    return replace(truth, video=replace(truth.video, frames=frames))


def test_witnesses_confirm_a_still_world(still: Truth) -> None:
    sure = np.ones(still.depth.shape, np.float32)
    said = collect_votes(_rgb(still), _nothing(still), _rho(still), sure, still.cameras)
    assert (said.count >= 3).mean() > 0.7
    assert said.unlike.mean() < 0.02


def test_witnesses_contradict_what_is_elsewhere_at_other_times() -> None:
    truth = _red_box(-0.15)
    sure = np.ones(truth.depth.shape, np.float32)
    said = collect_votes(_rgb(truth), _nothing(truth), _rho(truth), sure, truth.cameras)
    asked = said.count >= 3
    assert said.firm[truth.moving & asked].mean() > 0.4
    assert said.firm[~truth.moving & asked].mean() < 0.15
    found = segment_by_votes(said, _nothing(truth), exact_flows(truth), _rgb(truth))
    both, either = (found & truth.moving).sum(), (found | truth.moving).sum()
    assert both / either > 0.6


def test_what_ought_to_be_hidden_moves() -> None:
    truth = _red_box(-0.15)
    behind = _rho(truth)
    behind[truth.moving] = 0.05  # far behind the wall
    sure = np.ones(truth.depth.shape, np.float32)
    said = collect_votes(_rgb(truth), _nothing(truth), behind, sure, truth.cameras)
    asked = said.count >= 3
    assert said.firm[truth.moving & asked].mean() > 0.5


def test_slopes_ignore_a_step() -> None:
    rho = np.tile(np.arange(8, dtype=np.float32), (5, 1))
    rho[:, 4:] += 100
    right, down = slopes(rho)
    assert np.allclose(right[:, 1:-1], 1) and np.allclose(down, 0)


def test_the_far_side_of_a_ball_is_not_asked() -> None:
    """A camera goes a quarter around a ball; its first frame says nothing about the side."""
    h = w = 96
    k = intrinsics_from_fov(30.0, h, w)
    angles = torch.linspace(0, 1.4, 5, dtype=torch.float64)
    down = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    middle = torch.zeros(3, dtype=torch.float64)
    eyes = 8 * torch.stack([angles.sin(), 0 * angles, -angles.cos()], 1)
    poses = torch.stack([look_at(eye, middle, down) for eye in eyes])
    cameras = Cameras(poses, k.expand(5, 3, 3).clone(), h, w)
    rays = unproject(torch.ones(5, h, w, dtype=torch.float64), cameras) - eyes[:, None, None]
    a, b = (rays**2).sum(-1), (rays * eyes[:, None, None]).sum(-1)
    root = (b * b - a * (64 - 1)).clamp(min=0).sqrt()
    hit = b * b > a * (64 - 1)
    z = torch.where(hit, (-b - root) / a, 9.0)
    point = eyes[:, None, None] + z[..., None] * rays
    # Stripes around the ball's axis, so that each side of it looks different.
    wave = 128 + 120 * torch.sin(9 * torch.atan2(point[..., 0], -point[..., 2]))
    rgb = torch.where(hit, wave, 60.0)[..., None].expand(-1, -1, -1, 3).to(torch.uint8)
    rho = (1 / z).float().numpy()
    nothing = np.zeros(rho.shape, bool)
    sure = np.ones(rho.shape, np.float32)
    said = collect_votes(rgb.contiguous().numpy(), nothing, rho, sure, cameras)
    inside = hit[4].numpy() & (z[4].numpy() < 7.6)
    assert said.unlike[4][inside & (said.count[4] > 0)].mean() < 0.1


def test_a_shadow_is_unlike_but_not_firmly(still: Truth) -> None:
    rgb = _rgb(still).copy()
    rgb[5, 60:80, 30:70] = (0.6 * rgb[5, 60:80, 30:70]).astype(np.uint8)
    sure = np.ones(still.depth.shape, np.float32)
    said = collect_votes(rgb, _nothing(still), _rho(still), sure, still.cameras)
    shaded = said.unlike[5, 63:77, 33:67], said.firm[5, 63:77, 33:67]
    assert shaded[0].mean() > 0.5 and shaded[1].mean() < 0.15


def test_witnesses_forgive_exposure(still: Truth) -> None:
    rgb = _rgb(still) * np.linspace(0.6, 1.2, 12)[:, None, None, None]
    sure = np.ones(still.depth.shape, np.float32)
    said = collect_votes(
        rgb.clip(0, 255).astype(np.uint8), _nothing(still), _rho(still), sure, still.cameras
    )
    assert said.unlike.mean() < 0.04


def test_what_is_taken_for_moving_but_looks_like_the_background_stands_still(still: Truth) -> None:
    wrong = _nothing(still)
    wrong[6, 30:50, 50:80] = True
    sure = np.ones(still.depth.shape, np.float32)
    said = collect_votes(_rgb(still), wrong, _rho(still), sure, still.cameras)
    found = segment_by_votes(said, wrong, exact_flows(still), _rgb(still))
    assert found.mean() < 0.002


def test_rematch_takes_an_error_out(still: Truth) -> None:
    rho = _rho(still)
    factor, sharpness = local_plane_sweep(
        _gray(still), still.cameras, 1.02 * rho, _nothing(still), 0.012
    )
    found = sharpness > 0
    assert found.mean() > 0.4
    assert np.median(np.abs(1.02 * factor - 1)[found]) < 0.006
    assert (factor[~found] == 1).all()


def test_rematch_without_parallax_changes_nothing(still: Truth) -> None:
    turning = make_cameras(12, 96, 144, shift=0.0)
    factor, sharpness = local_plane_sweep(
        _gray(still), turning, _rho(still), _nothing(still), 0.012
    )
    assert (factor == 1).all() and (sharpness == 0).all()


def test_witnesses_are_as_far_as_the_search_allows(still: Truth) -> None:
    near, few = witnesses_of(still.cameras, 6, 0.2, 3.0)
    far, many = witnesses_of(still.cameras, 6, 0.2, 100.0)
    assert max(abs(j - 6) for j in near) < max(abs(j - 6) for j in far)
    assert few <= 3.0 < many
    assert min(far) < 6 < max(far)


def _disturbed(cameras: Cameras) -> Cameras:
    """Orientations off by about 0.1°."""
    off = np.random.default_rng(1).normal(0, 0.001, (len(cameras), 3))
    off[0] = 0
    pose = cameras.cam_from_world.clone()
    pose[:, :3, :3] = so3_exp(torch.from_numpy(off)) @ pose[:, :3, :3]
    return replace(cameras, cam_from_world=pose)


def test_patches_are_found_where_true_cameras_put_them(still: Truth) -> None:
    tracks = follow_patches(_gray(still), still.cameras, _rho(still), _nothing(still))
    assert len(tracks) > 60
    assert (np.diff(tracks.start) >= 5).all()
    for k in range(len(tracks)):
        part = slice(tracks.start[k], tracks.start[k + 1])
        assert (np.diff(tracks.frame[part]) > 0).all()


def test_patches_mend_the_cameras(still: Truth) -> None:
    wrong = _disturbed(still.cameras)
    found = refine_photometrically(_gray(still), wrong, _rho(still), _nothing(still), None, True)
    assert found is not None
    assert found.residual_px[1] < 0.5 * found.residual_px[0]

    def turned(cameras: Cameras) -> float:
        a, b = cameras.cam_from_world[:, :3, :3], still.cameras.cam_from_world[:, :3, :3]
        return float(rotation_angle_deg(a, b).square().mean().sqrt())

    assert turned(found.cameras) < 0.5 * turned(wrong)
    assert abs(float(np.median(found.inverse_depth / _rho(still))) - 1) < 0.03


def test_nothing_to_follow_polishes_nothing(still: Truth) -> None:
    plain = np.full(still.depth.shape, 100, np.uint8)
    assert (
        refine_photometrically(plain, still.cameras, _rho(still), _nothing(still), 150.0, True)
        is None
    )


def test_windows_own_every_frame_once() -> None:
    for num in (1, 49, 128, 129, 500):
        frames = np.arange(num)
        owned = [frames[own] for _, _, own in windows(num)]
        assert (np.concatenate(owned) == frames).all()
        for wide, inner, own in windows(num):
            assert (frames[wide][inner] == frames[own]).all()


def test_refining_gains_and_a_budget_of_nothing_changes_nothing(still: Truth) -> None:
    rho, rgb, flows = 1.01 * _rho(still), _rgb(still), exact_flows(still)
    sure = np.full(rho.shape, 0.6, np.float32)
    start = StaticGeometry(rho, _nothing(still), sure, float(np.quantile(rho, 0.9)), 1.0)
    how = SecondPassOptions(cameras_free=False)
    none = second_pass(rgb, flows, still.cameras, start, rho, replace(how, minutes=0.0))
    assert none.still is start and not none.finished
    found = second_pass(rgb, flows, still.cameras, start, rho, how)
    assert found.finished and found.residual_px is None and found.cameras is still.cameras
    error = np.abs(found.still.inverse_depth * still.depth - 1)
    assert np.median(error) < 0.005
    assert found.still.dynamic.mean() < 0.01


def test_a_wrong_lens_is_mended_and_depth_measured_with_the_right_one() -> None:
    turning = render_world(12, 96, 144, cameras=make_cameras(12, 96, 144, turn=0.03))
    wrong = _of_another_lens(turning.cameras, 1.2)
    rho, rgb, flows = _rho(turning), _rgb(turning), exact_flows(turning)
    sure = np.full(rho.shape, 0.6, np.float32)
    start = StaticGeometry(rho, _nothing(turning), sure, float(np.quantile(rho, 0.9)), 1.0)
    found = second_pass(
        rgb, flows, wrong, start, rho, SecondPassOptions(masks_given=True, usual_focal=138.0)
    )
    true = float(turning.cameras.intrinsics[0, 0, 0])
    assert abs(float(found.cameras.intrinsics[0, 0, 0]) / true - 1) < 0.03
    ratio = found.still.inverse_depth * turning.depth
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def _of_another_lens(cameras: Cameras, factor: float) -> Cameras:
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, [0, 1], [0, 1]] *= factor
    return replace(cameras, intrinsics=intrinsics)


def test_a_thing_stands_where_the_level_ground_meets_its_lowest_row() -> None:
    rho = np.broadcast_to(np.linspace(0.1, 1.0, 100)[:, None], (100, 120)).astype(np.float32)
    region = np.zeros((100, 120), bool)
    region[30:80, 40:52] = True
    found = place_upright(rho, region, region)
    assert found.touches
    assert np.allclose(found.rho, rho[80, 0], rtol=0.01)
