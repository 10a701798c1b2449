"""Train the masked video transformer from scratch. Run again to resume."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recam.completion.transformer import VideoTransformer
from recam.completion.weights import join_parts, load_model, read_metadata, save_model, split_file
from recam.configs import PretrainConfig
from recam.training.data import Material, draw_batch, make_material, read_videos, step_generator
from recam.training.loss import masked_loss
from recam.training.optim import (
    average_of,
    bf16,
    follow,
    learning_rate,
    new_optimizer,
    pick_device,
    update,
)
from recam.training.run import Run, keep, resume
from recam.training.training_monitor import Board
from recam.types import Pair, Progress, RecamError, no_progress

MAY_CHANGE = {
    "out", "steps", "device", "devices", "checkpoint_every", "evaluate_every", "grad_checkpoint",
    "compile", "minutes", "start", "part_mb", "workers", "finish",
}  # fmt: skip
"""Options that may differ when a run is resumed; any other would make it another run."""


def pretrain(
    config: PretrainConfig,
    pairs: Sequence[Pair] = (),
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda line: None,
    heldout: Sequence[Pair] = (),
) -> Path:
    """Train and return the weight file (averaged weights, bf16 safetensors).

    Learns from layered clips made on the training device, from the videos in config.videos, and
    from pairs (of ``make_pairs``; the held-out ones only tell how it goes). Writes to config.out:
    checkpoint.pt, weights.safetensors (and its parts), curves.csv, curves.png, summary.txt,
    TensorBoard files if that package is there, config.json. On a CPU a run that was killed and
    resumed ends in the same bytes as one that was not. With config.devices > 1 it must be started
    by accelerate's launcher, once per device.

    Raises RecamError when the folder holds a run of other options, or videos are missing.
    """
    budget = 60 * (math.inf if config.minutes is None else config.minutes)
    until = time.monotonic() + budget
    if config.height % config.model.patch or config.width % config.model.patch:
        raise RecamError(
            f"clips of {config.height}×{config.width} pixels are not whole patches of "
            f"{config.model.patch}; give a --height and --width that are"
        )
    devices = _devices(config)
    device, first = devices.device, devices.worker == 0
    out = Path(config.out)
    if first:
        out.mkdir(parents=True, exist_ok=True)
    run = _start_or_resume(config, out, device)
    if run.step >= config.steps:
        if run.step == run.begun:
            raise RecamError(
                f"{config.start} has {run.step} steps already, which --steps counts; "
                f"give more than {config.steps}"
            )
        say(f"{out}: already at step {run.step}")
        return _export(run, config, out)
    say(f"training on {device}, bf16, from step {run.step}")
    videos = read_videos(Path(config.videos), progress=progress) if config.videos else []
    material = make_material(videos, pairs, device)
    run.model.grad_checkpoint = config.grad_checkpoint
    # Before wrapping: its trial pass must not wait for other processes.
    board = None
    if first:
        board = Board(config, out, run.model, run.average, run.rows, device, say, heldout)
    network, run.optimizer, backward = devices.wrap(run.model, run.optimizer)
    if config.compile:
        network = torch.compile(network)
    last, first_step = False, run.step
    while not last:
        started = time.perf_counter()
        late = 0
        if config.finish and math.isfinite(budget):
            spent = 1 - max(until - time.monotonic(), 0.0) / max(budget, 1e-9)
            late = first_step + int(spent * (config.steps - first_step))
        row = _train_step(run, config, material, network, backward, devices, late)
        last = run.step >= config.steps or devices.agree(time.monotonic() > until)
        if board is not None:
            board.after_step(row, time.perf_counter() - started, last)
            if last or run.step % config.checkpoint_every == 0:
                keep(run, out, dataclasses.asdict(config))
                board.draw()
        progress("training", run.step, config.steps)
    return _export(run, config, out) if first else out / "weights.safetensors"


def _train_step(
    run: Run[VideoTransformer],
    config: PretrainConfig,
    material: Material,
    network: nn.Module | Callable[..., Any],
    backward: Callable[[Tensor], None],
    devices: _Devices,
    late: int,
) -> dict[str, float]:
    """One step, at the learning rate of step ``late`` when that is further on."""
    device = devices.device
    generator = step_generator(config.seed, run.step, devices.worker, device)
    size = (config.batch, config.num_frames, config.height, config.width)
    batch = draw_batch(
        size, config.objective, config.model.fills, generator, material, config.synthetic_share
    )
    try:
        with bf16(device):
            loss = masked_loss(run.model, batch, generator, config.objective, network)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        raise RecamError(
            f"torch.compile fails on the model here ({type(error).__name__}); leave --compile out"
        ) from error
    backward(loss)
    lr = learning_rate(max(run.step, late), config.steps, config.lr, config.warmup)
    if run.begun:  # the optimizer knows nothing yet
        lr *= min(1.0, (run.step - run.begun + 1) / max(config.warmup, 1))
    norm = update(run.optimizer, list(run.model.parameters()), lr)
    follow(run.average, run.model, run.step, config.ema)
    run.step += 1
    return {"step": run.step, "loss": loss.item(), "gradient": norm, "lr": lr}


def _start_or_resume(
    config: PretrainConfig, out: Path, device: torch.device
) -> Run[VideoTransformer]:
    torch.manual_seed(config.seed)
    model = VideoTransformer(config.model).to(device)
    optimizer = new_optimizer(list(model.parameters()), config.lr, config.weight_decay)
    run = Run(model, average_of(model), optimizer)
    if not resume(run, out, dataclasses.asdict(config), MAY_CHANGE) and config.start is not None:
        _begin_from(run, join_parts(Path(config.start)), config)
    return run


def _begin_from(run: Run[VideoTransformer], weights: Path, config: PretrainConfig) -> None:
    """Take up another run's averaged weights, and count steps on from there."""
    given = load_model(weights)
    if dataclasses.replace(given.config, caution=config.model.caution) != config.model:
        raise RecamError(f"{weights}: weights of a model of other options ({given.config})")
    for model in (run.model, run.average):
        model.load_state_dict(given.float().state_dict())
    steps = read_metadata(weights).get("steps", "0")
    if not (steps.isascii() and steps.isdigit()):
        raise RecamError(f"{weights}: metadata.steps is {steps[:40]!r}; expected a whole number")
    run.step = run.begun = int(steps[:12])


