"""Completing without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from recam.completion.completer import Windows
from recam.completion.copying import complete_by_copies
from recam.completion.flow_propagation import search
from recam.completion.origins import Filled, at_working_size
from recam.completion.temporal_filter import steady_fill
from recam.completion.windows import windows_that_fit
from recam.configs import CompleteConfig
from recam.runtime.memory import bytes_while_completed
from recam.types import PartialVideo, Progress, Scene, no_progress


@dataclass(frozen=True)
class _Classical:
    """What needs no weights. config: resolved (see choose.resolve_config)."""

    config: CompleteConfig
    note: str = ""
    weights_sha256: str | None = None

    @property
    def identity(self) -> Sequence[Any]:
        return (self.config,)

    def plan(self, total: int, height: int, width: int) -> Windows:
        pixels = height * width
        return windows_that_fit(
            self.config.window, self.config.overlap, bytes_while_completed(pixels), pixels
        )


class FlowPropagation(_Classical):
    """Along the motion from other frames, then from around, steadied over time."""

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        fill = partial(_propagated, steady=self.config.steady or 0)
        return at_working_size(fill)(window, progress)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> FlowPropagation:
        """Nothing in it can be adapted."""
        return self


def _propagated(window: PartialVideo, progress: Progress, steady: int) -> Filled:
    searched = search(window, progress)
    frames = steady_fill(lambda *_: searched.frames, steady)(window, progress)
    return Filled(frames, searched.origins)


class Copies(_Classical):
    """Along the motion from other frames; what no frame saw is made up once, by copies."""

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        fill = partial(
            complete_by_copies,
            steady=self.config.steady or 0, planes=self.config.planes, seed=self.config.seed,
        )  # fmt: skip
        return at_working_size(fill)(window, progress)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> Copies:
        """Nothing in it can be adapted."""
        return self


class LeaveHoles(_Classical):
    """Holes stay black."""

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        return window.frames * (window.known[:, None] > 0)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> LeaveHoles:
        """There is nothing to adapt."""
        return self
