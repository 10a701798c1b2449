"""How many frames of synthetic scenes a second.

    python benchmarks/synthetic_speed.py                  # one thread, then all
    python benchmarks/synthetic_speed.py --device cuda

Each figure is the best of --repeats clips of a scene seen by an orbiting camera, everything in it:
textures into the atlas, shadows, geometry, shading, ground truth. Textures are painted once before
(a training run finds them in its cache). "processor" counts processor seconds instead of the
clock's, which other work on the machine disturbs less; on a GPU it tells what the host does.
Pictures are copied back before the clock stops. --frames: in a clip, where a GPU is to be filled.
"""

from __future__ import annotations

import argparse
import os
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


def processor_name() -> str:
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--frames", type=int, help="in a clip; default 24 of 128×192, 12 of 256×384"
    )
    args = parser.parse_args()
    on_gpu = torch.device(args.device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU here")
    name = torch.cuda.get_device_name(args.device) if on_gpu else processor_name()
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {args.device} ({name}), load {load:.1f} before\n")
    print("| scene | parts | size | threads | frames/s | frames per processor second |")
    print("| --- | --- | --- | --- | --- | --- |")
    all_threads = torch.get_num_threads()
    for threads in [all_threads] if on_gpu else sorted({1, all_threads}):
        torch.set_num_threads(threads)
        for kind in SCENE_KINDS:
            for height, width, few in SIZES:
                num_frames = args.frames or few
                got = measure(kind, height, width, num_frames, args.device, args.repeats)
                print(
                    f"| {kind} | {got['parts']} | {height}×{width} | {threads} | "
                    f"{got['fps']:.1f} | {got['processor_fps']:.1f} |",
                    flush=True,
                )
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
    if on_gpu:
        print(f"of the GPU {torch.cuda.max_memory_allocated(args.device) / 2**30:.2f} GB")


if __name__ == "__main__":
    main()
