"""What was worked out once, found again by the content of what it was worked out from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recam.runtime.memory import memory_bytes

if TYPE_CHECKING:
    import torch

MAX_BYTES_IN_MEMORY = 256 << 20
"""Videos beyond this many bytes go to a memory-mapped file, where there is much memory."""
SHARE_IN_MEMORY = 1 / 40
"""Of the memory: where there is less, smaller ones go there too."""

SCRATCH = "scratch"
"""The cache's folder for files that are gone when they are closed."""


def cache_folder() -> Path:
    """Where scenes and adapters are kept: $RECAM_CACHE, else the user's cache folder, else (for a
    user without a home) one in the system's temporary folder."""
    if folder := os.environ.get("RECAM_CACHE"):
        return Path(folder).expanduser()
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "recam"
    try:
        return Path.home() / ".cache" / "recam"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"recam-{os.getuid()}"


def scratch_file() -> IO[bytes]:
    """An open file in the cache folder that is gone when it is closed (a system's own temporary
    folder is often kept in memory, and serves only where the cache cannot be written to)."""
    folder = cache_folder() / SCRATCH
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


def fits_in_memory(num_bytes: int) -> bool:
    """Whether an array of so many bytes lies in memory rather than in a file."""
    memory = memory_bytes()
    most = MAX_BYTES_IN_MEMORY if memory is None else SHARE_IN_MEMORY * memory
    return num_bytes <= min(MAX_BYTES_IN_MEMORY, most)


def scratch_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of zeros, in memory, or where it is large in a memory-mapped file that goes with it:
    the system writes back what it needs the memory of."""
    import numpy as np
    import torch

    kind = torch.empty(0, dtype=dtype).numpy().dtype
    num_bytes = int(np.prod(shape)) * kind.itemsize
    if fits_in_memory(num_bytes):
        return torch.zeros(shape, dtype=dtype)
    with scratch_file() as file:
        file.truncate(num_bytes)
        return torch.from_numpy(np.memmap(file, kind, "r+", shape=shape))


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; 0 when there is none."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def listing_hash(folder: Path, leave_out: Path | None = None) -> str:
    """sha256 (hex) over names, sizes and times of change of a folder's files: enough to notice that
    data were exchanged, without reading them. leave_out: a folder in it that does not count."""
    listed = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (leave_out and path.resolve().is_relative_to(leave_out)):
            stat = path.stat()
            listed.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def content_hash(*parts: Any) -> str:
    """sha256 (hex) over parts: an existing Path by its bytes (a folder by its files' names and
    bytes), a dataclass by its fields, anything else by its JSON."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for path in [part] if part.is_file() else sorted(part.rglob("*")):
                if path.is_file():
                    digest.update(path.relative_to(part).as_posix().encode())
                    with path.open("rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            fields = dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part  # type: ignore[arg-type]
            digest.update(json.dumps(fields, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()
