"""Synthetic scenes on a GPU. Where there is none, at least nothing of the host is mixed in."""

import pytest
import torch

import pretend_gpu
from recam.synthetic import SCENE_KINDS, render_synthetic, sample_cameras, sample_scene
from recam.synthetic.render import optical_flow
from recam.synthetic.scene import SceneKind


def test_the_pretended_gpu_refuses_what_a_real_one_does() -> None:
    with pretend_gpu.PretendedGpu():
        there, here = torch.zeros(3, device="cuda"), torch.ones(3)
        assert there.device.type == "cuda" and (there + 1).device.type == "cuda"
        assert (there + torch.tensor(2.0)).is_cuda and there[torch.tensor([0, 2])].is_cuda
        assert here.to(there).is_cuda and not there.cpu().is_cuda and not here.is_cuda
        for mixed in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: here[there.long()],
            lambda: there.numpy(),
        ):
            with pytest.raises(RuntimeError, match="GPU"):
                mixed()


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_nothing_of_the_host_is_mixed_in(kind: SceneKind) -> None:
    scene = sample_scene(2, kind)
    cameras = sample_cameras(scene, 2, "orbit", 2, 32, 48)
    times_s = torch.arange(2) / 24
    expected = render_synthetic(scene, cameras, times_s)
    with pretend_gpu.PretendedGpu():
        got = render_synthetic(scene, cameras, times_s, "cuda")
        for tensor in (got.frames, got.depth, got.object_ids, got.dynamic, got.part_ids):
            assert tensor.is_cuda
        flow, visible = optical_flow(scene, got, cameras, times_s, cameras, times_s + 0.1)
        assert flow.is_cuda and visible.is_cuda
    assert torch.equal(got.frames, expected.frames) and torch.equal(got.depth, expected.depth)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_a_gpu_shows_the_same(kind: SceneKind) -> None:
    scene = sample_scene(2, kind)
    cameras = sample_cameras(scene, 2, "orbit", 2, 128, 192)
    cpu, cuda = (
        render_synthetic(scene, cameras, torch.arange(2) / 24, device) for device in ("cpu", "cuda")
    )
    differ = (cpu.frames.int() - cuda.frames.cpu().int()).abs().amax(1) > 2
    assert float(differ.float().mean()) < 1e-2  # an edge may fall on its other side
    close = (cuda.depth.cpu() / cpu.depth - 1).abs() < 1e-3
    assert float(close.float().mean()) > 0.99
