"""Flow-matching video models (Wan, LTX) as completers: what they share.

Models with a time of its own for every token complete by "mask by noising" (seed 2): tokens that
are wholly known stay clean throughout and the rest is denoised around them, untrained for it. VACE
was trained to complete and takes frames and mask beside the noise instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from recam.completion.backbone import Condition, require_uniform
from recam.completion.foundation.fit import Fit, fit_multiple, min_share
from recam.completion.foundation.known_tokens import KnownTokens
from recam.completion.foundation.placement import ModelNote, free_gb, on_device
from recam.completion.foundation.schedules import FlowSchedule
from recam.completion.foundation.speedups import branch, feature_caching
from recam.completion.foundation.text import Text
from recam.completion.pixels import from_signal, to_signal
from recam.completion.pull_push import pull_push
from recam.completion.samplers import SeededNoise, sample_stochastic
from recam.completion.schedule import spread_levels
from recam.configs import CompleteConfig, FeatureCache, Fill, Placement
from recam.types import PartialVideo, Progress, no_progress

T = TypeVar("T")
TILE, TILE_STEP = 512, 448
"""Pixels of the tiles that a VAE works in where memory is short, and from one to the next."""
RENOISED = CompleteConfig.threshold
"""Level at which the stochastic sampler begins to doubt the evidence."""


@dataclass(frozen=True)
class Family:
    """What differs between models of flow matching. Latents are [b, t', c, h', w'].

    velocity(transformer, x, times [b, t, h, w] of 1000, text, control): noise − clean, float32.
    encode(vae, pixels [b, t, 3, h, w] in [-1, 1]): mean and deviation of their latents. decode: the
    way back. control(vae, shown, known): what enters beside the noise, or None where nothing does.
    draws: whether evidence is drawn of its posterior (else its mean). evidence_noise: of deviation
    so many times the squared level, on evidence at every step.
    """

    velocity: Callable[[Any, Tensor, Tensor, Text, Tensor | None], Tensor]
    encode: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Any, Tensor], Tensor]
    control: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    draws: bool = False
    evidence_noise: float = 0.0


@dataclass
class FlowVideo:
    """A Backbone (see completion.backbone) around a published flow-matching model.

    space, time: pixels and frames per latent (the first frame has a latent of its own). patch:
    latents per token's side. side: longer side that it was trained at. tile_gb: what the VAE needs
    for TILE × TILE pixels. negative is None when guidance would change nothing.
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
    schedule: FlowSchedule
    max_frames: int
    side: int
    steps: int
    tile_gb: float = 0.0
    keep_known: int = 1
    feature_cache: FeatureCache = "none"
    cache_threshold: float = 0.05
    source: CompleteConfig | None = None
    per_token_noise: bool = field(init=False)
    _kept: KnownTokens | None = field(default=None, repr=False, init=False)
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

    def encode(self, frames: Tensor) -> Tensor:
        return self.encode_spread(frames)[0]

    @torch.no_grad()
    def encode_spread(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the posterior [b, t', c, h', w']."""
        frames = frames.to(self.device, self.vae.dtype)
        mean, deviation = self._coded(frames, lambda: self.family.encode(self.vae, frames))
        return mean.float(), deviation.float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        z = z.to(self.device)
        return self._coded(z, lambda: self.family.decode(self.vae, z), self.space).float().cpu()

    def _coded(self, given: Tensor, run: Callable[[], T], pixels: int = 1) -> T:
        """The VAE's answer: whole, as its publishers run it, or in tiles where memory asks for it
        (they differ a little). pixels: per value along a side of ``given``."""
        area = given.shape[-2] * given.shape[-1] * pixels**2
        need = self.tile_gb * area / TILE**2
        with on_device(self.vae, self.placement, self.device):
            free = free_gb(self.device)
            if area <= TILE**2 or need <= free:
                self.vae.disable_tiling()
                try:
                    return run()
                except torch.OutOfMemoryError:  # it was an estimate
                    torch.cuda.empty_cache()
            warnings.warn(
                f"the VAE works in tiles of {TILE} pixels: whole frames need about {need:.0f} GB, "
                f"{free:.0f} are free",
                ModelNote,
                stacklevel=2,
            )
            self.vae.enable_tiling(
                tile_sample_min_height=TILE, tile_sample_min_width=TILE,
                tile_sample_stride_height=TILE_STEP, tile_sample_stride_width=TILE_STEP,
            )  # fmt: skip
            return run()

    def token_levels(self, known: Tensor) -> Tensor:
        return min_share(known, self.pixel_multiple, self.time)

    @torch.no_grad()
    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition | None) -> Tensor:
        """Clean estimate of a flow latent [b, t', c, h', w']; tokens at sigma 0 stay as they are.

        sigma: [b, t, h, w]. What of the condition is known enters a model that was trained to
        complete; it is not looked at by one that takes a level per token. Raises ValueError without
        a condition, or when sigma differs between tokens, where the model cannot take that.
        """
        v = self.velocity(x, 1000 * sigma, condition)
        return x - spread_levels(sigma, x) * v  # x0, which is x itself where sigma is 0

    @torch.no_grad()
    def velocity(self, x: Tensor, times: Tensor, condition: Condition | None) -> Tensor:
        """The transformer's answer noise − clean, guided where two prompts differ. times:
        [b, t, h, w] of 1000; otherwise as ``denoise``."""
        if not self.per_token_noise:
            require_uniform(times)
        control = self._control_of(condition)

        def run(text: Text, name: str) -> Tensor:
            on_it = (text[0].to(self.device), text[1].to(self.device))
            kept = self._kept.passing(name) if self._kept else nullcontext()
            with branch(self.transformer, name), kept:
                return self.family.velocity(self.transformer, x, times, on_it, control).to(x)

        with on_device(self.transformer, self.placement, self.device):
            v = run(self.prompt, "prompt")
            if self.negative is None:
                return v
            away = run(self.negative, "negative")
            return away + self.guidance * (v - away)

    @contextmanager
    def keeping(self, clean: Tensor) -> Iterator[KnownTokens | None]:
        """Around the passes over a clip with clean tokens [b, t, h, w] that need not be computed in
        each; None where all are (see ``KnownTokens``)."""
        if self.keep_known <= 1 or not bool(clean.any()) or bool(clean.all()):
            yield None
            return
        if len(clean) > 1:
            raise ValueError(f"keeping known tokens takes one clip at a time, got {len(clean)}")
        self._kept = KnownTokens(~clean.flatten(), self.keep_known)
        try:
            with self._kept.hooked(self.transformer):
                yield self._kept
        finally:
            self._kept = None

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
        control = self.family.control
        shown, known = (part.to(self.device, self.vae.dtype) for part in (shown * known, known))
        return self._coded(shown, lambda: control(self.vae, shown, known))

    def sample(
        self, shown: Tensor, known: Tensor, steps: int, seed: int,
        progress: Progress = no_progress, stochastic: bool = False,
    ) -> Tensor:  # fmt: skip
        """Completed frames [b, t, 3, h, w] in [-1, 1], on the CPU. known: [b, t, 1, h, w].

        stochastic: clean tokens are re-noised at RENOISED and denoised with the rest from there, by
        Euler steps (seed 2), by a model of one level per token; the others generate everything
        anyway.
        """
        progress("encoding", 0, 1)
        condition = Condition(shown * known, known, shown[:, None][:, :0])
        seeds = [seed + i for i in range(len(shown))]
        clean = (self.token_levels(known) >= 1).to(self.device)
        if self.per_token_noise:
            evidence, deviation = self.encode_spread(filled(shown, known))
        else:  # its control says what is known
            clean = torch.zeros_like(clean)
            control = self._control_of(condition)
            assert control is not None
            size = (self.transformer.config.out_channels, *control.shape[2:])
            evidence = torch.zeros(len(shown), *size, device=self.device).transpose(1, 2)
            deviation = torch.zeros_like(evidence)
        scheduler = self.schedule.begin(steps, clean[0].numel())
        caching = feature_caching(self.transformer, self.feature_cache, self.cache_threshold)
        with on_device(self.transformer, self.placement, self.device), caching:
            if stochastic and self.per_token_noise:
                levels = scheduler.sigmas.double()
                z = sample_stochastic(
                    self, evidence, clean, condition, condition, seeds, levels, RENOISED,
                    progress=progress,
                )  # fmt: skip
            else:
                posterior = (evidence, deviation)
                z = sample(self, scheduler, posterior, clean, condition, seeds, progress)
        self._control = None
        return self.decode(z)


def sample(
    model: FlowVideo, scheduler: Any, posterior: tuple[Tensor, Tensor], clean: Tensor,
    condition: Condition, seeds: list[int], progress: Progress = no_progress,
) -> Tensor:  # fmt: skip
    """As the model's publishers sample: from noise, by a scheduler of ``FlowSchedule.begin``, with
    clean tokens [b, t, h, w] told as evidence at every step. Returns the clean latent.

    posterior: mean and deviation of the evidence. Drawn in this order, on the CPU: the first
    latent, the evidence, and the noise on it at every step, the last two where the family has them.
    """
    family, (evidence, deviation) = model.family, posterior
    noise = SeededNoise(seeds, evidence)
    is_clean = spread_levels(clean, evidence)
    x = noise.draw()
    if family.draws:
        evidence = evidence + deviation * noise.draw()
    with model.keeping(clean) as kept:
        for i, t in enumerate(scheduler.timesteps):
            if kept:
                kept.begin_step(i)
            told = evidence
            if family.evidence_noise:
                told = evidence + family.evidence_noise * float(t / 1000) ** 2 * noise.draw()
            x = torch.where(is_clean, told, x)
            v = model.velocity(x, (~clean).to(x) * t.to(x), condition)
            # On the CPU in the scheduler, as its table of levels is.
            x = scheduler.step(v.cpu(), t, x.cpu(), return_dict=False)[0].to(evidence)
            progress("sampling", i + 1, len(scheduler.timesteps))
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
