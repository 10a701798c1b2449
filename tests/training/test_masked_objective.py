from dataclasses import replace

import pytest
import torch

from recam.completion.fills import hold, make_condition
from recam.completion.pixels import from_signal
from recam.completion.transformer import VideoTransformer
from recam.configs import SEARCHED, CompleteConfig, ModelConfig, ObjectiveConfig
from recam.training.data import FilledPair, draw_batch, make_material, step_generator
from recam.training.degrade import degrade, double_resampled, floaters
from recam.training.layered import layered_clips, traced_fills
from recam.training.loss import masked_loss
from recam.training.masks import draw_known
from recam.training.optim import new_optimizer, update
from recam.types import Pair, PartialVideo, video_from_frames
from small_models import complete_masked

TINY = ModelConfig(
    patch=8,
    hidden=32,
    heads=2,
    blocks=3,
    stem=8,
    num_anchors=2,
    fills=("pull-push", "past", "future"),
)
SIZE = (2, 4, 24, 32)
CPU = torch.device("cpu")
SOURCES = (
    "reprojected", "random-2d", "first-frame", "endpoints", "tracks", "border", "everything",
    "identity",
)  # fmt: skip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("mode", ["clean-tokens", "concat", "both"])
def test_every_mask_source_is_trained_and_sampled_in_every_mode(source, mode) -> None:
    torch.manual_seed(0)
    model = VideoTransformer(replace(TINY, conditioning=mode))
    optimizer = new_optimizer(list(model.parameters()), 1e-3, 0.0)
    objective = ObjectiveConfig(masks=(source,), pure_noise=0.5)
    for step in range(2):
        generator = step_generator(0, step, 0, CPU)
        batch = draw_batch(SIZE, objective, model.config.fills, generator)
        loss = masked_loss(model, batch, generator, objective)
        loss.backward()
        assert loss.item() > 0
        assert update(optimizer, list(model.parameters()), 1e-3) > 0
    if source == "everything":
        return  # nothing known: there is no video to complete
    partial = PartialVideo(
        from_signal(batch.condition.evidence[0]), batch.condition.known[0, :, 0].contiguous()
    )
    for sampler in ("anchored", "stochastic"):
        config = CompleteConfig("masked", sampler=sampler, sampling_steps=2)
        video = complete_masked(model.eval(), partial, config)
        assert video.frames.shape == partial.frames.shape


def test_training_on_one_batch_learns_what_the_fill_lacks() -> None:
    torch.manual_seed(0)
    model = VideoTransformer(replace(TINY, hidden=64, stem=16))
    objective = ObjectiveConfig(masks=("reprojected",), degrade=0, drop_condition=0, pure_noise=1)
    batch = draw_batch((1, 4, 32, 32), objective, TINY.fills, rng(5))
    optimizer = new_optimizer(list(model.parameters()), 3e-3, 0.0)
    losses = []
    for step in range(60):
        loss = masked_loss(model, batch, rng(step), objective)
        loss.backward()
        update(optimizer, list(model.parameters()), 3e-3)
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]


def test_clean_tokens_cost_nothing_and_holes_weigh_more() -> None:
    model = VideoTransformer(TINY)
    objective = ObjectiveConfig(masks=("reprojected",), degrade=0, drop_condition=0, pure_noise=1)
    batch = draw_batch(SIZE, objective, TINY.fills, rng(1))
    batch = replace(batch, joint=torch.zeros(2, dtype=torch.bool))
    assert (model.token_levels(batch.condition.known) >= 1).any()
    base = masked_loss(model, batch, rng(), objective).item()
    # Spoil the truth where it is a clean token: nothing may change.
    clean = model.token_levels(batch.condition.known) >= 1
    pixels = clean.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, None]
    spoiled = replace(batch, target=torch.where(pixels, -batch.target, batch.target))
    assert masked_loss(model, spoiled, rng(), objective).item() == pytest.approx(base)
    # What is not scored is not learnt.
    unscored = replace(batch, scored=torch.zeros_like(batch.scored))
    assert masked_loss(model, unscored, rng(), objective).item() == 0
    # The untrained model errs in holes alone, so weighing them more raises the mean.
    heavier = masked_loss(model, batch, rng(), replace(objective, hole_weight=40.0)).item()
    assert heavier > base


