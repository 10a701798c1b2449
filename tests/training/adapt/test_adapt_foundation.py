"""Adapting foundation models to a video, on tiny random checkpoints: the loss falls, adapters are
small and give the same again, an interrupted run ends with the same weights."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from completion_clips import moving_hole, panned

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

from foundation_checkpoints import save_cogvideox, save_ltx, save_wan  # noqa: E402
from recam.apps.cli import main  # noqa: E402
from recam.completers import FoundationCompleter  # noqa: E402
from recam.completion.foundation import load_foundation  # noqa: E402
from recam.completion.foundation.adapters import add_adapter, has_adapter, set_adapter  # noqa: E402
from recam.completion.foundation.cogvideox import velocity  # noqa: E402
from recam.completion.foundation.fit import to_model  # noqa: E402
from recam.completion.foundation.published import COGNVS  # noqa: E402
from recam.completion.foundation.size import (  # noqa: E402
    adapting_gb,
    cogvideox_tokens,
    meta_transformer,
)
from recam.configs import CompleteConfig, FinetuneConfig, FoundationConfig  # noqa: E402
from recam.media import read_video  # noqa: E402
from recam.reconstruct import save_scene  # noqa: E402
from recam.synthetic import synthetic_clip  # noqa: E402
from recam.tasks.fill import adapted_completer  # noqa: E402
from recam.training.adapt import foundation  # noqa: E402
from recam.training.adapt.foundation import (  # noqa: E402
    adapt_foundation,
    finetune_foundation,
    foundation_finetune_config,
    load_foundation_adapter,
)
from recam.training.adapt.latents import encode_hidden_latents, encode_latents  # noqa: E402
from recam.training.adapt.loop import num_learned  # noqa: E402
from recam.training.adapt.objectives import _flow, _vp, adapting_loss, check_error  # noqa: E402
from recam.training.adapt.sharding import saved_share, share_name  # noqa: E402
from recam.training.optim import learning_rate, save_checkpoint  # noqa: E402
from recam.types import Pair, PartialVideo, RecamError, video_from_frames  # noqa: E402

MODELS = ("cogvideox", "wan22", "vace", "ltx")
CONFIG = FinetuneConfig(
    minutes=5, steps=20, num_pairs=4, method="lora", rank=4, lr=1e-2, evaluate_every=5
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapting")
    wan = {name: save_wan(folder / name, name) for name in ("wan22", "vace")}
    cogvideox = save_cogvideox(folder / "cogvideox", sample_height=4, sample_width=6)
    return {**wan, "cogvideox": cogvideox, "ltx": save_ltx(folder / "ltx")}


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("RECAM_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def load(checkpoints: dict[str, Path], name: str, **options: object):  # type: ignore[no-untyped-def]
    foundation = FoundationConfig(model_device="cpu", work_side=96, **options)  # type: ignore[arg-type]
    return load_foundation(CompleteConfig(name, str(checkpoints[name]), foundation))  # type: ignore[arg-type]


def pairs(num: int = 4) -> list[Pair]:
    video = video_from_frames(panned(9, 2, 64, 96))
    return [Pair(moving_hole(video.frames, 1 + i, size_px=24 + 4 * i), video) for i in range(num)]


def sampled(model) -> Tensor:  # type: ignore[no-untyped-def]
    partial = moving_hole(panned(9, 2, 64, 96, seed=3), 2, size_px=30)
    fit = model.fit(64, 96, 96)
    shown, known = to_model(partial.frames, partial.known, fit, model.padded_frames(9))
    return model.sample(shown[None], known[None], 1, 0)


@pytest.mark.parametrize("name", MODELS)
def test_adapting_helps_on_what_is_held_back(name: str, checkpoints: dict[str, Path]) -> None:
    adapted = finetune_foundation(load(checkpoints, name), pairs(), CONFIG, 96)
    assert adapted.best_step > 0 and adapted.after_db > adapted.before_db + 0.5
    assert "→" in adapted.describe() and has_adapter(adapted.model.transformer)
    assert not any(p.requires_grad for p in adapted.model.transformer.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_a_new_adapter_changes_nothing_and_a_trained_one_does(
    name: str, checkpoints: dict[str, Path]
) -> None:
    model = load(checkpoints, name)
    before = sampled(model)
    weights = add_adapter(model.transformer, 4)
    assert torch.equal(sampled(model), before)
    with torch.no_grad():
        for weight in weights:
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(sampled(model), before)


def test_the_file_is_small_and_gives_the_same(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    model = load(checkpoints, "cogvideox")
    finetune_foundation(model, pairs(), CONFIG, folder=tmp_path)
    path = tmp_path / "adapter.safetensors"
    transformer = checkpoints["cogvideox"] / "transformer/diffusion_pytorch_model.safetensors"
    assert path.stat().st_size < transformer.stat().st_size / 4
    assert not (tmp_path / "adapting.pt").exists()
    fresh = load(checkpoints, "cogvideox")
    load_foundation_adapter(fresh, path)
    assert torch.equal(sampled(fresh), sampled(model))
    # Found again at once, under the same key.
    steps: list[str] = []
    again = finetune_foundation(
        load(checkpoints, "cogvideox"), pairs(), CONFIG, folder=tmp_path,
        progress=lambda what, done, total: steps.append(what),
    )  # fmt: skip
    assert not any(what.startswith("adapting") for what in steps)
    assert torch.equal(sampled(again.model), sampled(model))


def test_the_published_pipeline_reads_the_file(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """diffusers' own loader takes the adapter and comes to the same velocity."""
    from safetensors.torch import load_file

    model = load(checkpoints, "cogvideox")
    finetune_foundation(model, pairs(), CONFIG, folder=tmp_path)
    plain = load(checkpoints, "cogvideox")
    plain.transformer.load_lora_adapter(
        load_file(tmp_path / "adapter.safetensors"), prefix="transformer"
    )
    x, beside = torch.randn(2, 1, 3, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([500])
    ours, theirs = (velocity(m, x, beside, t, m.prompt) for m in (model, plain))
    assert torch.allclose(ours, theirs, atol=0.02 * float(ours.abs().max()))


class Stopped(Exception):
    pass


def run_in_two(model, again, examples, config, folder: Path):  # type: ignore[no-untyped-def]
    """Stop an adaptation at step 8, and finish it on another load of the model."""

    def stop(what: str, done: int, total: int) -> None:
        if done == 8:
            raise Stopped

    before = sampled(model)
    with pytest.raises(Stopped):
        adapt_foundation(model, examples, config, folder, stop)
    assert (folder / "adapting.pt").exists()
    if config.method == "lora":
        assert torch.equal(sampled(model), before)  # left as it was
    steps: list[int] = []
    adapt_foundation(again, examples, config, folder, lambda what, done, total: steps.append(done))
    assert steps[0] == 6
    return again


def test_an_interrupted_adaptation_resumes_to_the_same_weights(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=10)
    whole, half, rest = (load(checkpoints, "cogvideox") for _ in range(3))
    examples = encode_latents(whole, pairs())
    adapt_foundation(whole, examples, config, tmp_path / "a")
    run_in_two(half, rest, examples, config, tmp_path / "b")
    for a, b in zip(whole.transformer.parameters(), rest.transformer.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_whole_model_at_eight_bits_resumes_too(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    config = replace(CONFIG, method="whole", lr=3e-3, steps=10)
    whole, half, rest = (load(checkpoints, "cogvideox") for _ in range(3))
    examples = encode_latents(whole, pairs())
    adapted = adapt_foundation(whole, examples, config, tmp_path / "a")
    assert adapted.best_step > 0 and adapted.after_db > adapted.before_db + 0.5
    run_in_two(half, rest, examples, config, tmp_path / "b")
    for a, b in zip(whole.transformer.parameters(), rest.transformer.parameters(), strict=True):
        assert torch.equal(a, b)
    fresh = load(checkpoints, "cogvideox")
    load_foundation_adapter(fresh, tmp_path / "a" / "adapter.safetensors")
    assert torch.equal(sampled(fresh), sampled(whole))


def test_without_an_eight_bit_optimiser_it_says_what_to_install(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(RecamError, match="pip install torchao; or adapt with --adapt-method lora"):
        finetune_foundation(
            load(checkpoints, "cogvideox"), pairs(), replace(CONFIG, method="whole")
        )


def test_what_does_not_help_is_taken_back(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(checkpoints, "cogvideox")
    before = sampled(model)
    monkeypatch.setattr(foundation, "adapting_loss", lambda *a: -adapting_loss(*a))
    ruin = replace(CONFIG, lr=0.03, steps=10)
    adapted = finetune_foundation(model, pairs(), ruin, folder=tmp_path)
    assert adapted.best_step == 0 and "did not help by 0.1 dB" in adapted.describe()
    assert not has_adapter(model.transformer) and torch.equal(sampled(model), before)
    again = finetune_foundation(load(checkpoints, "cogvideox"), pairs(), ruin, folder=tmp_path)
    assert again.best_step == 0 and not has_adapter(again.model.transformer)


def test_the_time_budget_holds(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints, "ltx")
    adapted = finetune_foundation(model, pairs(2), replace(CONFIG, minutes=0), 96)
    assert adapted.steps == 0 and "before the first step" in adapted.describe()
    with pytest.raises(ValueError, match="2 or more pairs"):
        finetune_foundation(model, pairs(1), CONFIG, 96)


def test_weights_that_are_not_at_hand_are_not_adapted(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints, "cogvideox", placement="fp8")
    with pytest.raises(RecamError, match="placement is fp8; give --placement swap"):
        finetune_foundation(model, pairs(2), CONFIG)


def test_an_adapter_of_another_model_is_refused(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints, "ltx")
    with pytest.raises(RecamError, match="of another model"):
        set_adapter(model.transformer, {"transformer.x.lora_A.weight": torch.zeros(4, 4)}, 4)
    assert not has_adapter(model.transformer)


def test_velocity_loss_is_the_reference_one(checkpoints: dict[str, Path]) -> None:
    """Its training script scores the clean latent that the scheduler's ``get_velocity`` gives of
    the answer, weighted by 1 / (1 − ᾱ); ours is the squared error of the velocity."""
    model = load(checkpoints, "cogvideox")
    model.transformer.float()
    model.prompt = model.prompt.float()
    scheduler = diffusers.CogVideoXDDIMScheduler.from_pretrained(
        checkpoints["cogvideox"] / "scheduler"
    )
    example = encode_latents(model, pairs(1))[0]
    noise = torch.randn(example.target.shape, generator=torch.Generator().manual_seed(0))
    for time in (20, 500, 980):
        t = torch.tensor([time])
        answer, wanted, _, off = _vp(model, example, noise, time)
        noisy = scheduler.add_noise(example.target.float(), noise, t)
        said = velocity(model, noisy, example.beside[0], t, model.prompt)
        clean = scheduler.get_velocity(said, noisy, t)
        weight = 1 / (1 - scheduler.alphas_cumprod[time])
        theirs = (weight * (clean - example.target.float()).square()).mean()
        assert torch.allclose((answer - wanted).square().mean(), theirs, rtol=1e-3)
        assert torch.allclose(off, clean - example.target.float(), atol=1e-3)


def test_flow_loss_is_noise_minus_clean_and_keeps_evidence(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints, "ltx")
    example = encode_latents(model, pairs(1), 96)[0]
    noise = torch.randn(example.target.shape, generator=torch.Generator().manual_seed(0))
    seen = {}

    def record(transformer, x, sigma, text, control):  # type: ignore[no-untyped-def]
        seen.update(x=x, sigma=sigma)
        return torch.zeros_like(x)

    model.family = replace(model.family, velocity=record)
    _, wanted, scored, _ = _flow(model, example, noise, 0.6)
    clean = example.clean[:, :, None].expand_as(wanted)
    assert bool(example.clean.any()) and not bool(example.clean.all())
    assert torch.equal(seen["x"][clean], example.beside[0][clean])
    mixed = 0.4 * example.target + 0.6 * noise
    assert torch.allclose(seen["x"][~clean], mixed[~clean], atol=1e-6)
    assert torch.equal(seen["sigma"] == 0, example.clean)
    assert torch.equal(wanted, noise - example.target)
    assert torch.equal(scored[:, :, 0] == 0, example.clean)


def test_training_scores_no_held_back_frame(checkpoints: dict[str, Path]) -> None:
    """Changing the true last frames changes the check and not the loss's own part of them."""
    model = load(checkpoints, "cogvideox")
    example = encode_latents(model, pairs(1))[0]
    # 9 frames, of which 7 are learned from: latents of frames 0, 1–4 and 5–8.
    assert num_learned(9) == 7
    assert bool(example.learn[:, :2].all()) and not bool(example.learn[:, 2:].any())
    assert not bool(example.check[:, :2].any()) and bool(example.check[:, 2].any())
    marked = replace(example, target=example.target.clone())
    marked.target[:, 2] += 3
    wanted = [_vp(model, e, torch.zeros_like(example.target), 0)[1] for e in (example, marked)]
    assert torch.equal(wanted[0][:, :2], wanted[1][:, :2])
    assert check_error(model, marked) != check_error(model, example)


def test_examples_of_a_partial_video_score_only_what_is_known(
    checkpoints: dict[str, Path],
) -> None:
    model = load(checkpoints, "cogvideox")
    known = torch.ones(9, 64, 96)
    known[:, :32] = 0
    partial = PartialVideo(panned(9, 2, 64, 96), known)
    for example in encode_hidden_latents(model, partial, 3):
        assert not bool(example.learn[..., :2, :].any())
        assert bool(example.learn[:, :2, :, 2:].any())
        loss = adapting_loss(model, example, torch.Generator().manual_seed(0))
        assert bool(torch.isfinite(loss))
    with pytest.raises(RecamError, match="nothing in the video is known"):
        nothing = PartialVideo(partial.frames, torch.zeros_like(known))
        encode_hidden_latents(model, nothing, 2)


def test_defaults_are_the_reference_ones() -> None:
    lora, whole = foundation_finetune_config(10), foundation_finetune_config(10, "whole")
    assert lora.steps == 200 and lora.method == "lora" and whole.lr == 2e-5
    with pytest.raises(ValueError, match="unknown method"):
        foundation_finetune_config(10, "all")


def test_conditions_are_drawn_again_while_there_is_time(checkpoints: dict[str, Path]) -> None:
    """Two draws of noise at first, eight in the end, all different; other models take none."""
    model = load(checkpoints, "cogvideox")
    for seconds, num in [(60.0, 8), (0.0, 2)]:
        for example in encode_latents(model, pairs(2), seconds=seconds):
            assert len(example.beside) == num
            off = [float((a - example.beside[0]).abs().max()) for a in example.beside[1:]]
            assert min(off) > 0
    assert len(encode_latents(load(checkpoints, "vace"), pairs(2), 96)[0].beside) == 1


def test_the_whole_model_is_trained_as_the_reference_does(checkpoints: dict[str, Path]) -> None:
    """Its decay and averages, and a rate that stays up after the warm-up."""
    pytest.importorskip("torchao")
    model = load(checkpoints, "cogvideox")
    learner = foundation.FoundationLearner(model, replace(CONFIG, method="whole"))
    group = learner.optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.999) and group["weight_decay"] == 1e-4
    rates = [learning_rate(i, 200, 2e-5, 20, learner.rate_falls) for i in range(200)]
    assert rates[0] == pytest.approx(1e-6) and set(rates[20:]) == {2e-5}
    lora = foundation.FoundationLearner(load(checkpoints, "ltx"), CONFIG)
    assert learning_rate(199, 200, 1e-4, 20, lora.rate_falls) < 2e-6


def test_commands_adapt_and_find_the_adapter_again(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, _ = synthetic_clip(3, 9, 64, 96, "orbit")
    save_scene(scene, tmp_path / "scene")
    argv = [
        "reshoot", str(tmp_path / "scene"), "--path", "truck", "--model", "ltx", "--weights",
        str(checkpoints["ltx"]), "--sampling-steps", "1", "--model-device", "cpu", "--work-side",
        "96", "--adapt-minutes", "1", "--adapt-steps", "4", "--quiet",
    ]  # fmt: skip
    main([*argv, "-o", str(tmp_path / "a")])
    said = capsys.readouterr().err
    assert "adapting did" in said and "(found in" not in said
    main([*argv, "-o", str(tmp_path / "b")])
    assert "(found in" in capsys.readouterr().err
    one, two = (read_video(tmp_path / n / "result.mp4").frames for n in "ab")
    # Now and then the encoder writes a few macroblocks otherwise for equal frames.
    assert (one.float() - two.float()).abs().mean() < 0.2


def test_a_partial_video_is_adapted_to_or_it_says_why_not(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = pairs(1)[0].partial
    options = FoundationConfig(model_device="cpu", work_side=96, adapt_steps=3)
    config = CompleteConfig("ltx", str(checkpoints["ltx"]), options, adapt_minutes=1)
    opened = adapted_completer(partial, ("a",), config)
    assert isinstance(opened, FoundationCompleter)
    assert opened.adapter is not None and "adapt" in opened.note
    monkeypatch.setattr(foundation, "free_gb", lambda device: -1.0)
    poor = adapted_completer(partial, ("b",), config)
    assert isinstance(poor, FoundationCompleter) and poor.adapter is None
    assert "not adapted: adapting (lora) needs about" in poor.note
    off = adapted_completer(partial, ("b",), replace(config, adapt_minutes=0))
    assert "not adapted" in off.note


def test_memory_of_adapting_the_published_model() -> None:
    size = meta_transformer("CogVideoXTransformer3DModel", COGNVS, cogvideox_tokens(COGNVS))
    assert 15 < adapting_gb(size, "lora") < 25
    assert 35 < adapting_gb(size, "whole") < 60  # the goal on one GPU


def test_two_processes_are_one_with_twice_the_examples(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The whole model, split over two processes: the loss, step by step, and the weights of one
    process that takes both's examples. An adapter: the same weights again."""
    pytest.importorskip("torchao")
    config = replace(CONFIG, method="whole", lr=3e-3, steps=6, evaluate_every=3)
    one, two = load(checkpoints, "ltx"), load(checkpoints, "ltx")
    examples = encode_latents(one, pairs(), 96)
    losses: dict[int, list[str]] = {1: [], 2: []}

    def note(devices: int):  # type: ignore[no-untyped-def]
        return lambda what, done, total: losses[devices].append(what)

    together = replace(config, batch=2)
    alone = adapt_foundation(one, examples, together, tmp_path / "1", note(1))
    both = adapt_foundation(two, examples, replace(config, devices=2), tmp_path / "2", note(2))
    assert alone.best_step == both.best_step > 0 and len(losses[2]) == 6
    said = [[float(w.split("loss ")[1][:-1]) for w in losses[n]] for n in (1, 2)]
    assert said[1] == pytest.approx(said[0], rel=0.02)
    assert both.after_db == pytest.approx(alone.after_db, abs=0.3)
    assert not list((tmp_path / "2").glob("adapting*"))
    for a, b in zip(one.transformer.parameters(), two.transformer.parameters(), strict=True):
        assert float((a - b).float().abs().max()) < 0.03


@pytest.mark.skipif("RECAM_SLOW" not in os.environ, reason="starts four processes; RECAM_SLOW=1")
@pytest.mark.parametrize("method", ["lora", "whole"])
def test_several_processes_resume(
    method: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    config = replace(CONFIG, method=method, lr=3e-3, steps=10, devices=2)  # type: ignore[arg-type]
    whole, half, rest = (load(checkpoints, "ltx") for _ in range(3))
    examples = encode_latents(whole, pairs(), 96)
    adapt_foundation(whole, examples, config, tmp_path / "a")

    def stop(what: str, done: int, total: int) -> None:
        if done == 8:
            raise Stopped

    with pytest.raises(Stopped):
        adapt_foundation(half, examples, config, tmp_path / "b", stop)
    assert list((tmp_path / "b").glob("adapting*"))
    adapt_foundation(rest, examples, config, tmp_path / "b")
    for a, b in zip(whole.transformer.parameters(), rest.transformer.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif("RECAM_SLOW" not in os.environ, reason="starts six processes; RECAM_SLOW=1")
@pytest.mark.parametrize("first", [2, 1])
def test_the_whole_model_resumes_on_another_number_of_processes(
    first: int, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    config = replace(CONFIG, method="whole", lr=3e-3, steps=12, evaluate_every=3)
    by = {n: replace(config, devices=n, batch=2 // n) for n in (1, 2)}
    whole, half, rest = (load(checkpoints, "ltx") for _ in range(3))
    examples = encode_latents(whole, pairs(), 96)
    losses: dict[str, list[str]] = {"a": [], "b": []}

    def note(folder: str):  # type: ignore[no-untyped-def]
        return lambda what, done, total: losses[folder].append(what)

    alone = adapt_foundation(whole, examples, by[1], tmp_path / "a", note("a"))

    def stop(what: str, done: int, total: int) -> None:
        if done == 8:
            raise Stopped

    with pytest.raises(Stopped):
        adapt_foundation(half, examples, by[first], tmp_path / "b", stop)
    again = adapt_foundation(rest, examples, by[3 - first], tmp_path / "b", note("b"))
    assert not list((tmp_path / "b").glob("adapting*"))
    assert len(losses["b"]) == 6  # the steps after the sixth
    said = [[float(w.split("loss ")[1][:-1]) for w in losses[n][-6:]] for n in "ab"]
    assert said[1] == pytest.approx(said[0], rel=0.03)
    assert again.after_db == pytest.approx(alone.after_db, abs=0.3)


def test_shares_of_any_number_of_processes_are_one_whole(tmp_path: Path) -> None:
    subclass = pytest.importorskip("torchao.optim.subclass_8bit").OptimState8bit
    weight, average = torch.randn(33, 256), torch.randn(33, 256)

    def share(part: torch.Tensor, state: torch.Tensor, step: int) -> dict[str, Any]:
        eight = subclass.zeros(state.shape)
        eight.copy_(state)
        states = {"step": torch.tensor(float(step)), "exp_avg": eight, "exp_avg_sq": eight}
        run = {"step": step, "best": [part]}
        return {"now": [part], "run": run, "optimizer": {"state": {0: states}}}

    for step in (3, 6, 9):  # the second was killed before it saved the last
        for i, (a, b) in enumerate(zip(weight.chunk(2), average.chunk(2), strict=True)):
            if (i, step) != (1, 9):
                save_checkpoint(tmp_path / share_name(i, 2), share(a + step, b, step))
    three = [saved_share(tmp_path, i, 3) for i in range(3)]
    assert [s["run"]["step"] for s in three if s] == [6, 6, 6]
    assert torch.equal(torch.cat([s["now"][0] for s in three if s]), weight + 6)
    (one,) = [saved_share(tmp_path, 0, 1)]
    assert one is not None and torch.equal(one["run"]["best"][0], weight + 6)
    kept = one["optimizer"]["state"][0]["exp_avg"]
    assert isinstance(kept, subclass)
    assert float((kept.dequantize() - average).abs().max()) < 0.05 * float(average.abs().max())
    both = saved_share(tmp_path, 1, 2)
    assert both is not None and torch.equal(both["now"][0], weight.chunk(2)[1] + 6)
    assert saved_share(tmp_path / "nowhere", 0, 2) is None


def test_more_devices_than_there_are(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(checkpoints, "ltx")
    examples = encode_latents(model, pairs(2), 96)
    model.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecamError, match="--adapt-devices 2: there are 1 GPUs"):
        adapt_foundation(model, examples, replace(CONFIG, devices=2))


@pytest.mark.skipif("RECAM_SLOW" not in os.environ, reason="starts two processes; RECAM_SLOW=1")
def test_what_fails_in_one_of_several_processes_is_one_line(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    model = load(checkpoints, "ltx")
    examples = encode_latents(model, pairs(2), 96)
    model.source = replace(model.source, weights=str(tmp_path / "gone"))
    with pytest.raises(RecamError, match=r"^adapting on 2 devices: .*gone: no such folder"):
        adapt_foundation(model, examples, replace(CONFIG, devices=2))
