"""How well cameras are found: motion, rotation, position, field of view, and the time it takes.

    python benchmarks/camera_accuracy.py [--only NAME ...] [--size 512] [--no-synthetic]

Real clips come from ../shared/data (those with reference cameras first; most references are
estimates too, see the README there), rendered ones from recam.synthetic. Columns: the motion found
(and, for rendered clips, whether it is the true one); root mean square angle in degrees between
found and reference rotations, with the first reference frame's cameras laid on each other (rot 0)
and after the one rotation of the world that fits best (rot); position error after the best
similarity transform, in percent of the reference path's length; horizontal field of view, found and
reference, "?" = the motion does not tell it, so a usual one is assumed; median residual and
parallax in px; seconds of wall time for flow and for cameras; and what the lens bends, if it does,
undone (--lens pinhole: not looked for).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.camera_files import read_cameras
from recam.configs import LensKind, ReconstructConfig
from recam.evaluation.cameras import camera_errors
from recam.flow.dense import compute_flows
from recam.geometry import fov_x_deg, rotation_angle_deg
from recam.media import read_video
from recam.reconstruct.camera_stage import OFFSETS
from recam.reconstruct.cameras.solve import CameraSolution, solve_cameras
from recam.reconstruct.checkpoint import NO_CHECKPOINT
from recam.reconstruct.pipeline import working_size
from recam.reconstruct.user_inputs import Clip, undistort_clip
from recam.synthetic import synthetic_clip
from recam.types import Cameras, Video, no_progress

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Piece:
    """A part of a file; reference: its cameras.json, in the same folder."""

    name: str
    path: str
    start: int = 0
    num_frames: int = 49
    stride: int = 1
    reference: bool = False


def _long(name: str, folder: str) -> list[Piece]:
    """Parts of a 60 fps walk whose cameras are known every 11 frames."""
    path = f"{folder}/input.mp4"
    parts = [Piece(f"{name} {s}", path, s, 52, 3, True) for s in (0, 297, 594)]
    return [*parts, Piece(f"{name} all", path, 0, 297, 3, True)]


REFERENCE = [
    Piece("bear", "dynamic/davis_bear/gt_rgb.mp4", reference=True),
    Piece("balloon (sora)", "generated/sora_balloon/gt_rgb.mp4", reference=True),
    Piece("7scenes", "static/7scenes_rgbd", num_frames=24, reference=True),
    Piece("balloon1 (nvidia)", "multiview/nvidia_balloon1/input_960x540", 0, 12, 1, True),
    *_long("crossing", "dynamic/spatialvid_crossing"),
    *_long("trulli", "static/spatialvid_trulli"),
]  # fmt: skip
OTHERS = [
    *(
        Piece(name, f"dynamic/{name}/input.mp4", stride=stride)
        for name, stride in [
            ("davis_breakdance-flare", 1), ("davis_car-turn", 1), ("davis_hike", 1),
            ("davis_judo", 1), ("davis_paragliding-launch", 1), ("davis_rollercoaster", 1),
            ("infcam_bubble", 2), ("infcam_cat", 3), ("iphone_cat", 1), ("iphone_teddy", 1),
            ("rabbit-watermelon", 2), ("sam2_bedroom", 2), ("sam2_juggle", 2),
        ]
    ),
    Piece("kubric_scn01992", "generated/kubric_scn01992/input.mp4"),
    Piece("pd_scn00506", "generated/pd_scn00506/input.mp4"),
    Piece("apple_orbit", "static/apple_orbit/input.mp4"),
    Piece("coffee_pour", "edit/coffee_pour_mask/original_720p.mp4", stride=2),
    Piece("kitten", "edit/anyv2v_kitten/input.mp4", num_frames=16),
    Piece("shiba", "edit/shiba_inpaint/input.mp4"),
    Piece("caliscope 0", "multiview/caliscope_post_optimization/calibration/extrinsic/cam_0.mp4"),
]  # fmt: skip
KINDS = {
    "tripod": "static", "rotation": "rotating",
    "handheld": "moving", "orbit": "moving", "dolly": "moving",
}  # fmt: skip


def load(clip: Piece) -> tuple[Video, Cameras | None, Tensor]:
    """The frames, the reference cameras, and which frames [k] these are of."""
    path = DATA / clip.path
    pictures = path.is_dir()
    if pictures and clip.reference:
        path = path / ("*.color.jpg" if list(path.glob("*.color.jpg")) else "*.png")
    video = read_video(
        path, start=clip.start, num_frames=clip.num_frames, stride=clip.stride, max_side=1280
    )
    if not clip.reference:
        return video, None, torch.zeros(0, dtype=torch.int64)
    here = DATA / clip.path
    folder = here if (here / "cameras.json").exists() else here.parent
    names = [p.name for p in sorted(path.parent.glob(path.name))] if pictures else None
    if names and folder != here:
        names = [f"{here.name}/{name}" for name in names]
    file = read_cameras(folder / "cameras.json", file=names[: len(video)] if names else None)
    cameras = file.cameras
    assert cameras is not None
    of = torch.arange(len(cameras)) if pictures else file.frame_indices
    assert of is not None
    inside = (of >= clip.start) & ((of - clip.start) % clip.stride == 0)
    number = torch.div(of - clip.start, clip.stride, rounding_mode="floor")
    inside &= number < len(video)
    return video, cameras[inside], number[inside]


def rms_deg(found: Cameras, reference: Cameras) -> tuple[float, float]:
    """RMS angle with the first cameras laid on each other, and with the best rotation."""
    a, b = found.cam_from_world[:, :3, :3], reference.cam_from_world[:, :3, :3]
    u, _, vh = torch.linalg.svd((a.transpose(1, 2) @ b).sum(0))
    flip = torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vh).sign())], dtype=torch.float64)
    out = []
    for world in (a[0].T @ b[0], u @ torch.diag(flip) @ vh):
        out.append(float(rotation_angle_deg(a @ world, b).square().mean().sqrt()))
    return out[0], out[1]


def measure(video: Video, size: int, lens: LensKind) -> tuple[CameraSolution, float, float]:
    height, width = working_size(video.height, video.width, size)
    clock = time.perf_counter()
    flows = compute_flows(video, height, width, OFFSETS if len(video) <= 160 else OFFSETS[:-1])
    middle = time.perf_counter()
    solution = solve_cameras(video, flows, ReconstructConfig(size=size, lens=lens))
    if (bend := solution.bend) is not None:
        border = np.zeros((height, width), bool)
        bent = Clip(
            video, ReconstructConfig(), height, width, no_progress, None, NO_CHECKPOINT, border
        )
        clip = undistort_clip(bent, bend.k1, bend.focal_px)
        flows = compute_flows(clip.video, height, width, flows.offsets, border=clip.border)
        straight = solve_cameras(clip.video, flows, ReconstructConfig(size=size, lens="pinhole"))
        solution = replace(straight, bend=bend)
    return solution, middle - clock, time.perf_counter() - middle


HEADER = (
    f"{'clip':26}{'motion':>12}{'rot 0':>7}{'rot':>7}{'pos %':>7}{'fov':>8}{'ref':>6}"
    f"{'res px':>8}{'par px':>8}{'flow s':>8}{'cam s':>7}"
)


def row(name: str, motion: str, solution: CameraSolution, seconds: tuple[float, float],
        reference: Cameras | None, frames: Tensor) -> str:  # fmt: skip
    fov = f"{solution.fov_deg:.1f}{'' if solution.fov_known else '?'}"
    line = f"{name:26}{motion:>12}"
    if reference is None or len(reference) < 2:
        line += f"{'':7}{'':7}{'':7}{fov:>8}{'':6}"
    else:
        found = solution.cameras[frames]
        first, best = rms_deg(found, reference)
        position = f"{100 * camera_errors(found, reference).translation_fraction:.2f}"
        if solution.motion != "moving":
            position = "-"
        ref_fov = float(fov_x_deg(reference).mean())
        line += f"{first:7.2f}{best:7.2f}{position:>7}{fov:>8}{ref_fov:6.1f}"
    bend = solution.bend
    lens = "" if bend is None else f"  k1 {bend.k1:.3f}, corners {bend.shift_px:.1f} px"
    return line + (
        f"{solution.residual_px:8.3f}{solution.parallax_px:8.1f}{seconds[0]:8.1f}{seconds[1]:7.1f}"
        f"{lens}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", help="names, or parts of them")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--lens", choices=("auto", "pinhole"), default="auto")
    parser.add_argument("--no-synthetic", action="store_true")
    parser.add_argument("--seeds", type=int, default=3, help="rendered clips of each kind")
    args = parser.parse_args()

    def wanted(name: str) -> bool:
        return not args.only or any(part in name for part in args.only)

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(HEADER)
    for clip in REFERENCE + OTHERS if DATA.is_dir() else []:
        if wanted(clip.name):
            video, reference, frames = load(clip)
            solution, *seconds = measure(video, args.size, args.lens)
            print(row(clip.name, solution.motion, solution, (seconds[0], seconds[1]), reference,
                      frames), flush=True)  # fmt: skip
    if args.no_synthetic:
        return
    for kind, truth in KINDS.items():
        for seed in range(args.seeds):
            name = f"rendered {kind} {seed}"
            if wanted(name):
                scene, _ = synthetic_clip(seed, 32, 288, 512, kind)  # type: ignore[arg-type]
                solution, *seconds = measure(scene.video, args.size, args.lens)
                found = solution.motion + (" ok" if solution.motion == truth else " !!")
                print(row(name, found, solution, (seconds[0], seconds[1]), scene.cameras,
                          torch.arange(len(scene))), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
