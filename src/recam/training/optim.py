"""What pretraining and finetuning share: one step, the average of weights, what it costs."""

from __future__ import annotations

import copy
import math
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from recam.runtime.files import require_file
from recam.runtime.precision import compute_dtype
from recam.runtime.whole import sync, temporary_beside
from recam.types import RecamError

Network = TypeVar("Network", bound=nn.Module)
MAX_GRADIENT_NORM = 1.0


def pick_device(name: str) -> torch.device:
    """'auto' is the GPU if there is one. Raises ValueError for a GPU that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no GPU; use 'cpu'")
    return device


def bf16(device: torch.device) -> AbstractContextManager:
    """Autocast to bfloat16 where the device computes in it; else all stays float32."""
    if compute_dtype(device) != torch.bfloat16:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def new_optimizer(
    parameters: list[nn.Parameter], lr: float, weight_decay: float, fused: bool | None = None
) -> torch.optim.AdamW:
    """AdamW; only matrices decay. fused: in one kernel, several times faster for a small model."""
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    used = [g for g in groups if g["params"]]
    return torch.optim.AdamW(used, lr=lr, betas=(0.9, 0.99), fused=fused)


def learning_rate(step: int, steps: int, peak: float, warmup: int, falls: bool = True) -> float:
    """Linear warm-up, then half a cosine down to a hundredth, or, where it does not fall, flat."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if not falls:
        return peak
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def update(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], lr: float) -> float:
    """One step on the gradients that are there; returns their norm. Skips what is not finite.

    A group of parameters with an ``lr_share`` learns at that part of the rate.
    """
    total: Any = nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    # Of weights that are split over devices, each has a part of the norm.
    norm = float(total.full_tensor() if hasattr(total, "full_tensor") else total)
    for group in optimizer.param_groups:
        own = lr * group.get("lr_share", 1.0)
        if isinstance(group["lr"], Tensor):  # torchao compiles it in otherwise
            group["lr"].fill_(own)
        else:
            group["lr"] = own
    if math.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def average_of(model: Network) -> Network:
    """A copy that ``follow`` keeps as the running mean of the model's weights."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Exponential moving average; young averages forget faster, lest the start weighs for long."""
    keep = min(decay, (1 + step) / (10 + step))
    for mean, now in zip(average.parameters(), model.parameters()):
        # Of weights that are split over devices the average is whole on each.
        now = now.full_tensor() if hasattr(now, "full_tensor") else now
        mean.lerp_(now.to(mean.dtype), 1 - keep)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write so that a kill at any moment leaves the old file or the new one; the one before stays
    beside it."""
    unfinished = temporary_beside(path)  # takes away what a killed run left
    try:
        torch.save(state, unfinished)
        sync(unfinished)
        if path.exists():
            path.replace(_previous(path))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The last state that was saved; where that file is damaged, the one before, with a word.

    None when there is none. Raises RecamError when all that is there is damaged.
    """
    there = [p for p in (path, _previous(path)) if p.exists()]
    for file in there:
        if (state := _read(file)) is not None:
            return state
        warnings.warn(f"{file} is damaged; going on from the state before it", stacklevel=2)
    if there:
        raise RecamError(f"{path}: damaged, and so is the one before it; begin in another folder")
    return None


def load_checkpoints(path: Path) -> list[dict[str, Any]]:
    """The last states that were saved, two at most, of which none is damaged; they lie in their
    files still."""
    states = (_read(p, mmap=True) for p in (path, _previous(path)) if p.exists())
    return [state for state in states if state is not None]


def _read(file: Path, mmap: bool = False) -> dict[str, Any] | None:
    """The state in a file; None when it is damaged."""
    try:
        with zipfile.ZipFile(require_file(file)) as archive:
            damaged = archive.testzip()  # torch itself checks no sums
        if damaged is None:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, UnpicklingError):
        pass
    return None


def remove_checkpoints(path: Path) -> None:
    for file in (path, _previous(path)):
        file.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def wait_for(device: torch.device) -> None:
    """Let a GPU finish what it was given; a CPU has, already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(run: Callable[[], Tensor]) -> int:
    """Floating-point operations of matrix products, attention and convolutions in ``run`` and its
    backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run().backward()
    return counter.get_total_flops()


def peak_flops(device: torch.device) -> float:
    """FLOP/s that a large matrix product reaches here, now, in what ``bf16`` computes in."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device, dtype=compute_dtype(device))
    best = float("inf")
    for _ in range(8):
        wait_for(device)
        start = time.perf_counter()
        a @ a
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
