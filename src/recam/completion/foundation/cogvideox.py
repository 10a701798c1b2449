"""CogVideoX image-to-video transformers that complete a video: the CogNVS checkpoint and its kin.

What is known enters as latents beside the noisy ones (channels 16–31), black where nothing is
known. The recipe is the reference's (see docs/backbones.md); what it computes for nothing is left
out: the guidance pass of two equal prompts, the text encoder, a second encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.completion.backbone import Condition, require_uniform
from recam.completion.foundation.fit import Fit, fit_fixed, fit_multiple, min_share
from recam.completion.foundation.parts import (
    choose_place,
    find_parts,
    load_transformer,
    prompt_pair,
)
from recam.completion.foundation.placement import on_device
from recam.completion.foundation.published import MODELS
from recam.completion.foundation.schedules import step, vp_scheduler
from recam.completion.foundation.size import cogvideox_tokens
from recam.completion.foundation.speedups import branch, feature_caching
from recam.completion.foundation.text import encode_t5
from recam.completion.schedule import vp_from_flow
from recam.configs import Aspect, CompleteConfig, FeatureCache, Fill, FoundationConfig, Placement
from recam.runtime.checkpoints import load_whole, read_json_file, require_diffusers
from recam.types import Progress, RecamError, no_progress

PUBLISHED = MODELS["cogvideox"]


@dataclass
class CogVideoX:
    """A Backbone (see completion.backbone) of one noise level per video.

    prompt, negative: embeddings [1, n, c]; negative is None when guidance would change nothing.
    """

    transformer: Any
    vae: Any
    scheduler: Any
    prompt: Tensor
    negative: Tensor | None
    guidance: float
    device: torch.device
    placement: Placement
    feature_cache: FeatureCache = "none"
    cache_threshold: float = 0.05
    aspect: Aspect = "stretch"
    per_token_noise: bool = False
    steps: int = PUBLISHED.steps
    source: CompleteConfig | None = None

    @property
    def fills(self) -> tuple[Fill, ...]:
        return ()

    @property
    def space(self) -> int:
        """Pixels per latent along height and width."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def time(self) -> int:
        """Frames per latent; the first frame has a latent of its own."""
        return int(self.vae.config.temporal_compression_ratio)

    @property
    def pixel_multiple(self) -> int:
        return self.space * self.transformer.config.patch_size

    @property
    def is_fixed(self) -> bool:
        """Whether learned positions tie it to the one size and length it was trained at."""
        return bool(self.transformer.config.use_learned_positional_embeddings)

    @property
    def max_frames(self) -> int:
        return int(self.transformer.config.sample_frames)

    def padded_frames(self, num: int) -> int:
        """How many frames a clip of ``num`` is padded to."""
        return self.max_frames if self.is_fixed else num + (1 - num) % self.time

    def fit(self, height: int, width: int, max_side: int | None) -> Fit:
        """How a video's size becomes the model's. max_side: where any size will do."""
        config = self.transformer.config
        if self.is_fixed:
            fixed = (config.sample_height * self.space, config.sample_width * self.space)
            return fit_fixed(height, width, fixed, self.aspect)
        return fit_multiple(height, width, self.pixel_multiple, max_side or PUBLISHED.side)

    def sample(
        self, shown: Tensor, known: Tensor, steps: int, seed: int,
        progress: Progress = no_progress, stochastic: bool = False,
    ) -> Tensor:  # fmt: skip
        """Completed frames [b, t, 3, h, w] of shown [b, t, 3, h, w]; see ``sample``. Everything is
        generated anyway, what is known as well."""
        return sample(self, shown, steps, seed, progress)

    def encode(self, frames: Tensor) -> Tensor:
        return encode(self, frames, None)

    def decode(self, z: Tensor) -> Tensor:
        return decode(self, z)

    def token_levels(self, known: Tensor) -> Tensor:
        return min_share(known, self.pixel_multiple, self.time)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        """Clean estimate of a flow latent; what is known comes from the condition.

        Raises ValueError without one, or when sigma differs between the tokens of a video.
        """
        require_uniform(sigma)
        if condition is None:
            raise ValueError("CogVideoX completers need a condition: evidence enters as latents")
        level = sigma[:, 0, 0, 0].double().cpu()
        alpha, scale = (part.view(-1, 1, 1, 1, 1).to(x) for part in vp_from_flow(level))
        shown = condition.evidence * condition.known - (1 - condition.known)
        beside = encode(self, shown, None)
        # The schedule's levels need not be among the trained ones: times between them do.
        trained = self.scheduler.alphas_cumprod.double().numpy()
        wanted = vp_from_flow(level)[0].numpy()
        t = torch.from_numpy(np.interp(-wanted, -trained, np.arange(len(trained))))
        noisy = x * scale
        with torch.no_grad(), on_device(self.transformer, self.placement, self.device):
            v = predict(self, noisy, beside, t.to(self.device).float())
        x0 = alpha.sqrt() * noisy - (1 - alpha).sqrt() * v.to(x)
        return torch.where((sigma > 0)[:, :1, None, :1, :1], x0, x)


