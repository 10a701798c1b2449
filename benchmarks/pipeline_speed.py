"""Each stage and the whole pipeline: seconds and peak memory over frames and resolution.

    python benchmarks/pipeline_speed.py [--out FOLDER] [--num-sizes 2]

Every stage runs in a process of its own, on what the stage before left on disk, so that its peak
memory is its own (less what the imports and the input take: "added"). "processor" counts seconds of
all threads, which other work on the machine disturbs less than the clock; growth is told by it:
the exponent p of seconds ~ pixels^p, fitted over all sizes of a row. The warper row is the
reference warper (benchmarks/reference_warper.py), a frame at a time, in the same run; the ratio to
it is of processor seconds a frame. Writes pipeline_speed.md and pipeline_speed.png into --out, and
every row into rows.json as soon as it is measured: run again to go on (or choose another --out).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from recam.types import CameraPath, Scene

STAGES = ("reconstruct", "render", "render, no static", "pair", "propagate", "masked", "warper")
FRAMES = ((12, 256, 384), (24, 256, 384), (48, 256, 384), (96, 256, 384))
SIZES = ((24, 128, 192), (24, 256, 384), (24, 384, 576), (24, 512, 768))
YAW_DEG = 20.0


def prepare(folder: Path, num: int, height: int, width: int) -> None:
    """A synthetic clip with true geometry, and what it shows to a camera on an orbit."""
    from recam.reconstruct import save_scene
    from recam.render import render
    from recam.synthetic import synthetic_clip

    scene, _ = synthetic_clip(3, num, height, width, "orbit", "room")
    save_scene(scene, folder / "scene")
    rendering = render(scene, orbit(scene))
    torch.save({"frames": rendering.frames, "known": rendering.known}, folder / "partial.pt")


def orbit(scene: Scene) -> CameraPath:
    """A path that goes YAW_DEG round by the end."""
    from recam.covisibility import novel_cameras
    from recam.trajectories import focus_depth

    yaw = torch.linspace(0, YAW_DEG, len(scene), dtype=torch.float64)
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    cameras = novel_cameras(own, yaw, 0 * yaw, 0 * yaw, focus_depth(scene))
    return CameraPath(cameras, torch.arange(len(scene)))


def work_of(stage: str, folder: Path) -> Callable[[], object]:
    """The stage as a function without arguments, its input read already."""
    from recam.completers import complete
    from recam.configs import CompleteConfig, RenderConfig
    from recam.covisibility import double_reproject
    from recam.reconstruct import load_scene, reconstruct
    from recam.render import render
    from recam.types import PartialVideo

    scene = load_scene(folder / "scene")
    path = orbit(scene)
    match stage:
        case "reconstruct":
            return lambda: reconstruct(scene.video)
        case "render":
            return lambda: render(scene, path)
        case "render, no static":
            return lambda: render(scene, path, RenderConfig(aggregate_static=False))
        case "pair":
            return lambda: double_reproject(scene, path.cameras)
        case "propagate" | "masked":
            partial = torch.load(folder / "partial.pt", weights_only=True)
            video = PartialVideo(partial["frames"], partial["known"])
            return lambda: complete(video, CompleteConfig(stage))
    from reference_warper import warp_frame

    own = scene.cameras

    def warp() -> None:
        ones = torch.ones(scene.depth.shape[1:])
        for i in range(len(scene)):
            frame = scene.video.frames[i].float()
            warp_frame(frame, scene.depth[i], ones, own[i : i + 1], path.cameras[i : i + 1])

    return warp


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Run a stage once to warm up (compiled code, caches) on a few frames, then in earnest."""
    warm = folder.parent / "warm"
    if stage != "warper":
        work_of(stage, warm)()
    work = work_of(stage, folder)
    before = restart_peak()
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - clock,
        "processor": time.process_time() - processor,
        "peak_gb": peak_gb(),
        "added_gb": peak_gb() - before,
    }


