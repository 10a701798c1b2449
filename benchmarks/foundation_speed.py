"""Time and memory of CogVideoX-5B at full size with random weights: neither depends on the values.

The reference's work (two passes of equal prompts a step) and recam's in one run, whole clips of 50
steps, then steps of every placement, compiled and at 8 bits, with the floor: operations over the
speed that matrix products reach. Prints as it goes and writes foundation_speed.{csv,md} into --out
after every part; a run that was stopped goes on with what is missing, and none is begun after
--seconds. ``--tiny`` proves the script on a CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
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
from torch import Tensor

from recam.completion.foundation.cogvideox import CogVideoX, decode, encode, predict, sample
from recam.completion.foundation.placement import (
    free_gb,
    on_device,
    place_transformer,
    possible_placements,
)
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.size import memory_need
from recam.completion.foundation.speedups import prepare
from recam.configs import Placement, Quantize
from recam.types import RecamError

STEPS = 50
PART_S = 90.0
"""What a part may take, so that none is begun too late."""
COLUMNS = ["what", "part", "seconds", "peak_gb", "predicted_gb", "of_floor", "device"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/out"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--passes", type=int, default=3, help="timed steps of each option")
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    started = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    setup = set_up(options)
    path = options.out / "foundation_speed.csv"
    rows = read_rows(path, setup)
    for part in parts(setup):
        if any(row["part"] == part for row in rows):
            print(f"{part}: measured before", flush=True)
            continue
        if time.perf_counter() - started > options.seconds - PART_S:
            print(f"{part}: no time left; run again to go on", flush=True)
            break
        try:
            rows += measure(part, setup, options.passes)
        except (RecamError, RuntimeError) as error:  # too little memory, no compiler
            print(f"{part}: {' '.join(str(error).split())[:300]}", flush=True)
        free(setup.device)
        write_rows(path, rows, COLUMNS, about(setup, rows))
    print(path.with_suffix(".md").read_text())


def parts(setup: Setup) -> list[str]:
    """What there is to measure on this device."""
    names: list[str] = list(possible_placements(setup.device.type == "cpu"))
    names += ["compiled"] if setup.device.type == "cuda" else []
    return names + (["int8", "int8-dynamic"] if find_spec("torchao") else [])


def measure(part: str, setup: Setup, passes: int) -> list[Row]:
    """Rows of one placement, or of the model that stays on the device, compiled or at 8 bits."""
    placement: Placement = part if part in possible_placements(False) else "resident"  # type: ignore[assignment]
    quantize: Quantize = part if part.startswith("int8") else "none"  # type: ignore[assignment]
    need = memory_need(setup.size, MODELS["cogvideox"], setup.vae_shape, quantize).of(placement)
    if need > free_gb(setup.device):
        raise RecamError(f"needs about {need:.1f} GB, {free_gb(setup.device):.1f} are free")
    model = random_model(setup, placement if quantize == "none" else "swap")
    prepare(model.transformer, placement, quantize, part == "compiled")
    if quantize != "none":
        model.placement = placement
        place_transformer(model.transformer, placement, setup.device, torch.bfloat16)
    shape, device = setup.shape, setup.device
    size = (shape["sample_height"] * model.space, shape["sample_width"] * model.space)
    shown = torch.rand(1, shape["sample_frames"], 3, *size) * 2 - 1
    rows: list[Row] = []

    def row(what: str, work: Callable[[], object], passes: int, divide: int = 1) -> Tensor:
        result, took, peak = timed(torch.no_grad()(work), device)
        share = round(passes * setup.floor_s / took, 3) if passes else ""
        values = [what, part, round(took / divide, 4), round(peak, 2), round(need, 2), share]
        rows.append(dict(zip(COLUMNS, [*values, device_name(device)])))
        print(*(f"{name} {value}" for name, value in rows[-1].items()), sep=", ", flush=True)
        return result

    beside = row("encode", lambda: encode(model, shown, None), 0)
    x, t = torch.randn_like(beside), torch.tensor([500], device=device)
    row("decode", lambda: decode(model, x), 0)
    with on_device(model.transformer, placement, device):
        for what, many in (("step, ours", 1), ("step, reference", 2)):  # one batch of two
            xs, given, ts = (p.expand(many, *p.shape[1:]) for p in (x, beside, t))
            with torch.no_grad():
                predict(model, xs, given, ts)  # what is done once: compiling, allocating

            def steps(xs: Tensor = xs, given: Tensor = given, ts: Tensor = ts) -> None:
                for _ in range(passes):
                    predict(model, xs, given, ts)

            row(what, steps, passes * many, passes)
            if part != "resident":
                break  # the reference keeps everything on the device
    if part == "resident":  # every step of a clip, not a few times fifty
        row("clip, ours", lambda: sample(model, shown, STEPS, seed=0), STEPS)
        row("clip, reference", lambda: reference(model, shown), 2 * STEPS)
    return rows


def reference(model: CogVideoX, shown: Tensor) -> Tensor:
    """The published order: two equal prompts in one batch of two, guidance 6 between them."""
    generator = torch.Generator().manual_seed(0)
    beside = encode(model, shown, generator)
    x = torch.randn(beside.shape, generator=generator, dtype=beside.dtype).to(beside.device)
    scheduler, before = model.scheduler, None
    scheduler.set_timesteps(STEPS)
    times = scheduler.timesteps
    for i, t in enumerate(times):
        both, given = (part.expand(2, *part.shape[1:]) for part in (x, beside))
        without, with_it = predict(model, both, given, t.expand(2).to(model.device)).chunk(2)
        v = (without + 6 * (with_it - without)).cpu()
        x_cpu, before = scheduler.step(
            v, before, t, times[i - 1] if i else None, x.cpu(), generator=generator,
            return_dict=False,
        )  # fmt: skip
        x = x_cpu.to(beside)
    return decode(model, x)


def about(setup: Setup, rows: list[Row]) -> str:
    clips = {row["what"]: float(row["seconds"]) for row in rows if row["what"].startswith("clip")}
    ratio = ""
    if len(clips) == 2:
        share = clips["clip, ours"] / clips["clip, reference"]
        ratio = f" Our clip takes {share:.2f} of the reference's time (goal: 0.5)."
    return (
        f"CogVideoX, {setup.size.params / 1e9:.3g} billion random bf16 weights, "
        f"{setup.size.tokens} tokens, on {device_name(setup.device)}, torch {torch.__version__}. A "
        f"step is one pass (the reference's: two, as a batch); a clip is encoding, {STEPS} steps, "
        "decoding. `of_floor` is the share of the speed of large matrix products, at which a pass "
        f"takes {setup.floor_s:.3g} s. peak_gb on a CPU is the process's so far.{ratio}"
    )


if __name__ == "__main__":
    main()
