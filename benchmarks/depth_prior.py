"""How good a guess of depth the shipped network is, beside guesses that look at nothing.

    python benchmarks/depth_prior.py [--out DIR] [--data ../shared/data] [--weights FILE]

Compared per picture after scale and shift of inverse depth (MiDaS): AbsRel, δ1 (and after a scale
alone), and F1 of depth edges (log depth jumps by more than 0.15 between neighbours; found within
two pixels of a true one). Priors: one constant; a vertical ramp; the stage (recam's fallback
without weights); the network. Sets:

- held out: scenes of other seeds; layout left out: halls, which are never trained on
- 7-Scenes: hand-held RGB-D. Depth and colour are not registered there; depth is brought to the
  colour camera's focal length, which leaves a few pixels of parallax
- motorcycle: Middlebury 2014, disparity from structured light
- village street: recam's own depth from the given camera path, where several frames agree on it

Flicker: standard deviation over time over mean of a still pixel's inverse depth, mean over still
pixels: of synthetic tripod clips with grain, and of real ones (pixels whose colour hardly changes).
With --out, contact sheets: picture, truth, priors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.camera_files import write_cameras
from recam.configs import ReconstructConfig
from recam.evaluation.depth import depth_errors
from recam.media import read_video
from recam.reconstruct import reconstruct
from recam.reconstruct.depth_prior.network import DepthNet, load_depth_net
from recam.reconstruct.depth_prior.shipped import shipped_depth
from recam.reconstruct.depth_prior.stage import stage_prior
from recam.synthetic import synthetic_clip
from recam.training.depth.data import heldout_chunk
from recam.types import Cameras

COLOR_FOCAL, DEPTH_FOCAL = 535.0, 585.0  # of 7-Scenes at 640 × 480
LONG_SIDE = 320
EDGE = 0.15

Prior = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pictures:
    """frames uint8 [n, 3, h, w]; depth float32 [n, h, w]; valid bool [n, h, w]."""

    name: str
    frames: Tensor
    depth: Tensor
    valid: Tensor


def shrunk(frames: Tensor, depth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All with the longer side at LONG_SIDE; depth by nearest pixel."""
    h, w = frames.shape[-2:]
    size = (round(h * LONG_SIDE / max(h, w)), round(w * LONG_SIDE / max(h, w)))
    small = torch.nn.functional.interpolate(
        frames.float(), size, mode="bilinear", antialias=True
    ).clamp(0, 255)
    near = [
        torch.nn.functional.interpolate(x[:, None].float(), size, mode="nearest-exact")[:, 0]
        for x in (depth, valid)
    ]
    return small.round().to(torch.uint8), near[0], near[1] > 0.5


def held_out(num: int) -> Iterator[Pictures]:
    for name, left_out in (("held out", False), ("layout left out", True)):
        chunk = heldout_chunk(left_out)
        every = torch.linspace(0, len(chunk) - 1, min(num, len(chunk))).long().tolist()
        frames, log_depth = (torch.stack([chunk[i][k] for i in every]) for k in (0, 1))
        depth = log_depth.float().exp()
        yield Pictures(name, frames, depth, depth < 90)


