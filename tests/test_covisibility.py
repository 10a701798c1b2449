"""Double reprojection, training pairs and the 2D masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recam.configs import PairConfig, RenderConfig
from recam.covisibility import (
    double_reproject,
    make_pairs,
    novel_cameras,
    random_2d_known,
    resize_scene,
    sample_path,
)
from recam.geometry import project, unproject
from recam.types import Cameras, Scene, video_from_frames
from render_scene import camera, room, see

H, W, T = 60, 80, 5
ALONE = RenderConfig(aggregate_static=False)


def shot(step: float = 0.0) -> Scene:
    """The room from a camera that moves ``step`` a frame to the right; nothing in it moves."""
    cameras = [camera(H, W, (step * i, 0, 0)) for i in range(T)]
    pairs = [see(room(), c, 1, waves=4) for c in cameras]
    own = Cameras(
        torch.cat([c.cam_from_world for c in cameras]),
        torch.cat([c.intrinsics for c in cameras]), H, W,
    )  # fmt: skip
    depth = torch.stack([d for _, d in pairs])
    nothing = torch.zeros_like(depth, dtype=torch.bool)
    video = video_from_frames(torch.stack([f for f, _ in pairs]))
    return Scene(video, own, depth, ~nothing, nothing, torch.ones_like(depth))


def turned(scene: Scene, yaw: float, pitch: float = 0.0, r: float = 0.0) -> Cameras:
    one = torch.ones(len(scene), dtype=torch.float64)
    return novel_cameras(scene.cameras, yaw * one, pitch * one, r * one, 4.0)


def test_the_same_cameras_see_everything() -> None:
    scene = shot()
    seen = double_reproject(scene, scene.cameras, ALONE)
    assert bool(seen.visible.all())
    assert torch.equal(seen.back.frames, scene.video.frames)


def test_visible_is_what_both_cameras_see() -> None:
    """Against rays: a source point is visible if the novel camera hits it first."""
    height, width = 2 * H, 2 * W
    own = camera(height, width)
    frame, depth = see(room(), own, 1)
    everything = torch.ones(1, height, width, dtype=torch.bool)
    scene = Scene(
        video_from_frames(frame[None]), own, depth[None], everything, ~everything,
        everything.float(),
    )  # fmt: skip
    novel = turned(scene, 12, 5)
    seen = double_reproject(scene, novel, ALONE)
    _, novel_depth = see(room(), novel, 1)
    points = unproject(scene.depth, scene.cameras).reshape(1, -1, 3)
    uv, z = project(points, novel)
    x, y = uv[0, :, 0], uv[0, :, 1]
    inside = (z[0] > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    first = novel_depth[y.long().clamp(0, height - 1), x.long().clamp(0, width - 1)]
    true = (inside & ((first - z[0]).abs() < 0.05 * z[0])).reshape(height, width)
    visible = seen.visible[0]
    # Edges are treated with care both ways, so what is claimed is right and a little is left out.
    edge = torch.nn.functional.max_pool2d((~true)[None].float(), 9, 1, 4)[0] > 0
    assert float((visible & ~true).float().mean()) < 0.02
    assert float((true & ~edge & ~visible).float().mean()) < 0.02
    assert 0.4 < float(visible.float().mean()) < 0.95


def test_other_views_fill_in_only_if_asked() -> None:
    scene = shot(0.25)
    novel = turned(scene, 15)
    alone = double_reproject(scene, novel, ALONE).visible
    merged = double_reproject(scene, novel, RenderConfig()).visible
    assert float(merged.float().mean()) > float(alone.float().mean()) + 0.02
    assert not bool((alone & ~merged).any())


def test_what_moves_is_carried_to_the_novel_view() -> None:
    scene = shot()
    box = scene.depth < 2.7
    scene = replace(scene, dynamic=box)
    there = double_reproject(scene, turned(scene, 8), ALONE).there
    assert bool(there.dynamic.any())
    assert float(there.depth[there.dynamic].max()) < 3.6
    near = there.valid & (there.depth < 2.0)
    assert float(there.dynamic[near].float().mean()) > 0.95


def test_pairs_hold_the_truth_behind_their_holes() -> None:
    scene = shot(0.1)
    pairs = make_pairs(scene, np.random.default_rng(0), PairConfig(num_frames=3))
    shares, exact = [], 0
    for _ in range(6):
        pair = next(pairs)
        known = pair.partial.known
        assert len(pair.target) == 3 and set(known.unique().tolist()) <= {0.0, 1.0}
        shares.append(float(known.mean()))
        assert int(pair.partial.frames.mul(known[:, None] == 0).max()) == 0
        error = (pair.partial.frames.float() - pair.target.frames).abs().mean(1)[known > 0]
        exact += float(error.max()) == 0
        assert float(error.mean()) < 12, "known pixels must be like the target's"
    assert 0 < exact < 6  # some keep the source's colours, some went there and back
    assert len(set(shares)) == 6 and 0.3 < np.mean(shares) < 0.99


def test_pairs_are_repeatable_and_take_a_stride() -> None:
    scene = shot(0.1)
    config = PairConfig(num_frames=2, max_stride=3)
    first = [next(make_pairs(scene, np.random.default_rng(7), config)) for _ in range(2)]
    assert torch.equal(first[0].partial.known, first[1].partial.known)
    pairs = make_pairs(scene, np.random.default_rng(1), config)
    steps = {float(p.target.times_s.diff()[0] * 24) for p, _ in zip(pairs, range(8))}
    assert {round(s) for s in steps} == {1, 2, 3}
    whole = next(make_pairs(scene, np.random.default_rng(0)))
    assert len(whole.target) == T
    with pytest.raises(ValueError, match="num_frames is 0"):
        next(make_pairs(scene, np.random.default_rng(0), PairConfig(num_frames=0)))


def test_one_camera_per_frame() -> None:
    scene = shot()
    with pytest.raises(ValueError, match="2 novel cameras for 5 frames"):
        double_reproject(scene, scene.cameras[:2])


def test_paths_stay_in_range_and_go_one_way() -> None:
    rng = np.random.default_rng(0)
    narrow = PairConfig(wide_fraction=0.0)
    reach = torch.zeros(3)
    for _ in range(200):
        for k, (track, limit) in enumerate(zip(sample_path(rng, 9, narrow), (15, 10, 0.1))):
            assert track.shape == (9,) and float(track.abs().max()) <= limit
            step = track.diff()
            assert bool((step >= 0).all()) or bool((step <= 0).all())
            reach[k] = torch.maximum(reach[k], track.abs().max() / limit)
    assert float(reach.min()) > 0.9
    wide = [sample_path(rng, 9, PairConfig(wide_fraction=1.0))[0].abs().max() for _ in range(50)]
    assert 15 < float(max(wide)) <= 45


def test_orbits_go_where_they_say() -> None:
    """+φ to the right, +θ up, +r forward, about the point ahead."""
    own = camera(H, W)
    one = torch.ones(1, dtype=torch.float64)
    right = novel_cameras(own, 20 * one, 0 * one, 0 * one, 4.0).centers[0]
    up = novel_cameras(own, 0 * one, 20 * one, 0 * one, 4.0).centers[0]
    ahead = novel_cameras(own, 0 * one, 0 * one, 0.25 * one, 4.0).centers[0]
    assert right[0] > 1 and abs(right[1]) < 1e-9
    assert up[1] < -1 and abs(up[0]) < 1e-9
    assert torch.allclose(ahead, torch.tensor([0, 0, 1.0], dtype=torch.float64))


def test_resized_scenes_keep_their_geometry() -> None:
    scene = resize_scene(shot(), 30, 40)
    assert scene.video.frames.shape == (T, 3, 30, 40) and scene.depth.shape == (T, H, W)
    pair = next(make_pairs(scene, np.random.default_rng(0), PairConfig(num_frames=2)))
    assert pair.partial.frames.shape == (2, 3, 30, 40)


@pytest.mark.parametrize("kind", ["boxes", "strokes", "frames", "border"])
def test_2d_masks(kind: str) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(30):
        known = random_2d_known(rng, 8, H, W, [kind])  # type: ignore[list-item]
        assert known.shape == (8, H, W) and known.dtype == torch.float32
        assert set(known.unique().tolist()) == {0.0, 1.0}
        shares.append(float(known.mean()))
        whole = known.amin((1, 2)) == known.amax((1, 2))
        if kind == "frames":
            assert bool(whole.all()) and 0 < float(known.mean()) < 1
        if kind == "border":
            assert bool((known[:, H // 2, W // 2] == 1).all())
    assert 0.3 < np.mean(shares) < 0.97 and np.std(shares) > 0.01


def test_2d_masks_mix_and_repeat() -> None:
    a = random_2d_known(np.random.default_rng(3), 4, H, W)
    b = random_2d_known(np.random.default_rng(3), 4, H, W)
    assert torch.equal(a, b)
    assert random_2d_known(np.random.default_rng(0), 1, H, W, ["frames"]).min() == 1
    with pytest.raises(ValueError, match="choose from"):
        random_2d_known(np.random.default_rng(0), 4, H, W, ["dots"])  # type: ignore[list-item]
