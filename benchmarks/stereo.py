"""The second eye of a film against the true one: synthetic scenes, and a real stereo pair.

The film is the left eye. The right eye's camera is recam's own default rig. Its truth is rendered
from there (Synth4D's scenes) or was photographed (Middlebury's motorcycle). Compared:

    flat      the film itself, shown to both eyes
    shift     each frame's pixels shifted by the disparity of recam's depth network (brought to the
              true scale and offset), gaps filled from the side that lies behind: what simple
              converters do
    same      as shift, by the depth that recam found, as it is
    recam     recam.stereo, geometry estimated from the film
    sharp     as recam, but torn at depth's edges, as any new camera (--outlines sharp)
    truth     recam.stereo with true cameras and depth: what is lost to rendering and filling alone

PSNR in dB, LPIPS; flicker: mean change of what is left of the truth from frame to frame, of 255.

    python benchmarks/stereo.py [--limit 4] [--frames 16] [--width 384] [--model auto]
        [--pictures FOLDER]

With --given: true cameras and depth throughout, "behind" as sharp with gaps filled from behind
(--gaps behind), and "shift" by the true depth, "guess" by the
network's: what rendering and filling alone are worth.

With --real: the pair of Middlebury, from the left picture alone. Its eyes stand 193 mm apart, three
times as far as a person's. "recam" has the depth of "shift"; "measured" has the pair's own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from one_picture import real_pairs
from torch import Tensor

from recam.completers import complete
from recam.configs import CompleteConfig, RigConfig, StereoConfig
from recam.evaluation.metrics import psnr
from recam.evaluation.perceptual import lpips
from recam.evaluation.synth4d.scenes import SPECS, WIDTH, SceneSpec, build_scene, source_cameras
from recam.evaluation.synth4d.scenes import times_s as synth4d_times_s
from recam.media import write_image
from recam.reconstruct import reconstruct
from recam.reconstruct.depth_prior.shipped import shipped_depth
from recam.render import render
from recam.synthetic import render_synthetic
from recam.tasks.stereo import StereoRig, eye_paths, stereo, stereo_rig
from recam.tasks.stereo_rows import row_windows
from recam.types import CameraPath, Cameras, Rendering, Scene, Video

FIRST = 12
RIG = RigConfig(keep="left")


def synthetic_film(spec: SceneSpec, num: int, width: int) -> tuple[Scene, Video]:
    """The true scene of ``num`` frames, and the film alone."""
    world = build_scene(spec)
    picked = slice(FIRST, FIRST + num)
    cameras, times_s = source_cameras(spec, world)[picked], synth4d_times_s()[picked]
    cameras = cameras.resized(round(cameras.height * width / cameras.width), width)
    shot = render_synthetic(world, cameras, times_s)
    film = Video(shot.frames, times_s)
    there = torch.isfinite(shot.depth) & (shot.depth > 0)
    scene = Scene(film, cameras, shot.depth, there, shot.dynamic, there.float(), 1.0)
    return scene, film


def true_scale(estimated: Scene, truth: Scene) -> float:
    """True units in one of the estimated scene's: the median over the pixels that both know."""
    size = tuple(truth.depth.shape[1:])
    depth = torch.nn.functional.interpolate(estimated.depth[None], size, mode="nearest-exact")[0]
    valid = torch.nn.functional.interpolate(
        estimated.valid[None].float(), size, mode="nearest-exact"
    )[0]
    both = truth.valid & (valid > 0)
    return float((truth.depth[both] / depth[both]).median())


def fitted_guess(film: Video, truth: Scene) -> Tensor:
    """The depth network's inverse depth [t, h, w] at the true scale and offset."""
    guess, _ = shipped_depth(film.frames)
    # Least squares of the true inverse depth on the guessed one, over the clip.
    columns = torch.stack([guess[truth.valid], torch.ones_like(guess[truth.valid])], 1)
    fit = torch.linalg.lstsq(columns, (1 / truth.depth[truth.valid])[:, None]).solution[:, 0]
    return (fit[0] * guess + fit[1]).clamp(min=1e-4)


