"""Films to training pairs in webdataset tar shards, one for each size and length of clip."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.configs import InputConfig, PairConfig, PairsConfig, ReconstructConfig
from recam.covisibility import make_pairs
from recam.media import contact_sheet, write_image
from recam.media.input import read_input
from recam.reconstruct.scene_cache import open_scene
from recam.runtime.records import write_json
from recam.training.shards.read import as_pair, read_shard
from recam.training.shards.shots import dropped_by, find_shots, measure, parallax, parts_of
from recam.types import Pair, Progress, RecamError, Rendering, no_progress

Sample = dict[str, Any]
PATHS = PairConfig(wide_fraction=0.4, wide_factor=2.0, resampled_fraction=0.4, alone_fraction=0.6)
NUM_ON_SHEET = 6
TRIES = 3
"""Paths that are drawn for a pair before its holes are given up."""


def write_shards(
    films: Sequence[Path],
    folder: Path,
    config: PairsConfig,
    names: Sequence[str] = (),
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Write the pairs of some films into an empty folder; returns the decisions.

    Leaves ``{height}x{width}x{frames}.tar``, each with its pairs in the films' order, a contact
    sheet of each as PNG, ``decisions.jsonl``: a line for every part of every shot, with what was
    measured, which gate dropped it, and how many pairs it gave; and ``shards.json``, counts. The
    same films and options give the same bytes. names: of the films, in keys and decisions. Raises
    RecamError when webdataset or scenedetect are not installed; a film that cannot be read is a
    decision.
    """
    try:
        from webdataset import TarWriter
    except ImportError as error:
        raise RecamError("shards need webdataset: pip install 'recam[scale]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [film.name for film in films]
    decisions: list[dict[str, Any]] = []
    with ExitStack() as stack:
        tars: dict[str, Any] = {}
        counts: Counter[str] = Counter()
        for number, (film, name) in enumerate(zip(films, names, strict=True)):
            for sample in film_samples(film, name, config, decisions, progress):
                bucket = sample.pop("bucket")
                counts[f"{bucket}.tar"] += 1
                if bucket not in tars:
                    # Owner and time as zero: the bytes depend on the films alone.
                    tars[bucket] = stack.enter_context(
                        TarWriter(str(folder / f"{bucket}.tar"), "", "", mtime=0, encoder=False)
                    )
                tars[bucket].write(sample)
            progress("films", number + 1, len(films))
    lines = "".join(json.dumps(decision, sort_keys=True) + "\n" for decision in decisions)
    (folder / "decisions.jsonl").write_text(lines)
    dropped = Counter(d["dropped_by"] for d in decisions if d.get("dropped_by"))
    about = {"samples": counts, "parts": len(decisions), "dropped": dropped, "films": len(films)}
    write_json(folder / "shards.json", about)
    for name in counts:
        write_image(shard_sheet(folder, name), (folder / name).with_suffix(".png"))
    return decisions


def shard_sheet(folder: Path, name: str) -> Tensor:
    """A picture uint8 [3, h, w] of a shard: film, what is shown of it and what is known, of the
    first pairs' middle frames."""
    pairs = [as_pair(s) for s in itertools.islice(read_shard(str(folder), name), NUM_ON_SHEET)]
    middle = len(pairs[0].target) // 2
    known = [(p.partial.known[middle, None] * 255).byte().expand(3, -1, -1) for p in pairs]
    rows = {
        "film": torch.stack([p.target.frames[middle] for p in pairs]),
        "shown": torch.stack([p.partial.frames[middle] for p in pairs]),
        "known": torch.stack(known),
    }
    return contact_sheet(rows, cell_width=240)


def film_samples(
    film: Path,
    name: str,
    config: PairsConfig,
    decisions: list[dict[str, Any]],
    progress: Progress = no_progress,
) -> Iterator[Sample]:
    """The samples of a film; what was decided of its parts is added to ``decisions``."""
    try:
        shots = find_shots(film)
    except (RecamError, ValueError) as error:
        if "recam[scale]" in str(error):
            raise
        decisions.append({"film": name, "dropped_by": "unreadable", "error": str(error)})
        return
    for shot in shots:
        for start in parts_of(shot, config):
            decision = {"film": name, "shot": list(shot), "start": start, "pairs": 0}
            decisions.append(decision)
            num = min(config.shot_frames, shot[1] - start)
            yield from _part_samples(film, name, start, num, config, decision, progress)


def _part_samples(
    film: Path,
    name: str,
    start: int,
    num: int,
    config: PairsConfig,
    decision: dict[str, Any],
    progress: Progress,
) -> Iterator[Sample]:
    """The samples of one part of a shot."""
    decision["frames"] = num
    if num < config.num_frames:
        decision["dropped_by"] = "short"
        return
    part = InputConfig(start=start, num_frames=num, max_side=config.max_side)
    decision["measures"] = measures = measure(read_input(film, part))
    decision["dropped_by"] = dropped_by(measures, config)
    if decision["dropped_by"]:
        return
    try:
        scene = open_scene(film, part, ReconstructConfig(), progress).scene
        measures["parallax"] = parallax(scene)
    except (RecamError, ValueError) as error:
        decision |= {"dropped_by": "no scene", "error": str(error)}
        return
    decision |= {"camera_motion": scene.camera_motion, "depth_source": scene.depth_source}
    decision["dropped_by"] = dropped_by(measures, config)
    if decision["dropped_by"]:
        return
    digest = hashlib.sha256(name.encode()).hexdigest()
    rng = np.random.default_rng([config.seed, int(digest[:8], 16), start])
    made = make_pairs(scene, rng, PATHS)
    holes = []
    for k in range(config.pairs_per_part):
        for pair in (next(made) for _ in range(TRIES)):
            first = int(rng.integers(0, len(pair.target) - config.num_frames + 1))
            when = slice(first, first + config.num_frames)
            share = 1 - float(pair.partial.known[when].mean())
            holes.append(round(share, 4))
            if dropped_by({"holes": share}, config) is None:
                decision["pairs"] += 1
                about = {
                    "film": name, "start": start, "first": first, "holes": share,
                    "measures": measures, "camera_motion": scene.camera_motion,
                }  # fmt: skip
                yield as_sample(pair, when, f"{digest[:12]}-{start:06d}-{k:02d}", about)
                break
    measures["holes"] = float(np.mean(holes))
    if not decision["pairs"]:
        decision["dropped_by"] = "holes"


def as_sample(pair: Pair, when: slice, key: str, about: dict[str, Any]) -> Sample:
    """Some frames of a pair as files of a webdataset sample.

    film.png, shown.png: frames below each other, RGB; shown is what is known of the film.
    known.png: 8 bits, 255 = known. depth.npy: float16 inverse z-depth [t, h, w] of what is known,
    0 elsewhere. cameras.npz: cam_from_world [t, 4, 4] and intrinsics [t, 3, 3]. meta.json.
    """
    rendering = pair.partial
    assert isinstance(rendering, Rendering)
    t, _, h, w = rendering.frames[when].shape
    depth = rendering.depth[when].numpy()
    inverse = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
    cameras = io.BytesIO()
    np.savez(
        cameras, cam_from_world=rendering.cameras.cam_from_world[when].numpy(),
        intrinsics=rendering.cameras.intrinsics[when].numpy(),
    )  # fmt: skip
    stored = io.BytesIO()
    np.save(stored, inverse.astype(np.float16))
    known = (rendering.known[when] * 255).round().byte()
    return {
        "__key__": key,
        "bucket": f"{h}x{w}x{t}",
        "film.png": _png(pair.target.frames[when]),
        "shown.png": _png(rendering.frames[when]),
        "known.png": _png(known[:, None]),
        "depth.npy": stored.getvalue(),
        "cameras.npz": cameras.getvalue(),
        "meta.json": json.dumps(
            {**about, "frames": t, "height": h, "width": w}, sort_keys=True
        ).encode(),
    }


def _png(frames: Tensor) -> bytes:
    """Frames uint8 [t, 3 or 1, h, w] below each other as one picture."""
    t, channels, h, w = frames.shape
    tall = frames.permute(0, 2, 3, 1).reshape(t * h, w, channels).numpy()
    return cv2.imencode(".png", np.ascontiguousarray(tall[:, :, ::-1]))[1].tobytes()
