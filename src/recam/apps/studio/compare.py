"""Pictures that compare two films: a wipe, two moments of a blink, a line over time, and an overlay
of where each pixel comes from. Pictures are uint8 [3, h, w]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recam.media import side_by_side, time_slice

ELSEWHERE_RGB = (64, 156, 255)
MADE_UP_RGB = (190, 60, 200)
TINT = 0.55
LINE = 2


def same_size(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture at another size."""
    if tuple(picture.shape[1:]) == (height, width):
        return picture
    scaled = F.interpolate(
        picture[None].float(), (height, width), mode="bilinear", antialias=True,
    )[0]  # fmt: skip
    return scaled.round().clamp(0, 255).to(torch.uint8)


def wipe(left: Tensor, right: Tensor, share: float) -> Tensor:
    """The left picture up to ``share`` in [0, 1] of the width, the right one beyond."""
    _, height, width = left.shape
    edge = round(min(max(share, 0.0), 1.0) * width)
    out = same_size(right, height, width).clone()
    out[:, :, :edge] = left[:, :, :edge]
    if 0 < edge < width:
        out[:, :, max(0, edge - LINE // 2) : edge + LINE // 2] = 255
    return out


def slices(first: Tensor, second: Tensor, share: float) -> Tensor:
    """One column of pixels over time (time runs right) of two films [t, 3, h, w], one above the
    other: smooth lines where it is steady, jags where it flickers."""
    rows = []
    for film in (first, second):
        column = min(int(share * film.shape[3]), film.shape[3] - 1)
        line = time_slice(film, column=column)
        wide = max(film.shape[3], line.shape[2])
        rows.append(same_size(line, line.shape[1], wide))
    width = max(r.shape[2] for r in rows)
    rows = [same_size(r, round(r.shape[1] * width / r.shape[2]), width) for r in rows]
    gap = torch.full((3, 6, width), 255, dtype=torch.uint8)
    return torch.cat([rows[0], gap, rows[1]], 1)


def overlay(picture: Tensor, known: Tensor, elsewhere: Tensor) -> Tensor:
    """Where a picture's pixels come from: blue = seen at another moment, purple = made up.

    known: float [h, w]; elsewhere: bool [h, w]; both may be of another size.
    """
    _, height, width = picture.shape
    fit = lambda m: F.interpolate(m[None, None].float(), (height, width), mode="area")[0]  # noqa: E731
    made_up = 1 - fit(known)
    other = torch.minimum(fit(elsewhere), 1 - made_up)
    out = picture.float()
    for weight, rgb in ((other, ELSEWHERE_RGB), (made_up, MADE_UP_RGB)):
        tint = torch.tensor(rgb, dtype=torch.float32)[:, None, None]
        out = out * (1 - TINT * weight) + tint * TINT * weight
    return out.round().clamp(0, 255).to(torch.uint8)


def beside(left: Tensor, right: Tensor, names: tuple[str, str]) -> Tensor:
    """Two pictures under their names."""
    return side_by_side([left[None], right[None]], list(names)).frames[0]


def letterboxed(picture: Tensor, aspect: float, grey: int = 20) -> Tensor:
    """A picture with bars, so that width over height is ``aspect``. In a window that is taller
    than wide it lies in the upper part: on a phone the controls cover the lower one."""
    _, height, width = picture.shape
    if width / height < aspect:
        wide, tall = round(height * aspect), height
    else:
        wide, tall = width, round(width / aspect)
    out = torch.full((3, max(tall, 1), max(wide, 1)), grey, dtype=torch.uint8)
    top, left = (tall - height) // (2 if aspect >= 1 else 8), (wide - width) // 2
    out[:, top : top + height, left : left + width] = picture
    return out
