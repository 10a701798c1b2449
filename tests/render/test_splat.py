"""One frame seen from elsewhere: exact cases, and three implementations that must agree."""

import math

import pytest
import torch

from recam.configs import RenderConfig
from recam.geometry import project, unproject
from recam.render import reference, splat
from recam.render.splat import make_warp
from recam.render.surface import (
    COLOUR_SIGMA,
    IRREGULAR,
    MARGIN,
    disparity_from_depth,
    enlarge,
    make_surface,
)
from recam.types import Cameras
from render_scene import Rectangle, camera, psnr, room, see

H, W = 90, 120
h, w = 48, 64


def noisy_room() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Cameras]:
    """A frame whose depth has noise, blurred edges and holes."""
    source = camera(h, w)
    frame, depth = see(room(), source, 2)
    generator = torch.Generator().manual_seed(0)
    blurred = torch.nn.functional.avg_pool2d(depth[None], 3, 1, 1)[0]
    depth = torch.where(torch.arange(w) < w // 2, depth, blurred)
    depth = depth * (1 + 0.02 * torch.randn(h, w, generator=generator))
    valid = torch.rand(h, w, generator=generator) > 0.01
    depth[5, 5], depth[6, 9], depth[17, 3] = float("nan"), float("inf"), -1.0
    return frame, depth, valid, source


VIEWS = {
    "orbit": camera(h, w, (-0.7, 0.1, 0.06), 10, 3),
    "close": camera(h, w, (0.1, 0, 0.5), fov_deg=20),
    "far, smaller": camera(30, 40, (0, 0, -4), fov_deg=70),
    "from behind": camera(h, w, (0, -1, 8.0), 170),
}


@pytest.mark.parametrize("margin", [0, 1, 3])
@pytest.mark.parametrize("snap", [False, True])
def test_surface_agrees_with_reference(margin: int, snap: bool) -> None:
    _, depth, valid, _ = noisy_room()
    disparity = disparity_from_depth(depth, valid)
    fast = make_surface(disparity, 0.05, margin, snap)
    slow = reference.make_surface(disparity, 0.05, margin, snap)
    assert torch.equal(fast.disparity, slow.disparity)
    assert torch.equal(fast.links, slow.links)
    assert torch.equal(fast.flags, slow.flags)
    assert torch.allclose(fast.corners, slow.corners, rtol=1e-5)
    regular = (fast.flags & IRREGULAR) == 0
    assert 0.2 < float(regular.float().mean()) < 0.9  # the comparison saw both kinds


@pytest.mark.parametrize("name", list(VIEWS))
def test_three_implementations_agree(name: str) -> None:
    frame, depth, valid, source = noisy_room()
    config = RenderConfig(edge_margin=1)
    fast, scatter, dense = (
        splat(frame, depth, source, VIEWS[name], config, valid, implementation)
        for implementation in ("fast", "scatter", "dense")
    )
    assert 0.0005 < float(dense.known.mean()) < 1
    for other in (fast, scatter):
        assert float((other.known != dense.known).float().mean()) < 2e-3
        both = (other.known > 0) & (dense.known > 0)
        close = torch.isclose(other.depth, dense.depth, rtol=1e-3)
        same = (other.frame.int() - dense.frame.int()).abs().amax(0) <= 2
        assert float((close & same)[both].float().mean()) > 0.998
        assert float((other.origin == dense.origin)[both].float().mean()) > 0.998


def test_scatter_does_not_depend_on_chunks() -> None:
    _, depth, valid, source = noisy_room()
    surface = make_surface(disparity_from_depth(depth, valid))
    forward = make_warp(source, VIEWS["close"]).forward()
    whole = reference.draw_scatter(surface, forward, 50.0, h, w)
    pieces = reference.draw_scatter(surface, forward, 50.0, h, w, chunk=1000)
    assert torch.equal(whole[0], pieces[0]) and torch.equal(whole[1], pieces[1])


def test_same_camera_returns_the_frame() -> None:
    """Wholly where all depth is there; beside missing depth, doubtful pixels may be left out."""
    frame, depth, valid, source = noisy_room()
    own = torch.arange(h * w, dtype=torch.int32).reshape(h, w)
    good = torch.isfinite(depth) & (depth > 0) & valid
    seen = splat(frame, torch.where(good, depth, 4.0), source, source)
    assert float(seen.known.min()) == 1
    assert torch.equal(seen.frame, frame) and torch.equal(seen.origin, own)
    holed = splat(frame, depth, source, source, valid=valid)
    known = holed.known > 0
    assert not bool((known & ~good).any()) and float(known.float().mean()) > 0.7
    assert torch.equal(holed.frame[:, known], frame[:, known])


def test_pure_rotation_and_zoom_follow_the_homography() -> None:
    source = camera(H, W)
    frame = torch.zeros(3, H, W, dtype=torch.uint8)
    x = torch.arange(W) + 0.5
    frame[0] = (x * 2).to(torch.uint8)
    target = camera(H, W, yaw_deg=8, pitch_deg=-5, fov_deg=50)
    seen = splat(frame, torch.full((H, W), 3.0), source, target)
    points = unproject(torch.ones(1, H, W), target)  # any depth: the cameras share a centre
    uv, _ = project(points.reshape(1, -1, 3), source)
    expected = uv[0, :, 0].reshape(H, W)
    inner = (seen.known > 0) & (expected > 4) & (expected < W - 4)
    assert float(inner.float().mean()) > 0.7
    error = (seen.frame[0].float() + 0.5 - 2 * expected).abs()[inner]
    assert float(error.max()) < 1.2  # a ramp of 2 a pixel, rounded to bytes


def test_a_pixel_lands_where_project_says() -> None:
    """Sign and axis check: a bright dot 2 m ahead, camera 0.5 m to the right, up and forward."""
    source = camera(H, W)
    frame = torch.zeros(3, H, W, dtype=torch.uint8)
    depth = torch.full((H, W), 2.0)
    frame[:, 40:43, 70:73] = 255
    target = camera(H, W, (0.3, -0.1, 0.2))
    seen = splat(frame, depth, source, target)
    point = unproject(depth[None], source)[0, 41, 71]
    uv, z = project(point[None, None], target)
    y, x = torch.nonzero(seen.frame[0] > 200, as_tuple=True)
    assert abs(float(x.float().mean()) + 0.5 - float(uv[0, 0, 0])) < 0.6
    assert abs(float(y.float().mean()) + 0.5 - float(uv[0, 0, 1])) < 0.6
    assert torch.allclose(seen.depth[y, x], z[0, 0].float())


@pytest.mark.parametrize("fov_deg", [60, 22, 8])
def test_no_pinholes_when_zooming_in(fov_deg: float) -> None:
    """A noisy, slanted surface that fills the view leaves no hole, however close."""
    source = camera(H, W, fov_deg=90)
    wall = [Rectangle((-60, -40, 5), (100, 0, 60), (0, 80, 0), 1)]
    frame, depth = see(wall, source, 1)
    depth *= 1 + 0.01 * torch.randn(H, W, generator=torch.Generator().manual_seed(1))
    seen = splat(frame, depth, source, camera(H, W, (0.3, 0.2, 0.5), fov_deg=fov_deg))
    assert float(seen.known.min()) == 1


def test_foreground_hides_background() -> None:
    source = camera(H, W)
    frame = torch.full((3, H, W), 50, dtype=torch.uint8)
    depth = torch.full((H, W), 10.0)
    frame[:, 30:60, 40:80], depth[30:60, 40:80] = 200, 2.0
    seen = splat(frame, depth, source, camera(H, W, (0.2, 0.1, 0.8)))
    near = (seen.depth > 0) & (seen.depth < 3)
    y, x = torch.nonzero(near, as_tuple=True)
    box = (slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1))
    assert bool(near[box].all()), "something shows through the foreground"
    assert bool((seen.frame[0][box] == 200).all()), "foreground is tinted by what is behind"
    assert int(near.sum()) > 1.5 * 30 * 40


