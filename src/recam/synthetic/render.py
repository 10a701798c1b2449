"""Pictures and exact ground truth of synthetic scenes, for any camera at any time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from recam.geometry import pixel_centers, project, se3_inverse, transform_points, unproject
from recam.runtime.parallel import parallel_map
from recam.runtime.threads import one_torch_thread
from recam.synthetic.raycast import (
    MISS,
    NOTHING,
    Views,
    camera_views,
    cast,
    cast_points,
    hit_keys,
    unpack_keys,
)
from recam.synthetic.scene import (
    SHAPES,
    SyntheticScene,
    part_is_dynamic,
    part_object_ids,
    world_from_parts,
)
from recam.synthetic.shading import Look, develop, prepare_look, shade, sky_colors
from recam.synthetic.surface import Points
from recam.types import Cameras, Progress, no_progress

SKY_DEPTH = 1e4
"""z-depth written for the sky, in metres: so far that no camera move in a scene shifts it by a
tenth of a pixel."""

_SUBPIXELS = ((0.125, 0.625), (0.375, 0.125), (0.625, 0.875), (0.875, 0.375))  # a rotated grid


@dataclass(frozen=True)
class SyntheticFrames:
    """t pictures with their truth. Geometry is that at pixel centres, never blended.

    frames: uint8 [t, 3, h, w] sRGB, anti-aliased. depth: float32 [t, h, w] z-depth in metres,
    SKY_DEPTH for the sky. object_ids: int32 [t, h, w], 0 = sky, else 1 + index into
    SyntheticScene.object_names. part_ids: int32 [t, h, w], index into SyntheticScene.parts, −1 =
    sky. dynamic: bool [t, h, w], True where the surface moves in the world.
    """

    frames: Tensor
    depth: Tensor
    object_ids: Tensor
    part_ids: Tensor
    dynamic: Tensor


def render_synthetic(
    scene: SyntheticScene,
    cameras: Cameras,
    times_s: Tensor,
    device: str | torch.device = "cpu",
    max_pixels: int | None = None,
    progress: Progress = no_progress,
) -> SyntheticFrames:
    """What the scene looks like to each camera [t] at the time of the same index [t].

    Runs on ``device`` and leaves the result there. max_pixels: frames are worked on together up to
    this many pixels (default 2^17 on a CPU, 2^21 on CUDA); it changes speed and memory, not the
    result.
    Raises ValueError when there is not one time per camera.
    """
    where = torch.device(device)
    chunks = _chunks(cameras, times_s, max_pixels, where)
    parts: list[tuple[Tensor, ...]] = []
    workers = None if where.type == "cpu" else 1
    with one_torch_thread():
        look = prepare_look(scene, where)
        poses = world_from_parts(scene, times_s)

        def job(chunk: slice) -> tuple[Tensor, ...]:
            views = camera_views(scene, cameras[chunk], poses[chunk], where)
            keys = cast(views)
            return (_colors(look, views, keys), *_geometry(scene, keys))

        for chunk, part in zip(chunks, parallel_map(job, chunks, workers)):
            progress("render", chunk.start, len(cameras))
            parts.append(part)
    progress("render", len(cameras), len(cameras))
    return SyntheticFrames(*(torch.cat(column) for column in zip(*parts)))


def cast_synthetic(
    scene: SyntheticScene,
    cameras: Cameras,
    times_s: Tensor,
    device: str | torch.device = "cpu",
    max_pixels: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Only the geometry: depth, object_ids, part_ids, dynamic as in SyntheticFrames."""
    where = torch.device(device)
    chunks = _chunks(cameras, times_s, max_pixels, where)
    poses = world_from_parts(scene, times_s)
    parts = []
    with one_torch_thread():
        for chunk in chunks:
            views = camera_views(scene, cameras[chunk], poses[chunk], where)
            parts.append(_geometry(scene, cast(views)))
    depth, object_ids, part_ids, dynamic = (torch.cat(column) for column in zip(*parts))
    return depth, object_ids, part_ids, dynamic


