"""A frame's depth as a surface that can be drawn from elsewhere.

Every pixel is a small quad. Neighbours on the same surface share the corners between them, so that
a surface has no pinholes however far the camera zooms in; across a depth edge each pixel keeps
corners of its own, so that nothing is stretched between foreground and background, and a structure
one pixel wide stays one pixel wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recam.render import fast_shade
from recam.render import fast_surface as fast
from recam.render.fast_surface import DOWN, HIDDEN, IRREGULAR, MARGIN, NEAR_EDGE, RIGHT
from recam.render.scratch import scratch

__all__ = [
    "DOWN",
    "HIDDEN",
    "IRREGULAR",
    "MARGIN",
    "NEAR_EDGE",
    "RIGHT",
    "Surface",
    "disparity_from_depth",
    "enlarge",
    "make_surface",
    "pack",
]

RAMP_PX = 4
"""How wide a blurred depth edge may be for its pixels to find the surfaces on either side."""


COLOUR_SIGMA = 15.0
"""Colour difference (of 255, root sum of squares) that still belongs to the same thing."""


@dataclass(frozen=True)
class Surface:
    """Disparity (1/depth) maps affinely along planes, so everything here is disparity.

    disparity: float32 [h, w], 0 = nothing here.
    links: uint8 [h, w], bits RIGHT and DOWN = torn from that neighbour.
    flags: uint8 [h, w], bits IRREGULAR = has a corner of its own; NEAR_EDGE = an edge within two
        pixels; MARGIN = just behind a depth edge, where colours are mixed and depth is doubtful;
        HIDDEN = not to be drawn.
    corners: float32 [h+1, w+1], disparity at the pixels' corners, where not IRREGULAR.
    """

    disparity: Tensor
    links: Tensor
    flags: Tensor
    corners: Tensor

    def to(self, device: torch.device) -> Surface:
        return Surface(
            self.disparity.to(device), self.links.to(device), self.flags.to(device),
            self.corners.to(device),
        )  # fmt: skip

    @property
    def height(self) -> int:
        return self.disparity.shape[0]

    @property
    def width(self) -> int:
        return self.disparity.shape[1]


def disparity_from_depth(depth: Tensor, valid: Tensor | None = None) -> Tensor:
    """float32 1/depth [h, w]; 0 where depth is not finite, not positive or not valid."""
    if valid is None:
        valid = torch.ones_like(depth, dtype=torch.bool)
    if depth.device.type != "cpu":
        good = torch.isfinite(depth) & (depth > 0) & valid
        return torch.where(good, 1 / depth.float(), 0.0)
    out = torch.empty(depth.shape)
    fast.invert(depth.float().numpy(), valid.numpy(), out.numpy())
    return out


def make_surface(
    disparity: Tensor, edge_threshold: float = 0.05, margin: int = 1, snap: bool = True
) -> Surface:
    """Find the edges of a disparity map [h, w] (0 = nothing) and its corners. CPU, compiled.

    edge_threshold: relative step of depth between neighbours that counts as an edge, unless the
        steps beside it show that it is a slanted plane.
    margin: pixels behind an edge that are marked MARGIN.
    snap: give pixels that hang between two surfaces the disparity of the nearer one, rather than
        let them fly.
    """
    edges = _find_edges(disparity, edge_threshold, snap)
    h, w = disparity.shape
    flags = np.zeros((h, w), np.uint8)
    fast.mark_edges(edges.disparity, edges.links, edges.torn, edges.snapped, margin, flags)
    corners = np.empty((h + 1, w + 1), np.float32)
    fast.average_corners(edges.disparity, corners)
    return Surface(
        torch.from_numpy(edges.disparity), torch.from_numpy(edges.links), torch.from_numpy(flags),
        torch.from_numpy(corners),
    )  # fmt: skip


class _Edges(NamedTuple):
    """Disparity without flying pixels and its links; flat indices of torn and changed pixels, in
    memory that this thread's next call uses again."""

    disparity: np.ndarray
    links: np.ndarray
    torn: np.ndarray
    snapped: np.ndarray


def _find_edges(disparity: Tensor, edge_threshold: float, snap: bool) -> _Edges:
    original = np.ascontiguousarray(disparity.numpy())
    words = np.zeros(-(-original.size // 8), np.uint64)
    links = words.view(np.uint8)[: original.size].reshape(original.shape)
    torn, snapped = scratch("torn", (2, original.size), np.int32)
    count = fast.find_links(original, edge_threshold, links, words, torn)
    if not snap or count == 0:
        return _Edges(original, links, torn[:count], snapped[:0])
    sharp = original.copy()
    changed = fast.snap_flying(original, links, torn[:count], RAMP_PX, sharp, snapped)
    if changed:
        count = fast.find_links(sharp, edge_threshold, links, words, torn)
    return _Edges(sharp, links, torn[:count], snapped[:changed])


def pack(frame: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """uint8 [3, h, w] to the flat layout that the compiled samplers read.

    float32 is sampled faster, uint8 takes a quarter of the memory.
    """
    size = 4 * frame.shape[1] * frame.shape[2]
    rgba = np.zeros(size, np.uint8 if dtype == torch.uint8 else np.float32)
    fast_shade.pack(frame.numpy(), rgba)
    return torch.from_numpy(rgba)


def enlarge(disparity: Tensor, frame: Tensor, edge_threshold: float = 0.05) -> Tensor:
    """A disparity map [h, w] at the size of its ``frame`` (uint8 [3, H, W]), edges kept sharp.

    Linear on surfaces. Between the two sides of a depth edge, a pixel takes the side whose colours
    are closer to its own (joint bilateral upsampling, Kopf et al. 2007, with a hard choice), so an
    edge follows the picture and nothing hangs in between.
    """
    size = (frame.shape[1], frame.shape[2])
    if tuple(disparity.shape) == size:
        return disparity
    if min(disparity.shape) < 2:
        raise ValueError(f"depth is {list(disparity.shape)}; at least 2×2 is needed to enlarge it")
    edges = _find_edges(disparity, edge_threshold, snap=True)
    guide = scratch("guide", (4 * disparity.numel(),), np.uint8)
    fast.shrink(frame.numpy(), *disparity.shape, guide)
    out = torch.empty(size)
    fast.upsample(
        edges.disparity, edges.links, guide, pack(frame).numpy(), COLOUR_SIGMA, out.numpy()
    )
    return out
