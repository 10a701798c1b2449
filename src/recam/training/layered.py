"""Training clips made on the device that trains: textured layers that move and hide each other.

Cheap enough (grid samples and FFTs in one batch) that a GPU is never kept waiting, and the geometry
is known, so that holes are exactly those of double reprojection: a pixel is known when a second
camera would have seen its surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.fills import pull_push_signal
from recam.configs import Fill
from recam.training.masks import Size, smooth_noise, uniform

NUM_LAYERS = 5
CANVAS_MARGIN = 2.0
"""Textures are this many times the picture's size, so that layers may move."""


@dataclass(frozen=True)
class LayeredClips:
    """Clips and the truth about them.

    frames: [b, t, 3, h, w] in [-1, 1]. known: [b, t, 1, h, w] by double reprojection.
    front: int64 [b, t, h, w], the layer that each pixel shows. maps: [b, t, layers, 2, 3], from
    picture to layer coordinates, both in [-1, 1].
    """

    frames: Tensor
    known: Tensor
    front: Tensor
    maps: Tensor


def layered_clips(size: Size, generator: torch.Generator) -> LayeredClips:
    """Random scenes of planes at several depths, some moving by themselves, seen by a drifting
    camera; and which of their pixels a second, displaced camera sees too."""
    b, t, h, w = size
    device = generator.device
    depth = _depths(b, generator)
    where = _motion(size, depth, generator)
    colours = torch.zeros(b, t, 3, h, w, device=device)
    cover: list[Tensor] = []
    for layer in range(NUM_LAYERS):  # far to near
        texture, alpha = _layer(size, layer == 0, generator)
        canvas = torch.cat([texture, alpha], 1)
        drawn = _read(canvas, where[:, :, layer], h, w)
        a = drawn[:, :, 3:]
        colours = a * drawn[:, :, :3] + (1 - a) * colours
        cover.append(a)
    alpha = torch.stack(cover, 2)[:, :, :, 0]
    front = torch.zeros(b, t, h, w, device=device, dtype=torch.long)
    for layer in range(1, NUM_LAYERS):
        front = torch.where(alpha[:, :, layer] > 0.5, layer, front)
    known = _seen_from_aside(alpha, front, depth, generator)
    gain = uniform(generator, 0.7, 1.3, b, 1, 1, 1, 1)
    shade = 1 + 0.15 * smooth_noise(size, (2, 3, 3), generator)
    frames = colours * gain * shade
    grain = uniform(generator, 0, 0.03, b, 1, 1, 1, 1)
    frames = frames + grain * torch.randn(frames.shape, generator=generator, device=device)
    return LayeredClips(frames.clamp(-1, 1), known, front, where)


def _depths(b: int, generator: torch.Generator) -> Tensor:
    """[b, layers] falling depths; the first layer is the background."""
    gaps = uniform(generator, 0.15, 1.0, b, NUM_LAYERS)
    return 1 + gaps.flip(1).cumsum(1).flip(1)


def _motion(size: Size, depth: Tensor, generator: torch.Generator) -> Tensor:
    """Maps [b, t, layers, 2, 3] from picture to canvas coordinates, both in [-1, 1]."""
    b, t = size[:2]
    time = torch.linspace(-1, 1, t, device=depth.device).view(1, t, 1)

    def drift(low: float, high: float, *extra: int) -> Tensor:
        speed, bend = (uniform(generator, low, high, b, 1, *extra) for _ in range(2))
        return speed * time + 0.4 * bend * time**2

    by_depth = 1 / depth[:, None]
    camera_x, camera_y = drift(-0.5, 0.5, 1) * by_depth, drift(-0.25, 0.25, 1) * by_depth
    own = (torch.rand(b, 1, NUM_LAYERS, generator=generator, device=depth.device) < 0.4).float()
    own[..., 0] = 0  # the background rests
    own_x, own_y = (own * drift(-0.35, 0.35, NUM_LAYERS) for _ in range(2))
    place = uniform(generator, -0.5, 0.5, b, 1, NUM_LAYERS, 2)
    turn = drift(-0.08, 0.08, 1) + own * drift(-0.3, 0.3, NUM_LAYERS)
    grow = torch.exp(drift(-0.12, 0.12, 1) * by_depth)
    cos, sin = grow * turn.cos() / CANVAS_MARGIN, grow * turn.sin() / CANVAS_MARGIN
    # The canvas is sampled, so a layer moves the other way round.
    shift_x = place[..., 0] * 0.4 - (camera_x + own_x) / CANVAS_MARGIN
    shift_y = place[..., 1] * 0.4 - (camera_y + own_y) / CANVAS_MARGIN
    # x counts in half widths and y in half heights, so turning mixes them by the aspect.
    h, w = size[2:]
    rows = [
        torch.stack([cos, -sin * h / w, shift_x], -1),
        torch.stack([sin * w / h, cos, shift_y], -1),
    ]
    return torch.stack(rows, -2)


