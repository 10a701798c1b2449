"""Wan2.2-TI2V (a time of its own for every token) and Wan2.1-VACE (trained to complete)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.foundation.flow import Family, FlowVideo
from recam.completion.foundation.parts import (
    choose_place,
    find_parts,
    load_transformer,
    prompt_pair,
)
from recam.completion.foundation.placement import ModelNote
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.schedules import wan_schedule
from recam.completion.foundation.size import tile_gb
from recam.completion.foundation.text import Text, read_encoder
from recam.configs import FoundationConfig
from recam.runtime.checkpoints import load_whole, require_diffusers
from recam.types import RecamError

SHIFTS = {"wan22": 5.0, "vace": 3.0}
"""Of the noise levels, where a checkpoint's scheduler does not say."""
VACE_NOTE = (
    "levels are shifted as the checkpoint's config says; the publishers' own scripts use --shift 16"
)


def load_wan(
    model: str, weights: str, options: FoundationConfig, dtype: torch.dtype | None = None
) -> FlowVideo:
    """wan22 or vace from a checkpoint in diffusers' layout: a whole pipeline, or a transformer
    alone with the rest from options.base.

    Raises RecamError when files are missing or do not fit, or when no placement fits the memory.
    """
    diffusers, published = require_diffusers(), MODELS[model]
    parts = find_parts(weights, options.base, published)
    takes, gives = parts.config["in_channels"], parts.vae_config["z_dim"]
    if takes != gives:
        raise RecamError(
            f"{parts.transformer}: takes {takes} latent channels, but the VAE of {parts.rest} "
            f"gives {gives}; the parts are of different models, or an image-to-video one"
        )
    if model == "vace" and options.shift is None:
        warnings.warn(VACE_NOTE, ModelNote, stacklevel=2)
    device, placement, dtype = choose_place(parts, published, published.tokens, options, dtype)
    guidance = published.guidance if options.guidance is None else options.guidance
    length = published.text_length
    prompt, negative = prompt_pair(parts, options, guidance, length, dtype, encode_umt5)
    # At 32 bits, as its publishers load it.
    vae = load_whole(diffusers.AutoencoderKLWan, parts.rest / "vae", torch.float32)
    transformer = load_transformer(parts, published, options, device, placement, dtype)
    return FlowVideo(
        family=VACE if model == "vace" else TI2V, transformer=transformer, vae=vae, prompt=prompt,
        negative=negative, guidance=guidance, device=device, placement=placement,
        space=int(parts.vae_config.get("scale_factor_spatial") or 8),
        time=int(parts.vae_config.get("scale_factor_temporal") or 4),
        patch=int(parts.config["patch_size"][1]),
        schedule=wan_schedule(
            parts.rest / "scheduler", options.schedule, options.shift, SHIFTS[model]
        ),
        max_frames=published.frames, side=published.side, steps=published.steps,
        tile_gb=tile_gb(published, parts.vae_config), keep_known=options.keep_known,
        feature_cache=options.feature_cache, cache_threshold=options.cache_threshold,
    )  # fmt: skip


def encode_umt5(folder: Path, prompt: str, max_length: int, dtype: torch.dtype) -> Text:
    """UMT5's last states of a prompt, zeros where it is padded, as Wan is given."""
    from transformers import UMT5EncoderModel

    encoder, tokens = read_encoder(UMT5EncoderModel, folder, prompt, max_length, dtype)
    with torch.no_grad():
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    mask = tokens.attention_mask.bool()
    return (states * mask[..., None]).to(dtype).contiguous(), mask


def _velocity(
    transformer: Any, x: Tensor, times: Tensor, text: Text, control: Tensor | None
) -> Tensor:
    embedding = text[0].expand(len(x), -1, -1)
    hidden = x.transpose(1, 2).to(embedding.dtype)
    if control is None:
        told, more = times.flatten(1), {}
    else:
        told, more = times[:, 0, 0, 0], {"control_hidden_states": control.to(hidden)}
    out = transformer(
        hidden_states=hidden, timestep=told, encoder_hidden_states=embedding, return_dict=False,
        **more,
    )[0]  # fmt: skip
    return out.float().transpose(1, 2)


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v) for v in (vae.config.latents_mean, vae.config.latents_std))
    return mean.view(1, -1, 1, 1, 1).to(like), std.view(1, -1, 1, 1, 1).to(like)


def _encode(vae: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
    posterior = vae.encode(frames.transpose(1, 2)).latent_dist
    mean, std = _statistics(vae, posterior.mean)
    return ((posterior.mean - mean) / std).transpose(1, 2), (posterior.std / std).transpose(1, 2)


def _decode(vae: Any, z: Tensor) -> Tensor:
    z = z.transpose(1, 2).to(vae.dtype)
    mean, std = _statistics(vae, z)
    return vae.decode(z * std + mean).sample.transpose(1, 2)


def _vace_control(vae: Any, shown: Tensor, known: Tensor) -> Tensor:
    """[b, 2·c + s², t', h', w']: latents of what is kept and of what is to be made (grey), and the
    mask of what is to be made, every latent's s × s pixels as channels."""
    kept, made = (_encode(vae, part)[0] for part in (shown * known, torch.zeros_like(shown)))
    s = int(getattr(vae.config, "scale_factor_spatial", 8) or 8)
    make = F.pixel_unshuffle(1 - known[:, :, 0], s).unflatten(1, (known.shape[1], s * s))
    size = (kept.shape[1], *make.shape[-2:])
    make = F.interpolate(make.transpose(1, 2), size=size, mode="nearest-exact")
    return torch.cat([kept.transpose(1, 2), made.transpose(1, 2), make], 1)


TI2V = Family(_velocity, _encode, _decode)
VACE = Family(_velocity, _encode, _decode, _vace_control)
