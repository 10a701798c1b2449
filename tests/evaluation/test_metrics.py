"""Metrics against values worked out by hand and an independent implementation."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from recam.evaluation.metrics import compare, psnr, psnr_per_frame, ssim, ssim_map


def _video(seed: int, t: int = 2, h: int = 24, w: int = 32) -> torch.Tensor:
    noise = np.random.default_rng(seed).uniform(0, 255, (t, 3, h, w))
    smooth = gaussian_filter(noise, (0, 0, 1.2, 1.2))
    return torch.tensor((smooth - smooth.min()) / np.ptp(smooth) * 255).to(torch.uint8)


def test_psnr_by_hand() -> None:
    target = torch.full((3, 3, 4, 5), 100, dtype=torch.uint8)
    # An error of 10 everywhere: 10·log10(255² / 100).
    assert psnr(target + 10, target) == pytest.approx(20 * math.log10(25.5), abs=1e-9)
    assert psnr(target, target) == math.inf
    # 255 against 0: nothing could be worse.
    assert psnr(torch.full_like(target, 255), torch.zeros_like(target)) == pytest.approx(0.0)
    # uint8 must not wrap around: 90 − 100 is −10.
    assert psnr(target - 10, target) == psnr(target + 10, target)


def test_psnr_weights_by_hand() -> None:
    target = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    frames = target.clone()
    frames[0, :, 0, 0] = 30
    frames[1, 0, 1, 1] = 90  # one channel of three: squared error 2700 in the mean
    weights = torch.zeros(2, 2, 2)
    weights[0, 0, 0], weights[1, 1, 1] = 1.0, 0.5
    mse = (900 + 0.5 * 2700) / 1.5
    assert psnr(frames, target, weights) == pytest.approx(10 * math.log10(255**2 / mse))
    assert psnr(frames, target, weights == 0) == math.inf
    assert math.isnan(psnr(frames, target, torch.zeros(2, 2, 2)))
    each = psnr_per_frame(frames, target, weights)
    assert float(each[0]) == pytest.approx(10 * math.log10(255**2 / 900))
    assert float(each[1]) == pytest.approx(10 * math.log10(255**2 / 2700))


def test_ssim_agrees_with_an_independent_implementation() -> None:
    a, b = _video(0), _video(1)
    b = (0.7 * a.float() + 0.3 * b.float()).to(torch.uint8)
    x, y = a[0, 0].double().numpy(), b[0, 0].double().numpy()

    def mean(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=5 / 1.5)

    c1, c2 = 6.5025, 58.5225
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    got = ssim_map(a[0].double(), b[0].double())[0].numpy()
    inner = np.s_[5:-5, 5:-5]  # the two treat the border differently
    np.testing.assert_allclose(got[inner], expected[inner], atol=1e-10)
    assert 0.3 < ssim(a, b) < 0.999


def test_ssim_by_hand() -> None:
    # Flat pictures of 100 and 50: only the luminance term differs from 1, at the border too.
    a = torch.full((1, 3, 20, 20), 100, dtype=torch.uint8)
    b = torch.full((1, 3, 20, 20), 50, dtype=torch.uint8)
    expected = (2 * 100 * 50 + 6.5025) / (100**2 + 50**2 + 6.5025)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)
    video = _video(3)
    assert ssim(video, video) == pytest.approx(1.0, abs=1e-12)


def test_ssim_weights_choose_pixels() -> None:
    a, b = _video(4), _video(5)
    mixed = a.clone()
    mixed[..., 16:] = b[..., 16:]
    left = torch.zeros(2, 24, 32)
    left[..., :10] = 1  # windows there end before the changed half
    assert ssim(mixed, a, left) == pytest.approx(1.0, abs=1e-12)
    assert ssim(mixed, a, 1 - left) < 0.8
    assert math.isnan(ssim(mixed, a, torch.zeros(2, 24, 32)))


def test_compare_splits_known_and_holes() -> None:
    target = _video(6)
    known = torch.ones(2, 24, 32)
    known[:, :, 24:] = 0
    frames = target.clone()
    frames[..., 24:] = 255 - frames[..., 24:]
    scores = compare(frames, target, known)
    assert scores["psnr_known"] == math.inf and scores["psnr_holes"] < 20
    assert scores["hole_fraction"] == pytest.approx(0.25)
    # A quarter of the pixels carries all of the error: 6.02 dB less than over everything.
    assert scores["psnr"] - scores["psnr_holes"] == pytest.approx(10 * math.log10(4))
    assert scores["ssim_holes"] < scores["ssim"] < scores["ssim_known"]
    assert set(compare(frames, target)) == {"psnr", "ssim"}


def test_wrong_shapes_are_named() -> None:
    video = _video(7)
    with pytest.raises(ValueError, match=r"\[2, 3, 24, 32\] and target \[1, 3, 24, 32\]"):
        psnr(video, video[:1])
    with pytest.raises(ValueError, match=r"weights have shape \[2, 32, 24\]"):
        ssim(video, video, torch.ones(2, 32, 24))
