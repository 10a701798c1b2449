"""Rows of work: what a folder, a pattern or a table asks for, and which of them are this shard's.

A row is a dictionary: ``task`` and ``input`` (a path, or a list of them), an ``id`` that its
results are named by, and options by their names on the command line.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

Row = dict[str, Any]

TABLES = (".csv", ".jsonl", ".ndjson", ".parquet")
FILMS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mxf", ".gif"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".avif"}
SCHEDULERS = (
    # (number of this task, how many there are, the first number, the step between two)
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
     "SLURM_ARRAY_TASK_STEP"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "", ""),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", "", ""),
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT", "", ""),
)  # fmt: skip
"""Variables that schedulers set. Of those of one Slurm job, tasks of a step divide an array's."""


def is_url(text: str) -> bool:
    """Whether a path names its protocol, as s3:// does."""
    return "://" in text


def read_rows(jobs: str, task: str | None = None) -> Callable[[], Iterator[Row]]:
    """What gives the rows of a folder, a pattern or a table, each time that it is called.

    jobs: path or URL of a folder (every film below it, or every picture for the task image), a
    pattern with * or ?, or a table (CSV, JSON lines, Parquet; CSV and JSON lines also compressed).
    task: of rows that name none. Raises ValueError when there is nothing.
    """
    fs, root = url_to_fs(jobs)
    if re.search(r"[*?\[]", root):
        above = PurePosixPath(re.split(r"[*?\[]", root)[0] + "x").parent
        return lambda: _found(sorted(fs.glob(root)), str(above), fs, jobs, task)
    if fs.isdir(root):
        return lambda: _found(sorted(fs.find(root)), root, fs, jobs, task)
    if not fs.exists(root):
        raise ValueError(f"{jobs}: no such folder or table")
    name = re.sub(r"\.(gz|bz2|xz|zst)$", "", root.lower())
    if not name.endswith(TABLES):
        raise ValueError(f"{jobs}: expected a folder, a pattern, or a table ({', '.join(TABLES)})")
    return lambda: _named(_table(jobs, name), jobs, task)


def _found(paths: list[str], root: str, fs: Any, jobs: str, task: str | None) -> Iterator[Row]:
    wanted = PICTURES if task == "image" else FILMS
    files = [p for p in paths if PurePosixPath(p).suffix.lower() in wanted]
    if not files:
        raise ValueError(f"{jobs}: none of {', '.join(sorted(wanted))} there")
    for path in files:
        shown = fs.unstrip_protocol(path) if is_url(jobs) else path
        name = PurePosixPath(path).relative_to(root).as_posix()
        yield {"id": name, "task": task, "input": shown}


def _table(jobs: str, name: str) -> Iterator[Row]:
    if name.endswith(".parquet"):
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise ValueError(f"{jobs}: needs pyarrow: pip install 'recam[scale]'") from error
        with fsspec.open(jobs, "rb") as file:
            for batch in ParquetFile(file).iter_batches(1024):
                yield from batch.to_pylist()
        return
    with fsspec.open(jobs, "rt", encoding="utf-8-sig", newline="", compression="infer") as file:
        yield from csv.DictReader(file) if name.endswith(".csv") else _json_lines(file, jobs)


def _json_lines(file: IO[str], jobs: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{jobs}: line {number} is not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{jobs}: line {number} is no JSON object")
        yield row


def _named(table: Iterator[Row], jobs: str, task: str | None) -> Iterator[Row]:
    """Rows with an id, a task and without empty cells. A name that comes again gets a number."""
    seen: dict[str, int] = {}
    for number, cells in enumerate(table, 1):
        row = {str(k): v for k, v in cells.items() if v is not None and v != ""}
        if "input" not in row:
            raise ValueError(f"{jobs}: row {number} has no input; name that column 'input'")
        row["task"] = row.get("task", task)
        name = str(row.get("id") or _plain(row["input"]))
        seen[name] = seen.get(name, 0) + 1
        if "id" in row and (seen[name] > 1 or _plain(name) != name):
            wrong = "is there twice" if seen[name] > 1 else "is no plain relative path"
            raise ValueError(f"{jobs}: row {number}: id {name!r} {wrong}")
        yield {**row, "id": name if seen[name] == 1 else f"{name}-{seen[name]}"}


def _plain(path: Any) -> str:
    """A path or URL, or the first of several, as a relative path of its own names."""
    path = listed(path)[0] if listed(path) else ""
    parts = urlsplit(path) if is_url(path) else None
    text = f"{parts.netloc}/{parts.path}" if parts else path
    return "/".join(p for p in text.replace("\\", "/").split("/") if p not in ("", ".", ".."))


def listed(value: Any) -> list[str]:
    """A cell as words: a list, a JSON list in a text, or one word."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{value}: not a JSON list ({error.msg})") from error
    entries = value if isinstance(value, list | tuple) else [value]
    return [str(int(e)) if isinstance(e, float) and e.is_integer() else str(e) for e in entries]


def which_shard(
    given: str | None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int, str]:
    """(number from 0, how many, where that was said) of this shard; (0, 1, "") for all rows.

    given: "i/n" with i from 0. Else what a scheduler set, of which several multiply. Raises
    ValueError for what is no shard.
    """
    if given is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", given)
        if not match or int(match[1]) >= int(match[2]):
            raise ValueError(f"--shard {given}: expected i/n with i from 0 to n - 1, such as 0/8")
        return int(match[1]), int(match[2]), "--shard"
    number, count, said = 0, 1, []
    for this, total, first, step in SCHEDULERS:
        if environment.get(this, "").isdigit() and environment.get(total, "").isdigit():
            begin, by = (int(environment.get(name, d)) for name, d in ((first, "0"), (step, "1")))
            of = int(environment[total])
            number, count = number * of + (int(environment[this]) - begin) // by, count * of
            said.append(this)
    return number, count, ", ".join(said) if count > 1 else ""
