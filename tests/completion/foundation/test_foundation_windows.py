"""Long videos by foundation models: no seam where windows meet.

The models here are exact: every token is the mean colour of 16×16 pixels, and the velocity is that
of a picture that stands still. Random weights would jump everywhere, at borders and elsewhere.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from completion_clips import panned, with_known
from recam.completion.foundation import FoundationModel, window_overlap
from recam.completion.foundation.flow import Family, FlowVideo
from recam.completion.foundation.schedules import FlowSchedule
from recam.completion.schedule import spread_levels
from recam.configs import CompleteConfig, FoundationConfig
from recam.types import PartialVideo
from small_models import complete_published

pytestmark = pytest.mark.filterwarnings("ignore::recam.completion.foundation.windows.FitNote")
FRAMES, WINDOW, SIDE, TIME = 45, 17, 16, 4
HOLE = (slice(None), slice(16, 48), slice(32, 64))


class Part(nn.Module):
    """Stands for a transformer or a VAE."""

    dtype = torch.float32
    config = SimpleNamespace(out_channels=3)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def disable_tiling(self) -> None:
        """It never tiles."""


def pooled(frames: Tensor) -> Tensor:
    small = F.avg_pool2d(frames.flatten(0, 1), SIDE).unflatten(0, frames.shape[:2])
    rest = small[:, 1:].unflatten(1, (-1, TIME)).mean(2)
    return torch.cat([small[:, :1], rest], 1)


def encoded(vae: object, frames: Tensor) -> tuple[Tensor, Tensor]:
    mean = pooled(frames)
    return mean, torch.zeros_like(mean)


def decoded(vae: object, z: Tensor) -> Tensor:
    frames = torch.cat([z[:, :1], z[:, 1:].repeat_interleave(TIME, 1)], 1)
    return frames.repeat_interleave(SIDE, 3).repeat_interleave(SIDE, 4)


def still(x: Tensor, sigma: Tensor) -> Tensor:
    """The clean latent of a picture that stands still: what is clean says it; else it is the best
    guess from all noisy tokens in one place, of values with deviation 1."""
    s = spread_levels(sigma, x)
    weight = torch.where(s > 0, (1 - s) / s.clamp(min=1e-3).square(), 1e9)
    power = torch.where(s > 0, (1 - s).square() / s.clamp(min=1e-3).square(), 1e9)
    return ((weight * x).sum(1, keepdim=True) / (1 + power.sum(1, keepdim=True))).expand_as(x)


def velocity(transformer, x, times, text, control):  # type: ignore[no-untyped-def]
    sigma = times / 1000
    s = spread_levels(sigma, x)
    if control is None:
        x0 = still(x, sigma)
    else:  # a completer that copies what is known, a little off in every other window
        shown, known, bias = control.transpose(1, 2).split([3, 1, 1], 2)
        seen = known.sum(1, keepdim=True)
        mean = (shown * known).sum(1, keepdim=True) / seen.clamp(min=1)
        x0 = torch.where(seen > 0, mean, still(x, sigma)) + bias
    return torch.where(s > 0, (x - x0) / s.clamp(min=1e-6), 0.0)


def exact_model(per_token: bool) -> FlowVideo:
    windows: list[int] = []

    def control(vae: object, shown: Tensor, known: Tensor) -> Tensor:
        windows.append(1)
        bias = torch.full_like(known, 0.1 * (-1) ** len(windows))
        return torch.cat([pooled(part) for part in (shown, known, bias)], 2).transpose(1, 2)

    family = Family(velocity, encoded, decoded, None if per_token else control)
    text = (torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool))
    return FlowVideo(
        family=family, transformer=Part(), vae=Part(), prompt=text, negative=None, guidance=1.0,
        device=torch.device("cpu"), placement="resident", space=SIDE, time=TIME, patch=1,
        schedule=FlowSchedule(None, 1.0, "euler"), max_frames=WINDOW, side=96, steps=4,
    )  # fmt: skip


def holed() -> PartialVideo:
    """A picture that stands still, of which a part is never seen."""
    frames = panned(1, 0, 64, 96).expand(FRAMES, -1, -1, -1).contiguous()
    known = torch.ones(FRAMES, 64, 96)
    known[HOLE] = 0
    return with_known(frames, known)


def steps_in_hole(model: FoundationModel, overlap: int) -> Tensor:
    """[t − 1]: mean change in the hole from each frame to the next, in grey levels."""
    config = CompleteConfig("wan22", foundation=FoundationConfig(), overlap=overlap)
    frames = complete_published(model, holed(), config).frames.float().mean(1)[HOLE]
    return (frames[1:] - frames[:-1]).abs().mean((1, 2))


def test_clean_tokens_leave_no_seam() -> None:
    alone = steps_in_hole(exact_model(True), 0)
    borders = [WINDOW - 1, 2 * WINDOW - 1]
    elsewhere = [i for i in range(FRAMES - 1) if i not in borders]
    assert float(alone[borders].min()) > 10 and float(alone[elsewhere].max()) < 1
    for overlap in (1, 4, 8):
        # What remains is the fit to what is known around the hole, which a token averages.
        steps = steps_in_hole(exact_model(True), overlap)
        assert float(steps.max()) < 0.2 * float(alone[borders].min())


def test_a_blend_spreads_what_a_completer_jumps_by(monkeypatch: pytest.MonkeyPatch) -> None:
    blended = steps_in_hole(exact_model(False), 8)
    monkeypatch.setattr(
        "recam.completers.foundation.window_overlap", lambda model, wanted, stochastic: (wanted, 0)
    )
    jumping = steps_in_hole(exact_model(False), 8)
    assert float(jumping.max()) > 10
    assert float(blended.max()) < 0.4 * float(jumping.max())


@pytest.mark.parametrize(
    "wanted, shared", [(0, 0), (1, 1), (2, 5), (8, 9), (9, 9), (100, WINDOW - 1)]
)
def test_shared_frames_are_whole_tokens(wanted: int, shared: int) -> None:
    assert window_overlap(exact_model(True), wanted) == (shared, 0)
    overlap, blend = window_overlap(exact_model(False), wanted)
    assert overlap == min(wanted, WINDOW - 1) and blend == overlap // 2
    assert window_overlap(exact_model(True), wanted, stochastic=True) == (overlap, blend)


def test_every_window_is_of_its_own_noise() -> None:
    config = CompleteConfig("wan22", overlap=0)
    frames = complete_published(exact_model(True), holed(), config).frames
    assert not torch.equal(frames[0], frames[WINDOW])
    other = complete_published(exact_model(True), holed(), replace(config, seed=1)).frames
    assert not torch.equal(frames[0], other[0])
