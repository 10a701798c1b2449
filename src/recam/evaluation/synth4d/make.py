"""Making Synth4D: each scene a folder, rendered once, with a hash of everything in it.

<scene>/source/00000.png …          the source video, 48 frames, 256 × 384
<scene>/{near,far,gradual}/…        the same moments from new cameras
<scene>/<video>.cameras.json        cameras of each video (recam's own format, metres)
<scene>/source.npz                  depth float32 [48, h, w] (z, metres), dynamic bool
<scene>/<view>.npz                  dynamic bool, seen uint8 (2: the source frame of that moment
                                    shows this surface; 1: only other frames do; 0: none does)
<scene>/hashes.json                 sha256 of every array's bytes, and of every file
manifest.json                       all of them, and what each scene is
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.camera_files import write_cameras
from recam.evaluation.synth4d.scenes import (
    SPECS,
    VIEWS,
    SceneSpec,
    build_scene,
    source_cameras,
    times_s,
    view_cameras,
)
from recam.geometry import project, unproject
from recam.runtime.cache import cache_folder
from recam.runtime.files import read_json
from recam.runtime.records import Record, write_json
from recam.runtime.threads import one_torch_thread
from recam.runtime.workers import worker_pool
from recam.synthetic.render import SyntheticFrames, optical_flow, render_synthetic
from recam.synthetic.scene import SyntheticScene
from recam.types import Cameras, Progress, no_progress

VERSION = 1
"""Raised when any picture of the benchmark changes."""
REFERENCE = Path(__file__).with_name("manifest.json")
"""The hashes of all arrays that the published tables were made with (files are left out)."""
SEEN_NOW, SEEN_ELSEWHEN, NEVER_SEEN = 2, 1, 0
_OTHER_FRAMES = (0, 12, 24, 36, 47)
_SAME_SURFACE = 0.01  # relative difference of depth within which two views show the same point
_ABANDONED_S = 3600
_KEPT_BITS = 13  # of the mantissa of depth: 6e-5 of it, a third of the size on disk


def synth4d_folder() -> Path:
    """Where the benchmark is made when no folder is named."""
    return cache_folder() / f"synth4d-{VERSION}"


def make_synth4d(
    folder: Path, limit: int | None = None, jobs: int = 1, progress: Progress = no_progress
) -> dict[str, Any]:
    """Render what is missing of the benchmark into a folder; returns (and writes) the manifest of
    all scenes that are there.

    limit: only the first so many scenes. jobs: processes, a scene each; their number changes no
    byte. A scene appears when it is whole, so an interrupted run goes on where it stopped.
    """
    specs = SPECS[:limit]
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in specs if not (folder / s.name / "hashes.json").is_file()]
    done = len(specs) - len(missing)
    progress("making Synth4D", done, len(specs))
    if jobs > 1 and len(missing) > 1:
        with worker_pool(min(jobs, len(missing))) as pool:
            for future in as_completed([pool.submit(make_scene, s, folder) for s in missing]):
                future.result()
                done += 1
                progress("making Synth4D", done, len(specs))
    else:
        for spec in missing:
            make_scene(spec, folder)
            done += 1
            progress("making Synth4D", done, len(specs))
    there = [s for s in SPECS if (folder / s.name / "hashes.json").is_file()]
    manifest = {"version": VERSION, "scenes": {s.name: _entry(s, folder) for s in there}}
    write_json(folder / "manifest.json", manifest, sort_keys=True)
    return manifest


def _entry(spec: SceneSpec, folder: Path) -> dict[str, Any]:
    described = {
        "kind": spec.kind, "camera": spec.camera, "rigid": spec.rigid, "split": spec.split,
        "moved_px": spec.moved_px, "degrees": {view: getattr(spec, view) for view in VIEWS},
    }  # fmt: skip
    file = folder / spec.name / "hashes.json"
    return described | Record(read_json(file), file).value


def differing_scenes(manifest: dict[str, Any]) -> list[str]:
    """Scenes whose pictures or truth are not those of the published tables, array by array.

    Files may differ all the same where another version of a library packs the same pixels in
    other bytes.
    """
    reference = read_json(REFERENCE)
    return [
        name
        for name, entry in manifest["scenes"].items()
        if reference["scenes"].get(name, {}).get("arrays") != entry["arrays"]
    ]


def make_scene(spec: SceneSpec, folder: Path) -> None:
    """Render one scene into folder/<name>."""
    unfinished = folder / f".{spec.name}.{os.getpid()}"
    for left in folder.glob(f".{spec.name}.*"):  # of a run that was killed
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with one_torch_thread():
            arrays = _render_scene(spec, unfinished)
        files = {
            f.relative_to(unfinished).as_posix(): _sha256(f.read_bytes())
            for f in sorted(unfinished.rglob("*"))
            if f.is_file()
        }
        write_json(unfinished / "hashes.json", {"arrays": arrays, "files": files}, sort_keys=True)
        target = folder / spec.name
        shutil.rmtree(target, ignore_errors=True)
        unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _render_scene(spec: SceneSpec, folder: Path) -> dict[str, str]:
    """Write one scene's files; returns the hash of every array."""
    scene, times = build_scene(spec), times_s()
    source = source_cameras(spec, scene)
    shot = render_synthetic(scene, source, times)
    depth = _rounded(shot.depth)
    hashes = _write_video(folder, "source", source, shot, {"depth": depth.numpy()})
    for view in VIEWS:
        cameras = view_cameras(spec, scene, source, view)
        truth = render_synthetic(scene, cameras, times)
        seen = seen_by_source(scene, truth, cameras, source, shot.depth)
        hashes |= _write_video(folder, view, cameras, truth, {"seen": seen.numpy()})
    return hashes


