"""Frames between two views of real and synthetic clips, against cross-fade and plain flow.

The middle of a clip is hidden: of gap + 1 frames only the first and the last are given. PSNR in dB
of the frame in the middle of the gap, averaged over pieces of every clip; then the same after the
frame was shifted, turned and scaled as a whole onto the truth ("aligned": where the camera was at
that moment cannot be told from the views), and its sharpness: the mean squared difference of
neighbouring pixels as a share of the truth's.

    python benchmarks/interpolation.py [--clips hike judo …] [--gaps 8 16 32] [--model masked]

With --four the views before and behind are given too (only pieces that have both count), so that
motion may be curved: "four" beside what two views give. --chosen-on: the clips that this was chosen
on, instead of those of the table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.configs import CompleteConfig, InterpolateConfig
from recam.evaluation.metrics import psnr
from recam.media import contact_sheet, read_video, write_image
from recam.synthetic import synthetic_clip
from recam.tasks.interpolate import _fetch, interpolate

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dynamic"
CLIPS = {
    "hike": "davis_hike", "judo": "davis_judo", "coaster": "davis_rollercoaster",
    "cat": "infcam_cat", "teddy": "iphone_teddy", "bedroom": "sam2_bedroom",
    "crossing": "spatialvid_crossing",
}  # fmt: skip
CHOSEN_ON = {
    "bear": "davis_bear", "dance": "davis_breakdance-flare", "car": "davis_car-turn",
    "phone-cat": "iphone_cat", "rabbit": "rabbit-watermelon", "para": "davis_paragliding-launch",
    "apple": "../static/apple_orbit", "trulli": "../static/spatialvid_trulli",
}  # fmt: skip
SYNTHETIC = {"synthetic": 7, "synthetic-5": 5, "synthetic-21": 21}
METHODS = ("cross-fade", "flow", "recam")


def cross_fade(a: Tensor, b: Tensor) -> Tensor:
    return ((a.float() + b.float()) / 2).round().to(torch.uint8)


def plain_flow(a: Tensor, b: Tensor) -> Tensor:
    """Both views warped half way by DIS flow, blended evenly: no occlusion, no start, no gain."""
    pictures = [np.ascontiguousarray(v.permute(1, 2, 0).numpy()) for v in (a, b)]
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth, back = dis.calc(grey[0], grey[1], None), dis.calc(grey[1], grey[0], None)
    # The flow of a moment is that of the same pixel in the views (Jiang et al. 2018, Super SloMo).
    to_a = -0.25 * forth + 0.25 * back
    half = [_fetch(pictures[0].astype(np.float32), to_a)]
    half.append(_fetch(pictures[1].astype(np.float32), -to_a))
    mean = (half[0] + half[1]) / 2
    return torch.from_numpy(np.rint(mean).clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


def aligned(frame: Tensor, truth: Tensor) -> Tensor:
    """A picture uint8 [3, h, w] after the similarity that brings it onto the truth best."""
    picture, other = (np.ascontiguousarray(v.permute(1, 2, 0).numpy()) for v in (frame, truth))
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (other, picture)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(grey[0], grey[1], None)[::8, ::8].reshape(-1, 2)
    height, width = grey[0].shape
    rows, columns = np.mgrid[0:height:8, 0:width:8]
    here = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    moved, _ = cv2.estimateAffinePartial2D(here, here + flow, ransacReprojThreshold=2.0)
    if moved is None:
        return frame
    warped = cv2.warpAffine(
        picture, moved, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return torch.from_numpy(warped).permute(2, 0, 1)


def sharpness(frame: Tensor) -> float:
    grey = frame.float().mean(0)
    return float(grey.diff(dim=0).square().mean() + grey.diff(dim=1).square().mean())


def measured(frame: Tensor, truth: Tensor) -> tuple[float, float, float]:
    """PSNR, PSNR when aligned, sharpness."""
    after = psnr(aligned(frame, truth)[None], truth[None])
    return psnr(frame[None], truth[None]), after, sharpness(frame) / sharpness(truth)


def as_text(means: dict[str, np.ndarray]) -> str:
    return "  ".join(f"{m} {v[0]:5.2f} ({v[1]:5.2f}, {v[2]:.2f})" for m, v in means.items())


def clip_frames(name: str, four: bool, max_side: int) -> Tensor:
    """uint8 [t, 3, h, w]: the first frames of a clip, more of them for four views."""
    num = 82 if four else 66
    if name in SYNTHETIC:  # whose camera takes as long for its path as there are frames
        return synthetic_clip(SYNTHETIC[name], 49 if four else 33, 240, 416)[0].video.frames
    folder = DATA / {**CLIPS, **CHOSEN_ON}[name]
    (file,) = (f for f in folder.glob("*.mp4") if f.stem in ("input", "gt_rgb"))
    return read_video(file, num_frames=num, max_side=max_side).frames


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", nargs="*", help="default: those of the table in docs/tasks.md")
    parser.add_argument("--four", action="store_true", help="also with the views on either side")
    parser.add_argument("--chosen-on", action="store_true", help="other clips than the table's")
    parser.add_argument("--gaps", nargs="*", type=int, default=[8, 16, 32])
    parser.add_argument("--max-side", type=int, default=480)
    parser.add_argument("--model", default="auto", help="that completes what recam leaves open")
    parser.add_argument("--sheet", type=Path, help="folder for pictures to look at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = InterpolateConfig(frames=1, complete=CompleteConfig(args.model))
    methods = (*METHODS, "four") if args.four else METHODS
    usual = [*CHOSEN_ON, "synthetic-5", "synthetic-21"] if args.chosen_on else [*CLIPS, "synthetic"]
    total: dict[tuple[int, str], list[np.ndarray]] = {}
    for name in args.clips or usual:
        frames = clip_frames(name, args.four, args.max_side)
        for gap in args.gaps:
            scores: dict[str, list[tuple[float, ...]]] = {m: [] for m in methods}
            clock = time.perf_counter()
            reach = gap if args.four else 0
            for start in range(reach, len(frames) - gap - reach, max(gap, 16)):
                a, b, truth = (frames[start + k] for k in (0, gap, gap // 2))
                ours = interpolate(torch.stack([a, b]), config).video
                made = dict(zip(METHODS, (cross_fade(a, b), plain_flow(a, b), ours.frames[1])))
                if args.four:
                    views = frames[start - gap : start + 2 * gap + 1 : gap]
                    made["four"] = interpolate(views, config).video.frames[3]
                for method, frame in made.items():
                    scores[method].append(measured(frame, truth))
                if args.sheet and start == reach:
                    rows = {"views": torch.stack([a, truth, b])}
                    rows["methods"] = torch.stack(list(made.values()))
                    path = args.sheet / f"{name}-{gap}.png"
                    write_image(contact_sheet(rows, cell_width=480), path)
            means = {m: np.mean(s, 0) for m, s in scores.items() if s}
            for method, value in means.items():
                total.setdefault((gap, method), []).append(value)
            seconds = time.perf_counter() - clock
            print(f"{name:10} gap {gap:2}: {as_text(means)}  ({seconds:.1f} s)", flush=True)
    for gap in args.gaps:
        means = {m: np.mean(total[gap, m], 0) for m in methods if (gap, m) in total}
        print(f"mean       gap {gap:2}: {as_text(means)}")


if __name__ == "__main__":
    main()
