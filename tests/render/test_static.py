"""Persistent static points: what one frame saw fills what another did not, and nothing else."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from recam.configs import RenderConfig
from recam.render import build_static, render, render_frames
from recam.render.frame import render_frame_fast, render_frame_torch
from recam.render.source import make_source
from recam.render.splat import empty_view
from recam.render.static import choose_keyframes
from recam.render.surface import HIDDEN
from recam.types import CameraPath, Cameras, Scene, video_from_frames
from render_scene import Rectangle, camera, psnr, room, see

H, W, T = 96, 144, 6
ALONE = RenderConfig(aggregate_static=False, smooth_outlines=False)
MERGED = RenderConfig(smooth_outlines=False)  # pixels as they are, not mixed along outlines


def join(cameras: list[Cameras]) -> Cameras:
    return Cameras(
        torch.cat([c.cam_from_world for c in cameras]),
        torch.cat([c.intrinsics for c in cameras]),
        cameras[0].height,
        cameras[0].width,
    )


@dataclass(frozen=True)
class Shot:
    scene: Scene
    path: CameraPath
    truth: Tensor
    true_depth: Tensor


@pytest.fixture(scope="module")
def shot() -> Shot:
    """A camera that trucks past the room while a board moves; seen from one fixed camera."""
    own = join([camera(H, W, (-0.8 + 0.32 * i, 0, 0)) for i in range(T)])
    there = camera(H, W, (-0.7, -0.2, 0.06), 10)
    frames, depths, movings, truths, true_depths = [], [], [], [], []
    for i in range(T):
        board = Rectangle((-0.3 + 0.15 * i, -0.3, 1.7), (0.35, 0, 0), (0, 0.7, 0), 9)
        frame, depth = see([*room(), board], own[i : i + 1], 2)
        truth, true_depth = see([*room(), board], there, 2)
        frames.append(frame)
        depths.append(depth)
        movings.append((depth - 1.7).abs() < 1e-3)
        truths.append(truth)
        true_depths.append(true_depth)
    depth, moving = torch.stack(depths), torch.stack(movings)
    video = video_from_frames(torch.stack(frames))
    every = torch.ones_like(moving)
    scene = Scene(video, own, depth, every, moving, torch.ones_like(depth))
    path = CameraPath(join([there] * T), torch.arange(T))
    return Shot(scene, path, torch.stack(truths), torch.stack(true_depths))


def test_static_points_fill_holes_rightly(shot: Shot) -> None:
    alone, merged = (render(shot.scene, shot.path, config) for config in (ALONE, MERGED))
    own, filled = alone.known > 0, (merged.known > 0) & (alone.known <= 0)
    assert float(own.float().mean()) < 0.7 and float(filled.float().mean()) > 0.2
    assert torch.equal(merged.frames[:, 0][own], alone.frames[:, 0][own]), "own pixels come first"
    wrong = (merged.depth - shot.true_depth).abs() > 0.05 * shot.true_depth
    assert float(wrong[filled].float().mean()) < 0.05
    # The smallest waves are below this little picture's pixels, hence no more.
    assert psnr(merged.frames, shot.truth, filled) > 19
    assert psnr(merged.frames, shot.truth, filled) > psnr(merged.frames, shot.truth, own) - 3


def test_what_moved_does_not_stay(shot: Shot) -> None:
    """The board is at 1.7 m; elsewhere than where it is now, nothing is."""
    merged = render(shot.scene, shot.path)
    board = (shot.true_depth > 0) & (shot.true_depth < 1.9) & (shot.true_depth > 1.5)
    near_board = torch.nn.functional.max_pool2d(board.float(), 5, 1, 2) > 0
    ghost = (merged.known > 0) & (merged.depth > 1.5) & (merged.depth < 1.85) & ~near_board
    pole = (shot.true_depth < 2.3) & (shot.true_depth > 1.85)
    assert int((ghost & ~pole).sum()) == 0


def test_unmarked_motion_is_seen_through(shot: Shot) -> None:
    """A mover that nobody marked is refused where other frames look through it."""
    scene = replace(shot.scene, dynamic=torch.zeros_like(shot.scene.dynamic))
    merged = render(scene, shot.path)
    board = shot.true_depth < 1.9
    near_board = torch.nn.functional.max_pool2d(board.float(), 7, 1, 3) > 0
    ghost = (merged.known > 0) & (merged.depth > 1.5) & (merged.depth < 1.85) & ~near_board
    # Not all: where no other frame looks, nothing speaks against it. Unchecked it is 0.025.
    assert float(ghost.float().mean()) < 0.008


def test_filled_parts_take_the_frame_s_exposure(shot: Shot) -> None:
    gain = torch.tensor([1.0, 0.8, 0.9, 0.7, 0.85, 0.75])[:, None, None, None]
    channels = torch.tensor([1.0, 0.98, 0.95])[None, :, None, None]
    tint = channels ** torch.arange(T)[:, None, None, None]
    dimmed = (shot.scene.video.frames * gain * tint).to(torch.uint8)
    truth = (shot.truth * gain * tint).to(torch.uint8)
    scene = replace(shot.scene, video=video_from_frames(dimmed))
    alone, merged = (render(scene, shot.path, config) for config in (ALONE, MERGED))
    filled = (merged.known > 0) & (alone.known <= 0)
    for i in range(T):
        error = merged.frames[i].float() - truth[i].float()
        assert float(error[:, filled[i]].mean(1).abs().max()) < 5, "a seam would show"


@pytest.mark.parametrize("coarse", [False, True])
def test_torch_fill_agrees_with_the_compiled_one(shot: Shot, coarse: bool) -> None:
    scene = shot.scene
    if coarse:

        def half(x: Tensor) -> Tensor:
            return x[:, ::2, ::2].contiguous()

        scene = Scene(
            scene.video, scene.cameras.resized(H // 2, W // 2), half(scene.depth),
            half(scene.valid), half(scene.dynamic), half(scene.confidence),
        )  # fmt: skip
    config = RenderConfig()
    static = build_static(scene, config)
    for i in (0, 3):
        source, target = make_source(scene, i, config), shot.path.cameras[i : i + 1]
        fast = render_frame_fast(source, target, static, config, empty_view(H, W))
        slow = render_frame_torch(source, target, static, config, torch.device("cpu"))
        assert float((fast.known != slow.known).float().mean()) < 1e-3
        both = (fast.known > 0) & (slow.known > 0)
        same = torch.isclose(fast.depth, slow.depth, rtol=1e-3)
        same &= (fast.frame.int() - slow.frame.int()).abs().amax(0) <= 2
        assert float(same[both].float().mean()) > 0.998
        assert float((fast.origin < 0)[both].float().mean()) > 0.1  # the fill was compared too


def test_the_set_does_not_grow_with_what_is_seen_again(shot: Shot) -> None:
    again = torch.zeros(40, dtype=torch.int64)
    scene = shot.scene
    still = Scene(
        scene.video[again], scene.cameras[again], scene.depth[again], scene.valid[again],
        torch.zeros_like(scene.dynamic[again]), scene.confidence[again],
    )  # fmt: skip
    static = build_static(still, RenderConfig(num_static_frames=5))
    assert len(static.keyframes) == 5
    shown = [
        float(((k.source.surface.flags & HIDDEN) == 0).float().mean()) for k in static.keyframes
    ]
    assert shown[0] > 0.8 and max(shown[1:]) == 0


def test_keyframes_are_far_apart(shot: Shot) -> None:
    chosen = choose_keyframes(shot.scene, 3)
    assert chosen[0] == T // 2 and set(chosen[1:]) == {0, T - 1}
    assert sorted(choose_keyframes(shot.scene, 99)) == list(range(T))


def test_a_built_set_is_used(shot: Shot) -> None:
    static = build_static(shot.scene, RenderConfig())
    views = list(render_frames(shot.scene, shot.path[:2], static=static))
    whole = render(shot.scene, shot.path[:2])
    assert torch.equal(torch.stack([v.frame for v in views]), whole.frames)


def test_nothing_valid_gives_nothing_known(shot: Shot) -> None:
    scene = replace(shot.scene, valid=torch.zeros_like(shot.scene.valid))
    assert float(render(scene, shot.path[:2]).known.max()) == 0
