"""The weights that come with the package."""

import time

import torch

from recam.completers import resolve_config
from recam.completion.weights import SHIPPED, find_weights, load_model, weights_sha256
from recam.configs import CompleteConfig
from recam.training.validation import hold_out, hole_psnr, layered_pairs, model_psnr
from recam.types import PartialVideo
from small_models import complete_masked


def test_they_are_found_and_loaded_at_once() -> None:
    assert find_weights(None) == SHIPPED and SHIPPED.stat().st_size < 60e6
    load_model(SHIPPED)
    start = time.perf_counter()
    load_model(SHIPPED)
    assert time.perf_counter() - start < 1


def test_their_card_is_about_them() -> None:
    card = SHIPPED.with_name("masked_card.md").read_text()
    assert weights_sha256(SHIPPED) in card


def test_auto_copies_unless_weights_are_given() -> None:
    taken = resolve_config(CompleteConfig())
    assert taken.model == "copy" and taken.adapt_minutes == 0 and taken.steady == 1
    assert resolve_config(CompleteConfig(weights="a.safetensors")).model == "masked"
    assert resolve_config(CompleteConfig("propagate")).model == "propagate"
    assert resolve_config(CompleteConfig(), "interpolate").model == "propagate"
    assert resolve_config(CompleteConfig(weights="a.safetensors"), "interpolate").model == "masked"


def test_they_fill_holes_better_than_propagate() -> None:
    pairs = layered_pairs((2, 6, 96, 160), seed=2**40 + 5)
    held = hold_out(pairs)
    assert model_psnr(load_model(SHIPPED), pairs, held.filled) > held.classical["propagate"] + 0.2


def test_the_stochastic_sampler_corrects_noisy_evidence() -> None:
    """Known pixels 12 grey levels off: other frames and the network tell better."""
    pair = layered_pairs((1, 6, 96, 160), seed=2**40 + 5)[0]
    noise = 12 * torch.randn(pair.target.frames.shape, generator=torch.Generator().manual_seed(0))
    frames = (pair.target.frames.float() + noise).clamp(0, 255).round().to(torch.uint8)
    known = pair.partial.known
    partial = PartialVideo(frames * (known > 0)[:, None], known)
    model = load_model(SHIPPED)
    anchored, corrected = (
        complete_masked(model, partial, CompleteConfig("masked", sampler=sampler)).frames
        for sampler in ("anchored", "stochastic")
    )
    before, after = (hole_psnr(f, pair.target.frames, 1 - known) for f in (anchored, corrected))
    assert after > before + 2
    everywhere = torch.zeros_like(known)
    whole = [hole_psnr(f, pair.target.frames, everywhere) for f in (anchored, corrected)]
    assert whole[1] > whole[0] + 0.5
