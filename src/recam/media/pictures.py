"""Which files make up a source of pictures: a folder, a pattern, a series of names."""

from __future__ import annotations

import re
from pathlib import Path

from recam.types import RecamError

PICTURE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".hif", ".tga",
}  # fmt: skip
_ONE_KIND = {
    ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif", ".apng": ".png",
    ".heif": ".heic", ".hif": ".heic", ".pgm": ".ppm", ".pbm": ".ppm", ".pnm": ".ppm",
    ".j2k": ".jp2",
}  # fmt: skip
_NUMBER = re.compile(r"([0-9]+)")  # \d and isdigit() know digits that int() does not
_PRINTF = re.compile(r"%0?[0-9]*d")
_MAX_LISTED = 4


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts frame9 before frame10."""
    parts = _NUMBER.split(path.name)
    return [(0, int(part), "") if k % 2 else (1, 0, part.lower()) for k, part in enumerate(parts)]


def is_hidden(path: Path) -> bool:
    """Such as the ._000.png that macOS leaves beside each file on other systems' disks."""
    return path.name.startswith(".")


Series = dict[tuple[str, str], list[Path]]


def series_of(files: list[Path]) -> Series:
    """Files by the pattern of their names and their kind, each in natural order.

    In a pattern ``#`` stands for any number; suffixes of one kind (.jpg, .JPEG) count as one.
    """
    found: Series = {}
    for file in sorted(files, key=natural_key):
        suffix = file.suffix.lower()
        pattern = _NUMBER.sub("#", file.stem.lower())
        found.setdefault((pattern, _ONE_KIND.get(suffix, suffix)), []).append(file)
    return found


def one_series(folder: Path, files: list[Path]) -> tuple[list[Path], list[str]]:
    """The files of a folder that are one series, in natural order, and notes on those left out.

    A single file beside a series (cover.jpg) is left out; names without numbers are taken in
    order.

    Raises:
        RecamError: there are several series, or several kinds of pictures.
    """
    series = series_of(files)
    several = {key: found for key, found in series.items() if len(found) > 1}
    chosen = next(iter(several), None)
    alike = [kind for pattern, kind in series if chosen is None or pattern == chosen[0]]
    if len(set(alike)) > 1 and len({pattern for pattern, _ in several}) < 2:
        suffixes = sorted({f.suffix.lower() for f in files})
        raise RecamError(
            f"{folder} mixes pictures of several kinds ({', '.join(suffixes)}); "
            f"say which, as in '{folder}/*{suffixes[0]}'"
        )
    if len(several) > 1:
        listed = [f"{len(found)} like {found[0].name}" for found in several.values()]
        raise RecamError(
            f"{folder} holds {len(several)} series of pictures ({_listed(listed)}); say which, as "
            f"in '{folder}/{_glob_of(next(iter(several.values())), files)}'"
        )
    if chosen is None:
        return sorted(files, key=natural_key), []
    rest = sorted(set(files) - set(series[chosen]), key=natural_key)
    if not rest:
        return series[chosen], []
    names = _listed([f.name for f in rest])
    return series[chosen], [f"{names} left out: not of the series of {series[chosen][0].name}"]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def _glob_of(chosen: list[Path], files: list[Path]) -> str:
    """A pattern that takes these files of a folder and no others."""
    parts = _NUMBER.split(chosen[0].name)
    for pattern in (f"*{parts[-1]}", f"{parts[0]}*{parts[-1]}", f"{parts[0]}[0-9]*{parts[-1]}"):
        if {f for f in files if f.match(pattern)} == set(chosen):
            return pattern
    return "*".join(parts[::2])


def pictures_at(path: Path) -> list[Path] | None:
    """Picture files of a folder, a glob (``shots/*.left.png``) or a printf pattern
    (``shots/%05d.png``), in natural order; None when ``path`` is none of these.

    Hidden files do not count.

    Raises:
        RecamError: nothing there, or a folder that holds several series or kinds of pictures.
    """
    chosen = series_at(path)
    return None if chosen is None else chosen[0]


def series_at(path: Path) -> tuple[list[Path], list[str]] | None:
    """:func:`pictures_at`, with notes on what was left out."""
    if path.is_dir():
        found = [f for f in path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES]
    elif path.exists() or not path.parent.is_dir():
        return None
    elif _PRINTF.search(path.name):
        pattern = "[0-9]+".join(re.escape(literal) for literal in _PRINTF.split(path.name))
        found = [f for f in path.parent.iterdir() if re.fullmatch(pattern, f.name)]
    elif re.search(r"[*?\[]", path.name):
        found = list(path.parent.glob(path.name))
    else:
        return None
    found = [f for f in found if not is_hidden(f) and not f.is_dir()]
    if not found:
        raise RecamError(_no_pictures(path))
    if path.is_dir():
        return one_series(path, found)
    return sorted(found, key=natural_key), []


def _no_pictures(path: Path) -> str:
    if path.is_dir():
        for name in ("images", "rgb", "color", "frames", "image_2", "train"):
            inner = path / name
            if inner.is_dir() and any(
                f.suffix.lower() in PICTURE_SUFFIXES for f in inner.iterdir()
            ):
                return f"{path} holds no pictures itself; its folder {name} does: give {inner}"
    return f"{path} holds no pictures (looked for PNG, JPEG, WebP, TIFF, BMP, AVIF, HEIC)"
