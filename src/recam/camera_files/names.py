"""Which entries of a camera file belong to which frames, by the names that both give.

Names come from other programs and systems: with ``\\`` or ``/``, drive letters, other suffixes,
capitals, Unicode written in another way, numbers without their zeros, folders that were moved.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".exr", ".heic",
    ".heif", ".avif", ".dng", ".ppm", ".pgm", ".jp2", ".tga", ".apng",
}  # fmt: skip
_FILM_SUFFIXES = {
    ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".gif", ".mxf", ".r3d", ".insv", ".360",
}  # fmt: skip
_USUAL_FOLDERS = {
    "", ".", "images", "image", "input", "rgb", "color", "colour", "frames", "train", "test", "val",
    "pictures", "undistorted", "raw", "data", "keyframes",
}  # fmt: skip
_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class Wanted:
    """What a camera file is wanted for.

    source: the video, or the folder (or pattern) of pictures; None: whatever the file is about.
    pictures: the source's pictures in order, if it is pictures.
    """

    source: str | None = None
    pictures: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Selection:
    """Entries of a camera file that belong to the source, in the order of its frames.

    indices: of the entries. frames: the source's frame of each, where names say so. missing: names
    of pictures without an entry. numbers: the last number in each name, where all have one and no
    two the same. notes: for the user.
    """

    indices: list[int]
    frames: Tensor | None = None
    missing: tuple[str, ...] = ()
    numbers: Tensor | None = None
    notes: tuple[str, ...] = ()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which frame_10 follows frame_9."""
    return [
        (0, int(part), "") if k % 2 else (1, 0, part) for k, part in enumerate(_NUMBER.split(name))
    ]


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by the numbers in their names, without hidden ones (as macOS's ._0.json)."""
    shown = [f for f in files if not f.name.startswith(".")]
    return sorted(shown, key=lambda f: natural_key(f.name))


def parts_of(name: str) -> tuple[str, ...]:
    """A path's folders and its name without an image's or film's suffix, written in one way."""
    plain = unicodedata.normalize("NFC", name).replace("\\", "/").casefold()
    parts = [p for p in re.sub(r"^[a-z]:", "", plain).split("/") if p not in {"", "."}]
    if not parts:
        return ("",)
    stem = Path(parts[-1])
    if stem.suffix in _IMAGE_SUFFIXES | _FILM_SUFFIXES:
        parts[-1] = stem.stem
    return tuple(parts)


def select(names: Sequence[str], wanted: Wanted, path: Path) -> Selection:
    """The entries that belong to the wanted source.

    names: the picture, video or folder that each entry gives; "" where it gives none.

    Raises ValueError when the file has cameras of several videos and none of them is the source,
    or of other pictures than the source's.
    """
    if all_alike(names) or not any(names):
        return Selection(list(range(len(names))), notes=_alike_note(names, wanted))
    if _name_sources(names):
        sources = [parts_of(n) for n in names]
        return Selection(_of_source(names, sources, wanted.source, path))
    keys = [parts_of(n) for n in names]
    folders = [n.replace("\\", "/").rpartition("/")[0] or "." for n in names]
    if wanted.pictures is not None:
        return _matched(names, keys, wanted.pictures, wanted.source, path)
    chosen = _of_source(folders, [k[:-1] for k in keys], wanted.source, path)
    chosen.sort(key=lambda i: natural_key("/".join(keys[i])))
    return Selection(chosen, numbers=_last_numbers([keys[i] for i in chosen]))


def all_alike(names: Sequence[str]) -> bool:
    return len(set(names)) == 1 and len(names) > 1


def _alike_note(names: Sequence[str], wanted: Wanted) -> tuple[str, ...]:
    """A word where pictures have one name, which is not that of their folder."""
    if wanted.pictures is None or not names[0]:
        return ()
    if parts_of(names[0])[-1] in _folder_of(wanted.source)[-1:]:
        return ()
    return (f"all its cameras are named {names[0]}: they are taken in the file's order",)


def _name_sources(names: Sequence[str]) -> bool:
    """Whether entries name the video or folder that they belong to, and not their own picture."""
    films = all(Path(n.replace("\\", "/")).suffix.lower() in _FILM_SUFFIXES for n in names)
    return films or 2 * len(set(names)) <= len(names)


def _of_source(
    names: Sequence[str], sources: list[tuple[str, ...]], wanted: str | None, path: Path
) -> list[int]:
    """Indices of the entries of one video or folder; ``names`` are for messages.

    A file about one only is taken to be about the wanted one, which may have been moved.
    """
    distinct = list(dict.fromkeys(sources))
    if len(distinct) == 1:
        return list(range(len(names)))
    listed = ", ".join(list(dict.fromkeys(names))[:6])
    if wanted is None:
        raise ValueError(
            f"{path}: cameras of several videos ({listed}); say which one "
            "(--file-video of a path; file=… in Python)"
        )
    target = parts_of(wanted)
    common = {s: _common_tail(s, target) for s in distinct}
    best = max(common.values())
    chosen = [s for s in distinct if common[s] == best and best > 0]
    if len(chosen) != 1:
        raise ValueError(f"{path}: no camera belongs to {wanted}; it has {listed}")
    return [i for i, s in enumerate(sources) if s == chosen[0]]


def _common_tail(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many parts at the end of two paths are the same."""
    count = 0
    while count < min(len(a), len(b)) and a[-1 - count] == b[-1 - count]:
        count += 1
    return count


def _matched(
    names: Sequence[str],
    keys: list[tuple[str, ...]],
    pictures: Sequence[str],
    source: str | None,
    path: Path,
) -> Selection:
    """Entries for the source's pictures: by name and folder, else by number, else by order."""
    folder = _folder_of(source)
    wanted = [(*folder, *parts_of(p)) for p in pictures]
    by_stem: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        by_stem.setdefault(key[-1], []).append(i)
    found: dict[int, int] = {}
    for frame, key in enumerate(wanted):
        candidates = by_stem.get(key[-1], [])
        if candidates:
            found[frame] = _nearest(candidates, keys, key, names, path)
    if len(found) == len(pictures):
        return _selection(found, pictures, _moved_note(keys, found, folder))
    folders = [n.replace("\\", "/").rpartition("/")[0] or "." for n in names]
    chosen = _of_source(folders, [k[:-1] for k in keys], source, path)
    numbered = _by_number([keys[i] for i in chosen], wanted)
    # As many names, but other numbers: counted anew, so that their order is what is left.
    renumbered = not found and len(numbered) < len(chosen) == len(pictures)
    if len(numbered) > len(found) and not renumbered:
        found = {frame: chosen[i] for frame, i in numbered.items()}
        note = f"names differ ({names[chosen[0]]}, {pictures[0]}): matched by their numbers"
        return _selection(found, pictures, (note,))
    if found:
        return _selection(found, pictures, _moved_note(keys, found, folder))
    if len(chosen) == len(pictures):
        chosen.sort(key=lambda i: natural_key("/".join(keys[i])))
        note = (
            f"no name of the file ({names[chosen[0]]}) is that of a picture ({pictures[0]}): its "
            "cameras are taken in the order of their names"
        )
        return Selection(chosen, torch.arange(len(chosen)), notes=(note,))
    raise ValueError(
        f"{path}: no camera for {pictures[0]} and {len(pictures) - 1} more: it has "
        f"{len(chosen)}, such as {names[chosen[0]]}"
    )


def _folder_of(source: str | None) -> tuple[str, ...]:
    """Of a folder itself, of a pattern the folder that it is in."""
    if source is None:
        return ()
    is_pattern = re.search(r"[*?\[]|%0?[0-9]*d", source) is not None
    return parts_of(source)[:-1] if is_pattern else parts_of(source)


def _nearest(
    candidates: list[int],
    keys: list[tuple[str, ...]],
    wanted: tuple[str, ...],
    names: Sequence[str],
    path: Path,
) -> int:
    """The candidate whose folders agree longest with the picture's."""
    common = [_common_tail(keys[i], wanted) for i in candidates]
    best = [i for i, c in zip(candidates, common) if c == max(common)]
    if len(best) > 1:
        raise ValueError(
            f"{path}: cameras of several videos: {names[best[0]]} and {names[best[1]]} could both "
            f"be {'/'.join(wanted[-2:])}; name the pictures' folder as in the file"
        )
    return best[0]


def _selection(found: dict[int, int], pictures: Sequence[str], notes: tuple[str, ...]) -> Selection:
    frames = sorted(found)
    missing = tuple(p for frame, p in enumerate(pictures) if frame not in found)
    return Selection([found[f] for f in frames], torch.tensor(frames), missing, notes=notes)


def _moved_note(
    keys: list[tuple[str, ...]], found: dict[int, int], folder: tuple[str, ...]
) -> tuple[str, ...]:
    """A word where the file's pictures lie in a folder that is named as something else."""
    theirs = {keys[i][-2] if len(keys[i]) > 1 else "" for i in found.values()}
    if not folder or len(theirs) != 1:
        return ()
    ((other),) = theirs
    if other in _USUAL_FOLDERS or other == folder[-1] or folder[-1] in _USUAL_FOLDERS:
        return ()
    return (f"its cameras are of pictures in {other}, taken for those in {folder[-1]}",)


def _by_number(keys: list[tuple[str, ...]], wanted: list[tuple[str, ...]]) -> dict[int, int]:
    theirs, ours = _last_numbers(keys), _last_numbers(wanted)
    if theirs is None or ours is None:
        return {}
    place = {number: i for i, number in enumerate(theirs.tolist())}
    found = {frame: place[n] for frame, n in enumerate(ours.tolist()) if n in place}
    return found if len(found) > 1 or len(wanted) == 1 == len(keys) else {}


def _last_numbers(keys: Sequence[tuple[str, ...]]) -> Tensor | None:
    """The last number in each name, where all names are otherwise alike and no two are the same."""
    numbers, literals = [], set()
    for key in keys:
        pieces = _NUMBER.split(key[-1])
        if len(pieces) < 3 or len(pieces[-2]) > 18:
            return None
        numbers.append(int(pieces[-2]))
        literals.add("".join(pieces[:-2]) + "#" + pieces[-1])
    if len(literals) != 1 or len(set(numbers)) < len(numbers):
        return None
    return torch.tensor(numbers)
