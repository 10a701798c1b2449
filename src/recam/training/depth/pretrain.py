"""Train the depth network on synthetic scenes, from an ImageNet encoder. Run again to resume.

The encoder stays as it is for the first part of the steps, while the decoder learns to read it;
then it is tuned too, at a lower rate: what it knows of real pictures is worth more than what
synthetic ones could teach it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from recam.completion.weights import save_tensors
from recam.configs import DepthTrainConfig
from recam.reconstruct.depth_prior.network import (
    FORMAT,
    STRIDE,
    DepthNet,
    DepthNetConfig,
    load_depth_net,
)
from recam.runtime.records import write_json
from recam.training.curves import add_row, tensorboard_writer, write_csv
from recam.training.data import step_generator
from recam.training.depth.batch import draw_depth_batch, limited
from recam.training.depth.data import Chunk, Pool, heldout_chunk
from recam.training.depth.loss import depth_loss
from recam.training.devices import Devices, joined_devices
from recam.training.optim import (
    average_of,
    bf16,
    follow,
    learning_rate,
    new_optimizer,
    update,
)
from recam.training.run import Run, is_sharded, keep, resume, resume_sharded, split_over
from recam.types import Progress, RecamError, no_progress

NETWORK = DepthNetConfig()
MAY_CHANGE = {
    "out", "start", "encoder", "minutes", "finish", "steps", "workers", "device",
    "checkpoint_every", "num_chunks", "first_chunks", "area", "photos", "frozen",
    "devices", "accumulate", "split_weights",
}  # fmt: skip
"""Options that may differ when a run is resumed; any other would make it another run."""
AREAS = (0.45, 0.45, 1.0, 1.0, 2.0)
"""Crops of a step have one of these times the usual number of pixels, and as many fewer of them are
taken: the network has to know pictures of several sizes."""
POOL_FULL = 2 / 3
"""Part of the steps after which the pool has grown to its end."""


def pretrain_depth(
    config: DepthTrainConfig,
    network: DepthNetConfig = NETWORK,
    pool: Pool | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda line: None,
    evaluate: bool = True,
) -> Path:
    """Train and return the weight file (averaged weights, bf16 safetensors).

    Writes to config.out: checkpoint.pt, weights.safetensors, curve.csv, config.json. pool: pictures
    to learn from instead of the scenes that are made for it. On a CPU a run of given steps that was
    killed and resumed ends in the same bytes as one that was not. evaluate: say now and then how it
    does on held-out scenes. Raises RecamError when the folder holds a run of other options.
    """
    with joined_devices(config.device, config.devices, config.split_weights) as devices:
        told = say if devices.worker == 0 else lambda line: None
        return _pretrain_depth(config, network, devices, pool, progress, told, evaluate)


def _pretrain_depth(
    config: DepthTrainConfig,
    network: DepthNetConfig,
    devices: Devices,
    pool: Pool | None,
    progress: Progress,
    say: Callable[[str], None],
    evaluate: bool,
) -> Path:
    """``pretrain_depth``, as one of the processes."""
    started = time.monotonic()
    budget = 60 * (math.inf if config.minutes is None else config.minutes)
    device = devices.device
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    run = _start_or_resume(config, network, out, devices)
    first_step, last = run.step, run.step >= config.steps
    say(f"training on {device}, bf16, from step {run.step}")
    writer = tensorboard_writer(out, len(run.rows)) if devices.worker == 0 else None
    made_here = pool is None
    if pool is None:
        pool = Pool(config.seed, config.photos)
        if not last:
            pool.order(config.num_chunks, config.workers)
    waited = learned = 0.0
    # Where no other run could repeat it bit for bit, a run makes do with what pictures there are.
    wait = device.type == "cpu" and not config.finish
    try:
        while not last:
            late = run.step
            if config.finish and math.isfinite(budget):
                spent = min((time.monotonic() - started) / budget, 1.0)
                late = max(late, first_step + int(spent * (config.steps - first_step)))
            before = time.perf_counter()
            if made_here:
                pool.grow(chunks_at(0, config))
                pool.grow(chunks_at(late, config), wait)
            middle = time.perf_counter()
            run.rows.append(_step(run, config, pool, late, devices))
            if writer is not None:
                add_row(writer, run.rows[-1])
            waited, learned = waited + middle - before, learned + time.perf_counter() - middle
            last = run.step >= config.steps
            last = devices.agree(last or time.monotonic() - started > budget)
            if last or run.step % config.checkpoint_every == 0:
                _save(run, config, out, devices)
                if devices.worker > 0:
                    continue
                say(_figures(run, config, len(pool), waited, learned, evaluate and made_here))
            progress("training", run.step, config.steps)
    finally:
        if made_here:
            pool.close()
    return _export(run, out) if devices.worker == 0 else out / "weights.safetensors"


def chunks_at(step: int, config: DepthTrainConfig) -> int:
    """How many chunks of the pool a step draws from."""
    done = min(step / max(POOL_FULL * config.steps, 1), 1.0)
    more = max(config.num_chunks - config.first_chunks, 0)
    return max(1, min(config.first_chunks, config.num_chunks) + int(done * more))


def _step(
    run: Run[DepthNet], config: DepthTrainConfig, pool: Pool, late: int, devices: Devices
) -> dict[str, float]:
    """One step, at the learning rate and picture size of step ``late``."""
    device = devices.device
    run.model.encoder.requires_grad_(late >= config.frozen * config.steps)
    figures = []
    for i in range(config.accumulate):
        number = devices.worker * config.accumulate + i
        generator = step_generator(config.seed, run.step, number, device)
        size = AREAS[int(torch.randint(len(AREAS), (), generator=generator, device=device))]
        num = max(1, round(config.batch / size))
        batch = draw_depth_batch(pool, num, int(config.area * size), generator)
        with _precision(device):
            prediction = run.model(batch.frames)
        loss, parts = depth_loss(prediction, batch.target, batch.log_focal)
        torch.autograd.backward(loss / config.accumulate)
        figures.append(torch.cat([loss.detach()[None], parts.detach()]).tolist())
    parameters = list(run.model.parameters())
    devices.average_gradients(parameters)
    lr = learning_rate(late, config.steps, config.lr, config.warmup)
    norm = update(run.optimizer, parameters, lr)
    follow(run.average, run.model, run.step, config.ema)
    run.step += 1
    names = ("loss", "scale", "affine", "gradient", "confidence", "metric", "focal")
    row = {name: devices.mean(sum(f) / len(f)) for name, f in zip(names, zip(*figures))}
    return {"step": run.step, "norm": norm, "lr": lr, **row}


def _precision(device: torch.device) -> AbstractContextManager:
    """bf16 on a GPU; on a CPU convolutions of one channel each are several times faster without."""
    return bf16(device) if device.type == "cuda" else nullcontext()


@torch.no_grad()
def heldout_figures(model: DepthNet, chunk: Chunk) -> tuple[float, float]:
    """Part of the pixels whose depth is within 25 % of the true one, with one scale a picture, and
    the mean |log| error of the focal length."""
    device = next(model.parameters()).device
    good, focal = [], []
    for i in range(len(chunk)):
        frame, log_depth, focal_px = chunk[i]
        height, width = (side // STRIDE * STRIDE for side in frame.shape[-2:])
        target = limited(-log_depth[None, :height, :width].float().to(device))
        prediction = model(frame[None, :, :height, :width].to(device).float() / 255)
        off = prediction.log_inverse - target
        good.append(((off - off.median()).abs() < math.log(1.25)).float().mean())
        focal.append((prediction.log_focal - math.log(focal_px / max(height, width))).abs()[0])
    return float(torch.stack(good).mean()), float(torch.stack(focal).mean())


def _figures(
    run: Run[DepthNet],
    config: DepthTrainConfig,
    num: int,
    waited: float,
    learned: float,
    evaluate: bool,
) -> str:
    last = run.rows[-config.checkpoint_every :]
    means = {k: sum(r[k] for r in last) / len(last) for k in ("loss", "scale", "gradient")}
    line = f"step {run.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in means.items())
    line += f"; {num} pictures; waited {waited:.0f} s for them, learned {learned:.0f} s"
    if evaluate and run.step % (5 * config.checkpoint_every) == 0:
        known, focal = heldout_figures(run.average, heldout_chunk(False))
        other, _ = heldout_figures(run.average, heldout_chunk(True))
        run.rows[-1].update(heldout=known, left_out=other, heldout_focal=focal)
        line += f"; held out: delta1 {known:.4f}, of the layout left out {other:.4f}"
        line += f", |log focal| {focal:.3f}"
    return line


def _start_or_resume(
    config: DepthTrainConfig, network: DepthNetConfig, out: Path, devices: Devices
) -> Run[DepthNet]:
    torch.manual_seed(config.seed)
    model = DepthNet(network).to(devices.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.encoder is not None:
        load_encoder(model, Path(config.encoder))
    run = Run(model, average_of(model), _optimizer(model, config))
    options = _options(config, network)
    resumed = resume(run, out, options, MAY_CHANGE)
    if not resumed and config.start is not None and not is_sharded(out):
        given = load_depth_net(Path(config.start))
        if given.config != network:
            raise RecamError(f"{config.start}: a network of other options ({given.config})")
        for mine in (model, run.average):
            mine.load_state_dict(given.state_dict())
    split_over(run, devices, lambda model: _optimizer(model, config))
    resumed = resumed or resume_sharded(run, out, options, MAY_CHANGE)
    if not resumed and devices.worker == 0:
        write_json(out / "config.json", options)
    return run


def load_encoder(model: DepthNet, path: Path) -> None:
    """Begin from the weights that runs/convert_encoder.py wrote. Raises RecamError otherwise."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise RecamError(f"{path}: no such file; runs/convert_encoder.py makes it")
    try:
        model.encoder.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise RecamError(f"{path}: does not fit the encoder ({error})") from error


