"""Every other frame of a film is nearly its neighbours': dense geometry is worked out without it
and carried over.

A still surface is where depth and cameras put it: what both neighbours show is drawn in the frame
between, and a pixel takes the nearest surface that a neighbour confirms. What moves, and how deep
it is, comes along the flow. What neither neighbour shows is filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from recam.arrays import F32, I64, Mask
from recam.flow.dense import FlowSet
from recam.reconstruct.depth.fusion import sample_surface
from recam.reconstruct.motion_segmentation.regions import at_pixels, pixel_grid
from recam.reconstruct.object_depth.ground_contact import filled
from recam.reconstruct.warping import MIN_Z, inverse_depth_warps, project
from recam.runtime.cache import scratch_tensor
from recam.runtime.jit import kernel
from recam.runtime.parallel import parallel_frames
from recam.types import Cameras, Progress, no_progress

MIN_FRAMES = 12
"""Shorter clips have no frame to spare."""
MOST_SHIFT = 0.03
"""Of the picture's longer side: the way that 98 % of a frame's pixels may go to the next."""
ALIKE = 0.05
"""Relative difference of inverse depth within which a neighbour shows the same surface."""
MOVES = 0.45
"""Share of what the flow to both neighbours says from which on a pixel moves; where they are even,
it does."""
UNSURE = 0.01
"""What flow that does not return counts for, beside flow that does."""


def chosen_frames(flows: FlowSet, spare: bool) -> I64:
    """Numbers of the frames that geometry is worked out in: every other one, or all, where little
    is the same in the next, or none is to be ``spare``."""
    num = len(flows)
    if not spare or num < MIN_FRAMES:
        return np.arange(num)
    ways = [
        np.quantile(np.linalg.norm(flows.get(i, i + 1)[0].numpy()[::4, ::4], axis=-1), 0.98)
        for i in range(0, num - 1, max(1, num // 32))
    ]
    far = float(np.median(ways)) > MOST_SHIFT * max(flows.height, flows.width)
    return np.arange(0, num, 1 if far else 2)


def flows_of(flows: FlowSet, chosen: I64) -> FlowSet:
    """The flows between the ``chosen`` frames [k], numbered from 0; their pictures are copied."""
    if len(chosen) == len(flows):
        return flows
    number = {frame: k for k, frame in enumerate(chosen.tolist())}
    pairs = [(i, j) for i, j in flows.pairs() if i in number and j in number]
    named = {pair: (number[pair[0]], number[pair[1]]) for pair in pairs}
    return FlowSet(
        torch.from_numpy(taken(flows.gray.numpy(), chosen)),
        {named[pair]: flows.steps[pair] for pair in pairs},
        {named[pair]: flows.confidence_u8[pair] for pair in pairs},
        tuple(sorted({abs(i - j) for i, j in named.values()})),
        flows.level,
    )


def steps_between(flows: FlowSet, chosen: I64) -> FlowSet:
    """The flows from the ``chosen`` frames to their neighbours."""
    those = set(chosen.tolist())
    pairs = [(i, j) for i, j in flows.pairs() if abs(i - j) == 1 and i in those and j not in those]
    return replace(
        flows, steps={p: flows.steps[p] for p in pairs},
        confidence_u8={p: flows.confidence_u8[p] for p in pairs},
    )  # fmt: skip


def taken(frames: np.ndarray, chosen: I64) -> np.ndarray:
    """A copy of the ``chosen`` frames [k] of [t, …]; all of them as they are."""
    if len(chosen) == len(frames):
        return frames
    kind = torch.from_numpy(frames[:1]).dtype
    out = scratch_tensor((len(chosen), *frames.shape[1:]), kind).numpy()
    for k, i in enumerate(chosen.tolist()):
        out[k] = frames[i]
    return out


def carried_between(
    rho: F32,
    dynamic: Mask,
    confidence: F32,
    chosen: I64,
    cameras: Cameras,
    flows: FlowSet,
    progress: Progress = no_progress,
) -> tuple[F32, Mask, F32]:
    """Inverse depth, what moves and confidence of all frames [t, h, w], from the ``chosen`` ones
    [k, h, w]. cameras, flows: of all frames."""
    shape = (len(flows), *rho.shape[1:])
    all_rho, all_confidence = (scratch_tensor(shape, torch.float32).numpy() for _ in range(2))
    all_dynamic = np.zeros(shape, bool)
    for whole, part in ((all_rho, rho), (all_dynamic, dynamic), (all_confidence, confidence)):
        whole[chosen] = part
    frames = [i for i in range(shape[0]) if i not in set(chosen.tolist())]

    def job(number: int) -> None:
        i = frames[number]
        beside = [j for j in (i - 1, i + 1) if j < shape[0]]
        near, moves, sure = (x[beside] for x in (all_rho, all_dynamic, all_confidence))
        back = [inverse_depth_warps(cameras, j, [i]) for j in beside]
        back_a, back_b = (np.concatenate(part) for part in zip(*back))
        front = np.zeros(shape[1:], np.float32)
        _draw(near, moves, back_a, back_b, front)
        there = inverse_depth_warps(cameras, i, beside)
        _confirm(
            front, near, moves, sure, *there, back_a, back_b, all_rho[i], all_confidence[i]
        )  # fmt: skip
        unseen = all_rho[i] == 0
        all_rho[i] = filled(all_rho[i][None], unseen[None])[0]
        all_dynamic[i], depth = _moving(near, moves, flows, i, beside)
        all_rho[i] = np.where(all_dynamic[i] & (depth > 0), depth, all_rho[i])

    parallel_frames(job, range(len(frames)), progress, "frames between")
    return all_rho, all_dynamic, all_confidence


def _moving(rho: F32, dynamic: Mask, flows: FlowSet, i: int, beside: list[int]) -> tuple[Mask, F32]:
    """What moves in frame i by the frames ``beside`` it, and its inverse depth (0 = unknown)."""
    grid = pixel_grid(*rho.shape[1:])
    share, depth = np.zeros(rho.shape[1:], np.float32), np.zeros(rho.shape[1:], np.float32)
    total, weight = np.zeros_like(share), np.zeros_like(share)
    for k, j in enumerate(beside):
        flow, certainty = (x.numpy() for x in flows.get(i, j))
        at, certainty = grid + flow, certainty + np.float32(UNSURE)
        moves = dynamic[k].astype(np.float32)
        share += certainty * at_pixels(moves, at, cv2.INTER_LINEAR)
        total += certainty
        certainty = certainty * at_pixels(moves, at, cv2.INTER_NEAREST)
        depth += certainty * at_pixels(rho[k], at, cv2.INTER_NEAREST)
        weight += certainty
    found = cv2.medianBlur((share > MOVES * total).astype(np.uint8), 5) > 0
    mean = depth / np.maximum(weight, np.float32(1e-6))
    return np.asarray(found), mean.astype(np.float32)


@kernel
def _draw(rho, moving, a, b, front):
    """front [h, w]: the nearest still surface of the other frames [k, h, w] at each pixel."""
    num, h, w = rho.shape
    for k in range(num):
        for y in range(h):
            for x in range(w):
                if moving[k, y, x]:
                    continue
                u, v, z = project(a, b, k, x + 0.5, y + 0.5, rho[k, y, x])
                if z < MIN_Z or u < 0 or v < 0 or u >= w or v >= h:
                    continue
                iu, iv = int(u), int(v)
                front[iv, iu] = max(front[iv, iu], rho[k, y, x] / z)


@kernel
def _confirm(front, rho, moving, confidence, a, b, back_a, back_b, out, sure):
    """out [h, w]: the nearest inverse depth drawn within a pixel that another frame confirms, by
    the mean of what they say; 0 = none. sure: their confidence."""
    h, w = front.shape
    half = np.float32(0.5)
    for y in range(h):
        for x in range(w):
            px, py = np.float32(x) + half, np.float32(y) + half
            best = best_sure = np.float32(0)
            for row in range(max(y - 1, 0), min(y + 2, h)):
                for column in range(max(x - 1, 0), min(x + 2, w)):
                    own = front[row, column]
                    if own <= best * np.float32(1 + ALIKE):
                        continue
                    total = sum_sure = np.float32(0)
                    num = 0
                    for k in range(len(rho)):
                        u, v, z = project(a, b, k, px, py, own)
                        if z < MIN_Z or u < 0 or v < 0 or u >= w or v >= h:
                            continue
                        iu, iv = int(u), int(v)
                        if moving[k, iv, iu]:
                            continue
                        tolerance = np.float32(ALIKE) * own
                        there = sample_surface(rho[k], u - half, v - half, iu, iv, tolerance)
                        _, _, z = project(back_a, back_b, k, u, v, there)
                        if z < MIN_Z or abs(there / z - own) > tolerance:
                            continue
                        total += there / z
                        sum_sure += confidence[k, iv, iu]
                        num += 1
                    if num > 0:
                        best, best_sure = total / num, sum_sure / num
            out[y, x], sure[y, x] = best, best_sure
