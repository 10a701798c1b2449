"""An eye's picture by moving each row of a frame.

An eye that steps aside sees every pixel in its own row, moved by its disparity. Estimated depth
ends a pixel or two beside the outline of a thing, and even where depth is exact a thing's rim holds
colours of both sides. Torn there, the rim stays behind as crumbs. So near things first reach a
little over what lies behind them, so that their whole rim goes along, and the step behind it is
softened: what opens is stretched background, a few pixels wide. (Smoothed depth: Zhang and Tam
2005.) Rows are sampled once, with Catmull–Rom weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from recam.types import CameraPath, Rendering, Scene

REACH_PX = 2
"""Pixels of the depth map that near things reach over what lies behind."""
SOFT_PX = 2.0
"""Standard deviation of the softening, in pixels of the depth map."""
_NEAR_BITS, _SUB_BITS = 24, 12


def row_windows(scene: Scene, path: CameraPath, window: int) -> Iterator[Rendering]:
    """What an eye sees, ``window`` frames at a time; unknown is what lies beyond a frame's side.

    path: cameras that are the source's moved along their own x, at the film's size. Each frame is
    seen alone.
    """
    for start in range(0, len(path), window):
        part = torch.arange(start, min(start + window, len(path)))
        size = len(part), path.cameras.height, path.cameras.width
        frames = torch.empty(size[0], 3, *size[1:], dtype=torch.uint8)
        known, depth = torch.empty(size), torch.empty(size)
        for i, index in enumerate(part.tolist()):
            frames[i], known[i], depth[i] = _eye_frame(scene, path, index)
        yield Rendering(frames, known, depth, path.cameras[part])


def _eye_frame(scene: Scene, path: CameraPath, i: int) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, known and depth of frame i of the path."""
    index = int(path.source_frames[i])
    frame, (h, w) = scene.video.frames[index], (path.cameras.height, path.cameras.width)
    there = scene.valid[index] & (scene.depth[index] > 0)
    inverse = _along_rows(1 / scene.depth[index].clamp(min=1e-9), there)
    inverse = torch.nn.functional.interpolate(
        softened(inverse[None])[None], (h, w), mode="bilinear", align_corners=False
    )[0, 0]
    there = torch.nn.functional.interpolate(there[None, None].float(), (h, w))[0, 0] > 0
    source = scene.cameras[index : index + 1].resized(h, w)
    aside = float(path.cameras.cam_from_world[i, 0, 3] - source.cam_from_world[0, 0, 3])
    k, own = path.cameras.intrinsics[i], source.intrinsics[0]
    move = float(k[0, 2] - own[0, 2]) + float(own[0, 0]) * aside * inverse
    near = inverse / inverse.max().clamp(min=1e-12)
    picture, came = moved_rows(frame, move, near)
    nearest = came.nan_to_num().round().long()
    known = ~came.isnan() & there.gather(1, nearest)
    z = 1 / inverse.gather(1, nearest).clamp(min=1e-9)
    return picture, known.float(), torch.where(known, z, 0.0)


def _along_rows(values: Tensor, known: Tensor) -> Tensor:
    """Unknown values [h, w] replaced by the known one to the left, else to the right, else 0."""
    w = values.shape[1]
    x = torch.arange(w).expand_as(values)
    left = torch.where(known, x, -1).cummax(1).values
    right = torch.where(known, x, w).flip(1).cummin(1).values.flip(1)
    at = torch.where(left >= 0, left, right)
    return torch.where(at < w, values.gather(1, at.clamp(max=w - 1)), 0.0)


def softened(inverse: Tensor, reach_px: int = REACH_PX, soft_px: float = SOFT_PX) -> Tensor:
    """Inverse depth [t, h, w] with near things grown and all steps softened."""
    padded = torch.nn.functional.pad(inverse[:, None], (reach_px,) * 4, mode="replicate")
    grown = torch.nn.functional.max_pool2d(padded, 2 * reach_px + 1, 1)
    radius = round(3 * soft_px)
    at = torch.arange(-radius, radius + 1)
    weight = torch.exp(-0.5 * (at / soft_px) ** 2)
    weight = weight / weight.sum()
    wide = torch.nn.functional.pad(grown, (radius,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(wide, weight.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(rows, weight.view(1, 1, -1, 1))[:, 0]


def moved_rows(frame: Tensor, move: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """A frame uint8 [3, h, w] whose pixels go ``move`` [h, w] to the right, the nearest in front.

    near: [h, w] in [0, 1], large = near. Returns the picture, and where in its row each pixel came
    from (float [h, w], NaN where nothing came).
    """
    h, w = move.shape
    to = torch.arange(w) + move
    start, end = to[:, :-1], to[:, 1:]
    first = start.ceil().clamp(0, w).long()
    last = end.floor().clamp(-1, w - 1).long()
    row, column = ((last >= first) & (end > start)).nonzero(as_tuple=True)
    # A winner for each pixel: the nearest, packed with where it came from.
    best = torch.full((h * w,), -1, dtype=torch.int64)
    a, b = start[row, column], end[row, column]
    z0, z1 = near[row, column], near[row, column + 1]
    target, stop = first[row, column], last[row, column]
    while len(row):
        share = (target - a) / (b - a)
        z = (torch.lerp(z0, z1, share) * ((1 << _NEAR_BITS) - 1)).long().clamp(min=0)
        place = ((column + share) * (1 << _SUB_BITS)).long()
        best.scatter_reduce_(0, row * w + target, (z << 32) | place, "amax")
        target = target + 1
        more = target <= stop
        row, column, a, b, z0, z1, target, stop = (
            v[more] for v in (row, column, a, b, z0, z1, target, stop)
        )
    best = best.view(h, w)
    source = (best & ((1 << 32) - 1)).float() / (1 << _SUB_BITS)
    source = torch.where(best < 0, float("nan"), source)
    return _sampled(frame, source), source


def _sampled(frame: Tensor, source: Tensor) -> Tensor:
    """Catmull–Rom along rows; 0 where source is NaN."""
    c, h, w = frame.shape
    x = source.nan_to_num()
    i = x.floor()
    f = x - i
    weights = (
        ((-0.5 * f + 1) * f - 0.5) * f, (1.5 * f - 2.5) * f * f + 1,
        ((-1.5 * f + 2) * f + 0.5) * f, (0.5 * f - 0.5) * f * f,
    )  # fmt: skip
    out = torch.zeros(c, h, w)
    for k, weight in enumerate(weights):
        at = (i.long() + k - 1).clamp(0, w - 1).expand(c, h, w)
        out += weight * frame.gather(2, at)
    out = torch.where(source.isnan(), 0.0, out)
    return out.round().clamp(0, 255).to(torch.uint8)