def _optimizer(model: DepthNet, config: DepthTrainConfig) -> torch.optim.AdamW:
    own = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
    optimizer = new_optimizer(own, config.lr, config.weight_decay, True)
    given = new_optimizer(list(model.encoder.parameters()), config.lr, config.weight_decay, True)
    for group in given.param_groups:
        optimizer.add_param_group({**group, "lr_share": config.encoder_lr})
    return optimizer


def _options(config: DepthTrainConfig, network: DepthNetConfig) -> dict[str, Any]:
    return {**dataclasses.asdict(config), "network": dataclasses.asdict(network)}


def _save(run: Run[DepthNet], config: DepthTrainConfig, out: Path, devices: Devices) -> None:
    keep(run, out, _options(config, run.average.config), devices)
    if devices.worker > 0:
        return
    if run.rows:
        write_csv(out / "curve.csv", run.rows)
    _export(run, out)


def _export(run: Run[DepthNet], out: Path) -> Path:
    path = out / "weights.safetensors"
    save_depth_net(run.average, path, steps=str(run.step))
    return path


def save_depth_net(model: DepthNet, path: Path, **notes: str) -> None:
    """Write weights in bf16, and the config; notes go into the file's metadata."""
    tensors = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    config = json.dumps(dataclasses.asdict(model.config))
    save_tensors(path, tensors, {"format": FORMAT, "config": config, **notes})
