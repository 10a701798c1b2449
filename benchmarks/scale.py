"""What many rows cost: engines and workers, kills, full disks, ten thousand rows, pairs an hour.

    python benchmarks/scale.py --out scale --tables engines waiting overhead kills disk rows
    python benchmarks/scale.py --out scale --films FOLDER --tables gates pairs

Each table is written to OUT/{table}.json when it is whole, and not made again. Films are rendered
scenes, unless --films gives a folder for the pairs. ``disk`` and ``own_disk`` mount a small tmpfs
(root only).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # clusters of these tables, on this machine only
from batch_jobs import double, one_on_a_small_disk, wait_a_second  # noqa: E402
from recam.apps.batch.command import do_all  # noqa: E402
from recam.apps.batch.engines import run_rows  # noqa: E402
from recam.apps.batch.job import run_job  # noqa: E402
from recam.configs import EngineConfig  # noqa: E402

RECAM = [sys.executable, "-m", "recam.apps.cli"]


def make_films(folder: Path, num: int, frames: int, height: int, width: int) -> Path:
    """Short films of random scenes, a folder of them."""
    from recam.media import write_video
    from recam.synthetic import CAMERA_KINDS, synthetic_clip

    seed = 500
    while len(list(folder.glob("*.mp4"))) < num:
        path = folder / f"film{seed}.mp4"
        if not path.exists():
            try:
                clip = synthetic_clip(seed, frames, height, width, CAMERA_KINDS[seed % 3])[0]
            except ValueError:  # a scene that leaves a camera no room
                seed += 1
                continue
            folder.mkdir(parents=True, exist_ok=True)
            write_video(clip.video, path)
        seed += 1
    return folder


NUM_FILMS = 24
ENGINES = ("local", "ray")


def film_rows(films: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(films.glob("*.mp4"))[:NUM_FILMS]:
        yield {"id": path.name, "task": "reconstruct", "input": str(path)}


def numbered(num: int) -> Iterator[dict[str, Any]]:
    return ({"id": f"{i // 1000}/{i}", "number": i} for i in range(num))


def engine(name: str, workers: int) -> EngineConfig:
    return EngineConfig(engine=name, address="local", workers=workers, threads=1)  # type: ignore[arg-type]


def engines(out: Path, films: Path) -> dict[str, Any]:
    """Seconds of all films by each engine with one worker and with two, a thread each.

    The first films, of other rows, are done before the clock starts: processes have started,
    imported and compiled what they need. ``processor``: seconds of all processes meanwhile; two
    workers double no work when they need as many as one.
    """
    table: dict[str, Any] = {}
    for name in ENGINES:
        for workers in (1, 2):
            kept = out / f"{name}{workers}.json"
            if not kept.exists():
                kept.write_text(
                    json.dumps(timed_batch(out / f"{name}{workers}", films, name, workers))
                )
            table[f"{name} {workers}"] = json.loads(kept.read_text())
        one, two = table[f"{name} 1"], table[f"{name} 2"]
        table[f"{name} speed-up"] = round(one["warm_seconds"] / two["warm_seconds"], 2)
        table[f"{name} processor"] = round(two["processor"] / one["processor"], 2)
    return table


def timed_batch(folder: Path, films: Path, name: str, workers: int) -> dict[str, Any]:
    """From the moment that every worker has done a row on, to the last row."""
    shutil.rmtree(folder, ignore_errors=True)
    os.environ["RECAM_CACHE"] = str(folder / "cache")
    load = os.getloadavg()[0]
    given = list(film_rows(films))
    # Of one frame less, so that their scenes are not those of the others.
    early = [row | {"id": f"warm/{i}", "num_frames": 3} for i, row in enumerate(given)]
    rows = early[: 2 * workers] + given
    if name == "ray":
        import ray

        ray.data.DataContext.get_current().wait_for_min_actors_s = 600
    ended = []
    for record in run_rows(
        ({**row, "out": str(folder)} for row in rows), engine(name, workers), run_job
    ):
        ended.append((time.perf_counter(), record))
    ended = ended[2 * workers - 1 :]
    records = [record for _, record in ended[1:]]
    if any(record["status"] != "ok" for record in records):
        raise RuntimeError("a row failed")
    return {
        "rows": len(records), "warm_seconds": round(ended[-1][0] - ended[0][0], 2),
        "processor": round(sum(record["processor_seconds"] for record in records), 2),
        "row_seconds": round(sum(record["seconds"]["total"] for record in records), 2),
        "load_before": load,
    }  # fmt: skip


def waiting(out: Path) -> dict[str, Any]:
    """Seconds of 24 rows that wait a second each: what an engine makes of two workers, also on a
    machine whose cores are taken. Ray runs before the clock does."""
    table: dict[str, Any] = {}
    for name in ENGINES:
        if name == "ray":
            import ray

            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        for workers in (1, 2):
            folder = out / f"waiting-{name}{workers}"
            shutil.rmtree(folder, ignore_errors=True)
            config = engine(name, workers)
            summary = do_all(lambda: numbered(24), str(folder), config, wait_a_second, True)
            table[f"{name} {workers}"] = summary["seconds"]
        table[f"{name} speed-up"] = round(table[f"{name} 1"] / table[f"{name} 2"], 2)
    return table


def overhead(out: Path, num: int = 300) -> dict[str, Any]:
    """Seconds a row of work that takes no time."""
    table = {}
    for name in ENGINES:
        folder = out / f"overhead-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        started = time.perf_counter()
        do_all(lambda: numbered(1), str(folder / "first"), engine(name, 1), double, True)
        first = time.perf_counter() - started
        summary = do_all(lambda: numbered(num), str(folder), engine(name, 1), double, True)
        table[name] = {
            "start_s": round(first, 2),
            "ms_a_row": round(1000 * (summary["seconds"] - first) / num, 2),
        }
    return table


def rows(out: Path, num: int = 10_000) -> dict[str, Any]:
    """The driver's memory over ten thousand rows, and how long they took."""
    import psutil

    table = {}
    for name in ENGINES:
        folder = out / f"rows-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        seen: list[tuple[int, float]] = []
        ended = threading.Event()

        def watch(folder: Path = folder, seen: list = seen, ended: Any = ended) -> None:
            while not ended.wait(2.0):
                done = sum(1 for _ in (folder / "done").rglob("*.json")) if folder.exists() else 0
                seen.append((done, psutil.Process().memory_info().rss / 1e6))

        thread = threading.Thread(target=watch)
        thread.start()
        summary = do_all(lambda: numbered(num), str(folder), engine(name, 2), double, True)
        ended.set()
        thread.join()
        early = [mb for done, mb in seen if num * 0.1 <= done <= num * 0.3]
        table[name] = {
            "ok": summary["ok"], "seconds": summary["seconds"],
            "mb_at_a_fifth": round(max(early, default=0)), "mb_at_the_end": round(seen[-1][1]),
        }  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
    return table


