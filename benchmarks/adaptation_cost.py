"""Time and memory of adapting the masked model to a video and completing it, part by part.

    python benchmarks/adaptation_cost.py [--steps 300] [--frames 48] [--weights FILE]

A rendered clip of 288×512 is adapted to by pairs made of it, then a 20° orbit of it is completed.
Without weights the model is untrained, which costs the same.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from recam.completers import MaskedCompleter, complete, resolve_config
from recam.completion.flow_propagation import propagate
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import load_model
from recam.configs import CompleteConfig, FinetuneConfig, ModelConfig, PathConfig, RenderConfig
from recam.covisibility import make_pairs, take_frames
from recam.render import render
from recam.synthetic import demo_clip
from recam.training.adapt.examples import encode_pairs, frames_to_learn
from recam.training.adapt.masked import adapt
from recam.trajectories import path_for_scene
from recam.types import Pair

Made = TypeVar("Made")
SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    total = 0.0

    def timed(name: str, work: Callable[[], Made]) -> Made:
        nonlocal total
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        total += wall
        print(f"{name:28}{wall:8.1f}{cpu:8.1f}", flush=True)
        return made

    scene, _ = demo_clip(args.frames)
    torch.manual_seed(0)
    fresh = VideoTransformer(ModelConfig()).to(torch.bfloat16).eval()
    model = fresh if args.weights is None else load_model(args.weights)
    config = FinetuneConfig(minutes=60, steps=args.steps)
    shown = take_frames(scene, frames_to_learn(args.frames))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'part':28}{'wall s':>8}{'CPU s':>8}")
    making = 0.0

    def drawn() -> Iterator[Pair]:
        """Pairs one by one, as they are encoded: all of them together would take a gigabyte."""
        nonlocal making
        pairs = make_pairs(shown, np.random.default_rng(0))
        for _ in range(config.num_pairs):
            start = time.perf_counter()
            pair = next(pairs)
            making += time.perf_counter() - start
            yield pair

    examples = timed(
        "pairs and their fills", lambda: encode_pairs(drawn(), model.config.fills, SIDE)
    )
    print(f"{'  of which the pairs':28}{making:8.1f}", flush=True)
    adapted = timed(f"{args.steps} steps", lambda: adapt(model, examples, config))
    examples.clear()
    path = path_for_scene(scene, PathConfig(path="orbit", yaw=20))
    rendering = timed("render", lambda: render(scene, path, RenderConfig()))
    timed("propagate, for comparison", lambda: propagate(rendering))
    timed(
        "complete (with its fill)",
        lambda: complete(
            rendering,
            completer=MaskedCompleter(adapted.model, resolve_config(CompleteConfig("masked"))),
        ),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{'all':28}{total:8.1f}\npeak memory {peak:.1f} GB\n{adapted.describe()}")


if __name__ == "__main__":
    main()
