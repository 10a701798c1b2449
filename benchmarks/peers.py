"""recam beside public tools on the same clips, in one run: what each gives, and what it takes.

    python benchmarks/peers.py [--tables cameras stabilise interpolate remove] [--seeds 31 32 33]
        [--frames 16] [--size 288]

Clips are synthetic, so that the truth is known. Seconds are of the processor, of all threads and of
child processes, after one clip that is not counted (kernels are compiled then); "times" is recam's
seconds over the tool's. What is not installed is said and left out.

cameras      against COLMAP's incremental mapper (pycolmap: SIFT, exhaustive matching, one camera):
             mean angle of the orientations in degrees, distance of the centres in per cent of the
             path, frames that got a camera. A clip without a model counts as such.
stabilise    against ffmpeg's vidstab (detect, then transform; smoothing 30, no zoom), on a clip
             that shakes. By the usual definitions (Liu et al. 2013), on homographies from frame to
             frame: stability, the share of the energy of the path's shift and turn in its lowest
             frequencies (2nd to 6th; higher is steadier); cropping, the scale that the result's
             picture has of the source's (1 = nothing lost); distortion, the ratio of the two
             eigenvalues of the affine part of source to result (1 = none), worst frame.
interpolate  against ffmpeg's minterpolate (mi_mode=mci): PSNR in dB of every second frame, hidden.
remove       against OpenCV's inpainting (Telea), frame by frame, of a square that stays in the
             picture's middle: PSNR in dB within it, and flicker, the mean change of a hole's pixel
             from frame to frame over the truth's (1 = as the truth).
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import recam
from recam.completers import complete
from recam.evaluation.cameras import camera_errors
from recam.evaluation.metrics import psnr
from recam.media import read_video, write_image, write_video
from recam.reconstruct import reconstruct
from recam.synthetic import synthetic_clip
from recam.types import Cameras, PartialVideo, Scene, Video

Row = list[str | float]


@contextmanager
def timed(out: list[float]) -> Iterator[None]:
    """Appends the processor seconds that the block takes, those of its child processes too."""

    def now() -> float:
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + child.ru_utime + child.ru_stime

    begun = now()
    yield
    out.append(now() - begun)


def clips(args: argparse.Namespace, camera: str) -> Iterator[Scene]:
    for seed in args.seeds:
        size = args.size, args.size * 3 // 2
        yield synthetic_clip(seed, args.frames, *size, camera)[0]  # type: ignore[arg-type]


def cameras(args: argparse.Namespace) -> list[Row]:
    """Two rows: ours and COLMAP's."""
    import pycolmap

    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    own_s: list[float] = []
    peer_s: list[float] = []
    for scene in clips(args, "orbit"):
        with timed(own_s):
            found = reconstruct(scene.video).cameras
        error = camera_errors(found.resized(scene.video.height, scene.video.width), scene.cameras)
        ours.append([error.rotation_deg, 100 * error.translation_fraction, len(found)])
        with tempfile.TemporaryDirectory() as name, timed(peer_s):
            mapped, which = colmap_cameras(scene, Path(name), pycolmap)
        if mapped is None or len(which) < 3:
            theirs.append([float("nan"), float("nan"), 0])
            continue
        error = camera_errors(mapped, scene.cameras[torch.tensor(which)])
        theirs.append([error.rotation_deg, 100 * error.translation_fraction, len(which)])
    head: Row = ["cameras", "rotation °", "path %", "frames", "processor s", "times"]
    return [head, _row("recam (whole scene)", ours, own_s, peer_s),
            _row("COLMAP", theirs, peer_s, peer_s)]  # fmt: skip


