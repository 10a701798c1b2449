"""What a foundation model will cost, worked out from its config alone: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recam.completion.foundation.placement import Need

BYTES = 2  # of a bf16 number
WORK_TENSORS = 14
"""Token × width arrays alive in a transformer block at once: states, modulated copies, queries,
keys, values, and the four-times-wide feed-forward's. A count, not a measurement."""


@dataclass(frozen=True)
class TransformerSize:
    """Of one pass over one video: parameters, blocks, width, tokens (text too)."""

    params: int
    block_params: int
    blocks: int
    width: int
    tokens: int

    @property
    def pass_flop(self) -> float:
        """Operations: 2 per weight and token of attention's and feed-forward's linear layers
        (12·width² a block), and attention itself."""
        linear = 2 * 12 * self.width**2 * self.tokens
        attention = 4 * self.tokens**2 * self.width
        return float(self.blocks * (linear + attention))


def meta_transformer(class_name: str, config: dict[str, Any]) -> TransformerSize:
    """Size of a transformer of diffusers, built without memory (on the meta device)."""
    from recam.completion.foundation.checkpoints import require_diffusers

    diffusers = require_diffusers()
    import torch

    with torch.device("meta"):
        model = getattr(diffusers, class_name).from_config(config)
    blocks = getattr(model, "transformer_blocks", None) or model.blocks
    return TransformerSize(
        params=sum(p.numel() for p in model.parameters()),
        block_params=max(sum(p.numel() for p in block.parameters()) for block in blocks),
        blocks=len(blocks),
        width=config["num_attention_heads"] * config["attention_head_dim"],
        tokens=num_tokens(config),
    )


def num_tokens(config: dict[str, Any]) -> int:
    """Tokens of a CogVideoX transformer at its trained size, text included."""
    frames = (config["sample_frames"] - 1) // config["temporal_compression_ratio"] + 1
    patch = config["patch_size"]
    grid = (config["sample_height"] // patch) * (config["sample_width"] // patch)
    return frames * grid + config["max_text_seq_length"]


VAE_WEIGHTS_GB, VAE_WORK_GB = 0.45, 4.5
"""CogVideoX's VAE: 216 M parameters; tiles of 240×360×9 frames. An estimate of what 24 causal
convolutions at 128 channels keep."""


def memory_need(size: TransformerSize, vae: dict[str, Any]) -> Need:
    """Gigabytes of a transformer and a VAE like CogVideoX's, scaled by the VAE's width."""
    width = vae["block_out_channels"][0] / 128
    work = WORK_TENSORS * size.tokens * size.width * BYTES / 1e9
    return Need(
        transformer=size.params * BYTES / 1e9,
        transformer_work=work,
        vae=VAE_WEIGHTS_GB * width**2,
        vae_work=VAE_WORK_GB * width,
        block=size.block_params * BYTES / 1e9,
    )
