"""Depth Anything V2 (Yang et al. 2024) and Depth Pro (Bochkovskii et al. 2024), by transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.reconstruct.external.pictures import PictureRecipe, prepared, read_recipe
from recam.reconstruct.external.prior_depth import (
    PriorDepth,
    at_size,
    inverse_of,
    no_confidence,
)
from recam.runtime.checkpoints import (
    best_device,
    find_checkpoint,
    load_whole,
    model_type,
    require_transformers,
)
from recam.types import Progress, RecamError, no_progress

DEPTH_ANYTHING_SIDE = 518
NEAREST_M, FARTHEST_M = 1e-4, 1e4
"""Range that Depth Pro's answers are kept in, as its own code does."""


def depth_anything_v2(frames: Tensor, weights: str, progress: Progress = no_progress) -> PriorDepth:
    """frames: uint8 [t, 3, h, w]. weights: folder or Hub name of a Depth Anything checkpoint.

    The published ones give inverse depth up to a scale and shift per frame; those named metric
    give metres. Frames are looked at one by one. Raises RecamError for weights that are missing,
    broken or of another model.
    """
    folder = _checkpoint(weights, "depth_anything")
    model = load_whole(require_transformers().DepthAnythingForDepthEstimation, folder)
    recipe = read_recipe(folder, DEPTH_ANYTHING_SIDE)
    metric = getattr(model.config, "depth_estimation_type", "relative") == "metric"
    model = model.to(best_device())
    maps = []
    for i in range(len(frames)):
        predicted = _run(model, frames[i], recipe).predicted_depth
        one = at_size(predicted.float().cpu(), *frames.shape[2:])
        maps.append(inverse_of(one) if metric else one.clamp(min=0))
        progress("depth model", i + 1, len(frames))
    rho = torch.cat(maps)
    drift = "scale" if metric else "scale-and-shift"
    return PriorDepth(rho, no_confidence(rho), metric, drift)  # type: ignore[arg-type]


def depth_pro(
    frames: Tensor, weights: str, progress: Progress = no_progress, fov_deg: float | None = None
) -> PriorDepth:
    """frames: uint8 [t, 3, h, w]. weights: folder or Hub name of a Depth Pro checkpoint.

    Metric: the network's canonical inverse depth times width over focal length in pixels. fov_deg:
    horizontal field of view in degrees if it is known; else the network's own (the median over the
    clip, since one lens filmed it), and without that there is no scale. Raises RecamError for
    weights that are missing, broken or of another model.
    """
    folder = _checkpoint(weights, "depth_pro")
    model = load_whole(require_transformers().DepthProForDepthEstimation, folder)
    side = round(model.config.patch_size / min(model.config.scaled_images_ratios))
    recipe = read_recipe(folder, side, smooth=False)
    model = model.to(best_device())
    maps, fovs = [], []
    for i in range(len(frames)):
        out = _run(model, frames[i], recipe)
        maps.append(at_size(out.predicted_depth.float().cpu(), *frames.shape[2:]))
        if getattr(out, "field_of_view", None) is not None:
            fovs.append(float(out.field_of_view.reshape(-1)[0]))
        progress("depth model", i + 1, len(frames))
    fov = float(torch.tensor(fovs).median()) if fovs else None
    if fov is not None and not 1 < fov < 170:
        fov = None  # not an angle that a lens has
    known = fov_deg or fov
    rho = torch.cat(maps)
    if known is not None:
        rho = rho * (2 * math.tan(math.radians(known) / 2))
    rho = rho.clamp(1 / FARTHEST_M, 1 / NEAREST_M)
    return PriorDepth(rho, no_confidence(rho), known is not None, "scale", fov)


def _checkpoint(weights: str, kind: str) -> Path:
    folder = find_checkpoint(weights)
    found = model_type(folder)
    if found != kind:
        raise RecamError(f"{weights}: holds a {found} model; expected {kind}")
    return folder


@torch.no_grad()
def _run(model: Any, frame: Tensor, recipe: PictureRecipe) -> Any:
    return model(pixel_values=prepared(frame, recipe).to(model.device, model.dtype))
