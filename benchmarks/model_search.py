"""Which body, conditioning and objective of the masked model learn most from little training?

    python benchmarks/model_search.py [--scenes 24] [--steps 300] [--seeds 3] [--only base concat]

Learns from pairs of random synthetic scenes (kept in the cache, as `recam pretrain --num-scenes`
keeps them) and is judged on real clips (--clips; by default the four of ../shared/data that the
shipped weights were chosen on, which are in no other table) with holes by double reprojection.
Every variant takes the same steps on the same pairs in the same order, and differs from "base" in
what its name says. Columns: hole PSNR on the held-out pairs over ``propagate``'s (dB), flicker in
holes over that of ``propagate``, parameters (M), GFLOP to complete one clip of 48 frames 288×512 in
one pass, seconds of training. With --seeds every variant is trained so often, and ± is the spread
of its gains; one run says little about differences below 0.1 dB.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from recam.completion.backbone import Condition
from recam.completion.transformer import VideoTransformer, num_parameters
from recam.completion.weights import load_model
from recam.configs import InputConfig, ModelConfig, PretrainConfig, ReconstructConfig
from recam.covisibility import make_pairs
from recam.evaluation.temporal import flicker
from recam.media import read_video
from recam.reconstruct.scene_cache import open_scene
from recam.training.data import FilledPair
from recam.training.pretrain import pretrain
from recam.training.scenes import BACK, filled, kept_part, many_scene_pairs
from recam.training.validation import answer, hole_psnr
from recam.types import Pair, PartialVideo

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CLIPS = [
    DATA / "dynamic/iphone_cat/input.mp4",
    DATA / "dynamic/davis_rollercoaster/input.mp4",
    DATA / "dynamic/davis_car-turn/input.mp4",
    DATA / "static/apple_orbit/input.mp4",
]
CLIP_FRAMES, CLIP_SIDE, PAIRS_OF_A_CLIP = 24, 400, 2
BASE = PretrainConfig(synthetic_share=0.0, num_heldout=0, checkpoint_every=10**6)
FOUR = ("propagate", "traced-past", "traced-future", "around")


def model(**changes: object) -> PretrainConfig:
    return replace(BASE, model=replace(ModelConfig(), **changes))  # type: ignore[arg-type]


def objective(**changes: object) -> PretrainConfig:
    return replace(BASE, objective=replace(BASE.objective, **changes))  # type: ignore[arg-type]


VARIANTS: dict[str, PretrainConfig] = {
    "base": BASE,
    "concat": model(conditioning="concat"),
    "clean-tokens": model(conditioning="clean-tokens"),
    "patch 8": model(patch=8),
    "patch 32": replace(model(patch=32), height=128, width=160),  # about as many pixels
    "no transformer": model(blocks=0),
    "twice the blocks": model(blocks=12),
    "stem 24": model(stem=24),
    "one convolution pair": model(convs=1),
    "four fills": model(fills=FOUR),
    "propagate alone": model(fills=("propagate",)),
    "pull-push alone": model(fills=("pull-push",)),
    "no fill": model(fills=()),
    "2 frames": replace(BASE, num_frames=2),
    "10 frames": replace(BASE, num_frames=10),
    "levels spread": objective(pure_noise=0.2),
    "random 2D masks": objective(masks=("random-2d",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=24, help="to learn from")
    parser.add_argument("--clips", type=Path, nargs="*", default=CLIPS, help="to be judged on")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="of the variants")
    args = parser.parse_args()
    pairs = [pair for made in many_scene_pairs(args.scenes, 0, workers=1) for pair in made]
    held = [pair for i, clip in enumerate(args.clips) for pair in clip_pairs(clip, i)]
    fills = [pair.filled[0, :, :3] for pair in held]
    before = [hole_psnr(f, p.target.frames, p.partial.known) for f, p in zip(fills, held)]
    print(f"{len(pairs)} pairs, {len(held)} held out: propagate {np.mean(before):.2f} dB")
    print(f"{'variant':22s}  gain dB     ±  flicker      M  GFLOP      s")
    for name in args.only or VARIANTS:
        config = replace(VARIANTS[name], steps=args.steps, evaluate_every=10**6)
        # Random 2D masks are drawn over the pairs' targets; the others keep the pairs' holes.
        drawn = config.objective.masks == ("random-2d",)
        runs, start = [], time.perf_counter()
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                seeded = replace(config, out=folder, seed=seed)
                path = pretrain(seeded, whole(pairs) if drawn else pairs)
                trained = load_model(path).float()
            runs.append(score(trained, held, before))
        gains, ratios = np.transpose(runs)
        seconds = (time.perf_counter() - start) / args.seeds
        row = (gains.mean(), gains.std(), ratios.mean(), num_parameters(trained) / 1e6)
        row = (*row, gflop(trained), seconds)
        line = "{:22s} {:+8.2f} {:5.2f} {:8.2f} {:6.1f} {:6.0f} {:6.0f}"
        print(line.format(name, *row), flush=True)


def clip_pairs(path: Path, seed: int) -> list[FilledPair]:
    """PAIRS_OF_A_CLIP pairs of the middle of a clip, by double reprojection of its scene."""
    length = len(read_video(path, max_side=32))
    start = max(length - CLIP_FRAMES, 0) // 2
    part = InputConfig(start=start, num_frames=CLIP_FRAMES, max_side=CLIP_SIDE)
    scene = open_scene(path, part, ReconstructConfig()).scene
    rng = np.random.default_rng([seed, 7])
    made = itertools.islice(make_pairs(scene, rng, BACK), PAIRS_OF_A_CLIP)
    seen = ((pair.partial, pair.target.frames) for pair in made)
    return [kept_part(filled(*one), rng) for one in seen]


def whole(pairs: list[FilledPair]) -> list[Pair]:
    """Pairs of which everything is known, so that masks are drawn for them."""
    ones = torch.ones_like(pairs[0].partial.known)
    return [Pair(PartialVideo(p.target.frames[:], ones), p.target) for p in pairs]


def score(
    trained: VideoTransformer, held: list[FilledPair], before: list[float]
) -> tuple[float, float]:
    """Mean gain in hole PSNR over ``propagate``, and mean ratio of flicker to its."""
    gains, ratios = [], []
    for pair, base in zip(held, before):
        target, holes = pair.target.frames, 1 - pair.partial.known
        frames = answer(trained, pair, pair.filled)
        gains.append(hole_psnr(frames, target, pair.partial.known) - base)
        own, usual = (flicker(f, target, holes) for f in (frames, pair.filled[0, :, :3]))
        ratios.append(own / usual)
    return float(np.mean(gains)), float(np.mean(ratios))


def gflop(trained: VideoTransformer) -> float:
    """Of one pass over 48 frames of 288×512, from a tenth of them."""
    t, h, w = 5, 288, 512
    known = torch.zeros(1, t, 1, h, w)
    frames = torch.zeros(1, t, 3, h, w)
    fills = torch.zeros(1, len(trained.config.fills), t, 3, h, w)
    sigma = torch.ones_like(trained.token_levels(known))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trained.denoise(frames, sigma, Condition(frames, known, fills))
    return counter.get_total_flops() * 48 / t / 1e9


if __name__ == "__main__":
    main()
