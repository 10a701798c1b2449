"""The shipped depth network, what is said of a clip with it, and its training."""

import hashlib
import math
import time
from pathlib import Path

import pytest
import torch

from recam.configs import DepthTrainConfig
from recam.reconstruct.depth_prior.efficientnet import EfficientNetLite0, SameConv2d
from recam.reconstruct.depth_prior.network import (
    SHIPPED,
    DepthNet,
    DepthNetConfig,
    Prediction,
    load_depth_net,
)
from recam.reconstruct.depth_prior.shipped import (
    available,
    network_size,
    shipped_depth,
)
from recam.training.data import step_generator
from recam.training.depth.batch import compressed, draw_depth_batch, filmed, limited
from recam.training.depth.data import Chunk, Pool
from recam.training.depth.loss import affine_loss, depth_loss, gradient_loss
from recam.training.depth.pretrain import chunks_at, heldout_figures, pretrain_depth, save_depth_net
from recam.types import RecamError

TINY = DepthNetConfig(widths=(8, 8, 8, 8, 16), attention=1, heads=2)
needs_weights = pytest.mark.skipif(not SHIPPED.is_file(), reason="no depth weights are shipped")


def _woken(model: DepthNet) -> DepthNet:
    """A network whose output is not the constant that it begins with."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return model.eval()


def _pool(num: int = 12) -> Pool:
    generator = torch.Generator().manual_seed(5)
    frames = (torch.rand(num, 3, 40, 56, generator=generator) * 255).to(torch.uint8)
    depth = torch.linspace(0, 2, 40)[None, :, None].expand(num, 40, 56)
    return Pool(chunks=[Chunk(frames, depth.to(torch.float16), torch.full((num,), 60.0))])


@pytest.mark.parametrize("size", [(16, 16), (32, 112), (80, 48)])
def test_network_keeps_the_size(size: tuple[int, int]) -> None:
    said = DepthNet(TINY)(torch.rand(2, 3, *size))
    assert said.log_inverse.shape == said.log_error.shape == (2, *size)
    assert said.log_focal.shape == said.log_focal_error.shape == (2,)
    assert all(x.dtype == torch.float32 for x in said)


def test_network_refuses_other_sizes() -> None:
    for shape in ((1, 3, 20, 32), (1, 1, 16, 16), (0, 3, 16, 16), (1, 3, 0, 16)):
        with pytest.raises(ValueError, match="multiples of 16"):
            DepthNet(TINY)(torch.zeros(shape))


def test_network_size_keeps_the_aspect() -> None:
    assert network_size(192, 320, 96 * 160) == (96, 160)
    h, w = network_size(2000, 10)
    assert h % 16 == w % 16 == 0 and w >= 16 and h <= 1024


@pytest.mark.parametrize("shape", [(1, 3, 30, 70), (3, 3, 90, 33), (2, 3, 5, 400)])
def test_shipped_depth_of_any_aspect(shape: tuple[int, ...]) -> None:
    frames = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 255).to(torch.uint8)
    inverse, confidence = shipped_depth(frames, _woken(DepthNet(TINY)))
    assert inverse.shape == confidence.shape == (shape[0], *shape[2:])
    assert inverse.dtype == confidence.dtype == torch.float32
    assert float(inverse.min()) > 0 and bool(torch.isfinite(inverse).all())
    assert float(confidence.min()) >= 0 and float(confidence.max()) <= 1


def test_encoder_pads_as_the_weights_expect() -> None:
    """TensorFlow's "SAME": ceil(size / stride) outputs, what is left over right and below."""
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]]))
        picture = torch.arange(36.0).view(1, 1, 6, 6)
        assert torch.equal(conv(picture), picture[..., ::2, ::2])
        assert conv(torch.zeros(1, 1, 9, 5)).shape == (1, 1, 5, 3)
    sizes = [x.shape[1:] for x in EfficientNetLite0()(torch.rand(1, 3, 48, 80))]
    assert sizes == [(16, 24, 40), (24, 12, 20), (40, 6, 10), (112, 3, 5), (320, 2, 3)]


def test_shipped_depth_refuses_what_is_no_clip() -> None:
    model = DepthNet(TINY)
    with pytest.raises(ValueError, match="expected uint8"):
        shipped_depth(torch.zeros(1, 3, 16, 16), model)
    with pytest.raises(ValueError, match="no pixels"):
        shipped_depth(torch.zeros(0, 3, 16, 16, dtype=torch.uint8), model)


@needs_weights
def test_still_pixels_do_not_breathe() -> None:
    """A still picture with fresh noise in every frame."""
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(1, 3, 6, 9, generator=generator) * 200 + 20
    picture = torch.nn.functional.interpolate(picture, (96, 144), mode="bilinear")
    clip = picture + 4 * torch.randn(6, 3, 96, 144, generator=generator)
    frames = clip.clamp(0, 255).to(torch.uint8)
    one_by_one = torch.cat([shipped_depth(f[None])[0] for f in frames]).log()
    together = shipped_depth(frames)[0].log()
    before, after = (x.std(0).mean() for x in (one_by_one, together))
    assert float(after) < 0.5 * float(before)


