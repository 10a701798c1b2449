"""What textures are made of: which there are, and the random fields they are painted from.

Noise is filtered white noise with a 1/f^a amplitude spectrum (Field 1987: natural images have
a ≈ 1). All fields are periodic in both directions; v runs down, u right.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

SIZE = 256

TextureKind = Literal[
    "plaster", "concrete", "brick", "tiles", "planks", "wood", "fabric", "rug", "grass", "asphalt",
    "cobble", "bark", "leaves", "metal", "stripes", "pattern", "facade", "picture", "books",
    "rock", "marble", "page", "dirt", "shingles", "panels", "clouds", "deadleaves",
]  # fmt: skip
TEXTURE_KINDS: tuple[TextureKind, ...] = get_args(TextureKind)


@dataclass(frozen=True)
class TextureSpec:
    """Which texture: a kind and the seed of its details.

    photo: a picture file to take the colours from instead (kind and seed then only tell it apart).
    """

    kind: TextureKind
    seed: int
    photo: str | None = None


class Noise:
    """Random numbers of one texture, and the fields made of them."""

    def __init__(self, spec: TextureSpec) -> None:
        number = TEXTURE_KINDS.index(spec.kind) * 1_000_003 + spec.seed
        self.generator = torch.Generator().manual_seed(number)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def fractal(self, slope: float = 1.0, stretch: float = 1.0, low: int = 1) -> Tensor:
        """[SIZE, SIZE] of zero mean and unit deviation, amplitude 1/f^slope above ``low`` cycles.

        stretch > 1 draws the grain out along u.
        """
        white = torch.fft.rfft2(torch.randn(SIZE, SIZE, generator=self.generator))
        fv = torch.fft.fftfreq(SIZE)[:, None] * SIZE
        fu = torch.fft.rfftfreq(SIZE)[None, :] * SIZE * stretch
        radius = (fu * fu + fv * fv).sqrt()
        gain = radius.clamp(min=1.0) ** -slope * (radius >= low)
        field = torch.fft.irfft2(white * gain, s=(SIZE, SIZE))
        field = field - field.mean()
        return field / field.std().clamp(min=1e-9)

    def color(
        self, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
    ) -> Tensor:
        """A linear colour [3, 1, 1] from ranges in HSV (of sRGB)."""
        h, v = self.uniform(*hue) % 1.0, self.uniform(*value)
        # Strong colours are rare in the world.
        s = saturation[0] + (saturation[1] - saturation[0]) * self.uniform() ** 1.6
        srgb = torch.tensor(colorsys.hsv_to_rgb(h, s, v))
        return (srgb**2.2)[:, None, None]

    def cells(self, columns: int, rows: int) -> Tensor:
        """[rows, columns] uniform numbers, one for each brick, tile or plank."""
        return self.rand(rows, columns)


def grid() -> tuple[Tensor, Tensor]:
    """u [SIZE, SIZE] and v, from 0 to 1."""
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    return axis.expand(SIZE, SIZE), axis[:, None].expand(SIZE, SIZE)


def look_up(cells: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Values of a small table [rows, columns] that repeats."""
    rows, columns = cells.shape
    return cells[row.long() % rows, column.long() % columns]


def smooth(edge0: float, edge1: float, x: Tensor) -> Tensor:
    """A smooth step from 0 at edge0 to 1 at edge1."""
    t = ((x - edge0) / (edge1 - edge0)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """a where w is 0, b where it is 1."""
    return a + (b - a) * w
