"""One row of work, as a plain function of paths: what a pipeline of any kind can call."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from recam import __version__
from recam.apps.batch.rows import Row, is_url, listed
from recam.apps.process import one_line, with_home
from recam.runtime.cache import cache_folder, listing_hash
from recam.runtime.errors import RecamError
from recam.runtime.whole import remove, temporary_beside, write_synced

OWN = ("id", "task", "input", "out", "args")
"""Columns that are no options."""
MAY_PASS = ("crash", "timeout", "disk", "memory", "network", "internal")
"""Kinds of failure that another try may not meet again; ``input`` is a fault of the row."""
CHANGES = ("size", "mtime", "ETag", "etag", "LastModified", "updated")
"""What file systems tell of a file that was written anew."""
MAX_SAID = 20
PAIRS = "pairs"
"""The task of rows that `recam pairs` makes."""


def run_job(row: Row) -> dict[str, Any]:
    """Do one row and return its record; nothing is done that was finished before.

    row: ``task`` (reshoot, image, edit, stereo, reconstruct, complete, …), ``input`` (path or URL,
    or a list of them), ``out`` (folder or URL) and ``id``, a relative path; any other key is an
    option of that command by its name; ``args``, words of its command line, come before these.

    Writes out/results/{id}/… and then out/done/{id}.json, each whole or not at all: the record that
    is returned. It has status (ok, failed), seconds by stage, processor_seconds, peak_memory_gb,
    scores, versions, files with their sha256, key (hash of options and inputs), and of a failure
    its kind and its error in one line. Never raises what a row can cause.
    """
    if before := finished(row):
        return before
    begun, used = time.perf_counter(), time.process_time()
    _reset_peak_memory()
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()), _scratch(row) as scratch:
            facts = {"status": "ok", **_perform(row, scratch)}
    except (Exception, SystemExit) as error:
        facts = _failure(error, said.getvalue())
    facts["seconds"] = facts.get("seconds", {}) | {"total": round(time.perf_counter() - begun, 3)}
    facts["processor_seconds"] = round(time.process_time() - used, 3)
    facts["peak_memory_gb"] = round(_peak_memory_gb(), 2)
    facts["said"] = said.getvalue().splitlines()[-MAX_SAID:]
    return write_record(row, facts)


def finished(row: Row) -> dict[str, Any] | None:
    """The record of a row that is done, of the same options and unchanged inputs; else None."""
    try:
        record = _read_record(row)
        if record.get("status") == "ok" and record.get("key") == row_key(row):
            return {**record, "reused": True}
    except (OSError, ValueError, AttributeError):  # none, or damaged: it is done anew
        pass
    return None


def row_key(row: Row) -> str:
    """sha256 (hex) of a row's task and options and of its inputs' places, sizes and times of
    change. Raises OSError for an input that is not there."""
    known = {k: v for k, v in row.items() if k not in ("id", "out")}
    changes = []
    for place in (p for value in known.values() for p in listed(value)):
        fs, path = url_to_fs(place) if is_url(place) else (None, Path(place))
        if fs is None and isinstance(path, Path):
            with suppress(OSError, ValueError):  # most words are no paths
                stat = path.stat()
                whole = [stat.st_size, stat.st_mtime_ns]
                changes.append([listing_hash(path)] if path.is_dir() else whole)
        elif fs is not None:
            info = fs.info(path)
            changes.append([str(info[name]) for name in CHANGES if name in info])
    text = json.dumps([known, changes], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def command_line(row: Row, folder: Path) -> list[str]:
    """The words of a row's command, which writes into ``folder``."""
    words = [str(row["task"]), *listed(row["input"]), *row.get("args", ())]
    for name, value in row.items():
        if name in OWN:
            continue
        option = name.replace("_", "-")
        if str(value).lower() in ("true", "false"):
            words.append(f"--{option}" if str(value).lower() == "true" else f"--no-{option}")
        else:
            words += [f"--{option}", *listed(value)]
    out = folder / "result.mp4" if row["task"] == "complete" else folder
    return [*words, "--quiet", "--out", str(out)]


@contextmanager
def _scratch(row: Row) -> Iterator[Path]:
    """A folder in the cache for what a row fetches or is to send; that of a killed process is
    taken away by the next row. It is made where the row has a URL."""
    words = (word for value in row.values() for word in listed(value))
    if not any(is_url(word) for word in words):
        yield Path()
        return
    folder = temporary_beside(cache_folder() / "jobs" / "row")
    folder.mkdir()
    try:
        yield folder
    finally:
        remove(folder)


def _perform(row: Row, scratch: Path) -> dict[str, Any]:
    """Fetch what has to be fetched, do the work, put it where it belongs."""
    key = row_key(row)
    to_url = is_url(row["out"])
    place = f"{row['out'].rstrip('/')}/results/{row['id']}"
    folder = scratch / "result" if to_url else Path(place)
    here = {k: _fetched(v, scratch) for k, v in row.items() if k not in ("id", "out")}
    _work(here, folder)
    facts = {"key": key, **_facts(folder)}
    if to_url:
        fs, path = url_to_fs(place)
        fs.put(f"{folder}/", f"{path}/", recursive=True)
    return facts


