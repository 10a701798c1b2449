"""A training run: networks, optimizer and curve in memory, and how a folder keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from recam.training.devices import SHARDED, Devices, load_sharded, save_sharded
from recam.training.optim import load_checkpoint, remove_checkpoints, save_checkpoint
from recam.types import RecamError

Network = TypeVar("Network", bound=nn.Module)
ALONE = Devices(torch.device("cpu"))


@dataclass
class Run(Generic[Network]):
    """step counts finished steps; begun is the one that it began at, more than 0 when it began from
    the weights of another run. average: the running mean of the model's weights."""

    model: Network
    average: Network
    optimizer: torch.optim.AdamW
    step: int = 0
    begun: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)


def resume(run: Run, out: Path, options: dict[str, Any], may_change: Collection[str]) -> bool:
    """Take up the run that one process left in a folder; False when it has none.

    may_change: options that may differ from those it was begun with. Raises RecamError when others
    do.
    """
    state = load_checkpoint(out / "checkpoint.pt")
    if state is None:
        return False
    _require_same(out, options, json.loads(state["config"]), may_change)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.begun, run.rows = state["step"], state["begun"], state["rows"]
    return True


def is_sharded(out: Path) -> bool:
    """Whether a folder holds the run of several processes."""
    return (out / SHARDED / "run.json").is_file()


def resume_sharded(
    run: Run, out: Path, options: dict[str, Any], may_change: Collection[str]
) -> bool:
    """``resume``, of a run that several processes left; any number of them may take it up."""
    if not is_sharded(out):
        return False
    about = json.loads((out / SHARDED / "run.json").read_bytes())
    _require_same(out, options, about.pop("config"), may_change)
    average = run.average.state_dict()
    load_sharded(out / SHARDED, run.model, run.optimizer, {"average": average})
    run.average.load_state_dict(average)
    run.step, run.begun, run.rows = about["step"], about["begun"], about["rows"]
    return True


def split_over(run: Run, devices: Devices, new_optimizer: Callable[[Any], Any]) -> None:
    """Split a run's weights and its optimizer's states over all processes, if they are to be.

    new_optimizer(model): one like the run's, of the weights as they are then.
    """
    if not devices.split:
        return
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_state_dict,
        set_state_dict,
    )

    options = StateDictOptions(full_state_dict=True)
    weights, states = get_state_dict(run.model, run.optimizer, options=options)
    devices.split_weights(run.model)
    run.optimizer = new_optimizer(run.model)
    set_state_dict(
        run.model, run.optimizer, model_state_dict=weights, optim_state_dict=states,
        options=options,
    )  # fmt: skip


def keep(run: Run, out: Path, options: dict[str, Any], devices: Devices = ALONE) -> None:
    """Write the run to its folder, whole or not at all; every process has to ask."""
    about = {"step": run.step, "begun": run.begun, "rows": run.rows}
    if devices.num > 1:
        more = {"average": run.average.state_dict()}
        save_sharded(out / SHARDED, run.model, run.optimizer, more, about | {"config": options})
        if devices.worker == 0:
            remove_checkpoints(out / "checkpoint.pt")
        return
    state = {
        "config": json.dumps(options),
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        **about,
    }
    save_checkpoint(out / "checkpoint.pt", state)
    shutil.rmtree(out / SHARDED, ignore_errors=True)


def _require_same(
    out: Path, options: dict[str, Any], before: dict[str, Any], may_change: Collection[str]
) -> None:
    options = json.loads(json.dumps(options))
    changed = [k for k in options if k not in may_change and before.get(k) != options[k]]
    if changed:
        raise RecamError(
            f"{out} holds a run with other options ({', '.join(changed)}); "
            "give the same options to resume it, or another folder"
        )