def restart_peak() -> float:
    """Forget the peak so far (compiling takes memory, too); what is resident now, in GB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_gb()


def peak_gb() -> float:
    """Largest resident memory since ``restart_peak``, in GB (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def run_apart(*args: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, *args], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def exponent(rows: list[dict]) -> float:
    """p of processor ~ pixels^p."""
    x = torch.tensor([[math.log(r["pixels"]), 1.0] for r in rows], dtype=torch.float64)
    y = torch.tensor([math.log(max(r["processor"], 1e-3)) for r in rows], dtype=torch.float64)
    return float(torch.linalg.lstsq(x, y[:, None]).solution[0])


def table(rows: list[dict]) -> str:
    lines = [
        "| stage | frames | size | seconds | processor s | ms a frame (processor) | peak GB | "
        "added GB |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in rows:
        lines.append(
            f"| {r['stage']} | {r['num']} | {r['height']}×{r['width']} | {r['seconds']:.2f} | "
            f"{r['processor']:.2f} | {1000 * r['processor'] / r['num']:.0f} | "
            f"{r['peak_gb']:.2f} | {r['added_gb']:.2f} |"
        )
    return "\n".join(lines)


def growth(rows: list[dict], frames: tuple, sizes: tuple) -> str:
    lines = ["| stage | p over frames | p over pixels of a frame |", "| --- | ---: | ---: |"]
    for stage in dict.fromkeys(r["stage"] for r in rows):
        cells = []
        for group in (frames, sizes):
            part = [
                r for r in rows
                if r["stage"] == stage and (r["num"], r["height"], r["width"]) in group
            ]  # fmt: skip
            cells.append(f"{exponent(part):.2f}")
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def whole(rows: list[dict]) -> list[dict]:
    """Rows of the whole pipeline, by either completion: its stages one after the other, the peak of
    the largest."""
    out = []
    for key in dict.fromkeys((r["num"], r["height"], r["width"]) for r in rows):
        for model in ("propagate", "masked"):
            mine = [
                r for r in rows
                if (r["num"], r["height"], r["width"]) == key
                and r["stage"] in ("reconstruct", "render", model)
            ]  # fmt: skip
            total = {k: sum(r[k] for r in mine) for k in ("seconds", "processor")}
            peak = {k: max(r[k] for r in mine) for k in ("peak_gb", "added_gb")}
            out.append(mine[0] | total | peak | {"stage": f"whole, {model}"})
    return out


def plot(rows: list[dict], frames: tuple, sizes: tuple, path: Path) -> None:
    from recam.evaluation.report import plotting

    figure_of, save = plotting()
    figure = figure_of(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, (group, name) in enumerate(
        ((frames, "frames at 256 × 384"), (sizes, "pixels of a frame (24 frames)"))
    ):
        for stage in dict.fromkeys(r["stage"] for r in rows):
            part = [
                r for r in rows
                if r["stage"] == stage and (r["num"], r["height"], r["width"]) in group
            ]  # fmt: skip
            x = [r["num"] if column == 0 else r["height"] * r["width"] for r in part]
            for row, key in enumerate(("processor", "added_gb")):
                axes[row][column].plot(x, [max(r[key], 1e-3) for r in part], "o-", label=stage)
        for row, label in enumerate(("processor seconds", "added memory, GB")):
            axes[row][column].set(xscale="log", yscale="log", xlabel=name, ylabel=label)
            axes[row][column].grid(alpha=0.3, which="both")
            measured = [f if column == 0 else h * w for f, h, w in group]
            axes[row][column].set_xticks(measured, [str(m) for m in measured])
            axes[row][column].set_xticks([], minor=True)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right", fontsize=7)
    save(figure, path)


def measured_rows(wanted: list[tuple[int, int, int]], kept: Path) -> list[dict]:
    """A row for every stage at every wanted (frames, height, width); those kept are only read."""
    rows = json.loads(kept.read_text()) if kept.is_file() else []
    there = {(r["stage"], r["num"], r["height"], r["width"]) for r in rows}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "warm").mkdir()
        prepare(Path(name) / "warm", 6, 64, 96)
        for num, height, width in wanted:
            left = [stage for stage in STAGES if (stage, num, height, width) not in there]
            if not left:
                continue
            folder = Path(name) / f"{num}-{height}"
            folder.mkdir()
            prepare(folder, num, height, width)
            for stage in left:
                got = run_apart("--measure", stage, str(folder)) | {"load": os.getloadavg()[0]}
                size = {"num": num, "height": height, "width": width}
                rows.append({"stage": stage, **size, "pixels": num * height * width, **got})
                print(table(rows[-1:]).splitlines()[-1], flush=True)
                unfinished = kept.with_suffix(".part")
                unfinished.write_text(json.dumps(rows, indent=1))
                unfinished.replace(kept)
    return [r for r in rows if (r["num"], r["height"], r["width"]) in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pipeline-speed"))
    parser.add_argument("--num-sizes", type=int, default=4, help="of each series, smallest first")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure[0], Path(args.measure[1]))))
        return
    if args.num_sizes < 2:
        parser.error("growth is told from 2 sizes or more")
    frames, sizes = FRAMES[: args.num_sizes], SIZES[: args.num_sizes]
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = list(dict.fromkeys(frames + sizes))
    rows = measured_rows(wanted, args.out / "rows.json")
    rows += whole(rows)
    same = [r for r in rows if (r["num"], r["height"], r["width"]) == (24, 256, 384)]
    by = {r["stage"]: r["processor"] for r in same}
    text = "\n\n".join(
        [
            f"torch {torch.__version__}, {torch.get_num_threads()} threads, load of the machine "
            f"{min(r['load'] for r in rows):.1f} to {max(r['load'] for r in rows):.1f}",
            table(rows),
            growth(rows, frames, sizes),
            "The reference warper's processor time over ours, one reprojection at 256×384: "
            f"{by['warper'] / by['render, no static']:.1f} (without static points), "
            f"{by['warper'] / by['render']:.1f} (with).",
        ]
    )  # fmt: skip
    (args.out / "pipeline_speed.md").write_text(text + "\n", encoding="utf-8")
    plot(rows, frames, sizes, args.out / "pipeline_speed.png")
    print(text)


if __name__ == "__main__":
    main()
