import numpy as np
import pytest

from recam.reconstruct.robust import cauchy_weights, robust_least_squares


def test_exact_data_is_fitted_exactly() -> None:
    a = np.random.default_rng(0).normal(size=(50, 3))
    x, spread = robust_least_squares(a, a @ [2.0, -1.0, 0.5])
    assert x == pytest.approx([2.0, -1.0, 0.5], abs=1e-8) and spread < 1e-7


def test_a_third_of_wrong_rows_hardly_pulls() -> None:
    rng = np.random.default_rng(1)
    a = np.stack([rng.uniform(0, 1, 300), np.ones(300)], 1)
    b = a @ [3.0, 1.0] + rng.normal(0, 0.01, 300)
    b[::3] += rng.uniform(1, 5, 100)
    x, _ = robust_least_squares(a, b)
    plain = np.linalg.lstsq(a, b, rcond=None)[0]
    wrong, plainly = (np.abs(v - [3.0, 1.0]).max() for v in (x, plain))
    assert wrong < 0.2 * plainly


def test_rows_of_no_weight_do_not_count() -> None:
    a = np.ones((4, 1))
    x, _ = robust_least_squares(a, np.array([1.0, 1, 1, 9]), np.array([1.0, 1, 1, 0]))
    assert x == pytest.approx([1.0])


def test_what_the_rows_do_not_tell_stays_at_the_start() -> None:
    a = np.stack([np.ones(20), np.zeros(20)], 1)
    x, _ = robust_least_squares(a, np.full(20, 5.0), ridge=np.array([0.0, 0.1]), start=[7.0, 3.0])
    assert x == pytest.approx([5.0, 3.0])


def test_weights_halve_at_twice_the_spread() -> None:
    residual = np.array([-1.0, 1.0, 1.0, 2 * 1.48])
    weight, spread = cauchy_weights(residual)
    assert spread == pytest.approx(1.48) and weight[3] == pytest.approx(0.5)
