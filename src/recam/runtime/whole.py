"""Outputs that appear whole or not at all, and file errors told in one line.

What is being written is a hidden ``.part`` beside its place, with this machine's and process's name
in its own. It reaches the disk before it is renamed: a kill or a loss of power at any moment leaves
the old output or the new one. Parts of processes that are no more are taken away by the next one
that writes there.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recam.runtime.errors import RecamError
from recam.runtime.workers import is_running

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}
_NAME = 120
"""Letters of a path's name in that of its part: file systems take 255 in all."""
_REPLACING = ".replacing"
_RECORDS = ("scene.json", "config.json")
"""Files that say that the others beside them are whole; these come last."""


def cannot_write(path: Path, error: OSError) -> RecamError:
    """The one-line error for a failed output."""
    if error.errno in _FULL:
        reason = "the disk is full; free some space or choose another folder"
    elif error.errno == errno.EFBIG:
        reason = "the file would be larger than this system allows; choose another folder"
    elif error.errno == errno.EROFS:
        reason = "that file system is read-only; choose another folder"
    elif error.errno in _DENIED:
        reason = "permission denied; choose a folder that you may write to"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        reason = "a part of that path is a file, not a folder"
    else:
        known = error.errno is not None and 0 < error.errno < 256
        reason = os.strerror(error.errno) if known and error.errno else str(error)
    return RecamError(f"cannot write {path}: {reason}")


def temporary_beside(path: Path) -> Path:
    """An unused hidden path in the same folder and with the same suffix; makes that folder.

    Raises:
        RecamError: the folder cannot be made or written to.
    """
    temporary = _part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
    return temporary


def put_in_place(temporary: Path, path: Path) -> None:
    """Renames a finished file or folder to ``path``, replacing an earlier output.

    Raises:
        OSError: it cannot be renamed; the earlier output is then still there.
    """
    _sync_all(temporary)
    if not temporary.is_dir() or not path.exists():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    path.replace(old)
    try:
        temporary.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove(temporary: Path) -> None:
    """Deletes an unfinished file or folder, if there is one."""
    with suppress(OSError):
        if temporary.is_dir() and not temporary.is_symlink():
            shutil.rmtree(temporary)
        else:
            temporary.unlink()


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` to write a file or a folder at.

    It is renamed to ``path`` when the block ends, replacing an earlier output; when the block
    raises (Ctrl-C too) it is removed and ``path`` stays as it was. Missing parent folders are made.

    Raises:
        RecamError: the place cannot be written to or is full (any OSError of the block).
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        yield temporary
        put_in_place(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        remove(temporary)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty hidden folder beside ``folder``, whose files are moved there when the block
    ends; others in ``folder`` stay. When the block raises, ``folder`` is as it was.

    Nothing is moved before all is written. Who is killed while moving leaves what
    ``finish_replacing`` completes.

    Raises:
        RecamError: the place cannot be written to or is full (any OSError of the block).
    """
    try:
        with staged_beside(folder) as staged:
            yield staged
            _sync_all(staged)
            if folder.exists():
                finish_replacing(folder)
                staged.rename(folder / _REPLACING)
                finish_replacing(folder)
            else:
                staged.rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


@contextmanager
def staged_beside(path: Path) -> Iterator[Path]:
    """Yields an empty hidden folder beside ``path``; what is still there at the end is removed.

    Raises OSError when it cannot be made.
    """
    staged = _part_of(path)
    staged.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    try:
        staged.mkdir()
        yield staged
    finally:
        remove(staged)


def finish_replacing(folder: Path) -> None:
    """Move into ``folder`` what a run was moving there when it was killed. Raises OSError."""
    new = folder / _REPLACING
    if not new.is_dir():
        return
    for file in sorted(new.iterdir(), key=lambda f: (f.name in _RECORDS, f.name)):
        place = folder / file.name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        file.replace(place)
    new.rmdir()


def write_synced(path: Path, content: bytes) -> None:
    """Write a small file whole; it has reached the disk then. Raises OSError."""
    temporary = _part_of(path)
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(file: Path) -> None:
    """Have a file's content reach the disk."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_all(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            sync(file)


def _owner() -> str:
    return f"{re.sub(r'[^A-Za-z0-9]', '', platform.node()) or 'here'}-{os.getpid()}"


def _part_of(path: Path) -> Path:
    name = f".{path.stem[:_NAME]}.{_owner()}.{secrets.token_hex(4)}.part{path.suffix}"
    return path.with_name(name)


def _remove_abandoned(path: Path) -> None:
    """Take away the parts of ``path`` that processes of this machine left which are no more."""
    machine = _owner().rpartition("-")[0]
    name, suffix = re.escape(path.stem[:_NAME]), re.escape(path.suffix)
    part = re.compile(rf"\.{name}\.{machine}-([0-9]+)\.[0-9a-f]{{8}}\.part{suffix}")
    for other in path.parent.iterdir():
        match = part.fullmatch(other.name)
        if match and not is_running(int(match[1])):
            remove(other)