def test_thin_structures_keep_their_width() -> None:
    """A pole one pixel wide stays whole, one to two pixels wide, and in its own colour."""
    source = camera(H, W)
    frame = torch.full((3, H, W), 50, dtype=torch.uint8)
    depth = torch.full((H, W), 8.0)
    frame[:, :, 50], depth[:, 50] = 220, 2.0
    seen = splat(frame, depth, source, camera(H, W, (0.13, 0.0, 0.0)))
    pole = (seen.depth > 0) & (seen.depth < 3)
    assert bool((pole.sum(1) >= 1).all()) and int(pole.sum(1).max()) <= 2
    assert int(seen.frame[0][pole].min()) == 220
    assert int(seen.frame[0][(seen.known > 0) & ~pole].max()) == 50


def test_points_behind_the_camera_are_culled() -> None:
    source = camera(H, W)
    frame = torch.full((3, H, W), 99, dtype=torch.uint8)
    seen = splat(frame, torch.full((H, W), 1.0), source, camera(H, W, (0, 0, 3)))
    assert float(seen.known.max()) == 0
    turned = splat(frame, torch.full((H, W), 1.0), source, camera(H, W, (0, 0, 3), yaw_deg=180))
    assert float(turned.known.max()) == 0, "the back of a wall is not what its front looks like"


