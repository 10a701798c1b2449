"""Cameras and rigid motions. Axes are OpenCV's; see docs/conventions.md.

Transforms are named ``a_from_b``: ``a_from_c = a_from_b @ b_from_c``. All functions broadcast over
leading dimensions and keep the dtype they are given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recam.types import CameraMotion, Cameras

DEFAULT_FOV_DEG = 55.0
"""Field of view, of the longer side, where nothing says better: a phone's or a 35 mm lens's."""


def skew(v: Tensor) -> Tensor:
    """[..., 3] -> [..., 3, 3] with skew(v) @ u = v × u."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, -1).reshape(*v.shape[:-1], 3, 3)


def so3_exp(rotvec: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] from rotation vectors [..., 3] (radians; Rodrigues)."""
    angle2 = (rotvec * rotvec).sum(-1)[..., None, None]
    small = angle2 < 1e-8
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    a = torch.where(small, 1 - angle2 / 6, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - angle2 / 24, (1 - torch.cos(angle)) / safe)
    k = skew(rotvec)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + a * k + b * (k @ k)


def so3_log(rotation: Tensor) -> Tensor:
    """Rotation vectors [..., 3] (radians, length ≤ π) of rotation matrices [..., 3, 3]."""
    return quaternion_to_rotvec(quaternion_from_rotation(rotation))


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions [..., 4] as (w, x, y, z), w ≥ 0, of rotation matrices [..., 3, 3]."""
    r = rotation
    d0, d1, d2 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    # Four expressions, each well conditioned where its own leading term is the largest.
    lead = torch.stack([1 + d0 + d1 + d2, 1 + d0 - d1 - d2, 1 - d0 + d1 - d2, 1 - d0 - d1 + d2], -1)
    a, b, c = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    p, q, s = r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2]
    rows = torch.stack(
        [
            torch.stack([lead[..., 0], a, b, c], -1),
            torch.stack([a, lead[..., 1], p, q], -1),
            torch.stack([b, p, lead[..., 2], s], -1),
            torch.stack([c, q, s, lead[..., 3]], -1),
        ],
        -2,
    )
    best = lead.argmax(-1)[..., None, None].expand(*lead.shape[:-1], 1, 4)
    quaternion = rows.gather(-2, best)[..., 0, :]
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] (w, x, y, z), of any nonzero length."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*quaternion.shape[:-1], 3, 3)


def quaternion_to_rotvec(quaternion: Tensor) -> Tensor:
    """Rotation vectors [..., 3] of unit quaternions [..., 4] (w, x, y, z) with w ≥ 0."""
    w, v = quaternion[..., :1], quaternion[..., 1:]
    s = v.norm(dim=-1, keepdim=True)
    small = s < 1e-8
    factor = 2 * torch.atan2(s, w) / torch.where(small, torch.ones_like(s), s)
    return v * torch.where(small, 2 / w.clamp(min=0.5), factor)


def se3(rotation: Tensor, translation: Tensor) -> Tensor:
    """Rigid transforms [..., 4, 4] from rotations [..., 3, 3] and translations [..., 3]."""
    out = torch.zeros(*translation.shape[:-1], 4, 4, dtype=rotation.dtype, device=rotation.device)
    out[..., :3, :3] = rotation
    out[..., :3, 3] = translation
    out[..., 3, 3] = 1
    return out


