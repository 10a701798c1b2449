"""Long work in a process of its own: progress, cancel, and one job waiting behind another.

A job's process writes its progress as lines of JSON into the job's folder and is asked to stop by
SIGTERM; stages that were done are kept by recam's cache, so that the same job goes on from them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recam.apps.progress import PROGRESS_FILE
from recam.types import RecamError

State = Literal["waiting", "running", "done", "failed", "cancelled"]
POLL_S = 0.2
GRACE_S = 10.0
"""After SIGTERM; then the process is killed."""


@dataclass
class Job:
    """One piece of work. words: arguments of the worker; folder: its own."""

    label: str
    words: Sequence[str]
    folder: Path
    done: Callable[[Job], None] = lambda job: None
    """Called, in the queue's thread, when it has ended in whatever way."""
    state: State = "waiting"
    stage: str = ""
    stage_done: int = 0
    stage_total: int = 0
    stage_started_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    error: str = ""
    notes: list[str] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    """Finished frames to look at, as the work reaches them."""
    process: subprocess.Popen[bytes] | None = None
    cancel_asked: bool = False
    expected_s: float | None = None
    """How long such a job takes on this machine, where that was measured."""

    @property
    def share(self) -> float:
        """Of the present stage, in [0, 1]."""
        return self.stage_done / self.stage_total if self.stage_total else 0.0

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self.ended_s or time.time()) - self.started_s if self.started_s else 0.0

    def stage_left_s(self) -> float | None:
        """Seconds that the present stage still takes at its pace so far."""
        spent = time.time() - self.stage_started_s
        if self.stage_done < 1 or spent < 0.5:
            return None
        return spent / self.stage_done * (self.stage_total - self.stage_done)

    def said(self) -> str:
        """One line for the page."""
        if self.state == "waiting":
            return f"{self.label}: waits for the job before it"
        if self.state == "running":
            parts = [self.stage or "starting"]
            if self.stage_total > 1:
                parts.append(f"{self.stage_done}/{self.stage_total}")
            left = self.stage_left_s()
            if left is not None and left >= 1:
                parts.append(f"{duration(left)} to go in this step")
            if self.expected_s is not None and self.expected_s - self.seconds >= 1:
                parts.append(f"about {duration(self.expected_s - self.seconds)} in all")
            return f"{self.label}: {', '.join(parts)} · {duration(self.seconds)} so far"
        if self.state == "failed":
            return f"{self.label}: {self.error}"
        return f"{self.label}: {self.state} after {duration(self.seconds)}"


class JobQueue:
    """Runs one job at a time; one more may wait."""

    def __init__(self, changed: Callable[[Job], None] = lambda job: None) -> None:
        """changed: called in the queue's thread whenever a job's state or progress changes."""
        self.changed = changed
        self.lock = threading.Lock()
        self.running: Job | None = None
        self.waiting: Job | None = None
        self.closed = False

    def submit(self, job: Job) -> None:
        """Start a job, or let it wait. Raises RecamError where one waits already."""
        with self.lock:
            if self.closed:
                raise RecamError("the studio is stopping")
            if self.running is None:
                self.running = job
                threading.Thread(target=self._work, args=(job,), daemon=True).start()
            elif self.waiting is None:
                self.waiting = job
            else:
                raise RecamError(
                    f"“{self.running.label}” runs and “{self.waiting.label}” waits; "
                    "let one finish, or cancel it"
                )
        self.changed(job)

    def cancel(self, job: Job | None = None) -> bool:
        """Stop the job given (default: the running one); whether there was one to stop."""
        with self.lock:
            job = job or self.running
            if job is None:
                return False
            if job is self.waiting:
                self.waiting = None
                job.state = "cancelled"
            elif job is self.running:
                job.cancel_asked = True
            else:
                return False
        self.changed(job)
        return True

    def close(self) -> None:
        """Stop what runs and what waits."""
        with self.lock:
            self.closed = True
            self.waiting = None
            job = self.running
            if job is not None:
                job.cancel_asked = True
        deadline = time.time() + GRACE_S
        while self.running is not None and time.time() < deadline:
            time.sleep(0.05)

    def _work(self, job: Job | None) -> None:
        while job is not None:
            try:
                self._run(job)
            except Exception as error:  # a fault here must not stop the jobs after it
                job.state, job.error = "failed", f"{type(error).__name__}: {error}"
            job.ended_s = time.time()
            with contextlib.suppress(Exception):
                job.done(job)
            with self.lock:
                self.running, self.waiting = self.waiting, None
                following = self.running
            self.changed(job)
            job = following

    def _run(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        progress = job.folder / "progress.jsonl"
        progress.write_bytes(b"")
        for picture in job.folder.glob("finished-*"):
            picture.unlink()
        job.state, job.started_s = "running", time.time()
        command = [sys.executable, "-m", "recam.apps.studio.worker", str(os.getpid()), *job.words]
        with (
            (job.folder / "output.txt").open("wb") as output,
            (job.folder / "errors.txt").open("wb") as errors,
        ):
            job.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                env={**os.environ, PROGRESS_FILE: str(progress), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )  # fmt: skip
            self.changed(job)
            self._follow(job, progress)
        said = (job.folder / "errors.txt").read_text(encoding="utf-8", errors="replace")
        lines = [line for line in said.splitlines() if line.strip()]
        job.notes = [x.removeprefix("recam: note: ") for x in lines if x.startswith("recam: note")]
        if job.cancel_asked:
            job.state = "cancelled"
        elif job.process.returncode == 0:
            job.state = "done"
        else:
            job.state = "failed"
            job.error = _why(job.process.returncode, lines)

    def _follow(self, job: Job, progress: Path) -> None:
        """Until the process has ended: read its progress, and stop it if that is asked for."""
        assert job.process is not None
        stop_s: float | None = None
        with progress.open("rb") as file:
            while True:
                ended = job.process.poll() is not None
                if _read_progress(job, file.readlines()):
                    self.changed(job)
                if ended:
                    return
                if job.cancel_asked and stop_s is None:
                    _signal(job.process, signal.SIGTERM)
                    stop_s = time.time()
                elif stop_s is not None and time.time() - stop_s > GRACE_S:
                    _signal(job.process, signal.SIGKILL)
                time.sleep(POLL_S)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _read_progress(job: Job, lines: list[bytes]) -> bool:
    """Take over what new lines say; whether there were any."""
    for line in lines:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # half a line; the next look has the rest of what matters
        if "picture" in said:
            job.pictures.append(Path(said["picture"]))
            continue
        if said["what"] != job.stage:
            job.stage, job.stage_started_s = said["what"], time.time()
        job.stage_done, job.stage_total = said["done"], said["total"]
    return bool(lines)


def _why(code: int, lines: list[str]) -> str:
    """One line on why a process failed."""
    own = [line for line in lines if line.startswith("recam: ") and "note:" not in line]
    if own:
        return own[-1].removeprefix("recam: ")
    if code < 0:
        name = signal.Signals(-code).name
        more = "; the machine may be out of memory" if -code == signal.SIGKILL else ""
        return f"stopped by {name}{more}; what was done is kept, run it again to go on"
    return lines[-1] if lines else f"ended with status {code}"


def duration(seconds: float) -> str:
    """Seconds in words: ``8 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
