"""A small OpenEXR reader for depth: single-part scanline files, half, float or uint channels,
uncompressed or with RLE, ZIPS or ZIP compression (OpenCV's headless wheel reads no EXR).

Format: "OpenEXR File Layout", openexr.com.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recam.arrays import F32
from recam.media.limits import check_pixels

_MAGIC = 20000630
_COMPRESSIONS = ("none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB")
_LINES_PER_CHUNK = {"none": 1, "RLE": 1, "ZIPS": 1, "ZIP": 16}
_MAX_CHUNK_BYTES = 16 << 20
_TYPES = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))


class _Channel(NamedTuple):
    name: str
    dtype: np.dtype
    sampling: tuple[int, int]


@dataclass(frozen=True)
class _Header:
    channels: list[_Channel]
    compression: str
    first_line: int
    height: int
    width: int
    chunks_at: int


def read_exr(data: bytes, name: str, wanted: tuple[str, ...] = ("Z",)) -> F32:
    """One channel [h, w] of an EXR file's bytes: the first of ``wanted`` that it has, or its only
    one. ``name`` is for messages. Raises ValueError for what is not read here, and says what that
    is."""
    try:
        header = _read_header(data, name)
        channel = _choose(header.channels, wanted, name)
        return _read_channel(data, header, channel, name)
    except (struct.error, LookupError, zlib.error, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{name}: a broken or truncated EXR file") from error


def _read_header(data: bytes, name: str) -> _Header:
    magic, version = struct.unpack_from("<II", data)
    if magic != _MAGIC:
        raise ValueError(f"{name}: not an EXR file")
    if version & 0x1A00:
        raise ValueError(f"{name}: a tiled, deep or multi-part EXR; expected a plain scanline file")
    at = 8
    fields: dict[str, bytes] = {}
    while data[at] != 0:
        key, at = _text(data, at)
        _, at = _text(data, at)
        size = struct.unpack_from("<I", data, at)[0]
        fields[key] = data[at + 4 : at + 4 + size]
        at += 4 + size
    for key in ("channels", "compression", "dataWindow"):
        if key not in fields:
            raise ValueError(f"{name}: an EXR header without {key}")
    x0, y0, x1, y1 = struct.unpack("<4i", fields["dataWindow"])
    height, width = y1 - y0 + 1, x1 - x0 + 1
    check_pixels(width, height, name)
    code = fields["compression"][0]
    compression = _COMPRESSIONS[code] if code < len(_COMPRESSIONS) else f"number {code}"
    if compression not in _LINES_PER_CHUNK:
        raise ValueError(
            f"{name}: EXR compression {compression} is not read here; save it with ZIP, ZIPS, RLE "
            "or no compression, or as npy"
        )
    return _Header(_channels(fields["channels"]), compression, y0, height, width, at + 1)


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at) if b"\0" in data[at : at + 256] else len(data)
    return data[at:end].decode("latin-1"), end + 1


def _channels(field: bytes) -> list[_Channel]:
    channels, at = [], 0
    while field[at] != 0:
        name, at = _text(field, at)
        kind, _, x, y = struct.unpack_from("<4I", field, at)
        channels.append(_Channel(name, _TYPES[kind], (x, y)))
        at += 16
    return channels


def _choose(channels: list[_Channel], wanted: tuple[str, ...], name: str) -> _Channel:
    if any(c.sampling != (1, 1) for c in channels):
        raise ValueError(f"{name}: an EXR with subsampled channels")
    for want in wanted:
        for channel in channels:
            if channel.name == want or channel.name.endswith(f".{want}"):
                return channel
    if len(channels) == 1:
        return channels[0]
    names = ", ".join(c.name for c in channels)
    raise ValueError(f"{name}: an EXR with channels {names}; expected depth in channel {wanted[0]}")


def _read_channel(data: bytes, header: _Header, channel: _Channel, name: str) -> F32:
    """Chunks hold whole lines; a line holds each channel's row in turn."""
    per_chunk = _LINES_PER_CHUNK[header.compression]
    num_chunks = -(-header.height // per_chunk)
    offsets = struct.unpack_from(f"<{num_chunks}Q", data, header.chunks_at)
    line_size = sum(c.dtype.itemsize for c in header.channels) * header.width
    if line_size * per_chunk > _MAX_CHUNK_BYTES:
        raise ValueError(f"{name}: an EXR of {len(header.channels)} channels, {header.width} wide")
    before = header.channels[: header.channels.index(channel)]
    start = sum(c.dtype.itemsize for c in before) * header.width
    row_size = channel.dtype.itemsize * header.width
    out = np.empty((header.height, header.width), np.float32)
    for offset in offsets:
        line, size = struct.unpack_from("<iI", data, offset)
        first = line - header.first_line
        num_lines = min(per_chunk, header.height - first)
        if not 0 <= first < header.height:
            raise ValueError(f"{name}: an EXR chunk outside the picture")
        packed = data[offset + 8 : offset + 8 + size]
        raw = _unpacked(packed, line_size * num_lines, header.compression)
        if len(raw) != line_size * num_lines:
            raise ValueError(f"{name}: a broken or truncated EXR file")
        for k in range(num_lines):
            at = k * line_size + start
            out[first + k] = np.frombuffer(raw[at : at + row_size], channel.dtype)
    return out


def _unpacked(packed: bytes, size: int, compression: str) -> bytes:
    if compression == "none" or len(packed) == size:  # stored plain where packing would not pay
        return packed
    if compression == "RLE":
        shuffled = _run_lengths(packed, size)
    else:
        inflate = zlib.decompressobj()
        shuffled = inflate.decompress(packed, size + 1)
        if not inflate.eof:
            raise zlib.error("cut off, or more than its header says")
    # Undo the predictor, then the split into low and high halves.
    values = np.frombuffer(shuffled, np.uint8).astype(np.int64)
    values[1:] -= 128
    values = np.cumsum(values).astype(np.uint8)
    out = np.empty(len(values), np.uint8)
    half = (len(values) + 1) // 2
    out[0::2], out[1::2] = values[:half], values[half:]
    return out.tobytes()


def _run_lengths(packed: bytes, size: int) -> bytes:
    out, at = bytearray(), 0
    while at < len(packed) and len(out) <= size:
        count = struct.unpack_from("<b", packed, at)[0]
        if count < 0:
            out += packed[at + 1 : at + 1 - count]
            at += 1 - count
        else:
            out += packed[at + 1 : at + 2] * (count + 1)
            at += 2
    return bytes(out)
