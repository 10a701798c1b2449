"""What the boxes of an HEIF or AVIF file say of its main picture, and Pillow does not tell.

Format: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from struct import unpack_from

_MAX_BYTES = 8 << 20  # of a file's beginning: boxes stand before the pictures
_UNSPECIFIED = 2


@dataclass(frozen=True)
class CleanAperture:
    """The part that is meant to be shown: its size, and its middle from the picture's middle."""

    width: float
    height: float
    right: float
    down: float

    def window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) px within a picture of this size."""
        left = round((width - self.width) / 2 + self.right)
        top = round((height - self.height) / 2 + self.down)
        left, top = max(0, min(left, width - 1)), max(0, min(top, height - 1))
        right = max(left + 1, min(width, left + round(self.width)))
        bottom = max(top + 1, min(height, top + round(self.height)))
        return left, top, right, bottom


@dataclass(frozen=True)
class ItemProperties:
    """primaries, transfer: code points of ITU-T H.273; 2 where nothing is said. quarter_turns:
    anticlockwise."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    quarter_turns: int = 0
    clean_aperture: CleanAperture | None = None


def item_properties(path: Path) -> ItemProperties:
    """Of the primary item; nothing where the boxes are not as expected."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES)
    try:
        meta = dict(_boxes(data)).get(b"meta", b"")[4:]
        inside = dict(_boxes(meta))
        properties = dict(_boxes(inside.get(b"iprp", b"")))
        stored = list(_boxes(properties.get(b"ipco", b"")))
        primary = unpack_from(">H" if inside[b"pitm"][0] == 0 else ">I", inside[b"pitm"], 4)[0]
        own = [stored[i - 1] for i in _associated(properties[b"ipma"], primary) if i]
    except (StructError, KeyError, IndexError):
        return ItemProperties()
    return _read(own)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = unpack_from(">Q", data, at + 8)[0], 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def _associated(ipma: bytes, item: int) -> list[int]:
    """Numbers, from 1, of the properties of an item."""
    version, wide = ipma[0], ipma[3] & 1
    at = 8
    for _ in range(unpack_from(">I", ipma, 4)[0]):
        this = unpack_from(">I" if version else ">H", ipma, at)[0]
        at += 4 if version else 2
        count, at = ipma[at], at + 1
        step = 2 if wide else 1
        found = [
            unpack_from(">H", ipma, at + 2 * k)[0] & 0x7FFF if wide else ipma[at + k] & 0x7F
            for k in range(count)
        ]
        at += step * count
        if this == item:
            return found
    return []


def _read(own: list[tuple[bytes, bytes]]) -> ItemProperties:
    primaries, transfer, turns, clean = _UNSPECIFIED, _UNSPECIFIED, 0, None
    for kind, body in own:
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
            primaries, transfer = unpack_from(">HH", body, 4)
        if kind == b"irot" and body:
            turns = body[0] & 3
        if kind == b"clap" and len(body) >= 32:
            n = unpack_from(">IIIIiIiI", body)
            if all(n[k] for k in (1, 3, 5, 7)) and n[0] and n[2]:
                clean = CleanAperture(n[0] / n[1], n[2] / n[3], n[4] / n[5], n[6] / n[7])
    return ItemProperties(primaries, transfer, turns, clean)
