"""One frame with depth, seen from another camera.

Depth goes forward, colour comes back: the frame's surface is drawn into a true z-buffer, and each
covered pixel then interpolates its colour at the place in the frame that it came from. Known pixels
are as sharp as the frame, nothing behind shows through, and the same camera returns the same frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recam.configs import RenderConfig
from recam.render import fast_draw, fast_shade, reference
from recam.render.scratch import zeros
from recam.render.surface import Surface, disparity_from_depth, make_surface, pack
from recam.types import Cameras

Implementation = Literal["fast", "scatter", "dense"]
DEFAULTS = RenderConfig()


@dataclass(frozen=True)
class Warp:
    """How source pixels move: (u, v) of disparity d lands at q = A·(u, v, 1) + b·d.

    The target pixel is (q0, q1) / q2, its disparity d / q2; A is the homography of points at
    infinity, b the epipole. scale: target focal length over the source's.
    """

    a: Tensor
    b: Tensor
    scale: float

    def forward(self) -> Tensor:
        """float32 [12], as the drawing functions take it."""
        return torch.cat([self.a.reshape(9), self.b]).float()

    def largest(self, config: RenderConfig) -> float:
        """How large a pixel whose depth does not change may become, in px², seen face on."""
        return self.scale**2 * config.max_stretch

    def backward(self) -> Tensor:
        """float32 [12], as the colouring functions take it."""
        inverse = torch.linalg.inv(self.a)
        return torch.cat([inverse.reshape(9), inverse @ self.b]).float()


MADE_UP = -2
"""View.origin of what scene_memory.py added to the scene."""


@dataclass(frozen=True)
class View:
    """What one frame shows to another camera.

    frame: uint8 [3, h, w], 0 where not known. known: float32 [h, w], 1 = observed.
    depth: float32 [h, w], z-depth in the target camera, 0 where not known.
    origin: int32 [h, w], flat index of the source pixel that was seen, −1 = none, MADE_UP = points
        of the scene that were never filmed.
    """

    frame: Tensor
    known: Tensor
    depth: Tensor
    origin: Tensor

    def to(self, device: torch.device) -> View:
        return View(
            self.frame.to(device), self.known.to(device), self.depth.to(device),
            self.origin.to(device),
        )  # fmt: skip


def make_warp(source: Cameras, target: Cameras) -> Warp:
    """The warp from one camera (of length-1 ``source``) to another (of length-1 ``target``)."""
    if len(source) != 1 or len(target) != 1:
        raise ValueError(
            f"make_warp takes one camera each, got {len(source)} and {len(target)}; slice i:i+1"
        )
    target_from_source = (target.cam_from_world @ source.world_from_cam)[0]
    k_source, k_target = source.intrinsics[0], target.intrinsics[0]
    a = k_target @ target_from_source[:3, :3] @ torch.linalg.inv(k_source)
    areas = torch.stack([k_source, k_target])[:, [0, 1], [0, 1]].prod(1)
    return Warp(a, k_target @ target_from_source[:3, 3], float((areas[1] / areas[0]).sqrt()))


def empty_view(height: int, width: int) -> View:
    """A View to be written into."""
    return View(
        torch.empty(3, height, width, dtype=torch.uint8), torch.empty(height, width),
        torch.empty(height, width), torch.empty(height, width, dtype=torch.int32),
    )  # fmt: skip


def hole_reach(config: RenderConfig) -> int:
    """How near to a hole, in pixels, the doubtful pixels behind a depth edge are left out."""
    return config.edge_margin + 1


def see_fast(rgba: Tensor, surface: Surface, warp: Warp, config: RenderConfig, out: View) -> Tensor:
    """Write to ``out`` what a packed frame with its surface shows (compiled, one core).

    Returns the disparities [h, w] of surfaces that are seen from their back, 0 elsewhere, in
    memory that this thread's next call uses again.
    """
    tolerance = np.float32(config.edge_threshold)
    front, blocked = zeros("buffers", (2, *out.known.shape))
    fast_draw.draw(
        surface.disparity.numpy(), surface.corners.numpy(), surface.links.numpy(),
        surface.flags.numpy(), warp.forward().numpy(), np.float32(warp.largest(config)),
        np.array([0, surface.height, 0, surface.width]), front, blocked,
    )  # fmt: skip
    fast_shade.settle(front, blocked, tolerance)
    fast_shade.shade(
        rgba.numpy(), surface.disparity.numpy(), surface.flags.numpy(), warp.backward().numpy(),
        np.float32(warp.scale), tolerance, hole_reach(config), front, out.frame.numpy(),
        out.known.numpy(), out.depth.numpy(), out.origin.numpy(),
    )  # fmt: skip
    return torch.from_numpy(blocked)


def see_torch(
    frame: Tensor, surface: Surface, warp: Warp, config: RenderConfig, height: int, width: int,
    dense: bool = False,
) -> tuple[View, Tensor]:  # fmt: skip
    """The same in plain torch on the tensors' device; dense: the slow reference."""
    device, tolerance = frame.device, config.edge_threshold
    draw = reference.draw_dense if dense else reference.draw_scatter
    forward, backward = warp.forward().to(device), warp.backward().to(device)
    front, blocked = draw(surface, forward, warp.largest(config), height, width)
    front = reference.settle(front, blocked, tolerance)
    reach = hole_reach(config)
    view = reference.shade(frame, surface, backward, warp.scale, tolerance, reach, front)
    return View(*view), blocked


def splat(
    frame: Tensor,
    depth: Tensor,
    source: Cameras,
    target: Cameras,
    config: RenderConfig = DEFAULTS,
    valid: Tensor | None = None,
    implementation: Implementation = "fast",
) -> View:
    """See one frame with depth from another camera.

    frame: uint8 [3, h, w]. depth: [h, w], z-depth; where it is not finite, not positive or not
    ``valid`` (bool [h, w]) there is nothing. source, target: one camera each, of the frame's size
    and of the wanted size.
    implementation: fast = compiled, on the CPU; scatter = plain torch, on the tensors' device
    (needs no compiler on CUDA); dense = the slow reference, for small pictures.
    """
    _check_frame(frame, depth, source)
    disparity, warp = disparity_from_depth(depth, valid), make_warp(source, target)
    threshold, margin, size = (
        config.edge_threshold,
        config.edge_margin,
        (target.height, target.width),
    )
    if implementation == "fast":
        if frame.device.type != "cpu":
            raise ValueError(
                f"the fast implementation runs on the CPU but the frame is on {frame.device}; "
                'move it there or use implementation="scatter"'
            )
        surface, view = make_surface(disparity, threshold, margin), empty_view(*size)
        see_fast(pack(frame.contiguous(), torch.float32), surface, warp, config, view)
        return view
    surface = reference.make_surface(disparity, threshold, margin)
    view, _ = see_torch(frame, surface, warp, config, *size, dense=implementation == "dense")
    return view


def _check_frame(frame: Tensor, depth: Tensor, source: Cameras) -> None:
    size = (source.height, source.width)
    if frame.dtype != torch.uint8 or tuple(frame.shape) != (3, *size):
        raise ValueError(
            f"frame is {frame.dtype} {list(frame.shape)}, expected uint8 "
            f"[3, {size[0]}, {size[1]}], the source camera's size; use source.resized(...) if only "
            "that differs"
        )
    if tuple(depth.shape) != size:
        raise ValueError(
            f"depth is {list(depth.shape)} but the source camera is {size[0]}×{size[1]}; "
            "resize the one or the other"
        )
