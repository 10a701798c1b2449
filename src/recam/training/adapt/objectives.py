"""What each foundation model is trained to answer: its own objective, on cached latents."""

from __future__ import annotations

import torch
from torch import Tensor

from recam.completion.foundation import FoundationModel
from recam.completion.foundation.cogvideox import CogVideoX
from recam.completion.foundation.cogvideox import velocity as vp_velocity
from recam.completion.foundation.flow import FlowVideo
from recam.completion.schedule import add_noise, spread_levels
from recam.training.adapt.latents import LatentExample

CHECK_LEVELS = (1.0, 0.75, 0.5)
"""Of the way to pure noise, where the held-back check asks for the clean latent."""


def adapting_loss(
    model: FoundationModel, example: LatentExample, generator: torch.Generator
) -> Tensor:
    """The model's own loss at a random level, over what is scored and not clean.

    CogVideoX: squared error of the velocity at a uniform time of its DDIM schedule, which is that
    of the clean latent over 1 − ᾱ. The others: squared error of noise − clean, at levels
    shifted as their samplers' are. All randomness comes from the generator, on the CPU.
    """
    u = float(torch.rand((), generator=generator))
    example = _drawn(example, generator)
    noise = torch.randn(example.target.shape, generator=generator)
    if isinstance(model, CogVideoX):
        answer, wanted, scored, _ = _vp(model, example, noise, int(u * 1000))
    else:
        assert isinstance(model, FlowVideo)
        shift = model.schedule.shift(example.clean[0].numel())
        level = shift * u / (1 + (shift - 1) * u)
        answer, wanted, scored, _ = _flow(model, example, noise, max(level, 1e-3))
    weight = example.learn.to(answer) * scored
    error = weight * (answer - wanted).square()
    return error.sum() / (weight.sum() * answer.shape[2]).clamp(min=1)


@torch.no_grad()
def check_error(model: FoundationModel, example: LatentExample, seed: int = 0) -> float:
    """Mean squared error of the clean latents estimated in the example's held-back holes, over
    CHECK_LEVELS, always of the same noise. NaN when there is nothing to check."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(example.target.shape, generator=generator)
    if not bool(example.check.any()):
        return float("nan")
    errors = []
    for level in CHECK_LEVELS:
        if isinstance(model, CogVideoX):
            _, _, scored, off = _vp(model, example, noise, round(level * 1000) - 1)
        else:
            assert isinstance(model, FlowVideo)
            _, _, scored, off = _flow(model, example, noise, level)
        weight = example.check.to(off) * scored
        errors.append(float((weight * off.square()).sum() / (weight.sum() * off.shape[2])))
    return sum(errors) / len(errors)


def _drawn(example: LatentExample, generator: torch.Generator) -> LatentExample:
    """The same with a draw of its posterior as target, and one of its encodings beside."""
    noise = torch.randn(example.target.shape, generator=generator)
    target = example.target + example.spread * noise.to(example.spread)
    pick = int(torch.randint(len(example.beside), (1,), generator=generator))
    return LatentExample(
        target, example.spread, example.beside[pick : pick + 1], example.clean, example.learn,
        example.check,
    )  # fmt: skip


Answer = tuple[Tensor, Tensor, Tensor, Tensor]
"""What the transformer says, what it should, where that counts, how far its clean latent is off."""


def _vp(model: CogVideoX, example: LatentExample, noise: Tensor, time: int) -> Answer:
    device = model.device
    x0, noise = example.target.to(device).float(), noise.to(device)
    alpha = model.scheduler.alphas_cumprod[time].to(device).float()
    signal, scale = alpha.sqrt(), (1 - alpha).sqrt()
    x = signal * x0 + scale * noise
    t = torch.full((len(x),), time, device=device)
    beside = example.beside[0].to(device)
    v = vp_velocity(model, x, beside, t, model.prompt)
    wanted = signal * noise - scale * x0
    return v, wanted, torch.ones_like(x0[:, :, :1]), scale * (wanted - v)


def _flow(model: FlowVideo, example: LatentExample, noise: Tensor, level: float) -> Answer:
    device = model.device
    x0, noise = example.target.to(device).float(), noise.to(device)
    given = example.beside[0].to(device)
    sigma = (~example.clean).to(device).float() * level
    s = spread_levels(sigma, x0)
    x = add_noise(x0, noise, s)
    control: Tensor | None = given
    if model.per_token_noise:
        x, control = torch.where(s > 0, x, given.float()), None
    text = (model.prompt[0].to(device), model.prompt[1].to(device))
    v = model.family.velocity(model.transformer, x, 1000 * sigma, text, control)
    wanted = noise - x0
    return v, wanted, (s > 0).float(), s * (wanted - v)
