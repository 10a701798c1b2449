"""The door that every file from outside comes through: regular files, of bounded size, strict JSON.

A pipe would make a reader wait for ever, a device would fill the memory, and a text that is nested
ten thousand deep would end the program. Each ends here in one line that names the file.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from recam.runtime.errors import RecamError

MAX_TEXT_BYTES = 256 << 20
"""No camera file, however long its video, comes near this."""
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def require_file(path: str | Path) -> Path:
    """``path``, when it is a regular file or a link to one.

    Raises:
        RecamError: nothing is there, it may not be read, or it is a folder, a pipe or a device.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise RecamError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise RecamError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
        raise RecamError(f"{path}: is {kind}; expected a regular file")
    if not os.access(path, os.R_OK):
        raise RecamError(f"{path}: permission denied")
    return path


def read_bytes(path: str | Path, max_bytes: int) -> bytes:
    """All bytes of a regular file of at most ``max_bytes``.

    Raises:
        RecamError: it cannot be read, or is larger.
    """
    path = require_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise RecamError(f"{path}: {error.strerror or error}") from error
    if len(data) > max_bytes:
        raise RecamError(f"{path}: larger than {max_bytes >> 20} MB; not a file of its kind")
    return data


def read_text(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A regular UTF-8 text file (a byte-order mark is left out).

    Raises:
        RecamError: it cannot be read, or is too large.
        ValueError: it is not text.
    """
    try:
        return read_bytes(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file") from error


def read_json(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """The content of a regular JSON file.

    Raises:
        RecamError: it cannot be read, or is too large.
        ValueError: it is not JSON; with the line where that shows.
    """
    return parse_json(read_text(path, max_bytes), path)


def parse_json(text: str, path: str | Path) -> Any:
    """JSON text from a file. Raises ValueError with file and line when it is broken."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not a file of its kind (JSON nested too deep)") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise ValueError(f"{path}: not a file of its kind ({error})") from error


def short_reason(error: Exception) -> str:
    """Another library's message as a part of one of ours: one line, short, and without its advice
    to load what may run code."""
    text = " ".join(str(error).split())
    if "pickle" in text:
        return "it holds Python objects, which are never loaded"
    return text if len(text) <= 200 else f"{text[:196]} …"
