"""Look-ups into many textures at once: mip levels of all of them in one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from recam.synthetic.textures import SIZE, TextureSpec, texture


@dataclass(frozen=True)
class Atlas:
    """Textures with their mip levels in one image, for one look-up call.

    image: float32 [1, 3, h, w], 255·√albedo. Texture i, level l starts at x = _LEFT[l],
    y = i·(SIZE + 2) + 1; each level carries a border of one wrapped texel, so that bilinear
    look-ups are periodic.
    """

    image: Tensor


_NUM_LEVELS = 8  # the coarsest has 2 × 2 texels
_LEFT = [1 + sum((SIZE >> k) + 2 for k in range(level)) for level in range(_NUM_LEVELS)]
_STRIP_WIDTH = _LEFT[-1] + (SIZE >> (_NUM_LEVELS - 1)) + 1


def build_atlas(specs: tuple[TextureSpec, ...], device: torch.device) -> Atlas:
    """The atlas of these textures, in their order."""
    if not specs:
        raise ValueError("build_atlas got no textures; give at least one")
    strips = torch.cat([_strip(spec) for spec in specs], 1)
    return Atlas(strips.to(device).float()[None])


@lru_cache(maxsize=640)
def _strip(spec: TextureSpec) -> Tensor:
    """One texture's rows of the atlas as uint8 [3, SIZE + 2, width]: 0.4 MB, worth keeping."""
    level = texture(spec)
    strip = torch.zeros(3, SIZE + 2, _STRIP_WIDTH, dtype=torch.uint8)
    for left in _LEFT:
        size = level.shape[-1]
        wrapped = F.pad(level[None], (1, 1, 1, 1), mode="circular")[0]
        bytes_ = (wrapped.sqrt() * 255).round().to(torch.uint8)
        strip[:, : size + 2, left - 1 : left + size + 1] = bytes_
        level = F.avg_pool2d(level, 2)
    return strip


def sample_atlas(atlas: Atlas, index: Tensor, u: Tensor, v: Tensor, level: Tensor) -> Tensor:
    """Trilinear look-up of k points: linear albedo float32 [3, k].

    index: texture number [k] (float); u, v: in repeats of the texture [k]; level: log2 of the
    footprint in texels of the finest level [k], any value.
    """
    level = level.clamp(0, _NUM_LEVELS - 1.001)
    fine = level.floor()
    u, v = u - u.floor(), v - v.floor()
    y0 = index * (SIZE + 2) + 1
    height, width = atlas.image.shape[-2:]
    lefts = torch.tensor(_LEFT, dtype=torch.float32, device=u.device)
    out = []
    for lod in (fine, fine + 1):
        scale = torch.exp2(-lod) * SIZE
        x = (lefts.index_select(0, lod.long()) + u * scale) * (2 / width) - 1
        y = (y0 + v * scale) * (2 / height) - 1
        grid = torch.stack([x, y], -1)[None, None]
        out.append(F.grid_sample(atlas.image, grid, align_corners=False)[0, :, 0])
    return (torch.lerp(out[0], out[1], level - fine) / 255).square()
