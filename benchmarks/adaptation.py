"""Does adapting to a video help to complete it, how long does it take, and what does it need?

    python benchmarks/adaptation.py CLIP.mp4 [CLIP.mp4 ...] [--weights FILE] [--steps 300]

Hides parts of each clip (3D-aware masks by double reprojection of the clip's own reconstruction, or
with --masks layered the masks of another, synthetic scene), adapts on the known pixels alone, and
compares hole PSNR with the truth before and after; classical methods beside it. Prints wall and CPU
seconds of each part: on a busy machine CPU seconds over cores is the better figure.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from recam.completers import MaskedCompleter, complete, resolve_config
from recam.completion.flow_propagation import propagate
from recam.completion.pull_push import pull_push
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import load_model
from recam.configs import CompleteConfig, FinetuneConfig, ModelConfig, ReconstructConfig
from recam.media import read_video
from recam.training.adapt.examples import encode_hidden
from recam.training.adapt.masked import adapt
from recam.training.validation import hole_psnr, layered_pairs
from recam.types import PartialVideo, Video


@contextmanager
def timed(what: str, seconds: dict[str, tuple[float, float]]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[what] = (time.perf_counter() - wall, time.process_time() - cpu)


def holes(video: Video, masks: str, seed: int) -> PartialVideo:
    """The clip with parts hidden; what is left is as it was."""
    if masks == "layered":
        size = (1, len(video), video.height, video.width)
        known = layered_pairs(size, 2**41 + seed)[0].partial.known
    else:
        from recam.covisibility import make_pairs
        from recam.reconstruct import reconstruct

        scene = reconstruct(video, ReconstructConfig())
        known = next(iter(make_pairs(scene, np.random.default_rng(seed)))).partial.known
    return PartialVideo(video.frames * (known > 0)[:, None], known)


def flicker(frames: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> float:
    """Mean absolute change of the error from frame to frame in holes, in grey levels."""
    error = frames.float() - target.float()
    hole = (known[1:] < 0.5) & (known[:-1] < 0.5)
    return float((error[1:] - error[:-1]).abs().mean(1)[hole].mean())


def run(path: Path, model: VideoTransformer, args: argparse.Namespace) -> dict[str, float]:
    video = read_video(path, num_frames=args.frames, max_side=args.max_side)
    partial = holes(video, args.masks, args.seed)
    seconds: dict[str, tuple[float, float]] = {}
    results: dict[str, torch.Tensor] = {"pull-push": pull_push(partial)}
    with timed("propagate", seconds):
        results["propagate"] = propagate(partial)
    sampling = resolve_config(CompleteConfig("masked", model_side=args.max_side))
    with timed("sampling", seconds):
        results["model"] = complete(partial, completer=MaskedCompleter(model, sampling)).frames
    config = FinetuneConfig(steps=args.steps, minutes=args.minutes, method=args.method, lr=args.lr)
    with timed("examples", seconds):
        examples = encode_hidden(partial, config.num_pairs, model.config.fills, args.max_side, 0)
    with timed("adapting", seconds):
        adapted = adapt(model, examples, config)
    results["adapted"] = complete(
        partial, completer=MaskedCompleter(adapted.model, sampling)
    ).frames
    row = {}
    for name, frames in results.items():
        row[name] = hole_psnr(frames, video.frames, partial.known)
        row[f"{name} flicker"] = flicker(frames, video.frames, partial.known)
    times = ", ".join(f"{name} {w:.0f} s ({c:.0f} CPU)" for name, (w, c) in seconds.items())
    figures = ", ".join(f"{name} {value:.2f}" for name, value in row.items())
    print(f"{path.parent.name}: {1 - float(partial.known.mean()):.1%} hidden; {figures}")
    print(f"  {adapted.describe()}; {times}", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--masks", choices=["reprojected", "layered"], default="reprojected")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--max-side", type=int, default=512)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--method", choices=["whole", "lora"], default="whole")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = load_model(args.weights) if args.weights else VideoTransformer(ModelConfig()).eval()
    rows = [run(path, model, args) for path in args.clips]
    for name in rows[0]:
        print(f"mean {name}: {np.mean([row[name] for row in rows]):.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.1f} GB")


if __name__ == "__main__":
    main()
