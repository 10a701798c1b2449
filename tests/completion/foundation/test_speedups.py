"""Options that trade accuracy for time or memory: what each changes, on tiny random checkpoints."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned

diffusers = pytest.importorskip("diffusers")

from foundation_checkpoints import save_cogvideox, save_ltx, save_wan  # noqa: E402
from recam.completion.foundation import load_foundation  # noqa: E402
from recam.completion.foundation.placement import choose_placement  # noqa: E402
from recam.completion.foundation.predict import costs, predict  # noqa: E402
from recam.completion.foundation.published import COGNVS, MODELS  # noqa: E402
from recam.completion.foundation.schedules import FlowSchedule, vp_scheduler  # noqa: E402
from recam.completion.foundation.size import (  # noqa: E402
    cogvideox_tokens,
    memory_need,
    meta_transformer,
)
from recam.completion.foundation.speedups import is_quantized  # noqa: E402
from recam.completion.schedule import spread_levels  # noqa: E402
from recam.configs import CompleteConfig, FoundationConfig  # noqa: E402
from recam.types import RecamError  # noqa: E402

Load = Callable[..., object]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folder = tmp_path_factory.mktemp("speedups")
    patch = pytest.MonkeyPatch()
    patch.setenv("RECAM_CACHE", str(folder / "cache"))
    saved = {"cogvideox": save_cogvideox(folder / "c", num_layers=4), "ltx": save_ltx(folder / "l")}
    saved["vace"] = save_wan(folder / "v", "vace")

    def loaded(name: str, **options: object) -> object:
        foundation = FoundationConfig(model_device="cpu", work_side=96, **options)  # type: ignore[arg-type]
        return load_foundation(CompleteConfig(name, str(saved[name]), foundation))  # type: ignore[arg-type]

    yield loaded
    patch.undo()


def sampled(model, steps: int = 6) -> Tensor:  # type: ignore[no-untyped-def]
    partial = moving_hole(panned(9, 2, 64, 96), 2, size_px=30)
    shown = torch.where(partial.known[:, None] > 0, partial.frames / 127.5 - 1, -1.0)[None]
    return model.sample(shown, partial.known[None, :, None], steps, 0)


def passes_of(model) -> list[int]:  # type: ignore[no-untyped-def]
    """Counts the calls of the last block of a model's transformer."""
    calls: list[int] = []
    blocks = model.transformer.transformer_blocks
    inner = blocks[len(blocks) - 1].attn1
    inner.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("name, threshold", [("cogvideox", 1.0), ("ltx", 0.3)])
def test_feature_cache_skips_blocks(name: str, threshold: float, load: Load) -> None:
    """The answer is another one; of random weights nothing says that it is close."""
    plain = sampled(load(name))
    never = load(name, feature_cache="first-block", cache_threshold=0.0)
    assert torch.equal(sampled(never), plain)
    some = load(name, feature_cache="first-block", cache_threshold=threshold)
    calls = passes_of(some)
    first = sampled(some)
    assert 0 < len(calls) < 6
    assert not torch.equal(first, plain)
    assert torch.equal(sampled(some), first)  # nothing is left over from the clip before


def test_feature_cache_keeps_prompt_and_negative_apart(load: Load) -> None:
    guided = load("cogvideox", prompt="a bear", guidance=3.0)
    cached = load(
        "cogvideox", prompt="a bear", guidance=3.0, feature_cache="first-block", cache_threshold=0.0
    )
    assert torch.equal(sampled(guided, 2), sampled(cached, 2))


def test_feature_cache_is_refused_where_hints_enter_between_blocks(load: Load) -> None:
    with pytest.raises(RecamError, match="not for vace"):
        sampled(load("vace", feature_cache="first-block"))


