"""Wan2.2-TI2V (a time of its own for every token) and Wan2.1-VACE (trained to complete)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.foundation.checkpoints import (
    find_folder,
    load_part,
    read_config,
    require_diffusers,
    transformer_folder,
)
from recam.completion.foundation.flow import Family, FlowVideo, Text
from recam.completion.foundation.placement import (
    choose_placement,
    free_gb,
    pick_device,
    place_transformer,
)
from recam.completion.foundation.size import memory_need, meta_transformer
from recam.completion.foundation.speedups import prepare
from recam.completion.foundation.text import prompt_embedding, read_encoder
from recam.configs import FoundationConfig
from recam.types import RecamError

TEXT_LENGTH = 512
GUIDANCE = 5.0
VAE = "AutoencoderKLWan"
VAE_WORK_GB = 6.0
"""What coding one tile keeps at 32 bits, an estimate."""


@dataclass(frozen=True)
class Published:
    """What a published model was trained at."""

    transformer: str
    base: str
    frames: int
    side: int
    tokens: int
    steps: int
    shift: float


MODELS = {
    "wan22": Published(
        "WanTransformer3DModel", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", 121, 1280, 31 * 22 * 40, 50, 5.0
    ),
    "vace": Published(
        "WanVACETransformer3DModel", "Wan-AI/Wan2.1-VACE-1.3B-diffusers", 81, 832, 21 * 30 * 52,
        50, 3.0,
    ),
}  # fmt: skip


def load_wan(
    model: str, weights: str, options: FoundationConfig, dtype: torch.dtype = torch.bfloat16
) -> FlowVideo:
    """wan22 or vace from a checkpoint in diffusers' layout: a whole pipeline, or a transformer
    alone with the rest from options.base.

    Raises RecamError when files are missing or do not fit, or when no placement fits the memory.
    """
    diffusers, known = require_diffusers(), MODELS[model]
    folder = find_folder(weights, ["*.json", "*.safetensors", "transformer/*"])
    inner = transformer_folder(folder, known.transformer)
    has_vae = (folder / "vae" / "config.json").is_file()
    base = options.base or (str(folder) if has_vae else known.base)
    rest = find_folder(base, ["vae/*", "scheduler/*", "model_index.json"])
    config, vae_config = read_config(inner), read_config(rest / "vae")
    if config["in_channels"] != vae_config["z_dim"]:
        raise RecamError(
            f"{inner}: takes {config['in_channels']} latent channels, but the VAE of {rest} gives "
            f"{vae_config['z_dim']}; the parts are of different models, or an image-to-video one"
        )
    device = pick_device(options.model_device)
    size = meta_transformer(known.transformer, config, known.tokens)
    need = memory_need(size, VAE, vae_config, VAE_WORK_GB, 4, options.quantize)
    placement = choose_placement(need, free_gb(device), options.placement, device.type == "cpu")
    prompt = prompt_embedding(base, options.prompt, TEXT_LENGTH, dtype, encode_umt5)
    negative = prompt_embedding(base, "", TEXT_LENGTH, dtype, encode_umt5)
    guidance = GUIDANCE if options.guidance is None else options.guidance
    # At 32 bits, as its publishers load it.
    vae = load_part(diffusers.AutoencoderKLWan, rest / "vae", torch.float32)
    transformer = load_part(getattr(diffusers, known.transformer), inner, dtype)
    prepare(transformer, placement, options.quantize, options.compile)
    place_transformer(transformer, placement, device, dtype)
    scheduler = rest / "scheduler" / "scheduler_config.json"
    return FlowVideo(
        family=VACE if model == "vace" else TI2V, transformer=transformer, vae=vae, prompt=prompt,
        negative=None if options.prompt == "" or guidance == 1 else negative, guidance=guidance,
        device=device, placement=placement, space=int(vae_config.get("scale_factor_spatial", 8)),
        time=int(vae_config.get("scale_factor_temporal", 4)), patch=int(config["patch_size"][1]),
        shift=_flow_shift(scheduler, known.shift), max_frames=known.frames, side=known.side,
        steps=known.steps, feature_cache=options.feature_cache,
        cache_threshold=options.cache_threshold, schedule=options.schedule,
    )  # fmt: skip


def _flow_shift(path: Path, default: float) -> float:
    import json

    if not path.is_file():
        return default
    config = json.loads(path.read_text())
    return float(config.get("flow_shift") or config.get("shift") or default)


def encode_umt5(folder: Path, prompt: str, max_length: int, dtype: torch.dtype) -> Text:
    """UMT5's last states of a prompt, zeros where it is padded, as Wan is given."""
    from transformers import UMT5EncoderModel

    encoder, tokens = read_encoder(UMT5EncoderModel, folder, prompt, max_length, dtype)
    with torch.no_grad():
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    mask = tokens.attention_mask.bool()
    return (states * mask[..., None]).to(dtype).contiguous(), mask


def _velocity(
    transformer: Any, x: Tensor, sigma: Tensor, text: Text, control: Tensor | None
) -> Tensor:
    embedding = text[0].expand(len(x), -1, -1)
    hidden = x.transpose(1, 2).to(embedding.dtype)
    if control is None:
        times, more = sigma.flatten(1) * 1000, {}
    else:
        times, more = sigma[:, 0, 0, 0] * 1000, {"control_hidden_states": control.to(hidden)}
    out = transformer(
        hidden_states=hidden, timestep=times, encoder_hidden_states=embedding, return_dict=False,
        **more,
    )[0]  # fmt: skip
    return out.float().transpose(1, 2)


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(v) for v in (vae.config.latents_mean, vae.config.latents_std))
    return mean.view(1, -1, 1, 1, 1).to(like), std.view(1, -1, 1, 1, 1).to(like)


def _encode(vae: Any, frames: Tensor) -> Tensor:
    z = vae.encode(frames.transpose(1, 2)).latent_dist.mode()
    mean, std = _statistics(vae, z)
    return ((z - mean) / std).transpose(1, 2)


def _decode(vae: Any, z: Tensor) -> Tensor:
    z = z.transpose(1, 2).to(vae.dtype)
    mean, std = _statistics(vae, z)
    return vae.decode(z * std + mean).sample.transpose(1, 2)


def _vace_control(vae: Any, shown: Tensor, known: Tensor) -> Tensor:
    """[b, 2·c + s², t', h', w']: latents of what is kept and of what is to be made (grey), and the
    mask of what is to be made, every latent's s × s pixels as channels."""
    kept, made = _encode(vae, shown * known), _encode(vae, torch.zeros_like(shown))
    s = int(getattr(vae.config, "scale_factor_spatial", 8) or 8)
    make = F.pixel_unshuffle(1 - known[:, :, 0], s).unflatten(1, (known.shape[1], s * s))
    size = (kept.shape[1], *make.shape[-2:])
    make = F.interpolate(make.transpose(1, 2), size=size, mode="nearest-exact")
    return torch.cat([kept.transpose(1, 2), made.transpose(1, 2), make], 1)


TI2V = Family(_velocity, _encode, _decode)
VACE = Family(_velocity, _encode, _decode, _vace_control)
