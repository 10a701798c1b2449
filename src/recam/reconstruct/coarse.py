"""A clip at half its size, where its geometry is worked out first, and the way back up."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import torch

from recam.arrays import F32, U8, Mask
from recam.flow.dense import FlowSet
from recam.runtime.cache import scratch_tensor

Frames = TypeVar("Frames", U8, F32)
MIN_SIDE_PX = 384
"""Longer side from which on geometry is worked out at half the size first."""


def half_size(height: int, width: int, smaller: bool = False) -> tuple[int, int]:
    """Where geometry is worked out first: half the size, or the size itself of small pictures,
    unless these are to be made ``smaller`` too."""
    if max(height, width) < MIN_SIDE_PX and not smaller:
        return height, width
    return (height + 1) // 2, (width + 1) // 2


def resized_frames(frames: Frames, height: int, width: int) -> Frames:
    """[t, h, w] or [t, h, w, 3] at another size: means when smaller, bilinear when larger."""
    if frames.shape[1:3] == (height, width):
        return frames
    smaller = height * width < frames.shape[1] * frames.shape[2]
    kind = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    dtype = torch.uint8 if frames.dtype == np.uint8 else torch.float32
    out = scratch_tensor((len(frames), height, width, *frames.shape[3:]), dtype).numpy()
    for i, frame in enumerate(frames):
        out[i] = cv2.resize(frame, (width, height), interpolation=kind)
    return out


def resized_mask(mask: Mask, height: int, width: int) -> Mask:
    """bool [t, h, w] at another size, with the outline where half of a pixel is inside."""
    if mask.shape[1:] == (height, width):
        return mask
    out = np.empty((len(mask), height, width), bool)
    for i, one in enumerate(mask):
        out[i] = resized_frames(one[None].astype(np.float32), height, width)[0] > 0.5
    return out


def halved_flows(flows: FlowSet, height: int, width: int) -> FlowSet:
    """The same flows between pictures of half the size: means of flows and of their confidence."""
    if (flows.height, flows.width) == (height, width):
        return flows
    gray = torch.from_numpy(resized_frames(flows.gray.numpy(), height, width))
    scale = np.array([width / flows.width, height / flows.height], np.float32)
    pairs = flows.pairs()
    steps = scratch_tensor((len(pairs), height, width, 2), torch.int16)
    confidence = scratch_tensor((len(pairs), height, width), torch.uint8)
    size = (width, height)
    for k, pair in enumerate(pairs):
        mean = cv2.resize(flows.steps[pair].numpy(), size, interpolation=cv2.INTER_AREA)
        steps[k] = torch.from_numpy(np.rint(mean * scale).astype(np.int16))
        sure = flows.confidence_u8[pair].numpy()
        confidence[k] = torch.from_numpy(cv2.resize(sure, size, interpolation=cv2.INTER_AREA))
    return FlowSet(
        gray, dict(zip(pairs, steps)), dict(zip(pairs, confidence)), flows.offsets,
        flows.level + 1,
    )  # fmt: skip
