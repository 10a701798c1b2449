"""What recam's own small network believes about the depth of a clip, steady over time."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.arrays import F32, U8
from recam.reconstruct.cameras.level_lines import FocalGuess, PictureGuess
from recam.reconstruct.depth.fusion import snap_to_edges
from recam.reconstruct.depth_prior.network import (
    SHIPPED,
    STRIDE,
    DepthNet,
    Prediction,
    load_depth_net,
)
from recam.runtime.cache import scratch_tensor
from recam.runtime.parallel import parallel_frames, parallel_map
from recam.runtime.threads import one_torch_thread
from recam.types import no_progress

AREAS_PX = (144 * 192, 192 * 320)
"""Pixels of what the network sees: each picture at both sizes. The smaller shows it the whole, the
larger the edges."""
MIN_AREA_PX = 96 * 128
"""Smaller pictures are looked at at this size."""
SOON = 0.12
"""Part of a frame's own opinion in the running average over time, where nothing changed."""
LIKE = 14.0
"""Mean difference of grey levels up to which two pixels may show the same thing."""
STILL_PX = 0.35
"""Flow below this is taken for none."""
USUAL_ERROR = 0.15
"""Expected error of log depth at which the confidence is a half."""
GUESSED_FRAMES = 4
"""Of a clip, that cameras are begun with."""
SPREAD_OF_ERROR = 1.25
"""Standard deviation over mean absolute error, of a normal distribution."""
EDGE = 0.25
"""Steps of log depth that are moved to where the picture has its edge; smaller ones may as well be
doubt, which would become ragged by it."""


BETTER_THAN_STAGE = True
"""Whether reconstructions of tripod shots are better with it than with the stage, so that `auto`
takes it: see depth_card.md beside the weights."""


def available() -> bool:
    """Whether the package came with weights."""
    return SHIPPED.is_file()


@cache
def _network() -> DepthNet:
    return load_depth_net(SHIPPED)


def shipped_depth(frames: Tensor, model: DepthNet | None = None) -> tuple[Tensor, Tensor]:
    """Inverse depth and its confidence of a clip by recam's own network.

    frames: uint8 [t, 3, h, w] of any aspect, in order of time. model: None = the shipped one.
    Returns float32 [t, h, w] each: inverse depth, positive, up to one scale (and, for what it does
    not know, one shift) for the whole clip, of order 1 for what is near in the middle frame; and
    confidence in [0, 1]. Frames are looked at one by one and then brought to one scale and averaged
    along the flow, so that still pixels keep their depth. Raises ValueError for frames of another
    type or shape, RecamError where the package came without weights.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise ValueError(
            f"shipped_depth got frames {frames.dtype} {list(frames.shape)}; expected uint8 "
            "[t, 3, h, w]"
        )
    if 0 in frames.shape:
        raise ValueError(f"shipped_depth got no pixels: frames {list(frames.shape)}")
    log_inverse, log_error, gray = _guessed(frames, model or _network())
    log_inverse = _steadied(log_inverse, gray)
    middle = log_inverse[len(log_inverse) // 2]
    near = float(np.quantile(middle, 0.9))
    confidence = 1 / (1 + np.exp(log_error) / USUAL_ERROR)
    t, _, h, w = frames.shape
    inverse, trust = (scratch_tensor((t, h, w), torch.float32).numpy() for _ in range(2))

    def enlarge(i: int) -> None:
        log = cv2.resize(log_inverse[i] - near, (w, h), interpolation=cv2.INTER_LINEAR)
        rgb = np.ascontiguousarray(frames[i].permute(1, 2, 0).numpy())
        inverse[i] = np.exp(snap_to_edges(log, rgb, EDGE))
        trust[i] = cv2.resize(confidence[i], (w, h), interpolation=cv2.INTER_LINEAR)

    parallel_frames(enlarge, range(t), no_progress, "")
    return torch.from_numpy(inverse), torch.from_numpy(trust)


def guess_pictures(frames: Tensor, model: DepthNet | None = None) -> PictureGuess:
    """What the network guesses of the focal length, in px of frames uint8 [t, 3, h, w] (the mean
    over both sizes), and of depth (at the larger), of GUESSED_FRAMES of them."""
    height, width = frames.shape[-2:]
    picked = np.unique(np.linspace(0, len(frames) - 1, GUESSED_FRAMES).round().astype(int))
    network, sizes = model or _network(), _sizes(height, width)
    with one_torch_thread():
        said = list(parallel_map(
            lambda i: [_looked_at(frames[i], size, network)[1] for size in sizes], picked.tolist()
        ))  # fmt: skip
    inverse = []
    for of_picture in said:
        log_inverse = of_picture[-1].log_inverse.mean(0).numpy()
        log_inverse = cv2.resize(log_inverse - np.median(log_inverse), (width, height))
        inverse.append(np.exp(log_inverse))
    every = [prediction for of_picture in said for prediction in of_picture]
    log_focal = float(np.mean([one.log_focal.mean() for one in every]))
    error = float(np.mean([one.log_focal_error.exp().mean() for one in every]))
    guess = FocalGuess(max(height, width) * math.exp(log_focal), SPREAD_OF_ERROR * error)
    return PictureGuess(guess, picked, np.stack(inverse).astype(np.float32))


def network_size(height: int, width: int, area: int = AREAS_PX[0]) -> tuple[int, int]:
    """Multiples of STRIDE near the aspect, of about ``area`` pixels."""
    scale = math.sqrt(area / (height * width))
    h, w = (max(1, round(side * scale / STRIDE)) * STRIDE for side in (height, width))
    return min(h, 64 * STRIDE), min(w, 64 * STRIDE)


def _guessed(frames: Tensor, model: DepthNet) -> tuple[F32, F32, U8]:
    """Log inverse depth and log error [t, h', w'] at the larger of the network's sizes, and the
    grey pictures. Each is the mean of what is said about the picture and its mirror image at both
    sizes."""
    sizes = _sizes(*frames.shape[-2:])
    height, width = sizes[-1]
    t = len(frames)
    out = np.zeros((2, t, height, width), np.float32)
    gray = np.empty((t, height, width), np.uint8)

    def job(i: int) -> None:
        """Look at frame i."""
        for size in sizes:
            small, prediction = _looked_at(frames[i], size, model)
            for inverse, error in zip(prediction.log_inverse.numpy(), prediction.log_error.numpy()):
                # Each is right up to a scale of its own.
                own = np.stack([inverse - np.median(inverse), error])
                for k in range(2):
                    out[k, i] += cv2.resize(own[k], (width, height)) / (2 * len(sizes))
        gray[i] = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)

    with one_torch_thread():  # a frame a core: the network's layers are small
        parallel_frames(job, range(t), no_progress, "")
    return out[0], out[1], gray


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The network's sizes for a picture, the larger last; small pictures are not blown up."""
    most = max(height * width, MIN_AREA_PX)
    areas = sorted({min(area, most) for area in AREAS_PX})
    return [network_size(height, width, area) for area in areas]


