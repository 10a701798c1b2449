"""Work that is left out where little is missing: what stays exact, and what changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned

pytest.importorskip("diffusers")

from foundation_checkpoints import save_cogvideox, save_ltx, save_wan
from recam.completers import FoundationCompleter, complete
from recam.completion.foundation import cogvideox, load_foundation
from recam.completion.foundation.flow import FlowVideo
from recam.completion.foundation.known_tokens import KnownTokens
from recam.completion.foundation.predict import costs
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.sparse import sparse_lines, sparse_rows
from recam.configs import CompleteConfig, FoundationConfig
from recam.types import PartialVideo, RecamError, Video

pytestmark = [
    pytest.mark.filterwarnings("ignore::recam.completion.foundation.FitNote"),
    pytest.mark.filterwarnings("ignore::recam.completion.foundation.placement.ModelNote"),
]
Load = Callable[..., Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sparse")
    return {
        "cogvideox": save_cogvideox(folder / "c"),
        "wan22": save_wan(folder / "w", "wan22"), "vace": save_wan(folder / "v", "vace"),
        "ltx": save_ltx(folder / "l"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def load(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Load:
    patch = pytest.MonkeyPatch()
    patch.setenv("RECAM_CACHE", str(tmp_path_factory.mktemp("cache")))

    def loaded(name: str, weights: Path | None = None, **options: object) -> Any:
        foundation = FoundationConfig(model_device="cpu", work_side=96, **options)  # type: ignore[arg-type]
        return load_foundation(CompleteConfig(name, str(weights or folders[name]), foundation))  # type: ignore[arg-type]

    yield loaded
    patch.undo()


def sampled(model: Any, steps: int = 4) -> Tensor:
    """The latent that would be decoded."""
    partial = moving_hole(panned(9, 2, 64, 96), 0, size_px=20)
    shown = torch.where(partial.known[:, None] > 0, partial.frames / 127.5 - 1, -1.0)[None]
    with (
        mock.patch.object(FlowVideo, "decode", lambda _, z: z),
        mock.patch.object(cogvideox, "decode", lambda _, z: z),
    ):
        return model.sample(shown, partial.known[None, :, None], steps, 0).float()


def tokens_of_each_pass(model: Any) -> list[int]:
    """Tokens that the last block's feed-forward saw, pass by pass."""
    seen: list[int] = []
    transformer = model.transformer
    blocks = getattr(transformer, "transformer_blocks", None) or transformer.blocks
    inner = getattr(blocks[-1], "ff", None) or blocks[-1].ffn
    inner.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    return seen


@pytest.mark.parametrize("name", ["wan22", "ltx"])
def test_known_tokens_are_computed_once_for_several_passes(name: str, load: Load) -> None:
    plain, kept = load(name), load(name, keep_known=2)
    seen = tokens_of_each_pass(kept)
    a, b = sampled(plain), sampled(kept)
    whole, holes = seen[0], seen[1]
    assert seen == [whole, holes, whole, holes] and 0 < holes < whole
    assert torch.isfinite(b).all() and not torch.equal(a, b)
    assert float((a - b).std()) < 0.5 * float(a.std())
    assert not kept.transformer._forward_hooks  # nothing stays behind
    assert torch.equal(sampled(kept), b)


@pytest.mark.parametrize("name", ["wan22", "ltx"])
def test_kept_keys_of_the_same_pass_give_the_same_answer(name: str, load: Load) -> None:
    """Exact: a pass over the hole's tokens right after a whole one of the same input."""
    model = load(name)
    model.transformer.float()
    model.prompt = (model.prompt[0].float(), model.prompt[1])
    z = model.encode(panned(9, 2, 64, 96)[None] / 127.5 - 1)
    clean = torch.ones_like(model.token_levels(torch.ones(1, 9, 1, 64, 96)), dtype=torch.bool)
    clean[:, 1:, :1] = False
    times = 500.0 * (~clean)
    whole = model.velocity(z, times, None)
    model._kept = KnownTokens(~clean.flatten(), 2)
    with model._kept.hooked(model.transformer):
        for step in (0, 1):
            model._kept.begin_step(step)
            answer = model.velocity(z, times, None)
    noisy = (~clean).repeat_interleave(model.patch, 2).repeat_interleave(model.patch, 3)
    noisy = noisy[:, :, None].expand_as(answer)
    assert torch.allclose(answer[noisy], whole[noisy], atol=1e-5)
    assert not torch.allclose(answer[~noisy], whole[~noisy], atol=1e-3)  # not computed


def test_options_that_leave_out_the_same_work(load: Load) -> None:
    with pytest.raises(ValueError, match="--keep-known is of wan22 and ltx"):
        load("cogvideox", keep_known=2)
    with pytest.raises(ValueError, match="leave out the same work"):
        load("ltx", keep_known=2, feature_cache="taylorseer")
    with pytest.raises(ValueError, match="which --compile closes"):
        load("ltx", keep_known=2, compile=True)
    blind = KnownTokens(torch.tensor([True, False]), 2)
    with blind.hooked(load("ltx").transformer), pytest.raises(RecamError, match="own attention"):
        blind._before(0, {})
        blind._before(1, {})  # no attention was seen in between