def test_back_faces_block_what_is_behind_them() -> None:
    """Seen from behind, a wall's picture is unknown, but it still hides what lies beyond."""
    source = camera(H, W)
    frame = torch.full((3, H, W), 50, dtype=torch.uint8)
    depth = torch.full((H, W), 20.0)
    # A wall that runs from 2 m at the left to 6 m at the right, seen at a slant.
    column = torch.arange(30, 90)
    slanted = 1 / torch.lerp(torch.tensor(1 / 2.0), torch.tensor(1 / 6.0), (column - 30) / 59.0)
    depth[20:70, 30:90] = slanted
    frame[:, 20:70, 30:90] = 200
    # From far to the left, looking right: the wall's hidden side.
    target = camera(H, W, (-4.0, 0, 2.5), yaw_deg=65)
    seen = splat(frame, depth, source, target)
    points = unproject(depth[None], source)[0, 45, 35:85]
    uv, z = project(points[None], target)
    ahead = (z[0] > 0) & (uv[0, :, 0] > 2) & (uv[0, :, 0] < W - 2)
    assert int(ahead.sum()) > 20
    x, y = uv[0, ahead, 0].long(), uv[0, ahead, 1].long()
    assert float(seen.known[y, x].max()) == 0


def test_stretched_surfaces_are_not_known() -> None:
    """A wall at a grazing angle has few pixels; from its front they would be smeared."""
    source = camera(H, W)
    wall = [Rectangle((1.0, -3, 1.5), (0, 0, 30.0), (0, 6, 0), 1)]
    frame, depth = see(wall, source, 1)
    depth = torch.where(depth < 900, depth, 0.0)
    target = camera(H, W, (-6.0, 0, 8.0), yaw_deg=90, fov_deg=60)
    strict = splat(frame, depth, source, target, RenderConfig(max_stretch=3.0))
    loose = splat(frame, depth, source, target, RenderConfig(max_stretch=1e6))
    assert float(loose.known.mean()) > 0.3
    assert float(strict.known.mean()) < 0.5 * float(loose.known.mean())


def test_flying_pixels_are_snapped_and_slopes_are_not_torn() -> None:
    source = camera(H, W)
    disparity = torch.full((H, W), 0.1)
    disparity[:, 40:60] = 0.5
    disparity[:, 60], disparity[:, 61] = 0.4, 0.2  # a blurred edge
    surface = make_surface(disparity)
    values = set(surface.disparity.flatten().tolist())
    assert values == {float(torch.tensor(v)) for v in (0.1, 0.5)}
    assert bool(((surface.flags & MARGIN) > 0)[:, 60:62].all())
    # The ground plane near the horizon changes depth by more than 5 % a pixel, but evenly.
    rows = torch.arange(H).float()
    ground = torch.where(rows > 50, (rows - 50) * 0.01, 0.0)[:, None].expand(H, W).contiguous()
    links = make_surface(ground).links
    assert int(links[51:].max()) == 0
    assert float((ground[55] - ground[54])[0] / ground[55, 0]) > 0.05
    assert source.height == H


