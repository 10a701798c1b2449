"""Train the masked video transformer from scratch. Run again to resume."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recam.completion.dit import VideoTransformer
from recam.completion.weights import save_model
from recam.configs import PretrainConfig
from recam.training.curves import Curve, draw_curves, tensorboard_writer, write_csv
from recam.training.data import Material, draw_batch, read_videos, step_generator
from recam.training.heldout import Heldout, classical_psnr, layered_pairs, model_psnr
from recam.training.loss import masked_loss
from recam.training.steps import (
    average_of,
    bf16,
    follow,
    learning_rate,
    load_checkpoint,
    new_optimizer,
    peak_flops,
    pick_device,
    save_checkpoint,
    step_flops,
    update,
)
from recam.types import Pair, Progress, RecamError, no_progress

MAY_CHANGE = {
    "out", "steps", "device", "devices", "checkpoint_every", "evaluate_every", "grad_checkpoint",
    "compile",
}  # fmt: skip
"""Options that may differ when a run is resumed; any other would make it another run."""


@dataclass
class Run:
    """A training run in memory. step counts finished steps."""

    model: VideoTransformer
    average: VideoTransformer
    optimizer: torch.optim.AdamW
    step: int
    rows: list[dict[str, float]]


def pretrain(
    config: PretrainConfig,
    pairs: Sequence[Pair] = (),
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train and return the weight file (averaged weights, bf16 safetensors).

    Learns from layered clips made on the training device, from the videos in config.videos, and
    from pairs (of ``make_pairs``). Writes to config.out: checkpoint.pt, weights.safetensors,
    curves.csv, curves.png, TensorBoard files if that package is there, config.json. On a CPU a run
    that was killed and resumed ends in the same bytes as one that was not. With config.devices > 1
    it must be started by accelerate's launcher, once per device.

    Raises RecamError when the folder holds a run of other options, or videos are missing.
    """
    device, worker, wrap = _devices(config)
    out = Path(config.out)
    first = worker == 0
    if first:
        out.mkdir(parents=True, exist_ok=True)
    run = _start_or_resume(config, out, device)
    if run.step >= config.steps:
        say(f"{out}: already at step {run.step}")
        return _export(run, out)
    say(f"training on {device}, bf16, from step {run.step}")
    videos = read_videos(Path(config.videos), progress=progress) if config.videos else []
    material = Material(videos, pairs)
    run.model.grad_checkpoint = config.grad_checkpoint
    # Before wrapping: its trial pass must not wait for other processes.
    board = _Board(config, out, run, device, say) if first else None
    network, run.optimizer, backward = wrap(run.model, run.optimizer)
    if config.compile:
        network = torch.compile(network)
    while run.step < config.steps:
        started = time.perf_counter()
        row = _train_step(run, config, material, network, backward, device, worker)
        if board is not None:
            board.after_step(row, time.perf_counter() - started)
        progress("training", run.step, config.steps)
    return _export(run, out) if first else out / "weights.safetensors"


def _train_step(
    run: Run,
    config: PretrainConfig,
    material: Material,
    network: nn.Module | Callable[..., Any],
    backward: Callable[[Tensor], None],
    device: torch.device,
    worker: int,
) -> dict[str, float]:
    generator = step_generator(config.seed, run.step, worker, device)
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
    lr = learning_rate(run.step, config.steps, config.lr, config.warmup)
    norm = update(run.optimizer, list(run.model.parameters()), lr)
    follow(run.average, run.model, run.step, config.ema)
    run.step += 1
    return {"step": run.step, "loss": loss.item(), "gradient": norm, "lr": lr}