def _work(row: Row, folder: Path) -> None:
    from recam.apps.cache_command import keep_below_limit
    from recam.apps.tasks_cli import TASKS, parse
    from recam.completers.choose import keep_open

    if row["task"] == PAIRS:
        _write_pairs(row, folder)
        return
    if row["task"] not in TASKS:
        known = ", ".join(TASKS)
        raise ValueError(f"task {row['task']!r}: expected one of {known}")
    if row["task"] == "complete":
        folder.mkdir(parents=True, exist_ok=True)
    keep_open()
    command = parse({row["task"]: TASKS[row["task"]]}, command_line(row, folder))
    with_home(command).run()
    keep_below_limit()


def _write_pairs(row: Row, folder: Path) -> None:
    """A row of `recam pairs`: a few films, their names, and options as a dictionary."""
    from recam.apps.runs import new_folder
    from recam.configs import PairsConfig
    from recam.training.shards.write import write_shards

    films = [Path(film) for film in row["input"]]
    with new_folder(folder) as staged:
        write_shards(films, staged, PairsConfig(**row["config"]), row["names"])


def _fetched(value: Any, scratch: Path) -> Any:
    """A cell with its URLs replaced by files in ``scratch``."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not any(isinstance(w, str) and is_url(w) for w in words):
        return value
    local = []
    for number, word in enumerate(words):
        if isinstance(word, str) and is_url(word):
            fs, path = url_to_fs(word)
            # The name stays: results are named by it.
            target = scratch / f"input-{abs(hash(word))}-{number}" / Path(path).name
            target.parent.mkdir()
            fs.get(path, str(target), recursive=fs.isdir(path))
            word = str(target)
        local.append(word)
    return local[0] if isinstance(value, str) else local


def _facts(folder: Path) -> dict[str, Any]:
    """What a finished command left to say of itself, and its files."""
    facts: dict[str, Any] = {"files": {}}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        about = {"bytes": file.stat().st_size, "sha256": sha256}
        facts["files"][file.relative_to(folder).as_posix()] = about
    if (folder / "timings.json").is_file():
        timings = json.loads((folder / "timings.json").read_bytes())
        facts["seconds"] = timings["seconds"]
    if (folder / "shards.json").is_file():
        facts["scores"] = json.loads((folder / "shards.json").read_bytes())
    if (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_bytes())
        facts["versions"] = config["versions"]
        facts["scores"] = {k: config[k] for k in ("known_fraction",) if k in config}
    return facts


def _failure(error: BaseException, said: str) -> dict[str, Any]:
    kind = failure_kind(error)
    if isinstance(error, SystemExit):  # the parser's: what it said is a box of lines
        words = [line.strip("─╭╮╰╯│ ") for line in said.splitlines()]
        text = " ".join(w for w in words if w)[:400]
    else:
        text = one_line(error) if isinstance(error, Exception) else str(error)
    facts = {"status": "failed", "kind": kind, "error": text}
    if kind == "internal":
        facts["traceback"] = "".join(traceback.format_exception(error))
    return facts


def failure_kind(error: BaseException) -> str:
    """Why a row failed: disk, memory, network, input (a fault of the row), or internal."""
    # Some libraries turn a system's error into a text of their own.
    if os.strerror(errno.ENOSPC) in str(error) or "the disk is full" in str(error):
        return "disk"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return "disk"
        if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return "memory"
        if isinstance(cause, ConnectionError | TimeoutError):
            return "network"
        cause = cause.__cause__
    if isinstance(
        error, FileNotFoundError | PermissionError | ValueError | RecamError | SystemExit
    ):
        return "input"
    return "internal"


def write_record(row: Row, facts: dict[str, Any]) -> dict[str, Any]:
    """Write out/done/{id}.json, whole or not at all; returns what is written. Of a place that
    takes no record (a full disk) the record says so, and the row is not done."""
    record = {
        "id": row["id"], "task": row.get("task"), **facts,
        "host": platform.node(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "recam": __version__, "row": row,
    }  # fmt: skip
    text = json.dumps(record, indent=1, sort_keys=True, default=str) + "\n"
    try:
        write_text(f"{row['out'].rstrip('/')}/done/{row['id']}.json", text)
    except Exception as error:  # a failed record must not stop the others
        record |= {"status": "failed", "kind": failure_kind(error)}
        record["error"] = f"{record.get('error', '')} its record cannot be written: {error}".strip()
    return record


def write_text(place: str, text: str) -> None:
    if is_url(place):
        fs, path = url_to_fs(place)
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(path, text.encode())
    else:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        write_synced(Path(place), text.encode())


def _read_record(row: Row) -> dict[str, Any]:
    place = f"{row['out'].rstrip('/')}/done/{row['id']}.json"
    if not is_url(place):
        return json.loads(Path(place).read_bytes())
    fs, path = url_to_fs(place)
    return json.loads(fs.cat_file(path))


def _reset_peak_memory() -> None:
    """Linux: what a process held at most is counted from here."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_gb() -> float:
    from recam.apps.runs import peak_memory_gb

    return peak_memory_gb() if sys.platform != "win32" else 0.0
