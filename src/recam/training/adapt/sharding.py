"""Weights that are split over several processes (FSDP, Zhao et al. 2023, torch's fully_shard)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recam.completion.foundation.speedups import blocks_of


def processes() -> tuple[int, int]:
    """(number of this process, how many there are): (0, 1) unless torch.distributed runs."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def shard(transformer: nn.Module, device: torch.device) -> None:
    """Split a transformer's weights over all processes, block by block, so that no device ever
    holds more than some blocks of them whole. Gradients are averaged at 32 bits."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (processes()[1],))
    precision = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for part in (*blocks_of(transformer), transformer):
        fully_shard(part, mesh=mesh, mp_policy=precision, reshard_after_forward=True)


def as_local(value: Any) -> Any:
    """A tensor's share of this process, or the same of every tensor in dictionaries and lists."""
    if isinstance(value, dict):
        return {name: as_local(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_local(part) for part in value]
    return value.to_local() if hasattr(value, "to_local") else value


def like_parameter(states: dict[str, Any], parameter: Any) -> dict[str, Any]:
    """An optimiser's states of a parameter that is split, from this process's share of them."""
    from torch.distributed.tensor import DTensor

    local = parameter.to_local().shape
    return {
        name: DTensor.from_local(
            part.to(parameter.device), parameter.device_mesh, parameter.placements,
            run_check=False, shape=parameter.shape, stride=parameter.stride(),
        ) if isinstance(part, Tensor) and part.dim() and part.shape == local else part
        for name, part in states.items()
    }  # fmt: skip


def gathered(value: Any) -> Tensor:
    """A tensor from all processes' shares, in main memory; every process has to ask."""
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole.detach().to("cpu")
