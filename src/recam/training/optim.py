"""What pretraining and finetuning share: one step, the average of weights, what it costs."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

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
    """Autocast to bfloat16, the fast path on CPUs and GPUs alike."""
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
    """One step on the gradients that are there; returns their norm. Skips what is not finite."""
    total: Any = nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    # Of weights that are split over devices, each has a part of the norm.
    norm = float(total.full_tensor() if hasattr(total, "full_tensor") else total)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # torchao compiles it in otherwise
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
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
        mean.lerp_(now.to(mean.dtype), 1 - keep)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write so that a kill at any moment leaves the old file or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


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
    """bf16 FLOP/s that a large matrix product reaches here, now."""
    size = 8192 if device.type == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(8):
        wait_for(device)
        start = time.perf_counter()
        a @ a
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
