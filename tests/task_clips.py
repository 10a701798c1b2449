"""Clips for the tests of editing and interpolating, made so that the truth is exact."""

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.types import Video, video_from_frames

HEIGHT, WIDTH = 96, 160
BOX = (30, 20, 34, 40)
"""Top, left, height, width of the thing in the first frame."""
STEP = 3
"""px to the right that it moves a frame; the background moves 1 to the left."""


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """A picture uint8 [h, w, 3] with detail at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for sigma in (1.5, 4, 10):
        noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
        picture += noise / noise.std()
    return np.clip(128 + 35 * picture, 0, 255).astype(np.uint8)


def thing_region(frame: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """bool [h, w]: where the thing is."""
    top, left, tall, wide = BOX
    region = torch.zeros(height, width, dtype=torch.bool)
    region[top : top + tall, left + STEP * frame : left + STEP * frame + wide] = True
    return region


def moving_thing(num: int = 8, seed: int = 1, thing_seed: int | None = 2) -> Video:
    """A textured thing (None: nothing) that passes over a background that moves the other way."""
    top, left, tall, wide = BOX
    behind = texture(HEIGHT, WIDTH + num, seed)
    tint = np.array([60.0, 0.0, -60.0])  # a thing of its own colour, as most are
    thing = texture(tall, wide, thing_seed or 0) * 0.6 + 50 + tint
    thing = thing.clip(0, 255).astype(np.uint8)
    frames = []
    for i in range(num):
        frame = behind[:, i : i + WIDTH].copy()
        if thing_seed is not None:
            at = left + STEP * i
            frame[top : top + tall, at : at + wide] = thing
        frames.append(torch.from_numpy(frame).permute(2, 0, 1))
    return video_from_frames(torch.stack(frames), fps=12)
