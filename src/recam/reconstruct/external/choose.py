"""Depth from models that are not recam's own: which there are, which is taken, one way in.

| --depth-model | needs | gives |
| --- | --- | --- |
| depth-anything-v2 | transformers | inverse depth up to scale and shift; metres from its metric checkpoints |
| depth-pro | transformers | metres |
| depth-anything-3 | its package | depth; metres where the checkpoint is metric |
| moge | its package | metres (version 2) |
| vggt | its package | depth up to scale |
| shipped | nothing | recam's own small network |
| stage | nothing | a level ground with a backdrop |
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from recam.configs import DepthModel, ReconstructConfig
from recam.reconstruct.external.prior_depth import PriorDepth
from recam.runtime.checkpoints import in_hub_cache, model_type
from recam.types import Progress, RecamError, no_progress

__all__ = [
    "PUBLISHED",
    "DepthChoice",
    "PriorDepth",
    "choose_depth_model",
    "external_depth",
    "models_used",
]

PUBLISHED: dict[DepthModel, str] = {
    "depth-anything-3": "depth-anything/DA3NESTED-GIANT-LARGE",
    "moge": "Ruicheng/moge-2-vitl",
    "depth-pro": "apple/DepthPro-hf",
    "depth-anything-v2": "depth-anything/Depth-Anything-V2-Small-hf",
    "vggt": "facebook/VGGT-1B",
}
"""Hub names that are taken when no weights are named; auto tries the models in this order."""
PACKAGES: dict[DepthModel, str] = {
    "depth-anything-3": "depth_anything_3",
    "moge": "moge",
    "depth-pro": "transformers",
    "depth-anything-v2": "transformers",
    "vggt": "vggt",
}
_TYPES: dict[str, DepthModel] = {
    "depth_anything": "depth-anything-v2", "depth_pro": "depth-pro",
}  # fmt: skip


@dataclass(frozen=True)
class DepthChoice:
    """model: never "auto". weights: folder or Hub name; None for recam's own. why: for the user."""

    model: DepthModel
    weights: str | None
    why: str


def choose_depth_model(config: ReconstructConfig) -> DepthChoice:
    """Which model gives depth where it cannot be measured.

    auto with weights: the model that they are of. auto without: the first of PUBLISHED whose
    package is installed and whose weights are on this machine (nothing is fetched); else recam's
    own network if its weights are here and better than the stage; else the stage. Raises
    RecamError when weights do not say what they are of, or come with a model that needs none.
    """
    requested, weights = config.depth_model, config.depth_weights
    if requested in ("shipped", "stage"):
        if weights is not None:
            raise RecamError(f"--depth-model {requested} takes no --depth-weights")
        if requested == "shipped" and not shipped_available():
            raise RecamError("this installation came without the depth network's weights")
        return DepthChoice(requested, None, "asked for")
    if requested != "auto":
        return DepthChoice(requested, weights or PUBLISHED[requested], "asked for")
    if weights is not None:
        return DepthChoice(_kind_of(weights), weights, "the model of --depth-weights")
    for model, name in PUBLISHED.items():
        if find_spec(PACKAGES[model]) is not None and in_hub_cache(name):
            return DepthChoice(model, name, "the best that is installed")
    if shipped_available() and shipped_is_better():
        return DepthChoice("shipped", None, "no other depth model is installed")
    return DepthChoice("stage", None, "no depth model is installed")


def models_used(config: ReconstructConfig) -> list[Any]:
    """What a scene depends on besides its options: which depth model auto means here, and the files
    of weights that are named. JSON-able. Raises RecamError as ``choose_depth_model`` does."""
    used: list[Any] = []
    if config.depth is None:
        choice = choose_depth_model(config)
        used += [choice.model, _files(choice.weights)]
        if choice.model == "shipped":
            used.append(_files(str(import_module("recam.reconstruct.depth_prior.network").SHIPPED)))
    return [*used, _files(config.mask_weights)]


def _files(name: str | None) -> list[Any]:
    """A folder's or file's names, sizes and times of change; else the name alone."""
    path = Path(name).expanduser() if name else None
    if path is None or not path.exists():
        return [name]
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]


def shipped_available() -> bool:
    """Whether recam's own depth network is here with its weights."""
    if find_spec("recam.reconstruct.depth_prior.shipped") is None:
        return False
    module = import_module("recam.reconstruct.depth_prior.shipped")
    return hasattr(module, "available") and bool(module.available())


def shipped_is_better() -> bool:
    """Whether recam's own depth network is known to do better than the stage."""
    module = import_module("recam.reconstruct.depth_prior.shipped")
    return bool(module.BETTER_THAN_STAGE)


def _kind_of(weights: str) -> DepthModel:
    for model, name in PUBLISHED.items():
        if weights.lower() == name.lower():
            return model
    if Path(weights).expanduser().is_dir():
        found = model_type(Path(weights).expanduser())
        if found in _TYPES:
            return _TYPES[found]
        raise RecamError(
            f"{weights}: a checkpoint of kind {found}; say which model it is by --depth-model"
        )
    raise RecamError(f"{weights}: say which model it is of by --depth-model")


def external_depth(
    choice: DepthChoice,
    frames: Tensor,
    progress: Progress = no_progress,
    fov_deg: float | None = None,
) -> PriorDepth:
    """What the chosen model says about frames uint8 [t, 3, h, w], at their size.

    fov_deg: horizontal field of view in degrees, if it is known. Raises RecamError when the model
    or its weights are missing; ValueError for recam's own models, which need no adapter.
    """
    assert choice.weights is not None or choice.model in ("shipped", "stage")
    weights = choice.weights or ""
    match choice.model:
        case "depth-anything-v2":
            from recam.reconstruct.external.transformers_depth import depth_anything_v2

            return depth_anything_v2(frames, weights, progress)
        case "depth-pro":
            from recam.reconstruct.external.transformers_depth import depth_pro

            return depth_pro(frames, weights, progress, fov_deg)
        case "depth-anything-3":
            from recam.reconstruct.external.packages import depth_anything_3

            return depth_anything_3(frames, weights, progress)
        case "moge":
            from recam.reconstruct.external.packages import moge

            return moge(frames, weights, progress, fov_deg)
        case "vggt":
            from recam.reconstruct.external.packages import vggt

            return vggt(frames, weights, progress)
    raise ValueError(f"{choice.model!r} is no outside model; expected one of {list(PUBLISHED)}")
