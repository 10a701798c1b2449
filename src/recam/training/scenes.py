"""Training pairs of random 3D scenes: true geometry or a wrong one, a reshoot's holes, every fill.

Closer to real use than the layered clips, and much dearer: made once before training, by all
processor cores, and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recam.completion.fills import search_fills
from recam.configs import PairConfig
from recam.covisibility import make_pairs, novel_cameras, sample_path
from recam.render import render
from recam.runtime.cache import cache_folder, content_hash
from recam.runtime.tensors import load_tensors, save_tensors, tensors_are_whole
from recam.runtime.threads import num_cores
from recam.runtime.workers import worker_pool
from recam.synthetic import CAMERA_KINDS, SyntheticScene, synthetic_clip, true_view
from recam.training.data import FilledPair
from recam.trajectories import focus_depth
from recam.types import (
    CameraPath,
    PartialVideo,
    Progress,
    Rendering,
    Scene,
    no_progress,
    video_from_frames,
)

VERSION = 3
"""Raised when the pairs of a seed change."""
SIZE = (20, 208, 336)
KEPT_FRAMES = 12
"""Of a clip's frames, after the fills were searched for in all of them."""
BACK = PairConfig(wide_fraction=0.4, wide_factor=2.0, resampled_fraction=0.4, alone_fraction=0.6)
"""Paths from which the source video is seen back."""
NOVEL = PairConfig(yaw=25.0, pitch=10.0, distance=0.15, wide_fraction=0.0)
"""Paths whose own true view is the target."""
PAIRS_PER_SCENE = 3
"""Two of the source video seen back, one of a new view."""
FIRST_SEED = 10_000_000
"""Far from the seeds of scenes that anything is measured on."""


def filled(partial: PartialVideo, target: Tensor) -> FilledPair:
    """A pair with all searched fills of its partial video. target: uint8 [t, 3, h, w]."""
    return FilledPair(partial, video_from_frames(target), search_fills(partial))


def scene_pairs(seed: int) -> list[FilledPair]:
    """PAIRS_PER_SCENE pairs of the random scene of a seed; none when it leaves a camera no room."""
    kind = CAMERA_KINDS[seed % len(CAMERA_KINDS)]
    try:
        clean, described = synthetic_clip(seed, *SIZE, kind)
    except ValueError:  # now and then no free path is found
        return []
    rng = np.random.default_rng(seed)
    filmed = replace(clean.video, frames=as_filmed(clean.video.frames[:], rng))
    scene = with_wrong_depth(replace(clean, video=filmed), rng)
    pairs = []
    for number in range(PAIRS_PER_SCENE):
        if number < PAIRS_PER_SCENE - 1:
            pair = next(make_pairs(scene, rng, BACK))
            rendering, target = pair.partial, pair.target.frames
        else:
            rendering, target = seen_anew(scene, described, NOVEL, rng)
        unknown = 1 - float((rendering.known > 0.5).float().mean())
        if 0.005 < unknown < 0.8:
            pairs.append(kept_part(filled(rendering, target), rng))
    return pairs


def seen_anew(
    scene: Scene, described: SyntheticScene, config: PairConfig, rng: np.random.Generator
) -> tuple[Rendering, Tensor]:
    """A reshoot of a scene along a random path, and what is truly seen from there."""
    path = CameraPath(_random_cameras(scene, config, rng), torch.arange(len(scene)))
    truth = true_view(described, path, scene.video.times_s).frames
    return render(scene, path), truth


def _random_cameras(scene: Scene, config: PairConfig, rng: np.random.Generator):
    own = scene.cameras.resized(scene.video.height, scene.video.width)
    return novel_cameras(own, *sample_path(rng, len(scene), config), focus_depth(scene))


