"""What other frames show of known pixels, for evidence that may be wrong."""

import pytest
import torch

from completion_clips import moving_hole, panned
from recam.completion.fills import fills_to_signal, make_condition, search_fills
from recam.completion.neighbor_lookup import WITNESSED, find_witnesses
from recam.completion.pixels import to_signal
from recam.configs import SEARCHED
from recam.training.degrade import condition_noise
from recam.training.validation import hole_psnr, layered_pairs
from recam.types import PartialVideo, RecamError


def test_other_frames_show_what_a_pixel_ought_to_be() -> None:
    """One frame of a panned picture is spoiled: its neighbours know better."""
    truth = panned(9, 1)
    shown = truth.clone()
    shown[4, :, 30:40, 40:60] = 255 - shown[4, :, 30:40, 40:60]
    found = find_witnesses(PartialVideo(shown, torch.ones(9, 72, 112)))
    assert found.shape == (4, 9, 4, 72, 112) and found.dtype == torch.uint8
    whole = torch.zeros(9, 72, 112)
    whole[4, 4:20, 8:-8] = 1  # beside the spot, where the motion is plain
    for seen in found[:, :, :3]:
        assert hole_psnr(seen, truth, 1 - whole) > 40
    spot = torch.zeros(9, 72, 112)
    spot[4, 32:38, 44:56] = 1
    there = (found[:, 4, 3, 32:38, 44:56] > 0).float().mean((1, 2))
    assert there.max() > 0.5
    good = found[int(there.argmax())]
    trusted = spot * (good[:, 3] > 0)
    assert hole_psnr(good[:, :3], truth, 1 - trusted) > hole_psnr(shown, truth, 1 - spot) + 10


def test_no_two_witnesses_look_with_the_same_frame() -> None:
    """Frames of one colour each, at rest: every witness names the frame that it asked."""
    values = torch.arange(8, dtype=torch.uint8) * 2 + 100
    frames = values.view(8, 1, 1, 1).expand(8, 3, 48, 64).contiguous()
    found = find_witnesses(PartialVideo(frames, torch.ones(8, 48, 64)))
    asked = [int(found[i, 4, 0, 24, 32]) // 2 - 50 for i in range(4)]
    assert asked == [3, 5, 2, 6]
    assert int(found[0, 0, 3].max()) == 0 and int(found[1, 7, 3].max()) == 0
    turned = find_witnesses(PartialVideo(frames.flip(0), torch.ones(8, 48, 64)))
    assert torch.equal(turned.flip(1)[[1, 0, 3, 2]][:, :, 3], found[:, :, 3])


def test_holes_have_no_witness_and_a_single_frame_none() -> None:
    truth = panned(6, 0)
    partial = moving_hole(truth, 4, left_px=20)
    found = find_witnesses(partial)
    assert (
        int(
            found[:, :, 3]
            .transpose(0, 1)[(partial.known == 0)[:, None].expand(-1, 4, -1, -1)]
            .max()
        )
        == 0
    )
    one = PartialVideo(truth[:1], torch.ones(1, 72, 112))
    assert int(find_witnesses(one).max()) == 0
    with pytest.raises(RecamError, match="nothing"):
        find_witnesses(PartialVideo(truth, torch.zeros(6, 72, 112)))


def test_the_condition_shows_them_beside_the_evidence() -> None:
    pair = layered_pairs((1, 6, 48, 64), 3)[0]
    generator = torch.Generator().manual_seed(0)
    noisy = condition_noise(to_signal(pair.target.frames)[None], generator)
    known = pair.partial.known[None, :, None]
    partial = pair.partial
    fills = fills_to_signal(search_fills(partial))[None]
    seen = fills_to_signal(find_witnesses(partial))[None]
    plain = make_condition(noisy, known, SEARCHED, fills)
    joint = make_condition(noisy, known, SEARCHED, fills, seen)
    hole = (known == 0).expand_as(noisy)
    for i, name in enumerate(SEARCHED):
        assert torch.equal(plain.fills[:, i][~hole], noisy[~hole])
        assert torch.equal(joint.fills[:, i][hole], plain.fills[:, i][hole])
        assert torch.equal(joint.fills[:, i], plain.fills[:, i]) == (name not in WITNESSED)
    # The mean over all of them is nearer the truth than the noisy evidence is.
    target = to_signal(pair.target.frames)[None]
    error = (joint.fills.mean(1) - target).square()[~hole].mean()
    assert error < 0.7 * (noisy - target).square()[~hole].mean()
