from dataclasses import replace

import pytest
import torch

from recam.completion.backbone import Backbone, Condition
from recam.completion.transformer import (
    Block,
    VideoTransformer,
    anchor_frames,
    num_parameters,
    rotary_table,
    rotate,
)
from recam.configs import ModelConfig

TINY = ModelConfig(
    patch=8,
    hidden=32,
    heads=2,
    blocks=3,
    stem=8,
    num_anchors=2,
    fills=("pull-push", "past", "future"),
)
MODES = ("clean-tokens", "concat", "both")


def condition(b: int, t: int, h: int, w: int, num_fills: int = 3, seed: int = 0) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(b, t, 3, h, w, generator=generator) * 2 - 1
    known = (torch.rand(b, t, 1, h // 8, w // 8, generator=generator) > 0.4).float()
    known = known.repeat_interleave(8, 3).repeat_interleave(8, 4)
    noise = torch.randn(b, num_fills, t, 3, h, w, generator=generator)
    return Condition(target * known, known, target[:, None] + 0.2 * noise)


def shaken(config: ModelConfig = TINY, seed: int = 0) -> VideoTransformer:
    """A model whose zero layers are not zero, so that everything reaches the output."""
    torch.manual_seed(seed)
    model = VideoTransformer(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def inputs(model: VideoTransformer, b: int = 1, t: int = 4, h: int = 24, w: int = 32):
    c = condition(b, t, h, w, len(model.config.fills))
    sigma = (model.token_levels(c.known) < 1).float() * 0.6
    if not model.per_token_noise:
        sigma = torch.full_like(sigma, 0.6)
    x = torch.randn(b, t, 3, h, w, generator=torch.Generator().manual_seed(3))
    return x, sigma, c


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [1.0, 0.3])
def test_the_untrained_model_is_the_mean_of_the_fills(mode, level) -> None:
    model = VideoTransformer(replace(TINY, conditioning=mode))
    assert isinstance(model, Backbone)
    x, sigma, c = inputs(model)
    sigma = torch.full_like(sigma, level)
    assert torch.allclose(model.denoise(x, sigma, c), c.fills.mean(1), atol=1e-6)


def test_caution_leads_back_to_the_mean_of_the_fills() -> None:
    plain, careful = shaken(), shaken(replace(TINY, caution=1.0))
    x, sigma, c = inputs(plain)
    sigma = torch.ones_like(sigma)
    with torch.no_grad():
        hole = (c.known == 0).expand_as(x)  # of what is known the evidence is the careful answer
        assert torch.allclose(careful.denoise(x, sigma, c)[hole], c.fills.mean(1)[hole], atol=1e-6)
        half = shaken(replace(TINY, caution=0.5)).denoise(x, sigma, c)
        between = (plain.denoise(x, sigma, c) + c.fills.mean(1)) / 2
        assert torch.allclose(half[hole], between[hole], atol=1e-5)


def test_trust_is_looked_at() -> None:
    model = shaken()
    x, sigma, c = inputs(model)
    sure = replace(c, trust=torch.ones_like(c.fills[:, :, :, :1]))
    none = replace(c, trust=torch.zeros_like(c.fills[:, :, :, :1]))
    with torch.no_grad():
        out = [model.denoise(x, sigma, condition) for condition in (c, none, sure)]
    assert torch.equal(out[0], out[1])
    assert not torch.allclose(out[0], out[2], atol=1e-3)
    with pytest.raises(ValueError, match="trust"):
        replace(c, trust=c.fills)


def test_clean_tokens_come_back_as_they_were() -> None:
    model = shaken()
    x, sigma, c = inputs(model)
    out = model.denoise(x, sigma, c)
    clean = (sigma == 0).repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, None].expand_as(x)
    assert clean.any() and not clean.all()
    assert torch.equal(out[clean], x[clean])
    assert not torch.allclose(out[~clean], x[~clean], atol=0.1)


def test_pure_noise_cannot_reach_the_output() -> None:
    model = shaken()
    x, sigma, c = inputs(model)
    sigma = torch.ones_like(sigma)
    with torch.no_grad():
        assert torch.equal(model.denoise(x, sigma, c), model.denoise(-3 * x, sigma, c))
        near = torch.full_like(sigma, 0.98)
        change = model.denoise(x, near, c) - model.denoise(-x, near, c)
    assert float(change.abs().max()) < 0.05


def test_clean_tokens_are_seen_from_other_frames() -> None:
    """Evidence given only as a clean token of one frame changes holes of another."""
    model = shaken(replace(TINY, conditioning="clean-tokens", fills=()))
    x, sigma, _ = inputs(model)
    sigma = torch.ones_like(sigma)
    sigma[:, 0] = 0
    other = x.clone()
    other[:, 0] += 1
    with torch.no_grad():
        change = (model.denoise(other, sigma, None) - model.denoise(x, sigma, None))[:, 2]
    assert float(change.abs().mean()) > 1e-3


def test_concat_refuses_levels_per_token() -> None:
    model = VideoTransformer(replace(TINY, conditioning="concat"))
    x, sigma, c = inputs(model)
    sigma[0, 0, 0, 0] = 0
    with pytest.raises(ValueError, match="one noise level per sample"):
        model.denoise(x, sigma, c)


@pytest.mark.parametrize("mode", MODES)
def test_modes_look_at_what_they_should(mode) -> None:
    model = shaken(replace(TINY, conditioning=mode))
    x, sigma, c = inputs(model)
    blind = Condition(torch.zeros_like(c.evidence), torch.zeros_like(c.known), c.fills)
    with torch.no_grad():
        same = torch.equal(model.denoise(x, sigma, c), model.denoise(x, sigma, blind))
    assert same == (mode == "clean-tokens")


@pytest.mark.parametrize(("t", "h", "w"), [(1, 8, 8), (2, 40, 16), (7, 16, 72)])
def test_any_length_and_aspect(t, h, w) -> None:
    model = shaken()
    x, sigma, c = inputs(model, t=t, h=h, w=w)
    assert model.denoise(x, sigma, c).shape == (1, t, 3, h, w)
    assert model.denoise(x, sigma, None).shape == (1, t, 3, h, w)


def test_sides_that_are_not_patches_are_refused() -> None:
    model = VideoTransformer(TINY)
    with pytest.raises(ValueError, match="whole patches of 8"):
        model.denoise(torch.zeros(1, 2, 3, 20, 24), torch.zeros(1, 2, 2, 3), None)


def test_samples_of_a_batch_do_not_mix() -> None:
    model = shaken()
    x, sigma, c = inputs(model, b=2)
    one = Condition(c.evidence[1:], c.known[1:], c.fills[1:])
    with torch.no_grad():
        both, alone = model.denoise(x, sigma, c), model.denoise(x[1:], sigma[1:], one)
    assert torch.allclose(both[1], alone[0], atol=1e-5)


def test_asking_only_for_noisy_tokens_changes_nothing() -> None:
    """The short cut of sampling against the plain form that training uses."""
    torch.manual_seed(0)
    block = Block(TINY, "anchors", 0.5)
    torch.nn.init.normal_(block.attention.out.weight)
    x, angles = torch.randn(1, 5, 2, 3, 32), rotary_table(5, 2, 3, 16)
    noisy = torch.rand(1, 5, 2, 3) > 0.5
    plain = block(x, angles, noisy)
    with torch.no_grad():
        assert torch.allclose(block(x, angles, noisy), plain, atol=1e-5)


def test_rotary_attention_depends_on_differences_only() -> None:
    angles = rotary_table(6, 5, 5, 16)
    q, k = torch.randn(16), torch.randn(16)

    def score(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
        return float(rotate(q[None], angles[a][None]) @ rotate(k[None], angles[b][None]).T)

    assert score((0, 1, 2), (2, 3, 0)) == pytest.approx(score((3, 2, 4), (5, 4, 2)), abs=1e-4)
    assert score((0, 1, 2), (2, 3, 0)) != pytest.approx(score((0, 1, 2), (2, 3, 1)), abs=1e-3)


def test_anchor_frames() -> None:
    assert anchor_frames(3, 8, 0.5).tolist() == [0, 1, 2]
    picked = anchor_frames(48, 8, 0.5)
    assert len(picked.unique()) == 8 and 0 <= int(picked.min()) < int(picked.max()) < 48
    assert anchor_frames(48, 8, 0.99).max() < 48


def test_gradient_checkpointing_gives_the_same_gradient() -> None:
    model = shaken()
    x, sigma, c = inputs(model, b=2)
    grads = []
    for on in (False, True):
        model.grad_checkpoint = on
        model.zero_grad()
        model.denoise(x, sigma, c).square().mean().backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 20
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads))


def test_the_shipped_size_fits() -> None:
    with torch.device("meta"):
        assert 2 * num_parameters(VideoTransformer(ModelConfig())) < 60e6


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="patch"):
        VideoTransformer(replace(TINY, patch=12))
    with pytest.raises(ValueError, match="multiple of 8"):
        VideoTransformer(replace(TINY, hidden=36))
    model = VideoTransformer(TINY)
    x, sigma, _ = inputs(model)
    with pytest.raises(ValueError, match="1 fills, the model takes 3"):
        model.denoise(x, sigma, condition(1, 4, 24, 32, num_fills=1))
