"""``recam eval …``: the options of each benchmark, as dataclasses. Imported only when asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

from recam.configs import CompletionModel, FinetuneConfig, RenderConfig, SamplingConfig
from recam.evaluation.configs import Geometry, Perceptual, Protocol

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
    weights: str | None = None
    """Of the masked model."""
    render: RenderConfig = field(default_factory=RenderConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    finetune: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(minutes=0.0))


@dataclass(frozen=True)
class Synth4D(Evaluation):
    """Twenty synthetic scenes with exact truth; made on first use."""

    data: Data | None = None
    """Where the benchmark is, or is to be made; default: in recam's cache folder."""

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.synth4d(self, self.data)


@dataclass(frozen=True)
class MakeSynth4D:
    """Render Synth4D (or what is missing of it) and check it against the published hashes."""

    data: Data | None = None
    """Where to; default: recam's cache folder."""
    limit: int | None = None
    """Only the first so many scenes."""
    jobs: int | None = None
    """Processes; default: one for each core. Their number changes no byte."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.make(self.data, self.limit, self.jobs, self.quiet)


@dataclass(frozen=True)
class FromFolder(Evaluation):
    """A data set in a folder of the user's."""

    data: Data = tyro.MISSING
    """Folder of the data set, in its own layout (docs/evaluation.md)."""

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.folder(self, COMMAND_OF[type(self)], self.data)


@dataclass(frozen=True)
class DyCheck(FromFolder):
    """DyCheck's iPhone scenes: a moving phone, compared with two that stand."""

    protocol: Protocol = "own"
    """own: DyCheck's, half size, co-visible pixels. cognvs: its five scenes at full size, all
    pixels, with the mean over frames of PSNR and scikit-image's SSIM."""


@dataclass(frozen=True)
class Kubric(FromFolder):
    """Kubric-4D in GCD's layout: view 4, compared with the other 15."""

    protocol: Protocol = "own"
    """cognvs: its twenty scenes only, with PSNR and SSIM as it has them."""


@dataclass(frozen=True)
class Pardom(FromFolder):
    """ParallelDomain-4D in GCD's layout."""

    protocol: Protocol = "own"
    """cognvs: its twenty scenes only, with PSNR and SSIM as it has them."""


@dataclass(frozen=True)
class Nvidia(FromFolder):
    """NVIDIA Dynamic Scenes: 12 pictures of a rig, compared with its camera 0."""

    depth: Geometry = "estimated"


@dataclass(frozen=True)
class TanksAndTemples(FromFolder):
    """Tanks and Temples: the first picture, compared with those that follow."""

    depth: Geometry = "estimated"


@dataclass(frozen=True)
class RE10K(FromFolder):
    """RealEstate10K: the first picture, compared with those that follow."""

    depth: Geometry = "estimated"


@dataclass(frozen=True)
class DL3DV(FromFolder):
    """DL3DV: the first picture, compared with those that follow."""

    depth: Geometry = "estimated"


@dataclass(frozen=True)
class Davis(FromFolder):
    """DAVIS: single videos, seen from an orbit and back, compared with themselves."""

    cameras: Geometry = "estimated"
    depth: Geometry = "estimated"


@dataclass(frozen=True)
class Folder(FromFolder):
    """Any folder of videos: as davis."""

    cameras: Geometry = "estimated"
    depth: Geometry = "estimated"


@dataclass(frozen=True)
class Caliscope(FromFolder):
    """Synchronised, calibrated webcams: camera 3 to 0, 0 to 2 and 2 to 3."""

    depth: Geometry = "estimated"
    fit_color: bool = True


@dataclass(frozen=True)
class CogNVS:
    """Videos in the layout of CogNVS's released results, by CogNVS's own protocol."""

    data: Data = tyro.MISSING
    """Folder that holds kubric_4d, pardom_4d or dycheck."""
    dataset: Literal["kubric_4d", "pardom_4d", "dycheck", "dycheck-360p"] = tyro.MISSING
    """dycheck: compared at 960 × 720, as published; dycheck-360p: at 480 × 360."""
    method: tuple[str, ...] = tyro.MISSING
    """Folders of results in it, e.g. cognvs."""
    perceptual: tuple[Perceptual, ...] = ()
    """Also these; the published tables have lpips, fid and kid. They need the eval extra and
    weights."""
    out: Annotated[Path, arg(aliases=["-o"], metavar="DIR")] = Path("recam-eval/cognvs")
    """Folder for the table."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.cognvs(self.data, self.dataset, self.method, self.perceptual, self.out, self.quiet)


@dataclass(frozen=True)
class Ablations:
    """What each part of the method is worth: tables of variants on Synth4D. Resumes."""

    data: Data | None = None
    """Where Synth4D is, or is to be made; default: in recam's cache folder."""
    weights: str | None = None
    """Of the masked model; without it only what needs no model is run."""
    conditioning_weights: tuple[str, ...] = ()
    """Further weights to compare, trained with other ways of conditioning."""
    tables: tuple[str, ...] = ()
    """Only these tables (geometry, static, steady, finetune-steps, masks, sampling,
    conditioning)."""
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

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.ablations(self)


EVALUATIONS = {
    "synth4d": Synth4D,
    "synth4d-make": MakeSynth4D,
    "ablations": Ablations,
    "dycheck": DyCheck,
    "kubric-4d": Kubric,
    "pardom-4d": Pardom,
    "nvidia": Nvidia,
    "tanks-and-temples": TanksAndTemples,
    "re10k": RE10K,
    "dl3dv": DL3DV,
    "davis": Davis,
    "folder": Folder,
    "caliscope": Caliscope,
    "cognvs": CogNVS,
}
COMMAND_OF = {command: name for name, command in EVALUATIONS.items()}


def parse(argv: list[str]) -> object:
    """The evaluation that a command line after ``recam eval`` asks for."""
    return tyro.extras.subcommand_cli_from_dict(
        EVALUATIONS,  # type: ignore[arg-type]
        prog="recam eval",
        description="Score recam, or any other system's results, on a benchmark.",
        args=argv,
    )
