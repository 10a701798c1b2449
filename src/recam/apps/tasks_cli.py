"""The commands that work on one input, such as one film: what ``recam`` and a row of ``recam
batch`` have in common. Every command is a dataclass whose fields are its options.

Only the standard library and tyro are imported here; the stages are imported by the command that
needs them, so that ``recam --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from recam.apps.progress import Style
from recam.configs import (
    CompleteConfig,
    EditConfig,
    Fit,
    Generator,
    ImageConfig,
    InputConfig,
    InterpolateConfig,
    PathConfig,
    ReconstructConfig,
    RenderConfig,
    ReshootConfig,
    SceneFormat,
    StereoConfig,
    WrittenCameraFormat,
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
    cameras_out_format: WrittenCameraFormat = "auto"
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
    piece: int = 1
    """With --for, of a path longer than the generator takes: which piece, from 1. Each begins with
    the last frame of the one before."""
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
            self.video, config, self.out, self.exr, self.generator, self.fit, self.piece, self.quiet
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
    cameras_out_format: WrittenCameraFormat = "auto"
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


TASKS: dict[str, type] = {
    "reshoot": Reshoot,
    "reconstruct": Reconstruct,
    "render": Render,
    "complete": Complete,
    "image": Image,
    "stereo": Stereo,
    "interpolate": Interpolate,
    "edit": Edit,
}


def parse(commands: Mapping[str, type], argv: Sequence[str]) -> Any:
    """The command that a command line asks for. Raises SystemExit with help or an error said."""
    known = {name: OmitArgPrefixes[command] for name, command in commands.items()}  # type: ignore[misc, valid-type]
    return tyro.extras.subcommand_cli_from_dict(
        known, prog="recam", description="Move the camera after the shot.", args=list(argv)
    )
