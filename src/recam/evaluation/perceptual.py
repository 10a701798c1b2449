"""Perceptual metrics, by the libraries and networks that define them.

LPIPS and DISTS compare frames with frames; FID, KID and FVD compare how sets of frames or clips are
distributed, so they take features that are gathered over a whole benchmark. The packages come with
``pip install 'recam[eval]'``. The networks' weights are never downloaded here: what is missing is a
RecamError that names the file, the folder and where it can be had, and nothing stands in for it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recam.types import Progress, RecamError, no_progress

LpipsNet = Literal["alex", "vgg"]

_WEIGHTS = {
    "alexnet-owt-7be5be79.pth": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg16-397923af.pth": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "inception-2015-12-05.pt": "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
    "metrics/inception-2015-12-05.pt",
    "i3d_pretrained_400.pt": "https://github.com/songweige/TATS/raw/main/tats/fvd/"
    "i3d_pretrained_400.pt",
}


def weights_folder() -> Path:
    """Where the metrics' weights are looked for: torch.hub's folder (TORCH_HOME) of checkpoints."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def lpips(
    frames: Tensor,
    target: Tensor,
    net: LpipsNet = "alex",
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """LPIPS (Zhang et al. 2018, version 0.1), mean over frames, by the authors' package.

    frames, target: [t, 3, h, w] in [0, 255]. net: "alex" as DyCheck's and CogNVS's evaluations
    use. Raises RecamError when the package or its weights are missing.
    """
    _check(frames, target)
    model = _lpips_model(net, False, str(device))
    scores = [
        float(model(a, b)) for a, b in _pairs(frames, target, None, device, "LPIPS", progress)
    ]
    return sum(scores) / len(scores)


def masked_lpips(
    frames: Tensor,
    target: Tensor,
    covisible: Tensor,
    net: LpipsNet = "alex",
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """DyCheck's mLPIPS (Gao et al. 2022): LPIPS maps of masked frames over co-visible pixels.

    Both pictures are black where covisible [t, h, w] is 0; the map's mean over co-visible pixels
    of each frame, then the mean over frames that have some. NaN when none has. Raises RecamError
    when the package or its weights are missing.
    """
    _check(frames, target, covisible)
    model = _lpips_model(net, True, str(device))
    scores = []
    pairs = _pairs(frames, target, covisible, device, "LPIPS", progress)
    for i, (a, b) in enumerate(pairs):
        weights = covisible[i].double()
        if float(weights.sum()) > 0:
            values = model(a, b)[0, 0].double().cpu()
            scores.append(float((values * weights).sum() / weights.sum()))
    return sum(scores) / len(scores) if scores else math.nan


def dists(
    frames: Tensor,
    target: Tensor,
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> float:
    """DISTS (Ding et al. 2020), mean over frames, by torchmetrics, at the frames' own size.

    Raises RecamError when the package or its weights are missing.
    """
    _check(frames, target)
    model = _dists_model(str(device))
    scores = []
    for a, b in _pairs(frames, target, None, device, "DISTS", progress):
        with torch.no_grad():  # torchmetrics keeps its parameters trainable
            # They come in [-1, 1] for LPIPS; DISTS takes [0, 1].
            scores.append(float(model((a + 1) / 2, (b + 1) / 2)))
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


@lru_cache(maxsize=4)
def _lpips_model(net: LpipsNet, spatial: bool, device: str) -> Any:
    package = _package("lpips", "lpips", "LPIPS")
    trunk = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
    _weights(trunk[net], f"LPIPS ({net})")
    return _no_gradients(package.LPIPS(net=net, spatial=spatial, verbose=False), device)


@lru_cache(maxsize=2)
def _dists_model(device: str) -> Any:
    package = _package("torchmetrics.image.dists", "torchmetrics", "DISTS")
    _package("torchvision", "torchvision", "DISTS")
    _weights("vgg16-397923af.pth", "DISTS")
    metric = package.DeepImageStructureAndTextureSimilarity(reduction="mean")
    return _no_gradients(metric, device)


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
            "pip install 'recam[eval]'"
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
