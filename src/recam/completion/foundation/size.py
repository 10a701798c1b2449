"""What a foundation model will cost, worked out from its config alone: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recam.completion.foundation.placement import Need
from recam.completion.foundation.published import Published
from recam.completion.foundation.speedups import blocks_of
from recam.configs import AdaptMethod, Quantize

BYTES = 2  # of a bf16 number
WORK_TENSORS = 14
"""Token × width arrays alive in a transformer block at once: states, modulated copies, queries,
keys, values, and the four-times-wide feed-forward's. A count, not a measurement."""


@dataclass(frozen=True)
class TransformerSize:
    """Parameters, those of the largest block, its linear layers' weights, blocks, width, and the
    tokens of one clip (text too)."""

    params: int
    block_params: int
    block_linear: int
    blocks: int
    width: int
    tokens: int

    @property
    def pass_flop(self) -> float:
        """Operations of one pass over one clip."""
        return self.flop(self.tokens)

    def flop(self, tokens: int, computed: float = 1.0, attention: float = 1.0) -> float:
        """Of one pass over so many tokens: 2 per linear weight and token, and attention. computed:
        share of the tokens that are, of which each attends to all. attention: share of it."""
        linear = 2 * self.block_linear * tokens
        attending = 4 * tokens**2 * self.width * attention
        return float(self.blocks * computed * (linear + attending))


def meta_transformer(class_name: str, config: dict[str, Any], tokens: int) -> TransformerSize:
    """Size of a transformer of diffusers, built without memory (on the meta device)."""
    return transformer_size(on_meta(class_name, config), config, tokens)


def transformer_size(model: Any, config: dict[str, Any], tokens: int) -> TransformerSize:
    """Size of a transformer that is there already."""
    import torch

    blocks = blocks_of(model)
    block = max(blocks, key=lambda b: sum(p.numel() for p in b.parameters()))
    # Layers named after a norm make its scales from the time, once a video and not once a token.
    linear = [
        module.weight.numel()
        for name, module in block.named_modules()
        if isinstance(module, torch.nn.Linear) and "norm" not in name
    ]
    return TransformerSize(
        params=sum(p.numel() for p in model.parameters()),
        block_params=sum(p.numel() for p in block.parameters()),
        block_linear=sum(linear),
        blocks=len(blocks),
        width=config["num_attention_heads"] * config["attention_head_dim"],
        tokens=tokens,
    )


def on_meta(class_name: str, config: dict[str, Any]) -> Any:
    """A model of diffusers that takes no memory."""
    from recam.runtime.checkpoints import require_diffusers

    diffusers = require_diffusers()
    import torch

    with torch.device("meta"):
        return getattr(diffusers, class_name).from_config(config)


def cogvideox_tokens(config: dict[str, Any]) -> int:
    """Tokens of a CogVideoX transformer at its trained size, text included."""
    frames = (config["sample_frames"] - 1) // config["temporal_compression_ratio"] + 1
    patch = config["patch_size"]
    grid = (config["sample_height"] // patch) * (config["sample_width"] // patch)
    return frames * grid + config["max_text_seq_length"]


def memory_need(
    size: TransformerSize, published: Published, vae: dict[str, Any], quantize: Quantize = "none",
    dtype: Any = None,
) -> Need:  # fmt: skip
    """Gigabytes of a transformer and its VAE, of which vae is the config; dtype: of torch, default
    bf16."""
    number = BYTES if dtype is None else dtype.itemsize
    vae_params = sum(p.numel() for p in on_meta(published.vae, vae).parameters())
    linear = size.blocks * size.block_linear / 1e9
    if quantize != "none":
        linear_gb, others = linear, size.params / 1e9 - linear
    else:
        linear_gb, others = linear * number, size.params / 1e9 - linear
    return Need(
        linear=linear_gb,
        others=others * number,
        transformer_work=WORK_TENSORS * size.tokens * size.width * number / 1e9,
        vae=vae_params * max(published.vae_bytes, number) / 1e9,
        vae_work=tile_gb(published, vae) * max(published.vae_bytes, number) / published.vae_bytes,
        block=size.block_params * number / 1e9,
    )


def clip_tokens(model: str, published: Published, frames: int) -> int:
    """Tokens of so many frames at the model's own size, text included where it is among them."""
    text = published.text_length if model == "cogvideox" else 0
    time = 8 if model == "ltx" else 4
    longest = (published.frames - 1) // time + 1
    return (published.tokens - text) // longest * ((frames - 1) // time + 1) + text


def tile_gb(published: Published, vae: dict[str, Any]) -> float:
    """Gigabytes that coding one tile keeps (512 pixels a side, or a whole CogVideoX clip in its
    smaller ones). Grows with the VAE's width; that of published.vae_work_gb is 128."""
    width = (vae.get("block_out_channels") or [vae.get("base_dim", 128)])[0] / 128
    return published.vae_work_gb * width


def adapting_gb(size: TransformerSize, method: AdaptMethod, devices: int = 1) -> float:
    """Gigabytes on a device of adapting with the transformer's weights at 16 bits: every block's
    input is kept and its inside computed twice; ``whole`` adds gradients at 16 bits and two states
    of 8, and of several devices each keeps its share, and two blocks' weights and gradients as they
    run. Predicted, not measured; the VAE is not there while it trains."""
    token_bytes = size.tokens * size.width * BYTES
    activations = (size.blocks + 2 * WORK_TENSORS) * token_bytes
    if method == "lora":
        return (size.params * BYTES + activations) / 1e9
    running = 4 * size.block_params * BYTES if devices > 1 else 0
    return (size.params * (2 * BYTES + 2) / devices + running + activations) / 1e9
