"""Pictures as a transformers checkpoint wants them, by its own preprocessor_config.json.

Done here rather than by the library's image processors, since those need torchvision, which does
not import beside every torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recam.runtime.checkpoints import read_json_file
from recam.types import RecamError

BILINEAR, BICUBIC = 2, 3  # PIL's numbers, as the files have them


@dataclass(frozen=True)
class PictureRecipe:
    """size: height and width to bring pictures to. multiple: of which both sides are then made.
    keep_aspect: scale both sides alike, by the factor that is nearer to 1. bicubic, else bilinear.
    mean, std: of colours in [0, 1]. smooth: low-pass before shrinking."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple: int = 1
    keep_aspect: bool = False
    bicubic: bool = True
    smooth: bool = True


def read_recipe(folder: Path, default_side: int, smooth: bool = True) -> PictureRecipe:
    """The recipe in a checkpoint's folder. Raises RecamError for one that is not followed here."""
    path = folder / "preprocessor_config.json"
    about: dict[str, Any]
    if not path.is_file() and (folder / "processor_config.json").is_file():
        path = folder / "processor_config.json"
        about = read_json_file(path).get("image_processor", {})
    else:
        about = read_json_file(path)
    size = about.get("size", default_side)
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if not {"height", "width"} <= set(size):
        raise RecamError(f"{path}: size {size}; expected height and width")
    resample = about.get("resample", BICUBIC)
    if resample not in (BILINEAR, BICUBIC):
        raise RecamError(f"{path}: resample {resample}; expected bilinear (2) or bicubic (3)")
    if about.get("do_pad"):
        raise RecamError(f"{path}: pads pictures, which is not done here")
    half = (0.5, 0.5, 0.5)
    return PictureRecipe(
        size=(int(size["height"]), int(size["width"])),
        mean=tuple(about.get("image_mean") or half), std=tuple(about.get("image_std") or half),
        multiple=int(about.get("ensure_multiple_of") or 1),
        keep_aspect=bool(about.get("keep_aspect_ratio")),
        bicubic=resample == BICUBIC, smooth=smooth,
    )  # fmt: skip


def prepared(frame: Tensor, recipe: PictureRecipe) -> Tensor:
    """uint8 [3, h, w] to float32 [1, 3, h', w'] by the recipe."""
    size = target_size(frame.shape[1], frame.shape[2], recipe)
    mode = "bicubic" if recipe.bicubic else "bilinear"
    picture = torch.nn.functional.interpolate(
        frame[None].float(), size, mode=mode, align_corners=False, antialias=recipe.smooth
    )
    if recipe.smooth:  # the libraries that the models were trained with keep whole levels
        picture = picture.round().clamp(0, 255)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (recipe.mean, recipe.std))
    return (picture / 255 - mean) / std


def target_size(height: int, width: int, recipe: PictureRecipe) -> tuple[int, int]:
    """Height and width of a prepared picture."""
    by_height, by_width = recipe.size[0] / height, recipe.size[1] / width
    if recipe.keep_aspect:
        nearer = by_width if abs(1 - by_width) < abs(1 - by_height) else by_height
        by_height = by_width = nearer
    multiple = recipe.multiple
    sides = (by_height * height, by_width * width)
    first, second = (max(multiple, round(side / multiple) * multiple) for side in sides)
    return first, second
