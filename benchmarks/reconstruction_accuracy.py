"""How well whole reconstructions fit the truth of Synth4D, and what that costs in new views.

    python benchmarks/reconstruction_accuracy.py [--scenes room-101 park-102] [--split easy]
        [--out FOLDER] [--label NAME] [--depth-model stage] [--views near far] [--sheets]
        [--refine-minutes 0] [--diagnose] [--evaluated FOLDER]

Everything is estimated from the source video alone. One line per scene, then means for cameras that
move through space and for those on a tripod or turning in place, which give no parallax. Columns:

motion     what the camera was found to do ("!" = it did something else)
rot        RMS angle in degrees between found and true orientations, after the best rotation
path %     RMS distance of the centres after the best similarity, of the true path's length
focal %    error of the focal length
AbsRel, δ1 of z-depth nearer than the sky: one scale for the video, then with a shift of inverse
           depth as well (what an affine-invariant prior can know at best), then what moves alone
           (at the scale of all)
IoU        of the moving areas, as the benchmark's files hold them; then without the things in them
           that rest from the first frame to the last (blocks that nothing has hit yet), which no
           video tells from still ones
flicker %  of still pixels, seen in both frames by true geometry: how far the inverse depth of a
           point changes from one frame to the next; median over them, then mean
known      PSNR of the new views where the source shows what they show at that moment (true
           geometry), holes of the rendering filled by pull-push: the estimate's / true depth and
           cameras'
s          seconds of wall time for the reconstruction

--evaluated FOLDER takes the scenes that `recam eval synth4d --cameras estimated --depth estimated
--out FOLDER` has kept there (s: of reading them). --refine-minutes 0 leaves the second round out.
--diagnose also prints what the first of the views would score with one estimated thing at a time
replaced by the truth: which of them costs the dB.

A scene that is done is not done again (results lie in <out>/<label>/<scene>.json).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recam.completion.pull_push import pull_push
from recam.configs import ReconstructConfig, RenderConfig
from recam.evaluation.cameras import camera_errors
from recam.evaluation.configs import MethodConfig
from recam.evaluation.datasets.sample import EvaluationSample
from recam.evaluation.depth import depth_errors
from recam.evaluation.methods import FAR, SourceScene, carried_path, open_source
from recam.evaluation.metrics import psnr
from recam.evaluation.synth4d import SPECS, synth4d_folder
from recam.evaluation.synth4d.read import synth4d_sample
from recam.evaluation.synth4d.scenes import SceneSpec, build_scene, source_cameras, times_s
from recam.geometry import project, rotation_angle_deg, unproject
from recam.media import contact_sheet, write_image
from recam.reconstruct import reconstruct
from recam.render import render
from recam.synthetic.render import cast_synthetic
from recam.synthetic.scene import part_is_dynamic, world_from_parts
from recam.types import Cameras, Scene

RESTS_M = 0.01
"""What moves by less than this in the whole clip rests."""
KINDS = {"tripod": "static", "rotation": "rotating"}  # all others move


def rotation_rms_deg(found: Cameras, truth: Cameras) -> float:
    """RMS angle after the one rotation of the world that fits best (chordal mean)."""
    a, b = found.cam_from_world[:, :3, :3], truth.cam_from_world[:, :3, :3]
    u, _, vh = torch.linalg.svd((a.transpose(1, 2) @ b).sum(0))
    flip = torch.diag(torch.tensor([1, 1, float(torch.linalg.det(u @ vh).sign())]).double())
    return float(rotation_angle_deg(a @ u @ flip @ vh, b).square().mean().sqrt())


def flicker(found: Scene, truth: Scene) -> tuple[float, float]:
    """Median and mean over still pixels of the relative change of a point's inverse depth."""
    medians, means = [], []
    h, w = found.depth.shape[1:]
    size = torch.tensor([w, h], dtype=torch.float64)
    for i in range(len(found) - 1):
        this, then = slice(i, i + 1), slice(i + 1, i + 2)
        points = unproject(truth.depth[this].double(), truth.cameras[this]).reshape(1, -1, 3)
        uv, true_z = project(points, truth.cameras[then])
        grid = (uv / size * 2 - 1)[None].float()
        shown = _at(truth.depth[then], grid)
        seen = ((shown / true_z[0] - 1).abs() < 0.02) & (grid.abs() < 1).all(-1)[0, 0]
        seen &= ~truth.dynamic[i].flatten() & (truth.depth[i].flatten() < FAR)
        points = unproject(found.depth[this].double(), found.cameras[this]).reshape(1, -1, 3)
        _, z = project(points, found.cameras[then])
        change = (_at(1 / found.depth[then], grid) * z[0] - 1).abs()[seen]
        medians.append(float(change.median()))
        means.append(float(change.clamp(max=1).mean()))
    return float(np.mean(medians)), float(np.mean(means))


