"""Completing with the model: sizes, windows, what is kept and what is corrected."""

from dataclasses import replace

import pytest
import torch

from recam.completion.flow_propagation import propagate
from recam.completion.masked import fit_to_known, shrink_known
from recam.completion.pixels import pad, padding_to, unpad
from recam.completion.pull_push import pull_push
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import load_model, read_metadata, save_model, weights_sha256
from recam.configs import CompleteConfig
from recam.training.validation import hole_psnr, layered_pairs
from recam.types import PartialVideo, RecamError
from small_models import TINY, complete_masked, shaken


def example(t: int = 5, h: int = 30, w: int = 44, seed: int = 1) -> PartialVideo:
    return layered_pairs((1, t, h, w), seed)[0].partial


@pytest.mark.parametrize(
    "config", [CompleteConfig("masked"), CompleteConfig("masked", sampling_steps=3, eta=0.5)]
)
@pytest.mark.parametrize("mode", ["clean-tokens", "concat", "both"])
def test_known_pixels_come_back_bit_for_bit(config, mode) -> None:
    partial = example()
    video = complete_masked(shaken(replace(TINY, conditioning=mode)), partial, config)
    known = (partial.known == 1)[:, None].expand_as(video.frames)
    assert torch.equal(video.frames[known], partial.frames[known])
    assert not torch.equal(video.frames[~known], pull_push(partial)[~known])


def test_the_stochastic_sampler_may_correct_known_pixels() -> None:
    partial = example()
    config = CompleteConfig("masked", sampler="stochastic", sampling_steps=3)
    video = complete_masked(shaken(), partial, config)
    assert not torch.equal(
        video.frames, complete_masked(shaken(), partial, CompleteConfig("masked")).frames
    )
    known = (partial.known == 1)[:, None].expand_as(video.frames)
    assert not torch.equal(video.frames[known], partial.frames[known])


@pytest.mark.parametrize("max_side", [512, 24])
def test_the_untrained_model_gives_the_fill_at_any_size(max_side) -> None:
    partial = example(h=33, w=51)
    model = VideoTransformer(replace(TINY, fills=("pull-push",))).eval()
    video = complete_masked(model, partial, CompleteConfig("masked", model_side=max_side, steady=0))
    if max_side == 512:
        # Only the fitting to the known pixels lies between, and it finds nothing to fit.
        difference = video.frames.int() - pull_push(partial).int()
        assert int(difference.abs().max()) <= 1
    else:
        hole = (partial.known == 0)[:, None].expand_as(video.frames)
        known = (partial.known == 1)[:, None].expand_as(video.frames)
        assert torch.equal(video.frames[known], partial.frames[known])
        difference = (video.frames.int() - pull_push(partial).int())[hole].float()
        assert float(difference.abs().mean()) < 12


