"""Speed, fidelity and memory of the renderer, beside a stand-in for the reference warper.

    python benchmarks/render_speed.py [--threads 2] [--only speed|fidelity|memory]

Times are per frame, at 480×720, for one reprojection and for there-and-back, both with colours;
ours without merging static points (the reference does not), then with. CPU is the processor time of
all threads together, which other work on the machine disturbs less. Fidelity is against the
true view of a synthetic scene, with true depth: PSNR over each one's own known pixels and over
those that both know. Memory: what streaming by windows adds, for a clip and
one 8 times as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from reference_warper import warp_frame
from torch import Tensor

from recam.configs import RenderConfig
from recam.covisibility import novel_cameras
from recam.render import render, render_frames, render_windows
from recam.synthetic import synthetic_clip, true_view
from recam.trajectories import focus_depth
from recam.types import CameraPath, Cameras, Scene, Video

HEIGHT, WIDTH = 480, 720
ALONE = RenderConfig(aggregate_static=False)
MERGED = RenderConfig()


def path_of(scene: Scene, yaw: float, pitch: float, r: float) -> CameraPath:
    one = torch.ones(len(scene), dtype=torch.float64)
    depth = focus_depth(scene)
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    cameras = novel_cameras(own, yaw * one, pitch * one, r * one, depth)
    return CameraPath(cameras, torch.arange(len(scene)))


def ours(scene: Scene, path: CameraPath, config: RenderConfig) -> tuple[Tensor, Tensor]:
    rendering = render(scene, path, config)
    return rendering.frames, rendering.known


def ours_double(scene: Scene, path: CameraPath) -> tuple[Tensor, Tensor]:
    there = render(scene, path, ALONE)
    virtual = Scene(
        Video(there.frames, scene.video.times_s), path.cameras, there.depth, there.known > 0,
        torch.zeros_like(there.known, dtype=torch.bool), there.known,
    )  # fmt: skip
    return ours(virtual, CameraPath(scene.cameras, path.source_frames), ALONE)


def theirs(scene: Scene, path: CameraPath, double: bool = False) -> tuple[Tensor, Tensor]:
    frames, knowns = [], []
    for i in range(len(scene)):
        a, b = scene.cameras[i : i + 1], path.cameras[i : i + 1]
        frame, ones = scene.video.frames[i].float(), torch.ones_like(scene.depth[i])
        frame, known, depth = warp_frame(frame, scene.depth[i], ones, a, b)
        if double:
            frame, known, _ = warp_frame(frame, depth.clamp(min=1e-3), known, b, a)
        frames.append(frame.round().to(torch.uint8))
        knowns.append(known)
    return torch.stack(frames), torch.stack(knowns)


def psnr(a: Tensor, b: Tensor, where: Tensor) -> float:
    error = (a.float() - b.float()).square().mean(1)[where].mean()
    return float(10 * torch.log10(255**2 / error))


def timed(call: Callable[[], object], num_frames: int, repeats: int) -> tuple[float, float, float]:
    """Least and median milliseconds a frame, and the least of processor time over all threads."""
    call()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append((time.perf_counter() - wall) * 1e3 / num_frames)
        cpus.append((time.process_time() - cpu) * 1e3 / num_frames)
    return min(walls), statistics.median(walls), min(cpus)


def report_speed(scene: Scene, repeats: int) -> None:
    path = path_of(scene, 10, 4, 0.05)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("single: reference stand-in", lambda: theirs(scene, path)),
        ("single: ours", lambda: ours(scene, path, ALONE)),
        ("double: reference stand-in", lambda: theirs(scene, path, double=True)),
        ("double: ours", lambda: ours_double(scene, path)),
        ("single: ours, static points merged", lambda: ours(scene, path, MERGED)),
    ]
    print(f"\n{'ms a frame at 480×720':38s}   least  median     CPU")
    least = {}
    for name, call in rows:
        least[name], median, cpu = timed(call, len(scene), repeats)
        print(f"{name:38s} {least[name]:7.1f} {median:7.1f} {cpu:7.1f}")
    for kind in ("single", "double"):
        ratio = least[f"{kind}: reference stand-in"] / least[f"{kind}: ours"]
        print(f"{kind}: {ratio:.1f} times as fast (least over least)")


def report_fidelity(seeds: list[int]) -> None:
    print("\nPSNR in dB against the true view (own known pixels | pixels that both know | known)")
    print(f"{'path':28s} {'reference stand-in':>24s} {'ours':>24s} {'ours, merged':>24s}")
    for name, yaw, pitch, r in (
        ("same camera", 0.0, 0.0, 0.0), ("orbit 3°", 3.0, 0.0, 0.0),
        ("orbit 10°, up 4°", 10.0, 4.0, 0.0), ("orbit 20°", 20.0, 0.0, 0.0),
        ("twice as close", 0.0, 0.0, 0.5),
    ):  # fmt: skip
        cells: list[list[tuple[float, float, float]]] = []
        for seed in seeds:
            scene, synthetic = synthetic_clip(seed, 3, HEIGHT, WIDTH, "orbit")
            path = path_of(scene, yaw, pitch, r)
            truth = true_view(synthetic, path, scene.video.times_s).frames
            outs = [theirs(scene, path), ours(scene, path, ALONE), ours(scene, path, MERGED)]
            both = (outs[0][1] > 0) & (outs[1][1] > 0)
            cells.append(
                [
                    (psnr(f, truth, k > 0), psnr(f, truth, both), float((k > 0).float().mean()))
                    for f, k in outs
                ]
            )
        means = torch.tensor(cells).mean(0)
        text = "".join(f"{a:10.2f} |{b:6.2f} |{c:6.3f}" for a, b, c in means.tolist())
        print(f"{name:28s}{text}")


def stretched(num_frames: int) -> tuple[Scene, CameraPath]:
    """A clip of one frame seen many times, which itself takes the memory of one."""
    scene, _ = synthetic_clip(0, 1, HEIGHT, WIDTH)
    times = torch.arange(num_frames, dtype=torch.float64)

    def many(x: Tensor) -> Tensor:
        return x.expand(num_frames, *x.shape[1:])

    cameras = Cameras(
        many(scene.cameras.cam_from_world), many(scene.cameras.intrinsics), HEIGHT, WIDTH
    )
    long = Scene(
        Video(many(scene.video.frames), times), cameras, many(scene.depth), many(scene.valid),
        many(scene.dynamic), many(scene.confidence),
    )  # fmt: skip
    return long, path_of(long, 10, 0, 0)


def resident_mb() -> float:
    """Memory in use by this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_memory(num_frames: int) -> None:
    scene, path = stretched(num_frames)
    for _ in render_frames(scene, path[:2], MERGED):  # compiles, outside of what is measured
        pass
    before = resident_mb()
    most = max(resident_mb() for _ in render_windows(scene, path, MERGED, window=8))
    print(most - before)


def report_memory(threads: int) -> None:
    print("\nmost memory over that before, MB, in windows of 8 frames")
    for num_frames in (24, 192):
        command = [sys.executable, __file__, "--memory", str(num_frames)]
        command += ["--threads", str(threads)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{num_frames:4d} frames: {float(out.stdout.split()[-1]):6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 11, 12])
    parser.add_argument("--only", choices=["speed", "fidelity", "memory"])
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory:
        measure_memory(args.memory)
        return
    print(f"{Path(__file__).name}: torch {torch.__version__}, {args.threads} threads")
    if args.only in (None, "speed"):
        scene, _ = synthetic_clip(3, args.frames, HEIGHT, WIDTH, "orbit")
        report_speed(scene, args.repeats)
    if args.only in (None, "fidelity"):
        report_fidelity(args.seeds)
    if args.only in (None, "memory"):
        report_memory(args.threads)


if __name__ == "__main__":
    main()