@pytest.mark.parametrize("ratio", [1.67, 3.0])
def test_enlarged_edges_follow_the_picture(ratio: float) -> None:
    """A ball before a wall: the enlarged edge is round, and nothing hangs between the two."""
    height, width = round(H * ratio), round(W * ratio)

    def ball(h: int, w: int) -> torch.Tensor:
        y, x = torch.arange(h)[:, None] + 0.5, torch.arange(w) + 0.5
        return ((x / w - 0.5) * 4 / 3).square() + (y / h - 0.5).square() < 0.3**2

    soft = torch.nn.functional.avg_pool2d(ball(4 * height, 4 * width)[None].float(), 4)
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    frame = (60 + 120 * soft + 4 * noise).to(torch.uint8)
    true = torch.where(ball(height, width), 0.5, 0.1)
    small = torch.where(ball(H, W), 0.5, 0.1)
    found = enlarge(small, frame)
    nearest = torch.nn.functional.interpolate(small[None, None], true.shape, mode="nearest")[0, 0]
    assert int(((found - true).abs() > 0.01).sum()) < 0.5 * int((nearest != true).sum())
    between = (found > 0.101) & (found < 0.499)
    assert int(between.sum()) == 0


def test_enlarge_agrees_with_reference() -> None:
    _, depth, valid, _ = noisy_room()
    frame, _ = see(room(), camera(2 * h + 7, 2 * w + 3), 1)
    disparity = disparity_from_depth(depth, valid)
    fast, slow = enlarge(disparity, frame), reference.enlarge(disparity, frame, 0.05, COLOUR_SIGMA)
    assert torch.equal(fast > 0, slow > 0)
    assert float(torch.isclose(fast, slow, rtol=1e-3).float().mean()) > 0.995


def test_enlarge_keeps_planes_exact() -> None:
    big = camera(3 * H, 3 * W)
    floor = [Rectangle((-50, 1.0, 0.5), (100, 0, 0), (0, 0, 80.0), 1)]
    frame, true = see(floor, big, 1)
    _, small = see(floor, big.resized(H, W), 1)
    found = enlarge(disparity_from_depth(small), frame)
    seen = (true < 20) & (torch.arange(3 * H)[:, None] < 3 * H - 2)
    assert torch.allclose(found[seen], 1 / true[seen], rtol=2e-3)


@pytest.mark.parametrize(
    ("name", "target", "least_known", "least_psnr"),
    [
        ("small shift", camera(240, 360, (0.02, 0.004, 0)), 0.97, 30.0),
        ("orbit 10°", camera(240, 360, (-0.7, 0, 0.06), 10), 0.65, 28.0),
        ("zoom", camera(240, 360, fov_deg=2 * math.degrees(math.atan(math.tan(0.5236) / 3))),
         0.999, 33.0),
        ("zoom out", camera(240, 360, fov_deg=100), 0.2, 30.0),
    ],
)  # fmt: skip
def test_truth(name: str, target: Cameras, least_known: float, least_psnr: float) -> None:
    """Against the exactly ray-cast view: known pixels are right, and there are enough of them."""
    frame, depth = see(room(), camera(240, 360), 3)
    true_frame, true_depth = see(room(), target, 3)
    seen = splat(frame, depth, camera(240, 360), target)
    known = seen.known > 0
    assert float(known.float().mean()) > least_known
    assert psnr(seen.frame, true_frame, known) > least_psnr
    wrong = ((seen.depth - true_depth).abs() > 0.05 * true_depth)[known]
    assert float(wrong.float().mean()) < 0.015


def test_zooming_out_does_not_alias() -> None:
    """Fine stripes far below the pixel grid average out instead of beating."""
    source = camera(H, W)
    frame = torch.zeros(3, H, W, dtype=torch.uint8)
    frame[:, :, ::2] = 255
    seen = splat(frame, torch.full((H, W), 4.0), source, camera(H, W, (0, 0, -8.5)))
    values = seen.frame[0][seen.known > 0].float()
    assert len(values) > 500
    assert abs(float(values.mean()) - 127.5) < 8 and float(values.std()) < 45


def test_errors_say_what_to_do() -> None:
    source = camera(H, W)
    frame, depth = torch.zeros(3, H, W, dtype=torch.uint8), torch.ones(H, W)
    with pytest.raises(ValueError, match=r"expected uint8 \[3, 90, 120\]"):
        splat(frame.float(), depth, source, source)
    with pytest.raises(ValueError, match=r"depth is \[45, 60\].*90×120"):
        splat(frame, torch.ones(45, 60), source, source)
    two = Cameras(source.cam_from_world.repeat(2, 1, 1), source.intrinsics.repeat(2, 1, 1), H, W)
    with pytest.raises(ValueError, match="one camera each"):
        splat(frame, depth, source, two)
