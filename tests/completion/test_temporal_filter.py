"""The filter over time: what it leaves alone, and that frames come to agree."""

import torch

from completion_clips import moving_hole, panned
from recam.completers import complete, resolve_config
from recam.completion.flow_propagation import propagate
from recam.completion.temporal_filter import steadied
from recam.configs import CompleteConfig
from recam.evaluation.temporal import flicker
from recam.training.validation import hole_psnr, layered_pairs
from small_models import complete_masked, shaken


def test_errors_of_single_frames_are_averaged_out() -> None:
    """A pattern that moves, its holes filled with the truth and noise of each frame's own."""
    truth = panned(16, 1)
    known = moving_hole(truth, 2, left_px=14).known
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    hole = (known == 0)[:, None].expand_as(truth)
    filled = torch.where(hole, truth + 16 * noise, truth.float()).clamp(0, 255).to(torch.uint8)
    result = steadied(filled, known == 0)
    assert torch.equal(result[~hole], truth[~hole])
    assert hole_psnr(result, truth, known) > hole_psnr(filled, truth, known) + 5
    assert flicker(result, truth, 1 - known) < 0.5 * flicker(filled, truth, 1 - known)
    more = [hole_psnr(steadied(filled, known == 0, n), truth, known) for n in (1, 2, 4)]
    assert more == sorted(more)


def test_what_is_right_stays_right() -> None:
    """True pixels at rest stay as they are, to rounding; a moving pattern loses little."""
    still = panned(8, 0)
    everything = torch.ones(8, 72, 112, dtype=torch.bool)
    assert int((steadied(still, everything).int() - still.int()).abs().max()) <= 1
    moving = panned(8, 2)
    inside = torch.zeros(8, 72, 112)
    inside[:, 8:-8, 24:-24] = 1
    assert hole_psnr(steadied(moving, inside > 0), moving, 1 - inside) > 36


def test_no_motion_leads_across_a_cut() -> None:
    """Two pictures that have nothing in common keep their colours."""
    frames = torch.cat([panned(4, 0), 255 - panned(4, 0).flip(-1)])
    result = steadied(frames, torch.ones(8, 72, 112, dtype=torch.bool))
    assert float((result.float() - frames.float()).abs().mean()) < 2


def test_the_model_is_steadied_and_others_are_not_unless_asked() -> None:
    assert resolve_config(CompleteConfig("masked")).steady == 8
    assert resolve_config(CompleteConfig()).steady == 1
    assert resolve_config(CompleteConfig("propagate")).steady == 0
    assert resolve_config(CompleteConfig("masked", steady=0)).steady == 0
    partial = layered_pairs((1, 6, 48, 64), 2)[0].partial
    plain = complete(partial, CompleteConfig("propagate")).frames
    assert torch.equal(plain, propagate(partial))
    steady = complete(partial, CompleteConfig("propagate", steady=3)).frames
    assert torch.equal(steady, steadied(plain, partial.known <= 0.5, 3))
    once = complete_masked(shaken(), partial, CompleteConfig("masked", steady=0)).frames
    assert not torch.equal(
        once, complete_masked(shaken(), partial, CompleteConfig("masked")).frames
    )


def test_partly_known_pixels_stay_blended_and_one_frame_is_let_be() -> None:
    partial = layered_pairs((1, 6, 48, 64), 2)[0].partial
    partial.known[:, :, :8] = 0.25
    result = complete(partial, CompleteConfig("propagate", steady=2)).frames
    free = steadied(complete(partial, CompleteConfig("propagate")).frames, partial.known <= 0.5, 2)
    mixed = 0.25 * partial.frames.float() + 0.75 * free.float()
    assert float((result.float() - mixed)[..., :8].abs().max()) <= 0.51
    one = layered_pairs((1, 1, 48, 64), 2)[0].partial
    alone = complete(one, CompleteConfig("propagate", steady=4)).frames
    assert torch.equal(alone, propagate(one))
