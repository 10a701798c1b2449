"""Flat things that move in the picture, with their exact flows."""

from collections.abc import Callable

import numpy as np
import torch

from recam.flow.dense import STEPS_PER_PX, FlowSet

HEIGHT, WIDTH = 96, 160
Pose = Callable[[int], np.ndarray]
Thing = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Pose]


def box(width: float, height: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A box that hangs down from its own origin."""
    return lambda x, y: (np.abs(x) < width / 2) & (y > 0) & (y < height)


def disc(radius: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda x, y: x * x + y * y < radius * radius


def at(x: float, y: float, angle: float = 0.0) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1.0]])


def film(
    things: list[Thing], num: int = 20, floor: int = HEIGHT
) -> tuple[np.ndarray, np.ndarray, FlowSet]:
    """Which thing [t, h, w] is seen where (0 = none; later ones are in front), what moves, and the
    exact flows; what is hidden in the other frame has no confidence."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    of = np.zeros((num, HEIGHT, WIDTH), np.int32)
    for i in range(num):
        for n, (inside, pose) in enumerate(things, 1):
            own = np.linalg.inv(pose(i)) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
            of[i][inside(own[0], own[1]).reshape(x.shape)] = n
        of[i, floor:] = 0
    steps, sure = {}, {}
    for k in (1, 2, 4, 8):
        for i in range(num):
            for j in (i - k, i + k):
                if not 0 <= j < num:
                    continue
                flow = np.zeros((HEIGHT, WIDTH, 2))
                for n, (_, pose) in enumerate(things, 1):
                    there = (
                        pose(j)
                        @ np.linalg.inv(pose(i))
                        @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
                    )
                    moved = (there[:2] - np.stack([x, y]).reshape(2, -1)).T.reshape(*x.shape, 2)
                    flow[of[i] == n] = moved[of[i] == n]
                u, v = np.floor(x + flow[..., 0]), np.floor(y + flow[..., 1])
                inside = (u >= 0) & (v >= 0) & (u < WIDTH) & (v < HEIGHT)
                u, v = (np.clip(a, 0, m - 1).astype(int) for a, m in ((u, WIDTH), (v, HEIGHT)))
                seen = inside & (of[j][v, u] == of[i])
                steps[i, j] = torch.from_numpy(np.rint(flow * STEPS_PER_PX).astype(np.int16))
                sure[i, j] = torch.from_numpy((255 * seen).astype(np.uint8))
    gray = torch.full((num, HEIGHT, WIDTH), 128, dtype=torch.uint8)
    return of, of > 0, FlowSet(gray, steps, sure, (1, 2, 4, 8))
