"""Pictures with true depth to learn depth from: views into random scenes, taken by all sorts of
cameras, with things put right before them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recam.geometry import intrinsics_from_fov, look_at, so3_exp
from recam.synthetic import cast_synthetic, render_synthetic, sample_scene, with_natural_textures
from recam.synthetic.cameras import clearances
from recam.synthetic.fast_render import Bank, fast_render
from recam.synthetic.figures import person
from recam.synthetic.motion import Route, place
from recam.synthetic.props import choose, limb, material, small_thing, turned
from recam.synthetic.scene import SceneBuilder, SceneKind, Shape, SyntheticScene
from recam.synthetic.textures import TextureKind
from recam.types import Cameras

FIRST_SEED = 30_000_000
"""Far from the seeds of scenes that anything is measured on."""
HELDOUT_SEED = 900_000
TRAINED: tuple[SceneKind, ...] = ("room", "street", "park", "room")
LEFT_OUT: SceneKind = "hall"
"""The layout that is never trained on."""
CANDIDATES = 32
LAST_S = 4.0
"""Views are taken at any time up to this one."""
CLEAR_M = 0.3
OWN_TEXTURE = 0.6
"""Part of the surfaces that look like what they are when scenes are painted from a bank."""
_UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)


@dataclass(frozen=True)
class DepthViews:
    """frames uint8 [n, 3, h, w]; depth float32 [n, h, w], z-depth in metres, SKY_DEPTH for the sky;
    focal_px float32 [n]; scene int64 [n], the seed of each view's scene."""

    frames: Tensor
    depth: Tensor
    focal_px: Tensor
    scene: Tensor

    def __len__(self) -> int:
        return len(self.frames)


def depth_views(
    seed: int,
    num_views: int = 4,
    height: int = 144,
    width: int = 216,
    kind: SceneKind | None = None,
    props: bool = True,
    device: str | torch.device = "cpu",
    bank: Bank | None = None,
) -> DepthViews:
    """Up to num_views pictures of the scene of a seed, each by a camera and at a time of its own.

    Lenses of 18–100 mm (full frame), eyes from knee height up, tilted and rolled at times; in most
    views something stands near: a table full of things, a person, a heap of shapes, thin rods.
    kind: the layout, None = one of TRAINED by the seed. props: False leaves out what stands near.
    bank: drawn by the fast renderer with textures from there, other ones in each view.
    """
    rng = np.random.default_rng([31, seed])
    scene = sample_scene(seed, kind or TRAINED[seed % len(TRAINED)])
    if rng.random() < 0.6:
        scene = with_natural_textures(scene, seed, rng.uniform(0.1, 0.6))
    cameras, times_s = _free_cameras(scene, rng, height, width)
    cameras, times_s = cameras[:num_views], times_s[:num_views]
    if props:
        scene = _furnished(scene, rng, cameras)
    if bank is None:
        truth = render_synthetic(scene, cameras, times_s, device)
        frames, depth = truth.frames.cpu(), truth.depth.cpu()
    else:
        textures = _repainted(scene, rng, bank, len(cameras))
        frames, depth = (
            torch.from_numpy(x) for x in fast_render(scene, cameras, times_s, bank, rng, textures)
        )
    good = _worth_learning(depth)
    number = torch.full((int(good.sum()),), seed, dtype=torch.int64)
    focal_px = cameras.intrinsics[good, 0, 0].float()
    return DepthViews(frames[good], depth[good], focal_px, number)


def _repainted(
    scene: SyntheticScene, rng: np.random.Generator, bank: Bank, num_views: int
) -> np.ndarray:
    """A texture of the bank for each view and material [num_views, materials]: of the material's
    own kind for the most part, else any."""
    names = np.array(bank.names)
    out = rng.integers(len(names), size=(num_views, len(scene.materials)))
    for m, material_ in enumerate(scene.materials):
        own = np.flatnonzero(names == material_.texture.kind)
        keeps = rng.random(num_views) < (OWN_TEXTURE if len(own) else 0.0)
        out[keeps, m] = rng.choice(own, int(keeps.sum())) if len(own) else 0
    return out


def many_depth_views(seeds: range, height: int, width: int, views: int = 4) -> Iterator[DepthViews]:
    """``depth_views`` of scene after scene; those that leave a camera no room are left out."""
    for seed in seeds:
        found = depth_views(seed, views, height, width)
        if len(found):
            yield found


