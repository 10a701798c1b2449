"""Progress for a person or a program: what, how far, how long still. On stderr, or in a file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:  # importing it takes torch, and the command line's help must not
    from torch import Tensor

    from recam.types import Progress

Style = Literal["auto", "bar", "lines", "json", "none"]
style: ContextVar[Style] = ContextVar("style", default="auto")
"""How this run shows its progress; the command line sets it."""
SECONDS_BETWEEN = 5.0
"""Of the lines of one stage."""
PROGRESS_FILE = "RECAM_PROGRESS_FILE"
"""Environment variable: progress goes to this file, a JSON object a line, instead of to stderr."""
MIN_INTERVAL_S = 0.1


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Progress]:
    """A Progress callback that shows each stage on stderr while the context lasts.

    What a stage says in brackets may change from call to call; it is shown beside.
    """
    if path := os.environ.get(PROGRESS_FILE):
        with open(path, "a", encoding="utf-8", buffering=1) as file:  # noqa: PTH123
            yield progress_lines(file)
        return
    wanted = "none" if quiet else style.get()
    if wanted == "auto":
        drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        wanted = "bar" if drawn else "lines"
    if wanted == "bar":
        with _bars() as progress:
            yield progress
    elif wanted == "none":
        yield lambda what, done, total: None
    else:
        yield _Lines(as_json=wanted == "json")


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = [
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    ]
    bars = Bars(*columns, console=Console(stderr=True))
    tasks: dict[str, int] = {}

    def progress(what: str, done: int, total: int) -> None:
        name, _, note = what.partition(" (")
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total, note="")
        bars.update(tasks[name], completed=done, total=total, note=note.rstrip(")"))  # type: ignore[arg-type]

    with bars:
        yield progress


def show_finished(frame: Tensor) -> None:
    """A finished frame, uint8 [3, h, w], to look at while the rest is made: for who reads the
    progress file; on a terminal nothing."""
    if path := os.environ.get(PROGRESS_FILE):
        from recam.media import write_image

        folder = Path(path).parent
        picture = folder / f"finished-{sum(1 for _ in folder.glob('finished-*'))}.png"
        write_image(frame, picture)
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(json.dumps({"picture": str(picture)}) + "\n")


def progress_lines(file: IO[str]) -> Progress:
    """A Progress callback that writes ``{"what": …, "done": …, "total": …}`` a line, not more often
    than every MIN_INTERVAL_S except when a stage begins or ends."""
    last_name, last_s = "", 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last_name, last_s
        name, now = what.partition(" (")[0], time.monotonic()
        if name == last_name and done < total and now - last_s < MIN_INTERVAL_S:
            return
        last_name, last_s = name, now
        file.write(json.dumps({"what": name, "done": done, "total": total}) + "\n")

    return progress


class _Lines:
    """A line when a stage begins and ends, and every few seconds between."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._begun: dict[str, tuple[float, int]] = {}
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        name, _, note = what.partition(" (")
        began_s, first = self._begun.setdefault(name, (now, done))
        said_s, said = self._said.get(name, (-SECONDS_BETWEEN, -1))
        ended = done >= total and said < total
        if not ended and (now - said_s < SECONDS_BETWEEN or done == said):
            return
        self._said[name] = (now, done)
        left_s = None
        if first < done <= total:
            left_s = (now - began_s) / (done - first) * (total - done)
        if self._as_json:
            line = json.dumps(
                {
                    "stage": name, "done": done, "total": total, "note": note.rstrip(")"),
                    "seconds": round(now - began_s, 1),
                    "seconds_left": None if left_s is None else round(left_s, 1),
                }
            )  # fmt: skip
        else:
            share = f" ({done / total:.0%})" if total else ""
            left = "" if left_s is None or ended else f", {_clock(left_s)} to go"
            line = f"{name}: {done} of {total}{share}{left}"
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
