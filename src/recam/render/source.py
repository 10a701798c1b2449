"""A frame of the scene, made ready to be seen from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recam.configs import RenderConfig
from recam.render.surface import Surface, disparity_from_depth, enlarge, make_surface, pack
from recam.types import Cameras, Scene


@dataclass(frozen=True)
class Source:
    """Frame number ``index`` at the video's full size.

    frame: uint8 [3, h, w]. rgba: the same, packed for the compiled samplers (uint8 or float32).
    camera: of length 1.
    """

    index: int
    frame: Tensor
    rgba: Tensor
    surface: Surface
    camera: Cameras

    def to(self, device: torch.device) -> Source:
        """A copy whose pixels lie on a device (the camera stays on the CPU)."""
        return replace(
            self, frame=self.frame.to(device), rgba=self.rgba.to(device),
            surface=self.surface.to(device),
        )  # fmt: skip


LARGE_PX = 4_000_000
"""Pictures of more pixels are packed as uint8 rather than float32."""


def make_source(
    scene: Scene, index: int, config: RenderConfig, dtype: torch.dtype | None = None
) -> Source:
    """Frame ``index`` with its depth enlarged to the picture's size and its edges found.

    dtype: of the packed picture; default by its size.
    """
    height, width = scene.video.height, scene.video.width
    if dtype is None:
        dtype = torch.uint8 if height * width > LARGE_PX else torch.float32
    frame = scene.video.frames[index].contiguous()
    disparity = disparity_from_depth(scene.depth[index], scene.valid[index])
    disparity = enlarge(disparity, frame, config.edge_threshold)
    surface = make_surface(disparity, config.edge_threshold, config.edge_margin)
    camera = scene.cameras[index : index + 1].resized(height, width)
    return Source(index, frame, pack(frame, dtype), surface, camera)


def carry_mask(mask: Tensor, origin: Tensor, height: int, width: int, out: Tensor) -> None:
    """A mask [h, w] of a source frame of height×width, seen through a View's ``origin``: into
    ``out``, of ``origin``'s shape; 0 where nothing is seen."""
    (h, w), at = mask.shape, origin.numpy()
    seen = at >= 0
    row, column = np.divmod(at[seen], width)
    found = mask.numpy()[row * h // height, column * w // width]
    out.numpy()[:] = 0
    out.numpy()[seen] = found