def hashes(folder: Path) -> dict[str, str]:
    """What was made of each film: the sha256 of its depth and cameras."""
    records = [json.loads(p.read_text()) for p in (folder / "done").rglob("*.json")]
    return {
        record["id"] + "/" + name: about["sha256"]
        for record in records
        if record["status"] == "ok"
        for name, about in record["files"].items()
        if name not in ("config.json", "timings.json", "scene.json")
    }


def kills(out: Path, films: Path) -> dict[str, Any]:
    """kill -9 in the middle, then the same command again: everything once, the same bytes."""
    reference = out / "kill-none"
    if not (reference / "summary.json").exists():
        begin_batch(reference, films).wait()
    table = {}
    for name in ENGINES:
        for what in ("worker", "driver", "all"):
            kept = out / f"kill-{name}-{what}.json"
            if not kept.exists():
                folder = out / f"kill-{name}-{what}"
                shutil.rmtree(folder, ignore_errors=True)
                with ExitStack() as stack:
                    report = killed_batch(folder, films, name, what, stack)
                report["same_bytes"] = hashes(folder) == hashes(reference)
                kept.write_text(json.dumps(report))
            table[f"{name} {what}"] = json.loads(kept.read_text())
    return table


def begin_batch(folder: Path, films: Path, *more: str, told: Path | None = None) -> Any:
    command = [*RECAM, "batch", str(films), "--threads", "1", "--quiet", "--limit", "6"]
    environment = os.environ | {"RECAM_CACHE": str(folder / "cache")}
    place = told.open("w") if told else None
    return subprocess.Popen(
        [*command, "-o", str(folder), *more, "--", "reconstruct"], env=environment,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=place,
    )  # fmt: skip


def killed_batch(
    folder: Path, films: Path, name: str, what: str, stack: ExitStack
) -> dict[str, Any]:
    """Begin a batch, kill a part of it once two rows are done, and run it again to its end."""
    more, port = ["--engine", name, "--workers", "2"], 0
    if name == "ray":
        port = begin_cluster(stack)
        more += ["--address", f"127.0.0.1:{port}"]
    told = folder.with_suffix(".log")
    process = begin_batch(folder, films, *more, told=told)
    while len(list((folder / "done").rglob("*.json"))) < 2 and process.poll() is None:
        time.sleep(0.2)
    before = {p: p.read_bytes() for p in (folder / "done").rglob("*.json")}
    killed = kill(process, port, what)
    begun = time.perf_counter()
    exit_status = process.wait(600)
    report: dict[str, Any] = {
        "done_before": len(before), "exit": exit_status,
        "ended_after_s": round(time.perf_counter() - begun, 1), "said": told.read_text()[-600:],
    }  # fmt: skip
    report["live_on"] = left_alive(killed, 10.0)
    if port and what == "all":
        more[-1] = f"127.0.0.1:{begin_cluster(stack)}"
    again = begin_batch(folder, films, *more)
    report["exit_again"] = again.wait()
    report["done"] = len(list((folder / "done").rglob("*.json")))
    report["none_done_twice"] = all(p.read_bytes() == text for p, text in before.items())
    return report


