"""Rendering a path: whole, by windows and by frames; errors."""

from dataclasses import replace

import pytest
import torch

from recam.configs import RenderConfig
from recam.render import render, render_frames, render_windows
from recam.runtime import jit
from recam.types import CameraPath, Cameras, RecamError, Scene, video_from_frames
from render_scene import camera, room, see

H, W, T = 48, 64, 7


def clip() -> tuple[Scene, CameraPath]:
    cameras = [camera(H, W, (0.1 * i, 0, 0)) for i in range(T)]
    pairs = [see(room(), c, 1) for c in cameras]
    own = Cameras(
        torch.cat([c.cam_from_world for c in cameras]),
        torch.cat([c.intrinsics for c in cameras]), H, W,
    )  # fmt: skip
    depth = torch.stack([d for _, d in pairs])
    nothing = torch.zeros_like(depth, dtype=torch.bool)
    video = video_from_frames(torch.stack([f for f, _ in pairs]))
    scene = Scene(video, own, depth, ~nothing, nothing, torch.ones_like(depth))
    moved = own.cam_from_world.clone()
    moved[:, 0, 3] += 0.2
    return scene, CameraPath(replace(own, cam_from_world=moved), torch.arange(T))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("merged", [False, True])
def test_whole_windows_and_frames_are_the_same(threads: int, merged: bool) -> None:
    scene, path = clip()
    config = RenderConfig(aggregate_static=merged)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = render(scene, path, config)
        windows = list(render_windows(scene, path, config, window=3))
        frames = list(render_frames(scene, path, config))
    finally:
        torch.set_num_threads(before)
    assert [len(w) for w in windows] == [3, 3, 1]
    assert torch.equal(torch.cat([w.frames for w in windows]), whole.frames)
    assert torch.equal(torch.cat([w.depth for w in windows]), whole.depth)
    assert torch.equal(torch.cat([w.cameras.cam_from_world for w in windows]),
                       path.cameras.cam_from_world)  # fmt: skip
    assert torch.equal(torch.stack([v.known for v in frames]), whole.known)
    assert float(whole.known.mean()) > 0.5


def test_the_source_s_own_path_returns_the_video() -> None:
    scene, _ = clip()
    same = render(scene, CameraPath(scene.cameras, torch.arange(T)))
    assert torch.equal(same.frames, scene.video.frames) and float(same.known.min()) == 1
    gap = (same.depth - scene.depth).abs() / scene.depth
    # At edges and borders a corner has fewer than four pixels to average.
    assert float(gap.median()) < 1e-6 and float(gap.quantile(0.99)) < 0.04


def test_coarse_depth_still_returns_the_video() -> None:
    scene, _ = clip()
    coarse = Scene(
        scene.video, scene.cameras.resized(H // 2, W // 2), scene.depth[:, ::2, ::2],
        scene.valid[:, ::2, ::2], scene.dynamic[:, ::2, ::2], scene.confidence[:, ::2, ::2],
    )  # fmt: skip
    path = CameraPath(coarse.cameras.resized(H, W), torch.arange(T))
    same = render(coarse, path)
    assert torch.equal(same.frames, scene.video.frames) and float(same.known.min()) == 1


def test_source_frames_choose_the_moment() -> None:
    scene, path = clip()
    frozen = CameraPath(path.cameras, torch.full((T,), 2))
    alone = RenderConfig(aggregate_static=False)
    rendering = render(scene, frozen, alone)
    twin = render(scene, CameraPath(path.cameras[:1], torch.tensor([2])), alone)
    assert torch.equal(rendering.frames[0], twin.frames[0])
    backwards = CameraPath(scene.cameras[torch.arange(T - 1, -1, -1)], torch.arange(T - 1, -1, -1))
    assert torch.equal(render(scene, backwards, alone).frames, scene.video.frames.flip(0))


def test_output_takes_the_size_of_the_path() -> None:
    scene, path = clip()
    small = CameraPath(path.cameras.resized(30, 50), path.source_frames)
    rendering = render(scene, small)
    assert rendering.frames.shape == (T, 3, 30, 50) and rendering.depth.shape == (T, 30, 50)


def test_progress_reaches_the_end() -> None:
    scene, path = clip()
    said: list[tuple[str, int, int]] = []
    render(scene, path, progress=lambda *step: said.append(step))
    assert said[-1] == ("render", T, T)
    assert {what for what, _, _ in said} == {"static points", "render"}


def test_errors() -> None:
    scene, path = clip()
    with pytest.raises(ValueError, match=r"source frames 0 to 9, but the scene has 7"):
        render(scene, CameraPath(path.cameras[:2], torch.tensor([0, 9])))
    with pytest.raises(ValueError, match="path is empty"):
        render(scene, path[:0])
    with pytest.raises(ValueError, match="window is 0"):
        list(render_windows(scene, path, window=0))
    with pytest.raises(ValueError, match="render device is 'tpu'"):
        render(scene, path, RenderConfig(device="tpu"))
    if not torch.cuda.is_available():
        with pytest.raises(RecamError, match="finds no GPU"):
            render(scene, path, RenderConfig(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_shows_the_same() -> None:
    scene, path = clip()
    cpu, cuda = render(scene, path), render(scene, path, RenderConfig(device="cuda"))
    assert float((cpu.known != cuda.known).float().mean()) < 1e-3
    differ = (cpu.frames.int() - cuda.frames.int()).abs().amax(1) > 2
    assert float(differ.float().mean()) < 2e-3


def test_an_error_in_a_worker_comes_out() -> None:
    scene, path = clip()
    broken = replace(scene, video=video_from_frames(torch.zeros(T, 3, 48, 64, dtype=torch.uint8)))
    object.__setattr__(broken.video, "frames", torch.zeros(T, 1))
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        render(broken, path, RenderConfig(aggregate_static=False))


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    real = jit.njit

    def no_locator(cache: bool = False, **options: object):  # type: ignore[no-untyped-def]
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(jit, "njit", no_locator)
    assert jit.kernel(lambda x: x + 1)(2) == 3
