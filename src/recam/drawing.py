"""A picture of a camera path over the scene: from above and from the side, before anything is made.

Both views are in the axes of the first source camera, to one scale, so right in the picture is
right in the first frame (from above) or forward (from the side).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.geometry import rotation_angle_deg, transform_points, unproject
from recam.trajectories import focus_depth as scene_focus_depth
from recam.types import CameraPath, Cameras, Scene

Color = tuple[int, int, int]

PAPER: Color = (250, 249, 246)
INK: Color = (60, 60, 66)
GRID: Color = (228, 227, 222)
SOURCE: Color = (70, 110, 190)
TARGET: Color = (222, 96, 32)
FOCUS: Color = (200, 30, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TOP, _FOOT, _MARGIN = 40, 66, 14


@dataclass(frozen=True)
class _View:
    """One panel: which scene axes go right and up in it, and where it lies in the picture."""

    title: str
    right: int
    up: int
    up_sign: float
    box: tuple[int, int, int, int]  # left, top, width, height
    middle: np.ndarray  # of the scene, [3]
    px_per_unit: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Pixel [n, 2] of scene points [n, 3]."""
        left, top, width, height = self.box
        across = (points[:, self.right] - self.middle[self.right]) * self.px_per_unit
        rise = self.up_sign * (points[:, self.up] - self.middle[self.up]) * self.px_per_unit
        return np.stack([left + width / 2 + across, top + height / 2 - rise], -1)


