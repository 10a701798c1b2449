"""Rows' work that takes no time: what tests of the engines give to their workers."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from recam.apps.batch.job import row_key, run_job, write_record


def double(row: dict[str, Any]) -> dict[str, Any]:
    """Twice the row's number; a mark in out/marks for each time that it is done."""
    marks = Path(row["out"], "marks")
    marks.mkdir(parents=True, exist_ok=True)
    (marks / f"{row['number']}.{os.getpid()}.{time.monotonic_ns()}").touch()
    light = "torch" not in sys.modules
    facts = {"status": "ok", "key": row_key(row), "twice": 2 * row["number"], "light": light}
    return write_record(row, facts)


def killed_once(row: dict[str, Any]) -> dict[str, Any]:
    """Its process is killed at the first try of number 3, hangs at number 4."""
    first_try = not Path(row["out"], "done", f"{row['id']}.json").exists()
    if row["number"] == 3 and first_try:
        os.kill(os.getpid(), signal.SIGKILL)
    if row["number"] == 4 and first_try:
        time.sleep(60)
    return double(row)


def not_a_number(row: dict[str, Any]) -> dict[str, Any]:
    """Number 2 is at fault, whatever the try."""
    if row["number"] == 2:
        return write_record(row, {"status": "failed", "kind": "input", "error": "a bad row"})
    return double(row)


def kills_its_worker_once(row: dict[str, Any]) -> dict[str, Any]:
    """The process that waits for this one is killed at the first try of number 3."""
    mark = Path(row["out"], "killed")
    if row["number"] == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return double(row)


def wait_a_second(row: dict[str, Any]) -> dict[str, Any]:
    """Takes a second, and nothing of the processor: for how well an engine keeps workers busy."""
    time.sleep(1.0)
    return double(row)


def one_on_a_small_disk(row: dict[str, Any]) -> dict[str, Any]:
    """A row of recam's own; the first process that asks has its cache on $SMALL_DISK."""
    disk = Path(os.environ["SMALL_DISK"])
    try:
        with (disk / "owner").open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        pass
    if (disk / "owner").read_text() == str(os.getpid()):
        os.environ["RECAM_CACHE"] = str(disk)
    return run_job(row)
