"""One target frame: what its source frame shows, then what the static points add."""

from __future__ import annotations

import torch

from recam.configs import RenderConfig
from recam.render import reference_static
from recam.render.exposure import frame_gains
from recam.render.source import Source
from recam.render.splat import View, make_warp, see_fast, see_torch
from recam.render.static import StaticSet, fill_static
from recam.types import Cameras, RecamError


def render_frame(
    source: Source, target: Cameras, static: StaticSet | None, config: RenderConfig, out: View
) -> View:
    """What a source frame and the static points show to one target camera (of length 1).

    ``source`` lies on the CPU, ``static`` on ``config.device``; the result is written to ``out``,
    on the CPU.
    """
    device = check_device(config.device)
    if device.type == "cpu":
        return render_frame_fast(source, target, static, config, out)
    view = render_frame_torch(source, target, static, config, device)
    for name in ("frame", "known", "depth", "origin"):
        getattr(out, name).copy_(getattr(view, name))
    return out


def check_device(name: str) -> torch.device:
    """The torch device of a config, or an error that the user can act on."""
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"render device is {name!r}; expected cpu, cuda or cuda:<number>")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RecamError(f"render device is {name}, but torch finds no GPU; use cpu")
    return device


def render_frame_fast(
    source: Source, target: Cameras, static: StaticSet | None, config: RenderConfig, out: View
) -> View:
    """``render_frame`` on one core, compiled."""
    warp = make_warp(source.camera, target)
    blocked = see_fast(source.rgba, source.surface, warp, config, out)
    if static is not None:
        fill_static(out, blocked, static, source, target, config)
    return out


def render_frame_torch(
    source: Source,
    target: Cameras,
    static: StaticSet | None,
    config: RenderConfig,
    device: torch.device,
) -> View:
    """``render_frame`` in plain torch on any device."""
    there, warp = source.to(device), make_warp(source.camera, target)
    view, blocked = see_torch(there.frame, there.surface, warp, config, target.height, target.width)
    if static is not None and float(view.known.min()) <= 0:
        gains = frame_gains(static.samples, static.log_gains, source, config.edge_threshold)
        reference_static.fill_static(view, blocked, static, there, target, gains, config)
    return view
