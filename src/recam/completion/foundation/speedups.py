"""What makes a foundation model faster or smaller at some cost in its answer: all of it diffusers'
and torchao's, all of it off by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recam.configs import FeatureCache, Placement, Quantize
from recam.types import RecamError

TAYLOR_INTERVAL, TAYLOR_FIRST = 5, 3
"""One of so many passes is whole, and all of the first ones."""
PYRAMID_TIMES = (100, 800)
"""Of 1000, between which every second pass reuses the attention."""
NF4_BLOCK = 64
"""Weights that share a scale at 4 bits; bitsandbytes wants whole ones."""


def prepare(transformer: Any, placement: Placement, quantize: Quantize, compiled: bool) -> None:
    """Quantise the blocks' linear layers and compile the blocks, before they are placed.

    Raises RecamError when torchao is needed and not here, or with placement fp8.
    """
    if quantize != "none":
        if placement in ("fp8", "int4"):
            raise RecamError(
                f"placement {placement} keeps the weights at fewer bits already; leave out "
                "--quantize, or give --placement swap"
            )
        _quantize(transformer, quantize)
    if compiled:  # blocks are alike, so that one compilation serves them all
        for block in blocks_of(transformer):
            block.compile()


def blocks_of(transformer: Any) -> list[nn.Module]:
    """A transformer's blocks, whichever of diffusers' it is; VACE has more beside its main ones."""
    blocks = getattr(transformer, "transformer_blocks", None) or transformer.blocks
    return [*blocks, *getattr(transformer, "vace_blocks", ())]


def _quantize(transformer: Any, quantize: Quantize) -> None:
    try:
        from torchao.quantization import (
            Int8DynamicActivationInt8WeightConfig,
            Int8WeightOnlyConfig,
            quantize_,
        )
    except ImportError as error:
        raise RecamError(
            f"--quantize {quantize} needs torchao: pip install torchao ({error}); --placement fp8 "
            "halves the weights' memory without it"
        ) from error
    how = Int8WeightOnlyConfig() if quantize == "int8" else Int8DynamicActivationInt8WeightConfig()
    for block in blocks_of(transformer):  # what lies outside them is small and matters much
        quantize_(block, how, _is_large)


def _is_large(layer: nn.Module, name: str) -> bool:
    """Layers named after a norm make its scales from the time, once a video."""
    return isinstance(layer, nn.Linear) and "norm" not in name


def keep_at_four_bits(transformer: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Replace the blocks' linear layers by bitsandbytes' of 4 bits (NF4, Dettmers et al. 2023),
    which compute in dtype. Raises RecamError where bitsandbytes is not here."""
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError as error:
        raise RecamError(
            f"placement int4 needs bitsandbytes: pip install bitsandbytes ({error})"
        ) from error
    for block in blocks_of(transformer):
        for name, layer in list(block.named_modules()):
            if not _is_large(layer, name) or layer.in_features % NF4_BLOCK:
                continue
            has_bias = layer.bias is not None
            small = Linear4bit(
                layer.in_features, layer.out_features, has_bias, dtype, quant_type="nf4",
                compress_statistics=False, device="meta",
            )  # fmt: skip
            small.weight = Params4bit(
                layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=False
            )
            small.bias = layer.bias
            # Rounded as they move there; what was rounded stays so wherever it goes later.
            block.set_submodule(name, small.to(device).to("cpu").eval())


def is_quantized(transformer: Any) -> bool:
    """Whether torchao keeps its weights."""
    return any(type(p.data) is not Tensor for b in blocks_of(transformer) for p in b.parameters())


@contextmanager
def feature_caching(transformer: Any, kind: FeatureCache, threshold: float) -> Iterator[None]:
    """Within the block, passes reuse what passes before gave (diffusers' caches): see
    FoundationConfig.feature_cache. Begins anew with every clip."""
    if kind == "none":
        yield
        return
    if hasattr(transformer, "vace_blocks") and kind != "pyramid":
        raise RecamError(
            f"--feature-cache {kind} is not for vace, whose hints enter between blocks"
        )
    import diffusers

    time = [1000.0]
    match kind:
        case "first-block":
            how: Any = diffusers.FirstBlockCacheConfig(threshold=threshold)
        case "taylorseer":
            how = diffusers.TaylorSeerCacheConfig(
                cache_interval=TAYLOR_INTERVAL, disable_cache_before_step=TAYLOR_FIRST,
                use_lite_mode=True,
            )  # fmt: skip
        case "pyramid":
            how = diffusers.PyramidAttentionBroadcastConfig(
                spatial_attention_block_skip_range=2,
                spatial_attention_timestep_skip_range=PYRAMID_TIMES,
                current_timestep_callback=lambda: time[0],
            )

    def told(_: Any, __: Any, named: dict[str, Any]) -> None:
        time[0] = float(named["timestep"].max())

    hook = transformer.register_forward_pre_hook(told, with_kwargs=True)
    transformer.enable_cache(how)
    try:
        yield
    finally:
        transformer.disable_cache()
        hook.remove()


def taylor_passes(steps: int) -> int:
    """How many of so many passes taylorseer computes whole."""
    whole = [
        i < TAYLOR_FIRST or (i - TAYLOR_FIRST - 1) % TAYLOR_INTERVAL == 0 for i in range(steps)
    ]
    return sum(whole)


@contextmanager
def branch(transformer: Any, name: str) -> Iterator[None]:
    """A pass of the prompt or of what it is guided away from: caches keep these apart."""
    if not getattr(transformer, "is_cache_enabled", False):
        yield
        return
    with transformer.cache_context(name):
        yield
