"""What a reconstruction tells people: notes, figures, seconds. No stage reads it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Written to by the stages, read by nothing but apps, as ``Scene.report``."""

    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, *sentences: str) -> None:
        self.notes += sentences

    def figure(self, about: str, **values: Any) -> None:
        """Add values, JSON-able, to what is said about one thing."""
        self.figures.setdefault(about, {}).update(values)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        clock, before = time.perf_counter(), self.seconds.get(stage, 0.0)
        yield
        self.seconds[stage] = round(before + time.perf_counter() - clock, 2)

    def as_json(self) -> dict[str, Any]:
        return {**self.figures, "seconds": self.seconds, "notes": self.notes}
