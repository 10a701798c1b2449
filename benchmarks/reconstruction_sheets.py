"""Reconstructions to look at: a sheet of every video, its depth, what moves, and an orbit.

    python benchmarks/reconstruction_sheets.py VIDEO [VIDEO ...] [--out FOLDER] [--num-frames 36]
        [--stride 1] [--max-side 480] [--yaw 18] [--frames-shown 5]

Writes <out>/<name>.png with the rows source, inverse depth, moving, known (what the scene shows to
the cameras of the orbit) and completed (by propagate), and prints what the reconstruction says of
itself. An orbit that looks wrong is a reconstruction that is wrong, whatever its figures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from recam import api
from recam.configs import CompleteConfig, InputConfig, PathConfig, ReconstructConfig
from recam.media import contact_sheet, write_image
from recam.reconstruct.scene_cache import open_scene
from recam.types import PartialVideo, Scene, Video


def grey(maps: Tensor) -> Tensor:
    """Maps [t, h, w] of 0 to 1 as pictures [t, 3, h, w]."""
    return (maps.clamp(0, 1) * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)


def sheet(scene: Scene, partial: PartialVideo, result: Video, shown: int) -> Tensor:
    """One picture [3, h, w] of everything."""
    picked = torch.linspace(0, len(scene) - 1, shown).round().long()
    inverse = scene.valid / scene.depth
    top = float(torch.quantile(inverse.flatten()[:: max(1, inverse.numel() // 100_000)], 0.99))
    rows = {
        "source": scene.video.frames[picked],
        "inverse depth": grey(inverse[picked] / top),
        "moving": grey(scene.dynamic[picked].float()),
        "known": (partial.frames * (partial.known > 0.5)[:, None])[picked],
        "completed": result.frames[picked],
    }
    return contact_sheet(rows, cell_width=300)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("sheets"))
    parser.add_argument("--num-frames", type=int, default=36)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--max-side", type=int, default=480)
    parser.add_argument("--yaw", type=float, default=18.0)
    parser.add_argument("--frames-shown", type=int, default=5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.videos:
        name = path.stem if path.stem not in ("input", "gt_rgb") else path.parent.name
        clock = time.perf_counter()
        config = InputConfig(
            num_frames=options.num_frames, stride=options.stride, max_side=options.max_side
        )
        scene = open_scene(path, config, ReconstructConfig()).scene
        found = time.perf_counter() - clock
        orbit = PathConfig(path="orbit", yaw=options.yaw)
        made = api.reshoot(scene, orbit, complete=CompleteConfig(model="propagate"))
        picture = sheet(scene, made.partial, made.video, options.frames_shown)
        write_image(picture, options.out / f"{name}.png")
        moves, known = float(scene.dynamic.float().mean()), float(made.partial.known.mean())
        print(f"{name}: {found:.0f} s, {moves:.1%} moves, {known:.1%} known")
        for note in scene.report.get("notes", []):
            print(f"    {note}", flush=True)


if __name__ == "__main__":
    main()