def colmap_cameras(scene: Scene, folder: Path, pycolmap: object) -> tuple[Cameras | None, list]:
    """The cameras of the largest model, and the numbers of their frames."""
    c = pycolmap
    pictures, database = folder / "pictures", folder / "database.db"
    pictures.mkdir()
    for i, frame in enumerate(scene.video.frames):
        write_image(frame, pictures / f"{i:05d}.png")
    c.extract_features(database, pictures, camera_mode=c.CameraMode.SINGLE)  # type: ignore[attr-defined]
    c.match_exhaustive(database)  # type: ignore[attr-defined]
    models = c.incremental_mapping(database, pictures, folder)  # type: ignore[attr-defined]
    if not models:
        return None, []
    model = max(models.values(), key=lambda m: m.num_reg_images())
    images = sorted((m for m in model.images.values() if m.has_pose), key=lambda m: m.name)
    pose = torch.eye(4, dtype=torch.float64).repeat(len(images), 1, 1)
    k = torch.eye(3, dtype=torch.float64).repeat(len(images), 1, 1)
    for i, image in enumerate(images):
        pose[i, :3] = torch.from_numpy(image.cam_from_world().matrix())
        k[i] = torch.from_numpy(model.cameras[image.camera_id].calibration_matrix())
    found = Cameras(pose, k, scene.video.height, scene.video.width)
    return found, [int(Path(m.name).stem) for m in images]


def stabilise(args: argparse.Namespace) -> list[Row]:
    if shutil.which("ffmpeg") is None or not _ffmpeg_has("vidstabdetect"):
        raise ImportError("an ffmpeg with vidstab")
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    own_s: list[float] = []
    peer_s: list[float] = []
    for scene in clips(args, "handheld"):
        source = scene.video
        with timed(own_s):
            steady = recam.reshoot(source, recam.stabilise()).video
        ours.append(list(steadiness(source, steady)))
        with tempfile.TemporaryDirectory() as name:
            film, trf, out = (Path(name) / f for f in ("in.mp4", "shake.trf", "out.mp4"))
            write_video(source, film)
            with timed(peer_s):
                _ffmpeg(film, f"vidstabdetect=result={trf}", "-f", "null", "-")
                _ffmpeg(film, f"vidstabtransform=input={trf}:smoothing=30:optzoom=0", str(out))
            theirs.append(list(steadiness(source, read_video(out))))
    head: Row = ["stabilise", "stability", "cropping", "distortion", "processor s", "times"]
    return [head, _row("recam", ours, own_s, peer_s), _row("vidstab", theirs, peer_s, peer_s)]


def steadiness(source: Video, result: Video) -> tuple[float, float, float]:
    """Stability, cropping and distortion, as of the module's text."""
    a, b = (_grey(v) for v in (source, result))
    steps = [_homography(b[i], b[i + 1]) for i in range(len(b) - 1)]
    path = np.cumsum([[h[0, 2], h[1, 2], np.arctan2(h[1, 0], h[0, 0])] for h in steps], 0)
    shares = []
    for line in (path[:, :2].T, path[:, 2:].T):
        energy = (np.abs(np.fft.rfft(line, axis=1))[:, 1:] ** 2).sum(0)
        shares.append(energy[:5].sum() / max(energy.sum(), 1e-12))
    across = [_homography(a[i], b[i]) for i in range(len(b))]
    scales, ratios = [], []
    for h in across:
        one = np.linalg.svd(h[:2, :2] / h[2, 2], compute_uv=False)
        scales.append(1 / float(np.sqrt(one[0] * one[1])))
        ratios.append(float(one[1] / one[0]))
    return float(np.mean(shares)), float(np.mean(scales)), min(ratios)


