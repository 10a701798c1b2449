"""Saying in a film's file that its pictures hold two eyes, so that players switch by themselves.

mp4, mov: a ``st3d`` box in the video's sample entry (Google's Spherical Video V2). mkv: StereoMode.
In both, H.264's own frame packing message. ffprobe shows them as "Stereo 3D".
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

StereoMode = Literal["left-right", "top-bottom"]
FRAME_PACKING: dict[StereoMode, int] = {"left-right": 3, "top-bottom": 4}
"""H.264's frame_packing_arrangement_type."""
MATROSKA: dict[StereoMode, str] = {"left-right": "left_right", "top-bottom": "top_bottom"}
_ST3D: dict[StereoMode, int] = {"top-bottom": 1, "left-right": 2}
_NESTING = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8}
"""Boxes that hold boxes, and the bytes before these."""


def mark_mp4(path: Path, mode: StereoMode) -> None:
    """Add a st3d box to the first H.264 video of a finished mp4 or mov file.

    Only the index is held in memory. Raises ValueError for a file without such a video.
    """
    with path.open("rb") as file:
        start, size = _top_level(file, b"moov")
        file.seek(start)
        index = bytearray(file.read(size))
        entry = next((chain for chain in _boxes(index) if _name(index, chain[-1]) == b"avc1"), None)
        if entry is None:
            raise ValueError(f"{path}: no H.264 video in it")
        box = struct.pack(">I4sIB", 13, b"st3d", 0, _ST3D[mode])
        at = entry[-1] + _size(index, entry[-1])
        for outer in entry:
            struct.pack_into(">I", index, outer, _size(index, outer) + len(box))
        index[at:at] = box
        _move_chunks(index, start + at, len(box))
        marked = path.with_name(f"{path.name}.marked")
        with marked.open("wb") as out:
            file.seek(0)
            out.write(file.read(start))
            out.write(index)
            file.seek(start + size)
            shutil.copyfileobj(file, out, 1 << 22)
    marked.replace(path)


def _top_level(file: IO[bytes], name: bytes) -> tuple[int, int]:
    """Where a box of the file's top level starts, and its size."""
    at = 0
    while True:
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            raise ValueError(f"no {name.decode()} box")
        size, found = struct.unpack_from(">I4s", header)
        size = struct.unpack_from(">Q", header, 8)[0] if size == 1 else size
        if found == name:
            return at, size
        if size < 8:
            raise ValueError(f"no {name.decode()} box")
        at += size


def _boxes(data: bytearray) -> Iterator[list[int]]:
    """Every box in ``data``: where it and the boxes around it start, the outermost first."""
    waiting: list[tuple[list[int], int, int]] = [([], 0, len(data))]
    while waiting:
        around, at, end = waiting.pop()
        while at + 8 <= end and _size(data, at) >= 8:
            yield [*around, at]
            if _name(data, at) in _NESTING:
                inside = at + 8 + _NESTING[_name(data, at)]
                waiting.append(([*around, at], inside, at + _size(data, at)))
            at += _size(data, at)


def _size(data: bytearray, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])


def _name(data: bytearray, at: int) -> bytes:
    return bytes(data[at + 4 : at + 8])


def _move_chunks(data: bytearray, behind: int, by: int) -> None:
    """Tables of chunks count from the file's start: add to every place behind the new box."""
    formats = {b"stco": ">I", b"co64": ">Q"}
    for chain in list(_boxes(data)):
        width = formats.get(_name(data, chain[-1]))
        if width is None:
            continue
        for i in range(_size(data, chain[-1] + 12)):
            entry = chain[-1] + 16 + i * struct.calcsize(width)
            (offset,) = struct.unpack_from(width, data, entry)
            if offset >= behind:
                struct.pack_into(width, data, entry, offset + by)