@torch.no_grad()
def sample(
    model: CogVideoX, shown: Tensor, steps: int, seed: int, progress: Progress = no_progress
) -> Tensor:
    """Completed frames float32 [b, t, 3, h, w] in [-1, 1], on the CPU.

    shown: [b, t, 3, h, w] in [-1, 1], -1 where nothing is known, of a size and length of
    the model. One generator draws, in this order, the condition's posterior, the first latent and
    every step's noise, on the CPU, so that a seed means the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    progress("encoding", 0, 1)
    beside = encode(model, shown, generator)
    scheduler = model.scheduler
    scheduler.set_timesteps(steps)
    x = torch.randn(beside.shape, generator=generator, dtype=beside.dtype).to(beside.device)
    x = x * scheduler.init_noise_sigma
    before: Tensor | None = None
    times = scheduler.timesteps
    caching = feature_caching(model.transformer, model.feature_cache, model.cache_threshold)
    with on_device(model.transformer, model.placement, model.device), caching:
        for i, t in enumerate(times):
            v = predict(model, x, beside, t.expand(len(x)).to(model.device))
            # On the CPU in the scheduler, as its table of levels and the generator are.
            t_before = times[i - 1] if i else None
            x_cpu, before = step(scheduler, v.cpu(), before, t, t_before, x.cpu(), generator)
            x = x_cpu.to(beside)
            progress("sampling", i + 1, len(times))
    return decode(model, x)


def predict(model: CogVideoX, x: Tensor, beside: Tensor, t: Tensor) -> Tensor:
    """The transformer's answer (velocity), float32, guided where two prompts differ."""
    with branch(model.transformer, "prompt"):
        answer = velocity(model, x, beside, t, model.prompt)
    if model.negative is None:
        return answer
    with branch(model.transformer, "negative"):
        away = velocity(model, x, beside, t, model.negative)
    return away + model.guidance * (answer - away)