class _Board:
    """What happens beside the steps: curves, held-out figures, checkpoints."""

    def __init__(
        self,
        config: PretrainConfig,
        out: Path,
        run: Run,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.out, self.run, self.say = config, out, run, say
        size = (config.num_heldout, config.num_frames, config.height, config.width)
        pairs = layered_pairs(size) if config.num_heldout else []
        self.heldout = Heldout(pairs, classical_psnr(pairs) if pairs else {})
        if pairs:
            name, value = self.heldout.best
            say(f"{len(pairs)} held-out clips; best classical: {name}, {value:.2f} dB in holes")
        self.writer = tensorboard_writer(out, run.step)
        if self.writer is None:
            say("TensorBoard files are not written: pip install 'recam[train]'")
        self.flops = _measure_flops(run, config, device)
        self.peak = peak_flops(device)
        self.since = 0.0

    def after_step(self, row: dict[str, float], seconds: float) -> None:
        config, run = self.config, self.run
        row["samples_per_s"] = config.batch * config.devices / seconds
        row["share_of_peak"] = self.flops / seconds / self.peak
        last = run.step == config.steps
        if self.heldout.pairs and (run.step % config.evaluate_every == 0 or last):
            row["hole_psnr"] = model_psnr(run.average, self.heldout.pairs)
            self.say(
                f"step {run.step}: held-out holes {row['hole_psnr']:.2f} dB, best classical "
                f"{self.heldout.best[1]:.2f} dB; {row['samples_per_s']:.1f} samples/s, "
                f"{self.flops / seconds / 1e12:.2f} TFLOP/s, {row['share_of_peak']:.0%} of peak"
            )
        run.rows.append(row)
        if self.writer is not None:
            for name, value in row.items():
                if name != "step":
                    self.writer.add_scalar(name, value, run.step)
        if run.step % config.checkpoint_every == 0 or last:
            _save(run, config, self.out)
            self._draw()

    def _draw(self) -> None:
        rows = self.run.rows
        write_csv(self.out / "curves.csv", rows)

        def curve(column: str, name: str) -> Curve:
            kept = [r for r in rows if column in r]
            return Curve(name, [r["step"] for r in kept], [r[column] for r in kept])

        panels = {"loss": [_smooth(curve("loss", "loss"))]}
        if self.heldout.pairs:
            lines = [Curve(name, [0], [value]) for name, value in self.heldout.classical.items()]
            panels["held-out hole PSNR, dB"] = [curve("hole_psnr", "model"), *lines]
        draw_curves(self.out / "curves.png", panels)


def _smooth(curve: Curve, memory: float = 0.97) -> Curve:
    values, mean = [], None
    for value in curve.values:
        mean = value if mean is None else memory * mean + (1 - memory) * value
        values.append(mean)
    return Curve(curve.name, curve.steps, values)


def _start_or_resume(config: PretrainConfig, out: Path, device: torch.device) -> Run:
    torch.manual_seed(config.seed)
    model = VideoTransformer(config.model).to(device)
    average = average_of(model)
    optimizer = new_optimizer(list(model.parameters()), config.lr, config.weight_decay)
    run = Run(model, average, optimizer, 0, [])
    path = out / "checkpoint.pt"
    described = json.loads(json.dumps(dataclasses.asdict(config)))
    if not path.exists():
        (out / "config.json").write_text(json.dumps(described, indent=1))
        return run
    state = load_checkpoint(path)
    before = json.loads(state["config"])
    changed = [k for k in described if k not in MAY_CHANGE and before.get(k) != described[k]]
    if changed:
        raise RecamError(
            f"{out} holds a run with other options ({', '.join(changed)}); "
            "give the same options to resume it, or another folder"
        )
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    run.step, run.rows = state["step"], state["rows"]
    return run


def _save(run: Run, config: PretrainConfig, out: Path) -> None:
    state = {
        "config": json.dumps(dataclasses.asdict(config)),
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "rows": run.rows,
    }
    save_checkpoint(out / "checkpoint.pt", state)


def _export(run: Run, out: Path) -> Path:
    path = out / "weights.safetensors"
    save_model(run.average, path, steps=str(run.step))
    return path


def _measure_flops(run: Run, config: PretrainConfig, device: torch.device) -> int:
    """Of one training step; the run's state is left as it was."""
    generator = step_generator(config.seed, 0, 0, device)
    size = (config.batch, config.num_frames, config.height, config.width)
    batch = draw_batch(size, config.objective, config.model.fills, generator)

    def loss() -> Tensor:
        with bf16(device):
            return masked_loss(run.model, batch, generator, config.objective)

    flops = step_flops(loss)
    run.optimizer.zero_grad(set_to_none=True)
    return flops


def _devices(config: PretrainConfig) -> tuple[torch.device, int, Callable[..., Any]]:
    """(device, index of this process, wrap(model, optimizer) -> (network, optimizer, backward))."""
    if config.devices <= 1:
        return pick_device(config.device), 0, lambda m, o: (m, o, lambda loss: loss.backward())
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

    return accelerator.device, accelerator.process_index, wrap
