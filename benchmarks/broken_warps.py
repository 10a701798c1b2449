"""Does stochastic conditioning correct what is wrong in the evidence, and what does it cost?

    python benchmarks/broken_warps.py --weights FILE [--clips 6]

Synthetic clips whose evidence has noise, or is bent by up to a few pixels, bleeds over edges and
carries specks; beside them the same clips with good evidence; and new views of random scenes
rendered from wrong and from true depth. Prints PSNR in holes, in known areas, and of whole frames,
for each sampler.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completers import MaskedCompleter, complete, resolve_config
from recam.completion.flow_propagation import propagate
from recam.completion.pixels import from_signal
from recam.completion.weights import join_parts, load_model
from recam.configs import CompleteConfig
from recam.synthetic import CAMERA_KINDS, synthetic_clip
from recam.training.degrade import bent, edge_bleeding, floaters
from recam.training.layered import layered_clips
from recam.training.scenes import NOVEL, seen_anew
from recam.training.validation import HELDOUT_SEED
from recam.types import PartialVideo

NOISE = 12.0
SCENE_SEED = 30_000_000
"""Far from the seeds of scenes that are learned from."""
SAMPLERS = {
    "anchored, 1 pass": resolve_config(CompleteConfig("masked")),
    "anchored, 4 passes": resolve_config(CompleteConfig("masked", sampling_steps=4)),
    "stochastic 0.4": resolve_config(CompleteConfig("masked", sampler="stochastic", threshold=0.4)),
    "stochastic 0.7": resolve_config(CompleteConfig("masked", sampler="stochastic", threshold=0.7)),
    "stochastic 0.9": resolve_config(CompleteConfig("masked", sampler="stochastic", threshold=0.9)),
    "stochastic 0.4, 4 passes": resolve_config(
        CompleteConfig("masked", sampler="stochastic", sampling_steps=4, threshold=0.4)
    ),
}


def layered(size: tuple[int, int, int], seed: int, broken: bool) -> tuple[PartialVideo, Tensor]:
    """(partial video, true frames uint8 [t, 3, h, w]) of planes that move."""
    generator = torch.Generator().manual_seed(HELDOUT_SEED + seed)
    clips = layered_clips((1, *size), generator)
    frames, known = clips.frames, clips.known
    if broken:
        frames = bent(frames, generator)
        frames, known = edge_bleeding(frames, known, generator)
        frames, known = floaters(frames, known, generator)
    shown = from_signal(frames[0]) * (known[0] > 0)
    return PartialVideo(shown, known[0, :, 0].contiguous()), from_signal(clips.frames[0])


def wrong_depth(
    size: tuple[int, int, int], seed: int, jitter: float
) -> tuple[PartialVideo, Tensor]:
    """A true new view of a random scene, and the scene rendered there from depth whose logarithm
    is off by smooth noise of this standard deviation, in every frame another."""
    seed += SCENE_SEED
    clean, described = synthetic_clip(seed, *size, CAMERA_KINDS[seed % len(CAMERA_KINDS)])
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(size[0], 1, 7, 9))).float()
    noise = F.interpolate(coarse, size=size[1:], mode="bicubic", align_corners=True)[:, 0]
    scene = replace(clean, depth=clean.depth * torch.exp(jitter * noise))
    return seen_anew(scene, described, NOVEL, rng)


def noisy(size: tuple[int, int, int], seed: int) -> tuple[PartialVideo, Tensor]:
    """Good evidence with white noise of NOISE grey levels."""
    partial, true = layered(size, seed, broken=False)
    generator = torch.Generator().manual_seed(seed)
    noise = NOISE * torch.randn(partial.frames.shape, generator=generator)
    frames = (partial.frames.float() + noise).clamp(0, 255).round().to(torch.uint8)
    return PartialVideo(frames * (partial.known > 0)[:, None], partial.known), true


KINDS: dict[str, Callable[[tuple[int, int, int], int], tuple[PartialVideo, Tensor]]] = {
    "noise": noisy,
    "bent, bleeding, specks": lambda size, seed: layered(size, seed, broken=True),
    "good": lambda size, seed: layered(size, seed, broken=False),
    "depth off by 10 %": lambda size, seed: wrong_depth(size, seed, 0.10),
    "true depth": lambda size, seed: wrong_depth(size, seed, 0.0),
}


def psnr(frames: Tensor, true: Tensor, where: Tensor) -> float:
    error = (frames.float() - true.float()).square().mean(1)[where]
    return float(10 * torch.log10(255**2 / error.mean().clamp(min=1e-4)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--only", nargs="*", choices=list(KINDS), help="of the kinds of evidence")
    parser.add_argument("--size", type=int, nargs=3, default=(8, 128, 192), metavar=("T", "H", "W"))
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_model(join_parts(args.weights))
    print(f"{'evidence':<23} {'method':<24}  holes  known  whole (dB)")
    for kind in args.only or KINDS:
        scores: dict[str, list[list[float]]] = {}
        for seed in range(args.clips):
            try:
                partial, true = KINDS[kind](tuple(args.size), seed)
            except ValueError:  # now and then a random scene leaves a camera no room
                continue
            results = {"propagate": propagate(partial)}
            for name, config in SAMPLERS.items():
                results[name] = complete(partial, completer=MaskedCompleter(model, config)).frames
            hole = partial.known < 0.5
            everywhere = torch.ones_like(hole)
            for name, frames in results.items():
                row = [psnr(frames, true, where) for where in (hole, ~hole, everywhere)]
                scores.setdefault(name, []).append(row)
        for name, rows in scores.items():
            holes, known, whole = np.nanmean(rows, axis=0)
            print(f"{kind:<23} {name:<24} {holes:6.2f} {known:6.2f} {whole:6.2f}", flush=True)


if __name__ == "__main__":
    main()
