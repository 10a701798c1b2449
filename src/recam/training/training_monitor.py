"""What happens beside the training steps: held-out figures, curves, speed, a summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recam.completion.transformer import VideoTransformer, num_parameters
from recam.configs import PretrainConfig
from recam.training.curves import Curve, add_row, draw_curves, tensorboard_writer, write_csv
from recam.training.data import FilledPair, draw_batch, step_generator
from recam.training.loss import masked_loss
from recam.training.masks import Size
from recam.training.optim import bf16, peak_flops, step_flops, wait_for
from recam.training.validation import Heldout, hold_out, layered_pairs, model_psnr
from recam.types import Pair, PartialVideo

SLOW_START = 3
"""Steps of a session that do not count for its speed."""


class Board:
    """Figures of one run; rows (one a step) are the run's own, and only added to."""

    def __init__(
        self,
        config: PretrainConfig,
        out: Path,
        model: VideoTransformer,
        average: VideoTransformer,
        rows: list[dict[str, float]],
        device: torch.device,
        say: Callable[[str], None],
        pairs: Sequence[Pair] = (),
    ) -> None:
        self.config, self.out, self.say = config, out, say
        self.model, self.average, self.rows, self.device = model, average, rows, device
        self.size: Size = (config.batch, config.num_frames, config.height, config.width)
        self.heldout: dict[str, Heldout] = {}
        if config.num_heldout:
            layered = layered_pairs((config.num_heldout, *self.size[1:]))
            self.heldout["hole_psnr"] = hold_out(layered)
        if pairs:
            self.heldout["hole_psnr_scenes"] = hold_out([_first_frames(p, 8) for p in pairs])
        for name, held in self.heldout.items():
            best, value = held.best
            say(f"{name}: {len(held.pairs)} held-out clips; best classical: {best}, {value:.2f} dB")
        self.writer = tensorboard_writer(out, len(rows))
        if self.writer is None:
            say("TensorBoard files are not written: pip install 'recam[train]'")
        self.data_s, self.flops = self._measure_step()
        self.peak = peak_flops(device)
        self.seconds: list[float] = []

    def _measure_step(self) -> tuple[float, int]:
        """(seconds that a batch takes to make, FLOP of a step); the run is left as it was."""
        config = self.config
        for _ in range(2):  # the first also pays for what is set up once
            started = time.perf_counter()
            generator = step_generator(config.seed, 0, 0, self.device)
            batch = draw_batch(self.size, config.objective, config.model.fills, generator)
            wait_for(self.device)
            seconds = time.perf_counter() - started

        def loss() -> Tensor:
            with bf16(self.device):
                return masked_loss(self.model, batch, generator, config.objective)

        flops = step_flops(loss)
        self.model.zero_grad(set_to_none=True)
        return seconds, flops

    def after_step(self, row: dict[str, float], seconds: float, last: bool) -> None:
        """Add a step's row; score the held-out clips when it is time, and at the end."""
        config = self.config
        self.seconds.append(seconds)
        row["samples_per_s"] = config.batch * config.accumulate * config.devices / seconds
        row["share_of_peak"] = self.flops / seconds / self.peak
        if self.heldout and (last or row["step"] % config.evaluate_every == 0):
            for name, held in self.heldout.items():
                row[name] = model_psnr(self.average, held.pairs, held.filled)
            scores = ", ".join(
                f"{name} {row[name]:.2f} dB (classical {held.best[1]:.2f})"
                for name, held in self.heldout.items()
            )
            self.say(f"step {row['step']:g}: loss {self._recent_loss(row):.4f}, {scores}")
        self.rows.append(row)
        if self.writer is not None:
            add_row(self.writer, row)
        if last:
            self.summarise()

    def _recent_loss(self, row: dict[str, float]) -> float:
        losses = [r["loss"] for r in [*self.rows[-99:], row]]
        return sum(losses) / len(losses)

    def summarise(self) -> None:
        """Say what this session did in a short table, and write it to summary.txt."""
        config, timed = self.config, self.seconds[SLOW_START:] or self.seconds
        seconds = sum(timed) / len(timed)
        last = self.rows[-1]
        table = {
            "device": _device_name(self.device),
            "model": f"{num_parameters(self.model) / 1e6:.1f} M parameters",
            "step": f"{last['step']:g} of {config.steps}, {len(self.seconds)} in this session",
            "clips": f"{config.batch} of {config.num_frames}x{config.height}x{config.width} a step",
            "seconds a step": f"{seconds:.3f}, of which {self.data_s:.3f} to make the clips",
            "samples/s": f"{config.batch * config.accumulate * config.devices / seconds:.1f}",
            "TFLOP/s": f"{self.flops / seconds / 1e12:.2f} ({self.flops / 1e12:.3f} a step)",
            "bf16 peak": f"{self.peak / 1e12:.1f} TFLOP/s (a large product, measured here)",
            "share of peak": f"{self.flops / seconds / self.peak:.1%}",
        }
        if self.device.type == "cuda":
            table["GPU memory"] = f"{torch.cuda.max_memory_allocated(self.device) / 2**30:.1f} GiB"
        for name, held in self.heldout.items():
            best, value = held.best
            table[name] = f"{last[name]:.2f} dB ({best}: {value:.2f} dB)"
        lines = [f"{name:<18}{value}" for name, value in table.items()]
        (self.out / "summary.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            self.say(line)

    def draw(self) -> None:
        """Write curves.csv and curves.png."""
        rows = self.rows
        write_csv(self.out / "curves.csv", rows)

        def curve(column: str, name: str) -> Curve:
            kept = [r for r in rows if column in r]
            return Curve(name, [r["step"] for r in kept], [r[column] for r in kept])

        panels = {"loss": [_smooth(curve("loss", "loss"))]}
        for name, held in self.heldout.items():
            lines = [Curve(method, [0], [value]) for method, value in held.classical.items()]
            panels[f"held-out {name}, dB"] = [curve(name, "model"), *lines]
        draw_curves(self.out / "curves.png", panels)


def _first_frames(pair: Pair, num: int) -> Pair:
    partial = PartialVideo(pair.partial.frames[:num], pair.partial.known[:num])
    target = pair.target[slice(num)]
    if isinstance(pair, FilledPair):
        return FilledPair(partial, target, pair.filled[:, :num])
    return Pair(partial, target)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _smooth(curve: Curve, memory: float = 0.97) -> Curve:
    values, mean = [], None
    for value in curve.values:
        mean = value if mean is None else memory * mean + (1 - memory) * value
        values.append(mean)
    return Curve(curve.name, curve.steps, values)
