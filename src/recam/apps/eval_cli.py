"""``recam eval …``: the options of each benchmark, as dataclasses. Imported only when asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

from recam.apps.eval_options import AblationOptions, Data, Evaluation
from recam.apps.progress import Style
from recam.evaluation.configs import Geometry, Perceptual, Protocol


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
    progress: Style = "auto"
    """How it is shown: auto, bar, lines, json, none."""

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
    progress: Style = "auto"
    """How it is shown: auto, bar, lines, json, none."""

    def run(self) -> None:
        from recam.apps import evaluate

        evaluate.cognvs(self.data, self.dataset, self.method, self.perceptual, self.out, self.quiet)


@dataclass(frozen=True)
class Ablations(AblationOptions):
    """What each part of the method is worth: tables of variants on Synth4D. Resumes."""

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


RENAMED = {
    "--sampling.steps": "--complete.sampling-steps",
    "--sampling.max-side": "--complete.model-side",
    "--sampling.": "--complete.",
}
"""Options by their former names, which still work."""


def _renamed(argument: str) -> str:
    for old, new in RENAMED.items():
        if argument.startswith(old):
            now = new + argument.removeprefix(old)
            print(f"{argument} is now called {now}", file=sys.stderr)
            return now
    return argument


def parse(argv: list[str]) -> object:
    """The evaluation that a command line after ``recam eval`` asks for."""
    argv = [_renamed(argument) for argument in argv]
    return tyro.extras.subcommand_cli_from_dict(
        EVALUATIONS,  # type: ignore[arg-type]
        prog="recam eval",
        description="Score recam, or any other system's results, on a benchmark.",
        args=argv,
    )
