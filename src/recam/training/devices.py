"""Training on several devices: a process each, started by torchrun or accelerate's launcher.

Every process learns from batches of its own and the gradients are averaged, or the weights are
split as well (FSDP). So many devices with so many micro-batches each give, step by step, what any
other division of the same number of micro-batches gives.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from recam.runtime.records import write_json
from recam.training.optim import pick_device
from recam.types import RecamError

SHARDED = "checkpoint"
"""Folder of the checkpoint that several processes write together."""


@dataclass(frozen=True)
class Devices:
    """This process's device, its number and how many there are. split: the weights are."""

    device: torch.device
    worker: int = 0
    num: int = 1
    split: bool = False

    def mean(self, value: float) -> float:
        """The mean of a number over all processes, each of which has to ask."""
        return self._of_all(value, distributed.ReduceOp.SUM) / self.num

    def agree(self, flag: bool) -> bool:
        """Whether any process says so."""
        return self._of_all(float(flag), distributed.ReduceOp.MAX) > 0

    def _of_all(self, value: float, reduce: Any) -> float:
        if self.num == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor, reduce)
        return float(tensor)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over all processes; of weights that are split that is done."""
        if self.num == 1 or self.split:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        # In one piece: many small ones would wait for the network many times.
        together = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(together)
        together.div_(self.num)
        parts = together.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def split_weights(self, model: nn.Module) -> None:
        """Split a model's weights over all processes, those of its ``blocks`` each by themselves
        (FSDP, Zhao et al. 2023, torch's fully_shard), where ``split`` says so."""
        if not self.split:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.num,))
        # What the model answers is never changed in place, which this warns of at every pass.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")
        for parameter in model.parameters():  # not channels_last
            parameter.data = parameter.data.contiguous()
        for part in (*getattr(model, "blocks", ()), model):
            fully_shard(part, mesh=mesh)


@contextmanager
def joined_devices(device: str, num: int, split: bool = False) -> Iterator[Devices]:
    """This process as one of those that a launcher started; alone without one.

    device: auto, cpu or cuda. num: how many there are to be; 0 = as many as were started. split:
    the weights are to be. Raises RecamError when there are others than ``num``, or when weights are
    to be split over one.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if num not in (0, started):
        raise RecamError(
            f"{num} devices asked for, but this is one of {started} processes; start it as: "
            f"torchrun --nproc-per-node {num} -m recam.train …"
        )
    if split and started == 1:
        raise RecamError("--split-weights needs several devices: start it by torchrun")
    if started == 1:
        yield Devices(pick_device(device))
        return
    chosen = pick_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    mine = not distributed.is_initialized()
    if mine:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Devices(chosen, distributed.get_rank(), distributed.get_world_size(), split)
    finally:
        if mine:
            distributed.destroy_process_group()


def save_sharded(
    folder: Path, model: nn.Module, optimizer: Any, more: dict[str, Any], about: dict[str, Any]
) -> None:
    """Write a checkpoint of all processes, each of which has to ask, whole or not at all.

    By torch.distributed.checkpoint: each process writes its own part, and any number of processes
    can read it. more: tensors that every process has alike. about: what goes into run.json.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, states = get_state_dict(model, optimizer)
    unfinished = folder.with_name(f".{folder.name}.part")
    dcp.save({"model": weights, "optimizer": states, **more}, checkpoint_id=unfinished)
    if distributed.get_rank() == 0:
        write_json(unfinished / "run.json", about)
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.replace(old)
        unfinished.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    distributed.barrier()


def load_sharded(folder: Path, model: nn.Module, optimizer: Any, more: dict[str, Any]) -> None:
    """Read what ``save_sharded`` wrote into a model and its optimizer, on any number of processes;
    ``more`` is read too. Raises RecamError when it is damaged."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    weights, states = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": states, **more}
    try:
        with warnings.catch_warnings():  # that one process may read it is wanted
            warnings.filterwarnings("ignore", "torch.distributed is")
            dcp.load(state, checkpoint_id=folder)
    except Exception as error:  # each damage to a file raises something else
        reason = " ".join(str(error).split())[:200]
        raise RecamError(f"{folder}: damaged ({reason}); begin in another folder") from error
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