def _at(maps: Tensor, grid: Tensor) -> Tensor:
    return torch.nn.functional.grid_sample(
        maps[None].float(), grid, align_corners=False, padding_mode="border"
    )[0, 0, 0].double()


def iou(found: Tensor, true: Tensor) -> float:
    return float((found & true).sum() / (found | true).sum().clamp(min=1))


def geometry_scores(found: Scene, truth: Scene) -> dict[str, Any]:
    near = truth.depth < FAR
    cameras = camera_errors(found.cameras, truth.cameras)
    scaled = depth_errors(found.depth, truth.depth, near)
    shifted = depth_errors(found.depth, truth.depth, near, "scale-and-shift")
    moving = near & truth.dynamic
    moves = scaled
    if bool(moving.any()):
        moves = depth_errors(scaled.scale * found.depth, truth.depth, moving, "none")
    both = float((found.dynamic & truth.dynamic).sum())
    steady = flicker(found, truth)
    return {
        "motion": found.camera_motion,
        "rot": rotation_rms_deg(found.cameras, truth.cameras),
        "path": 100 * cameras.translation_fraction,
        "focal": 100 * cameras.focal_fraction,
        "abs_rel": scaled.abs_rel, "delta1": scaled.delta1,
        "abs_rel_shift": shifted.abs_rel, "delta1_shift": shifted.delta1,
        "abs_rel_moving": moves.abs_rel, "delta1_moving": moves.delta1,
        "iou": iou(found.dynamic, truth.dynamic),
        "recall": both / max(1.0, float(truth.dynamic.sum())),
        "precision": both / max(1.0, float(found.dynamic.sum())),
        "flicker": 100 * steady[0], "flicker_mean": 100 * steady[1],
        "notes": found.report["notes"],
    }  # fmt: skip


def resting(spec: SceneSpec) -> Tensor:
    """bool [t, h, w]: where the source shows things that could move but rest in the whole clip."""
    scene, times = build_scene(spec), times_s()
    poses = world_from_parts(scene, times)[:, :, :3]
    rests = part_is_dynamic(scene) & ((poses - poses[:1]).abs().amax((0, 2, 3)) < RESTS_M)
    cameras = source_cameras(spec, scene)
    if not rests.any():
        return torch.zeros(len(cameras), cameras.height, cameras.width, dtype=torch.bool)
    _, _, parts, dynamic = cast_synthetic(scene, cameras, times)
    return rests[parts.long().clamp(min=0)] & dynamic


def view_scores(
    sample: EvaluationSample, found: Scene, truth: Scene, views: list[str]
) -> tuple[dict[str, float], list[Tensor]]:
    """known_<view> and true_known_<view>, PSNR in dB; and middle frames to look at."""
    ratio = found.depth / truth.depth
    scale = float(ratio[truth.depth < FAR].median())
    scores, shown = {}, []
    middle = len(truth) // 2
    for view in sample.views:
        if view.name not in views:
            continue
        assert view.read_seen is not None
        target, seen = view.read_video().frames, view.read_seen() == 2
        shown.append(target[middle])
        for name, scene, units in (("known", found, scale), ("true_known", truth, 1.0)):
            path = carried_path(view.path, sample, SourceScene(scene, units, {}, ()))
            rendering = render(scene, path, RenderConfig())
            frames = pull_push(rendering)
            scores[f"{name}_{view.name}"] = psnr(frames, target, seen)
            shown.append(frames[middle])
    return scores, shown


