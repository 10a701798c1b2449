"""Weights of the small model as safetensors, with the model's config inside the file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import torch

from recam.completion.transformer import VideoTransformer
from recam.configs import ModelConfig
from recam.runtime.cache import cache_folder
from recam.runtime.files import short_reason
from recam.runtime.tensors import (
    load_tensors,
    read_config,
    read_metadata,
    require_format,
    save_tensors,
)
from recam.types import RecamError

FORMAT = "recam video transformer 1"
BOUNDS = {
    "patch": (8, 32), "hidden": (1, 8192), "heads": (1, 128), "blocks": (1, 256), "stem": (1, 1024),
    "convs": (0, 64), "num_anchors": (0, 1024), "caution": (0, 1), "residual_std": (1e-6, 1e3),
}  # fmt: skip
"""Of the numbers in a weight file's config."""
SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "masked.safetensors"
"""Where the package keeps the weights that come with it, when any do."""


def save_model(
    model: VideoTransformer, path: Path, dtype: torch.dtype = torch.bfloat16, **notes: str
) -> None:
    """Write a model's weights and config; notes go into the file's metadata."""
    tensors = {name: value.to(dtype) for name, value in model.state_dict().items()}
    config = json.dumps(dataclasses.asdict(model.config))
    save_tensors(path, tensors, {"format": FORMAT, "config": config, **notes})


def load_model(path: Path, device: str = "cpu") -> VideoTransformer:
    """The model that ``save_model`` wrote, ready to sample, in the file's precision.

    Training needs ``.float()``. Raises RecamError when the file is missing, damaged, or does not
    fit the model that it describes.
    """
    metadata = read_metadata(path)
    require_format(path, metadata, FORMAT)
    config = read_config(path, metadata, ModelConfig, BOUNDS)
    with torch.device("meta"):  # no time spent on a start that is replaced at once
        model = VideoTransformer(config)
    try:
        model.load_state_dict(load_tensors(path, device), assign=True)
    except RuntimeError as error:
        reason = short_reason(error)
        raise RecamError(f"{path}: does not fit this version's model ({reason})") from error
    return model.eval()


def find_weights(given: str | None) -> Path:
    """The weight file to use: the given one (or the parts of one in a folder), else the package's.

    Raises RecamError when there is none.
    """
    if given is not None:
        return join_parts(Path(given))
    if SHIPPED.is_file():
        return SHIPPED
    raise RecamError(
        "the masked model has no weights here: this version ships none; give --weights FILE "
        "(`recam pretrain` makes one), or complete with --model propagate"
    )


def split_file(path: Path, part_bytes: int) -> list[Path]:
    """Copy a file into parts of at most part_bytes beside it, replacing parts of an earlier one.

    Parts are named NAME.<8 digits of the sha256>.<i>of<n>, so that those of different files are
    never joined.
    """
    content = path.read_bytes()
    name = f"{path.name}.{hashlib.sha256(content).hexdigest()[:8]}"
    for old in path.parent.glob(f"{path.name}.????????.*of*"):
        old.unlink()
    starts = range(0, max(len(content), 1), part_bytes)
    parts = []
    for i, start in enumerate(starts):
        parts.append(path.with_name(f"{name}.{i + 1}of{len(starts)}"))
        parts[-1].write_bytes(content[start : start + part_bytes])
    return parts


def join_parts(source: Path) -> Path:
    """A weight file from the folder that holds it or its parts; a file is returned as it is.

    Joined parts are written to the cache. Raises RecamError when parts are missing or damaged.
    """
    if not source.is_dir():
        return source
    whole = sorted(source.glob("*.safetensors"))
    if len(whole) == 1:
        return whole[0]
    firsts = sorted(source.glob("*.safetensors.????????.1of*"))
    if len(whole) + len(firsts) != 1:
        raise RecamError(
            f"{source}: expected one .safetensors file or the parts of one, "
            f"found {len(whole)} and the parts of {len(firsts)}"
        )
    first = _FIRST_PART.fullmatch(firsts[0].name)
    if first is None:
        raise RecamError(f"{firsts[0]}: not named as a part (NAME.<8 digits>.<i>of<n>)")
    stem, count = first[1], int(first[2])
    parts = [source / f"{stem}.{i + 1}of{count}" for i in range(count)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise RecamError(f"{source}: the part {missing[0]} is missing")
    content = b"".join(part.read_bytes() for part in parts)
    digest = hashlib.sha256(content).hexdigest()
    if digest[:8] != stem.rpartition(".")[2]:
        raise RecamError(f"{source}: the parts of {stem} are damaged (their sum is {digest[:8]})")
    joined = cache_folder() / "weights" / f"{digest[:24]}.safetensors"
    if not joined.is_file() or weights_sha256(joined) != digest:
        joined.parent.mkdir(parents=True, exist_ok=True)
        unfinished = joined.with_name(f".{joined.name}.{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(joined)
    return joined


_FIRST_PART = re.compile(r"(.+\.safetensors\.[0-9a-f]{8})\.1of([0-9]{1,4})", re.ASCII)


def weights_sha256(path: Path) -> str:
    """sha256 (hex) of a weight file, for a run's record."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
