"""Depth and masks as OpenEXR pictures: one channel, scan lines, ZIP.

Format: "OpenEXR File Layout", openexr.com. (OpenCV's headless wheel writes no EXR.)
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recam.runtime.whole import written_whole

_LINES = 16  # of a ZIP chunk
_HALF, _FLOAT, _ZIP = 1, 2, 3


def write_exr(path: str | Path, values: Tensor, channel: str) -> None:
    """Writes [h, w] as one channel: float32 as float, bool (0 or 1) and float16 as half.

    channel: Z is depth, Y a grey picture, for the programs that open it.

    Raises:
        ValueError: another shape or type.
        RecamError: the place cannot be written to, or is full.
    """
    kinds = {torch.float32: _FLOAT, torch.float16: _HALF, torch.bool: _HALF}
    if values.ndim != 2 or values.numel() == 0 or values.dtype not in kinds:
        raise ValueError(
            f"got {values.dtype} {list(values.shape)}, expected float32, float16 or bool [h, w]"
        )
    kind = kinds[values.dtype]
    rows = np.ascontiguousarray(values.numpy(), "<f4" if kind == _FLOAT else "<f2")
    header = _header(rows.shape[0], rows.shape[1], channel, kind)
    chunks = []
    for first in range(0, len(rows), _LINES):
        raw = rows[first : first + _LINES].tobytes()
        packed = zlib.compress(_shuffled(raw), 4)
        packed = packed if len(packed) < len(raw) else raw
        chunks.append(struct.pack("<iI", first, len(packed)) + packed)
    at = len(header) + 8 * len(chunks) + np.cumsum([0, *(len(c) for c in chunks[:-1])])
    with written_whole(path) as temporary:
        temporary.write_bytes(header + at.astype("<u8").tobytes() + b"".join(chunks))


def _header(height: int, width: int, channel: str, kind: int) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = channel.encode() + b"\0" + struct.pack("<IB3xII", kind, 0, 1, 1) + b"\0"
    fields = [
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    out = struct.pack("<II", 20000630, 2)
    for name, of, value in fields:
        out += name.encode() + b"\0" + of.encode() + b"\0" + struct.pack("<I", len(value)) + value
    return out + b"\0"


def _shuffled(raw: bytes) -> bytes:
    """Low and high bytes apart, then differences: what EXR's ZIP packs."""
    values = np.frombuffer(raw, np.uint8)
    apart = np.concatenate([values[0::2], values[1::2]]).astype(np.int16)
    apart[1:] = apart[1:] - apart[:-1] + 128
    return apart.astype(np.uint8).tobytes()
