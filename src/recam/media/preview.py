"""Pictures and films to look at: videos side by side, contact sheets, time slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from recam.media.convert import resized
from recam.types import Video

_BACKGROUND = 24
_TEXT = (235, 235, 235)
_GAP = 4
_STRIP = 24  # height of a label; even, so that film of even size stays so


def _label_strip(text: str, width: int) -> np.ndarray:
    """uint8 [3, _STRIP, width] with the text, made smaller where it would not fit."""
    strip = np.full((_STRIP, width, 3), _BACKGROUND, np.uint8)
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no more
    scale = 0.5
    (text_width, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, max(width - 8, 1) / max(text_width, 1))
    cv2.putText(
        strip, plain, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA
    )  # fmt: skip
    return strip.transpose(2, 0, 1)


def _as_rgb(frames: Tensor) -> Tensor:
    """Frames uint8 [t, 3, h, w], or a mask [t, h, w] (bool, or float in [0, 1]) as grey ones."""
    if frames.ndim == 4 and frames.shape[1] == 3 and frames.dtype == torch.uint8:
        return frames
    if frames.ndim == 3 and (frames.dtype == torch.bool or frames.is_floating_point()):
        grey = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
        return grey[:, None].expand(-1, 3, -1, -1)
    raise ValueError(
        f"got {frames.dtype} {list(frames.shape)}; expected frames uint8 [t, 3, h, w] or a mask "
        "[t, h, w], bool or float in [0, 1]"
    )


def side_by_side(
    videos: Sequence[Video | Tensor],
    labels: Sequence[str] | None = None,
    max_width: int | None = None,
) -> Video:
    """One video that shows several beside each other, each under its label.

    Args:
        videos: Videos, or frames uint8 [t, 3, h, w], or masks [t, h, w]; all of the same length.
            Each is scaled to the first one's height; times and sound are those of the first Video.
        labels: one each (ASCII), or None for no labels.
        max_width: all of them are scaled down to fit into so many pixels.

    Raises:
        ValueError: lengths differ, or the number of labels.
    """
    stacks = [_as_rgb(v.frames if isinstance(v, Video) else v) for v in videos]
    lengths = [len(stack) for stack in stacks]
    if not stacks or len(set(lengths)) != 1 or lengths[0] == 0:
        raise ValueError(f"got videos of {lengths} frames, expected one or more of equal length")
    if labels is not None and len(labels) != len(stacks):
        raise ValueError(f"got {len(labels)} labels for {len(stacks)} videos")
    height = stacks[0].shape[2]
    natural = sum(s.shape[3] * height / s.shape[2] for s in stacks)
    if max_width is not None and natural > max_width:
        height = max(1, round(height * max_width / natural))
    widths = [max(1, round(s.shape[3] * height / s.shape[2])) for s in stacks]
    top = 0 if labels is None else _STRIP
    total = sum(widths) + _GAP * (len(stacks) - 1)
    sheet = np.full((lengths[0], 3, top + height, total), _BACKGROUND, np.uint8)
    left = 0
    for index, (stack, width) in enumerate(zip(stacks, widths)):
        if labels is not None:
            sheet[:, :, :top, left : left + width] = _label_strip(labels[index], width)
        for t, frame in enumerate(stack):
            sheet[t, :, top:, left : left + width] = resized(frame.numpy(), height, width)
        left += width + _GAP
    clocks = [v for v in videos if isinstance(v, Video)]
    times_s = clocks[0].times_s if clocks else torch.arange(lengths[0], dtype=torch.float64) / 24
    return Video(torch.from_numpy(sheet), times_s, clocks[0].audio_path if clocks else None)


def contact_sheet(
    rows: Mapping[str, Tensor], num_columns: int = 6, cell_width: int = 240
) -> Tensor:
    """A picture uint8 [3, h, w] with a labelled row for each entry, evenly spread over time.

    Args:
        rows: label (ASCII) to frames uint8 [t, 3, h, w] or mask [t, h, w]; their first and last
            frames are always shown. A row of fewer than ``num_columns`` frames shows all of them.
        cell_width: width in pixels of one frame on the sheet; heights follow each row's aspect.

    Raises:
        ValueError: no rows, an empty row, or sizes below 1.
    """
    if not rows or num_columns < 1 or cell_width < 1:
        raise ValueError(
            f"got {len(rows)} rows, {num_columns} columns, cells of {cell_width} px; "
            "expected at least one of each"
        )
    bands = []
    total = num_columns * (cell_width + _GAP) - _GAP
    for label, entry in rows.items():
        frames = _as_rgb(entry)
        if len(frames) == 0:
            raise ValueError(f"row '{label}' has no frames")
        shown = np.linspace(0, len(frames) - 1, min(num_columns, len(frames))).round().astype(int)
        cell_height = max(1, round(frames.shape[2] * cell_width / frames.shape[3]))
        band = np.full((3, _STRIP + cell_height + _GAP, total), _BACKGROUND, np.uint8)
        band[:, :_STRIP] = _label_strip(label, total)
        for column, index in enumerate(shown):
            left = column * (cell_width + _GAP)
            cell = resized(frames[int(index)].numpy(), cell_height, cell_width)
            band[:, _STRIP : _STRIP + cell_height, left : left + cell_width] = cell
        bands.append(band)
    return torch.from_numpy(np.concatenate(bands, axis=1))


def time_slice(frames: Tensor, *, row: int | None = None, column: int | None = None) -> Tensor:
    """One line of pixels over time: uint8 [3, t, w] of a row (time runs down), or [3, h, t] of a
    column (time runs right). A steady surface draws smooth lines, flicker and swimming show as
    jags.

    Args:
        frames: uint8 [t, 3, h, w] or a mask [t, h, w].
        row, column: exactly one of them, a pixel index.
    """
    frames = _as_rgb(frames)
    if (row is None) == (column is None):
        raise ValueError("give exactly one of row and column")
    if row is not None:
        if not 0 <= row < frames.shape[2]:
            raise ValueError(f"row is {row}, expected 0 to {frames.shape[2] - 1}")
        return frames[:, :, row].permute(1, 0, 2).contiguous()
    if column is None or not 0 <= column < frames.shape[3]:
        raise ValueError(f"column is {column}, expected 0 to {frames.shape[3] - 1}")
    return frames[:, :, :, column].permute(1, 2, 0).contiguous()
