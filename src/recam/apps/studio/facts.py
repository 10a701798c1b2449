"""What was brought, in words: the film, the files beside it, what it will cost."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from recam.camera_files import described, read_cameras
from recam.media import MediaInfo, probe, read_mask
from recam.media.input import memory_needed
from recam.reconstruct import read_depth
from recam.runtime.files import read_json
from recam.runtime.memory import memory_bytes
from recam.runtime.records import Record, write_json
from recam.runtime.threads import num_cores
from recam.types import RecamError

SECONDS_PER_FRAME = {"draft": 0.5, "best": 5.0, "make": 1.0}
"""On two cores, until this machine has been measured: a rough guess that is called one."""
KEPT_RATES = 5
LOOK_SIDE = 128
"""Longer side in pixels at which depth is looked at for its sentence."""


def what_it_is(info: MediaInfo) -> list[tuple[str, str]]:
    """Rows (name, value) about a film or picture for a table."""
    rows = [("Size", f"{info.width} × {info.height}")]
    if info.num_frames is not None:
        rows.append(("Frames", str(info.num_frames)))
    if info.fps is not None:
        rows.append(("Rate", f"{info.fps:.4g} a second"))
    if info.duration_s is not None:
        rows.append(("Length", f"{info.duration_s:.4g} s"))
    if info.rotation_deg:
        rows.append(("Rotation", f"{info.rotation_deg}° clockwise, applied"))
    rows.append(("Codec", f"{info.codec}, {info.pixel_format}"))
    if info.is_hdr:
        rows.append(("HDR", "yes, brought to SDR"))
    if info.kind == "film":
        rows.append(("Sound", "yes" if info.has_audio else "none"))
    return rows


def frames_used(num: int | None, start: int, num_frames: int | None, stride: int) -> int | None:
    """How many frames the options take of a film of ``num``; None where the film does not say."""
    if num is None:
        return num_frames
    left = max(0, math.ceil((num - start) / stride))
    return left if num_frames is None else min(left, num_frames)


def cost(frames: int | None, height: int, width: int, rates: dict[str, list[float]]) -> str:
    """What it takes, in one sentence."""
    memory = memory_needed(height, width, frames) / 1e9
    if frames is None:
        return f"{_memory(memory)}; the file does not say how long it is."
    parts = []
    for name, words in (("draft", "a draft"), ("best", "the full scene")):
        known = rates.get(name)
        rate = sorted(known)[len(known) // 2] if known else SECONDS_PER_FRAME[name]
        parts.append(f"{words} in about {_about(rate * frames)}")
    source = "as measured on this machine" if rates.get("draft") else "a guess, for two cores"
    return f"{' and '.join(parts).capitalize()} ({source}). {_memory(memory)}."


def _memory(needed_gb: float) -> str:
    """What a job needs and what it may take here."""
    limit = memory_bytes()
    if limit is None:
        return f"About {needed_gb:.1f} GB of memory"
    short = "; choose a smaller size above" if needed_gb > limit / 1e9 else ""
    return f"About {needed_gb:.1f} of {limit / 1e9:.1f} GB of memory{short}"


def limits() -> str:
    """What a job may take of this machine, in one line."""
    limit = memory_bytes()
    memory = "" if limit is None else f", at most {limit / 1e9:.1f} GB of memory"
    return f"one job at a time, {num_cores()} threads at low priority{memory}"


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def read_rates(file: Path) -> dict[str, list[float]]:
    """Seconds a frame of earlier jobs on this machine, by kind."""
    try:
        rates = Record(read_json(file), file)
        return {kind: rates.array(kind, (None,)).tolist() for kind in rates.value}
    except (ValueError, RecamError):  # not measured yet, or damaged: measured anew
        return {}


def add_rate(file: Path, kind: str, seconds_per_frame: float) -> None:
    """Remember how long a job took."""
    rates = read_rates(file)
    rates[kind] = [*rates.get(kind, []), round(seconds_per_frame, 3)][-KEPT_RATES:]
    write_json(file, rates)


def describe_cameras(path: Path) -> str:
    """What a camera file is and says, in one sentence. Raises what ``read_cameras`` raises."""
    return described(read_cameras(path))


def describe_depth(path: Path, num: int, height: int, width: int) -> str:
    """What a depth file or folder is and says of a film. Raises what ``read_depth`` raises."""
    scale = min(1.0, LOOK_SIDE / max(height, width))
    h, w = max(2, round(height * scale)), max(2, round(width * scale))
    found = read_depth(path, num, h, w)
    good = found.depth[found.valid]
    some = good[:: len(good) // 100_000 + 1]
    low, middle, high = torch.quantile(some, torch.tensor([0.02, 0.5, 0.98])).tolist()
    kind = path.suffix[1:] or f"a folder of {_suffixes(path)}"
    unit = " m" if found.metric else ""
    return (
        f"{kind}: {num} depth map{'s' * (num != 1)}, {low:.2g} to {high:.2g}{unit}, the middle "
        f"{middle:.2g}{unit}; {float(found.valid.float().mean()):.0%} usable"
    )


def describe_masks(path: Path, num: int, height: int, width: int) -> str:
    """The same of masks of what moves. Raises what ``read_mask`` raises."""
    share = float((read_mask(path, num, height, width, resize=True) > 0.5).float().mean())
    kind = path.suffix[1:] or f"a folder of {_suffixes(path)}"
    return f"{kind}: {share:.0%} of the pixels move"


def _suffixes(folder: Path) -> str:
    return " and ".join(sorted({p.suffix[1:] for p in folder.iterdir() if p.suffix})) or "files"


def look_at(source: Path) -> MediaInfo:
    """``probe``, so that the page imports it from one place."""
    return probe(source)
