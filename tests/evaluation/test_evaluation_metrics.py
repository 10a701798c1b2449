"""DyCheck's and CogNVS's variants of PSNR and SSIM, against slow independent implementations."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter

from recam.evaluation.metrics import compare, masked_psnr, masked_ssim, psnr, ssim_uniform

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def smooth_video(seed: int, t: int = 2, h: int = 20, w: int = 26) -> torch.Tensor:
    noise = np.random.default_rng(seed).uniform(0, 255, (t, 3, h, w))
    smooth = gaussian_filter(noise, (0, 0, 1.5, 1.5))
    return torch.tensor((smooth - smooth.min()) / np.ptp(smooth) * 255).to(torch.uint8)


def shifted(video: torch.Tensor) -> torch.Tensor:
    """One pixel to the right, the first column repeated."""
    return torch.cat([video[..., :1], video[..., :-1]], -1)


def test_uniform_ssim_agrees_with_an_independent_implementation() -> None:
    a = smooth_video(0)
    b = shifted(a)
    values = []
    for x, y in zip(a.double().numpy().reshape(-1, 20, 26), b.double().numpy().reshape(-1, 20, 26)):
        mx, my = uniform_filter(x, 7), uniform_filter(y, 7)
        vx = (uniform_filter(x * x, 7) - mx**2) * 49 / 48
        vy = (uniform_filter(y * y, 7) - my**2) * 49 / 48
        cov = (uniform_filter(x * y, 7) - mx * my) * 49 / 48
        top = (2 * mx * my + C1) * (2 * cov + C2)
        values.append((top / ((mx**2 + my**2 + C1) * (vx + vy + C2)))[3:-3, 3:-3].mean())
    assert ssim_uniform(b, a) == pytest.approx(np.mean(values), abs=1e-9)
    assert ssim_uniform(a, a) == pytest.approx(1.0, abs=1e-12)


def test_masked_psnr_by_hand() -> None:
    target = torch.zeros(3, 3, 12, 12, dtype=torch.uint8)
    frames = target.clone()
    frames[0] += 10
    frames[1] += 20
    frames[2] += 99
    covisible = torch.zeros(3, 12, 12)
    covisible[0, :4], covisible[1] = 1, 1  # the third frame has none and does not count
    expected = (20 * math.log10(25.5) + 20 * math.log10(12.75)) / 2
    assert masked_psnr(frames, target, covisible) == pytest.approx(expected)
    # A mean of decibels is not the decibel of a mean.
    assert masked_psnr(frames[:2], target[:2], torch.ones(2, 12, 12)) > psnr(frames[:2], target[:2])
    assert math.isnan(masked_psnr(frames, target, torch.zeros(3, 12, 12)))
    frames[0, :, 4:] = 255  # outside the mask
    assert masked_psnr(frames, target, covisible) == pytest.approx(expected)


def slow_masked_ssim(x: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    """One plane [h, w], window by window, as DyCheck defines it."""
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    g /= g.sum()
    h, w = x.shape

    def mean(z: np.ndarray, i: int, j: int) -> float:
        rows, seen = np.zeros(11), np.zeros(11)
        for r in range(11):
            part, here = z[i + r, j : j + 11], known[i + r, j : j + 11]
            if here.sum() > 0:
                rows[r], seen[r] = (part * here * g).sum() * 11 / here.sum(), 1
        return (rows * seen * g).sum() * 11 / seen.sum() if seen.sum() > 0 else 0.0

    values = []
    for i in range(h - 10):
        for j in range(w - 10):
            mx, my = mean(x, i, j), mean(y, i, j)
            vx, vy = max(mean(x * x, i, j) - mx * mx, 0), max(mean(y * y, i, j) - my * my, 0)
            cov = mean(x * y, i, j) - mx * my
            cov = math.copysign(min(math.sqrt(vx * vy), abs(cov)), cov)
            top = (2 * mx * my + C1) * (2 * cov + C2)
            values.append(top / ((mx * mx + my * my + C1) * (vx + vy + C2)))
    return float(np.mean(values))


def test_masked_ssim_agrees_with_a_slow_implementation() -> None:
    a, b = smooth_video(1), smooth_video(2)
    b = (0.6 * a.float() + 0.4 * b.float()).to(torch.uint8)
    known = torch.ones(2, 20, 26)
    known[0, :, 15:] = 0
    known[0, 3:6, 3:9] = 0
    known[1, 12:] = 0
    expected = [
        slow_masked_ssim(a[i, c].double().numpy(), b[i, c].double().numpy(), known[i].numpy())
        for i in range(2)
        for c in range(3)
    ]
    assert masked_ssim(b, a, known) == pytest.approx(np.mean(expected), abs=1e-9)


def test_masked_ssim_by_hand() -> None:
    a = torch.full((1, 3, 30, 40), 100, dtype=torch.uint8)
    b = torch.full((1, 3, 30, 40), 50, dtype=torch.uint8)
    everywhere = torch.ones(1, 30, 40)
    assert masked_ssim(a, a, everywhere) == pytest.approx(1.0, abs=1e-12)
    flat = (2 * 100 * 50 + C1) / (100**2 + 50**2 + C1)
    # Flat pictures: the Gaussian sums to one, so only the luminance term differs.
    assert masked_ssim(a, b, everywhere) == pytest.approx(flat, abs=1e-9)
    # Windows without any co-visible pixel count as 1, as published.
    left = everywhere.clone()
    left[..., 10:] = 0
    columns = 40 - 10
    touched = 10  # inner windows start in columns 0…29; those that start at 10 or later see none
    expected = slow_masked_ssim(np.full((30, 40), 100.0), np.full((30, 40), 50.0), left[0].numpy())
    got = masked_ssim(a, b, left)
    assert got == pytest.approx(expected, abs=1e-9)
    assert got >= (columns - touched) / columns
    # What lies outside the mask is not seen at all.
    c = b.clone()
    c[..., 10:] = 7
    assert masked_ssim(a, c, left) == pytest.approx(got, abs=1e-12)


def test_too_small_pictures_are_named() -> None:
    small = torch.zeros(1, 3, 6, 30, dtype=torch.uint8)
    with pytest.raises(ValueError, match="7 × 7"):
        ssim_uniform(small, small)
    with pytest.raises(ValueError, match="11 × 11"):
        masked_ssim(small, small, torch.ones(1, 6, 30))


def test_known_wrong_videos_score_as_computed_by_hand() -> None:
    # A ramp of 10 grey levels a pixel, that moves by 2 px a frame.
    ramp = 10 * torch.arange(24).view(1, 1, 1, 24)
    target = ((ramp + 20 * torch.arange(3).view(3, 1, 1, 1)) % 200).expand(3, 3, 16, 24)
    target = target.to(torch.uint8)
    perfect = compare(target, target)
    assert perfect == {"psnr": math.inf, "ssim": pytest.approx(1.0)}

    def decibel(mse: float) -> float:
        return 10 * math.log10(255**2 / mse)

    # Shifted by a pixel: off by 10 everywhere but in the repeated column, and by 190 at the wrap
    # of the ramp from 190 to 0, of which frame 0 has one and the others have one each.
    wrong = shifted(target)
    error = (wrong.double() - target.double()).abs()
    assert sorted(set(error.flatten().tolist())) == [0.0, 10.0, 190.0]
    mse = (22 * 10**2 + 190**2) / 24
    assert psnr(wrong, target) == pytest.approx(decibel(mse))
    # Frozen: frame i is off by 20·i, or by 200 − 20·i where the ramp wraps (2·i of 20 levels).
    frozen = target[:1].expand_as(target)
    squares = [
        ((levels - (levels + 20 * i) % 200) ** 2).mean()
        for i in range(3)
        for levels in [(10 * np.arange(24)) % 200]
    ]
    assert psnr(frozen, target) == pytest.approx(decibel(np.mean(squares)))
    # A black hole over the left quarter: all of the error is there.
    known = torch.ones(3, 16, 24)
    known[..., :6] = 0
    black = target * known[:, None].to(torch.uint8)
    scores = compare(black, target, known)
    inside = target[..., :6].double().square().mean()
    assert scores["psnr_known"] == math.inf
    assert scores["psnr_holes"] == pytest.approx(decibel(float(inside)))
    assert scores["psnr"] == pytest.approx(decibel(float(inside) / 4))


def test_compare_splits_what_moves() -> None:
    target = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    frames = target.clone()
    frames[..., :4] += 20
    dynamic = torch.zeros(2, 16, 16, dtype=torch.bool)
    dynamic[..., :8] = True
    scores = compare(frames, target, dynamic=dynamic)
    assert scores["psnr_static"] == math.inf
    assert scores["psnr_dynamic"] == pytest.approx(10 * math.log10(255**2 / 200))
    assert scores["dynamic_fraction"] == 0.5
    assert scores["ssim_dynamic"] < scores["ssim"] < scores["ssim_static"]
    assert "psnr_known" not in scores
