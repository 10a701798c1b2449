"""Kills commands at random moments, and looks at what is left.

    python benchmarks/kill_tests.py --kills 10 --commands reshoot complete edit reconstruct

Each command runs once to its end: its result is the reference. Then, again and again, it is begun
anew, killed with -9 after a random share of the time that it took, and run once more to its end.
What must hold each time: the result is the reference's, bit for bit; a result that was there
before is as it was right after the kill; no process of the killed run lives on; nothing hidden is
left beside the result afterwards. Prints a row for each command, and every violation.

A run is a fork of this process, which has imported recam: the kills fall into the work, not into
the imports before it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import recam
from recam.apps import cli
from recam.media import write_image, write_video
from recam.types import video_from_frames

NUM, H, W = 6, 48, 64
OUT = "{out}"
UNSTEADY = {
    "config.json",
    "timings.json",
    "curves.png",
    "summary.txt",
    "curves.csv",
    "summary.json",
    "clip.mp4.json",
}
"""Files that hold times of day or seconds spent."""


def sample(folder: Path) -> None:
    """A small clip of a textured wall that moves past, a mask of it, and an edited first frame."""
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 255, (3, H // 4, (W + 4 * NUM) // 4), np.uint8)
    wall = wall.repeat(4, 1).repeat(4, 2)
    frames = torch.from_numpy(np.stack([wall[:, :, 2 * i : 2 * i + W] for i in range(NUM)]))
    write_video(video_from_frames(frames), folder / "clip.mp4", crf=0)
    mask = torch.ones(H, W, dtype=torch.bool)
    mask[30:60, 50:90] = False
    write_image(mask, folder / "known.png")
    write_image(~mask, folder / "remove.png")
    (folder / "clips").mkdir()
    shutil.copy(folder / "clip.mp4", folder / "clips" / "clip.mp4")


def commands(clip: Path) -> dict[str, list[str]]:
    """What is run; the result's place follows."""
    own = ["--model", "propagate"]
    small = ["--quality", "draft", "--size", "48", "--depth-model", "stage"]
    name = lambda file: str(clip.with_name(file))  # noqa: E731
    return {
        "complete": ["complete", str(clip), "--known", name("known.png"), *own,
                     "--window", "4", "--overlap", "2", "-o", OUT],
        "edit": ["edit", str(clip), "--remove", name("remove.png"), *own, "-o", OUT],
        "reconstruct": ["reconstruct", str(clip), *small, "--export", "colmap", "-o", OUT],
        "reshoot": ["reshoot", str(clip), "--yaw", "5", *own, *small, "-o", OUT],
        "eval": ["eval", "synth4d", "--limit", "1", "--views", "orbit_20", "--num-frames", "4",
                 "--method", "propagate", "-o", OUT],
        "pretrain": ["pretrain", "--num-scenes", "1", "--num-heldout", "1", "--steps", "4",
                     "--out", OUT],
        "batch": ["batch", name("clips"), "-o", OUT, "--", "--yaw", "5", *own, *small],
    }  # fmt: skip


def hashes(result: Path) -> dict[str, str]:
    """sha256 of every file of a result that does not tell the time."""
    files = sorted(result.rglob("*")) if result.is_dir() else [result]
    return {
        file.relative_to(result.parent).as_posix(): hashlib.sha256(without_times(file)).hexdigest()
        for file in files
        if file.is_file() and file.name not in UNSTEADY and not file.name.startswith("checkpoint")
    }


def without_times(file: Path) -> bytes:
    """A file's bytes; of a scene's record without the seconds that its stages took."""
    if file.name != "scene.json":
        return file.read_bytes()
    record = json.loads(file.read_text(encoding="utf-8"))
    record["report"].pop("seconds")
    return json.dumps(record).encode()