@pytest.mark.parametrize(("t", "h", "w"), [(1, 8, 8), (1, 17, 90), (3, 64, 9)])
def test_odd_sizes(t, h, w) -> None:
    frames = torch.randint(0, 256, (t, 3, h, w), dtype=torch.uint8)
    known = torch.ones(t, h, w)
    known[:, h // 3 : h // 2] = 0
    video = complete_masked(shaken(), PartialVideo(frames, known), CompleteConfig("masked"))
    assert video.frames.shape == frames.shape


def test_nothing_known_and_all_known() -> None:
    frames = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    everything = PartialVideo(frames, torch.ones(2, 16, 24))
    assert torch.equal(
        complete_masked(shaken(), everything, CompleteConfig("masked")).frames, frames
    )
    nothing = PartialVideo(frames, torch.zeros(2, 16, 24))
    with pytest.raises(RecamError, match="nothing in the video is known"):
        complete_masked(shaken(), nothing, CompleteConfig("masked"))
    # A window of a longer video may well know nothing.
    late = PartialVideo(frames.repeat(3, 1, 1, 1), torch.zeros(6, 16, 24))
    late.known[5] = 1
    for max_side in (512, 16):
        config = CompleteConfig(
            "masked", sampling_steps=2, model_side=max_side, window=2, overlap=0
        )
        assert complete_masked(shaken(), late, config).frames.shape == (6, 3, 16, 24)


def test_a_model_that_starts_from_propagate_is_propagate_before_training() -> None:
    partial = example(h=40, w=56)
    model = VideoTransformer(replace(TINY, fills=("propagate",))).eval()
    video = complete_masked(model, partial, CompleteConfig("masked", steady=0))
    difference = video.frames.int() - propagate(partial).int()
    assert int(difference.abs().max()) <= 1


def test_windows_carry_finished_frames_over() -> None:
    partial = example(t=11)
    config = CompleteConfig("masked", window=2, overlap=5)  # two of the five are finished
    calls: list[int] = []

    class Watched(VideoTransformer):
        def denoise(self, x, sigma, condition):
            calls.append(int((sigma == 0).flatten(2).all(2).sum()))
            return super().denoise(x, sigma, condition)

    torch.manual_seed(0)
    video = complete_masked(Watched(TINY).eval(), partial, config)
    assert len(video) == 11
    assert len(calls) == 3
    assert all(n >= 2 for n in calls[1:])  # the finished frames were evidence
    with pytest.raises(ValueError, match="overlap"):
        complete_masked(shaken(), partial, CompleteConfig("masked", window=4, overlap=-1))


def test_seeds_repeat_and_differ() -> None:
    partial, model = example(), shaken()
    config = CompleteConfig("masked", sampling_steps=3)
    once, again = (complete_masked(model, partial, config).frames for _ in range(2))
    other = complete_masked(model, partial, replace(config, seed=1)).frames
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_no_seam_where_the_model_is_off_by_a_constant() -> None:
    frames = torch.full((1, 1, 3, 60, 60), 0.3)
    known = torch.ones(1, 1, 1, 60, 60)
    known[..., 15:45, 15:45] = 0
    fitted = fit_to_known(frames + 0.2, frames, known)
    beside = fitted[..., 15, 15:45]
    assert float((beside - 0.3).abs().max()) < 0.03
    assert float(fitted[0, 0, 0, 30, 30]) == pytest.approx(0.5)


def test_shrinking_averages_known_pixels_only() -> None:
    frames = torch.zeros(1, 3, 4, 4)
    frames[..., :2, :] = 0.5
    frames[..., 1, 1] = 99.0
    known = torch.ones(1, 1, 4, 4)
    known[..., 1, 1] = 0
    small, share = shrink_known(frames, known, (2, 2))
    assert small[0, 0].tolist() == [[0.5, 0.5], [0, 0]]
    assert share[0, 0].tolist() == [[0.75, 1], [1, 1]]


def test_padding_comes_off() -> None:
    x = torch.randn(2, 3, 17, 30)
    padding = padding_to(17, 30, 8)
    padded = pad(x, padding)
    assert padded.shape == (2, 3, 24, 32)
    assert torch.equal(unpad(padded, padding), x)
    assert torch.equal(padded[..., 0, 5], x[..., 0, 4])
    assert pad(x[:0], padding).shape == (0, 3, 24, 32)


def test_weights_survive_the_file(tmp_path) -> None:
    model = shaken()
    path = tmp_path / "w.safetensors"
    save_model(model, path, torch.float32, steps="7")
    loaded = load_model(path)
    assert loaded.config == model.config
    assert read_metadata(path)["steps"] == "7"
    partial = example()
    got = [complete_masked(m, partial, CompleteConfig("masked")).frames for m in (model, loaded)]
    assert torch.equal(*got)
    digest = weights_sha256(path)
    save_model(model, path, torch.float32, steps="7")
    assert weights_sha256(path) == digest and len(digest) == 64
    save_model(model, path)
    half = load_model(path)
    assert next(half.parameters()).dtype == torch.bfloat16
    assert (
        complete_masked(half, partial, CompleteConfig("masked")).frames.shape
        == partial.frames.shape
    )


def test_bad_weight_files_end_in_one_line(tmp_path) -> None:
    with pytest.raises(RecamError, match="no such file"):
        load_model(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights at all")
    with pytest.raises(RecamError, match="not a whole safetensors file"):
        load_model(broken)
    path = tmp_path / "foreign.safetensors"
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(RecamError, match="not weights of recam"):
        load_model(path)


def test_hole_psnr_looks_at_holes_only() -> None:
    target = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    frames = target.clone()
    frames[..., 0, 0] = 255
    known = torch.ones(1, 4, 4)
    known[0, 0, :2] = 0
    assert hole_psnr(frames, target, known) == pytest.approx(3.01, abs=0.01)
    assert hole_psnr(frames, target, torch.ones(1, 4, 4)) != hole_psnr(frames, target, known)
