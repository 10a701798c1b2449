"""What a foundation model would need here, told before anything of it is loaded."""

from __future__ import annotations

import time
from typing import Any

import torch

from recam.completion.foundation import PUBLISHED
from recam.completion.foundation.checkpoints import find_folder, read_config, transformer_folder
from recam.completion.foundation.placement import (
    EXPLAINED,
    ORDER,
    Need,
    choose_placement,
    free_gb,
    pick_device,
)
from recam.completion.foundation.size import (
    TransformerSize,
    adapting_gb,
    cogvideox_tokens,
    memory_need,
    meta_transformer,
)
from recam.configs import AdaptMethod, CompleteConfig
from recam.types import RecamError

COGNVS: dict[str, Any] = {
    "num_layers": 42, "num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 32,
    "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60,
    "sample_width": 90, "text_embed_dim": 4096, "max_text_seq_length": 226, "time_embed_dim": 512,
    "temporal_compression_ratio": 4, "spatial_interpolation_scale": 1.875,
    "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True,
}  # fmt: skip
"""The published CogNVS transformer's config (kaihuac/cognvs_ckpt_inpaint)."""
SPEED_TRIAL_S = 0.5


def predict(config: CompleteConfig) -> list[str]:
    """Lines on memory and time of one clip, from the checkpoint's own config (some kB, here or on
    the Hub); from the published one for cogvideox without weights."""
    options = config.foundation
    try:
        device = pick_device(options.model_device)
        size, need, passes_per_clip, guidance, clip = _costs(config)
    except RecamError as error:
        return [str(error)]
    free = free_gb(device)
    lines = [
        f"{config.weights or PUBLISHED[config.model]}: {size.params / 1e9:.2f} billion parameters, "
        f"{size.tokens} tokens a clip of {clip}; {free:.1f} GB free on {device}",
        *(f"about {need.of(p):.1f} GB with placement {p}: {EXPLAINED[p]}" for p in ORDER),
        *_adapting_lines(size),
    ]
    try:
        chosen = choose_placement(need, free, options.placement, device.type == "cpu")
        lines.append(f"would run with placement {chosen}")
    except RecamError as error:
        lines.append(str(error))
    guided = options.prompt != "" and (options.guidance or guidance) != 1
    passes = (config.sampling_steps or passes_per_clip) * (2 if guided else 1)
    speed = measured_flop_per_s(device)
    floor_s = passes * size.pass_flop / speed
    lines.append(
        f"a clip takes at least {_duration(floor_s)}: {passes} passes of "
        f"{size.pass_flop / 1e15:.2g} PFLOP at the {speed / 1e12:.3g} TFLOP/s that large bf16 "
        "products reach here now; memory and time are predicted, not measured"
    )
    return lines


def _adapting_lines(size: TransformerSize) -> list[str]:
    methods: tuple[AdaptMethod, ...] = ("lora", "whole")
    needs = (f"about {adapting_gb(size, m):.1f} GB with {m}" for m in methods)
    return [f"adapting to a video, at 16 bits on the device: {', '.join(needs)}"]


def _costs(config: CompleteConfig) -> tuple[TransformerSize, Need, int, float, str]:
    """Size, memory, steps, guidance and a clip's length of a foundation model."""
    from recam.completion.foundation import cogvideox, ltx, wan

    if config.weights is None and config.model != "cogvideox":
        raise RecamError(f"{config.model}: give --weights, such as {PUBLISHED[config.model]}")
    quantize = config.foundation.quantize
    if config.model == "cogvideox":
        shape = _shape(config, cogvideox.TRANSFORMER) if config.weights else COGNVS
        tokens = cogvideox_tokens(shape)
        size = meta_transformer(cogvideox.TRANSFORMER, shape, tokens)
        need = memory_need(
            size, cogvideox.VAE, _vae(config), cogvideox.VAE_WORK_GB, 2, config.foundation.quantize
        )
        clip = f"{shape['sample_frames']} frames"
        return size, need, cogvideox.STEPS, cogvideox.GUIDANCE, clip
    if config.model == "ltx":
        size = meta_transformer(ltx.TRANSFORMER, _shape(config, ltx.TRANSFORMER), ltx.TOKENS)
        need = memory_need(
            size, ltx.VAE, _vae(config), ltx.VAE_WORK_GB, 2, config.foundation.quantize
        )
        return size, need, ltx.STEPS, ltx.GUIDANCE, f"{ltx.FRAMES} frames"
    known = wan.MODELS[config.model]
    size = meta_transformer(known.transformer, _shape(config, known.transformer), known.tokens)
    need = memory_need(size, wan.VAE, _vae(config), wan.VAE_WORK_GB, 4, quantize)
    return size, need, known.steps, wan.GUIDANCE, f"{known.frames} frames"


def _shape(config: CompleteConfig, class_name: str) -> dict[str, Any]:
    folder = find_folder(str(config.weights), ["*.json", "transformer/*.json", "vae/*.json"])
    return read_config(transformer_folder(folder, class_name))


def _vae(config: CompleteConfig) -> dict[str, Any]:
    """The VAE's config where it comes with the weights or the base; else diffusers' defaults,
    which are the published ones of CogVideoX."""
    for name in (config.foundation.base, config.weights):
        if name:
            folder = find_folder(name, ["*.json", "transformer/*.json", "vae/*.json"]) / "vae"
            if (folder / "config.json").is_file():
                return read_config(folder)
    return {}


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