def _free_cameras(
    scene: SyntheticScene, rng: np.random.Generator, height: int, width: int
) -> tuple[Cameras, Tensor]:
    """Cameras that stand in nothing, those first that see more than a wall, and their times."""
    stage = scene.stage
    low, high = np.array(stage.low), np.array(stage.high)
    outside = scene.kind in ("street", "park")
    spread = (high - low) * (np.array([1.4, 1.0, 1.4]) if outside else 1.0)
    eyes = (low + high) / 2 + (rng.uniform(-0.5, 0.5, (CANDIDATES, 3))) * spread
    eyes[:, 1] = -np.where(
        rng.random(CANDIDATES) < 0.75, rng.uniform(1.0, 1.9, CANDIDATES),
        rng.uniform(0.35, max(-low[1], 2.2), CANDIDATES),
    )  # fmt: skip
    times_s = torch.from_numpy(rng.uniform(0, LAST_S, CANDIDATES))
    free = clearances(scene, torch.from_numpy(eyes), times_s) > CLEAR_M
    eyes, times_s = eyes[free.numpy()], times_s[free]
    poses = [_pose(rng, eye, np.array(stage.center), stage.radius) for eye in eyes]
    if not poses:
        empty = torch.zeros(0, 4, 4, dtype=torch.float64)
        return Cameras(empty, empty[:, :3, :3], height, width), times_s
    fovs = [2 * math.atan(18 / math.exp(rng.uniform(math.log(18), math.log(100)))) for _ in poses]
    k = torch.stack([intrinsics_from_fov(math.degrees(fov), height, width) for fov in fovs])
    cameras = Cameras(torch.stack(poses), k, height, width)
    depth, _, _, _ = cast_synthetic(scene, cameras.resized(16, 24), times_s)
    index = (_worth_learning(depth)).nonzero()[:, 0]
    return cameras[index], times_s[index]


def _pose(rng: np.random.Generator, eye: np.ndarray, center: np.ndarray, radius: float) -> Tensor:
    """cam_from_world [4, 4]: at the action in half of the cases, else anywhere; level mostly."""
    if rng.random() < 0.5:
        target = center + rng.normal(0, 0.5, 3) * radius * np.array([1, 0.3, 1])
    else:
        yaw, pitch = rng.uniform(0, 2 * math.pi), rng.normal(-0.08, 0.2)
        if rng.random() < 0.2:
            pitch = rng.uniform(-0.9, 0.25)
        flat = math.cos(pitch)
        target = eye + 3 * np.array([flat * math.sin(yaw), -math.sin(pitch), flat * math.cos(yaw)])
    pose = look_at(torch.from_numpy(eye), torch.from_numpy(target), _UP)
    roll = rng.normal(0, 0.03 if rng.random() < 0.8 else 0.15)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = so3_exp(torch.tensor([0.0, 0.0, roll], dtype=torch.float64))
    return turn @ pose


def _worth_learning(depth: Tensor) -> Tensor:
    """bool [n]: whether z-depth [n, h, w] is more than sky, one flat wall or something at the
    lens."""
    flat = depth.flatten(1)
    sky = (flat > 500).float().mean(1)
    near = (flat < 0.3).float().mean(1)
    log = flat.clamp(max=60).log()
    quantiles = log.quantile(torch.tensor([0.05, 0.95], device=depth.device), dim=1)
    return (sky < 0.75) & (near < 0.1) & (quantiles[1] - quantiles[0] > 0.25)


def _furnished(scene: SyntheticScene, rng: np.random.Generator, cameras: Cameras) -> SyntheticScene:
    """The scene with something near before two cameras of three."""
    b = SceneBuilder()
    b.parts, b.bodies = list(scene.parts), list(scene.bodies)
    b.materials, b.object_names = list(scene.materials), list(scene.object_names)
    for world_from_cam, k in zip(cameras.world_from_cam, cameras.intrinsics):
        tangent = cameras.width / 2 / float(k[0, 0])
        match int(rng.integers(8)):
            case 0 | 1:
                _laid_table(b, rng, world_from_cam, tangent)
            case 2 | 3:
                _someone(b, rng, world_from_cam, tangent)
            case 4:
                _heap(b, rng, world_from_cam, tangent)
            case 5:
                _rods(b, rng, world_from_cam, tangent)
            case _:
                continue
    return replace(
        scene, parts=tuple(b.parts), bodies=tuple(b.bodies), materials=tuple(b.materials),
        object_names=tuple(b.object_names),
    )  # fmt: skip


_SURFACES: tuple[TextureKind, ...] = (
    "wood", "planks", "metal", "fabric", "marble", "pattern", "page", "stripes", "picture",
    "deadleaves", "plaster", "panels", "concrete", "leaves", "rug", "rock",
)  # fmt: skip


def _flat_frame(world_from_cam: Tensor, ahead: float, aside: float) -> tuple[float, float, float]:
    """x, z in the world so far ahead of and beside a camera on the level, and its heading."""
    forward = world_from_cam[:3, 2]
    heading = math.atan2(float(forward[0]), float(forward[2]))
    x = float(world_from_cam[0, 3]) + ahead * math.sin(heading) + aside * math.cos(heading)
    z = float(world_from_cam[2, 3]) + ahead * math.cos(heading) - aside * math.sin(heading)
    return x, z, heading


