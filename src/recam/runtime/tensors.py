"""Named tensors on disk, as safetensors: never a pickle, whole or not at all, told in one line."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recam.runtime.cache_entries import CacheWarning, forget
from recam.runtime.files import parse_json, require_file, short_reason
from recam.runtime.records import Record, as_dataclass, shown
from recam.runtime.whole import sync
from recam.types import RecamError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
SHA256 = "content_sha256"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors, the same bytes for the same content, whole or not at all. The metadata
    get the content's hash besides, so that damage to the file is noticed.

    Raises OSError when the place cannot be written to or is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry, since safetensors writes several in an order that changes from run to run.
    about = json.dumps({**metadata, SHA256: content_sha256(content)}, sort_keys=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(content, unfinished, {"recam": about})
        unfinished.chmod(0o644)  # safetensors writes for the owner alone
        sync(unfinished)
        unfinished.replace(path)
    except SafetensorError as error:  # of the disk: it hides the number of the system's error
        raise OSError(f"{path}: cannot write ({error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) over names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tensors_are_whole(path: Path) -> bool:
    """Whether a file that ``save_tensors`` wrote is there, byte for byte. One that is damaged is
    told of (a CacheWarning) and taken away, to be made again."""
    if not path.exists():
        return False
    try:
        kept = read_metadata(path).get(SHA256)
        if kept == content_sha256(load_tensors(path)):
            return True
        reason = "it has other content than was kept"
    except (RecamError, ValueError, OSError) as error:
        kept, reason = "", str(error).removeprefix(f"{path}: ")
    if kept is not None:  # else of a version that kept no hash
        text = f"cache: {path} is damaged ({reason}); it is taken away and made again"
        warnings.warn(text, CacheWarning, stacklevel=2)
    forget(path)
    return False


def load_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """All tensors of a file. Raises RecamError when it is missing, damaged or of another kind."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(require_file(path), device=device)
    except (OSError, SafetensorError) as error:
        raise RecamError(f"{path}: not a whole safetensors file ({short_reason(error)})") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What ``save_tensors`` was told of a file: texts by name.

    Raises RecamError when it is missing, damaged, or not one of recam's own.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(require_file(path), "pt") as file:
            entry = (file.metadata() or {}).get("recam")
    except (OSError, SafetensorError) as error:
        raise RecamError(f"{path}: not a whole safetensors file ({short_reason(error)})") from error
    if entry is None:
        raise RecamError(f"{path}: safetensors, but not weights of recam's own model")
    try:
        about = Record(parse_json(entry, path), path, "metadata.")
        return {name: about.text(name) for name in about.value}
    except ValueError as error:
        raise RecamError(str(error)) from error


def read_config(
    path: Path, metadata: dict[str, str], kind: type[T], bounds: Mapping[str, tuple[float, float]]
) -> T:
    """The network's config (a dataclass) that a weight file describes, every number bounded: a
    network of a thousand million layers is refused before it is built.

    Raises RecamError.
    """
    try:
        described = Record({**metadata}, path, "metadata.").text("config")
        fields = Record(parse_json(described, path), path, "config.")
        return as_dataclass(fields, kind, bounds)
    except ValueError as error:
        raise RecamError(str(error)) from error


def require_format(path: Path, metadata: dict[str, str], expected: str) -> None:
    """Raise RecamError when a file holds something else than ``expected``."""
    if metadata.get("format") != expected:
        raise RecamError(f"{path}: holds {shown(metadata.get('format'))}, expected {expected!r}")
