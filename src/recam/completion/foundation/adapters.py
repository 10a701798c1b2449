"""Low-rank adapters of foundation models, through peft: megabytes instead of a checkpoint's tens of
gigabytes. Kept under the names that diffusers' pipelines read (``load_lora_weights``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.types import RecamError

NAME, FUSED = "recam", "file"
PREFIX = "transformer."
LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]
"""The projections of every attention, which all models here call so."""


def require_peft() -> Any:
    """The peft package. Raises RecamError when it is not installed."""
    try:
        import peft
    except ImportError as error:
        raise RecamError(
            f"low-rank adapters need peft: pip install 'recam[foundation]' ({error})"
        ) from error
    return peft


def add_adapter(transformer: Any, rank: int, seed: int = 0) -> list[torch.nn.Parameter]:
    """Freeze a transformer and give its attention layers an adapter (Hu et al. 2021) that changes
    nothing yet: B is zero, A drawn from the seed. Returns the adapter's weights, float32.

    Raises ValueError for a rank below 1 or when there is an adapter already.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    if has_adapter(transformer):
        raise ValueError("this transformer has an adapter already; take it off first")
    peft = require_peft()
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS), NAME
        )
        # Drawn here, on the CPU and in the order of names: the same on every device and precision.
        for name, weight in _weights(transformer):
            weight.data = weight.data.float()
            if "lora_A" in name:
                drawn = torch.empty(weight.shape)
                torch.nn.init.kaiming_uniform_(drawn, a=5**0.5)
                weight.data.copy_(drawn)
            weight.requires_grad_(True)
    return [weight for _, weight in _weights(transformer)]


def fuse_adapter(transformer: Any, pipeline: str, file: Path) -> None:
    """Add a low-rank adapter's file to a transformer's weights for good. pipeline: the class of
    diffusers whose names for such files are read, its own and those of others that it converts.

    Raises RecamError when the file is none, or has weights that this transformer has no place for.
    """
    require_peft()
    import diffusers
    from safetensors.torch import load_file

    if not file.is_file():
        raise RecamError(f"--lora {file}: no such file")
    try:
        tensors = getattr(diffusers, pipeline).lora_state_dict(load_file(file))
    except Exception as error:  # each damage to a file raises something else
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"--lora {file}: cannot be read as an adapter: {reason}") from error
    modules = {PREFIX + name for name, _ in transformer.named_modules()}
    strangers = [n for n in tensors if n.split(".lora_")[0].removesuffix(".alpha") not in modules]
    if strangers or not tensors:
        example = min(strangers, default="nothing")
        raise RecamError(f"--lora {file}: an adapter of another model (it has {example})")
    try:
        transformer.load_lora_adapter(tensors, prefix="transformer", adapter_name=FUSED)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"--lora {file}: does not fit this model: {reason}") from error
    transformer.fuse_lora()
    transformer.unload_lora()
    transformer.requires_grad_(False)


def has_adapter(transformer: Any) -> bool:
    return NAME in getattr(transformer, "peft_config", {})


def remove_adapter(transformer: Any) -> None:
    """Take the adapter off, if there is one."""
    if has_adapter(transformer):
        transformer.delete_adapters([NAME])
        transformer.unload_lora()
        transformer.requires_grad_(False)


def adapter_tensors(transformer: Any, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Copies of the adapter's weights on the CPU, by their names in a file."""
    return {
        PREFIX + name.replace(f".{NAME}.", "."): weight.detach().to("cpu", dtype, copy=True)
        for name, weight in _weights(transformer)
    }


def set_adapter(transformer: Any, tensors: dict[str, Tensor], rank: int) -> None:
    """Put an adapter's tensors on a transformer, in its own precision and ready to sample.

    Raises RecamError, leaving the transformer without one, when they do not fit.
    """
    if not has_adapter(transformer):
        add_adapter(transformer, rank)
    dtype = transformer.dtype if transformer.dtype.itemsize > 1 else torch.bfloat16
    wanted = {PREFIX + n.replace(f".{NAME}.", "."): w for n, w in _weights(transformer)}
    wrong = set(wanted) ^ set(tensors)
    wrong |= {n for n, w in wanted.items() if n in tensors and tensors[n].shape != w.shape}
    if wrong:
        remove_adapter(transformer)
        raise RecamError(f"this adapter is of another model (see {min(wrong)})")
    for name, weight in wanted.items():
        weight.data = tensors[name].to(weight.device, dtype)
        weight.requires_grad_(False)


def _weights(transformer: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(n, p) for n, p in transformer.named_parameters() if f".{NAME}." in n]