def se3_inverse(transform: Tensor) -> Tensor:
    """Inverse of rigid transforms [..., 4, 4]."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return se3(rotation, -(rotation @ transform[..., :3, 3:])[..., 0])


def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Apply [..., 4, 4] to points [..., k, 3]."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def rotation_angle_deg(a: Tensor, b: Tensor) -> Tensor:
    """Angle in degrees between rotations [..., 3, 3]."""
    return torch.rad2deg(so3_log(a.transpose(-1, -2) @ b).norm(dim=-1))


def intrinsics_from_fov(fov_x_deg: float, height: int, width: int) -> Tensor:
    """float64 [3, 3]: square pixels, centred principal point, horizontal field of view."""
    focal = 0.5 * width / math.tan(math.radians(fov_x_deg) / 2)
    rows = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def fov_x_deg(cameras: Cameras) -> Tensor:
    """Horizontal field of view [n] in degrees, from the focal length and the width."""
    return torch.rad2deg(2 * torch.atan(0.5 * cameras.width / cameras.intrinsics[:, 0, 0]))


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """cam_from_world [4, 4] of a camera at ``eye`` [3] that looks at ``target`` [3].

    ``up`` [3] is the world direction that shall point up in the image (in an OpenCV world, −y).
    """
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    right = torch.linalg.cross(forward, up)
    if float(right.norm()) < 1e-9:
        raise ValueError("look_at: the viewing direction is parallel to up; choose another up")
    right = torch.nn.functional.normalize(right, dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    return se3(rotation, -rotation @ eye)


def pixel_centers(height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """uv_px [h, w, 2]: x and y of every pixel's centre (the first is at 0.5, 0.5)."""
    y = torch.arange(height, dtype=dtype) + 0.5
    x = torch.arange(width, dtype=dtype) + 0.5
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)


