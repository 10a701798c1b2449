"""Does training work on this device? Asked in seconds, before hours are spent."""

from __future__ import annotations

import math

import torch

from recam.completion.backbone import Condition
from recam.completion.transformer import VideoTransformer
from recam.configs import Fill, ModelConfig, ObjectiveConfig
from recam.training.data import draw_batch, step_generator
from recam.training.loss import masked_loss
from recam.training.optim import bf16, new_optimizer, update
from recam.types import RecamError

FILLS: tuple[Fill, ...] = ("propagate", "pull-push")
TINY = ModelConfig(patch=8, hidden=32, heads=2, blocks=3, stem=8, fills=FILLS)
SIZE = (4, 4, 32, 48)
NUM_STEPS = 12
TOLERANCE = 0.02


def self_check(device: torch.device) -> str:
    """Make clips and train a tiny model on the device; returns what was found, in one line.

    Raises RecamError when the loss does not fall, or the device's answer is not the CPU's.
    """
    torch.manual_seed(0)
    model = VideoTransformer(TINY).to(device)
    optimizer = new_optimizer(list(model.parameters()), 2e-3, 0.0)
    objective = ObjectiveConfig(masks=("reprojected",), degrade=0.0, drop_condition=0.0)
    losses = []
    for _ in range(NUM_STEPS):  # one batch, again and again: it must be learned
        generator = step_generator(0, 0, 0, device)
        batch = draw_batch(SIZE, objective, FILLS, generator)
        with bf16(device):
            loss = masked_loss(model, batch, generator, objective)
        loss.backward()
        update(optimizer, list(model.parameters()), 2e-3)
        losses.append(loss.item())
    if not all(map(math.isfinite, losses)) or losses[-1] >= losses[0]:
        raise RecamError(
            f"self-check on {device}: the loss went {losses[0]:.4f} → {losses[-1]:.4f}"
        )
    off = _distance_from_cpu(model, batch.condition)
    if not off < TOLERANCE:
        raise RecamError(f"self-check: {device} and the CPU differ by {off:.3g}, over {TOLERANCE}")
    return (
        f"self-check on {device}: the loss of one batch went {losses[0]:.4f} → {losses[-1]:.4f} in "
        f"{NUM_STEPS} steps, {off:.1g} from the CPU's answer"
    )


def _distance_from_cpu(model: VideoTransformer, condition: Condition) -> float:
    """Largest difference of one denoising pass in float32 on the model's device and on the CPU."""
    device, cpu = model.device, torch.device("cpu")
    b, t, h, w = SIZE
    noise = torch.randn(b, t, 3, h, w, generator=torch.Generator().manual_seed(1))
    sigma = torch.full((b, t, h // TINY.patch, w // TINY.patch), 0.7)
    with torch.no_grad():
        here = model.denoise(noise.to(device), sigma.to(device), condition)
        there = model.to(cpu).denoise(noise, sigma, condition.to(cpu))
    return float((here.cpu() - there).abs().max())
