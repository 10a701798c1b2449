"""Where a pixel of one frame is seen in another: the one projection of the reconstruction.

A pixel (x, y) of frame i at inverse depth ρ is seen in frame j at the homogeneous point
``a @ (x, y, 1) + ρ b``, whose third entry is z_j / z_i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recam.arrays import F32
from recam.runtime.jit import inlined
from recam.types import Cameras

MIN_Z = 0.05
"""Least z_j / z_i: a point nearer to the other camera, or behind it, is not looked up."""
NEARER = 1.1
"""Inverse depth over what was expected from which on something nearer is in the way."""


def inverse_depth_warps(cameras: Cameras, i: int, others: Sequence[int]) -> tuple[F32, F32]:
    """a [k, 3, 3] and b [k, 3] from frame i to each of the others, as above."""
    pose, k = cameras.cam_from_world.numpy(), cameras.intrinsics.numpy()
    a = np.empty((len(others), 3, 3))
    b = np.empty((len(others), 3))
    inverse = np.linalg.inv(pose[i])
    for n, j in enumerate(others):
        j_from_i = pose[j] @ inverse
        a[n] = k[j] @ j_from_i[:3, :3] @ np.linalg.inv(k[i])
        b[n] = k[j] @ j_from_i[:3, 3]
    return a.astype(np.float32), b.astype(np.float32)


def project_reference(a: F32, b: F32, x: F32, y: F32, rho: F32) -> tuple[F32, F32, F32]:
    """``project`` for arrays of any shape, one frame: a [3, 3], b [3]. Slow and obvious."""
    point = np.stack([x, y, np.ones_like(x)], -1) @ a.T + rho[..., None] * b
    u, v, z = np.moveaxis(point.astype(np.float32), -1, 0)
    return u / z, v / z, z


@inlined
def far_point(a, k, x, y):
    """The homogeneous point of pixel (x, y) at infinity in frame k of the warps."""
    return (
        a[k, 0, 0] * x + a[k, 0, 1] * y + a[k, 0, 2],
        a[k, 1, 0] * x + a[k, 1, 1] * y + a[k, 1, 2],
        a[k, 2, 0] * x + a[k, 2, 1] * y + a[k, 2, 2],
    )


@inlined
def project(a, b, k, x, y, rho):
    """(u, v, z): where frame k of the warps sees pixel (x, y) at inverse depth rho, in px, and
    z_k / z there. u and v mean nothing where z is below MIN_Z."""
    ax, ay, az = far_point(a, k, x, y)
    z = az + rho * b[k, 2]
    return (ax + rho * b[k, 0]) / z, (ay + rho * b[k, 1]) / z, z


@inlined
def seen_in(a, b, k, x, y, own, j, rho, blocked, margin):
    """(u, v, seen): where frame j, k of the warps, sees pixel (x, y) at inverse depth ``own``; and
    whether it shows it: ``margin`` px inside its picture, not ``blocked`` [t, h, w], and with
    nothing nearer in front by rho [t, h, w]."""
    u, v, z = project(a, b, k, x, y, own)
    _, h, w = rho.shape
    seen = z >= MIN_Z and u >= margin and v >= margin and u <= w - margin and v <= h - margin
    if seen:
        iu, iv = int(u), int(v)
        seen = not blocked[j, iv, iu] and rho[j, iv, iu] * z <= NEARER * own
    return u, v, seen
