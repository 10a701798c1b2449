"""The ``recam`` command. Every command is a dataclass whose fields are its options; those that work
on one input are in tasks_cli.

Only the standard library and tyro are imported here; the stages are imported by the command that
needs them, so that ``recam --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, Suppress, arg

from recam import __version__
from recam.apps import process
from recam.apps import progress as shown
from recam.apps.tasks_cli import TASKS, Common, Paths, parse
from recam.configs import (
    CompleteConfig,
    DepthTrainConfig,
    EngineConfig,
    FoundationTrainConfig,
    PairsConfig,
    PathConfig,
    PretrainConfig,
)
from recam.runtime.memory import return_large_arrays


@dataclass(frozen=True)
class Batch(Common):
    """Do many rows of work: a folder of films, a pattern, or a table of tasks with their options.

    After `--` come the task (default: reshoot) and options of rows that name none of their own:
    recam batch films -o out -- reshoot --path orbit --yaw 20"""

    jobs: Annotated[Positional[str], arg(metavar="JOBS")] = tyro.MISSING
    """Folder of films, pattern (quoted), or table (.csv, .jsonl, .parquet; columns: input, task,
    id, and options by their names). May be a URL such as s3://…"""
    out: Annotated[str, arg(aliases=["-o"], metavar="OUT")] = tyro.MISSING
    """Folder or URL for results/, done/ and summary.json; run again to go on."""
    config: EngineConfig = field(default_factory=EngineConfig)
    words: Annotated[tuple[str, ...], Suppress] = ()

    def run(self) -> None:
        from recam.apps.batch.command import batch

        batch(self.jobs, self.out, self.config, self.words, self.quiet)


@dataclass(frozen=True)
class Pairs(Common):
    """Make training pairs of many films, in webdataset shards, for `recam pretrain --data`."""

    films: Annotated[Positional[str], arg(metavar="FILMS")] = tyro.MISSING
    """Folder of films, pattern (quoted), or table with a column input. May be a URL."""
    out: Annotated[str, arg(aliases=["-o"], metavar="SHARDS")] = tyro.MISSING
    """Folder or URL for the shards and index.json; run again to go on."""
    config: PairsConfig = field(default_factory=PairsConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)

    def run(self) -> None:
        from recam.apps.batch.pairs import pairs

        pairs(self.films, self.out, self.config, self.engine, self.quiet)


@dataclass(frozen=True)
class Pretrain(Common):
    """Train the masked completion model, on scenes made on the fly and on videos."""

    config: PretrainConfig = field(default_factory=PretrainConfig)

    def run(self) -> None:
        from recam.apps import learning

        learning.pretrain(self.config, self.quiet)


@dataclass(frozen=True)
class PretrainDepth(Common):
    """Train the network that guesses depth from single pictures, on scenes made on the fly."""

    config: DepthTrainConfig = field(default_factory=DepthTrainConfig)

    def run(self) -> None:
        from recam.apps import learning_depth

        learning_depth.pretrain_depth(self.config, self.quiet)


@dataclass(frozen=True)
class PretrainFoundation(Common):
    """Adapt a published video model to the pairs of shards."""

    config: FoundationTrainConfig = field(default_factory=FoundationTrainConfig)

    def run(self) -> None:
        from recam.apps import learning

        learning.train_foundation(self.config, self.quiet)


@dataclass(frozen=True)
class Demo(Common):
    """Reshoot a sample clip that recam makes itself, and say how close to the truth it is."""

    video: Path | None = None
    """Use this video instead (there is no truth to compare with, then)."""
    path: PathConfig = field(default_factory=PathConfig)
    out: Annotated[Path, arg(aliases=["-o"])] = Path("recam-demo")
    """Folder for the result."""

    def run(self) -> None:
        from recam.apps import demo

        demo.run(self.video, self.path, self.out, self.quiet)


