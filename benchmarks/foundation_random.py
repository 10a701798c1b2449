"""What the foundation benchmarks share: CogVideoX of true size with random weights, drawn where it
runs; timing; and a table that a run which was stopped goes on with."""

from __future__ import annotations

import argparse
import csv
import gc
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recam.completion.foundation.cogvideox import CogVideoX
from recam.completion.foundation.placement import pick_device, place_transformer
from recam.completion.foundation.published import COGNVS, MODELS
from recam.completion.foundation.size import TransformerSize, cogvideox_tokens, meta_transformer
from recam.configs import Placement
from recam.runtime.checkpoints import require_diffusers
from recam.training.optim import peak_flops

Row = dict[str, Any]
TINY = {
    "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "sample_frames": 9,
    "sample_height": 8, "sample_width": 12, "text_embed_dim": 32, "max_text_seq_length": 8,
}  # fmt: skip
TINY_VAE = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2}


@dataclass(frozen=True)
class Setup:
    """What is measured: configs of transformer and VAE, the device, the transformer's size, and the
    seconds that a pass takes at the speed of large matrix products."""

    shape: dict[str, Any]
    vae_shape: dict[str, Any]
    device: torch.device
    size: TransformerSize
    floor_s: float


def set_up(options: argparse.Namespace) -> Setup:
    """By the command line's --tiny and --device."""
    device = pick_device(options.device)
    shape = {**COGNVS, **(TINY if options.tiny else {})}
    size = meta_transformer(MODELS["cogvideox"].transformer, shape, cogvideox_tokens(shape))
    floor_s = size.pass_flop / peak_flops(device)
    print(
        f"{size.params / 1e9:.3g} billion random bf16 weights, {size.tokens} tokens on "
        f"{device_name(device)}; floor {floor_s:.3g} s a pass",
        flush=True,
    )
    return Setup(shape, TINY_VAE if options.tiny else {}, device, size, floor_s)


def random_model(setup: Setup, placement: Placement) -> CogVideoX:
    """CogVideoX of a config, drawn at 16 bits on the device itself, which takes seconds there."""
    diffusers = require_diffusers()
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with setup.device:
            transformer = diffusers.CogVideoXTransformer3DModel.from_config(setup.shape)
            vae = diffusers.AutoencoderKLCogVideoX.from_config(setup.vae_shape)
    finally:
        torch.set_default_dtype(before)
    where = setup.device if placement == "resident" else torch.device("cpu")
    transformer, vae = (
        part.to(where, torch.bfloat16).eval().requires_grad_(False) for part in (transformer, vae)
    )
    vae.enable_slicing()
    vae.enable_tiling()
    place_transformer(transformer, placement, setup.device, torch.bfloat16)
    text = torch.randn(1, setup.shape["max_text_seq_length"], setup.shape["text_embed_dim"])
    scheduler = diffusers.CogVideoXDPMScheduler(
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
    )  # fmt: skip
    return CogVideoX(
        transformer, vae, scheduler, text.bfloat16(), None, 6.0, setup.device, placement
    )


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float, float]:
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


def free(device: torch.device) -> None:
    """Give back what a model that is gone had on the device; hooks hold on to it in circles."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or "a CPU"


def read_rows(path: Path, setup: Setup) -> list[Row]:
    """What a run that was stopped has measured already, on a device of the same name."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["device"] == device_name(setup.device)]


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str], about: str) -> None:
    """The table so far, as csv and, with what it is ``about``, as a page beside it."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    lines = [
        about,
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(str(row[c]) for c in columns) + " |" for row in rows),
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
