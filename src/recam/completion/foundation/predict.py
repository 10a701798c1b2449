"""What a foundation model would need here, told before anything of it is loaded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from recam.completion.foundation.parts import CONFIGS, transformer_folder, whole_config
from recam.completion.foundation.placement import (
    EXPLAINED,
    ORDER,
    Need,
    choose_placement,
    free_gb,
    pick_device,
    possible_placements,
)
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.size import (
    TransformerSize,
    adapting_gb,
    cogvideox_tokens,
    memory_need,
    meta_transformer,
)
from recam.completion.foundation.sparse import sparse_lines
from recam.configs import AdaptMethod, CompleteConfig, Placement
from recam.runtime.checkpoints import find_checkpoint
from recam.runtime.precision import compute_dtype
from recam.types import RecamError

SPEED_TRIAL_S = 0.5
SMALLEST_SIDE, LARGEST_SIDE = 128, 4096
"""Of the matrices whose product is timed."""


def predict(config: CompleteConfig) -> list[str]:
    """Lines on memory and time of one clip, from the checkpoint's own config (some kB, here or on
    the Hub), or without weights from the published model's. Raises RecamError when there is none
    there, or nothing would fit."""
    options, published = config.foundation, MODELS[config.model]
    device = pick_device(options.model_device)
    size, need, frames = costs(config)
    free = free_gb(device)
    smallest = min(ORDER, key=need.of)
    lines = [
        f"{config.weights or published.weights}: {size.params / 1e9:.2f} billion parameters, "
        f"{size.tokens} tokens a clip of {frames} frames; {free:.1f} GB free on {device}",
        *(_placement_line(p, need, device) for p in ORDER),
        f"the smallest memory that it runs in: about {need.of(smallest):.1f} GB, with {smallest}",
        *_adapting_lines(size),
    ]
    try:
        chosen = choose_placement(need, free, options.placement, device.type == "cpu")
        lines.append(f"would run with placement {chosen}")
    except RecamError as error:
        lines.append(str(error))
    guidance = published.guidance if options.guidance is None else options.guidance
    passes = (config.sampling_steps or published.steps) * (
        2 if options.prompt != "" and guidance != 1 else 1
    )
    speed = measured_flop_per_s(device)
    floor_s = passes * size.pass_flop / speed
    lines.append(
        f"a clip takes at least {_duration(floor_s)}: {passes} passes of "
        f"{size.pass_flop / 1e15:.2g} PFLOP at the {speed / 1e12:.3g} TFLOP/s that large "
        f"{8 * compute_dtype(device).itemsize}-bit products reach here now; memory and time are "
        "predicted, not measured"
    )
    lines += sparse_lines(config.model, size, config.sampling_steps or published.steps)
    return lines


def _placement_line(placement: Placement, need: Need, device: torch.device) -> str:
    line = f"about {need.of(placement):.1f} GB with placement {placement}: {EXPLAINED[placement]}"
    if placement in possible_placements(device.type == "cpu"):
        return line
    why = "pip install bitsandbytes" if placement == "int4" else "on a GPU"
    return f"{line} ({why})"


def _adapting_lines(size: TransformerSize) -> list[str]:
    methods: tuple[AdaptMethod, ...] = ("lora", "whole")
    needs = (f"about {adapting_gb(size, m):.1f} GB with {m}" for m in methods)
    return [
        f"adapting to a video, at 16 bits on the device: {', '.join(needs)}",
        f"adapting the whole model on two devices: about {adapting_gb(size, 'whole', 2):.1f} GB "
        "each",
    ]


def costs(config: CompleteConfig) -> tuple[TransformerSize, Need, int]:
    """Size of a foundation model, its memory on its device, and the frames of its longest clip."""
    published = MODELS[config.model]
    shape, vae = published.shapes
    if config.weights is not None:
        name = config.weights
        if Path(name).expanduser().is_file():  # its config comes from the base
            name = config.foundation.base or published.base
        folder = find_checkpoint(name, CONFIGS)
        inner = transformer_folder(folder, published.transformer)
        shape = whole_config(published.transformer, inner)
        vae = _vae_config(config, published.vae) or vae
    tokens, frames = published.tokens, published.frames
    if config.model == "cogvideox":  # the others take any size
        tokens, frames = cogvideox_tokens(shape), shape["sample_frames"]
    size = meta_transformer(published.transformer, shape, tokens)
    dtype = compute_dtype(pick_device(config.foundation.model_device))
    return size, memory_need(size, published, vae, config.foundation.quantize, dtype), frames


def _vae_config(config: CompleteConfig, class_name: str) -> dict[str, Any]:
    """The VAE's config where it comes with the weights or the base."""
    for name in (config.foundation.base, config.weights):
        if name and not Path(name).expanduser().is_file():
            folder = find_checkpoint(name, CONFIGS) / "vae"
            if (folder / "config.json").is_file():
                return whole_config(class_name, folder)
    return {}


def measured_flop_per_s(device: torch.device) -> float:
    """Speed of matrix products on the device, of the largest that take a fraction of the trial."""
    side = SMALLEST_SIDE
    # The best of three: other programs may stop one.
    while (
        side < LARGEST_SIDE and min(_product_s(side, device) for _ in range(3)) < SPEED_TRIAL_S / 25
    ):
        side *= 2
    return 2 * side**3 / _product_s(side, device, SPEED_TRIAL_S)


def _product_s(side: int, device: torch.device, at_least_s: float = 0.0) -> float:
    """Seconds of a product, over as many as take so long."""
    a = torch.randn(side, side, device=device).to(compute_dtype(device))

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    a @ a  # what is set up for the first one does not count
    wait()
    start, products = time.perf_counter(), 0
    while products == 0 or time.perf_counter() - start < at_least_s:
        for _ in range(50 if device.type == "cuda" else 1):
            a @ a
            products += 1
        wait()
    return (time.perf_counter() - start) / products


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
