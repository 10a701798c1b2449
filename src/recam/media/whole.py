"""Outputs that appear whole or not at all, and file errors told in one line."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recam.types import RecamError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}


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
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        if temporary.is_dir():
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
