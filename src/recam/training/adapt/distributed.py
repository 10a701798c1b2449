"""Adapting on several GPUs, a process each: how they are started, and weights that are split over
them (FSDP, Zhao et al. 2023, as torch's fully_shard)."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recam.completion.foundation import load_foundation
from recam.completion.foundation.speedups import blocks_of
from recam.configs import CompleteConfig, FinetuneConfig
from recam.training.adapt.latents import LatentExample
from recam.training.optim import load_checkpoint, save_checkpoint
from recam.types import Progress, RecamError


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


def adapt_on_devices(
    model: Any,
    examples: Sequence[LatentExample],
    config: FinetuneConfig,
    folder: Path,
    progress: Progress,
    seconds_spent: float,
) -> None:
    """Adapt in config.devices processes, which load the model's checkpoint again, each to a GPU of
    its own (or to the CPU, where the model is). They leave adapter.safetensors in the folder.

    The model given here leaves its device meanwhile. Raises RecamError when there are too few GPUs,
    no checkpoint, or a process fails.
    """
    if model.device.type == "cuda" and torch.cuda.device_count() < config.devices:
        raise RecamError(
            f"--adapt-devices {config.devices}: there are {torch.cuda.device_count()} GPUs here"
        )
    if model.source is None:
        raise RecamError("adapting on several devices needs a model from load_foundation")
    for part in (model.transformer, model.vae):
        part.to("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "examples.pt"
        save_checkpoint(job, {"examples": [vars(example) for example in examples]})
        arguments = (model.source, model.device.type, job, config, folder, seconds_spent)
        _run(arguments, config.devices, progress)


def _run(arguments: tuple[Any, ...], num: int, progress: Progress) -> None:
    """Start the processes, pass on what the first one tells, and end them all when one fails."""
    import torch.multiprocessing as mp

    told = mp.get_context("spawn").SimpleQueue()
    running = mp.spawn(_adapt_one, (num, *arguments, told), num, join=False)
    try:
        while not running.join(timeout=0.2):
            while not told.empty():
                progress(*told.get())
        while not told.empty():
            progress(*told.get())
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].removeprefix("recam.types.RecamError: ")
        raise RecamError(f"adapting on {num} devices: {reason}") from error
    finally:
        for process in running.processes:
            if process.is_alive():
                process.terminate()


def _adapt_one(
    rank: int, num: int, source: CompleteConfig, kind: str, job: Path, config: FinetuneConfig,
    folder: Path, seconds_spent: float, told: Any,
) -> None:  # fmt: skip
    """One of the processes."""
    from recam.training.adapt.foundation import adapt_foundation

    device = f"cuda:{rank}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max((os.cpu_count() or 1) // num, 1))
    backend = "nccl" if kind == "cuda" else "gloo"
    meeting = job.with_name("meeting").as_uri()
    torch.distributed.init_process_group(backend, meeting, rank=rank, world_size=num)
    # What the model answers is never changed in place, which this warns of at every pass.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")
    # The weights stay in main memory until they are split, or there is an adapter to train.
    options = replace(source.foundation, model_device=device, placement="swap", compile=False)
    model = load_foundation(replace(source, foundation=options))
    examples = [LatentExample(**parts) for parts in load_checkpoint(job)["examples"]]

    def tell(what: str, done: int, total: int) -> None:
        if rank == 0:
            told.put((what, done, total))

    adapt_foundation(model, examples, config, folder, tell, seconds_spent)
    torch.distributed.destroy_process_group()