def group_alive(group: int) -> list[str]:
    """Processes of a process group that live, by their command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " ")[:80])
        except OSError:
            continue
    return found


@dataclass
class Row:
    kills: int = 0
    harmed: int = 0
    differs: int = 0
    alive: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)


def begin(words: list[str], out: Path, cache: Path, log: Path) -> int:
    """The process of a run, a group of its own."""
    (cache.parent / "tmp").mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(told, 1)
        os.dup2(told, 2)
        os.environ.update(RECAM_CACHE=str(cache), TMPDIR=str(cache.parent / "tmp"))
        tempfile.tempdir = None
        cli.main([str(out) if word == OUT else word for word in words])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a run: its status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def attack(name: str, words: list[str], kills: int, until_s: float, folder: Path) -> Row:
    rng, row = random.Random(name), Row()
    log, suffix = folder / "log.txt", ".mp4" if name == "complete" else ""
    reference, cache = folder / f"reference{suffix}", folder / "cache"
    began = time.monotonic()
    if ended(begin(words, reference, cache, log)) != 0:
        row.faults.append(f"does not run: {log.read_text()[-300:]}")
        return row
    took_s = time.monotonic() - began
    wanted = {k.partition("/")[2]: v for k, v in hashes(reference).items()}
    out = folder / f"out{suffix}"
    while row.kills < kills and time.monotonic() < until_s:
        there = row.kills % 2 == 1  # every second time over a good result
        if not there:
            shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        shutil.rmtree(cache, ignore_errors=True)
        before = hashes(out) if out.exists() else {}
        running = begin(words, out, cache, log)
        time.sleep(rng.uniform(0.02, 0.95) * took_s)
        os.kill(running, signal.SIGKILL)
        if ended(running) != -signal.SIGKILL:
            continue  # it had ended before
        row.kills += 1
        look_after_kill(name, running, row, there and hashes(out) != before)
        began = time.monotonic()
        if ended(begin(words, out, cache, log)) != 0:
            row.differs += 1
            row.faults.append(f"kill {row.kills}: does not go on: {log.read_text()[-300:]}")
            continue
        took_s = max(0.5 * took_s, min(took_s, time.monotonic() - began))  # the machine's load
        look_at_result(out, wanted, row, [folder / "tmp", out.parent])
    return row


def look_after_kill(name: str, group: int, row: Row, changed: bool) -> None:
    """Nothing lives on, and the result that was there is as it was."""
    for _ in range(50):
        if not group_alive(group):
            break
        time.sleep(0.1)
    if alive := group_alive(group):
        row.alive += 1
        row.faults.append(f"kill {row.kills}: {alive} live on")
        os.killpg(group, signal.SIGKILL)
    # eval, pretrain and batch add to their folder as they go
    if changed and name not in ("eval", "pretrain", "batch"):
        row.harmed += 1
        row.faults.append(f"kill {row.kills}: the earlier result is harmed")


def look_at_result(out: Path, wanted: dict[str, str], row: Row, places: list[Path]) -> None:
    """What the run after the kill has made: the reference's bytes and nothing else."""
    got = {k.partition("/")[2]: v for k, v in hashes(out).items()}
    if got != wanted:
        row.differs += 1
        other = sorted(k for k in got | wanted if got.get(k) != wanted.get(k))
        row.faults.append(f"kill {row.kills}: other bytes in {other}")
    hidden = [p.name for p in places[0].iterdir()]
    hidden += [p.name for p in places[1].iterdir() if p.name.startswith(".")]
    hidden += [p.name for p in out.rglob(".*")] if out.is_dir() else []
    if hidden:
        row.left += 1
        row.faults.append(f"kill {row.kills}: left over: {hidden}")


def import_all() -> None:
    """Every module of recam: the forks then run one and the same code, whatever is edited."""
    for module in pkgutil.walk_packages(recam.__path__, "recam."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, a command")
    parser.add_argument("--commands", nargs="+", default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON of the rows")
    options = parser.parse_args()
    rows = {}
    import_all()
    with tempfile.TemporaryDirectory() as scratch:
        sample(Path(scratch))
        everything = commands(Path(scratch) / "clip.mp4")
        print("| command | kills | old result harmed | other bytes | processes left | files left |")
        print("|---|---|---|---|---|---|")
        for name in options.commands or everything:
            folder = Path(scratch) / name
            folder.mkdir()
            until_s = time.monotonic() + 60 * options.minutes
            row = attack(name, everything[name], options.kills, until_s, folder)
            rows[name] = vars(row)
            counts = (row.kills, row.harmed, row.differs, row.alive, row.left)
            print(f"| {name} | {' | '.join(str(count) for count in counts)} |")
            for fault in row.faults:
                print(f"  {name}: {fault}", file=sys.stderr)
            sys.stdout.flush()
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
