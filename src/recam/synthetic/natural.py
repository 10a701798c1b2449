"""Scenes whose surfaces look photographed: by statistics, or by photographs of the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recam.synthetic.scene import Material, SyntheticScene
from recam.synthetic.textures import TextureKind, TextureSpec
from recam.types import RecamError

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
_KEPT: tuple[TextureKind, ...] = ("facade", "books", "page", "leaves", "grass", "clouds")
"""Textures that say what a thing is stay."""


def with_natural_textures(
    scene: SyntheticScene, seed: int, share: float = 0.3, textures: str | Path | None = None
) -> SyntheticScene:
    """The scene with about ``share`` of its surfaces painted with irregular, photograph-like ones.

    textures: a folder of photographs to take them from (by name; which is drawn by seed); without
    it they are dead-leaves pictures, which have a photograph's edges and scales. Raises RecamError
    when the folder holds no pictures.
    """
    photos = None if textures is None else photo_files(Path(textures))
    rng = np.random.default_rng([23, seed])
    materials = []
    for material in scene.materials:
        drawn, number = rng.random(), int(rng.integers(1 << 16))
        if drawn < share and material.texture.kind not in _KEPT:
            material = _painted(material, number, photos)
        materials.append(material)
    return replace(scene, materials=tuple(materials))


def photo_files(folder: Path) -> list[Path]:
    """Picture files anywhere below a folder, by name. Raises RecamError when there is none."""
    if not folder.is_dir():
        raise RecamError(f"there is no folder {folder}")
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise RecamError(f"{folder} holds no photographs ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return found


def _painted(material: Material, number: int, photos: list[Path] | None) -> Material:
    photo = None if photos is None else str(photos[number % len(photos)])
    return replace(material, texture=TextureSpec("deadleaves", number % 64, photo))