def velocity(model: CogVideoX, x: Tensor, beside: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """The transformer's answer to one prompt, float32: v = √ᾱ·ε − √(1 − ᾱ)·x0."""
    dtype = model.prompt.dtype
    return model.transformer(
        hidden_states=torch.cat([x, beside.to(x)], 2).to(model.device, dtype),
        encoder_hidden_states=text.to(model.device).expand(len(x), -1, -1), timestep=t,
        image_rotary_emb=rotary_positions(model, x.shape[1], x.shape[3], x.shape[4]),
        return_dict=False,
    )[0].float()  # fmt: skip


def rotary_positions(model: CogVideoX, num: int, height: int, width: int) -> Any:
    """Rotary tables of a latent's grid, cropped from the trained one; None where unused."""
    config = model.transformer.config
    if not config.use_rotary_positional_embeddings:
        return None
    from diffusers.models.embeddings import get_3d_rotary_pos_embed
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

    p = config.patch_size
    grid = (height // p, width // p)
    crop = get_resize_crop_region_for_grid(
        grid, config.sample_width // p, config.sample_height // p
    )
    return get_3d_rotary_pos_embed(config.attention_head_dim, crop, grid, num, device=model.device)


@torch.no_grad()
def encode(model: CogVideoX, frames: Tensor, generator: torch.Generator | None) -> Tensor:
    """Latent [b, t', c, h', w'] at the transformer's scale: a draw of the posterior, or its mode
    without a generator."""
    with on_device(model.vae, model.placement, model.device):
        posterior = _posterior(model, frames)
        z = posterior.sample(generator) if generator else posterior.mode()
    return (z.transpose(1, 2) * model.vae.config.scaling_factor).to(model.vae.dtype)


@torch.no_grad()
def encode_spread(model: CogVideoX, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the posterior [b, t', c, h', w'], at the transformer's scale:
    a fresh draw for every training step costs no encoding."""
    with on_device(model.vae, model.placement, model.device):
        posterior = _posterior(model, frames)
        scale = model.vae.config.scaling_factor
        return posterior.mean.transpose(1, 2) * scale, posterior.std.transpose(1, 2) * scale


def _posterior(model: CogVideoX, frames: Tensor) -> Any:
    # Contiguous, as the original gives it: bf16 convolutions round otherwise for other strides.
    frames = frames.to(model.device, model.vae.dtype).transpose(1, 2).contiguous()
    return model.vae.encode(frames).latent_dist


@torch.no_grad()
def decode(model: CogVideoX, z: Tensor) -> Tensor:
    """Frames float32 [b, t, 3, h, w] in [-1, 1], on the CPU."""
    with on_device(model.vae, model.placement, model.device):
        z = z.to(model.device, model.vae.dtype).transpose(1, 2)
        frames = model.vae.decode(1 / model.vae.config.scaling_factor * z).sample
        return frames.transpose(1, 2).float().cpu()


def load_cogvideox(
    weights: str, options: FoundationConfig, dtype: torch.dtype | None = None
) -> CogVideoX:
    """The model of a checkpoint: a whole pipeline's folder, or a transformer alone (CogNVS, or one
    adapted to a sequence) with the rest from options.base.

    Raises RecamError when files are missing or do not fit, or when no placement fits the memory.
    """
    diffusers = require_diffusers()
    parts = find_parts(weights, options.base, PUBLISHED)
    check_completer(parts.config, parts.vae_config, parts.transformer)
    tokens = cogvideox_tokens(parts.config)
    device, placement, dtype = choose_place(parts, PUBLISHED, tokens, options, dtype)
    guidance = PUBLISHED.guidance if options.guidance is None else options.guidance
    length = parts.config["max_text_seq_length"]
    prompt, negative = prompt_pair(parts, options, guidance, length, dtype, encode_t5)
    vae = load_whole(diffusers.AutoencoderKLCogVideoX, parts.rest / "vae", dtype)
    vae.enable_slicing()
    vae.enable_tiling()
    transformer = load_transformer(parts, PUBLISHED, options, device, placement, dtype)
    scheduler = diffusers.CogVideoXDPMScheduler.from_config(
        read_json_file(parts.rest / "scheduler" / "scheduler_config.json"),
        timestep_spacing="trailing",
    )
    return CogVideoX(
        transformer, vae, vp_scheduler(scheduler, options.schedule), prompt[0],
        None if negative is None else negative[0], guidance, device, placement,
        options.feature_cache, options.cache_threshold, options.aspect,
    )  # fmt: skip


def check_completer(config: dict[str, Any], vae: dict[str, Any], folder: Any) -> None:
    """Raise RecamError when a CogVideoX transformer takes no condition beside its noise."""
    channels = vae["latent_channels"]
    if config["in_channels"] != 2 * channels or config["out_channels"] != channels:
        raise RecamError(
            f"{folder}: takes {config['in_channels']} latent channels, but completion needs "
            f"{2 * channels} (noise and condition); text-to-video checkpoints cannot complete"
        )
    if config.get("patch_size_t") is not None:
        raise RecamError(f"{folder}: a CogVideoX 1.5 model; recam runs the 1.0 family (CogNVS)")
