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


def prepare(transformer: Any, placement: Placement, quantize: Quantize, compiled: bool) -> None:
    """Quantise the blocks' linear layers and compile the blocks, before they are placed.

    Raises RecamError when torchao is needed and not here, or with placement fp8.
    """
    if quantize != "none":
        if placement == "fp8":
            raise RecamError(
                "placement fp8 keeps the weights at 8 bits already; leave out --quantize, or give "
                "--placement swap"
            )
        _quantize(transformer, quantize)
    if compiled:  # blocks are alike, so that one compilation serves them all
        for block in _blocks(transformer):
            block.compile()


def _blocks(transformer: Any) -> Any:
    return getattr(transformer, "transformer_blocks", None) or transformer.blocks


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
    for block in _blocks(transformer):  # what lies outside them is small and matters much

        def is_large(layer: nn.Module, name: str) -> bool:
            # Layers named after a norm make its scales from the time.
            return isinstance(layer, nn.Linear) and "norm" not in name

        quantize_(block, how, is_large)


def is_quantized(transformer: Any) -> bool:
    return any(type(p.data) is not Tensor for p in _blocks(transformer).parameters())


@contextmanager
def feature_caching(transformer: Any, kind: FeatureCache, threshold: float) -> Iterator[None]:
    """Within the block, a step whose first transformer block answers nearly as in the last step
    (by ``threshold``, relative) takes the other blocks' change from it (diffusers' first-block
    cache). Begins anew with every clip."""
    if kind == "none":
        yield
        return
    if hasattr(transformer, "vace_blocks"):
        raise RecamError("--feature-cache is not for vace, whose hints enter between its blocks")
    from diffusers import FirstBlockCacheConfig

    transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    try:
        yield
    finally:
        transformer.disable_cache()


@contextmanager
def branch(transformer: Any, name: str) -> Iterator[None]:
    """A pass of the prompt or of what it is guided away from: caches keep these apart."""
    if not getattr(transformer, "is_cache_enabled", False):
        yield
        return
    with transformer.cache_context(name):
        yield


def vp_scheduler(own: Any, schedule: str) -> Any:
    """A scheduler for CogVideoX by name, at the noise levels of its own one: dpm (the published
    one), ddim, or unipc, made for few steps."""
    import diffusers

    if schedule in ("own", "dpm"):
        return own
    if schedule == "ddim":
        return diffusers.CogVideoXDDIMScheduler.from_config(own.config)
    other = diffusers.UniPCMultistepScheduler.from_config(
        own.config, prediction_type="v_prediction", timestep_spacing="trailing",
        rescale_betas_zero_snr=False,
    )  # fmt: skip
    # Its own table knows no shifted signal-to-noise ratio; a ratio of 0 has no logarithm.
    other.alphas_cumprod = own.alphas_cumprod.clone().clamp(min=2**-24)
    return other


def flow_scheduler(shift: float) -> Any:
    """UniPC for flow-matching models, whose levels are shifted so."""
    import diffusers

    return diffusers.UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift
    )


def step(
    scheduler: Any, v: Tensor, before: Any, t: Tensor, t_before: Any, x: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Any]:  # fmt: skip
    """One step of any of ``vp_scheduler``'s: (x, what the next step is given as ``before``)."""
    name = type(scheduler).__name__
    if name == "CogVideoXDPMScheduler":
        return scheduler.step(v, before, t, t_before, x, generator=generator, return_dict=False)
    if name == "CogVideoXDDIMScheduler":
        return scheduler.step(v, t, x, return_dict=False)[0], None
    return scheduler.step(v.float(), t, x.float(), return_dict=False)[0], None