def draw_path(
    scene_or_cameras: Scene | Cameras,
    path: CameraPath,
    *,
    focus_depth: float | None = None,
    never_seen: Tensor | None = None,
    title: str = "",
    height: int = 720,
    width: int = 1280,
) -> Tensor:
    """Draw source and target cameras, the scene's points and the focus; uint8 [3, h, w] sRGB.

    scene_or_cameras: the scene, or only the source cameras (then no points are drawn).
    focus_depth: scene units; default: the scene's own, or none without a scene.
    never_seen: [n], the share of every frame of the path that no source frame shows; drawn as bars.
    """
    if height < 240 or width < 320:
        raise ValueError(f"a picture of {width}×{height} is too small to draw on; give 320×240 up")
    scene = scene_or_cameras if isinstance(scene_or_cameras, Scene) else None
    source = scene_or_cameras.cameras if isinstance(scene_or_cameras, Scene) else scene_or_cameras
    if focus_depth is None and scene is not None:
        focus_depth = scene_focus_depth(scene)
    view_from_world = source.cam_from_world[0]
    points, colors = _scene_points(scene, path, view_from_world)
    shown = source[path.source_frames.unique()]
    focus = None
    if focus_depth is not None:
        ahead = torch.tensor([[0.0, 0.0, focus_depth]], dtype=torch.float64)
        middle = source.world_from_cam[int(path.source_frames[len(path) // 2])]
        focus = transform_points(view_from_world @ middle, ahead).numpy()

    image = np.full((height, width, 3), PAPER, np.uint8)
    centers = np.concatenate([_centers(c, view_from_world) for c in (shown, path.cameras)])
    views = _views(points, centers, focus, height, width)
    size = 0.1 * min(view.box[2] for view in views) / views[0].px_per_unit
    for view in views:
        panel = image.copy()
        _draw_grid(panel, view)
        _draw_points(panel, view, points, colors)
        _draw_cameras(panel, view, shown, view_from_world, SOURCE, size * 0.8, ticks=False)
        _draw_cameras(panel, view, path.cameras, view_from_world, TARGET, size, ticks=True)
        if focus is not None:
            _draw_focus(panel, view, focus)
        left, top, w, h = view.box
        image[top : top + h, left : left + w] = panel[top : top + h, left : left + w]
        cv2.rectangle(image, (left, top), (left + w, top + h), GRID, 1)
        _text(image, view.title, (left + 8, top + 20), 0.5, INK)
    _text(image, title or f"{len(path)} frames", (_MARGIN, 27), 0.62, INK)
    _draw_summary(image, source, path, focus_depth, scene)
    if never_seen is not None:
        _draw_never_seen(image, never_seen.numpy())
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def nearest_shown(depth: Tensor) -> float:
    """The inverse depth that pictures of depth show as white: larger than 98 % of those of depth,
    any shape, in scene units (0 = unknown)."""
    some = 1 / depth[depth > 0]
    step = max(1, some.numel() // 100_000)
    return float(torch.quantile(some[::step], 0.98)) if len(some) else 1.0


def draw_depth(depth: Tensor, nearest: float) -> Tensor:
    """Depth [t, h, w] as uint8 [t, 3, h, w] to look at: near is bright, unknown (0) is black."""
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=1e-9), 0.0)
    grey = (inverse / nearest * 255).clamp(0, 255).to(torch.uint8)
    return grey[:, None].expand(-1, 3, -1, -1)


def _centers(cameras: Cameras, view_from_world: Tensor) -> np.ndarray:
    return transform_points(view_from_world, cameras.centers).numpy()


def _scene_points(
    scene: Scene | None, path: CameraPath, view_from_world: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Some 60,000 points [k, 3] with colours [k, 3]: static ones of a few frames, and all of the
    frame that the middle of the path sees."""
    if scene is None:
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    moment = int(path.source_frames[len(path) // 2])
    n, h, w = scene.depth.shape
    frames = sorted({0, n // 3, 2 * n // 3, n - 1, moment})
    step = max(1, int(np.sqrt(h * w * len(frames) / 60_000)))
    points, colors = [], []
    for i in frames:
        keep = scene.valid[i] & (scene.depth[i] > 0) & torch.isfinite(scene.depth[i])
        if i != moment:
            keep = keep & ~scene.dynamic[i]
        world = unproject(scene.depth[i : i + 1].to(torch.float64), scene.cameras[i : i + 1])[0]
        frame = scene.video.frames[i].permute(1, 2, 0).contiguous().numpy()
        small = torch.from_numpy(cv2.resize(frame, (w, h), interpolation=cv2.INTER_AREA))
        keep = keep[::step, ::step]
        points.append(transform_points(view_from_world, world[::step, ::step][keep]).numpy())
        colors.append(small[::step, ::step][keep].numpy())
    return np.concatenate(points), np.concatenate(colors)


def _views(
    points: np.ndarray, centers: np.ndarray, focus: np.ndarray | None, height: int, width: int
) -> list[_View]:
    """Two panels to one scale that hold all cameras, the focus and most of the scene near it."""
    cameras = centers if focus is None else np.concatenate([centers, focus])
    low, high = cameras.min(0), cameras.max(0)
    reach = float(np.linalg.norm(high - low))
    if reach < 1e-9:
        reach = 1.0
    if len(points):
        near = points[points[:, 2] < high[2] + 1.2 * reach]
        if len(near):
            low = np.minimum(low, np.maximum(np.quantile(near, 0.03, axis=0), low - 0.6 * reach))
            high = np.maximum(high, np.minimum(np.quantile(near, 0.97, axis=0), high + 0.6 * reach))
    low, high = low - 0.12 * reach, high + 0.12 * reach
    middle, extent = (low + high) / 2, high - low
    top = (_MARGIN, _TOP, (width - 3 * _MARGIN) // 2, height - _TOP - _FOOT)
    side = (2 * _MARGIN + top[2], *top[1:])
    scale = min(
        top[2] / extent[0], top[3] / extent[2], side[2] / extent[2], side[3] / max(extent[1], 1e-9)
    )
    return [
        _View("from above (up = forward)", 0, 2, 1.0, top, middle, scale),
        _View("from the side (right = forward)", 2, 1, -1.0, side, middle, scale),
    ]


def _draw_grid(image: np.ndarray, view: _View) -> None:
    """Lines at round steps of 1, 2 or 5 units, with their distance written."""
    left, top, width, height = view.box
    raw = width / view.px_per_unit / 5
    power = 10 ** np.floor(np.log10(raw))
    step = float(power * min((1, 2, 5, 10), key=lambda m: abs(m * power - raw)))
    for axis, span in ((view.right, width), (view.up, height)):
        reach = span / view.px_per_unit / 2
        first = np.ceil((view.middle[axis] - reach) / step)
        last = np.floor((view.middle[axis] + reach) / step)
        for k in np.arange(first, last + 1):
            point = view.middle.copy()[None]
            point[0, axis] = k * step
            x, y = view.place(point)[0]
            if axis == view.right:
                cv2.line(image, (int(x), top), (int(x), top + height), GRID, 1)
                _text(
                    image,
                    f"{k * step + 0.0:.4g}",
                    (int(x) + 3, top + height - 6),
                    0.36,
                    (150, 150, 150),
                )
            else:
                cv2.line(image, (left, int(y)), (left + width, int(y)), GRID, 1)


def _draw_points(image: np.ndarray, view: _View, points: np.ndarray, colors: np.ndarray) -> None:
    """Farther from the viewer first, so that the top (or the right side) hides what is under it."""
    if len(points) == 0:
        return
    # From above the viewer is at −y; from the side at the right, looking to −x.
    towards = -points[:, 1] if view.right == 0 else points[:, 0]
    order = np.argsort(towards)
    uv = view.place(points[order]).round().astype(int)
    height, width = image.shape[:2]
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = uv[:, 0] + dx, uv[:, 1] + dy
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        # Paler than the pixels, so that lines over them can be read.
        pale = (0.62 * colors[order][inside] + 0.38 * np.array(PAPER)).astype(np.uint8)
        image[y[inside], x[inside]] = pale


def _draw_cameras(
    image: np.ndarray, view: _View, cameras: Cameras, view_from_world: Tensor, color: Color,
    size: float, ticks: bool,
) -> None:  # fmt: skip
    """The line of centres, a viewing pyramid at about eight of them, and frame numbers."""
    centers = view.place(_centers(cameras, view_from_world))
    _line(image, centers, color, 2)
    n = len(cameras)
    picked = sorted({round(i) for i in np.linspace(0, n - 1, min(n, 8))})
    for i in picked:
        corners = view.place(_pyramid(cameras[i : i + 1], view_from_world, size))
        for k in range(4):
            _line(image, corners[[0, k + 1]], color, 1)
        _line(image, corners[[1, 2, 3, 4, 1]], color, 1)
    if ticks:
        last: np.ndarray | None = None
        for i in picked:
            if last is None or np.linalg.norm(centers[i] - last) > 26 or i == n - 1:
                dot = (round(centers[i, 0]), round(centers[i, 1]))
                cv2.circle(image, dot, 4, color, -1, cv2.LINE_AA)
                crowded = last is not None and np.linalg.norm(centers[i] - last) <= 26
                if not crowded:
                    _text(image, str(i), (dot[0] + 7, dot[1] + 14), 0.42, color)
                    last = centers[i]


def _pyramid(camera: Cameras, view_from_world: Tensor, size: float) -> np.ndarray:
    """Centre and four image corners [5, 3] of a camera, as deep as ``size``."""
    h, w = camera.height, camera.width
    pixels = torch.tensor([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], dtype=torch.float64)
    rays = pixels @ torch.linalg.inv(camera.intrinsics[0]).T
    in_camera = torch.cat([torch.zeros(1, 3, dtype=torch.float64), size * rays])
    return transform_points(view_from_world @ camera.world_from_cam[0], in_camera).numpy()


def _draw_focus(image: np.ndarray, view: _View, focus: np.ndarray) -> None:
    x, y = view.place(focus)[0].round().astype(int)
    cv2.line(image, (x - 8, y), (x + 8, y), FOCUS, 2, cv2.LINE_AA)
    cv2.line(image, (x, y - 8), (x, y + 8), FOCUS, 2, cv2.LINE_AA)
    _text(image, "focus", (x + 10, y - 6), 0.42, FOCUS)


def _draw_summary(
    image: np.ndarray, source: Cameras, path: CameraPath, focus_depth: float | None,
    scene: Scene | None,
) -> None:  # fmt: skip
    """Legend, and how far the path leads away from the source's cameras."""
    y = image.shape[0] - _FOOT + 22
    x = _MARGIN
    for label, color in (("source cameras", SOURCE), ("new cameras", TARGET)):
        cv2.line(image, (x, y - 5), (x + 26, y - 5), color, 3, cv2.LINE_AA)
        x = _text(image, label, (x + 34, y), 0.5, INK) + 24
    _text(image, path_summary(source, path, focus_depth, scene), (_MARGIN, y + 26), 0.5, INK)


def _draw_never_seen(image: np.ndarray, shares: np.ndarray) -> None:
    """A bar for every frame in the foot's upper right, and what the largest one stands for."""
    height, width = image.shape[:2]
    tall, base = 30, height - _FOOT + 34
    left, right = round(0.62 * width), width - _MARGIN
    most = float(shares.max())
    _text(
        image, f"never seen, up to {100 * most:.1f} %", (round(0.47 * width), base - 12), 0.5, INK
    )
    edges = np.linspace(left, right, len(shares) + 1).round().astype(int)
    for share, start, end in zip(shares, edges[:-1], edges[1:]):
        top = base - round(tall * float(share) / most) if most > 0 else base
        cv2.rectangle(image, (int(start), top), (max(int(end) - 2, int(start)), base), FOCUS, -1)
    cv2.line(image, (left, base), (right, base), INK, 1)


def path_summary(
    source: Cameras, path: CameraPath, focus_depth: float | None, scene: Scene | None = None
) -> str:
    """One line: shift, turn and zoom from the source's cameras at most, and the path's length."""
    seen = source[path.source_frames]
    away = (path.cameras.centers - seen.centers).norm(dim=1)
    turned = rotation_angle_deg(
        path.cameras.cam_from_world[:, :3, :3], seen.cam_from_world[:, :3, :3]
    )
    travel = float((path.cameras.centers[1:] - path.cameras.centers[:-1]).norm(dim=1).sum())
    zoom = path.cameras.intrinsics[:, 0, 0] / seen.intrinsics[:, 0, 0]
    scale = None if scene is None else scene.metres_per_unit
    unit = "units" if scale is None else "m"
    factor = 1.0 if scale is None else scale
    parts = [
        f"at most {float(away.max()) * factor:.3g} {unit} and {float(turned.max()):.3g} deg "
        "from the source",
        f"travels {travel * factor:.3g} {unit}",
    ]
    if focus_depth is not None:
        parts.append(f"focus at {focus_depth * factor:.3g} {unit}")
    if float((zoom - 1).abs().max()) > 1e-6:
        parts.append(f"zoom {float(zoom.min()):.3g} to {float(zoom.max()):.3g}")
    frames = path.source_frames
    if len(path) > 1 and bool((frames == frames[0]).all()):
        parts.append(f"time held at frame {int(frames[0])}")
    return "; ".join(parts)


def _line(image: np.ndarray, points: np.ndarray, color: Color, thickness: int) -> None:
    # Fixed-point coordinates with 4 fractional bits; far ones are cut off before they overflow.
    fixed = np.clip(points * 16, -(2**24), 2**24).round().astype(np.int32)
    cv2.polylines(image, [fixed.reshape(-1, 1, 2)], False, color, thickness, cv2.LINE_AA, 4)


def _text(image: np.ndarray, text: str, at: tuple[int, int], scale: float, color: Color) -> int:
    """Write a line (ASCII) with a pale rim; returns the x where it ends."""
    cv2.putText(image, text, at, _FONT, scale, PAPER, 4, cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, scale, color, 1, cv2.LINE_AA)
    return at[0] + cv2.getTextSize(text, _FONT, scale, 1)[0][0]
