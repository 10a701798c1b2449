"""The ``recam`` command. Every command is a dataclass whose fields are its options.

Only the standard library and tyro are imported here; the stages are imported by the command that
needs them, so that ``recam --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from recam import __version__
from recam.apps import process
from recam.apps import progress as shown
from recam.apps.progress import Style
from recam.configs import (
    CameraFormat,
    CompleteConfig,
    DepthTrainConfig,
    EditConfig,
    Fit,
    Generator,
    ImageConfig,
    InputConfig,
    InterpolateConfig,
    PathConfig,
    PretrainConfig,
    ReconstructConfig,
    RenderConfig,
    ReshootConfig,
    SceneFormat,
    StereoConfig,
)

Out = Annotated[Path | None, arg(aliases=["-o"], metavar="PATH")]
Source = Annotated[Positional[Path], arg(metavar="VIDEO")]


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    quiet: bool = False
    """Show no progress."""
    progress: Style = "auto"
    """How it is shown: a bar on a terminal, else a line every few seconds; or always bar, lines,
    json (a line of JSON each), none."""


@dataclass(frozen=True)
class Reshoot(Common):
    """Give the video that another camera would have seen."""

    video: Source = tyro.MISSING
    """Video file, folder of images, or a folder that `recam reconstruct` wrote."""
    config: ReshootConfig = field(default_factory=ReshootConfig)
    out: Out = None
    """Folder for the result; default: one named after the video and the path, here."""

    def run(self) -> None:
        from recam.apps import commands

        commands.reshoot(self.video, self.config, self.out, self.quiet)


@dataclass(frozen=True)
class Reconstruct(Common):
    """Work out cameras, depth and moving areas of a video."""

    video: Source = tyro.MISSING
    """Video file or folder of images."""
    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    out: Out = None
    """Folder for the scene; default: one named after the video, here."""
    export: SceneFormat | None = None
    """Also write the scene in another program's format, into the same folder."""
    cameras_out: Path | None = None
    """Also write the source's cameras to this file or folder."""
    cameras_out_format: CameraFormat = "auto"
    """Format of --cameras-out; auto goes by its name: .json, .chan (Nuke), .usda, .gltf, .glb,
    .py (Blender)."""

    def run(self) -> None:
        from recam.apps import commands

        commands.reconstruct(
            self.video,
            self.input,
            self.reconstruct,
            self.out,
            self.export,
            self.cameras_out,
            self.cameras_out_format,
            self.quiet,
        )


@dataclass(frozen=True)
class Render(Common):
    """Show only what the new camera can see of the source: no completion."""

    video: Source = tyro.MISSING
    """Video file, folder of images, or a folder that `recam reconstruct` wrote."""
    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    generator: Annotated[Generator | None, arg(name="for")] = None
    """Write render and mask as this video generator takes them: its size, length, frame rate,
    colour of holes and polarity of the mask (docs/export.md)."""
    fit: Fit = "crop"
    """With --for: how the picture meets the generator's shape. crop: cut what is too wide or too
    high. pad: show all of it, with more to be made up around it."""
    exr: bool = False
    """Also write depth and what is known as EXR pictures, into depth/ and known/."""
    out: Out = None
    """Folder for render.mp4, known.mp4, depth.mp4 and cameras.json; or the generator's files."""

    def run(self) -> None:
        from recam.apps import render_commands

        config = ReshootConfig(
            self.input,
            self.reconstruct,
            self.path,
            self.render,
            CompleteConfig(model="none"),
        )
        render_commands.render(
            self.video, config, self.out, self.exr, self.generator, self.fit, self.quiet
        )


@dataclass(frozen=True)
class Complete(Common):
    """Fill what is missing in any video."""

    video: Source = tyro.MISSING
    """Video file, image, or folder of images."""
    known: Path = tyro.MISSING
    """Video, image, or folder of images of the same size: white = known, black = to fill."""
    out: Annotated[Path, arg(aliases=["-o"])] = tyro.MISSING
    """A video file (.mp4, .gif, .webp) or a folder for PNG images."""
    input: InputConfig = field(default_factory=InputConfig)
    complete: CompleteConfig = field(default_factory=CompleteConfig)

    def run(self) -> None:
        from recam.apps import commands

        commands.complete(self.video, self.known, self.out, self.input, self.complete, self.quiet)


@dataclass(frozen=True)
class Image(Common):
    """Move a camera through one picture."""

    picture: Annotated[Positional[Path], arg(metavar="PHOTO")] = tyro.MISSING
    """Picture file, or a folder that `recam reconstruct` wrote for one."""
    config: ImageConfig = field(default_factory=ImageConfig)
    max_side: int | None = None
    """Scale the picture down to this longer side before anything else; default: its own size."""
    out: Out = None
    """Folder for the result; default: one named after the picture and the path, here."""

    def run(self) -> None:
        from recam.apps import task_commands

        part = InputConfig(max_side=self.max_side)
        task_commands.image(self.picture, part, self.config, self.out, self.quiet)


