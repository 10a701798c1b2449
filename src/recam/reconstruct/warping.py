"""Where a pixel of one frame is seen in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recam.arrays import F32
from recam.types import Cameras


def inverse_depth_warps(cameras: Cameras, i: int, others: Sequence[int]) -> tuple[F32, F32]:
    """a [k, 3, 3] and b [k, 3]: pixel (x, y) of frame i at inverse depth ρ is seen in frame j at
    the homogeneous point ``a @ (x, y, 1) + ρ b``, whose third entry is z_j / z_i."""
    pose, k = cameras.cam_from_world.numpy(), cameras.intrinsics.numpy()
    a = np.empty((len(others), 3, 3))
    b = np.empty((len(others), 3))
    inverse = np.linalg.inv(pose[i])
    for n, j in enumerate(others):
        j_from_i = pose[j] @ inverse
        a[n] = k[j] @ j_from_i[:3, :3] @ np.linalg.inv(k[i])
        b[n] = k[j] @ j_from_i[:3, 3]
    return a.astype(np.float32), b.astype(np.float32)
