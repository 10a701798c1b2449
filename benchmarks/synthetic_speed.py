"""How many frames of synthetic scenes a second.

    python benchmarks/synthetic_speed.py                  # one thread, then all
    python benchmarks/synthetic_speed.py --device cuda

Each figure is the best of --repeats clips of a scene seen by an orbiting camera, everything in it:
textures into the atlas, shadows, geometry, shading, ground truth. Textures are painted once before
(a training run finds them in its cache). "processor" counts processor seconds instead of the
clock's, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time

import torch

from recam.synthetic import SCENE_KINDS, render_synthetic, sample_cameras, sample_scene

SIZES = ((128, 192, 24), (256, 384, 12))


def measure(kind: str, height: int, width: int, num_frames: int, device: str, repeats: int) -> dict:
    """Best frames per second by the clock and by the processor."""
    scene = sample_scene(2, kind)
    cameras = sample_cameras(scene, 2, "orbit", num_frames, height, width)
    times_s = torch.arange(num_frames) / 24
    clock, processor = [], []
    for _ in range(repeats + 1):  # the first one warms up
        start, start_cpu = time.perf_counter(), time.process_time()
        frames = render_synthetic(scene, cameras, times_s, device).frames
        frames.cpu()
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_cpu)
    return {
        "parts": len(scene.parts),
        "fps": num_frames / min(clock[1:]),
        "processor_fps": num_frames / min(processor[1:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor()
    print(f"torch {torch.__version__}, {args.device} ({name or platform.machine()})\n")
    print("| scene | parts | size | threads | frames/s | frames per processor second |")
    print("| --- | --- | --- | --- | --- | --- |")
    all_threads = torch.get_num_threads()
    for threads in sorted({1, all_threads}) if args.device == "cpu" else [all_threads]:
        torch.set_num_threads(threads)
        for kind in SCENE_KINDS:
            for height, width, num_frames in SIZES:
                got = measure(kind, height, width, num_frames, args.device, args.repeats)
                print(
                    f"| {kind} | {got['parts']} | {height}×{width} | {threads} | "
                    f"{got['fps']:.1f} | {got['processor_fps']:.1f} |",
                    flush=True,
                )
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
