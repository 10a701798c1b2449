"""Kills commands at random moments, and looks at what is left.

    python benchmarks/kill_tests.py --kills 10 --commands reshoot complete edit reconstruct

Each command runs once to its end: its result is the reference. Then, again and again, it is begun
anew, killed with -9 after a random share of the time that it took, and run once more to its end.
What must hold each time: the result is the reference's, bit for bit; a result that was there
before is as it was right after the kill; no process of the killed run lives on; nothing hidden is
left beside the result afterwards. Commands that add to their folder as they go (eval, pretrain,
batch) are killed every second time while they go on from a kill: what a finished part left must be
as it was. Prints a row for each command, and every violation; --out adds to the rows of a file.

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
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recam
from recam.apps import cli
from recam.media import write_image, write_video
from recam.types import video_from_frames

NUM, H, W = 6, 48, 64
OUT = "{out}"
UNSTEADY = (
    "config.json",
    "timings.json",
    "curves.png",
    "summary.txt",
    "curves.csv",
    "summary.json",
)
"""Files that hold times of day or seconds spent."""
TIMES = ("seconds", "processor_seconds", "finished", "peak_memory_gb", "said", "row", "host", "out")
"""Fields of records that differ from run to run, or name the folder."""
ADDING = ("eval", "pretrain", "batch")
"""Commands that add to their folder as they go."""
TINY_NETWORK = """--steps 8 --batch 2 --num-frames 3 --height 16 --width 24 --warmup 2 --device cpu
    --checkpoint-every 2 --evaluate-every 4 --num-heldout 1
    --patch 8 --hidden 32 --heads 2 --blocks 3 --stem 8 --fills pull-push past future"""


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
    for i in range(3):
        shutil.copy(folder / "clip.mp4", folder / "clips" / f"{i}.mp4")


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
        "eval": ["eval", "synth4d", "--limit", "2", "--views", "near", "--method", "propagate",
                 "none", "--jobs", "1", "-o", OUT],
        "pretrain": ["pretrain", *TINY_NETWORK.split(), "--out", OUT],
        "batch": ["batch", name("clips"), "-o", OUT, "--", "complete", "--known",
                  name("known.png"), *own],
    }  # fmt: skip


def small_synth4d(folder: Path) -> None:
    """Synth4D of three frames of 32 x 48, in this process and its forks; made once here, so that
    they have its textures, which take half a minute."""
    from recam.evaluation.synth4d import make, read, scenes

    times = scenes.times_s
    for module in (scenes, read):
        module.NUM_FRAMES, module.HEIGHT, module.WIDTH = 3, 32, 48  # type: ignore[attr-defined]
    for module in (make, read):
        module.times_s = lambda num=3: times(num)  # type: ignore[attr-defined]
    make._OTHER_FRAMES = (0, 2)
    make.make_synth4d(folder, 2)


def hashes(result: Path) -> dict[str, str]:
    """sha256 of every file of a result that does not tell the time."""
    files = sorted(result.rglob("*")) if result.is_dir() else [result]
    return {
        file.relative_to(result.parent).as_posix(): hashlib.sha256(without_times(file)).hexdigest()
        for file in files
        if file.is_file() and not file.name.startswith(("checkpoint", "events.out", *UNSTEADY))
    }


def without_times(file: Path) -> bytes:
    """A file's bytes; of records without the seconds that something took and when it ended."""
    if file.suffix == ".json":
        return json.dumps(timeless(json.loads(file.read_text(encoding="utf-8")))).encode()
    if file.name in ("scores.csv", "table.md"):  # whose last column is seconds
        lines = file.read_text(encoding="utf-8").splitlines()
        return "\n".join(re.split(r"[|,][^|,]*\|?$", line)[0] for line in lines).encode()
    return file.read_bytes()


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


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
        torch.set_num_threads(1)  # on a busy machine several wait for each other
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
    rng, row = random.Random(), Row()
    log, suffix = folder / "log.txt", ".mp4" if name == "complete" else ""
    reference, cache = folder / f"reference{suffix}", folder / "cache"
    began = time.monotonic()
    if ended(begin(words, reference, cache, log)) != 0:
        row.faults.append(f"does not run: {log.read_text()[-300:]}")
        return row
    took_s = time.monotonic() - began
    wanted = {k.partition("/")[2]: v for k, v in hashes(reference).items()}
    out = folder / f"out{suffix}"
    goes_on = False  # from a kill, which a command of ADDING has to meet twice
    while row.kills < kills and time.monotonic() < until_s:
        there = row.kills % 2 == 1 and (goes_on or name not in ADDING)
        if not there:
            shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        if not goes_on:
            shutil.rmtree(cache, ignore_errors=True)
        before = finished_parts(name, out) if there else {}
        running = begin(words, out, cache, log)
        time.sleep(rng.uniform(0.02, 0.95) * took_s * (0.5 if goes_on else 1.0))
        os.kill(running, signal.SIGKILL)
        goes_on = not goes_on and name in ADDING
        if ended(running) != -signal.SIGKILL:
            goes_on = False
            continue  # it had ended before
        row.kills += 1
        after = finished_parts(name, out) if there else {}
        look_after_kill(running, row, any(after.get(file) != part for file, part in before.items()))
        if goes_on:
            continue
        began = time.monotonic()
        if ended(begin(words, out, cache, log)) != 0:
            row.differs += 1
            row.faults.append(f"kill {row.kills}: does not go on: {log.read_text()[-300:]}")
            continue
        if name not in ADDING:
            took_s = max(0.5 * took_s, min(took_s, time.monotonic() - began))  # the machine's load
        look_at_result(out, wanted, row, [folder / "tmp", out.parent])
    return row


