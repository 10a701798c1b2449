"""Weights of the small model as safetensors, with the model's config inside the file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.completion.transformer import VideoTransformer
from recam.configs import CompleteConfig, ModelConfig, SamplingConfig
from recam.runtime.cache import cache_folder
from recam.types import RecamError

FORMAT = "recam video transformer 1"
ADAPT_MINUTES = 3.0
"""Of foundation models, unless the user says otherwise."""
SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "masked.safetensors"
"""Where the package keeps the weights that come with it, when any do."""
BETTER_CLASSICAL = ("interpolate", "edit")
"""Tasks that the weights as they are were measured to be no better at (docs/tasks.md)."""


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors, the same bytes for the same content, whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    # One entry, since safetensors writes several in an order that changes from run to run.
    described = {"recam": json.dumps(metadata, sort_keys=True)}
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, unfinished, described)
    unfinished.chmod(0o644)  # safetensors writes for the owner alone
    unfinished.replace(path)


def save_model(
    model: VideoTransformer, path: Path, dtype: torch.dtype = torch.bfloat16, **notes: str
) -> None:
    """Write a model's weights and config; notes go into the file's metadata."""
    tensors = {name: value.to(dtype) for name, value in model.state_dict().items()}
    config = json.dumps(dataclasses.asdict(model.config))
    save_tensors(path, tensors, {"format": FORMAT, "config": config, **notes})


def read_metadata(path: Path) -> dict[str, str]:
    """What a weight file says about itself. Raises RecamError when it is not one of ours."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RecamError(f"{path}: no such weight file")
    try:
        with safe_open(path, "pt") as file:
            entry = (file.metadata() or {}).get("recam")
    except SafetensorError as error:
        raise RecamError(f"{path}: not a whole safetensors file ({error})") from error
    if entry is None:
        raise RecamError(f"{path}: safetensors, but not weights of recam's own model")
    return json.loads(entry)


def load_model(path: Path, device: str = "cpu") -> VideoTransformer:
    """The model that ``save_model`` wrote, ready to sample, in the file's precision.

    Training needs ``.float()``. Raises RecamError when the file is missing, damaged, or does not
    fit the model that it describes.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if metadata["format"] != FORMAT:
        raise RecamError(f"{path}: holds {metadata['format']!r}, expected {FORMAT!r}")
    config = model_config(json.loads(metadata["config"]))
    with torch.device("meta"):  # no time spent on a start that is replaced at once
        model = VideoTransformer(config)
    try:
        model.load_state_dict(load_file(path, device=device), assign=True)
    except RuntimeError as error:
        raise RecamError(f"{path}: does not fit this version's model ({error})") from error
    return model.eval()


def model_config(fields: dict) -> ModelConfig:
    """ModelConfig from its JSON form. Raises RecamError on fields that this version lacks."""
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    if extra := set(fields) - known:
        raise RecamError(f"weights of a newer recam: unknown model fields {sorted(extra)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return ModelConfig(**values)


def chosen(config: CompleteConfig, task: str | None = None) -> CompleteConfig:
    """The config with what is left open filled in. Model "auto" is masked where weights are given
    or come with the package, else propagate; for a task of BETTER_CLASSICAL propagate, unless
    weights are given."""
    model, minutes, steady = config.model, config.adapt_minutes, config.steady
    if steady is None:
        steady = SamplingConfig().steady if model in ("auto", "masked") else 0
    if model == "auto":
        there = SHIPPED.is_file() and task not in BETTER_CLASSICAL
        there |= config.weights is not None
        model = "masked" if there else "propagate"
    if minutes is None:
        minutes = 0.0 if model == "masked" else ADAPT_MINUTES
    return replace(config, model=model, adapt_minutes=minutes, steady=steady)


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
    stem, _, count = firsts[0].name.rpartition(".1of")
    parts = [source / f"{stem}.{i + 1}of{count}" for i in range(int(count))]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise RecamError(f"{source}: the part {missing[0]} is missing")
    content = b"".join(part.read_bytes() for part in parts)
    digest = hashlib.sha256(content).hexdigest()
    if digest[:8] != stem.rpartition(".")[2]:
        raise RecamError(f"{source}: the parts of {stem} are damaged (their sum is {digest[:8]})")
    joined = cache_folder() / "weights" / f"{digest[:24]}.safetensors"
    if not joined.is_file():
        joined.parent.mkdir(parents=True, exist_ok=True)
        unfinished = joined.with_name(f".{joined.name}.{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(joined)
    return joined


def weights_sha256(path: Path) -> str:
    """sha256 (hex) of a weight file, for a run's record."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
