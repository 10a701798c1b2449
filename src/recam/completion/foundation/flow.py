"""Flow-matching video models (Wan, LTX) as completers: what they share.

Models with a time of its own for every token complete by "mask by noising" (seed 2): tokens that
are wholly known stay clean throughout and the rest is denoised around them, untrained for it. VACE
was trained to complete and takes frames and mask beside the noise instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recam.completion.backbone import Condition, require_uniform
from recam.completion.foundation.fit import Fit, fit_multiple, least_share
from recam.completion.foundation.placement import on_device
from recam.completion.foundation.speedups import branch, feature_caching, flow_scheduler
from recam.completion.foundation.text import Text
from recam.completion.pixels import from_signal, to_signal
from recam.completion.pull_push import pull_push
from recam.completion.samplers import SeededNoise, sample_anchored, sample_stochastic
from recam.completion.schedule import sampling_levels, spread_levels
from recam.configs import CompleteConfig, FeatureCache, Fill, Placement, SamplingConfig, Schedule
from recam.types import PartialVideo, Progress, no_progress

RENOISED = SamplingConfig.threshold
"""Level at which the stochastic sampler begins to doubt the evidence."""


@dataclass(frozen=True)
class Family:
    """What differs between models of flow matching. Latents are [b, t', c, h', w'].

    velocity(transformer, x, sigma [b, t, h, w], text, control): noise − clean, float32.
    encode, decode: between pixels [b, t, 3, h, w] in [-1, 1] and latents, by a VAE.
    control(vae, shown, known): what enters beside the noise, or None where nothing does.
    """

    velocity: Callable[[Any, Tensor, Tensor, Text, Tensor | None], Tensor]
    encode: Callable[[Any, Tensor], Tensor]
    decode: Callable[[Any, Tensor], Tensor]
    control: Callable[[Any, Tensor, Tensor], Tensor] | None = None


@dataclass
class FlowVideo:
    """A Backbone (see completion.backbone) around a published flow-matching model.

    space, time: pixels and frames per latent (the first frame has a latent of its own). patch:
    latents per token's side. shift: of the noise levels (see ``sampling_levels``). side: longer
    side that it was trained at. negative is None when guidance would change nothing.
    """

    family: Family
    transformer: Any
    vae: Any
    prompt: Text
    negative: Text | None
    guidance: float
    device: torch.device
    placement: Placement
    space: int
    time: int
    patch: int
    shift: float
    max_frames: int
    side: int
    steps: int
    feature_cache: FeatureCache = "none"
    cache_threshold: float = 0.05
    schedule: Schedule = "own"
    source: CompleteConfig | None = None
    per_token_noise: bool = field(init=False)
    _control: tuple[Condition, Tensor] | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        self.per_token_noise = self.family.control is None

    @property
    def fills(self) -> tuple[Fill, ...]:
        return ()

    @property
    def pixel_multiple(self) -> int:
        return self.space * self.patch

    def padded_frames(self, num: int) -> int:
        """How many frames a clip of ``num`` is padded to."""
        return num + (1 - num) % self.time

    def fit(self, height: int, width: int, max_side: int | None) -> Fit:
        """Scaled down to max_side (default: the model's own), then padded to whole tokens."""
        return fit_multiple(height, width, self.pixel_multiple, max_side or self.side)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        with on_device(self.vae, self.placement, self.device):
            return self.family.encode(self.vae, frames.to(self.device, self.vae.dtype)).float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        with on_device(self.vae, self.placement, self.device):
            return self.family.decode(self.vae, z.to(self.device)).float().cpu()

    def token_levels(self, known: Tensor) -> Tensor:
        return least_share(known, self.pixel_multiple, self.time)

    @torch.no_grad()
    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        """Clean estimate of a flow latent [b, t', c, h', w']; tokens at sigma 0 stay as they are.

        sigma: [b, t, h, w]. What of the condition is known enters a model that was trained to
        complete; it is not looked at by one that takes a level per token. Raises ValueError without
        a condition, or when sigma differs between tokens, where the model cannot take that.
        """
        if not self.per_token_noise:
            require_uniform(sigma)
        control = self._control_of(condition)

        def run(text: Text, name: str) -> Tensor:
            on_it = (text[0].to(self.device), text[1].to(self.device))
            with branch(self.transformer, name):
                return self.family.velocity(self.transformer, x, sigma, on_it, control).to(x)

        with on_device(self.transformer, self.placement, self.device):
            v = run(self.prompt, "prompt")
            if self.negative is not None:
                away = run(self.negative, "negative")
                v = away + self.guidance * (v - away)
        return x - spread_levels(sigma, x) * v  # x0, which is x itself where sigma is 0

    def _control_of(self, condition: Condition | None) -> Tensor | None:
        """What the condition becomes beside the noise, worked out once for all steps."""
        if self.family.control is None:
            return None
        if condition is None:
            raise ValueError("this model needs a condition: known frames enter beside the noise")
        if self._control is None or self._control[0] is not condition:
            latents = self.control_latents(condition.evidence, condition.known)
            self._control = (condition, latents)
        return self._control[1]

    @torch.no_grad()
    def control_latents(self, shown: Tensor, known: Tensor) -> Tensor:
        """What enters beside the noise of a model that was trained to complete."""
        if self.family.control is None:
            raise ValueError("nothing enters beside this model's noise")
        with on_device(self.vae, self.placement, self.device):
            shown, known = (part.to(self.device, self.vae.dtype) for part in (shown * known, known))
            return self.family.control(self.vae, shown, known)

    def sample(
        self, shown: Tensor, known: Tensor, steps: int, seed: int,
        progress: Progress = no_progress, stochastic: bool = False,
    ) -> Tensor:  # fmt: skip
        """Completed frames [b, t, 3, h, w] in [-1, 1], on the CPU. known: [b, t, 1, h, w].

        stochastic: clean tokens are re-noised at RENOISED and denoised with the rest from there
        (seed 2), by a model of one level per token; the others generate everything anyway.
        """
        progress("encoding", 0, 1)
        nothing = shown[:, None][:, :0]
        condition = Condition(shown * known, known, nothing)
        seeds = [seed + i for i in range(len(shown))]
        levels = sampling_levels(steps, self.shift)
        evidence = self.encode(filled(shown, known))
        clean = (self.token_levels(known) >= 1).to(self.device)
        if not self.per_token_noise:  # its control says what is known
            clean = torch.zeros_like(clean)
            self._control_of(condition)
        caching = feature_caching(self.transformer, self.feature_cache, self.cache_threshold)
        with on_device(self.transformer, self.placement, self.device), caching:
            if stochastic and self.per_token_noise:
                z = sample_stochastic(
                    self, evidence, clean, condition, condition, seeds, levels, RENOISED,
                    progress=progress,
                )  # fmt: skip
            elif self.schedule == "unipc":
                z = _sample_unipc(self, evidence, clean, condition, seeds, steps, progress)
            else:
                z = sample_anchored(
                    self, evidence, clean, condition, seeds, levels, progress=progress
                )
        self._control = None
        return self.decode(z)


def _sample_unipc(
    model: FlowVideo, evidence: Tensor, clean: Tensor, condition: Condition, seeds: list[int],
    steps: int, progress: Progress,
) -> Tensor:  # fmt: skip
    """As ``sample_anchored``, by diffusers' UniPC: fewer steps for the same distance from the
    limit of many. Clean tokens are the evidence at every step."""
    scheduler = flow_scheduler(model.shift)
    scheduler.set_timesteps(steps)
    is_clean = spread_levels(clean, evidence)
    x = SeededNoise(seeds, evidence).draw()
    for i, (t, level) in enumerate(zip(scheduler.timesteps, scheduler.sigmas)):
        x = torch.where(is_clean, evidence, x)
        sigma = (~clean).to(x) * level.to(x)
        x0 = model.denoise(x, sigma, condition)
        v = ((x - x0) / level.to(x)).cpu()
        x = scheduler.step(v, t, x.cpu(), return_dict=False)[0].to(evidence)
        progress("sampling", i + 1, steps)
    return torch.where(is_clean, evidence, x)


def filled(shown: Tensor, known: Tensor) -> Tensor:
    """The frames with smoothly filled holes: black ones would darken the latents of what is known
    beside them, since a VAE looks around."""
    out = []
    for frames, mask in zip(shown, known):
        if bool((mask > 0).any()):
            partial = PartialVideo(from_signal(frames), mask[:, 0])
            out.append(to_signal(pull_push(partial)))
        else:
            out.append(torch.zeros_like(frames))
    return torch.stack(out)