def seen_by_source(
    scene: SyntheticScene,
    truth: SyntheticFrames,
    cameras: Cameras,
    source: Cameras,
    source_depth: Tensor,
) -> Tensor:
    """uint8 [t, h, w]: SEEN_NOW, SEEN_ELSEWHEN or NEVER_SEEN for the surface at each pixel.

    From the true geometry alone. Of other moments only what stands still counts, and five frames
    of the source are asked.
    """
    times = times_s(len(cameras))
    _, now = optical_flow(scene, truth, cameras, times, source, times)
    seen = torch.where(now, SEEN_NOW, NEVER_SEEN).to(torch.uint8)
    for i in range(len(seen)):
        asked = ((seen[i] == NEVER_SEEN) & ~truth.dynamic[i]).flatten().nonzero()[:, 0]
        world = unproject(truth.depth[i : i + 1].double(), cameras[i : i + 1]).view(-1, 3)[asked]
        found = torch.zeros(len(asked), dtype=torch.bool)
        for k in _OTHER_FRAMES:
            uv, z = project(world[None], source[k : k + 1])
            x, y = uv[0].floor().long().unbind(-1)
            inside = (z[0] > 0) & (x >= 0) & (y >= 0) & (x < source.width) & (y < source.height)
            shown = source_depth[k][y.clamp(0, source.height - 1), x.clamp(0, source.width - 1)]
            found |= inside & ((shown / z[0] - 1).abs() < _SAME_SURFACE)
        seen[i].view(-1)[asked[found]] = SEEN_ELSEWHEN
    return seen


def _write_video(
    folder: Path, name: str, cameras: Cameras, shot: SyntheticFrames, more: dict[str, np.ndarray]
) -> dict[str, str]:
    frames = shot.frames.permute(0, 2, 3, 1).contiguous().numpy()
    (folder / name).mkdir()
    for i, frame in enumerate(frames):
        # The level is named, so that a library's other default does not change the bytes.
        done = cv2.imwrite(
            str(folder / name / f"{i:05d}.png"), frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 4]
        )
        if not done:
            raise OSError(f"{folder / name}: cannot write pictures")
    write_cameras(cameras, folder / f"{name}.cameras.json", times_s=times_s(), metres_per_unit=1.0)
    arrays = {"dynamic": shot.dynamic.numpy(), **more}
    _write_npz(folder / f"{name}.npz", arrays)
    cam = {
        "cam_from_world": cameras.cam_from_world.numpy(),
        "intrinsics": cameras.intrinsics.numpy(),
    }
    return {
        f"{name}/{key}": _sha256(np.ascontiguousarray(value).tobytes())
        for key, value in {"frames": frames, **arrays, **cam}.items()
    }


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """npz without the time of day in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in sorted(arrays.items()):
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(value), allow_pickle=False)


def _rounded(depth: Tensor) -> Tensor:
    """float32 with the last bits of the mantissa cleared."""
    bits = depth.contiguous().numpy().view(np.uint32)
    kept = np.uint32((0xFFFFFFFF << (23 - _KEPT_BITS)) & 0xFFFFFFFF)
    return torch.from_numpy((bits & kept).view(np.float32))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
