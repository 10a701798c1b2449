"""Pictures of what each task makes, for docs/tasks.md, from synthetic scenes alone.

python benchmarks/task_pictures.py [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from editing import FPS, largest, with_other_material
from torch import Tensor

from recam.configs import ImageConfig, InterpolateConfig, PathConfig
from recam.media import contact_sheet, write_image
from recam.synthetic import render_synthetic, sample_cameras, sample_scene, synthetic_clip
from recam.tasks.edit import edit
from recam.tasks.image import image_path, reshoot_image
from recam.tasks.interpolate import interpolate
from recam.types import Video

HEIGHT, WIDTH = 288, 512


def one_picture() -> dict[str, Tensor]:
    scene, synthetic = synthetic_clip(26, 1, HEIGHT, WIDTH, "tripod", "room")
    config = ImageConfig(frames=9, memory=4, path=PathConfig("orbit", yaw=16, speed="linear"))
    path = image_path(scene, config)
    truth = render_synthetic(synthetic, path.cameras, torch.zeros(len(path))).frames
    made = reshoot_image(scene, config)
    shown = made.partial.frames * (made.partial.known > 0.5)[:, None]
    pick = slice(0, None, 4)
    return {
        "warped": shown[pick], "recam image": made.video.frames[pick], "truth": truth[pick],
    }  # fmt: skip


def between_views() -> dict[str, Tensor]:
    frames = synthetic_clip(31, 17, HEIGHT, WIDTH, "orbit", "room")[0].video.frames
    made = interpolate(frames[::16], InterpolateConfig(frames=3)).video.frames
    fade = [frames[0].float().lerp(frames[16].float(), i / 4).to(torch.uint8) for i in range(5)]
    return {
        "cross-fade": torch.stack(fade), "recam interpolate": made, "truth": frames[::4],
    }  # fmt: skip


def edited() -> dict[str, Tensor]:
    scene = sample_scene(14, "room")
    cameras = sample_cameras(scene, 14, "orbit", 16, HEIGHT, WIDTH, FPS)
    times_s = torch.arange(16, dtype=torch.float64) / FPS
    plain = render_synthetic(scene, cameras, times_s)
    ids = plain.object_ids[0]
    moving = [i for i in scene.moving_objects() if bool((ids == i).any())]
    changed = with_other_material(scene, largest(ids, moving))
    truth = render_synthetic(changed, cameras, times_s).frames
    made = edit(Video(plain.frames, times_s), truth[0]).video.frames
    pick = slice(0, None, 5)
    return {"video": plain.frames[pick], "recam edit": made[pick], "truth": truth[pick]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in (("image", one_picture), ("interpolate", between_views), ("edit", edited)):
        rows = make()
        width = 1280 // max(len(r) for r in rows.values())
        sheet = contact_sheet(rows, len(next(iter(rows.values()))), width)
        write_image(sheet, args.out / f"task_{name}.jpg")


if __name__ == "__main__":
    main()
