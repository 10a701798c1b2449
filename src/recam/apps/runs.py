"""The folder that a run leaves: results that appear whole, and all that reproduces them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recam.types import RecamError

UNFINISHED = ".unfinished"
"""File in the folder of a run that is not done, with the number of its process."""


def choose_folder(wanted: Path | None, name: str) -> Path:
    """The folder to write: the wanted one, else the first free of name, name-2, name-3, … here.

    A wanted folder may be new, empty or an earlier run's (which is then replaced file by file);
    raises RecamError when it holds anything else or cannot be written.
    """
    if wanted is None:
        folder, number = Path(name), 2
        while folder.exists() and not _is_abandoned(folder):
            folder, number = Path(f"{name}-{number}"), number + 1
    else:
        folder = wanted
        if folder.exists() and not folder.is_dir():
            raise RecamError(f"{folder}: is a file; give a folder for the results")
        holds = folder.is_dir() and any(folder.iterdir()) and not _is_abandoned(folder)
        if holds and not (folder / "config.json").exists():
            raise RecamError(f"{folder}: holds other files; give a new or an empty folder")
    if _is_abandoned(folder):
        shutil.rmtree(folder)
    check_writable(folder)
    return folder


def _is_abandoned(folder: Path) -> bool:
    """Whether a run made the folder and was killed before it could finish it or take it away."""
    marker = folder / UNFINISHED
    try:
        number = int(marker.read_text())
        os.kill(number, 0)  # asks whether the process is there, and does nothing to it
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder that goes again, with all in it, if the work in it fails or is stopped.

    One that was there before stays, with the files that were finished.
    """
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not was_there:
            (folder / UNFINISHED).write_text(str(os.getpid()))
        yield
        (folder / UNFINISHED).unlink(missing_ok=True)
    except BaseException:
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_writable(path: Path) -> None:
    """Raise RecamError now rather than after minutes of work when path cannot be made."""
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise RecamError(f"{existing}: is a file, so {path} cannot be made in it")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RecamError(f"{existing}: cannot write here ({error.strerror})") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2, default=_jsonable) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


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
    """Largest resident memory of this process so far, in GB."""
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
