"""Options of evaluation, as plain dataclasses. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recam.configs import CompleteConfig, FinetuneConfig, RenderConfig

Geometry = Literal["true", "estimated"]
PairMasks = Literal["reprojected", "random-2d"]
Perceptual = Literal["lpips", "dists", "fid", "kid", "fvd"]
Protocol = Literal["own", "cognvs"]
"""Which scenes, sizes and pixels are compared: the data set's own choice, or CogNVS's evaluation's
(DyCheck, Kubric-4D and ParallelDomain-4D)."""


@dataclass(frozen=True)
class MethodConfig:
    """One way through recam's own pipeline."""

    complete: CompleteConfig = field(default_factory=lambda: CompleteConfig("propagate"))
    """How holes are filled; adapting is told by ``finetune``."""
    cameras: Geometry = "true"
    """Of the source: the data set's, or estimated from the video."""
    depth: Geometry = "true"
    """Of the source: the data set's, or estimated from the video."""
    render: RenderConfig = field(default_factory=RenderConfig)
    finetune: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(minutes=0.0))
    """Adapting the masked model to each video first; 0 minutes = not."""
    pair_masks: PairMasks = "reprojected"
    """Where the holes that it is adapted with come from."""
    label: str = ""
    """Name in tables; default: made of the above."""


@dataclass(frozen=True)
class ScoreConfig:
    """What is measured, and on how much."""

    limit: int | None = None
    """Only the first so many scenes."""
    num_frames: int | None = None
    """Only the first so many frames of each."""
    views: tuple[str, ...] = ()
    """Only these views (by name); default all."""
    perceptual: tuple[Perceptual, ...] = ()
    """Metrics of networks: they need the eval extra and weights."""
    warping: bool = False
    """Also the warping error, along the optical flow of the truth (Synth4D's own; of other data
    estimated, which takes a while)."""
    consistency: bool = False
    """Also the 3D consistency: every result is reconstructed, which takes minutes."""
    cognvs: bool = False
    """Also PSNR and SSIM as CogNVS's evaluation has them: mean of every frame's PSNR, and
    scikit-image's SSIM, over all pixels."""
    fit_color: bool = False
    """Fit one affine colour map to the truth before scoring (cameras that differ in exposure)."""
    save_videos: bool = False
    """Also write every result as a video."""
    jobs: int = 1
    """Processes, a scene each."""


def method_name(method: MethodConfig) -> str:
    """Short, unique among the choices that differ from the defaults."""
    if method.label:
        return method.label
    complete = method.complete
    parts: list[str] = [complete.model]
    geometry = [n for n in ("cameras", "depth") if getattr(method, n) == "estimated"]
    if geometry:
        parts.append("estimated-" + "-".join(geometry))
    if not method.render.aggregate_static:
        parts.append("no-static")
    if complete.steady is not None:
        parts.append(f"steady-{complete.steady}")
    if complete.model == "masked":
        if complete.sampler == "stochastic":
            parts.append(f"stochastic-{complete.threshold:g}")
        if (complete.sampling_steps or 1) > 1:
            parts.append(f"{complete.sampling_steps}-passes")
        if method.finetune.minutes > 0:
            parts.append(f"adapted-{method.finetune.steps}")
    return "-".join(parts)
