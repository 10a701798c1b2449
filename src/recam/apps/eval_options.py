"""``recam eval …``: options that several benchmarks take, as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from recam.apps.progress import Style
from recam.configs import CompleteConfig, CompletionModel, FinetuneConfig, RenderConfig
from recam.evaluation.configs import Geometry, Perceptual

Data = Annotated[Path, arg(metavar="DIR")]


@dataclass(frozen=True)
class Evaluation:
    """What every evaluation takes."""

    method: tuple[CompletionModel, ...] = ()
    """How holes are filled: one or more of recam's own, each gets a row; default: propagate,
    unless predictions are given."""
    predictions: tuple[Path, ...] = ()
    """Folders of anyone's results: <scene>/<view>.mp4, or folders of pictures."""
    cameras: Geometry = "true"
    """Of the source: the data set's own, or estimated from the video as for any user's."""
    depth: Geometry = "true"
    """Of the source: the data set's own, or estimated."""
    limit: int | None = None
    """Only the first so many scenes."""
    num_frames: int | None = None
    """Only the first so many frames of each."""
    views: tuple[str, ...] = ()
    """Only these views, by name."""
    perceptual: tuple[Perceptual, ...] = ()
    """Metrics of networks; they need the eval extra and weights."""
    warping: bool = False
    """Also the warping error, along the optical flow of the truth (Synth4D's own; of other data
    estimated, which takes a while)."""
    consistency: bool = False
    """Also how far the space that a result shows is from the source's (Chamfer distance): every
    result is reconstructed, which takes minutes."""
    fit_color: bool = False
    """Fit one affine colour map to the truth before scoring."""
    save_videos: bool = False
    """Also write every result as a video."""
    jobs: int | None = None
    """Processes, a scene each; default: one for each core."""
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="DIR")] = None
    """Folder for scores and tables; run again to go on. Default: recam-eval/<benchmark>."""
    quiet: bool = False
    """Show no progress."""
    progress: Style = "auto"
    """How it is shown: auto, bar, lines, json, none."""
    weights: str | None = None
    """Of the masked model."""
    render: RenderConfig = field(default_factory=RenderConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)
    finetune: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(minutes=0.0))


@dataclass(frozen=True)
class AblationOptions:
    """What each part of the method is worth: tables of variants on Synth4D. Resumes."""

    data: Data | None = None
    """Where Synth4D is, or is to be made; default: in recam's cache folder."""
    weights: str | None = None
    """Of the masked model; without it only what needs no model is run."""
    conditioning_weights: tuple[str, ...] = ()
    """Further weights to compare, trained with other ways of conditioning."""
    tables: tuple[str, ...] = ()
    """Only these tables (geometry, static, steady, finetune-steps, masks, sampling,
    conditioning); or reconstruct alone: each heuristic of the reconstruction off in turn, on
    synthetic scenes of their own (--limit says how many, 12 for the published table)."""
    steps: tuple[int, ...] = (50, 100, 200)
    """Numbers of adaptation steps to compare with none."""
    thresholds: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """Thresholds of stochastic conditioning to compare."""
    passes: int = 8
    """Network passes where stochastic conditioning is compared."""
    minutes: float = 30.0
    """Limit of adapting to one video."""
    limit: int | None = 4
    """Only the first so many scenes."""
    num_frames: int | None = None
    """Only the first so many frames of each."""
    views: tuple[str, ...] = ()
    """Only these views, by name."""
    jobs: int | None = None
    """Processes, a scene each; default: one for each core."""
    out: Annotated[Path, arg(aliases=["-o"], metavar="DIR")] = Path("recam-eval/ablations")
    """Folder for scores and tables; run again to go on."""
    quiet: bool = False
    """Show no progress."""
    progress: Style = "auto"
    """How it is shown: auto, bar, lines, json, none."""
