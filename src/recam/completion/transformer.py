"""The small masked video transformer: predicts clean frames from fills, evidence and noise.

It works on pixels (its latent is the frames themselves). A token is a patch of one frame. Around
the transformer lies a pyramid of convolutions, from a quarter of the resolution down to the
tokens' and back up, and the prediction is a mixture of classical fills at full resolution plus a
correction, so detail need not pass through the tokens. All last layers start at zero: the
untrained model returns the mean of the fills.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recam.completion.backbone import Condition, require_uniform
from recam.completion.pixels import known_share
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
    """Two 3×3 convolutions added to what they are given; then, with ``in_time``, one over three
    neighbouring frames. Starts as the identity."""

    def __init__(self, channels: int, in_time: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.time = nn.Conv1d(channels, channels, 3, padding=1) if in_time else None
        for last in (self.conv2, self.time):
            if last is not None and last.bias is not None:
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """x [b t, c, h, w] of clips of num_frames."""
        x = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        if self.time is None:
            return x
        n, c, h, w = x.shape
        # Frames innermost: [b h w, c, t].
        lines = F.silu(x).view(-1, num_frames, c, h, w).permute(0, 3, 4, 2, 1)
        mixed = self.time(lines.reshape(-1, c, num_frames))
        mixed = mixed.view(-1, h, w, c, num_frames).permute(0, 4, 3, 1, 2)
        return x + mixed.reshape(n, c, h, w)


class Pyramid(nn.Module):
    """Convolutions at 1/4 of the resolution, 1/8, … down to twice the tokens' size, and back up.

    Channels double with every level. The tokens' own level is the transformer's.
    """

    def __init__(self, config: ModelConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        s, num = config.stem, (config.patch // STEM_STRIDE).bit_length() - 1
        wide = [s * 2**i for i in range(num)] + [config.hidden]
        self.enter = nn.Conv2d(in_channels, s, 1)
        steps = list(itertools.pairwise(wide))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in steps)
        self.before = nn.ModuleList(self._blocks(config, i, wide[i]) for i in range(num))
        self.after = nn.ModuleList(self._blocks(config, i, wide[i]) for i in range(num))
        self.leave = nn.Conv2d(s, out_channels, 1)

    @staticmethod
    def _blocks(config: ModelConfig, level: int, channels: int) -> nn.ModuleList:
        return nn.ModuleList(ConvBlock(channels, level > 0) for _ in range(config.convs))

    def descend(self, x: Tensor, num_frames: int) -> tuple[Tensor, list[Tensor]]:
        """From [b t, in_channels, h, w] to the tokens [b t, hidden, h', w'], and each level."""
        x = self.enter(x)
        kept = []
        for blocks, down in zip(self.before, self.down):
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x, num_frames)
            kept.append(x)
            x = down(x)
        return x, kept

    def ascend(self, x: Tensor, kept: list[Tensor], num_frames: int) -> Tensor:
        """From tokens [b t, hidden, h', w'] to [b t, out_channels, h, w]."""
        for i in reversed(range(len(kept))):
            x = kept[i] + F.pixel_shuffle(self.up[i](x), 2)
            blocks = self.after[i]
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x, num_frames)
        return self.leave(x)


class VideoTransformer(nn.Module):
    """The model; a Backbone whose latent is the frames in [-1, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        check_model_config(config)
        self.config = config
        self.per_token_noise = config.conditioning != "concat"
        self.grad_checkpoint = False
        d, k = config.hidden, len(config.fills)
        per_pixel = 3 + 3 * max(k, 1) + k + 3 + 1
        # residual (3), how much of what x says (1), what each fill counts (k)
        self.pyramid = Pyramid(config, per_pixel * STEM_STRIDE**2 + 1, (4 + k) * STEM_STRIDE**2)
        self.level_embed = nn.Sequential(nn.Linear(32, d), nn.SiLU(), nn.Linear(d, d))
        kinds = [BLOCK_KINDS[i % len(BLOCK_KINDS)] for i in range(config.blocks)]
        phases = [(i // len(BLOCK_KINDS) * 0.618 + 0.5) % 1.0 for i in range(config.blocks)]
        self.blocks = nn.ModuleList(Block(config, *kp) for kp in zip(kinds, phases))
        self.norm = Norm(d)
        self._start_at_the_fills()

    def _start_at_the_fills(self) -> None:
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.attention.out.bias)
            nn.init.zeros_(block.down.weight)
            nn.init.zeros_(block.down.bias)
        leave = self.pyramid.leave
        assert leave.bias is not None
        nn.init.zeros_(leave.weight)
        nn.init.zeros_(leave.bias)

    @property
    def device(self) -> torch.device:
        return self.norm.weight.device

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
        fills, trust, evidence, known = self._inputs(x, condition)
        start = fills[0]
        s = spread_levels(sigma, x)
        std = self.config.residual_std
        # What x says beyond the start, faded out as it drowns in noise: at level 1 it is 0, so no
        # noise can reach the output through the skips.
        said = shrinkage(s, std) * (x - (1 - s) * start)
        # In the working precision before they are put together: together they are large.
        dtype = self._working_dtype(x.device.type)
        differences = [2 * (other - start).to(dtype) for other in fills[1:]]
        parts = (said / std, start, *differences, *trust, evidence, known)
        pixels = torch.cat([part.to(dtype) for part in parts], 2)
        out = self._network(pixels, sigma)
        x0 = residual_scale(s, std) * out[:, :, :3] + out[:, :, 3:4] * said
        shares = out[:, :, 4:].softmax(2)
        for i in range(len(self.config.fills)):
            x0 = x0 + shares[:, :, i : i + 1] * fills[i]
        if self.config.caution and not self.training:
            # Of what is known the evidence is the cautious answer, and no fill's trust says so.
            x0 = torch.lerp(x0, _trusted_mean(fills, trust), self.config.caution * s * (1 - known))
        return torch.where(s == 0, x, x0)

    def _inputs(
        self, x: Tensor, condition: Condition | None
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Fills (zeros when there is none), their trust, evidence and known; zeros for what the
        mode does not show."""
        num_fills = len(self.config.fills)
        zeros, no = torch.zeros_like(x), torch.zeros_like(x[:, :, :1])
        if condition is None:
            return [zeros] * max(num_fills, 1), [no] * num_fills, zeros, no
        if condition.fills.shape[1] != num_fills:
            raise ValueError(
                f"the condition has {condition.fills.shape[1]} fills, the model takes {num_fills} "
                f"({', '.join(self.config.fills) or 'none'})"
            )
        fills = [f.to(x.dtype) for f in condition.fills.unbind(1)] or [zeros]
        trust = [no] * num_fills
        if condition.trust is not None:
            trust = [s.to(x.dtype) for s in condition.trust.unbind(1)]
        if self.config.conditioning == "clean-tokens":
            return fills, trust, zeros, no
        known = condition.known.to(x.dtype)
        return fills, trust, condition.evidence.to(x.dtype) * (known > 0), known

    def _network(self, pixels: Tensor, sigma: Tensor) -> Tensor:
        """[b, t, c, h, w] per-pixel inputs to [b, t, 4 + k, h, w] float32 per-pixel outputs."""
        b, t, _, height, width = pixels.shape
        h, w = sigma.shape[2:]
        side = self.config.patch // STEM_STRIDE
        dtype = pixels.dtype
        stem = F.pixel_unshuffle(pixels.flatten(0, 1), STEM_STRIDE)
        level = sigma.to(dtype).reshape(b * t, 1, h, w).repeat_interleave(side, 2)
        stem = torch.cat([stem, level.repeat_interleave(side, 3)], 1)
        low, kept = self.pyramid.descend(stem.contiguous(memory_format=torch.channels_last), t)
        tokens = low.permute(0, 2, 3, 1).reshape(b, t, h, w, -1)
        tokens = tokens + self.level_embed(level_features(sigma).to(dtype))
        angles = rotary_table(t, h, w, self.config.hidden // self.config.heads, pixels.device)
        noisy = sigma > 0
        for block in self.blocks:
            if self.grad_checkpoint and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, angles, noisy, use_reentrant=False)
            else:
                tokens = block(tokens, angles, noisy)
        out = self.norm(tokens).flatten(0, 1).permute(0, 3, 1, 2).to(low.dtype)
        out = F.pixel_shuffle(self.pyramid.ascend(out, kept, t), STEM_STRIDE)
        return out.reshape(b, t, -1, height, width).float()

    def _working_dtype(self, device_type: str) -> torch.dtype:
        """What convolutions and products run in: autocast's choice, else the weights' own."""
        if torch.is_autocast_enabled(device_type):
            return torch.get_autocast_dtype(device_type)
        return self.norm.weight.dtype


def _trusted_mean(fills: list[Tensor], trust: list[Tensor]) -> Tensor:
    """Mean [b, t, 3, h, w] of the fills that are trusted at all; of every fill where none is."""
    num = sum(((s > 0).to(s) for s in trust), torch.zeros_like(fills[0][:, :, :1]))
    mean = torch.zeros_like(fills[0])
    for fill, s in zip(fills, trust):
        mean = mean + torch.where(num > 0, (s > 0).to(s) / num.clamp(min=1), 1 / len(fills)) * fill
    return mean


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
