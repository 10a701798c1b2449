"""Perceptual metrics: formulas by hand, wrappers with stand-in networks, the real packages where
they are installed (with random weights), and what is said when something is missing."""

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from recam.evaluation import perceptual
from recam.evaluation.perceptual import (
    clip_features,
    dists,
    fid,
    frechet_distance,
    inception_features,
    kid,
    lpips,
    masked_lpips,
)
from recam.types import RecamError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of weights, and no network remembered from another test."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    caches = [v for v in vars(perceptual).values() if hasattr(v, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints"
    for cache in caches:
        cache.cache_clear()


def some_frames(seed: int, t: int = 2, h: int = 64, w: int = 64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (t, 3, h, w), generator=rng, dtype=torch.uint8)


def test_frechet_distance_by_hand() -> None:
    # Two Gaussians on a line, means 0 and 5, variances 4 and 9: 25 + 4 + 9 − 2·6.
    a = torch.tensor([[-2.0], [0.0], [2.0]])  # unbiased variance 4
    b = 5 + 1.5 * a
    assert frechet_distance(a, b) == pytest.approx(25 + 4 + 9 - 12)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9.0)
    with pytest.raises(ValueError, match="n ≥ 2"):
        frechet_distance(a[:1], a)


@pytest.mark.parametrize(("n", "m"), [(40, 55), (5, 7)])
def test_frechet_distance_agrees_with_the_matrix_root(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(m, 6)) + 0.3
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(ca @ cb).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root)
    got = frechet_distance(torch.tensor(a), torch.tensor(b))
    assert got == pytest.approx(expected, abs=1e-5)


def test_kid_agrees_with_a_double_loop() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)) + 0.5

    def kernel(p: np.ndarray, q: np.ndarray) -> float:
        return float((p @ q / 4 + 1) ** 3)

    within = sum(
        kernel(s[i], s[j]) for s in (x, y) for i in range(6) for j in range(6) if i != j
    ) / (6 * 5)
    between = sum(kernel(p, q) for p in x for q in y) / 36
    got = kid(torch.tensor(x), torch.tensor(y))
    assert got == pytest.approx(within - 2 * between, rel=1e-9)
    # Drawn subsets of a large set scatter around the same value.
    many = torch.tensor(rng.normal(size=(300, 4)))
    other = torch.tensor(rng.normal(size=(300, 4)) + 0.5)
    drawn = kid(many, other, num_subsets=200, max_subset=60)
    assert drawn == pytest.approx(kid(many, other), rel=0.1)
    assert drawn == kid(many, other, num_subsets=200, max_subset=60)
    assert abs(kid(many, torch.tensor(rng.normal(size=(300, 4))))) < 0.1 * drawn


class DifferenceNet:
    """In place of LPIPS: the mean absolute difference, so that scores can be worked out."""

    def __init__(self, net: str, spatial: bool, verbose: bool) -> None:
        self.spatial = spatial

    def eval(self) -> Any:
        return self

    def requires_grad_(self, on: bool) -> Any:
        return self

    def to(self, device: str) -> Any:
        return self

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.shape[:2] == (1, 3) and a.min() >= -1 and a.max() <= 1
        difference = (a - b).abs().mean(1, keepdim=True)
        return difference if self.spatial else difference.mean()


@pytest.fixture
def difference_lpips(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lpips")
    module.LPIPS = DifferenceNet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)
    (folder / "alexnet-owt-7be5be79.pth").touch()


def test_lpips_wrapper_by_hand(difference_lpips: None) -> None:
    target = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    frames = target.clone()
    frames[0] = 51  # 0.2 of the range, 0.4 of [-1, 1]
    assert lpips(frames, target) == pytest.approx((0.4 + 0) / 2)
    assert lpips(target, target) == 0.0
    # Masked: pixels outside are black in both and do not count in the mean.
    covisible = torch.zeros(2, 8, 8)
    covisible[0, :2] = 1
    frames[0, :, 2:] = 255
    assert masked_lpips(frames, target, covisible) == pytest.approx(0.4)  # frame 2 has no pixel
    covisible[1] = 1
    assert masked_lpips(frames, target, covisible) == pytest.approx(0.2)
    assert math.isnan(masked_lpips(frames, target, torch.zeros(2, 8, 8)))
    with pytest.raises(ValueError, match=r"co-visible \[2, 8, 9\]"):
        masked_lpips(frames, target, torch.zeros(2, 8, 9))


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("lpips", "lpips", lambda x: lpips(x, x)),
        ("lpips", "lpips", lambda x: masked_lpips(x, x, torch.ones(2, 64, 64))),
        ("torchmetrics.image.dists", "torchmetrics", lambda x: dists(x, x)),
        ("cleanfid.inception_torchscript", "clean-fid", inception_features),
        ("cdfvd.third_party.i3d.utils", "cd-fvd", lambda x: clip_features(x.repeat(8, 1, 1, 1))),
    ],
)
def test_a_missing_package_is_named(
    module: str, package: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecamError, match=rf"needs the package {package}.*recam\[eval\]"):
        call(some_frames(0))


