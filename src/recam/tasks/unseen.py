"""How much of a move nobody filmed, and the largest move that keeps it below a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from recam.configs import PathConfig, RenderConfig
from recam.covisibility import resize_scene
from recam.render import build_static, render_frames
from recam.trajectories import path_for_scene
from recam.trajectories.presets import DEFAULTS, preset_amounts
from recam.types import CameraPath, Progress, RecamError, Scene, no_progress

MAX_SIDE = 192
"""Longer side in pixels of the pictures in which what is not seen is counted."""
MAX_FRAMES = 24
"""So many frames, evenly spread, are tried while a limit is looked for."""
HALVINGS = 6
DEFAULT_RENDER = RenderConfig()


def path_in_scene(
    scene: Scene,
    config: PathConfig,
    render_config: RenderConfig = DEFAULT_RENDER,
    progress: Progress = no_progress,
    *,
    num_frames: int | None = None,
) -> tuple[CameraPath, str]:
    """``path_for_scene``, within config.max_unseen where that is given, and a line that says which
    move it came to ("" where there is no limit)."""
    note = ""
    if config.max_unseen is not None:
        most = read_share(config.max_unseen)
        limited, worst = limited_move(scene, config, most, render_config, progress)
        reason = "as asked for" if limited == config else f"limited by --max-unseen {most:.0%}"
        amounts = describe_amounts(limited)
        note = f"{amounts} ({reason}); at most {worst:.1%} of a frame is never seen"
        config = limited
    return path_for_scene(scene, config, num_frames=num_frames), note


def unseen_share(
    scene: Scene,
    path: CameraPath,
    config: RenderConfig = DEFAULT_RENDER,
    progress: Progress = no_progress,
) -> Tensor:
    """float32 [n]: the share of every frame of a path that no frame of the video shows.

    Counted in pictures of MAX_SIDE, as ``reshoot`` renders them.
    """
    small = _small(scene)
    return _shares(small, path, config, progress)


def limited_move(
    scene: Scene,
    config: PathConfig,
    most: float,
    render_config: RenderConfig = DEFAULT_RENDER,
    progress: Progress = no_progress,
) -> tuple[PathConfig, float]:
    """The preset path with its amounts scaled down until no frame lacks more than a share ``most``.

    Returns the config and the largest share that a frame of it lacks. Amounts are scaled together
    (a zoom's as a power), to within 1/64 of what was asked for. Raises RecamError for a path file,
    which has no amount, and where even the source's own view lacks more; ValueError for ``most``
    outside of [0, 1].
    """
    if not 0 <= most <= 1:
        raise ValueError(f"max_unseen is {most:g}; expected a share between 0 % and 100 %")
    if config.path not in DEFAULTS:
        raise RecamError(f"--max-unseen limits a preset's amount; {config.path} is a file")
    small = _small(scene)

    def lacks(move: PathConfig) -> float:
        path = path_for_scene(scene, move)
        index = torch.linspace(0, len(path) - 1, min(MAX_FRAMES, len(path))).round().long()
        shown = CameraPath(path.cameras[index], path.source_frames[index])
        return float(_shares(small, shown, render_config, progress).max())

    return largest_within(config, most, lacks)


def largest_within(
    config: PathConfig, most: float, lacks: Callable[[PathConfig], float]
) -> tuple[PathConfig, float]:
    """``limited_move`` by any way of counting: lacks says what a frame of a move lacks at most."""
    worst = lacks(config)
    if worst <= most:
        return config, worst
    low, high, kept = 0.0, 1.0, lacks(scaled(config, 0.0))
    if kept > most:
        raise RecamError(
            f"at most {most:.0%} never seen: without any move {kept:.0%} are never seen already; "
            "give a higher limit"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = lacks(scaled(config, middle))
        if found <= most:
            low, kept = middle, found
        else:
            high = middle
    return scaled(config, low), kept


def read_share(text: str) -> float:
    """A share from "15%" or "0.15". Raises RecamError for anything else."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise RecamError(f"--max-unseen {text}: expected a share of the picture, 15% or 0.15")
    return value


def describe_shares(shares: Tensor) -> str:
    """ "frame 0: 0.0 %, 12: 3.1 %, …; most 8.2 % in frame 47" of at most nine frames."""
    index = torch.linspace(0, len(shares) - 1, min(9, len(shares))).round().long().tolist()
    some = ", ".join(f"{i}: {100 * float(shares[i]):.1f} %" for i in index)
    worst = int(shares.argmax())
    return f"frame {some}; most {100 * float(shares[worst]):.1f} % in frame {worst}"


def describe_amounts(config: PathConfig) -> str:
    """What a preset does, in words: "orbit: yaw 13.4°"."""
    units = {"yaw": "°", "pitch": "°", "roll": "°", "zoom": "×", "distance": " × focus depth"}
    done = [
        f"{name} {value:.3g}{units[name]}"
        for name, value in preset_amounts(config).items()
        if value != (1.0 if name == "zoom" else 0.0)
    ]
    return f"{config.path}: {', '.join(done) or 'no motion'}"


def scaled(config: PathConfig, share: float) -> PathConfig:
    """A preset with its amounts at a share of what they are (a zoom's as a power)."""
    amounts = preset_amounts(config)
    changed = {
        name: value**share if name == "zoom" else value * share
        for name, value in amounts.items()
        if name != "smoothness"  # says how long, not how far
    }
    if config.path == "dolly-zoom":  # one of its two follows from the other
        free = "distance" if amounts["distance"] != 0 else "zoom"
        changed = {free: changed[free]}
    return replace(config, **changed)  # type: ignore[arg-type]


def _small(scene: Scene) -> Scene:
    height, width = scene.video.height, scene.video.width
    scale = min(1.0, MAX_SIDE / max(height, width))
    return resize_scene(scene, max(round(height * scale), 1), max(round(width * scale), 1))


def _shares(small: Scene, path: CameraPath, config: RenderConfig, progress: Progress) -> Tensor:
    size = (small.video.height, small.video.width)
    shown = CameraPath(path.cameras.resized(*size), path.source_frames)
    static = build_static(small, config) if config.aggregate_static and len(small) > 1 else None
    views = render_frames(small, shown, config, progress, static)
    return torch.tensor([float((view.known < 0.5).float().mean()) for view in views])
