"""Synthetic scenes: exact geometry, agreement between views, determinism."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from recam.geometry import intrinsics_from_fov, look_at, pixel_centers, project, unproject
from recam.synthetic import (
    CAMERA_KINDS,
    SCENE_KINDS,
    SKY_DEPTH,
    SceneKind,
    SyntheticScene,
    cast_synthetic,
    demo_clip,
    optical_flow,
    render_synthetic,
    sample_cameras,
    sample_scene,
    synthetic_clip,
    true_view,
)
from recam.synthetic.cameras import CLEARANCE_M, clearance
from recam.synthetic.motion import Bounce, Follow, Gait, Route, Still, Walk, place, world_from_body
from recam.synthetic.movers import CLEAR_S
from recam.synthetic.props import material, turned
from recam.synthetic.scene import (
    Part,
    SceneBuilder,
    Shape,
    part_is_dynamic,
    part_object_ids,
    world_from_parts,
)
from recam.types import CameraPath, Cameras

UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)


def _vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _scene_of(*parts: tuple) -> SyntheticScene:
    """A lit, empty world with some parts: (shape, size, radius, pose)."""
    import numpy as np

    b = SceneBuilder()
    skin = material(np.random.default_rng(0), "brick", 0.8)
    for shape, size, radius, pose in parts:
        body = b.body(Still(torch.eye(4, dtype=torch.float64)), b.object(shape))
        b.part(shape, size, body, pose, skin, radius)
    empty = sample_scene(0, "park")
    return dataclasses.replace(
        empty,
        parts=tuple(b.parts),
        bodies=tuple(b.bodies),
        materials=tuple(b.materials),
        object_names=tuple(b.object_names),
    )


def _camera(
    eye: Tensor, target: Tensor, size: tuple[int, int] = (48, 64), fov: float = 50.0
) -> Cameras:
    k = intrinsics_from_fov(fov, *size)[None]
    return Cameras(look_at(eye, target, UP)[None], k, *size)


def _distance(part: Part, points: Tensor) -> Tensor:
    """How far world points [k, 3] of a still part are from its surface, to first order."""
    pose = part.body_from_part
    q = (points - pose[:3, 3]) @ pose[:3, :3]
    size = torch.tensor(part.size, dtype=q.dtype)
    match part.shape:
        case "box":
            return (q.abs() - size).amax(-1)
        case "rounded":
            core = (size - part.radius).clamp(min=0)
            return (q.abs() - core).clamp(min=0).norm(dim=-1) - part.radius
        case "ellipsoid":
            return ((q / size).norm(dim=-1) - 1) * size.amin()
        case _:
            ratio = part.radius
            y = q[:, 1] / size[1]
            radius = 0.5 * (1 + ratio) + 0.5 * (1 - ratio) * y
            around = torch.hypot(q[:, 0] / size[0], q[:, 2] / size[2])
            return torch.maximum(around - radius, y.abs() - 1) * float(size.amin())


SHAPES: list[tuple[Shape, tuple[float, float, float], float]] = [
    ("box", (0.5, 0.3, 0.7), 0.0),
    ("rounded", (0.5, 0.4, 0.3), 0.15),
    ("rounded", (0.2, 0.8, 0.2), 0.2),
    ("ellipsoid", (0.6, 0.3, 0.4), 0.0),
    ("frustum", (0.4, 0.6, 0.4), 1.0),
    ("frustum", (0.5, 0.5, 0.3), 0.3),
]


def test_foliage_has_gaps_that_show_what_is_behind() -> None:
    pose = turned(0, 0, 4)
    camera = _camera(_vector(0, 0, 0), _vector(0, 0, 1))
    solid = cast_synthetic(_scene_of(("ellipsoid", (1, 1, 1), 0.0, pose)), camera, torch.zeros(1))
    leafy = cast_synthetic(_scene_of(("foliage", (1, 1, 1), 0.15, pose)), camera, torch.zeros(1))
    share = float((leafy[1] > 0).sum() / (solid[1] > 0).sum())
    assert 0.6 < share < 0.98 and not bool((leafy[1] > solid[1]).any())
    hit = leafy[1] > 0
    points = unproject(leafy[0].double(), camera)[hit]
    assert torch.allclose((points - pose[:3, 3]).norm(dim=-1), torch.ones(1).double(), atol=1e-4)
    assert bool((points[:, 2] > 4).any())  # the far side shows through the near one


@pytest.mark.parametrize(("shape", "size", "radius"), SHAPES)
def test_hits_lie_on_the_primitive(
    shape: Shape, size: tuple[float, float, float], radius: float
) -> None:
    scene = _scene_of((shape, size, radius, turned(0.2, -1.0, 5.0, 0.5, -0.7, 0.3)))
    camera = _camera(_vector(0, -1.5, 0), _vector(0.2, -1, 5))
    depth, ids, _, _ = cast_synthetic(scene, camera, torch.zeros(1))
    hit = ids[0] == 1
    assert 60 < int(hit.sum()) < 2000
    points = unproject(depth.double(), camera)[0]
    assert float(_distance(scene.parts[0], points[hit]).abs().max()) < 2e-4
    # Nearest hit: halfway to the camera nothing lies inside.
    eye = camera.centers[0]
    for step in (0.5, 0.9, 0.97):
        before = eye + step * (points[hit] - eye)
        assert float(_distance(scene.parts[0], before).min()) > 0
    # And no miss passes through: march along the rays of the background.
    far = points[~hit] - eye
    direction = far / far.norm(dim=-1, keepdim=True)
    for s in torch.linspace(3.5, 7, 71).tolist():
        assert float(_distance(scene.parts[0], eye + s * direction).min()) > -2e-4


def test_depth_is_z_depth_of_a_wall() -> None:
    wall = ("box", (20.0, 20.0, 0.5), 0.0, turned(0, 0, 4.5))
    depth, ids, _, dynamic = cast_synthetic(
        _scene_of(wall), _camera(_vector(0, 0, 0), _vector(0, 0, 1)), torch.zeros(1)
    )
    assert torch.allclose(depth, torch.full_like(depth, 4.0), atol=1e-5)
    assert bool((ids == 1).all()) and not bool(dynamic.any())


def test_what_is_nearer_hides_and_sky_is_far() -> None:
    scene = _scene_of(
        ("ellipsoid", (0.5, 0.5, 0.5), 0.0, turned(0, 0, 3)),
        ("box", (0.5, 0.5, 0.5), 0.0, turned(0, 0, 6)),
    )
    depth, ids, parts, _ = cast_synthetic(
        scene, _camera(_vector(0, 0, 0), _vector(0, 0, 1)), torch.zeros(1)
    )
    assert int(ids[0, 24, 32]) == 1 and abs(float(depth[0, 24, 32]) - 2.5) < 1e-3
    assert int(ids[0, 0, 0]) == 0 and float(depth[0, 0, 0]) == SKY_DEPTH
    assert int(parts[0, 0, 0]) == -1


@pytest.fixture(scope="module")
def clip():  # type: ignore[no-untyped-def]
    """Two cameras of a sampled room at two times."""
    scene = sample_scene(4, "room")
    cameras = sample_cameras(scene, 4, "orbit", 24, 120, 180)
    index = torch.tensor([2, 20])
    times = index / 24.0
    return scene, cameras[index], times, render_synthetic(scene, cameras[index], times)


def test_two_views_agree_on_static_surfaces(clip) -> None:  # type: ignore[no-untyped-def]
    scene, cameras, times, _ = clip
    flip = torch.tensor([1, 0])
    frozen = times[:1].expand(2)  # both views at one moment
    here = render_synthetic(scene, cameras, frozen)
    flow, visible = optical_flow(scene, here, cameras, frozen, cameras[flip], frozen)
    uv = pixel_centers(120, 180) + flow
    grid = uv / torch.tensor([180.0, 120.0]) * 2 - 1
    there = torch.nn.functional.grid_sample(
        here.frames[flip].float(), grid, align_corners=False, padding_mode="border"
    )
    ids = torch.nn.functional.grid_sample(
        here.object_ids[flip].float()[:, None], grid, mode="nearest", align_corners=False
    )[:, 0]
    # A pixel away from every edge.
    code = here.part_ids.float()[:, None]
    flat = torch.nn.functional.max_pool2d(code, 5, 1, 2) == -torch.nn.functional.max_pool2d(
        -code, 5, 1, 2
    )
    check = visible & ~here.dynamic & flat[:, 0]
    assert float(check.float().mean()) > 0.15
    assert float((ids[check] == here.object_ids[check]).float().mean()) > 0.99
    error = (there - here.frames.float()).abs().mean(1)[check]
    assert float(error.median()) < 3.0
    assert float((error < 20).float().mean()) > 0.95
    shifted = torch.nn.functional.grid_sample(
        here.frames[flip].float(), grid + 0.1, align_corners=False, padding_mode="border"
    )
    wrong = (shifted - here.frames.float()).abs().mean(1)[check]
    assert float(wrong.mean()) > 3 * float(error.mean())


def test_flow_of_static_pixels_is_reprojection(clip) -> None:  # type: ignore[no-untyped-def]
    scene, cameras, times, truth = clip
    flip = torch.tensor([1, 0])
    flow, visible = optical_flow(scene, truth, cameras, times, cameras[flip], times[flip])
    points = unproject(truth.depth.double(), cameras).view(2, -1, 3)
    uv, _ = project(points, cameras[flip])
    expected = uv.view(2, 120, 180, 2).float() - pixel_centers(120, 180)
    static = ~truth.dynamic & (truth.object_ids > 0)
    assert torch.allclose(flow[static], expected[static], atol=1e-3)
    assert float((flow - expected)[truth.dynamic].norm(dim=-1).mean()) > 1.0
    # Depth there, looked up at the nearest pixel, agrees where the surface is visible.
    assert 0.2 < float(visible.float().mean()) < 1.0
    same, _ = optical_flow(scene, truth, cameras, times, cameras, times)
    assert float(same.abs().max()) < 1e-3


def test_flow_follows_moving_parts_and_knows_what_hides(clip) -> None:  # type: ignore[no-untyped-def]
    scene, cameras, times, truth = clip
    flip = torch.tensor([1, 0])
    flow, visible = optical_flow(scene, truth, cameras, times, cameras[flip], times[flip])
    uv = pixel_centers(120, 180) + flow
    x, y = uv[..., 0].floor().long(), uv[..., 1].floor().long()
    for i in range(2):
        check = visible[i] & truth.dynamic[i]
        found = truth.object_ids[1 - i][y[i][check], x[i][check]]
        assert float((found == truth.object_ids[i][check]).float().mean()) > 0.9
        hidden = ~visible[i] & (x[i] >= 0) & (y[i] >= 0) & (x[i] < 180) & (y[i] < 120)
        found = truth.part_ids[1 - i][y[i][hidden], x[i][hidden]]
        # What hides is another part, or another side of the same.
        assert float((found == truth.part_ids[i][hidden]).float().mean()) < 0.5


@pytest.mark.parametrize("kind", ["street", "room"])
def test_same_seed_same_bytes_any_chunking(kind: SceneKind) -> None:
    scene, again, other = sample_scene(5, kind), sample_scene(5, kind), sample_scene(6, kind)
    cameras = sample_cameras(scene, 5, "dolly", 3, 50, 70)
    same = sample_cameras(again, 5, "dolly", 3, 50, 70)
    assert torch.equal(cameras.cam_from_world, same.cam_from_world)
    times = torch.arange(3) / 24
    first = render_synthetic(scene, cameras, times)
    second = render_synthetic(again, cameras, times, max_pixels=1)
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name))
    assert not torch.equal(first.frames, render_synthetic(other, cameras, times).frames)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_scenes_are_full_of_things(kind: str) -> None:
    scene, camera_kind = sample_scene(2, kind), CAMERA_KINDS[SCENE_KINDS.index(kind)]
    cameras = sample_cameras(scene, 2, camera_kind, 12, 64, 96)
    times = torch.arange(12) / 24
    assert clearance(scene, cameras.centers, times) >= CLEARANCE_M
    index = torch.tensor([0, 11])
    truth = render_synthetic(scene, cameras[index], times[index])
    assert len(scene.moving_objects()) >= 2
    assert 0.01 < float(truth.dynamic.float().mean()) < 0.6
    assert len(truth.object_ids.unique()) >= 5
    image = truth.frames.float()
    assert 30 < float(image.mean()) < 220 and float(image.std()) > 20
    assert truth.frames.dtype == torch.uint8 and truth.depth.dtype == torch.float32


@pytest.mark.parametrize("kind", CAMERA_KINDS)
def test_camera_kinds_do_what_they_say(kind: str) -> None:
    cameras = sample_cameras(sample_scene(1, "park"), 1, kind, 24, 64, 96)
    travel = (cameras.centers - cameras.centers[:1]).norm(dim=-1)
    turn = (cameras.cam_from_world[:, :3, :3] - cameras.cam_from_world[:1, :3, :3]).abs().amax()
    if kind in ("tripod", "rotation"):
        assert float(travel.max()) < 1e-9
    else:
        assert float(travel.max()) > 0.05
    assert float(turn) < 1e-9 if kind == "tripod" else kind == "dolly" or float(turn) > 1e-3
    if kind == "dolly":
        steps = torch.diff(cameras.centers, dim=0)
        steps = steps / steps.norm(dim=-1, keepdim=True)
        assert float((steps @ steps.T).min()) > 0.999


def test_light_throws_shadows_and_contact_darkens() -> None:
    ground = ("box", (20.0, 0.5, 20.0), 0.0, turned(0, 0.5, 0))
    cube = ("box", (0.5, 0.5, 0.5), 0.0, turned(0, -0.5, 4))
    with_cube, without = _scene_of(ground, cube), _scene_of(ground)
    camera = _camera(_vector(0, -4, 0), _vector(0, 0, 4))
    a = render_synthetic(with_cube, camera, torch.zeros(1))
    b = render_synthetic(without, camera, torch.zeros(1))
    on_ground = a.object_ids[0] == 1
    drop = (b.frames.float() - a.frames.float()).mean(1)[0][on_ground]
    assert float(drop.max()) > 15  # some of the ground lies in shadow
    assert float(drop.abs().median()) < 1  # and most of it does not


def test_edges_are_anti_aliased() -> None:
    scene = _scene_of(("ellipsoid", (1.0, 1.0, 1.0), 0.0, turned(0, 0, 4)))
    camera = _camera(_vector(0, 0, 0), _vector(0, 0, 1), (64, 64))
    big = render_synthetic(scene, camera.resized(512, 512), torch.zeros(1)).frames.float()
    fine = torch.nn.functional.avg_pool2d(big, 8)
    frames = render_synthetic(scene, camera, torch.zeros(1)).frames.float()
    ids = torch.nn.functional.avg_pool2d(
        cast_synthetic(scene, camera.resized(512, 512), torch.zeros(1))[1].float(), 8
    )
    edge = (ids[0] > 0) & (ids[0] < 1)
    error = (frames - fine).abs().mean(1)[0][edge].mean()
    nearest = big[:, :, 4::8, 4::8]
    assert float(error) < 0.5 * float((nearest - fine).abs().mean(1)[0][edge].mean())


def test_bounce_obeys_gravity_and_never_sinks() -> None:
    route = Route(1.0, 2.0, 0.3, 0.8)
    motion = Bounce(route, 0.2, 1.0, 0.8, 1.0, torch.eye(3, dtype=torch.float64))
    times = torch.linspace(0, 6, 6001, dtype=torch.float64)
    height = -world_from_body(motion, times)[:, 1, 3] - 0.2
    assert abs(float(height[0]) - 1.0) < 1e-9 and float(height.min()) > -1e-9
    acceleration = torch.diff(torch.diff(height)) / 1e-6
    falling = (acceleration + 9.81).abs() < 1e-3
    assert float(falling.double().mean()) > 0.5
    impact = math.sqrt(2 / 9.81)
    apex = height[(times > impact) & (times < impact + 2 * 0.8 * 9.81 * impact / 9.81)].max()
    assert abs(float(apex) - 0.64) < 1e-3  # e² of the first


def test_wheels_roll_without_slipping() -> None:
    route = Route(0.0, 0.0, 0.7, 1.3)
    motion = Follow(route, turned(0, -0.3, 0), 0.3)
    times = torch.tensor([0.5 - 1e-5, 0.5 + 1e-5], dtype=torch.float64)
    pose = world_from_body(motion, times)
    contact = pose[:1, :3, :3].transpose(-1, -2) @ _vector(0, 0.3, 0)
    points = (pose[:, :3, :3] @ contact[0])[:, :] + pose[:, :3, 3]
    assert float((points[1] - points[0]).norm() / 2e-5) < 1e-3


def test_a_walker_stands_on_the_ground() -> None:
    gait = Gait(0.43, 0.42, 0.07, 0.5, 0.4, 0.2, 0.3, 1.3, 0.5, 0.9, 0.4, 0.0, 0.0)
    times = torch.linspace(0, 3, 200, dtype=torch.float64)
    ankles = []
    for side in ("l", "r"):
        pose = world_from_body(Walk(Route(0, 0, 0, 1.1), gait, f"shin_{side}"), times)  # type: ignore[arg-type]
        ankles.append((pose @ _vector(0, gait.shin, 0, 1))[:, 1])
    lowest = torch.maximum(*ankles)  # y points down
    assert torch.allclose(lowest, torch.full_like(lowest, -gait.foot), atol=1e-9)


def test_synthetic_clip_is_a_scene_with_truth() -> None:
    scene, synthetic = synthetic_clip(3, 4, 64, 96, "handheld", "hall")
    assert len(scene) == 4 and scene.video.frames.shape == (4, 3, 64, 96)
    assert bool(scene.valid.all()) and float(scene.confidence.min()) == 1
    assert scene.metres_per_unit == 1.0 and bool(scene.dynamic.any())
    assert bool(part_is_dynamic(synthetic).any())


def test_demo_clip_moves_and_keeps_its_subjects() -> None:
    scene, synthetic = demo_clip(num_frames=8, height=72, width=128)
    assert len(synthetic.moving_objects()) >= 2
    travel = (scene.cameras.centers[-1] - scene.cameras.centers[0]).norm()
    assert float(travel) > 0.1
    assert all(0.02 < float(d) < 0.3 for d in scene.dynamic.float().mean((1, 2)))
    path = CameraPath(scene.cameras, torch.arange(8))
    view = true_view(synthetic, path[:2], scene.video.times_s)
    assert torch.equal(view.frames, scene.video.frames[:2])


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_moving_objects_keep_apart(kind: SceneKind) -> None:
    scene = sample_scene(1, kind)
    times = torch.linspace(0, CLEAR_S, 20, dtype=torch.float64)
    poses = world_from_parts(scene, times)
    ids = part_object_ids(scene)
    tracks = []
    for number in scene.moving_objects():
        name = scene.object_names[number - 1]
        if name != "ceiling lamp":
            first = int((ids == number).nonzero()[0])
            tracks.append(poses[:, first, [0, 2], 3])
    assert len(tracks) >= 2
    for i, a in enumerate(tracks):
        for b in tracks[:i]:
            assert float((a - b).norm(dim=-1).min()) > 0.2


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="castle"):
        sample_scene(0, "castle")  # type: ignore[arg-type]
    scene = sample_scene(0, "park")
    with pytest.raises(ValueError, match="helicopter"):
        sample_cameras(scene, 0, "helicopter", 2, 32, 32)  # type: ignore[arg-type]
    cameras = sample_cameras(scene, 0, "tripod", 2, 32, 32)
    with pytest.raises(ValueError, match="2 cameras and 3 times"):
        render_synthetic(scene, cameras, torch.zeros(3))
    assert place(0, 0, 0).shape == (4, 4)