def test_joint_samples_denoise_their_evidence_too() -> None:
    model = VideoTransformer(TINY)
    objective = ObjectiveConfig(masks=("identity",), degrade=1, drop_condition=0, pure_noise=1)
    batch = draw_batch(SIZE, objective, TINY.fills, rng(2))
    assert bool(batch.joint.all())
    assert masked_loss(model, batch, rng(), objective).item() > 0


def test_batches_depend_on_seed_and_step_alone() -> None:
    def batch(seed: int, step: int) -> torch.Tensor:
        objective = ObjectiveConfig()
        return draw_batch(SIZE, objective, TINY.fills, step_generator(seed, step, 0, CPU)).target

    assert torch.equal(batch(0, 7), batch(0, 7))
    assert not torch.equal(batch(0, 7), batch(0, 8))
    assert not torch.equal(batch(0, 7), batch(1, 7))


@pytest.mark.parametrize("size", [(2, 4, 24, 32), (1, 1, 16, 16), (3, 7, 40, 24)])
@pytest.mark.parametrize("source", [s for s in SOURCES if s != "reprojected"])
def test_masks_are_masks(source, size) -> None:
    known = draw_known(source, size, rng(3))
    assert known.shape == (size[0], size[1], 1, size[2], size[3])
    assert set(known.unique().tolist()) <= {0.0, 1.0}


def test_masks_say_what_they_are_named_for() -> None:
    share = {s: draw_known(s, (8, 6, 48, 64), rng(4)) for s in SOURCES[1:]}
    assert share["everything"].sum() == 0 and share["identity"].min() == 1
    assert share["first-frame"].mean((0, 2, 3, 4)).tolist() == [1, 0, 0, 0, 0, 0]
    assert share["endpoints"].mean((0, 2, 3, 4)).tolist() == [1, 0, 0, 0, 0, 1]
    for source in ("random-2d", "tracks", "border"):
        assert 0.02 < 1 - float(share[source].mean()) < 0.7
    middle = share["border"][..., 20:28, 28:36]
    assert float(middle.mean()) > 0.99
    with pytest.raises(ValueError, match="needs a scene"):
        draw_known("reprojected", SIZE, rng())


def test_layered_clips_move_and_hide() -> None:
    clips = layered_clips((6, 4, 48, 64), rng(6))
    assert clips.frames.shape == (6, 4, 3, 48, 64)
    assert float(clips.frames.abs().max()) <= 1
    assert float((clips.frames[:, 0] - clips.frames[:, 3]).abs().mean()) > 0.02
    holes = 1 - clips.known.mean((1, 2, 3, 4))
    assert 0.02 < float(holes.mean()) < 0.6
    assert float(clips.frames.std()) > 0.1


def test_the_traced_fill_finds_what_other_frames_show() -> None:
    clips = layered_clips((6, 6, 48, 64), rng(9))
    fills = traced_fills(clips, clips.frames, clips.known, SEARCHED, rng(1))
    assert fills.shape == (6, len(SEARCHED), 6, 4, 48, 64)
    filled, trust = fills[:, 0, :, :3], fills[:, 0, :, 3:]
    assert torch.equal(trust, torch.maximum(fills[:, 1, :, 3:], fills[:, 2, :, 3:]))
    assert 0 < float(trust.max()) <= 1 and not bool((trust * clips.known).any())
    known = clips.known.expand_as(filled) > 0.5
    assert torch.equal(filled[known], clips.frames[known])
    condition = make_condition(clips.frames, clips.known, ("pull-push",))
    errors = [
        (fill - clips.frames)[~known].square().mean() for fill in (filled, condition.fills[:, 0])
    ]
    assert errors[0] < 0.6 * errors[1]


def test_batches_bring_the_fill_that_follows_motion() -> None:
    fills = ("propagate", "pull-push")
    objective = ObjectiveConfig(masks=("reprojected",), degrade=0)
    batch = draw_batch(SIZE, objective, fills, rng(2))
    hole = (batch.condition.known < 0.5).expand_as(batch.target)
    errors = [(f - batch.target)[hole].square().mean() for f in batch.condition.fills.unbind(1)]
    assert errors[0] < errors[1]


def test_damage_leaves_samples_that_were_not_chosen() -> None:
    clips = layered_clips(SIZE, rng(7))
    frames, known = degrade(clips.frames, clips.known, torch.zeros(2, dtype=torch.bool), rng())
    assert torch.equal(frames, clips.frames) and torch.equal(known, clips.known)
    changed = 0
    for seed in range(6):
        frames, _ = degrade(clips.frames, clips.known, torch.tensor([True, False]), rng(seed))
        assert torch.equal(frames[1], clips.frames[1])
        changed += not torch.equal(frames[0], clips.frames[0])
    assert changed >= 4