def replaced_by_truth(found: Scene, truth: Scene, units: float) -> Iterator[tuple[str, Scene]]:
    """The found scene with one thing at a time as it truly is, at its own scale (``units`` of it
    are one true unit)."""
    true = truth.cameras.resized(found.cameras.height, found.cameras.width)
    pose = true.cam_from_world.clone()
    pose[:, :3, 3] *= units
    depth, moving = truth.depth * units, truth.dynamic
    near = depth < FAR * units
    off = (found.depth / depth - 1).abs() > 0.05
    still_true = torch.where(moving, found.depth, depth)
    moving_true = torch.where(moving, depth, found.depth)
    yield "nothing", found
    yield "focal length", replace(found, cameras=replace(found.cameras, intrinsics=true.intrinsics))
    yield "cameras", replace(found, cameras=replace(true, cam_from_world=pose))
    yield "masks", replace(found, dynamic=moving)
    yield "still depth", replace(found, depth=still_true)
    yield "moving depth", replace(found, depth=moving_true)
    yield "moving depth, masks", replace(found, depth=moving_true, dynamic=moving)
    for name, where in (("off by 5 %", near & off), ("nearly right", near & ~off)):
        fixed = torch.where(moving | where, depth, found.depth)
        yield f"moving depth, still depth {name}", replace(found, depth=fixed)
    yield "all depth", replace(found, depth=depth)
    yield (
        "all depth, cameras",
        replace(found, depth=depth, cameras=replace(true, cam_from_world=pose)),
    )


def diagnosis(sample: EvaluationSample, found: Scene, truth: Scene, view: str) -> dict[str, float]:
    """PSNR of the known part of a view for each scene of ``replaced_by_truth``; for scales that are
    a little off, to see that the comparison is fair; and for the truth."""
    target = next(v for v in sample.views if v.name == view)
    assert target.read_seen is not None
    frames, seen = target.read_video().frames, target.read_seen() == 2

    def score(scene: Scene, units: float) -> float:
        path = carried_path(target.path, sample, SourceScene(scene, units, {}, ()))
        return psnr(pull_push(render(scene, path, RenderConfig())), frames, seen)

    units = float((found.depth / truth.depth)[truth.depth < FAR].median())
    out = {name: score(scene, units) for name, scene in replaced_by_truth(found, truth, units)}
    for factor in (0.98, 1.02):
        out[f"scale × {factor}"] = score(found, factor * units)
    return out | {"everything": score(truth, 1.0)}