def shifted(film: Video, truth: Scene, rig: StereoRig, inverse: Tensor | None = None) -> Tensor:
    """Every pixel moved by its disparity, the nearest kept; gaps from the side that is behind.
    inverse: 1/depth [t, h, w]; default, the network's."""
    inverse = fitted_guess(film, truth) if inverse is None else inverse
    focal = truth.cameras.intrinsics[:, 0, 0, None, None].float()
    move = focal * rig.interaxial * (1 / rig.convergence_depth - inverse)
    out = torch.empty_like(film.frames)
    for i in range(len(film)):
        out[i] = _shifted_frame(film.frames[i], move[i], inverse[i])
    return out


def _shifted_frame(frame: Tensor, move: Tensor, inverse: Tensor) -> Tensor:
    h, w = move.shape
    order = inverse.flatten().argsort()  # far first, so that near overwrites
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    to = (x + move).round().long()
    inside = ((to >= 0) & (to < w)).flatten()[order]
    target, origin = (y * w + to).flatten()[order][inside], order[inside]
    came = torch.full((h * w,), -1)
    came[target] = origin
    known = came.view(h, w) >= 0
    depth = torch.where(known, inverse.flatten()[came.clamp(min=0)].view(h, w), float("inf"))
    left, right = x.clone(), x.clone()
    left = torch.where(known, x, -1).cummax(1).values
    right = torch.where(known, x, w).flip(1).cummin(1).values.flip(1)
    at_left = depth.gather(1, left.clamp(min=0)).where(left >= 0, torch.tensor(float("inf")))
    at_right = depth.gather(1, right.clamp(max=w - 1)).where(right < w, torch.tensor(float("inf")))
    side = torch.where(at_left <= at_right, left, right).clamp(0, w - 1)
    origin = came.view(h, w).gather(1, side).clamp(min=0)
    return frame.flatten(1)[:, origin.flatten()].view_as(frame)


def flicker(frames: Tensor, truth: Tensor) -> float:
    left = frames.float() - truth.float()
    return float((left[1:] - left[:-1]).abs().mean()) if len(left) > 1 else float("nan")


def right_eyes(truth: Scene, film: Video, model: str) -> tuple[dict[str, Tensor], StereoRig, float]:
    """The right eye by each method, the rig in true units, and the share of the recam eye that no
    frame showed."""
    config = StereoConfig(rig=RIG, complete=CompleteConfig(model))  # type: ignore[arg-type]
    estimated = reconstruct(film)
    scale = true_scale(estimated, truth)
    found = stereo_rig(estimated, RIG)
    # A focal length that is off changes how far apart the eyes stand, not what they are to see.
    focal = [s.cameras.intrinsics[0, 0, 0] / s.cameras.width for s in (estimated, truth)]
    rig = replace(
        found, interaxial=scale * found.interaxial * float(focal[0] / focal[1]),
        convergence_depth=scale * found.convergence_depth,
    )  # fmt: skip
    focus = rig.convergence_depth
    same = RigConfig(keep="left", interaxial=rig.interaxial / focus, focus_depth=focus)
    result = stereo(estimated, config)
    eyes = {
        "flat": film.frames,
        "shift": shifted(film, truth, rig),
        "same": shifted(film, truth, rig, 1 / (scale * estimated.depth.clamp(min=1e-6))),
        "recam": result.right.video.frames,
        "sharp": stereo(estimated, replace(config, outlines="sharp")).right.video.frames,
        "truth": stereo(truth, replace(config, rig=same)).right.video.frames,
    }
    holes = float((result.right.partial.known < 0.5).float().mean())
    return eyes, rig, holes


