"""AdamW whose two states take a byte each, from whichever package has it here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recam.types import RecamError

BETAS, DECAY = (0.9, 0.999), 1e-4
"""Of the reference's finetuning."""


def eight_bit_adamw(parameters: list[nn.Parameter], lr: float) -> Any:
    """With the reference's decay and averages, from torchao (weights at 16 bits are rounded at
    random, so that steps far below their precision still add up), else from bitsandbytes (GPU only;
    rounds to nearest).

    Raises RecamError, saying what to install, when neither is here.
    """
    on_gpu = parameters[0].device.type == "cuda"
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        pass
    else:
        rounded = parameters[0].dtype == torch.bfloat16
        return AdamW8bit(
            parameters, lr=lr, betas=BETAS, weight_decay=DECAY, bf16_stochastic_round=rounded
        )
    if on_gpu:
        try:
            import bitsandbytes
        except ImportError:
            pass
        else:
            return bitsandbytes.optim.AdamW8bit(parameters, lr=lr, betas=BETAS, weight_decay=DECAY)
    raise RecamError(
        "adapting the whole model keeps its optimiser's states at 8 bits, for which torchao is "
        "not installed: pip install torchao; or adapt with --adapt-method lora"
    )


def at_eight_bits(states: dict[str, Any]) -> dict[str, Any]:
    """torchao's states of a parameter, those at 32 bits brought to eight as it would keep them.
    Raises RecamError for another package's, which do not come apart."""
    if not {"exp_avg", "exp_avg_sq"} <= set(states):
        raise RecamError(
            "bitsandbytes' states are resumed on as many devices as left them, only; "
            "pip install torchao, and begin in another folder"
        )
    from torchao.optim.subclass_8bit import OptimState8bit

    kept = dict(states)
    for name in ("exp_avg", "exp_avg_sq"):
        value = states[name]
        if type(value) is Tensor and value.numel() >= 4096 and value.numel() % 256 == 0:
            kept[name] = OptimState8bit.zeros(value.shape, signed=name == "exp_avg")
            kept[name].copy_(value.float())
    return kept


@contextmanager
def uncompiled_on(device: torch.device) -> Iterator[None]:
    """torchao compiles its step, which a CPU (where all of this only proves itself) does not need
    and may have no compiler for."""
    if device.type != "cpu":
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
