"""Single videos without other views: DAVIS, and a plain folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from recam.camera_files import read_cameras
from recam.evaluation.datasets.pictures import picture_size, read_marks, read_pictures
from recam.evaluation.datasets.sample import EvaluationSample
from recam.media import probe, read_video
from recam.media.pictures import natural_key, pictures_at
from recam.runtime.files import read_text
from recam.types import RecamError

DAVIS_FPS = 24.0
FILM_SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"}


def davis_samples(
    folder: Path, size: str = "480p", subset: str | None = None
) -> Iterator[EvaluationSample]:
    """DAVIS (Perazzi et al. 2016): JPEGImages/<size>/<sequence>/00000.jpg and Annotations alike.

    size: "480p" or "Full-Resolution". subset: a list of sequences, as "2017/val" for
    ImageSets/2017/val.txt; None = all. Annotated objects count as what moves. There are no cameras
    and no other views. Raises RecamError for missing folders.
    """
    root = folder / "JPEGImages" / size
    if not root.is_dir():
        raise RecamError(f"there is no folder {root}")
    names = sorted(f.name for f in root.iterdir() if f.is_dir())
    if subset is not None:
        listed = folder / "ImageSets" / f"{subset}.txt"
        if not listed.is_file():
            raise RecamError(f"there is no list of sequences {listed}")
        names = [line.split()[0] for line in read_text(listed).splitlines() if line.strip()]
    for name in names:
        pictures = pictures_at(root / name)
        if not pictures:
            raise RecamError(f"there is no sequence {root / name}")
        marks = [folder / "Annotations" / size / name / f"{f.stem}.png" for f in pictures]
        annotated = all(mark.is_file() for mark in marks)  # the test sets keep theirs back
        times_s = [i / DAVIS_FPS for i in range(len(pictures))]
        yield EvaluationSample(
            name=name,
            read_video=partial(read_pictures, pictures, times_s),
            read_dynamic=(
                partial(read_marks, marks, *picture_size(pictures[0]), labels=True)
                if annotated
                else None
            ),
            notes=("no cameras and no other views; annotated objects count as what moves",),
        )


def folder_samples(folder: Path) -> Iterator[EvaluationSample]:
    """A plain folder: film files, and folders of pictures, each one video, by name.

    Cameras from <name>.cameras.json beside a video, in recam's own format, where there is one.
    Raises RecamError when nothing in the folder is a video.
    """
    if not folder.is_dir():
        raise RecamError(f"there is no folder {folder}")
    found = [f for f in folder.iterdir() if f.suffix.lower() in FILM_SUFFIXES or _has_pictures(f)]
    if not found:
        raise RecamError(f"{folder} holds no videos and no folders of pictures")
    for path in sorted(found, key=natural_key):
        name = path.name if path.is_dir() else path.stem
        beside = folder / f"{name}.cameras.json"
        cameras = None
        if beside.is_file():
            info = probe(path)
            cameras = read_cameras(
                beside, "recam", num_frames=info.num_frames, height=info.height, width=info.width
            ).cameras
        yield EvaluationSample(name=name, read_video=partial(read_video, path), cameras=cameras)


def _has_pictures(path: Path) -> bool:
    if not path.is_dir() or path.name.startswith("."):
        return False
    try:
        return bool(pictures_at(path))
    except RecamError:
        return False