@dataclass(frozen=True)
class Stereo(Common):
    """Make a film for two eyes: side by side, top-bottom, anaglyph, or two files."""

    video: Source = tyro.MISSING
    """Video file, picture, folder of images, or a folder that `recam reconstruct` wrote."""
    input: InputConfig = field(default_factory=InputConfig)
    config: StereoConfig = field(default_factory=StereoConfig)
    film: Literal["mp4", "mkv", "mov"] = "mp4"
    """The result's kind of file. Each says in itself how the eyes are packed."""
    out: Out = None
    """Folder for the result; default: one named after the video, here."""

    def run(self) -> None:
        from recam.apps import stereo_command

        stereo_command.stereo(self.video, self.input, self.config, self.film, self.out, self.quiet)


@dataclass(frozen=True)
class Interpolate(Common):
    """Make the frames between two pictures, or between several in order."""

    views: Annotated[Positional[tuple[Path, ...]], arg(metavar="A B [C …]")] = tyro.MISSING
    """Two or more pictures of one size. Between four or more, evenly apart in time, things may move
    on curves."""
    config: InterpolateConfig = field(default_factory=InterpolateConfig)
    fps: float = 24.0
    """Frames per second of the result."""
    out: Out = None
    """Folder for the result; default: one named after the pictures, here."""

    def run(self) -> None:
        from recam.apps import task_commands

        task_commands.interpolate(self.views, self.config, self.fps, self.out, self.quiet)


@dataclass(frozen=True)
class Edit(Common):
    """Carry the edit of one frame through a video, or take something out of it."""

    video: Source = tyro.MISSING
    """Video file or folder of images."""
    edited_frame: Annotated[tuple[int, Path] | None, arg(metavar="NUMBER PICTURE")] = None
    """Number of the edited frame (0 = the first of those read) and its edited version."""
    mask: Path | None = None
    """Picture, white = what was edited; default: found by difference."""
    remove: Annotated[Path | None, arg(metavar="MASK")] = None
    """Take out what is white in this picture (followed through the video), or in each frame of
    this video or folder."""
    at_frame: int = 0
    """The frame that a single --remove mask belongs to."""
    input: InputConfig = field(default_factory=InputConfig)
    config: EditConfig = field(default_factory=EditConfig)
    out: Out = None
    """Folder for the result; default: one named after the video, here."""

    def run(self) -> None:
        from recam.apps import task_commands

        task_commands.edit(
            self.video,
            self.edited_frame,
            self.mask,
            self.remove,
            self.at_frame,
            self.input,
            self.config,
            self.out,
            self.quiet,
        )


@dataclass(frozen=True)
class Paths(Common):
    """Draw a camera path over the scene, and write its cameras, before anything is made.

    Given a file of cameras instead of a video, say in plain words what is in it."""

    video: Source = tyro.MISSING
    """Video file, folder of images, a folder that `recam reconstruct` wrote, or a camera file."""
    input: InputConfig = field(default_factory=InputConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    path: PathConfig = field(default_factory=PathConfig)
    out: Out = None
    """PNG to draw into; default: one named after the video and the path, here."""
    cameras_out: Path | None = None
    """Also write the path's cameras to this file or folder."""
    cameras_out_format: CameraFormat = "auto"
    """Format of --cameras-out; auto goes by its name: .json, .chan (Nuke), .usda, .gltf, .glb,
    .py (Blender)."""
    validate_only: bool = False
    """Only check --path against the video's length and say what it does, without a scene."""

    def run(self) -> None:
        from recam.apps import commands, describe

        if self.validate_only or describe.is_camera_file(self.video):
            describe.path_file(self.video, self.input, self.path)
            return
        commands.paths(
            self.video,
            self.input,
            self.reconstruct,
            self.path,
            self.out,
            self.cameras_out,
            self.cameras_out_format,
            self.quiet,
        )


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
    "reshoot": Reshoot,
    "reconstruct": Reconstruct,
    "render": Render,
    "complete": Complete,
    "image": Image,
    "stereo": Stereo,
    "interpolate": Interpolate,
    "edit": Edit,
    "paths": Paths,
    "pretrain": Pretrain,
    "pretrain-depth": PretrainDepth,
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
    commands = {name: OmitArgPrefixes[command] for name, command in COMMANDS.items()}  # type: ignore[misc, valid-type]
    return tyro.extras.subcommand_cli_from_dict(
        commands, prog="recam", description="Move the camera after the shot.", args=argv
    )


def _show_note(message: Warning | str, *_: object) -> None:
    """A warning as a line for the user, without the code that raised it."""
    print(f"recam: note: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