def interpolate(args: argparse.Namespace) -> list[Row]:
    if shutil.which("ffmpeg") is None:
        raise ImportError("ffmpeg")
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    own_s: list[float] = []
    peer_s: list[float] = []
    for scene in clips(args, "orbit"):
        frames = scene.video.frames[: (len(scene) - 1) // 2 * 2 + 1]
        given, hidden = frames[::2], frames[1::2]
        with timed(own_s):
            made = recam.interpolate(*given, frames=1).video.frames
        ours.append([psnr(made[1::2], hidden)])
        with tempfile.TemporaryDirectory() as name:
            film, out = Path(name) / "in.mkv", Path(name) / "out.mkv"
            write_video(Video(given, torch.arange(len(given), dtype=torch.float64) / 12), film)
            with timed(peer_s):
                _ffmpeg(film, "minterpolate=fps=24:mi_mode=mci", "-c:v", "ffv1", str(out))
            theirs.append([psnr(*_matched(read_video(out).frames, hidden))])
    head: Row = ["interpolate", "PSNR dB", "processor s", "times"]
    return [head, _row("recam", ours, own_s, peer_s), _row("minterpolate", theirs, peer_s, peer_s)]


def _matched(film: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Its frames between the given ones and the truth; it leaves out some of the last ones."""
    made = film[1::2][: len(hidden)]
    return made, hidden[: len(made)]


def remove(args: argparse.Namespace) -> list[Row]:
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    own_s: list[float] = []
    peer_s: list[float] = []
    for scene in clips(args, "orbit"):
        frames = scene.video.frames
        known = torch.ones(len(frames), *frames.shape[-2:])
        h, w = frames.shape[-2:]
        known[:, 3 * h // 8 : 5 * h // 8, 3 * w // 8 : 5 * w // 8] = 0
        with timed(own_s):
            made = complete(PartialVideo(frames, known)).frames
        ours.append(_hole_scores(made, frames, known))
        with timed(peer_s):
            mask = (1 - known[0]).to(torch.uint8).numpy()
            each = [cv2.inpaint(_picture(f), mask, 3, cv2.INPAINT_TELEA) for f in frames]
        filled = torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2)
        theirs.append(_hole_scores(filled, frames, known))
    head: Row = ["remove", "PSNR dB", "flicker", "processor s", "times"]
    return [head, _row("recam", ours, own_s, peer_s), _row("Telea", theirs, peer_s, peer_s)]


def _hole_scores(made: Tensor, truth: Tensor, known: Tensor) -> list[float]:
    hole = (known[1:, None] < 0.5).expand(-1, 3, -1, -1)
    change, true_change = (v.float().diff(dim=0).abs()[hole].mean() for v in (made, truth))
    return [psnr(made, truth, 1 - known), float(change / true_change)]


def _grey(video: Video) -> list[np.ndarray]:
    return [cv2.cvtColor(_picture(f), cv2.COLOR_RGB2GRAY) for f in video.frames]


def _picture(frame: Tensor) -> np.ndarray:
    return np.ascontiguousarray(frame.permute(1, 2, 0).numpy())


def _homography(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b_from_a [3, 3] of matched SIFT features, by RANSAC; the identity where too few match."""
    sift = cv2.SIFT.create(1500)
    (at_a, of_a), (at_b, of_b) = (sift.detectAndCompute(p, None) for p in (a, b))
    if of_a is None or of_b is None or min(len(of_a), len(of_b)) < 8:
        return np.eye(3)
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(of_a, of_b, k=2)
    good = [m for m, n in (p for p in pairs if len(p) == 2) if m.distance < 0.75 * n.distance]
    if len(good) < 8:
        return np.eye(3)
    here = np.array([at_a[m.queryIdx].pt for m in good], np.float32)
    there = np.array([at_b[m.trainIdx].pt for m in good], np.float32)
    found, _ = cv2.findHomography(here, there, cv2.RANSAC, 2.0)
    return np.eye(3) if found is None else found


def _ffmpeg(film: Path, filters: str, *out: str) -> None:
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(film), "-vf", filters, *out]
    subprocess.run(command, check=True, capture_output=True)


def _ffmpeg_has(name: str) -> bool:
    done = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], capture_output=True, text=True)
    return f" {name} " in done.stdout


def _row(name: str, scores: list[list[float]], own_s: list[float], peer_s: list[float]) -> Row:
    """Means over the clips but the first, which pays for compiling."""
    counted = slice(1, None) if len(own_s) > 1 else slice(None)
    seconds, theirs = (float(np.mean(v[counted])) for v in (own_s, peer_s))
    means = np.array(scores, np.float64)[counted]
    with np.errstate(all="ignore"):
        return [name, *np.nanmean(means, 0).tolist(), seconds, seconds / max(theirs, 1e-9)]


TABLES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "cameras": cameras, "stabilise": stabilise, "interpolate": interpolate, "remove": remove,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=288, help="height of the clips in pixels")
    args = parser.parse_args()
    for name in args.tables:
        try:
            rows = TABLES[name](args)
        except ImportError as error:
            print(f"{name}: left out, there is no {error}\n")
            continue
        cells = [[c if isinstance(c, str) else f"{c:.3g}" for c in row] for row in rows]
        cells.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
        print("\n".join("| " + " | ".join(row) + " |" for row in cells) + "\n", flush=True)


if __name__ == "__main__":
    main()
