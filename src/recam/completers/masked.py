"""Completing by recam's own network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from recam.completers.adapted import adapted, too_short
from recam.completion.completer import Windows
from recam.completion.masked import fill_window
from recam.completion.temporal_filter import steady_fill
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import find_weights, load_model, weights_sha256
from recam.completion.windows import windows_that_fit
from recam.configs import CompleteConfig, FinetuneConfig
from recam.training.adapt.examples import encode_hidden, frames_to_learn
from recam.training.adapt.loop import EXAMPLES_SHARE, Adaptation
from recam.training.adapt.masked import adapt, finetune, read_adaptation
from recam.training.adapt.pairs import scene_pairs
from recam.types import PartialVideo, Progress, Scene, no_progress

SEED_STEP = 1_000_003
"""Between the seeds of two runs, so that no two of their windows share noise."""


BYTES_PER_PIXEL = 125
"""Of a window while it is filled."""


@dataclass(frozen=True)
class MaskedCompleter:
    """model: ready to sample. config: resolved. adapter: file that it was adapted with."""

    model: VideoTransformer
    config: CompleteConfig
    weights_sha256: str | None = None
    note: str = "not adapted to this video (--adapt-minutes 0)"
    adapter: Path | None = None

    @classmethod
    def load(cls, config: CompleteConfig) -> MaskedCompleter:
        """The weights that the config names. Raises RecamError when there are none."""
        weights = find_weights(config.weights)
        return cls(load_model(weights), config, weights_sha256(weights))

    @property
    def identity(self) -> Sequence[Any]:
        return (self.config, self.weights_sha256, self.adapter or "none")

    def plan(self, total: int, height: int, width: int) -> Windows:
        pixels = height * width
        return windows_that_fit(
            self.config.window, self.config.overlap, BYTES_PER_PIXEL * pixels, pixels
        )

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        seeded = replace(self.config, seed=(self.config.seed + first) * SEED_STEP)

        def fill(partial: PartialVideo, progress: Progress) -> Tensor:
            return fill_window(self.model, partial, seeded, progress)

        return steady_fill(fill, self.config.steady or 0)(window, progress)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> MaskedCompleter:
        """See ``Completer.adapt``. What hinders it is said in the result's note."""
        config = self.config
        if not config.adapt_minutes:
            return self
        if short := too_short(len(shown)):
            return replace(self, note=short)
        options = FinetuneConfig(minutes=config.adapt_minutes, seed=config.seed)

        def learn(folder: Path) -> Adaptation:
            index = frames_to_learn(len(shown))
            if isinstance(shown, Scene):
                pairs = scene_pairs(shown, index, config.model_side, options.seed)
                return finetune(self.model, pairs, options, config.model_side, folder, progress)
            started = time.perf_counter()
            examples = encode_hidden(
                PartialVideo(shown.frames[index], shown.known[index]), options.num_pairs,
                self.model.config.fills, config.model_side, options.seed,
                EXAMPLES_SHARE * 60 * options.minutes, progress,
            )  # fmt: skip
            spent = time.perf_counter() - started
            return adapt(self.model, examples, options, folder, progress, spent)

        seen = (*identity, self.weights_sha256, options, config.model_side)
        done = adapted(seen, learn, lambda file: read_adaptation(file, self.model))
        return replace(self, model=done.model, note=done.note, adapter=done.adapter)
