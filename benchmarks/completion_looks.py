"""How real completed videos look: every method on holes whose truth is known.

    python benchmarks/completion_looks.py [--set report] [--clips bear hike] [--sheets FOLDER]

Real clips of ../shared/data. ``choose`` is for choosing methods and their constants, ``report``
for figures; no clip is in both, and shipped weights were trained on none of ``report``. Four
kinds of holes, each with the video itself as the truth and with the depth of the scene that recam
estimates (kept in recam's cache):

turned    double reprojection: the video seen back from an orbit that reaches 14°, each frame alone;
          most of it is seen at other moments
mover     the outline of what moves, at another place and played backwards: a thing taken out
patch     a ball around a static point, hidden in all frames: nobody ever sees it
border    a strip at a side of every frame, as a camera that turns past the picture's edge sees it

Synth4D: views that turn up to 40° from the source, rendered with true geometry; ``unseen`` is what
no source frame shows. ``python benchmarks/completion_looks.py --synth4d FOLDER`` names the folder
that ``recam eval synth4d-make`` wrote.

Columns, over the holes (u.: over what no frame shows, s.: over the rest, seen at another moment):
LPIPS; detail, the mean gradient over the truth's; flicker, the error of the change in time; warp,
the squared change along the truth's own motion (x 1000), low where what is shown moves rightly, be
it true or not (the truth's own is printed too); patches, the distance of their distributions; PSNR;
processor seconds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.completers import complete
from recam.completion.baselines import fill_telea
from recam.completion.flow_propagation import propagate, search
from recam.completion.pull_push import pull_push
from recam.configs import (
    CompleteConfig,
    CompletionModel,
    InputConfig,
    ReconstructConfig,
    RenderConfig,
)
from recam.covisibility import double_reproject, novel_cameras
from recam.evaluation.configs import MethodConfig
from recam.evaluation.methods import open_source
from recam.evaluation.metrics import psnr
from recam.evaluation.perceptual import lpips_of_parts
from recam.evaluation.synth4d.read import synth4d_sample
from recam.evaluation.synth4d.scenes import SPECS
from recam.evaluation.temporal import flicker, video_flow, warping_error
from recam.evaluation.texture_statistics import detail, patch_distance
from recam.geometry import unproject
from recam.media import side_by_side, write_image
from recam.reconstruct.scene_cache import open_scene
from recam.render import render
from recam.trajectories import focus_depth
from recam.types import (
    CameraPath,
    Cameras,
    PartialVideo,
    Rendering,
    Scene,
    video_from_frames,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHOOSE = {  # clip, first frame, and the direction of its orbit
    "davis_hike": ("dynamic/davis_hike/input.mp4", 0, 1),
    "iphone_teddy": ("dynamic/iphone_teddy/input.mp4", 0, 1),
    "spatialvid_crossing": ("dynamic/spatialvid_crossing/input.mp4", 0, -1),
    "apple_orbit": ("static/apple_orbit/input.mp4", 0, -1),
    "sam2_bedroom": ("dynamic/sam2_bedroom/input.mp4", 0, 1),
    "sam2_juggle": ("dynamic/sam2_juggle/input.mp4", 0, -1),
    "davis_breakdance": ("dynamic/davis_breakdance-flare/input.mp4", 0, 1),
    "infcam_cat": ("dynamic/infcam_cat/input.mp4", 0, -1),
}
REPORT = {
    "davis_bear": ("dynamic/davis_bear/gt_rgb.mp4", 0, -1),
    "infcam_bubble": ("dynamic/infcam_bubble/input.mp4", 0, 1),
    "davis_paragliding": ("dynamic/davis_paragliding-launch/input.mp4", 0, -1),
    "spatialvid_trulli": ("static/spatialvid_trulli/input.mp4", 0, 1),
    "davis_judo": ("dynamic/davis_judo/input.mp4", 0, -1),
    "iphone_cat": ("dynamic/iphone_cat/input.mp4", 0, 1),
}
SYNTH4D = {
    "choose": ("street-108", "hall-103"),
    "report": ("room-113", "park-102"),
}
YAW_DEG = 14.0
NUM_FRAMES, MAX_SIDE = 12, 384
SYNTH4D_FIRST = 16


@dataclass(frozen=True)
class Case:
    """A video with holes and what it really shows.

    truth: uint8 [t, 3, h, w]. unseen: bool [t, h, w], hole pixels whose surface no frame shows; if
    that is not known, those for which ``propagate`` finds none.
    """

    name: str
    rendering: Rendering
    truth: Tensor
    unseen: Tensor


def real_cases(name: str, path: Path, start: int, direction: int) -> Iterator[Case]:
    """The four kinds of holes in one clip."""
    source = InputConfig(start=start, num_frames=NUM_FRAMES, max_side=MAX_SIDE)
    scene = open_scene(path, source, ReconstructConfig()).scene
    truth = scene.video.frames[:]
    own = scene.cameras.resized(*truth.shape[2:])
    depth = torch.nn.functional.interpolate(
        scene.depth[:, None].float(), truth.shape[2:], mode="nearest-exact"
    )[:, 0]
    nothing = torch.zeros(len(truth), *truth.shape[2:], dtype=torch.bool)

    def case(kind: str, known: Tensor, depth: Tensor, unseen: Tensor) -> Case:
        shown = Rendering(truth * known[:, None], known.float(), depth * known, own)
        return Case(f"{name}/{kind}", shown, truth, unseen & ~known)

    yaw = direction * YAW_DEG * torch.linspace(0.2, 1, len(truth), dtype=torch.float64)
    turned = novel_cameras(own, yaw, 0 * yaw, 0 * yaw, focus_depth(scene))
    seen = double_reproject(scene, turned, RenderConfig(aggregate_static=False))
    yield case("turned", seen.visible, seen.back.depth, nothing)
    moved = moved_outline(scene, truth.shape[2:])
    if bool(moved.any()):
        yield case("mover", ~moved, depth, nothing)
    hidden = hidden_ball(scene, depth)
    yield case("patch", ~hidden, depth, hidden)
    yield border_case(name, truth, depth, own, direction)


def border_case(name: str, truth: Tensor, depth: Tensor, own: Cameras, direction: int) -> Case:
    """A sixth of the picture's width hidden in all frames; what others show of it is not told."""
    known = torch.ones(len(truth), *truth.shape[2:], dtype=torch.bool)
    strip = truth.shape[3] // 6
    known[:, :, -strip:] &= direction < 0
    known[:, :, :strip] &= direction > 0
    shown = Rendering(truth * known[:, None], known.float(), depth * known, own)
    return Case(f"{name}/border", shown, truth, torch.zeros_like(known))


