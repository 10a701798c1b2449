"""Training curves: a CSV and a PNG always, TensorBoard files where that package is installed."""

from __future__ import annotations

import csv
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = [
    (40, 40, 200),
    (200, 110, 30),
    (60, 150, 40),
    (150, 60, 150),
    (20, 150, 190),
    (90, 90, 90),
]
"""BGR, as OpenCV draws."""


@dataclass(frozen=True)
class Curve:
    """A named line; a constant is a line of one point, drawn over the whole width."""

    name: str
    steps: list[float]
    values: list[float]


def tensorboard_writer(folder: Path, purge_step: int) -> Any | None:
    """A SummaryWriter that drops what an interrupted run wrote after purge_step, or None when
    TensorBoard is not installed (the train extra brings it)."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    if importlib.util.find_spec("wandb") is not None:  # it takes over what TensorBoard is told
        wandb = importlib.import_module("wandb")
        wandb.init(dir=folder, name=folder.name, sync_tensorboard=True)
    return SummaryWriter(str(folder), purge_step=purge_step)


def add_row(writer: Any, row: dict[str, float]) -> None:
    """A step's figures to a writer of ``tensorboard_writer``."""
    for name, value in row.items():
        if name != "step":
            writer.add_scalar(name, value, int(row["step"]))


def write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    """All rows, with the union of their columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(path)


def draw_curves(path: Path, panels: dict[str, list[Curve]], width: int = 900) -> None:
    """One PNG with a panel per entry: title → curves over the step."""
    import cv2

    height = 320
    pictures = []
    for title, curves in panels.items():
        picture = np.full((height, width, 3), 255, np.uint8)
        drawn = [c for c in curves if c.values]
        if drawn:
            _draw_panel(picture, title, drawn)
        pictures.append(picture)
    done, png = cv2.imencode(".png", np.concatenate(pictures))
    assert done
    path.write_bytes(png.tobytes())


def _draw_panel(picture: np.ndarray, title: str, curves: list[Curve]) -> None:
    import cv2

    left, right, top, bottom = 70, 230, 36, 36
    height, width = picture.shape[:2]
    values = np.concatenate([c.values for c in curves])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    last = max(max(c.steps) for c in curves) or 1.0

    def at(step: float, value: float) -> tuple[int, int]:
        across = left + (width - left - right) * step / last
        down = height - bottom - (height - top - bottom) * (value - low) / (high - low)
        return round(across), round(down)

    def write(text: str, where: tuple[int, int], colour: tuple[int, int, int] = (0, 0, 0)) -> None:
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)

    cv2.rectangle(picture, at(0, high), at(last, low), (160, 160, 160), 1)
    write(title, (left, 22))
    for value in (low, (low + high) / 2, high):
        write(f"{value:.4g}", (8, at(0, value)[1] + 5))
    write("0", (left, height - 12))
    write(f"step {last:g}", (width - right - 60, height - 12))
    for i, curve in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        if len(curve.values) == 1:
            points = [at(0, curve.values[0]), at(last, curve.values[0])]
        else:
            points = [at(s, v) for s, v in zip(curve.steps, curve.values) if np.isfinite(v)]
        cv2.polylines(picture, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
        write(
            f"{curve.name} {curve.values[-1]:.2f}", (width - right + 8, top + 16 + 18 * i), colour
        )