def _chunks(
    cameras: Cameras, times_s: Tensor, max_pixels: int | None, device: torch.device
) -> list[slice]:
    if len(cameras) != len(times_s):
        raise ValueError(
            f"got {len(cameras)} cameras and {len(times_s)} times; give one time for each camera"
        )
    if not len(cameras):
        raise ValueError("got no cameras; give at least one")
    if max_pixels is None:
        max_pixels = 1 << (17 if device.type == "cpu" else 21)
    step = max(1, max_pixels // (cameras.height * cameras.width))
    return [slice(i, min(i + step, len(cameras))) for i in range(0, len(cameras), step)]


def _geometry(scene: SyntheticScene, keys: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    depth, part, _ = unpack_keys(keys)
    hit = ~depth.isinf()
    part = torch.where(hit, part, torch.zeros_like(part))
    flat = part.flatten()
    ids = part_object_ids(scene).to(keys.device).index_select(0, flat).view_as(part)
    moves = part_is_dynamic(scene).to(keys.device).index_select(0, flat).view_as(part)
    depth = torch.where(hit, depth, torch.full_like(depth, SKY_DEPTH))
    part = torch.where(hit, part, torch.full_like(part, -1))
    return depth, ids * hit, part.to(torch.int32), moves & hit


def _colors(look: Look, views: Views, keys: Tensor) -> Tensor:
    """uint8 [v, 3, h, w]: shaded at pixel centres, at four points where pixels hold an edge."""
    v, h, w = keys.shape
    device = keys.device
    view = torch.arange(v, device=device).repeat_interleave(h * w)
    y = (torch.arange(h, device=device) + 0.5).repeat_interleave(w).repeat(v)
    x = (torch.arange(w, device=device) + 0.5).repeat(v * h)
    edge = _edge_pixels(keys)
    sub_keys, sub_x, sub_y = _subpixel_keys(views, keys, edge, view[edge], x[edge], y[edge])
    # Where a sample sees the same face as the centre, the centre's colour serves.
    other = ((sub_keys & 0xFFFFF) != (keys.flatten()[edge] & 0xFFFFF)[:, None]).flatten()
    again = other.nonzero()[:, 0]
    sub_view = view[edge].repeat_interleave(len(_SUBPIXELS))
    linear = _shade_keys(
        look,
        views,
        torch.cat([keys.flatten(), sub_keys.flatten()[again]]),
        torch.cat([view, sub_view[again]]),
        torch.cat([x, sub_x.flatten()[again]]),
        torch.cat([y, sub_y.flatten()[again]]),
    )
    # Blended as displayed, as a scaled-down picture is: bright sky does not eat dark edges.
    shown = develop(linear, look.scene.lighting.exposure)
    centre, extra = shown[:, : v * h * w], shown[:, v * h * w :]
    samples = centre[:, edge].repeat_interleave(len(_SUBPIXELS), 1)
    samples[:, again] = extra
    blended = samples.view(3, -1, len(_SUBPIXELS)).mean(-1)
    centre = centre.index_copy(1, edge, blended)
    picture = (centre + 0.5).to(torch.uint8)
    return picture.view(3, v, h, w).transpose(0, 1).contiguous()


def _edge_pixels(keys: Tensor) -> Tensor:
    """Flat indices of pixels whose 3 × 3 neighbourhood holds more than one face."""
    code = (keys & 0xFFFFF).float()[:, None]
    code = F.pad(code, (1, 1, 1, 1), mode="replicate")
    highest, lowest = F.max_pool2d(code, 3, 1), -F.max_pool2d(-code, 3, 1)
    return (highest != lowest).flatten().nonzero()[:, 0]


def _subpixel_keys(
    views: Views, keys: Tensor, edge: Tensor, view: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Hits [e, 4] at the sub-pixels of e edge pixels, among the parts seen around them."""
    device = keys.device
    _, h, w = keys.shape
    _, part, _ = unpack_keys(keys)
    part = part.masked_fill(keys >= MISS, -1)
    around = F.pad(part.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0].to(torch.int32)
    stride = w + 2
    corner = (view * (h + 2) + y.long()) * stride + x.long()
    flat = around.flatten()
    seen: list[Tensor] = []
    pairs_pixel, pairs_part = [], []
    for dy in range(3):
        for dx in range(3):
            candidate = flat.index_select(0, corner + dy * stride + dx)
            new = candidate >= 0
            for earlier in seen:
                new = new & (candidate != earlier)
            seen.append(candidate)
            chosen = new.nonzero()[:, 0]
            pairs_pixel.append(chosen)
            pairs_part.append(candidate.index_select(0, chosen).long())
    pixel, candidates = torch.cat(pairs_pixel), torch.cat(pairs_part)
    offset = torch.tensor(_SUBPIXELS, device=device) - 0.5
    sub_x, sub_y = x[:, None] + offset[:, 0], y[:, None] + offset[:, 1]
    found = torch.full((len(edge), len(_SUBPIXELS)), NOTHING, device=device)
    shape = views.shape.to(device).index_select(0, candidates)
    for kind in range(len(SHAPES)):
        rows = (shape == kind).nonzero()[:, 0]
        of, which = pixel.index_select(0, rows), candidates.index_select(0, rows)
        pair = view.index_select(0, of) * views.num_parts + which
        hits = hit_keys(views, kind, pair, sub_x.index_select(0, of), sub_y.index_select(0, of))
        found.scatter_reduce_(0, of[:, None].expand_as(hits), hits, "amin")
    return found.masked_fill_(found >= MISS, NOTHING), sub_x, sub_y


def _shade_keys(
    look: Look, views: Views, keys: Tensor, view: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Linear colours [3, k] of hits and misses."""
    depth, part, face = unpack_keys(keys)
    missed = depth.isinf()
    out = torch.zeros(3, len(keys), device=keys.device)
    hit, sky = (~missed).nonzero()[:, 0], missed.nonzero()[:, 0]
    if len(hit):
        picked = (t.index_select(0, hit) for t in (view, part, face, x, y, depth))
        out.index_copy_(1, hit, shade(look, views, Points(*picked)))
    if len(sky):
        picked = (t.index_select(0, sky) for t in (view, x, y))
        out.index_copy_(1, sky, sky_colors(look, views, *picked))
    return out


def optical_flow(
    scene: SyntheticScene,
    truth: SyntheticFrames,
    cameras: Cameras,
    times_s: Tensor,
    cameras_b: Cameras,
    times_b_s: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where the surface seen at each pixel is in another picture, exactly.

    truth: as rendered for cameras [t] at times_s [t]. cameras_b [t], times_b_s [t]: the other
    pictures, of any size. Returns flow float32 [t, h, w, 2] = uv_px there − uv_px here, and
    visible bool [t, h, w]: in that picture and not hidden there. The sky counts as infinitely far.
    """
    if not len(cameras) == len(cameras_b) == len(times_s) == len(times_b_s):
        raise ValueError(
            f"optical_flow got {len(cameras)} and {len(cameras_b)} cameras, {len(times_s)} and "
            f"{len(times_b_s)} times; give the same number of each"
        )
    device = truth.depth.device
    world = unproject(truth.depth.double().cpu(), cameras)
    t, h, w, _ = world.shape
    part = truth.part_ids.long().cpu().view(t, -1)
    poses_b = world_from_parts(scene, times_b_s)
    step = poses_b @ se3_inverse(world_from_parts(scene, times_s))
    moving = part_is_dynamic(scene)
    step[:, ~moving] = torch.eye(4, dtype=torch.float64)
    frame = torch.arange(t)[:, None].expand(t, h * w)
    points = world.view(t, h * w, 3)
    moved = points.clone()
    dynamic = truth.dynamic.cpu().view(t, -1)
    motion = step[frame[dynamic], part[dynamic]]
    moved[dynamic] = transform_points(motion, points[dynamic][:, None])[:, 0]
    # A direction instead of a place: rotated only.
    sky = part < 0
    shift = (cameras_b.centers - cameras.centers)[:, None].expand(t, h * w, 3)
    moved[sky] += shift[sky]
    uv_b, depth_b = project(moved, cameras_b)
    inside = (depth_b > 0) & (uv_b >= 0).all(-1)
    inside &= (uv_b[..., 0] < cameras_b.width) & (uv_b[..., 1] < cameras_b.height)
    views = camera_views(scene, cameras_b, poses_b, device)
    rows = inside.flatten().nonzero()[:, 0]
    uv = uv_b.view(-1, 2)[rows].float().to(device)
    nearest, _, _ = unpack_keys(cast_points(views, frame.reshape(-1)[rows].to(device), uv))
    # The point itself is found again; only what is clearly nearer than it hides it.
    expected = depth_b.flatten()[rows].to(device)
    free = nearest.double() > expected * (1 - 2e-4) - 1e-3
    visible = torch.zeros(t * h * w, dtype=torch.bool)
    visible[rows] = free.cpu()
    flow = (uv_b.view(t, h, w, 2) - pixel_centers(h, w, torch.float64)).float()
    return flow.to(device), visible.view(t, h, w).to(device)