@pytest.mark.parametrize(
    "name, cache",
    [("cogvideox", "taylorseer"), ("ltx", "taylorseer"), ("wan22", "pyramid"), ("vace", "pyramid")],
)  # fmt: skip
def test_caches_of_diffusers(name: str, cache: str, load: Load) -> None:
    plain, cached = load(name), load(name, feature_cache=cache)
    seen = tokens_of_each_pass(cached)
    a, b = sampled(plain, 7), sampled(cached, 7)
    assert torch.isfinite(b).all() and not torch.equal(a, b)
    assert torch.equal(sampled(cached, 7), b)  # nothing is left over from the clip before
    assert len(seen) == 2 * (4 if cache == "taylorseer" else 7)


def filled(model: Any, partial: PartialVideo, config: CompleteConfig) -> Video:
    return complete(partial, config, completer=FoundationCompleter(model, config))


def half_known() -> PartialVideo:
    """18 frames, of which the second half is wholly known."""
    clip = moving_hole(panned(18, 2, 32, 48), 0, size_px=12, left_px=10)
    known = clip.known.clone()
    known[9:] = 1
    frames = torch.where(known[:, None] > 0, panned(18, 2, 32, 48), 0).to(torch.uint8)
    return PartialVideo(frames, known)


def sent_frames(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames of each clip that the model is given, which it answers with grey."""
    sent: list[int] = []

    def grey(_: Any, shown: Tensor, *more: Any, **named: Any) -> Tensor:
        sent.append(shown.shape[1])
        return torch.zeros_like(shown)

    monkeypatch.setattr(type(model), "sample", grey)
    return sent


@pytest.mark.parametrize("name", ["cogvideox", "wan22"])
def test_windows_without_holes_are_never_sent(
    name: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, partial = load(name), half_known()
    if name == "wan22":
        model.max_frames = 9
    sent = sent_frames(model, monkeypatch)
    config = CompleteConfig(name, sampling_steps=1, overlap=0)  # type: ignore[arg-type]
    out = filled(model, partial, config).frames
    assert sent == [9]
    assert torch.equal(out[9:], partial.frames[9:])
    hole = (partial.known[:9] == 0)[:, None].expand(-1, 3, -1, -1)
    assert float(out[:9][hole].float().mean()) > 20  # black before
    if name == "cogvideox":  # where all pixels are the model's, all are sent
        every = CompleteConfig(name, sampling_steps=1, overlap=0, sampler="stochastic")
        filled(model, partial, every)
        assert sent == [9, 9, 9]


def test_only_frames_near_holes_are_sent_when_asked(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("wan22")
    sent = sent_frames(model, monkeypatch)
    options = FoundationConfig(hole_context=4)
    config = CompleteConfig("wan22", sampling_steps=1, foundation=options)
    out = filled(model, half_known(), config).frames
    assert sent == [13]  # nine with holes and four beside them
    assert torch.equal(out[9:], half_known().frames[9:])


def test_a_file_of_an_adapter_is_added(
    folders: dict[str, Path], load: Load, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    plain = load("ltx")
    layer = "transformer_blocks.0.attn1.to_q"
    a, b = torch.randn(4, 24), torch.randn(24, 4)
    file = tmp_path / "few_steps.safetensors"
    names = {f"transformer.{layer}.lora_A.weight": a, f"transformer.{layer}.lora_B.weight": b}
    save_file(names, file)
    changed = load("ltx", lora=str(file))
    before, after = (m.transformer.get_submodule(layer).weight.float() for m in (plain, changed))
    assert torch.allclose(after - before, b @ a, atol=0.1)  # weights at 16 bits
    assert type(changed.transformer.get_submodule(layer)) is torch.nn.Linear
    for state, match in [
        ({f"transformer.{layer}x.lora_A.weight": a}, "of another model .*to_qx"),
        ({"transformer.x": a}, "adapter"),
    ]:
        save_file(state, file)
        with pytest.raises(RecamError, match=match):
            load("ltx", lora=str(file))
    with pytest.raises(RecamError, match="no such file"):
        load("ltx", lora=str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["cogvideox", "ltx"])
def test_a_transformer_as_one_file(
    name: str, folders: dict[str, Path], load: Load, tmp_path: Path
) -> None:
    stored = folders[name] / "transformer" / "diffusion_pytorch_model.safetensors"
    file = tmp_path / "distilled.safetensors"
    file.write_bytes(stored.read_bytes())
    whole, alone = load(name), load(name, file, base=str(folders[name]))
    for (n, a), b in zip(whole.transformer.named_parameters(), alone.transformer.parameters()):
        assert torch.equal(a, b) and a.dtype == b.dtype, n
    assert costs(alone.source)[0].params == costs(whole.source)[0].params
    file.write_bytes(stored.read_bytes()[:5000])
    with pytest.raises(RecamError, match="cannot be read as"):
        load(name, file, base=str(folders[name]))


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_counted(name: str) -> None:
    size, _, _ = costs(CompleteConfig(name))  # type: ignore[arg-type]
    rows = {what: pflop for what, pflop, _ in sparse_rows(name, size, 50)}
    values = list(rows.values())
    assert values[0] == pytest.approx(2 * values[1]) and values[-1] == 0
    assert all(v < values[1] for v in values[2:])
    assert size.flop(100, computed=0.5) == pytest.approx(0.5 * size.flop(100))
    lines = sparse_lines(name, size, 50)
    if name == "cogvideox":
        assert "1.000x  two prompts" in lines[1] and "0.500x  one prompt" in lines[2]
