"""Scenes of files, kept in the cache: reconstructed once, found again from then on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from recam.camera_files.detect import read_as_well
from recam.configs import InputConfig, ReconstructConfig
from recam.media.input import check_memory, files_of, read_input, source_part
from recam.reconstruct.checkpoint import Checkpoint, forget_abandoned
from recam.reconstruct.external.choose import models_used
from recam.reconstruct.io.scene_files import load_scene, save_scene
from recam.reconstruct.pipeline import reconstruct
from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.cache_entries import is_whole, new_entry, tell_not_kept
from recam.types import Progress, RecamError, Scene, no_progress

SCENE_VERSION = 20
"""Raised when reconstruct's results change, so that scenes kept from before are made anew."""


@dataclass(frozen=True)
class OpenedScene:
    """A scene, the folder that keeps it, and whether it was there already."""

    scene: Scene
    folder: Path
    reused: bool

    @property
    def identity(self) -> str | Path:
        """What tells it from others, for content_hash: a cached scene's folder is named by the hash
        of all that it was made of."""
        in_cache = self.folder.parent == cache_folder() / "scenes"
        return self.folder.name if in_cache else self.folder


def scene_key(source: Path, input_config: InputConfig, config: ReconstructConfig) -> str:
    """sha256 (hex) of all that a scene is made of: the files' content, the options, and, where
    cameras or depth are given, what the source is called, since a file may have those of several.

    Raises RecamError for a file that is not there.
    """
    files = files_of(source)
    for path in (config.cameras, config.depth, config.masks):
        files += files_of(Path(path)) if path else []
    files += read_as_well(Path(config.cameras)) if config.cameras else []
    called = source.absolute().parts[-2:] if config.cameras or config.depth else ()
    return content_hash(*files, input_config, config, models_used(config), SCENE_VERSION, *called)


def open_scene(
    source: Path,
    input_config: InputConfig,
    config: ReconstructConfig,
    progress: Progress = no_progress,
) -> OpenedScene:
    """The scene of a video, or of a folder that save_scene wrote.

    A video's scene is kept in the cache under the hash of the video's content, of the options and
    of every file that they name; when only the path changes it is found again. Of one that was
    killed, the steps that were done are. Raises RecamError for options that a finished scene cannot
    follow.
    """
    if (source / "scene.json").is_file():
        _require_no_options(source, input_config, config)
        return OpenedScene(load_scene(source), source, True)
    key = scene_key(source, input_config, config)
    check_memory(source, input_config)
    folder = cache_folder() / "scenes" / key[:24]
    video = read_input(source, input_config, progress)
    if is_whole(folder):
        return OpenedScene(load_scene(folder, video), folder, True)
    part = source_part(source, input_config, len(video))
    unfinished = cache_folder() / "unfinished"
    forget_abandoned(unfinished)
    kept = Checkpoint(unfinished / key[:24])
    scene = reconstruct(video, config, progress, part, kept)
    # Where a lens was straightened, the scene's frames are not the file's.
    try:
        with new_entry(folder) as staged:
            save_scene(scene, staged, with_frames=scene.video is not video)
    except (RecamError, OSError) as error:
        tell_not_kept("the scene", error)
    return OpenedScene(scene, folder, False)


def _require_no_options(folder: Path, input_config: InputConfig, config: ReconstructConfig) -> None:
    """A scene that is done has its frames, cameras and depth: options for them would do nothing."""
    given = asdict(input_config) | asdict(config)
    usual = asdict(InputConfig()) | asdict(ReconstructConfig())
    given, usual = given | given.pop("rules"), usual | usual.pop("rules")
    asked = [f"--{name.replace('_', '-')}" for name in usual if given[name] != usual[name]]
    if asked:
        raise RecamError(
            f"{folder}: is a scene that is done, which {', '.join(asked)} cannot change; give the "
            "video instead"
        )
