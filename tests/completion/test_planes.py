"""Planes that bound a scene: found from depth, and carried on where nobody looked."""

import numpy as np
import torch

from recam.completion.copying import complete_by_copies
from recam.completion.planes import BEYOND, find_layout
from recam.scene_memory import made_up_frame
from recam.types import Cameras, Rendering, Scene, Video

HEIGHT, WIDTH, FOCAL = 60, 96, 70.0
FLOOR, BACK, LEFT = (0, -1, 0, 1.0), (0, 0, -1, 6.0), (1, 0, 0, 1.2)
"""n · X + d = 0, n towards the cameras (y down, z forward)."""


def cameras(num: int) -> Cameras:
    """They step to the right and turn a little to the left."""
    poses = torch.eye(4, dtype=torch.float64).repeat(num, 1, 1)
    for i in range(num):
        angle = torch.tensor(0.04 * i, dtype=torch.float64)
        poses[i, 0, 0] = poses[i, 2, 2] = angle.cos()
        poses[i, 0, 2], poses[i, 2, 0] = angle.sin(), -angle.sin()
        poses[i, 0, 3] = -0.1 * i
    k = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return Cameras(poses, k.double().repeat(num, 1, 1), HEIGHT, WIDTH)


def seen_by(own: Cameras, planes: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Depth [t, h, w] of the first plane that every ray meets (0 = none), and its number."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    depth = np.full((len(own), HEIGHT, WIDTH), np.inf)
    number = np.zeros(depth.shape, int)
    for t in range(len(own)):
        local = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(own.intrinsics[t].numpy()).T
        rays = local @ own.cam_from_world[t, :3, :3].numpy()
        for k, plane in enumerate(np.array(planes), 1):
            towards = rays @ plane[:3]
            away = own.centers[t].numpy() @ plane[:3] + plane[3]
            hit = np.where(towards < 0, -away / np.where(towards == 0, 1, towards), np.inf)
            number[t][hit < depth[t]] = k
            depth[t] = np.minimum(depth[t], hit)
    return np.where(np.isfinite(depth), depth, 0), number


def rendering(own: Cameras, depth: np.ndarray, known: np.ndarray, frames=None) -> Rendering:
    if frames is None:
        frames = np.zeros((*depth.shape, 3), np.uint8)
    video = torch.from_numpy(frames * known[..., None]).permute(0, 3, 1, 2).contiguous()
    shown = torch.from_numpy((depth * known).astype(np.float32))
    return Rendering(video, torch.from_numpy(known.astype(np.float32)), shown, own)


def border(num: int, share: float = 0.25) -> np.ndarray:
    known = np.ones((num, HEIGHT, WIDTH), bool)
    known[:, :, : int(share * WIDTH)] = False
    return known


def test_planes_go_on_where_nobody_looked() -> None:
    own = cameras(3)
    depth, number = seen_by(own, [FLOOR, BACK, LEFT])
    known = border(3)
    layout = find_layout(rendering(own, depth, known))
    assert layout is not None and len(layout.planes) == 3
    for plane in (FLOOR, BACK, LEFT):
        assert np.abs(layout.planes - np.array(plane)).max(1).min() < 0.02
    for t, surface in enumerate(layout.surfaces):
        off = np.abs(surface.depth - depth[t])
        assert np.median(off[~known[t]]) < 0.05
        assert (off[~known[t]] < 0.2).mean() > 0.95
    of = {k: np.bincount(s[number[0] == k]).argmax() for k in (1, 2, 3)
          for s in [layout.surfaces[0].label]}  # fmt: skip
    assert len(set(of.values())) == 3


def test_the_side_of_a_box_bounds_nothing() -> None:
    own = cameras(2)
    depth, _ = seen_by(own, [FLOOR, BACK])
    depth[:, 25:45, 40:70] = 3.0  # a face towards the camera, the wall behind it seen around it
    layout = find_layout(rendering(own, depth, border(2)))
    assert layout is not None and len(layout.planes) == 2
    assert (layout.surfaces[0].label[28:42, 44:66] == 0).mean() > 0.9


def test_a_hole_in_a_thing_is_not_on_the_plane_behind_it() -> None:
    own = cameras(2)
    depth, _ = seen_by(own, [FLOOR, BACK])
    depth[:, 15:45, 30:70] = 3.0
    known = np.ones(depth.shape, bool)
    known[:, 25:35, 40:55] = False  # all around it is the thing
    layout = find_layout(rendering(own, depth, known))
    assert layout is not None and (layout.surfaces[0].label[25:35, 40:55] == 0).all()


def test_rays_above_the_horizon_meet_nothing() -> None:
    own = cameras(2)
    depth, _ = seen_by(own, [FLOOR])
    layout = find_layout(rendering(own, depth, border(2)))
    assert layout is not None and len(layout.planes) == 1
    assert (layout.surfaces[0].label[: HEIGHT // 2 - 2] == BEYOND).all()
    assert (layout.surfaces[0].depth[: HEIGHT // 2 - 2] == 0).all()


def test_nothing_to_go_by() -> None:
    own = cameras(2)
    depth = np.zeros((2, HEIGHT, WIDTH))
    assert find_layout(rendering(own, depth, border(2))) is None
    bumpy = np.random.default_rng(0).uniform(1, 9, depth.shape)
    assert find_layout(rendering(own, bumpy, border(2))) is None


def test_a_plane_leads_from_frame_to_frame() -> None:
    own = cameras(3)
    depth, _ = seen_by(own, [FLOOR, BACK, LEFT])
    layout = find_layout(rendering(own, depth, border(3)))
    assert layout is not None
    for k in range(1, 4):
        y, x = np.argwhere(layout.surfaces[0].label == k)[7]
        z = layout.surfaces[0].depth[y, x]
        ray = np.linalg.inv(own.intrinsics[0].numpy()) @ [x + 0.5, y + 0.5, 1]
        point = own.world_from_cam[0].numpy() @ np.append(z * ray, 1)
        there = own.intrinsics[2].numpy() @ (own.cam_from_world[2].numpy() @ point)[:3]
        at = layout.homography(k, 0, 2) @ [x + 0.5, y + 0.5, 1]
        np.testing.assert_allclose(at[:2] / at[2], there[:2] / there[2], atol=1e-3)


def boards(own: Cameras, depth: np.ndarray) -> np.ndarray:
    """uint8 [t, h, w, 3]: floor boards that run to the back, a grey wall with dots."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    out = np.zeros((*depth.shape, 3), np.uint8)
    for t in range(len(own)):
        local = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(own.intrinsics[t].numpy()).T
        world = (local * depth[t][..., None] - own.cam_from_world[t, :3, 3].numpy()) @ (
            own.cam_from_world[t, :3, :3].numpy()
        )
        floor = world[..., 1] > 0.99
        board = (np.floor(world[..., 0] / 0.35) % 2 == 0)[..., None]
        wall = (np.floor(world[..., 0] / 0.5) + np.floor(world[..., 1] / 0.5)) % 2 == 0
        out[t] = np.where(
            floor[..., None], np.where(board, (200, 150, 80), (110, 70, 40)),
            np.where(wall[..., None], (90, 110, 140), (170, 180, 190)),
        )  # fmt: skip
    return out


def test_boards_follow_the_perspective_and_stay_put() -> None:
    own = cameras(3)
    depth, _ = seen_by(own, [FLOOR, BACK])
    truth, known = boards(own, depth), border(3, 0.3)
    shown = rendering(own, depth, known, truth)
    errors = {}
    for planes in (True, False):
        filled = complete_by_copies(shown, planes=planes).frames.permute(0, 2, 3, 1).numpy()
        assert (filled[known] == truth[known]).all()
        errors[planes] = np.abs(filled[~known].astype(int) - truth[~known]).mean()
    assert errors[True] < 0.75 * errors[False]


def test_what_is_remembered_has_the_planes_depth() -> None:
    own = cameras(1)
    depth, _ = seen_by(own, [FLOOR, BACK])
    known = border(1)
    view = rendering(own, depth, known)
    scene = Scene(
        Video(view.frames, torch.zeros(1, dtype=torch.float64)), own, view.depth,
        view.depth > 0, view.depth > 1e9, torch.ones_like(view.depth), None,
    )  # fmt: skip
    kept = made_up_frame(scene, view, view.frames)
    off = np.abs(kept.depth[0].numpy() / depth[0] - 1)[~known[0]]
    assert np.median(off) < 0.05
