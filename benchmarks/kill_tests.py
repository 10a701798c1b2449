"""Kills commands at random moments, and looks at what is left.

    python benchmarks/kill_tests.py --kills 10 --commands reshoot complete edit reconstruct

Each command runs once to its end: its result is the reference. Then, again and again, it is begun
anew, killed with -9 after a random share of the time that it took, and run once more to its end.
What must hold each time: the result is the reference's, bit for bit; a result that was there
before is as it was right after the kill; no process of the killed run lives on; nothing hidden is
left beside the result afterwards. Prints a row for each command, and every violation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from recam.media import write_image, write_video
from recam.types import video_from_frames

NUM, H, W = 12, 96, 144
UNSTEADY = {"config.json", "timings.json", "curves.png", "summary.txt", "curves.csv"}
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


def commands(clip: Path) -> dict[str, list[str]]:
    """What is run; the result's place follows."""
    own = ["--model", "propagate"]
    small = ["--depth-model", "stage"]
    return {
        "reshoot": ["reshoot", str(clip), "--yaw", "5", *own, *small, "-o"],
        "complete": ["complete", str(clip), "--known", str(clip.with_name("known.png")), *own,
                     "--window", "4", "--overlap", "2", "-o"],
        "edit": ["edit", str(clip), "--remove", str(clip.with_name("remove.png")), *own, "-o"],
        "reconstruct": ["reconstruct", str(clip), *small, "--export", "colmap", "-o"],
        "eval": ["eval", "synth4d", "--limit", "1", "--views", "orbit_20", "--num-frames", "4",
                 "--method", "propagate", "-o"],
        "pretrain": ["pretrain", "--num-scenes", "1", "--num-heldout", "1", "--steps", "4",
                     "--out"],
    }  # fmt: skip


def hashes(result: Path) -> dict[str, str]:
    """sha256 of every file of a result that does not tell the time."""
    files = sorted(result.rglob("*")) if result.is_dir() else [result]
    return {
        file.relative_to(result.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and file.name not in UNSTEADY and not file.name.startswith("checkpoint")
    }


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


def begin(words: list[str], out: Path, cache: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "RECAM_CACHE": str(cache), "TMPDIR": str(cache.parent / "tmp")}
    (cache.parent / "tmp").mkdir(exist_ok=True)
    with log.open("wb") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "recam.apps.cli", *words, str(out)], stdout=told, stderr=told,
            env=environment, start_new_session=True,
        )  # fmt: skip


def attack(name: str, words: list[str], kills: int, seed: int, folder: Path) -> Row:
    rng, row = random.Random(f"{name} {seed}"), Row()
    log, suffix = folder / "log.txt", ".mp4" if name == "complete" else ""
    reference = folder / f"reference{suffix}"
    began = time.monotonic()
    if begin(words, reference, folder / "cache", log).wait() != 0:
        row.faults.append(f"does not run: {log.read_text()[-300:]}")
        return row
    took_s = time.monotonic() - began
    wanted = {k.partition("/")[2]: v for k, v in hashes(reference).items()}
    out = folder / f"out{suffix}"
    for number in range(kills):
        there = number % 2 == 1  # every second time over a good result
        if not there:
            shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        shutil.rmtree(folder / "cache")
        before = hashes(out) if out.exists() else {}
        running = begin(words, out, folder / "cache", log)
        time.sleep(rng.uniform(0.05, 1.0) * took_s)
        ended = running.poll() is not None
        running.send_signal(signal.SIGKILL)
        running.wait()
        row.kills += not ended
        for _ in range(30):
            if not group_alive(running.pid):
                break
            time.sleep(0.1)
        if alive := group_alive(running.pid):
            row.alive += 1
            row.faults.append(f"kill {number}: {alive} live on")
            os.killpg(running.pid, signal.SIGKILL)
        resumes = name in ("eval", "pretrain")  # these write into their folder as they go
        if not ended and there and not resumes and hashes(out) != before:
            row.harmed += 1
            row.faults.append(f"kill {number}: the earlier result is harmed")
        if begin(words, out, folder / "cache", log).wait() != 0:
            row.differs += 1
            row.faults.append(f"kill {number}: does not go on: {log.read_text()[-300:]}")
            continue
        got = {k.partition("/")[2]: v for k, v in hashes(out).items()}
        if got != wanted:
            row.differs += 1
            other = sorted(k for k in got | wanted if got.get(k) != wanted.get(k))
            row.faults.append(f"kill {number}: other bytes in {other}")
        hidden = [p.name for p in out.parent.iterdir() if p.name.startswith(".")]
        hidden += [p.name for p in (folder / "tmp").iterdir()]
        hidden += [p.name for p in out.rglob(".*")] if out.is_dir() else []
        if hidden:
            row.left += 1
            row.faults.append(f"kill {number}: left over: {hidden}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON of the rows")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        sample(Path(scratch))
        everything = commands(Path(scratch) / "clip.mp4")
        print("| command | kills | old result harmed | other bytes | processes left | files left |")
        print("|---|---|---|---|---|---|")
        for name in options.commands or everything:
            folder = Path(scratch) / name
            folder.mkdir()
            row = attack(name, everything[name], options.kills, options.seed, folder)
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
