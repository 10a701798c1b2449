"""Files that are damaged in a way that a seed decides, and what every reader owes for them."""

from __future__ import annotations

import json
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from camera_examples import some_cameras
from media_samples import encode_film, encode_tone, moving_frames
from recam.apps.studio.preview import read_about, write_small
from recam.apps.studio.workspace import Workspace
from recam.camera_files import read_cameras, write_cameras
from recam.completion.weights import load_model, save_model
from recam.configs import InputConfig, ReconstructConfig
from recam.media import read_image, read_mask, read_video, write_image
from recam.media.sound import copy_sound
from recam.reconstruct import load_scene, read_depth, save_scene
from recam.reconstruct.depth_prior.network import load_depth_net
from recam.types import Cameras, RecamError, Scene, video_from_frames
from small_models import shaken

NUM, H, W = 5, 24, 32
MAX_SECONDS = 5.0
"""Processor time of one case."""
MAX_BYTES = 1_000_000_000
"""More than this no small file may take."""
HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 10**9, 10**400, -(10**18), 1e308, 1e999, float("nan"), 0.5, "", "nan",
    "x" * 5000, "../../etc/passwd", "\u00b28", "\u0663", "\x00", [], {}, [[]], [None], {"a": {}},
    [[[[[[[[1]]]]]]]], [1] * 3000,
]  # fmt: skip
ADVICE = ("allow_pickle", "weights_only", "trust_remote_code")
"""Words of messages that tell people to load what may run code."""

Read = Callable[[Path], object]