def test_missing_weights_say_where_they_are_looked_for(
    folder: Path, difference_lpips: None
) -> None:
    (folder / "alexnet-owt-7be5be79.pth").unlink()
    x = some_frames(0)
    with pytest.raises(RecamError) as error:
        lpips(x, x)
    for part in ("alexnet-owt-7be5be79.pth", str(folder), "https://", "TORCH_HOME"):
        assert part in str(error.value)
    with pytest.raises(RecamError, match="vgg16"):
        lpips(x, x, net="vgg")


def test_a_torchvision_that_does_not_fit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(perceptual.importlib, "import_module", broken)
    with pytest.raises(RecamError, match=r"torchvision::nms does not exist.*built for this torch"):
        lpips(some_frames(0), some_frames(0))


def installed(*modules: str) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"{module} does not import here: {str(error).splitlines()[0]}")


def write_random_weights(model: torch.nn.Module, path: Path) -> None:
    """A checkpoint with random convolutions; of the large layers only one number is stored."""
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, value in model.state_dict().items():
        if value.ndim == 4:
            state[name] = torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
        else:
            state[name] = torch.zeros(1, dtype=value.dtype).expand(value.shape)
    torch.save(state, path)


def test_real_lpips_with_random_weights(folder: Path) -> None:
    installed("lpips", "torchvision")
    from torchvision.models import alexnet  # type: ignore[import-not-found, unused-ignore]

    write_random_weights(alexnet(), folder / "alexnet-owt-7be5be79.pth")
    x, y = some_frames(0), some_frames(1)
    assert lpips(x, x) == pytest.approx(0.0, abs=1e-6)
    assert lpips(x, y) > 1e-4 and lpips(x, y) == pytest.approx(lpips(y, x), rel=1e-4)
    everywhere = torch.ones(2, 64, 64)
    # Averaging maps that were brought to the picture's size is nearly averaging the maps.
    assert masked_lpips(x, y, everywhere) == pytest.approx(lpips(x, y), rel=0.1)
    left = everywhere.clone()
    left[..., 20:] = 0
    half = torch.where(left[:, None] > 0, x, y)
    assert masked_lpips(half, x, left) == pytest.approx(0.0, abs=1e-6)
    assert lpips(half, x) > 1e-4


def test_real_dists_with_random_weights(folder: Path) -> None:
    installed("torchmetrics.image.dists", "torchvision")
    from torchvision.models import vgg16  # type: ignore[import-not-found, unused-ignore]

    write_random_weights(vgg16(), folder / "vgg16-397923af.pth")
    x, y = some_frames(0), some_frames(1)
    assert dists(x, x) == pytest.approx(0.0, abs=1e-5)
    assert dists(x, y) > 1e-3


class TinyInception(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.AvgPool2d(13, 13), torch.nn.Flatten(), torch.nn.Linear(3 * 23 * 23, 2048)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_real_clean_fid_with_random_weights(folder: Path) -> None:
    installed("cleanfid.inception_torchscript", "cleanfid.resize")
    torch.manual_seed(0)
    torch.jit.script(TinyInception()).save(str(folder / "inception-2015-12-05.pt"))
    flat = torch.full((3, 3, 40, 60), 100, dtype=torch.uint8)
    features = inception_features(flat)
    assert features.shape == (3, 2048)
    layer = torch.jit.load(str(folder / "inception-2015-12-05.pt")).layers
    expected = layer(torch.full((1, 3, 299, 299), (100 - 128) / 128))
    torch.testing.assert_close(features[:1], expected, atol=1e-4, rtol=0)
    noisy = inception_features(some_frames(0, 3, 40, 60))
    assert fid(noisy, noisy) == pytest.approx(0.0, abs=1e-6)
    assert fid(noisy, features) > 0


def test_real_i3d_with_random_weights(folder: Path) -> None:
    installed("cdfvd.third_party.i3d.utils")
    from cdfvd.third_party.i3d.pytorch_i3d import (  # type: ignore[import-not-found, unused-ignore]
        InceptionI3d,
    )

    torch.manual_seed(0)
    torch.save(InceptionI3d(400, in_channels=3).state_dict(), folder / "i3d_pretrained_400.pt")
    features = clip_features(some_frames(0, 25, 24, 32), clip_frames=12)
    assert features.shape == (2, 400)
    assert not torch.equal(features[0], features[1])


def test_short_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="10 frames or more"):
        clip_features(some_frames(0, 8))