def test_affine_loss_is_invariant_to_scale_and_shift() -> None:
    generator = torch.Generator().manual_seed(3)
    inverse = torch.rand(2, 20, 30, generator=generator) + 0.5
    for scale, shift in ((1.0, 0.0), (3.0, 0.0), (0.5, 0.3), (2.0, -0.9)):
        assert float(affine_loss((scale * inverse + shift).log(), inverse.log())) < 1e-3
    assert float(affine_loss((1 / inverse).log(), inverse.log())) > 0.5


def test_loss_is_nought_for_the_truth_at_any_scale_and_knows_its_error() -> None:
    generator = torch.Generator().manual_seed(4)
    target = torch.randn(2, 16, 16, generator=generator)
    focal = torch.zeros(2)

    def loss(log_inverse: torch.Tensor, log_error: torch.Tensor) -> torch.Tensor:
        return depth_loss(Prediction(log_inverse, log_error, focal, focal), target, focal)[1]

    assert float(loss(target + 1.7, torch.zeros_like(target))[:3].abs().max()) < 1e-5
    off = target + 0.4 * torch.randn(2, 16, 16, generator=generator)
    expected = (off - target - (off - target).flatten(1).median(1).values[:, None, None]).abs()
    best = float(expected.mean().log())
    losses = [loss(off, torch.full_like(off, best + d))[3] for d in (-0.5, 0, 0.5)]
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_gradient_loss_sees_edges_not_offsets() -> None:
    step = torch.zeros(1, 16, 16)
    step[..., 8:] = 1.0
    # A row of 15 differences at full size has one step in it, at scales 2, 4, 8 one of 7, 3, 1.
    assert float(gradient_loss(step)) == pytest.approx((1 / 15 + 1 / 7 + 1 / 3 + 1) / 4, rel=1e-5)
    assert float(gradient_loss(torch.full((1, 16, 16), 3.0))) == 0


def test_far_things_are_put_where_the_sky_is() -> None:
    depth = torch.linspace(1, 2, 400).repeat(1, 1).view(1, 20, 20).clone()
    depth[0, 0] = torch.tensor([1e4, 150.0] * 10)
    out = (-limited(-depth.log())).exp()
    assert float(out[0, 0].std()) == 0 and float(out[0, 0, 0]) <= 100.0
    assert torch.allclose(out[0, 1:], depth[0, 1:])


