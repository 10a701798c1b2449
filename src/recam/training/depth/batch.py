"""Batches for the depth network: crops of the pool's pictures, made to look like anybody's film."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.training.depth.data import Pool

FARTHEST_M = 100.0
"""Beyond, all is as far as the sky: no picture of this size shows a difference."""
FAR_TIMES = 50.0
"""And nothing is farther than so many times what is near (a tenth of the picture)."""
CENTRED = 0.5
"""Part of the crops around the middle of the picture, whose focal length can be told."""
BARRED = 0.04
"""Part of the pictures with black bars, each way."""
ASPECTS = (1.5, 1.5, 1.78, 1.33, 1.0, 0.67, 0.5)


@dataclass(frozen=True)
class DepthBatch:
    """frames float32 [b, 3, h, w] in [0, 1]; target float32 [b, h, w], the log of inverse depth;
    log_focal float32 [b], of the focal length over the longer side."""

    frames: Tensor
    target: Tensor
    log_focal: Tensor


def draw_depth_batch(
    pool: Pool, num: int, area: int, generator: torch.Generator, multiple: int = 16
) -> DepthBatch:
    """num random crops of one random aspect and about ``area`` pixels, degraded.

    Crops of any place and of 60 to 100 % of the largest size also vary focal length, tilt and the
    place of the principal point.
    """
    device = generator.device
    # One draw for the host. Torch's generator looks at the lowest 32 bits of a seed alone.
    drawn = torch.randint(1 << 31, (1,), generator=generator, device=device)
    host = torch.Generator().manual_seed(int(drawn))
    aspect = ASPECTS[int(torch.randint(len(ASPECTS), (), generator=host))]
    h = max(multiple, round(math.sqrt(area / aspect) / multiple) * multiple)
    w = max(multiple, round(math.sqrt(area * aspect) / multiple) * multiple)
    frames, targets, focals = [], [], []
    for _ in range(num):
        chunk = pool.chunks[int(torch.randint(len(pool.chunks), (), generator=host))]
        i = int(torch.randint(len(chunk), (), generator=host))
        frame, log_depth, focal_px = chunk[i]
        frame, log_depth = frame.to(device), log_depth.to(device)
        a, b, c, flip, centred = torch.rand(5, generator=host).tolist()
        if centred < CENTRED:
            b = c = 0.5
        tall, wide = frame.shape[-2:]
        scale = min(tall / h, wide / w) * (0.6 + 0.4 * a)
        ch, cw = max(1, int(h * scale)), max(1, int(w * scale))
        top, left = int(b * (tall - ch + 0.999)), int(c * (wide - cw + 0.999))
        window = (..., slice(top, top + ch), slice(left, left + cw))
        picture = F.interpolate(
            frame[window][None].float(), (h, w), mode="bilinear", antialias=True
        )[0]
        depth = F.interpolate(log_depth[window][None, None].float(), (h, w), mode="nearest-exact")
        if flip < 0.5:
            picture, depth = picture.flip(-1), depth.flip(-1)
        frames.append(picture / 255)
        targets.append(-depth[0, 0])
        focals.append(focal_px * w / cw / max(h, w))
    target = limited(torch.stack(targets))
    pictures = framed(filmed(torch.stack(frames), generator), generator)
    return DepthBatch(pictures, target, torch.tensor(focals, device=target.device).log())


def framed(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [b, 3, h, w] in [0, 1], some with black bars above and below or at the sides."""
    b, _, h, w = frames.shape
    for axis, size in ((2, h), (3, w)):
        has = _rand((b, 1, 1, 1), generator) < BARRED
        width = _rand((b, 1, 1, 1), generator) * 0.14 * size * has
        at = torch.arange(size, device=frames.device).view(-1, *[1] * (3 - axis))
        frames = frames * ((at >= width) & (at < size - width))
    return frames


def limited(log_inverse: Tensor) -> Tensor:
    """Log inverse depth [b, h, w] (of metres) with what is very far put where sky is put."""
    near = log_inverse.flatten(1)[:, ::7].quantile(0.9, dim=1)[:, None, None]
    far = torch.maximum(near - math.log(FAR_TIMES), torch.full_like(near, -math.log(FARTHEST_M)))
    return torch.maximum(log_inverse, far)


def filmed(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [b, 3, h, w] in [0, 1] as some camera would have taken them: exposure, white
    balance, contrast, colour, blur, grain, compression."""
    b = len(frames)

    def rand(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * _rand((b, channels, 1, 1), generator)

    def chance(share: float) -> Tensor:
        return rand(0, 1) < share

    x = frames.clamp(min=1e-4) ** torch.where(
        chance(0.8), rand(0.6, 1.5), torch.ones(()).to(frames)
    )
    x = x * torch.exp2(rand(-1.0, 0.7)) * torch.exp2(rand(-0.18, 0.18, 3))
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * torch.where(
        chance(0.1), torch.zeros_like(gray[..., :1, :1]), rand(0.4, 1.6)
    )
    x = torch.where(chance(0.12), x.flip(1), x)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * rand(0.6, 1.4) + rand(-0.08, 0.12)
    soft = rand(0.0, 1.0) ** 2 * chance(0.6)
    x = x + soft * (_blurred(x) - x) * 1.5
    x = x + rand(0.0, 0.06) * chance(0.6) * torch.randn(
        x.shape, generator=generator, device=x.device
    )
    x = x.clamp(0, 1)
    return torch.where(chance(0.5), compressed(x, rand(0.02, 0.25)), x).clamp(0, 1)


def _rand(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _blurred(x: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    weight = kernel.expand(3, 1, 1, 5)
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), weight, groups=3)
    x = F.pad(x, (0, 0, 2, 2), mode="replicate")
    return F.conv2d(x, weight.transpose(2, 3), groups=3)


def compressed(x: Tensor, step: Tensor) -> Tensor:
    """Pictures [b, 3, h, w] after 8×8 cosine coefficients are rounded, to ``step`` [b, 1, 1, 1] at
    the highest frequency and a tenth of it at the lowest, as JPEG and video codecs do."""
    b, c, h, w = x.shape
    n = torch.arange(8, device=x.device, dtype=x.dtype)
    basis = torch.cos(math.pi / 8 * (n[None] + 0.5) * n[:, None]) * 0.5
    basis[0] *= math.sqrt(0.5)
    blocks = x.view(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    coefficients = basis @ blocks @ basis.T
    size = step[..., None, None] * (0.1 + 0.9 * (n[:, None] + n) / 14)
    coefficients = (coefficients / size).round() * size
    return (basis.T @ coefficients @ basis).transpose(3, 4).reshape(b, c, h, w)
