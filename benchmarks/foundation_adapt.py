"""Time and memory of adapting CogVideoX-5B at full size with random weights: neither depends on the
values. 200 steps of the low-rank adapter and 200 of the whole model, as `recam reshoot` takes them.

Prints as it goes and writes foundation_adapt.{csv,md} into --out after every method. A method that
is not done within --seconds stops there, and its 200 steps are what the steps so far would come to.
``--tiny`` proves the script on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from pathlib import Path

import torch
from foundation_speed import TINY, TINY_VAE, random_model, timed

from recam.completion.foundation.cogvideox import TRANSFORMER
from recam.completion.foundation.placement import pick_device
from recam.completion.foundation.predict import COGNVS, measured_flop_per_s
from recam.completion.foundation.size import adapting_gb, cogvideox_tokens, meta_transformer
from recam.configs import AdaptMethod
from recam.training.foundation import _Work, foundation_finetune_config
from recam.training.latents import LatentExample
from recam.types import RecamError

STEPS = 200
PASSES = {"lora": 3.0, "whole": 4.0}
"""Forward passes' worth of a step: forward, once more for its checkpoint, and backward to what
came in (as much again) and to the weights (again)."""
ROWS = ["method", "steps", "seconds_a_step", "200_steps_min", "peak_gb", "predicted_gb", "of_floor"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/out"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=220.0, help="of each method at most")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=["lora", "whole"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    shape = {**COGNVS, **(TINY if options.tiny else {})}
    size = meta_transformer(TRANSFORMER, shape, cogvideox_tokens(shape))
    floor_s = size.pass_flop / measured_flop_per_s(device, 256 if options.tiny else 8192)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{size.params / 1e9:.3g} billion weights, {size.tokens} tokens on {device}", flush=True)
    model = random_model(shape, TINY_VAE if options.tiny else {}, "resident", device)
    model.vae.to("cpu")  # it is done when training begins
    example = random_example(shape)
    rows: list[dict[str, object]] = []
    for method in options.methods:
        try:
            row = measure(model, example, method, options.steps, options.seconds, device)
        except (RecamError, torch.cuda.OutOfMemoryError) as error:
            print(f"{method}: {' '.join(str(error).split())[:200]}", flush=True)
            continue
        row["predicted_gb"] = round(adapting_gb(size, method), 2)
        row["of_floor"] = round(PASSES[method] * floor_s / float(str(row["seconds_a_step"])), 3)
        rows.append(row)
        write(options.out, rows, device, size.params)
    if rows:
        print((options.out / "foundation_adapt.md").read_text())


def random_example(shape: dict) -> LatentExample:
    """Latents of one clip; a box in the middle is not known."""
    frames = (shape["sample_frames"] - 1) // shape["temporal_compression_ratio"] + 1
    latent = (1, frames, shape["out_channels"], shape["sample_height"], shape["sample_width"])
    ones = torch.ones(1, frames, 1, *latent[3:])
    generator = torch.Generator().manual_seed(0)
    target, beside = torch.randn(2, *latent, generator=generator).bfloat16()
    patch = shape["patch_size"]
    clean = torch.zeros(1, frames, latent[3] // patch, latent[4] // patch, dtype=torch.bool)
    return LatentExample(target, torch.zeros_like(target), (beside,), clean, ones, ones)


def measure(
    model, example: LatentExample, method: AdaptMethod, steps: int, seconds: float,
    device: torch.device,
) -> dict[str, object]:  # type: ignore[no-untyped-def]  # fmt: skip
    """One row. The first two steps, which compile and allocate, are not in the time of a step."""
    config = foundation_finetune_config(60, method, steps)
    work = _Work(model, config)
    started = time.perf_counter()
    train = torch.enable_grad()(lambda: work.train([example]))
    peak, counted, done = 0.0, 0.0, 0
    for i in range(steps):
        _, took, gigabytes = timed(train, device)
        peak = max(peak, gigabytes)
        done += 1
        if i >= min(2, steps - 1):
            counted += took
        if done % 10 == 0 or done <= 3:
            print(f"{method}: step {done}, {took:.3g} s, {peak:.2f} GB", flush=True)
        if time.perf_counter() - started > seconds and done > 2:
            break
    a_step = counted / max(done - min(2, steps - 1), 1)
    work.undo()
    model.transformer.zero_grad(set_to_none=True)
    return dict(zip(ROWS, [
        method, done, round(a_step, 4), round(STEPS * a_step / 60, 2), round(peak, 2), None, None
    ]))  # fmt: skip


def write(out: Path, rows: list[dict[str, object]], device: torch.device, params: int) -> None:
    """The table so far."""
    with (out / "foundation_adapt.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ROWS)
        table.writeheader()
        table.writerows(rows)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    lines = [
        f"Adapting CogVideoX, {params / 1e9:.3g} billion random bf16 weights, on "
        f"{name or 'a CPU'}, torch {torch.__version__}. `200_steps_min` is 200 times the mean step "
        "(all but the first two); `of_floor` the share of the speed of large matrix products; "
        "peak_gb on a CPU is the process's.",
        "",
        "| " + " | ".join(ROWS) + " |",
        "|" + "---|" * len(ROWS),
        *("| " + " | ".join(str(r[c]) for c in ROWS) + " |" for r in rows),
    ]
    (out / "foundation_adapt.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
