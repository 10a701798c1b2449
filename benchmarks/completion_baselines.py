"""How well the classical ways of completing a video fill holes, and the masked model beside them.

    python benchmarks/completion_baselines.py [--clips bear hike] [--seeds 3] [--sheets FOLDER]
    python benchmarks/completion_baselines.py --weights shipped [--adapt 300] ...

Real clips of ../shared/data, none of which the shipped weights were trained or chosen on: holes by
double reprojection (the clip's scene as recam estimates it, seen from an orbit that reaches 14° and
back again, each frame alone; with other seeds than 0 from a random path); the clip itself is the
truth. "adapted" is the model after so many steps on the known pixels alone.
Synthetic clips: an orbit that reaches 20° rendered with true depth and all frames' static points,
as a reshoot is; the truth is the true new view. Scenes are kept in recam's cache.

Columns: PSNR in dB in holes and over the whole frame, flicker in holes (mean absolute error of the
change in time, in grey levels; a frozen fill scores the truth's own change), seconds of one run.
"propagate" is given the rendering's depth, as a reshoot gives it; "without depth" is the same
method on frames and mask alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.completers import MaskedCompleter, complete, resolve_config
from recam.completion.baselines import fill_hold_nearest, fill_navier_stokes, fill_telea
from recam.completion.flow_propagation import propagate
from recam.completion.pull_push import pull_push
from recam.completion.temporal_filter import PASSES
from recam.completion.weights import find_weights, load_model
from recam.configs import (
    CompleteConfig,
    FinetuneConfig,
    InputConfig,
    ReconstructConfig,
    RenderConfig,
)
from recam.covisibility import double_reproject, novel_cameras, sample_path
from recam.evaluation.metrics import psnr, ssim
from recam.evaluation.temporal import flicker
from recam.media import contact_sheet, write_image
from recam.reconstruct.scene_cache import open_scene
from recam.render import render
from recam.synthetic import synthetic_clip, true_view
from recam.training.adapt.examples import encode_hidden
from recam.training.adapt.masked import adapt
from recam.trajectories import focus_depth
from recam.types import CameraPath, Cameras, PartialVideo, Rendering, Scene

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CLIPS = {  # clip, and the direction of its orbit
    "davis_bear": ("dynamic/davis_bear/gt_rgb.mp4", -1),
    "davis_hike": ("dynamic/davis_hike/input.mp4", 1),
    "infcam_cat": ("dynamic/infcam_cat/input.mp4", -1),
    "iphone_teddy": ("dynamic/iphone_teddy/input.mp4", 1),
    "davis_judo": ("dynamic/davis_judo/input.mp4", -1),
    "spatialvid_crossing": ("dynamic/spatialvid_crossing/input.mp4", -1),
}
SYNTHETIC = {"synthetic_7": (7, "tripod", 15), "synthetic_11": (11, "dolly", -20)}
YAW_DEG = 14.0
SYNTHETIC_SIZE = {"num_frames": 24, "height": 240, "width": 416}


@dataclass(frozen=True)
class Case:
    """A video with holes and what it really shows: uint8 [t, 3, h, w]."""

    rendering: Rendering
    truth: Tensor


def without_depth(rendering: Rendering) -> PartialVideo:
    return PartialVideo(rendering.frames, rendering.known)


METHODS: dict[str, Callable[[Rendering], Tensor]] = {
    "hold nearest": fill_hold_nearest,
    "Telea": fill_telea,
    "Navier-Stokes": fill_navier_stokes,
    "pull-push": pull_push,
    "without depth": lambda rendering: propagate(without_depth(rendering)),
    "propagate": propagate,
    "propagate, steady": lambda rendering: (
        complete(rendering, CompleteConfig("propagate", steady=PASSES)).frames
    ),
}


def orbit(scene: Scene, yaw_deg: float) -> Cameras:
    """Cameras at the video's size that turn about the focus, from a fifth of the angle to all."""
    yaw = yaw_deg * torch.linspace(0.2, 1, len(scene), dtype=torch.float64)
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    return novel_cameras(own, yaw, 0 * yaw, 0 * yaw, focus_depth(scene))


def random_path(scene: Scene, seed: int) -> Cameras:
    """Cameras on one of the random paths that training pairs are made with."""
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    path = sample_path(np.random.default_rng(seed), len(scene))
    return novel_cameras(own, *path, focus_depth(scene))


def real_case(path: Path, direction: int, num_frames: int, size: int, seed: int = 0) -> Case:
    """A clip with the holes that its own geometry gives it when it is seen there and back."""
    source = InputConfig(num_frames=num_frames, max_side=size)
    scene = open_scene(path, source, ReconstructConfig()).scene
    cameras = orbit(scene, direction * YAW_DEG) if seed == 0 else random_path(scene, seed)
    seen = double_reproject(scene, cameras, RenderConfig(aggregate_static=False))
    truth, known = scene.video.frames[:], seen.visible
    rendering = Rendering(
        truth * known[:, None], known.float(), seen.back.depth * known, seen.back.cameras
    )
    return Case(rendering, truth)


