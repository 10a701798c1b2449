"""Models that come as packages of their own: Depth Anything 3, MoGe and VGGT.

Written against the interfaces that the projects document. They are looked for, never installed;
each adapter is a few lines, so that a change of theirs is quickly followed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from recam.reconstruct.external.prior_depth import (
    PriorDepth,
    at_size,
    inverse_of,
    no_confidence,
)
from recam.runtime.checkpoints import best_device
from recam.types import Progress, RecamError, no_progress

FRAMES_AT_ONCE = 32
"""Frames that a multi-view model sees together; more take memory with the square."""
VGGT_SIDE, VGGT_MULTIPLE = 518, 14


def depth_anything_3(frames: Tensor, weights: str, progress: Progress = no_progress) -> PriorDepth:
    """Depth Anything 3 (Lin et al. 2025), package depth_anything_3. frames: uint8 [t, 3, h, w].

    ``DepthAnything3.from_pretrained(weights).inference(pictures)`` gives z-depth and confidence,
    consistent within a call of FRAMES_AT_ONCE frames; in metres where the model says so
    (``is_metric``). Raises RecamError when the package or the weights are missing.
    """
    module = _package("depth_anything_3.api", "depth-anything-3")
    model = _pretrained(module.DepthAnything3, weights)
    maps, trust, metric = [], [], True
    for piece in _pieces(frames):
        pictures = [f.permute(1, 2, 0).contiguous().numpy() for f in piece]
        out = model.inference(pictures)
        maps.append(at_size(inverse_of(torch.as_tensor(out.depth).cpu()), *frames.shape[2:]))
        conf = getattr(out, "conf", None)
        trust.append(
            no_confidence(maps[-1])
            if conf is None
            else at_size(_bounded(torch.as_tensor(conf).cpu()), *frames.shape[2:])
        )
        metric = metric and bool(getattr(out, "is_metric", False))
        progress("depth model", sum(map(len, maps)), len(frames))
    return PriorDepth(torch.cat(maps), torch.cat(trust), metric, _drift(len(frames)))


def moge(
    frames: Tensor, weights: str, progress: Progress = no_progress, fov_deg: float | None = None
) -> PriorDepth:
    """MoGe-2 (Wang et al. 2025), package moge; MoGe-1 where that alone is installed.

    frames: uint8 [t, 3, h, w]. fov_deg: horizontal field of view in degrees if it is known.
    ``infer`` gives z-depth, a mask of what has depth (sky has none) and intrinsics as fractions of
    the picture; metres with version 2. Raises RecamError when package or weights are missing.
    """
    try:
        module, metric = _package("moge.model.v2", "moge"), True
    except RecamError:
        module, metric = _package("moge.model.v1", "moge"), False
    model = _pretrained(module.MoGeModel, weights)
    given = {} if fov_deg is None else {"fov_x": fov_deg}
    maps, fovs = [], []
    for i in range(len(frames)):
        with torch.no_grad():
            out = model.infer(frames[i].to(best_device()).float() / 255, **given)
        depth = out["depth"].float().cpu()
        good = out["mask"].bool().cpu() if "mask" in out else None
        maps.append(inverse_of(depth, good)[None])
        if "intrinsics" in out:
            fovs.append(math.degrees(2 * math.atan(0.5 / float(out["intrinsics"][0, 0]))))
        progress("depth model", i + 1, len(frames))
    rho = torch.cat(maps)
    fov = float(torch.tensor(fovs).median()) if fovs else None
    return PriorDepth(rho, no_confidence(rho), metric, "scale", fov)


def vggt(frames: Tensor, weights: str, progress: Progress = no_progress) -> PriorDepth:
    """VGGT (Wang et al. 2025), package vggt. frames: uint8 [t, 3, h, w].

    ``VGGT.from_pretrained(weights)(pictures [s, 3, h', w'] in [0, 1])`` gives depth [1, s, h', w',
    1] and depth_conf [1, s, h', w'], consistent within a call of FRAMES_AT_ONCE frames, without a
    scale. Raises RecamError when the package or the weights are missing.
    """
    module = _package("vggt.models.vggt", "vggt")
    model = _pretrained(module.VGGT, weights)
    h, w = frames.shape[2:]
    scale = VGGT_SIDE / max(h, w)
    size = [max(1, round(side * scale / VGGT_MULTIPLE)) * VGGT_MULTIPLE for side in (h, w)]
    maps, trust = [], []
    for piece in _pieces(frames):
        pictures = torch.nn.functional.interpolate(
            piece.float() / 255, size, mode="bicubic", align_corners=False, antialias=True
        ).clamp(0, 1)
        with torch.no_grad():
            out = model(pictures.to(best_device()))
        maps.append(at_size(inverse_of(out["depth"][0, ..., 0].float().cpu()), h, w))
        trust.append(at_size(_bounded(out["depth_conf"][0].float().cpu()), h, w))
        progress("depth model", sum(map(len, maps)), len(frames))
    return PriorDepth(torch.cat(maps), torch.cat(trust), False, _drift(len(frames)))


def _package(module: str, name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RecamError(f"{name} is not installed here ({error}); see its project") from error


def _pretrained(model_class: Any, weights: str) -> Any:
    try:
        return model_class.from_pretrained(weights).to(best_device()).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecamError(f"{weights}: not read as {model_class.__name__}: {reason}") from error


def _pieces(frames: Tensor) -> tuple[Tensor, ...]:
    return frames.split(FRAMES_AT_ONCE)


def _drift(num: int) -> Any:
    return "none" if num <= FRAMES_AT_ONCE else "scale"


def _bounded(confidence: Tensor) -> Tensor:
    """Confidences from 1 (none) upwards, as these models state them, brought to [0, 1]."""
    return (1 - 1 / confidence.float().clamp(min=1)).clamp(0, 1)