@pytest.mark.parametrize("schedule", ["ddim", "unipc"])
def test_schedules_of_cogvideox_start_and_end_at_the_same_levels(schedule: str, load: Load) -> None:
    """With a perfect answer every schedule ends at the clean latent."""
    model = load("cogvideox")
    scheduler = vp_scheduler(model.scheduler, schedule)
    scheduler.set_timesteps(5)
    assert int(scheduler.timesteps[0]) == 999
    clean = torch.randn(1, 3, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    x = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    for t in scheduler.timesteps:
        alpha = model.scheduler.alphas_cumprod[int(t)].clamp(min=2**-24)
        noise = (x - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        v = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        x = scheduler.step(v, t, x, return_dict=False)[0]
    assert torch.allclose(x, clean, atol=0.02)


@pytest.mark.parametrize("schedule", ["ddim", "unipc"])
def test_schedules_of_cogvideox_sample(schedule: str, load: Load) -> None:
    frames = sampled(load("cogvideox", schedule=schedule), 3)
    assert torch.isfinite(frames).all() and float(frames.std()) > 0.02


def test_unipc_is_nearer_to_the_limit_in_few_steps(load: Load) -> None:
    """Flow models, on the exact velocity of data that are normal with deviation 0.5 about 0.3: six
    UniPC steps against six of Euler's, both against three hundred, over even levels (shifted ones
    end in one large step, which is all that counts then)."""
    model = load("ltx")

    def exact(transformer, x, times, text, control):  # type: ignore[no-untyped-def]
        s = spread_levels(times / 1000, x)
        gain = (1 - s) * 0.25 / ((1 - s).square() * 0.25 + s.square())
        x0 = 0.3 + gain * (x - (1 - s) * 0.3)
        return torch.where(s > 0, (x - x0) / s.clamp(min=1e-6), 0)

    latents: list[Tensor] = []
    decode = model.family.decode

    def kept(vae, z):  # type: ignore[no-untyped-def]
        latents.append(z)
        return decode(vae, z)

    model.family = replace(model.family, velocity=exact, decode=kept)
    for kind, steps in (("euler", 300), ("euler", 6), ("unipc", 6)):
        model.schedule = FlowSchedule(None, 1.0, kind)
        sampled(model, steps)
    limit, euler, unipc = latents
    assert (unipc - limit).square().mean() < 0.5 * (euler - limit).square().mean()


@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_quantised_weights_answer_nearly_the_same(quantize: str, load: Load) -> None:
    pytest.importorskip("torchao")
    model = load("cogvideox", quantize=quantize)
    assert is_quantized(model.transformer) and not is_quantized(load("cogvideox").transformer)
    a, b = sampled(model, 1), sampled(load("cogvideox"), 1)
    assert 0 < float((a - b).std() / b.std()) < 0.25


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As wide as 4 bits want it: 64, where two blocks of weights share no scale."""
    folder = tmp_path_factory.mktemp("wide")
    return save_cogvideox(folder, num_attention_heads=4, num_layers=3)


def load_wide(folder: Path, **options: object):  # type: ignore[no-untyped-def]
    foundation = FoundationConfig(model_device="cpu", **options)  # type: ignore[arg-type]
    return load_foundation(CompleteConfig("cogvideox", str(folder), foundation))


def test_weights_at_four_bits(wide: Path, load: Load) -> None:
    pytest.importorskip("bitsandbytes")
    plain, small = load_wide(wide), load_wide(wide, placement="int4")
    block, before = (m.transformer.transformer_blocks[0] for m in (small, plain))
    assert block.attn1.to_q.weight.numel() == before.attn1.to_q.weight.numel() / 2
    assert block.norm1.linear.weight.shape == before.norm1.linear.weight.shape
    a, b = sampled(small, 1), sampled(plain, 1)
    assert 0 < float((a - b).std() / b.std()) < 0.5
    assert torch.equal(sampled(load_wide(wide, placement="int4"), 1), a)


def test_four_bits_are_chosen_where_they_fit(
    wide: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    config = CompleteConfig("cogvideox", str(wide), FoundationConfig(model_device="cpu"))
    _, need, _ = costs(config)
    tight = replace(need, vae=0.0, vae_work=0.0)
    between = (tight.of("fp8") + tight.of("int4")) / 2
    assert choose_placement(tight, between, "auto", on_cpu=True) == "int4"
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)
    with pytest.raises(RecamError, match="int4 needs bitsandbytes: pip install"):
        load_wide(wide, placement="int4")


def test_quantising_says_what_it_needs(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecamError, match="leave out --quantize"):
        load("cogvideox", quantize="int8", placement="fp8")
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(RecamError, match=r"pip install torchao.*--placement fp8"):
        load("cogvideox", quantize="int8")


def test_doctor_tells_memory_of_options() -> None:
    size = meta_transformer("CogVideoXTransformer3DModel", COGNVS, cogvideox_tokens(COGNVS))
    whole, small = (
        memory_need(size, MODELS["cogvideox"], {}, quantize) for quantize in ("none", "int8")
    )
    assert small.transformer < 0.7 * whole.transformer
    assert small.of("resident") < whole.of("resident")
    options = FoundationConfig(model_device="cpu")
    config = CompleteConfig("cogvideox", foundation=options)
    lines = predict(config)
    assert any("adapting to a video" in line and "whole" in line for line in lines)
    other = predict(replace(config, foundation=replace(options, quantize="int8")))
    assert other[1] != lines[1]
