"""An edit of one frame, carried through synthetic clips whose truly edited version is rendered.

A scene is rendered twice, the second time with other materials on one object (the moving one that
is the largest in the first frame, or the largest still one that is not a floor or wall); the first
frame of the second is the edit. PSNR in dB over all other frames, where the two renders
differ / of whole frames, where the edit must not have spilled either.

paste: the edited frame's region as it stands. warp: fetched along the same flow to the edited
frame, the flow believed everywhere and nothing completed.

    python benchmarks/editing.py [--frames 24] [--model masked] [--sheets FOLDER]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.configs import CompleteConfig, EditConfig
from recam.evaluation.metrics import psnr
from recam.media import contact_sheet, write_image
from recam.synthetic import SyntheticScene, render_synthetic, sample_cameras, sample_scene
from recam.tasks.edit import changed_region, edit
from recam.tasks.edit_tracking import as_picture, sample_at, track
from recam.types import Video, no_progress

SEEDS = (3, 7, 11, 26)
METHODS = ("unedited", "paste", "warp", "recam")
FPS = 24.0


def with_other_material(scene: SyntheticScene, object_id: int) -> SyntheticScene:
    """The scene with a red version of another texture on one object."""
    old = {p.material for p in scene.parts if scene.bodies[p.body].object_id == object_id}
    other = next(i for i in range(len(scene.materials)) if i not in old)
    new = replace(scene.materials[other], tint=(1.6, 0.35, 0.3))
    parts = tuple(
        replace(p, material=len(scene.materials))
        if scene.bodies[p.body].object_id == object_id
        else p
        for p in scene.parts
    )
    return replace(scene, parts=parts, materials=(*scene.materials, new))


def largest(ids: Tensor, wanted: list[int]) -> int:
    areas = {i: int((ids == i).sum()) for i in wanted}
    areas = {i: a for i, a in areas.items() if a < 0.15 * ids.numel()} or areas
    return max(areas, key=lambda i: areas[i])


def paste(video: Video, edited: Tensor, region: np.ndarray) -> Tensor:
    where = torch.from_numpy(region)
    return torch.where(where, edited[None], video.frames)


def warp_alone(video: Video, edited: Tensor, region: np.ndarray) -> Tensor:
    out, new = video.frames.clone(), as_picture(edited)
    out[0] = edited
    for found in track(video, 0, region, no_progress):
        inside = torch.from_numpy(sample_at(region.astype(np.float32), found.at) > 0.5)
        colours = torch.from_numpy(sample_at(new, found.at)).permute(2, 0, 1)
        out[found.frame] = torch.where(inside, colours, out[found.frame])
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--model", default="auto", help="that completes what recam leaves open")
    parser.add_argument("--sheets", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = EditConfig(complete=CompleteConfig(args.model))
    total: dict[str, list[tuple[float, float]]] = {m: [] for m in METHODS}
    for seed in SEEDS:
        scene = sample_scene(seed, "room")
        cameras = sample_cameras(scene, seed, "orbit", args.frames, 240, 416, FPS)
        times_s = torch.arange(args.frames, dtype=torch.float64) / FPS
        plain = render_synthetic(scene, cameras, times_s)
        video, ids = Video(plain.frames, times_s), plain.object_ids[0]
        moving = [i for i in scene.moving_objects() if bool((ids == i).any())]
        still = [int(i) for i in ids.unique() if i > 0 and int(i) not in scene.moving_objects()]
        for kind, wanted in (("moving", moving), ("still", still)):
            if not wanted:
                continue
            which = largest(ids, wanted)
            changed = with_other_material(scene, which)
            truth = render_synthetic(changed, cameras, times_s).frames
            region = changed_region(as_picture(plain.frames[0]), as_picture(truth[0]))
            differs = ((truth.float() - plain.frames.float()).abs().amax(1) > 12).float()
            clock = time.perf_counter()
            ours = edit(video, truth[0], config=config).video.frames
            seconds = time.perf_counter() - clock
            made = {
                "unedited": plain.frames,
                "paste": paste(video, truth[0], region),
                "warp": warp_alone(video, truth[0], region),
                "recam": ours,
            }
            scores = {
                m: (psnr(f[1:], truth[1:], differs[1:]), psnr(f[1:], truth[1:]))
                for m, f in made.items()
            }
            for method, pair in scores.items():
                total[method].append(pair)
            text = "  ".join(f"{m} {v:5.2f}/{w:5.2f}" for m, (v, w) in scores.items())
            name = scene.object_names[which - 1]
            print(f"{seed:3} {kind:6} {name:12} {text}  ({seconds:.1f} s)")
            if args.sheets:
                rows = {"truth": truth, "warp": made["warp"], "recam": ours}
                sheet = contact_sheet(rows, 5, 300)
                write_image(sheet, args.sheets / f"edit-{seed}-{kind}.png")
    means = {m: np.mean(v, 0) for m, v in total.items()}
    print("mean", "  ".join(f"{m} {v[0]:5.2f}/{v[1]:5.2f}" for m, v in means.items()))


if __name__ == "__main__":
    main()