def moved_outline(scene: Scene, size: tuple[int, int]) -> Tensor:
    """bool [t, h, w]: the outline of what moves, shifted by a third of the width, backwards in
    time; all False where next to nothing moves."""
    dynamic = torch.nn.functional.interpolate(
        scene.dynamic[:, None].float(), size, mode="nearest-exact"
    )[:, 0]
    if not 0.005 < float(dynamic.mean()) < 0.35:
        return torch.zeros(len(dynamic), *size, dtype=torch.bool)
    shifted = torch.roll(dynamic.flip(0), size[1] // 3, 2)
    return torch.nn.functional.max_pool2d(shifted[:, None], 7, 1, 3)[:, 0] > 0.5


def hidden_ball(scene: Scene, depth: Tensor) -> Tensor:
    """bool [t, h, w]: static pixels within a ball, about a fifth of the picture's height wide.

    Its centre is the static pixel of the middle frame that is nearest to a third of the way from
    the left, in the middle of the height.
    """
    t, h, w = depth.shape
    own = scene.cameras.resized(h, w)
    static = torch.nn.functional.interpolate(
        (scene.valid & ~scene.dynamic)[:, None].float(), (h, w), mode="nearest-exact"
    )[:, 0]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    middle = t // 2
    away = (x - w / 3) ** 2 + (y - h / 2) ** 2 + 1e9 * (static[middle] < 0.5)
    at = int(away.argmin())
    points = [unproject(depth[i : i + 1].double(), own[i : i + 1])[0].view(h, w, 3)
              for i in range(t)]  # fmt: skip
    centre = points[middle].view(-1, 3)[at]
    radius = 0.1 * h * float(depth[middle].view(-1)[at]) / float(own.intrinsics[middle, 0, 0])
    near = torch.stack([(p - centre).norm(dim=-1) < radius for p in points]) & (static > 0.5)
    near = near.float()[:, None]
    closed = -torch.nn.functional.max_pool2d(
        -torch.nn.functional.max_pool2d(near, 9, 1, 4), 5, 1, 2
    )
    return closed[:, 0] > 0.5


def synth4d_case(folder: Path, name: str) -> Iterator[Case]:
    """A scene's ``far`` view, some frames of it, rendered from all source frames."""
    sample = synth4d_sample(folder, next(spec for spec in SPECS if spec.name == name))
    view = next(v for v in sample.views if v.name == "far")
    source = open_source(sample, MethodConfig(), sample.read_video())
    part = slice(SYNTH4D_FIRST, SYNTH4D_FIRST + NUM_FRAMES)
    path = CameraPath(view.path.cameras[part], view.path.source_frames[part])
    assert view.read_seen is not None
    unseen = view.read_seen()[part] == 0
    rendering = render(source.scene, path)
    truth = view.read_video().frames[part]
    yield Case(f"{name}/far", rendering, truth, unseen & (rendering.known < 0.5))


def score(result: Tensor, case: Case, motion: tuple[Tensor, Tensor]) -> dict[str, float]:
    """LPIPS, detail, flicker, warp, patch distance and PSNR over the holes, some of them also over
    their parts. motion: the truth's, of ``video_flow``."""
    holes = (case.rendering.known < 0.5).float()
    parts = {"": holes, "s.": holes * ~case.unseen, "u.": case.unseen.float()}
    perceived = lpips_of_parts(result, case.truth, {f"_{k}": v for k, v in parts.items()})
    row = {
        "patches": patch_distance(result, case.truth, holes),
        "warp": warp(result, holes, motion),
    }
    for name, part in parts.items():
        row |= {
            f"{name}lpips": perceived[f"lpips_{name}"],
            f"{name}detail": detail(result, case.truth, part),
            f"{name}flicker": flicker(result, case.truth, part),
            f"{name}psnr": psnr(result, case.truth, part),
        }
    return row


def warp(frames: Tensor, holes: Tensor, motion: tuple[Tensor, Tensor]) -> float:
    """1000 times the squared change along the truth's motion, over holes."""
    return 1000 * warping_error(frames, motion[0], motion[1] * holes[:-1])


def by(model: CompletionModel, seed: int = 0, **options: Any) -> Callable[[Rendering], Tensor]:
    """As a user gets it with --model."""
    config = CompleteConfig(model, seed=seed, **options)
    return lambda rendering: complete(rendering, config).frames


METHODS: dict[str, Callable[[Rendering], Tensor]] = {
    "pull-push": pull_push,
    "Telea": fill_telea,
    "propagate": propagate,
    "masked": by("masked"),
    "copy": by("copy"),
    "copy, seed 1": by("copy", 1),
    "copy, seed 2": by("copy", 2),
    "no planes": by("copy", planes=False),
}
COLUMNS = (
    "lpips", "u.lpips", "detail", "u.detail", "flicker", "s.flicker", "u.flicker", "warp",
    "patches", "psnr", "s.psnr", "u.psnr", "cpu_s",
)  # fmt: skip


def all_cases(
    which: str, words: list[str], synth4d: Path | None, kept: Path | None
) -> Iterator[Case]:
    """Cases of a split whose name has one of the words; all of it for none. kept: folder in which
    they are looked for first, and put."""
    wanted: dict[str, Callable[[], Iterator[Case]]] = {
        name: partial(real_cases, name, DATA / path, start, direction)
        for name, (path, start, direction) in (CHOOSE if which == "choose" else REPORT).items()
    }
    if synth4d is not None:
        wanted |= {name: partial(synth4d_case, synth4d, name) for name in SYNTH4D[which]}
    for name, make in wanted.items():
        if words and not any(word in name for word in words):
            continue
        files = [] if kept is None else sorted(kept.glob(f"{name}__*.npz"))
        if files:
            yield from map(load_case, files)
            continue
        cases = [
            case if bool(case.unseen.any())
            else replace(case, unseen=torch.from_numpy(search(case.rendering).unseen))
            for case in make()
        ]  # fmt: skip
        if kept is not None:  # all or none: those kept are taken for all
            for case in cases:
                save_case(case, kept)
        yield from cases


def save_case(case: Case, folder: Path) -> None:
    """One npz; the holes of a method tried next are then the same."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = case.rendering
    np.savez(
        folder / f"{case.name.replace('/', '__')}.npz", allow_pickle=False,
        frames=shown.frames, known=shown.known, depth=shown.depth, truth=case.truth,
        unseen=case.unseen, cfw=shown.cameras.cam_from_world, K=shown.cameras.intrinsics,
    )  # fmt: skip


def load_case(path: Path) -> Case:
    with np.load(path, allow_pickle=False) as file:
        value = {name: torch.from_numpy(file[name]) for name in file}
    cameras = Cameras(value["cfw"], value["K"], *value["frames"].shape[2:])
    shown = Rendering(value["frames"], value["known"], value["depth"], cameras)
    return Case(path.stem.replace("__", "/"), shown, value["truth"], value["unseen"])


def print_cost(height: int, width: int, methods: list[str]) -> None:
    """Processor seconds and peak memory of 48 frames: a video that pans by 2 px a frame, without a
    sixth of its width at one side. Give one method: the peak is the process's."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (height // 4, (width + 96) // 4, 3)).astype(np.uint8)
    wide = cv2.resize(wide, (width + 96, height), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([wide[:, 2 * i : 2 * i + width] for i in range(48)])
    known = torch.ones(48, height, width)
    known[:, :, : width // 6] = 0
    video = torch.from_numpy(frames).permute(0, 3, 1, 2) * (known[:, None] > 0)
    for method in methods:
        clock = time.process_time()
        METHODS[method](PartialVideo(video, known))  # type: ignore[arg-type]
        spent = time.process_time() - clock
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"48 x {width}x{height} {method:12s} cpu_s {spent:6.1f} peak_GB {peak:5.2f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["choose", "report"], default="report")
    parser.add_argument("--clips", nargs="*", default=[], help="only with one of these words")
    parser.add_argument("--kinds", nargs="*", default=[], help="only these kinds of holes")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--synth4d", type=Path, help="folder of recam eval synth4d-make")
    parser.add_argument("--cases", type=Path, help="folder that keeps the cases for next time")
    parser.add_argument("--sheets", type=Path, help="folder for pictures (not for the repo)")
    parser.add_argument("--cost", type=int, nargs=2, metavar=("H", "W"), help="time and memory")
    args = parser.parse_args()
    if args.cost:
        return print_cost(*args.cost, args.methods)
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for case in all_cases(args.set, args.clips, args.synth4d, args.cases):
        kind = case.name.split("/")[1]
        if args.kinds and kind not in args.kinds:
            continue
        results = {"truth": case.truth, "holes": case.rendering.frames}
        motion = video_flow(video_from_frames(case.truth))
        holes = (case.rendering.known < 0.5).float()
        share = float(case.unseen.sum() / holes.sum())
        own = warp(case.truth, holes, motion)
        print(f"{case.name:32s} the truth's warp {own:.3f}, never seen {share:.2f} of the holes")
        for method in args.methods:
            clock = time.process_time()
            results[method] = METHODS[method](case.rendering)
            spent = time.process_time() - clock
            row = score(results[method], case, motion) | {"cpu_s": spent}
            for group in (kind, "all"):
                rows.setdefault((group, method), []).append(row)
            print_row(case.name, method, row)
        if args.sheets:
            write_pictures(results, case, args.sheets)
    for (kind, method), scores in sorted(rows.items()):
        mean = {c: float(np.nanmean([s[c] for s in scores])) for c in COLUMNS}
        print_row(f"mean {kind} ({len(scores)})", method, mean)


def print_row(name: str, method: str, row: dict[str, float]) -> None:
    cells = " ".join(f"{c} {row[c]:6.3f}" for c in COLUMNS)
    print(f"{name:32s} {method:12s} {cells}", flush=True)


def write_pictures(results: dict[str, Tensor], case: Case, folder: Path) -> None:
    """Full-size crops around the largest hole of the middle frame, and slices of one row over time
    (x to the right, t downwards, each moment 8 pixels high); a column for each method."""
    folder.mkdir(parents=True, exist_ok=True)
    name = case.name.replace("/", "_")
    holes = (case.rendering.known < 0.5).numpy()
    middle = int(holes.sum((1, 2)).argmax())
    side = min(256, *holes.shape[1:])
    mass = cv2.boxFilter(holes[middle].astype(np.float32), -1, (side, side))
    y, x = np.unravel_index(int(mass.argmax()), mass.shape)
    top = int(np.clip(y - side // 2, 0, holes.shape[1] - side))
    left = int(np.clip(x - side // 2, 0, holes.shape[2] - side))
    crops = {k: v[middle : middle + 1, :, top : top + side, left : left + side]
             for k, v in results.items()}  # fmt: skip
    write_image(_beside(crops), folder / f"{name}_crop.png")
    row = top + side // 2
    slices = {k: v[:, :, row].permute(1, 0, 2).repeat_interleave(8, 1)[None]
              for k, v in results.items()}  # fmt: skip
    write_image(_beside(slices), folder / f"{name}_slice.png")


def _beside(pictures: dict[str, Tensor]) -> Tensor:
    """Pictures uint8 [1, 3, h, w] beside each other under their names, at full size."""
    return side_by_side(list(pictures.values()), list(pictures)).frames[0]


if __name__ == "__main__":
    main()
