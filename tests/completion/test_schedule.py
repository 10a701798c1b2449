import pytest
import torch

from recam.completion.schedule import (
    add_noise,
    flow_from_vp,
    implied_noise,
    residual_scale,
    sampling_levels,
    shrinkage,
    spread_levels,
    training_levels,
    vp_from_flow,
)


@pytest.mark.parametrize("steps", [1, 4, 50])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_levels_fall_from_one_to_zero(steps: int, shift: float) -> None:
    levels = sampling_levels(steps, shift)
    assert len(levels) == steps + 1
    assert levels[0] == 1 and levels[-1] == 0
    assert bool((levels[1:] < levels[:-1]).all())


def test_levels_refuse_no_steps() -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        sampling_levels(0)
    with pytest.raises(ValueError, match="shift"):
        sampling_levels(4, shift=0)


def test_noise_comes_back() -> None:
    x0, noise = torch.randn(2, 5), torch.randn(2, 5)
    for sigma in (0.01, 0.5, 1.0):
        level = torch.full((1,), sigma)
        assert torch.allclose(
            implied_noise(add_noise(x0, noise, level), x0, level), noise, atol=1e-4
        )
    assert not implied_noise(x0, x0, torch.zeros(1)).any()


def test_flow_and_variance_preserving_are_one_path() -> None:
    alpha_bar = torch.linspace(0, 1, 11, dtype=torch.float64)
    sigma, scale = flow_from_vp(alpha_bar)
    assert sigma[0] == 1 and sigma[-1] == 0
    x0, noise = torch.randn(11, dtype=torch.float64), torch.randn(11, dtype=torch.float64)
    x_vp = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
    assert torch.allclose(scale * x_vp, add_noise(x0, noise, sigma))
    back, back_scale = vp_from_flow(sigma)
    assert torch.allclose(back, alpha_bar)
    assert torch.allclose(back_scale * scale, torch.ones_like(scale))


def test_shrinkage_is_the_best_linear_guess() -> None:
    generator = torch.Generator().manual_seed(0)
    std, sigma = 0.3, torch.tensor(0.4, dtype=torch.float64)
    r = std * torch.randn(200_000, generator=generator, dtype=torch.float64)
    x = (1 - sigma) * r + sigma * torch.randn(len(r), generator=generator, dtype=torch.float64)
    best = (x * r).mean() / (x * x).mean()
    assert float(shrinkage(sigma, std)) == pytest.approx(float(best), rel=0.02)
    left = (r - shrinkage(sigma, std) * x).std()
    assert float(residual_scale(sigma, std)) == pytest.approx(float(left), rel=0.01)


def test_shrinkage_shows_nothing_at_pure_noise_and_all_at_none() -> None:
    ends = torch.tensor([0.0, 1.0])
    assert shrinkage(ends, 0.25).tolist() == [1.0, 0.0]
    assert residual_scale(ends, 0.25).tolist() == [0.0, 0.25]


def test_spread_levels_covers_each_token() -> None:
    sigma = torch.rand(2, 3, 2, 4)
    spread = spread_levels(sigma, torch.zeros(2, 6, 3, 8, 8))
    assert spread.shape == (2, 6, 1, 8, 8)
    assert torch.equal(spread[1, 5, 0, 7, 1], sigma[1, 2, 1, 0])
    with pytest.raises(ValueError, match="does not divide"):
        spread_levels(sigma, torch.zeros(2, 3, 3, 7, 8))


def test_training_levels_mix() -> None:
    generator = torch.Generator().manual_seed(1)
    levels = training_levels(400, (2, 3, 3), generator, pure=0.4, own=0.3)
    assert float(levels.min()) > 0 and float(levels.max()) <= 1
    flat = levels.flatten(1)
    pure = (flat == 1).all(1)
    own = (flat != flat[:, :1]).any(1)
    assert 0.3 < pure.float().mean() < 0.5
    assert 0.1 < own.float().mean() < 0.26
