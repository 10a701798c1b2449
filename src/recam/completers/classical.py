"""Completing without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from recam.completion.completer import Windows
from recam.completion.copying import complete_by_copies
from recam.completion.flow_propagation import propagate
from recam.completion.temporal_filter import steady_fill
from recam.completion.windows import shrunk_to_fit, windows_that_fit
from recam.configs import CompleteConfig
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
        return windows_that_fit(self.config.window, self.config.overlap, height, width)


class FlowPropagation(_Classical):
    """Along the motion from other frames, then from around, steadied over time."""

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        return steady_fill(shrunk_to_fit(propagate), self.config.steady or 0)(window, progress)

    def adapt(
        self, shown: Scene | PartialVideo, identity: Sequence[Any], progress: Progress = no_progress
    ) -> FlowPropagation:
        """Nothing in it can be adapted."""
        return self


class Copies(_Classical):
    """Along the motion from other frames; what no frame saw is made up once, by copies."""

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        fill = partial(
            complete_by_copies,
            steady=self.config.steady or 0, planes=self.config.planes, seed=self.config.seed,
        )  # fmt: skip
        return shrunk_to_fit(fill)(window, progress)

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
