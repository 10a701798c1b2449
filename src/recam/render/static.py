"""Persistent static points: what one frame saw of the static scene fills what another did not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recam.arrays import F32
from recam.configs import RenderConfig
from recam.geometry import rotation_angle_deg
from recam.render import fast_static as fast
from recam.render.exposure import (
    Samples,
    balance_gains,
    frame_gains,
    join_samples,
    take_samples,
)
from recam.render.scratch import scratch, zeros
from recam.render.source import Source, make_source
from recam.render.splat import MADE_UP, View, Warp, make_warp
from recam.render.surface import HIDDEN, MARGIN, disparity_from_depth, make_surface
from recam.types import Cameras, Progress, Scene, no_progress

TILE_PX = 16
"""Side of the tiles that a keyframe's points are drawn by."""
CELL_PX = 8
"""Side of the cells that holes are counted by."""
OVERLAP_PX = 2


@dataclass(frozen=True)
class Keyframe:
    """A source frame whose static points stay.

    source: the frame at full size; points that are not static, not confirmed or already held by
        an earlier keyframe are HIDDEN.
    tiles int64 [k, 4] and ranges float32 [k, 2]: where it has points, and their disparities.
    made_up: it was not filmed (scene_memory.py).
    """

    source: Source
    tiles: Tensor
    ranges: Tensor
    made_up: bool = False


@dataclass(frozen=True)
class StaticSet:
    """The static scene as a few frames' worth of points; its size does not grow with the video.

    log_gains: float32 [n, 3], exposure of each keyframe relative to their mean.
    samples: sparse points by which other frames' exposure is compared.
    """

    keyframes: tuple[Keyframe, ...]
    log_gains: F32
    samples: Samples

    def to(self, device: torch.device) -> StaticSet:
        """A copy whose pixels lie on a device (what exposure needs stays on the CPU)."""
        moved = (replace(k, source=k.source.to(device)) for k in self.keyframes)
        return replace(self, keyframes=tuple(moved))