def given_eyes(truth: Scene, film: Video, model: str) -> tuple[dict[str, Tensor], StereoRig, float]:
    """As ``right_eyes``, of true cameras and depth throughout."""
    config = StereoConfig(rig=RIG, complete=CompleteConfig(model))  # type: ignore[arg-type]
    rig = stereo_rig(truth, RIG)
    result = stereo(truth, config)
    eyes = {
        "recam": result.right.video.frames,
        "sharp": stereo(truth, replace(config, outlines="sharp")).right.video.frames,
        "behind": stereo(
            truth, replace(config, outlines="sharp", gaps="behind")
        ).right.video.frames,
        "shift": shifted(film, truth, rig, 1 / truth.depth.clamp(min=1e-3)),
        "guess": shifted(film, truth, rig),
    }
    holes = float((result.right.partial.known < 0.5).float().mean())
    return eyes, rig, holes


def true_eye(spec: SceneSpec, cameras: Cameras, num: int) -> Tensor:
    times_s = synth4d_times_s()[FIRST : FIRST + num]
    return render_synthetic(build_scene(spec), cameras, times_s).frames


def motorcycle(model: str) -> tuple[dict[str, Tensor], Tensor]:
    """The right picture by each method, and as it was photographed."""
    _, scene, camera, target = next(real_pairs())
    k = scene.cameras.intrinsics[0, 0]
    apart = float(-camera.cam_from_world[0, 0, 3])
    offset = float(camera.intrinsics[0, 0, 2] - k[2])
    rig = StereoRig(apart, float(k[0]) * apart / offset, 0.0, 0.0)
    guess = fitted_guess(scene.video, scene)
    guessed = replace(scene, depth=1 / guess, valid=torch.ones_like(scene.valid))
    path = CameraPath(camera, torch.zeros(1, dtype=torch.int64))

    def completed(view: Rendering) -> Tensor:
        return complete(view, CompleteConfig(model)).frames  # type: ignore[arg-type]

    eyes = {
        "flat": scene.video.frames, "shift": shifted(scene.video, scene, rig),
        "recam": completed(next(row_windows(guessed, path, 1))),
        "sharp": completed(render(guessed, path)),
        "measured": completed(next(row_windows(scene, path, 1))),
        "measured, sharp": completed(render(scene, path)),
    }  # fmt: skip
    return eyes, target[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument("--scenes", nargs="*", help="by name, instead of the first few")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--given", action="store_true")
    options = parser.parse_args()
    if options.real:
        eyes, target = motorcycle(options.model)
        for name, frames in eyes.items():
            print(f"{name:8} {psnr(frames, target):6.2f} dB  LPIPS {lpips(frames, target):.4f}")
            if options.pictures:
                write_image(frames[0], options.pictures / f"motorcycle-{name}.png")
        return
    rows: dict[str, list[tuple[float, float, float]]] = {}
    picked = [s for s in SPECS if s.name in (options.scenes or [])] or SPECS[: options.limit]
    for spec in picked:
        truth, film = synthetic_film(spec, options.frames, options.width)
        made = given_eyes if options.given else right_eyes
        eyes, rig, holes = made(truth, film, options.model)
        target = true_eye(spec, eye_paths(truth, rig, RIG)[1].cameras, options.frames)
        print(f"{spec.name}: {rig.describe(1.0)}; holes {100 * holes:.1f} %")
        for name, frames in eyes.items():
            score = (psnr(frames, target), lpips(frames, target), flicker(frames, target))
            rows.setdefault(name, []).append(score)
            print(f"  {name:6} {score[0]:6.2f} dB  LPIPS {score[1]:.4f}  flicker {score[2]:.2f}")
        if options.pictures:
            middle = options.frames // 2
            strip = torch.cat([target[middle], *(f[middle] for f in eyes.values())], 2)
            write_image(strip, options.pictures / f"{spec.name}.png")
    print("mean of", len(picked))
    for name, scores in rows.items():
        mean = np.mean(scores, 0)
        print(f"  {name:6} {mean[0]:6.2f} dB  LPIPS {mean[1]:.4f}  flicker {mean[2]:.2f}")


if __name__ == "__main__":
    main()