def test_double_resampling_blurs_but_does_not_move() -> None:
    sharp = torch.randn(1, 1, 3, 32, 32, generator=rng())
    soft = double_resampled(sharp, rng(1))
    inner = (slice(None), slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert float(soft[inner].std()) < 0.9 * float(sharp[inner].std())
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 3, 32, 32)
    assert torch.allclose(double_resampled(ramp, rng(1))[inner], ramp[inner], atol=1e-5)


def test_floaters_claim_to_be_known() -> None:
    clips = layered_clips((4, 4, 48, 64), rng(8))
    frames, known = floaters(clips.frames, clips.known, rng(1))
    speck = (frames != clips.frames).any(2, keepdim=True)
    assert speck.any() and bool((known[speck] == 1).all())
    assert float(speck.float().mean()) < 0.1


def test_hold_takes_the_last_known_value() -> None:
    frames = torch.arange(5.0).view(1, 5, 1, 1, 1).expand(1, 5, 3, 1, 1)
    known = torch.tensor([0.0, 1, 0, 1, 0]).view(1, 5, 1, 1, 1)
    otherwise = torch.full_like(frames, -1)
    assert hold(frames, known, otherwise, False)[0, :, 0, 0, 0].tolist() == [-1, 1, 1, 3, 3]
    assert hold(frames, known, otherwise, True)[0, :, 0, 0, 0].tolist() == [1, 1, 3, 3, -1]


def test_propagate_must_be_given() -> None:
    clips = layered_clips(SIZE, rng())
    with pytest.raises(ValueError, match="propagate"):
        make_condition(clips.frames, clips.known, ("propagate",))
    given = torch.zeros(2, 1, 4, 4, 24, 32)
    condition = make_condition(clips.frames, clips.known, ("propagate",), given)
    assert condition.fills.shape == (2, 1, 4, 3, 24, 32)
    assert torch.equal(condition.fills[:, 0], condition.evidence)


def test_real_material_enters_batches() -> None:
    video = torch.zeros(9, 3, 40, 60, dtype=torch.uint8)
    shown = PartialVideo(video + 255, torch.zeros(9, 40, 60))
    pair = Pair(shown, video_from_frames(video))
    objective = ObjectiveConfig(masks=("reprojected",), degrade=0)
    only_video = draw_batch(SIZE, objective, TINY.fills, rng(), make_material([video]), 0.0)
    assert bool((only_video.target == -1).all()) and bool((only_video.condition.known == 1).any())
    only_pair = draw_batch(SIZE, objective, TINY.fills, rng(), make_material((), [pair]), 0.0)
    assert bool((only_pair.target == -1).all()) and not bool(only_pair.condition.known.any())
    grey = torch.full((len(SEARCHED), 9, 4, 40, 60), 128, dtype=torch.uint8)
    filled = FilledPair(shown, pair.target, grey)
    objective_of_all = ObjectiveConfig(masks=("tracks", "everything"), degrade=0)
    fills = ("propagate", "pull-push")
    own = draw_batch(SIZE, objective_of_all, fills, rng(), make_material((), [filled]), 0.0)
    assert not bool(own.condition.known.any())  # its own holes, whatever the objective draws
    assert float((own.condition.fills[:, 0] - (2 * 128 / 255 - 1)).abs().max()) < 1e-5
    mixed = draw_batch((8, 4, 24, 32), objective, TINY.fills, rng(), make_material([video]), 0.5)
    black = (mixed.target == -1).flatten(1).all(1)
    assert black.any() and not black.all()


def test_small_holes_count_as_much_as_large_ones() -> None:
    torch.manual_seed(0)
    model = VideoTransformer(TINY)
    objective = ObjectiveConfig(drop_condition=0)
    batch = draw_batch(SIZE, objective, TINY.fills, rng())
    known = torch.ones_like(batch.condition.known)
    known[0, :, :, :8, :8] = 0
    known[1] = 0
    condition = make_condition(batch.target, known, TINY.fills)
    batch = replace(batch, condition=condition, joint=torch.zeros(2, dtype=torch.bool))

    def loss(*counted: int) -> float:
        scored = torch.zeros_like(known)
        scored[list(counted)] = 1
        return masked_loss(model, replace(batch, scored=scored), rng(1), objective).item()

    assert loss(0, 1) == pytest.approx((loss(0) + loss(1)) / 2, rel=1e-5)
