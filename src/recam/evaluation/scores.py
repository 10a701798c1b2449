"""All scores of one result against its truth, over the parts of the picture that can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.evaluation import perceptual as networks
from recam.evaluation.configs import Perceptual
from recam.evaluation.metrics import (
    masked_psnr,
    masked_ssim,
    part_scores,
    psnr_per_frame,
    ssim_uniform,
)
from recam.evaluation.temporal import flicker, video_flow, warping_error
from recam.evaluation.texture_statistics import detail, patch_distance
from recam.types import Progress, Video, no_progress

SET_METRICS = ("fid", "kid", "fvd")
"""Metrics of a whole set of results: their features are gathered, the numbers made at the end."""


def view_scores(
    frames: Tensor,
    target: Tensor,
    seen: Tensor | None = None,
    known: Tensor | None = None,
    dynamic: Tensor | None = None,
    counted: Tensor | None = None,
) -> dict[str, float]:
    """PSNR, SSIM and flicker of frames against target, both uint8 [t, 3, h, w].

    seen: uint8 [t, h, w] as TargetView.read_seen. known: float [t, h, w], what the method was
    shown; used for "known" and "holes" where ``seen`` does not tell them from true geometry.
    dynamic: bool [t, h, w]. counted: bool [t, h, w], pixels that count; with it DyCheck's mpsnr
    and mssim are given too.

    Keys: psnr, ssim, flicker, and psnr_<part>, ssim_<part>, <part>_fraction for the parts known
    (the source shows it at that moment), holes (it does not), unseen (no source frame ever does),
    dynamic and static; and detail, patches (distance of their distributions) and flicker of holes
    and unseen. Parts in which nothing counts are NaN.
    """
    parts = picture_parts(target, seen, known, dynamic, counted)
    every = parts[""]
    scores = part_scores(frames, target, parts)
    scores["flicker"] = flicker(frames, target, every)
    total = float(every.sum())
    for name, weights in parts.items():
        if name:
            scores[f"{name[1:]}_fraction"] = float(weights.sum()) / total if total else math.nan
    for name in ("_holes", "_unseen"):
        if name in parts:
            scores[f"detail{name}"] = detail(frames, target, parts[name])
            scores[f"patches{name}"] = patch_distance(frames, target, parts[name])
            scores[f"flicker{name}"] = flicker(frames, target, parts[name])
    if counted is not None and not bool(counted.all()):
        scores["mpsnr"] = masked_psnr(frames, target, counted)
        scores["mssim"] = masked_ssim(frames, target, counted)
    return scores


def picture_parts(
    target: Tensor,
    seen: Tensor | None = None,
    known: Tensor | None = None,
    dynamic: Tensor | None = None,
    counted: Tensor | None = None,
) -> dict[str, Tensor]:
    """Weights [t, h, w] of the parts that ``view_scores`` tells apart, by the suffix of a score."""
    every = torch.ones(len(target), *target.shape[2:]) if counted is None else counted.float()
    parts = {"": every}
    if seen is not None:
        parts |= {"_known": (seen == 2) * every, "_holes": (seen < 2) * every}
        parts["_unseen"] = (seen == 0) * every
    elif known is not None:
        parts |= {"_known": known * every, "_holes": (1 - known) * every}
    if dynamic is not None:
        parts |= {"_dynamic": dynamic * every, "_static": ~dynamic.bool() * every}
    return parts


def cognvs_scores(frames: Tensor, target: Tensor) -> dict[str, float]:
    """psnr_frames and ssim_uniform: what CogNVS's evaluation reports, of one view. Its means are
    over frames, so views of more frames weigh more there."""
    return {
        "psnr_frames": float(psnr_per_frame(frames, target).mean()),
        "ssim_uniform": ssim_uniform(frames, target),
    }


def warping_scores(
    frames: Tensor, target: Video, true_flow: tuple[Tensor, Tensor] | None = None
) -> dict[str, float]:
    """warping: error of a result along the truth's flow (estimated where it is not given), times
    1000; warping_truth: the same of the truth itself, which is what flow and lighting leave."""
    flow, visible = video_flow(target) if true_flow is None else true_flow
    return {
        "warping": 1000 * warping_error(frames, flow, visible),
        "warping_truth": 1000 * warping_error(target.frames, flow, visible),
    }


def perceptual_scores(
    frames: Tensor,
    target: Tensor,
    names: Sequence[Perceptual],
    counted: Tensor | None = None,
    progress: Progress = no_progress,
    parts: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """lpips (mlpips too, where pixels are counted out) and dists, as asked for by name.

    parts: suffix to weights [t, h, w], parts of the picture to give LPIPS of too (lpips_holes …).
    """
    scores: dict[str, float] = {}
    if "lpips" in names:
        scores |= networks.lpips_of_parts(frames, target, parts or {}, progress=progress)
        if counted is not None and not bool(counted.all()):
            scores["mlpips"] = networks.masked_lpips(frames, target, counted, progress=progress)
    if "dists" in names:
        scores["dists"] = networks.dists(frames, target, progress=progress)
    return scores


def set_features(
    frames: Tensor, target: Tensor, names: Sequence[Perceptual], progress: Progress = no_progress
) -> dict[str, np.ndarray]:
    """Features of one result and its truth for the metrics of whole sets."""
    features: dict[str, np.ndarray] = {}
    for which, video in (("result", frames), ("truth", target)):
        if "fid" in names or "kid" in names:
            found = networks.inception_features(video, progress=progress)
            features[f"inception_{which}"] = found.numpy()
        if "fvd" in names:
            features[f"i3d_{which}"] = networks.clip_features(video, progress=progress).numpy()
    return features


def set_scores(features: Sequence[dict[str, np.ndarray]], names: Sequence[str]) -> dict[str, float]:
    """fid, kid and fvd of gathered features, as asked for by name."""

    def all_of(key: str) -> Tensor:
        return torch.cat([torch.from_numpy(f[key]) for f in features])

    measures: dict[str, tuple[str, Any]] = {
        "fid": ("inception", networks.fid), "kid": ("inception", networks.kid),
        "fvd": ("i3d", networks.fvd),
    }  # fmt: skip
    scores = {}
    for name in names:
        if name in measures:
            kind, measure = measures[name]
            scores[name] = measure(all_of(f"{kind}_result"), all_of(f"{kind}_truth"))
    return scores


def gathered_set_scores(
    folder: Path, records: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, float]:
    """``set_scores`` over the features of a method's records, which lie in its folder, and of no
    others (an earlier run may have left more); {} for none asked for."""
    if not any(name in SET_METRICS for name in names):
        return {}
    features = []
    for record in records:
        path = features_path(folder, record["sample"], record["view"])
        with np.load(path, allow_pickle=False) as file:
            features.append(dict(file))
    return set_scores(features, names)


def features_path(folder: Path, sample: str, view: str) -> Path:
    """Where a view's features for metrics of whole sets are kept, in its method's folder."""
    return folder / file_name(sample) / f"{file_name(view)}.npz"


def file_name(name: str) -> str:
    """A sample's or view's name as a file's."""
    return name.replace("/", "_")


def check_networks(names: Sequence[Perceptual]) -> None:
    """Raise RecamError before any work when a metric's package or weights are missing."""
    black = torch.zeros(16, 3, 64, 64, dtype=torch.uint8)
    perceptual_scores(black[:1], black[:1], names)
    if any(name in SET_METRICS for name in names):
        set_features(black, black, names)
