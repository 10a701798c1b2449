"""Progress on a terminal: what, how far, how long still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recam.types import Progress


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Progress]:
    """A Progress callback that draws one bar per task on stderr while the context lasts.

    What a task says in brackets may change from call to call; it is shown beside the bar.
    """
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
