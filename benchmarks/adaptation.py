"""Does adapting to a video help to complete it, and what is to be hidden for it?

    python benchmarks/adaptation.py [--clips judo bear] [--cases FOLDER] [--steps 100 300]

The real clips of ``completion_looks.py --set report``, seen back from an orbit (``turned``): what
the orbit did not show is to be completed, and the video itself is the truth. The masked model
adapts to the pixels that are known, and to nothing else, with more of them hidden:

moved      holes as geometry made them: the clip's own, mirrored, elsewhere and at another moment
random-2d  boxes, strokes and whole frames, which know nothing of geometry

A row has as many steps as it says, whether they helped or not. Check is what they gain, in dB, in
the holes of held-back frames of held-back pairs: below 0.3 recam uses the model as it was. The
others are over the holes of the clip: LPIPS, detail, flicker (as in completion_looks.py) and PSNR.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from completion_looks import Case, all_cases

from recam.completers import MaskedCompleter, complete, resolve_config
from recam.completion.transformer import VideoTransformer
from recam.completion.weights import find_weights, load_model
from recam.completion.windows import resize_partial
from recam.configs import CompleteConfig, FinetuneConfig
from recam.evaluation.metrics import psnr
from recam.evaluation.perceptual import lpips_of_parts
from recam.evaluation.temporal import flicker
from recam.evaluation.texture_statistics import detail
from recam.training.adapt import examples as made
from recam.training.adapt.examples import Example, encode_hidden
from recam.training.adapt.loop import WARMUP
from recam.training.adapt.masked import _Learner, split_examples
from recam.training.masks import draw_known
from recam.training.optim import learning_rate
from recam.types import PartialVideo, Video, video_from_frames

NUM_PAIRS = FinetuneConfig().num_pairs


def smaller(case: Case, max_side: int) -> tuple[PartialVideo, Video]:
    """What is known of a case, and its truth, at a longer side."""
    h, w = case.truth.shape[2:]
    size = (round(h * max_side / max(h, w)), round(w * max_side / max(h, w)))
    partial = PartialVideo(case.rendering.frames, case.rendering.known)
    truth = PartialVideo(case.truth, torch.ones_like(case.rendering.known))
    return resize_partial(partial, *size), video_from_frames(resize_partial(truth, *size).frames)


def hidden(partial: PartialVideo, masks: str, model: VideoTransformer, seed: int) -> list[Example]:
    """Examples that hide more of what is known; only that is scored."""
    side, fills = max(partial.frames.shape[2:]), model.config.fills
    if masks == "moved":
        return encode_hidden(partial, NUM_PAIRS, fills, side, seed)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(NUM_PAIRS):
        size = (1, *partial.known.shape)
        known = partial.known * draw_known("random-2d", size, generator)[0, :, 0]
        shown = PartialVideo(partial.frames * (known > 0)[:, None], known)
        scored = (partial.known > 0.999).float()
        found.append(made._encode(shown, partial.frames, scored, fills, side))
    return found


def adapted(
    model: VideoTransformer, examples: list[Example], steps: list[int], seed: int
) -> Iterator[tuple[int, VideoTransformer, float]]:
    """After so many steps of one run: the model, and its gain on what is held back."""
    config = FinetuneConfig(steps=max(steps), seed=seed)
    check, learn = split_examples(examples)
    learner = _Learner(model, config)
    before = learner.score(check)
    for step in range(config.steps):
        learner.train(learn, step, learning_rate(step, config.steps, config.lr, WARMUP, True))
        if step + 1 in steps:
            gain = learner.score(check) - before
            yield step + 1, learner.finish(learner.weights(), True), gain


def score(
    model: VideoTransformer, partial: PartialVideo, truth: Video, seed: int
) -> dict[str, float]:
    sampling = resolve_config(
        CompleteConfig("masked", model_side=max(partial.frames.shape[2:]), seed=seed)
    )
    frames = complete(partial, completer=MaskedCompleter(model, sampling)).frames
    target, holes = truth.frames[:], (partial.known < 0.5).float()
    return {
        "lpips": lpips_of_parts(frames, target, {"_holes": holes})["lpips_holes"],
        "detail": detail(frames, target, holes),
        "flicker": flicker(frames, target, holes),
        "psnr": psnr(frames, target, holes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=["choose", "report"], default="report")
    parser.add_argument("--clips", nargs="*", default=[], help="only with one of these words")
    parser.add_argument("--cases", type=Path, help="folder that keeps the cases for next time")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-side", type=int, default=256)
    args = parser.parse_args()
    model = load_model(find_weights(args.weights))
    cases = all_cases(args.set, args.clips, None, args.cases)
    small = {c.name: smaller(c, args.max_side) for c in cases if c.name.endswith("/turned")}
    rows: dict[str, list[dict[str, float]]] = {}

    def say(name: str, seed: int, what: str, row: dict[str, float]) -> None:
        rows.setdefault(what, []).append(row)
        print(f"{name:28s} seed {seed} {what:22s} {cells(row)}", flush=True)

    for seed in args.seeds:
        for name, (partial, truth) in small.items():
            say(name, seed, "not adapted", score(model, partial, truth, seed))
            for masks in ("moved", "random-2d"):
                clock = time.process_time()
                examples = hidden(partial, masks, model, seed)
                for steps, better, gain in adapted(model, examples, args.steps, seed):
                    spent = time.process_time() - clock
                    row = score(better, partial, truth, seed) | {"check": gain, "cpu_s": spent}
                    say(name, seed, f"{masks}, {steps} steps", row)
    for what, found in rows.items():
        mean = {k: float(np.mean([row[k] for row in found])) for k in found[0]}
        print(f"mean of {len(found):3d} {'':24s} {what:22s} {cells(mean)}")


def cells(row: dict[str, float]) -> str:
    return " ".join(f"{name} {value:7.3f}" for name, value in row.items())


if __name__ == "__main__":
    main()
