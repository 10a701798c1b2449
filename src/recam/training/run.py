"""A training run: networks, optimizer and curve in memory, and how a folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from recam.runtime.records import write_json
from recam.training.optim import load_checkpoint, save_checkpoint
from recam.types import RecamError

Network = TypeVar("Network", bound=nn.Module)


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
    """Take up the run that a folder holds; False, and the options written there, when it has none.

    may_change: options that may differ from those it was begun with. Raises RecamError when others
    do.
    """
    options = json.loads(json.dumps(options))
    state = load_checkpoint(out / "checkpoint.pt")
    if state is None:
        write_json(out / "config.json", options)
        return False
    before = json.loads(state["config"])
    changed = [k for k in options if k not in may_change and before.get(k) != options[k]]
    if changed:
        raise RecamError(
            f"{out} holds a run with other options ({', '.join(changed)}); "
            "give the same options to resume it, or another folder"
        )
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.begun, run.rows = state["step"], state["begun"], state["rows"]
    return True


def keep(run: Run, out: Path, options: dict[str, Any]) -> None:
    """Write the run to its folder, whole or not at all."""
    state = {
        "config": json.dumps(options),
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "begun": run.begun,
        "rows": run.rows,
    }
    save_checkpoint(out / "checkpoint.pt", state)
