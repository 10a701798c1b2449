"""The small masked video transformer: predicts clean frames from fills, evidence and noise.

It works on pixels (its latent is the frames themselves). A token is a patch of one frame. Around
the transformer lies a thin convolutional stem and head at a quarter of the resolution, and the
prediction is a correction of a full-resolution classical fill, so detail need not pass through the
tokens. All last layers start at zero: the untrained model returns the fill.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recam.completion.backbone import Condition, require_uniform
from recam.completion.codec import known_share
from recam.completion.schedule import residual_scale, shrinkage, spread_levels
from recam.configs import Fill, ModelConfig

STEM_STRIDE = 4
"""Stem and head work at 1/4 of the resolution: convolutions at full size are what costs."""
ROPE_BASE = 100.0
BLOCK_KINDS = ("space", "time", "anchors")


def rotary_table(
    t: int, h: int, w: int, head_dim: int, device: torch.device | None = None
) -> Tensor:
    """Angles [t, h, w, head_dim / 2] of rotary positions (Su et al. 2021) along three axes.

    Only differences of positions matter to attention, so any length and aspect can be asked for.
    A quarter of the channels serves time, the rest the two sides.
    """
    half = head_dim // 2
    num_t = half // 4
    num_h = (half - num_t) // 2
    num_w = half - num_t - num_h
    parts = []
    for axis, (size, num) in enumerate([(t, num_t), (h, num_h), (w, num_w)]):
        frequency = ROPE_BASE ** (-torch.arange(num, device=device) / max(num, 1))
        angle = torch.arange(size, device=device)[:, None] * frequency
        shape = [1, 1, 1, num]
        shape[axis] = size
        parts.append(angle.view(shape).expand(t, h, w, num))
    return torch.cat(parts, -1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn channel pairs of x [..., n, head_dim] by angles [n, head_dim / 2]."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Norm(nn.Module):
    """RMS normalisation in the precision of what it is given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), eps=1e-6)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys and rotary positions."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(hidden, hidden, bias=False)
        self.kv = nn.Linear(hidden, 2 * hidden, bias=False)
        self.q_norm = Norm(hidden // heads)
        self.k_norm = Norm(hidden // heads)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, context: Tensor, angles: Tensor, context_angles: Tensor) -> Tensor:
        """x [b, n, d] attends to context [b, m, d]; angles [n, ·] and [m, ·]."""

        def split(z: Tensor) -> Tensor:
            return z.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        k, v = self.kv(context).chunk(2, -1)
        q = rotate(self.q_norm(split(self.q(x))), angles)
        k = rotate(self.k_norm(split(k)), context_angles)
        v = split(v)
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.out(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention of one kind, then a per-token network; both start as the identity.

    space: within a frame. time: along the frames at one place. anchors: every noisy token to all
    tokens of a few evenly spaced frames, at a cost linear in the number of frames; ``phase``
    shifts which.
    """

    def __init__(self, config: ModelConfig, kind: str, phase: float) -> None:
        super().__init__()
        d = config.hidden
        self.kind, self.phase, self.num_anchors = kind, phase, config.num_anchors
        self.norm1 = Norm(d)
        self.attention = Attention(d, config.heads)
        self.norm2 = Norm(d)
        self.up = nn.Linear(d, 4 * d)
        self.down = nn.Linear(4 * d, d)

    def forward(self, x: Tensor, angles: Tensor, noisy: Tensor) -> Tensor:
        """x [b, t, h, w, d], angles [t, h, w, ·], noisy bool [b, t, h, w]."""
        x = x + self._attend(self.norm1(x), angles, noisy)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    def _attend(self, x: Tensor, angles: Tensor, noisy: Tensor) -> Tensor:
        b, t, h, w, d = x.shape
        if self.kind == "space":
            tokens, place = x.reshape(b * t, h * w, d), angles[0].flatten(0, 1)
            return self.attention(tokens, tokens, place, place).reshape(x.shape)
        if self.kind == "time":
            tokens = x.permute(0, 2, 3, 1, 4).reshape(b * h * w, t, d)
            place = angles[:, 0, 0]
            out = self.attention(tokens, tokens, place, place)
            return out.reshape(b, h, w, t, d).permute(0, 3, 1, 2, 4)
        frames = anchor_frames(t, self.num_anchors, self.phase).to(x.device)
        context, place = x[:, frames].reshape(b, -1, d), angles[frames].flatten(0, 2)
        if b == 1 and not torch.is_grad_enabled():
            # Sampling: most tokens are evidence, and asking for them alone would cost the most.
            out = torch.zeros_like(x)
            asking = x[noisy][None]
            out[noisy] = self.attention(asking, context, angles[noisy[0]], place)[0].to(x.dtype)
            return out
        out = self.attention(x.reshape(b, t * h * w, d), context, angles.flatten(0, 2), place)
        return out.reshape(x.shape) * noisy[..., None]


def anchor_frames(num_frames: int, num_anchors: int, phase: float) -> Tensor:
    """Indices of at most num_anchors evenly spaced frames; all of them when they are few.

    phase in [0, 1) shifts them by a share of their spacing.
    """
    if num_frames <= num_anchors:
        return torch.arange(num_frames)
    spots = (torch.arange(num_anchors, dtype=torch.float64) + phase) * num_frames / num_anchors
    return spots.long()


class ConvBlock(nn.Module):
    """Two 3×3 convolutions added to what they are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class VideoTransformer(nn.Module):
    """The model; a Backbone whose latent is the frames in [-1, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        check_model_config(config)
        self.config = config
        self.per_token_noise = config.conditioning != "concat"
        self.grad_checkpoint = False
        d, s, k = config.hidden, config.stem, len(config.fills)
        per_pixel = 3 + 3 * max(k, 1) + 3 + 1
        side = config.patch // STEM_STRIDE
        self.stem_in = nn.Conv2d(per_pixel * STEM_STRIDE**2 + 1, s, 1)
        self.stem = ConvBlock(s)
        self.embed = nn.Linear(s * side * side, d)
        self.level_embed = nn.Sequential(nn.Linear(32, d), nn.SiLU(), nn.Linear(d, d))
        kinds = [BLOCK_KINDS[i % len(BLOCK_KINDS)] for i in range(config.blocks)]
        phases = [(i // len(BLOCK_KINDS) * 0.618 + 0.5) % 1.0 for i in range(config.blocks)]
        self.blocks = nn.ModuleList(Block(config, *kp) for kp in zip(kinds, phases))
        self.norm = Norm(d)
        self.unembed = nn.Linear(d, s * side * side)
        self.head1 = ConvBlock(s)
        self.head2 = ConvBlock(s)
        # residual (3), how much of what x says (1), weights of the other fills (k - 1)
        self.head_out = nn.Conv2d(s, (3 + 1 + max(k - 1, 0)) * STEM_STRIDE**2, 1)
        self._start_at_the_fill()

    def _start_at_the_fill(self) -> None:
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.attention.out.bias)
            nn.init.zeros_(block.down.weight)
            nn.init.zeros_(block.down.bias)
        nn.init.zeros_(self.head_out.weight)
        assert self.head_out.bias is not None
        nn.init.zeros_(self.head_out.bias)

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    @property
    def pixel_multiple(self) -> int:
        return self.config.patch

    @property
    def fills(self) -> tuple[Fill, ...]:
        return self.config.fills

    def encode(self, frames: Tensor) -> Tensor:
        return frames

    def decode(self, z: Tensor) -> Tensor:
        return z

    def token_levels(self, known: Tensor) -> Tensor:
        return known_share(known, self.config.patch)

    def forward(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        return self.denoise(x, sigma, condition)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        """See Backbone. x [b, t, 3, h, w] of whole patches; sigma [b, t, h/p, w/p]."""
        b, t, _, h, w = x.shape
        p = self.config.patch
        if h % p or w % p or sigma.shape != (b, t, h // p, w // p):
            raise ValueError(
                f"x {list(x.shape)} with sigma {list(sigma.shape)}: expected sides that are whole "
                f"patches of {p} pixels and one level per patch; pad first (codec.pad)"
            )
        if not self.per_token_noise:
            require_uniform(sigma)
        start, others, evidence, known = self._inputs(x, condition)
        s = spread_levels(sigma, x)
        std = self.config.residual_std
        # What x says beyond the start, faded out as it drowns in noise: at level 1 it is 0, so no
        # noise can reach the output through the skips.
        said = shrinkage(s, std) * (x - (1 - s) * start)
        differences = [other - start for other in others]
        pixels = torch.cat([said / std, start, *differences, evidence, known], 2)
        out = self._network(pixels, sigma)
        x0 = start + residual_scale(s, std) * out[:, :, :3] + out[:, :, 3:4] * said
        for i, difference in enumerate(differences):
            x0 = x0 + out[:, :, 4 + i : 5 + i] * difference
        return torch.where(s == 0, x, x0)

    def _inputs(
        self, x: Tensor, condition: Condition | None
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """First fill, other fills, evidence and known; zeros for what the mode does not show."""
        num_fills = len(self.config.fills)
        zeros, no = torch.zeros_like(x), torch.zeros_like(x[:, :, :1])
        if condition is None:
            return zeros, [zeros] * max(num_fills - 1, 0), zeros, no
        if condition.fills.shape[1] != num_fills:
            raise ValueError(
                f"the condition has {condition.fills.shape[1]} fills, the model takes {num_fills} "
                f"({', '.join(self.config.fills) or 'none'})"
            )
        fills = [f.to(x.dtype) for f in condition.fills.unbind(1)]
        start, others = (fills[0], fills[1:]) if fills else (zeros, [])
        if self.config.conditioning == "clean-tokens":
            return start, others, zeros, no
        known = condition.known.to(x.dtype)
        return start, others, condition.evidence.to(x.dtype) * (known > 0), known

    def _network(self, pixels: Tensor, sigma: Tensor) -> Tensor:
        """[b, t, c, h, w] per-pixel inputs to [b, t, 4 + …, h, w] float32 per-pixel outputs."""
        b, t, _, height, width = pixels.shape
        h, w = sigma.shape[2:]
        side = self.config.patch // STEM_STRIDE
        dtype = self._working_dtype(pixels.device.type)
        stem = F.pixel_unshuffle(pixels.to(dtype).flatten(0, 1), STEM_STRIDE)
        level = sigma.to(dtype).reshape(b * t, 1, h, w).repeat_interleave(side, 2)
        stem = torch.cat([stem, level.repeat_interleave(side, 3)], 1)
        stem = self.stem(self.stem_in(stem.contiguous(memory_format=torch.channels_last)))
        tokens = self.embed(F.pixel_unshuffle(stem, side).permute(0, 2, 3, 1))
        tokens = tokens.reshape(b, t, h, w, -1) + self.level_embed(level_features(sigma).to(dtype))
        angles = rotary_table(t, h, w, self.config.hidden // self.config.heads, pixels.device)
        noisy = sigma > 0
        for block in self.blocks:
            if self.grad_checkpoint and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, angles, noisy, use_reentrant=False)
            else:
                tokens = block(tokens, angles, noisy)
        out = self.unembed(self.norm(tokens)).flatten(0, 1).permute(0, 3, 1, 2)
        out = F.pixel_shuffle(out, side).contiguous(memory_format=torch.channels_last)
        out = self.head_out(self.head2(self.head1(out.to(stem.dtype) + stem)))
        out = F.pixel_shuffle(out, STEM_STRIDE)
        return out.reshape(b, t, -1, height, width).float()

    def _working_dtype(self, device_type: str) -> torch.dtype:
        """What convolutions and products run in: autocast's choice, else the weights' own."""
        if torch.is_autocast_enabled(device_type):
            return torch.get_autocast_dtype(device_type)
        return self.embed.weight.dtype


def level_features(sigma: Tensor) -> Tensor:
    """Sines and cosines [..., 32] of levels in [0, 1]."""
    frequency = math.pi * torch.logspace(0, 4, 16, base=2.0, device=sigma.device)
    angle = sigma.float()[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def check_model_config(config: ModelConfig) -> None:
    """Raise ValueError when the sizes do not fit together."""
    if config.patch not in (8, 16, 32):
        raise ValueError(f"patch must be 8, 16 or 32, got {config.patch}")
    head_dim, rest = divmod(config.hidden, config.heads)
    if rest or head_dim % 8:
        raise ValueError(f"hidden {config.hidden} must be heads ({config.heads}) × a multiple of 8")


def num_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
