"""Progress on a terminal, or into a file that another process reads: what, how far, how long."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from recam.types import Progress

PROGRESS_FILE = "RECAM_PROGRESS_FILE"
"""Environment variable: progress goes to this file, a JSON object a line, instead of as bars."""
MIN_INTERVAL_S = 0.1


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Progress]:
    """A Progress callback that draws one bar per task on stderr while the context lasts.

    What a task says in brackets may change from call to call; it is shown beside the bar.
    """
    if path := os.environ.get(PROGRESS_FILE):
        with open(path, "a", encoding="utf-8", buffering=1) as file:  # noqa: PTH123
            yield progress_lines(file)
        return
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
    bars = Bars(*columns, console=Console(stderr=True), disable=quiet)
    tasks: dict[str, int] = {}

    def progress(what: str, done: int, total: int) -> None:
        name, _, note = what.partition(" (")
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total, note="")
        bars.update(tasks[name], completed=done, total=total, note=note.rstrip(")"))  # type: ignore[arg-type]

    with bars:
        yield progress


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