def sheet(found: Scene, truth: Scene, views: list[Tensor]) -> Tensor:
    rows: dict[str, Tensor] = {}
    picked = torch.linspace(0, len(truth) - 1, 5).round().long()
    scale = float((found.depth / truth.depth)[truth.depth < FAR].median())
    inverse = scale / found.depth[picked], 1 / truth.depth[picked]
    top = float(torch.quantile(inverse[1], 0.99))
    rows["source"] = truth.video.frames[picked]
    for name, maps, moving in (
        ("found", inverse[0], found.dynamic[picked]), ("true", inverse[1], truth.dynamic[picked])
    ):  # fmt: skip
        grey = (maps / top * 255).clamp(0, 255).to(torch.uint8)
        rows[f"{name} inverse depth"] = grey[:, None].expand(-1, 3, -1, -1)
        rows[f"{name} moving"] = (moving * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    if views:
        rows["view, found, with truth"] = torch.stack((views + views[:2])[:5])
    return contact_sheet(rows, cell_width=256)


def run(sample: EvaluationSample, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    video = sample.read_video()
    truth = open_source(sample, MethodConfig(), video).scene
    config = ReconstructConfig()
    if options.depth_model:
        config = replace(config, depth_model=options.depth_model)
    config = replace(config, refine_minutes=options.refine_minutes)
    clock = time.perf_counter()
    if options.evaluated is None:
        found = reconstruct(video, config)
    else:
        kept = options.evaluated / ".scenes" / sample.name / f"{len(video)}{sample.files[:12]}"
        if not kept.is_dir():
            raise SystemExit(f"{kept}: no such folder; run recam eval synth4d as said in --help")
        estimated = MethodConfig(cameras="estimated", depth="estimated")
        found = open_source(sample, estimated, video, kept).scene
    seconds = time.perf_counter() - clock
    scores, shown = view_scores(sample, found, truth, options.views)
    out = geometry_scores(found, truth) | scores | {"seconds": seconds}
    counted = ~resting(next(spec for spec in SPECS if spec.name == sample.name))
    out["iou_moved"] = iou(found.dynamic & counted, truth.dynamic & counted)
    if options.diagnose:
        out["diagnosis"] = diagnosis(sample, found, truth, options.views[0])
    if options.sheets:
        write_image(sheet(found, truth, shown), folder / f"{sample.name}.png")
    return out


COLUMNS = (
    ("rot", "rot", 2), ("path", "path %", 2), ("focal", "focal %", 1), ("abs_rel", "AbsRel", 3),
    ("delta1", "δ1", 3), ("abs_rel_shift", "+shift", 3), ("delta1_shift", "δ1", 3),
    ("abs_rel_moving", "moving", 3), ("delta1_moving", "δ1", 3),
    ("iou", "IoU", 2), ("iou_moved", "moved", 2),
    ("flicker", "flicker %", 2), ("flicker_mean", "mean %", 2),
)  # fmt: skip


def line(scores: dict[str, Any], views: list[str]) -> str:
    cells = [f"{scores.get(key, math.nan):.{digits}f}" for key, _, digits in COLUMNS]
    for view in views:
        pair = (scores.get(f"{name}_{view}", math.nan) for name in ("known", "true_known"))
        cells.append("/".join(f"{value:.1f}" for value in pair))
    return " | ".join([*cells, f"{scores['seconds']:.0f}"])


def mean_line(name: str, rows: list[dict[str, Any]], views: list[str]) -> None:
    if not rows:
        return
    keys = [key for key, value in rows[0].items() if isinstance(value, float)]
    with np.errstate(all="ignore"):
        means = {
            k: float(np.nanmean([r[k] for r in rows]))
            for k in keys
            if not all(math.isnan(r[k]) for r in rows)
        }
    print(f"| **{name}** ({len(rows)}) | | {line(means, views)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", nargs="*")
    parser.add_argument("--split", choices=("easy", "hard"))
    parser.add_argument("--views", nargs="*", default=["near", "far"])
    parser.add_argument("--out", type=Path, default=Path("reconstruction"))
    parser.add_argument("--label", default="default")
    parser.add_argument("--depth-model", help="see ReconstructConfig.depth_model")
    parser.add_argument("--refine-minutes", type=float, help="see ReconstructConfig")
    parser.add_argument(
        "--evaluated",
        type=Path,
        help="--out of recam eval synth4d --cameras estimated --depth estimated",
    )
    parser.add_argument("--diagnose", action="store_true", help="replace one thing at a time")
    parser.add_argument("--sheets", action="store_true", help="write a contact sheet of each scene")
    options = parser.parse_args()
    folder = options.out / options.label
    folder.mkdir(parents=True, exist_ok=True)
    names = [title for _, title, _ in COLUMNS] + [f"known {view}" for view in options.views]
    print("| scene | motion | " + " | ".join([*names, "s"]) + " |")
    print("| --- | --- |" + " ---: |" * (len(names) + 1), flush=True)
    groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for spec in SPECS:
        if options.scenes and spec.name not in options.scenes:
            continue
        if options.split and spec.split != options.split:
            continue
        kept = folder / f"{spec.name}.json"
        if not kept.is_file():
            sample = synth4d_sample(synth4d_folder(), spec)
            kept.write_text(json.dumps(run(sample, options, folder), indent=1))
        scores = json.loads(kept.read_text())
        moving = spec.camera not in KINDS
        groups[moving].append(scores)
        right = scores["motion"] == KINDS.get(spec.camera, "moving")
        motion = f"{spec.camera}: {scores['motion']}{'' if right else ' !'}"
        print(f"| {spec.name} | {motion} | {line(scores, options.views)} |", flush=True)
        for name, value in scores.get("diagnosis", {}).items():
            print(f"    {value:6.2f} dB, true: {name}", flush=True)
    mean_line("moving", groups[True], options.views)
    mean_line("tripod or turning", groups[False], options.views)


if __name__ == "__main__":
    main()