def finished_parts(name: str, out: Path) -> dict[str, str]:
    """sha256 of the files that a killed run must leave as they are: of a result all, of rows and
    views those that are done. Steps of training leave a checkpoint, which later ones replace."""
    if name == "pretrain" or not out.exists():
        return {}
    files = hashes(out)
    if name == "eval":
        return {file: part for file, part in files.items() if file.endswith("/near.json")}
    if name == "batch":
        done = [file.stem for file in out.glob("done/*.json")]
        return {f: part for f, part in files.items() if any(f"results/{i}/" in f for i in done)}
    return files


def look_after_kill(group: int, row: Row, changed: bool) -> None:
    """Nothing lives on, and the result that was there is as it was."""
    for _ in range(300):  # one that was being started ends as soon as it runs
        if not group_alive(group):
            break
        time.sleep(0.1)
    if alive := group_alive(group):
        row.alive += 1
        row.faults.append(f"kill {row.kills}: {alive} live on")
        os.killpg(group, signal.SIGKILL)
    if changed:
        row.harmed += 1
        row.faults.append(f"kill {row.kills}: the earlier result is harmed")


def look_at_result(out: Path, wanted: dict[str, str], row: Row, places: list[Path]) -> None:
    """What the run after the kill has made: the reference's bytes and nothing else."""
    got = {k.partition("/")[2]: v for k, v in hashes(out).items()}
    if got != wanted:
        row.differs += 1
        other = sorted(k for k in got | wanted if got.get(k) != wanted.get(k))
        row.faults.append(f"kill {row.kills}: other bytes in {other}")
    # torch makes an empty folder for its compiler
    hidden = [p.name for p in places[0].iterdir() if not p.name.startswith("torchinductor_")]
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
    importlib.import_module("recam.evaluation.benchmark").code_hash()  # kept for them all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, a command")
    parser.add_argument("--commands", nargs="+", default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON of the rows, added to")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    import_all()
    with tempfile.TemporaryDirectory() as scratch:
        sample(Path(scratch))
        everything = commands(Path(scratch) / "clip.mp4")
        if "eval" in (options.commands or everything):
            small_synth4d(Path(scratch) / "synth4d")
        print("| command | kills | old result harmed | other bytes | processes left | files left |")
        print("|---|---|---|---|---|---|")
        for name in options.commands or everything:
            folder = Path(scratch) / name
            folder.mkdir()
            until_s = time.monotonic() + 60 * options.minutes
            row = attack(name, everything[name], options.kills, until_s, folder)
            told = rows.get(name, {})
            row = Row(**{key: told.get(key, type(n)()) + n for key, n in vars(row).items()})
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