def test_batches_repeat_and_look_filmed() -> None:
    a, b = (draw_depth_batch(_pool(), 3, 900, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(a.frames, b.frames) and torch.equal(a.target, b.target)
    assert a.frames.shape[0] == 3 and a.frames.shape[2:] == a.target.shape[1:]
    assert a.frames.shape[2] % 16 == 0 and a.frames.shape[3] % 16 == 0
    # The ramp of the pool falls from the top to the bottom of every crop, however it is flipped.
    assert bool((a.target[:, 0] > a.target[:, -1] + 0.2).all())
    # Crops of 60 to 100 % of a picture 56 px wide with a focal length of 60 px.
    assert bool((a.log_focal.exp() > 60 / 56 - 0.01).all())
    x = filmed(torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(1))
    assert float(x.min()) >= 0 and float(x.max()) <= 1


def test_compression_keeps_flat_parts_and_nears_the_picture_with_finer_steps() -> None:
    x = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    errors = [float((compressed(x, torch.full((1, 1, 1, 1), s)) - x).abs().mean())
              for s in (0.3, 0.1, 0.001)]  # fmt: skip
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3


def test_pool_grows_to_its_end() -> None:
    config = DepthTrainConfig(steps=90, num_chunks=10, first_chunks=4)
    counts = [chunks_at(step, config) for step in range(91)]
    assert counts[0] == 4 and counts[60] == counts[90] == 10 and counts == sorted(counts)


def test_resumed_training_ends_in_the_same_bytes(tmp_path: Path) -> None:
    def run(folder: str, steps: int) -> bytes:
        config = DepthTrainConfig(
            out=str(tmp_path / folder), steps=steps, batch=2, area=1024, device="cpu",
            checkpoint_every=2, warmup=2,
        )  # fmt: skip
        return pretrain_depth(config, TINY, _pool()).read_bytes()

    # Written at step 4 of 6 as a killed run would have left it.
    whole = run("whole", 6)
    short = DepthTrainConfig(
        out=str(tmp_path / "parts"), steps=6, batch=2, area=1024, device="cpu",
        checkpoint_every=2, warmup=2,
    )  # fmt: skip

    class Killed(Exception):
        pass

    def kill(what: str, done: int, total: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        pretrain_depth(short, TINY, _pool(), kill)
    assert run("parts", 6) == whole
    assert run("other", 4) != whole


def test_training_learns_a_ramp(tmp_path: Path) -> None:
    config = DepthTrainConfig(
        out=str(tmp_path), steps=60, batch=4, area=1024, device="cpu", checkpoint_every=60,
        warmup=5, lr=3e-3,
    )  # fmt: skip
    pretrain_depth(config, TINY, _pool())
    rows = (tmp_path / "curve.csv").read_text().splitlines()
    column = rows[0].split(",").index("scale")
    values = [float(row.split(",")[column]) for row in rows[1:]]
    assert sum(values[-10:]) < 0.6 * sum(values[:10])


def test_training_begins_from_weights(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_depth_net(_woken(DepthNet(TINY)), start)
    config = DepthTrainConfig(out=str(tmp_path / "run"), steps=0, device="cpu", start=str(start))
    path = pretrain_depth(config, TINY, _pool())
    x = torch.rand(1, 3, 16, 32)
    with torch.no_grad():
        assert torch.equal(load_depth_net(path)(x)[0], load_depth_net(start)(x)[0])
    other = DepthNetConfig(widths=(8, 8, 8, 8, 8), heads=2)
    config = DepthTrainConfig(out=str(tmp_path / "b"), steps=0, device="cpu", start=str(start))
    with pytest.raises(RecamError, match="other options"):
        pretrain_depth(config, other, _pool())


def test_a_run_of_other_options_is_refused(tmp_path: Path) -> None:
    base = dict(out=str(tmp_path), steps=1, batch=1, area=1024, device="cpu")
    pretrain_depth(DepthTrainConfig(**base), TINY, _pool())  # type: ignore[arg-type]
    with pytest.raises(RecamError, match="lr"):
        pretrain_depth(DepthTrainConfig(**base, lr=0.5), TINY, _pool())  # type: ignore[arg-type]


def test_weights_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = _woken(DepthNet(TINY))
    save_depth_net(model, path, steps="3")
    again = load_depth_net(path)
    x = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.allclose(again(x)[0], model.to(torch.bfloat16).float()(x)[0], atol=1e-5)
    with pytest.raises(RecamError, match="no such file"):
        load_depth_net(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RecamError, match="not a whole safetensors file"):
        load_depth_net(path)


@needs_weights
def test_shipped_weights_load_in_a_second_and_are_the_ones_of_the_card() -> None:
    started = time.perf_counter()
    load_depth_net(SHIPPED)
    assert time.perf_counter() - started < 1.0
    assert SHIPPED.stat().st_size < 20e6
    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert digest in SHIPPED.with_name("depth_card.md").read_text()
    assert available()


@needs_weights
def test_shipped_depth_of_a_room_beats_the_ramp() -> None:
    from recam.evaluation.depth import depth_errors
    from recam.synthetic import synthetic_clip

    truth, _ = synthetic_clip(900_123, 3, 108, 160, "tripod", "room")
    inverse, _ = shipped_depth(truth.video.frames)
    ramp = torch.linspace(0.3, 1, 108)[None, :, None].expand_as(inverse)
    near = truth.depth < 500
    own, trivial = (
        depth_errors(1 / x, truth.depth, near, "scale-and-shift", per_frame=True)
        for x in (inverse, ramp)
    )
    assert own.delta1 > trivial.delta1 + 0.05
    assert math.isfinite(own.abs_rel) and own.abs_rel < trivial.abs_rel
    still = ~truth.dynamic.any(0)
    flicker = inverse.std(0)[still] / inverse.mean(0)[still]
    assert float(flicker.mean()) < 0.02


def test_heldout_figure_of_the_truth_is_one() -> None:
    class Knows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dummy = torch.nn.Parameter(torch.zeros(()))

        def forward(self, frames: torch.Tensor) -> Prediction:
            log, focal = -2 * frames[:, 0], torch.zeros(len(frames))
            return Prediction(log, log, focal, focal)

    frames = torch.arange(0, 48 * 64, dtype=torch.float32).view(1, 1, 48, 64).expand(1, 3, 48, 64)
    frames = (frames % 256).to(torch.uint8)
    truth = 2 * frames[:, 0].float() / 255
    focal_px = torch.tensor([64 * math.exp(0.25)])
    delta1, focal = heldout_figures(Knows(), Chunk(frames, truth + 0.3, focal_px))  # type: ignore[arg-type]
    assert delta1 == 1.0 and focal == pytest.approx(0.25)
    wrong, _ = heldout_figures(Knows(), Chunk(frames, 2 - truth, focal_px))  # type: ignore[arg-type]
    assert wrong < 0.5


def test_every_step_sees_other_pictures() -> None:
    # Every picture has a depth of its own, so that it can be told which was drawn.
    own = (torch.arange(400).view(400, 1, 1).expand(400, 16, 16) / 200 - 1).to(torch.float16)
    frames = torch.zeros(400, 3, 16, 16, dtype=torch.uint8)
    pool = Pool(chunks=[Chunk(frames, own, torch.ones(400))])
    seen = set()
    for step in range(60):
        batch = draw_depth_batch(pool, 4, 256, step_generator(0, step, 0, torch.device("cpu")))
        seen |= {round(float(target.mean()), 3) for target in batch.target}
    assert len(seen) > 150
