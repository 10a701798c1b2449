"""Triangulation, matching, completion and agreement on a world that is known exactly."""

import numpy as np
import pytest
import torch

from recam.reconstruct.depth.fusion import _select, fuse_views, snap_to_edges
from recam.reconstruct.depth.plane_sweep import search_range, sweep
from recam.reconstruct.depth.tgv import Smoothness, tgv_inpaint
from recam.reconstruct.depth.triangulation import Evidence, triangulate
from recam.reconstruct.static_depth import static_depth
from recam.reconstruct.warping import inverse_depth_warps
from reconstruct_scene import Truth, exact_flows, make_cameras, render_world


@pytest.fixture(scope="module")
def still() -> Truth:
    return render_world()


@pytest.fixture(scope="module")
def evidence(still: Truth) -> Evidence:
    return triangulate(exact_flows(still), still.cameras)


def test_warps_project_as_the_cameras_do(still: Truth) -> None:
    a, b = inverse_depth_warps(still.cameras, 2, [5])
    point = torch.tensor([[0.3, 0.2, 4.0]], dtype=torch.float64)
    from recam.geometry import project

    uv, depth = project(point, still.cameras)
    homogeneous = a[0] @ np.append(uv[2, 0].numpy(), 1) + b[0] / float(depth[2, 0])
    assert np.allclose(homogeneous[:2] / homogeneous[2], uv[5, 0].numpy(), atol=1e-3)
    assert np.isclose(homogeneous[2], depth[5, 0] / depth[2, 0], atol=1e-5)


def test_true_flow_triangulates_to_true_depth(still: Truth, evidence: Evidence) -> None:
    seen = np.isfinite(evidence.sigma)
    assert seen.mean() > 0.97
    error = np.abs(evidence.inverse_depth - 1 / still.depth)[seen]
    assert np.median(error) < 0.002 and np.quantile(error, 0.95) < 0.01
    assert np.median(evidence.misfit[seen]) < 0.1


def test_sigma_is_honest_and_falls_with_the_baseline(still: Truth) -> None:
    near = triangulate(exact_flows(still, (1,)), still.cameras)
    far = triangulate(exact_flows(still, (4,)), still.cameras)
    assert np.median(far.sigma[4]) < 0.4 * np.median(near.sigma[4])


def test_a_wrong_flow_is_outvoted(still: Truth, evidence: Evidence) -> None:
    flows = exact_flows(still)
    flows.steps[4, 5].add_(torch.tensor([8 * 32, 0], dtype=torch.int16))
    spoiled = triangulate(flows, still.cameras)
    change = np.abs(spoiled.inverse_depth[4] - evidence.inverse_depth[4])
    assert np.median(change) < 0.01


def test_motion_across_epipolar_lines_shows_as_misfit() -> None:
    truth = render_world(slide=0.05, cameras=make_cameras(9, 72, 112, shift=0.0001))
    evidence = triangulate(exact_flows(truth), truth.cameras)
    rising = render_world(slide=0.05)
    assert np.median(triangulate(exact_flows(rising), rising.cameras).misfit[~rising.moving]) < 0.2
    assert np.median(evidence.misfit[truth.moving]) > 0.5


def test_triangulate_wants_cameras_of_the_flows_size(still: Truth) -> None:
    with pytest.raises(ValueError, match=r"use cameras\.resized"):
        triangulate(exact_flows(still), still.cameras.resized(36, 56))


def test_sweep_finds_the_surfaces(still: Truth, evidence: Evidence) -> None:
    gray = still.video.frames.float().mean(1).to(torch.uint8).numpy()
    nothing = np.zeros(gray.shape, bool)
    blind = Evidence(
        evidence.inverse_depth, np.full_like(evidence.sigma, 1e3), evidence.misfit
    )  # no vote from flow
    rho, margin, sigma = sweep(gray, still.cameras, blind, nothing)
    sure = margin[4] > 3
    assert sure.mean() > 0.5
    error = np.abs(rho[4] - 1 / still.depth[4])[sure]
    assert np.median(error) < 0.01
    assert (sigma > 0).all() and (sigma < 0.1).all()


def test_search_goes_as_far_as_allowed_and_to_both_sides(still: Truth) -> None:
    span = search_range(still.cameras, 4, 1.0)
    assert min(span.others) < 4 < max(span.others)
    assert 24 <= span.num_planes <= 56 and span.length_px > 3
    edge = search_range(still.cameras, 0, 1.0)
    assert min(edge.others) > 0


