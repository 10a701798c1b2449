"""Time and memory of CogVideoX-5B at full size with random weights: neither depends on the values.

The reference's work (two passes of equal prompts a step) and recam's in one run, for every
placement, with the floor: operations over the speed that matrix products reach. Writes
foundation_speed.{csv,md} into --out as it goes. ``--tiny`` proves the script on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from pathlib import Path

import torch
from torch import Tensor

from recam.completion.foundation.checkpoints import require_diffusers
from recam.completion.foundation.cogvideox import (
    TRANSFORMER,
    VAE,
    VAE_WORK_GB,
    CogVideoX,
    decode,
    encode,
    predict,
    sample,
)
from recam.completion.foundation.placement import (
    free_gb,
    on_device,
    pick_device,
    place_transformer,
)
from recam.completion.foundation.predict import COGNVS, measured_flop_per_s
from recam.completion.foundation.size import (
    Need,
    TransformerSize,
    cogvideox_tokens,
    memory_need,
    meta_transformer,
)
from recam.configs import Placement

TINY = {
    "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "sample_frames": 9,
    "sample_height": 8, "sample_width": 12, "text_embed_dim": 32, "max_text_seq_length": 8,
}  # fmt: skip
TINY_VAE = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2}
STEPS = 50
ROWS = ["what", "placement", "seconds", "clip_s", "peak_gb", "predicted_gb", "of_floor"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/out"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--passes", type=int, default=3, help="timed steps of each option")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    shape = {**COGNVS, **(TINY if options.tiny else {})}
    vae_shape = TINY_VAE if options.tiny else {}
    size = meta_transformer(TRANSFORMER, shape, cogvideox_tokens(shape))
    need = memory_need(size, VAE, vae_shape, VAE_WORK_GB, vae_bytes=2)
    floor_s = size.pass_flop / measured_flop_per_s(device, 256 if options.tiny else 8192)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    placements: list[Placement] = ["resident", "swap", "fp8", "stream"]
    for placement in placements if device.type == "cuda" else [*placements[:1], "fp8"]:
        if need.of(placement) > free_gb(device):
            continue
        rows += measure(shape, vae_shape, placement, device, options.passes, need, floor_s)
        write(options.out, rows, device, size, floor_s)
    print((options.out / "foundation_speed.md").read_text())


def measure(
    shape: dict, vae_shape: dict, placement: Placement, device: torch.device, passes: int,
    need: Need, floor_s: float,
) -> list[dict[str, object]]:  # fmt: skip
    """Rows of one placement: a step of the reference's and of ours, and both ways of the VAE."""
    model = random_model(shape, vae_shape, placement, device)
    frames, space = shape["sample_frames"], model.space
    size = (shape["sample_height"] * space, shape["sample_width"] * space)
    shown = torch.rand(1, frames, 3, *size) * 2 - 1
    rows = []

    def row(what: str, seconds: float, clip_s: float | None, peak: float, floor: float) -> None:
        rows.append(dict(zip(ROWS, [
            what, placement, round(seconds, 4), clip_s and round(clip_s, 2), round(peak, 2),
            round(need.of(placement), 2), round(floor / seconds, 3) if floor else None,
        ])))  # fmt: skip
        print(*(f"{name} {value}" for name, value in rows[-1].items()), sep=", ", flush=True)

    beside, encode_s, peak = timed(lambda: encode(model, shown, None), device)
    row("encode", encode_s, None, peak, 0)
    x, t = torch.randn_like(beside), torch.tensor([500], device=device)
    _, decode_s, decode_peak = timed(lambda: decode(model, x), device)
    row("decode", decode_s, None, decode_peak, 0)
    with on_device(model.transformer, placement, device):
        for what, many in (("ours", 1), ("reference", 2)):  # guidance in one batch of two
            xs, given, ts = (part.expand(many, *part.shape[1:]) for part in (x, beside, t))
            predict(model, xs, given, ts)
            _, total_s, peak = timed(
                lambda xs=xs, given=given, ts=ts: [
                    predict(model, xs, given, ts) for _ in range(passes)
                ],
                device,
            )
            step_s = total_s / passes
            clip_s = encode_s + STEPS * step_s + decode_s
            row(what, step_s, clip_s, peak, floor_s * many)
    if placement == "resident":  # every step of a clip, not a few times fifty
        for what, run in (("clip, ours", ours), ("clip, reference", reference)):
            _, total_s, peak = timed(lambda run=run: run(model, shown), device)
            passes_s = STEPS * floor_s * (2 if run is reference else 1)
            row(what, total_s, total_s, peak, passes_s)
    return rows


def ours(model: CogVideoX, shown: Tensor) -> Tensor:
    return sample(model, shown, STEPS, seed=0)


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


def random_model(
    shape: dict, vae_shape: dict, placement: Placement, device: torch.device
) -> CogVideoX:
    """CogVideoX of a config, drawn where it will run, at 16 bits."""
    diffusers = require_diffusers()
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:  # drawing billions of values takes minutes elsewhere
            transformer = diffusers.CogVideoXTransformer3DModel.from_config(shape)
            vae = diffusers.AutoencoderKLCogVideoX.from_config(vae_shape)
    finally:
        torch.set_default_dtype(before)
    where = device if placement == "resident" else torch.device("cpu")
    transformer, vae = (
        part.to(where, torch.bfloat16).eval().requires_grad_(False) for part in (transformer, vae)
    )
    vae.enable_tiling()
    place_transformer(transformer, placement, device, torch.bfloat16)
    text = torch.randn(1, shape["max_text_seq_length"], shape["text_embed_dim"]).bfloat16()
    scheduler = diffusers.CogVideoXDPMScheduler(
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
    )  # fmt: skip
    return CogVideoX(transformer, vae, scheduler, text, None, 6.0, device, placement)


@torch.no_grad()
def timed(work, device: torch.device) -> tuple[Tensor, float, float]:  # type: ignore[no-untyped-def]
    """(result, seconds, peak GB on the device; the process's own on a CPU)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) / 1e9
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return result, time.perf_counter() - start, peak


def write(
    out: Path, rows: list[dict[str, object]], device: torch.device, size: TransformerSize,
    floor_s: float,
) -> None:  # fmt: skip
    """The table so far."""
    with (out / "foundation_speed.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ROWS)
        table.writeheader()
        table.writerows(rows)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    lines = [
        f"CogVideoX, {size.params / 1e9:.3g} billion random bf16 weights, {size.tokens} tokens, on "
        f"{name or 'a CPU'}, torch {torch.__version__}. `seconds` is one step (encode, decode: "
        f"once); `clip_s` is {STEPS} steps, encoding and decoding; `of_floor` is the share of the "
        f"speed of large matrix products, whose floor is {floor_s:.3g} s a pass.",
        "",
        "| " + " | ".join(ROWS) + " |",
        "|" + "---|" * len(ROWS),
        *("| " + " | ".join("" if r[c] is None else str(r[c]) for c in ROWS) + " |" for r in rows),
    ]
    (out / "foundation_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
