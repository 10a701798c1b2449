"""Completing by a published video model."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from recam.completers.adapted import adapted, too_short
from recam.completion.completer import Windows
from recam.completion.foundation import FoundationModel, load_foundation
from recam.completion.foundation.windows import (
    FitNote,
    describe_length,
    fill_window,
    window_overlap,
)
from recam.configs import CompleteConfig
from recam.training.adapt.examples import frames_to_learn
from recam.training.adapt.foundation import (
    adapt_foundation,
    clip_tokens,
    finetune_foundation,
    foundation_finetune_config,
    read_foundation_adaptation,
    require_memory,
    require_trainable,
    weights_fingerprint,
)
from recam.training.adapt.latents import encode_hidden_latents
from recam.training.adapt.loop import EXAMPLES_SHARE, Adaptation
from recam.training.adapt.pairs import scene_pairs
from recam.types import PartialVideo, Progress, RecamError, Scene, no_progress

SEED_STEP = 1_000_003
"""Between the seeds of two runs, so that no two of their windows share noise."""


@dataclass(frozen=True)
class FoundationCompleter:
    """config: resolved. adapter: file that the model was adapted with."""

    model: FoundationModel
    config: CompleteConfig
    note: str = ""
    adapter: Path | None = None
    weights_sha256: str | None = None

    @classmethod
    def load(cls, config: CompleteConfig) -> FoundationCompleter:
        """The model that the config names. Raises RecamError when there are no weights."""
        return cls(load_foundation(config), config, f"{config.weights}, not adapted")

    @property
    def identity(self) -> Sequence[Any]:
        return (self.config, self.adapter or "none")

    def plan(self, total: int, height: int, width: int) -> Windows:
        """As many frames as the model takes, those carried over included; a FitNote says what has
        to be done to the video for it."""
        stochastic = self.config.sampler == "stochastic"
        overlap, blend = window_overlap(self.model, self.config.overlap, stochastic)
        fit = self.model.fit(height, width, self.config.foundation.work_side)
        for note in (fit.describe(), describe_length(self.model, total, overlap)):
            if note:
                warnings.warn(note, FitNote, stacklevel=2)
        whole = self.model.max_frames
        return Windows(whole if total <= whole else whole - overlap, overlap, blend)

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        seed = (self.config.seed + first) * SEED_STEP
        return fill_window(self.model, window, self.config, seed, progress)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> FoundationCompleter:
        """See ``Completer.adapt``. What hinders it is said in the result's note."""
        config, given, model = self.config, self.config.foundation, self.model
        if not config.adapt_minutes:
            return self
        if short := too_short(len(shown)):
            return replace(self, note=short)
        options = foundation_finetune_config(
            config.adapt_minutes, given.adapt_method, given.adapt_steps, config.seed,
            given.adapt_devices,
        )  # fmt: skip
        frames = shown.video.frames if isinstance(shown, Scene) else shown.frames
        num, _, height, width = frames.shape
        try:
            require_trainable(model)
            clip = min(num, model.max_frames)
            tokens = clip_tokens(model, clip, height, width, given.work_side)
            require_memory(model, given.adapt_method, tokens, given.adapt_devices)
        except RecamError as error:
            return replace(self, note=f"not adapted: {error}")

        def learn(folder: Path) -> Adaptation:
            # As many consecutive frames as it completes together.
            index = frames_to_learn(num, model.max_frames, max_stride=1)
            side = given.work_side
            if isinstance(shown, Scene):
                largest = max(model.fit(height, width, side).inner)
                pairs = scene_pairs(shown, index, largest, options.seed)
                return finetune_foundation(model, pairs, options, side, folder, progress)
            started = time.perf_counter()
            latents = encode_hidden_latents(
                model, PartialVideo(frames[index], shown.known[index]), options.num_pairs, side,
                options.seed, EXAMPLES_SHARE * 60 * options.minutes, progress,
            )  # fmt: skip
            spent = time.perf_counter() - started
            return adapt_foundation(model, latents, options, folder, progress, spent)

        seen = (*identity, weights_fingerprint(model), given.prompt, given.work_side, options)
        done = adapted(seen, learn, lambda file: read_foundation_adaptation(model, file.parent))
        return replace(self, model=done.model, note=done.note, adapter=done.adapter)
