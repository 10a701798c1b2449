"""``recam paths FILE`` and ``--validate-only``: what a file of cameras says, before any work."""

from __future__ import annotations

from pathlib import Path

from recam.apps.commands import say
from recam.camera_files import CameraFile, described, detect_format, read_cameras
from recam.camera_files.describe import odd_steps
from recam.configs import InputConfig, PathConfig
from recam.media import probe
from recam.media.pictures import PICTURE_SUFFIXES
from recam.trajectories.presets import DEFAULTS, preset_amounts
from recam.types import RecamError

_SUFFIXES = {
    ".json", ".txt", ".npz", ".npy", ".csv", ".xml", ".xmp", ".tum", ".bin", ".r3d", ".chan",
    ".kitti",
}  # fmt: skip


def is_camera_file(path: Path) -> bool:
    """Whether a path given in place of a video is one of cameras: by its name; one without a
    suffix, or a folder, by what is in it, unless it is a scene's or holds pictures."""
    if not path.is_dir() and (path.suffix or not path.is_file()):
        return path.suffix.lower() in _SUFFIXES
    if (path / "scene.json").is_file():
        return False
    if path.is_dir() and any(f.suffix.lower() in PICTURE_SUFFIXES for f in path.iterdir()):
        return False
    try:
        detect_format(path)
    except (ValueError, RecamError):
        return False
    return True


def path_file(source: Path, input_config: InputConfig, config: PathConfig) -> None:
    """Prints one sentence on a file of cameras (``source`` itself, or the path for that video), and
    what is odd about it.

    Raises ValueError or RecamError, as reading does, and where the path does not fit the video.
    """
    if is_camera_file(source):
        _tell(read_cameras(source, config.file_format, file=config.file_video))
        return
    info = probe(source)
    if config.path in DEFAULTS:
        amounts = preset_amounts(config)
        listed = ", ".join(f"{name} {value:g}" for name, value in amounts.items() if value)
        print(f"The preset {config.path} ({listed or 'no amounts'}).")
        return
    file = read_cameras(
        config.path, config.file_format, height=info.height, width=info.width,
        file=config.file_video,
    )  # fmt: skip
    if not file.designed and info.num_frames:
        rest = max(1, -(-(info.num_frames - input_config.start) // input_config.stride))
        try:
            file.for_video(min(rest, input_config.num_frames or rest))
        except ValueError as error:
            raise ValueError(f"{config.path}: {error}") from error
    _tell(file)


def _tell(file: CameraFile) -> None:
    print(described(file))
    for note in dict.fromkeys((*file.notes, *odd_steps(file))):
        say(f"note: {note}")