def _laid_table(
    b: SceneBuilder, rng: np.random.Generator, world_from_cam: Tensor, tangent: float
) -> None:
    """A table top below the camera with boxes, cups, books, balls and rods on it."""
    reach = rng.uniform(0.5, 1.6)
    drop = reach * rng.uniform(0.15, 0.9)
    x, z, heading = _flat_frame(world_from_cam, reach, 0.0)
    top = float(world_from_cam[1, 3]) + drop
    body = b.still("table", place(x, top, z, heading + rng.uniform(-0.5, 0.5)))
    half = reach * rng.uniform(0.5, 1.5), reach * rng.uniform(0.4, 0.9)
    skin = material(rng, choose(rng, *_SURFACES), rng.uniform(0.4, 1.2), (0.5, 1.15))
    b.part("box", (half[0], 0.02, half[1]), body, (0, 0.02, 0), skin)
    for _ in range(int(rng.integers(3, 14))):
        at = rng.uniform(-0.9, 0.9, 2) * half
        if rng.random() < 0.5:
            small_thing(b, rng, body, at[0], 0.0, at[1])
        else:
            size = reach * rng.uniform(0.03, 0.22, 3)
            pose = turned(at[0], -size[1], at[1], ry=rng.uniform(0, 3.1))
            _any_shape(b, rng, body, pose, size)


def _any_shape(
    b: SceneBuilder, rng: np.random.Generator, body: int, pose: Tensor, size: np.ndarray
) -> None:
    shapes: tuple[Shape, ...] = ("box", "rounded", "ellipsoid", "frustum", "box", "ellipsoid")
    shape = shapes[int(rng.integers(len(shapes)))]
    radius = {"rounded": 0.6 * float(size.min()), "frustum": rng.uniform(0.2, 1.2)}.get(shape, 0.0)
    kind = choose(rng, *_SURFACES)
    skin = material(rng, kind, rng.uniform(0.15, 0.8), (0.3, 1.2), rng.uniform(0, 0.3))
    three = (float(size[0]), float(size[1]), float(size[2]))
    b.part(shape, three, body, pose, skin, radius)


def _someone(
    b: SceneBuilder, rng: np.random.Generator, world_from_cam: Tensor, tangent: float
) -> None:
    """One to three people before the camera, near ones cut off by the picture's lower edge."""
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        ahead = rng.uniform(0.7, 2.0) / max(tangent, 0.35) * rng.choice([0.7, 1.0, 2.0])
        x, z, heading = _flat_frame(world_from_cam, ahead, rng.normal(0, 0.35) * tangent * ahead)
        # Their eyes about as high as the camera, whatever it stands on.
        level = float(world_from_cam[1, 3]) + rng.uniform(1.3, 1.75)
        facing = heading + math.pi + rng.normal(0, 0.9)
        person(b, rng, Route(x, z, facing, 0.02, 0.0, min(level, 0.3)))


def _heap(
    b: SceneBuilder, rng: np.random.Generator, world_from_cam: Tensor, tangent: float
) -> None:
    """Shapes of all sizes in the air, anywhere in view."""
    body = b.still("heap", world_from_cam)
    for _ in range(int(rng.integers(4, 25))):
        z = math.exp(rng.uniform(math.log(0.8), math.log(8.0)))
        x, y = rng.uniform(-1.0, 1.0, 2) * np.array([tangent, 0.66 * tangent]) * z
        size = z * tangent * rng.uniform(0.03, 0.3) * np.exp(rng.normal(0, 0.5, 3))
        _any_shape(b, rng, body, turned(x, y, z, *rng.uniform(-1.5, 1.5, 3)), size)


def _rods(
    b: SceneBuilder, rng: np.random.Generator, world_from_cam: Tensor, tangent: float
) -> None:
    """Thin poles, wires and bars across the view."""
    body = b.still("rods", world_from_cam)
    skin = material(rng, choose(rng, "metal", "wood", "bark", "stripes"), 0.4, (0.2, 1.1))
    for _ in range(int(rng.integers(2, 9))):
        z = rng.uniform(0.9, 6.0)
        middle = rng.uniform(-0.9, 0.9, 2) * np.array([tangent, 0.5 * tangent]) * z
        lean = math.pi / 2 * int(rng.integers(2)) + rng.normal(0, 0.25)
        half = z * tangent * rng.uniform(0.5, 1.6)
        step = half * np.array([math.sin(lean), math.cos(lean), rng.normal(0, 0.2)])
        start, end = np.array([*middle, z]) - step, np.array([*middle, z]) + step
        if min(start[2], end[2]) < 0.5:
            continue
        thick = z * tangent * rng.uniform(0.004, 0.03)
        limb(b, body, tuple(start.tolist()), tuple(end.tolist()), thick, skin)