def _layer(size: Size, background: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(texture [b, 3, H, W] in about [-1, 1], alpha [b, 1, H, W]) of one layer of each scene."""
    b, _, h, w = size
    canvas_h, canvas_w = round(h * CANVAS_MARGIN), round(w * CANVAS_MARGIN)
    texture = _texture(b, canvas_h, canvas_w, generator)
    if background:
        return texture, torch.ones_like(texture[:, :1])
    y = torch.linspace(-1, 1, canvas_h, device=generator.device).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, canvas_w, device=generator.device).view(1, 1, 1, -1)
    half_x, half_y = (uniform(generator, 0.1, 0.4, b, 1, 1, 1) for _ in range(2))
    power = torch.where(uniform(generator, 0, 1, b, 1, 1, 1) < 0.3, 8.0, 2.0)
    wobble = smooth_noise((b, 1, canvas_h, canvas_w), (1, 7, 7), generator)[:, 0]
    inside = 1 - (x / half_x).abs() ** power - (y / half_y).abs() ** power + 0.3 * wobble
    # A pixel or so of softness, as lenses and sensors give.
    return texture, (inside * 0.6 * canvas_h * half_y).sigmoid()


def _texture(b: int, h: int, w: int, generator: torch.Generator) -> Tensor:
    """Colours with the 1/f spectrum of natural images, partly cut into flat areas and stripes."""
    device = generator.device
    fy = torch.fft.fftfreq(h, device=device)[:, None] * h
    fx = torch.fft.rfftfreq(w, device=device)[None] * w
    radius = (fy**2 + fx**2).sqrt().clamp(min=1)
    slope = uniform(generator, 0.8, 1.7, b, 1, 1, 1)
    white = torch.randn(b, 4, h, w, generator=generator, device=device)
    coloured = torch.fft.irfft2(torch.fft.rfft2(white) * radius**-slope, s=(h, w))
    coloured = coloured / coloured.std((2, 3), keepdim=True)
    common, own = coloured[:, 3:], coloured[:, :3]
    mix = uniform(generator, 0.1, 0.6, b, 1, 1, 1)
    texture = (1 - mix) * common + mix * own
    # Hard edges: level sets of another smooth field carry offsets of their own.
    field = smooth_noise((b, 1, h, w), (1, 9, 13), generator)[:, 0]
    steps = uniform(generator, 0.5, 3.0, b, 1, 1, 1)
    cells = (field * steps).round()
    tint = torch.sin(cells * uniform(generator, 1, 9, b, 3, 1, 1))
    y = torch.linspace(-1, 1, h, device=device).view(1, 1, h, 1)
    x = torch.linspace(-1, 1, w, device=device).view(1, 1, 1, w)
    fold_y, fold_x = (uniform(generator, -40, 40, b, 1, 1, 1) for _ in range(2))
    stripes = torch.sin(fold_y * y + fold_x * x + field).sign()
    striped = (uniform(generator, 0, 1, b, 1, 1, 1) < 0.4).float()
    base = uniform(generator, -0.5, 0.5, b, 3, 1, 1)
    contrast = uniform(generator, 0.1, 0.35, b, 1, 1, 1)
    amount = uniform(generator, 0, 0.4, b, 1, 1, 1)
    return base + contrast * texture + amount * tint + 0.15 * striped * stripes * (tint > 0)


def _read(canvas: Tensor, where: Tensor, h: int, w: int) -> Tensor:
    """canvas [b, c, H, W] seen through maps [b, t, 2, 3]: [b, t, c, h, w]."""
    b, t = where.shape[:2]
    grid = F.affine_grid(where.flatten(0, 1), [b * t, 1, h, w], align_corners=False)
    many = canvas[:, None].expand(b, t, *canvas.shape[1:]).flatten(0, 1)
    out = F.grid_sample(many, grid, align_corners=False, padding_mode="reflection")
    return out.view(b, t, -1, h, w)


def _seen_from_aside(
    alpha: Tensor, front: Tensor, depth: Tensor, generator: torch.Generator
) -> Tensor:
    """known [b, t, 1, h, w]: the pixel's surface is inside a second camera's picture and no nearer
    layer hides it there.

    A camera displaced by n sees a layer at depth z shifted by n / z. So a nearer layer z' hides the
    pixel p when it covers p + n / z − n / z' in this picture.
    """
    b, t, num, h, w = alpha.shape
    time = torch.linspace(-1, 1, t, device=alpha.device).view(1, t, 1)
    reach = torch.tensor([1.2, 0.6], device=alpha.device)
    centre = uniform(generator, -1, 1, b, 1, 2) * reach
    second = centre * uniform(generator, 0.2, 1.0, b, 1, 1) + 0.5 * time * centre
    known = torch.zeros(b, t, h, w, device=alpha.device)
    y = (torch.arange(h, device=alpha.device) + 0.5).view(h, 1) * (2 / h) - 1
    x = (torch.arange(w, device=alpha.device) + 0.5).view(1, w) * (2 / w) - 1
    for layer in range(num):
        mine = second / depth[:, layer, None, None]
        to_x = x + mine[..., 0, None, None]
        to_y = y + mine[..., 1, None, None]
        seen = (to_x.abs() < 1) & (to_y.abs() < 1)
        for nearer in range(layer + 1, num):
            gap = mine - second / depth[:, nearer, None, None]
            grid = torch.stack(
                torch.broadcast_tensors(x + gap[..., 0, None, None], y + gap[..., 1, None, None]),
                -1,
            )
            hiding = F.grid_sample(
                alpha[:, :, nearer].flatten(0, 1)[:, None], grid.flatten(0, 1), align_corners=False
            )
            seen = seen & (hiding.view(b, t, h, w) < 0.5)
        known = torch.where((front == layer) & seen, 1.0, known)
    return known[:, :, None]


def traced_fills(
    clips: LayeredClips,
    frames: Tensor,
    known: Tensor,
    names: tuple[Fill, ...],
    generator: torch.Generator,
) -> Tensor:
    """Stands in for ``search_fills`` in training, made on the device from the true motion: those of
    ``names`` that it makes, colours and trust [b, k, t, 4, h, w].

    frames and known are the evidence, perhaps degraded. The motion is wrong by up to about a pixel
    per few frames of distance, smoothly, as estimated motion is. What no frame shows is filled by
    pull-push from the rest, which also stands in for Telea's inpainting.
    """
    around = pull_push_signal(torch.where(known > 0.5, frames, 0.0), (known > 0.5).float())
    made = {"around": around, "flow-around": around, "telea": around}
    trusts: dict[str, Tensor] = {}
    for family in (
        ("propagate", "traced-past", "traced-future"),
        ("flow", "flow-past", "flow-future"),
    ):
        if not set(names) & set(family):
            continue
        sides = _traced(clips, frames, known, generator)
        (past, past_trust), (future, future_trust) = sides
        total = (past_trust + future_trust).clamp(min=1e-6)
        both = (past * past_trust + future * future_trust) / total
        have = (known > 0.5) | (total > 1e-5)
        both = torch.where(known > 0.5, frames, both)
        rest = pull_push_signal(torch.where(have, both, 0.0), have.float())
        made[family[0]] = torch.where(have, both, rest)
        trusts[family[0]] = torch.maximum(past_trust, future_trust)
        for name, (colors, trust) in zip(family[1:], sides):
            made[name] = torch.where(trust > 0, colors, made[family[0]])
            trusts[name] = trust
    none = torch.zeros_like(known)
    chosen = [torch.cat([made[n], trusts.get(n, none)], 2) for n in names if n in made]
    return torch.stack(chosen, 1)


def _traced(
    clips: LayeredClips, frames: Tensor, known: Tensor, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """What the nearest past and the nearest future moment show of unknown pixels' surfaces: colours
    [b, t, 3, h, w] and trust [b, t, 1, h, w], 0 where none does."""
    b, t, _, h, w = frames.shape
    have = [known > 0.5, known > 0.5]
    filled, trust = [frames, frames], [torch.zeros_like(known), torch.zeros_like(known)]
    affine = F.pad(clips.maps, (0, 0, 0, 1))
    affine[..., 2, 2] = 1
    inverse = torch.linalg.inv(affine)[..., :2, :]
    unsure = torch.cat([smooth_noise((b, t, h, w), (2, 4, 4), generator) for _ in range(2)], 2)
    unsure = unsure.permute(0, 1, 3, 4, 2) * torch.tensor([2 / w, 2 / h], device=frames.device)
    shown = torch.cat([frames, known], 2)
    for distance in range(1, t):
        for side, sign in enumerate((-1, 1)):
            now = slice(distance, t) if sign < 0 else slice(0, t - distance)
            then = slice(0, t - distance) if sign < 0 else slice(distance, t)
            grid = torch.zeros(b, t - distance, h, w, 2, device=frames.device)
            for layer in range(NUM_LAYERS):
                there = inverse[:, then, layer] @ affine[:, now, layer]
                moved = F.affine_grid(
                    there.flatten(0, 1), [b * (t - distance), 1, h, w], align_corners=False
                ).view_as(grid)
                grid = torch.where((clips.front[:, now] == layer)[..., None], moved, grid)
            inside = (grid.abs() < 1).all(-1)
            grid = (grid + 0.3 * distance * unsure[:, now]).flatten(0, 1)
            found = F.grid_sample(
                shown[:, then].flatten(0, 1), grid, padding_mode="border", align_corners=False
            ).view(b, t - distance, 4, h, w)
            layer_there = F.grid_sample(
                clips.front[:, then].float().flatten(0, 1)[:, None], grid, "nearest",
                padding_mode="border", align_corners=False,
            ).view(b, t - distance, h, w)  # fmt: skip
            good = inside & (found[:, :, 3] > 0.99) & (layer_there == clips.front[:, now])
            take = good[:, :, None] & ~have[side][:, now]
            miss = 0.3 * distance * unsure[:, now].norm(dim=-1)[:, :, None] * (w / 2)
            sure = 1 / (1 + miss + 0.1 * distance)
            filled[side], trust[side] = filled[side].clone(), trust[side].clone()
            filled[side][:, now] = torch.where(take, found[:, :, :3], filled[side][:, now])
            trust[side][:, now] = torch.where(take, sure, trust[side][:, now])
            have[side] = have[side].clone()
            have[side][:, now] |= take
    return list(zip(filled, trust))
