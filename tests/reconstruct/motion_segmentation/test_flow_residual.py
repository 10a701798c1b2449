"""Finding what moves, and standing it on the ground."""

import numpy as np
import pytest
import torch

from recam.flow.dense import FlowSet
from recam.reconstruct.motion_segmentation.flow_residual import residuals, segment_motion
from recam.reconstruct.motion_segmentation.regions import refine_mask_grabcut
from recam.reconstruct.object_depth.ground_contact import place_on_ground
from reconstruct_scene import BOX_Z, exact_flows, make_cameras, render_world


def _rgb(truth) -> np.ndarray:
    return np.ascontiguousarray(truth.video.frames.permute(0, 2, 3, 1).numpy())


def test_nothing_moves_in_a_still_world() -> None:
    truth = render_world()
    flows = exact_flows(truth)
    rho = (1 / truth.depth).astype(np.float32)
    found = residuals(flows, truth.cameras, rho, 0.02 * rho)
    assert np.median(found.misfit) < 0.2
    assert not segment_motion(found, flows, _rgb(truth)).any()


@pytest.mark.parametrize("shift", [0.0, 0.06])
def test_a_sliding_box_is_found(shift: float) -> None:
    """With a camera on a tripod, and with one that moves."""
    cameras = make_cameras(9, 72, 112, shift=shift, turn=0.0 if shift == 0 else 0.004)
    truth = render_world(slide=0.08, cameras=cameras)
    flows = exact_flows(truth)
    rho = (1 / truth.depth).astype(np.float32)
    found = residuals(flows, cameras, rho, 0.02 * rho)
    dynamic = segment_motion(found, flows, _rgb(truth))
    overlap = (dynamic & truth.moving).sum() / (dynamic | truth.moving).sum()
    assert overlap > 0.75


def test_motion_along_epipolar_lines_needs_depth_to_show() -> None:
    """The box slides as the camera does: without depth it is only a box elsewhere."""
    cameras = make_cameras(9, 72, 112, shift=0.08, turn=0.0)
    cameras.cam_from_world[:, 1:3, 3] = 0  # exactly sideways
    truth = render_world(slide=0.08, cameras=cameras)
    flows = exact_flows(truth)
    rho = (1 / truth.depth).astype(np.float32)
    blind = residuals(flows, cameras)
    knowing = residuals(flows, cameras, rho, 0.02 * rho)
    assert np.median(blind.misfit[truth.moving]) < 0.3
    assert np.median(knowing.misfit[truth.moving]) > 3


def test_too_fast_to_follow_is_seen_as_a_ghost() -> None:
    cameras = make_cameras(5, 72, 112, shift=0.0, turn=0.0)
    truth = render_world(t=5, slide=0.5, cameras=cameras)
    flows = exact_flows(truth, (1, 2))
    for confidence in flows.confidence_u8.values():
        confidence[:] = 0
    found = residuals(flows, cameras)
    assert found.ghost[2][truth.moving[2]].mean() > 2 * found.ghost[2][~truth.moving[2]].mean()
    assert found.ghost[0].max() == 0 and found.ghost[4].max() == 0


def test_outline_moves_to_the_colour_edge() -> None:
    rgb = np.full((60, 80, 3), 70, np.uint8)
    rgb[20:40, 30:50] = (200, 60, 40)
    rgb += np.random.default_rng(0).integers(0, 6, rgb.shape).astype(np.uint8)
    rough = np.zeros((60, 80), bool)
    rough[16:43, 27:54] = True
    true = np.zeros_like(rough)
    true[20:40, 30:50] = True
    assert (refine_mask_grabcut(rough, rgb) == true).mean() > 0.99


def _flat_flows(t: int, h: int, w: int) -> FlowSet:
    """Nothing moves in the picture."""
    pairs = [(i, j) for i in range(t) for j in (i - 1, i + 1) if 0 <= j < t]
    steps = {p: torch.zeros(h, w, 2, dtype=torch.int16) for p in pairs}
    confidence = {p: torch.full((h, w), 255, dtype=torch.uint8) for p in pairs}
    return FlowSet(torch.zeros(t, h, w, dtype=torch.uint8), steps, confidence, (1,))


def test_a_thing_stands_at_the_depth_of_its_foot() -> None:
    truth = render_world(slide=0.05)
    ground = np.ascontiguousarray((1 / truth.depth).astype(np.float32))
    ground[truth.moving] = 0.01  # what was filled in behind it must not matter
    rho = place_on_ground(ground, truth.moving, exact_flows(truth))
    for i in range(len(rho)):
        assert np.allclose(rho[i][truth.moving[i]], 1 / truth.depth[i][truth.moving[i]], rtol=0.15)
    assert np.array_equal(rho[~truth.moving], ground[~truth.moving])
    assert abs(float(1 / np.median(rho[truth.moving])) - BOX_Z) < 0.6


def test_it_is_never_behind_what_it_hides() -> None:
    """A thing held in front of a near surface, above a far floor."""
    rho = np.full((3, 40, 60), 0.8, np.float32)
    rho[:, 30:] = 0.2
    dynamic = np.zeros(rho.shape, bool)
    dynamic[:, 10:31, 20:40] = True
    out = place_on_ground(rho, dynamic, _flat_flows(3, 40, 60))
    assert np.allclose(out[dynamic], 0.8, atol=1e-3)


def test_a_thing_cut_off_by_the_border_is_as_near_as_the_bottom() -> None:
    rho = np.linspace(0.1, 1.0, 40, dtype=np.float32)[None, :, None].repeat(60, 2).repeat(3, 0)
    rho = np.ascontiguousarray(rho)
    dynamic = np.zeros(rho.shape, bool)
    dynamic[:, 12:, 20:40] = True
    out = place_on_ground(rho, dynamic, _flat_flows(3, 40, 60))
    assert out[dynamic].min() > 0.9


def test_a_jump_does_not_make_it_leap_in_depth() -> None:
    """For one frame of five the foot is off the ground, over ground farther away."""
    rho = np.linspace(0.1, 1.0, 40, dtype=np.float32)[None, :, None].repeat(60, 2).repeat(5, 0)
    rho = np.ascontiguousarray(rho)
    dynamic = np.zeros(rho.shape, bool)
    dynamic[:, 5:30, 20:40] = True
    dynamic[2, 24:30] = False
    out = place_on_ground(rho, dynamic, _flat_flows(5, 40, 60))
    level = [float(np.median(out[i][dynamic[i]])) for i in range(5)]
    alone = float(
        np.median(place_on_ground(rho[2:3], dynamic[2:3], _flat_flows(1, 40, 60))[dynamic[2:3]])
    )
    assert abs(level[2] - level[1]) < 0.5 * abs(alone - level[0])
