"""LTX-Video: the fast one, with a time of its own for every token."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.completion.foundation.flow import Family, FlowVideo
from recam.completion.foundation.parts import (
    choose_place,
    find_parts,
    load_transformer,
    prompt_pair,
)
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.schedules import ltx_schedule
from recam.completion.foundation.size import tile_gb
from recam.completion.foundation.text import Text, read_encoder
from recam.configs import FoundationConfig
from recam.runtime.checkpoints import load_whole, require_diffusers
from recam.types import RecamError

PUBLISHED = MODELS["ltx"]
SPACE, TIME = 32, 8
"""Pixels and frames per latent that positions are counted in."""
EVIDENCE_NOISE = 0.15
"""Times the squared level: on evidence, as published for motion that goes on."""
FPS = 25.0
"""Rate that its positions in time are counted at."""
DECODE_TIME, DECODE_NOISE = 0.05, 0.025
"""Of VAEs whose decoder is told how noisy its latent is, as published for them."""


def load_ltx(
    weights: str, options: FoundationConfig, dtype: torch.dtype | None = None
) -> FlowVideo:
    """LTX-Video from a checkpoint in diffusers' layout: a whole pipeline, or a transformer alone
    with the rest from options.base.

    Raises RecamError when files are missing or do not fit, or when no placement fits the memory.
    """
    diffusers = require_diffusers()
    parts = find_parts(weights, options.base, PUBLISHED)
    takes, gives = parts.config["in_channels"], parts.vae_config["latent_channels"]
    if takes != gives:
        raise RecamError(
            f"{parts.transformer}: takes {takes} latent channels, but the VAE of {parts.rest} "
            f"gives {gives}; the parts are of different models"
        )
    device, placement, dtype = choose_place(parts, PUBLISHED, PUBLISHED.tokens, options, dtype)
    guidance = PUBLISHED.guidance if options.guidance is None else options.guidance
    length = PUBLISHED.text_length
    prompt, negative = prompt_pair(parts, options, guidance, length, dtype, encode_masked_t5)
    vae = load_whole(diffusers.AutoencoderKLLTXVideo, parts.rest / "vae", dtype)
    transformer = load_transformer(parts, PUBLISHED, options, device, placement, dtype)
    schedule = ltx_schedule(parts.rest / "scheduler", options.schedule, options.shift)
    dynamic = schedule.scheduler.config.use_dynamic_shifting
    family = FIRST if dynamic else CONDITION
    return FlowVideo(
        family=family, transformer=transformer, vae=vae, prompt=prompt, negative=negative,
        guidance=guidance, device=device, placement=placement,
        space=int(vae.spatial_compression_ratio), time=int(vae.temporal_compression_ratio), patch=1,
        schedule=schedule,
        max_frames=PUBLISHED.frames, side=PUBLISHED.side, steps=PUBLISHED.steps,
        tile_gb=tile_gb(PUBLISHED, parts.vae_config), keep_known=options.keep_known,
        feature_cache=options.feature_cache, cache_threshold=options.cache_threshold,
    )  # fmt: skip


def encode_masked_t5(folder: Path, prompt: str, max_length: int, dtype: torch.dtype) -> Text:
    """T5's last states of a padded prompt and the mask of its tokens, as LTX-Video is given."""
    from transformers import T5EncoderModel

    encoder, tokens = read_encoder(T5EncoderModel, folder, prompt, max_length, dtype)
    mask = tokens.attention_mask.bool()
    with torch.no_grad():
        states = encoder(tokens.input_ids, attention_mask=mask)[0]
    return states.to(dtype).contiguous(), mask


def _velocity(
    transformer: Any, x: Tensor, times: Tensor, text: Text, control: Tensor | None, causal: bool
) -> Tensor:
    b, t, c, h, w = x.shape
    embedding = text[0].expand(b, -1, -1)
    packed = x.permute(0, 1, 3, 4, 2).reshape(b, t * h * w, c).to(embedding.dtype)
    out = transformer(
        hidden_states=packed, encoder_hidden_states=embedding, timestep=times.flatten(1),
        encoder_attention_mask=text[1].expand(b, -1), video_coords=_positions(x, causal),
        return_dict=False,
    )[0]  # fmt: skip
    return out.float().view(b, t, h, w, c).permute(0, 1, 4, 2, 3)


def _positions(x: Tensor, causal: bool) -> Tensor:
    """[b, 3, tokens]: seconds and pixels of every token. causal: the first latent, which is of one
    frame, takes the time of one."""
    b, t, _, h, w = x.shape
    axes = [torch.arange(n, device=x.device, dtype=torch.float32) for n in (t, h, w)]
    frame, row, column = torch.meshgrid(*axes, indexing="ij")
    seconds = ((frame * TIME + 1 - TIME).clamp(min=0) if causal else frame * TIME) / FPS
    return torch.stack([seconds, row * SPACE, column * SPACE]).flatten(1).expand(b, -1, -1)


def _encode(vae: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
    posterior = vae.encode(frames.transpose(1, 2)).latent_dist
    z, spread = posterior.mean.float(), posterior.std.float()
    mean, std = (part.view(1, -1, 1, 1, 1).to(z) for part in (vae.latents_mean, vae.latents_std))
    scale = vae.config.scaling_factor / std
    return ((z - mean) * scale).transpose(1, 2), (spread * scale).transpose(1, 2)


def _decode(vae: Any, z: Tensor) -> Tensor:
    z = z.transpose(1, 2).float()
    mean, std = (part.view(1, -1, 1, 1, 1).to(z) for part in (vae.latents_mean, vae.latents_std))
    z, time = z * std / vae.config.scaling_factor + mean, None
    if vae.config.timestep_conditioning:
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z)
        z = (1 - DECODE_NOISE) * z + DECODE_NOISE * noise
        time = torch.full((len(z),), DECODE_TIME, device=z.device, dtype=vae.dtype)
    return vae.decode(z.to(vae.dtype), time, return_dict=False)[0].transpose(1, 2)


FIRST = Family(partial(_velocity, causal=False), _encode, _decode, draws=True)
"""Checkpoints with dynamic shifting (0.9.0), as diffusers' LTXImageToVideoPipeline runs them."""
CONDITION = Family(
    partial(_velocity, causal=True), _encode, _decode, draws=True, evidence_noise=EVIDENCE_NOISE
)
"""The others, as LTXConditionPipeline does."""