def choose_keyframes(scene: Scene, count: int) -> list[int]:
    """Indices of at most ``count`` frames that are far apart in pose and time, the most central
    first (farthest-point sampling); then all that were made up."""
    num = len(scene) - scene.num_made_up
    centres = scene.cameras.centers[:num]
    sample = scene.depth[:num][:: max(num // 16, 1), ::4, ::4]
    sample = sample[torch.isfinite(sample) & (sample > 0)]
    size = float(sample.median()) if sample.numel() else 1.0
    rotation = scene.cameras.cam_from_world[:num, :3, :3]
    times = torch.arange(num, dtype=torch.float64) / max(num - 1, 1)

    def distance(i: int) -> Tensor:
        moved = (centres - centres[i]).norm(dim=1) / size
        turned = rotation_angle_deg(rotation, rotation[i]) / 30.0
        return moved + turned + 0.2 * (times - times[i]).abs()

    chosen = [num // 2]
    gap = distance(chosen[0])
    while len(chosen) < min(count, num):
        chosen.append(int(gap.argmax()))
        gap = torch.minimum(gap, distance(chosen[-1]))
    return [*chosen, *range(num, len(scene))]


def build_static(scene: Scene, config: RenderConfig, progress: Progress = no_progress) -> StaticSet:
    """Merge the static points of up to ``config.num_static_frames`` frames.

    A point is kept if the other keyframes, weighted by their confidence, do not see through it
    more than they confirm it, and if no earlier keyframe shows the same surface as finely.
    """
    indices = choose_keyframes(scene, config.num_static_frames)
    coarse = [_static_disparity(scene, i, config) for i in indices]
    cameras = [scene.cameras[i : i + 1] for i in indices]
    tolerance = np.float32(config.edge_threshold)
    kept: list[NDArray[np.bool_]] = []
    keyframes: list[Keyframe] = []
    samples: list[Samples] = []
    for k, index in enumerate(indices):
        progress("static points", k, len(indices))
        balance = scene.confidence[index].numpy().copy()
        for j, other in enumerate(indices):
            if j != k:
                fast.vote(
                    coarse[k], make_warp(cameras[k], cameras[j]).forward().numpy(),
                    disparity_from_depth(scene.depth[other], scene.valid[other]).numpy(),
                    np.ascontiguousarray(scene.confidence[other].numpy()), tolerance, balance,
                )  # fmt: skip
        confirmed = (coarse[k] > 0) & (balance > 0)
        keep = confirmed.copy()
        for j in range(k):
            warp = make_warp(cameras[k], cameras[j])
            fast.drop_known(
                coarse[k], warp.forward().numpy(), np.float32(warp.scale), coarse[j], kept[j],
                tolerance, keep,
            )  # fmt: skip
        kept.append(keep)
        keyframes.append(_make_keyframe(scene, index, keep, confirmed, config))
        samples.append(take_samples(keyframes[k].source, confirmed, k))
    progress("static points", len(indices), len(indices))
    joined = join_samples(samples)
    gains = balance_gains(joined, [f.source for f in keyframes], config.edge_threshold)
    return StaticSet(tuple(keyframes), gains, joined)


def _static_disparity(scene: Scene, index: int, config: RenderConfig) -> F32:
    """Disparity at the depth's size where the scene is static, away from what moves and from what
    stands in front."""
    moving = _widened(scene.dynamic[index].numpy(), max(scene.cameras.width // 256, 1))
    disparity = disparity_from_depth(scene.depth[index], scene.valid[index])
    # Where depth and picture disagree at an edge, the background would bring along an outline of
    # what stood before it. Other keyframes show that background.
    margin = config.edge_margin + scene.cameras.width // 200
    surface = make_surface(disparity, config.edge_threshold, margin)
    left_out = moving | ((surface.flags.numpy() & MARGIN) > 0)
    return np.where(left_out, np.float32(0), surface.disparity.numpy())


def _widened(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """True within ``reach`` pixels of a True pixel."""
    out = np.empty(mask.shape, np.bool_)
    fast.widen(np.ascontiguousarray(mask), reach, scratch("widen", mask.shape, np.bool_), out)
    return out


def _make_keyframe(
    scene: Scene,
    index: int,
    keep: NDArray[np.bool_],
    confirmed: NDArray[np.bool_],
    config: RenderConfig,
) -> Keyframe:
    source = make_source(scene, index, config, dtype=torch.uint8)
    # Neighbouring keyframes' parts overlap a little so that no crack opens between them, but
    # never onto points that were refused.
    shown = _widened(keep, OVERLAP_PX) & confirmed
    flags = source.surface.flags.numpy()
    (h, w), (height, width) = keep.shape, flags.shape
    shown = shown[np.arange(height)[:, None] * h // height, np.arange(width) * w // width]
    shown &= (flags & MARGIN) == 0
    flags |= np.where(shown, np.uint8(0), np.uint8(HIDDEN))
    tiles, ranges = _find_tiles(source)
    return Keyframe(source, tiles, ranges, index >= len(scene) - scene.num_made_up)


def _find_tiles(source: Source) -> tuple[Tensor, Tensor]:
    s = source.surface
    most = -(-s.height // TILE_PX) * -(-s.width // TILE_PX)
    tiles, ranges = np.empty((most, 4), np.int64), np.empty((most, 2), np.float32)
    count = fast.find_tiles(
        s.disparity.numpy(), s.flags.numpy(), np.uint8(HIDDEN), TILE_PX, tiles, ranges
    )
    return torch.from_numpy(tiles[:count].copy()), torch.from_numpy(ranges[:count].copy())


def fill_static(
    view: View, blocked: Tensor, static: StaticSet, source: Source, target: Cameras,
    config: RenderConfig,
) -> View:  # fmt: skip
    """Fill the unknown pixels of a view with what the keyframes know, in place.

    blocked: float32 [h, w], disparity of the frame's surfaces that are seen from their back.
    Work goes only into the tiles of the keyframes that may cover a hole.
    """
    height, width = view.known.shape
    cells = (-(-height // CELL_PX) + 1, -(-width // CELL_PX) + 1)
    sums = np.zeros(cells, np.int64)
    if fast.count_holes(view.known.numpy(), CELL_PX, sums) == 0:
        return view
    tolerance = np.float32(config.edge_threshold)
    best, fineness, front, back = zeros("static", (4, height, width))
    owner = scratch("owner", (height, width), np.int32)
    owner.fill(-1)
    to_source = make_warp(source.camera, target).backward().numpy()
    warps: dict[int, Warp] = {}
    for k, keyframe in enumerate(static.keyframes):
        if keyframe.source.index == source.index:
            continue
        s, warp = keyframe.source.surface, make_warp(keyframe.source.camera, target)
        drawn = fast.draw_tiles(
            s.disparity.numpy(), s.corners.numpy(), s.links.numpy(), s.flags.numpy(),
            warp.forward().numpy(), np.float32(warp.largest(config)),
            keyframe.tiles.numpy(), keyframe.ranges.numpy(), sums, np.int64(CELL_PX),
            front, back,
        )  # fmt: skip
        if drawn:
            fast.adopt(
                np.int32(k), front, back, view.known.numpy(), to_source,
                source.surface.disparity.numpy(), blocked.numpy(), warp.backward().numpy(),
                np.float32(warp.scale), tolerance, best, fineness, owner,
            )  # fmt: skip
            warps[k] = warp
            front[:], back[:] = 0, 0
    gains = frame_gains(static.samples, static.log_gains, source, config.edge_threshold)
    for k, warp in warps.items():
        keyframe = static.keyframes[k]
        fast.shade_adopted(
            np.int32(k), keyframe.source.rgba.numpy(), keyframe.source.surface.disparity.numpy(),
            keyframe.source.surface.flags.numpy(), warp.backward().numpy(),
            np.float32(warp.scale), gains[k].numpy(), tolerance,
            best, owner, view.frame.numpy(), view.known.numpy(),
            view.depth.numpy(),
        )  # fmt: skip
        if keyframe.made_up:
            view.origin[torch.from_numpy(owner == k) & (view.known > 0)] = MADE_UP
    return view
