"""Adapting to one video: it helps or says that it does not, stays in time, resumes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recam.completion.transformer import VideoTransformer
from recam.configs import FinetuneConfig, ModelConfig
from recam.training.adapt.examples import encode_hidden, encode_pairs, hide_more
from recam.training.adapt.loop import num_learned
from recam.training.adapt.lora import add_low_rank, merge_low_rank
from recam.training.adapt.masked import (
    adapt,
    check_psnr,
    finetune,
    load_adapter,
    random_cut,
    split_examples,
)
from recam.training.masks import draw_known
from recam.training.validation import layered_pairs
from recam.types import Pair, PartialVideo, RecamError, video_from_frames

MODEL = ModelConfig(
    patch=8, hidden=48, heads=2, blocks=3, stem=16, fills=("pull-push", "past", "future")
)
CONFIG = FinetuneConfig(steps=30, crop=48, num_frames=4, evaluate_every=10, lr=2e-3, minutes=5)


def new_model() -> VideoTransformer:
    torch.manual_seed(0)
    return VideoTransformer(MODEL).eval()


def pairs(num: int = 4) -> list[Pair]:
    """A still picture with different moving holes: what the first fill (a smooth mean) lacks, the
    fills from past and future frames have, so there is something to learn in few steps."""
    frames = layered_pairs((1, 1, 48, 64), 5)[0].target.frames.expand(8, -1, -1, -1).contiguous()
    masks = draw_known("tracks", (num, 8, 48, 64), torch.Generator().manual_seed(2))[:, :, 0]
    target = video_from_frames(frames)
    return [Pair(PartialVideo(frames * (k > 0)[:, None], k), target) for k in masks]


@pytest.mark.parametrize("method", ["whole", "lora"])
def test_adapting_raises_the_held_back_score(method, tmp_path: Path) -> None:
    model = new_model()
    before = [p.clone() for p in model.parameters()]
    lr = 2e-3 if method == "whole" else 1e-2
    adapted = finetune(model, pairs(), replace(CONFIG, method=method, lr=lr), folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    if method == "whole":
        assert adapted.best_step > 0 and adapted.after_db > adapted.before_db + 0.3
        assert "→" in adapted.describe()
    assert not any("base" in name for name, _ in adapted.model.named_parameters())
    # The adapter file gives the same model, at once.
    again = finetune(model, pairs(), replace(CONFIG, method=method, lr=lr), folder=tmp_path)
    assert again.after_db == adapted.after_db and again.best_step == adapted.best_step
    for a, b in zip(adapted.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_never_ends_worse_and_says_so(tmp_path: Path) -> None:
    model = new_model()
    ruin = replace(CONFIG, lr=30.0, steps=12, evaluate_every=4)
    adapted = finetune(model, pairs(), ruin, folder=tmp_path)
    assert adapted.best_step == 0 and adapted.after_db == adapted.before_db
    assert adapted.model is model
    assert "did not help" in adapted.describe()
    assert finetune(model, pairs(), ruin, folder=tmp_path).model is model


def test_an_interrupted_adaptation_resumes_to_the_same_weights(tmp_path: Path) -> None:
    model, examples = new_model(), encode_pairs(pairs(), MODEL.fills, 512)
    whole = adapt(model, examples, CONFIG, tmp_path / "a")

    class Stopped(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if done == 13:
            raise Stopped

    with pytest.raises(Stopped):
        adapt(model, examples, CONFIG, tmp_path / "b", progress=stop)
    assert (tmp_path / "b" / "adapting.pt").exists()
    steps: list[int] = []
    resumed = adapt(
        model, examples, CONFIG, tmp_path / "b", lambda what, done, total: steps.append(done)
    )
    assert steps[0] == 11
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not (tmp_path / "b" / "adapting.pt").exists()


def test_the_time_budget_holds() -> None:
    examples = encode_pairs(pairs(2), MODEL.fills, 512)
    adapted = adapt(new_model(), examples, replace(CONFIG, steps=10_000, minutes=0.02))
    assert 0 < adapted.steps < 1000
    none = adapt(new_model(), examples, replace(CONFIG, minutes=0))
    assert none.steps == 0 and none.best_step == 0


def test_one_pair_is_too_few() -> None:
    with pytest.raises(ValueError, match="2 or more pairs"):
        finetune(new_model(), pairs(1), CONFIG)


def test_training_never_sees_the_held_back_frames() -> None:
    examples = encode_pairs(pairs(2), MODEL.fills, 512)
    late = num_learned(8)
    assert late == 6
    marked = [replace(e, target=e.target.clone()) for e in examples]
    for e in marked:
        e.target[late:] = 255
        e.target[:late] = 0
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        batch = random_cut(marked, new_model(), CONFIG, generator, torch.device("cpu"))
        assert float(batch.target.max()) == -1
        assert batch.target.shape == (1, 4, 3, 48, 48)
    # ... and the check scores those frames alone.
    model = new_model()
    early_spoiled = replace(examples[0], target=examples[0].target.clone())
    early_spoiled.target[:late] = 255 - early_spoiled.target[:late]
    assert check_psnr(model, early_spoiled) == check_psnr(model, examples[0])


def test_which_examples_are_held_back() -> None:
    examples = encode_pairs(pairs(6), MODEL.fills, 512)
    whole = replace(examples[0], known=torch.ones_like(examples[0].known))
    check, learn = split_examples([whole, *examples])
    assert [id(e) for e in check] == [id(e) for e in examples[:2]]
    assert [id(e) for e in learn] == [id(whole), *(id(e) for e in examples[2:])]
    check, learn = split_examples(examples[:4])
    assert len(check) == 1 and len(learn) == 3
    nothing_hidden = adapt(new_model(), [whole] * 3, CONFIG)
    assert nothing_hidden.best_step == 0 and "not adapted" in nothing_hidden.describe()


def test_nothing_of_the_holes_leaks_from_known_pixels_alone() -> None:
    partial = pairs(1)[0].partial
    other = PartialVideo(
        torch.where(
            (partial.known > 0)[:, None], partial.frames, torch.full_like(partial.frames, 9)
        ),
        partial.known,
    )
    sets = [encode_hidden(p, 4, MODEL.fills, 512, seed=0) for p in (partial, other)]
    for a, b in zip(*sets, strict=True):
        assert torch.equal(a.fills, b.fills) and torch.equal(a.evidence, b.evidence)
        assert torch.equal(a.target * a.scored, b.target * b.scored)
        assert bool((a.known <= partial.known[:, None]).all())
        assert bool((a.scored <= partial.known[:, None]).all())
        assert float(a.known.sum()) < float(partial.known.sum())
    with pytest.raises(RecamError, match="nothing in the video is known"):
        encode_hidden(PartialVideo(partial.frames, 0 * partial.known), 2, MODEL.fills, 512, 0)


def test_hiding_more_keeps_shapes() -> None:
    partial = pairs(1)[0].partial
    hidden = list(hide_more(partial, 5, torch.Generator().manual_seed(0)))
    assert len(hidden) == 5
    assert all(h.known.shape == partial.known.shape for h, _, _ in hidden)


def test_low_rank_starts_as_the_model_and_merges_exactly() -> None:
    model = new_model()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    x, sigma = torch.randn(1, 2, 3, 16, 16), torch.full((1, 2, 2, 2), 0.5)
    plain = model.denoise(x, sigma, None)
    trained = add_low_rank(model, 4)
    assert len(trained) == 2 * 5 * 3
    assert torch.allclose(model.denoise(x, sigma, None), plain, atol=1e-6)
    with torch.no_grad():
        for p in trained:
            p.add_(0.05 * torch.randn_like(p))
    adapted = model.denoise(x, sigma, None)
    assert not torch.allclose(adapted, plain, atol=1e-4)
    merge_low_rank(model)
    assert torch.allclose(model.denoise(x, sigma, None), adapted, atol=1e-5)
    with pytest.raises(ValueError, match="rank"):
        add_low_rank(model, 0)


def test_a_foreign_adapter_is_refused(tmp_path: Path) -> None:
    adapt(new_model(), encode_pairs(pairs(), MODEL.fills, 512), CONFIG, tmp_path)
    torch.manual_seed(0)
    other = VideoTransformer(replace(MODEL, hidden=32))
    with pytest.raises(RecamError, match="does not fit this model"):
        load_adapter(other, tmp_path / "adapter.safetensors")
