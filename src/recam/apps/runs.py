"""The folder that a run leaves: results that appear whole, and all that reproduces them."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recam.runtime.files import read_json
from recam.runtime.records import Record, write_json
from recam.runtime.whole import finish_replacing, remove, staged_folder
from recam.types import RecamError


def plain_name(name: str) -> str:
    """A name to write to, made of what may be a pattern of pictures (``*.color``, ``%05d``)."""
    return re.sub(r"[*?\[\]%]+[0-9]*d?", "", name).strip("._- ") or "pictures"


def choose_folder(wanted: Path | None, name: str) -> Path:
    """The folder to write: the wanted one, else the first free of name, name-2, name-3, … here.

    A wanted folder may be new, empty or an earlier run's (which is then replaced); raises
    RecamError when it holds anything else or cannot be written.
    """
    if wanted is None:
        name = plain_name(name)
        folder, number = Path(name), 2
        while folder.exists():
            folder, number = Path(f"{name}-{number}"), number + 1
    else:
        folder = wanted
        if folder.exists() and not folder.is_dir():
            raise RecamError(f"{folder}: is a file; give a folder for the results")
        if folder.is_dir():
            finish_replacing(folder)
        holds = folder.is_dir() and any(folder.iterdir())
        if holds and not (folder / "config.json").exists():
            raise RecamError(f"{folder}: holds other files; give a new or an empty folder")
    check_writable(folder)
    return folder


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write results into. When the block ends they are at ``folder``:
    all of them, in place of an earlier run's; when it raises, ``folder`` is as it was."""
    with staged_folder(folder) as staged:
        yield staged
        written = sorted(path.name for path in staged.iterdir())
        record = staged / "config.json"
        if record.is_file():
            content = read_json(record)
            write_json(record, {**content, "files": written})
        stale = _written_before(folder) - set(written)
    for name in stale:  # a truth or an export of the earlier run would not be of this one
        remove(folder / name)


def _written_before(folder: Path) -> set[str]:
    """What an earlier run left in the folder, by its own record."""
    try:
        record = Record(read_json(folder / "config.json"), folder / "config.json")
        named = {str(name) for name in record.items("files")}
    except (ValueError, RecamError):  # no run's folder
        return set()
    return named & {path.name for path in folder.iterdir()}  # nothing outside, whatever it says


def check_writable(path: Path) -> None:
    """Raise RecamError now rather than after minutes of work when path cannot be made."""
    existing = path if path.is_dir() else path.parent
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise RecamError(f"{existing}: is a file, so {path} cannot be made in it")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RecamError(f"{existing}: cannot write here ({error.strerror})") from error


def machine() -> dict[str, Any]:
    """What a figure depends on, for the run's record."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": device_name(),
        "precision": "float32",
    }


def device_name() -> str:
    """The device that the stages compute on, in words."""
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}"
    return "cpu"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far, in GB; 0 on a system that does not say."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
