"""Samplers against a denoiser whose every answer is known: Gaussian data."""

from collections.abc import Callable
from functools import partial as bind

import pytest
import torch
from torch import Tensor

from recam.completion import samplers
from recam.completion.backbone import Backbone, Condition, require_uniform
from recam.completion.samplers import sample_anchored, sample_single_step, sample_stochastic
from recam.completion.schedule import sampling_levels, shrinkage

SHAPE = (3, 1, 1, 2)  # t, c, h, w: six tokens of one value each
NUM = 6


class GaussianBackbone:
    """Exact posterior means of data from N(mean, covariance), at any level per token."""

    def __init__(self, per_token_noise: bool = True) -> None:
        self.per_token_noise = per_token_noise
        generator = torch.Generator().manual_seed(7)
        root = torch.randn(NUM, NUM, generator=generator, dtype=torch.float64)
        self.covariance = 0.3 * root @ root.T / NUM + 0.05 * torch.eye(NUM, dtype=torch.float64)
        self.mean = torch.linspace(-1, 1, NUM, dtype=torch.float64)

    device = torch.device("cpu")
    pixel_multiple = 1
    fills = ()

    def encode(self, frames: Tensor) -> Tensor:
        return frames

    def decode(self, z: Tensor) -> Tensor:
        return z

    def token_levels(self, known: Tensor) -> Tensor:
        return known[:, :, 0]

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        if not self.per_token_noise:
            require_uniform(sigma)
        out = []
        for xi, si in zip(x.reshape(len(x), -1), sigma.reshape(len(x), -1)):
            a = torch.diag(1 - si)
            seen = a @ self.covariance @ a + torch.diag(si * si)
            gain = self.covariance @ a @ torch.linalg.inv(seen)
            out.append(self.mean + gain @ (xi - a @ self.mean))
        return torch.stack(out).reshape(x.shape)

    def posterior(self, clean: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the other values, given the clean ones."""
        k, u = clean.flatten(), ~clean.flatten()
        c = self.covariance
        gain = c[u][:, k] @ torch.linalg.inv(c[k][:, k])
        mean = self.mean[u] + gain @ (evidence.flatten()[k] - self.mean[k])
        return mean, c[u][:, u] - gain @ c[k][:, u]


CLEAN = torch.zeros(1, 3, 1, 2, dtype=torch.bool)
CLEAN[0, 0] = True
EVIDENCE = torch.tensor([0.4, -0.9, 0, 0, 0, 0], dtype=torch.float64).reshape(1, *SHAPE)


def response(sample: Callable[[], Tensor], draws: int, monkeypatch) -> tuple[Tensor, list[Tensor]]:
    """An affine sampler's output for no noise [NUM], and its matrix for each of its draws."""
    current: dict[int, Tensor] = {}
    count = [0]

    def draw(self: samplers.SeededNoise) -> Tensor:
        count[0] += 1
        zero = torch.zeros(1, *SHAPE, dtype=torch.float64)
        return current.get(count[0] - 1, zero)

    monkeypatch.setattr(samplers.SeededNoise, "draw", draw)
    base = sample().flatten()
    assert count[0] == draws
    matrices = []
    for which in range(draws):
        columns = []
        for j in range(NUM):
            current = {which: torch.eye(NUM, dtype=torch.float64)[j].reshape(1, *SHAPE)}
            count[0] = 0
            columns.append(sample().flatten() - base)
        matrices.append(torch.stack(columns, 1))
    return base, matrices


def test_the_test_backbone_is_a_backbone() -> None:
    assert isinstance(GaussianBackbone(), Backbone)


@pytest.mark.parametrize("steps", [1, 3])
def test_anchored_mean_is_the_posterior_mean_at_any_number_of_steps(steps, monkeypatch) -> None:
    model = GaussianBackbone()
    run = bind(sample_anchored, model, EVIDENCE, CLEAN, None, [0], sampling_levels(steps))
    base, _ = response(run, 1, monkeypatch)
    mean, _ = model.posterior(CLEAN, EVIDENCE)
    assert torch.allclose(base[2:], mean)
    assert torch.equal(base[:2], EVIDENCE.flatten()[:2])


def test_anchored_spread_is_the_posterior_covariance(monkeypatch) -> None:
    model = GaussianBackbone()
    run = bind(sample_anchored, model, EVIDENCE, CLEAN, None, [0], sampling_levels(300))
    _, (matrix,) = response(run, 1, monkeypatch)
    _, covariance = model.posterior(CLEAN, EVIDENCE)
    assert torch.allclose((matrix @ matrix.T)[2:, 2:], covariance, atol=0.01)
    assert not matrix[:2].any()


def test_each_step_is_exactly_the_euler_step(monkeypatch) -> None:
    """For independent values the whole chain is a product of numbers."""
    model = GaussianBackbone()
    std = 0.5
    model.covariance = std**2 * torch.eye(NUM, dtype=torch.float64)
    levels = sampling_levels(5)
    none = torch.zeros_like(CLEAN)
    run = bind(sample_anchored, model, EVIDENCE, none, None, [0], levels)
    _, (matrix,) = response(run, 1, monkeypatch)
    factor = 1.0
    for s, s_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        k = float(shrinkage(torch.tensor(s, dtype=torch.float64), std))
        factor *= (1 - s_next) * k + s_next * (1 - (1 - s) * k) / s
    assert torch.allclose(matrix, factor * torch.eye(NUM, dtype=torch.float64))


def test_single_step_is_the_posterior_mean() -> None:
    model = GaussianBackbone()
    mean, _ = model.posterior(CLEAN, EVIDENCE)
    got = sample_single_step(model, EVIDENCE, CLEAN, None).flatten()
    assert torch.allclose(got[2:], mean)
    assert torch.equal(got[:2], EVIDENCE.flatten()[:2])


def test_fresh_noise_keeps_the_distribution_as_steps_grow(monkeypatch) -> None:
    model = GaussianBackbone()
    mean, covariance = model.posterior(CLEAN, EVIDENCE)
    errors = []
    for steps in (12, 48):
        levels = sampling_levels(steps)
        run = bind(sample_anchored, model, EVIDENCE, CLEAN, None, [0], levels, eta=0.8)
        base, matrices = response(run, steps, monkeypatch)
        assert torch.allclose(base[2:], mean)
        total = sum(m @ m.T for m in matrices)[2:, 2:]
        errors.append(float((total - covariance).abs().max() / covariance.max()))
    assert errors[1] < 0.35 * errors[0]
    assert errors[1] < 0.1


def test_stochastic_turns_true_evidence_into_the_data_distribution(monkeypatch) -> None:
    model = GaussianBackbone()
    levels = sampling_levels(200)

    def run(evidence: Tensor) -> Tensor:
        return sample_stochastic(model, evidence, CLEAN, None, None, [0], levels, threshold=0.5)

    base, matrices = response(bind(run, EVIDENCE), 2, monkeypatch)
    monkeypatch.setattr(
        samplers.SeededNoise, "draw", lambda self: torch.zeros(1, *SHAPE, dtype=torch.float64)
    )
    columns = []
    for j in range(2):
        moved = EVIDENCE.clone()
        moved.view(-1)[j] += 1
        columns.append(run(moved).flatten() - base)
    by_evidence = torch.stack(columns, 1)
    spread = by_evidence @ model.covariance[:2, :2] @ by_evidence.T
    total = spread + sum(m @ m.T for m in matrices)
    assert torch.allclose(total, model.covariance, atol=0.02)


def test_stochastic_corrects_broken_evidence_and_anchored_keeps_it() -> None:
    model = GaussianBackbone()
    broken = EVIDENCE.clone()
    broken.view(-1)[0] = model.mean[0] + 6 * model.covariance[0, 0].sqrt()
    seeds = [[i] for i in range(20)]
    levels = sampling_levels(30)
    kept = [sample_anchored(model, broken, CLEAN, None, s, levels) for s in seeds]
    mild, strong = (
        [sample_stochastic(model, broken, CLEAN, None, None, s, levels, threshold) for s in seeds]
        for threshold in (0.3, 0.8)
    )

    def away(samples: list[Tensor]) -> float:
        return float((torch.cat(samples).flatten(1)[:, 0].mean() - model.mean[0]).abs())

    assert all(torch.equal(k[CLEAN[:, :, None]], broken[CLEAN[:, :, None]]) for k in kept)
    assert away(strong) < away(mild) < away(kept)
    assert away(strong) < 0.5 * away(kept)


def test_stochastic_is_nearer_the_truth_on_a_broken_warp_and_costs_on_a_good_one() -> None:
    """A smooth signal of which two known values are wrong, as after a bad warp."""
    num, batch = 16, 40
    model = GaussianBackbone()
    place = torch.arange(num, dtype=torch.float64)
    model.covariance = torch.exp(-((place[:, None] - place) ** 2) / 18) + 0.02 * torch.eye(
        num, dtype=torch.float64
    )
    model.mean = torch.zeros(num, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch, num, generator=generator, dtype=torch.float64)
    truth = (noise @ torch.linalg.cholesky(model.covariance).T).reshape(batch, num, 1, 1, 1)
    broken = truth.clone()
    broken[:, 4] += 1
    broken[:, 10] -= 1
    clean = torch.ones(batch, num, 1, 1, dtype=torch.bool)
    clean[:, 6:8] = False
    seeds, levels = list(range(batch)), sampling_levels(20)

    def errors(evidence: Tensor) -> tuple[float, float]:
        kept = sample_anchored(model, evidence, clean, None, seeds, levels)
        joint = sample_stochastic(model, evidence, clean, None, None, seeds, levels, 0.2)
        return tuple(float((x - truth).square().mean().sqrt()) for x in (kept, joint))

    kept, joint = errors(broken)
    assert joint < 0.9 * kept
    kept, joint = errors(truth)
    assert kept < joint


def test_stochastic_gets_its_switch_even_in_one_step() -> None:
    model = GaussianBackbone()
    broken = EVIDENCE + 5
    got = sample_stochastic(model, broken, CLEAN, None, None, [0], sampling_levels(1), 0.5)
    assert float((got - broken)[CLEAN[:, :, None]].abs().min()) > 0.1
    with pytest.raises(ValueError, match="threshold"):
        sample_stochastic(model, broken, CLEAN, None, None, [0], sampling_levels(4), 1.0)


def test_stochastic_hands_over_the_condition_at_the_switch() -> None:
    seen = []

    class Listening(GaussianBackbone):
        def denoise(self, x, sigma, condition):
            seen.append((condition, float(sigma[0, 0, 0, 0]), float(sigma[0, 1, 0, 0])))
            return super().denoise(x, sigma, condition)

    first, second = object(), object()
    sample_stochastic(
        Listening(),
        EVIDENCE,
        CLEAN,
        first,
        second,
        [0],
        sampling_levels(4),
        0.5,  # type: ignore[arg-type]
    )
    assert [s[0] for s in seen] == [first, first, second, second]
    assert [s[1] for s in seen] == [0, 0, 0.5, 0.25]
    assert [s[2] for s in seen] == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_a_seed_gives_the_same_sample_in_any_batch(eta: float) -> None:
    model = GaussianBackbone()
    levels = sampling_levels(4)
    alone = sample_anchored(model, EVIDENCE, CLEAN, None, [5], levels, eta)
    many = sample_anchored(
        model,
        EVIDENCE.repeat(3, 1, 1, 1, 1),
        CLEAN.repeat(3, 1, 1, 1),
        None,
        [9, 5, 2],
        levels,
        eta,
    )
    assert torch.equal(alone[0], many[1])
    assert not torch.equal(many[0], many[1])


def test_one_seed_per_sample_is_required() -> None:
    with pytest.raises(ValueError, match="2 seeds for a batch of 1"):
        sample_anchored(GaussianBackbone(), EVIDENCE, CLEAN, None, [1, 2], sampling_levels(2))


def test_without_per_token_noise_evidence_follows_the_level_and_survives() -> None:
    model = GaussianBackbone(per_token_noise=False)
    with pytest.raises(ValueError, match="one noise level per sample"):
        model.denoise(EVIDENCE, CLEAN.double(), None)
    got = [
        sample_anchored(model, EVIDENCE, CLEAN, None, [i], sampling_levels(40)) for i in range(200)
    ]
    assert all(torch.equal(g[CLEAN[:, :, None]], EVIDENCE[CLEAN[:, :, None]]) for g in got)
    mean, _ = model.posterior(CLEAN, EVIDENCE)
    # Replacement only approximates the posterior, but it must lean to it from the prior mean.
    drift = torch.cat(got).flatten(1).mean(0)[2:] - model.mean[2:]
    assert float((drift * (mean - model.mean[2:])).sum()) > 0