def synthetic_case(seed: int, camera: str, yaw_deg: float) -> Case:
    """A true scene seen from an orbit, and the truth of that view."""
    scene, description = synthetic_clip(seed, camera_kind=camera, **SYNTHETIC_SIZE)  # type: ignore[arg-type]
    path = CameraPath(orbit(scene, yaw_deg), torch.arange(len(scene)))
    return Case(render(scene, path), true_view(description, path, scene.video.times_s).frames)


def score(result: Tensor, case: Case) -> dict[str, float]:
    holes = 1 - case.rendering.known
    return {
        "hole": psnr(result, case.truth, holes),
        "whole": psnr(result, case.truth),
        "ssim hole": ssim(result, case.truth, holes),
        "ssim": ssim(result, case.truth),
        "flicker": flicker(result, case.truth, holes),
    }


def with_model(weights: str, adapt_steps: int) -> dict[str, Callable[[Rendering], Tensor]]:
    """The masked model as it is, and adapted to what is known of each video."""
    model = load_model(find_weights(None if weights == "shipped" else weights))
    sampling = resolve_config(CompleteConfig("masked"))

    def unsteadied(rendering: Rendering) -> Tensor:
        return complete(
            rendering, completer=MaskedCompleter(model, replace(sampling, steady=0))
        ).frames

    def plain(rendering: Rendering) -> Tensor:
        return complete(rendering, completer=MaskedCompleter(model, sampling)).frames

    def adapted(rendering: Rendering) -> Tensor:
        config = FinetuneConfig(steps=adapt_steps, minutes=60)
        examples = encode_hidden(
            rendering, config.num_pairs, model.config.fills, sampling.model_side, config.seed
        )
        made = adapt(model, examples, config)
        print(f"  {made.describe()}")
        return complete(rendering, completer=MaskedCompleter(made.model, sampling)).frames

    return {"model, not steady": unsteadied, "model": plain} | (
        {"adapted": adapted} if adapt_steps else {}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=33, help="of real clips")
    parser.add_argument("--size", type=int, default=480, help="longer side of real clips")
    parser.add_argument("--clips", nargs="*", help="only clips with one of these words in the name")
    parser.add_argument("--seeds", type=int, default=1, help="so many paths for each real clip")
    parser.add_argument("--weights", help="the masked model too: a weight file, or 'shipped'")
    parser.add_argument("--adapt", type=int, default=0, help="and adapted by so many steps")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets (not for the repo)")
    args = parser.parse_args()
    methods = METHODS | (with_model(args.weights, args.adapt) if args.weights else {})
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    print(f"{'clip':28s} {'method':17s}  hole  whole   SSIM: hole whole  flicker     s")
    cases = [(name, seed) for name in CLIPS for seed in range(args.seeds)]
    for name, seed in [*cases, *((name, 0) for name in SYNTHETIC)]:
        if args.clips and not any(word in name for word in args.clips):
            continue
        if name in CLIPS:
            path, direction = CLIPS[name]
            case = real_case(DATA / path, direction, args.frames, args.size, seed)
        else:
            case = synthetic_case(*SYNTHETIC[name])
        results = {"truth": case.truth, "holes": case.rendering.frames}
        share = 1 - float(case.rendering.known.mean())
        for method, fill in methods.items():
            start = time.perf_counter()
            results[method] = fill(case.rendering)
            seconds = time.perf_counter() - start
            rows[method].append(score(results[method], case) | {"s": seconds})
            print_row(f"{name}/{seed} {share:.1%}", method, rows[method][-1])
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            picked = torch.linspace(0, len(case.truth) - 1, 4).round().long()
            sheet = contact_sheet({k: v[picked] for k, v in results.items()}, cell_width=400)
            write_image(sheet, args.sheets / f"{name}_{seed}.png")
    for method, scores in rows.items():
        if scores:
            mean = {k: sum(s[k] for s in scores) / len(scores) for k in scores[0]}
            print_row("mean", method, mean)
            gain = [s["hole"] - p["hole"] for s, p in zip(scores, rows["propagate"])]
            print(f"  over propagate {np.mean(gain):+.2f} ± {np.std(gain):.2f} dB in holes")


def print_row(name: str, method: str, row: dict[str, float]) -> None:
    print(
        f"{name:28s} {method:17s} {row['hole']:5.2f} {row['whole']:6.2f}  {row['ssim hole']:.4f} "
        f"{row['ssim']:.4f} {row['flicker']:7.2f} {row['s']:5.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