def mutate_json(text: str, rng: random.Random) -> str:
    """One value of a JSON text exchanged, taken out, doubled or wrapped."""
    whole = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in list(keys):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(whole)
    if not places or rng.random() < 0.02:
        return json.dumps(rng.choice(HOSTILE))
    node, key = rng.choice(places)
    match rng.randrange(10):
        case 0:
            del node[key]
        case 1:
            node[key] = [node[key]] * rng.choice([1, 2, 100])
        case 2 if isinstance(node, list):
            node.insert(0, node[key])
        case 3 if isinstance(node[key], list):
            node[key] = node[key][: len(node[key]) // 2]
        case 4 if isinstance(node[key], int | float):
            node[key] = node[key] * rng.choice([-1, 1e-30, 1e30, 1e300])
        case _:
            node[key] = rng.choice(HOSTILE)
    return json.dumps(whole)


def mutate_text(text: str, rng: random.Random) -> str:
    """A word or a line of a text file exchanged, taken out or doubled."""
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    words = lines[i].split(" ")
    j = rng.randrange(len(words))
    match rng.randrange(6):
        case 0:
            del lines[i]
        case 1:
            lines.insert(i, lines[i])
        case 2:
            lines = lines[: i + 1]
        case 3:
            words.append("7")
            lines[i] = " ".join(words)
        case _:
            words[j] = rng.choice(
                ["nan", "inf", "-1", "0", "1e308", "1e-320", "x", "", "9" * 400, "\u00b2", "1_0"]
            )
            lines[i] = " ".join(words)
    return "\n".join(lines)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, zeroed, put in, or made into another length."""
    out = bytearray(data)
    at = rng.randrange(max(len(out), 1))
    if rng.random() < 0.5:  # headers are where it matters
        at = rng.randrange(min(len(out), 200))
    match rng.randrange(7):
        case 0:
            return bytes(out[:at])
        case 1:
            out[at : at + rng.choice([4, 100, 10_000])] = bytes(rng.choice([4, 100]))
        case 2:
            out[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
        case 3:
            value = rng.choice([0, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 255, 1])
            out[at : at + 4] = value.to_bytes(4, rng.choice(["big", "little"]))
        case 4:
            return rng.randbytes(rng.choice([0, 1, 16, 4000]))
        case _:
            for _ in range(rng.choice([1, 1, 3, 20])):
                out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    """An array of an .npz with other values, another shape or another type."""
    import io

    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        arrays = {name: np.array(loaded[name]) for name in loaded.files}
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    match rng.randrange(8):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = array[..., None]
        case 2:
            arrays[name] = array[:0]
        case 3:
            arrays[name] = array.astype(rng.choice(["c16", "U8", "?", "f2", "i1", "M8[s]"]))
        case 4:
            arrays[name] = array.ravel()
        case 5:
            arrays[name] = np.zeros((0,) * array.ndim, array.dtype)
        case _:
            array = array.astype(np.float64)
            value = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e300])
            array.ravel()[rng.randrange(max(array.size, 1))] = value
            arrays[name] = array
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def small_scene() -> Scene:
    frames = torch.from_numpy(moving_frames(NUM, H, W))
    cameras = Cameras(*(t[:NUM] for t in _poses()), H, W)
    ones = torch.ones(NUM, H, W, dtype=torch.bool)
    return Scene(
        video_from_frames(frames), cameras, torch.full((NUM, H, W), 3.0), ones, ~ones,
        torch.full((NUM, H, W), 0.5), report={"notes": ["a"], "cameras": {"motion": "moving"}},
    )  # fmt: skip


def _poses() -> tuple[torch.Tensor, torch.Tensor]:
    cameras = some_cameras(NUM)
    return cameras.cam_from_world, cameras.intrinsics


def finite_cameras(path: Path) -> None:
    found = read_cameras(path).cameras
    if found is not None:
        assert bool(torch.isfinite(found.cam_from_world).all()), "NaN in poses"
        assert bool(torch.isfinite(found.intrinsics).all()), "NaN in intrinsics"


def finite_scene(path: Path) -> None:
    scene = load_scene(path)
    for values in (scene.cameras.cam_from_world, scene.cameras.intrinsics, scene.depth):
        assert bool(torch.isfinite(values).all()), "NaN in a scene"


def finite_depth(path: Path) -> None:
    depth = read_depth(path, NUM, H, W)
    assert bool(torch.isfinite(torch.as_tensor(depth.depth)).all()), "NaN in depth"


def samples(folder: Path) -> dict[str, tuple[Path, Path, Read]]:
    """Whole files: name of the case to (file to damage, what the reader is given, reader)."""
    found: dict[str, tuple[Path, Path, Read]] = {}
    cameras = small_scene().cameras

    def add(name: str, file: Path, read: Read, given: Path | None = None) -> None:
        found[name] = (file, given or file, read)

    formats: list[tuple[Any, str]] = [
        ("recam", "own.json"), ("nerfstudio", "transforms.json"), ("camera-path", "path.json"),
        ("tum", "tum.txt"), ("re10k", "re10k.txt"), ("kitti", "poses.txt"), ("chan", "c.chan"),
        ("gen3c", "camera.npz"), ("megasam", "megasam.npz"), ("vipe", "vipe.npz"),
        ("vista4d", "cameras.npz"), ("gltf", "camera.gltf"), ("recammaster", "extrinsics.json"),
        ("llff", "poses_bounds.npy"),
    ]  # fmt: skip
    for kind, name in formats:
        path = folder / kind / name
        try:
            write_cameras(cameras, path, kind)
            finite_cameras(path)
        except (ValueError, RecamError):
            continue
        add(f"cameras {kind}", path, finite_cameras)
    write_cameras(cameras, folder / "colmap", "colmap")
    for name in ("cameras.bin", "images.bin"):
        add(f"colmap {name}", folder / "colmap" / name, finite_cameras, folder / "colmap")
    save_scene(small_scene(), folder / "scene")
    for name in ("scene.json", "scene.safetensors"):
        add(name, folder / "scene" / name, finite_scene, folder / "scene")
    workspace = Workspace(folder / "workspace")
    project = workspace.new_project("a", (folder / "scene",)).folder
    add("project", project / "project.json", lambda path: workspace.open_project(path.parent.name))
    about = {"folder": folder, "input": InputConfig(), "reconstruct": ReconstructConfig()}
    write_small(small_scene(), project / "best", **about)
    add("about", project / "best" / "about.json", lambda path: read_about(path.parent))
    save_model(shaken(), folder / "w.safetensors", steps="7")
    add("weights", folder / "w.safetensors", load_model)
    add("depth network", folder / "w.safetensors", load_depth_net)
    depth = np.linspace(1, 4, NUM * H * W, dtype=np.float32).reshape(NUM, H, W)
    np.savez_compressed(folder / "depth.npz", depth=depth)
    np.save(folder / "depth.npy", depth)
    add("depth npz", folder / "depth.npz", finite_depth)
    add("depth npy", folder / "depth.npy", finite_depth)
    frames = moving_frames(NUM, H, W)
    for suffix in (".png", ".jpg"):
        write_image(torch.from_numpy(frames[0]), folder / f"p{suffix}")
        add(f"picture {suffix}", folder / f"p{suffix}", read_image)
    from PIL import Image

    still = Image.fromarray(np.ascontiguousarray(frames[0].transpose(1, 2, 0)))
    for suffix in (".webp", ".tif", ".bmp", ".gif"):
        still.save(folder / f"q{suffix}")
        add(f"picture {suffix}", folder / f"q{suffix}", read_video)
    write_image(torch.eye(H, W, dtype=torch.bool), folder / "m.png")
    add("mask", folder / "m.png", lambda path: read_mask(path, NUM, H, W))
    for suffix in (".mp4", ".mkv", ".avi"):
        encode_film(folder / f"f{suffix}", frames)
        add(f"film {suffix}", folder / f"f{suffix}", lambda path: read_video(path, max_side=64))
    encode_tone(folder / "tone.mkv", "aac", duration_s=0.5, with_film=False)
    copy = folder.with_name("copy.mka")
    add("sound", folder / "tone.mkv", lambda path: copy_sound(path, copy, 0.0, 0.3))
    return found


def mutated(file: Path, rng: random.Random) -> bytes:
    """A damaged version of a file, of a kind that suits it."""
    data = file.read_bytes()
    if rng.random() < 0.12:
        return mutate_bytes(data, rng)
    if file.suffix in (".json", ".gltf"):
        return mutate_json(data.decode(), rng).encode()
    if file.suffix in (".txt", ".chan"):
        return mutate_text(data.decode(), rng).encode("utf-8", "surrogatepass")
    if file.suffix == ".npz":
        return mutate_npz(data, rng)
    if file.suffix == ".safetensors" and rng.random() < 0.6:
        return _mutate_header(data, rng)
    return mutate_bytes(data, rng)


def _mutate_header(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    about = header.get("__metadata__", {}).get("recam")
    if about and rng.random() < 0.7:
        inner = json.loads(about)
        if "config" in inner and rng.random() < 0.8:
            inner["config"] = mutate_json(inner["config"], rng)
            header["__metadata__"]["recam"] = json.dumps(inner)
        else:
            header["__metadata__"]["recam"] = mutate_json(about, rng)
        text = json.dumps(header)
    else:
        text = mutate_json(json.dumps(header), rng)
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data[8 + size :]


COSTS: list[tuple[float, int, str]] = []
"""Of every case so far: seconds of the processor, bytes more at its peak than before, name."""


def peak_bytes(anew: bool = False) -> int:
    """Largest resident memory so far; anew: from here on, where the system can say that (Linux)."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.is_file() and clear.exists():
        if anew:
            clear.write_text("5")
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worst(num: int = 10) -> str:
    """The costliest cases as a table."""
    costs = sorted(COSTS, key=lambda cost: -max(cost[0] / MAX_SECONDS, cost[1] / MAX_BYTES))[:num]
    rows = [f"| {name} | {spent:.2f} s | {grown / 1e6:.0f} MB |" for spent, grown, name in costs]
    return "\n".join(["| case | processor | memory |", "|---|---|---|", *rows])


def fault_of(name: str, given: Path, read: Read) -> str | None:
    """What a reader did wrong with a damaged file, or None. It may read it all the same."""
    before = sorted(path.name for path in given.parent.rglob("*"))
    began, memory = time.process_time(), peak_bytes(anew=True)
    fault = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(given)
    except (RecamError, ValueError) as error:
        text = str(error)
        if type(error) not in (RecamError, ValueError):
            fault = f"{type(error).__name__}: {text}"
        elif "\n" in text or len(text) > 1000 or not text.strip():
            fault = f"not one line: {text!r}"
        elif not any(part in text for part in (given.name, given.stem)):
            fault = f"does not name the file: {text}"
        elif any(word in text for word in ADVICE):
            fault = f"advises to load unsafely: {text}"
    except AssertionError as error:
        fault = str(error) or "an assertion"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    spent, grown = time.process_time() - began, peak_bytes() - memory
    COSTS.append((spent, grown, name))
    if fault is None and spent > MAX_SECONDS:
        fault = f"took {spent:.1f} s"
    if fault is None and grown > MAX_BYTES:
        fault = f"took {grown / 1e9:.1f} GB"
    if fault is None and sorted(path.name for path in given.parent.rglob("*")) != before:
        fault = "left a file"
    return None if fault is None else f"{name}: {fault}"
