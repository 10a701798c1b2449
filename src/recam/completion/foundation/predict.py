"""What a foundation model would need here, told before anything of it is loaded."""

from __future__ import annotations

import time
from typing import Any

import torch

from recam.completion.foundation.checkpoints import find_folder, read_config, transformer_folder
from recam.completion.foundation.placement import (
    EXPLAINED,
    ORDER,
    choose_placement,
    free_gb,
    pick_device,
)
from recam.completion.foundation.size import memory_need, meta_transformer
from recam.configs import CompleteConfig
from recam.types import RecamError

COGNVS: dict[str, Any] = {
    "num_layers": 42, "num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 32,
    "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60,
    "sample_width": 90, "text_embed_dim": 4096, "max_text_seq_length": 226, "time_embed_dim": 512,
    "temporal_compression_ratio": 4, "spatial_interpolation_scale": 1.875,
    "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True,
}  # fmt: skip
"""The published CogNVS transformer's config (kaihuac/cognvs_ckpt_inpaint)."""
VAE = {"block_out_channels": [128, 256, 256, 512], "latent_channels": 16}
SPEED_TRIAL_S = 0.5


def predict(config: CompleteConfig) -> list[str]:
    """Lines on memory and time of one clip; the checkpoint's own config where it is here or on the
    Hub (some kB), else the published one."""
    from recam.completion.foundation.cogvideox import GUIDANCE, STEPS, TRANSFORMER

    options = config.foundation
    try:
        device = pick_device(options.model_device)
        shape, whose = COGNVS, "the published CogNVS transformer"
        if config.weights:
            folder = find_folder(config.weights, ["*.json", "transformer/*.json"])
            shape = read_config(transformer_folder(folder, TRANSFORMER))
            whose = config.weights
        size = meta_transformer(TRANSFORMER, shape)
    except RecamError as error:
        return [str(error)]
    need, free = memory_need(size, VAE), free_gb(device)
    lines = [
        f"{whose}: {size.params / 1e9:.2f} billion parameters, {size.tokens} tokens a clip of "
        f"{shape['sample_frames']} frames; {free:.1f} GB free on {device}",
        *(f"about {need.of(p):.1f} GB with placement {p}: {EXPLAINED[p]}" for p in ORDER),
    ]
    try:
        chosen = choose_placement(need, free, options.placement, device.type == "cpu")
        lines.append(f"would run with placement {chosen}")
    except RecamError as error:
        lines.append(str(error))
    guidance = GUIDANCE if options.guidance is None else options.guidance
    passes = (config.sampling_steps or STEPS) * (2 if options.prompt and guidance != 1 else 1)
    speed = measured_flop_per_s(device)
    floor_s = passes * size.pass_flop / speed
    lines.append(
        f"a clip takes at least {_duration(floor_s)}: {passes} passes of "
        f"{size.pass_flop / 1e15:.2g} PFLOP at the {speed / 1e12:.3g} TFLOP/s that large bf16 "
        "products reach here now; memory and time are predicted, not measured"
    )
    return lines


def measured_flop_per_s(device: torch.device, side: int = 2048) -> float:
    """Speed of bf16 matrix products on the device, over half a second."""
    a = torch.randn(side, side, device=device).bfloat16()

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    a @ a
    wait()
    start, products = time.perf_counter(), 0
    while time.perf_counter() - start < SPEED_TRIAL_S:
        for _ in range(50 if device.type == "cuda" else 1):
            a @ a
            products += 1
        wait()
    return 2 * side**3 * products / (time.perf_counter() - start)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