def as_filmed(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """What lenses, sensors and codecs do to uint8 [t, 3, h, w]: blur, exposure that drifts, grain,
    compression; each only to some clips."""
    grain = float(rng.choice([0, rng.uniform(1, 4), rng.uniform(4, 10)], p=[0.3, 0.5, 0.2]))
    quality = int(rng.uniform(25, 90)) if rng.random() < 0.7 else 0
    blur = rng.uniform(0.4, 1.0) if rng.random() < 0.4 else 0.0
    drift, phase = rng.normal(0, 0.04), rng.uniform(0, 2 * np.pi)
    coarse = rng.random() < 0.5
    out = torch.empty_like(frames)
    for i, frame in enumerate(frames):
        picture = frame.permute(1, 2, 0).numpy().astype(np.float32)
        if blur:
            picture = cv2.GaussianBlur(picture, (0, 0), blur)
        picture = picture * (1 + drift * np.sin(phase + i / 6))
        if grain:
            noise = rng.normal(0, grain, picture.shape).astype(np.float32)
            picture = picture + (2 * cv2.GaussianBlur(noise, (0, 0), 0.7) if coarse else noise)
        whole = picture.clip(0, 255).astype(np.uint8)
        if quality:
            coded = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            whole = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        out[i] = torch.from_numpy(whole).permute(2, 0, 1)
    return out


def with_wrong_depth(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene with depth as wrong as estimated depth may be: smoothly off, and with what is near
    (or far) grown by a pixel or two; two fifths of the scenes keep their true depth's values."""
    t, h, w = scene.depth.shape
    depth = scene.depth
    amount = float(rng.choice([0, 0.03, 0.08, 0.2], p=[0.4, 0.2, 0.2, 0.2]))
    if amount:
        cells = (3, int(rng.integers(2, 7)), int(rng.integers(2, 9)))
        coarse = torch.from_numpy(rng.normal(size=(1, 1, *cells))).float()
        smooth = F.interpolate(coarse, size=(t, h, w), mode="trilinear", align_corners=True)
        depth = depth * torch.exp(amount * smooth[0, 0])
    side = int(rng.choice([0, 0, 3, 5]))
    if side:
        grow = cv2.erode if rng.random() < 0.7 else cv2.dilate
        kernel = np.ones((side, side), np.uint8)
        depth = torch.stack([torch.from_numpy(grow(d.numpy(), kernel)) for d in depth])
    return replace(scene, depth=depth)


def kept_part(pair: FilledPair, rng: np.random.Generator) -> FilledPair:
    """KEPT_FRAMES neighbouring frames of a pair (all of a shorter one), without its geometry."""
    start = int(rng.integers(0, max(len(pair.partial) - KEPT_FRAMES, 0) + 1))
    when = slice(start, start + KEPT_FRAMES)
    partial = PartialVideo(pair.partial.frames[when].clone(), pair.partial.known[when].clone())
    # Clones, so that nothing keeps the whole and no two pairs share memory.
    target = video_from_frames(pair.target.frames[when].clone())
    return FilledPair(partial, target, pair.filled[:, when].clone())


def many_scene_pairs(
    num_scenes: int, seed: int, workers: int = 0, progress: Progress = no_progress
) -> Iterator[list[FilledPair]]:
    """``scene_pairs`` of scene after scene, each from the cache or made by one of ``workers``
    processes (0 = one per core) and put there."""
    first = FIRST_SEED + 100_003 * seed
    seeds = range(first, first + num_scenes)
    workers = workers or num_cores()
    missing = [s for s in seeds if not tensors_are_whole(_file(s))]
    if workers > 1 and len(missing) > 1:
        with worker_pool(workers, _one_thread) as pool:
            for i, _ in enumerate(pool.map(_make_file, missing)):
                progress("making scenes", i + 1, len(missing))
    for i, s in enumerate(seeds):
        if not _file(s).is_file():
            _make_file(s)
            progress("making scenes", i + 1, num_scenes)
        yield read_pairs(_file(s))


def _one_thread() -> None:
    import numba

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    numba.set_num_threads(1)


def _file(seed: int) -> Path:
    key = content_hash("pairs of a random scene", VERSION, seed, list(SIZE), PAIRS_PER_SCENE)
    return cache_folder() / "pairs" / f"{key[:24]}.safetensors"


def _make_file(seed: int) -> None:
    save_pairs(scene_pairs(seed), _file(seed), seed=str(seed))


def save_pairs(pairs: list[FilledPair], path: Path, **notes: str) -> None:
    """Write pairs as safetensors, whole or not at all."""
    tensors = {}
    for i, pair in enumerate(pairs):
        tensors[f"{i}.true"] = pair.target.frames
        tensors[f"{i}.shown"] = pair.partial.frames
        tensors[f"{i}.known"] = (pair.partial.known * 255).to(torch.uint8)
        tensors[f"{i}.filled"] = pair.filled
    save_tensors(path, tensors, notes)


def read_pairs(path: Path) -> list[FilledPair]:
    """Pairs that ``save_pairs`` wrote."""
    tensors = load_tensors(path)
    pairs = []
    for i in range(len(tensors) // 4):
        true, shown, known, fills = (
            tensors[f"{i}.{n}"] for n in ("true", "shown", "known", "filled")
        )
        partial = PartialVideo(shown, known.float() / 255)
        pairs.append(FilledPair(partial, video_from_frames(true), fills))
    return pairs