def begin_cluster(stack: ExitStack) -> int:
    """A Ray cluster of this machine, as `ray start` begins one; its port, by which its processes
    are known."""
    import socket

    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2"]
    ray += [f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
    patient = os.environ | {"RAY_raylet_start_wait_time_s": "300"}  # on a busy machine

    def end() -> None:
        for process in members(port):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    import psutil

    stack.callback(end)
    subprocess.run(ray, env=patient, start_new_session=True, check=True, stdout=subprocess.DEVNULL)
    return port


def members(port: int) -> list[Any]:
    """The processes of the cluster at a port, and those that they started."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if "ray" in words and (f":{port}" in words or f"={port}" in words):
                found |= {p.pid: p for p in [process, *process.children(recursive=True)]}
    return list(found.values())


def below(pid: int) -> list[Any]:
    import psutil

    return psutil.Process(pid).children(recursive=True)


def kill(process: Any, port: int, what: str) -> list[Any]:
    """Kill the driver, or all processes of the driver or of the cluster, or one that works.
    Returns those that must end now: of the driver all below it and Ray's that did rows for it."""
    import psutil

    if process.poll() is not None:
        raise RuntimeError(f"the batch ended with {process.returncode} before it was killed")
    under = below(process.pid) + (members(port) if port else [])
    working = [p for p in under if "spawn_main" in " ".join(p.cmdline())]
    targets = {
        "worker": [max(working, key=lambda p: p.memory_info().rss)],
        "driver": [psutil.Process(process.pid)],
        "all": members(port) if port else [psutil.Process(process.pid), *under],
    }[what]
    for target in targets:
        with suppress(psutil.NoSuchProcess):
            target.kill()
    return {"worker": targets, "driver": working, "all": targets}[what]


def left_alive(processes: list[Any], within_s: float) -> list[str]:
    import psutil

    alive = psutil.wait_procs(processes, within_s)[1]
    return [" ".join(p.cmdline())[:80] for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def own_disk(out: Path, films: Path) -> dict[str, Any]:
    """One of two workers has its cache on a full disk, where what goes to a URL is made first: the
    other does its rows."""
    place, folder = out / "own-disk", out / "own-disk-out"
    place.mkdir(exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]).returncode:
        return {"skipped": "no right to mount a tmpfs"}
    try:
        os.environ.update(SMALL_DISK=str(place), RECAM_CACHE=str(out / "own-disk-cache"))
        config = EngineConfig(workers=2, threads=1, retries=3)
        summary = do_all(
            lambda: film_rows(films), f"file://{folder}", config, one_on_a_small_disk, True
        )
        full = subprocess.run(["df", "--output=used,size", str(place)], capture_output=True)
        left = [p.name for p in place.rglob("*") if p.is_file()]
        return {
            "ok": summary["ok"], "failed": summary["failed_by_kind"], "seconds": summary["seconds"],
            "left_there": left, "disk": full.stdout.decode().split()[-2:],
            "done": len(list((folder / "done").glob("*.json"))),
        }  # fmt: skip
    finally:
        subprocess.run(["umount", str(place)], check=False)


def disk(out: Path, films: Path) -> dict[str, Any]:
    """A disk that fills up, is enlarged, and the same rows again."""
    place = out / "small-disk"
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if subprocess.run(mount).returncode:
        return {"skipped": "no right to mount a tmpfs"}
    try:
        config = engine("local", 2)
        os.environ["RECAM_CACHE"] = str(out / "disk-cache")
        first = do_all(lambda: film_rows(films), str(place / "o"), config, run_job, True)
        left = [str(p) for p in (place / "o").rglob(".*")]
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
        again = do_all(lambda: film_rows(films), str(place / "o"), config, run_job, True)
        return {
            "ok": first["ok"], "failed_by_kind": first["failed_by_kind"], "left_behind": left,
            "said": [failure["error"] for failure in first["first_failures"]],
            "then_ok": again["ok"], "then_reused": again["reused"],
        }  # fmt: skip
    finally:
        subprocess.run(["umount", str(place)], check=False)


def gates(out: Path, films: Path) -> dict[str, Any]:
    """What the gates before reconstruction drop of films as they are, blurred, still, titled."""
    import cv2
    import numpy as np
    import torch

    from recam.configs import PairsConfig
    from recam.media import read_video
    from recam.training.shards.shots import dropped_by, find_shots, measure, parts_of
    from recam.types import Video

    def changed(video: Video, how: str) -> Video:
        height, width = video.height, video.width
        frames = []
        for frame in video.frames[:1].expand_as(video.frames) if how == "still" else video.frames:
            picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
            if how == "blurred":  # by 1/100 of the width
                picture = cv2.GaussianBlur(picture, (0, 0), width / 100)
            if how == "titled":
                place, size = (width // 8, height - height // 10), height / 300
                for thick, color in ((4, (0, 0, 0)), (2, (255, 255, 255))):
                    words = "where have you been all day"
                    cv2.putText(picture, words, place, 0, size, color, thick)
            frames.append(torch.from_numpy(picture).permute(2, 0, 1))
        return Video(torch.stack(frames), video.times_s)

    config = PairsConfig()
    counts: dict[str, dict[str, int]] = {}
    num_shots = []
    paths = sorted(p for p in films.rglob("*") if p.suffix in (".mp4", ".webm", ".mov", ".mkv"))
    for path in paths:
        shots = find_shots(path)
        num_shots.append(len(shots))
        start = parts_of(shots[0], config)[0]
        num = min(config.shot_frames, shots[0][1] - start)
        if num < config.num_frames:
            continue
        part = read_video(path, start=start, num_frames=num, max_side=config.max_side)
        for how in ("as it is", "still", "blurred", "titled"):
            gate = dropped_by(measure(changed(part, how)), config) or "kept"
            counts.setdefault(how, {})[gate] = counts.get(how, {}).get(gate, 0) + 1
    return {"films": len(paths), "shots": sum(num_shots), "gates": counts}


def pairs(out: Path, films: Path) -> dict[str, Any]:
    """Pairs an hour of one core, and the share of parts that each gate drops."""
    from recam.configs import PairsConfig
    from recam.training.shards.write import write_shards

    os.environ["RECAM_CACHE"] = str(out / "pairs-cache")
    shutil.rmtree(out / "pairs-cache", ignore_errors=True)
    paths = sorted(p for p in films.rglob("*") if p.suffix in (".mp4", ".webm", ".mov", ".mkv"))
    config = PairsConfig(num_frames=8, shot_frames=12, max_side=256, parts_per_shot=1)
    started, cpu = time.perf_counter(), time.process_time()
    folder = out / "pairs"
    shutil.rmtree(folder, ignore_errors=True)
    decisions = write_shards(paths, folder, config)
    spent, used = time.perf_counter() - started, time.process_time() - cpu
    num = sum(d.get("pairs", 0) for d in decisions)
    gates: dict[str, int] = {}
    for decision in decisions:
        gate = decision.get("dropped_by") or "kept"
        gates[gate] = gates.get(gate, 0) + 1
    num_bytes = sum(p.stat().st_size for p in folder.glob("*.tar"))
    return {
        "films": len(paths), "parts": len(decisions), "pairs": num, "seconds": round(spent, 1),
        "processor_seconds": round(used, 1), "pairs_a_core_hour": round(3600 * num / used),
        "bytes_a_pair": round(num_bytes / max(num, 1)),
        "share_of_parts": {g: round(n / len(decisions), 3) for g, n in gates.items()},
    }  # fmt: skip


def main() -> None:
    tables = ("engines", "waiting", "overhead", "kills", "disk", "own_disk", "rows",
              "gates", "pairs")  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("scale"))
    parser.add_argument("--tables", nargs="+", choices=tables, default=tables)
    parser.add_argument("--films", type=Path, help="folder, for gates and pairs")
    parser.add_argument("--num", type=int, default=24, help="films that are made")
    parser.add_argument("--size", type=int, nargs=3, default=(4, 48, 64), help="frames, h, w")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    args = parser.parse_args()
    globals().update(NUM_FILMS=args.num, ENGINES=tuple(args.engines))
    out: Path = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    films = make_films(out / "films", args.num, *args.size)
    for name in args.tables:
        kept = out / f"{name}.json"
        if not kept.exists():
            given = (out, args.films or films)
            needs = {
                "waiting": (out,),
                "overhead": (out,),
                "rows": (out,),
                "gates": given,
                "pairs": given,
            }
            load = os.getloadavg()[0]
            table = globals()[name](*needs.get(name, (out, films)))
            table["load"] = [round(load, 1), round(os.getloadavg()[0], 1)]
            kept.write_text(json.dumps(table, indent=1) + "\n")
        print(name, kept.read_text())


if __name__ == "__main__":
    main()