def seven_scenes(data: Path, num: int) -> Pictures:
    files = sorted((data / "static/7scenes_rgbd").glob("*.color.jpg"))
    files = files[:: max(1, len(files) // num)]
    frames, depths = [], []
    for file in files:
        frames.append(cv2.imread(str(file))[..., ::-1].copy())
        depth = cv2.imread(str(file).replace("color.jpg", "depth.png"), cv2.IMREAD_UNCHANGED)
        depth = np.where(depth == 65535, 0, depth).astype(np.float32) / 1000
        h, w = depth.shape
        ratio = COLOR_FOCAL / DEPTH_FOCAL
        to_color = np.array([[ratio, 0, w / 2 * (1 - ratio)], [0, ratio, h / 2 * (1 - ratio)]])
        depths.append(cv2.warpAffine(depth, to_color, (w, h), flags=cv2.INTER_NEAREST))
    depth = torch.from_numpy(np.stack(depths))
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    return Pictures("7-Scenes", *shrunk(pictures, depth, depth > 0.2))


def motorcycle(data: Path) -> Pictures:
    folder = data / "static/middlebury_motorcycle"
    frame = torch.from_numpy(cv2.imread(str(folder / "left.png"))[..., ::-1].copy())
    file = np.load(folder / "disp.npz", allow_pickle=False)
    disparity = torch.from_numpy(file[file.files[0]].astype(np.float32))
    valid = torch.isfinite(disparity) & (disparity > 0)
    inverse = torch.where(valid, disparity + 31.086, 1.0)
    depth = 994.978 * 0.193001 / inverse
    return Pictures("motorcycle", *shrunk(frame.permute(2, 0, 1)[None], depth[None], valid[None]))


def village(data: Path, num_frames: int = 14) -> Pictures:
    """Depth as recam measures it along the given camera path, where several frames agree."""
    folder = data / "static/spatialvid_trulli"
    about = json.loads((folder / "cameras.json").read_text())["frames"][:num_frames]
    step = about[1]["frame"] - about[0]["frame"]
    video = read_video(folder / "input.mp4", num_frames=num_frames, stride=step, max_side=LONG_SIDE)
    poses, k = (torch.tensor([f[n] for f in about], dtype=torch.float64) for n in ("w2c", "K"))
    last = torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(len(poses), 1, 4)
    cameras = Cameras(torch.cat([poses[:, :3], last], 1), k, 720, 1280)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "cameras.json"
        write_cameras(cameras.resized(video.height, video.width), file, "recam")
        scene = reconstruct(video, ReconstructConfig(cameras=str(file), size=LONG_SIDE))
    if scene.report["depth"]["source"] != "measured":
        raise SystemExit(f"village: depth was not measured ({scene.report['notes']})")
    # The sky lies at the farthest depth; nothing was measured there.
    below_sky = scene.depth < 0.9 * scene.depth.max()
    agreed = (scene.confidence > 0.6) & ~scene.dynamic & scene.valid & below_sky
    every = slice(None, None, 3)
    return Pictures("village street", video.frames[every], scene.depth[every], agreed[every])


def priors(model: DepthNet | None) -> dict[str, Prior]:
    def one_by_one(prior: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Prior:
        return lambda frames: torch.cat([prior(f[None])[0] for f in frames])

    def ramp(frames: Tensor) -> Tensor:
        n, _, h, w = frames.shape
        return torch.linspace(0.2, 1, h)[None, :, None].expand(n, h, w)

    return {
        "constant": lambda frames: torch.ones(len(frames), *frames.shape[-2:]),
        "ramp": ramp,
        "stage": one_by_one(stage_prior),
        "network": one_by_one(lambda frames: shipped_depth(frames, model)),
    }


def edges(log_depth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """bool [h, w]: a jump to the right or downwards, both sides valid."""
    out = np.zeros(log_depth.shape, bool)
    out[:, :-1] |= (np.abs(np.diff(log_depth, axis=1)) > EDGE) & valid[:, 1:] & valid[:, :-1]
    out[:-1] |= (np.abs(np.diff(log_depth, axis=0)) > EDGE) & valid[1:] & valid[:-1]
    return out


def edge_f1(depth: Tensor, truth: Tensor, valid: Tensor) -> float:
    """F1 of depth edges over all pictures, two pixels of tolerance."""
    hits = np.zeros(4)
    around = np.ones((5, 5), np.uint8)
    for d, t, v in zip(depth.numpy(), truth.numpy(), valid.numpy()):
        found, true = (edges(np.log(np.maximum(x, 1e-3)), v) for x in (d, t))
        near_found, near_true = (cv2.dilate(e.astype(np.uint8), around) > 0 for e in (found, true))
        hits += [(found & near_true).sum(), found.sum(), (true & near_found).sum(), true.sum()]
    precision, recall = hits[0] / max(hits[1], 1), hits[2] / max(hits[3], 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def aligned(inverse: Tensor, pictures: Pictures) -> Tensor:
    """Depth [n, h, w] of inverse depth after each picture's scale and shift."""
    out = []
    for i in range(len(inverse)):
        one = slice(i, i + 1)
        fit = depth_errors(
            1 / inverse[one], pictures.depth[one], pictures.valid[one], "scale-and-shift"
        )
        far = float(pictures.depth[one][pictures.valid[one]].max())
        out.append(1 / (fit.scale * inverse[one] + fit.shift).clamp(min=1 / far))
    return torch.cat(out)


def judge(pictures: Pictures, given: dict[str, Prior], out: Path | None) -> None:
    shown = [[_colored(1 / pictures.depth, pictures.valid)]]
    for name, prior in given.items():
        inverse = prior(pictures.frames).float()
        errors = depth_errors(
            1 / inverse, pictures.depth, pictures.valid, "scale-and-shift", per_frame=True
        )
        scaled = depth_errors(1 / inverse, pictures.depth, pictures.valid, "scale", per_frame=True)
        depth = aligned(inverse, pictures)
        f1 = edge_f1(depth, pictures.depth, pictures.valid)
        print(
            f"| {pictures.name} | {len(inverse)} | {name} | {errors.abs_rel:.3f} | "
            f"{errors.delta1:.3f} | {scaled.delta1:.3f} | {f1:.3f} |",
            flush=True,
        )
        shown.append([_colored(1 / depth, pictures.valid | True)])
    if out is not None:
        frames = list(pictures.frames.permute(0, 2, 3, 1).numpy()[..., ::-1])
        chosen = np.linspace(0, len(frames) - 1, min(len(frames), 12)).astype(int)
        rows = [np.concatenate([frames[i], *(s[0][i] for s in shown)], 1) for i in chosen]
        cv2.imwrite(str(out / f"{pictures.name.replace(' ', '_')}.png"), np.concatenate(rows))


def _colored(inverse: Tensor, valid: Tensor) -> list[np.ndarray]:
    out = []
    for i, v in zip(inverse.numpy(), valid.numpy()):
        log = np.log(np.maximum(i, 1e-3))
        low, high = np.quantile(log[v], [0.02, 0.98])
        gray = np.clip((log - low) / max(high - low, 0.3), 0, 1) * 255
        out.append(cv2.applyColorMap(gray.astype(np.uint8), cv2.COLORMAP_INFERNO))
        out[-1][~v] = 128
    return out


def flicker(inverse: Tensor, still: Tensor) -> float:
    spread = inverse.std(0) / inverse.mean(0)
    return float(spread[still].mean())


def judge_flicker(model: DepthNet | None, data: Path, num_frames: int) -> None:
    print("\n| tripod clip | frames | flicker, one by one | flicker, as shipped |")
    print("| --- | --- | --- | --- |")
    clips: list[tuple[str, Tensor, Tensor]] = []
    for seed in (901_001, 901_002, 901_003):
        truth, scene = synthetic_clip(seed, num_frames, 144, 216, "tripod")
        generator = torch.Generator().manual_seed(seed)
        noise = 4 * torch.randn(truth.video.frames.shape, generator=generator)
        frames = (truth.video.frames + noise).round().clamp(0, 255).to(torch.uint8)
        clips.append((f"synthetic {scene.kind} {seed}", frames, ~truth.dynamic.any(0)))
    for name in ("infcam_cat", "rabbit-watermelon", "sam2_juggle"):
        file = data / "dynamic" / name / "input.mp4"
        if not file.is_file():
            continue
        frames = read_video(file, num_frames=num_frames).frames
        frames, _, _ = shrunk(frames, frames[:, 0].float(), frames[:, 0].float())
        still = frames.float().std(0).mean(0) < 4
        clips.append((name, frames, still))
    for name, frames, still in clips:
        alone = torch.cat([shipped_depth(f[None], model)[0] for f in frames])
        together = shipped_depth(frames, model)[0]
        print(
            f"| {name} | {len(frames)} | {flicker(alone, still):.2%} | "
            f"{flicker(together, still):.2%} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, help="default: the shipped ones")
    parser.add_argument("--pictures", type=int, default=64, help="of each set at most")
    parser.add_argument("--frames", type=int, default=12, help="of the clips for flicker")
    parser.add_argument("--skip-village", action="store_true", help="it takes a reconstruction")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    model = load_depth_net(args.weights) if args.weights else None
    given = priors(model)
    print("| set | pictures | prior | AbsRel | δ1 | δ1, scale alone | edge F1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for pictures in held_out(args.pictures):
        judge(pictures, given, args.out)
    if args.data.is_dir():
        judge(seven_scenes(args.data, min(args.pictures, 12)), given, args.out)
        judge(motorcycle(args.data), given, args.out)
        if not args.skip_village:
            judge(village(args.data), given, args.out)
    judge_flicker(model, args.data, args.frames)


if __name__ == "__main__":
    main()
