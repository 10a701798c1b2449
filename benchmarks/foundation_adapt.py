"""Time and memory of adapting CogVideoX-5B at full size with random weights: neither depends on the
values. 200 steps of the low-rank adapter and 200 of the whole model, as `recam reshoot` takes them.

Prints as it goes and writes foundation_adapt.{csv,md} into --out after every ten steps. A method
that is not done within --seconds stops there, and its 200 steps are what the steps so far would
come to; run again, it takes up the missing methods. ``--tiny`` proves the script on a CPU.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from foundation_random import (
    Row,
    Setup,
    device_name,
    free,
    random_model,
    read_rows,
    set_up,
    timed,
    write_rows,
)

from recam.completion.foundation.cogvideox import CogVideoX
from recam.completion.foundation.size import adapting_gb
from recam.configs import AdaptMethod
from recam.training.adapt.foundation import FoundationLearner, foundation_finetune_config
from recam.training.adapt.latents import LatentExample
from recam.types import RecamError

STEPS = 200
UNCOUNTED = 2
"""First steps, which compile and allocate."""
PASSES = {"lora": 3.0, "whole": 4.0}
"""Forward passes' worth of a step: forward, once more for its checkpoint, and backward to what
came in (as much again) and to the weights (again)."""
COLUMNS = [
    "method", "steps", "seconds_a_step", "200_steps_min", "peak_gb", "predicted_gb", "of_floor",
    "device",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/out"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=230.0, help="of each method at most")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=["lora", "whole"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    setup = set_up(options)
    path = options.out / "foundation_adapt.csv"
    rows = read_rows(path, setup)
    done = {row["method"] for row in rows if int(row["steps"]) >= min(20, options.steps)}
    rows = [row for row in rows if row["method"] in done]
    for method in options.methods:
        if method in done:
            print(f"{method}: measured before", flush=True)
            continue
        try:
            for row in measure(setup, method, options.steps, options.seconds):
                write_rows(path, [*rows, row], COLUMNS, about(setup))
            rows.append(row)
        except (RecamError, RuntimeError) as error:  # too little memory, no torchao or compiler
            print(f"{method}: {' '.join(str(error).split())[:300]}", flush=True)
        free(setup.device)
    if path.is_file():
        print(path.with_suffix(".md").read_text())


def random_example(setup: Setup) -> LatentExample:
    """Latents of one clip; all of it is learned from."""
    shape = setup.shape
    frames = (shape["sample_frames"] - 1) // shape["temporal_compression_ratio"] + 1
    latent = (1, frames, shape["out_channels"], shape["sample_height"], shape["sample_width"])
    ones = torch.ones(1, frames, 1, *latent[3:])
    generator = torch.Generator().manual_seed(0)
    target, beside = torch.randn(2, *latent, generator=generator).bfloat16()
    patch = shape["patch_size"]
    clean = torch.zeros(1, frames, latent[3] // patch, latent[4] // patch, dtype=torch.bool)
    return LatentExample(target, torch.zeros_like(target), (beside,), clean, ones, ones)


def measure(setup: Setup, method: AdaptMethod, steps: int, seconds: float):  # type: ignore[no-untyped-def]
    """Yields the method's row as it stands after every ten steps and at the end."""
    model: CogVideoX = random_model(setup, "resident")
    model.vae.to("cpu")  # it is done when training begins
    free(setup.device)
    config = foundation_finetune_config(60, method, steps)
    learner = FoundationLearner(model, config)
    example = random_example(setup)
    started = time.perf_counter()
    first = min(UNCOUNTED, steps - 1)
    peak = counted = 0.0
    for done in range(1, steps + 1):
        _, took, gigabytes = timed(
            lambda done=done: learner.train([example], done - 1, config.lr), setup.device
        )
        peak = max(peak, gigabytes)
        counted += took if done > first else 0.0
        over = done == steps or time.perf_counter() - started > seconds
        if done % 10 == 0 or done <= 3 or over:
            print(f"{method}: step {done}, {took:.3g} s, {peak:.2f} GB", flush=True)
        if (done % 10 == 0 or over) and done > first:
            yield row(setup, method, done, counted / (done - first), peak)
        if over and done > first:
            return


def row(setup: Setup, method: AdaptMethod, done: int, a_step: float, peak: float) -> Row:
    """a_step: mean seconds of a step."""
    predicted = adapting_gb(setup.size, method)
    return dict(zip(COLUMNS, [
        method, done, round(a_step, 4), round(STEPS * a_step / 60, 2), round(peak, 2),
        round(predicted, 2), round(PASSES[method] * setup.floor_s / a_step, 3),
        device_name(setup.device),
    ]))  # fmt: skip


def about(setup: Setup) -> str:
    return (
        f"Adapting CogVideoX, {setup.size.params / 1e9:.3g} billion random bf16 weights, on "
        f"{device_name(setup.device)}, torch {torch.__version__}. `200_steps_min` is 200 times the "
        "mean step (all but the first two; goal: 12); `of_floor` the share of the speed of large "
        "matrix products; peak_gb (goal: 60) on a CPU is the process's."
    )


if __name__ == "__main__":
    main()