def _export(run: Run[VideoTransformer], config: PretrainConfig, out: Path) -> Path:
    path = out / "weights.safetensors"
    scored = [row for row in run.rows if "hole_psnr" in row][-1:]
    notes = {k: f"{v:.3f}" for row in scored for k, v in row.items() if k.startswith("hole_psnr")}
    save_model(run.average, path, torch.bfloat16, steps=str(run.step), **notes)
    if config.part_mb:
        split_file(path, config.part_mb * 1_000_000)
    return path


@dataclass(frozen=True)
class _Devices:
    """This process's device and number, and what several of them need to work together.

    wrap(model, optimizer) -> (network, optimizer, backward); agree(flag): whether any says so.
    """

    device: torch.device
    worker: int
    wrap: Callable[..., Any]
    agree: Callable[[bool], bool]


def _devices(config: PretrainConfig) -> _Devices:
    if config.devices <= 1:
        return _Devices(
            pick_device(config.device),
            0,
            lambda model, optimizer: (model, optimizer, lambda loss: loss.backward()),
            bool,
        )
    if importlib.util.find_spec("accelerate") is None:
        raise RecamError("several devices need accelerate: pip install 'recam[train]'")
    accelerate = importlib.import_module("accelerate")
    accelerator = accelerate.Accelerator(cpu=config.device == "cpu")
    if accelerator.num_processes != config.devices:
        raise RecamError(
            f"{config.devices} devices asked for, but this is one of {accelerator.num_processes} "
            f"processes; start it as: accelerate launch --num_processes {config.devices} …"
        )

    def wrap(model: nn.Module, optimizer: Any) -> tuple[Any, Any, Callable[[Tensor], None]]:
        network, optimizer = accelerator.prepare(model, optimizer)
        return network, optimizer, accelerator.backward

    def agree(flag: bool) -> bool:
        return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)

    return _Devices(accelerator.device, accelerator.process_index, wrap, agree)
