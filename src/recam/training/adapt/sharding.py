"""Weights that are split over several processes (FSDP, Zhao et al. 2023, torch's fully_shard)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recam.completion.foundation.speedups import blocks_of
from recam.training.adapt.optimizers import at_eight_bits
from recam.training.optim import load_checkpoints


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


def share_name(rank: int, world: int) -> str:
    """Of the file with a process's share of an unfinished run."""
    return f"adapting.{rank}-of-{world}.pt" if world > 1 else "adapting.pt"


def saved_share(folder: Path, rank: int, world: int) -> dict[str, Any] | None:
    """A process's share of the furthest step that all processes saved, however many these were;
    None where there is none."""
    numbers = (re.fullmatch(r"adapting\.0-of-(\d{1,4})(\.previous)?\.pt", f.name) for f in
               folder.glob("adapting.0-of-*.pt"))  # fmt: skip
    found: list[tuple[int, list[dict[str, Any]]]] = []
    for num in {1} | {int(match[1]) for match in numbers if match}:
        saved = [
            {state["run"]["step"]: state for state in load_checkpoints(folder / share_name(i, num))}
            for i in range(num)
        ]
        # One that was killed may have saved a step that others did not.
        if steps := set.intersection(*map(set, saved)):
            found.append((max(steps), [states[max(steps)] for states in saved]))
    if not found:
        return None
    shares = max(found, key=lambda one: one[0])[1]
    if len(shares) == world:
        return shares[rank]
    state = regrouped(shares, rank, world)
    kept = state["optimizer"]["state"]
    state["optimizer"]["state"] = {i: at_eight_bits(states) for i, states in kept.items()}
    return state


def regrouped(shares: Sequence[Any], rank: int, world: int) -> Any:
    """The share of process ``rank`` of ``world`` in what any number of processes' shares, in
    order, are together: of every tensor in dictionaries and lists as fully_shard splits it, by the
    first axis; numbers are alike in all."""
    first = shares[0]
    if isinstance(first, dict):
        return {name: regrouped([s[name] for s in shares], rank, world) for name in first}
    if isinstance(first, list):
        return [regrouped(parts, rank, world) for parts in zip(*shares, strict=True)]
    if not isinstance(first, Tensor) or first.dim() == 0:
        return first
    whole = torch.cat([part if type(part) is Tensor else part.dequantize() for part in shares])
    parts = whole.chunk(world)
    return parts[rank].clone() if rank < len(parts) else whole[:0].clone()