def test_complete_continues_a_slanted_plane() -> None:
    h, w = 60, 90
    y, x = np.mgrid[:h, :w].astype(np.float32)
    plane = 0.2 + 0.004 * x + 0.006 * y
    rng = np.random.default_rng(0)
    known = rng.random((h, w)) < 0.1
    known[:, 60:] = False
    value = np.where(known, plane, np.nan).astype(np.float32)
    gray = np.full((h, w, 3), 120, np.uint8)
    out = tgv_inpaint(value, np.where(known, 100, 0).astype(np.float32), gray, Smoothness())
    assert np.isfinite(out).all()
    assert np.abs(out - plane)[:, :60].max() < 0.03
    assert np.abs(out - plane)[:, 60:].mean() < 0.08  # 30 columns beyond anything known


def test_complete_breaks_at_image_edges() -> None:
    h, w = 48, 64
    rgb = np.full((h, w, 3), 60, np.uint8)
    rgb[:, 37:] = 200
    value, weight = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    value[:, 43:], weight[:, 43:], weight[:, :31] = 1.0, 100, 100
    out = tgv_inpaint(value, weight, rgb, Smoothness())
    assert out[:, :36].max() < 0.2 and out[:, 38:].min() > 0.8


def test_sharpen_gives_hanging_pixels_to_the_side_of_their_colour() -> None:
    rgb = np.full((40, 40, 3), 50, np.uint8)
    rgb[:, 20:] = 200
    rho = np.where(np.arange(40) < 20, 0.2, 0.8)[None].repeat(40, 0).astype(np.float32)
    rho[:, 20:22] = 0.5  # a ramp on the bright side
    out = snap_to_edges(rho, rgb, 0.04)
    assert np.allclose(out[:, 20:], 0.8) and np.allclose(out[:, :20], 0.2)


def test_selecting_is_sorting_and_summing() -> None:
    rng = np.random.default_rng(3)
    for n in (1, 2, 3, 8, 121):
        values = rng.integers(0, 9, n).astype(np.float32)  # many are equal
        weights = rng.integers(1, 5, n).astype(np.int32)
        order = np.argsort(values)
        total = int(weights.sum())
        expected = values[order][np.searchsorted(2 * np.cumsum(weights[order]), total)]
        assert _select(values, weights, n, total) == expected


def test_fuse_keeps_truth_and_averages_noise(still: Truth) -> None:
    rho = (1 / still.depth).astype(np.float32)
    one, all_still = np.ones_like(rho), np.ones(rho.shape, bool)
    mean, total, through = fuse_views(rho, one, all_still, still.cameras, 0.02)
    assert np.quantile(np.abs(mean - rho), 0.99) < 0.005
    assert np.median(total) > 3 and through.mean() < 0.05
    noisy = rho + np.random.default_rng(1).normal(0, 0.01, rho.shape).astype(np.float32)
    mean, _, _ = fuse_views(noisy, one, all_still, still.cameras, 0.02)
    assert np.abs(mean - rho).mean() < 0.6 * np.abs(noisy - rho).mean()


def test_fuse_reports_what_others_look_through(still: Truth) -> None:
    rho = (1 / still.depth).astype(np.float32)
    rho[4, 10:20, 10:20] = 0.9  # hangs in front of the wall in one frame only
    everything = np.ones(rho.shape, bool)
    _, _, through = fuse_views(rho, np.ones_like(rho), everything, still.cameras, 0.02)
    assert through[4, 12:18, 12:18].mean() > 0.8


def test_still_depth_is_right_and_steady(still: Truth) -> None:
    rgb = np.ascontiguousarray(still.video.frames.permute(0, 2, 3, 1).numpy())
    prior = np.ones(still.depth.shape, np.float32)
    found = static_depth(rgb, exact_flows(still), still.cameras, prior)
    error = np.abs(found.inverse_depth * still.depth - 1)
    assert np.median(error) < 0.025 and error.mean() < 0.06
    assert found.measured > 0.8 and found.dynamic.mean() < 0.02
    # The wall does not breathe: the same point keeps its place from frame to frame.
    wall = found.inverse_depth[:, 5:20, 5:100] * still.depth[:, 5:20, 5:100]
    assert np.abs(np.diff(np.median(wall, axis=(1, 2)))).max() < 0.005
