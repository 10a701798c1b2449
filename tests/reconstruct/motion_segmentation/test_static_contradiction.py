"""What stands still in some frames only is not part of the still world."""

import numpy as np
import torch

from recam.reconstruct.motion_segmentation.static_contradiction import contradicted
from recam.types import Cameras
from reconstruct_scene import Truth, make_cameras, render_world


def _box(here: Truth, gone: Truth) -> torch.Tensor:
    box = torch.from_numpy(np.abs(here.depth - gone.depth) > 0.01)
    box[0] = box[1]
    return box


def _pausing(cameras: Cameras) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """12 frames: the box rests, and from frame 5 on it is gone. gray, rho, the box."""
    here = render_world(12, cameras=cameras)
    gone = render_world(12, slide=100.0, cameras=cameras)  # out of view after the first frame
    frames, depth = here.video.frames.clone(), here.depth.copy()
    frames[:5] //= 2  # a dark box
    frames[:5] = torch.where(_box(here, gone)[:5, None], frames[:5], here.video.frames[:5])
    frames[5:], depth[5:] = gone.video.frames[5:], gone.depth[5:]
    box = _box(here, gone).numpy()
    box[5:] = False
    gray = frames.float().mean(1).to(torch.uint8).numpy()
    return gray, (1 / depth).astype(np.float32), box


def test_a_still_world_is_not_contradicted() -> None:
    truth = render_world(12)
    gray = truth.video.frames.float().mean(1).to(torch.uint8).numpy()
    rho = (1 / truth.depth).astype(np.float32)
    found = contradicted(gray, np.zeros(gray.shape, bool), rho, truth.cameras)
    assert found.mean() < 0.01


def test_a_box_that_leaves_is_found_while_it_rests() -> None:
    gray, rho, box = _pausing(make_cameras(12, 72, 112, shift=0.0, turn=0.002))
    found = contradicted(gray, np.zeros(gray.shape, bool), rho, make_cameras(12, 72, 112, 0, 0.002))
    assert found[1:5][box[1:5]].mean() > 0.5
    assert found[1:5][~box[1:5]].mean() < 0.05


def test_exposure_changes_contradict_nothing() -> None:
    truth = render_world(12)
    gray = truth.video.frames.float().mean(1)
    gray += torch.linspace(-30, 30, 12)[:, None, None]
    gray = gray.clamp(0, 255).to(torch.uint8).numpy()
    rho = (1 / truth.depth).astype(np.float32)
    found = contradicted(gray, np.zeros(gray.shape, bool), rho, truth.cameras)
    assert found.mean() < 0.02


def test_what_moves_is_no_witness() -> None:
    gray, rho, box = _pausing(make_cameras(12, 72, 112, shift=0.0, turn=0.0))
    dynamic = np.zeros(gray.shape, bool)
    dynamic[5:] = True  # whatever the later frames show, it moves
    found = contradicted(gray, dynamic, rho, make_cameras(12, 72, 112, 0, 0))
    assert found[box].mean() < 0.05
