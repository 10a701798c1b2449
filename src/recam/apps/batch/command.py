"""recam batch: rows to an engine, progress of all of them, and what came of it."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from recam.apps.batch.engines import Job, Record, run_rows
from recam.apps.batch.job import command_line, run_job, write_text
from recam.apps.batch.rows import Row, is_url, read_rows, which_shard
from recam.apps.progress import show_progress
from recam.apps.tasks_cli import TASKS, parse
from recam.configs import EngineConfig
from recam.runtime.errors import RecamError

NUM_NAMED = 20
"""Failed rows that a summary names; the records have all."""


def batch(
    jobs: str, out: str, config: EngineConfig, words: tuple[str, ...] = (), quiet: bool = False
) -> None:
    """Do every row of ``jobs``; ``words``: a task and options for rows that name none of their own.

    Raises RecamError at the end when rows failed, ValueError before the start when the first row
    cannot be one.
    """
    if words[:1] and not words[0].startswith("-"):
        task, args = words[0], list(words[1:])
    else:
        task, args = "reshoot", list(words)
    if task not in TASKS:
        raise ValueError(f"task {task!r}: expected one of {', '.join(TASKS)}")
    given = read_rows(jobs, task)

    def rows() -> Iterator[Row]:
        return (row | ({"args": args} if args and row["task"] == task else {}) for row in given())

    first = next(rows(), None)
    if first is None:
        raise ValueError(f"{jobs}: no rows in it")
    parse(TASKS, command_line(first, Path("checked")))  # wrong options end here, not in every row
    summary = do_all(rows, out, config, run_job, quiet)
    print(f"{out.rstrip('/')}/summary.json")
    if summary["failed"]:
        raise RecamError(told(summary, out))


def do_all(
    rows: Callable[[], Iterable[Row]], out: str, config: EngineConfig, job: Job, quiet: bool
) -> dict[str, Any]:
    """Do this shard's rows (what they say is of this folder or URL) and write its summary.

    The folder is made absolute, so that it is the same one on every machine that shares it.
    """
    place = out if is_url(out) else str(Path(out).absolute())
    number, count, said = which_shard(config.shard)

    def mine() -> Iterator[Row]:
        chosen = itertools.islice(rows(), number, None, count)
        return ({**row, "out": place} for row in itertools.islice(chosen, config.limit))

    total = sum(1 for _ in mine())
    if said and not quiet:
        from recam.apps.commands import say

        say(f"shard {number} of {count} (by {said}): {total} rows")
    tally = Tally(total)
    with show_progress(quiet) as progress:
        for record in run_rows(mine(), config, job):
            tally.add(record)
            progress(f"rows ({tally.shown()})", tally.done, total)
    summary = tally.summary(config)
    name = f"summary.{number}-of-{count}.json" if count > 1 else "summary.json"
    write_text(f"{place.rstrip('/')}/{name}", json.dumps(summary, indent=1) + "\n")
    return summary


class Tally:
    """What came of the rows so far, in counts and sums."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.reused = total, 0, 0
        self.begun = time.perf_counter()
        self.failures: Counter[str] = Counter()
        self.named: list[dict[str, str]] = []
        self.seconds: Counter[str] = Counter()
        self.num_bytes, self.peak_gb = 0, 0.0

    def add(self, record: Record) -> None:
        self.done += 1
        if record["status"] == "failed":
            self.failures[record["kind"]] += 1
            if len(self.named) < NUM_NAMED:
                self.named.append({k: record[k] for k in ("id", "kind", "error")})
        self.reused += bool(record.get("reused"))
        self.seconds.update(record.get("seconds", {}))
        self.num_bytes += sum(f["bytes"] for f in record.get("files", {}).values())
        self.peak_gb = max(self.peak_gb, record.get("peak_memory_gb", 0.0))

    def shown(self) -> str:
        """The rate, and failures by kind, in a few words."""
        fresh = self.done - self.reused
        rate = 60 * fresh / max(time.perf_counter() - self.begun, 1e-9)
        failed = "".join(f", {n} {kind}" for kind, n in sorted(self.failures.items()))
        return f"{rate:.3g} a minute, failed: {failed[2:]}" if failed else f"{rate:.3g} a minute"

    def summary(self, config: EngineConfig) -> dict[str, Any]:
        failed = sum(self.failures.values())
        return {
            "rows": self.total, "ok": self.done - failed, "failed": failed, "reused": self.reused,
            "not_reached": self.total - self.done, "failed_by_kind": dict(self.failures),
            "first_failures": self.named,
            "seconds": round(time.perf_counter() - self.begun, 1),
            "row_seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "bytes": self.num_bytes, "largest_peak_memory_gb": self.peak_gb,
            "engine": config.engine, "workers": config.workers,
        }  # fmt: skip


def told(summary: dict[str, Any], out: str) -> str:
    """What failed, in one line."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in summary["failed_by_kind"].items())
    first = summary["first_failures"][0]
    return (
        f"{summary['failed']} of {summary['rows']} rows failed ({kinds}); {first['id']}: "
        f"{first['error']}; records are in {out.rstrip('/')}/done; run again to try these anew"
    )
