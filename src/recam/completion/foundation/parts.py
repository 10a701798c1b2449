"""The parts of a video model's checkpoint in diffusers' layout: found, sized, placed and loaded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from recam.completion.foundation.adapters import fuse_adapter
from recam.completion.foundation.placement import (
    EXPLAINED,
    ModelNote,
    choose_placement,
    free_gb,
    pick_device,
    place_transformer,
)
from recam.completion.foundation.published import Published
from recam.completion.foundation.size import memory_need, meta_transformer, on_meta
from recam.completion.foundation.speedups import prepare
from recam.completion.foundation.text import Encode, Text, prompt_embedding
from recam.configs import FoundationConfig, Placement
from recam.runtime.checkpoints import find_checkpoint, load_whole, read_json_file, require_diffusers
from recam.runtime.precision import compute_dtype
from recam.types import RecamError

CONFIGS = ["*.json", "transformer/*.json", "vae/*.json"]
"""Some kilobytes, which say what a model would cost."""
TRANSFORMER = ["*.json", "diffusion_pytorch_model*", "transformer/*"]
"""Alone or of a whole pipeline, and nothing else that a repository may hold."""
REST = ["vae/*", "scheduler/*", "model_index.json"]


@dataclass(frozen=True)
class Parts:
    """Where the parts of a checkpoint are: the transformer's folder, the one that holds the others,
    that one's name as it was given, and the configs of transformer and VAE. file: the transformer's
    weights where they are one file, to which its folder gives the config alone."""

    transformer: Path
    rest: Path
    base: str
    config: dict[str, Any]
    vae_config: dict[str, Any]
    file: Path | None = None


def find_parts(weights: str, base: str | None, published: Published) -> Parts:
    """weights: a whole pipeline's folder or Hub name, or a transformer's alone, also as a file of
    its weights, to which the other parts come from ``base``, by default the published model's.

    Raises RecamError when files are missing or are those of another model.
    """
    file = Path(weights).expanduser()
    if file.is_file():
        whole = base or published.base
        find_checkpoint(whole, ["transformer/config.json"])
        return replace(find_parts(whole, None, published), file=file)
    folder = find_checkpoint(weights, TRANSFORMER)
    inner = transformer_folder(folder, published.transformer)
    has_vae = (folder / "vae" / "config.json").is_file()
    config = whole_config(published.transformer, inner)
    if base or has_vae or _is_whole(folder):
        base = base or weights
        rest = find_checkpoint(base, REST)
    else:
        base = published.base
        try:
            rest = find_checkpoint(base, REST)
        except RecamError as error:
            raise RecamError(
                f"{weights}: a transformer alone, and its VAE and text encoder are missing (give "
                f"them by --base): {error}"
            ) from error
    vae = rest / "vae"
    if (has := read_part_config(vae).get("_class_name")) != published.vae:
        raise RecamError(f"{vae}: holds a {has}, but this model needs a {published.vae}")
    return Parts(inner, rest, base, config, whole_config(published.vae, vae))


def _is_whole(folder: Path) -> bool:
    """Whether a checkpoint, of which only the transformer may be here yet, has the other parts."""
    return (folder / "model_index.json").is_file()


def read_part_config(folder: Path) -> dict[str, Any]:
    """The config.json of one part of a checkpoint."""
    if (folder / "zero_to_fp32.py").is_file() and not (folder / "config.json").is_file():
        raise RecamError(
            f"{folder}: a DeepSpeed training state, not a model yet: run `python zero_to_fp32.py . "
            "MODEL --safe_serialization` in it, put the transformer's config.json into MODEL and "
            "give that folder"
        )
    return read_json_file(folder / "config.json")


def whole_config(class_name: str, folder: Path) -> dict[str, Any]:
    """A part's config.json, what it leaves open filled in. Raises RecamError where no part of that
    class of diffusers can be built by it."""
    config = read_part_config(folder)
    try:
        return {**on_meta(class_name, config).config}
    except Exception as error:  # whatever a wrong value leads to
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"{folder / 'config.json'}: no {class_name}: {reason}") from error


def transformer_folder(folder: Path, class_name: str) -> Path:
    """Where the transformer is: ``folder`` itself or its ``transformer`` part.

    Raises RecamError when it is of another class than class_name.
    """
    inner = folder / "transformer"
    found = inner if (inner / "config.json").is_file() else folder
    has = read_part_config(found).get("_class_name")
    if has != class_name:
        raise RecamError(f"{found}: holds a {has}, but this model needs a {class_name}")
    return found


def choose_place(
    parts: Parts, published: Published, tokens: int, options: FoundationConfig,
    dtype: torch.dtype | None,
) -> tuple[torch.device, Placement, torch.dtype]:  # fmt: skip
    """Where it computes, how its parts share the memory that is free there now, and at which
    precision (dtype, where one is given).

    Raises RecamError, before anything is loaded, where nothing fits.
    """
    device = pick_device(options.model_device)
    size = meta_transformer(published.transformer, parts.config, tokens)
    dtype = dtype or compute_dtype(device)
    need = memory_need(size, published, parts.vae_config, options.quantize, dtype)
    free = free_gb(device)
    placement = choose_placement(need, free, options.placement, device.type == "cpu")
    if placement != "resident" and options.placement == "auto":
        warnings.warn(
            f"{free:.1f} GB are free on {device}, so placement is {placement}: "
            f"{EXPLAINED[placement]}",
            ModelNote,
            stacklevel=2,
        )
    return device, placement, dtype


def load_transformer(
    parts: Parts, published: Published, options: FoundationConfig,
    device: torch.device, placement: Placement, dtype: torch.dtype,
) -> Any:  # fmt: skip
    """The transformer, quantised and compiled as asked for, and placed."""
    transformer_class = getattr(require_diffusers(), published.transformer)
    if parts.file:
        transformer = load_file(transformer_class, parts.file, parts.transformer, dtype)
    else:
        transformer = load_whole(transformer_class, parts.transformer, dtype)
    if options.lora:
        fuse_adapter(transformer, published.pipeline, Path(options.lora).expanduser())
    prepare(transformer, placement, options.quantize, options.compile)
    place_transformer(transformer, placement, device, dtype)
    return transformer


def load_file(transformer_class: Any, file: Path, config: Path, dtype: torch.dtype) -> Any:
    """A transformer whose weights are one file, under diffusers' names or, where diffusers knows
    how to rename them, its publishers'. config: folder of its config.json.

    Raises RecamError when they are not all of its weights, or others.
    """
    from safetensors.torch import load_file as read_tensors

    with torch.device("meta"):
        model = transformer_class.from_config(read_part_config(config))
    try:
        tensors = read_tensors(file)
        if set(tensors) == set(model.state_dict()):
            tensors = {name: value.to(dtype) for name, value in tensors.items()}
            model.load_state_dict(tensors, assign=True)
        else:
            del tensors
            model = transformer_class.from_single_file(
                str(file), config=str(config), torch_dtype=dtype, local_files_only=True
            )
    except Exception as error:  # each damage to a file raises something else
        reason = " ".join(str(error).split())[:300]
        raise RecamError(
            f"{file}: cannot be read as {transformer_class.__name__}: {reason}"
        ) from error
    missing = [name for name, value in model.named_parameters() if value.is_meta]
    if missing:
        raise RecamError(
            f"{file}: {len(missing)} missing parameters, such as {missing[0]}; not a whole "
            f"{transformer_class.__name__}"
        )
    return model.eval().requires_grad_(False)


def prompt_pair(
    parts: Parts,
    options: FoundationConfig,
    guidance: float,
    max_length: int,
    dtype: torch.dtype,
    encode: Encode,
) -> tuple[Text, Text | None]:
    """The prompt, and the empty one that it is guided away from.

    Equal prompts give equal answers a, and a + g·(a − a) = a for any guidance g; nor does g = 1
    need the other answer: None, then.
    """
    prompt = prompt_embedding(parts.base, options.prompt, max_length, dtype, encode)
    if options.prompt == "" or guidance == 1:
        return prompt, None
    return prompt, prompt_embedding(parts.base, "", max_length, dtype, encode)