@dataclass(frozen=True)
class Studio:
    """Aim the camera in the browser, see at once what it would see, then make it."""

    video: Annotated[Positional[Path | None], arg(metavar="VIDEO")] = None
    """Film, picture, folder of images, or a folder that `recam reconstruct` wrote; default: what
    was open last."""
    workspace: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Where projects, uploads and takes are kept; default: recam-studio in your home folder."""
    port: int = 8765
    """Port of the page; the next free one where it is taken."""
    host: str = "127.0.0.1"
    """Address to serve at. Any but this machine's own needs a --token."""
    token: str | None = None
    """What the page's address must carry; `new` makes one up and prints it."""
    max_upload: int = 2000
    """Megabytes that an upload may have at most."""
    no_open: FlagCreatePairsOff[bool] = False
    """Do not open the browser."""

    def run(self) -> None:
        from recam.apps import studio

        studio.run(
            self.video, self.workspace, self.host, self.port, self.token, self.max_upload,
            not self.no_open,
        )  # fmt: skip


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, which device and weights are used, and what is missing for what."""

    complete: CompleteConfig = field(default_factory=CompleteConfig)
    """With a foundation --model: also what it would need, before anything is loaded."""
    json: bool = False
    """As JSON, for a bug report."""

    def run(self) -> None:
        from recam.apps import doctor

        doctor.run(self.complete, self.json)


@dataclass(frozen=True)
class Cache:
    """Say what is kept between runs, how large it is and what for; clear it."""

    max_size: Annotated[float | None, arg(metavar="GB")] = None
    """Take away what was unused for longest until no more is kept. Every command keeps to 20 GB,
    or to $RECAM_CACHE_GB, of itself."""
    clear: tuple[str, ...] = ()
    """Take away all of these kinds (scenes, adapters, …), or `all`."""

    def run(self) -> None:
        from recam.apps import cache_command

        cache_command.run(self.max_size, self.clear)


@dataclass(frozen=True)
class Eval:
    """Score recam, or any other system's results, on benchmarks: see `recam eval --help`."""

    def run(self) -> None:
        """Not reached: main hands everything after ``eval`` to eval_cli."""


COMMANDS = {
    **TASKS,
    "paths": Paths,
    "batch": Batch,
    "pairs": Pairs,
    "pretrain": Pretrain,
    "pretrain-depth": PretrainDepth,
    "pretrain-foundation": PretrainFoundation,
    "eval": Eval,
    "demo": Demo,
    "studio": Studio,
    "doctor": Doctor,
    "cache": Cache,
}


def main(argv: list[str] | None = None) -> None:
    """Run one command; what the user can fix ends in one line and exit status 1."""
    process.settle_streams()
    process.stop_on_signals()
    with process.ended_in_one_line():
        # Threads of a step wait for each other asleep: on a busy machine they would spin for most
        # of the time that they are given.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        return_large_arrays()
        command = process.with_home(_parsed(sys.argv[1:] if argv is None else argv))
        warnings.showwarning = _show_note  # type: ignore[assignment]
        quiet = getattr(command, "quiet", False)
        shown.style.set("none" if quiet else getattr(command, "progress", "auto"))
        process.require_working_folder()
        command.run()
        if "recam.runtime.cache_entries" in sys.modules:
            from recam.apps.cache_command import keep_below_limit

            keep_below_limit()


def _parsed(argv: list[str]) -> Any:
    """The command that a command line asks for."""
    if argv[:1] in (["--version"], ["-V"]):
        print(f"recam {__version__}")
        sys.exit(0)
    if argv[:1] == ["eval"]:  # commands of its own, whose options only it needs to know
        from recam.apps import eval_cli

        return eval_cli.parse(argv[1:])
    if argv[:1] == ["batch"] and "--" in argv:
        at = argv.index("--")
        return replace(parse(COMMANDS, argv[:at]), words=tuple(argv[at + 1 :]))
    return parse(COMMANDS, argv)


def _show_note(message: Warning | str, *_: object) -> None:
    """A warning as a line for the user, without the code that raised it."""
    print(f"recam: note: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
