"""A camera worked out by hand, in several conventions."""

import math

import numpy as np
import torch

from recam.geometry import se3, so3_exp
from recam.types import Cameras

F64 = torch.float64
H, W = 48, 64

# The camera of every file below stands at (1, 2, 3) and is turned 90° to the right: it looks along
# the world's x, its right is −z, its down is y. A point 4 ahead, 1 to the right and 0.5 down from
# it lies at (5, 2.5, 2), and with a focal length of 100 px around (32, 24) shows up at:
UV = [32 + 100 * 1 / 4, 24 + 100 * 0.5 / 4]
POINT = [5.0, 2.5, 2.0]
C2W = [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]]
W2C = [[0, 0, -1, 3], [0, 1, 0, -2], [1, 0, 0, -1], [0, 0, 0, 1]]
# The same in OpenGL's axes: columns right, up = −down, backward = −forward.
C2W_GL = [[0, 0, -1, 1], [0, -1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]]
EYE = np.eye(4).tolist()
EYE_GL = np.diag([1, -1, -1, 1]).tolist()
K = [[100, 0, 32], [0, 100, 24], [0, 0, 1]]
FOV_Y = math.degrees(2 * math.atan(24 / 100))
HALF = math.sqrt(0.5)


def some_cameras(num: int = 7, zooming: bool = False, centered: bool = False) -> Cameras:
    generator = torch.Generator().manual_seed(num)
    rotation = so3_exp(torch.randn(num, 3, generator=generator, dtype=F64))
    poses = se3(rotation, 3 * torch.randn(num, 3, generator=generator, dtype=F64))
    fy = 90.0 if centered else 92.0
    k = torch.tensor([[90.0, 0, 32], [0, fy, 24], [0, 0, 1]], dtype=F64).repeat(num, 1, 1)
    if not centered:
        k[:, 0, 2] += 1.5
    if zooming:
        k[:, 0, 0] += torch.arange(num)
        k[:, 1, 1] += torch.arange(num)
    return Cameras(poses, k, H, W)