@torch.no_grad()
def _looked_at(frame: Tensor, size: tuple[int, int], model: DepthNet) -> tuple[U8, Prediction]:
    """A picture [3, h, w] at a size, and what the network says of it and of its mirror image, the
    latter mirrored back."""
    height, width = size
    picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
    shrinks = height < picture.shape[0]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(picture, (width, height), interpolation=kind)
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    prediction = model(torch.cat([x, x.flip(-1)]))
    for both in (prediction.log_inverse, prediction.log_error):
        both[1] = both[1].flip(-1)
    return small, prediction


def _steadied(log_inverse: F32, gray: U8) -> F32:
    """Log inverse depth [t, h, w] with one scale for the clip, averaged over time.

    A running average follows the flow forwards, another backwards; where the picture is not what
    the flow says, a frame's own opinion counts alone. Each frame is first brought to the scale of
    the running average.
    """
    if len(log_inverse) == 1:
        return log_inverse
    forward = _running(log_inverse, gray)
    backward = _running(forward[::-1], gray[::-1])[::-1]
    return np.ascontiguousarray(backward)


def _running(log_inverse: F32, gray: U8) -> F32:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    h, w = gray.shape[1:]
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    out = np.empty_like(log_inverse)
    out[0] = log_inverse[0]
    weight = np.ones((h, w), np.float32)
    for i in range(1, len(out)):
        # The flow's coarsest level needs some pixels both ways.
        thin = min(h, w) < 2 * STRIDE
        flow = np.zeros_like(grid) if thin else dis.calc(gray[i], gray[i - 1], None)
        flow[(flow**2).sum(-1) < STILL_PX**2] = 0
        # To the nearest pixel: many small resamplings would wash edges out.
        at = np.rint(grid + flow)
        earlier = cv2.remap(out[i - 1], at[..., 0], at[..., 1], cv2.INTER_NEAREST,
                            borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        count = cv2.remap(weight, at[..., 0], at[..., 1], cv2.INTER_NEAREST,
                          borderMode=cv2.BORDER_CONSTANT)  # fmt: skip
        seen = cv2.remap(gray[i - 1], at[..., 0], at[..., 1], cv2.INTER_NEAREST,
                         borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        difference = cv2.blur(cv2.absdiff(gray[i], seen).astype(np.float32), (5, 5))
        same = (difference < LIKE) & (count > 0)
        own = log_inverse[i]
        if same.mean() > 0.05:
            own = own + np.float32(np.median((earlier - own)[same]))
        count = np.where(same, np.minimum(count, 1 / SOON - 1), 0).astype(np.float32)
        out[i] = (count * earlier + own) / (count + 1)
        weight = count + 1
    return out