def project(points_world: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project points [n, k, 3] (or [k, 3] into each camera) into n cameras.

    Returns uv_px [n, k, 2] and z-depth [n, k]. Points with depth ≤ 0 are behind the camera; their
    uv_px mean nothing.
    """
    dtype = points_world.dtype
    points_cam = transform_points(cameras.cam_from_world.to(dtype), points_world)
    depth = points_cam[..., 2]
    uvw = points_cam @ cameras.intrinsics.to(dtype).transpose(-1, -2)
    tiny = torch.full_like(depth, 1e-12)
    safe = torch.where(depth.abs() < 1e-12, tiny, depth)
    return uvw[..., :2] / safe[..., None], depth


def unproject(depth: Tensor, cameras: Cameras) -> Tensor:
    """World points [n, h, w, 3] of z-depth maps [n, h, w] seen by n cameras of that size."""
    n, h, w = depth.shape
    if (h, w) != (cameras.height, cameras.width):
        raise ValueError(
            f"depth is {h}×{w} but the cameras are {cameras.height}×{cameras.width}; "
            "use cameras.resized(h, w) first"
        )
    uv_px = pixel_centers(h, w, depth.dtype)
    ones = torch.ones(h, w, 1, dtype=depth.dtype)
    inverse_k = torch.linalg.inv(cameras.intrinsics).to(depth.dtype)
    rays = torch.cat([uv_px, ones], -1).reshape(1, h * w, 3) @ inverse_k.transpose(-1, -2)
    points_cam = rays * depth.reshape(n, h * w, 1)
    world_from_cam = cameras.world_from_cam.to(depth.dtype)
    return transform_points(world_from_cam, points_cam).reshape(n, h, w, 3)


def align_similarity(source: Tensor, target: Tensor) -> tuple[float, Tensor, Tensor]:
    """Scale s, rotation R [3, 3] and translation t [3] minimising |s·R·source + t − target|².

    source, target: [k, 3]. Source: Umeyama 1991. With k < 3 or all points alike the rotation is
    not determined and some minimiser is returned.
    """
    mean_s, mean_t = source.mean(0), target.mean(0)
    cs, ct = source - mean_s, target - mean_t
    u, singular, vh = torch.linalg.svd(ct.T @ cs)
    sign = torch.ones_like(singular)
    if torch.linalg.det(u) * torch.linalg.det(vh) < 0:
        sign[-1] = -1
    rotation = u @ torch.diag(sign) @ vh
    variance = (cs * cs).sum()
    scale = float((singular * sign).sum() / variance) if float(variance) > 1e-18 else 1.0
    return scale, rotation, mean_t - scale * rotation @ mean_s


def _key_slopes(
    incoming: Tensor, outgoing: Tensor, spacing: Tensor, far: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Velocities [k, c] at k keys that make a cubic through them smooth and free of overshoot.

    incoming, outgoing: mean velocity [k-1, c] of each piece, in the axes of its last and of its
    first key; far: that of the second piece in the first key's axes and of the last but one in the
    last key's. Source: Fritsch and Butland 1984 (the rule of PCHIP), per component.
    """
    if len(spacing) == 1:
        return torch.cat([outgoing, incoming])
    h0, h1 = spacing[:-1, None], spacing[1:, None]
    before, after = incoming[:-1], outgoing[1:]
    agree = before * after > 0
    weights = 3 * (h0 + h1)
    safe_before = torch.where(agree, before, torch.ones_like(before))
    safe_after = torch.where(agree, after, torch.ones_like(after))
    mean = weights / ((2 * h1 + h0) / safe_before + (h1 + 2 * h0) / safe_after)
    inner = torch.where(agree, mean, torch.zeros_like(mean))

    def end(near: Tensor, far: Tensor, h_near: Tensor, h_far: Tensor) -> Tensor:
        slope = ((2 * h_near + h_far) * near - h_near * far) / (h_near + h_far)
        slope = torch.where((near * far < 0) & (slope.abs() > 3 * near.abs()), 3 * near, slope)
        return torch.where(slope * near > 0, slope, torch.zeros_like(slope))

    far_first, far_last = (outgoing[1], incoming[-2]) if far is None else far
    first = end(outgoing[0], far_first, spacing[0], spacing[1])
    last = end(incoming[-1], far_last, spacing[-1], spacing[-2])
    return torch.cat([first[None], inner, last[None]])


def _key_times(at: Tensor, num_keys: int) -> Tensor:
    times = at.to(torch.float64)
    if times.shape != (num_keys,) or num_keys == 0:
        raise ValueError(f"{num_keys} keys at {list(times.shape)} times; give one time per key")
    if not bool((times[1:] > times[:-1]).all()):
        raise ValueError(f"key times must increase, got {times.tolist()}")
    return times


def interpolate_values(at: Tensor, values: Tensor, query: Tensor) -> Tensor:
    """Values [n, c] at times query [n] of a smooth curve through values [k, c] at times at [k].

    Continuous with its velocity, exact at the keys, and monotone between them, so that two equal
    keys hold still (PCHIP: Fritsch and Butland 1984). Held before the first key and after the
    last. Raises ValueError when the times do not increase.
    """
    times = _key_times(at, len(values))
    values = values.to(torch.float64)
    if len(times) == 1:
        return values.expand(len(query), -1).clone()
    spacing = times[1:] - times[:-1]
    steps = (values[1:] - values[:-1]) / spacing[:, None]
    slopes = _key_slopes(steps, steps, spacing)
    t = query.to(torch.float64).clamp(times[0], times[-1])
    i = torch.searchsorted(times, t, right=True).clamp(1, len(times) - 1) - 1
    return _hermite(times, values, slopes, i, t)


def _hermite(times: Tensor, values: Tensor, slopes: Tensor, i: Tensor, t: Tensor) -> Tensor:
    """The cubic of piece i [n] through values [k, c] with these slopes, at times t [n]."""
    h = (times[i + 1] - times[i])[:, None]
    s = ((t - times[i])[:, None] / h).clamp(0, 1)
    start, end = values[i], values[i + 1]
    bend = s * (1 - s) * h * ((1 - s) * slopes[i] - s * slopes[i + 1])
    blend = s * s * (3 - 2 * s)
    # Two ways to write the same blend; each is exact at the key that it starts from.
    curve = torch.where(s < 0.5, start + blend * (end - start), end + (1 - blend) * (start - end))
    return curve + bend


def interpolate_poses(
    at: Tensor, cam_from_world: Tensor, query: Tensor, extrapolate: bool = False
) -> Tensor:
    """cam_from_world [n, 4, 4] at times query [n] of a smooth path through k poses at times at [k].

    Camera centres follow a cubic and rotations a cubic Bézier curve on SO(3) (Shoemake 1985); both
    have continuous velocity, pass exactly through the keys and hold still between equal keys. The
    path does not depend on the choice of the world frame. Outside the keys the first and last pose
    are held, or with ``extrapolate`` go on at the velocity that they end with. Raises ValueError
    when the times do not increase.
    """
    times = _key_times(at, len(cam_from_world))
    world_from_cam = se3_inverse(cam_from_world.to(torch.float64))
    if len(times) == 1:
        return cam_from_world.to(torch.float64).expand(len(query), 4, 4).clone()
    rotation, center = world_from_cam[:, :3, :3], world_from_cam[:, :3, 3]
    spacing = times[1:] - times[:-1]
    # Velocities are compared in the axes of the camera where they meet: no world axis is special.
    move = (center[1:] - center[:-1]) / spacing[:, None]
    leaving = (rotation[:-1].transpose(1, 2) @ move[..., None])[..., 0]
    arriving = (rotation[1:].transpose(1, 2) @ move[..., None])[..., 0]
    far = (rotation[0].T @ move[min(1, len(move) - 1)], rotation[-1].T @ move[max(-2, -len(move))])
    velocity = (rotation @ _key_slopes(arriving, leaving, spacing, far)[..., None])[..., 0]
    turn = so3_log(rotation[:-1].transpose(1, 2) @ rotation[1:]) / spacing[:, None]
    spin = _key_slopes(turn, turn, spacing)

    wanted = query.to(torch.float64)
    t = wanted.clamp(times[0], times[-1])
    i = torch.searchsorted(times, t, right=True).clamp(1, len(times) - 1) - 1
    new_center = _hermite(times, center, velocity, i, t)
    new_rotation = _bezier_rotation(times, rotation, spin, i, t)
    if extrapolate:
        beyond = (wanted - t)[:, None]
        end = torch.where(beyond[:, 0] < 0, torch.zeros_like(i), i + 1)
        new_center = new_center + beyond * velocity[end]
        new_rotation = new_rotation @ so3_exp(beyond * spin[end])
    path = se3_inverse(se3(new_rotation, new_center))
    # Return the keys themselves where a query meets one: inverting twice costs a last digit.
    hit, key = (wanted[:, None] == times[None]).max(1)
    return torch.where(hit[:, None, None], cam_from_world.to(torch.float64)[key], path)


def _bezier_rotation(times: Tensor, rotation: Tensor, spin: Tensor, i: Tensor, t: Tensor) -> Tensor:
    """Piece i [n] of the Bézier curve on SO(3) through rotations [k, 3, 3] with body rates spin."""

    def slerp(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        return a @ so3_exp(s * so3_log(a.transpose(1, 2) @ b))

    h = (times[i + 1] - times[i])[:, None]
    s = (t - times[i])[:, None] / h
    q0, q3 = rotation[i], rotation[i + 1]
    q1, q2 = q0 @ so3_exp(spin[i] * h / 3), q3 @ so3_exp(-spin[i + 1] * h / 3)
    q01, q12, q23 = slerp(q0, q1, s), slerp(q1, q2, s), slerp(q2, q3, s)
    return slerp(slerp(q01, q12, s), slerp(q12, q23, s), s)


def distort(xy: Tensor, distortion: Tensor) -> Tensor:
    """Where a lens puts the rays xy [..., 2] (x/z, y/z): OpenCV's (k1, k2, p1, p2, k3) model."""
    k1, k2, p1, p2, k3 = distortion.to(xy.dtype).unbind(-1)
    x, y = xy.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def max_distortion_radius(distortion: Tensor) -> float:
    """Largest |x/z, y/z| up to which the radial part of a lens model grows, so can be undone.

    Beyond it the polynomial folds back and would show the picture's inside a second time.
    """
    k1, k2, _, _, k3 = (float(v) for v in distortion)
    # d/dr of r(1 + k1 r² + k2 r⁴ + k3 r⁶), as a polynomial in r².
    r2 = torch.linspace(0, 16, 160_001, dtype=torch.float64)
    growing = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3)) > 0
    first_fold = int((~growing).to(torch.int64).argmax())
    return float("inf") if bool(growing.all()) else math.sqrt(float(r2[first_fold]))


def motion_of(cameras: Cameras) -> CameraMotion:
    """What cameras do, by their poses alone: any shift of their centres counts as moving."""
    spread = (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max()
    if float(spread) > 1e-9:
        return "moving"
    rotation = cameras.cam_from_world[:, :3, :3]
    turned = float((rotation - rotation[:1]).abs().max())
    return "rotating" if turned > 1e-9 else "static"
