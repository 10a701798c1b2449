"""``static.fill_static`` in plain torch, on any device: whole keyframes instead of tiles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.configs import RenderConfig
from recam.render import reference
from recam.render.source import Source
from recam.render.splat import MADE_UP, View, make_warp
from recam.render.static import StaticSet
from recam.types import Cameras


def nearest_around(disparity: Tensor) -> Tensor:
    """Largest disparity in the 3×3 pixels around each, 0 where any of them is unknown."""
    largest = F.max_pool2d(disparity[None], 3, 1, 1)[0]
    smallest = -F.max_pool2d(-disparity[None], 3, 1, 1)[0]
    return torch.where(smallest > 0, largest, 0)


def _seen_through(
    seen: Tensor, n: Tensor, d: Tensor, x: Tensor, y: Tensor, tolerance: float
) -> Tensor:
    """Does a frame (``nearest_around`` map ``seen``) see clearly through target points?"""
    h, w = seen.shape
    u, v, here = reference.locate(n, x + 0.5, y + 0.5, d)
    inside = (here > 0) & (u >= 0) & (v >= 0) & (u < w) & (v < h)
    around = seen[v.long().clamp(0, h - 1), u.long().clamp(0, w - 1)]
    return inside & (around > 0) & (around < here * (1 - 2 * tolerance))


def fill_static(
    view: View, blocked: Tensor, static: StaticSet, source: Source, target: Cameras,
    gains: Tensor, config: RenderConfig,
) -> View:  # fmt: skip
    """The same as ``static.fill_static``; everything lies on one device.

    gains: float32 [n, 3], factors on the keyframes' colours.
    """
    size, device = tuple(view.known.shape), view.known.device
    tolerance, margin = config.edge_threshold, 1 - config.edge_threshold
    best, fineness = torch.zeros(2, *size, device=device)
    owner = torch.full(size, -1, device=device)
    seen = nearest_around(source.surface.disparity)
    to_source = make_warp(source.camera, target).backward().to(device)
    for k, keyframe in enumerate(static.keyframes):
        if keyframe.source.index == source.index:
            continue
        warp = make_warp(keyframe.source.camera, target)
        forward, backward = warp.forward().to(device), warp.backward().to(device)
        front, back = reference.draw_scatter(
            keyframe.source.surface, forward, warp.largest(config), *size
        )
        hidden = torch.maximum(back, blocked) * margin > front
        candidate = (front > 0) & (view.known <= 0) & ~hidden & (front >= best * margin)
        y, x = candidate.nonzero(as_tuple=True)
        d = front[y, x]
        _, _, there = reference.locate(backward, x + 0.5, y + 0.5, d)
        fine = there / (warp.scale * d)
        take = (d * margin > best[y, x]) | (fine > 1.5 * fineness[y, x])
        take &= ~_seen_through(seen, to_source, d, x, y, tolerance)
        y, x = y[take], x[take]
        best[y, x], fineness[y, x], owner[y, x] = d[take], fine[take], k
    for k, keyframe in enumerate(static.keyframes):
        y, x = (owner == k).nonzero(as_tuple=True)
        warp, s = make_warp(keyframe.source.camera, target), keyframe.source
        backward = warp.backward().to(device)
        rgb, _ = reference.colours(
            s.frame, s.surface, backward, warp.scale, tolerance, x, y, best[y, x]
        )
        view.frame[:, y, x] = reference.to_bytes(rgb * gains[k].to(device)).T
        view.known[y, x], view.depth[y, x] = 1.0, 1 / best[y, x]
        if keyframe.made_up:
            view.origin[y, x] = MADE_UP
    return view
