"""Train the masked video transformer from scratch. Run again to resume."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recam.completion.transformer import VideoTransformer
from recam.completion.weights import join_parts, load_model, read_metadata, save_model, split_file
from recam.configs import PretrainConfig
from recam.runtime.records import write_json
from recam.training.data import Material, draw_batch, make_material, read_videos, step_generator
from recam.training.devices import Devices, joined_devices
from recam.training.loss import masked_loss
from recam.training.optim import (
    average_of,
    bf16,
    follow,
    learning_rate,
    new_optimizer,
    update,
)
from recam.training.run import Run, is_sharded, keep, resume, resume_sharded, split_over
from recam.training.shards.read import ShardStream
from recam.training.training_monitor import Board
from recam.types import Pair, Progress, RecamError, no_progress

MAY_CHANGE = {
    "out", "steps", "device", "devices", "checkpoint_every", "evaluate_every", "grad_checkpoint",
    "compile", "minutes", "start", "part_mb", "workers", "finish", "accumulate", "split_weights",
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
    resumed ends in the same bytes as one that was not. On several devices torchrun or accelerate's
    launcher starts it, once per device (``python -m recam.train``).

    Raises RecamError when the folder holds a run of other options, or videos are missing.
    """
    if config.height % config.model.patch or config.width % config.model.patch:
        raise RecamError(
            f"clips of {config.height}×{config.width} pixels are not whole patches of "
            f"{config.model.patch}; give a --height and --width that are"
        )
    with joined_devices(config.device, config.devices, config.split_weights) as devices:
        told = say if devices.worker == 0 else lambda line: None
        config = dataclasses.replace(config, devices=devices.num)
        return _pretrain(config, devices, pairs, progress, told, heldout)


def _pretrain(
    config: PretrainConfig,
    devices: Devices,
    pairs: Sequence[Pair],
    progress: Progress,
    say: Callable[[str], None],
    heldout: Sequence[Pair],
) -> Path:
    """``pretrain``, as one of the processes."""
    budget = 60 * (math.inf if config.minutes is None else config.minutes)
    until = time.monotonic() + budget
    device, first = devices.device, devices.worker == 0
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    run = _start_or_resume(config, out, devices)
    if run.step >= config.steps:
        if run.step == run.begun:
            raise RecamError(
                f"{config.start} has {run.step} steps already, which --steps counts; "
                f"give more than {config.steps}"
            )
        say(f"{out}: already at step {run.step}")
        return _export(run, config, out) if first else out / "weights.safetensors"
    on = f"{device}, {devices.num} processes" if devices.num > 1 else f"{device}"
    say(f"training on {on}, bf16, from step {run.step}")
    videos = read_videos(Path(config.videos), progress=progress) if config.videos else []
    material = make_material(videos, pairs, device)
    stream = None
    if config.data:
        rate = config.batch * config.accumulate
        stream = ShardStream(
            config.data, config.data_window, rate, config.seed, devices.worker, device
        )
        say(f"{stream.num_samples} pairs in {len(stream.shards)} shards of {config.data}")
    run.model.grad_checkpoint = config.grad_checkpoint
    board = None
    if first:  # its trial pass must not wait for other processes
        trial = VideoTransformer(config.model).to(device) if devices.split else run.model
        board = Board(config, out, trial, run.average, run.rows, device, say, heldout)
    network = torch.compile(run.model) if config.compile else run.model
    last, first_step = False, run.step
    while not last:
        started = time.perf_counter()
        late = 0
        if config.finish and math.isfinite(budget):
            spent = 1 - max(until - time.monotonic(), 0.0) / max(budget, 1e-9)
            late = first_step + int(spent * (config.steps - first_step))
        drawn = material
        if stream is not None:
            drawn = Material([*material.clips, *stream.clips_at(run.step)])
        row = _train_step(run, config, drawn, network, devices, late)
        last = run.step >= config.steps or devices.agree(time.monotonic() > until)
        if board is not None:
            board.after_step(row, time.perf_counter() - started, last)
        if last or run.step % config.checkpoint_every == 0:
            keep(run, out, dataclasses.asdict(config), devices)
            if board is not None:
                board.draw()
        progress("training", run.step, config.steps)
    return _export(run, config, out) if first else out / "weights.safetensors"


def _train_step(
    run: Run[VideoTransformer],
    config: PretrainConfig,
    material: Material,
    network: nn.Module | Callable[..., Any],
    devices: Devices,
    late: int,
) -> dict[str, float]:
    """One step, at the learning rate of step ``late`` when that is further on."""
    size = (config.batch, config.num_frames, config.height, config.width)
    losses = []
    for i in range(config.accumulate):
        number = devices.worker * config.accumulate + i
        generator = step_generator(config.seed, run.step, number, devices.device)
        batch = draw_batch(
            size, config.objective, config.model.fills, generator, material, config.synthetic_share
        )
        try:
            with bf16(devices.device):
                loss = masked_loss(run.model, batch, generator, config.objective, network)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise RecamError(
                f"torch.compile fails on the model here ({type(error).__name__}); leave --compile "
                "out"
            ) from error
        torch.autograd.backward(loss / config.accumulate)
        losses.append(loss.detach())
    parameters = list(run.model.parameters())
    devices.average_gradients(parameters)
    lr = learning_rate(max(run.step, late), config.steps, config.lr, config.warmup)
    if run.begun:  # the optimizer knows nothing yet
        lr *= min(1.0, (run.step - run.begun + 1) / max(config.warmup, 1))
    norm = update(run.optimizer, parameters, lr)
    follow(run.average, run.model, run.step, config.ema)
    run.step += 1
    loss_of_all = devices.mean(float(torch.stack(losses).mean()))
    return {"step": run.step, "loss": loss_of_all, "gradient": norm, "lr": lr}


def _start_or_resume(config: PretrainConfig, out: Path, devices: Devices) -> Run[VideoTransformer]:
    torch.manual_seed(config.seed)
    model = VideoTransformer(config.model).to(devices.device)
    options = dataclasses.asdict(config)

    def optimizer_of(model: nn.Module) -> torch.optim.AdamW:
        return new_optimizer(list(model.parameters()), config.lr, config.weight_decay)

    run = Run(model, average_of(model), optimizer_of(model))
    resumed = resume(run, out, options, MAY_CHANGE)
    if not resumed and config.start is not None and not is_sharded(out):
        _begin_from(run, join_parts(Path(config.start)), config)
    split_over(run, devices, optimizer_of)
    resumed = resumed or resume_sharded(run, out, options, MAY_CHANGE)
    if not resumed and devices.worker == 0:
        write_json(out / "config.json", options)
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
