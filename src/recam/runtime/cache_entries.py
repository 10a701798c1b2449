"""Entries of the cache: folders that are found whole, byte for byte, or are made again.

Each holds ``index.json`` with the length and sha256 of its files. It is written last and the whole
folder renamed into place, so that an entry is there or not; what a disk, a network folder or
another program has done to one since is noticed when it is read, told in one line, and healed by
making it anew. No locks: two processes that make the same entry both may, and the first one counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recam.runtime.cache import SCRATCH, cache_folder, folder_bytes
from recam.runtime.whole import staged_beside, sync, write_synced

INDEX = "index.json"
MAX_GB = 20.0
"""What the cache may hold by default; $RECAM_CACHE_GB says otherwise."""
IN_USE_S = 3600.0
"""What was used so recently is not taken away of itself: another run may be reading it."""
KINDS = {
    "scenes": "reconstructed videos: another path over one starts at once",
    "unfinished": "steps of reconstructions that were stopped: they go on from there (7 days)",
    "adapters": "models adapted to one video: another path takes no time to adapt",
    "windows": "finished parts of videos whose completion was stopped (7 days)",
    "pairs": "training scenes of `recam pretrain`, 108 MB each: the next training starts at once",
    "depth": "training pictures of `recam pretrain-depth`",
    "text": "prompts as large models read them: their text encoder is not loaded again",
    "weights": "weight files put together from parts",
}
"""What each folder of the cache keeps, and what it is good for."""


class CacheWarning(UserWarning):
    """Something that was kept is damaged, or cannot be kept; the run goes on without it."""


def is_whole(folder: Path) -> bool:
    """Whether an entry is there with every byte that was kept. One that is damaged is told of (a
    CacheWarning) and taken away; one that has no index yet is only not whole."""
    try:
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = {str(name): (int(size), str(sha256)) for name, (size, sha256) in listed.items()}
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError, TypeError):
        files = {INDEX: (-1, "")}
    damage = next(filter(None, (_damage(folder / n, *about) for n, about in files.items())), None)
    if damage is None:
        with contextlib.suppress(OSError):  # when it was last used, for `evict`
            os.utime(folder / INDEX)
        return True
    text = f"cache: {folder} is damaged ({damage}); it is taken away and made again"
    warnings.warn(text, CacheWarning, stacklevel=2)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _damage(file: Path, size: int, sha256: str) -> str | None:
    """What is wrong with a file, or None."""
    if not file.is_file():
        return f"{file.name} is missing"
    if file.stat().st_size != size:
        return f"{file.name} has {file.stat().st_size} bytes" if size >= 0 else "its index"
    return None if _sha256(file) == sha256 else f"{file.name} has other content"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    """Write the index of a folder's files; they and it have reached the disk then."""
    listed = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != INDEX:
            sync(file)
            name = file.relative_to(folder).as_posix()
            listed[name] = (file.stat().st_size, _sha256(file))
    write_synced(folder / INDEX, json.dumps(listed).encode())


@contextmanager
def new_entry(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write an entry into, which becomes ``folder`` when the block ends;
    nothing is left when it raises. Where another process was faster, its entry stays.

    Raises OSError when it cannot be kept.
    """
    with staged_beside(folder) as staged:
        yield staged
        _seal(staged)
        if (folder / INDEX).is_file():
            return
        if folder.exists():  # of a version that kept no index, or stopped half-way
            shutil.rmtree(folder)
        with contextlib.suppress(FileExistsError):
            _rename_new(staged, folder)


def _rename_new(staged: Path, folder: Path) -> None:
    try:
        staged.rename(folder)
    except OSError as error:
        if folder.is_dir():
            raise FileExistsError(str(folder)) from error
        raise


def tell_not_kept(what: str, error: Exception) -> None:
    """A CacheWarning: the run goes on, but the next one starts anew."""
    reason = getattr(error, "strerror", None) or error
    text = f"cache: {what} cannot be kept ({reason}); the next run makes it again"
    warnings.warn(text, CacheWarning, stacklevel=3)


@dataclass(frozen=True)
class Kept:
    """One thing in the cache. used_s: when it was last used, seconds since 1970."""

    kind: str
    path: Path
    num_bytes: int
    used_s: float


def kept() -> list[Kept]:
    """All that the cache holds, the longest unused first."""
    found = []
    for folder in cache_folder().iterdir() if cache_folder().is_dir() else ():
        if folder.name == SCRATCH:  # files that are open
            continue
        # A benchmark's folder is one thing; the others hold one thing each.
        entries = folder.iterdir() if folder.name in KINDS and folder.is_dir() else [folder]
        for path in entries:
            with contextlib.suppress(OSError):  # another process may take it away meanwhile
                size = folder_bytes(path) if path.is_dir() else path.stat().st_size
                times = [path.stat().st_mtime]
                times += [f.stat().st_mtime for f in path.glob("*")] if path.is_dir() else []
                found.append(Kept(folder.name, path, size, max(times)))
    return sorted(found, key=lambda k: k.used_s)


def max_bytes() -> int:
    """What the cache may hold. Raises ValueError when $RECAM_CACHE_GB is no number."""
    text = os.environ.get("RECAM_CACHE_GB", "")
    try:
        size_gb = float(text) if text else MAX_GB
    except ValueError as error:
        raise ValueError(f"RECAM_CACHE_GB is {text!r}; expected a number of gigabytes") from error
    return int(size_gb * 1e9)


def evict(max_bytes: int, spare_s: float = IN_USE_S) -> list[Kept]:
    """Take away what was unused for longest until no more than ``max_bytes`` are kept; returns it.

    spare_s: things used within so many seconds stay.
    """
    everything = kept()
    total, gone = sum(k.num_bytes for k in everything), []
    for entry in everything:
        if total <= max_bytes or time.time() - entry.used_s < spare_s:
            break
        forget(entry.path)
        total -= entry.num_bytes
        gone.append(entry)
    return gone


def forget(path: Path) -> None:
    """Take one thing out of the cache."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
