"""Adapting on several GPUs, a process each: how they are started and listened to."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recam.completion.foundation import load_foundation
from recam.configs import CompleteConfig, FinetuneConfig
from recam.training.adapt.latents import LatentExample
from recam.training.optim import load_checkpoint, save_checkpoint
from recam.types import Progress, RecamError


def adapt_on_devices(
    adapt: Callable[..., Any],
    model: Any,
    examples: Sequence[LatentExample],
    config: FinetuneConfig,
    folder: Path,
    progress: Progress,
    seconds_spent: float,
) -> None:
    """Adapt in config.devices processes, which load the model's checkpoint again, each to a GPU of
    its own (or to the CPU, where the model is). They leave adapter.safetensors in the folder.

    adapt: what each process calls (adapt_foundation, which calls this).

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
        arguments = (adapt, model.source, model.device.type, job, config, folder, seconds_spent)
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
        reason = lines[-1].removeprefix("recam.runtime.errors.RecamError: ")
        raise RecamError(f"adapting on {num} devices: {reason}") from error
    finally:
        for process in running.processes:
            if process.is_alive():
                process.terminate()


def _adapt_one(
    rank: int, num: int, adapt: Callable[..., Any], source: CompleteConfig, kind: str, job: Path,
    config: FinetuneConfig, folder: Path, seconds_spent: float, told: Any,
) -> None:  # fmt: skip
    """One of the processes."""
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
    saved = load_checkpoint(job)
    assert saved is not None
    examples = [LatentExample(**parts) for parts in saved["examples"]]

    def tell(what: str, done: int, total: int) -> None:
        if rank == 0:
            told.put((what, done, total))

    adapt(model, examples, config, folder, tell, seconds_spent)
    torch.distributed.destroy_process_group()
